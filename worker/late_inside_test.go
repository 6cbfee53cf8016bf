package worker

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

// awayFor is a scheduler that was away since an instant, while another announced
// every minute but one.
func awayFor(tb testing.TB, since, until, but time.Time) (*scheduler, *events.Bus, events.Tick) {
	tb.Helper()
	spec, err := schedule.ParseCron("* * * * *", time.UTC)
	if err != nil {
		tb.Fatal(err)
	}
	set := &policies.Set{Regions: []string{"LON1"}, Policies: []policies.Policy{{Name: "minutely", Select: policies.Selector{All: []string{"a"}}, Cron: spec, Do: []policies.Step{{Verb: policies.Start}}}}}
	bus, err := events.Open(tb.Context(), events.Options{Listen: "none", Memory: true, Name: "away"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = bus.Close(tb.Context()) })
	s := &scheduler{set: set, bus: bus, recent: &memory{}, log: zap.NewNop(), agenda: set.Agenda(nil, policies.Facts{}, until)}
	all := s.agenda.Edges(since, until)
	var stored []events.Tick
	for _, e := range all {
		if !e.Planned.Equal(but) {
			t := tickOf(e)
			t.Edges = []string{e.ID()}
			t.Trigger = triggerOf(t.Planned, t.Edges)
			stored = append(stored, t)
		}
	}
	if _, err := bus.PublishTicks(tb.Context(), stored); err != nil {
		tb.Fatal(err)
	}
	missed := tickOf(all[len(all)-1])
	missed.Missed, missed.Since = len(all), all[0].Planned
	return s, bus, missed
}

func TestWhatAnotherDidNotAnnounceWhileOneWasAwayIsAnnounced(t *testing.T) {
	until := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	since, but := until.Add(-2*time.Hour), until.Add(-30*time.Minute)
	s, bus, missed := awayFor(t, since, until, but)
	for range 2 {
		if err := s.fireBefore(t.Context(), missed, until); err != nil {
			t.Fatal(err)
		}
	}
	got, found, err := bus.LoadTick(t.Context(), policies.Edge{Policy: "minutely", Planned: but}.ID())
	if err != nil || !found || !got.Since.Equal(missed.Since) || got.Missed != 90 {
		t.Errorf("got %+v, %t, %v; want a tick that stands for the 90 edges since %s", got, found, err, missed.Since)
	}
}

// What another fired long ago has no ticks any more: only what is remembered says so.
func TestWhatAnotherFiredMoreThanAWeekAgoIsNotMissed(t *testing.T) {
	until := time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	s, _, _ := awayFor(t, until.Add(-time.Hour), until, time.Time{})
	ctx, before := t.Context(), until.Add(-8*24*time.Hour)
	s.memory = map[string]policyMemory{"minutely": {Hash: "a", Since: before, Last: before}}
	for _, c := range []struct {
		stored  policyMemory
		learned bool
		missed  int
	}{
		{stored: policyMemory{Hash: "another revision", Last: until}, missed: 8*24*60 - 1},
		{stored: policyMemory{Hash: "a", Last: until.Add(-time.Minute)}, learned: true},
	} {
		if err := s.remember(ctx, "minutely", c.stored); err != nil {
			t.Fatal(err)
		}
		learned, err := s.learnFired(ctx, s.due(until), until)
		if err != nil || learned != c.learned {
			t.Errorf("learned %t, %v; want %t", learned, err, c.learned)
		}
		missed := 0
		for _, tick := range s.due(until) {
			missed += tick.Missed
		}
		if missed != c.missed {
			t.Errorf("%d edges are said to be missed, want %d", missed, c.missed)
		}
	}
}

// BenchmarkYear is a year in which nobody announced anything, found by two at once.
func BenchmarkYear(b *testing.B) {
	until := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	s, bus, _ := awayFor(b, until.Add(-time.Hour), until, time.Time{})
	s.memory = map[string]policyMemory{"minutely": {Hash: "a", Last: until.Add(-365 * 24 * time.Hour)}}
	missed := tickOf(policies.Edge{Policy: "minutely", Planned: until.Add(-30 * time.Second)})
	missed.Since, missed.Trigger, missed.Edges = until.Add(-365*24*time.Hour), "t1-aaaaaa", []string{"a"}
	if _, err := bus.PublishTick(b.Context(), missed); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.due(until)
		if err := s.fireBefore(b.Context(), missed, until); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAway is a week in which another replica announced every minute.
func BenchmarkAway(b *testing.B) {
	until := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	s, _, missed := awayFor(b, until.Add(-7*24*time.Hour), until, time.Time{})
	for b.Loop() {
		if err := s.fireBefore(b.Context(), missed, until); err != nil {
			b.Fatal(err)
		}
	}
}
