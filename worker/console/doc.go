// Package console is what the daemon answers over HTTP.
//
//	GET  /healthz            200 while the process runs
//	GET  /readyz             200 when the daemon is ready, else 503 with the reasons
//	GET  /metrics            for Prometheus
//	POST /v1/hooks/<source>  signals, for those who have no NATS
//
// A delivery to a webhook passes five steps, and each can refuse it: the source is
// known (404), the size and kind of the body are in bounds (413, 415), the sender
// knows the source's secret (401, without a word about what is wrong), the body is
// of the source's form (422), and its signals can be stored (503: send it again).
// It is answered with 202 only after each signal in it is stored on NS_IN, or what
// keeps it from being stored is an event: no repeat would change that, and senders
// punish other answers (Civo switches a webhook off). The answer says of each
// signal what became of it.
//
// A repeated delivery does nothing twice, as far as the source says what is the
// same: by an id, or by fingerprint and start of an alert.
//
// Everything is bounded: 1 MiB of body, 32 levels of JSON, 5,000 signals,
// 32 deliveries at once, and the times of [Server.Run]. Secrets are compared in
// constant time, read anew at each delivery, and never in a log, an answer, an
// error or an event.
//
// A server that answers on this machine only may have webhooks without a secret.
// They take nothing that a web page could send by itself: the kind of the body must
// be JSON, and the Host a name of this machine.
package console
