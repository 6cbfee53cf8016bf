package promise

import (
	"fmt"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// counts reports whether limits count an action of a stored plan.
func counts(it events.Item) bool {
	return it.Skip == "" && !it.Observe && it.Kind != string(policies.KindNotify) && !isLevelStart(it)
}

// fleets are what all instances were within a span: as they were at its begin, and
// after each change.
func (s *story) fleets(from, to time.Time) (fleets []Fleet) {
	for _, f := range s.Fleets {
		if f.At.After(to) {
			break
		}
		if !f.At.After(from) {
			fleets = fleets[:0]
		}
		fleets = append(fleets, f)
	}
	return fleets
}

// selected are the least and the most instances that a policy may have been seen to
// select at an instant.
func (s *story) selected(policy string, at time.Time) (least, most int, known bool) {
	for _, set := range s.sets(at.Add(-Grace), at) {
		p, ok := set.Policy(policy)
		if !ok {
			continue
		}
		for _, f := range s.fleets(at.Add(-Grace), at) {
			n := 0
			for _, inst := range f.Instances {
				if p.Select.Matches(inst) {
					n++
				}
			}
			if !known || n < least {
				least = n
			}
			most, known = max(most, n), true
		}
	}
	return least, most, known
}

func withinShare(s *story) {
	s.shareOfRun()
	s.shareOfPolicy()
}

// allowed is the most that limits.share lets be of n instances, by whichever file
// may have been gone by; where one sets no bound, bound is false.
func (s *story) allowed(at time.Time, n func(*policies.Set) int) (most int, bound bool) {
	sets := s.sets(at.Add(-Grace), at)
	for _, set := range sets {
		m, ok := set.Limits.Allowed(n(set))
		if !ok {
			return 0, false
		}
		most = max(most, m)
	}
	return most, len(sets) > 0
}

// shareOfRun takes the regions of a trigger together that were planned together.
func (s *story) shareOfRun() {
	touched := make(map[string]map[string]bool) // instances, by trigger
	since := make(map[string]time.Time)
	for i := range s.Runs {
		run := &s.Runs[i]
		if run.Held != "" {
			continue
		}
		if run.StoredAt.Sub(since[run.Trigger]) > storeLasts {
			touched[run.Trigger], since[run.Trigger] = make(map[string]bool), run.StoredAt
		}
		for _, it := range run.Items {
			if counts(it) {
				touched[run.Trigger][it.Instance] = true
			}
		}
		fleet := 0
		for _, f := range s.fleets(run.StoredAt.Add(-Grace), run.StoredAt) {
			fleet = max(fleet, len(f.Instances))
		}
		most, bound := s.allowed(run.StoredAt, func(*policies.Set) int { return fleet })
		n := len(touched[run.Trigger])
		if !bound || n == 0 {
			continue
		}
		s.saw()
		if n > most {
			s.broken("", "", fmt.Sprintf("the plan of %s touches %d instances, limits.share allows %d of the %d that there are, and it is not held", run.Trigger, n, most, fleet), runLine(run))
		}
	}
}

// shareOfPolicy counts the instances that the policy of a trigger has called, of
// what it selects, within an hour.
func (s *story) shareOfPolicy() {
	for n, rec := range s.started {
		if p, ok := s.item[rec.ActionID]; !s.bySignal(rec) || !ok || p.run.Held != "" {
			continue
		}
		least, selects, _ := s.selected(rec.Policy, rec.StoredAt)
		most, bound := s.allowed(rec.StoredAt, func(*policies.Set) int { return selects })
		if _, atLeast := s.allowed(rec.StoredAt, func(*policies.Set) int { return least }); !bound || !atLeast {
			continue // few enough, as far as one could know, to be bound by nothing
		}
		s.saw()
		touched, shown := map[string]bool{rec.Instance: true}, []string{line(rec)}
		for _, other := range s.started[:n] {
			if s.bySignal(other) && s.named(other.Policy) == s.named(rec.Policy) && !touched[other.Instance] && s.reached(other) &&
				s.planAt(rec.StoredAt.Add(Grace)).Before(s.planAt(other.StoredAt).Add(policies.ShareWithin)) {
				touched[other.Instance] = true
				shown = append(shown, line(other))
			}
		}
		if len(touched) > most {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("policy %s acted on %d instances within an hour, limits.share allows %d of the %d that it selects", rec.Policy, len(touched), most, selects), shown...)
		}
	}
}

// grownIsHeld compares with the most that a policy selected at any run before: what
// it once had, nobody needs to be asked about.
func grownIsHeld(s *story) {
	before := make(map[string]int)    // by policy: the most at its runs so far
	now := make(map[string]int)       // of the trigger that is planned now
	origin := make(map[string]string) // by policy: the trigger of now
	for i := range s.Runs {
		run := &s.Runs[i]
		if run.Kind == "signal" || run.Kind == "command" {
			continue
		}
		for _, it := range run.Items {
			if !counts(it) || it.Policy == "" || isPseudo(it.Policy) {
				continue
			}
			least, most, known := s.selected(it.Policy, run.StoredAt)
			if !known {
				continue
			}
			name := s.named(it.Policy)
			if origin[name] != run.Origin() {
				before[name] = max(before[name], now[name])
				origin[name] = run.Origin()
			}
			now[name] = max(now[name], most)
			last := before[name]
			if last == 0 || least < policies.FewInstances || least < 2*last {
				continue
			}
			s.saw()
			if run.Held == "" {
				s.broken(it.Instance, it.ID, fmt.Sprintf("policy %s selects %d instances, it was %d at its runs before, and the run is not held", it.Policy, least, last), runLine(run))
				break
			}
		}
	}
}
