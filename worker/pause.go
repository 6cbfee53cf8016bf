package worker

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// PauseRequest asks that all policies, one policy, or all policies on one instance
// fall silent: nightshift.v1.ctl.pause.<who>. The same scope ends it:
// nightshift.v1.ctl.resume.<who>.
type PauseRequest struct {
	All      bool   `json:"all,omitempty"`
	Policy   string `json:"policy,omitempty"`
	Instance string `json:"instance,omitempty"` // id, together with
	Region   string `json:"region,omitempty"`   // its region
	Until    string `json:"until,omitempty"`    // plan time, as [Worker.instant] reads it; or
	For      string `json:"for,omitempty"`      // a duration; neither: until it is resumed
	Reason   string `json:"reason,omitempty"`
	Who      string `json:"who,omitempty"` // as the sender says
}

// PauseAnswer says what is silent, or no longer.
type PauseAnswer struct {
	policies.Pause
	Hostname string `json:"hostname,omitempty"` // of the instance
	Timezone string `json:"timezone"`           // of the policy file
}

const pauseForm = `{"all": true}, {"policy": "<name>"} or {"instance": "<id>", "region": "<code>"}`

func (w *Worker) pause(ctx context.Context, who string, req PauseRequest) (answer PauseAnswer, err error) {
	if err := w.wall.refuse(ctx); err != nil {
		return answer, err
	}
	if answer, err = w.scopeOf(ctx, req); err != nil {
		return answer, err
	}
	now := w.o.Clock.Now()
	p := policies.Pause{Policy: req.Policy, Instance: req.Instance, Since: now, Who: who, Claim: clip(req.Who), Reason: req.Reason}
	if p.Until, err = w.until(req.Until, req.For, now); err != nil {
		return answer, err
	}
	answer.Pause = p
	if err := w.memory.putPause(ctx, p); err != nil {
		return answer, err
	}
	detail := scopeName(answer) + " is paused"
	if !p.Until.IsZero() {
		detail += " until " + w.clock(p.Until)
	}
	w.noticeAsked(ctx, asked{action: "pause", reason: string(policies.ReasonPaused), detail: detail, who: who, claim: req.Who, why: req.Reason, policy: req.Policy, inst: answer.instance(req)})
	return answer, nil
}

// instance is the one that a pause is about, if it is about one.
func (a PauseAnswer) instance(req PauseRequest) policies.Instance {
	return policies.Instance{ID: req.Instance, Region: req.Region, Hostname: a.Hostname}
}

// resume lets a pause end. That is an edge: what it held up is decided about anew.
func (w *Worker) resume(ctx context.Context, who string, req PauseRequest) (answer PauseAnswer, err error) {
	answer = PauseAnswer{Pause: policies.Pause{Policy: req.Policy, Instance: req.Instance}, Timezone: w.zone().String()}
	if !req.isOne() {
		return answer, events.Refuse(400, "name what it is about: "+pauseForm)
	}
	p, ok := w.memory.pauseOf(answer.Pause)
	if !ok { // say whether there is such a thing at all; a pause outlives what it is about
		if answer, err = w.scopeOf(ctx, req); err != nil {
			return answer, err
		}
	} else if inst, known := w.lastSeen(req.Region, req.Instance); known {
		answer.Hostname = inst.Hostname
	}
	if err := w.wall.refuse(ctx); err != nil {
		return answer, err
	}
	now := w.o.Clock.Now()
	if req.Policy != "" { // one that fell silent because its actions fail needs no trial then
		wasOpen, err := w.memory.closeBreaker(ctx, req.Policy)
		if err != nil {
			return answer, err
		}
		if wasOpen && (!ok || isOver(p.Until, now)) {
			answer.Pause.Until = now
			w.noticeAsked(ctx, asked{action: "pause", reason: "resumed", detail: scopeName(answer) + " needs no trial any more", who: who, claim: req.Who, why: req.Reason, policy: req.Policy})
			return answer, nil
		}
	}
	if !ok || isOver(p.Until, now) {
		if scopeName(answer) == scopeAll {
			return answer, events.Refuse(409, "nothing was paused: there is no pause of everything; nightshift status names the pauses that there are")
		}
		return answer, events.Refuse(409, "%s is not paused", scopeName(answer))
	}
	p.Until = now.Truncate(time.Second).Add(time.Second)
	answer.Pause = p
	if err := w.memory.putPause(ctx, p); err != nil {
		return answer, err
	}
	w.noticeAsked(ctx, asked{action: "pause", reason: "resumed", detail: scopeName(answer) + " is paused no longer", who: who, claim: req.Who, why: req.Reason, policy: req.Policy, inst: answer.instance(req)})
	return answer, nil
}

// isOver reports whether an exception with that end is over. What somebody ends does
// so with the next whole second, and is over for whoever asks meanwhile.
func isOver(until, now time.Time) bool {
	return !until.IsZero() && !now.Before(until.Add(-time.Second))
}

// isOne reports whether a request is about exactly one thing.
func (r *PauseRequest) isOne() bool {
	scopes := 0
	for _, given := range []bool{r.All, r.Policy != "", r.Instance != ""} {
		if given {
			scopes++
		}
	}
	return scopes == 1
}

// scopeOf checks what a request is about.
func (w *Worker) scopeOf(ctx context.Context, req PauseRequest) (answer PauseAnswer, err error) {
	if !req.isOne() {
		return answer, events.Refuse(400, "name what it is about: "+pauseForm)
	}
	answer = PauseAnswer{Pause: policies.Pause{Policy: req.Policy, Instance: req.Instance}, Timezone: w.zone().String()}
	switch {
	case req.Instance != "":
		if inst, known := w.lastSeen(req.Region, req.Instance); known {
			answer.Hostname = inst.Hostname
			return answer, nil
		}
		inst, err := w.instance(ctx, req.Region, req.Instance, railReadingAge)
		if err != nil {
			return answer, err
		}
		answer.Hostname = inst.Hostname
	case req.Policy != "":
		if _, ok := w.set().Policy(req.Policy); !ok {
			return answer, w.noPolicy(req.Policy)
		}
	}
	return answer, nil
}

// lastSeen is an instance of the last reading, however old: to fall silent must be
// possible while the API fails.
func (w *Worker) lastSeen(region, id string) (inst policies.Instance, known bool) {
	if last := w.inv.last(region); last != nil {
		inst, known = last.Instance(id)
	}
	return inst, known
}

// noPolicy names the policies that there are.
func (w *Worker) noPolicy(name string) error {
	const most = 30
	var names []string
	for i := range w.set().Policies {
		names = append(names, w.set().Policies[i].Name)
	}
	slices.Sort(names)
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return events.Refuse(404, "there is no policy %q; there are %s", name, strings.Join(names, ", "))
}

const scopeAll = "everything"

func scopeName(a PauseAnswer) string {
	switch {
	case a.Instance != "":
		return cmp.Or(a.Hostname, a.Instance)
	case a.Policy != "":
		return "policy " + a.Policy
	}
	return scopeAll
}

// pauseKey is the end of a pause's key in ns_state.
func pauseKey(p policies.Pause) string {
	switch {
	case p.Instance != "":
		return "instance." + p.Instance
	case p.Policy != "":
		return "policy." + p.Policy
	}
	return "all"
}

func (m *memory) pauseOf(scope policies.Pause) (policies.Pause, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.pauses[pauseKey(scope)]
	return p, ok
}

func (m *memory) putPause(ctx context.Context, p policies.Pause) error {
	if err := m.store(ctx, statePause+pauseKey(p), p); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pauses[pauseKey(p)] = p
	m.touch()
	return nil
}

// paused are the pauses that hold at an instant.
func (m *memory) paused(at time.Time) (pauses []policies.Pause) {
	for _, p := range m.facts().Pauses {
		if p.Holds(at) {
			pauses = append(pauses, p)
		}
	}
	slices.SortFunc(pauses, func(a, b policies.Pause) int { return cmp.Compare(pauseKey(a), pauseKey(b)) })
	return pauses
}
