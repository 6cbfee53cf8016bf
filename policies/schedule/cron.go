package schedule

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Cron is a five-field spec in a zone. It is read-only once made and safe for
// concurrent use.
type Cron struct {
	spec   string
	zone   *time.Location
	minute uint64
	hour   uint64
	dom    uint64
	month  uint64
	dow    uint64
	// elapsed: the hour field covers the day, so the spec follows elapsed time.
	elapsed bool
	// either: day of month and weekday are both restricted, and one of them is
	// enough, as in every cron. A step, as in */2, restricts.
	either bool
}

// cronParser is what robfig/cron is used for.
var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

type cronPart struct {
	name     string
	min, max int
	names    []string
}

// last is the end of *: Sunday is 0 there, and not 7 too.
func (f cronPart) last() int {
	if f.name == "weekday" {
		return 6
	}
	return f.max
}

var cronFields = []cronPart{
	{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day of month", 1, 31, nil},
	{"month", 1, 12, monthNames}, {"weekday", 0, 7, weekdayNames},
}

const cronHint = `five fields: minute hour day month weekday, such as "30 5 * * MON-FRI"`

// ParseCron reads a five-field spec, or @daily and its like. What can never fire
// is refused, and so is what fires by accident. An error is an [*Error].
func ParseCron(spec string, zone *time.Location) (*Cron, error) {
	p := &parser{text: spec}
	text := strings.TrimSpace(spec)
	switch {
	case text == "":
		return nil, p.fail(0, cronHint, "the spec is empty")
	case strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ="):
		return nil, p.fail(0, "the zone is the file's timezone", "a zone cannot stand in the spec")
	case strings.HasPrefix(text, "@every"):
		return nil, p.fail(0, `write "*/15 * * * *": planned times are times of the wall clock`, "@every has no planned time")
	case strings.HasPrefix(text, "@reboot"):
		return nil, p.fail(0, cronHint, "@reboot has no planned time")
	}
	fields := strings.Fields(text)
	if !strings.HasPrefix(text, "@") {
		if len(fields) != len(cronFields) {
			return nil, p.fail(0, cronHint, "%d fields", len(fields))
		}
		at := 0
		for i, f := range fields {
			at += strings.Index(spec[at:], f)
			if err := p.cronField(i, f, at); err != nil {
				return nil, err
			}
			at += len(f)
		}
		fields[4] = sundayIsZero(fields[4])
		text = strings.Join(fields, " ")
	}
	parsed, err := cronParser.Parse(text)
	if err != nil {
		return nil, p.fail(0, cronHint, "not a cron spec: %v", err)
	}
	s, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, p.fail(0, cronHint, "not a spec with planned times")
	}
	const star = 1 << 63
	c := &Cron{spec: text, zone: zone, minute: s.Minute, hour: s.Hour, dom: s.Dom &^ star, month: s.Month &^ star, dow: s.Dow &^ star}
	c.minute, c.hour = c.minute&^star, c.hour&^star
	c.elapsed = bits.OnesCount64(c.hour) == 24
	c.either = s.Dom&star == 0 && s.Dow&star == 0
	if c.either && (bits.OnesCount64(c.dom) == 31 || bits.OnesCount64(c.dow) == 7) {
		return nil, p.fail(0, "write * for the field that names every day", "fires every day by accident: with day of month and weekday both given, one of them is enough")
	}
	if !c.canFire() {
		return nil, p.fail(0, "", "never fires: no month it names has such a day")
	}
	return c, nil
}

// cronField refuses what robfig/cron reads without complaint.
func (p *parser) cronField(n int, field string, at int) error {
	items := strings.Split(field, ",")
	for _, item := range items {
		switch {
		case item == "":
			return p.fail(at, cronHint, "the %s field %q has an empty item", cronFields[n].name, field)
		case (item == "*" || item == "?") && len(items) > 1:
			return p.fail(at, "write * alone, or leave it out", "the %s field %q names all, so the rest of it means nothing", cronFields[n].name, field)
		}
		if err := p.cronItem(n, item, at); err != nil {
			return err
		}
		at += len(item) + 1
	}
	return nil
}

// cronItem checks *, 5, 1-5 and the same with a step.
func (p *parser) cronItem(n int, item string, at int) error {
	f := cronFields[n]
	span, step, stepped := strings.Cut(item, "/")
	from, to, err := p.cronSpan(n, span, at)
	if err != nil || !stepped {
		return err
	}
	if to == from { // N/step means from N on
		to = f.last()
	}
	s, ok := digits(step)
	switch stepAt := at + len(span) + 1; {
	case !ok || s < 1:
		return p.fail(stepAt, "", "the %s step %q is not a number from 1", f.name, step)
	case s > to-from:
		return p.fail(stepAt, fmt.Sprintf("from %d to %d the longest step is %d", from, to, to-from), "the %s step %d never comes, so %q takes one value only by accident", f.name, s, item)
	}
	return nil
}

func (p *parser) cronSpan(n int, span string, at int) (from, to int, err error) {
	f := cronFields[n]
	switch {
	case span == "*", span == "?" && (f.name == "day of month" || f.name == "weekday"):
		return f.min, f.last(), nil
	}
	lo, hi, ranged := strings.Cut(span, "-")
	if from, err = p.cronValue(n, lo, at); err != nil || !ranged {
		return from, from, err
	}
	if to, err = p.cronValue(n, hi, at+len(lo)+1); err != nil {
		return 0, 0, err
	}
	if endsOnSunday(lo, hi) {
		to = 7
	}
	if to < from {
		return 0, 0, p.fail(at, fmt.Sprintf("write %s-%d,%d-%s", lo, f.last(), f.min, hi), "the %s range %q ends before it begins", f.name, span)
	}
	return from, to, nil
}

func (p *parser) cronValue(n int, s string, at int) (int, error) {
	f := cronFields[n]
	if v, ok := digits(s); ok {
		if v < f.min || v > f.max {
			return 0, p.fail(at, fmt.Sprintf("%d to %d", f.min, f.max), "there is no %s %d", f.name, v)
		}
		return v, nil
	}
	if v, ok := cronName(s, f.names); ok {
		return v, nil
	}
	return 0, p.fail(at, cronHint, "%q is not a %s", s, f.name)
}

func cronName(s string, names []string) (int, bool) {
	n := slices.IndexFunc(names, func(name string) bool { return name != "" && strings.EqualFold(name, s) })
	return n, n >= 0
}

// endsOnSunday finds weekday ranges like SAT-SUN, whose end comes after Saturday.
func endsOnSunday(lo, hi string) bool {
	return hi == "7" || strings.EqualFold(hi, "SUN") && lo != "0" && !strings.EqualFold(lo, "SUN")
}

// sundayIsZero rewrites a checked weekday field for robfig/cron, which knows
// Sunday as 0 only.
func sundayIsZero(field string) string {
	items := strings.Split(field, ",")
	for i, item := range items {
		span, step, _ := strings.Cut(item, "/")
		lo, hi, ranged := strings.Cut(span, "-")
		switch {
		case ranged && endsOnSunday(lo, hi):
			items[i] = expand(lo, step)
		case lo == "7":
			items[i] = "0"
		}
	}
	return strings.Join(items, ",")
}

// expand lists the weekdays from lo to the Sunday after it, step by step.
func expand(lo, step string) string {
	from, ok := digits(lo)
	if !ok {
		from, _ = cronName(lo, weekdayNames)
	}
	by, _ := digits(step)
	var days []string
	for d := from; d <= 7; d += max(1, by) {
		days = append(days, strconv.Itoa(d%7))
	}
	return strings.Join(days, ",")
}

// canFire reports whether any day of the calendar matches.
func (c *Cron) canFire() bool {
	if c.minute == 0 || c.hour == 0 || c.month == 0 {
		return false
	}
	start := day{time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)}
	for n := range 28*366 + 1 { // every weekday on every date comes within 28 years
		if c.matchDay(start.add(n)) {
			return true
		}
	}
	return false
}

func (c *Cron) matchDay(d day) bool {
	if c.month&(1<<d.Month()) == 0 {
		return false
	}
	dom, dow := c.dom&(1<<d.Day()) != 0, c.dow&(1<<d.Weekday()) != 0
	if c.either {
		return dom || dow
	}
	return dom && dow
}

// Zone is the zone of the wall times.
func (c *Cron) Zone() *time.Location { return c.zone }

// String is the spec with its zone.
func (c *Cron) String() string { return c.spec + " " + c.zone.String() }

// Spec is the spec alone; it parses back equal.
func (c *Cron) Spec() string { return c.spec }

// Next is the first planned time strictly after an instant, in UTC; false: there
// is none within 28 years.
func (c *Cron) Next(after time.Time) (time.Time, bool) {
	if c.elapsed {
		return c.nextElapsed(after)
	}
	m, ok := c.from(reached(after, c.zone).next())
	if !ok {
		return time.Time{}, false
	}
	return m.day.at(m.minute, c.zone), true
}

// Prev is the newest planned time not after an instant, in UTC; false: there was
// none within 28 years.
func (c *Cron) Prev(t time.Time) (time.Time, bool) {
	if c.elapsed {
		return c.prevElapsed(t)
	}
	m, ok := c.upTo(reached(t, c.zone))
	if !ok {
		return time.Time{}, false
	}
	return m.day.at(m.minute, c.zone), true
}

// nextElapsed looks for the next instant at which the wall clock shows a time that
// matches, from one change of the clocks to the next.
func (c *Cron) nextElapsed(after time.Time) (time.Time, bool) {
	shown, offset := shows(after, c.zone)
	start := shown.Truncate(time.Minute).Add(time.Minute)
	for t := after; ; {
		m, ok := c.from(momentOf(start))
		if !ok {
			return time.Time{}, false
		}
		found := m.shown().Add(-offset)
		_, change := t.In(c.zone).ZoneBounds()
		if change.IsZero() || found.Before(change) {
			return found, true
		}
		t = change
		shown, offset = shows(t, c.zone)
		start = shown.Add(time.Minute - time.Nanosecond).Truncate(time.Minute)
	}
}

func (c *Cron) prevElapsed(t time.Time) (time.Time, bool) {
	for {
		shown, offset := shows(t, c.zone)
		m, ok := c.upTo(momentOf(shown))
		if !ok {
			return time.Time{}, false
		}
		found := m.shown().Add(-offset)
		change, _ := t.In(c.zone).ZoneBounds()
		if change.IsZero() || !found.Before(change) {
			return found, true
		}
		t = change.Add(-time.Nanosecond)
	}
}

// longestWait, in days, bounds the search: within 28 years every date has been
// every weekday.
const longestWait = 28*366 + 2

// from is the first wall time that matches, at or after another.
func (c *Cron) from(m moment) (moment, bool) {
	end := m.day.add(longestWait)
	for d := m.day; d.Before(end.Time); d = d.add(1) {
		if y, month, _ := d.Date(); c.month&(1<<month) == 0 {
			d = day{time.Date(y, month+1, 0, 0, 0, 0, 0, time.UTC)} // the last of the month
			continue
		}
		first := 0
		if d == m.day {
			first = m.minute
		}
		if minute := c.minuteFrom(first); minute >= 0 && c.matchDay(d) {
			return moment{d, minute}, true
		}
	}
	return moment{}, false
}

// upTo is the last wall time that matches, at or before another.
func (c *Cron) upTo(m moment) (moment, bool) {
	end := m.day.add(-longestWait)
	for d := m.day; d.After(end.Time); d = d.add(-1) {
		if y, month, _ := d.Date(); c.month&(1<<month) == 0 {
			d = day{time.Date(y, month, 1, 0, 0, 0, 0, time.UTC)}
			continue
		}
		last := 1439
		if d == m.day {
			last = m.minute
		}
		if minute := c.minuteUpTo(last); minute >= 0 && c.matchDay(d) {
			return moment{d, minute}, true
		}
	}
	return moment{}, false
}

// minuteFrom is the first minute of a day that matches, at or after another; -1:
// there is none.
func (c *Cron) minuteFrom(minute int) int {
	hour := minute / 60
	if rest := c.minute >> (minute % 60); c.hour&(1<<hour) != 0 && rest != 0 {
		return minute + bits.TrailingZeros64(rest)
	}
	later := c.hour >> (hour + 1)
	if later == 0 {
		return -1
	}
	return (hour+1+bits.TrailingZeros64(later))*60 + bits.TrailingZeros64(c.minute)
}

// minuteUpTo is the last minute of a day that matches, at or before another.
func (c *Cron) minuteUpTo(minute int) int {
	hour := minute / 60
	if rest := c.minute & (1<<(minute%60+1) - 1); c.hour&(1<<hour) != 0 && rest != 0 {
		return hour*60 + bits.Len64(rest) - 1
	}
	earlier := c.hour & (1<<hour - 1)
	if earlier == 0 {
		return -1
	}
	return (bits.Len64(earlier)-1)*60 + bits.Len64(c.minute) - 1
}
