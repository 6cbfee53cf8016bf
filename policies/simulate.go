package policies

import (
	"slices"
	"strconv"
	"time"
)

// Stage is what is decided at one instant of a simulation.
type Stage struct {
	At    time.Time
	Edges []Edge
	Plan  Plan
}

// Simulate walks through the edges in (from, to] with the code that acts, over a
// fleet that does as it is told and that nobody else touches. Signals and commands
// do not happen. The inventory is not changed.
func Simulate(set *Set, inv []Instance, facts Facts, from, to time.Time) []Stage {
	fleet := slices.Clone(inv)
	if facts.WatchedSince.IsZero() {
		facts.WatchedSince = from
	}
	impulses := make(Impulses, len(facts.Impulses))
	for id, list := range facts.Impulses {
		impulses[id] = slices.Clone(list)
	}
	facts.Impulses = impulses
	at := make(map[string]int, len(fleet))
	for i := range fleet {
		at[fleet[i].ID] = i
	}
	var stages []Stage
	agenda := set.Agenda(fleet, facts, from)
	edges := agenda.Edges(from, to)
	for len(edges) > 0 {
		n := 1
		for n < len(edges) && edges[n].Planned.Equal(edges[0].Planned) {
			n++
		}
		now := edges[0].Planned
		trig := Trigger{ID: "t" + strconv.FormatInt(now.Unix(), 10), At: now, Edges: edges[:n]}
		stage := Stage{At: now, Edges: edges[:n], Plan: Decide(set, fleet, facts, trig, now)}
		stages = append(stages, stage)
		retagged := false
		for _, a := range stage.Plan.Actions {
			if a.Mode == ModeObserve {
				continue
			}
			retagged = carryOut(&fleet[at[a.Instance]], a) || retagged
			facts.Impulses.Learn(a, true)
		}
		if edges = edges[n:]; retagged { // what follows tags has other hours now
			edges = set.Agenda(fleet, facts, now).Edges(now, to)
		}
	}
	return stages
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
