package schedule

import (
	"fmt"
	"strings"
	"time"
)

// State is what a weekly schedule wants at an instant.
type State string

// The states of a schedule.
const (
	Running State = "running"
	Stopped State = "stopped"
	Any     State = "any" // no voice
)

// Transition is an instant at which the state of a schedule changes.
type Transition struct {
	At time.Time // UTC
	To State
}

// A Timetable is a level over time: a [Weekly], or a tag in the grammar of another
// tool. Next and Prev may also return planned times at which the state is
// confirmed, not changed: an edge is acted upon either way.
type Timetable interface {
	At(t time.Time) State                    // what is wanted at t
	Next(after time.Time) (Transition, bool) // the first edge strictly after
	Prev(t time.Time) (Transition, bool)     // the newest edge not after t
	Zone() *time.Location
	Windows(side State) string // the windows in words, for people; may be empty
	String() string            // the same text means the same
}

// Error says where in a text a spec is wrong.
type Error struct {
	Text string // the whole spec
	Pos  int    // byte offset of the fault in Text
	Msg  string // what is wrong
	Hint string // what would be right; may be empty
}

func (e *Error) Error() string {
	s := e.Msg
	if e.Text != "" {
		sep := ": "
		if strings.HasPrefix(e.Msg, "is ") { // it is the text itself that is wrong
			sep = " "
		}
		s = fmt.Sprintf("%q%s%s", e.Text, sep, e.Msg)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// A day is a calendar day without a zone: midnight UTC of that date.
type day struct{ time.Time }

func dayOf(t time.Time, zone *time.Location) day {
	y, m, d := t.In(zone).Date()
	return day{time.Date(y, m, d, 0, 0, 0, 0, time.UTC)}
}

func (d day) add(n int) day { return day{d.Add(time.Duration(n) * 24 * time.Hour)} }

// A moment is a minute on the wall clock.
type moment struct {
	day    day
	minute int // after midnight
}

// before is a wall time right before: the minute that ends here.
func (m moment) before() moment {
	if m.minute == 0 {
		return moment{m.day.add(-1), 1439}
	}
	return moment{m.day, m.minute - 1}
}

// next is the minute after.
func (m moment) next() moment {
	if m.minute == 1439 {
		return moment{m.day.add(1), 0}
	}
	return moment{m.day, m.minute + 1}
}

// shown is a wall time as if it were in UTC.
func (m moment) shown() time.Time { return m.day.Add(time.Duration(m.minute) * time.Minute) }

func momentOf(shown time.Time) moment {
	midnight := shown.Truncate(24 * time.Hour)
	return moment{day{midnight}, int(shown.Sub(midnight) / time.Minute)}
}

// shows is the wall time at an instant, as if it were in UTC, and the offset.
func shows(t time.Time, zone *time.Location) (shown time.Time, offset time.Duration) {
	_, seconds := t.In(zone).Zone()
	offset = time.Duration(seconds) * time.Second
	return t.UTC().Add(offset), offset
}

// reached is the latest minute that the wall clock of a zone has shown up to an
// instant. In the second reading of an overlap that is the last minute before
// the clock went back. A wall time has happened, in a gap too, when it is not
// later than the minute reached; so windows can be compared on the wall clock.
func reached(t time.Time, zone *time.Location) moment {
	shown, _ := shows(t, zone)
	since, _ := t.In(zone).ZoneBounds()
	for !since.IsZero() && t.Sub(since) < 26*time.Hour { // no clock goes back further
		last := since.Add(-time.Nanosecond)
		if before, _ := shows(last, zone); before.After(shown) {
			shown = before
		}
		since, _ = last.In(zone).ZoneBounds()
	}
	return momentOf(shown)
}

// at is the instant of a wall time on a day, minutes after midnight: in a gap
// the first instant after it, in an overlap the first reading. Minutes from 1440
// lie on the next day.
func (d day) at(minutes int, zone *time.Location) time.Time {
	y, m, dd := d.Date()
	return wall(y, m, dd, minutes/60, minutes%60, zone)
}

// wall maps a wall time to an instant.
func wall(y int, m time.Month, d, hour, minute int, zone *time.Location) time.Time {
	naive := time.Date(y, m, d, hour, minute, 0, 0, time.UTC)
	// The instant is naive minus one of the offsets in force around it. Zones
	// change their offset by less than a day, so these two are all there is.
	_, before := naive.Add(-26 * time.Hour).In(zone).Zone()
	_, after := naive.Add(26 * time.Hour).In(zone).Zone()
	first := naive.Add(-time.Duration(before) * time.Second)
	second := naive.Add(-time.Duration(after) * time.Second)
	if before == after {
		if t, ok := offsetAt(first, zone, before); ok {
			return t
		}
		return slowWall(naive, zone)
	}
	if second.Before(first) {
		first, second = second, first
	}
	for _, t := range []time.Time{first, second} {
		if sameWall(t, naive, zone) {
			return t
		}
	}
	return slowWall(naive, zone)
}

func offsetAt(t time.Time, zone *time.Location, offset int) (time.Time, bool) {
	_, o := t.In(zone).Zone()
	return t, o == offset
}

func sameWall(t, naive time.Time, zone *time.Location) bool {
	y, m, d := t.In(zone).Date()
	h, mi, _ := t.In(zone).Clock()
	ny, nm, nd := naive.Date()
	nh, nmi, _ := naive.Clock()
	return y == ny && m == nm && d == nd && h == nh && mi == nmi
}

// slowWall looks through the offsets in force around a wall time, change by
// change: for gaps, and for the rare days with two changes close together.
func slowWall(naive time.Time, zone *time.Location) time.Time {
	end := naive.Add(30 * time.Hour)
	for t := naive.Add(-30 * time.Hour); t.Before(end); {
		_, offset := t.In(zone).Zone()
		_, next := t.In(zone).ZoneBounds()
		if next.IsZero() || next.After(end) {
			next = end
		}
		if candidate := naive.Add(-time.Duration(offset) * time.Second); candidate.Before(t) {
			return t.UTC() // the wall clock jumped over it here: the first instant after the gap
		} else if candidate.Before(next) {
			return candidate
		}
		t = next.UTC()
	}
	return end // not reached: no offset is larger than 26 hours
}
