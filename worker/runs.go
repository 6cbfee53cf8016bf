package worker

import (
	"cmp"
	"context"
	"fmt"
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
}

// RunsAnswer lists runs, newest first.
type RunsAnswer struct {
	Runs     []RunInfo `json:"runs"`
	Timezone string    `json:"timezone"` // of the policy file
}

// RunInfo is one run: what a trigger asked for, over all regions.
type RunInfo struct {
	Trigger   string         `json:"trigger"`
	Name      string         `json:"name"` // what it is called for people: dev-hours@2026-11-27T19:00
	Kind      string         `json:"kind"` // tick, command, signal, drift
	Who       string         `json:"who,omitempty"`
	Planned   time.Time      `json:"planned"` // plan time
	State     string         `json:"state"`   // held, under way, ended
	Held      string         `json:"held,omitempty"`
	HeldUntil time.Time      `json:"held_until,omitzero"` // machine time
	Counts    map[string]int `json:"counts"`              // by outcome, or outcome (reason); under way for what has none
	Why       string         `json:"why,omitempty"`       // when there is nothing to do
	Items     []ItemInfo     `json:"items,omitempty"`

	seq uint64
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
	Reason   string `json:"reason,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Error    string `json:"error,omitempty"`
	Before   string `json:"before,omitempty"`
	After    string `json:"after,omitempty"`

	item events.Item
}

// States of a run.
const (
	runHeld     = "held"
	runUnderWay = "under way"
	runEnded    = "ended"
)

func (w *Worker) runs(ctx context.Context, req RunsRequest) (RunsAnswer, error) {
	answer := RunsAnswer{Runs: []RunInfo{}, Timezone: w.zone().String()}
	found, err := w.collect(ctx, req.Run, req.Since)
	if err != nil {
		return answer, err
	}
	for _, r := range found {
		if req.Failed && !slices.ContainsFunc(r.Items, ItemInfo.isFailed) {
			continue
		}
		if req.Run == "" {
			r.Items = nil
		}
		answer.Runs = append(answer.Runs, r)
	}
	return answer, nil
}

// isFailed reports whether an action did not come to what was wanted.
func (i ItemInfo) isFailed() bool {
	switch events.Outcome(i.Outcome) {
	case events.Failed, events.Expired, events.Unknown:
		return true
	}
	return false
}

// collect reads stored plans and how their actions ended: of one run, or of all
// since a time.
func (w *Worker) collect(ctx context.Context, name string, since time.Time) ([]RunInfo, error) {
	if since.IsZero() {
		since = time.Now().Add(-24 * time.Hour)
		if name != "" {
			since = time.Now().Add(-maxCatchUp)
		}
	}
	wanted, err := w.runNamed(name)
	if err != nil {
		return nil, err
	}
	byTrigger := make(map[string]*RunInfo)
	var first time.Time
	for run, err := range w.bus.Runs(ctx, since) {
		if err != nil {
			return nil, err
		}
		if !wanted(&run) {
			continue
		}
		if first.IsZero() {
			first = run.StoredAt
		}
		w.add(byTrigger, &run)
	}
	if len(byTrigger) == 0 {
		if name != "" {
			return nil, events.Refuse(404, "there is no run %q within the last 7 days; nightshift runs lists them", name)
		}
		return nil, nil
	}
	if err := w.addOutcomes(ctx, byTrigger, first); err != nil {
		return nil, err
	}
	var out []RunInfo
	for _, r := range byTrigger {
		r.count()
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b RunInfo) int { return cmp.Compare(b.seq, a.seq) })
	return out, nil
}

// runNamed tells the run that somebody means: by trigger id, or by <policy>@<time>.
func (w *Worker) runNamed(name string) (func(*events.Run) bool, error) {
	policy, at, isEdge := strings.Cut(name, "@")
	if name == "" {
		return func(*events.Run) bool { return true }, nil
	}
	if !isEdge {
		return func(r *events.Run) bool { return r.Origin() == name || r.Trigger == name }, nil
	}
	planned, err := w.instant(at, w.o.Clock.Now().Add(-24*time.Hour))
	if exact, e := time.ParseInLocation("2006-01-02T15:04:05", at, w.zone()); e == nil {
		planned, err = exact, nil
	}
	if err != nil {
		unix, numErr := strconv.ParseInt(at, 10, 64)
		if numErr != nil {
			return nil, events.Refuse(400, "%q is no run: after the @ comes its planned time: %v", name, err)
		}
		planned = time.Unix(unix, 0)
	}
	edge := policies.Edge{Policy: policy, Planned: planned}.ID()
	return func(r *events.Run) bool { return slices.Contains(r.Edges, edge) }, nil
}

// add takes a stored plan up in the run that it is part of.
func (w *Worker) add(into map[string]*RunInfo, run *events.Run) {
	r := into[run.Origin()]
	if r == nil {
		r = &RunInfo{Trigger: run.Origin(), Name: w.runName(run), Kind: run.Kind, Who: run.Who, Planned: run.Planned, State: runEnded, Why: run.Why}
		into[run.Origin()] = r
	}
	r.seq = max(r.seq, run.Seq)
	if run.Held != "" {
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

// runName is what a run is called: its newest edges, or its trigger.
func (w *Worker) runName(run *events.Run) string {
	var names []string
	for _, e := range run.Edges {
		policy, unix, _ := strings.Cut(e, "@")
		if n, err := strconv.ParseInt(unix, 10, 64); err == nil {
			names = append(names, policy+"@"+edgeTime(time.Unix(n, 0).In(w.zone())))
		}
	}
	if len(names) == 0 {
		return run.Origin()
	}
	return strings.Join(names, " ")
}

func (w *Worker) addOutcomes(ctx context.Context, runs map[string]*RunInfo, since time.Time) error {
	items := make(map[string]*ItemInfo)
	for _, r := range runs {
		for i := range r.Items {
			items[r.Items[i].ActionID] = &r.Items[i]
		}
	}
	for rec, err := range w.bus.Records(ctx, "", since.Add(-time.Minute)) {
		if err != nil {
			return err
		}
		if it := items[rec.ActionID]; it != nil && rec.Outcome.Ends() {
			it.Outcome, it.Reason, it.Detail, it.Error, it.Before, it.After = string(rec.Outcome), rec.Reason, rec.Detail, rec.Error, rec.Before, rec.After
		}
	}
	return nil
}

// count sums up how the actions ended.
func (r *RunInfo) count() {
	r.Counts = make(map[string]int)
	open := false
	for _, it := range r.Items {
		words := cmp.Or(it.Outcome, runUnderWay)
		if it.Reason != "" {
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

// ApproveRequest lets a held run go on: nightshift.v1.ctl.approve. The same form
// asks for retry and undo.
type ApproveRequest struct {
	Run string `json:"run"`           // a trigger id, or <policy>@<time>
	Who string `json:"who,omitempty"` // as the sender says
}

// ApproveAnswer says what goes on.
type ApproveAnswer struct {
	Run     RunInfo  `json:"run"`
	Actions int      `json:"actions"`            // that go on, or are asked for anew
	Left    []string `json:"left,omitempty"`     // what is not undone, with the reason
	Asked   []string `json:"triggers,omitempty"` // triggers of the commands that retry and undo sent
}

func (w *Worker) oneRun(ctx context.Context, req ApproveRequest) (RunInfo, error) {
	if req.Run == "" {
		return RunInfo{}, events.Refuse(400, "name a run: {\"run\": \"<trigger id or policy@time>\"}")
	}
	found, err := w.collect(ctx, req.Run, time.Time{})
	switch {
	case err != nil:
		return RunInfo{}, err
	case len(found) > 1:
		return RunInfo{}, events.Refuse(409, "%d runs are called %q; use a trigger id: %s, %s", len(found), req.Run, found[0].Trigger, found[1].Trigger)
	}
	return found[0], nil
}

func (w *Worker) approveRun(ctx context.Context, req ApproveRequest) (answer ApproveAnswer, err error) {
	run, err := w.oneRun(ctx, req)
	if err != nil {
		return answer, err
	}
	if run.State != runHeld {
		return answer, events.Refuse(409, "run %s does not wait for approval: it is %s", run.Name, run.State)
	}
	answer.Run = run
	for stored, err := range w.bus.Runs(ctx, time.Now().Add(-maxCatchUp)) {
		if err != nil {
			return answer, err
		}
		if stored.Trigger != events.HeldID(run.Trigger) {
			continue
		}
		if err := w.memory.approve(ctx, &stored, req.Who); err != nil {
			return answer, err
		}
		answer.Actions += len(stored.Items)
	}
	return answer, nil
}

// retryRun asks anew for what failed, expired or is unknown, as commands with ids
// of their own: asked for twice they act once.
func (w *Worker) retryRun(ctx context.Context, req ApproveRequest) (answer ApproveAnswer, err error) {
	run, err := w.oneRun(ctx, req)
	if err != nil {
		return answer, err
	}
	answer.Run = run
	for _, it := range run.Items {
		if it.isFailed() && it.Action != events.ActionNotify { // a message that came too late stays so
			c := commandOf(it.item)
			c.ID, c.Reason = "retry-"+it.ActionID, "retry of "+run.Name
			if err := w.send(ctx, &answer, c, req.Who); err != nil {
				return answer, err
			}
		}
	}
	if answer.Actions == 0 {
		return answer, events.Refuse(409, "nothing of run %s failed, expired or is unknown", run.Name)
	}
	return answer, nil
}

// undoRun asks for the opposite of what a run has done, where there is one.
func (w *Worker) undoRun(ctx context.Context, req ApproveRequest) (answer ApproveAnswer, err error) {
	run, err := w.oneRun(ctx, req)
	if err != nil {
		return answer, err
	}
	answer.Run = run
	for _, it := range run.Items {
		if it.Outcome != string(events.Done) {
			continue
		}
		c := commandOf(it.item)
		c.ID, c.Reason = "undo-"+it.ActionID, "undo of "+run.Name
		switch policies.Verb(it.Action) {
		case policies.Stop:
			c.Action = string(policies.Start)
		case policies.Start:
			c.Action = string(policies.Stop)
		case policies.Retag:
			before, after := strings.Fields(it.Before), strings.Fields(it.After)
			c.Add, c.Remove = both(without(before, after), it.item.Remove), both(without(after, before), it.item.Add) // not what others did meanwhile
			if len(c.Add)+len(c.Remove) == 0 {
				answer.Left = append(answer.Left, fmt.Sprintf("%s %s: it changed no tag", it.Action, cmp.Or(it.Hostname, it.Instance)))
				continue
			}
		case policies.Firewall:
			if c.Firewall = it.Before; c.Firewall == "" {
				answer.Left = append(answer.Left, fmt.Sprintf("%s %s: it had none, and blank would open the default one", it.Action, cmp.Or(it.Hostname, it.Instance)))
				continue
			}
		default:
			answer.Left = append(answer.Left, fmt.Sprintf("%s %s: it has no opposite", it.Action, cmp.Or(it.Hostname, it.Instance)))
			continue
		}
		if err := w.send(ctx, &answer, c, req.Who); err != nil {
			return answer, err
		}
	}
	if answer.Actions+len(answer.Left) == 0 {
		return answer, events.Refuse(409, "run %s has done nothing that could be undone", run.Name)
	}
	return answer, nil
}

// without is what is in a and not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// both is what is in a and in b.
func both(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

// commandOf asks for the same as an action of a run.
func commandOf(it events.Item) events.Command {
	return events.Command{
		Region: it.Region, Instance: it.Instance, Action: it.Action, Hard: it.Hard, Size: it.Size, Add: it.Add, Remove: it.Remove, Firewall: it.Firewall,
	}
}

// local is the publisher of commands that the daemon sends for somebody.
const local = "local"

func (w *Worker) send(ctx context.Context, answer *ApproveAnswer, c events.Command, who string) error {
	c.Who = local
	if who != "" {
		c.Reason += " by " + who
	}
	if _, err := w.bus.PublishCommand(ctx, c); err != nil {
		return fmt.Errorf("ask for %s of instance %s: %w", c.Action, c.Instance, err)
	}
	answer.Actions++
	answer.Asked = append(answer.Asked, events.CommandTrigger(c.Who, c.ID))
	return nil
}
