package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"nightshift/events"
	"nightshift/policies"
)

// runOn plans a command for many instances, and stores the plan as one run: held
// where it is larger than the limits. Sent again with the same id it is answered
// with the plan that is stored, and only what of it was not stored is planned.
func (w *Worker) runOn(ctx context.Context, p *planner, r events.Request) (_ any, err error) {
	var req RunRequest
	c := events.Command{Region: events.None, Instance: "all"}
	defer func() {
		w.noticeRefused(ctx, refused{question: "run", who: c.Who, claim: req.Who, action: c.Action, region: c.Region, err: err})
	}()
	if len(r.Tokens) != 3 {
		return nil, events.Refuse(400, "the subject is run.<who>.<region>.<action>, with _ for all regions")
	}
	fault := decode(r.Body, &req)
	c = events.Command{Who: r.Tokens[0], Region: r.Tokens[1], Instance: "all", Action: r.Tokens[2], Claim: req.Who, ID: cmp.Or(req.ID, newID()), Reason: req.Reason,
		Size: req.Size, Add: req.Add, Remove: req.Remove, Firewall: req.Firewall, Hard: req.Hard, GiveUpAfter: req.GiveUpAfter, NotBefore: req.NotBefore, DryRun: req.DryRun}
	if fault != nil {
		return nil, unreadable("run", fault)
	}
	s, err := w.sweepOf(&c, &req)
	if err != nil {
		return nil, err
	}
	if err := w.mayStore(ctx); err != nil {
		return nil, err
	}
	release, err := p.turnOf(ctx, s.trigger) // two that are sent in one moment, too
	if err != nil {
		return nil, err
	}
	defer release()
	return w.sweep(ctx, p, &c, s)
}

// sweep is a command for all that a selector chooses.
type sweep struct {
	selector policies.Selector
	regions  []string // in which, as the policy file writes them
	trigger  string
	asked    string // hash of what is asked for
	form     []byte // of the selector
}

// sweepOf checks what is asked for against the subject, which rights are about.
func (w *Worker) sweepOf(c *events.Command, req *RunRequest) (s sweep, err error) {
	if s.selector, err = req.Select.selector(); err != nil {
		return s, err
	}
	if req.Action != "" && req.Action != c.Action {
		return s, events.Refuse(400, "the body says %s, and the subject, which counts, %s", req.Action, c.Action)
	}
	if err := c.CheckSubject(); err != nil {
		return s, events.Refuse(400, "%v; the subject is run.<who>.<region>.<action>, in lower case, with _ for all regions", err)
	}
	if far := tooFar(w.o.Clock, c); far != "" {
		return s, events.Refuse(400, "%s", far)
	}
	s.regions = w.set().Regions
	plain := *c
	if c.Region != events.None {
		if !w.inv.Has(c.Region) {
			return s, w.noRegion(c.Region)
		}
		s.regions = slices.DeleteFunc(slices.Clone(s.regions), func(r string) bool { return !strings.EqualFold(r, c.Region) })
	} else {
		plain.Region = "all" // a command for one instance must have a region
	}
	if err := plain.Check(); err != nil {
		return s, events.Refuse(400, "%v", err)
	}
	form, err := json.Marshal(req.Select)
	if err != nil {
		return s, err
	}
	s.trigger, s.asked, s.form = events.CommandTrigger(c.Who, c.ID), events.TokenOf(c.Asked(), string(form)), form
	return s, nil
}

func (w *Worker) sweep(ctx context.Context, p *planner, c *events.Command, s sweep) (answer RunAnswer, err error) {
	now := w.o.Clock.Now()
	answer = RunAnswer{Trigger: s.trigger, PlanAnswer: PlanAnswer{At: now, Actions: []PlanLine{}, Skips: []PlanLine{}, Timezone: w.zone().String()}}
	parts, err := w.bus.RunsOf(ctx, s.trigger)
	if err != nil {
		return answer, events.Refuse(503, "not stored: %v", err)
	}
	if len(parts) > 0 {
		if parts[0].Asked != s.asked {
			return answer, w.usedByRun(ctx, c, &parts[0])
		}
		answer.Again, answer.At = true, parts[0].Planned
		s.regions = missing(s.regions, parts)
	}
	trig, err := p.trigger(ctx, &events.Incoming{Command: c})
	if err != nil {
		return answer, err
	}
	trig.At = now
	trig.Command.Select, trig.Command.Region, trig.Command.Instance = &s.selector, "", ""
	inv, unread := w.readAll(ctx, s.regions)
	answer.Unread = unread
	facts := w.facts()
	if answer.Again {
		if facts.Asked, err = p.asked(ctx, trig); err != nil {
			return answer, err
		}
	}
	plan := policies.Decide(w.set(), inv, facts, trig, now)
	if len(parts)+len(plan.Actions)+len(plan.Skips) == 0 {
		if len(unread) > 0 { // it never counts as empty
			return answer, events.Refuse(503, "no instance is selected by %s, but not all regions could be read: %s", s.selector, strings.Join(unread, "; "))
		}
		return answer, events.Refuse(404, "no instance is selected by %s", s.selector)
	}
	var regions []string // those with something to say
	for _, region := range s.regions {
		if concernsRegion(plan, region) {
			regions = append(regions, region)
		}
	}
	for _, run := range p.runs(trig, regions, plan) {
		run.Asked, run.Regions, run.Select = s.asked, regions, s.form
		there, err := p.put(ctx, run)
		if err != nil {
			return answer, events.Refuse(503, "the plan is not stored whole: %v; send it again with the id %s", err, c.ID)
		}
		if there.Asked != s.asked { // another replica was faster
			return answer, w.usedByRun(ctx, c, &there)
		}
		parts = append(parts, there)
	}
	answer.addRuns(w, parts)
	if answer.Again {
		err = w.addState(ctx, &answer, parts)
	}
	return answer, err
}

// missing are the regions of a stored plan that have no part of it: what is held of
// a plan is stored before the rest.
func missing(regions []string, parts []events.Run) []string {
	return slices.DeleteFunc(slices.Clone(parts[0].Regions), func(region string) bool {
		return !slices.Contains(regions, region) || slices.ContainsFunc(parts, func(r events.Run) bool { return r.Trigger == r.Origin() && strings.EqualFold(r.Region, region) })
	})
}

func (w *Worker) usedByRun(ctx context.Context, c *events.Command, was *events.Run) error {
	words, err := usedFor(ctx, w.bus, was)
	if err != nil {
		return err
	}
	return events.Refuse(CodeNotDone, "id %s of %s is used: %s; send it with another id", clip(c.ID), c.Who, words)
}

// addRuns takes up the lines of stored plans.
func (a *RunAnswer) addRuns(w *Worker, parts []events.Run) {
	for i := range parts {
		run := &parts[i]
		hold := run.Held
		if _, _, isApproved := w.memory.approval(run); hold != "" && !isApproved {
			a.Held = hold
		}
		for _, it := range run.Items {
			l := PlanLine{Action: it.Action, Region: strings.ToUpper(it.Region), Instance: it.Instance, Hostname: it.Hostname, Policy: it.Policy, Why: it.Why, Order: turnWords(it.Stage), Hold: hold, Reason: it.Skip, Detail: it.Detail}
			if it.Skip == "" {
				a.Actions = append(a.Actions, l)
			} else {
				l.Hold = ""
				a.Skips = append(a.Skips, l)
			}
		}
	}
	a.bound()
}

// turnWords are a stored turn in an order, as [policies.Place.Words] writes it.
func turnWords(s *events.Stage) string {
	switch {
	case s == nil:
		return ""
	case s.Group != "":
		return fmt.Sprintf("order %s (%s), turn %d of %d", s.Order, s.Group, s.Turn, s.Of)
	}
	return fmt.Sprintf("order %s, turn %d of %d", s.Order, s.Turn, s.Of)
}

// addState says how a run stands.
func (w *Worker) addState(ctx context.Context, a *RunAnswer, parts []events.Run) error {
	byTrigger := make(map[string]*RunInfo, 1)
	for i := range parts {
		w.add(byTrigger, &parts[i])
	}
	found, err := w.withOutcomes(ctx, byTrigger)
	if err != nil {
		return err
	}
	a.State, a.Counts = found[0].State, found[0].Counts
	return nil
}
