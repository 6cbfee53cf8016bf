package foreign

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// InstanceScheduler is the grammar of Instance Scheduler on AWS: schedules made of
// periods (source/app/instance_scheduler: cron, configuration, model).
const InstanceScheduler = "aws-instance-scheduler"

// awsSchedule is a schedule as its users write it.
type awsSchedule struct {
	Timezone string      `json:"timezone"`
	Periods  []awsPeriod `json:"periods"`
	Override *string     `json:"override_status"`
}

type awsPeriod struct {
	Name         string  `json:"name"`
	Begin        *string `json:"begintime"`
	End          *string `json:"endtime"`
	Weekdays     awsList `json:"weekdays"`
	Monthdays    awsList `json:"monthdays"`
	Months       awsList `json:"months"`
	InstanceType string  `json:"instancetype"`
}

// awsList is a list of texts, or one text; nil: it is not there.
type awsList []string

func (l *awsList) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		if string(data) != "null" {
			*l = awsList{one}
		}
		return nil
	}
	var many []any
	if err := json.Unmarshal(data, &many); err != nil {
		return errors.New("days and months are a list of texts")
	}
	*l = awsList{}
	for _, v := range many {
		*l = append(*l, fmt.Sprint(v))
	}
	return nil
}

// period is a checked period.
type period struct {
	begin, end  int // minutes after midnight; -1: not there
	weekdays    field
	monthdays   field
	months      field
	name        string
	hasInstance bool
}

// field is a union of expressions; nil: all values.
type field []expr

// expr is one expression of a field.
type expr struct {
	kind       exprKind
	start, end int // end lastValue: the last of the domain
	interval   int
	n          int // of an nth weekday
}

type exprKind int

const (
	exprAll exprKind = iota
	exprRange
	exprLast
	exprNth
	exprLastWeekday
	exprNearest
)

const lastValue = -1

// fieldKind says which field is read: its names and what may stand in it.
type fieldKind struct {
	name        string
	names       []string
	first, last int
}

var (
	awsWeekdays  = fieldKind{"weekdays", []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}, 0, 6}
	awsMonths    = fieldKind{"months", []string{"", "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}, 1, 12}
	awsMonthdays = fieldKind{"monthdays", nil, 1, 31}
)

func parseField(k fieldKind, list awsList) (field, error) {
	if list == nil {
		return nil, nil
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s is empty", k.name)
	}
	f := field{}
	for _, item := range list {
		for text := range strings.SplitSeq(item, ",") {
			e, err := parseExpr(k, strings.ToLower(strings.TrimSpace(text)))
			if err == nil {
				err = k.check(e)
			}
			if err != nil {
				return nil, fmt.Errorf("%s %q: %w", k.name, item, err)
			}
			f = append(f, e)
		}
	}
	return f, nil
}

var (
	errAWSEndless = errors.New("a step of 0 is taken, but Instance Scheduler never ends counting with it")

	errAWSForm = errors.New("it cannot be read as a value, range, step, L, nth or last weekday, or nearest weekday")
	// The last digit alone is the interval: "1/12" is every second, as there.
	awsStep = regexp.MustCompile(`^(.+)/.*(\d).*$`)
)

func parseExpr(k fieldKind, text string) (expr, error) {
	switch {
	case text == "*" || text == "?":
		return expr{kind: exprAll}, nil
	case text == "l":
		return expr{kind: exprLast}, nil
	}
	if v, ok := k.value(text); ok {
		return expr{kind: exprRange, start: v, end: v, interval: 1}, nil
	}
	if m := awsStep.FindStringSubmatch(text); m != nil {
		interval, _ := strconv.Atoi(m[2])
		if e, ok := k.rangeOf(m[1]); ok {
			e.interval = interval
			return e, nil
		}
		if v, ok := k.value(m[1]); ok {
			return expr{kind: exprRange, start: v, end: lastValue, interval: interval}, nil
		}
	}
	if e, ok := k.rangeOf(text); ok {
		return e, nil
	}
	if day, number, ok := cutLast(text, "#"); ok {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			if v, ok := k.value(day); ok {
				return expr{kind: exprNth, start: v, n: int(n)}, nil
			}
		}
	}
	if day, ok := strings.CutSuffix(text, "l"); ok {
		if v, ok := k.value(day); ok {
			return expr{kind: exprLastWeekday, start: v}, nil
		}
	}
	if day, ok := strings.CutSuffix(text, "w"); ok {
		if v, err := strconv.ParseUint(day, 10, 16); err == nil {
			return expr{kind: exprNearest, start: int(v)}, nil
		}
	}
	return expr{}, errAWSForm
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// value reads a number or a name, in full or in three letters.
func (k fieldKind) value(text string) (int, bool) {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil {
		return int(n), true
	}
	for i, name := range k.names {
		if name != "" && (text == name || text == name[:3]) {
			return i, true
		}
	}
	return 0, false
}

// rangeOf reads a-b; b may be L.
func (k fieldKind) rangeOf(text string) (expr, bool) {
	a, b, ok := cutLast(text, "-")
	if !ok || a == "" || b == "" {
		return expr{}, false
	}
	start, ok := k.value(strings.TrimSpace(a))
	if !ok {
		return expr{}, false
	}
	if b = strings.TrimSpace(b); b == "l" {
		return expr{kind: exprRange, start: start, end: lastValue, interval: 1, n: 1}, true // n marks a written L
	}
	end, ok := k.value(b)
	return expr{kind: exprRange, start: start, end: end, interval: 1}, ok
}

// check refuses what Instance Scheduler refuses in a field.
func (k fieldKind) check(e expr) error {
	in := func(v int) error {
		if v < k.first || v > k.last {
			return fmt.Errorf("%d is not from %d to %d", v, k.first, k.last)
		}
		return nil
	}
	monthday, weekday := k.names == nil, k.first == 0
	switch e.kind {
	case exprLast:
		if !monthday && !weekday {
			return errors.New("the last day (L) means nothing here")
		}
	case exprRange:
		if e.end == lastValue && e.n == 1 && !monthday {
			return errors.New("a range cannot end in L here")
		}
		if err := in(e.start); err != nil {
			return err
		}
		if e.end != lastValue {
			if err := in(e.end); err != nil {
				return err
			}
			if monthday && e.start > e.end {
				return errors.New("days of the month do not wrap")
			}
		}
	case exprNearest:
		if !monthday {
			return errors.New("the nearest weekday goes with days of the month only")
		}
		return in(e.start)
	case exprNth:
		if !weekday {
			return errors.New("an nth weekday goes with weekdays only")
		}
		if e.n < 1 || e.n > 5 {
			return fmt.Errorf("there is no %dth weekday in a month", e.n)
		}
		return in(e.start)
	case exprLastWeekday:
		if !weekday {
			return errors.New("a last weekday goes with weekdays only")
		}
		return in(e.start)
	}
	return nil
}

// has reports whether a value is in a field whose domain ends at last on a date.
func (f field) has(value, first, last int, wall time.Time) (bool, error) {
	if f == nil {
		return true, nil
	}
	for _, e := range f {
		ok, err := e.has(value, first, last, wall)
		if err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func (e expr) has(value, first, last int, wall time.Time) (bool, error) {
	daysInMonth := time.Date(wall.Year(), wall.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	switch e.kind {
	case exprAll:
		return true, nil
	case exprLast:
		return value == last, nil
	case exprNth:
		return monday(wall) == e.start && (wall.Day()-1)/7+1 == e.n, nil
	case exprLastWeekday:
		return monday(wall) == e.start && wall.Day()+7 > daysInMonth, nil
	case exprNearest:
		if e.start > daysInMonth {
			return false, fmt.Errorf("%s has no day %d, at which Instance Scheduler fails", wall.Month(), e.start)
		}
		return wall.Day() == nearestWeekday(wall, e.start, daysInMonth), nil
	}
	end := e.end
	if end == lastValue {
		end = last
	}
	if e.start > last {
		return false, nil
	}
	if e.interval == 0 {
		return false, errAWSEndless
	}
	wraps := e.start > end
	if wraps && e.end == lastValue {
		return false, nil
	}
	for v := e.start; wraps || v <= end; {
		if v == value {
			return true, nil
		}
		if v += e.interval; wraps && v > last {
			v, wraps = v-(last-first+1), false
		}
	}
	return false, nil
}

// nearestWeekday is the weekday nearest to a day of the month, within the month.
func nearestWeekday(wall time.Time, day, daysInMonth int) int {
	switch time.Date(wall.Year(), wall.Month(), day, 0, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if day == 1 {
			return 3
		}
		return day - 1
	case time.Sunday:
		if day == daysInMonth {
			return day - 2
		}
		return day + 1
	}
	return day
}

var awsTime = regexp.MustCompile(`^([01]?\d|2[0-3]):([0-5]\d)$`)

func parseAWSTime(text *string, what string) (int, error) {
	if text == nil || *text == "" {
		return -1, nil
	}
	m := awsTime.FindStringSubmatch(*text)
	if m == nil {
		return 0, fmt.Errorf("%s %q is not HH:MM, from 00:00 to 23:59", what, *text)
	}
	return minutesOf(m[1], m[2]), nil
}

// scheduler is a checked schedule.
type scheduler struct {
	zone     *time.Location
	periods  []period
	override string
}

func newScheduler(s awsSchedule, defaultTZ string) (*scheduler, error) {
	x := &scheduler{zone: time.UTC}
	name := s.Timezone
	if name == "" {
		name = defaultTZ
	}
	if name != "" {
		if x.zone = zoneFile(name); x.zone == nil { // by its exact name
			return nil, fmt.Errorf("timezone %q is not known", name)
		}
	}
	if s.Override != nil && *s.Override != "" {
		if x.override = strings.ToLower(*s.Override); x.override != "running" && x.override != "stopped" {
			return nil, fmt.Errorf("override_status %q is neither running nor stopped", *s.Override)
		}
	}
	if len(s.Periods) == 0 && x.override == "" {
		return nil, errors.New("a schedule needs a period")
	}
	for i, p := range s.Periods {
		checked, err := newPeriod(p)
		if err != nil {
			return nil, fmt.Errorf("period %s: %w", orNumber(p.Name, i), err)
		}
		x.periods = append(x.periods, checked)
	}
	return x, nil
}

func orNumber(name string, i int) string {
	if name == "" {
		return strconv.Itoa(i + 1)
	}
	return name
}

func newPeriod(p awsPeriod) (x period, err error) {
	x.name, x.hasInstance = p.Name, p.InstanceType != ""
	if p.Begin == nil && p.End == nil && p.Weekdays == nil && p.Monthdays == nil && p.Months == nil {
		return x, errors.New("it has none of begintime, endtime, weekdays, monthdays and months")
	}
	if x.begin, err = parseAWSTime(p.Begin, "begintime"); err != nil {
		return x, err
	}
	if x.end, err = parseAWSTime(p.End, "endtime"); err != nil {
		return x, err
	}
	if x.begin >= 0 && x.end >= 0 && x.begin > x.end {
		return x, errors.New("begintime must be before endtime")
	}
	if x.weekdays, err = parseField(awsWeekdays, p.Weekdays); err != nil {
		return x, err
	}
	if x.monthdays, err = parseField(awsMonthdays, p.Monthdays); err != nil {
		return x, err
	}
	x.months, err = parseField(awsMonths, p.Months)
	return x, err
}

// state is what a period wants at a wall time.
func (p *period) state(wall time.Time) (schedule.State, error) {
	daysInMonth := time.Date(wall.Year(), wall.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	in := true
	for _, c := range []struct {
		f                  field
		value, first, last int
	}{{p.monthdays, wall.Day(), 1, daysInMonth}, {p.months, int(wall.Month()), 1, 12}, {p.weekdays, monday(wall), 0, 6}} {
		ok, err := c.f.has(c.value, c.first, c.last, wall)
		if err != nil {
			return schedule.Stopped, err
		}
		in = in && ok // there, too, all three are asked, so that each can fail
	}
	if !in {
		return schedule.Stopped, nil
	}
	minute := wall.Hour()*60 + wall.Minute()
	switch {
	case p.begin < 0 && p.end < 0:
		return schedule.Running, nil
	case p.begin < 0 && minute >= p.end:
		return schedule.Stopped, nil
	case p.end < 0 && minute >= p.begin, p.begin >= 0 && p.end >= 0 && p.begin <= minute && minute < p.end:
		return schedule.Running, nil
	case p.begin < 0 || p.end < 0:
		return schedule.Any, nil
	}
	return schedule.Stopped, nil
}

// state is what the schedule wants: running before any before stopped. A minute
// between two running periods counts as running.
func (x *scheduler) state(t time.Time) (schedule.State, error) {
	wall := wallOf(t, x.zone)
	now, err := x.at(wall)
	if err != nil || now != schedule.Stopped || len(x.periods) < 2 {
		return now, err
	}
	before, err := x.at(wall.Add(-time.Minute))
	if err != nil {
		return now, err
	}
	after, err := x.at(wall.Add(time.Minute))
	if err == nil && before == schedule.Running && after == schedule.Running {
		return schedule.Running, nil
	}
	return now, err
}

func (x *scheduler) at(wall time.Time) (schedule.State, error) {
	if x.override != "" {
		return schedule.State(x.override), nil
	}
	best := schedule.Stopped
	for i := range x.periods {
		s, err := x.periods[i].state(wall)
		if err != nil {
			return best, err
		}
		if s == schedule.Running || s == schedule.Any && best == schedule.Stopped {
			best = s
		}
	}
	return best, nil
}

func answerAWS(q Question) (any, string, error) {
	var s awsSchedule
	if err := json.Unmarshal(q.Spec, &s); err != nil {
		return nil, "", fmt.Errorf("the spec is not {timezone, periods}: %w", err)
	}
	x, err := newScheduler(s, q.DefaultTZ)
	if err != nil {
		return nil, "", err
	}
	switch q.Edge {
	case EdgeValidate:
		return "ok", "", nil
	case EdgeState:
		state, err := x.state(q.At)
		return string(state), "", err
	case EdgeWindow:
		state, err := x.state(q.At)
		return state == schedule.Running, "", err
	}
	return nil, "", fmt.Errorf("%s knows the edges state, window and validate, not %q", InstanceScheduler, q.Edge)
}

// readAWS makes a timetable of the schedule that a tag names, among those in the
// setting schedules.
func readAWS(value string, set Settings, zone *time.Location) (schedule.Timetable, []Warning, error) {
	all, _ := set["schedules"].(map[string]any)
	raw, ok := all[value]
	if !ok {
		return nil, nil, fmt.Errorf("the settings have no schedule %q", value)
	}
	text, err := json.Marshal(raw)
	if err != nil {
		return nil, nil, err
	}
	var s awsSchedule
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, nil, fmt.Errorf("schedule %s is not {timezone, periods}: %w", value, err)
	}
	x, err := newScheduler(s, zone.String())
	if err != nil {
		return nil, nil, fmt.Errorf("schedule %s: %w", value, err)
	}
	if x.endless() {
		return nil, nil, fmt.Errorf("schedule %s: %w", value, errAWSEndless)
	}
	table := &level{zone: x.zone, text: InstanceScheduler + " " + string(text) + " " + x.zone.String(), looks: x.looks(), within: 400, at: func(t time.Time) schedule.State {
		state, err := x.state(t)
		if err != nil {
			return schedule.Any // nobody knows what it would do
		}
		return state
	}}
	return table, x.warn(), nil
}

// endless finds the step of 0.
func (x *scheduler) endless() bool {
	return slices.ContainsFunc(x.periods, func(p period) bool {
		return slices.ContainsFunc(slices.Concat(p.weekdays, p.monthdays, p.months), func(e expr) bool { return e.kind == exprRange && e.interval == 0 })
	})
}

// looks are the minutes of the day at which the state can change: those at which
// a period begins or ends, and, since a minute is bridged, those around them.
func (x *scheduler) looks() looks {
	var minutes []int
	for _, p := range x.periods {
		for _, m := range []int{0, p.begin, p.end} {
			if m >= 0 {
				minutes = append(minutes, (m+1439)%1440, m, (m+1)%1440)
			}
		}
	}
	slices.Sort(minutes)
	return looks{clocks: []clock{{x.zone, slices.Compact(minutes)}}}
}

func (x *scheduler) warn() (list []Warning) {
	if x.override != "" {
		list = append(list, Warning{Text: "override_status makes it " + x.override + " for good", Hint: "use nightshift keep, which ends by itself"})
	}
	for i, p := range x.periods {
		name := orNumber(p.name, i)
		if (p.begin < 0) != (p.end < 0) {
			list = append(list, Warning{Text: "period " + name + " has one side only: for the rest of the day it has no voice"})
		}
		if p.hasInstance {
			list = append(list, Warning{Text: "period " + name + " sets the instance type, which is not carried over", Hint: "Civo resizes upwards only"})
		}
		if p.begin >= 0 && p.begin == p.end {
			list = append(list, Warning{Text: "period " + name + " is empty: it begins when it ends"})
		}
		if slices.ContainsFunc(p.monthdays, func(e expr) bool { return e.kind == exprNearest && e.start > 28 }) {
			list = append(list, Warning{Text: "period " + name + " fails in months without that day"})
		}
	}
	return list
}
