package foreign

import (
	"strconv"
	"strings"
	"time"
	"unicode"

	"nightshift/policies/schedule"
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
	after := false // a letter
	for _, r := range s {
		if after {
			b.WriteRune(unicode.ToLower(r))
		} else {
			b.WriteRune(unicode.ToTitle(r))
		}
		after = unicode.IsLetter(r)
	}
	return b.String()
}

// zoneFile finds a zone by the exact name of its file.
func zoneFile(name string) *time.Location {
	zone, err := schedule.LoadZone(strings.ReplaceAll(name, " ", "_"))
	if err != nil {
		return nil
	}
	return zone
}

// fixedZone reads names such as Gmt+3 and Xyz-5, which dateutil takes for POSIX:
// the number is what must be added to reach UTC.
func fixedZone(name string) *time.Location {
	letters := strings.TrimRight(name, "0123456789+-")
	number := name[len(letters):]
	digits := strings.TrimLeft(number, "+-")
	if len(letters) < 3 || strings.ContainsFunc(letters, func(r rune) bool { return !unicode.IsLetter(r) }) || digits == "" || len(number)-len(digits) > 1 {
		return nil
	}
	n, err := strconv.Atoi(digits)
	if err != nil || len(digits) > 2 && len(digits) != 4 {
		return nil
	}
	seconds := n * 3600
	if len(digits) == 4 {
		seconds = n/100*3600 + n%100*60
	}
	if number[0] != '-' {
		seconds = -seconds
	}
	return time.FixedZone(name, seconds)
}

// localZone is the zone of the other tool's process, by its TZ; UTC when that is
// not set.
func localZone(env map[string]any) *time.Location {
	if name, ok := env["TZ"].(string); ok {
		if zone := zoneFile(strings.TrimPrefix(name, ":")); zone != nil {
			return zone
		}
	}
	return time.UTC
}
