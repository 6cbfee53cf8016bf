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

// blindness is what the scheduler did not see since it began: regions that have not
// been read. Their instances may carry timetables in tags; when an edge of another
// instance's is fired meanwhile, theirs of before would be passed over.
type blindness struct {
	began map[string]time.Time // newest edge of each source that was fired before
	seen  map[string]bool      // regions that have been read since
	fired map[string][]span    // of each source with edges per instance: what its ticks stand for
}

// span is a time of which both ends count.
type span struct{ from, to time.Time }

func newBlindness(memory map[string]policyMemory) blindness {
	b := blindness{began: make(map[string]time.Time), seen: make(map[string]bool), fired: make(map[string][]span)}
	for name, m := range memory {
		b.began[name] = m.Last
	}
	return b
}

// took takes up what ticks stand for.
func (b *blindness) took(ticks []events.Tick) {
	for _, t := range ticks {
		if t.Missed == 0 && !t.Since.IsZero() {
			b.fired[t.Policy] = append(b.fired[t.Policy], span{t.Since, t.Planned})
		}
	}
}

func (b *blindness) hasFired(e policies.Edge) bool {
	return slices.ContainsFunc(b.fired[e.Policy], func(s span) bool { return !e.Planned.Before(s.from) && !e.Planned.After(s.to) })
}

// fireUnseen stores a tick for each edge of a timetable in a tag that a region has
// which is read for the first time, and that was passed over meanwhile. Where the
// edge has a tick already, that one's plan for the region is still to be made.
func (s *scheduler) fireUnseen(ctx context.Context, now time.Time) error {
	s.ahead(now)
	for _, region := range s.read {
		if s.blind.seen[region] {
			continue
		}
		if last := s.inv.last(region); last != nil {
			if err := s.fireUnseenIn(ctx, last.Instances, now); err != nil {
				return err
			}
		}
		s.blind.seen[region] = true
	}
	return nil
}

func (s *scheduler) fireUnseenIn(ctx context.Context, inv []policies.Instance, now time.Time) error {
	agenda := s.set.Agenda(inv, policies.Facts{}, now)
	for i := range s.set.Policies {
		p := &s.set.Policies[i]
		if p.FromTag == nil {
			continue
		}
		for _, e := range agenda.Edges(maxTime(s.blind.began[p.Name], now.Add(-maxCatchUp)), s.memory[p.Name].Last) {
			if e.Policy != p.Name || s.blind.hasFired(e) {
				continue
			}
			t := tickOf(e)
			t.Edges = []string{e.ID()}
			t.Trigger = triggerOf(t.Planned, t.Edges)
			if s.givenUp(e, now) {
				t.Missed, t.Since = 1, e.Planned
			}
			stored, err := s.bus.PublishTick(ctx, t)
			if err != nil {
				return fmt.Errorf("store tick of policy %s: %w", t.Policy, err)
			}
			if stored {
				s.log.Info("an edge became known when its region was read", zap.String(keyPolicy, e.Policy), zap.Time(keyPlanned, e.Planned), zap.Duration(keyLateness, now.Sub(e.Planned)))
			}
		}
	}
	return nil
}
