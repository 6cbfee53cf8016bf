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
	d := dayOf(after, c.zone)
	for range longestWait {
		for _, t := range c.on(d) {
			if t.After(after) {
				return t, true
			}
		}
		d = d.add(1)
	}
	return time.Time{}, false
}

// Prev is the newest planned time not after an instant, in UTC; false: there was
// none within 28 years.
func (c *Cron) Prev(t time.Time) (time.Time, bool) {
	d := dayOf(t, c.zone).add(1) // the clock may have gone back over midnight
	for range longestWait {
		for _, at := range slices.Backward(c.on(d)) {
			if !at.After(t) {
				return at, true
			}
		}
		d = d.add(-1)
	}
	return time.Time{}, false
}

// longestWait, in days, bounds the search: within 28 years every date has been
// every weekday.
const longestWait = 28*366 + 2

// on are the planned times of a calendar day, in UTC and in order. A day lasts
// from the first instant at which the wall clock shows it, or a later one, to the
// first of the next day. In a gap several may be the same instant.
func (c *Cron) on(d day) []time.Time {
	switch {
	case c.elapsed && (c.matchDay(d) || c.matchDay(d.add(-1))): // the evening before may be read again after midnight
		return c.everyHour(d)
	case c.elapsed || !c.matchDay(d):
		return nil
	}
	var out []time.Time
	for h := range 24 {
		if c.hour&(1<<h) == 0 {
			continue
		}
		for m := range 60 {
			if c.minute&(1<<m) != 0 {
				out = append(out, d.at(h*60+m, c.zone))
			}
		}
	}
	return out
}

// everyHour follows elapsed time: each instant of the day at which the wall clock
// shows a minute that matches, in both readings of an overlap.
func (c *Cron) everyHour(d day) []time.Time {
	var out []time.Time
	end := d.add(1).at(0, c.zone)
	for t := d.at(0, c.zone); t.Before(end); {
		local := t.In(c.zone)
		_, change := local.ZoneBounds()
		if change.IsZero() || change.After(end) {
			change = end
		}
		minute, today := local.Minute(), dayOf(t, c.zone)
		matches, midnight := c.matchDay(today), 1440-local.Hour()*60-minute // the minutes left of it
		for n := range (change.Sub(t) + time.Minute - 1) / time.Minute {
			if midnight == 0 {
				today = today.add(1)
				matches, midnight = c.matchDay(today), 1440
			}
			if matches && c.minute&(1<<minute) != 0 {
				out = append(out, t.Add(n*time.Minute))
			}
			minute, midnight = (minute+1)%60, midnight-1
		}
		t = change.UTC()
	}
	return out
}
