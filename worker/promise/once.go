package promise

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/policies"
)

func oneOutcome(s *story) {
	for _, rec := range s.Events {
		if !rec.Outcome.Ends() {
			continue
		}
		s.saw()
		if first, _ := s.outcome(rec.ActionID); first.Seq != rec.Seq {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s ended as %s, then as %s", rec.Action, host(rec), first.Outcome, rec.Outcome), lines(s.byAction[rec.ActionID])...)
		}
	}
}

func onePlan(s *story) {
	plans := make(map[string]*events.Run)
	edges := make(map[string]*events.Run)
	for i := range s.Runs {
		run := &s.Runs[i]
		key := run.Region + "/" + run.Trigger
		if first := plans[key]; first != nil {
			s.broken("", "", fmt.Sprintf("trigger %s was planned twice in %s", run.Trigger, run.Region), runLine(first), runLine(run))
			continue
		}
		plans[key] = run
		for _, edge := range run.Edges {
			s.saw()
			key := run.Region + "/" + edge
			if first := edges[key]; first != nil && first.Origin() != run.Origin() {
				s.broken("", "", fmt.Sprintf("planned time %s is in two plans of %s", edge, run.Region), runLine(first), runLine(run))
				continue
			}
			edges[key] = run
		}
	}
}

func plannedBeforeCalled(s *story) {
	for _, rec := range s.started {
		s.saw()
		p, ok := s.item[rec.ActionID]
		switch {
		case !ok:
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("a %s of %s began that is in no stored plan", rec.Action, host(rec)), line(rec))
		case p.run.StoredAt.After(rec.StoredAt.Add(s.Apart)):
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("a %s of %s began before its plan was stored", rec.Action, host(rec)), line(rec), runLine(p.run))
		}
	}
}

func announcedBeforeCalled(s *story) {
	for id, requests := range s.requests {
		for _, r := range requests {
			s.saw()
			if !s.isAnnounced(r) {
				s.broken(id, "", fmt.Sprintf("the cloud was asked for a %s of %s that no started event announces", r.Op, id), append(lines(callsOf(s.byInstance[id])), requestLine(r))...)
			}
		}
	}
}

func (s *story) isAnnounced(r civosim.Request) bool {
	for _, rec := range s.byInstance[r.Instance] {
		if rec.Outcome == events.Started && policies.Verb(rec.Action) == verbOf(r.Op) &&
			!rec.StoredAt.After(r.Time.Add(s.Apart)) && !rec.Deadline.Add(s.Apart).Before(r.Time) {
			return true
		}
	}
	return false
}

// callsOf are the events that say how calls stand, and how actions ended.
func callsOf(recs []events.Record) (calls []events.Record) {
	for _, rec := range recs {
		switch rec.Outcome {
		case events.Waiting, events.Noticed:
		default:
			calls = append(calls, rec)
		}
	}
	return calls
}

// oneCallInFlight goes by the started events: each is the lock that the next one
// waits for. A call has ended when its answer or its action's outcome is stored,
// or its deadline has passed.
func oneCallInFlight(s *story) {
	open := make(map[string]events.Record) // by instance
	called := make(map[string]bool)
	for _, rec := range s.Events {
		before, isOpen := open[rec.Instance]
		switch {
		case rec.Outcome == events.Started:
			if called[rec.Instance] {
				s.saw()
			}
			called[rec.Instance] = true
			if isOpen && rec.StoredAt.Before(before.Deadline.Add(-s.Apart)) {
				s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("a %s of %s began while a %s may have been under way", rec.Action, host(rec), before.Action), line(before), line(rec))
			}
			open[rec.Instance] = rec
		case isOpen && before.ActionID == rec.ActionID && (rec.Outcome.Ends() || rec.Outcome == events.Accepted || rec.Outcome == events.PutOff):
			delete(open, rec.Instance)
		}
	}
}

func inOrder(s *story) {
	newest := make(map[string]events.Record) // by instance and kind
	for _, rec := range s.started {
		key := rec.Instance + "/" + string(policies.KindOf(policies.Verb(rec.Action)))
		last, ok := newest[key]
		if ok {
			s.saw()
		}
		if ok && rec.RunSeq < last.RunSeq && s.wins(last) && s.wins(rec) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("a %s of %s by an older trigger began after a %s by a newer one", rec.Action, host(rec), last.Action), line(last), line(rec))
			continue
		}
		newest[key] = rec
	}
}

// wins reports whether an action may overtake others: one that waited for
// approval is as old as its approval.
func (s *story) wins(rec events.Record) bool {
	p, ok := s.item[rec.ActionID]
	return ok && p.run.Held == ""
}

// neverTwice counts the requests of an action that may have had an effect: all
// but those that were turned away.
func neverTwice(s *story) {
	for _, rec := range s.started {
		if verb := policies.Verb(rec.Action); verb != policies.Reboot && verb != policies.Create {
			continue
		}
		var sent []civosim.Request
		var shown []string
		for _, other := range s.byAction[rec.ActionID] {
			if other.Outcome != events.Started || other.Seq > rec.Seq {
				continue
			}
			shown = append(shown, line(other))
			for _, r := range s.requests[rec.Instance] {
				within := !r.Time.Before(other.StoredAt.Add(-s.Apart)) && !r.Time.After(s.endOf(other).Add(s.Apart))
				if within && s.isOf(r, other) && verbOf(r.Op) == policies.Verb(rec.Action) && (r.Effect || r.Status == 0 || r.Status >= 500) {
					sent = append(sent, r)
					shown = append(shown, requestLine(r))
				}
			}
		}
		if len(sent) > 0 {
			s.saw()
		}
		if len(sent) > 1 {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("one %s of %s was sent %d times", rec.Action, host(rec), len(sent)), shown...)
		}
	}
}

// isOf reports whether a request is of the call that a started event announced, and
// not of one to the same instance that was announced since, or had been before and
// was under way still.
func (s *story) isOf(r civosim.Request, started events.Record) bool {
	return !slices.ContainsFunc(s.byInstance[started.Instance], func(rec events.Record) bool {
		switch {
		case rec.Outcome != events.Started || rec.Action != started.Action || rec.StoredAt.After(r.Time):
			return false
		case rec.Seq > started.Seq:
			return true
		}
		return rec.Seq < started.Seq && r.Time.Before(started.StoredAt) && !r.Time.After(s.endOf(rec).Add(s.Apart))
	})
}

// endOf is when a call had ended: with the next event that says so, or with its
// deadline.
func (s *story) endOf(started events.Record) time.Time {
	for _, rec := range s.byAction[started.ActionID] {
		if rec.Seq > started.Seq && (rec.Outcome.Ends() || rec.Outcome == events.Accepted || rec.Outcome == events.PutOff || rec.Outcome == events.Started) {
			if rec.StoredAt.Before(started.Deadline) {
				return rec.StoredAt
			}
			break
		}
	}
	return started.Deadline
}

func nothingIsLost(s *story) {
	for i := range s.Runs {
		run := &s.Runs[i]
		if s.isLate(run.StoredAt) {
			continue
		}
		for _, it := range run.Items {
			s.saw()
			if _, ended := s.outcome(it.ID); !ended && !s.mayBeOpen(run, it) {
				s.broken(it.Instance, it.ID, fmt.Sprintf("%s of %s, wanted by %s, has no outcome", it.Action, it.Hostname, source(it.Policy)), append([]string{runLine(run)}, lines(s.byAction[it.ID])...)...)
			}
		}
		if len(run.Items) > 0 || run.Why == "" {
			continue
		}
		if _, told := s.outcome(policies.ActionID(run.Trigger, 0, run.Region, "none")); !told {
			s.broken("", "", fmt.Sprintf("the plan of %s for %s touches nothing, and no event says so", run.Trigger, run.Region), runLine(run))
		}
	}
}

// endsWithin is how soon after its begin an action has ended when nothing is wrong:
// a call is accepted, and its target seen or given up.
const endsWithin = 15 * time.Minute

// mayBeOpen reports whether it is too early to miss the outcome of an action: it
// has only just been planned, waits for approval, or says itself why it waits.
func (s *story) mayBeOpen(run *events.Run, it events.Item) bool {
	since := run.StoredAt
	for _, t := range []time.Time{it.NotBefore, run.HeldUntil} {
		if t.After(since) {
			since = t
		}
	}
	if recs := s.byAction[it.ID]; len(recs) > 0 {
		switch last := recs[len(recs)-1]; {
		case last.Outcome == events.Waiting && it.NotAfter.After(since):
			since = it.NotAfter
		case last.Outcome == events.PutOff && last.StoredAt.After(since): // it is tried again and again
			since = last.StoredAt
		}
	}
	return s.Now.Before(since.Add(endsWithin))
}

func host(rec events.Record) string {
	if rec.Hostname != "" {
		return rec.Hostname
	}
	return rec.Instance
}

func source(policy string) string {
	switch {
	case policy == "":
		return "a command"
	case strings.HasPrefix(policy, "_"):
		return "the end of an exception (" + policy[1:] + ")"
	}
	return "policy " + policy
}
