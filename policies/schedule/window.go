package schedule

import (
	"errors"
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

func (d *days) match(c day) bool {
	if !d.some {
		return true
	}
	if !d.dates[0].IsZero() {
		return !c.Before(d.dates[0]) && !c.After(d.dates[1])
	}
	byWeekday := d.week != [7]bool{} || len(d.nth) > 0
	if byWeekday && !d.hasWeekday(c.Weekday()) {
		return false // most days of an nth weekday: without looking at the calendar
	}
	y, m, dom := c.Date()
	if d.hasMonths() && !d.months[m] {
		return false
	}
	if byWeekday && d.week[c.Weekday()] || !byWeekday && len(d.dom) == 0 {
		return true
	}
	last := time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
	if byWeekday {
		return slices.ContainsFunc(d.nth, func(n nth) bool {
			return n.weekday == c.Weekday() && (n.n > 0 && (dom-1)/7+1 == n.n || n.n < 0 && dom+7 > last)
		})
	}
	return slices.ContainsFunc(d.dom, func(r domRange) bool { return r.day(r.from, last) <= dom && dom <= r.day(r.to, last) })
}

// hasWeekday reports whether some such weekday is named.
func (d *days) hasWeekday(wd time.Weekday) bool {
	return d.week[wd] || slices.ContainsFunc(d.nth, func(n nth) bool { return n.weekday == wd })
}

// weekly reports whether each week is like the other.
func (d days) weekly() bool {
	return !d.hasMonths() && len(d.nth) == 0 && len(d.dom) == 0 && d.dates[0].IsZero()
}

func (d *days) hasMonths() bool { return slices.Contains(d.months[:], true) }

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

// blank is what may stand between words; _ does so in tags, which have no blanks.
const blank = " \t\r\n_"

var blanks = strings.NewReplacer("\t", " ", "\r", " ", "\n", " ", "_", " ")

// parseLine reads the windows of a text, separated by , or ;, and the zone that
// may follow the last; nil: none is named.
func parseLine(text string) (windows []window, zone *time.Location, err error) {
	p := &parser{text: text}
	body, name := cutZone(text)
	if name != "" {
		if zone, err = LoadZone(name); err != nil {
			var fault *Error
			if !errors.As(err, &fault) {
				return nil, nil, err
			}
			return nil, nil, p.fail(strings.LastIndex(text, name), fault.Hint, "%q %s", name, fault.Msg)
		}
	}
	body = blanks.Replace(body)
	for start := 0; start <= len(body); {
		end := len(body)
		if i := strings.IndexAny(body[start:], ",;"); i >= 0 {
			end = start + i
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

// cutZone cuts off the zone that may follow the last time of a line.
func cutZone(text string) (body, zone string) {
	end := strings.LastIndexByte(text, ':') + 1
	if end == 0 { // no time at all, which is the worse fault; let it be found
		slash := max(0, strings.IndexByte(text, '/'))
		end = max(0, strings.LastIndexAny(text[:slash], blank))
	}
	rest := strings.TrimLeft(text[end:], "0123456789")
	zone = strings.Trim(rest, blank)
	if strings.HasPrefix(rest, zone) || strings.ContainsAny(zone, ",;") {
		return text, ""
	}
	return text[:len(text)-len(rest)], zone
}

// cutName cuts a weekday or month, in three letters or in full, off a text.
func cutName(s string, names []string, full func(int) string) (n int, rest string, ok bool) {
	for i, name := range names {
		for _, form := range []string{full(i), name} {
			if name != "" && len(s) >= len(form) && strings.EqualFold(s[:len(form)], form) {
				return i, s[len(form):], true
			}
		}
	}
	return 0, s, false
}

func cutWeekday(s string) (n int, rest string, ok bool) {
	return cutName(s, weekdayNames, func(i int) string { return time.Weekday(i).String() })
}

func cutMonth(s string) (n int, rest string, ok bool) {
	return cutName(s, monthNames, func(i int) string { return time.Month(i).String() })
}

// window reads one window; at is where it begins in the whole text.
func (p *parser) window(s string, at int) (window, error) {
	trimmed := strings.TrimLeft(s, " ")
	at += len(s) - len(trimmed)
	s = strings.TrimRight(trimmed, " ")
	if s == "" {
		return window{}, p.fail(at, windowHint, "a window is empty")
	}
	if left, right, ok := strings.Cut(s, " - "); ok {
		w, err := p.spanWindow(left, right, at)
		if err != nil {
			err = p.almost(s, err)
		}
		return w, err
	}
	dayPart, timePart, timeAt := "", s, at
	if i := strings.LastIndexByte(s, ' '); i >= 0 {
		dayPart, timePart, timeAt = strings.TrimRight(s[:i], " "), s[i+1:], at+i+1
	}
	from, to, err := p.times(timePart, timeAt)
	if err != nil {
		return window{}, p.almost(s, err)
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

// almost puts into an error what a window that is almost right should look like.
func (p *parser) almost(s string, err error) error {
	var fault *Error
	if !errors.As(err, &fault) {
		return err
	}
	left, right, _ := strings.Cut(s, " - ")
	_, days := p.days(strings.TrimRight(s, " "), 0)
	_, notLast := p.clock(lastWord(s), 0)
	_, notTime := p.clock(strings.TrimLeft(right, " "), 0)
	_, month, isMonth := cutMonth(s)
	switch _, isDate := date(left); {
	case strings.ContainsAny(s, "–—"):
		fault.Hint = "write a plain minus between times and days"
	case days == nil && strings.Trim(s, "0123456789-") != "": // 9-17 are hours that lack their minutes
		fault.Hint = fmt.Sprintf(`whole days are "%s 00:00-24:00"; join days with +, as in Mon+Tue`, s)
	case right != "" && notTime == nil, strings.HasSuffix(strings.TrimRight(strings.TrimSuffix(s, lastWord(s)), " "), "-"):
		fault.Hint = `write "Mon-Fri 08:00-19:00", without blanks around the minus`
	case isDate:
		fault.Hint = datesHint
	case right != "" && isMonth && month != "":
		fault.Hint = `write a window for each month: "Dec 24-L 08:00-19:00, Jan 1-2 08:00-19:00"`
	case strings.Count(s, ":") == 2 && notLast == nil:
		fault.Hint = `with blanks around the minus: "Sun 22:00 - Fri 19:00", in a tag "Sun_22:00_-_Fri_19:00"`
	}
	return fault
}

func lastWord(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }

// spanWindow reads "Sun 22:00 - Fri 19:00", cut at the minus.
func (p *parser) spanWindow(left, right string, at int) (window, error) {
	fromDay, from, err := p.dayTime(left, at)
	if err != nil {
		return window{}, err
	}
	toDay, to, err := p.dayTime(right, at+len(left)+len(" - "))
	if err != nil {
		return window{}, err
	}
	if from == 1440 {
		fromDay, from = (fromDay+1)%7, 0
	}
	to += (toDay - fromDay + 7) % 7 * 1440
	if to <= from {
		to += 7 * 1440
	}
	w := window{from: from, to: to, span: true}
	w.days.week[fromDay], w.days.some = true, true
	return w, nil
}

func (p *parser) dayTime(s string, at int) (weekday, minutes int, err error) {
	trimmed := strings.TrimLeft(s, " ")
	at += len(s) - len(trimmed)
	s = strings.TrimRight(trimmed, " ")
	i := strings.LastIndexByte(s, ' ')
	wd, rest, ok := cutWeekday(s[:max(i, 0)])
	if !ok || strings.TrimRight(rest, " ") != "" {
		return 0, 0, p.fail(at, `write it as "Sun 22:00 - Fri 19:00"`, "%q is not a weekday and a time", s)
	}
	minutes, err = p.clock(s[i+1:], at+i+1)
	return wd, minutes, err
}

func (p *parser) times(s string, at int) (from, to int, err error) {
	a, b, ok := strings.Cut(s, "-")
	if strings.Contains(s, "/") {
		return 0, 0, p.fail(at, "a zone stands once, at the end of the line, and holds for all of it", "%q is not a time from-to", s)
	}
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
	return from, to, nil
}

// clock reads HH:MM, 00:00 to 24:00.
func (p *parser) clock(s string, at int) (int, error) {
	h, m, _ := strings.Cut(s, ":")
	hour, okH := digits(h)
	minute, okM := digits(m)
	switch {
	case !okH || !okM || len(h) > 2 || len(m) != 2:
		return 0, p.fail(at, "write times as HH:MM, from 00:00 to 24:00", "%q is not a time of day", s)
	case hour > 24 || minute > 59 || hour == 24 && minute > 0:
		return 0, p.fail(at, "write times as HH:MM, from 00:00 to 24:00", "there is no %q in a day", s)
	}
	return hour*60 + minute, nil
}

// digits reads a number without a sign; strconv.Atoi would take +5.
func digits(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil
}

const daysHint = `write days as Mon-Fri, Mon+Wed, Mon#1, FriL, 1-15, L, "Jan-Mar 1-15" or 2026-12-24..2027-01-01`

// days reads the days of a window: dates, or months, or a list of weekdays and
// the like, or both of the last.
func (p *parser) days(s string, at int) (days, error) {
	if from, to, ok := strings.Cut(s, ".."); ok {
		return p.dates(from, to, at)
	}
	if _, ok := date(s); ok {
		return p.dates(s, s, at)
	}
	d := days{some: true}
	first, second, two := strings.Cut(s, " ")
	secondAt := at + len(s)
	if two {
		second = strings.TrimLeft(second, " ")
		secondAt -= len(second)
	}
	if _, _, ok := cutMonth(first); !ok {
		if _, _, ok := cutMonth(second); ok {
			return days{}, p.fail(secondAt, `write months before the days: "Jan-Mar 1-15"`, "%q after %q", second, first)
		}
		if two {
			return days{}, p.fail(secondAt, "join days with +, as in Mon+Wed", "%q after %q", second, first)
		}
		return d, p.list(first, at, d.addDays)
	}
	if err := p.list(first, at, d.addMonths); err != nil {
		return days{}, err
	}
	if !two {
		return d, nil
	}
	if err := p.list(second, secondAt, d.addDays); err != nil {
		return days{}, err
	}
	if d.never() {
		return days{}, p.fail(at, "", "%q never comes: no month it names has such a day", s)
	}
	return d, nil
}

// list reads items that are joined by +.
func (p *parser) list(s string, at int, add func(p *parser, item string, at int) error) error {
	for item := range strings.SplitSeq(s, "+") {
		if item == "" {
			return p.fail(at, daysHint, "a day is missing")
		}
		if err := add(p, item, at); err != nil {
			return err
		}
		at += len(item) + 1
	}
	return nil
}

// never finds days like 30 February. 2024 has all days of the month that there
// are, and each nth weekday comes in some year.
func (d days) never() bool {
	for n := range 366 {
		if d.match(day{time.Date(2024, 1, 1+n, 0, 0, 0, 0, time.UTC)}) {
			return false
		}
	}
	return len(d.dom) > 0
}

const datesHint = "write dates as 2026-12-24..2027-01-01"

func (p *parser) dates(from, to string, at int) (days, error) {
	a, ok := date(from)
	if !ok {
		return days{}, p.fail(at, datesHint, "%q is not a date", from)
	}
	b, ok := date(to)
	if !ok {
		return days{}, p.fail(at+len(from)+len(".."), datesHint, "%q is not a date", to)
	}
	if b.Before(a) {
		return days{}, p.fail(at, datesHint, "the range ends on %s, before it begins", to)
	}
	return days{some: true, dates: [2]time.Time{a, b}}, nil
}

func date(s string) (time.Time, bool) {
	t, err := time.Parse(time.DateOnly, s)
	return t, err == nil && t.Year() >= 1970 // year 0024 is a slip
}

// addMonths adds "Jan" or "Nov-Feb".
func (d *days) addMonths(p *parser, item string, at int) error {
	first, rest, ok := cutMonth(item)
	last := first
	if ok && rest != "" {
		last, rest, ok = cutMonth(strings.TrimPrefix(rest, "-"))
		ok = ok && rest == "" && strings.Contains(item, "-")
	}
	if !ok {
		return p.fail(at, `write months before the days: "Jan-Mar 1-15", "Jan+Jul Mon#1"`, "%q is not a month or a range of months", item)
	}
	for m := first; ; m = m%12 + 1 {
		d.months[m] = true
		if m == last {
			return nil
		}
	}
}

// addDays adds "Mon", "Fri-Mon", "Mon#1", "FriL", "15", "1-15" or "L".
func (d *days) addDays(p *parser, item string, at int) error {
	weekday, rest, ok := cutWeekday(item)
	if ok {
		if err := d.addWeekday(p, weekday, item, rest, at); err != nil {
			return err
		}
	} else if err := d.addDaysOfMonth(p, item, at); err != nil {
		return err
	}
	if len(d.dom) > 0 && (d.week != [7]bool{} || len(d.nth) > 0) {
		return p.fail(at, "write two windows: \"Mon 08:00-19:00, 1-15 08:00-19:00\"", "%q mixes weekdays and days of the month", item)
	}
	return nil
}

// addWeekday adds an item that begins with a weekday; rest is what follows it.
func (d *days) addWeekday(p *parser, weekday int, item, rest string, at int) error {
	restAt := at + len(item) - len(rest)
	switch {
	case rest == "":
		d.week[weekday] = true
	case rest == "L" || rest == "l":
		d.nth = append(d.nth, nth{time.Weekday(weekday), -1})
	case rest[0] == '#':
		n, ok := digits(rest[1:])
		if !ok || n < 1 || n > 5 {
			return p.fail(restAt, "Mon#1 is the first Monday of a month; #1 to #5", "%q is not the number of a weekday in a month", rest)
		}
		d.nth = append(d.nth, nth{time.Weekday(weekday), n})
	case rest[0] == '-':
		last, more, ok := cutWeekday(rest[1:])
		if !ok || more != "" {
			return p.fail(restAt+1, daysHint, "%q is not a weekday", rest[1:])
		}
		for x := weekday; ; x = (x + 1) % 7 {
			d.week[x] = true
			if x == last {
				return nil
			}
		}
	default:
		return p.fail(at, daysHint, "%q is not a day", item)
	}
	return nil
}

func (d *days) addDaysOfMonth(p *parser, item string, at int) error {
	a, b, ranged := strings.Cut(item, "-")
	if !ranged {
		b = a
	}
	from, ok := dayOfMonth(a)
	if !ok {
		return p.fail(at, daysHint, "%q is not a day", a)
	}
	to, ok := dayOfMonth(b)
	if !ok {
		return p.fail(at+len(item)-len(b), daysHint, "%q is not a day", b)
	}
	if to < from {
		return p.fail(at, fmt.Sprintf("over the end of a month write %s-L+1-%s", a, b), "the range %q ends before it begins", item)
	}
	d.dom = append(d.dom, domRange{from, to})
	return nil
}

func dayOfMonth(s string) (int, bool) {
	if s == "L" || s == "l" {
		return lastDay, true
	}
	n, ok := digits(s)
	return n, ok && n >= 1 && n <= 31
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
