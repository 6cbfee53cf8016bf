package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// window is one line of a schedule: on which days it begins, at what time, and
// when it ends.
type window struct {
	days     days
	from, to int // minutes after midnight; to > 1440 lies on a later day
	// span: from one weekday to another, "Sun 22:00 - Fri 19:00"; to then counts
	// from the day on which it begins.
	span bool
}

// days says on which days a window begins. The zero value is every day.
type days struct {
	week   [7]bool // by time.Weekday; all false: not restricted
	nth    []nth   // Mon#1, FriL
	months [13]bool
	dom    []domRange // 1-15, L
	dates  [2]time.Time
	some   bool // anything at all is restricted
}

type nth struct {
	weekday time.Weekday
	n       int // 1 to 5; -1: the last of the month
}

// domRange is a range of days of the month; lastDay stands for the last.
type domRange struct{ from, to int }

const lastDay = 32

// day is an end of the range in a month whose last day is given.
func (domRange) day(n, last int) int {
	if n == lastDay {
		return last
	}
	return n
}

func (d days) match(c day) bool {
	if !d.some {
		return true
	}
	y, m, dom := c.Date()
	if !d.dates[0].IsZero() {
		return !c.Before(d.dates[0]) && !c.After(d.dates[1])
	}
	if d.hasMonths() && !d.months[m] {
		return false
	}
	last := time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
	if len(d.dom) > 0 {
		return slices.ContainsFunc(d.dom, func(r domRange) bool { return r.day(r.from, last) <= dom && dom <= r.day(r.to, last) })
	}
	if d.week == [7]bool{} && len(d.nth) == 0 {
		return true // months alone
	}
	wd := c.Weekday()
	return d.week[wd] || slices.ContainsFunc(d.nth, func(n nth) bool {
		return n.weekday == wd && (n.n > 0 && (dom-1)/7+1 == n.n || n.n < 0 && dom+7 > last)
	})
}

// weekly reports whether each week is like the other.
func (d days) weekly() bool {
	return !d.hasMonths() && len(d.nth) == 0 && len(d.dom) == 0 && d.dates[0].IsZero()
}

func (d days) hasMonths() bool { return slices.Contains(d.months[:], true) }

var (
	weekdayNames = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}
	monthNames   = []string{"", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}
)

// parser reads one text; its methods are told where in it their part begins.
type parser struct{ text string }

func (p *parser) fail(at int, hint, format string, args ...any) *Error {
	return &Error{Text: p.text, Pos: max(0, min(at, len(p.text))), Msg: fmt.Sprintf(format, args...), Hint: hint}
}

const windowHint = `write it as "Mon-Fri 08:00-19:00", "22:00-06:00" or "Sun 22:00 - Fri 19:00"`

// parseLine reads the windows of a text, separated by , or ;, and the zone that
// may follow the last.
func parseLine(text string, zone *time.Location) ([]window, *time.Location, error) {
	p := &parser{text: text}
	body := text
	if i := strings.LastIndexAny(strings.TrimRight(text, " \t"), " \t"); i >= 0 {
		if name := strings.TrimSpace(text[i:]); looksLikeZone(name) {
			z, err := LoadZone(name)
			if err != nil {
				msg, hint := "not a zone", ""
				if ze, ok := err.(*Error); ok { //nolint:errorlint // made just above
					msg, hint = fmt.Sprintf("%q %s", name, ze.Msg), ze.Hint
				}
				return nil, nil, p.fail(strings.LastIndex(text, name), hint, "%s", msg)
			}
			zone, body = z, text[:i]
		}
	}
	var windows []window
	for start := 0; start <= len(body); {
		end := start
		for end < len(body) && body[end] != ',' && body[end] != ';' {
			end++
		}
		w, err := p.window(body[start:end], start)
		if err != nil {
			return nil, nil, err
		}
		windows = append(windows, w)
		start = end + 1
	}
	return windows, zone, nil
}

// looksLikeZone tells a zone from a time at the end of a line: it has a letter
// and no digit before a colon or minus.
func looksLikeZone(s string) bool {
	if s == "" || s == "-" || strings.ContainsAny(s, ":#") {
		return false
	}
	c := s[0]
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	return letter && (strings.Contains(s, "/") || !isDays(s))
}

// isDays reports whether a word begins like a weekday or month.
func isDays(s string) bool {
	if len(s) < 3 {
		return s == "L"
	}
	_, wd := name3(s, weekdayNames)
	_, mo := name3(s, monthNames)
	rest := s[3:]
	return (wd || mo) && (rest == "" || rest[0] == '-' || rest[0] == '+' || rest[0] == '#' || rest == "L" || wd && isDayName(s))
}

func isDayName(s string) bool {
	_, ok := fullName(s)
	return ok
}

func fullName(s string) (int, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(s, d.String()) {
			return int(d), true
		}
	}
	return 0, false
}

func name3(s string, names []string) (int, bool) {
	if len(s) < 3 {
		return 0, false
	}
	for i, n := range names {
		if n != "" && strings.EqualFold(n, s[:3]) {
			return i, true
		}
	}
	return 0, false
}

// window reads one window; at is where it begins in the whole text.
func (p *parser) window(s string, at int) (window, error) {
	trimmed := strings.TrimLeft(s, " \t_")
	at += len(s) - len(trimmed)
	s = strings.TrimRight(trimmed, " \t_")
	if s == "" {
		return window{}, p.fail(at, windowHint, "a window is empty")
	}
	if w, ok, err := p.spanWindow(s, at); ok || err != nil {
		return w, err
	}
	dayPart, timePart, timeAt := "", s, at
	if i := strings.LastIndexAny(s, " \t_"); i >= 0 {
		dayPart, timePart, timeAt = strings.TrimRight(s[:i], " \t_"), s[i+1:], at+i+1
	}
	from, to, err := p.times(timePart, timeAt)
	if err != nil {
		return window{}, err
	}
	if to <= from {
		to += 1440
	}
	w := window{from: from, to: to}
	if dayPart != "" {
		if w.days, err = p.days(dayPart, at); err != nil {
			return window{}, err
		}
	}
	return w, nil
}

// spanWindow reads "Sun 22:00 - Fri 19:00".
func (p *parser) spanWindow(s string, at int) (window, bool, error) {
	i := strings.Index(s, " - ")
	if i < 0 {
		return window{}, false, nil
	}
	left, right := s[:i], s[i+3:]
	rightAt := at + i + 3
	fromDay, from, err := p.dayTime(left, at)
	if err != nil {
		return window{}, true, err
	}
	toDay, to, err := p.dayTime(right, rightAt)
	if err != nil {
		return window{}, true, err
	}
	length := (toDay-fromDay+7)%7*1440 + to
	if length <= from {
		length += 7 * 1440
	}
	w := window{from: from, to: length, span: true}
	w.days.week[fromDay], w.days.some = true, true
	return w, true, nil
}

func (p *parser) dayTime(s string, at int) (weekday, minutes int, err error) {
	name, clock, ok := strings.Cut(strings.TrimSpace(s), " ")
	at += strings.Index(s, name)
	wd, isDay := name3(name, weekdayNames)
	if !ok || !isDay || len(name) > 3 && !isDayName(name) {
		return 0, 0, p.fail(at, `write it as "Sun 22:00 - Fri 19:00"`, "%q is not a weekday and a time", s)
	}
	minutes, err = p.clock(strings.TrimSpace(clock), at+len(name)+1)
	return wd, minutes, err
}

func (p *parser) times(s string, at int) (from, to int, err error) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, p.fail(at, windowHint, "%q is not a time from-to", s)
	}
	if from, err = p.clock(a, at); err != nil {
		return 0, 0, err
	}
	if to, err = p.clock(b, at+len(a)+1); err != nil {
		return 0, 0, err
	}
	if from == 1440 {
		return 0, 0, p.fail(at, "a window that begins at midnight begins at 00:00", "a window cannot begin at 24:00")
	}
	if from == to {
		return 0, 0, p.fail(at, `for the whole day write "00:00-24:00"`, "window %q has no minutes", s)
	}
	return from, to, nil
}

// clock reads HH:MM, 00:00 to 24:00.
func (p *parser) clock(s string, at int) (int, error) {
	h, m, ok := strings.Cut(s, ":")
	hour, errH := strconv.Atoi(h)
	minute, errM := strconv.Atoi(m)
	switch {
	case !ok || errH != nil || errM != nil || len(m) != 2 || len(h) > 2 || len(h) == 0 || h[0] == '+' || h[0] == '-' || m[0] == '+' || m[0] == '-':
		return 0, p.fail(at, "write times as HH:MM, from 00:00 to 24:00", "%q is not a time of day", s)
	case hour > 24 || minute > 59 || hour == 24 && minute > 0:
		return 0, p.fail(at, "write times as HH:MM, from 00:00 to 24:00", "there is no %q in a day", s)
	}
	return hour*60 + minute, nil
}

const daysHint = `write days as Mon-Fri, Mon+Wed, Mon#1, FriL, 1-15, L, "Jan-Mar 1-15" or 2026-12-24..2027-01-01`

// days reads the days of a window.
func (p *parser) days(s string, at int) (days, error) {
	d := days{some: true}
	if from, to, ok := strings.Cut(s, ".."); ok || isDate(s) {
		if !ok {
			to = from
		}
		return p.dates(from, to, at)
	}
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == '_' })
	for n, w := range words {
		wordAt := at + strings.Index(s, w)
		for _, item := range strings.Split(w, "+") {
			itemAt := wordAt + strings.Index(w, item)
			if err := p.dayItem(&d, item, itemAt, n); err != nil {
				return days{}, err
			}
		}
	}
	if len(d.dom) > 0 && (d.week != [7]bool{} || len(d.nth) > 0) {
		return days{}, p.fail(at, daysHint, "%q mixes weekdays and days of the month", s)
	}
	return d, nil
}

func isDate(s string) bool {
	_, err := time.Parse("2006-01-02", s)
	return err == nil
}

func (p *parser) dates(from, to string, at int) (days, error) {
	a, err := time.Parse("2006-01-02", from)
	if err != nil {
		return days{}, p.fail(at, "write dates as 2026-12-24..2027-01-01", "%q is not a date", from)
	}
	b, err := time.Parse("2006-01-02", to)
	if err != nil {
		return days{}, p.fail(at+len(from)+2, "write dates as 2026-12-24..2027-01-01", "%q is not a date", to)
	}
	if b.Before(a) {
		return days{}, p.fail(at, "", "the range ends on %s, before it begins", to)
	}
	return days{some: true, dates: [2]time.Time{a, b}}, nil
}

func (p *parser) dayItem(d *days, item string, at, word int) error {
	if item == "" {
		return p.fail(at, daysHint, "a day is missing")
	}
	if wd, ok := name3(item, weekdayNames); ok {
		rest := item[3:]
		if full, isFull := fullName(strings.SplitN(item, "-", 2)[0]); isFull {
			rest = item[len(time.Weekday(full).String()):]
		}
		switch {
		case rest == "":
			d.week[wd] = true
			return nil
		case rest == "L" || rest == "l":
			d.nth = append(d.nth, nth{time.Weekday(wd), -1})
			return nil
		case rest[0] == '#':
			n, err := strconv.Atoi(rest[1:])
			if err != nil || n < 1 || n > 5 {
				return p.fail(at+len(item)-len(rest), "Mon#1 is the first Monday of a month; #1 to #5", "%q is not the number of a weekday in a month", rest)
			}
			d.nth = append(d.nth, nth{time.Weekday(wd), n})
			return nil
		case rest[0] == '-':
			end := rest[1:]
			last, ok := name3(end, weekdayNames)
			if !ok || len(end) > 3 && !isDayName(end) {
				return p.fail(at+len(item)-len(end), daysHint, "%q is not a weekday", end)
			}
			for x := wd; ; x = (x + 1) % 7 {
				d.week[x] = true
				if x == last {
					return nil
				}
			}
		}
		return p.fail(at, daysHint, "%q is not a day", item)
	}
	if mo, ok := name3(item, monthNames); ok && word == 0 {
		rest := item[3:]
		last := mo
		if rest != "" {
			if last, ok = name3(strings.TrimPrefix(rest, "-"), monthNames); rest[0] != '-' || !ok || len(rest) != 4 {
				return p.fail(at, daysHint, "%q is not a month or a range of months", item)
			}
		}
		for x := mo; ; x = x%12 + 1 {
			d.months[x] = true
			if x == last {
				return nil
			}
		}
	}
	a, b, ranged := strings.Cut(item, "-")
	if !ranged {
		b = a
	}
	from, err := p.dayOfMonth(a, at)
	if err != nil {
		return err
	}
	to, err := p.dayOfMonth(b, at+len(item)-len(b))
	if err != nil {
		return err
	}
	if to < from {
		return p.fail(at, "", "the range %q ends before it begins", item)
	}
	d.dom = append(d.dom, domRange{from, to})
	return nil
}

func (p *parser) dayOfMonth(s string, at int) (int, error) {
	if s == "L" || s == "l" {
		return lastDay, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 31 || s[0] == '+' {
		return 0, p.fail(at, daysHint, "%q is not a day", s)
	}
	return n, nil
}

// String prints a window so that it parses back equal.
func (w window) String() string {
	if w.span {
		fromDay := slices.Index(w.days.week[:], true)
		toDay, to := (fromDay+w.to/1440)%7, w.to%1440
		return fmt.Sprintf("%s %s - %s %s", weekdayNames[fromDay], hhmm(w.from), weekdayNames[toDay], hhmm(to))
	}
	to := w.to
	if to > 1440 {
		to -= 1440
	}
	s := hhmm(w.from) + "-" + hhmm(to)
	if d := w.days.String(); d != "" {
		s = d + " " + s
	}
	return s
}

func hhmm(m int) string { return fmt.Sprintf("%02d:%02d", m/60, m%60) }

func (d days) String() string {
	switch {
	case !d.some:
		return ""
	case !d.dates[0].IsZero():
		return d.dates[0].Format("2006-01-02") + ".." + d.dates[1].Format("2006-01-02")
	}
	var words, items []string
	if d.hasMonths() {
		var months []string
		for m := 1; m <= 12; m++ {
			if d.months[m] {
				months = append(months, monthNames[m])
			}
		}
		words = append(words, strings.Join(months, "+"))
	}
	items = append(items, d.weekRanges()...)
	for _, n := range d.nth {
		if n.n < 0 {
			items = append(items, weekdayNames[n.weekday]+"L")
		} else {
			items = append(items, fmt.Sprintf("%s#%d", weekdayNames[n.weekday], n.n))
		}
	}
	for _, r := range d.dom {
		switch {
		case r.from == r.to:
			items = append(items, domName(r.from))
		default:
			items = append(items, domName(r.from)+"-"+domName(r.to))
		}
	}
	if len(items) > 0 {
		words = append(words, strings.Join(items, "+"))
	}
	return strings.Join(words, " ")
}

// weekRanges prints weekdays from Monday on, three or more in a row as a range.
func (d days) weekRanges() (items []string) {
	order := []int{1, 2, 3, 4, 5, 6, 0}
	for i := 0; i < len(order); i++ {
		last := i
		for last < len(order) && d.week[order[last]] {
			last++
		}
		if last-i >= 3 {
			items = append(items, weekdayNames[order[i]]+"-"+weekdayNames[order[last-1]])
			i = last
		} else if last > i {
			items = append(items, weekdayNames[order[i]])
		}
	}
	return items
}

func domName(n int) string {
	if n == lastDay {
		return "L"
	}
	return strconv.Itoa(n)
}
