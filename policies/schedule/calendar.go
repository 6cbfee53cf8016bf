package schedule

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Calendar is a set of dates with names, such as public holidays. It is read-only
// once made, and safe for concurrent use.
type Calendar struct {
	dates  map[day]string
	yearly map[monthDay]string
	// timed are events whose dates depend on the zone in which one asks. They are
	// in dates as the zone of their file has them; whole are the dates without them.
	timed []timed
	whole map[day]string
}

// timed is an event from one instant to another.
type timed struct {
	from, to time.Time
	name     string
}

// addTimed adds an event that is not of whole days.
func (c *Calendar) addTimed(e timed) error {
	if len(c.timed) >= maxDates {
		return fmt.Errorf("the calendar has more than %d events with times", maxDates)
	}
	c.timed = append(c.timed, e)
	return nil
}

// in are the dates as a zone has them.
func (c *Calendar) in(zone *time.Location) *Calendar {
	if len(c.timed) == 0 {
		return c
	}
	there := &Calendar{dates: maps.Clone(c.whole), yearly: c.yearly}
	for _, e := range c.timed {
		first, last := dayOf(e.from, zone), dayOf(e.from, zone)
		if e.to.After(e.from) {
			last = dayOf(e.to.Add(-time.Nanosecond), zone)
		}
		for d := first; !d.After(last.Time); d = d.add(1) {
			if there.dates[d] == "" {
				there.dates[d] = e.name
			}
		}
	}
	return there
}

type monthDay struct {
	month time.Month
	day   int
}

// maxDates bounds a calendar: more is a mistake, or meant to do harm.
const maxDates = 100_000

const calendarHint = "write 2026-12-25, 2026-12-24..2027-01-01 or, for every year, 12-25; a name may follow"

// ParseDates reads dates, one line each: 2026-12-25, a range
// 2026-12-24..2027-01-01, or 12-25 for every year. A name may follow after a
// blank. An error is an [*Error].
func ParseDates(lines []string) (*Calendar, error) {
	c := &Calendar{dates: make(map[day]string), yearly: make(map[monthDay]string)}
	for _, line := range lines {
		p := &parser{text: line}
		text := strings.TrimSpace(line)
		spec := text[:indexOrEnd(text, " \t")]
		name := strings.TrimSpace(text[len(spec):])
		if t, err := time.Parse("2006-01-02", "2024-"+spec); err == nil { // a leap year has them all
			c.yearly[monthDay{t.Month(), t.Day()}] = name
			continue
		}
		from, to, ranged := strings.Cut(spec, "..")
		if !ranged {
			to = from
		}
		first, ok := date(from)
		if !ok {
			return nil, p.fail(strings.Index(line, spec), calendarHint, "%q is not a date", from)
		}
		last, ok := date(to)
		if !ok {
			return nil, p.fail(strings.Index(line, spec)+len(spec)-len(to), calendarHint, "%q is not a date", to)
		}
		if last.Before(first) {
			return nil, p.fail(strings.Index(line, spec), calendarHint, "the range ends on %s, before it begins", to)
		}
		if err := c.add(day{first}, day{last}, name); err != nil {
			return nil, p.fail(0, "", "%v", err)
		}
	}
	return c, nil
}

func indexOrEnd(s, chars string) int {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return i
	}
	return len(s)
}

// add adds the dates from one to another, both included.
func (c *Calendar) add(first, last day, name string) error {
	for d := first; !d.After(last.Time); d = d.add(1) {
		if len(c.dates) >= maxDates {
			return fmt.Errorf("the calendar has more than %d dates", maxDates)
		}
		if old, ok := c.dates[d]; !ok || old == "" {
			c.dates[d] = name
		}
	}
	return nil
}

// On reports whether a date is in the calendar, and its name, which may be empty.
// Where that matters, after [ParseICal], it is a date of the file's zone.
func (c *Calendar) On(year int, month time.Month, dayOfMonth int) (name string, ok bool) {
	return c.on(day{time.Date(year, month, dayOfMonth, 0, 0, 0, 0, time.UTC)})
}

func (c *Calendar) on(d day) (name string, ok bool) {
	if name, ok = c.dates[d]; ok {
		return name, true
	}
	_, month, dom := d.Date()
	name, ok = c.yearly[monthDay{month, dom}]
	return name, ok
}

// Len is the number of dates, those of every year counted once.
func (c *Calendar) Len() int { return len(c.dates) + len(c.yearly) }

// String prints the dates in order, without their names: the same text means the
// same.
func (c *Calendar) String() string {
	var words []string
	days := slices.SortedFunc(maps.Keys(c.dates), func(a, b day) int { return a.Compare(b.Time) })
	for i := 0; i < len(days); {
		n := i
		for n+1 < len(days) && days[n+1].Equal(days[n].add(1).Time) {
			n++
		}
		word := days[i].Format(time.DateOnly)
		if n > i {
			word += ".." + days[n].Format(time.DateOnly)
		}
		words = append(words, word)
		i = n + 1
	}
	var yearly []string
	for md := range c.yearly {
		yearly = append(yearly, fmt.Sprintf("%02d-%02d", int(md.month), md.day))
	}
	slices.Sort(yearly)
	return strings.Join(append(words, yearly...), " ")
}
