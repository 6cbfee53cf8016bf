package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// The id of a command means one thing. What it was used for is in the plan that is
// stored under it, in whichever region: the same command again is answered with
// that plan, and another one is refused, and told why.

// askedBy is the hash of what a command asks for; empty for anything else.
func askedBy(in *events.Incoming) string {
	if in.Command == nil {
		return ""
	}
	return in.Command.Asked()
}

// planOnce plans a command with an id of its own, unless that was used.
func (p *planner) planOnce(ctx context.Context, in *events.Incoming) error {
	release, err := p.turnOf(ctx, in.TriggerID()) // two that are sent in one moment, too
	if err != nil {
		return err
	}
	defer release()
	stored, ok, err := p.bus.FirstRun(ctx, in.TriggerID())
	switch {
	case err != nil:
		return err
	case !ok || stored.Trigger != stored.Origin() && isOf(&stored, in.Command): // perhaps a crash kept the rest of it from being stored
		return p.planTrigger(ctx, in)
	case isOf(&stored, in.Command):
		p.memory.learn(stored) // it was delivered again, or sent again
		return nil
	}
	return p.endUsed(ctx, in, &stored)
}

// errIDUsed says that another replica was faster, with another command of that id.
var errIDUsed = errors.New("another command has the id")

// putAsked stores a part of a plan, or tells a command that its id is used.
func (p *planner) putAsked(ctx context.Context, in *events.Incoming, run events.Run) error {
	there, err := p.put(ctx, run)
	if err != nil || there.Asked == run.Asked {
		return err
	}
	return cmp.Or(p.endUsed(ctx, in, &there), errIDUsed)
}

// tooFar says of a command that it is due when its stored plan is not kept any more.
func tooFar(clock Clock, c *events.Command) string {
	if c.NotBefore.IsZero() || time.Until(clock.Machine(c.NotBefore)) <= maxCatchUp-24*time.Hour {
		return ""
	}
	return fmt.Sprintf("not_before %s lies too far ahead: a plan is kept for 7 days, so at most 6", c.NotBefore.Format(time.RFC3339))
}

// isOf reports whether a stored plan is that of a command. Plans that were stored
// before they had a hash have the instance and action only.
func isOf(run *events.Run, c *events.Command) bool {
	if run.Asked != "" || len(run.Items) != 1 {
		return run.Asked == "" || run.Asked == c.Asked()
	}
	it := run.Items[0]
	return run.Who == c.Who && it.Region == c.Region && it.Instance == c.Instance && it.Action == c.Action
}

// endUsed gives a command whose id was used for another one its outcome, under an
// action id that the other cannot have.
func (p *planner) endUsed(ctx context.Context, in *events.Incoming, was *events.Run) error {
	c, id := in.Command, in.TriggerID()
	words, err := usedFor(ctx, p.bus, was)
	if err != nil {
		return err
	}
	rec := events.Record{
		ActionID: policies.ActionID(id+" "+c.Asked(), 0, c.Instance, policies.KindOf(policies.Verb(c.Action))), Action: c.Action, Outcome: events.Skipped,
		Reason: string(policies.ReasonIDUsed), Detail: fmt.Sprintf("id %s of %s is used: %s; send it with another id", clip(c.ID), c.Who, words),
		Trigger: id, Who: c.Who, Claim: clip(c.Claim), Region: c.Region, Instance: c.Instance, Hostname: p.inv.hostname(c.Region, c.Instance), Planned: p.clock.Plan(in.StoredAt), Why: clip(c.Reason),
	}
	if _, err := p.bus.PublishOutcome(ctx, rec); err != nil {
		return fmt.Errorf("refuse %s: %w", in.Subject, err)
	}
	p.log.Warn("refused", zap.String(keySubject, in.Subject), zap.String(keyDetail, rec.Detail))
	return nil
}

// usedFor says what the id of a stored plan was used for, and when.
func usedFor(ctx context.Context, bus *events.Bus, was *events.Run) (string, error) {
	parts, err := bus.RunsOf(ctx, was.Origin())
	if err != nil {
		return "", err
	}
	var items []events.Item
	for _, run := range parts {
		items = append(items, run.Items...)
	}
	what := "a command that found nothing to do"
	switch {
	case len(items) == 1:
		it := items[0]
		what = fmt.Sprintf("%s %s (%s in %s)", it.Action, cmp.Or(it.Hostname, it.Instance), it.Instance, strings.ToUpper(it.Region))
	case len(items) > 1:
		what = fmt.Sprintf("%s of %d instances", items[0].Action, len(items))
	}
	return fmt.Sprintf("%s at %s", what, was.StoredAt.UTC().Format(time.RFC3339)), nil
}

// sentAgain answers a command that was sent before with what became of it.
func (w *Worker) sentAgain(ctx context.Context, c *events.Command, stored *events.Run) (answer DoAnswer, err error) {
	if !isOf(stored, c) {
		words, err := usedFor(ctx, w.bus, stored)
		if err != nil {
			return answer, err
		}
		return answer, events.Refuse(CodeNotDone, "id %s of %s is used: %s; send it with another id", clip(c.ID), c.Who, words)
	}
	parts, err := w.bus.RunsOf(ctx, stored.Origin())
	if err != nil {
		return answer, err
	}
	answer = w.doAnswer(c, stored.Origin())
	answer.Again, answer.AskedAt, answer.Note = true, stored.StoredAt.UTC(), "asked for at "+stored.StoredAt.UTC().Format(time.RFC3339)+" already"
	for i := range parts {
		run := &parts[i]
		for _, it := range run.Items {
			answer.ActionID, answer.Hostname = it.ID, it.Hostname
			if it.Skip != "" && it.Skip != skipAlready { // as it was answered then
				return answer, notDone(policies.Skip{Reason: policies.Reason(it.Skip), Detail: it.Detail}, it.ID)
			}
			trail, err := w.bus.Trail(ctx, it.Region, it.Instance, it.ID)
			if err != nil {
				return answer, err
			}
			end, isEnded := trail.Outcome()
			_, _, isApproved := w.memory.approval(run)
			switch {
			case isEnded:
				answer.Outcome, answer.Reason, answer.Detail = string(end.Outcome), end.Reason, cmp.Or(end.Error, end.Detail)
			case run.Held != "" && !isApproved:
				answer.Note += "; held until it is approved: " + run.Held
			}
		}
	}
	return answer, nil
}

// sentBefore answers a command whose id a stored plan has.
func (w *Worker) sentBefore(ctx context.Context, c *events.Command) (answer DoAnswer, found bool, err error) {
	stored, found, err := w.bus.FirstRun(ctx, events.CommandTrigger(c.Who, c.ID))
	if err != nil {
		return answer, false, events.Refuse(503, "not stored: %v", err)
	}
	if found {
		answer, err = w.sentAgain(ctx, c, &stored)
	}
	return answer, found, err
}

// isUsed turns the refusal of the store into that of the daemon.
func isUsed(c *events.Command, err error) error {
	if errors.Is(err, events.ErrIDUsed) {
		return events.Refuse(CodeNotDone, "id %s of %s: %v; send it with another id", clip(c.ID), c.Who, err)
	}
	return events.Refuse(503, "not stored: %v", err)
}
