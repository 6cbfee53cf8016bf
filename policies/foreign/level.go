package foreign

import (
	"slices"
	"time"

	"nightshift/policies/schedule"
)

// level is a timetable of a state that can only be asked for instant by instant.
// Its edges are found by looking at each instant at which the state can change.
type level struct {
	zone   *time.Location
	text   string // canonical
	looks  looks
	within int // how many days ahead and back an edge is looked for
	at     func(time.Time) schedule.State
}

func (l *level) At(t time.Time) schedule.State { return l.at(t) }

func (l *level) Next(after time.Time) (schedule.Transition, bool) {
	state := l.at(after)
	for n := range l.within {
		for _, t := range l.looks.on(dayUTC(after, n)) {
			if t.After(after) && l.at(t) != state {
				return schedule.Transition{At: t, To: l.at(t)}, true
			}
		}
	}
	return schedule.Transition{}, false
}

func (l *level) Prev(t time.Time) (schedule.Transition, bool) {
	state := l.at(t)
	for n := range l.within {
		for _, at := range slices.Backward(l.looks.on(dayUTC(t, -n))) {
			if !at.After(t) && l.at(at.Add(-time.Second)) != state {
				return schedule.Transition{At: at, To: state}, true
			}
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
	looks  looks
	within int
	fires  func(time.Time) (schedule.State, bool)
}

func (e *edges) At(t time.Time) schedule.State {
	if last, ok := e.Prev(t); ok {
		return last.To
	}
	return schedule.Any
}

func (e *edges) Next(after time.Time) (schedule.Transition, bool) {
	for n := range e.within {
		for _, t := range e.looks.on(dayUTC(after, n)) {
			if t.After(after) {
				if to, ok := e.fires(t); ok {
					return schedule.Transition{At: t, To: to}, true
				}
			}
		}
	}
	return schedule.Transition{}, false
}

func (e *edges) Prev(t time.Time) (schedule.Transition, bool) {
	for n := range e.within {
		for _, at := range slices.Backward(e.looks.on(dayUTC(t, -n))) {
			if !at.After(t) {
				if to, ok := e.fires(at); ok {
					return schedule.Transition{At: at, To: to}, true
				}
			}
		}
	}
	return schedule.Transition{}, false
}

func (e *edges) Zone() *time.Location { return e.zone }

func (e *edges) Windows(schedule.State) string { return "" }

func (e *edges) String() string { return e.text }

// looks are the instants at which something can change: minutes of the wall
// clocks of zones, the changes of these clocks, and single instants. Looking at
// these alone makes a year as quick to search as a day minute by minute.
type looks struct {
	clocks []clock
	once   []time.Time
}

// clock are minutes after midnight of each day of a zone.
type clock struct {
	zone    *time.Location
	minutes []int
}

// on lists what falls on a day of UTC, in order.
func (l looks) on(day time.Time) (list []time.Time) {
	end := day.Add(24 * time.Hour)
	add := func(t time.Time) {
		if !t.Before(day) && t.Before(end) {
			list = append(list, t)
		}
	}
	for _, c := range l.clocks {
		_, before := day.Add(-26 * time.Hour).In(c.zone).Zone()
		_, after := end.Add(26 * time.Hour).In(c.zone).Zone()
		offsets := []int{before}
		if before != after || changes(c.zone, day) {
			offsets = append(offsets, after)
			for t := day.Add(-26 * time.Hour); t.Before(end); {
				_, next := t.In(c.zone).ZoneBounds()
				if next.IsZero() {
					break
				}
				t = next.UTC()
				_, offset := t.In(c.zone).Zone()
				offsets = append(offsets, offset)
				add(t)
			}
		}
		for n := -1; n <= 1; n++ {
			for _, minute := range c.minutes {
				wall := day.Add(time.Duration(n*1440+minute) * time.Minute)
				for _, offset := range offsets { // none fits in a gap, two in an overlap
					if t := wall.Add(-time.Duration(offset) * time.Second); len(offsets) == 1 || wallOf(t, c.zone).Equal(wall) {
						add(t)
					}
				}
			}
		}
	}
	for _, t := range l.once {
		add(t)
	}
	slices.SortFunc(list, time.Time.Compare)
	return slices.CompactFunc(list, time.Time.Equal)
}

// changes reports whether a zone's clock changes around a day of UTC.
func changes(zone *time.Location, day time.Time) bool {
	_, next := day.Add(-26 * time.Hour).In(zone).ZoneBounds()
	return !next.IsZero() && next.Before(day.Add(50*time.Hour))
}

// dayUTC is the midnight of UTC before an instant, and some days on.
func dayUTC(t time.Time, days int) time.Time {
	y, m, d := t.UTC().Date()
	return time.Date(y, m, d+days, 0, 0, 0, 0, time.UTC)
}

// wallOf is the wall clock of a zone at an instant, as if it were UTC: what other
// tools reckon with.
func wallOf(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// monday counts weekdays as Python does: Monday is 0.
func monday(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }
