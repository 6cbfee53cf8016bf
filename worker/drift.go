package worker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

const (
	driftEvery = policies.DriftEvery
	// driftApart is the least time between two looks (machine time), where plan
	// time runs fast.
	driftApart = 5 * time.Second
)

// lookForDrift announces a look every ten minutes, as a tick like any other: of
// several replicas one has it planned.
func (s *scheduler) lookForDrift(ctx context.Context) error {
	every := driftEvery
	for s.clock.Machine(s.clock.Now().Add(every)).Before(time.Now().Add(driftApart)) {
		every *= 2
	}
	for {
		next := s.clock.Now().Truncate(every).Add(every)
		if sleepUntil(ctx, s.clock.Machine(next)) != nil {
			return nil
		}
		if s.check.ok(ctx) != nil {
			continue
		}
		t := events.Tick{Policy: policies.DriftSource, Planned: next, Hash: noHash, Trigger: "d" + strconv.FormatInt(next.Unix(), 10)}
		if _, err := s.bus.PublishTick(ctx, t); err != nil && ctx.Err() == nil {
			s.log.Warn("a look for drift is left out", zap.Error(err))
		}
	}
}

// planDrift compares levels and tags with what is. What is to be mended is stored
// as a run; what is only reported is noticed once.
func (p *planner) planDrift(ctx context.Context, in *events.Incoming) error {
	if p.clock.Now().Sub(in.Tick.Planned) > driftEvery && time.Since(in.StoredAt) > driftApart {
		return nil // a newer look comes
	}
	trig := policies.Trigger{ID: in.Tick.Trigger, At: in.Tick.Planned, Drift: true}
	regions, inv, faults, err := p.inventoryFor(ctx, in, trig)
	if err != nil {
		return err
	}
	if len(faults) > 0 {
		p.log.Warn("not looked for drift", zap.Error(errors.Join(faults...)))
	}
	facts := p.memory.facts()
	p.inv.addFleet(&facts)
	plan := policies.Decide(p.set(), inv, facts, trig, p.clock.Now())
	for _, s := range plan.Skips {
		open, err := p.isOpen(ctx, s.Region, s.Instance, s.Kind)
		if err != nil {
			return err
		}
		if open {
			continue // it is being brought there
		}
		if s.Reason == policies.ReasonFloor {
			said, err := p.isFloorSaid(ctx, &s, facts)
			if err != nil {
				return err
			}
			if said {
				continue
			}
		}
		if err := p.noticeDrift(ctx, s); err != nil {
			return err
		}
	}
	for _, inst := range inv {
		for _, f := range p.set().TagFaults(inst) {
			if err := p.noticeTag(ctx, inst, f); err != nil {
				return err
			}
		}
	}
	plan.Skips = nil
	var left []policies.Action
	for _, a := range plan.Actions { // a run that waits, or that was asked for already, is not to be overtaken by the same again
		open, err := p.isOpen(ctx, a.Region, a.Instance, a.Kind)
		if err != nil {
			return err
		}
		if !open && (a.Hold == "" || !p.lives.isHeld(strings.ToLower(a.Region), a.Instance, string(a.Kind))) {
			left = append(left, a)
		}
	}
	plan.Actions = left
	for _, run := range p.runs(trig, regions, plan) {
		if len(run.Items) == 0 {
			continue
		}
		if _, err := p.bus.StoreRun(ctx, run); err != nil {
			return fmt.Errorf("store run %s of %s: %w", run.Trigger, run.Region, err)
		}
	}
	return nil // a mend of one or two is no run that anybody has seen: how many a policy selects is learned at its edges
}

// isFloorSaid reports whether the edge that a mend is about has said itself that a
// floor keeps the instance up. Else the mend says so, once for that edge.
func (p *planner) isFloorSaid(ctx context.Context, s *policies.Skip, facts policies.Facts) (bool, error) {
	last := p.inv.last(s.Region)
	if last == nil {
		return true, nil
	}
	inst, _ := last.Instance(s.Instance)
	w, ok := p.set().Winner(inst, facts, p.clock.Now())
	if !ok {
		return true, nil // it is wanted so no longer
	}
	s.Planned = w.Since
	for rec, err := range p.bus.Records(ctx, events.InstanceFilter(strings.ToLower(s.Region), s.Instance), p.clock.Machine(w.Since).Add(-time.Minute)) {
		switch {
		case err != nil:
			return false, fmt.Errorf("see whether it was said that a floor keeps instance %s: %w", s.Instance, err)
		case rec.Reason == string(policies.ReasonFloor):
			return true, nil
		}
	}
	return false, nil
}

// isOpen reports whether this replica or another is about to bring an instance to
// a state of a kind.
func (p *planner) isOpen(ctx context.Context, region, instance string, of policies.Kind) (bool, error) {
	region, kind := strings.ToLower(region), string(of)
	if p.lives.isOpen(region, instance, kind) {
		return true, nil
	}
	id := p.lives.elsewhere(region, instance, kind)
	if id == "" {
		return false, nil
	}
	trail, err := p.bus.Trail(ctx, region, instance, id)
	if err != nil {
		return false, fmt.Errorf("see whether action %s of another replica has ended: %w", id, err)
	}
	if _, ended := trail.Outcome(); !ended {
		return true, nil
	}
	p.lives.endedElsewhere(region, instance, kind, id)
	return false, nil
}

func (p *planner) noticeDrift(ctx context.Context, s policies.Skip) error {
	rec := events.Record{
		ActionID: policies.ActionID("drift "+string(s.Reason)+" "+s.Policy, int(s.Planned.Unix()), s.Instance, s.Kind), Action: "power", Reason: string(s.Reason),
		Detail: s.Why + "; " + s.Detail, Trigger: "drift", Policy: s.Policy, Revision: p.rules.hash(s.Policy), Region: strings.ToLower(s.Region), Instance: s.Instance, Hostname: s.Hostname, Planned: s.Planned.UTC(),
	}
	if err := p.bus.PublishNoticed(ctx, rec); err != nil {
		return fmt.Errorf("report drift of instance %s: %w", s.Instance, err)
	}
	return nil
}

func (p *planner) noticeTag(ctx context.Context, inst policies.Instance, f policies.TagFault) error {
	rec := events.Record{
		ActionID: policies.ActionID("tag "+f.Tag, 0, inst.ID, policies.KindTags), Action: string(policies.KindTags), Reason: string(policies.ReasonInvalid),
		Detail: "tag " + f.Tag + ": " + f.Msg, Trigger: "drift", Region: strings.ToLower(inst.Region), Instance: inst.ID, Hostname: inst.Hostname,
	}
	if err := p.bus.PublishNoticed(ctx, rec); err != nil {
		return fmt.Errorf("report a tag of instance %s: %w", inst.ID, err)
	}
	return nil
}
