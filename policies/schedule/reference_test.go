package schedule_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/policies/schedule"
)

// A wallClock was watched, minute by minute, and it is written down when it showed
// what. It is the slow and obviously right way: the instant of a wall time is the
// first at which the clock shows that time or a later one.
type wallClock struct {
	zone  *time.Location
	begin time.Time // the first instant watched
	base  time.Time // what the clock showed then, as if in UTC
	shown []int32   // by minute from begin: the wall time, in minutes from base
	first []int32   // by minute of wall time from base: the first minute that shows it, or a later one
}

// watch watches a clock. With a longer step than a minute it looks away for as
// long, and looks minute by minute where the clock was changed meanwhile.
func watch(zone *time.Location, begin, end time.Time, step time.Duration) *wallClock {
	w := &wallClock{zone: zone, begin: begin, base: shownAt(begin, zone)}
	minutes := int(end.Sub(begin)/time.Minute) + day
	w.shown, w.first = make([]int32, 0, minutes), make([]int32, 0, minutes)
	for t := begin; t.Before(end); t = t.Add(step) {
		now, later := w.sinceBase(t), w.sinceBase(t.Add(step))
		for n := range int32(step / time.Minute) {
			shown := now + n
			if later != now+int32(step/time.Minute) {
				shown = w.sinceBase(t.Add(time.Duration(n) * time.Minute))
			}
			w.shown = append(w.shown, shown)
			for int32(len(w.first)) <= shown {
				w.first = append(w.first, int32(len(w.shown)-1))
			}
		}
	}
	return w
}

func (w *wallClock) sinceBase(t time.Time) int32 {
	return int32(shownAt(t, w.zone).Sub(w.base) / time.Minute)
}

func shownAt(t time.Time, zone *time.Location) time.Time {
	local := t.In(zone)
	y, m, d := local.Date()
	return time.Date(y, m, d, local.Hour(), local.Minute(), 0, 0, time.UTC)
}

func (w *wallClock) at(minute int) time.Time {
	return w.begin.Add(time.Duration(minute) * time.Minute)
}

func (w *wallClock) minute(t time.Time) int { return int(t.Sub(w.begin) / time.Minute) }

// changes are the minutes at which the clock does not go on as it should.
func (w *wallClock) changes() (at []int) {
	for n := 1; n < len(w.shown); n++ {
		if w.shown[n] != w.shown[n-1]+1 {
			at = append(at, n)
		}
	}
	return at
}

// instant is the minute at which a wall time happens; far outside of those
// watched where it does so before or after.
func (w *wallClock) instant(wall time.Time) int {
	n := int(wall.Sub(w.base) / time.Minute)
	switch {
	case wall.Before(w.base):
		return -1
	case n >= len(w.first):
		return len(w.shown)
	}
	return int(w.first[n])
}

// covered tells for each minute from one to another whether windows cover it:
// those that begin on the days that match, at a time, and end so much later.
func (w *wallClock) covered(windows []plainWindow, from, to int) []bool {
	out := make([]bool, to-from)
	last := shownAt(w.at(to), w.zone)
	for day := shownAt(w.at(from), w.zone).Truncate(24*time.Hour).AddDate(0, 0, -9); !day.After(last); day = day.AddDate(0, 0, 1) {
		for _, x := range windows {
			if x.on(day) {
				begins, ends := w.instant(day.Add(x.from)), w.instant(day.Add(x.from+x.lasts))
				for n := max(begins, from); n < min(ends, to); n++ {
					out[n-from] = true
				}
			}
		}
	}
	return out
}

// plainWindow is a window without a grammar.
type plainWindow struct {
	on          func(day time.Time) bool
	from, lasts time.Duration // wall time
}

func on(days ...time.Weekday) func(time.Time) bool {
	return func(d time.Time) bool { return slices.Contains(days, d.Weekday()) }
}

func everyDay(time.Time) bool { return true }

func clock(text string) time.Duration {
	d, err := time.ParseDuration(strings.Replace(text, ":", "h", 1) + "m")
	if err != nil {
		panic(err)
	}
	return d
}

var written = []struct {
	text    string
	windows []plainWindow
}{
	{"Mon-Fri 08:00-19:00", []plainWindow{{on(1, 2, 3, 4, 5), clock("08:00"), clock("11:00")}}},
	{"22:00-06:00", []plainWindow{{everyDay, clock("22:00"), clock("8:00")}}},
	{"00:00-24:00", []plainWindow{{everyDay, 0, clock("24:00")}}},
	{"00:00-00:30, 00:45-01:30; 23:30-24:00", []plainWindow{{everyDay, 0, clock("00:30")}, {everyDay, clock("00:45"), clock("00:45")}, {everyDay, clock("23:30"), clock("00:30")}}},
	{"01:10-01:50, 02:10-02:20, 02:20-03:30", []plainWindow{{everyDay, clock("01:10"), clock("00:40")}, {everyDay, clock("02:10"), clock("01:20")}}},
	{"Sat 23:40-03:00; Sun 00:20-02:30", []plainWindow{{on(6), clock("23:40"), clock("03:20")}, {on(0), clock("00:20"), clock("02:10")}}},
	{"Sun 02:15 - Fri 01:45", []plainWindow{{on(0), clock("02:15"), 5*24*time.Hour - clock("00:30")}}},
	{"Thu 23:15 - Sun 00:10", []plainWindow{{on(4), clock("23:15"), 2*24*time.Hour + clock("00:55")}}},
	{"SunL 00:30-04:00", []plainWindow{{func(d time.Time) bool { return d.Weekday() == 0 && d.AddDate(0, 0, 7).Month() != d.Month() }, clock("00:30"), clock("03:30")}}},
	{"Sun#2+Fri#4 00:00-12:00", []plainWindow{{func(d time.Time) bool {
		n := (d.Day() + 6) / 7
		return d.Weekday() == 0 && n == 2 || d.Weekday() == 5 && n == 4
	}, 0, clock("12:00")}}},
	{"24-L 01:30-00:30", []plainWindow{{func(d time.Time) bool { return d.Day() >= 24 }, clock("01:30"), clock("23:00")}}},
	{"Oct-Apr 29-31 23:00-01:00", []plainWindow{{func(d time.Time) bool { return d.Day() >= 29 && (d.Month() >= 10 || d.Month() <= 4) }, clock("23:00"), clock("02:00")}}},
}

// watched are months in which the clocks change, in zones that do so each in
// their own way.
var watched = []struct {
	zone  string
	year  int
	month time.Month
}{
	{"Europe/London", 2026, 3}, {"Europe/London", 2026, 10},
	{"America/New_York", 2026, 3}, {"America/New_York", 2026, 11},
	{"Australia/Lord_Howe", 2026, 4}, {"Australia/Lord_Howe", 2026, 10}, // half an hour
	{"Africa/Cairo", 2026, 4}, {"Africa/Cairo", 2026, 10}, // at midnight
	{"Asia/Beirut", 2026, 3}, {"Asia/Beirut", 2026, 10}, // back over midnight
	{"America/Nuuk", 2026, 3}, {"America/Nuuk", 2026, 10}, // the last hour of a day is missing
	{"America/St_Johns", 2010, 3}, {"America/St_Johns", 2010, 11}, // at a minute past midnight
	{"Asia/Gaza", 2026, 3}, {"Asia/Gaza", 2026, 10},
	{"Africa/Casablanca", 2026, 2}, {"Africa/Casablanca", 2026, 3}, // Ramadan: back, then forward
	{"America/Santiago", 2026, 4}, {"America/Santiago", 2026, 9},
	{"Antarctica/Troll", 2026, 3}, {"Antarctica/Troll", 2026, 10}, // two hours
	{"Asia/Kathmandu", 2026, 3},
	{"Pacific/Apia", 2011, 12}, // 30 December 2011 does not exist
}

// months returns the clock of each, watched for two weeks more before and after,
// and the four days around the change in it, or around its middle.
func months(t *testing.T, check func(w *wallClock, from, to int)) {
	for _, m := range watched {
		begin, end := time.Date(m.year, m.month, -13, 0, 0, 0, 0, time.UTC), time.Date(m.year, m.month+1, 14, 0, 0, 0, 0, time.UTC)
		w := watch(zone(t, m.zone), begin, end, time.Minute)
		middle := 28 * day
		for _, n := range w.changes() {
			if w.at(n-1).In(w.zone).Month() == m.month {
				middle = n
				break
			}
		}
		check(w, middle-2*day, middle+2*day)
	}
}

const day = 24 * 60 // minutes

func TestWindowsAgainstAWatchOnTheWallClock(t *testing.T) {
	months(t, func(clock *wallClock, from, to int) {
		for _, x := range written {
			clock.holdWindows(t, weekly(t, clock.zone.String(), x.text), x.windows, from, to, 1)
		}
	})
}

// holdWindows holds a schedule against the windows that were watched, from one
// minute to another: each edge, ahead and back, and the state each so many minutes.
func (w *wallClock) holdWindows(t *testing.T, s *schedule.Weekly, windows []plainWindow, from, to, each int) {
	t.Helper()
	covered := w.covered(windows, from, to)
	state := func(minute int) schedule.State {
		if covered[minute-from] {
			return schedule.Running
		}
		return schedule.Stopped
	}
	next, more := s.Next(w.at(from))
	newest := 0
	for n := from; n < to; n++ {
		now, want := w.at(n), state(n)
		isEdge := n > from && want != state(n-1)
		if isEdge || (n-from)%each == 0 {
			if got := s.At(now); got != want {
				t.Fatalf("%s at %s: got %s, want %s", s, now.In(w.zone), got, want)
			}
		}
		if !isEdge {
			if (n-from)%(7*each) == 5 {
				if prev, ok := s.Prev(now); ok && prev.At.After(w.at(from)) && !prev.At.Equal(w.at(newest)) {
					t.Fatalf("%s: newest edge at %s is %s, want %s", s, now.In(w.zone), prev.At.In(w.zone), w.at(newest).In(w.zone))
				}
			}
			continue
		}
		newest = n
		if !more || !next.At.Equal(now) || next.To != want {
			t.Fatalf("%s: next edge %s to %s (%v), want %s to %s", s, next.At.In(w.zone), next.To, more, now.In(w.zone), want)
		}
		for _, later := range []time.Duration{0, time.Second, time.Minute - time.Nanosecond} {
			if prev, ok := s.Prev(now.Add(later)); !ok || !prev.At.Equal(now) || prev.To != want {
				t.Fatalf("%s: newest edge at %s is %s to %s (%v)", s, now.Add(later).In(w.zone), prev.At.In(w.zone), prev.To, ok)
			}
		}
		if got := s.At(now.Add(-time.Nanosecond)); got == want {
			t.Fatalf("%s right before %s: got %s already", s, now.In(w.zone), got)
		}
		next, more = s.Next(now)
	}
	if more && next.At.Before(w.at(to)) {
		t.Fatalf("%s: an edge at %s to %s, want none", s, next.At.In(w.zone), next.To)
	}
}

// plainCron is a cron spec without a grammar.
type plainCron struct {
	text         string
	on           func(day time.Time) bool
	hour, minute func(int) bool
	elapsed      bool
}

func every(n int) func(int) bool       { return func(x int) bool { return x%n == 0 } }
func is(n ...int) func(int) bool       { return func(x int) bool { return slices.Contains(n, x) } }
func upTo(n int) func(int) bool        { return func(x int) bool { return x <= n } }
func dom(n int) func(t time.Time) bool { return func(d time.Time) bool { return d.Day() == n } }

var writtenCrons = []plainCron{
	{"30 5 * * MON-FRI", on(1, 2, 3, 4, 5), is(5), is(30), false},
	{"0 0 * * *", everyDay, is(0), is(0), false},
	{"30 1,2 * * *", everyDay, is(1, 2), is(30), false},
	{"*/20 0-3 * * *", everyDay, upTo(3), every(20), false},
	{"45 23 * * SAT", on(6), is(23), is(45), false},
	{"0,30 */2 * * *", everyDay, every(2), is(0, 30), false},
	{"0 8 24 * *", dom(24), is(8), is(0), false},
	{"15 2 1-7 * SUN", func(d time.Time) bool { return d.Day() <= 7 || d.Weekday() == 0 }, is(2), is(15), false},
	{"*/15 * * * *", everyDay, every(1), every(15), true},
	{"7 0-23 * * 7", on(0), every(1), is(7), true},
	{"10 * * * SAT", on(6), every(1), is(10), true},
	{"@hourly", everyDay, every(1), is(0), true},
}

// fires lists the planned times of a spec after one minute and before another.
func (w *wallClock) fires(c plainCron, from, to int) []int {
	var out []int
	midnight := w.base.Truncate(24 * time.Hour)
	sinceMidnight := int(w.base.Sub(midnight) / time.Minute)
	today, onToday := -1, false
	matches := func(shown int32) bool {
		n := sinceMidnight + int(shown)
		if n/day != today {
			today = n / day
			onToday = c.on(midnight.AddDate(0, 0, today))
		}
		return onToday && c.hour(n%day/60) && c.minute(n%60)
	}
	for n := from + 1; n < to; n++ {
		if c.elapsed {
			if matches(w.shown[n]) {
				out = append(out, n)
			}
			continue
		}
		for shown := w.shown[n]; shown >= 0 && w.first[shown] == int32(n); shown-- { // more than one right after a gap
			if matches(shown) {
				out = append(out, n)
				break
			}
		}
	}
	return out
}

func TestCronAgainstAWatchOnTheWallClock(t *testing.T) {
	months(t, func(clock *wallClock, from, to int) {
		for _, x := range writtenCrons {
			clock.holdCron(t, x, from, to)
		}
	})
}

// holdCron holds a spec against the planned times that were watched.
func (w *wallClock) holdCron(t *testing.T, x plainCron, from, to int) {
	t.Helper()
	c, err := schedule.ParseCron(x.text, w.zone)
	if err != nil {
		t.Fatal(err)
	}
	now := w.at(from)
	for _, n := range w.fires(x, from, to) {
		want := w.at(n)
		for _, before := range []time.Time{now, want.Add(-time.Nanosecond)} {
			if got, ok := c.Next(before); !ok || !got.Equal(want) {
				t.Fatalf("%q after %s: got %s, want %s", x.text, before.In(w.zone), got.In(w.zone), want.In(w.zone))
			}
		}
		for _, later := range []time.Duration{0, time.Second} {
			if prev, ok := c.Prev(want.Add(later)); !ok || !prev.Equal(want) {
				t.Fatalf("%q: newest at %s is %s, want %s", x.text, want.Add(later).In(w.zone), prev.In(w.zone), want.In(w.zone))
			}
		}
		now = want
	}
	if got, ok := c.Next(now); ok && got.Before(w.at(to)) {
		t.Fatalf("%q after %s: got %s, want none before %s", x.text, now.In(w.zone), got.In(w.zone), w.at(to).In(w.zone))
	}
}

// The zones are the same for minutes on end, so the short form looks closely at
// the days around each change of a clock, and at some others. The full form looks
// at every day, and takes a quarter of an hour:
//
//	go test ./policies/schedule -run AllZones -zones=full -timeout=2h
var zonesForm = flag.String("zones", "short", "of TestAllZones: short or full")

func TestAllZones(t *testing.T) {
	begin, end := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	step := 6 * time.Hour
	if *zonesForm == "full" {
		step = time.Minute
	}
	alike := sameClocks(t, begin, end)
	names := 0
	for _, group := range alike {
		names += len(group.zones)
		z := group.zones[0]
		for _, span := range spansToWatch(group.changes, begin, end) {
			w := watch(z, span[0].AddDate(0, 0, -12), span[1].AddDate(0, 0, 1), step)
			from, to := w.minute(span[0]), w.minute(span[1])
			for _, x := range written {
				s, err := schedule.ParseWeekly([]string{x.text}, nil, z)
				if err != nil {
					t.Fatal(err)
				}
				w.holdWindows(t, s, x.windows, from, to, 11)
			}
			for _, x := range writtenCrons {
				w.holdCron(t, x, from, to)
			}
		}
		agree(t, group)
	}
	if names < 590 || len(alike) < 60 {
		t.Errorf("%d zones with %d clocks were looked at", names, len(alike))
	}
}

// clockGroup are zones whose clocks show the same.
type clockGroup struct {
	zones   []*time.Location
	changes []time.Time
}

// sameClocks reads the list of zones and puts those together whose offsets are the
// same from one instant to another, to the minute: many names are links.
func sameClocks(t *testing.T, begin, end time.Time) []*clockGroup {
	t.Helper()
	data, err := os.ReadFile("testdata/zones.txt")
	if err != nil {
		t.Fatal(err)
	}
	groups := make(map[string]*clockGroup)
	for name := range strings.Lines(string(data)) {
		if name = strings.TrimSpace(name); strings.HasPrefix(name, "#") {
			continue
		}
		z := zone(t, name)
		group := clockGroup{zones: []*time.Location{z}}
		offset := func(at time.Time) int {
			_, seconds := at.In(z).Zone()
			return seconds
		}
		text := fmt.Sprint(offset(begin))
		for at := begin; at.Before(end); at = at.Add(6 * time.Hour) {
			if before := offset(at); before != offset(at.Add(6*time.Hour)) {
				change := at.Add(time.Minute)
				for offset(change) == before {
					change = change.Add(time.Minute)
				}
				group.changes = append(group.changes, change)
				text += fmt.Sprint(change.Unix(), offset(change), " ")
			}
		}
		if groups[text] == nil {
			groups[text] = &group
		} else {
			groups[text].zones = append(groups[text].zones, z)
		}
	}
	return slices.SortedFunc(maps.Values(groups), func(a, b *clockGroup) int { return cmp.Compare(a.zones[0].String(), b.zones[0].String()) })
}

// spansToWatch are four days around each change of the clock and, some months
// apart, another day.
func spansToWatch(changes []time.Time, begin, end time.Time) (spans [][2]time.Time) {
	if *zonesForm == "full" {
		for from := begin; from.Before(end); from = from.AddDate(0, 0, 30) {
			spans = append(spans, [2]time.Time{from, from.AddDate(0, 0, 30)})
		}
		return spans
	}
	for _, change := range changes {
		spans = append(spans, [2]time.Time{change.AddDate(0, 0, -2), change.AddDate(0, 0, 2)})
	}
	for from := begin; from.Before(end); from = from.Add(503*24*time.Hour + 7*time.Hour) {
		spans = append(spans, [2]time.Time{from, from.AddDate(0, 0, 1)})
	}
	return spans
}

// agree compares the zones of a group, around each change, with the one that was
// watched.
func agree(t *testing.T, group *clockGroup) {
	t.Helper()
	const window, spec = "Sat 23:10 - Sun 02:20; Mon-Fri 00:30-03:30; 12:00-13:00", "*/30 0-3 * * *"
	first := weekly(t, group.zones[0].String(), window)
	firstCron, err := schedule.ParseCron(spec, group.zones[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range group.zones[1:] {
		s := weekly(t, other.String(), window)
		c, err := schedule.ParseCron(spec, other)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range append(group.changes, time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)) {
			for _, minutes := range []time.Duration{-24 * 60, -1, 0, 60} {
				now := change.Add(minutes * time.Minute)
				a, _ := first.Next(now)
				b, _ := s.Next(now)
				x, _ := firstCron.Next(now)
				y, _ := c.Next(now)
				if a != b || first.At(now) != s.At(now) || !x.Equal(y) {
					t.Fatalf("%s and %s show the same, but after %s have %v and %v, %s and %s", group.zones[0], other, now, a, b, x, y)
				}
			}
		}
	}
}
