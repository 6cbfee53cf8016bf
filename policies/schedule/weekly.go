package schedule

import (
	"slices"
	"strings"
	"time"
)

// Weekly is a set of windows in a zone. It is read-only once made and safe for
// concurrent use.
type Weekly struct {
	zone     *time.Location
	running  []window
	stopped  []window
	oneSided bool
	longest  int // days that the longest window reaches past the day on which it begins
}

// horizon bounds the search for the next edge, so that a schedule of dates gone
// by ends the search: five years hold every day of the calendar that recurs, a
// 29 February that is a given weekday excepted.
const horizon = 5 * 366

// ParseWeekly reads a schedule. Each line may hold several windows, separated by
// , or ;, and end in a zone, which then holds for all lines and must be the same
// in all that name one; else the schedule's zone is the one given.
//
// With running windows alone the schedule wants stopped outside of them, with
// stopped windows alone running. With both it has no voice in between, and so
// has a one-sided schedule outside its windows. An error is an [*Error].
func ParseWeekly(running, stopped []string, zone *time.Location) (*Weekly, error) {
	w := &Weekly{zone: zone}
	named := ""
	for _, side := range []struct {
		lines []string
		into  *[]window
	}{{running, &w.running}, {stopped, &w.stopped}} {
		for _, line := range side.lines {
			windows, z, err := parseLine(line, zone)
			if err != nil {
				return nil, err
			}
			if z.String() != zone.String() {
				if named != "" && named != z.String() {
					return nil, &Error{Text: line, Pos: strings.LastIndex(line, z.String()), Msg: "a schedule has one zone, another line names " + named, Hint: "make two schedules and two policies"}
				}
				named, w.zone = z.String(), z
			}
			*side.into = append(*side.into, windows...)
		}
	}
	if len(w.running)+len(w.stopped) == 0 {
		return nil, &Error{Msg: "a schedule has no windows", Hint: windowHint}
	}
	for _, x := range slices.Concat(w.running, w.stopped) {
		w.longest = max(w.longest, x.to/1440+1)
	}
	return w, nil
}

// OneSided is the same schedule without a voice outside its windows.
func (w *Weekly) OneSided() *Weekly {
	c := *w
	c.oneSided = true
	return &c
}

// Zone is the zone of the windows.
func (w *Weekly) Zone() *time.Location { return w.zone }

// At is what the schedule wants at an instant. Where running and stopped windows
// overlap, running wins: to leave a machine on interrupts nobody.
func (w *Weekly) At(t time.Time) State {
	switch {
	case w.covers(w.running, t):
		return Running
	case w.covers(w.stopped, t):
		return Stopped
	case w.oneSided || len(w.running) > 0 && len(w.stopped) > 0:
		return Any
	case len(w.running) > 0:
		return Stopped
	}
	return Running
}

func (w *Weekly) covers(windows []window, t time.Time) bool {
	if len(windows) == 0 {
		return false
	}
	today := dayOf(t, w.zone)
	for n := -w.longest; n <= 1; n++ { // tomorrow, too: a day may begin at yesterday's instant in a zone that skips one
		d := today.add(n)
		for _, x := range windows {
			if !x.days.match(d) {
				continue
			}
			if from, to := x.on(d, w.zone); !t.Before(from) && t.Before(to) {
				return true
			}
		}
	}
	return false
}

// on is the span of a window that begins on a day.
func (x window) on(d day, zone *time.Location) (from, to time.Time) {
	return d.at(x.from, zone), d.add(x.to/1440).at(x.to%1440, zone)
}

// Next is the first change strictly after an instant; false: there is none
// within five years.
func (w *Weekly) Next(after time.Time) (Transition, bool) {
	state := w.At(after)
	start := dayOf(after, w.zone)
	for n := -w.longest; n <= horizon; n++ {
		// The ends of windows that begin on one day lie on later days, too; the
		// earliest change is found among those of all days up to it.
		for _, at := range w.bounds(start.add(n), after) {
			if to := w.At(at); to != state {
				return Transition{At: at, To: to}, true
			}
		}
	}
	return Transition{}, false
}

// bounds are the instants on a calendar day, in order and after an instant, at
// which a window begins or ends.
func (w *Weekly) bounds(d day, after time.Time) []time.Time {
	begin, end := d.at(0, w.zone), d.add(1).at(0, w.zone)
	var out []time.Time
	keep := func(t time.Time) {
		if t.After(after) && !t.Before(begin) && t.Before(end) {
			out = append(out, t)
		}
	}
	for _, windows := range [][]window{w.running, w.stopped} {
		for n := -w.longest; n <= 0; n++ {
			for _, x := range windows {
				if first := d.add(n); x.days.match(first) {
					from, to := x.on(first, w.zone)
					keep(from)
					keep(to)
				}
			}
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return slices.CompactFunc(out, time.Time.Equal)
}

// Prev is the newest change not after an instant; false: there was none within
// five years.
func (w *Weekly) Prev(t time.Time) (Transition, bool) {
	state := w.At(t)
	start := dayOf(t, w.zone)
	for n := 1; n >= -horizon; n-- {
		bounds := w.bounds(start.add(n), time.Time{})
		for i := len(bounds) - 1; i >= 0; i-- {
			at := bounds[i]
			if at.After(t) {
				continue
			}
			if w.At(at.Add(-time.Nanosecond)) != state {
				return Transition{At: at, To: state}, true
			}
		}
	}
	return Transition{}, false
}

// String prints the schedule canonically; each of its parts parses back equal.
func (w *Weekly) String() string {
	var parts []string
	for _, side := range []struct {
		name    string
		windows []window
	}{{"running", w.running}, {"stopped", w.stopped}} {
		if len(side.windows) > 0 {
			parts = append(parts, side.name+" "+joinWindows(side.windows))
		}
	}
	s := strings.Join(parts, ", ") + " " + w.zone.String()
	if w.oneSided {
		s += " only"
	}
	return s
}

// Windows prints the running or stopped windows as one line that parses back equal.
func (w *Weekly) Windows(side State) string {
	windows := w.running
	if side == Stopped {
		windows = w.stopped
	}
	if len(windows) == 0 {
		return ""
	}
	return joinWindows(windows) + " " + w.zone.String()
}

func joinWindows(windows []window) string {
	var out []string
	for _, x := range windows {
		out = append(out, x.String())
	}
	return strings.Join(out, "; ")
}
