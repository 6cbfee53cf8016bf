// Package promise says what the daemon promises as code that one can read: given
// what happened, which promise was broken, where, and by which events one sees it.
//
// The promises are design.md's: every planned time has one outcome, nothing is
// called twice that may be called once, and no rail is passed, whatever is
// killed, cut, slowed or edited. [Check] reads a [History]: the two streams that
// the daemon wrote, the requests that reached the cloud, and what people did
// meanwhile. It does no I/O and decides nothing that it was not given, so the
// simulation in this package's tests and the chaos command judge by the same code.
//
// Some promises can be judged at any moment (no call on a protected instance),
// others only when all faults ended a while ago (every action has an outcome):
// those are asked when [History.Settled] says so.
//
// What was true only a moment before a call may be believed by it: rails are
// checked on a reading at most a minute old, and a call lasts half a minute. A
// rail is broken when it stood in the way all through [Grace].
package promise
