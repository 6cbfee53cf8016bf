package foreign

import (
	"time"

	"nightshift/policies/schedule"
)

// level is a timetable of a state that can only be asked for instant by instant.
// Its edges are found by looking: the other tools look, too.
type level struct {
	zone   *time.Location
	text   string        // canonical
	step   time.Duration // the state changes at multiples of it only
	within time.Duration // how far ahead and back an edge is looked for
	at     func(time.Time) schedule.State
}

func (l *level) At(t time.Time) schedule.State { return l.at(t) }

func (l *level) Next(after time.Time) (schedule.Transition, bool) {
	state := l.at(after)
	end := after.Add(l.within)
	for t := after.Truncate(l.step).Add(l.step); t.Before(end); t = t.Add(l.step) {
		if s := l.at(t); s != state {
			return schedule.Transition{At: t.UTC(), To: s}, true
		}
	}
	return schedule.Transition{}, false
}

func (l *level) Prev(t time.Time) (schedule.Transition, bool) {
	state := l.at(t)
	end := t.Add(-l.within)
	for at := t.Truncate(l.step); at.After(end); at = at.Add(-l.step) {
		if l.at(at.Add(-l.step)) != state {
			return schedule.Transition{At: at.UTC(), To: state}, true
		}
	}
	return schedule.Transition{}, false
}

func (l *level) Zone() *time.Location { return l.zone }

func (l *level) Windows(schedule.State) string { return "" }

func (l *level) String() string { return l.text }

// edges is a timetable of a tool that acts at certain times and wants nothing in
// between: the state is that of the last edge, and an edge may confirm it.
type edges struct {
	zone   *time.Location
	text   string
	step   time.Duration
	within time.Duration
	fires  func(time.Time) (schedule.State, bool)
}

func (e *edges) At(t time.Time) schedule.State {
	if last, ok := e.Prev(t); ok {
		return last.To
	}
	return schedule.Any
}

func (e *edges) Next(after time.Time) (schedule.Transition, bool) {
	end := after.Add(e.within)
	for t := after.Truncate(e.step).Add(e.step); t.Before(end); t = t.Add(e.step) {
		if to, ok := e.fires(t); ok {
			return schedule.Transition{At: t.UTC(), To: to}, true
		}
	}
	return schedule.Transition{}, false
}

func (e *edges) Prev(t time.Time) (schedule.Transition, bool) {
	end := t.Add(-e.within)
	for at := t.Truncate(e.step); at.After(end); at = at.Add(-e.step) {
		if to, ok := e.fires(at); ok {
			return schedule.Transition{At: at.UTC(), To: to}, true
		}
	}
	return schedule.Transition{}, false
}

func (e *edges) Zone() *time.Location { return e.zone }

func (e *edges) Windows(schedule.State) string { return "" }

func (e *edges) String() string { return e.text }

// wallOf is the wall clock of a zone at an instant, as if it were UTC: what other
// tools reckon with.
func wallOf(t time.Time, zone *time.Location) time.Time {
	l := t.In(zone)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), l.Second(), l.Nanosecond(), time.UTC)
}

// monday counts weekdays as Python does: Monday is 0.
func monday(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }
