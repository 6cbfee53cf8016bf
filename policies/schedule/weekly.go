package schedule

import (
	"fmt"
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
	except   []Exception
	steady   bool   // never changes
	dated    [2]day // with windows of dates alone: the first and the last day of them
}

// horizon bounds the search for the next edge, in days, so that it ends: within 40
// years every day of the calendar comes again, also a 29 February that is a given
// weekday, over a year like 2100 that has none.
const horizon = 40*366 + 1

// ParseWeekly reads a schedule. Each line may hold several windows, separated by
// , or ;, and end in a zone, which then holds for all lines and must be the same
// in all that name one; else the schedule's zone is the one given.
//
// With running windows alone the schedule wants stopped outside of them, with
// stopped windows alone running. With both it has no voice in between; neither
// has a one-sided schedule outside its windows. Running and stopped windows that
// overlap are an error: nobody could tell which is meant. An error is an [*Error].
func ParseWeekly(running, stopped []string, zone *time.Location) (*Weekly, error) {
	w := &Weekly{zone: zone}
	named := false
	for _, side := range []struct {
		lines []string
		into  *[]window
	}{{running, &w.running}, {stopped, &w.stopped}} {
		for _, line := range side.lines {
			windows, z, err := parseLine(line)
			if err != nil {
				return nil, err
			}
			if named && z != nil && z.String() != w.zone.String() {
				return nil, &Error{Text: line, Pos: strings.LastIndex(line, z.String()), Msg: "a schedule has one zone, another line names " + w.zone.String(), Hint: "make two schedules and two policies"}
			}
			if z != nil {
				named, w.zone = true, z
			}
			*side.into = append(*side.into, windows...)
		}
	}
	if len(w.running)+len(w.stopped) == 0 {
		return nil, &Error{Msg: "a schedule has no windows", Hint: windowHint}
	}
	if r, s, both := w.contradiction(); both {
		return nil, &Error{Msg: fmt.Sprintf("running %q and stopped %q overlap", r, s), Hint: "let one end where the other begins"}
	}
	w.steady = w.neverChanges()
	w.dated = w.firstAndLast()
	return w, nil
}

// contradiction finds a running and a stopped window that overlap, on the wall
// clock; then they overlap on some day, and else on none, whatever the zone does.
func (w *Weekly) contradiction() (r, s window, found bool) {
	for _, r := range w.running {
		for _, s := range w.stopped {
			if meet(r, s) {
				return r, s, true
			}
		}
	}
	return window{}, window{}, false
}

// meet reports whether two windows overlap: one of them is open when the other
// begins.
func meet(a, b window) bool {
	first, count := day{time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}, 7
	for _, d := range []days{a.days, b.days} {
		switch {
		case !d.dates[0].IsZero():
			first = day{d.dates[0]}.add(-8) // no window is longer
			count = min(int(d.dates[1].Sub(d.dates[0])/(24*time.Hour))+17, 28*366)
		case !d.weekly():
			count = max(count, 28*366) // by then every date was every weekday
		}
	}
	for n := range count {
		d := first.add(n)
		if a.days.match(d) && covers([]window{b}, moment{d, a.from}) || b.days.match(d) && covers([]window{a}, moment{d, b.from}) {
			return true
		}
	}
	return false
}

// OneSided is the same schedule without a voice outside its windows.
func (w *Weekly) OneSided() *Weekly {
	c := *w
	c.oneSided = true
	return &c
}

// Zone is the zone of the windows.
func (w *Weekly) Zone() *time.Location { return w.zone }

// At is what the schedule wants at an instant.
func (w *Weekly) At(t time.Time) State { return w.wants(reached(t, w.zone)) }

// wants is what the schedule wants at a wall time.
func (w *Weekly) wants(m moment) State {
	switch {
	case len(w.except) > 0:
		return w.wantsExcept(m)
	case covers(w.running, m):
		return Running
	case covers(w.stopped, m):
		return Stopped
	}
	return w.outside()
}

// outside is what the schedule wants outside its windows.
func (w *Weekly) outside() State {
	switch {
	case w.oneSided || len(w.running) > 0 && len(w.stopped) > 0:
		return Any
	case len(w.running) > 0:
		return Stopped
	}
	return Running
}

// covers reports whether one of the windows covers a wall time.
func covers(windows []window, m moment) bool {
	for i := range windows {
		x := &windows[i]
		for back := 0; back*1440 < x.to; back++ { // a long window may have begun days ago
			if minute := m.minute + back*1440; x.from <= minute && minute < x.to && x.days.match(m.day.add(-back)) {
				return true
			}
		}
	}
	return false
}

// Next is the first change strictly after an instant; false: there is none
// within 40 years.
func (w *Weekly) Next(after time.Time) (Transition, bool) {
	now := reached(after, w.zone)
	state := w.wants(now)
	var room [8]int // so that few bounds need no memory
	first := now.day
	if w.isDated() && first.Before(w.dated[0].Time) {
		first = w.dated[0]
	}
	for n := 0; n <= horizon && !w.steady; n++ {
		d := first.add(n)
		if w.isDated() && d.After(w.dated[1].Time) {
			break
		}
		for _, minute := range sorted(w.bounds(d, room[:0])) {
			if d == now.day && minute <= now.minute || w.wants(moment{d, minute}) == state {
				continue
			}
			// In a gap several bounds fall on one instant, and the last decides.
			at := d.at(minute, w.zone)
			if to := w.At(at); to != state {
				return Transition{At: at, To: to}, true
			}
		}
	}
	return Transition{}, false
}

// Prev is the newest change not after an instant; false: there was none within
// 40 years.
func (w *Weekly) Prev(t time.Time) (Transition, bool) {
	now := reached(t, w.zone)
	state := w.wants(now)
	var room [8]int
	last := now.day
	if w.isDated() && last.After(w.dated[1].Time) {
		last = w.dated[1]
	}
	for n := 0; n <= horizon && !w.steady; n++ {
		d := last.add(-n)
		if w.isDated() && d.Before(w.dated[0].Time) {
			break
		}
		for _, minute := range slices.Backward(sorted(w.bounds(d, room[:0]))) {
			if d == now.day && minute > now.minute || w.wants(moment{d, minute}.before()) == state {
				continue
			}
			if at := d.at(minute, w.zone); w.At(at.Add(-time.Nanosecond)) != state {
				return Transition{At: at, To: state}, true
			}
		}
	}
	return Transition{}, false
}

// bounds adds the minutes of a day at which a window begins or ends.
func (w *Weekly) bounds(d day, out []int) []int {
	out = boundsOf(w.stopped, d, boundsOf(w.running, d, out))
	if len(w.except) > 0 {
		out = w.exceptBounds(d, out)
	}
	return out
}

// minutes are those of a day at which a window begins or ends, in order.
func (w *Weekly) minutes(d day) []int { return sorted(w.bounds(d, nil)) }

func boundsOf(windows []window, d day, out []int) []int {
	for i := range windows {
		x := &windows[i]
		if x.days.match(d) {
			out = append(out, x.from)
		}
		if x.days.match(d.add(-x.to / 1440)) {
			out = append(out, x.to%1440)
		}
	}
	return out
}

func sorted(minutes []int) []int {
	slices.Sort(minutes)
	return slices.Compact(minutes)
}

// firstAndLast are the days between which windows of dates alone lie; else zero.
func (w *Weekly) firstAndLast() (span [2]day) {
	for _, windows := range [][]window{w.running, w.stopped} {
		for i := range windows {
			dates := windows[i].days.dates
			if dates[0].IsZero() {
				return [2]day{}
			}
			if span[0].IsZero() || dates[0].Before(span[0].Time) {
				span[0] = day{dates[0]}
			}
			if end := (day{dates[1]}).add(windows[i].to / 1440); end.After(span[1].Time) {
				span[1] = end
			}
		}
	}
	return span
}

// isDated reports whether there are no edges but between two dates.
func (w *Weekly) isDated() bool { return len(w.except) == 0 && !w.dated[0].IsZero() }

// neverChanges finds schedules of weekdays alone that want the same all week, so
// that nobody searches five years for their next edge.
func (w *Weekly) neverChanges() bool {
	notWeekly := func(x window) bool { return !x.days.weekly() }
	if slices.ContainsFunc(w.running, notWeekly) || slices.ContainsFunc(w.stopped, notWeekly) {
		return false
	}
	monday := moment{day: day{time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}}
	for n := range 7 {
		for _, minute := range w.bounds(monday.day.add(n), nil) {
			if w.wants(moment{monday.day.add(n), minute}) != w.wants(monday) {
				return false
			}
		}
	}
	return true
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
	return s + exceptString(w.except)
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
