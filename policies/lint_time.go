package policies

import (
	"fmt"
	"slices"
	"time"

	"nightshift/policies/schedule"
)

const dateForm = "Mon 2006-01-02"

// times finds what is odd about the times of one policy in the year ahead.
func (l *lint) times(p *Policy) {
	switch {
	case p.Cron != nil:
		l.turns(p, p.Cron.Zone(), p.Cron.Turns(l.from, l.to))
		if next, ok := p.Cron.Next(l.from); !ok || next.After(l.to) {
			when := "not within 28 years"
			if ok {
				when = "next at " + next.In(p.Cron.Zone()).Format("Mon 2006-01-02 15:04 MST")
			}
			l.add(SevereWarning, "no-edge", p.Name, "", "cron %s does not fire within the year: %s", p.Cron, when)
		}
	case p.Schedule != nil:
		if w, ok := p.Schedule.(*schedule.Weekly); ok {
			l.turns(p, w.Zone(), w.Turns(l.from, l.to))
			l.windows(p, w)
			l.exceptions(p, w)
		}
		l.noEdge(p)
	case p.FromTag != nil: // the hours are the owners'; the exceptions are the file's
		for _, t := range l.tablesOf(p) {
			if w, ok := t.table.(*schedule.Weekly); ok && len(w.Exceptions()) > 0 {
				l.exceptions(p, w)
				break
			}
		}
	}
}

// turns tells what becomes of wall times that a change of the clock touches.
func (l *lint) turns(p *Policy, zone *time.Location, turns []schedule.Turn) {
	for _, t := range turns {
		wall, day, at := t.Wall.Format("15:04"), t.Wall.Format(dateForm), t.At.In(zone).Format("15:04 MST")
		switch {
		case t.Window != "":
			l.add(SevereWarning, "dst-gap", p.Name, "", "the window %s lies where the clock of %s jumps ahead on %s: it is empty on that day", t.Window, zone, day).like = "empty"
		case t.Gap:
			l.add(SevereNote, "dst-gap", p.Name, "", "there is no %s on %s, when the clock of %s jumps ahead: its edge is at %s, the first instant after the gap", wall, day, zone, at).like = "gap"
		default:
			l.add(SevereNote, "dst-overlap", p.Name, "", "%s comes twice on %s, when the clock of %s goes back: its edge is at the first reading, %s", wall, day, zone, at).like = "overlap"
		}
	}
}

// windows finds those that do not come within the year.
func (l *lint) windows(p *Policy, w *schedule.Weekly) {
	for _, i := range w.Idle(l.from, l.to) {
		switch {
		case !i.Next.IsZero():
			l.add(SevereNote, "window", p.Name, "", "the window %s does not come within the year; its next day is %s", i.Window, i.Next.Format(dateForm))
		case !i.Last.IsZero():
			l.add(SevereWarning, "window", p.Name, "take it out, or give it a date to come", "the window %s is past: its last day was %s", i.Window, i.Last.Format(dateForm))
		default:
			l.add(SevereWarning, "window", p.Name, "", "the window %s never comes", i.Window)
		}
	}
}

// noEdge finds a level that does not change within the year.
func (l *lint) noEdge(p *Policy) {
	if next, ok := p.Schedule.Next(l.from); ok && next.At.Before(l.to) {
		return
	}
	switch state := p.Schedule.At(l.from); {
	case state == schedule.Any:
		l.add(SevereWarning, "no-edge", p.Name, "", "the schedule has no voice at any time of the year ahead")
	default:
		l.add(SevereNote, "no-edge", p.Name, "", "the schedule wants %s all through the year ahead: it has no edge of its own, and acts only when another want ends", state)
	}
}

// exceptions looks at the calendars of a schedule and at what they do.
func (l *lint) exceptions(p *Policy, w *schedule.Weekly) {
	rules := w.Exceptions()
	specials := w.Specials(l.from, l.to)
	for i, e := range rules {
		if l.calendar(p, e, w.Zone()) {
			l.exception(p, rules, i, specials)
		}
	}
}

// calendar finds one that has run out; false: it has no day ahead.
func (l *lint) calendar(p *Policy, e schedule.Exception, zone *time.Location) bool {
	last, ends := e.Calendar.Last()
	switch days := e.Calendar.Within(l.from, l.to, zone); {
	case days == 0 && ends && last.Before(l.from):
		l.add(SevereWarning, "calendar", p.Name, "add the days of the year to come", "the calendar %s has run out: its last day was %s", e.Name, last.Format(dateForm))
	case days == 0 && ends:
		l.add(SevereWarning, "calendar", p.Name, "", "the calendar %s holds no day in the year ahead", e.Name)
	case days == 0:
		l.add(SevereWarning, "calendar", p.Name, "", "the calendar %s holds no day", e.Name)
	case ends && last.Before(l.to):
		l.add(SevereNote, "calendar", p.Name, "add the days of the year to come in time", "the calendar %s ends on %s", e.Name, last.Format(dateForm))
		return true
	default:
		return true
	}
	return false
}

// exception tells on which days one changes something, or that it never does.
func (l *lint) exception(p *Policy, rules []schedule.Exception, i int, specials []schedule.Special) {
	var decides, changes int
	var items []string
	before := make(map[string]bool)
	for _, s := range specials {
		switch {
		case s.Rule == i:
			decides++
			if s.Changes {
				changes++
			}
			if s.Starts {
				items = append(items, joinWords(s.Day.Format(dateForm), s.Name))
			}
		case slices.Contains(s.Also, i):
			before[rules[s.Rule].Name] = true
		}
	}
	e := rules[i]
	use := e.Words()
	switch {
	case decides == 0:
		l.add(SevereWarning, "exception", p.Name, "the first that matches wins: put it before the others, or take it out",
			"the exception for %s never applies: all its days are decided by %s before it", e.Name, joinNames(before))
	case len(items) > 0:
		l.add(SevereNote, "holiday", p.Name, "", "%s of the calendar %s on a day that would run: then it is %s", counted(len(items), "day"), e.Name, use).Items = items
	}
	if decides > 0 && changes == 0 && e.Use != schedule.UseUnchanged {
		l.add(SevereWarning, "exception", p.Name, "", "the exception for %s changes nothing: on each of its %s in the year ahead the schedule is so anyway (%s)", e.Name, counted(decides, "day"), use)
	}
}

// spans finds durations that do not go together.
func (l *lint) spans(p *Policy) {
	var shortest, longest time.Duration
	if p.Spread > 0 || p.Lasts > 0 {
		shortest, longest = l.gaps(p)
	}
	if shortest > 0 && p.Spread >= shortest {
		l.add(SevereWarning, "spread", p.Name, "make it shorter than the shortest window", "spread %s reaches beyond the next edge: the two closest lie %s apart", SpanWords(p.Spread), SpanWords(shortest))
	}
	if p.Lasts > 0 {
		l.lasts(p, shortest, longest)
	}
	if c := p.Signal; c != nil {
		if c.For > 0 && p.Cooldown < c.For {
			l.add(SevereWarning, "cooldown", p.Name, "make it longer than for", "cooldown %s is shorter than for %s: it is over before the same can be found again", SpanWords(p.Cooldown), SpanWords(c.For))
		}
		settles := slices.ContainsFunc(p.Do, func(s Step) bool { return s.Verb == Reboot || s.Verb == Resize || s.Verb == Stop })
		if settles && p.Cooldown < SignalSettle {
			l.add(SevereNote, "cooldown", p.Name, "", "cooldown %s means nothing: signals leave an instance alone for %s after each action", SpanWords(p.Cooldown), SpanWords(SignalSettle))
		}
		if c.Load != "" && c.ClearBelow != 0 && !p.TracksLoad() {
			l.add(SevereWarning, "load", p.Name, "add for, such as for: 10m", "clear_below does nothing: without for, and without a step that asks still-firing, each value counts by itself")
		}
	}
}

// soon is how long a call may take until it shows: a want that is shorter may be
// over before it is seen.
const soon = 10 * time.Minute

func (l *lint) lasts(p *Policy, shortest, longest time.Duration) {
	start := slices.ContainsFunc(p.Do, func(s Step) bool { return s.Verb == Start })
	switch {
	case p.Lasts < soon:
		l.add(SevereWarning, "lasts", p.Name, "", "lasts %s is shorter than an instance may take to get there (%s)", SpanWords(p.Lasts), SpanWords(soon))
	case p.Cron != nil && longest > 0 && p.Lasts >= longest:
		l.add(SevereWarning, "lasts", p.Name, "a schedule says that better", "lasts %s never ends: cron %s comes again after %s", SpanWords(p.Lasts), p.Cron, SpanWords(longest))
	case p.Cron != nil && shortest > 0 && p.Lasts > shortest:
		l.add(SevereNote, "lasts", p.Name, "", "lasts %s reaches beyond the next planned time, %s later: the want is prolonged then", SpanWords(p.Lasts), SpanWords(shortest))
	case start && p.Lasts >= startedFor:
		l.add(SevereWarning, "lasts", p.Name, "", "lasts %s is too long for its end to stop what it started: that is remembered for %s", SpanWords(p.Lasts), SpanWords(startedFor))
	}
}

// gaps are the shortest and the longest time between two planned times of a policy
// in the year ahead: edges of a schedule, firings of a cron.
func (l *lint) gaps(p *Policy) (shortest, longest time.Duration) {
	var times []time.Time
	switch {
	case p.Cron != nil:
		times = p.Cron.Between(l.from, l.to, maxEdges)
	case p.Schedule != nil:
		for _, x := range followTable(p.Schedule, Want{}, l.from, l.to).points[1:] {
			times = append(times, x.at)
		}
	}
	for n := 1; n < len(times); n++ {
		gap := times[n].Sub(times[n-1])
		if n == 1 || gap < shortest {
			shortest = gap
		}
		longest = max(longest, gap)
	}
	return shortest, longest
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
