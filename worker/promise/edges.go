package promise

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

func hasFirewall(body string) bool {
	form, err := url.ParseQuery(body)
	return err == nil && form.Get("firewall_id") != ""
}

// stretch is how long a policy was known in one form, on any daemon.
type stretch struct {
	policy      *policies.Policy
	set         *policies.Set
	hash        string
	from, until time.Time // machine time; until is zero when it is known still
}

// stretches are those of all policies of a name, or of all when it is empty.
// Daemons that have the same form at overlapping times have one.
func (s *story) stretches() (all []stretch) {
	for i := range s.Files {
		f := &s.Files[i]
		for n := range f.Set.Policies {
			p := &f.Set.Policies[n]
			all = join(all, stretch{p, f.Set, p.Hash(), f.From, f.Until})
		}
	}
	return all
}

func join(all []stretch, next stretch) []stretch {
	for i := range all {
		old := &all[i]
		apart := old.policy.Name != next.policy.Name || old.hash != next.hash ||
			!old.until.IsZero() && next.from.After(old.until) || !next.until.IsZero() && old.from.After(next.until)
		if apart {
			continue
		}
		if next.from.Before(old.from) {
			old.from = next.from
		}
		if next.until.IsZero() || !old.until.IsZero() && next.until.After(old.until) {
			old.until = next.until
		}
		return all
	}
	return append(all, next)
}

// knew reports whether a planned time lies in a stretch. The end is not sharp: a
// daemon fires what is due before it takes up another file.
func (s *story) knew(st stretch, planned time.Time) bool {
	return planned.After(s.planAt(st.from.Add(-s.Apart))) && (st.until.IsZero() || !planned.After(s.planAt(st.until.Add(s.Apart))))
}

func edgesAreKnown(s *story) {
	stretches := s.stretches()
	ticks := make(map[string]events.Tick)
	for _, t := range s.Ticks {
		ticks[edgeOf(t)] = t
	}
	for i := range s.Runs {
		run := &s.Runs[i]
		for _, edge := range run.Edges {
			t, ok := ticks[edge]
			if !ok || isPseudo(t.Policy) {
				continue
			}
			s.saw()
			known := slices.ContainsFunc(stretches, func(st stretch) bool {
				return st.policy.Name == t.Policy && st.hash == t.Hash && (s.knew(st, t.Planned) || st.policy.Was != "")
			})
			if !known {
				s.broken("", "", fmt.Sprintf("edge %s was acted upon, and policy %s in that form (%s) was not known then", edge, t.Policy, t.Hash), append(stretchLines(stretches, t.Policy), runLine(run))...)
			}
		}
	}
}

func stretchLines(all []stretch, policy string) (shown []string) {
	for _, st := range all {
		if st.policy.Name != policy {
			continue
		}
		until := "still"
		if !st.until.IsZero() {
			until = stamp(st.until)
		}
		shown = append(shown, fmt.Sprintf("policy %s, form %s, was known from %s until %s", policy, st.hash, stamp(st.from), until))
	}
	return shown
}

func edgeOf(t events.Tick) string { return policies.Edge{Policy: t.Policy, Planned: t.Planned}.ID() }

func isPseudo(source string) bool { return strings.HasPrefix(source, "_") }

const (
	// announceWithin is how soon a running daemon announces an edge.
	announceWithin = 2 * time.Minute
	// longestCatchUp is how far back missed edges are looked for (plan time).
	longestCatchUp = 7 * 24 * time.Hour
)

func edgesAreAnnounced(s *story) {
	stretches := s.stretches()
	for _, st := range stretches {
		if st.policy.FromTag != nil || st.policy.Signal != nil {
			continue // their edges are in tags, and in what came before
		}
		from, upTo := st.from, s.Now
		if st.until.IsZero() {
			from = s.undisputedSince(st)
		} else {
			upTo = st.until
		}
		one := policies.Set{Policies: []policies.Policy{*st.policy}, Zone: st.set.Zone, Regions: st.set.Regions}
		var missing []time.Time
		for _, e := range one.Edges(s.planAt(from.Add(s.Apart)), s.planAt(upTo.Add(-announceWithin))) {
			if e.Planned.Before(s.planAt(s.Now).Add(-longestCatchUp)) || !st.until.IsZero() && !s.wasUp(st, e.Planned) {
				continue
			}
			s.saw()
			if !slices.ContainsFunc(s.Ticks, func(t events.Tick) bool { return announces(t, e) }) {
				missing = append(missing, e.Planned)
			}
		}
		for _, at := range missing {
			s.broken("", "", fmt.Sprintf("policy %s has an edge at %s, and nobody announced it", st.policy.Name, stamp(at)), stretchLines(stretches, st.policy.Name)...)
		}
	}
}

func announces(t events.Tick, e policies.Edge) bool {
	if t.Policy != e.Policy {
		return false
	}
	return t.Planned.Equal(e.Planned) || !t.Since.IsZero() && !t.Since.After(e.Planned) && !t.Planned.Before(e.Planned)
}

// undisputedSince is since when every daemon that runs has had a policy in this
// form: it begins anew when one takes it up after another.
func (s *story) undisputedSince(st stretch) time.Time {
	since := st.from
	for i := range s.Files {
		f := &s.Files[i]
		if p, ok := f.Set.Policy(st.policy.Name); ok && p.Hash() == st.hash {
			continue
		}
		if f.Until.IsZero() {
			return s.Now
		}
		if f.Until.After(since) {
			since = f.Until
		}
	}
	return since
}

// wasUp reports whether a daemon that knew a policy in this form ran at an edge,
// and for long enough after it to announce it.
func (s *story) wasUp(st stretch, planned time.Time) bool {
	for i := range s.Files {
		f := &s.Files[i]
		p, ok := f.Set.Policy(st.policy.Name)
		if !ok || p.Hash() != st.hash || !planned.After(s.planAt(f.From.Add(s.Apart))) {
			continue
		}
		for _, u := range s.Up {
			enough := u.From
			if !s.planAt(enough).Before(planned) {
				continue
			}
			for s.planAt(enough).Before(planned) {
				enough = enough.Add(max(time.Second, planned.Sub(s.planAt(enough))/2))
			}
			enough = enough.Add(announceWithin)
			if u.Daemon == f.Daemon && (u.Until.IsZero() || enough.Before(u.Until)) && (f.Until.IsZero() || enough.Before(f.Until)) {
				return true
			}
		}
	}
	return false
}

func edgesAreDecided(s *story) {
	for _, t := range s.Ticks {
		if t.Policy == policies.DriftSource {
			continue // what a look finds is told; that it finds nothing is not
		}
		if s.isLate(t.StoredAt) || t.StoredAt.After(s.Now.Add(-Grace)) {
			continue
		}
		s.saw()
		edge := edgeOf(t)
		if _, told := s.outcome(policies.ActionID(edge, 0, events.None, "none")); told {
			continue
		}
		if t.Missed > 0 {
			s.broken("", "", fmt.Sprintf("%d edges of %s until %s will not run, and no event says so", t.Missed, t.Policy, stamp(t.Planned)))
			continue
		}
		for _, region := range s.regionsSince(t.Planned) {
			if !slices.ContainsFunc(s.Runs, func(r events.Run) bool {
				return strings.EqualFold(r.Region, region) && slices.Contains(r.Edges, edge)
			}) {
				s.broken("", "", fmt.Sprintf("edge %s was announced, and is in no plan of %s", edge, region), fmt.Sprintf("tick of trigger %s, together with %s", t.Trigger, strings.Join(t.Edges, " ")))
			}
		}
	}
}

// regionsSince are those that every file in force since a planned time has.
func (s *story) regionsSince(planned time.Time) (regions []string) {
	first := true
	for i := range s.Files {
		f := &s.Files[i]
		if !f.Until.IsZero() && s.planAt(f.Until).Before(planned) {
			continue
		}
		if first {
			regions, first = slices.Clone(f.Set.Regions), false
			continue
		}
		regions = slices.DeleteFunc(regions, func(r string) bool { return !slices.Contains(f.Set.Regions, r) })
	}
	return regions
}
