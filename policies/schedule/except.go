package schedule

import (
	"fmt"
	"slices"
	"strings"
)

// Use says what an exception makes of a day.
type Use string

// The uses. Any other exception names a schedule.
const (
	UseNever     Use = "never"     // stopped all day
	UseAlways    Use = "always"    // running all day
	UseUnchanged Use = "unchanged" // as on any other day
	UseSchedule  Use = "schedule"  // the windows of another schedule
)

// Exception is what a schedule does on the dates of a calendar.
type Exception struct {
	Calendar *Calendar
	Name     string // of the calendar, for people
	Use      Use
	Schedule *Weekly // with UseSchedule: its zone is not asked, the days are those of the schedule that it stands in for
	As       string  // its name, for people
}

// Except is the same schedule with exceptions. The first whose calendar has a
// date decides about it; dates are those of the schedule's zone.
//
// A window belongs to the day on which it begins, so an exception replaces the
// windows that begin on its day, and one of the day before still runs to its end
// past midnight. Apart from that, never and always hold from midnight to midnight.
// A span of more than 24 hours gives way on the day of an exception and goes on
// after it; one of a schedule that stands in holds on that day alone.
//
// Dates are those of the schedule's zone, also of events with times in an
// iCalendar file.
func (w *Weekly) Except(rules []Exception) *Weekly {
	c := *w
	c.except = slices.Clone(rules)
	for i := range c.except {
		c.except[i].Calendar = c.except[i].Calendar.in(w.zone)
	}
	c.steady = false
	return &c
}

// exception is the rule for a day, or nil.
func (w *Weekly) exception(d day) *Exception {
	for i := range w.except {
		if _, ok := w.except[i].Calendar.on(d); ok {
			if w.except[i].Use == UseUnchanged {
				return nil
			}
			return &w.except[i]
		}
	}
	return nil
}

// wantsExcept is what the schedule wants at a wall time, exceptions considered.
func (w *Weekly) wantsExcept(m moment) State {
	if s, ok := w.spillOver(m); ok {
		return s
	}
	rule := w.exception(m.day)
	if rule == nil {
		switch {
		case coversFrom(w.running, m) || coversSpan(w.running, m):
			return Running
		case coversFrom(w.stopped, m) || coversSpan(w.stopped, m):
			return Stopped
		}
		return w.outside()
	}
	switch rule.Use {
	case UseNever:
		return Stopped
	case UseAlways:
		return Running
	}
	switch other := rule.Schedule; {
	case coversFrom(other.running, m) || coversSpan(other.running, m):
		return Running
	case coversFrom(other.stopped, m) || coversSpan(other.stopped, m):
		return Stopped
	default:
		return other.outside()
	}
}

// spillOver is what a window of at most 24 hours wants that began the day before,
// by what held there, and ends on this one.
func (w *Weekly) spillOver(m moment) (State, bool) {
	before := m.day.add(-1)
	running, stopped := w.running, w.stopped
	if rule := w.exception(before); rule != nil {
		if rule.Use != UseSchedule {
			return "", false
		}
		running, stopped = rule.Schedule.running, rule.Schedule.stopped
	}
	in := func(windows []window) bool {
		return slices.ContainsFunc(windows, func(x window) bool {
			return !x.isLong() && m.minute+1440 < x.to && x.days.match(before)
		})
	}
	switch {
	case in(running):
		return Running, true
	case in(stopped):
		return Stopped, true
	}
	return "", false
}

// isLong reports whether a window is longer than 24 hours.
func (x *window) isLong() bool { return x.to-x.from > 1440 }

// coversSpan reports whether a window of more than 24 hours, begun on an earlier
// day, covers a wall time.
func coversSpan(windows []window, m moment) bool {
	for i := range windows {
		x := &windows[i]
		for back := 1; x.isLong() && back*1440 < x.to; back++ {
			if m.minute+back*1440 < x.to && x.days.match(m.day.add(-back)) {
				return true
			}
		}
	}
	return false
}

// coversFrom reports whether a window that begins on the day covers a wall time.
func coversFrom(windows []window, m moment) bool {
	return slices.ContainsFunc(windows, func(x window) bool {
		return x.from <= m.minute && m.minute < x.to && x.days.match(m.day)
	})
}

// exceptBounds adds the minutes of a day at which an exception may change
// something: its midnights, and the ends of windows that stand in.
func (w *Weekly) exceptBounds(d day, out []int) []int {
	before, on := w.exception(d.add(-1)), w.exception(d)
	if before == nil && on == nil {
		return out
	}
	out = append(out, 0)
	for _, rule := range []*Exception{before, on} {
		if rule != nil && rule.Use == UseSchedule {
			out = boundsOf(rule.Schedule.stopped, d, boundsOf(rule.Schedule.running, d, out))
		}
	}
	return out
}

func (e Exception) String() string {
	s := fmt.Sprintf("except [%s] %s", e.Calendar, e.Use)
	if e.Use == UseSchedule {
		s += " [" + e.Schedule.String() + "]"
	}
	return s
}

func exceptString(rules []Exception) string {
	var b strings.Builder
	for _, e := range rules {
		b.WriteString(" " + e.String())
	}
	return b.String()
}
