package worker

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

// KeepRequest asks that an instance stays in a state: nightshift.v1.ctl.keep.<who>.
type KeepRequest struct {
	Instance string `json:"instance"` // id
	Region   string `json:"region"`   // code
	State    string `json:"state,omitempty"`
	Until    string `json:"until,omitempty"` // plan time, as [Worker.instant] reads it; or
	For      string `json:"for,omitempty"`   // a duration; neither: owners.max
	Reason   string `json:"reason,omitempty"`
	Who      string `json:"who,omitempty"` // as the sender says
	End      bool   `json:"end,omitempty"` // ends the keep that there is
}

// KeepAnswer says what is kept.
type KeepAnswer struct {
	Instance string    `json:"instance"`
	Hostname string    `json:"hostname"`
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Status   string    `json:"status"`   // of the instance, as last read
	Timezone string    `json:"timezone"` // of the policy file
	Ended    bool      `json:"ended,omitempty"`
	Mode     string    `json:"mode"` // of the policy file: under observe nothing is done
}

// keep stores or ends a keep. Both its begin and its end are edges, so an
// instance that is not as kept is made so at once.
func (w *Worker) keep(ctx context.Context, who string, req KeepRequest) (answer KeepAnswer, err error) {
	if err := w.wall.refuse(ctx); err != nil {
		return answer, err
	}
	inst, err := w.instance(ctx, req.Region, req.Instance, railReadingAge)
	if err != nil {
		return answer, err
	}
	answer = KeepAnswer{Instance: inst.ID, Hostname: inst.Hostname, Status: inst.Status, Timezone: w.zone().String(), Mode: string(w.set().Mode)}
	if req.End {
		k, ended, err := w.memory.endKeep(ctx, inst.ID)
		if err != nil {
			return answer, err
		}
		if !ended {
			return answer, events.Refuse(409, "%s is not kept by a command; a keep by tag ends when the tag goes", inst.Hostname)
		}
		answer.State, answer.Since, answer.Until, answer.Ended = stateName(k.State), k.Since, k.Until, true
		w.noticeAsked(ctx, asked{action: "keep", reason: "ended", detail: inst.Hostname + " is kept no longer", who: who, claim: req.Who, why: req.Reason, inst: inst})
		return answer, nil
	}
	if reason, detail := w.set().Untouchable(inst); reason != "" {
		return answer, events.Refuse(409, "%s is never touched: %s", inst.Hostname, detail)
	}
	k := policies.Keep{Who: who, Claim: clip(req.Who), Reason: req.Reason}
	var ok bool
	if k.State, ok = map[string]schedule.State{"running": schedule.Running, "stopped": schedule.Stopped, "asis": schedule.Any}[req.State]; !ok {
		return answer, events.Refuse(400, "state %q is none of running, stopped and asis", req.State)
	}
	now := w.o.Clock.Now()
	if k.Until, err = w.until(req.Until, req.For, now); err != nil {
		return answer, err
	}
	if k.Until.IsZero() {
		k.Until = now.Add(w.set().Owners.MaxKeep()).Truncate(time.Second).UTC()
	}
	if k, err = w.memory.putKeep(ctx, inst.ID, k); err != nil {
		return answer, err
	}
	answer.State, answer.Since, answer.Until = stateName(k.State), k.Since, k.Until
	detail := inst.Hostname + " is kept " + keptWord(k.State) + " until " + w.clock(k.Until)
	w.noticeAsked(ctx, asked{action: "keep", reason: string(policies.ReasonKept), detail: detail, who: who, claim: req.Who, why: req.Reason, inst: inst})
	return answer, nil
}

func (w *Worker) noRegion(region string) error {
	return events.Refuse(404, "region %s is not one of the daemon's (%s)", strings.ToUpper(region), strings.Join(w.set().Regions, ", "))
}

// instance is one instance of a region, on a reading no older than age (machine time).
func (w *Worker) instance(ctx context.Context, region, id string, age time.Duration) (policies.Instance, error) {
	if id == "" || region == "" {
		return policies.Instance{}, events.Refuse(400, "name an instance by id and region: {\"instance\": \"<id>\", \"region\": \"<code>\"}")
	}
	if !w.inv.Has(region) {
		return policies.Instance{}, w.noRegion(region)
	}
	reading, err := w.inv.Reading(ctx, region, time.Now().Add(-age))
	if err != nil {
		return policies.Instance{}, events.Refuse(503, "%v", err)
	}
	inst, ok := reading.Instance(id)
	if !ok {
		return inst, events.Refuse(404, "no instance %s is in %s%s", id, reading.Region, policies.Meant(w.inv.around(reading, w.set().Regions), id))
	}
	return inst, nil
}

// until is the end of an exception, of its two forms; zero when neither is given.
func (w *Worker) until(at, span string, now time.Time) (until time.Time, err error) {
	switch {
	case at != "" && span != "":
		return until, events.Refuse(400, "give either until or for")
	case at != "":
		if until, err = w.instant(at, now); err != nil {
			return until, events.Refuse(400, "until: %v; or as 22:00, the next one", err)
		}
	case span != "":
		d, err := time.ParseDuration(span)
		if err != nil || d <= 0 {
			return until, events.Refuse(400, "for %q is not a positive duration such as 3h", span)
		}
		until = now.Add(d)
	default:
		return until, nil
	}
	if !until.After(now) {
		return until, events.Refuse(400, "until %s lies in the past", until.Format(time.RFC3339))
	}
	return until.Truncate(time.Second).UTC(), nil
}

// instant reads an instant of plan time: a wall time such as 22:00, the next one
// in the zone of the policy file, or what [schedule.ParseInstant] reads.
func (w *Worker) instant(text string, now time.Time) (time.Time, error) {
	if _, err := time.Parse("15:04", text); err != nil {
		return schedule.ParseInstant(text, w.zone())
	}
	today := now.In(w.zone())
	for _, day := range []time.Time{today, today.AddDate(0, 0, 1)} {
		t, err := schedule.ParseInstant(day.Format(time.DateOnly)+"T"+text, w.zone())
		if err != nil || t.After(now) {
			return t, err
		}
	}
	return time.Time{}, fmt.Errorf("%s does not come within a day", text) // unreachable: one of two days has it
}

// zone is that of the policy file.
func (w *Worker) zone() *time.Location { return cmp.Or(w.set().Zone, time.UTC) }

// clock is an instant as people of the policy file's zone write it.
func (w *Worker) clock(t time.Time) string { return t.In(w.zone()).Format("2006-01-02 15:04:05 MST") }

func keptWord(s schedule.State) string {
	if s == schedule.Any {
		return "as it is"
	}
	return string(s)
}

func stateName(s schedule.State) string {
	if s == schedule.Any {
		return "asis"
	}
	return string(s)
}
