package worker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// A store that was restored, or has lost something, does not know what was done
// since: what was asked for before is left behind (see [events.Past]).

// actStore is the action of notices about the store.
const actStore = "store"

// lookBack reads what lies behind the store, and says it once.
func (w *Worker) lookBack(ctx context.Context) error {
	past, err := w.bus.Past(ctx)
	if err != nil {
		return err
	}
	w.past = past
	if past.At.IsZero() {
		return nil
	}
	detail := fmt.Sprintf("the store was %s at %s: what was asked for before and not done is not done any more, and no edge of before fires", past.Why, past.At.Format(time.RFC3339))
	rec := events.Record{
		ActionID: policies.ActionID(actStore, 0, past.At.Format(time.RFC3339Nano), "past"), Action: actStore, Reason: "begins anew", Detail: detail, Who: past.By,
		Trigger: actStore, Region: events.None, Instance: events.None,
	}
	if err := w.bus.PublishNoticed(ctx, rec); err != nil {
		return fmt.Errorf("say that the store begins anew: %w", err)
	}
	w.o.Log.Warn("the store begins anew", zap.String(keyDetail, detail))
	return nil
}

// leaveBehind gives what came in before the store began anew the one event that
// says so. Where it is planned already, its actions have theirs.
func (p *planner) leaveBehind(ctx context.Context, in *events.Incoming) error {
	_, planned, err := p.storedPlan(ctx, in.TriggerID())
	if err != nil || planned {
		return err
	}
	detail := "it came before the store was " + p.past.Why + ": nobody knows whether it was done, so nothing is done"
	if in.Tick != nil {
		return p.endTick(ctx, in.Tick, detail)
	}
	rec := events.Record{Outcome: events.Expired, Detail: detail, Trigger: in.TriggerID()}
	switch {
	case in.Command != nil:
		rec.Action, rec.Who, rec.Region, rec.Instance = in.Command.Action, in.Command.Who, in.Command.Region, in.Command.Instance
	case in.Signal != nil:
		rec.Action, rec.Who, rec.Region, rec.Instance = "plan", in.Signal.Source, in.Signal.Region, in.Signal.Instance
	}
	rec.ActionID = policies.ActionID(rec.Trigger, 0, rec.Instance, policies.KindOf(policies.Verb(rec.Action)))
	if _, err := p.bus.PublishOutcome(ctx, rec); err != nil {
		return fmt.Errorf("report %s as expired: %w", in.Subject, err)
	}
	p.log.Warn("left behind", zap.String(keySubject, in.Subject), zap.String(keyDetail, detail))
	return nil
}

// isPast reports whether a run was stored before the store began anew.
func (r *runner) isPast(seq uint64) bool { return seq <= r.past.Run }

// leftBehind is how an action ends that was planned then and has no call.
func (r *runner) leftBehind(it events.Item) next {
	return ended(verdict{outcome: events.Expired, detail: "planned before the store was " + r.past.Why + ": nobody knows whether it was done, so nothing is done", before: it.Status})
}

// leaveBehind lets no edge of before the store began anew fire.
func (s *scheduler) leaveBehind(m policyMemory) policyMemory {
	if s.past.At.IsZero() {
		return m
	}
	m.Last = maxTime(m.Last, s.clock.Plan(s.past.At))
	return m
}
