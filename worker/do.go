package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// DoAnswer says that a command is stored and what will become of it:
// nightshift.v1.ctl.do.<who>.<region>.<instance>.<action>. What a rail does not
// let be done is a refusal instead, with the reason; it is stored and has its
// outcome all the same.
type DoAnswer struct {
	Trigger  string `json:"trigger"`
	ActionID string `json:"action_id"`
	Hostname string `json:"hostname,omitempty"`
	Note     string `json:"note,omitempty"` // such as that the instance is as wanted already
	// Again says that the same command of the same id was sent before, AskedAt: it
	// acts once, and this is how it stands. Outcome is empty while it has none.
	Again   bool      `json:"again,omitempty"`
	AskedAt time.Time `json:"asked_at,omitzero"` // machine time
	Outcome string    `json:"outcome,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Detail  string    `json:"detail,omitempty"`
}

// CodeNotDone is the code of a refusal of do whose command is stored, and ends
// with the same reason; or whose id is that of another command, which stands.
const CodeNotDone = 409

func notDone(s policies.Skip, actionID string) error {
	return inTrail{events.Refuse(CodeNotDone, "%s; action %s", reasonWords(s), actionID)}
}

// doAnswer is the answer to a command whose plan is, or will be, stored under a trigger.
func (w *Worker) doAnswer(c *events.Command, trigger string) DoAnswer {
	return DoAnswer{Trigger: trigger, ActionID: policies.ActionID(trigger, 0, c.Instance, policies.KindOf(policies.Verb(c.Action)))}
}

func (w *Worker) do(ctx context.Context, p *planner, r events.Request) (_ any, err error) {
	var c events.Command
	defer func() {
		w.noticeRefused(ctx, refused{question: "do", who: c.Who, claim: c.Claim, action: c.Action, region: c.Region, instance: c.Instance, err: err})
	}()
	if len(r.Tokens) != 4 {
		return nil, events.Refuse(400, "the subject is do.<who>.<region>.<instance>.<action>")
	}
	fault := decode(r.Body, &c)
	c.Who, c.Region, c.Instance, c.Action = r.Tokens[0], strings.ToLower(r.Tokens[1]), r.Tokens[2], r.Tokens[3]
	if fault != nil {
		return nil, events.Refuse(400, "do: the body is not a command: %v", fault)
	}
	isOwn := c.ID != ""
	c.ID = cmp.Or(c.ID, newID())
	if err := c.Check(); err != nil {
		return nil, events.Refuse(400, "%v", err)
	}
	if err := c.CheckSubject(); err != nil {
		return nil, events.Refuse(400, "%v; the subject is do.<who>.<region>.<instance>.<action>, in lower case", err)
	}
	if far := tooFar(w.o.Clock, &c); far != "" {
		return nil, events.Refuse(400, "%s", far)
	}
	if isOwn { // before all else: what was asked for may be gone by now
		if answer, found, err := w.sentBefore(ctx, &c); found || err != nil {
			return answer, err
		}
	}
	if err := w.mayStore(ctx); err != nil {
		return nil, err
	}
	inst, err := w.instance(ctx, c.Region, c.Instance, planReadingAge)
	if err != nil {
		return nil, err
	}
	if _, err := w.bus.PublishCommand(ctx, c); err != nil {
		return nil, isUsed(&c, err)
	}
	in := &events.Incoming{Command: &c}
	trig, err := p.trigger(ctx, in)
	if err != nil {
		return nil, err
	}
	trig.At = w.o.Clock.Now()
	plan := policies.Decide(w.set(), []policies.Instance{inst}, w.facts(), trig, trig.At)
	answer := w.doAnswer(&c, trig.ID)
	answer.Hostname = inst.Hostname
	for _, a := range plan.Actions {
		if a.Hold != "" {
			answer.Note = "held until it is approved: " + a.Hold
		}
	}
	for _, s := range plan.Skips {
		if s.Reason != policies.ReasonAlready {
			return nil, notDone(s, answer.ActionID)
		}
		answer.Note = reasonWords(s)
	}
	return answer, nil
}

func reasonWords(s policies.Skip) string {
	if s.Detail == "" {
		return string(s.Reason)
	}
	return string(s.Reason) + ": " + s.Detail
}

// newID is a random id of a command.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// CheckRequest asks for what is hardly meant in the policies in force:
// nightshift.v1.ctl.check.
type CheckRequest struct {
	All bool `json:"all,omitempty"` // each finding, also those that are alike
}

// CheckAnswer is what lint finds.
type CheckAnswer struct {
	Revision  string             `json:"revision"`
	At        time.Time          `json:"at"` // plan time
	Instances int                `json:"instances"`
	Findings  []policies.Finding `json:"findings"`
	Fault     string             `json:"policy_fault,omitempty"` // why a newer file is not in force
	Unread    []string           `json:"unread,omitempty"`       // regions: nothing is said about instances then
}

func (w *Worker) check(ctx context.Context, req CheckRequest) (CheckAnswer, error) {
	set := w.set()
	answer := CheckAnswer{Revision: w.rules.p.Load().name, At: w.o.Clock.Now(), Findings: []policies.Finding{}}
	if fault := w.fault.Load(); fault != nil {
		answer.Fault = *fault
	}
	known := policies.Known{From: answer.At}
	var inv []policies.Instance
	if inv, answer.Unread = w.readAll(ctx, set.Regions); len(answer.Unread) == 0 {
		known.Inventory = append([]policies.Instance{}, inv...) // known, though it may be empty
		answer.Instances = len(inv)
	}
	findings := policies.Lint(set, known)
	if !req.All {
		findings = policies.Condense(findings)
	}
	answer.Findings = append(answer.Findings, findings...)
	return answer, nil
}

// PlanRequest asks what would be done now: nightshift.v1.ctl.plan.
type PlanRequest struct {
	At     string `json:"at,omitempty"`     // plan time, as [Worker.instant] reads it; empty: now
	Policy string `json:"policy,omitempty"` // only what this one asks for
}

// PlanAnswer is a plan, for people and programs.
type PlanAnswer struct {
	At       time.Time      `json:"at"` // plan time
	Actions  []PlanLine     `json:"actions"`
	Skips    []PlanLine     `json:"skips"`
	Next     []UpcomingEdge `json:"next,omitempty"`
	Unread   []string       `json:"unread,omitempty"` // regions that could not be read: they are not in the plan
	Timezone string         `json:"timezone"`         // of the policy file
	// Instances are those that were looked at: what is neither done nor skipped is left to itself.
	Instances int `json:"instances"`
	// ActionsInAll and SkipsInAll are how many there are: of a large plan the answer
	// lists the first 1,000.
	ActionsInAll int `json:"actions_in_all"`
	SkipsInAll   int `json:"skips_in_all"`
}

// PlanLine is an action, or with a reason a skip.
type PlanLine struct {
	Action   string `json:"action"`
	Region   string `json:"region"`
	Instance string `json:"instance"`
	Hostname string `json:"hostname,omitempty"`
	Policy   string `json:"policy,omitempty"`
	Why      string `json:"why,omitempty"`
	Order    string `json:"order,omitempty"`  // its turn in one, in words
	Hold     string `json:"hold,omitempty"`   // why it waits for approval
	Canary   string `json:"canary,omitempty"` // which turn it has, where one goes first
	Reason   string `json:"reason,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

func (w *Worker) plan(ctx context.Context, req PlanRequest) (answer PlanAnswer, err error) {
	at := w.o.Clock.Now()
	if req.At != "" {
		if at, err = w.instant(req.At, at); err != nil {
			return answer, events.Refuse(400, "at: %v", err)
		}
	}
	set := w.set()
	if _, ok := set.Policy(req.Policy); req.Policy != "" && !ok {
		return answer, w.noPolicy(req.Policy)
	}
	inv, unread := w.readAll(ctx, set.Regions)
	facts := w.facts()
	plan := policies.Decide(set, inv, facts, policies.Trigger{ID: "look", At: at}, at)
	answer = PlanAnswer{At: at, Actions: []PlanLine{}, Skips: []PlanLine{}, Unread: unread, Timezone: w.zone().String()}
	answer.Instances = len(inv)
	answer.add(plan, req.Policy)
	for _, e := range set.Agenda(inv, facts, at).NextEdges(at, 8) {
		answer.Next = append(answer.Next, UpcomingEdge{Policy: e.Policy, Planned: e.Planned, Want: e.Want})
	}
	return answer, nil
}

// facts are what is remembered, and the fleet as far as it is known.
func (w *Worker) facts() policies.Facts {
	facts := w.memory.facts()
	w.inv.addFleet(&facts)
	return facts
}

// add takes up the lines of a plan, or those of one policy.
func (a *PlanAnswer) add(plan policies.Plan, policy string) {
	for _, x := range plan.Actions {
		if policy == "" || x.Policy == policy {
			a.Actions = append(a.Actions, planLine(x))
		}
	}
	for _, s := range plan.Skips {
		if policy == "" || s.Policy == policy {
			l := planLine(s.Action)
			l.Reason, l.Detail = string(s.Reason), s.Detail
			a.Skips = append(a.Skips, l)
		}
	}
	a.bound()
}

// maxLines bounds the lines of an answer, so that it fits into a message whatever
// the fleet: a plan is carried out as it was stored, and runs show lists it.
const maxLines = 1000

// bound leaves out lines beyond maxLines, skips before actions.
func (a *PlanAnswer) bound() {
	a.ActionsInAll, a.SkipsInAll = len(a.Actions), len(a.Skips)
	a.Actions = a.Actions[:min(len(a.Actions), maxLines)]
	a.Skips = a.Skips[:min(len(a.Skips), maxLines-len(a.Actions))]
}

func planLine(a policies.Action) PlanLine {
	return PlanLine{Action: string(a.Verb), Region: a.Region, Instance: a.Instance, Hostname: a.Hostname, Policy: a.Policy, Why: a.Why,
		Order: a.Place.Words(a.Verb), Hold: a.Hold, Canary: a.Canary}
}

// readAll reads regions, and says which could not be read.
func (w *Worker) readAll(ctx context.Context, regions []string) (inv []policies.Instance, unread []string) {
	for _, region := range regions {
		reading, err := w.inv.Reading(ctx, region, time.Now().Add(-planReadingAge))
		if err != nil {
			unread = append(unread, region+": "+err.Error())
			continue
		}
		inv = append(inv, reading.Instances...)
	}
	return inv, unread
}

// RunRequest asks to act on all instances that a selector chooses:
// nightshift.v1.ctl.run.<who>.<region>.<action>, with _ for all regions.
type RunRequest struct {
	Select      SelectForm `json:"select"`
	Action      string     `json:"action,omitempty"` // that of the subject
	ID          string     `json:"id,omitempty"`     // the same id acts once
	Who         string     `json:"who,omitempty"`    // as the sender says
	Reason      string     `json:"reason,omitempty"`
	Size        string     `json:"size,omitempty"`     // resize
	Add         []string   `json:"add,omitempty"`      // retag
	Remove      []string   `json:"remove,omitempty"`   // retag
	Firewall    string     `json:"firewall,omitempty"` // firewall: an id
	Hard        bool       `json:"hard,omitempty"`     // reboot
	GiveUpAfter string     `json:"give_up_after,omitempty"`
	NotBefore   time.Time  `json:"not_before,omitzero"` // plan time: due then
	DryRun      bool       `json:"dry_run,omitempty"`
}

// SelectForm is a selector as the policy file writes it.
type SelectForm struct {
	All      []string `json:"all,omitempty"`
	Any      []string `json:"any,omitempty"`
	None     []string `json:"none,omitempty"`
	Region   []string `json:"region,omitempty"`
	Size     []string `json:"size,omitempty"`
	Status   []string `json:"status,omitempty"`
	Hostname []string `json:"hostname,omitempty"`
	When     string   `json:"when,omitempty"` // a CEL expression
}

// RunAnswer is the plan that was stored.
type RunAnswer struct {
	Trigger string `json:"trigger"`
	Held    string `json:"held,omitempty"` // why it waits for approval
	// Again says that the same was asked for with the same id before: the plan is
	// that which was stored then, and State and Counts are how it stands.
	Again  bool           `json:"again,omitempty"`
	State  string         `json:"state,omitempty"`
	Counts map[string]int `json:"counts,omitempty"`
	PlanAnswer
}

func (f *SelectForm) selector() (policies.Selector, error) {
	s := policies.Selector{All: f.All, Any: f.Any, None: f.None, Region: f.Region, Size: f.Size, Status: f.Status, Hostname: f.Hostname}
	if f.When != "" {
		x, err := policies.ParseExpr(f.When)
		if err != nil {
			return s, events.Refuse(400, "select.when: %v", err)
		}
		s.When = x
	}
	if err := s.Validate(); err != nil {
		return s, events.Refuse(400, "select: %v", err)
	}
	return s, nil
}

// concernsRegion reports whether a plan has something about a region.
func concernsRegion(plan policies.Plan, region string) bool {
	for _, a := range plan.Actions {
		if a.Region == region {
			return true
		}
	}
	for _, s := range plan.Skips {
		if s.Region == region {
			return true
		}
	}
	return false
}
