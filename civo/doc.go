// Package civo is a client of the Civo cloud API, for the operations of its
// Instances page (civo.com/api/instances) and what surrounds them. It knows
// nothing of policies and can be used alone.
//
// The region is a parameter of each call and goes where every generation of the
// API looks for it: into the query of all requests, and into the body of those
// that have one. Bodies are form-encoded, which all documentation accepts.
//
// # What is tried again
//
// Within the deadline of the call's context, and never past it:
//
//   - reads and the PUT operations (stop, start, resize, retag, firewall) after a
//     network fault, 429, 500, 502, 503 and 504: they may be repeated without harm;
//   - create and reboot only when the request certainly did not arrive (no
//     connection was made) or was turned away with 429. A lost answer is
//     [ErrAmbiguous]: the caller has to look what became of it
//     ([Client.SettleCreate]);
//   - delete, too, and again when a look shows the instance still there.
//
// All requests of a client share one rate, which halves on a 429 and grows back
// slowly; actions go before reads ([Client.RateState]). Retry-After is kept. A wait that would pass the deadline is not begun: the
// last error is returned instead.
//
// # Errors
//
// Every answer that is not a success is an [*Error], whatever its form (HTML of a
// proxy, plain text, nothing at all), and errors.Is asks for its kind:
// [ErrNotFound], [ErrUnauthorized], [ErrQuota] and so on. "Not found" proves
// nothing about deletion, since the right id in a wrong region answers the same:
// believe it only when [Client.ListInstances] lacks the instance, too.
//
// # Secrets
//
// initial_password and civostatsd_token come with every instance. They are
// [Secret] values, which print as "redacted" in every form.
package civo
