package worker

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// RunsRequest asks for the runs of late: nightshift.v1.ctl.runs.
type RunsRequest struct {
	Since  time.Time `json:"since,omitzero"`   // machine time; zero: a day ago
	Run    string    `json:"run,omitempty"`    // one run: a trigger id, or <policy>@<time>; its items are listed, too
	Failed bool      `json:"failed,omitempty"` // only those of which something failed, expired or is unknown
	Limit  int       `json:"limit,omitempty"`  // of a list; 0: 50
	Skip   int       `json:"skip,omitempty"`   // of one run: leave out so many actions, those of the pages before
}

// RunsAnswer lists runs, newest first.
type RunsAnswer struct {
	Runs     []RunInfo `json:"runs"`
	More     bool      `json:"more,omitempty"` // older ones are not listed
	Timezone string    `json:"timezone"`       // of the policy file
}

// RunInfo is one run: what a trigger asked for, over all regions.
type RunInfo struct {
	Trigger   string         `json:"trigger"`
	Name      string         `json:"name"` // what it is called for people: dev-hours@2026-11-27T19:00
	Kind      string         `json:"kind"` // tick, command, signal, drift
	Who       string         `json:"who,omitempty"`
	Claim     string         `json:"claim,omitempty"` // name that whoever asked gives
	Planned   time.Time      `json:"planned"`         // plan time
	State     string         `json:"state"`           // held, under way, ended
	Held      string         `json:"held,omitempty"`
	HeldUntil time.Time      `json:"held_until,omitzero"` // machine time
	Counts    map[string]int `json:"counts"`              // by outcome, or outcome (reason); under way for what has none
	Why       string         `json:"why,omitempty"`       // when there is nothing to do
	Retries   string         `json:"retries,omitempty"`   // trigger of the run that it asks for again
	Undoes    string         `json:"undoes,omitempty"`    // trigger of the run that it undoes
	// Items are the actions of one run, 1,000 at most; ItemsInAll is how many it has.
	Items      []ItemInfo `json:"items,omitempty"`
	ItemsInAll int        `json:"items_in_all"`

	seq      uint64       // of its newest part
	storedAt time.Time    // of its oldest part
	held     []events.Run // its parts that were held
}

// ItemInfo is one action of a run, with how it ended.
type ItemInfo struct {
	ActionID string `json:"action_id"`
	Action   string `json:"action"`
	Region   string `json:"region"`
	Instance string `json:"instance"`
	Hostname string `json:"hostname,omitempty"`
	Policy   string `json:"policy,omitempty"`
	Outcome  string `json:"outcome,omitempty"` // empty: under way
	Note     string `json:"note,omitempty"`    // how far it is while it is under way: the newest note
	Reason   string `json:"reason,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Error    string `json:"error,omitempty"`
	Before   string `json:"before,omitempty"`
	After    string `json:"after,omitempty"`
	Settled  string `json:"settled,omitempty"` // of what is unknown: done or failed, as somebody found

	item events.Item
}

// States of a run.
const (
	runHeld     = "held"
	runUnderWay = "under way"
	runEnded    = "ended"
)

// runsListed is how many runs a list has unless it is asked for more or fewer, and
// runsPage how many are read at a time where only some of them are wanted.
const (
	runsListed = 50
	runsPage   = 100
)

func (w *Worker) runs(ctx context.Context, req RunsRequest) (RunsAnswer, error) {
	answer := RunsAnswer{Runs: []RunInfo{}, Timezone: w.zone().String()}
	if req.Limit < 0 {
		return answer, events.Refuse(400, "limit %d is below 0", req.Limit)
	}
	if req.Run != "" {
		found, err := w.runsNamed(ctx, req.Run)
		if err != nil {
			return answer, err
		}
		for _, r := range found {
			r.Items = r.Items[min(max(req.Skip, 0), len(r.Items)):]
			r.Items = r.Items[:min(len(r.Items), maxLines)]
			answer.Runs = append(answer.Runs, r)
		}
		return answer, nil
	}
	limit, since := cmp.Or(req.Limit, runsListed), req.Since
	if since.IsZero() {
		since = time.Now().Add(-24 * time.Hour)
	}
	page := limit
	if req.Failed {
		page = max(limit, runsPage)
	}
	var before uint64
	for {
		found, more, err := w.newestRuns(ctx, since, before, page)
		if err != nil {
			return answer, err
		}
		for _, r := range found {
			before = r.seq
			if req.Failed && !slices.ContainsFunc(r.Items, ItemInfo.isFailed) {
				continue
			}
			if len(answer.Runs) == limit {
				answer.More = true
				return answer, nil
			}
			answer.Runs = append(answer.Runs, r.withoutItems())
		}
		switch {
		case !more:
			return answer, nil
		case !req.Failed:
			answer.More = true
			return answer, nil
		}
	}
}

// withoutItems is the run for an answer about all of it.
func (r RunInfo) withoutItems() RunInfo {
	r.Items = nil
	return r
}

// isFailed reports whether an action did not come to what was wanted.
func (i ItemInfo) isFailed() bool {
	switch events.Outcome(i.Outcome) {
	case events.Failed, events.Expired:
		return true
	case events.Unknown:
		return i.Settled == ""
	}
	return i.Reason == string(policies.ReasonCanary) // it did not get its turn
}

// newestRuns are the n newest runs since a time whose newest part has a sequence
// below before (0: any), with how their actions ended, newest first; more says
// that there are others.
func (w *Worker) newestRuns(ctx context.Context, since time.Time, before uint64, n int) (found []RunInfo, more bool, err error) {
	byTrigger := make(map[string]*RunInfo)
	for run, err := range w.bus.NewestRuns(ctx, since, before) {
		if err != nil {
			return nil, false, err
		}
		if byTrigger[run.Origin()] != nil {
			continue // its parts are read below
		}
		if len(byTrigger) == n {
			more = true
			break
		}
		parts, err := w.bus.RunsOf(ctx, run.Origin())
		if err != nil {
			return nil, false, err
		}
		if before != 0 && slices.ContainsFunc(parts, func(r events.Run) bool { return r.Seq >= before }) {
			continue // it was on the page before
		}
		for i := range parts {
			w.add(byTrigger, &parts[i])
		}
	}
	found, err = w.withOutcomes(ctx, byTrigger)
	return found, more, err
}

// runsNamed are the runs that somebody means: by trigger id, or by <policy>@<time>.
func (w *Worker) runsNamed(ctx context.Context, name string) ([]RunInfo, error) {
	byTrigger := make(map[string]*RunInfo)
	if !strings.Contains(name, "@") {
		parts, err := w.bus.RunsOf(ctx, strings.TrimSuffix(name, events.HeldID("")))
		if err != nil {
			return nil, err
		}
		for i := range parts {
			w.add(byTrigger, &parts[i])
		}
	} else {
		edge, err := w.edgeNamed(name)
		if err != nil {
			return nil, err
		}
		for run, err := range w.bus.Runs(ctx, time.Now().Add(-maxCatchUp)) {
			if err != nil {
				return nil, err
			}
			if slices.Contains(run.Edges, edge) {
				w.add(byTrigger, &run)
			}
		}
	}
	if len(byTrigger) == 0 {
		return nil, events.Refuse(404, "there is no run %q within the last 7 days; nightshift runs lists them", name)
	}
	return w.withOutcomes(ctx, byTrigger)
}

// withOutcomes says of runs how their actions ended, newest first.
func (w *Worker) withOutcomes(ctx context.Context, runs map[string]*RunInfo) (out []RunInfo, err error) {
	if err := w.addOutcomes(ctx, runs); err != nil {
		return nil, err
	}
	if err := w.addSettled(ctx, runs); err != nil {
		return nil, err
	}
	for _, r := range runs {
		r.count()
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b RunInfo) int { return cmp.Compare(b.seq, a.seq) })
	return out, nil
}

// edgeNamed is the edge that somebody means by <policy>@<time>.
func (w *Worker) edgeNamed(name string) (string, error) {
	policy, at, _ := strings.Cut(name, "@")
	if source := "_" + policy; !w.isPolicy(policy) && slices.Contains(sources, source) {
		policy = source
	}
	planned, err := w.instant(at, w.o.Clock.Now().Add(-24*time.Hour))
	if exact, e := time.ParseInLocation("2006-01-02T15:04:05", at, w.zone()); e == nil {
		planned, err = exact, nil
	}
	if err != nil {
		unix, numErr := strconv.ParseInt(at, 10, 64)
		if numErr != nil {
			return "", events.Refuse(400, "%q is no run: after the @ comes its planned time: %v", name, err)
		}
		planned = time.Unix(unix, 0)
	}
	return policies.Edge{Policy: policy, Planned: planned}.ID(), nil
}

// add takes a stored plan up in the run that it is part of.
func (w *Worker) add(into map[string]*RunInfo, run *events.Run) {
	r := into[run.Origin()]
	if r == nil {
		r = &RunInfo{Trigger: run.Origin(), Name: w.runName(run), Kind: run.Kind, Who: run.Who, Claim: run.Claim, Planned: run.Planned, State: runEnded, Why: run.Why,
			Retries: run.Retries, Undoes: run.Undoes, storedAt: run.StoredAt}
		into[run.Origin()] = r
	}
	r.seq, r.storedAt = max(r.seq, run.Seq), minTime(r.storedAt, run.StoredAt)
	if run.Held != "" {
		r.held = append(r.held, *run)
		r.Held, r.HeldUntil = run.Held, run.HeldUntil
		if _, _, ok := w.memory.approval(run); !ok {
			r.State = runHeld
		}
	}
	for _, it := range run.Items {
		r.Items = append(r.Items, ItemInfo{ActionID: it.ID, Action: it.Action, Region: it.Region, Instance: it.Instance, Hostname: it.Hostname, Policy: it.Policy, item: it})
	}
}

// edgeTime is the planned time in the name of a run, as [Worker.runNamed] reads it.
// The ends of keeps and pauses have seconds.
func edgeTime(t time.Time) string {
	if t.Second() != 0 {
		return t.Format("2006-01-02T15:04:05")
	}
	return t.Format("2006-01-02T15:04")
}

func (w *Worker) isPolicy(name string) bool {
	_, ok := w.set().Policy(name)
	return ok
}

// runName is what a run is called: its newest edges, or its trigger.
func (w *Worker) runName(run *events.Run) string {
	var names []string
	for _, e := range run.Edges {
		policy, unix, _ := strings.Cut(e, "@")
		if n, err := strconv.ParseInt(unix, 10, 64); err == nil {
			if plain := strings.TrimPrefix(policy, "_"); !w.isPolicy(plain) {
				policy = plain // keep@22:00 is the begin or end of a keep
			}
			names = append(names, policy+"@"+edgeTime(time.Unix(n, 0).In(w.zone())))
		}
	}
	if len(names) == 0 {
		return run.Origin()
	}
	return strings.Join(names, " ")
}

// addOutcomes reads the events from the first of the runs on, and no further than
// to the last outcome that is looked for.
func (w *Worker) addOutcomes(ctx context.Context, runs map[string]*RunInfo) error {
	items := make(map[string]*ItemInfo)
	first := time.Now()
	for _, r := range runs {
		first = minTime(first, r.storedAt)
		for i := range r.Items {
			items[r.Items[i].ActionID] = &r.Items[i]
		}
	}
	if len(items) == 0 {
		return nil
	}
	for rec, err := range w.bus.Records(ctx, "", first.Add(-time.Minute)) {
		if err != nil {
			return err
		}
		it := items[rec.ActionID]
		if it != nil && !rec.Outcome.Ends() {
			it.Note = strings.TrimSuffix(string(rec.Outcome)+": "+cmp.Or(rec.Detail, rec.Error), ": ")
		}
		if it != nil && rec.Outcome.Ends() {
			it.Note = ""
			it.Outcome, it.Reason, it.Detail, it.Error, it.Before, it.After = string(rec.Outcome), rec.Reason, rec.Detail, rec.Error, rec.Before, rec.After
			if delete(items, rec.ActionID); len(items) == 0 {
				return nil
			}
		}
	}
	return nil
}

// count sums up how the actions ended.
func (r *RunInfo) count() {
	r.Counts, r.ItemsInAll = make(map[string]int), len(r.Items)
	open := false
	for _, it := range r.Items {
		words := cmp.Or(it.Outcome, runUnderWay)
		switch {
		case it.Settled != "":
			words += " (settled as " + it.Settled + ")"
		case it.Outcome != "" && it.Reason != "":
			words += " (" + it.Reason + ")"
		}
		r.Counts[words]++
		open = open || it.Outcome == ""
	}
	switch {
	case !open:
		r.State = runEnded
	case r.State != runHeld:
		r.State = runUnderWay
	}
}

// ApproveRequest lets a held run go on: nightshift.v1.ctl.approve.<who>. The same form
// asks for retry and undo.
type ApproveRequest struct {
	Run string `json:"run"`           // a trigger id, or <policy>@<time>
	Who string `json:"who,omitempty"` // as the sender says
}

// ApproveAnswer says what goes on.
type ApproveAnswer struct {
	Run     RunInfo  `json:"run"`
	Actions int      `json:"actions"`            // that go on, or are asked for
	Left    []string `json:"left,omitempty"`     // what is not asked for, with the reason
	Asked   []string `json:"triggers,omitempty"` // of retry and undo: trigger of the run that asks
	Held    string   `json:"held,omitempty"`     // why that run waits for approval
	Again   bool     `json:"again,omitempty"`    // it was asked for already, and has not ended
}

func (w *Worker) oneRun(ctx context.Context, name string) (RunInfo, error) {
	if name == "" {
		return RunInfo{}, events.Refuse(400, "name a run: {\"run\": \"<trigger id or policy@time>\"}")
	}
	found, err := w.runsNamed(ctx, name)
	switch {
	case err != nil:
		return RunInfo{}, err
	case len(found) > 1:
		return RunInfo{}, events.Refuse(409, "%d runs are called %q; use a trigger id: %s, %s", len(found), name, found[0].Trigger, found[1].Trigger)
	}
	return found[0], nil
}

func (w *Worker) approveRun(ctx context.Context, who string, req ApproveRequest) (answer ApproveAnswer, err error) {
	if err := w.wall.refuse(ctx); err != nil {
		return answer, err
	}
	run, err := w.oneRun(ctx, req.Run)
	if err != nil {
		return answer, err
	}
	if run.State != runHeld {
		return answer, events.Refuse(409, "run %s does not wait for approval: it is %s", run.Name, run.State)
	}
	answer.Run = run.withoutItems()
	for i := range run.held {
		if err := w.memory.approve(ctx, &run.held[i], who, clip(req.Who)); err != nil {
			return answer, err
		}
		answer.Actions += len(run.held[i].Items)
		w.memory.putSizes(ctx, run.held[i].Grown)
	}
	w.noticeAsked(ctx, asked{action: "approve", reason: "approved", detail: "run " + run.Name + " goes on", who: who, claim: req.Who})
	return answer, nil
}
