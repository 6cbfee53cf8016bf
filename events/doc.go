// Package events is the daemon's side of NATS: the embedded server or the
// connection to an external one, the streams, the messages on them, and the
// control service. It decides nothing.
//
// Four streams and one bucket hold all state there is:
//
//	NS_IN     ticks, commands, signals      what makes the planner look
//	NS_RUN    stored plans                  what the runner carries out
//	NS_EVT    started, notes, outcomes      the ledger and audit trail; append-only
//	NS_DLQ    what could not be read        with the reason
//	ns_state  key-value                     what is remembered of policies and cool-downs
//
// Once is kept by expectations, never by acknowledgements: a tick and a plan are
// stored on a subject that must be empty; started and an outcome are stored on
// the condition that nothing was added to their part of the ledger since it was
// read. The server refuses the second of two rivals. An acknowledgement may be
// lost in a crash, so everything may be delivered again.
//
// Subjects hold lower-case tokens [a-z0-9-] only; "_" stands in the place of an
// instance or region that there is none of. What is said in a subject (who,
// region, instance, action) is read from the subject, because a server's
// permissions vouch for it; the same in a body is ignored.
//
// A message that cannot be read goes to NS_DLQ with the reason and never stops a
// consumer. Every wait is bounded by its context.
package events
