package foreign

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CustodianMark is the grammar of Cloud Custodian's marked-for-op (c7n/tags.py,
// TagActionFilter): a tag such as "message: stop@2026/06/15".
const CustodianMark = "c7n-mark-for-op"

var errMarkColon = errors.New("a colon in the time makes Custodian fail: what follows the last one has no @")

// answerMark reports whether a mark is due.
func answerMark(q Question) (any, string, error) {
	value, err := textSpec(q.Spec)
	if err != nil {
		return nil, "", err
	}
	op, skew, skewHours, zoneName := "stop", 0.0, 0.0, "utc"
	for key, v := range q.Policy {
		ok := true
		switch strings.ReplaceAll(key, "-", "_") {
		case "op":
			op, ok = v.(string)
		case "skew":
			skew, ok = v.(float64)
		case "skew_hours":
			skewHours, ok = v.(float64)
		case "tz":
			zoneName, ok = v.(string)
		}
		if !ok {
			return nil, "", fmt.Errorf("the setting %s cannot be %v", key, v)
		}
	}
	switch q.Edge {
	case EdgeDue:
	case EdgeValidate:
		return "ok", "tz " + zoneName + ": a name that is no alias means the process's own zone, so none is refused", nil
	default:
		return nil, "", fmt.Errorf("%s knows the edges due and validate, not %q", CustodianMark, q.Edge)
	}
	if value == nil || !strings.Contains(*value, ":") || !strings.Contains(*value, "@") {
		return false, "no mark", nil
	}
	target := strings.TrimSpace((*value)[strings.LastIndexByte(*value, ':')+1:])
	action, date, ok := strings.Cut(target, "@")
	if !ok {
		return nil, "", errMarkColon
	}
	if action != op {
		return false, fmt.Sprintf("marked for %q", action), nil
	}
	local := localZone(q.Env)
	due, aware, ok := markTime(date, local, q.At)
	if !ok {
		return false, fmt.Sprintf("%q is no date", date), nil
	}
	early := time.Duration((skew*24 + skewHours) * float64(time.Hour))
	if aware { // both are instants, whatever tz says
		return !q.At.Before(due.Add(-early)), "with a zone of its own", nil
	}
	return !wallOf(q.At, local).Before(due.Add(-early)), "compared with the process's own clock (" + local.String() + ")", nil
}

// markTime reads what Custodian writes, 2026/06/15 or 2026/06/15 1130 UTC, and
// what people write instead, as dateutil reads it. The time is an instant when it
// is aware; else it is a wall time, as if it were UTC.
func markTime(text string, local *time.Location, now time.Time) (t time.Time, aware, ok bool) {
	words := strings.Fields(dateTimeT.ReplaceAllString(strings.ReplaceAll(text, ",", " "), "$1 $2"))
	if len(words) == 0 {
		return t, false, false
	}
	var date time.Time
	n := 0
	for _, take := range []int{1, 3} { // 2026/06/15, or 15 June 2026
		if len(words) < take {
			continue
		}
		if date, ok = markDate(strings.Join(words[:take], " ")); ok {
			n = take
			break
		}
	}
	if !ok {
		return t, false, false
	}
	words = words[n:]
	if len(words) > 0 {
		if clock, ok := markClock(words[0]); ok {
			date, words = date.Add(clock), words[1:]
		}
	}
	if len(words) == 0 {
		return date, false, true
	}
	if len(words) > 1 {
		return t, false, false
	}
	switch name := words[0]; {
	case name == "UTC" || name == "GMT" || name == "Z" || name == "z":
		return date, true, true
	case (name[0] == '+' || name[0] == '-') && len(name) == 5:
		offset, err := strconv.Atoi(name)
		if err != nil {
			return t, false, false
		}
		return date.Add(-time.Duration(offset/100)*time.Hour - time.Duration(offset%100)*time.Minute), true, true
	case slices.Contains(zoneNames(local, now), name):
		at := time.Date(date.Year(), date.Month(), date.Day(), date.Hour(), date.Minute(), date.Second(), 0, local)
		return at, true, true
	case isZoneWord(name):
		return date, false, true // unknown: passed over
	}
	return t, false, false
}

var dateTimeT = regexp.MustCompile(`(\d)T(\d)`)

// zoneNames are the abbreviations of a zone in winter and in summer.
func zoneNames(zone *time.Location, now time.Time) (names []string) {
	for _, month := range []time.Month{time.January, time.July} {
		name, _ := time.Date(now.Year(), month, 1, 0, 0, 0, 0, zone).Zone()
		names = append(names, name)
	}
	return names
}

func isZoneWord(s string) bool {
	return len(s) >= 3 && len(s) <= 5 && strings.ToUpper(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < 'A' || r > 'Z' })
}

func markDate(text string) (time.Time, bool) {
	for _, layout := range []string{"2006/1/2", "2006-1-2", "20060102", "2006.1.2", "1/2/2006", "1-2-2006", "2 Jan 2006", "2 January 2006", "Jan 2 2006", "January 2 2006"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// markClock reads 11, 1130 or 113000; colons never come this far.
func markClock(text string) (time.Duration, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, false
	}
	h, m, s := 0, 0, 0
	switch len(text) {
	case 1, 2:
		h = int(n)
	case 4:
		h, m = int(n)/100, int(n)%100
	case 6:
		h, m, s = int(n)/10000, int(n)/100%100, int(n)%100
	default:
		return 0, false
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second, h < 24 && m < 60 && s < 60
}
