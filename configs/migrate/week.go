package migrate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
)

// week is what is wanted in each minute of a week, from Monday 00:00 on.
type week [weekMinutes]schedule.State

// observe looks at a timetable minute by minute, in a week in which its zone does
// not change the clocks. A timetable that is the same every week is known then.
// Where it changes on full hours only, step 60 is enough.
func observe(table schedule.Timetable, step int) *week {
	var w week
	monday := quietMonday(table.Zone())
	for m := 0; m < weekMinutes; m += step {
		state := table.At(time.Date(monday.Year(), monday.Month(), monday.Day(), 0, m, 0, 0, table.Zone()))
		for i := range step {
			w[m+i] = state
		}
	}
	return &w
}

// quietMonday begins a week of 2026 around which a zone keeps its offset for
// weeks, since a state may come from an edge of the week before.
func quietMonday(zone *time.Location) time.Time {
	for monday := time.Date(2026, 1, 12, 0, 0, 0, 0, zone); monday.Year() == 2026; monday = monday.AddDate(0, 0, 7) {
		_, before := monday.AddDate(0, 0, -15).Zone()
		_, after := monday.AddDate(0, 0, 15).Zone()
		if before == after {
			return monday
		}
	}
	return time.Date(2026, 1, 12, 0, 0, 0, 0, zone)
}

func (w *week) has(s schedule.State) bool { return slices.Contains(w[:], s) }

// spec writes a week as a schedule of ours in one line. It is empty where nothing
// is ever wanted.
func (w *week) spec(zone string) string {
	return weekly{running: w.windows(schedule.Running), stopped: w.windows(schedule.Stopped), silent: w.has(schedule.Any)}.spec(zone)
}

// weekly is a schedule of ours: its windows, and whether there are times at which
// it wants nothing.
type weekly struct {
	running, stopped []string
	silent           bool
}

func (s weekly) spec(zone string) string {
	switch {
	case len(s.running)+len(s.stopped) == 0:
		return ""
	case s.silent:
		return scheduleText(s.running, s.stopped, len(s.running) == 0 || len(s.stopped) == 0, zone)
	case len(s.running) == 0:
		return scheduleText(nil, s.stopped, false, zone)
	}
	return scheduleText(s.running, nil, false, zone)
}

// scheduleText is a schedule in the file's form; only: one-sided.
func scheduleText(running, stopped []string, only bool, zone string) string {
	var parts []string
	if len(running) > 0 {
		parts = append(parts, "running: "+flowList(running))
	}
	if len(stopped) > 0 {
		parts = append(parts, "stopped: "+flowList(stopped))
	}
	if only {
		parts = append(parts, "only: true")
	}
	if zone != "" {
		parts = append(parts, "timezone: "+scalar(zone))
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// windows writes when a state is wanted, as few windows as there are.
func (w *week) windows(s schedule.State) []string {
	first := slices.IndexFunc(w[:], func(x schedule.State) bool { return x != s })
	if first < 0 {
		return []string{"00:00-24:00"}
	}
	type times struct{ from, to int } // minutes of the day; to is up to a day after from
	days := make(map[times]*[7]bool)
	var order []times
	var long []string
	add := func(from, to int) {
		t := times{from % dayMinutes, from%dayMinutes + to - from}
		if days[t] == nil {
			days[t] = new([7]bool)
			order = append(order, t)
		}
		days[t][from/dayMinutes%7] = true
	}
	for i := 0; i < weekMinutes; {
		from := first + i
		if w[from%weekMinutes] != s {
			i++
			continue
		}
		to := from
		for w[to%weekMinutes] == s {
			to++
		}
		i += to - from
		switch {
		case from%dayMinutes == 0 && to%dayMinutes == 0:
			for d := from; d < to; d += dayMinutes {
				add(d, d+dayMinutes)
			}
		case to-from > dayMinutes:
			long = append(long, fmt.Sprintf("%s %s - %s %s", dayName(from/dayMinutes), clock(from), dayName(to/dayMinutes), clock(to)))
		default:
			add(from, to)
		}
	}
	var out []string
	for _, t := range order {
		end := clock(t.to)
		if t.to == dayMinutes {
			end = "24:00"
		}
		window := clock(t.from) + "-" + end
		if d := dayList(*days[t]); d != "" {
			window = d + " " + window
		}
		out = append(out, window)
	}
	return append(out, long...)
}

func clock(minute int) string {
	return fmt.Sprintf("%02d:%02d", minute%dayMinutes/60, minute%60)
}

func dayName(d int) string {
	return []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}[d%7]
}

// dayList writes days from Monday on, three or more in a row as a range; all
// seven are the empty list.
func dayList(days [7]bool) string {
	var items []string
	for d := 0; d < 7; d++ {
		last := d
		for last < 7 && days[last] {
			last++
		}
		switch n := last - d; {
		case n == 7:
			return ""
		case n >= 3:
			items = append(items, dayName(d)+"-"+dayName(last-1))
			d = last
		case n > 0:
			items = append(items, dayName(d))
		}
	}
	return strings.Join(items, "+")
}
