package schedule

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Turn is a planned wall time that a change of the clock touches.
type Turn struct {
	Wall   time.Time // the wall time as it is written, in UTC
	At     time.Time // the instant at which it happens
	Gap    bool      // the wall clock jumps over it; else it shows it twice
	Window string    // not empty: a whole window lies in the gap, and is empty on that day
}

// jump is a change of a zone's offset, as the wall times that it skips or repeats.
type jump struct {
	gap      bool
	from, to time.Time // naive, half-open
}

// jumps are those of a zone in (from, to).
func jumps(zone *time.Location, from, to time.Time) (list []jump) {
	for {
		_, next := from.In(zone).ZoneBounds()
		if next.IsZero() || !next.Before(to) {
			return list
		}
		_, before := next.Add(-time.Nanosecond).In(zone).Zone()
		_, after := next.In(zone).Zone()
		at := next.UTC()
		first, second := at.Add(time.Duration(before)*time.Second), at.Add(time.Duration(after)*time.Second)
		switch {
		case after > before:
			list = append(list, jump{true, first, second})
		case after < before:
			list = append(list, jump{false, second, first})
		}
		from = next
	}
}

// walls calls with each wall time of a jump that is among the minutes of its day.
func (j jump) walls(minutes func(d day) []int, each func(d day, minute int, wall time.Time)) {
	for d := (day{j.from.Truncate(24 * time.Hour)}); d.Before(j.to); d = d.add(1) {
		for _, minute := range minutes(d) {
			if wall := d.Add(time.Duration(minute) * time.Minute); !wall.Before(j.from) && wall.Before(j.to) {
				each(d, minute, wall)
			}
		}
	}
}

// Turns are the edges between two instants whose wall time a change of the clock
// skips or repeats, in order.
func (w *Weekly) Turns(from, to time.Time) (turns []Turn) {
	for _, j := range jumps(w.zone, from, to) {
		empty := make(map[int]string) // windows that lie in a gap, by where they begin
		j.walls(w.minutes, func(d day, minute int, wall time.Time) {
			for _, x := range slices.Concat(w.running, w.stopped) {
				if j.gap && x.from == minute && x.days.match(d) && d.at(x.to, w.zone).Equal(d.at(x.from, w.zone)) {
					empty[minute] = x.String()
				}
			}
			at := d.at(minute, w.zone)
			if window := empty[minute]; window != "" || w.At(at) != w.At(at.Add(-time.Nanosecond)) {
				turns = append(turns, Turn{wall, at, j.gap, window})
			}
		})
	}
	return turns
}

// Turns are the planned times between two instants whose wall time a change of the
// clock skips or repeats, in order. A spec for every hour has none: it follows
// elapsed time.
func (c *Cron) Turns(from, to time.Time) (turns []Turn) {
	if c.elapsed {
		return nil
	}
	for _, j := range jumps(c.zone, from, to) {
		j.walls(c.minutes, func(d day, minute int, wall time.Time) {
			turns = append(turns, Turn{Wall: wall, At: d.at(minute, c.zone), Gap: j.gap})
		})
	}
	return turns
}

// minutes are those of a day at which a spec fires.
func (c *Cron) minutes(d day) (list []int) {
	if !c.matchDay(d) {
		return nil
	}
	for minute := range 1440 {
		if c.hour&(1<<(minute/60)) != 0 && c.minute&(1<<(minute%60)) != 0 {
			list = append(list, minute)
		}
	}
	return list
}

// Between are the planned times after one instant and before another, in order, at
// most so many.
func (c *Cron) Between(after, before time.Time, most int) (list []time.Time) {
	for t, ok := c.Next(after); ok && t.Before(before) && len(list) < most; t, ok = c.Next(t) {
		list = append(list, t)
	}
	return list
}

// Idle is a window that does not begin in a span of time.
type Idle struct {
	Window     string
	Last, Next time.Time // days on which it begins, before and after, as midnights in UTC; zero: none
}

// Idle are the windows that do not begin between two instants, and are not open
// at the first.
func (w *Weekly) Idle(from, to time.Time) (idle []Idle) {
	first, end := dayOf(from, w.zone), dayOf(to, w.zone)
	for _, x := range slices.Concat(w.running, w.stopped) {
		begins := func(d day, by, n int) (time.Time, bool) {
			for range n {
				if x.days.match(d) {
					return d.Time, true
				}
				d = d.add(by)
			}
			return time.Time{}, false
		}
		if _, ok := begins(first.add(-x.to/1440), 1, int(end.Sub(first.Time)/(24*time.Hour))+1+x.to/1440); ok {
			continue
		}
		i := Idle{Window: x.String()}
		i.Next, _ = begins(end, 1, longestWait)
		i.Last, _ = begins(first, -1, longestWait)
		idle = append(idle, i)
	}
	return idle
}

// Plain is the same schedule without its exceptions.
func (w *Weekly) Plain() *Weekly {
	c := *w
	c.except = nil
	c.steady = c.neverChanges()
	return &c
}

// Exceptions are those of a schedule. They are not to be changed.
func (w *Weekly) Exceptions() []Exception { return w.except }

// Special is a day that is in a calendar of an exception.
type Special struct {
	Day     time.Time // midnight in UTC
	Name    string    // in the calendar; may be empty
	Rule    int       // index of the exception that decides
	Also    []int     // of those that have the day too, and come too late
	Starts  bool      // on any other day like it the schedule would run: begin to, or all day
	Changes bool      // something is different because of it, or of the day before
}

// Specials are the days of exceptions between two instants, in order.
func (w *Weekly) Specials(from, to time.Time) (specials []Special) {
	plain := w.Plain()
	for d := dayOf(from, w.zone); d.Before(dayOf(to, w.zone).Time); d = d.add(1) {
		s := Special{Day: d.Time, Rule: -1}
		for i := range w.except {
			switch name, ok := w.except[i].Calendar.on(d); {
			case !ok:
			case s.Rule < 0:
				s.Rule, s.Name = i, name
			default:
				s.Also = append(s.Also, i)
			}
		}
		if s.Rule >= 0 {
			s.Starts = plain.starts(d)
			s.Changes = w.differs(plain, d) || w.exception(d.add(1)) == nil && w.differs(plain, d.add(1))
			specials = append(specials, s)
		}
	}
	return specials
}

// starts reports whether a schedule begins to run on a day, or runs all through it.
func (w *Weekly) starts(d day) bool {
	change := false
	for _, minute := range w.minutes(d) {
		m := moment{d, minute}
		if w.wants(m) != w.wants(m.before()) {
			if w.wants(m) == Running {
				return true
			}
			change = true
		}
	}
	return !change && w.wants(moment{d, 0}) == Running
}

// differs reports whether two schedules want something else at any time of a day.
func (w *Weekly) differs(o *Weekly, d day) bool {
	for _, minute := range append(append(w.minutes(d), o.minutes(d)...), 0) {
		if m := (moment{d, minute}); w.wants(m) != o.wants(m) {
			return true
		}
	}
	return false
}

// Last is the last date of a calendar, as its midnight in UTC; false: it has none,
// or dates of every year, which never end.
func (c *Calendar) Last() (time.Time, bool) {
	if len(c.yearly) > 0 || len(c.dates) == 0 {
		return time.Time{}, false
	}
	return slices.MaxFunc(slices.Collect(maps.Keys(c.dates)), func(a, b day) int { return a.Compare(b.Time) }).Time, true
}

// Within counts the dates of a calendar between two instants, of a zone.
func (c *Calendar) Within(from, to time.Time, zone *time.Location) (n int) {
	c = c.in(zone)
	for d := dayOf(from, zone); d.Before(dayOf(to, zone).Time); d = d.add(1) {
		if _, ok := c.on(d); ok {
			n++
		}
	}
	return n
}

// Words says what an exception makes of a day.
func (e Exception) Words() string {
	switch e.Use {
	case UseNever:
		return "stopped all day"
	case UseAlways:
		return "running all day"
	case UseUnchanged:
		return "as on any other day"
	}
	windows := "running " + joinWindows(e.Schedule.running)
	if len(e.Schedule.running) == 0 {
		windows = "stopped " + joinWindows(e.Schedule.stopped)
	}
	return "as " + cmp.Or(e.As, "the other schedule") + ": " + windows
}
