package worker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// lateEdges finds the begins and ends of exceptions that became known when an edge
// of the same source at or after their time had been fired: another replica stored
// a keep, or a reading shows a tag. The scheduler, which fires what lies after the
// newest edge that it fired, would pass them over.
type lateEdges struct {
	agenda  *policies.Agenda // that was looked at last, up to
	upTo    time.Time        // an instant
	regions map[string]bool  // whose instances were on it
	known   map[lateKey]bool // edges that lay behind at some look
}

type lateKey struct {
	source, about string
	at            int64
}

func keyOfLate(e policies.Exception) lateKey {
	return lateKey{e.Policy, e.About, e.Planned.Unix()}
}

// find returns the edges that are late and have not been found before. What the
// first agenda of a region has, after a start or an edit of the file, was seen to
// before: an edit never acts on the spot; but for what lies after began, the newest
// edges of then. Fired is what was fired before now.
func (l *lateEdges) find(a *policies.Agenda, regions []string, fired map[string]policyMemory, began map[string]time.Time, now time.Time) (late []policies.Exception) {
	old := l.agenda
	if old == a {
		l.upTo = now
		return nil
	}
	if l.known == nil {
		l.known = make(map[lateKey]bool)
	}
	if old != nil {
		for _, e := range old.Exceptions() {
			if !e.Planned.After(l.upTo) {
				l.known[keyOfLate(e)] = true
			}
		}
		for _, e := range a.Exceptions() {
			behind := !e.Planned.After(fired[e.Policy].Last) && now.Sub(e.Planned) < maxCatchUp
			if behind && !l.known[keyOfLate(e)] && (e.Region == "" || l.regions[e.Region] || e.Planned.After(began[e.Policy])) {
				late = append(late, e)
			}
		}
	}
	for key := range l.known {
		if now.Sub(time.Unix(key.at, 0)) > maxCatchUp {
			delete(l.known, key)
		}
	}
	l.agenda, l.upTo = a, now
	l.regions = make(map[string]bool, len(regions))
	for _, r := range regions {
		l.regions[r] = true
	}
	return late
}

// fireLate stores a tick for each instant at which something began or ended that
// became known too late, as a trigger of its own: under that instant where no tick
// has it, else under one of now that says which it stands for.
func (s *scheduler) fireLate(ctx context.Context, now time.Time) error {
	before := s.late
	late := s.late.find(s.ahead(now), s.read, s.memory, s.blind.began, now)
	var edges []policies.Edge
	for _, e := range late {
		if !slices.Contains(edges, e.Edge) {
			edges = append(edges, e.Edge)
		}
	}
	for _, of := range edges {
		e := of
		if p, ok := s.set.Policy(e.Policy); ok {
			e.Hash = p.Hash()
		}
		if err := s.fireOneLate(ctx, e, now); err != nil {
			s.late.agenda, s.late.upTo, s.late.regions = before.agenda, before.upTo, before.regions // look again
			return err
		}
		for _, x := range late {
			if x.Edge == of {
				s.late.known[keyOfLate(x)] = true
			}
		}
	}
	return nil
}

// lateTries bounds the seconds that are tried for a tick of now: each is taken only
// where something else begins or ends in it.
const lateTries = 60

func (s *scheduler) fireOneLate(ctx context.Context, e policies.Edge, now time.Time) error {
	at := e.Planned
	for n := range lateTries {
		if n > 0 {
			e.Planned, e.From, e.To = now.Truncate(time.Second).Add(time.Duration(n)*time.Second).UTC(), at, at
		}
		t := tickOf(e)
		t.Edges = []string{e.ID()}
		t.Trigger = triggerOf(t.Planned, t.Edges)
		if s.givenUp(policies.Edge{Policy: e.Policy, Planned: at}, now) {
			t.Missed, t.Since = 1, at
		}
		stored, err := s.bus.PublishTick(ctx, t)
		if err != nil {
			return fmt.Errorf("store tick of policy %s: %w", t.Policy, err)
		}
		if stored {
			s.log.Info("an edge became known late", zap.String(keyPolicy, e.Policy), zap.Time(keyPlanned, at), zap.Duration(keyLateness, now.Sub(at)))
			return nil
		}
	}
	return fmt.Errorf("no second of the next %d is free for an edge of %s that became known late", lateTries, e.Policy)
}

// fireBefore stores what a tick stands for besides its own edge, where another tick
// has its place: one that a process announced that was killed before it announced
// the older ones, which a later start finds missed together with it. Agenda and
// stream are read once: a replica that was away for a week finds that another
// announced every minute of it.
func (s *scheduler) fireBefore(ctx context.Context, t events.Tick, now time.Time) error {
	if t.Since.IsZero() || !t.Since.Before(t.Planned) {
		return nil
	}
	begins := make(map[int64]time.Time) // by planned time of what is stored: the first edge that it stands for
	for there, err := range s.bus.TicksOf(ctx, t.Policy, s.clock.Machine(t.Since).Add(-maxAhead)) {
		if err != nil {
			return fmt.Errorf("read ticks of policy %s: %w", t.Policy, err)
		}
		begin := there.Planned
		if !there.Since.IsZero() {
			begin = minTime(begin, there.Since) // whoever may publish may have written it
		}
		begins[there.Planned.Unix()] = begin
	}
	begin := t.Planned
	if at, ok := begins[t.Planned.Unix()]; ok {
		if begin = at; !begin.After(t.Since) {
			return nil // another had missed the same: perhaps a year, whose edges are many
		}
	}
	older := s.edgesOf(t.Policy, t.Since, t.Planned, now)
	for {
		n, _ := slices.BinarySearchFunc(older, begin, func(e policies.Edge, at time.Time) int { return e.Planned.Compare(at) })
		if older = older[:n]; n == 0 {
			return nil
		}
		rest := tickOf(older[n-1])
		begin = rest.Planned
		if at, ok := begins[rest.Planned.Unix()]; ok {
			begin = at
			continue
		}
		if rest.Since = t.Since; t.Missed > 0 {
			rest.Missed = n
		}
		rest.Edges = []string{edgeOf(&rest).ID()}
		rest.Trigger = triggerOf(rest.Planned, rest.Edges)
		stored, err := s.bus.PublishTick(ctx, rest)
		if err != nil {
			return fmt.Errorf("store tick of policy %s: %w", t.Policy, err)
		}
		if stored {
			s.log.Info("edges behind one that was announced before", zap.String(keyPolicy, t.Policy), zap.Time(keyPlanned, rest.Planned), zap.Time("since", rest.Since))
			return nil
		}
		older = older[:n-1] // another replica was faster a moment ago
	}
}

// edgesOf are those of a source from an instant until before another.
func (s *scheduler) edgesOf(source string, from, before, now time.Time) (edges []policies.Edge) {
	since := func(name string) time.Time {
		if name == source {
			return from.Add(-time.Nanosecond)
		}
		return now
	}
	for _, e := range s.ahead(now).EdgesSince(since, now) {
		if e.Policy == source && e.Planned.Before(before) {
			edges = append(edges, e)
		}
	}
	return edges
}
