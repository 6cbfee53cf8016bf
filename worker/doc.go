// Package worker is the daemon: the only place where clock, cloud and bus meet.
//
// The way of a trigger is in one file, tick.go, in calling order: fireTicks
// announces the planned times, planTrigger turns what came in into stored runs,
// carryOut brings each action of a run to its one outcome. Each of the three
// stands behind a durable stream, so a crash between two of them repeats a step
// and never loses one; every step bears being repeated.
//
// What keeps a repeat from doing anything twice is the ledger, the event stream:
//
//   - a tick is stored on a subject that must be empty: the first replica wins;
//   - a plan is stored once per trigger and region, before its first action;
//   - before a call, "started" is stored on the condition that no other call to
//     that instance is under way; after it the ledger is read once more;
//   - the outcome is stored on the condition that nothing was added since the
//     ledger was read. Only then is the run acknowledged.
//
// An accepted call is not an outcome. The instance is read again, with one list
// per region for all that wait (Inventory), until the target is seen.
//
// There are two clocks. Plan time (edges, windows, cool-downs) comes from Clock
// and may run fast against a simulator; machine time (HTTP, deadlines,
// verification) never does.
//
// Two lives, too: what is taken in ends with Run's context; calls under way then
// have Options.Grace to finish. What has not begun is handed back to its stream.
package worker
