package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"nightshift/events"
	"nightshift/policies"
)

// A trigger passes three steps, each behind a durable stream. A crash between
// two steps repeats one; it never loses one. So every step bears being repeated.
//
//	fireTicks    announce the planned times       (the first replica wins)
//	planTrigger  inventory + policies -> runs     (pure: policies.Decide; stored once per region)
//	carryOut     still right? -> act -> outcome   (action by action, by rails and ledger)

// fireTicks stores a tick for each edge up to now, and only then remembers that
// it did: after a crash in between they are stored again, and refused.
func (s *scheduler) fireTicks(ctx context.Context, now time.Time) error {
	if set := s.rules.set(); s.memory == nil || s.set != set { // at the start, and after an edit of the file
		if err := s.load(ctx, set, now); err != nil {
			return err
		}
	}
	s.lookAhead(now)
	if err := s.fireLate(ctx, now); err != nil { // what lies behind the newest edge that was fired
		return err
	}
	if err := s.fireUnseen(ctx, now); err != nil {
		return err
	}
	if err := s.rewind(ctx, now); err != nil {
		return err
	}
	ticks := s.due(now)
	if known, err := s.learnFired(ctx, ticks, now); err != nil {
		return err
	} else if known {
		ticks = s.due(now)
	}
	stored, err := s.bus.PublishTicks(ctx, ticks)
	if err != nil {
		return err
	}
	for i, t := range ticks {
		if !stored[i] {
			if err := s.fireBefore(ctx, t, now); err != nil {
				return err
			}
		}
		passed(tickStored, "")
		s.log.Debug("tick", zap.String(keyPolicy, t.Policy), zap.Time(keyPlanned, t.Planned),
			zap.Duration(keyLateness, now.Sub(t.Planned)), zap.Bool("stored", stored[i]), zap.Int("missed", t.Missed))
	}
	s.blind.took(ticks)
	return s.rememberFired(ctx, ticks)
}

// learnFired takes up what other replicas have fired of policies that seem to have
// missed edges more than a week ago, and reports whether there was any: the ticks that
// would show it are no longer stored.
func (s *scheduler) learnFired(ctx context.Context, ticks []events.Tick, now time.Time) (learned bool, err error) {
	for _, t := range ticks {
		own := s.memory[t.Policy]
		if t.Missed == 0 || !own.Last.Before(now.Add(-maxCatchUp)) {
			continue
		}
		m, err := s.recall(ctx, t.Policy)
		if err != nil {
			return false, fmt.Errorf("read the memory of policy %s: %w", t.Policy, err)
		}
		if m.Hash == own.Hash && m.Last.After(own.Last) {
			s.memory[t.Policy], learned = m, true
		}
	}
	return learned, nil
}

// rememberFired remembers the newest edge of each policy that is stored.
func (s *scheduler) rememberFired(ctx context.Context, ticks []events.Tick) error {
	fired := make(map[string]policyMemory)
	for _, t := range ticks {
		m, ok := fired[t.Policy]
		if !ok {
			m = s.memory[t.Policy]
		}
		if t.Planned.After(m.Last) {
			m.Last = t.Planned
			fired[t.Policy] = m
		}
	}
	g, writing := errgroup.WithContext(ctx) // ends with this call
	g.SetLimit(statesAtOnce)
	for policy, m := range fired {
		g.Go(func() error { return s.remember(writing, policy, m) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	passed(tickRemembered, "")
	maps.Copy(s.memory, fired)
	return nil
}

// planTrigger decides what a trigger asks for and stores it as one run per
// region, before anything is done. A region that cannot be listed is put off
// alone; it never counts as empty.
func (p *planner) planTrigger(ctx context.Context, in *events.Incoming) error {
	trig, err := p.trigger(ctx, in)
	if err != nil {
		return err
	}
	if in.Tick != nil && p.clock.Now().Before(trig.At) {
		return errTooEarly // what is wanted now is not what is wanted then
	}
	regions, inv, faults, err := p.inventoryFor(ctx, in, trig)
	if err != nil {
		return err
	}
	facts, err := p.facts(ctx, trig, regions)
	if err != nil {
		return fmt.Errorf("read what is remembered for trigger %s: %w", trig.ID, err)
	}
	now := maxTime(p.clock.Now(), trig.At)                  // the replica that announced it may have a faster clock
	plan := policies.Decide(p.set(), inv, facts, trig, now) // all policies: two may want the same instance
	if trig.Signal != nil && trig.Signal.Load != "" && p.loads.isSaid(plan, trig.At) {
		return errors.Join(faults...) // a load that nobody acts upon is remembered where a policy waits for it, and is no run
	}
	for _, run := range p.runs(trig, regions, plan) {
		run.Asked = askedBy(in)
		err := p.putAsked(ctx, in, run) // skips too: a skip is an answer
		if errors.Is(err, errIDUsed) {
			return nil // and told
		}
		if err != nil {
			return fmt.Errorf("store run %s of %s: %w", run.Trigger, run.Region, err)
		}
	}
	if trig.Signal != nil && trig.Signal.Load != "" {
		p.loads.say(plan, trig.At)
	}
	if len(faults) == 0 { // else a part of the run is still to come, and is asked about, too
		p.memory.putSizes(ctx, plan.Sizes)
	}
	p.logPlan(trig, plan)
	return errors.Join(faults...)
}

// carryOut brings one action to its outcome and returns nil, or returns why it
// could not: then its run is delivered again.
func (r *runner) carryOut(ctx context.Context, a *attempt) (err error) {
	defer func() {
		if err != nil { // who goes on need not wait for the deadline of a call that is answered
			err = errors.Join(err, r.noteAccepted(ctx, a))
		}
	}()
	for {
		trail, err := r.trail(ctx, a)
		if err != nil {
			return err
		}
		if end, isEnded := trail.Outcome(); isEnded {
			a.end = verdict{outcome: end.Outcome, reason: policies.Reason(end.Reason)}
			r.lives.end(a.item.ID)
			a.canary.ended(a.item.ID, end.Outcome, cmp.Or(end.Error, end.Detail), end.StoredAt)
			if r.memory.breakerOf(a.item.Policy).Trial == a.item.ID { // whoever stored the outcome was killed before he counted it
				r.judge(ctx, a.item, verdict{outcome: end.Outcome, reason: policies.Reason(end.Reason), detail: end.Detail, err: end.Error})
			}
			return nil
		}
		a.made = attempts(trail)
		n, err := r.step(ctx, a, trail)
		if err != nil {
			return err
		}
		if n.outcome != nil {
			a.accepted = nil // the outcome says it
			return r.end(ctx, a, *n.outcome)
		}
		if n.turn != nil {
			err = r.await(ctx, a, n.turn)
		} else {
			began, release := time.Now(), func() {}
			if n.ours {
				release = a.turns.keep(a.item.ID)
			}
			err = r.wait(ctx, a, n.after)
			release()
			if n.ours {
				a.imposed += time.Since(began)
			}
		}
		if err != nil { // the daemon ends
			return err
		}
		if !r.embedded {
			a.read = nil // another replica may have added to it meanwhile
		}
	}
}

// step takes an action one step further, from what the ledger says of its last
// call: verify what was accepted, look where an answer was lost, else check the
// rails on a fresh reading and call.
func (r *runner) step(ctx context.Context, a *attempt, trail events.Trail) (next, error) {
	switch last, ok := lastCall(trail); {
	case a.accepted != nil:
		return r.verify(ctx, a, *a.accepted)
	case ok && last.Outcome == events.Accepted:
		return r.verify(ctx, a, last)
	case ok && last.Outcome == events.Started:
		return r.afterLostAnswer(ctx, a, last)
	}
	if v, ok := plannedEnd(a.item); ok {
		return ended(v), nil
	}
	if r.isPast(a.seq) {
		return r.leftBehind(a.item), nil
	}
	if n, stop, err := r.afterDamage(ctx, a); stop || err != nil {
		return n, err
	}
	if due := r.due(a); time.Now().Before(due) && !a.life.isOvertaken() {
		return lookAgain(r.lookAtDue(a, due)), r.note(ctx, a, "is due at "+r.clock.Plan(due).Format(time.RFC3339), "")
	}
	r.lives.due(a.life)
	if a.item.Kind == string(policies.KindNotify) {
		return r.tell(ctx, a, trail)
	}
	if n, stop, err := r.awaitCanary(ctx, a); stop || err != nil {
		return n, err
	}
	release, err := r.slot(ctx, a)
	if err != nil {
		return next{}, err
	}
	defer release()
	return r.act(ctx, a, trail)
}

// due is when an action may begin. A tick that a faster clock announced, and that
// a faster one planned, waits for ours: the rails ask what is wanted now.
func (r *runner) due(a *attempt) time.Time {
	due := a.item.NotBefore
	if a.run.Kind == "tick" {
		due = maxTime(due, r.clock.Machine(a.item.Planned))
	}
	return due
}

// lookAtDue is when what is not due is looked at again. How far a tick's time lies
// ahead is known by the clock alone: one that is months behind would have it wait for
// months, and be right the next minute.
func (r *runner) lookAtDue(a *attempt, due time.Time) time.Time {
	if soon := time.Now().Add(clockPoll); a.run.Kind == "tick" && !r.clock.IsFast() && r.clock.Machine(a.item.Planned).After(soon) {
		return minTime(due, soon)
	}
	return due
}
