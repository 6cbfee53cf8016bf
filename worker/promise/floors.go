package promise

import (
	"fmt"
	"slices"
	"time"

	"nightshift/policies"
)

// aboveFloors counts, for a call that takes an instance down, those that may have
// been running beside it. A stop of ours counts at once, since daemons count those
// together; what a person stopped is not seen before the next reading.
func aboveFloors(s *story) {
	for _, rec := range s.started {
		if !policies.Verb(rec.Action).Lowers() {
			continue
		}
		says := ""
		if s.forEachMoment(rec, func(set *policies.Set, inst policies.Instance) bool {
			if inst.Status != policies.StatusActive {
				return false
			}
			for _, n := range set.FloorsOver(inst) {
				s.saw()
				floor := &set.Floors[n]
				if left := s.mayRun(floor, inst.ID, rec.StoredAt); left < floor.Running {
					says = fmt.Sprintf("a floor of %d over %s", floor.Running, floor.Select)
					return true
				}
			}
			return false
		}) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began under %s", rec.Action, host(rec), says), line(rec))
		}
	}
}

// mayRun is how many instances of a floor may have been running at an instant, but
// for one: at most so many.
func (s *story) mayRun(floor *policies.Floor, but string, at time.Time) (n int) {
	seen := make(map[string]bool)
	for _, f := range s.Fleets {
		if f.At.After(at) {
			break
		}
		for _, inst := range f.Instances {
			if inst.ID != but && floor.Select.Matches(inst) && !seen[inst.ID] {
				seen[inst.ID] = true
				if s.mayBeUp(inst.ID, at) {
					n++
				}
			}
		}
	}
	return n
}

// mayBeUp goes by the newest sign: a look, or a start or stop of ours that had an
// effect.
func (s *story) mayBeUp(id string, at time.Time) bool {
	up, since := false, time.Time{}
	for _, f := range s.Fleets {
		i := slices.IndexFunc(f.Instances, func(i policies.Instance) bool { return i.ID == id })
		if f.At.After(at) || i < 0 {
			continue
		}
		switch {
		case f.Instances[i].Status == policies.StatusActive:
			up, since = true, f.At
		case f.Instances[i].Status == policies.StatusShutoff && f.At.Before(at.Add(-Grace)): // one on its way tells nothing
			up, since = false, f.At.Add(-Grace) // what we have just asked for shows later
		}
	}
	for _, r := range s.requests[id] {
		if r.Effect && r.Time.After(since) && !r.Time.After(at) {
			up = verbOf(r.Op) != policies.Stop // whatever else is asked for ends with an instance that runs
			since = r.Time
		}
	}
	return up
}
