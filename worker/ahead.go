package worker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// aheadAgain is how often, at least, a tick whose time is far ahead is looked at again.
const aheadAgain = 10 * time.Minute

// aheadError hands back a tick whose time is far ahead.
type aheadError struct{ until time.Time }

func (e *aheadError) Error() string { return "its time is ahead: " + e.until.Format(time.RFC3339) }

// keepForItsTime is for a tick that was stored long before its time: a clock is
// wrong, or somebody else wrote it. That is said once, and loudly, and nothing is
// done. The tick is kept until its time, since it has taken the place of the one
// that the scheduler will announce then: to end it now would take the edge away.
func (p *planner) keepForItsTime(ctx context.Context, in *events.Incoming) error {
	t := in.Tick
	edge := edgeOf(t)
	rec := events.Record{
		ActionID: policies.ActionID(edge.ID(), 0, events.None, "ahead"), Action: "tick", Reason: "ahead",
		Detail: fmt.Sprintf("planned for %s, stored at %s: a clock is wrong, or somebody else wrote it; nothing is done before that time",
			t.Planned.Format(time.RFC3339), in.StoredAt.UTC().Format(time.RFC3339)),
		Trigger: t.Trigger, Policy: t.Policy, Revision: edge.Hash, Region: events.None, Instance: events.None, Planned: t.Planned,
	}
	if err := p.bus.PublishNoticed(ctx, rec); err != nil {
		return fmt.Errorf("say that edge %s is announced long before its time: %w", edge.ID(), err)
	}
	p.log.Warn("edge announced long before its time", zap.String(keyPolicy, t.Policy), zap.Time(keyPlanned, t.Planned), zap.Time("stored", in.StoredAt.UTC()))
	return &aheadError{p.clock.Machine(t.Planned)}
}
