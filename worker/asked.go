package worker

import (
	"cmp"
	"context"
	"strings"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// asked is what somebody asked the control service for that is no action: a keep,
// a pause, an approval.
type asked struct {
	action, reason, detail string
	who                    string            // as the subject says
	claim, why             string            // as the sender says
	policy                 string            // that it is about; or
	inst                   policies.Instance // the instance
}

// noticeAsked leaves it in the audit trail. It is in force by then, whether or not
// the notice can be stored.
func (w *Worker) noticeAsked(ctx context.Context, a asked) {
	id := newID()
	rec := events.Record{
		ActionID: policies.ActionID(a.action+" "+id, 0, a.inst.ID, policies.Kind(a.action)), Action: a.action, Reason: a.reason, Detail: a.detail, Why: clip(a.why),
		Trigger: events.CommandTrigger(a.who, id), Who: a.who, Claim: clip(a.claim), Policy: a.policy, Planned: w.o.Clock.Now(),
		Region: strings.ToLower(cmp.Or(a.inst.Region, events.None)), Instance: cmp.Or(a.inst.ID, events.None), Hostname: a.inst.Hostname,
	}
	if err := w.bus.PublishNoticed(ctx, rec); err != nil && ctx.Err() == nil {
		w.o.Log.Warn("a notice is not stored", zap.String(keyDetail, a.detail), zap.Error(err))
	}
}
