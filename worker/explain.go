package worker

import (
	"context"

	"nightshift/events"
	"nightshift/policies"
)

// ExplainRequest asks for the whole argument about an instance:
// nightshift.v1.ctl.explain.
type ExplainRequest struct {
	Instance string `json:"instance"`     // id
	Region   string `json:"region"`       // code
	At       string `json:"at,omitempty"` // plan time, as [Worker.instant] reads it; empty: now
}

// ExplainAnswer is the argument, with what is remembered of the instance.
type ExplainAnswer struct {
	policies.Explanation
	Timezone string         `json:"timezone"`       // of the policy file
	Hand     *policies.Hand `json:"hand,omitempty"` // the newest change that somebody else made
}

func (w *Worker) explain(ctx context.Context, req ExplainRequest) (answer ExplainAnswer, err error) {
	inst, err := w.instance(ctx, req.Region, req.Instance, planReadingAge)
	if err != nil {
		return answer, err
	}
	at := w.o.Clock.Now()
	if req.At != "" {
		if at, err = w.instant(req.At, at); err != nil {
			return answer, events.Refuse(400, "at: %v", err)
		}
	}
	facts := w.facts()
	answer = ExplainAnswer{Explanation: policies.Explain(w.set(), inst, facts, at), Timezone: w.zone().String()}
	if h, ok := facts.Hands[inst.ID]; ok {
		answer.Hand = &h
	}
	return answer, nil
}
