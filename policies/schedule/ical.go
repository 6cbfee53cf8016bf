package schedule

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	ical "github.com/arran4/golang-ical"
	"github.com/teambition/rrule-go"
)

// Recurring events are followed over these years, which bounds the work.
const (
	firstYear = 2000
	lastYear  = 2050
	maxEvents = 20_000
)

// maxICal bounds the size of a file in bytes; a calendar of holidays has a few
// thousand.
const maxICal = 8 << 20

// ParseICal reads an iCalendar file (RFC 5545). Each date that an event touches is
// in the calendar, under the event's summary: all days of an all-day event, and of
// one with times each date that it touches in its own zone. Recurring events are
// followed from 2000 to 2050, with their exceptions; cancelled ones are left out.
func ParseICal(data []byte) (*Calendar, error) {
	if len(data) > maxICal {
		return nil, fmt.Errorf("the file has %d bytes, at most %d are read", len(data), maxICal)
	}
	cal, err := ical.ParseCalendar(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("not an iCalendar file: %w", err)
	}
	r := icalReader{cal: &Calendar{dates: make(map[day]string), yearly: map[monthDay]string{}}, zone: time.UTC, moved: make(map[string]bool)}
	for _, p := range cal.CalendarProperties {
		if p.IANAToken == "X-WR-TIMEZONE" {
			if zone, err := LoadZone(p.Value); err == nil {
				r.zone = zone
			}
		}
	}
	events := cal.Events()
	if len(events) > maxEvents {
		return nil, fmt.Errorf("the file has %d events, at most %d are read", len(events), maxEvents)
	}
	for _, e := range events { // one date of a recurring event may have been moved or cancelled
		if at, ok, err := r.when(e.GetProperty("RECURRENCE-ID")); ok && err == nil {
			r.moved[uid(e)+at.naive.String()] = true
		}
	}
	for _, e := range events {
		if err := r.event(e); err != nil {
			return nil, fmt.Errorf("event %q: %w", summary(e), err)
		}
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("the file has no events")
	}
	return r.cal, nil
}

type icalReader struct {
	cal   *Calendar
	zone  *time.Location  // of times in UTC, as the file's owner sees them
	moved map[string]bool // by uid and naive time
}

func uid(e *ical.VEvent) string     { return text(e, "UID") + "\n" }
func summary(e *ical.VEvent) string { return text(e, "SUMMARY") }

func text(e *ical.VEvent, name string) string {
	if p := e.GetProperty(ical.ComponentProperty(name)); p != nil {
		return p.Value
	}
	return ""
}

// wallTime is a time on the wall clock of its own zone, as if that were UTC:
// recurrences are reckoned on the wall clock.
type wallTime struct {
	naive  time.Time
	allDay bool
	zone   *time.Location
}

// when reads a property that is a date or a time; ok is false when it is missing.
func (r *icalReader) when(p *ical.IANAProperty) (at wallTime, ok bool, err error) {
	if p == nil {
		return at, false, nil
	}
	at, err = r.parse(p.Value, p.ICalParameters["TZID"])
	return at, true, err
}

func (r *icalReader) parse(value string, tzid []string) (at wallTime, err error) {
	at.zone = r.zone
	switch {
	case len(value) == len("20060102"):
		at.allDay = true
		at.naive, err = time.Parse("20060102", value)
	case strings.HasSuffix(value, "Z"):
		var t time.Time
		t, err = time.Parse("20060102T150405Z", value)
		at.naive = naiveIn(t, r.zone)
	default:
		if len(tzid) > 0 {
			if zone, err := LoadZone(tzid[0]); err == nil { // else an own name: the wall clock is what counts
				at.zone = zone
			}
		}
		at.naive, err = time.Parse("20060102T150405", value)
	}
	if err != nil {
		return at, fmt.Errorf("%q is not a date or time", value)
	}
	return at, nil
}

// naiveIn is the wall clock of a zone at an instant, as if it were UTC.
func naiveIn(t time.Time, zone *time.Location) time.Time {
	l := t.In(zone)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), l.Second(), 0, time.UTC)
}

func (r *icalReader) event(e *ical.VEvent) error {
	if strings.EqualFold(text(e, "STATUS"), "CANCELLED") {
		return nil
	}
	start, ok, err := r.when(e.GetProperty("DTSTART"))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("it has no DTSTART")
	}
	span, err := r.span(e, start)
	if err != nil {
		return err
	}
	starts, err := r.starts(e, start)
	if err != nil {
		return err
	}
	_, _, isMoved := strings.Cut(text(e, "RECURRENCE-ID"), "")
	isMoved = isMoved && e.GetProperty("RECURRENCE-ID") != nil
	for _, s := range starts {
		if !isMoved && r.moved[uid(e)+s.String()] {
			continue
		}
		end := s.Add(max(0, span-time.Second))
		if err := r.cal.add(day{s.Truncate(24 * time.Hour)}, day{end.Truncate(24 * time.Hour)}, summary(e)); err != nil {
			return err
		}
	}
	return nil
}

// span is how long an event lasts; one of whole days lasts one when it does not say.
func (r *icalReader) span(e *ical.VEvent, start wallTime) (time.Duration, error) {
	end, ok, err := r.when(e.GetProperty("DTEND"))
	switch {
	case err != nil:
		return 0, err
	case ok && end.naive.Before(start.naive):
		return 0, fmt.Errorf("it ends before it begins")
	case ok:
		if d := end.naive.Sub(start.naive); d <= 366*24*time.Hour {
			return d, nil
		}
		return 0, fmt.Errorf("it lasts longer than a year")
	}
	if text := text(e, "DURATION"); text != "" {
		return icalDuration(text)
	}
	if start.allDay {
		return 24 * time.Hour, nil
	}
	return 0, nil
}

// icalDuration reads P1D, P2W, PT3H30M and the like.
func icalDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration", text)
	rest, ok := strings.CutPrefix(text, "P")
	if !ok || rest == "" {
		return 0, bad
	}
	units := map[byte]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour, 'H': time.Hour, 'M': time.Minute, 'S': time.Second}
	var total time.Duration
	n, digitsSeen := 0, false
	for i := range len(rest) {
		switch c := rest[i]; {
		case c == 'T':
		case c >= '0' && c <= '9' && n < 100_000:
			n, digitsSeen = n*10+int(c-'0'), true
		case units[c] != 0 && digitsSeen:
			total += time.Duration(n) * units[c]
			n, digitsSeen = 0, false
		default:
			return 0, bad
		}
	}
	if digitsSeen || total > 366*24*time.Hour {
		return 0, bad
	}
	return total, nil
}

// starts are the wall times at which an event begins, recurrences included.
func (r *icalReader) starts(e *ical.VEvent, start wallTime) ([]time.Time, error) {
	set := rrule.Set{}
	set.DTStart(start.naive)
	recurs := false
	for _, p := range e.GetProperties("RRULE") {
		rule, err := r.rule(p.Value, start)
		if err != nil {
			return nil, err
		}
		set.RRule(rule)
		recurs = true
	}
	dates := func(name string, add func(time.Time)) error {
		for _, p := range e.GetProperties(ical.ComponentProperty(name)) {
			for value := range strings.SplitSeq(p.Value, ",") {
				value, _, _ = strings.Cut(value, "/") // a period: its start
				at, err := r.parse(value, p.ICalParameters["TZID"])
				if err != nil {
					return err
				}
				add(at.naive)
			}
		}
		return nil
	}
	var extra []time.Time
	if err := dates("RDATE", func(t time.Time) { set.RDate(t); extra = append(extra, t); recurs = true }); err != nil {
		return nil, err
	}
	if err := dates("EXDATE", func(t time.Time) { set.ExDate(t) }); err != nil {
		return nil, err
	}
	if !recurs {
		return []time.Time{start.naive}, nil
	}
	if set.GetRRule() == nil {
		set.RDate(start.naive)
	}
	var all []time.Time
	next := set.Iterator()
	for t, ok := next(); ok && t.Year() <= lastYear; t, ok = next() {
		if t.Year() >= firstYear {
			all = append(all, t)
		}
		if len(all) > maxDates {
			return nil, fmt.Errorf("it recurs more than %d times", maxDates)
		}
	}
	return all, nil
}

// rule reads an RRULE, bounded by the years that are followed.
func (r *icalReader) rule(text string, start wallTime) (*rrule.RRule, error) {
	o, err := rrule.StrToROption(text)
	if err != nil {
		return nil, fmt.Errorf("rule %q: %w", text, err)
	}
	if o.Freq > rrule.DAILY {
		return nil, fmt.Errorf("rule %q: an event that recurs within a day is no calendar of dates", text)
	}
	o.Dtstart = start.naive
	last := time.Date(lastYear, 12, 31, 23, 59, 59, 0, time.UTC)
	switch {
	case o.Until.IsZero():
		o.Until = last
	case strings.Contains(text, "Z"): // in UTC, the rule is reckoned on the wall clock
		o.Until = naiveIn(o.Until, start.zone)
	}
	if o.Until.After(last) {
		o.Until = last
	}
	rule, err := rrule.NewRRule(*o)
	if err != nil {
		return nil, fmt.Errorf("rule %q: %w", text, err)
	}
	return rule, nil
}
