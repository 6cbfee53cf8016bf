// Package crash holds no code, only tests: the daemon is run as a process of its
// own against the simulator, is ended at each named point of an action's way and
// at random moments, is started again, and then has to have kept its promise.
//
//   - TestEveryPoint goes through each point × each action × embedded and external
//     NATS;
//   - TestAnOrderGoesOnAfterAKill ends it in the middle of an order;
//   - TestRandomKills kills at random moments while plan time runs fast. Its long
//     form: go test ./worker/crash -run RandomKills -kills 1000 -timeout 2h
//
// All of them go the same way, in site_test.go: a scene is set (newSite), where it
// matters with the store of a daemon that knew its policies before (knownBefore); a
// daemon is started, and ends itself (crashes) or is killed (diesAfter); it comesBack;
// when allEnded, what is stored and what the simulator was asked for is judged.
//
// What ended (SIGKILL) is a process, not a machine: what was written is still in
// the operating system's memory. That it would be on the disk, too, is the work
// of SyncAlways (package events).
package crash
