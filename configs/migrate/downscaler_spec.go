package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

var (
	kubeTail  = regexp.MustCompile(`^(.*\d\d)(?: ([a-zA-Z/_]+))?$`)
	kubeDates = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2}T.{14})-(\d{4}-\d{2}-\d{2}T.{14})$`)
)

// readSpec reads a time spec of kube-downscaler, in which each part has a zone of
// its own. The notes are what behaves otherwise than it looks.
func readSpec(text, zone string, notes *[]string) (s spans, err error) {
	switch strings.ToLower(text) {
	case "always":
		return spans{always: true}, nil
	case "never":
		return s, nil
	}
	fallback := time.UTC
	if zone != "" {
		if fallback, err = schedule.LoadZone(zone); err != nil {
			return s, err
		}
	}
	_, list, err := foreign.Read(foreign.KubeDownscaler, text, nil, fallback)
	if err != nil {
		return s, err
	}
	for _, w := range list {
		note := fmt.Sprintf("Mind, in %q: %s", text, w.Text)
		if w.Hint != "" {
			note += "; " + w.Hint
		}
		*notes = append(*notes, note+".")
	}
	var order []string
	weekly, ranges := make(map[string][]string), [][2]time.Time(nil)
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if m := kubeDates.FindStringSubmatch(part); m != nil {
			from, errFrom := time.Parse(time.RFC3339, m[1])
			to, errTo := time.Parse(time.RFC3339, m[2])
			if errFrom == nil && errTo == nil && !to.Before(from) {
				ranges = append(ranges, [2]time.Time{from, upToMinute(to)})
			}
			continue
		}
		m := kubeTail.FindStringSubmatch(part)
		if m == nil {
			return s, fmt.Errorf("%q cannot be read", part)
		}
		name, ok := zoneName(m[2], fallback)
		if !ok {
			return s, fmt.Errorf("%q is no zone", m[2])
		}
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
		weekly[name] = append(weekly[name], m[1]+" UTC")
	}
	for _, name := range order {
		table, _, err := foreign.Read(foreign.KubeDownscaler, strings.Join(weekly[name], ","), nil, time.UTC)
		if err != nil {
			return s, err
		}
		s.zones = append(s.zones, zoneSpans{zone: name, week: observe(table, 1)})
	}
	if len(ranges) > 0 {
		if len(s.zones) == 0 {
			s.zones = append(s.zones, zoneSpans{zone: fallback.String(), week: new(week)})
		}
		at, err := schedule.LoadZone(s.zones[0].zone)
		if err != nil {
			return s, err
		}
		for _, r := range ranges {
			s.zones[0].dates = append(s.zones[0].dates, dateWindows(r[0].In(at), r[1].In(at))...)
		}
	}
	// A part that never matches leaves nothing to write.
	s.zones = slices.DeleteFunc(s.zones, func(z zoneSpans) bool { return len(z.windows()) == 0 })
	return s, nil
}

// zoneName finds a zone as pytz does, whatever its case.
func zoneName(name string, fallback *time.Location) (string, bool) {
	if name == "" {
		return fallback.String(), true
	}
	words := strings.Split(strings.ToLower(name), "/")
	for i, w := range words {
		parts := strings.Split(w, "_")
		for j, p := range parts {
			if p != "" {
				parts[j] = strings.ToUpper(p[:1]) + p[1:]
			}
		}
		words[i] = strings.Join(parts, "_")
	}
	for _, n := range []string{name, strings.ToUpper(name), strings.Join(words, "/")} {
		if zone, err := schedule.LoadZone(n); err == nil {
			return zone.String(), true
		}
	}
	return "", false
}

// upToMinute is the next full minute: windows know no seconds, and 23:59:59 means
// the end of the day. The last second of a range is in it there, and not here.
func upToMinute(t time.Time) time.Time {
	if t.Second() == 0 {
		return t
	}
	return t.Truncate(time.Minute).Add(time.Minute)
}

// dateWindows writes a range from one instant to another as windows on dates: the
// rest of the first day, the days in between, the beginning of the last.
func dateWindows(from, to time.Time) (out []string) {
	day := func(t time.Time) string { return t.Format(time.DateOnly) }
	if day(from) == day(to) {
		if clockOf(from) != clockOf(to) {
			out = append(out, day(from)+" "+clockOf(from)+"-"+clockOf(to))
		}
		return out
	}
	out = append(out, day(from)+" "+clockOf(from)+"-24:00")
	first, last := from.AddDate(0, 0, 1), to.AddDate(0, 0, -1)
	if day(first) <= day(last) {
		out = append(out, day(first)+".."+day(last)+" 00:00-24:00")
	}
	if c := clockOf(to); c != "00:00" {
		out = append(out, day(to)+" 00:00-"+c)
	}
	return out
}

func clockOf(t time.Time) string { return t.Format("15:04") }
