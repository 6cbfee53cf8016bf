package policies

import (
	"fmt"
	"time"

	"nightshift/policies/schedule"
)

// Overrules is why an action is not done although it was planned: a pause or a
// keep that holds at an instant. The reason is empty when nothing holds.
func (s *Set) Overrules(inst Instance, facts Facts, verb Verb, source string, at time.Time) (Reason, string) {
	m := &moment{set: s, facts: &facts, at: at, silent: s.silenceAt(facts.Pauses, at)}
	return m.overrules(&inst, &Action{Verb: verb, Kind: KindOf(verb), Policy: source})
}

// Kept is what an instance is kept in at an instant.
func (s *Set) Kept(inst Instance, facts Facts, at time.Time) (Keep, bool) {
	return s.keep(&inst, &facts, at)
}

// Winner is the want that holds for an instance's power at an instant.
func (s *Set) Winner(inst Instance, facts Facts, at time.Time) (Want, bool) {
	index := newIndex(s)
	return newMoment(index, &facts, at).winner(&inst, index.match(&inst, nil))
}

// ModeOf is the mode in which a policy acts; that of the file for what is none.
func (s *Set) ModeOf(policy string) Mode {
	if p, ok := s.Policy(policy); ok && p.Mode != "" {
		return p.Mode
	}
	return s.Mode
}

func (m *moment) overrules(inst *Instance, a *Action) (Reason, string) {
	if p := m.silent.of(a.Policy, inst.ID); p != nil {
		return ReasonPaused, m.set.pauseWords(p)
	}
	k, ok := m.set.keep(inst, m.facts, m.at)
	if !ok || a.Policy == KeepSource {
		return "", ""
	}
	w := Want{Source: KeepSource, State: k.State, Until: k.Until, tag: k.tag, policy: -1}
	against := false
	switch a.Verb {
	case Start:
		against = k.State != schedule.Running
	case Stop:
		against = k.State != schedule.Stopped
	case Reboot, Resize:
		against = k.State != schedule.Running
	}
	if !against {
		return "", ""
	}
	return ReasonKept, m.why(&w, inst)
}

// respects is why a level does not undo what somebody did by hand.
func (d *decision) respects(inst *Instance, a *Action) (Reason, string) {
	if a.Verb != Start || !a.Level || len(d.facts.Hands) == 0 {
		return "", ""
	}
	i := d.index.policy(a.Policy)
	if i < 0 {
		return "", ""
	}
	p := &d.set.Policies[i]
	h, ok := d.facts.Hands[inst.ID]
	if !ok || h.State != schedule.Stopped || !d.now.Before(h.At.Add(p.RespectStop)) || inst.Status != StatusShutoff {
		return "", ""
	}
	if table := p.table(inst); table == nil || h.during(table) != schedule.Running {
		return "", ""
	}
	return ReasonHand, fmt.Sprintf("stopped by hand at %s, which holds for %s (respect_stop)", d.set.clock(h.At), SpanWords(p.RespectStop))
}
