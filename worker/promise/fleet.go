package promise

import (
	"fmt"
	"slices"
	"time"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

// fleetIsAsWanted asks the policies themselves what they want of each instance
// now, and looks for a reason that was told where it is otherwise.
func fleetIsAsWanted(s *story) {
	if len(s.Fleets) == 0 || len(s.Files) == 0 {
		return
	}
	set := s.Files[len(s.Files)-1].Set
	now := s.planAt(s.Now)
	for _, inst := range s.Fleets[len(s.Fleets)-1].Instances {
		if reason, _ := set.Untouchable(inst); reason != "" {
			continue
		}
		facts := s.exceptions(inst.ID, s.Now, s.Now)
		facts.Impulses = s.impulses(inst.ID, s.Now, "")
		win, ok := set.Winner(inst, facts, now)
		if !ok || win.State == schedule.Any {
			continue
		}
		s.saw()
		if statusFor(win.State) == inst.Status || set.ModeOf(win.Source) != policies.ModeAct {
			continue
		}
		if calls := callsOf(s.byInstance[inst.ID]); s.beganLate(win) || s.wonLate(inst, win) || len(calls) > 0 && s.isLate(calls[len(calls)-1].StoredAt) {
			continue // it is being brought there
		}
		verb := policies.Start
		if win.State == schedule.Stopped {
			verb = policies.Stop
		}
		if reason, _ := set.Overrules(inst, facts, verb, win.Source, now); reason != "" || !slices.Contains(set.Allow, verb) {
			continue
		}
		if s.isOnItsWay(inst.ID) || s.excused(inst, win) {
			continue
		}
		s.broken(inst.ID, "", fmt.Sprintf("%s is %s, and %s wants it %s since %s; nobody did that by hand, and no event says why", inst.Hostname, inst.Status, source(win.Source), win.State, stamp(win.Since)),
			lines(callsOf(s.byInstance[inst.ID]))...)
	}
}

// isOnItsWay reports whether an action on an instance's power may be open still.
func (s *story) isOnItsWay(id string) bool {
	for i := range s.Runs {
		for _, it := range s.Runs[i].Items {
			if it.Instance == id && it.Kind == string(policies.KindPower) {
				if _, ended := s.outcome(it.ID); !ended && s.mayBeOpen(&s.Runs[i], it) {
					return true
				}
			}
		}
	}
	return false
}

// beganLate reports whether a want is so new that its tick need not have come to
// anything, or to be stored.
func (s *story) beganLate(win policies.Want) bool {
	if s.Rest.IsZero() {
		return false
	}
	for _, t := range s.Ticks {
		if announces(t, policies.Edge{Policy: win.Source, Planned: win.Since}) {
			return s.isLate(t.StoredAt)
		}
	}
	return win.Since.After(s.planAt(s.Rest.Add(-Grace)))
}

// announcing is how long before Rest (machine time) an edge may lie that nobody has
// announced yet.
const announcing = 5 * time.Second

// wonLate reports whether a want won only after Rest, or a moment before: such as
// because the impulse that overruled it ended when the daemons had ended, too.
func (s *story) wonLate(inst policies.Instance, win policies.Want) bool {
	if s.Rest.IsZero() {
		return false
	}
	at := s.Rest.Add(-announcing)
	facts := s.exceptions(inst.ID, at, at)
	facts.Impulses = s.impulses(inst.ID, at, "")
	before, ok := s.Files[len(s.Files)-1].Set.Winner(inst, facts, s.planAt(at))
	return !ok || before.Source != win.Source || before.State != win.State
}

func statusFor(state schedule.State) string {
	if state == schedule.Running {
		return policies.StatusActive
	}
	return policies.StatusShutoff
}

// excused reports whether somebody was told why an instance is not as wanted, or a
// person made it so.
func (s *story) excused(inst policies.Instance, win policies.Want) bool {
	if p, isPolicy := policyOf(s.Files, win.Source); isPolicy && win.Since.Before(s.planAt(s.knownSince(win.Source, p.Hash()))) {
		return true // an edit never acts on the spot
	}
	last, ok := s.lastPower(inst.ID, win.Since)
	for _, rec := range s.byInstance[inst.ID] { // the API switches on what is resized or rebooted while it is off
		if win.State == schedule.Stopped && rec.Outcome == events.Started && (rec.Action == string(policies.Resize) || rec.Action == string(policies.Reboot)) && !s.planAt(rec.StoredAt).Before(win.Since) {
			return true
		}
	}
	for _, h := range s.Hands {
		if h.Instance != inst.ID || s.planAt(h.At).Before(win.Since) {
			continue
		}
		if !ok || h.At.After(last.StoredAt.Add(-Grace)) || last.Outcome == events.Superseded {
			return true
		}
	}
	if ok {
		switch last.Outcome {
		case events.Failed, events.Unknown, events.Expired, events.Planned:
			return true
		case events.Skipped: // the end of a pause or keep is decided about anew
			switch policies.Reason(last.Reason) {
			case policies.ReasonAlready, policies.ReasonChanged, policies.ReasonPaused, policies.ReasonKept:
				return false
			}
			return true
		}
		return false
	}
	for _, t := range s.Ticks { // its edges were given up together
		if t.Missed > 0 && announces(t, policies.Edge{Policy: win.Source, Planned: win.Since}) {
			return true
		}
	}
	return false
}

func policyOf(files []File, name string) (*policies.Policy, bool) {
	if len(files) == 0 {
		return nil, false
	}
	return files[len(files)-1].Set.Policy(name)
}

// knownSince is when the stretch of a policy began that lasts still.
func (s *story) knownSince(policy, hash string) (since time.Time) {
	for _, st := range s.stretches() {
		if st.policy.Name == policy && st.hash == hash && st.until.IsZero() {
			return st.from
		}
	}
	return since
}

// lastPower is the outcome of the newest trigger that decided about an instance's
// power at or after a planned time.
func (s *story) lastPower(id string, since time.Time) (last events.Record, ok bool) {
	var newest uint64
	for _, rec := range s.byInstance[id] {
		if !rec.Outcome.Ends() || policies.KindOf(policies.Verb(rec.Action)) != policies.KindPower || rec.Planned.Before(since) || rec.RunSeq < newest {
			continue
		}
		last, ok, newest = rec, true, rec.RunSeq
	}
	return last, ok
}
