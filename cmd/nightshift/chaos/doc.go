// Package chaos lets everything go wrong that can, with real processes and in
// real time, and then looks whether the promise held.
//
// The parts are those of every day, each a process of its own: the daemon (one
// with an embedded NATS, or several replicas on one NATS), the simulator of the
// API with an invented fleet. Plan time runs fast, a day in a minute. Then for a
// while daemons are killed and frozen, NATS is taken away, the API fails and
// lies, people and alerts ask for things and change instances by hand, the
// policy file is edited. At last all is well again, and what was stored is
// compared with what the simulator was asked to do:
//
//	Run      start the parts, storm, calm, judge
//	storm    one goroutine for each thing that goes wrong, until it is over
//	calm     no faults, no kills, until nothing is under way
//	judge    NS_IN, NS_RUN, NS_EVT and the simulator's ledger -> breaches, by package promise
//
// What happens is drawn from a seed. The processes run in real time, so the same
// seed brings the same storm, and not always the same end.
package chaos
