package schedule_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/policies/schedule"
)

// A wallWatcher watched the wall clock of a zone, minute by minute, and wrote
// down when it showed what. It is the slow and obviously right way: the instant
// of a wall time is the first at which the clock shows that time or a later one.
type wallWatcher struct {
	zone  *time.Location
	begin time.Time   // the first instant watched
	shown []time.Time // by minute watched: the wall time, as if in UTC
	base  time.Time   // the wall time of first[0]
	first []time.Time // by minute of wall time from base: the first instant that shows it, or a later one
}

// watch watches the days of a month, and the weeks before and after it.
func watch(zone *time.Location, year int, month time.Month) *wallWatcher {
	w := &wallWatcher{zone: zone, begin: time.Date(year, month, -13, 0, 0, 0, 0, time.UTC)}
	end := time.Date(year, month+1, 14, 0, 0, 0, 0, time.UTC)
	for t := w.begin; t.Before(end); t = t.Add(time.Minute) {
		local := t.In(zone)
		y, m, d := local.Date()
		shown := time.Date(y, m, d, local.Hour(), local.Minute(), 0, 0, time.UTC)
		if len(w.shown) == 0 {
			w.base = shown
		}
		w.shown = append(w.shown, shown)
		for !w.base.Add(time.Duration(len(w.first)) * time.Minute).After(shown) {
			w.first = append(w.first, t)
		}
	}
	return w
}

// aroundChange is from two days before to two days after the clocks change in
// a month, or around its middle.
func (w *wallWatcher) aroundChange(month time.Month) (begin, end time.Time) {
	middle := w.begin.AddDate(0, 0, 28)
	for n := range w.shown[1:] {
		if w.shown[n].Month() == month && !w.shown[n+1].Equal(w.shown[n].Add(time.Minute)) {
			middle = w.begin.Add(time.Duration(n) * time.Minute)
			break
		}
	}
	return middle.AddDate(0, 0, -2), middle.AddDate(0, 0, 2)
}

// instant is the first at which the clock shows a wall time, or a later one.
func (w *wallWatcher) instant(wall time.Time) (time.Time, bool) {
	n := int(wall.Sub(w.base) / time.Minute)
	if wall.Before(w.base) || n >= len(w.first) {
		return time.Time{}, false
	}
	return w.first[n], true
}

// covered tells for each minute watched whether windows cover it: those that
// begin on the days that match, at a time, and end so many minutes later.
func (w *wallWatcher) covered(windows []plainWindow) []bool {
	out := make([]bool, len(w.shown))
	for day := w.base.Truncate(24*time.Hour).AddDate(0, 0, 1); day.Before(w.base.AddDate(0, 0, 70)); day = day.AddDate(0, 0, 1) {
		for _, x := range windows {
			if !x.on(day) {
				continue
			}
			from, ok := w.instant(day.Add(x.from))
			if !ok {
				continue
			}
			to, ok := w.instant(day.Add(x.from + x.lasts))
			if !ok {
				to = w.begin.Add(time.Duration(len(out)) * time.Minute)
			}
			for t := from; t.Before(to); t = t.Add(time.Minute) {
				out[t.Sub(w.begin)/time.Minute] = true
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

func TestWindowsAgainstAWatchOnTheWallClock(t *testing.T) {
	for _, m := range watched {
		z := zone(t, m.zone)
		clockwatch := watch(z, m.year, m.month)
		begin, end := clockwatch.aroundChange(m.month)
		for _, x := range written {
			w := weekly(t, m.zone, x.text)
			covered := clockwatch.covered(x.windows)
			state := func(t time.Time) schedule.State {
				if covered[t.Sub(clockwatch.begin)/time.Minute] {
					return schedule.Running
				}
				return schedule.Stopped
			}
			next, more := w.Next(begin)
			var newest time.Time
			for now := begin; now.Before(end); now = now.Add(time.Minute) {
				want := state(now)
				if got := w.At(now); got != want {
					t.Fatalf("%q at %s: got %s, want %s", x.text, now.In(z), got, want)
				}
				if now.Equal(begin) || want == state(now.Add(-time.Minute)) {
					if prev, ok := w.Prev(now); now.Minute()%10 == 5 && ok && prev.At.After(begin) && !prev.At.Equal(newest) {
						t.Fatalf("%q: newest edge at %s is %s, want %s", x.text, now.In(z), prev.At.In(z), newest.In(z))
					}
					continue
				}
				newest = now
				if !more || !next.At.Equal(now) || next.To != want {
					t.Fatalf("%q: next edge %s to %s (%v), want %s to %s", x.text, next.At.In(z), next.To, more, now.In(z), want)
				}
				for _, later := range []time.Duration{0, time.Second, time.Minute} {
					if prev, ok := w.Prev(now.Add(later)); state(now.Add(later)) == want && (!ok || !prev.At.Equal(now) || prev.To != want) {
						t.Fatalf("%q: prev of %s is %s to %s (%v)", x.text, now.In(z), prev.At.In(z), prev.To, ok)
					}
				}
				next, more = w.Next(now)
			}
			if more && next.At.Before(end) {
				t.Fatalf("%q: an edge at %s to %s, want none", x.text, next.At.In(z), next.To)
			}
		}
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

// fires lists the planned times of a spec among the minutes watched.
func (w *wallWatcher) fires(c plainCron) []time.Time {
	matches := func(wall time.Time) bool { return c.on(wall) && c.hour(wall.Hour()) && c.minute(wall.Minute()) }
	var out []time.Time
	if c.elapsed {
		for n, wall := range w.shown {
			if matches(wall) {
				out = append(out, w.begin.Add(time.Duration(n)*time.Minute))
			}
		}
		return out
	}
	for n, t := range w.first {
		if matches(w.base.Add(time.Duration(n) * time.Minute)) {
			out = append(out, t)
		}
	}
	return slices.CompactFunc(out, time.Time.Equal)
}

func TestCronAgainstAWatchOnTheWallClock(t *testing.T) {
	for _, m := range watched {
		z := zone(t, m.zone)
		clockwatch := watch(z, m.year, m.month)
		begin, end := clockwatch.aroundChange(m.month)
		for _, x := range writtenCrons {
			c, err := schedule.ParseCron(x.text, z)
			if err != nil {
				t.Fatal(err)
			}
			now := begin
			for _, want := range clockwatch.fires(x) {
				if !want.After(begin) || !want.Before(end) {
					continue
				}
				got, ok := c.Next(now)
				if !ok || !got.Equal(want) {
					t.Fatalf("%q after %s: got %s, want %s", x.text, now.In(z), got.In(z), want.In(z))
				}
				for _, later := range []time.Duration{0, time.Second} {
					if prev, ok := c.Prev(want.Add(later)); !ok || !prev.Equal(want) {
						t.Fatalf("%q: newest at %s is %s, want %s", x.text, want.Add(later).In(z), prev.In(z), want.In(z))
					}
				}
				now = want
			}
			if got, ok := c.Next(now); ok && got.Before(end) {
				t.Fatalf("%q after %s: got %s, want none before %s", x.text, now.In(z), got.In(z), end.In(z))
			}
		}
	}
}
