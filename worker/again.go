package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"nightshift/events"
	"nightshift/policies"
)

// local begins the ids of retries and undos, whoever asks: two people who ask for
// the same within an attempt ask once.
const local = events.DefaultWho

// again is what asks for actions of a run once more: a retry or an undo. Each
// attempt is one stored run with an id of its own, so that it is held where it is
// larger than the limits, and so that asking twice within an attempt acts once.
type again struct {
	verb string                                                  // retry, undo
	of   RunInfo                                                 // the run
	ask  func(ItemInfo) (c events.Command, left string, ok bool) // what is asked for an action; left is why nothing is
	mark func(*events.Run)                                       // says in the stored run whose attempt it is
}

// retryRun asks again for what failed, expired or is unknown.
func (w *Worker) retryRun(ctx context.Context, p *planner, who string, req ApproveRequest) (answer ApproveAnswer, err error) {
	run, err := w.oneRun(ctx, req.Run)
	if err == nil && run.Retries != "" { // one more attempt at the same
		run, err = w.oneRun(ctx, run.Retries)
	}
	if err != nil {
		return answer, err
	}
	a := again{verb: "retry", of: run, mark: func(r *events.Run) { r.Retries = run.Trigger }}
	a.ask = func(it ItemInfo) (events.Command, string, bool) {
		if !it.isFailed() || it.Action == events.ActionNotify { // a message that came too late stays so
			return events.Command{}, "", false
		}
		return commandOf(it.item), "", true
	}
	answer, err = w.again(ctx, p, a, who, req)
	if err == nil && answer.Actions+len(answer.Left) == 0 {
		return answer, events.Refuse(409, "nothing of run %s failed, expired or is unknown", run.Name)
	}
	return answer, err
}

// undoRun asks for the opposite of what a run has done, where there is one.
func (w *Worker) undoRun(ctx context.Context, p *planner, who string, req ApproveRequest) (answer ApproveAnswer, err error) {
	run, err := w.oneRun(ctx, req.Run)
	if err != nil {
		return answer, err
	}
	answer, err = w.again(ctx, p, again{verb: "undo", of: run, ask: opposite, mark: func(r *events.Run) { r.Undoes = run.Trigger }}, who, req)
	if err == nil && answer.Actions+len(answer.Left) == 0 {
		return answer, events.Refuse(409, "run %s has done nothing that could be undone", run.Name)
	}
	return answer, err
}

// opposite is what undoes an action.
func opposite(it ItemInfo) (c events.Command, left string, ok bool) {
	if it.Outcome != string(events.Done) || it.Action == events.ActionNotify {
		return c, "", false
	}
	c = commandOf(it.item)
	switch policies.Verb(it.Action) {
	case policies.Stop:
		c.Action = string(policies.Start)
	case policies.Start:
		c.Action = string(policies.Stop)
	case policies.Retag:
		before, after := strings.Fields(it.Before), strings.Fields(it.After)
		c.Add, c.Remove = both(without(before, after), it.item.Remove), both(without(after, before), it.item.Add) // not what others did meanwhile
		if len(c.Add)+len(c.Remove) == 0 {
			return c, "it changed no tag", true
		}
	case policies.Firewall:
		if c.Firewall = it.Before; c.Firewall == "" {
			return c, "it had none, and blank would open the default one", true
		}
	default:
		return c, "it has no opposite", true
	}
	return c, "", true
}

// again stores the next attempt, or answers with the one that has not ended.
func (w *Worker) again(ctx context.Context, p *planner, a again, who string, req ApproveRequest) (ApproveAnswer, error) {
	answer := ApproveAnswer{Run: a.of.withoutItems()}
	id, attempt, settled, err := w.attempts(ctx, &a)
	if err != nil {
		return answer, err
	}
	cmd := policies.Command{Reason: a.verb + " of " + a.of.Name}
	regions := make(map[string]bool)
	last := 0
	for _, it := range a.of.Items {
		last = max(last, it.item.Step)
	}
	for _, it := range a.of.Items {
		c, left, ok := a.ask(it)
		name := it.Action + " " + cmp.Or(it.Hostname, it.Instance)
		region := strings.ToUpper(it.Region)
		one := policies.One{Region: region, Instance: it.Instance, N: it.item.Step, Step: stepOf(c)}
		if a.verb == "undo" {
			one.N = last - one.N // the last is undone first
		}
		switch {
		case !ok || settled[placeOf(c.Instance, one.N, policies.Verb(c.Action))]:
		case left != "":
			answer.Left = append(answer.Left, name+": "+left)
		case !w.inv.Has(region):
			answer.Left = append(answer.Left, name+": region "+region+" is not in the policy file any more")
		default:
			cmd.Each = append(cmd.Each, one)
			regions[region] = true
		}
	}
	if len(cmd.Each) == 0 {
		if len(settled) > 0 && len(answer.Left) == 0 {
			return answer, events.Refuse(409, "the %s of run %s has done all that it could; see nightshift runs show %s", a.verb, a.of.Name, attempt.Trigger)
		}
		return answer, nil
	}
	trigger := events.CommandTrigger(local, id)
	answer.Asked = []string{trigger}
	if attempt.State == runUnderWay || attempt.State == runHeld {
		answer.Again, answer.Held = true, attempt.Held
		if attempt.State != runHeld {
			answer.Held = ""
		}
	}
	return answer, w.storeAgain(ctx, p, &a, policies.Trigger{ID: trigger, Who: who, Claim: clip(req.Who), Command: &cmd}, regions, &answer)
}

// attempts looks at what was asked for before. id is that of the attempt that has
// not ended, or of a new one; attempt is the newest that there is, and settled
// what those that ended have brought about.
func (w *Worker) attempts(ctx context.Context, a *again) (id string, attempt RunInfo, settled map[string]bool, err error) {
	settled = make(map[string]bool)
	for n := 1; ; n++ {
		id = fmt.Sprintf("%s-%d-%s", a.verb, n, a.of.Trigger)
		parts, err := w.bus.RunsOf(ctx, events.CommandTrigger(local, id))
		if err != nil || len(parts) == 0 {
			return id, attempt, settled, err
		}
		byTrigger := make(map[string]*RunInfo, 1)
		for i := range parts {
			w.add(byTrigger, &parts[i])
		}
		found, err := w.withOutcomes(ctx, byTrigger)
		if err != nil {
			return id, attempt, nil, err
		}
		if attempt = found[0]; attempt.State != runEnded {
			return id, attempt, settled, nil
		}
		for _, it := range attempt.Items {
			if it.Outcome == string(events.Done) || it.Outcome == string(events.Skipped) && it.Reason == skipAlready {
				settled[placeOf(it.Instance, it.item.Step, policies.Verb(it.Action))] = true
			}
		}
	}
}

// placeOf is what an action is of a run, whatever its trigger.
func placeOf(instance string, step int, verb policies.Verb) string {
	return policies.ActionID("", step, instance, policies.KindOf(verb))
}

// storeAgain plans an attempt and stores it, but for regions where it is stored.
func (w *Worker) storeAgain(ctx context.Context, p *planner, a *again, trig policies.Trigger, concerned map[string]bool, answer *ApproveAnswer) error {
	stored, err := w.bus.RunsOf(ctx, trig.ID)
	if err != nil {
		return err
	}
	whole := make(map[string]bool) // regions: what is held of a plan is stored before the rest
	for _, run := range stored {
		if run.Trigger == trig.ID {
			whole[run.Region] = true
			delete(concerned, strings.ToUpper(run.Region))
		}
	}
	for _, run := range stored {
		if !whole[run.Region] {
			continue
		}
		for _, it := range run.Items {
			if it.Skip == "" || it.Skip == skipAlready {
				answer.Actions++
			} else {
				answer.Left = append(answer.Left, leftWords(it.Action, it.Hostname, it.Instance, it.Skip, it.Detail))
			}
		}
	}
	var wanted, regions []string
	for _, region := range w.set().Regions {
		if concerned[strings.ToUpper(region)] {
			wanted = append(wanted, region)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := w.mayStore(ctx); err != nil {
		return err
	}
	trig.At = w.o.Clock.Now()
	inv, unread := w.readAll(ctx, wanted)
	for _, region := range wanted {
		if slices.ContainsFunc(unread, func(u string) bool { return strings.HasPrefix(u, region+":") }) {
			continue
		}
		regions = append(regions, region)
	}
	for _, u := range unread { // it never counts as empty
		answer.Left = append(answer.Left, "region "+u+"; ask again for its part")
	}
	trig.Command.Each = slices.DeleteFunc(trig.Command.Each, func(o policies.One) bool {
		return !slices.ContainsFunc(regions, func(r string) bool { return strings.EqualFold(r, o.Region) })
	})
	if len(trig.Command.Each) == 0 {
		return events.Refuse(503, "nothing is asked for: %s", strings.Join(answer.Left, "; "))
	}
	plan := policies.Decide(w.set(), inv, w.facts(), trig, trig.At)
	for _, run := range p.runs(trig, regions, plan) {
		a.mark(&run)
		if run.Held != "" {
			answer.Held = run.Held
		}
		if err := p.store(ctx, run); err != nil {
			return events.Refuse(503, "the %s is not stored whole: %v; ask for it again, what is stored acts once", a.verb, err)
		}
	}
	answer.Actions += len(plan.Actions)
	for _, s := range plan.Skips {
		if s.Reason == policies.ReasonAlready {
			answer.Actions++ // it is looked at again, and done where it is not so
			continue
		}
		answer.Left = append(answer.Left, leftWords(string(s.Verb), s.Hostname, s.Instance, string(s.Reason), s.Detail))
	}
	return nil
}

func leftWords(action, hostname, instance, reason, detail string) string {
	words := action + " " + cmp.Or(hostname, instance) + ": " + reason
	if detail != "" {
		words += ", " + detail
	}
	return words
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

// stepOf is what a command asks for.
func stepOf(c events.Command) policies.Step {
	return policies.Step{Verb: policies.Verb(c.Action), Hard: c.Hard, Size: c.Size, Add: c.Add, Remove: c.Remove, Firewall: c.Firewall}
}
