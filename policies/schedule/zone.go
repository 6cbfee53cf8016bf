package schedule

import (
	"strings"
	"time"
	_ "time/tzdata" // for machines and images without zone data
)

// LoadZone finds a zone by its IANA name, in the machine's zone data or else in
// the data embedded. Names that mean whatever machine the program runs on, such
// as "" and "Local", are refused. An error is an [*Error], with a suggestion.
func LoadZone(name string) (*time.Location, error) {
	if ofTheMachine(name) {
		return nil, &Error{Text: name, Msg: "is not the name of a zone", Hint: "use an IANA name such as Europe/London, or UTC"}
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		hint := "use an IANA name such as Europe/London, or UTC"
		if near := nearZone(name); near != "" {
			hint = "did you mean " + near + "?"
		}
		return nil, &Error{Text: name, Msg: "is not a known zone", Hint: hint}
	}
	return zone, nil
}

// ofTheMachine finds the names that [time.LoadLocation] takes, yet are no IANA
// names: files that lie beside the zones, and copies that count leap seconds.
func ofTheMachine(name string) bool {
	switch name {
	case "", "Local", "localtime", "posixrules", "Factory":
		return true
	}
	return strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/")
}

// abbreviations that people write, and the zone that they may mean.
var abbreviations = map[string]string{
	"utc": "UTC", "z": "UTC", "bst": "Europe/London", "cest": "Europe/Berlin", "edt": "America/New_York",
	"pst": "America/Los_Angeles", "pdt": "America/Los_Angeles", "cst": "America/Chicago", "cdt": "America/Chicago", "mdt": "America/Denver",
	"ist": "Asia/Kolkata", "jst": "Asia/Tokyo", "aest": "Australia/Sydney", "aedt": "Australia/Sydney",
	"mumbai": "Asia/Kolkata", "frankfurt": "Europe/Berlin", "san francisco": "America/Los_Angeles",
}

// nearZone is the zone that a name may mean: by abbreviation, by city, or with at
// most two letters wrong; "" when there is none.
func nearZone(name string) string {
	wrong := strings.ToLower(strings.ReplaceAll(name, "_", " "))
	if zone, ok := abbreviations[wrong]; ok {
		return zone
	}
	if len(wrong) > 40 {
		return ""
	}
	best, least := "", 3
	for area, names := range cities {
		for _, city := range strings.Fields(names) {
			full := area + "/" + city
			right := strings.ToLower(strings.ReplaceAll(full, "_", " "))
			n := distance(wrong, right)
			if i := strings.LastIndexByte(right, '/'); wrong == right[i+1:] {
				n = 0
			}
			if n < least || n == least && n < 3 && full < best {
				best, least = full, n
			}
		}
	}
	return best
}

// distance is how many letters must be added, dropped or changed to make one text
// of the other.
func distance(a, b string) int {
	if d := len(a) - len(b); d < -2 || d > 2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
