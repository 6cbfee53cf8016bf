package foreign

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// markTime is the time of a mark. Custodian writes 2026/06/15 and 2026/06/15 1130
// UTC; people write more, and Custodian reads it with dateutil's parser, of which
// this is the part that people use for dates.
type markTime struct {
	// wall is the time as written, as if it were UTC.
	wall time.Time
	// zone is set where the text names one; the time is an instant then.
	zone *time.Location
}

var (
	markNumbers = regexp.MustCompile(`^(\d{1,4})[/.-](\d{1,2})[/.-](\d{1,4})(.*)$`)
	markPacked  = regexp.MustCompile(`^(\d{4})(\d\d)(\d\d)(.*)$`)
	markNamed   = regexp.MustCompile(`^(?:(\d{1,2})[ -]([A-Za-z]+)[ -](\d{4})|([A-Za-z]+) (\d{1,2}),? (\d{4})|(\d{4})[ -]([A-Za-z]+)[ -](\d{1,2}))(.*)$`)
	// What follows the date: a clock without colons, which cannot come this far, and a zone.
	markClock = regexp.MustCompile(`^(?:[ T]*-?(\d\d)(\d\d)?(\d\d)?(?: *([AaPp][Mm]))?|[ T]*(\d) *([AaPp][Mm]))(?: *(Z|z|[A-Z]{3,5})?)?(?: *([+-])(\d\d?|\d{4}))?$`)
)

// readMarkTime reads the time of a mark in a process whose own zone is local;
// false: it is no time, and Custodian passes the mark over.
func readMarkTime(text string, local *time.Location, now time.Time) (markTime, bool) {
	y, m, d, rest, ok := markDate(strings.TrimSpace(text), now)
	if !ok {
		return markTime{}, false
	}
	date := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	if date.Day() != d || m < 1 || m > 12 || y < 1 {
		return markTime{}, false // 30 February
	}
	if rest == "" {
		return markTime{wall: date}, true
	}
	c := markClock.FindStringSubmatch(rest)
	if c == nil {
		return markTime{}, false
	}
	hour, minute, second := number(c[1]+c[5]), number(c[2]), number(c[3])
	if half := strings.ToLower(c[4] + c[6]); half != "" {
		if hour > 12 || c[7] != "" && !strings.Contains(rest, " "+c[7]) {
			return markTime{}, false
		}
		hour %= 12
		if half == "pm" {
			hour += 12
		}
	}
	if hour > 23 || minute > 59 || second > 59 {
		return markTime{}, false
	}
	t := markTime{wall: date.Add(time.Duration(hour*3600+minute*60+second) * time.Second)}
	t.zone, ok = markZone(c[7], c[8], c[9], strings.Contains(rest, c[7]+c[8]), local, now)
	return t, ok
}

// markDate cuts the date off a text.
func markDate(text string, now time.Time) (y, m, d int, rest string, ok bool) {
	if f := markNumbers.FindStringSubmatch(text); f != nil {
		a, b, c := number(f[1]), number(f[2]), number(f[3])
		switch {
		case len(f[1]) > 2 || a > 31:
			return a, b, c, f[4], len(f[3]) <= 2
		case a > 12:
			a, b = b, a
		}
		if len(f[3]) <= 2 { // within fifty years of now
			if c += now.Year() / 100 * 100; c >= now.Year()+50 {
				c -= 100
			} else if c < now.Year()-50 {
				c += 100
			}
		}
		return c, a, b, f[4], true
	}
	if f := markPacked.FindStringSubmatch(text); f != nil {
		return number(f[1]), number(f[2]), number(f[3]), f[4], true
	}
	if f := markNamed.FindStringSubmatch(text); f != nil {
		month := slices.IndexFunc(awsMonths.names, func(name string) bool {
			word := strings.ToLower(f[2] + f[4] + f[8])
			return name != "" && (word == name || word == name[:3] || word == "sept" && name == "september")
		})
		return number(f[3] + f[6] + f[7]), month, number(f[1] + f[5] + f[9]), f[10], month > 0
	}
	return 0, 0, 0, "", false
}

// markZone is the zone of a time: nil where none is named, or none that the
// process knows, which is passed over with a warning there.
func markZone(name, sign, digits string, joined bool, local *time.Location, now time.Time) (*time.Location, bool) {
	utc := name == "UTC" || name == "GMT" || name == "Z" || name == "z"
	switch {
	case name != "" && !utc && slices.Contains(zoneNames(local, now), name):
		return local, true
	case sign != "":
		seconds := number(digits) * 3600
		if len(digits) == 4 {
			seconds = number(digits[:2])*3600 + number(digits[2:])*60
		}
		if (sign == "-") != (name != "" && joined) { // UTC+3 is three hours behind
			seconds = -seconds
		}
		return time.FixedZone(sign+digits, seconds), seconds > -24*3600 && seconds < 24*3600
	case utc:
		return time.UTC, true
	}
	return nil, true
}

func number(digits string) int {
	n, _ := strconv.Atoi(digits) // few digits, or none for 0
	return n
}

// zoneNames are the abbreviations of a zone in winter and in summer.
func zoneNames(zone *time.Location, now time.Time) (names []string) {
	for _, month := range []time.Month{time.January, time.July} {
		name, _ := time.Date(now.Year(), month, 1, 0, 0, 0, 0, zone).Zone()
		names = append(names, name)
	}
	return names
}
