package policies

import (
	"fmt"
	"slices"
	"time"

	"nightshift/policies/schedule"
)

// Explanation is the whole argument about the power state of an instance at an
// instant: who wants what, who wins, and by which rule the others lose.
type Explanation struct {
	Instance    Instance       `json:"instance"`
	At          time.Time      `json:"at"`
	Untouchable string         `json:"untouchable,omitempty"` // why nothing ever touches it; empty: it may be touched
	Wants       []Argued       `json:"wants"`                 // the winner first, then in the order in which they would win
	Pauses      []Pause        `json:"pauses,omitempty"`      // that hold then, and concern it
	Mute        []Mute         `json:"mute,omitempty"`        // policies that select it and want nothing of its power state now
	Rails       []string       `json:"rails,omitempty"`       // what limits that, in words
	Faults      []TagFault     `json:"tag_faults,omitempty"`
	Order       string         `json:"order,omitempty"` // where it stands in one, in words
	Next        []UpcomingEdge `json:"next,omitempty"`  // of the policies and exceptions that concern it
}

// Argued is a want with its place in the argument.
type Argued struct {
	Want
	Why   string `json:"why"`             // what it comes from
	Loses string `json:"loses,omitempty"` // by which rule, against the winner; empty for the winner
}

// Mute is a policy without a voice, with the reason.
type Mute struct {
	Policy string `json:"policy"`
	Why    string `json:"why"`
}

// State is what wins: running, stopped, or any where nobody wants anything.
func (e *Explanation) State() schedule.State {
	if e.Untouchable != "" || len(e.Wants) == 0 {
		return schedule.Any
	}
	return e.Wants[0].State
}

// Explain argues about one instance with the code that decides.
func Explain(set *Set, inst Instance, facts Facts, at time.Time) Explanation {
	e := Explanation{Instance: inst, At: at, Faults: set.TagFaults(inst), Order: set.PlaceOf(inst).explain()}
	if reason, detail := set.Untouchable(inst); reason != "" {
		e.Untouchable = detail
	}
	index := newIndex(set)
	m := newMoment(index, &facts, at)
	matched := index.match(&inst, nil)
	wants := slices.Clone(m.wants(&inst, matched))
	for len(wants) > 0 {
		best := bestOf(wants)
		a := Argued{Want: wants[best], Why: m.why(&wants[best], &inst)}
		if len(e.Wants) > 0 {
			a.Loses = loses(&wants[best], &e.Wants[0].Want)
		}
		e.Wants = append(e.Wants, a)
		wants = slices.Delete(wants, best, best+1)
	}
	for _, p := range facts.Pauses {
		if p.Holds(at) && (p.Instance == inst.ID || p.Instance == "" && (p.Policy == "" || slices.ContainsFunc(matched, func(i int) bool { return p.silences(&set.Policies[i]) }))) {
			e.Pauses = append(e.Pauses, p)
		}
	}
	for _, i := range matched {
		p := &set.Policies[i]
		if !slices.ContainsFunc(e.Wants, func(a Argued) bool { return a.Source == p.Name }) {
			e.Mute = append(e.Mute, Mute{p.Name, m.muteWords(i, &inst)})
		}
	}
	e.Rails = railsOf(set, inst, facts, at)
	e.Next = set.nextOf(inst, facts, at, 4)
	return e
}

// railsOf are the rails that an instance meets: what would be done with it now, if
// that has to wait or is not done for others' sake, and the floors that count it.
func railsOf(set *Set, inst Instance, facts Facts, at time.Time) (words []string) {
	inv := slices.Concat(facts.Fleet...)
	if len(inv) == 0 {
		inv = []Instance{inst}
	}
	plan := Decide(set, inv, facts, Trigger{ID: "look", At: at}, at)
	for i := range plan.Actions {
		if a := &plan.Actions[i]; a.Instance == inst.ID && a.Waits() != "" {
			words = append(words, string(a.Verb)+" "+a.Waits())
		}
	}
	for i := range plan.Skips {
		if k := &plan.Skips[i]; k.Instance == inst.ID && k.Reason == ReasonFloor {
			words = append(words, "no "+k.What()+": "+k.Detail)
		}
	}
	for _, f := range set.FloorsOver(inst) {
		if up := set.Floors[f].Up(inv); len(facts.Fleet) > 0 {
			words = append(words, fmt.Sprintf("floor: %s; %d of the fleet are running", set.Floors[f].Words(), up))
		} else {
			words = append(words, "floor: "+set.Floors[f].Words())
		}
	}
	return words
}

// loses says by which rule one want loses against another.
func loses(w, win *Want) string {
	switch {
	case w.State == win.State:
		return "wants the same"
	case w.rank != win.rank:
		return map[int]string{rankKeep: "a keep goes before commands and policies", rankCommand: "a command goes before policies"}[win.rank]
	case w.Priority != win.Priority:
		return fmt.Sprintf("priority %d is less than %d", w.Priority, win.Priority)
	case w.Impulse && win.Impulse && !w.Since.Equal(win.Since):
		return "of two that fire the later wins"
	case win.Impulse && !w.Impulse && win.Since.After(w.Since):
		return "it fired after this came into force"
	case win.State == schedule.Running:
		return "between equals running beats stopped"
	}
	return "between equals the first name wins"
}

// muteWords says why a policy that selects an instance wants nothing of its power.
func (m *moment) muteWords(i int, inst *Instance) string {
	p := &m.set.Policies[i]
	if pause := m.silent.of(p.Name, inst.ID); pause != nil {
		return m.set.pauseWords(pause)
	}
	w := m.view(i, inst)
	switch {
	case p.Signal != nil:
		return "waits for " + p.Signal.String()
	case p.FromTag != nil && p.table(inst) == nil:
		return "the instance has no tag " + p.FromTag.Tag + " that can be read"
	case p.IsLevel():
		return "no voice outside its windows"
	case w.Impulse && w.State != "":
		return "what it fired at " + m.set.clock(w.Since) + " was ended by a later edge"
	case w.Impulse:
		return "what it fired at " + m.set.clock(w.Since) + " is over"
	}
	if _, power := p.power(); power {
		return "has not fired yet"
	}
	return "does " + stepNames(p.Do)
}

// String says what a cause waits for.
func (c *SignalCause) String() string {
	var s string
	switch {
	case c.Alert != "":
		s = "alert " + c.Alert
	case c.Load != "":
		s = fmt.Sprintf("load %s above %g", c.Load, c.Above)
	default:
		s = "signal " + c.Name
	}
	if c.For > 0 {
		s += " for " + SpanWords(c.For)
	}
	return s
}

// nextOf are the next edges that concern one instance.
func (s *Set) nextOf(inst Instance, facts Facts, after time.Time, n int) []UpcomingEdge {
	one := *s
	one.Policies = nil
	for i := range s.Policies {
		if s.Policies[i].Select.Matches(inst) {
			one.Policies = append(one.Policies, s.Policies[i])
		}
	}
	return one.Agenda([]Instance{inst}, facts, after).NextEdges(after, n)
}
