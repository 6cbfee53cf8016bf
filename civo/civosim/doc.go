// Package civosim is a Civo that runs in memory: the API of the instances and of
// what surrounds them, over HTTP, with a state machine, faults and a ledger.
//
// A [Sim] is an [http.Handler]. It is not a list of scripted answers: what a
// request changes, the next one sees. Instances pass through their statuses on a
// clock (BUILDING to ACTIVE, STOPPING to SHUTOFF, DELETING to not found); each
// passage takes [Options.Delay]. Nothing runs between two requests: what is due
// is worked out at each look, so there is no goroutine to stop, and the clock may
// be that of a testing/synctest bubble or any other.
//
// Each region has its own networks, firewalls, volumes and instances; an id is
// looked up inside one region only. Quota, ssh keys and charges belong to the
// account, of which there is one.
//
// A person or a fault acts behind the client's back with [Sim.SetStatus],
// [Sim.Remove] and [Sim.Inject]; [Sim.Requests] says what came in and what each
// request changed. Over HTTP the same is under /sim/ (see [Sim.ServeHTTP]).
//
// Where the API's documentation says nothing, the behaviour is an option, and
// its zero value is the more forgiving reading.
//
// Promises: the same seed, fleet, clock and order of requests give the same
// answers. A request is carried out wholly or not at all. All methods are safe
// for concurrent use.
//
// Limits: no Kubernetes, no object stores, no databases, no load balancers, no
// snapshots (the public regions have none), no consoles. Webhooks are kept, not
// delivered. The ledger holds the newest 100,000 requests, the actions of
// /v2/actions the newest 10,000. Prices do not exist, since the API has none.
package civosim
