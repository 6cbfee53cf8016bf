package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"nightshift/policies"
)

// ExplainRequest asks for the whole argument about an instance:
// nightshift.v1.ctl.explain.
type ExplainRequest struct {
	Instance string    `json:"instance"`    // id
	Region   string    `json:"region"`      // code
	At       time.Time `json:"at,omitzero"` // plan time; zero: now
}

// ExplainAnswer is the argument, with what is remembered of the instance.
type ExplainAnswer struct {
	policies.Explanation
	Hand *policies.Hand `json:"hand,omitempty"` // the newest change that somebody else made
}

func (w *Worker) explain(ctx context.Context, body []byte) (any, error) {
	var req ExplainRequest
	if err := json.Unmarshal(body, &req); err != nil || req.Instance == "" || req.Region == "" {
		return nil, errors.New(`explain wants {"instance": "<id>", "region": "<code>", "at": "<RFC 3339, optional>"}`)
	}
	if !w.inv.Has(req.Region) {
		return nil, fmt.Errorf("region %s is not one of the daemon's (%s)", strings.ToUpper(req.Region), strings.Join(w.set.Regions, ", "))
	}
	reading, err := w.inv.Reading(ctx, req.Region, time.Now().Add(-planReadingAge))
	if err != nil {
		return nil, err
	}
	inst, ok := reading.Instance(req.Instance)
	if !ok {
		return nil, fmt.Errorf("no instance %s is in %s", req.Instance, reading.Region)
	}
	at := req.At
	if at.IsZero() {
		at = w.o.Clock.Now()
	}
	facts := w.memory.facts()
	answer := ExplainAnswer{Explanation: policies.Explain(w.set, inst, facts, at)}
	if h, ok := facts.Hands[inst.ID]; ok {
		answer.Hand = &h
	}
	return answer, nil
}
