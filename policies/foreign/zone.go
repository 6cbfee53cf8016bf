package foreign

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// oddZones are IANA names that are not in title case, in Python's sense: a capital
// after each character that is no letter, and small letters otherwise.
var oddZones = func() map[string]string {
	names := "Africa/Dar_es_Salaam America/Argentina/ComodRivadavia America/Knox_IN America/Port-au-Prince America/Port_of_Spain " +
		"Antarctica/DumontDUrville Antarctica/McMurdo Australia/ACT Australia/LHI Australia/NSW Brazil/DeNoronha Chile/EasterIsland " +
		"CST6CDT EET EST5EDT Europe/Isle_of_Man GB GB-Eire HST MET Mexico/BajaNorte Mexico/BajaSur MST7MDT NZ NZ-CHAT PRC PST8PDT ROC ROK UCT WET W-SU " +
		"US/Alaska US/Aleutian US/Arizona US/Central US/East-Indiana US/Eastern US/Hawaii US/Indiana-Starke US/Michigan US/Mountain US/Pacific US/Samoa " +
		"Etc/UCT Etc/UTC Etc/GMT Etc/GMT0 GMT0 GMT+0 GMT-0"
	m := make(map[string]string)
	for name := range strings.FieldsSeq(names) {
		m[strings.ToLower(name)] = name
	}
	for n := range 15 {
		for _, sign := range []string{"+", "-"} {
			name := "Etc/GMT" + sign + strconv.Itoa(n)
			m[strings.ToLower(name)] = name
		}
	}
	return m
}()

// titled is a text in title case, in Python's sense.
func titled(s string) string {
	var b strings.Builder
	after := false // a letter that has a case
	for _, r := range s {
		if after {
			b.WriteRune(unicode.ToLower(r))
		} else {
			b.WriteRune(unicode.ToTitle(r))
		}
		after = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
	}
	return b.String()
}

// zoneFile finds a zone by the exact name of its file; nil: there is none. Unlike
// [schedule.LoadZone] it looks for no name that may be meant, since other tools
// try several.
func zoneFile(name string) *time.Location {
	switch {
	case name == "", name == "Local", name == "localtime", strings.HasPrefix(name, "posix/"), strings.HasPrefix(name, "right/"):
		return nil // what they mean depends on the machine
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return zone
}

// dateutilZone finds a zone as dateutil's gettz does: a file, else a fixed offset.
// An empty name is the process's own zone. Nil: there is none.
func dateutilZone(name string, env map[string]any) *time.Location {
	if name == "" {
		return localZone(env)
	}
	if zone := zoneFile(strings.ReplaceAll(name, " ", "_")); zone != nil {
		return zone
	}
	return fixedZone(name)
}

// A zone for POSIX as dateutil reads it: an abbreviation and an offset, such as
// Gmt+3, Xyz-5:30 and B0430, and then perhaps the same for summer. The
// abbreviation may be anything without a digit or sign.
var posixZone = regexp.MustCompile(`^([^0-9:,+-]+)([+-]?(?:\d\d?:\d\d?|\d{4}|\d\d?))(?:([^0-9:,+-]+)([+-]?(?:\d\d?:\d\d?|\d{4}|\d\d?))?)?$`)

// fixedZone reads names that dateutil takes for POSIX: the number is what must be
// added to reach UTC. Only of those named UTC or GMT it is what UTC is less. With
// a summer time it follows the rules that America had until 2006.
func fixedZone(name string) *time.Location {
	m := posixZone.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	standard := posixOffset(m[2])
	if m[1] == "UTC" || m[1] == "GMT" {
		standard = -standard
	}
	if m[3] == "" {
		return time.FixedZone(name, standard)
	}
	summer := standard + 3600
	if m[4] != "" {
		summer = posixOffset(m[4])
	}
	return ruledZone(name, standard, summer)
}

// posixOffset is what an offset such as +5, -0530 and 5:30 adds to UTC, in seconds.
func posixOffset(text string) int {
	digits := strings.TrimLeft(text, "+-")
	hours, minutes, ok := strings.Cut(digits, ":")
	if !ok && len(digits) == 4 {
		hours, minutes = digits[:2], digits[2:]
	}
	h, _ := strconv.Atoi(hours) // checked by posixZone
	m, _ := strconv.Atoi("0" + minutes)
	if text[0] == '-' {
		return h*3600 + m*60
	}
	return -h*3600 - m*60
}

// ruledZone is a zone with summer time from the first Sunday in April to the last
// in October, made by way of a zone file, since nothing else makes one.
func ruledZone(name string, standard, summer int) *time.Location {
	offset := func(seconds int) string {
		sign := "-" // in such a file, too, the sign is turned round
		if seconds < 0 {
			sign, seconds = "+", -seconds
		}
		return fmt.Sprintf("%s%d:%02d", sign, seconds/3600, seconds/60%60)
	}
	var b []byte
	for range 2 { // the block of version 1, and that of version 2
		b = append(b, "TZif2"...)
		b = append(b, make([]byte, 15)...)
		for _, count := range []uint32{0, 0, 0, 0, 1, 4} { // one type, four letters
			b = binary.BigEndian.AppendUint32(b, count)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(int32(standard)))
		b = append(b, 0, 0, 'S', 'T', 'D', 0)
	}
	b = fmt.Appendf(b, "\nSTD%sDST%s,M4.1.0,M10.5.0\n", offset(standard), offset(summer))
	zone, err := time.LoadLocationFromTZData(name, b)
	if err != nil {
		return nil
	}
	return zone
}

// localZone is the zone of the other tool's process, by its TZ; UTC when that is
// not set or is none.
func localZone(env map[string]any) *time.Location {
	if name, ok := env["TZ"].(string); ok && strings.TrimPrefix(name, ":") != "" {
		if zone := dateutilZone(strings.TrimPrefix(name, ":"), nil); zone != nil {
			return zone
		}
	}
	return time.UTC
}
