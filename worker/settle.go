package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"nightshift/events"
)

// UnsettledRequest asks for the actions whose outcome is unknown and that nobody
// has settled: nightshift.v1.ctl.unsettled.
type UnsettledRequest struct{}

// UnsettledAnswer lists them, oldest first.
type UnsettledAnswer struct {
	Actions []UnknownInfo `json:"actions"`
}

// UnknownInfo is an action of which nobody could tell what became of it, with
// what is known.
type UnknownInfo struct {
	ActionID string    `json:"action_id"`
	Action   string    `json:"action"`
	Region   string    `json:"region"`
	Instance string    `json:"instance"`
	Hostname string    `json:"hostname,omitempty"`
	Policy   string    `json:"policy,omitempty"`
	Who      string    `json:"who,omitempty"` // publisher of the command
	Trigger  string    `json:"trigger"`
	EndedAt  time.Time `json:"ended_at"`            // machine time of the outcome
	CalledAt time.Time `json:"called_at,omitzero"`  // the call was announced or accepted
	SeenAt   time.Time `json:"seen_at,omitzero"`    // the instance was last seen; zero: not since the call
	Before   string    `json:"before,omitempty"`    // its state before the call
	LastSeen string    `json:"last_seen,omitempty"` // its state at SeenAt
	Detail   string    `json:"detail,omitempty"`
	Error    string    `json:"error,omitempty"`
	Settled  string    `json:"settled,omitempty"` // done or failed, as somebody found
}

// Words with which an unknown action is settled.
const (
	settledDone   = string(events.Done)
	settledFailed = string(events.Failed)
)

func (w *Worker) unsettled(ctx context.Context, _ UnsettledRequest) (UnsettledAnswer, error) {
	answer := UnsettledAnswer{Actions: []UnknownInfo{}}
	for rec, err := range w.bus.Records(ctx, events.OutcomeFilter("*", events.Unknown), time.Time{}) {
		if err != nil {
			return answer, err
		}
		settled, err := w.settledAs(ctx, rec.Region, rec.Instance, rec.ActionID)
		if err != nil {
			return answer, err
		}
		if settled == "" {
			answer.Actions = append(answer.Actions, unknownInfo(rec))
		}
	}
	return answer, nil
}

func unknownInfo(rec events.Record) UnknownInfo {
	return UnknownInfo{
		ActionID: rec.ActionID, Action: rec.Action, Region: rec.Region, Instance: rec.Instance, Hostname: rec.Hostname, Policy: rec.Policy, Who: rec.Who,
		Trigger: rec.Trigger, EndedAt: rec.StoredAt.UTC(), CalledAt: rec.CalledAt, SeenAt: rec.SeenAt, Before: rec.Before, LastSeen: rec.After, Detail: rec.Detail, Error: rec.Error,
	}
}

// settledAs is how an unknown action was settled, empty when it was not.
func (w *Worker) settledAs(ctx context.Context, region, instance, actionID string) (string, error) {
	trail, err := w.bus.Trail(ctx, region, instance, actionID)
	if err != nil {
		return "", err
	}
	for _, rec := range trail.Records {
		if rec.Outcome == events.Settled {
			return rec.Reason, nil
		}
	}
	return "", nil
}

// addSettled says of the unknown actions of runs how they were settled.
func (w *Worker) addSettled(ctx context.Context, runs map[string]*RunInfo) error {
	for _, r := range runs {
		for i := range r.Items {
			it := &r.Items[i]
			if it.Outcome != string(events.Unknown) {
				continue
			}
			var err error
			if it.Settled, err = w.settledAs(ctx, it.Region, it.Instance, it.ActionID); err != nil {
				return err
			}
		}
	}
	return nil
}

// SettleRequest says how an action ended whose outcome is unknown:
// nightshift.v1.ctl.settle.<who>. The outcome stays what it is; a note is added, after
// which the action is neither shown as failed nor asked for again by retry. Said
// twice, the newer counts.
type SettleRequest struct {
	ActionID string `json:"action_id"`
	As       string `json:"as,omitempty"`  // done (default) or failed
	Reason   string `json:"reason"`        // how somebody knows
	Who      string `json:"who,omitempty"` // as the sender says
}

// SettleAnswer is the action that was settled.
type SettleAnswer struct {
	UnknownInfo
}

func (w *Worker) settle(ctx context.Context, who string, req SettleRequest) (answer SettleAnswer, err error) {
	as := req.As
	switch {
	case req.ActionID == "":
		return answer, events.Refuse(400, `name an action: {"action_id": "<id>", "reason": "<how you know>"}; nightshift settle lists those that are unknown`)
	case strings.TrimSpace(req.Reason) == "":
		return answer, events.Refuse(400, "say how you know, for those who read it later: reason is empty")
	case as == "":
		as = settledDone
	case as != settledDone && as != settledFailed:
		return answer, events.Refuse(400, "as %q is neither done nor failed", as)
	}
	rec, err := w.outcomeOf(ctx, req.ActionID)
	if err != nil {
		return answer, err
	}
	if rec.Outcome != events.Unknown {
		return answer, events.Refuse(409, "%s of %s ended as %s: only what is unknown is settled", rec.Action, firstName(rec), rec.Outcome)
	}
	answer.UnknownInfo = unknownInfo(rec)
	answer.Settled = as
	note := rec
	note.Outcome, note.Reason, note.Detail, note.Error, note.Who, note.Claim = events.Settled, as, req.Reason, "", who, clip(req.Who)
	note.CalledAt, note.SeenAt, note.Lateness, note.Attempt = time.Time{}, time.Time{}, "", 0
	if err := w.bus.PublishNote(ctx, note); err != nil {
		return answer, fmt.Errorf("settle action %s: %w", req.ActionID, err)
	}
	return answer, nil
}

// outcomeOf finds the outcome of an action by its id alone.
func (w *Worker) outcomeOf(ctx context.Context, actionID string) (events.Record, error) {
	filter, err := events.AnywhereFilter(actionID)
	if err != nil {
		return events.Record{}, events.Refuse(400, "%v", err)
	}
	known := false
	for rec, err := range w.bus.Records(ctx, filter, time.Time{}) {
		if err != nil {
			return rec, err
		}
		if rec.Outcome.Ends() {
			return rec, nil
		}
		known = true
	}
	if known {
		return events.Record{}, events.Refuse(409, "action %s is under way: it has no outcome yet", actionID)
	}
	return events.Record{}, events.Refuse(404, "there is no action %s within the last 30 days; nightshift settle lists those that are unknown", actionID)
}

func firstName(rec events.Record) string {
	if rec.Hostname != "" {
		return rec.Hostname
	}
	return rec.Instance
}
