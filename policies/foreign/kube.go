package foreign

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// KubeDownscaler is the grammar of kube-downscaler's time specs (py-kube-downscaler,
// kube_downscaler/helper.py).
const KubeDownscaler = "kube-downscaler"

// The forms of a spec, as there: a zone is letters, / and _ only.
var (
	kubeWindow    = regexp.MustCompile(`^([a-zA-Z]{3})-([a-zA-Z]{3}) (\d\d):(\d\d)-(\d\d):(\d\d) ([a-zA-Z/_]+)$`)
	kubeDaysTime  = regexp.MustCompile(`^([a-zA-Z]{3})-([a-zA-Z]{3}) (\d\d):(\d\d) ([a-zA-Z/_]+)$`)
	kubeTime      = regexp.MustCompile(`^(\d\d):(\d\d) ([a-zA-Z/_]+)$`)
	kubeNoZone    = regexp.MustCompile(`\d\d$`)
	kubeAbsolute  = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[-+]\d{2}:\d{2})-(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[-+]\d{2}:\d{2})$`)
	kubeWeekdays  = []string{"MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"}
	kubeNoMinutes = 30 // a time alone is a period of so many minutes
)

// kubeSpan is one part of a spec.
type kubeSpan struct {
	absolute bool
	from, to time.Time // absolute: both included

	days       [7]bool
	begin, end int // minutes after midnight
	zone       *time.Location
}

// has reports whether a part covers an instant. Recurring parts are compared with
// the wall clock of t read as UTC: there, t is always in UTC.
func (s *kubeSpan) has(t time.Time) bool {
	if s.absolute {
		return !t.Before(s.from) && !t.After(s.to)
	}
	y, m, d := t.Date()
	asUTC := time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	wall := wallOf(asUTC, s.zone)
	minute := wall.Hour()*60 + wall.Minute()
	return s.days[monday(wall)] && s.begin <= minute && minute < s.end
}

// kubeMatches goes through the parts as kube-downscaler does: the first that
// matches answers, so that a fault behind it is never seen.
func kubeMatches(spec string, at time.Time, env map[string]any) (bool, error) {
	switch strings.ToLower(spec) {
	case "always":
		return true, nil
	case "never":
		return false, nil
	}
	for part := range strings.SplitSeq(spec, ",") {
		span, err := kubePart(strings.TrimSpace(part), env)
		if err != nil {
			return false, err
		}
		if span.has(at) {
			return true, nil
		}
	}
	return false, nil
}

func kubePart(text string, env map[string]any) (*kubeSpan, error) {
	if m := kubeAbsolute.FindStringSubmatch(text); m != nil {
		from, err := isoTime(m[1])
		if err != nil {
			return nil, err
		}
		to, err := isoTime(m[2])
		return &kubeSpan{absolute: true, from: from, to: to}, err
	}
	if kubeNoZone.MatchString(text) {
		zone, ok := env["TZ"].(string)
		if !ok {
			return nil, errors.New("the spec names no zone, and TZ is not set")
		}
		text += " " + zone
	}
	if kubeTime.MatchString(text) {
		text = "Mon-Sun " + text
	}
	if m := kubeDaysTime.FindStringSubmatch(text); m != nil {
		hour, _ := strconv.Atoi(m[3])
		minute, _ := strconv.Atoi(m[4])
		if hour > 23 || minute > 59 {
			return nil, fmt.Errorf("there is no time %s:%s", m[3], m[4])
		}
		end := hour*60 + minute + kubeNoMinutes
		if hour*60+minute >= 24*60-kubeNoMinutes {
			end = 23*60 + 59
		}
		text = fmt.Sprintf("%s-%s %s:%s-%02d:%02d %s", m[1], m[2], m[3], m[4], end/60, end%60, m[5])
	}
	m := kubeWindow.FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf(`%q is not of the form "Mon-Fri 06:30-20:30 Europe/Berlin"`, text)
	}
	zone := kubeZone(m[7])
	if zone == nil {
		return nil, fmt.Errorf("%q is no zone", m[7])
	}
	first, last := slices.Index(kubeWeekdays, strings.ToUpper(m[1])), slices.Index(kubeWeekdays, strings.ToUpper(m[2]))
	if first < 0 || last < 0 {
		return nil, fmt.Errorf("%s-%s are no weekdays", m[1], m[2])
	}
	s := &kubeSpan{zone: zone, begin: minutesOf(m[3], m[4]), end: minutesOf(m[5], m[6])}
	for d := first; ; d = (d + 1) % 7 {
		s.days[d] = true
		if d == last {
			return s, nil
		}
	}
}

// isoTime reads 2026-11-27T19:00:00+01:00 as Python does: the minutes of the
// offset may be more than 59, but all of it is less than a day.
func isoTime(text string) (time.Time, error) {
	const local = "2006-01-02T15:04:05"
	wall, err := time.Parse(local, text[:len(local)])
	offset := minutesOf(text[len(local)+1:len(local)+3], text[len(local)+4:])
	if err != nil || wall.Year() == 0 || offset >= 1440 {
		return time.Time{}, fmt.Errorf("%q is no time", text)
	}
	if text[len(local)] == '-' {
		offset = -offset
	}
	return wall.Add(-time.Duration(offset) * time.Minute), nil
}

func minutesOf(hour, minute string) int {
	h, _ := strconv.Atoi(hour) // two digits each, unchecked, as there
	m, _ := strconv.Atoi(minute)
	return h*60 + m
}

// kubeZone finds a zone whatever its case, and however + and - are written, as
// pytz does.
func kubeZone(name string) *time.Location {
	name = strings.NewReplacer("_plus_", "+", "_minus_", "-").Replace(name)
	if zone := zoneFile(name); zone != nil {
		return zone
	}
	if odd, ok := oddZones[strings.ToLower(name)]; ok {
		return zoneFile(odd)
	}
	for _, upper := range []string{strings.ToUpper(name), titled(name)} {
		if zone := zoneFile(upper); zone != nil {
			return zone
		}
	}
	return nil
}

func answerKube(q Question) (any, string, error) {
	value, err := textSpec(q.Spec)
	if err != nil {
		return nil, "", err
	}
	if value == nil {
		return nil, "", errors.New("there is no spec")
	}
	env := q.Env
	if env["TZ"] == nil && q.DefaultTZ != "" {
		env = map[string]any{"TZ": q.DefaultTZ}
	}
	in, err := kubeMatches(*value, q.At, env)
	if err != nil {
		return nil, "", err
	}
	switch q.Edge {
	case EdgeWindow:
		return in, "", nil
	case EdgeValidate:
		return "ok", "", nil
	case EdgeState:
		if in == (q.Policy["as"] != "downtime") {
			return string(schedule.Running), "", nil
		}
		return string(schedule.Stopped), "", nil
	}
	return nil, "", fmt.Errorf("%s knows the edges window, state and validate, not %q", KubeDownscaler, q.Edge)
}

// readKube makes a timetable of a spec. The setting as says what it is: uptime
// (the default) or downtime.
func readKube(value string, set Settings, zone *time.Location) (schedule.Timetable, []Warning, error) {
	inside := schedule.Running
	switch set["as"] {
	case nil, "uptime":
	case "downtime":
		inside = schedule.Stopped
	default:
		return nil, nil, fmt.Errorf("as is uptime or downtime, not %v", set["as"])
	}
	value = strings.ReplaceAll(value, ";", ",") // a tag of Civo has no commas ...
	value = kubeBlanks.ReplaceAllString(value, "$1 $2")
	env := map[string]any{"TZ": zone.String()}
	spans, fixed, err := kubeAll(value, env)
	if err != nil {
		return nil, nil, err
	}
	outside := schedule.Stopped
	if inside == schedule.Stopped {
		outside = schedule.Running
	}
	table := &level{zone: zone, text: fmt.Sprintf("%s %s %s %s", KubeDownscaler, inside, value, zone), looks: kubeLooks(spans), within: 35, at: func(t time.Time) schedule.State {
		t = t.UTC().Truncate(time.Second)
		if fixed == "always" || slices.ContainsFunc(spans, func(s *kubeSpan) bool { return s.has(t) }) {
			return inside
		}
		return outside
	}}
	var list []Warning
	for _, s := range spans {
		switch {
		case s.absolute && s.to.Before(s.from):
			list = append(list, Warning{Text: "an absolute range ends before it begins: it never matches"})
		case !s.absolute && s.end <= s.begin:
			list = append(list, Warning{Text: "a window past midnight never matches in kube-downscaler", Hint: "write two: 20:00-24:00 and 00:00-06:00, or use our own 20:00-06:00"})
		}
	}
	return table, list, nil
}

// kubeLooks are the instants at which the answer of parts of a spec can change.
func kubeLooks(spans []*kubeSpan) (l looks) {
	for _, s := range spans {
		switch {
		case s.absolute:
			l.once = append(l.once, s.from, s.to.Add(time.Second)) // the end is still in
		case s.begin < s.end:
			l.clocks = append(l.clocks, clock{s.zone, []int{0, s.begin, s.end}})
		}
	}
	return l
}

// kubeBlanks finds the _ that stand for blanks in a tag: next to a time.
var kubeBlanks = regexp.MustCompile(`([a-zA-Z0-9])_([0-9]{2}:|[A-Z][a-zA-Z]+/|UTC$|UTC,)`)

// kubeAll reads all parts, so that a fault is found before anything depends on it.
func kubeAll(spec string, env map[string]any) (spans []*kubeSpan, fixed string, err error) {
	if fixed = strings.ToLower(spec); fixed == "always" || fixed == "never" {
		return nil, fixed, nil
	}
	for part := range strings.SplitSeq(spec, ",") {
		span, err := kubePart(strings.TrimSpace(part), env)
		if err != nil {
			return nil, "", err
		}
		spans = append(spans, span)
	}
	return spans, "", nil
}
