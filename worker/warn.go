package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

const (
	// lookAhead bounds how often a stop that comes is looked for anew, where
	// none was found (machine time).
	lookAhead = time.Minute
	// maxAbout bounds the instances that a warning names.
	maxAbout = 100
	// postponeFor is how long after a stop its warning offers to keep an instance
	// running (plan time), owners.max permitting.
	postponeFor = 2 * time.Hour
)

// tell is the step that notifies: its outcome is what targets are told of. No
// call is made, so only the rails that are about the signal count.
func (r *runner) tell(ctx context.Context, a *attempt, trail events.Trail) (next, error) {
	if v, ok := r.tooLate(a, trail); ok {
		return ended(v), nil
	}
	l := &look{r: r, a: a, inst: policies.Instance{Status: a.item.Status}, now: time.Now()}
	for _, check := range []rail{resolved, stillHigh} {
		if n, stop, err := check(ctx, l); err != nil || stop {
			return n, err
		}
	}
	p, ok := r.set().Policy(a.item.Policy)
	if !ok {
		return ended(verdict{outcome: events.Skipped, reason: policies.ReasonPolicyChanged, detail: "policy " + a.item.Policy + " is gone"}), nil
	}
	// Beyond at_most nothing is done, and all the more somebody should know.
	if c, _, _, ok := r.memory.reserve(p, a.item.Instance, a.run.Origin(), l.boundsOf(p)); ok {
		if err := r.memory.store(ctx, stateCooldown+p.Name+"."+a.item.Instance, c); err != nil {
			return next{}, err
		}
	}
	return ended(verdict{outcome: events.Done, before: a.item.Status, to: a.item.To}), nil
}

// warner says before a stop comes that it comes.
type warner struct {
	w       *Worker
	agenda  *policies.Agenda
	set     *policies.Set       // that the agenda was made of
	version int                 // of the memory, likewise
	told    map[string]bool     // warnings by edge
	looked  map[int64]time.Time // machine time, by instant
}

func newWarner(w *Worker) *warner {
	return &warner{w: w, told: make(map[string]bool), looked: make(map[int64]time.Time)}
}

// run warns until ctx ends. Every replica does; the store keeps one warning.
func (a *warner) run(ctx context.Context) error {
	for {
		now := a.w.o.Clock.Now()
		if err := a.warn(ctx, now); err != nil && ctx.Err() == nil {
			a.w.o.Log.Warn("warnings not stored, will be tried again", zap.Error(err))
		}
		if sleepUntil(ctx, time.Now().Add(a.nap(now))) != nil {
			return nil
		}
	}
}

// longest is how long before its edge the first warning comes; 0: nobody is warned.
func longest(set *policies.Set) (before time.Duration) {
	for i := range set.Policies {
		if w := set.Policies[i].Warn; w != nil {
			before = max(before, w.Before)
		}
	}
	return before
}

// ahead is the agenda as of the newest readings and of what is remembered.
func (a *warner) ahead(now time.Time) *policies.Agenda {
	m, set := a.w.memory, a.w.set()
	m.mu.Lock()
	version := m.version
	m.mu.Unlock()
	if a.agenda == nil || a.version != version || a.set != set {
		a.agenda, a.version, a.set = set.Agenda(a.w.inv.known(), m.facts(), now), version, set
	}
	return a.agenda
}

// nap is how long no warning can be due, in machine time.
func (a *warner) nap(now time.Time) time.Duration {
	wait, set := maxNap, a.w.set()
	if longest(set) == 0 {
		return wait
	}
	agenda := a.ahead(now)
	for i := range set.Policies {
		if w := set.Policies[i].Warn; w != nil {
			if next := agenda.NextEdges(now.Add(w.Before), 1); len(next) > 0 {
				wait = min(wait, time.Until(a.w.o.Clock.Machine(next[0].Planned.Add(-w.Before))))
			}
		}
	}
	return max(wait, 10*time.Millisecond)
}

// warn stores the warnings that are due: at each instant ahead that a policy warns
// of, it is worked out what will be stopped.
func (a *warner) warn(ctx context.Context, now time.Time) error {
	set := a.w.set()
	before := longest(set)
	if before == 0 {
		return nil
	}
	var last time.Time
	for _, e := range a.ahead(now).Edges(now, now.Add(before)) {
		if e.Planned.Equal(last) {
			continue
		}
		last = e.Planned
		if err := a.warnOf(ctx, set, e.Planned, now); err != nil {
			return err
		}
	}
	return nil
}

func (a *warner) warnOf(ctx context.Context, set *policies.Set, at, now time.Time) error {
	var due []*policies.Policy
	for i := range set.Policies {
		p := &set.Policies[i]
		if p.Warn != nil && !now.Before(at.Add(-p.Warn.Before)) && !a.told[policies.Edge{Policy: p.Name, Planned: at}.ID()] {
			due = append(due, p)
		}
	}
	if len(due) == 0 || time.Since(a.looked[at.Unix()]) < lookAhead {
		return nil
	}
	a.looked[at.Unix()] = time.Now()
	for unix := range a.looked { // those that lie behind
		if time.Unix(unix, 0).Before(now) {
			delete(a.looked, unix)
		}
	}
	facts := a.w.memory.facts()
	unread := slices.ContainsFunc(set.Regions, func(r string) bool { return a.w.inv.last(r) == nil })
	if inv := a.w.inv.known(); !unread && !stopsAny(set, inv, facts, due, now, at) {
		return nil
	}
	inv, faults := a.w.readAll(ctx, set.Regions) // what people are told is not older than what is acted upon
	if len(faults) > 0 {
		a.w.o.Log.Warn("a warning lacks regions that cannot be read", zap.Strings("unread", faults))
	}
	stage := stageAt(set, inv, facts, now, at)
	for _, p := range due {
		if err := a.tell(ctx, set, p, stopsOf(stage, p), at, now); err != nil {
			return err
		}
	}
	return nil
}

// stageAt is what will be decided at an instant ahead, if all goes as planned
// until then.
func stageAt(set *policies.Set, inv []policies.Instance, facts policies.Facts, now, at time.Time) policies.Plan {
	stages := policies.Simulate(set, inv, facts, now, at)
	for _, s := range slices.Backward(stages) {
		if s.At.Equal(at) && len(s.Edges) > 0 {
			return s.Plan
		}
	}
	return policies.Plan{}
}

func stopsAny(set *policies.Set, inv []policies.Instance, facts policies.Facts, due []*policies.Policy, now, at time.Time) bool {
	stage := stageAt(set, inv, facts, now, at)
	return slices.ContainsFunc(due, func(p *policies.Policy) bool { return len(stopsOf(stage, p)) > 0 })
}

// stopsOf are the instances that a policy will stop. What will wait for approval
// is told of when it does.
func stopsOf(plan policies.Plan, p *policies.Policy) (about []events.Named) {
	for _, x := range plan.Actions {
		if x.Verb == policies.Stop && x.Policy == p.Name && x.Mode != policies.ModeObserve && x.Hold == "" {
			about = append(about, events.Named{Region: strings.ToLower(x.Region), Instance: x.Instance, Hostname: x.Hostname})
		}
	}
	return about
}

// tell stores one warning, once over all replicas.
func (a *warner) tell(ctx context.Context, set *policies.Set, p *policies.Policy, about []events.Named, at, now time.Time) error {
	if len(about) == 0 {
		return nil
	}
	edge := policies.Edge{Policy: p.Name, Planned: at}.ID()
	rec := events.Record{
		ActionID: policies.ActionID("warn "+edge, 0, events.None, events.ActionWarn), Action: events.ActionWarn, Reason: "will stop",
		Detail:  fmt.Sprintf("%d instances will be stopped", len(about)),
		Trigger: events.ActionWarn, Policy: p.Name, Region: events.None, Instance: events.None, Planned: at.UTC(), To: p.Warn.To,
		About: about[:min(len(about), maxAbout)], Count: len(about), Postpone: postponed(set, at, now),
	}
	if err := a.w.bus.PublishNoticed(ctx, rec); err != nil {
		return fmt.Errorf("warn of edge %s: %w", edge, err)
	}
	a.told[edge] = true
	for old := range a.told { // those that lie behind
		if unix, ok := edgeUnix(old); ok && time.Unix(unix, 0).Before(now) {
			delete(a.told, old)
		}
	}
	return nil
}

// postponed is until when one click may keep an instance running.
func postponed(set *policies.Set, at, now time.Time) time.Time {
	until := at.Add(postponeFor)
	if most := now.Add(set.Owners.MaxKeep()).Truncate(time.Second); most.Before(until) {
		until = most
	}
	if !until.After(at) {
		return time.Time{}
	}
	return until.UTC()
}
