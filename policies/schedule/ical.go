package schedule

import (
	"bytes"
	"cmp"
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

// What a file may cost, so that one that is meant to do harm is refused within
// seconds: a calendar of holidays takes a thousandth of it.
const (
	maxYears   = 100_000   // that the rules of all events are followed, together
	maxTouched = 1_000_000 // dates that all events touch, each counted
	maxRule    = 1_000     // bytes of one rule
)

// ParseICal reads an iCalendar file (RFC 5545). Each date that an event touches is
// in the calendar, under the event's summary: all days of an all-day event, and of
// one with times each date on which a part of it lies. Those are dates of the zone
// in which the calendar is asked: of the schedule's zone for [Weekly.Except], of
// the file's own (X-WR-TIMEZONE, else UTC) for [Calendar.On]. A time without a
// zone, or in one that is not known, is on the date that is written.
//
// Recurring events are followed from 2000 to 2050, with RDATE, EXDATE and dates
// that were moved; cancelled ones are left out.
func ParseICal(data []byte) (*Calendar, error) {
	text, err := skim(data)
	if err != nil {
		return nil, err
	}
	cal, err := ical.ParseCalendar(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("not an iCalendar file: %w", err)
	}
	events := cal.Events()
	switch {
	case len(events) == 0:
		return nil, fmt.Errorf("the file has no events")
	case len(events) > maxEvents:
		return nil, fmt.Errorf("the file has %d events, at most %d are read", len(events), maxEvents)
	}
	r := icalReader{
		cal:  &Calendar{dates: make(map[day]string), yearly: map[monthDay]string{}},
		home: time.UTC,
		gone: make(map[string]map[string]bool),
	}
	for _, p := range cal.CalendarProperties {
		if p.IANAToken == "X-WR-TIMEZONE" {
			r.home = cmp.Or(r.zone(p.Value), time.UTC)
		}
	}
	for _, e := range events { // one date of a recurring event may have been moved or cancelled
		if err := r.replaces(e); err != nil {
			return nil, fmt.Errorf("event %q: %w", summary(e), err)
		}
	}
	for _, e := range events {
		if err := r.event(e); err != nil {
			return nil, fmt.Errorf("event %q: %w", summary(e), err)
		}
	}
	r.cal.whole = r.cal.dates
	r.cal.dates = r.cal.in(r.home).dates
	return r.cal, nil
}

type icalReader struct {
	cal            *Calendar
	home           *time.Location             // of the file
	gone           map[string]map[string]bool // by uid: the keys of what was moved or cancelled
	years, touched int
}

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
	zone   *time.Location // nil: on whatever clock people look at
}

// instant is that of a wall time that has a zone.
func (w wallTime) instant() time.Time {
	y, m, d := w.naive.Date()
	return wall(y, m, d, w.naive.Hour(), w.naive.Minute(), w.zone).Add(time.Duration(w.naive.Second()) * time.Second)
}

// key is the same for the same time, in whatever zone it is written.
func (w wallTime) key() string {
	switch {
	case w.allDay:
		return w.naive.Format(time.DateOnly)
	case w.zone == nil:
		return w.naive.Format(time.DateTime)
	}
	return w.instant().UTC().Format(time.RFC3339)
}

// in reports whether a set names a time, or its whole date.
func (w wallTime) in(set map[string]bool) bool {
	return set[w.key()] || set[w.naive.Format(time.DateOnly)]
}

// since is how long it is on the wall clock of another time's zone.
func (w wallTime) since(start wallTime) time.Duration {
	if w.zone == nil || start.zone == nil || w.allDay {
		return w.naive.Sub(start.naive)
	}
	return naiveIn(w.instant(), start.zone).Sub(start.naive)
}

// naiveIn is the wall clock of a zone at an instant, as if it were UTC.
func naiveIn(t time.Time, zone *time.Location) time.Time {
	l := t.In(zone)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), l.Second(), 0, time.UTC)
}

// when reads a property that is a date or a time; ok is false when it is missing.
func (r *icalReader) when(e *ical.VEvent, name string) (at wallTime, ok bool, err error) {
	p := e.GetProperty(ical.ComponentProperty(name))
	if p == nil {
		return at, false, nil
	}
	at, err = r.parse(p.Value, p.ICalParameters["TZID"])
	return at, true, err
}

func (r *icalReader) parse(value string, tzid []string) (at wallTime, err error) {
	value = strings.TrimSpace(value)
	switch {
	case len(value) == len("20060102"):
		at.allDay = true
		at.naive, err = time.Parse("20060102", value)
	case strings.HasSuffix(value, "Z"):
		at.zone = time.UTC
		at.naive, err = time.Parse("20060102T150405Z", value)
	default:
		if len(tzid) > 0 {
			at.zone = r.zone(tzid[0])
		}
		at.naive, err = time.Parse("20060102T150405", value)
	}
	if err != nil {
		return at, fmt.Errorf("%q is not a date or time", value)
	}
	return at, nil
}

// zone finds a zone by the name that a file gives it; nil: an own name, of which
// only the wall clock counts. Some programs put a path before the IANA name.
func (r *icalReader) zone(name string) *time.Location {
	for name = strings.TrimPrefix(name, "/"); ; {
		if zone, err := LoadZone(name); err == nil {
			return zone
		}
		_, rest, ok := strings.Cut(name, "/")
		if !ok || !strings.Contains(rest, "/") {
			return nil
		}
		name = rest
	}
}

// replaces notes the time of a recurring event in whose place an event stands.
func (r *icalReader) replaces(e *ical.VEvent) error {
	at, ok, err := r.when(e, "RECURRENCE-ID")
	if err != nil || !ok {
		return err
	}
	if len(e.GetProperty("RECURRENCE-ID").ICalParameters["RANGE"]) > 0 {
		return fmt.Errorf("it moves all that come after it (RANGE=THISANDFUTURE), which is not read: end the one and add another")
	}
	uid := text(e, "UID")
	if r.gone[uid] == nil {
		r.gone[uid] = make(map[string]bool)
	}
	r.gone[uid][at.key()] = true
	return nil
}

func (r *icalReader) event(e *ical.VEvent) error {
	if strings.EqualFold(text(e, "STATUS"), "CANCELLED") {
		return nil
	}
	start, ok, err := r.when(e, "DTSTART")
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
	all, err := r.occurrences(e, occurrence{start, span})
	if err != nil {
		return err
	}
	var gone map[string]bool
	if e.GetProperty("RECURRENCE-ID") == nil {
		gone = r.gone[text(e, "UID")]
	}
	for _, o := range all {
		if o.start.in(gone) {
			continue
		}
		if err := r.add(o, summary(e)); err != nil {
			return err
		}
	}
	return nil
}

// occurrence is one time at which an event takes place.
type occurrence struct {
	start wallTime
	span  time.Duration // on the wall clock
}

// touch counts the dates of some occurrences.
func (r *icalReader) touch(n int, span time.Duration) error {
	if r.touched += n * (1 + int(span/(24*time.Hour))); r.touched > maxTouched {
		return fmt.Errorf("the events of the file touch more than %d dates, counted together", maxTouched)
	}
	return nil
}

// add puts the dates of an occurrence into the calendar.
func (r *icalReader) add(o occurrence, name string) error {
	end := wallTime{naive: o.start.naive.Add(o.span), zone: o.start.zone}
	if o.start.zone != nil {
		return r.cal.addTimed(timed{o.start.instant(), end.instant(), name})
	}
	last := end.naive
	if o.span > 0 {
		last = last.Add(-time.Second)
	}
	return r.cal.add(day{o.start.naive.Truncate(24 * time.Hour)}, day{last.Truncate(24 * time.Hour)}, name)
}

// maxSpan is how long one occurrence may last.
const maxSpan = 366 * 24 * time.Hour

// span is how long an event lasts; one of whole days lasts one when it does not say.
func (r *icalReader) span(e *ical.VEvent, start wallTime) (time.Duration, error) {
	end, ok, err := r.when(e, "DTEND")
	switch {
	case err != nil:
		return 0, err
	case ok:
		return spanTo(start, end)
	}
	if text := text(e, "DURATION"); text != "" {
		return icalDuration(text)
	}
	if start.allDay {
		return 24 * time.Hour, nil
	}
	return 0, nil
}

func spanTo(start, end wallTime) (time.Duration, error) {
	switch d := end.since(start); {
	case d < 0:
		return 0, fmt.Errorf("it ends before it begins")
	case d > maxSpan:
		return 0, fmt.Errorf("it lasts longer than a year")
	default:
		return d, nil
	}
}

// icalDuration reads P1D, P2W, PT3H30M and the like.
func icalDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration", text)
	rest, ok := strings.CutPrefix(strings.TrimPrefix(text, "+"), "P")
	if !ok || rest == "" {
		return 0, bad
	}
	units := map[byte]time.Duration{'W': 7 * 24 * time.Hour, 'D': 24 * time.Hour, 'H': time.Hour, 'M': time.Minute, 'S': time.Second}
	var total time.Duration
	n, digitsSeen := 0, false
	for i := range len(rest) {
		switch c := rest[i]; {
		case c == 'T' && !digitsSeen:
		case c >= '0' && c <= '9' && n < 10_000_000:
			n, digitsSeen = n*10+int(c-'0'), true
		case units[c] != 0 && digitsSeen && time.Duration(n) > maxSpan/units[c]:
			return 0, fmt.Errorf("it lasts longer than a year")
		case units[c] != 0 && digitsSeen:
			total += time.Duration(n) * units[c]
			n, digitsSeen = 0, false
		default:
			return 0, bad
		}
		if total > maxSpan {
			return 0, fmt.Errorf("it lasts longer than a year")
		}
	}
	if digitsSeen {
		return 0, bad
	}
	return total, nil
}

// occurrences are all times at which an event takes place: the first, those of
// its rule, and those of RDATE, without those of EXDATE.
func (r *icalReader) occurrences(e *ical.VEvent, first occurrence) ([]occurrence, error) {
	if err := r.touch(1, first.span); err != nil {
		return nil, err
	}
	all := []occurrence{first}
	for _, p := range e.GetProperties("RRULE") {
		more, err := r.recurs(p.Value, first)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", p.Value[:min(len(p.Value), 80)], err)
		}
		all = append(all, more...)
	}
	for _, p := range e.GetProperties("RDATE") {
		for value := range strings.SplitSeq(p.Value, ",") {
			o, err := r.extra(value, p.ICalParameters["TZID"], first.span)
			if err == nil {
				err = r.touch(1, o.span)
			}
			if err != nil {
				return nil, err
			}
			all = append(all, o)
		}
	}
	excluded := make(map[string]bool)
	for _, p := range e.GetProperties("EXDATE") {
		for value := range strings.SplitSeq(p.Value, ",") {
			at, err := r.parse(value, p.ICalParameters["TZID"])
			if err != nil {
				return nil, err
			}
			excluded[at.key()] = true
		}
	}
	if len(excluded) == 0 {
		return all, nil
	}
	kept := all[:0]
	for _, o := range all {
		if !o.start.in(excluded) {
			kept = append(kept, o)
		}
	}
	return kept, nil
}

// extra reads one time of an RDATE, or a period from/to or from/duration.
func (r *icalReader) extra(value string, tzid []string, span time.Duration) (occurrence, error) {
	from, to, isPeriod := strings.Cut(value, "/")
	start, err := r.parse(from, tzid)
	switch {
	case err != nil:
		return occurrence{}, err
	case !isPeriod:
		return occurrence{start, span}, nil
	case strings.HasPrefix(to, "P") || strings.HasPrefix(to, "+"):
		span, err = icalDuration(to)
		return occurrence{start, span}, err
	}
	end, err := r.parse(to, tzid)
	if err != nil {
		return occurrence{}, err
	}
	span, err = spanTo(start, end)
	return occurrence{start, span}, err
}

// recurs follows a rule from the first occurrence on.
func (r *icalReader) recurs(text string, first occurrence) ([]occurrence, error) {
	rule, until, err := r.rule(text, first.start)
	if err != nil {
		return nil, err
	}
	var all []occurrence
	seen, last, count := 0, 0, rule.OrigOptions.Count
	for next := rule.Iterator(); ; seen++ {
		t, ok := next()
		if !ok && seen < max(1, count) { // it looked for a date through all the years that rrule-go knows
			last = 9999
		}
		if !ok {
			break
		}
		if last = t.Year(); last > lastYear || t.After(until) {
			break
		}
		if last >= firstYear && !t.Equal(first.start.naive) {
			all = append(all, occurrence{wallTime{t, first.start.allDay, first.start.zone}, first.span})
		}
	}
	if r.years += max(1, last-first.start.naive.Year()); r.years > maxYears {
		return nil, fmt.Errorf("the rules of the file are followed over more than %d years, counted together", maxYears)
	}
	return all, r.touch(len(all), first.span)
}

// rule reads an RRULE. It refuses what rrule-go would follow for hours, or trip
// over: times within a day, endless lists, weekdays that no month has. The end is
// kept apart, so that it is seen how far the rule was followed.
func (r *icalReader) rule(text string, start wallTime) (rule *rrule.RRule, until time.Time, err error) {
	if len(text) > maxRule {
		return nil, until, fmt.Errorf("it is longer than %d bytes", maxRule)
	}
	text = strings.TrimRight(strings.ToUpper(text), "; ")
	o, err := rrule.StrToROption(text)
	if err != nil {
		return nil, until, err
	}
	switch {
	case o.Freq > rrule.DAILY || len(o.Byhour) > 1 || len(o.Byminute) > 1 || len(o.Bysecond) > 1:
		return nil, until, fmt.Errorf("an event that recurs within a day is no calendar of dates")
	case o.Interval > 10_000 || o.Count < 0:
		return nil, until, fmt.Errorf("it recurs too rarely, or less than never")
	case start.naive.Year() < 1800: // rrule-go follows a rule for 290 years
		return nil, until, fmt.Errorf("it begins before 1800")
	case len(o.Byeaster) > 0:
		return nil, until, fmt.Errorf("BYEASTER is not part of iCalendar")
	}
	if o.Freq == rrule.MONTHLY || o.Freq == rrule.YEARLY && len(o.Bymonth) > 0 {
		for _, w := range o.Byweekday {
			if w.N() < -5 || w.N() > 5 {
				return nil, until, fmt.Errorf("no month has %d of a weekday", max(w.N(), -w.N()))
			}
		}
	}
	if until, err = r.until(text, start); err != nil {
		return nil, until, err
	}
	o.Dtstart, o.Until = start.naive, time.Time{}
	rule, err = rrule.NewRRule(*o)
	return rule, until, err
}

// until is the end of a rule on the wall clock of its event. A date is in it to
// its end; a rule without an end goes on.
func (r *icalReader) until(rule string, start wallTime) (time.Time, error) {
	for part := range strings.SplitSeq(rule, ";") {
		value, ok := strings.CutPrefix(part, "UNTIL=")
		if !ok {
			continue
		}
		at, err := r.parse(value, nil)
		switch {
		case err != nil:
			return time.Time{}, err
		case at.allDay:
			return at.naive.Add(24*time.Hour - time.Second), nil
		case at.zone != nil && !start.allDay: // of an event of whole days, the date that is written counts
			return naiveIn(at.instant(), cmp.Or(start.zone, r.home)), nil
		default:
			return at.naive, nil
		}
	}
	return time.Date(lastYear+1, 1, 1, 0, 0, 0, 0, time.UTC), nil
}
