package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker/promise"
)

// Verdict is what became of the promise.
type Verdict struct {
	Breaches  []string // in sentences; empty: the promise held
	Dir       string   // where everything is kept when it was broken
	Tally     Tally
	Actions   int // with an outcome
	Edges     int // planned times that were decided about
	Triggers  int // stored plans
	Days      float64
	Doubled   int
	Lost      int
	Unmatched []string // policies for which no instance could be invented
	Took      time.Duration
	Ready     time.Duration // from the start of a daemon to when it is ready: the middle one of all starts
	Seed      uint64
}

// Rules of package promise that say that something was done twice, or not at all.
var (
	doubling = map[string]bool{"one outcome": true, "one plan": true, "one call in flight": true, "never twice": true, "announced before called": true}
	losing   = map[string]bool{"nothing is lost": true, "edges are announced": true, "edges are decided": true, "nothing sent is lost": true}
)

// judge compares what is stored with what the cloud was asked to do.
func (c *chaos) judge(ctx context.Context, restless string) (*Verdict, error) {
	if err := c.cloud.readLedger(ctx); err != nil {
		return nil, err
	}
	if err := c.lookAtFleet(ctx); err != nil {
		return nil, err
	}
	h, err := c.history(ctx, restless == "")
	if err != nil {
		return nil, err
	}
	v := &Verdict{Seed: c.o.Seed, Dir: c.dir, Tally: c.tally.now(), Unmatched: c.tally.unmatched, Ready: median(c.tally.readyIn), Days: h.Now.Sub(c.machine).Hours() * speed / 24, Triggers: len(h.Runs)}
	edges := make(map[string]bool)
	for _, r := range h.Runs {
		for _, e := range r.Edges {
			edges[e] = true
		}
	}
	v.Edges = len(edges)
	v.Tally.Outcomes, v.Tally.Under = make(map[events.Outcome]int), 0
	for _, rec := range h.Events {
		if rec.Outcome.Ends() {
			v.Tally.Outcomes[rec.Outcome]++
			v.Actions++
		}
	}
	v.Tally.Requests, v.Tally.Faults = 0, 0
	for _, r := range h.Requests {
		v.Tally.Requests++
		if r.Fault != "" {
			v.Tally.Faults++
		}
	}
	breaches := append(promise.Check(h), c.lostOnTheWay(h)...)
	for _, b := range breaches {
		v.Breaches = append(v.Breaches, b.String())
		if doubling[b.Rule] {
			v.Doubled++
		}
		if losing[b.Rule] {
			v.Lost++
		}
	}
	c.acts.mu.Lock()
	v.Breaches = append(v.Breaches, c.acts.found...)
	c.acts.mu.Unlock()
	if restless != "" {
		v.Breaches = append(v.Breaches, restless)
	}
	if len(v.Breaches) > 0 {
		return v, errors.Join(c.write(h), os.WriteFile(filepath.Join(c.dir, "breaches.txt"), []byte(strings.Join(v.Breaches, "\n")+"\n"), 0o600))
	}
	return v, nil
}

// history reads what is stored, when nobody writes any more.
func (c *chaos) history(ctx context.Context, settled bool) (_ *promise.History, err error) {
	bus, err := c.openStore(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what is stored: %w", err)
	}
	defer func() { err = errors.Join(err, bus.Close(context.WithoutCancel(ctx))) }()
	h := &promise.History{Now: time.Now(), Settled: settled, Rest: c.rest, Started: c.machine, Plan: c.clock.Plan, Imposed: 30 * time.Second, Places: configs.DefaultWorkers, Apart: 20 * time.Millisecond, Approved: make(map[string]time.Time)}
	for rec, err := range bus.Records(ctx, "", time.Time{}) {
		if err != nil {
			return nil, err
		}
		h.Events = append(h.Events, rec)
	}
	for run, err := range bus.Runs(ctx, time.Time{}) {
		if err != nil {
			return nil, err
		}
		h.Runs = append(h.Runs, run)
	}
	for tick, err := range bus.Ticks(ctx, time.Time{}) {
		if err != nil {
			return nil, err
		}
		h.Ticks = append(h.Ticks, tick)
	}
	state, err := stateOn(ctx, bus)
	if err != nil {
		return nil, err
	}
	known, err := c.knownSince(ctx, state)
	if err != nil {
		return nil, err
	}
	for _, r := range c.replicas {
		h.Files = append(h.Files, promise.File{Daemon: r.name, From: known, Set: c.set})
		for _, s := range r.spans() {
			h.Up = append(h.Up, promise.Span{Daemon: r.name, From: s.from, Until: s.until})
		}
	}
	c.addActs(h)
	return h, c.addApprovals(ctx, state, h)
}

// openStore opens NATS: the external one, or the one that the daemon has left.
func (c *chaos) openStore(ctx context.Context) (*events.Bus, error) {
	if c.nats != nil {
		return events.Dial(ctx, c.outside.url, events.Auth{})
	}
	return events.Open(ctx, events.Options{DataDir: filepath.Join(c.dir, c.replicas[0].name), Listen: "none", Name: "nightshift chaos"})
}

// stateOn is the bucket of what the daemon remembers.
func stateOn(ctx context.Context, bus *events.Bus) (jetstream.KeyValue, error) {
	js, err := jetstream.New(bus.Conn())
	if err != nil {
		return nil, err
	}
	state, err := js.KeyValue(ctx, events.Bucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", events.Bucket, err)
	}
	return state, nil
}

// addApprovals adds what is stored as approved: a daemon that is killed between
// that and its answer has approved it all the same. Those that are answered are
// known anyhow, and the daemon forgets them some day.
func (c *chaos) addApprovals(ctx context.Context, state jetstream.KeyValue, h *promise.History) error {
	keys, err := state.ListKeysFiltered(ctx, "approved.>")
	if err != nil {
		return fmt.Errorf("list what was approved: %w", err)
	}
	for key := range keys.Keys() {
		entry, err := state.Get(ctx, key)
		if err != nil {
			return fmt.Errorf("read what was approved: %w", err)
		}
		var approved struct {
			At time.Time `json:"at"` // plan time
		}
		if err := json.Unmarshal(entry.Value(), &approved); err != nil {
			return fmt.Errorf("read what was approved, %s: %w", key, err)
		}
		run, at := strings.TrimPrefix(key, "approved."), c.clock.Machine(approved.At)
		if before, answered := h.Approved[run]; !answered || at.Before(before) {
			h.Approved[run] = at
		}
	}
	return nil
}

// knownSince is when the policies were known first, in machine time.
func (c *chaos) knownSince(ctx context.Context, state jetstream.KeyValue) (first time.Time, err error) {
	for i := range c.set.Policies {
		entry, err := state.Get(ctx, "policy."+c.set.Policies[i].Name)
		if err != nil {
			return first, fmt.Errorf("read since when policy %s is known: %w", c.set.Policies[i].Name, err)
		}
		var known struct {
			Since time.Time `json:"since"`
		}
		if err := json.Unmarshal(entry.Value(), &known); err != nil {
			return first, err
		}
		if at := c.clock.Machine(known.Since); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first, nil
}

// addActs adds what people did, and what reached the cloud.
func (c *chaos) addActs(h *promise.History) {
	for _, r := range c.cloud.requests() {
		switch {
		case !isPersons(r):
			h.Requests = append(h.Requests, r)
		case r.Effect:
			h.Hands = append(h.Hands, promise.Hand{At: r.Time, Instance: r.Instance, What: r.Op})
		}
	}
	c.acts.mu.Lock()
	defer c.acts.mu.Unlock()
	h.Hands = append(h.Hands, c.acts.hands...)
	h.Keeps, h.Pauses, h.Fleets = c.acts.keeps, c.acts.pauses, c.acts.fleets
	for _, a := range c.acts.approved {
		for _, region := range c.set.Regions {
			h.Approved[strings.ToLower(region)+"."+events.HeldID(a.trigger)] = a.at
		}
	}
}

// lostOnTheWay looks for what NATS said is stored, and nobody took up.
func (c *chaos) lostOnTheWay(h *promise.History) (breaches []promise.Breach) {
	if !h.Settled {
		return nil
	}
	ended, touched := make(map[string]bool), make(map[string]bool)
	for _, rec := range h.Events {
		if rec.Outcome.Ends() {
			ended[rec.ActionID] = true
		}
		touched[rec.Trigger] = true
	}
	for i := range h.Runs {
		touched[h.Runs[i].Origin()] = true
	}
	c.acts.mu.Lock()
	defer c.acts.mu.Unlock()
	for _, s := range c.acts.sent {
		isLoad := s.action == "" && strings.Contains(s.trigger, "-l") // a load that no policy acts upon is no run
		if s.action != "" && !ended[s.action] || s.action == "" && !isLoad && !touched[s.trigger] {
			breaches = append(breaches, promise.Breach{Rule: "nothing sent is lost", Action: s.action,
				Says: fmt.Sprintf("%s was stored at %s as message %d, trigger %s, and nothing came of it", s.what, s.at.UTC().Format("15:04:05.000"), s.seq, s.trigger)})
		}
	}
	return breaches
}

// write puts the evidence beside the logs, a record a line.
func (c *chaos) write(h *promise.History) error {
	return errors.Join(
		writeLines(filepath.Join(c.dir, "events.jsonl"), h.Events, func(rec events.Record) any {
			return struct {
				Seq    uint64    `json:"seq"`
				Stored time.Time `json:"stored"`
				events.Record
			}{rec.Seq, rec.StoredAt, rec}
		}),
		writeLines(filepath.Join(c.dir, "runs.jsonl"), h.Runs, func(r events.Run) any { return r }),
		writeLines(filepath.Join(c.dir, "ticks.jsonl"), h.Ticks, func(t events.Tick) any { return t }),
		writeLines(filepath.Join(c.dir, "requests.jsonl"), c.cloud.requests(), func(r civosim.Request) any { return r }),
		writeLines(filepath.Join(c.dir, "keeps.jsonl"), h.Keeps, func(k promise.Keep) any { return k }),
		writeLines(filepath.Join(c.dir, "pauses.jsonl"), h.Pauses, func(p policies.Pause) any { return p }),
		writeLines(filepath.Join(c.dir, "hands.jsonl"), h.Hands, func(x promise.Hand) any { return x }),
	)
}

func writeLines[T any](path string, all []T, form func(T) any) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for _, x := range all {
		if err := enc.Encode(form(x)); err != nil {
			return err
		}
	}
	return w.Flush()
}
