// Package notify tells people: of runs that wait for approval, of runs in which
// something failed, of stops that come, and where a step of a trigger says so.
//
// It hears of them on NS_EVT, where everything is told that happens, and knows
// nothing of how it came about: package worker works out which instances a stop
// will reach and stores that as an event. So it imports events alone, and a target
// that is down can hold up nothing but its own messages.
//
// Each target has a consumer of its own, which the replicas share. A message is
// claimed in ns_state before it is sent, and marked there afterwards: it is sent
// once, but for a crash between the two. What cannot be sent is tried again with
// growing waits, or when Retry-After says, and given up after [GiveUp] with an
// event that names the target and the reason.
//
// A warning can be answered: a signed link in it leads to [Notifier.Handler],
// which asks before it keeps an instance running.
//
// The address of a webhook is a secret. It is asked for at each message, and taken
// out of every error.
package notify
