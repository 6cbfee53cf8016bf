package schedule

import (
	"strings"
	"time"
)

const instantHint = "write it as 2026-12-01, 2026-12-01T18:00 or 2026-12-01T18:00_Europe/London"

// ParseInstant reads one instant, as tags and commands name it: a date (its
// midnight), a date and a wall time joined by T, _ or a blank, or RFC 3339. A zone
// may follow; else it is in the one given. A wall time in a gap is the first
// instant after it, in an overlap the first reading. The result is in UTC, and an
// error is an [*Error].
func ParseInstant(text string, zone *time.Location) (time.Time, error) {
	p := &parser{text: text}
	at, err := p.instant(zone)
	if err == nil && (at.Year() < 1970 || at.Year() > 9999) { // year 0026 is a slip, and 10000 has no text
		err = p.fail(0, instantHint, "there is no such year")
	}
	if err != nil {
		return time.Time{}, err
	}
	return at, nil
}

func (p *parser) instant(zone *time.Location) (time.Time, error) {
	text := p.text
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	d, err := time.Parse(time.DateOnly, text[:min(len(text), len(time.DateOnly))])
	if err != nil || d.Year() < 1970 {
		return time.Time{}, p.fail(0, instantHint, "there is no date")
	}
	rest, at := text[len(time.DateOnly):], len(time.DateOnly)
	minutes := 0
	if rest != "" && strings.IndexByte("T_ ", rest[0]) >= 0 && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9' {
		clock := rest[1:]
		if i := strings.IndexAny(clock, blank); i >= 0 {
			clock = clock[:i]
		}
		if minutes, err = p.clock(clock, at+1); err != nil {
			return time.Time{}, err
		}
		rest, at = rest[1+len(clock):], at+1+len(clock)
	}
	if rest != "" {
		name := strings.TrimLeft(rest, blank)
		if name == rest {
			return time.Time{}, p.fail(at, instantHint, "%q follows the time", rest)
		}
		if zone, err = LoadZone(name); err != nil {
			return time.Time{}, p.fail(len(text)-len(name), err.(*Error).Hint, "%q %s", name, err.(*Error).Msg)
		}
	}
	return day{d}.at(minutes, zone), nil
}
