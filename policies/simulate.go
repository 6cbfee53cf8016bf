package policies

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"nightshift/policies/schedule"
)

// Stage is what is decided at one instant of a simulation.
type Stage struct {
	At    time.Time
	Edges []Edge // empty: a look for drift, which is a stage only when it acts
	Plan  Plan
}

// Simulate walks through the edges in (from, to] with the code that acts, over a
// fleet that does as it is told and that nobody else touches. Signals and commands
// do not happen; what waits for approval is approved at once. Where a policy enforces its level, the fleet is also compared
// with it at the first look for drift after the begin and after each edge:
// between two edges nothing else changes. The inventory is not changed.
func Simulate(set *Set, inv []Instance, facts Facts, from, to time.Time) []Stage {
	s := newSimulation(set, inv, facts, from)
	edges := set.Agenda(s.fleet, s.facts, from).Edges(from, to)
	look := s.nextLook(from)
	for {
		if !look.IsZero() && !look.After(to) && (len(edges) == 0 || look.Before(edges[0].Planned)) {
			at := look
			look = time.Time{}
			if s.drift(at) {
				edges = set.Agenda(s.fleet, s.facts, at).Edges(at, to)
			}
			continue
		}
		if len(edges) == 0 {
			return s.stages
		}
		n := 1
		for n < len(edges) && edges[n].Planned.Equal(edges[0].Planned) {
			n++
		}
		now := edges[0].Planned
		retagged := s.tick(now, edges[:n])
		look = s.nextLook(now)
		if edges = edges[n:]; retagged { // what follows tags has other hours now
			edges = set.Agenda(s.fleet, s.facts, now).Edges(now, to)
		}
	}
}

type simulation struct {
	set      *Set
	fleet    []Instance
	facts    Facts
	at       map[string]int // of an instance in the fleet, by id
	enforced bool
	stages   []Stage
}

func newSimulation(set *Set, inv []Instance, facts Facts, from time.Time) *simulation {
	s := &simulation{set: set, fleet: slices.Clone(inv), facts: facts, at: make(map[string]int, len(inv))}
	if facts.WatchedSince.IsZero() {
		s.facts.WatchedSince = from
	}
	s.facts.Impulses = make(Impulses, len(facts.Impulses))
	for id, list := range facts.Impulses {
		s.facts.Impulses[id] = slices.Clone(list)
	}
	s.facts.Fleet, s.facts.Partial = nil, false // the fleet is the one that changes
	s.facts.Sizes = maps.Clone(facts.Sizes)
	if s.facts.Sizes == nil {
		s.facts.Sizes = make(map[string]int)
	}
	for i := range s.fleet {
		s.at[s.fleet[i].ID] = i
		if s.fleet[i].CreatedAt.After(from) { // asked about a time before it was made: then it counts as old
			s.fleet[i].CreatedAt = time.Time{}
		}
	}
	s.enforced = slices.ContainsFunc(set.Policies, func(p Policy) bool { return p.Enforce != EnforceNot })
	return s
}

// nextLook is the first look for drift after an instant; zero: none is needed.
func (s *simulation) nextLook(after time.Time) time.Time {
	if !s.enforced {
		return time.Time{}
	}
	return after.UTC().Truncate(DriftEvery).Add(DriftEvery)
}

// tick decides about edges of one instant, and reports whether tags have changed.
func (s *simulation) tick(now time.Time, edges []Edge) (retagged bool) {
	trig := Trigger{ID: "t" + strconv.FormatInt(now.Unix(), 10), At: now, Edges: edges}
	stage := Stage{At: now, Edges: edges, Plan: Decide(s.set, s.fleet, s.facts, trig, now)}
	s.stages = append(s.stages, stage)
	return s.carryOut(stage.Plan)
}

// drift looks for drift, and reports whether tags have changed.
func (s *simulation) drift(now time.Time) (retagged bool) {
	plan := Decide(s.set, s.fleet, s.facts, Trigger{ID: "d" + strconv.FormatInt(now.Unix(), 10), At: now, Drift: true}, now)
	if len(plan.Actions) == 0 {
		return false
	}
	s.stages = append(s.stages, Stage{At: now, Plan: Plan{Actions: plan.Actions}})
	return s.carryOut(plan)
}

func (s *simulation) carryOut(plan Plan) (retagged bool) {
	maps.Copy(s.facts.Sizes, plan.Sizes)
	maps.Copy(s.facts.Sizes, plan.Grown) // as if somebody approves it
	for _, a := range plan.Actions {
		if a.Mode == ModeObserve {
			continue
		}
		retagged = carryOut(&s.fleet[s.at[a.Instance]], a) || retagged
		s.facts.Impulses.Learn(a, true)
	}
	return retagged
}

// carryOut makes an instance what an action would make of it, and reports
// whether its tags have changed.
func carryOut(inst *Instance, a Action) (retagged bool) {
	switch a.Verb {
	case Start:
		inst.Status = StatusActive
	case Stop:
		inst.Status = StatusShutoff
	case Resize:
		inst.Size = a.Size
	case Firewall:
		inst.FirewallID = a.Firewall
	case Retag:
		inst.Tags = a.Tags
		return true
	}
	return false
}

// Span is a stretch of time in which an instance stays running or stopped.
type Span struct {
	From  time.Time      `json:"from"`
	To    time.Time      `json:"to"`
	State schedule.State `json:"state"` // Any: its status said neither, and nothing has been done yet
}

// Courses are the spans of each instance over [from, to] of a simulation, by id.
// An action counts from when it is due.
func Courses(inv []Instance, stages []Stage, from, to time.Time) map[string][]Span {
	courses := make(map[string][]Span, len(inv))
	for i := range inv {
		courses[inv[i].ID] = []Span{{From: from, To: to, State: stateOf(inv[i].Status)}}
	}
	for _, stage := range stages {
		for _, a := range stage.Plan.Actions {
			if a.Kind != KindPower || a.Mode == ModeObserve {
				continue
			}
			spans := courses[a.Instance]
			last := &spans[len(spans)-1]
			at, state := later(a.Due, last.From), stateFor(a.Verb)
			switch {
			case state == last.State || !at.Before(to):
			case at.Equal(last.From):
				last.State = state
			default:
				last.To = at
				courses[a.Instance] = append(spans, Span{From: at, To: to, State: state})
			}
		}
	}
	return courses
}

func stateOf(status string) schedule.State {
	switch status {
	case StatusActive:
		return schedule.Running
	case StatusShutoff:
		return schedule.Stopped
	}
	return schedule.Any
}

// Within is how much of [from, to) a course spends in a state.
func Within(course []Span, state schedule.State, from, to time.Time) time.Duration {
	var sum time.Duration
	for _, s := range course {
		if s.State == state {
			sum += max(0, earlier(s.To, to).Sub(later(s.From, from)))
		}
	}
	return sum
}
