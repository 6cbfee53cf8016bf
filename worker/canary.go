package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// canary lets one instance of a run go first for a policy. The others wait until it
// has stayed as it was brought for a while; where it fails they are skipped. One
// that ends without having been touched says nothing: then the next goes first.
// Nothing of this needs to be stored, since it follows from the outcomes.
type canary struct {
	stay  time.Duration // plan time
	order []events.Item // the first of each instance, in the order in which they are due

	mu      sync.Mutex
	at      int                  // whose turn it is
	since   time.Time            // machine time: since when that one is done; zero: it is not
	proven  bool                 // the others may go
	fault   string               // why they may not
	left    bool                 // this process does not go on with the run
	ends    map[string]canaryEnd // by action id: of those in order
	changed chan struct{}        // closed, and made anew, with each change
}

// canaryEnd is how an action of a run ended.
type canaryEnd struct {
	outcome events.Outcome
	words   string
	at      time.Time // machine time
}

// canaries are those of a run, by policy. Starts by schedule wait for nobody.
func canaries(set *policies.Set, items []events.Item) map[string]*canary {
	var all map[string]*canary
	for _, it := range items {
		p, ok := set.Policy(it.Policy)
		if !ok || p.Canary == 0 || !countsIn(it) {
			continue
		}
		if all == nil {
			all = make(map[string]*canary)
		}
		c := all[p.Name]
		if c == nil {
			c = &canary{stay: p.Canary, changed: make(chan struct{}), ends: make(map[string]canaryEnd)}
			all[p.Name] = c
		}
		if !slices.ContainsFunc(c.order, func(o events.Item) bool { return o.Instance == it.Instance }) {
			c.order = append(c.order, it)
		}
	}
	for name, c := range all {
		slices.SortStableFunc(c.order, func(a, b events.Item) int { // in an order: nobody before it waits for it
			return cmp.Or(cmp.Compare(turnIn(a), turnIn(b)), a.NotBefore.Compare(b.NotBefore))
		})
		if len(c.order) < 2 {
			delete(all, name)
		}
	}
	return all
}

// turnIn is the turn of an action in its order; what has none waits for nobody.
func turnIn(it events.Item) int {
	if it.Stage == nil {
		return 0
	}
	return it.Stage.Turn
}

// change calls f and tells all who wait.
func (c *canary) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// ended takes up how an action ended. Where it is not the one that goes first that is
// kept until it is: after a restart outcomes are read in any order.
func (c *canary) ended(id string, o events.Outcome, words string, at time.Time) {
	if c == nil {
		return
	}
	c.change(func() {
		c.ends[id] = canaryEnd{o, words, at}
		for c.at < len(c.order) && c.since.IsZero() && c.fault == "" {
			end, ok := c.ends[c.order[c.at].ID]
			switch {
			case !ok:
				return
			case end.outcome == events.Done:
				c.since = end.at
			case end.outcome == events.Failed || end.outcome == events.Unknown || end.outcome == events.Expired:
				c.fault = string(end.outcome)
				if end.words != "" {
					c.fault += ": " + end.words
				}
			default:
				c.at++
			}
		}
	})
}

// leave ends all waiting: this process does not carry the first one out.
func (c *canary) leave() {
	if c != nil {
		c.change(func() { c.left = true })
	}
}

// name is what the one that goes first is called.
func (c *canary) name() string {
	it := c.order[min(c.at, len(c.order)-1)]
	return cmp.Or(it.Hostname, it.Instance)
}

// awaitCanary waits for an action's turn; stop says that it does not come.
func (r *runner) awaitCanary(ctx context.Context, a *attempt) (n next, stop bool, err error) {
	c := a.canary
	if c == nil {
		return next{}, false, nil
	}
	began := time.Now()
	release := func() {}
	defer func() { release() }()
	defer func() { a.imposed += time.Since(began) }() // ours: it does not count against the give-up time
	for {
		c.mu.Lock()
		turn := slices.IndexFunc(c.order, func(o events.Item) bool { return o.Instance == a.item.Instance })
		mine := turn < 0 || turn <= c.at
		fault, proven, left, since, name, changed := c.fault, c.proven, c.left, c.since, c.name(), c.changed
		var first events.Item
		if c.at < len(c.order) {
			first = c.order[c.at]
		}
		c.mu.Unlock()
		switch {
		case mine || proven || a.life.isOvertaken():
			return next{}, false, nil
		case fault != "":
			return ended(verdict{outcome: events.Skipped, reason: policies.ReasonCanary, detail: fmt.Sprintf("%s went first: %s", name, fault), before: a.item.Status}), true, nil
		case left:
			return next{}, true, fmt.Errorf("%s was to go first, and is not carried out here", name)
		}
		release()
		release = a.turns.keep(a.item.ID)
		if err := r.note(ctx, a, "waits for "+name+", which goes first", ""); err != nil {
			return next{}, true, err
		}
		if !since.IsZero() {
			if err := r.prove(ctx, a, c, first, since); err != nil {
				return next{}, true, err
			}
			continue
		}
		select {
		case <-changed:
		case <-a.life.overtaken:
		case <-ctx.Done():
			return next{}, true, context.Cause(ctx)
		}
	}
}

// prove looks, when the first has been done for long enough, whether it is so still.
func (r *runner) prove(ctx context.Context, a *attempt, c *canary, first events.Item, since time.Time) error {
	until := r.clock.Machine(r.clock.Plan(since).Add(c.stay))
	for {
		if err := r.wait(ctx, a, until); err != nil || a.life.isOvertaken() {
			return err
		}
		reading, err := r.inv.Reading(ctx, first.Region, until)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			until = time.Now().Add(a.growingWait())
			continue
		}
		inst, found := reading.Instance(first.Instance)
		so := found && (asWanted(first, inst) || first.Action == string(policies.Reboot) && inst.Status == policies.StatusActive)
		c.change(func() {
			switch {
			case c.proven || c.fault != "":
			case so:
				c.proven = true
			case !found:
				c.fault = "done, but then it was gone"
			default:
				c.fault = fmt.Sprintf("done, but it did not stay so for %s: %s", policies.SpanWords(c.stay), describe(first, inst))
			}
		})
		return nil
	}
}
