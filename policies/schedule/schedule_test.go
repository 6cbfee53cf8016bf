package schedule_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"

	"nightshift/policies/schedule"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := schedule.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func weekly(t testing.TB, zoneName string, running ...string) *schedule.Weekly {
	t.Helper()
	w, err := schedule.ParseWeekly(running, nil, zone(t, zoneName))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func at(t testing.TB, zoneName, text string) time.Time {
	t.Helper()
	when, err := time.ParseInLocation("2006-01-02 15:04", text, zone(t, zoneName))
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestAWindowCovers(t *testing.T) {
	const london = "Europe/London"
	for _, tt := range []struct {
		window, at string
		want       schedule.State
	}{
		{"Mon-Fri 08:00-19:00", "2026-03-04 08:00", schedule.Running},
		{"Mon-Fri 08:00-19:00", "2026-03-04 07:59", schedule.Stopped},
		{"Mon-Fri 08:00-19:00", "2026-03-04 18:59", schedule.Running},
		{"Mon-Fri 08:00-19:00", "2026-03-04 19:00", schedule.Stopped},
		{"Mon-Fri 08:00-19:00", "2026-03-07 12:00", schedule.Stopped},
		{"Fri-Mon 10:00-11:00", "2026-03-08 10:30", schedule.Running},
		{"Fri-Mon 10:00-11:00", "2026-03-10 10:30", schedule.Stopped},
		{"Mon+Wed 10:00-11:00", "2026-03-04 10:30", schedule.Running},
		{"Mon+Wed 10:00-11:00", "2026-03-03 10:30", schedule.Stopped},
		{"22:00-06:00", "2026-03-04 05:59", schedule.Running},
		{"22:00-06:00", "2026-03-04 06:00", schedule.Stopped},
		{"Fri 22:00-06:00", "2026-03-07 03:00", schedule.Running}, // belongs to the Friday
		{"Sat 22:00-06:00", "2026-03-07 03:00", schedule.Stopped},
		{"Sun 22:00 - Fri 19:00", "2026-03-06 18:59", schedule.Running},
		{"Sun 22:00 - Fri 19:00", "2026-03-06 19:00", schedule.Stopped},
		{"Sun 22:00 - Fri 19:00", "2026-03-08 21:59", schedule.Stopped},
		{"Sun 22:00 - Fri 19:00", "2026-03-08 22:00", schedule.Running},
		{"00:00-24:00", "2026-03-08 23:59", schedule.Running},
		{"18:00-24:00", "2026-03-08 23:59", schedule.Running},
		{"18:00-24:00", "2026-03-09 00:00", schedule.Stopped},
		{"Mon#1 10:00-11:00", "2026-03-02 10:30", schedule.Running},
		{"Mon#1 10:00-11:00", "2026-03-09 10:30", schedule.Stopped},
		{"FriL 10:00-11:00", "2026-03-27 10:30", schedule.Running},
		{"FriL 10:00-11:00", "2026-03-20 10:30", schedule.Stopped},
		{"FriL 10:00-11:00", "2026-07-31 10:30", schedule.Running},
		{"FriL 10:00-11:00", "2026-07-24 10:30", schedule.Stopped},
		{"1-15 10:00-11:00", "2026-03-15 10:30", schedule.Running},
		{"1-15 10:00-11:00", "2026-03-16 10:30", schedule.Stopped},
		{"L 10:00-11:00", "2026-02-28 10:30", schedule.Running},
		{"L 10:00-11:00", "2026-03-28 10:30", schedule.Stopped},
		{"31 10:00-11:00", "2026-02-28 10:30", schedule.Stopped},
		{"28-L 10:00-11:00", "2026-03-30 10:30", schedule.Running},
		{"Jan-Mar 1-15 10:00-11:00", "2026-03-15 10:30", schedule.Running},
		{"Jan-Mar 1-15 10:00-11:00", "2026-04-15 10:30", schedule.Stopped},
		{"Nov-Feb Mon 10:00-11:00", "2026-01-05 10:30", schedule.Running},
		{"Nov-Feb Mon 10:00-11:00", "2026-03-02 10:30", schedule.Stopped},
		{"2026-12-24..2027-01-01 10:00-11:00", "2026-12-31 10:30", schedule.Running},
		{"2026-12-24..2027-01-01 10:00-11:00", "2025-12-31 10:30", schedule.Stopped},
		{"2026-12-24 10:00-11:00", "2026-12-24 10:30", schedule.Running},
		{"Mon-Fri 08:00-12:00, Mon-Fri 13:00-19:00", "2026-03-04 12:30", schedule.Stopped},
		{"Mon-Fri 08:00-12:00; Sat 10:00-14:00", "2026-03-07 12:30", schedule.Running},
		{"Mon-Fri_08:00-19:00", "2026-03-04 12:00", schedule.Running},
		{"Sun_22:00_-_Fri_19:00", "2026-03-06 18:59", schedule.Running},
		{"Mon-Fri_08:00-19:00;Sat_10:00-14:00_America/New_York", "2026-03-04 12:59", schedule.Stopped}, // 07:59 there
		{"Mon-Fri_08:00-19:00;Sat_10:00-14:00_America/New_York", "2026-03-04 13:00", schedule.Running},
		{"Sun 22:00  -  Fri 19:00 UTC", "2026-03-06 18:59", schedule.Running},
		{"Mon-Fri\n08:00-19:00\tUTC\n", "2026-03-06 18:59", schedule.Running},
		{"Mon 08:00-08:00", "2026-03-03 07:59", schedule.Running}, // an end not after its start lies on the next day
		{"Mon 08:00-08:00", "2026-03-03 08:00", schedule.Stopped},
		{"Mon 00:00-00:00", "2026-03-02 23:59", schedule.Running},
		{"Mon 00:00-00:00", "2026-03-03 00:00", schedule.Stopped},
		{"Mon 09:00 - Mon 09:00", "2026-03-07 00:00", schedule.Running}, // a whole week
		{"Sun 24:00 - Tue 12:00", "2026-03-01 23:59", schedule.Stopped},
		{"Sun 24:00 - Tue 12:00", "2026-03-02 00:00", schedule.Running},
		{"Monday-friday 8:00-19:00", "2026-03-04 08:00", schedule.Running},
		{"Friday#1+MondayL 8:00-19:00", "2026-03-30 08:00", schedule.Running},
		{"January-March+July 1-15 10:00-11:00", "2026-07-15 10:30", schedule.Running},
		{"May 10:00-11:00", "2026-05-15 10:30", schedule.Running},
		{"Feb 29-L 10:00-11:00", "2028-02-29 10:30", schedule.Running},
		{"Feb 29-L 10:00-11:00", "2026-02-28 10:30", schedule.Stopped},
		{"Mon#5 10:00-11:00", "2026-03-30 10:30", schedule.Running},
		{"25-L+1-5 10:00-11:00", "2026-03-05 10:30", schedule.Running},
	} {
		if got := weekly(t, london, tt.window).At(at(t, london, tt.at)); got != tt.want {
			t.Errorf("%s at %s: got %s, want %s", tt.window, tt.at, got, tt.want)
		}
	}
}

func TestTheComplementAndOneSidedSchedules(t *testing.T) {
	london := zone(t, "Europe/London")
	night, err := schedule.ParseWeekly(nil, []string{"22:00-06:00"}, london)
	if err != nil {
		t.Fatal(err)
	}
	noon, midnight := at(t, "Europe/London", "2026-03-04 12:00"), at(t, "Europe/London", "2026-03-04 00:00")
	if got := night.At(noon); got != schedule.Running {
		t.Errorf("outside a stopped window: %s, want running", got)
	}
	if got := night.At(midnight); got != schedule.Stopped {
		t.Errorf("in a stopped window: %s, want stopped", got)
	}
	if got := night.OneSided().At(noon); got != schedule.Any {
		t.Errorf("one-sided, outside: %s, want any", got)
	}
	both, err := schedule.ParseWeekly([]string{"08:00-10:00"}, []string{"20:00-22:00"}, london)
	if err != nil {
		t.Fatal(err)
	}
	if got := both.At(noon); got != schedule.Any {
		t.Errorf("between running and stopped windows: %s, want any", got)
	}
}

func TestEdgesOverDaylightSaving(t *testing.T) {
	for _, tt := range []struct{ name, zone, window, after, want string }{
		{"a start in the gap happens right after it", "Europe/London", "01:30-05:00", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"a start in the overlap happens at its first reading", "Europe/London", "01:30-05:00", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z"},
		{"the morning after clocks went forward keeps its wall time", "Europe/London", "Mon-Fri 08:00-19:00", "2026-03-29T12:00:00Z", "2026-03-30T07:00:00Z"},
		{"half an hour of daylight saving", "Australia/Lord_Howe", "02:15-05:00", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z"},
		{"a day whose midnight does not exist", "Africa/Cairo", "00:00-06:00", "2026-04-23T12:00:00Z", "2026-04-23T22:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after, _ := time.Parse(time.RFC3339, tt.after)
			got, ok := weekly(t, tt.zone, tt.window).Next(after)
			if !ok || got.At.UTC().Format(time.RFC3339) != tt.want || got.To != schedule.Running {
				t.Errorf("got %s %s %v, want %s running", got.At.UTC().Format(time.RFC3339), got.To, ok, tt.want)
			}
		})
	}
}

func TestAdjacentWindowsHaveNoEdgeBetweenThem(t *testing.T) {
	w := weekly(t, "Europe/London", "Mon 08:00-12:00", "Mon 12:00-18:00", "Mon 17:00-19:00")
	start, _ := w.Next(at(t, "Europe/London", "2026-03-02 00:00"))
	end, _ := w.Next(start.At)
	if got := end.At.Sub(start.At); got != 11*time.Hour {
		t.Errorf("the joined window lasts %s, want 11h", got)
	}
}

func TestAScheduleThatNeverChangesHasNoEdges(t *testing.T) {
	for _, window := range []string{"00:00-24:00", "Mon-Sun 00:00-24:00", "08:00-08:00", "Mon 05:00 - Mon 05:00", "Mon-Thu 00:00-24:00; Fri 00:00 - Mon 00:00", "1-L 00:00-24:00", "Mon-Fri 20:00-10:00; 10:00-20:00; Sat 00:00 - Mon 10:00"} {
		w, now := weekly(t, "Europe/London", window), at(t, "Europe/London", "2026-03-02 00:00")
		if got, ok := w.Next(now); ok {
			t.Errorf("%s: next edge %v, want none", window, got)
		}
		if got, ok := w.Prev(now); ok {
			t.Errorf("%s: newest edge %v, want none", window, got)
		}
	}
}

func TestDatesGoneByHaveNoNextEdge(t *testing.T) {
	w, now := weekly(t, "Europe/London", "2020-01-01..2020-02-01 10:00-11:00, 1999-12-31 23:00-01:00"), at(t, "Europe/London", "2026-03-02 00:00")
	if got, ok := w.Next(now); ok {
		t.Errorf("next edge %v, want none", got)
	}
	if got, ok := w.Prev(now); !ok || !got.At.Equal(at(t, "Europe/London", "2020-02-01 11:00")) {
		t.Errorf("newest edge %v, want the last there was", got)
	}
	if got, ok := w.Prev(at(t, "Europe/London", "1999-12-31 22:59")); ok {
		t.Errorf("newest edge before the first %v, want none", got)
	}
	if got, ok := w.Next(at(t, "Europe/London", "1971-01-01 00:00")); !ok || !got.At.Equal(at(t, "Europe/London", "1999-12-31 23:00")) {
		t.Errorf("next edge long before %v, want the first", got)
	}
}

func TestWindowsThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		text string
		pos  int
		want string
	}{
		{"9-17", 0, "not a time of day"},
		{"Mon-Fri 25:00-26:00", 8, `there is no "25:00"`},
		{"Mon-Fri 08:60-09:00", 8, `there is no "08:60"`},
		{"Mon-Fri 24:00-06:00", 8, "cannot begin at 24:00"},
		{"Foo 08:00-09:00", 0, "not a day"},
		{"Mon#6 08:00-09:00", 3, "not the number of a weekday"},
		{"Mon-Fri 08:00-19:00 Europe/Lundon", 20, "not a known zone"},
		{"Mon-Fri 08:00-19:00 Local", 20, "not the name of a zone"},
		{"08:00-19:00,", 12, "a window is empty"},
		{"", 0, "a window is empty"},
		{"2026-13-24 08:00-19:00", 0, "not"},
		{"2027-01-01..2026-12-24 08:00-19:00", 0, "before it begins"},
		{"1-15+Mon 08:00-09:00", 5, "mixes weekdays and days of the month"},
		{"32 08:00-09:00", 0, "not a day"},
		{"Sun 22:00 - Foo 19:00", 12, "not a weekday and a time"},
		{"Sun 22:00 -  Fri 19:60", 17, `there is no "19:60"`},
		{"Sun 22:00 - 19:00", 12, "not a weekday and a time"},
		{"9-17 Europe/London", 0, "not a time of day"},
		{"Mon_08:00-09:00_America/New_Yrok", 16, "America/New_York"},
		{"Mon 08:00-09:00 Europe/London; Tue 08:00-09:00", 16, "a zone stands once"},
		{"Mon 08:00-+9:00", 10, "not a time of day"},
		{"Mon 08:00-09:0", 10, "not a time of day"},
		{"Mon 008:00-09:00", 4, "not a time of day"},
		{"Mon 08:00-09:00-10:00", 10, "not a time of day"},
		{"Mon Tue 08:00-09:00", 4, "join days with +"},
		{"Mon+ 08:00-09:00", 4, "a day is missing"},
		{"Mon-Fri+Thx 08:00-09:00", 8, "not a day"},
		{"Mon-Frx 08:00-09:00", 4, "not a weekday"},
		{"Jan+Mon 08:00-09:00", 4, "not a month"},
		{"Jan+15 08:00-09:00", 4, "not a month"},
		{"Jan- 08:00-09:00", 0, "not a month"},
		{"Jan Feb 08:00-09:00", 4, "not a day"},
		{"Feb 30 08:00-09:00", 0, "never comes"},
		{"Feb 30-L 08:00-09:00", 0, "never comes"},
		{"Apr+Jun 31 08:00-09:00", 0, "never comes"},
		{"25-5 08:00-09:00", 0, "25-L+1-5"},
		{"0 08:00-09:00", 0, "not a day"},
		{"+5 08:00-09:00", 0, "a day is missing"},
		{"2026-02-29 08:00-09:00", 0, "not a day"},
		{"2026-12-24..2027-02-29 08:00-09:00", 12, "not a date"},
		{"0001-01-01..2026-02-20 08:00-09:00", 0, "not a date"},
	} {
		_, err := schedule.ParseWeekly([]string{tt.text}, nil, time.UTC)
		var fault *schedule.Error
		if !errors.As(err, &fault) {
			t.Errorf("%q: got %v, want an error", tt.text, err)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) || fault.Pos != tt.pos {
			t.Errorf("%q: got %q at %d, want %q at %d", tt.text, err, fault.Pos, tt.want, tt.pos)
		}
	}
}

func TestWindowsArePrintedCanonically(t *testing.T) {
	for text, want := range map[string]string{
		"mon-FRIDAY_8:00-19:00_Europe/London": "Mon-Fri 08:00-19:00 Europe/London",
		"Fri-Mon 00:00-00:00":                 "Mon+Fri-Sun 00:00-24:00 UTC",
		"Sun 24:00  -  Tue 12:00":             "Mon 00:00 - Tue 12:00 UTC",
		"Sun 22:00 - Sun 24:00":               "Sun 22:00 - Mon 00:00 UTC",
		"january-march l+1-15 23:00-01:00":    "Jan+Feb+Mar L+1-15 23:00-01:00 UTC",
		"FRIl+tue+Monday#2 08:00-08:00":       "Tue+FriL+Mon#2 08:00-08:00 UTC",
		"2026-12-24..2026-12-24 1:00-2:00":    "2026-12-24..2026-12-24 01:00-02:00 UTC",
		"Mon 08:00-09:00,Tue 08:00-09:00":     "Mon 08:00-09:00; Tue 08:00-09:00 UTC",
	} {
		if got := weekly(t, "UTC", text).Windows(schedule.Running); got != want {
			t.Errorf("%q: printed as %q, want %q", text, got, want)
		}
	}
}

func TestAScheduleHasOneZone(t *testing.T) {
	_, err := schedule.ParseWeekly([]string{"Mon 08:00-09:00 UTC", "Tue 08:00-09:00 Europe/London"}, nil, time.UTC)
	var fault *schedule.Error
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), "another line names UTC") || fault.Pos != 16 {
		t.Errorf("two zones: got %v", err)
	}
	w, err := schedule.ParseWeekly([]string{"Mon 08:00-09:00", "Tue 08:00-09:00 Europe/London"}, nil, time.UTC)
	if err != nil || w.Zone().String() != "Europe/London" {
		t.Errorf("the zone that a line names: got %v, %v", w, err)
	}
}

func TestRunningAndStoppedWindowsThatOverlapAreRefused(t *testing.T) {
	for _, tt := range []struct {
		running, stopped string
		overlap          bool
	}{
		{"Mon-Fri 08:00-19:00", "19:00-08:00", false},
		{"Mon-Fri 08:00-19:00", "18:59-20:00", true},
		{"Mon-Fri 08:00-19:00", "Sat+Sun 00:00-24:00", false},
		{"Mon-Fri 08:00-19:00", "Sun 23:00 - Mon 08:01", true},
		{"Sun 22:00 - Fri 19:00", "Wed 12:00-12:01", true},
		{"Sat 10:00-09:00", "Sun 08:30-10:00", true},
		{"Mon#1 10:00-11:00", "8-L 00:00-24:00", false},
		{"Mon#1 10:00-11:00", "7-L 00:00-24:00", true},
		{"Feb 29 10:00-11:00", "Mon 10:30-12:00", true},
		{"2026-12-24..2026-12-25 10:00-11:00", "Sat 10:00-11:00", false}, // a Thursday and a Friday
		{"2026-12-24..2026-12-26 10:00-11:00", "Sat 10:00-11:00", true},
		{"2026-12-24 23:00-02:00", "2026-12-25 01:59-05:00", true},
		{"2026-12-24 23:00-02:00", "2026-12-25 02:00-05:00", false},
		{"2060-12-24 10:00-11:00", "Dec 24 10:30-11:00", true},
	} {
		_, err := schedule.ParseWeekly([]string{tt.running}, []string{tt.stopped}, time.UTC)
		if tt.overlap && (err == nil || !strings.Contains(err.Error(), tt.running) || !strings.Contains(err.Error(), tt.stopped)) {
			t.Errorf("%q and %q: got %v, want an error that names both", tt.running, tt.stopped, err)
		}
		if !tt.overlap && err != nil {
			t.Errorf("%q and %q: %v", tt.running, tt.stopped, err)
		}
	}
}

func TestCronNext(t *testing.T) {
	for _, tt := range []struct{ name, zone, spec, after, want string }{
		{"weekdays at half past five", "Europe/London", "30 5 * * MON-FRI", "2026-03-06T06:00:00Z", "2026-03-09T05:30:00Z"},
		{"7 is Sunday", "UTC", "0 0 * * 7", "2026-03-04T00:00:00Z", "2026-03-08T00:00:00Z"},
		{"5-7 is Friday to Sunday", "UTC", "0 0 * * 5-7", "2026-03-07T00:00:00Z", "2026-03-08T00:00:00Z"},
		{"@daily", "Europe/London", "@daily", "2026-07-01T12:00:00Z", "2026-07-01T23:00:00Z"},
		{"day of month or weekday, when both are given", "UTC", "0 0 13 * FRI", "2026-03-07T00:00:00Z", "2026-03-13T00:00:00Z"},
		{"a time in the gap happens right after it", "Europe/London", "30 1 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"a time in the overlap happens once", "Europe/London", "30 1 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"every hour follows elapsed time through the overlap", "Europe/London", "30 * * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		{"every hour has no hour in the gap", "Europe/London", "30 * * * *", "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"},
		{"a day whose midnight does not exist is not lost", "Africa/Cairo", "0 8 24 * *", "2026-04-20T00:00:00Z", "2026-04-24T05:00:00Z"},
		{"SAT-SUN is the weekend", "UTC", "0 0 * * SAT-SUN", "2026-03-07T00:00:00Z", "2026-03-08T00:00:00Z"},
		{"SAT-SUN is not the week", "UTC", "0 0 * * sat-sun", "2026-03-08T00:00:00Z", "2026-03-14T00:00:00Z"},
		{"SUN-SUN is Sunday", "UTC", "0 0 * * SUN-SUN", "2026-03-08T00:00:00Z", "2026-03-15T00:00:00Z"},
		{"1-7/3 is Monday, Thursday and Sunday", "UTC", "0 0 * * 1-7/3", "2026-03-05T00:00:00Z", "2026-03-08T00:00:00Z"},
		{"0-7 is every day", "UTC", "0 0 * * 0-7", "2026-03-05T00:00:00Z", "2026-03-06T00:00:00Z"},
		{"? is *", "UTC", "0 0 1 * ?", "2026-03-05T00:00:00Z", "2026-04-01T00:00:00Z"},
		{"a step from a minute on", "UTC", "5/20 * * * *", "2026-03-05T00:25:00Z", "2026-03-05T00:45:00Z"},
		{"a leap day over the year 2100, which has none", "UTC", "0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"several times in the gap happen once", "Europe/London", "*/20 0-2 * * *", "2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z"},
		{"every second hour does not follow elapsed time", "Europe/London", "30 */2 * * *", "2026-10-25T00:00:00Z", "2026-10-25T02:30:00Z"},
		{"a day that a zone skipped", "Pacific/Apia", "0 12 30 * *", "2011-12-29T12:00:00Z", "2011-12-30T10:00:00Z"},
		{"a leap day", "UTC", "0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := schedule.ParseCron(tt.spec, zone(t, tt.zone))
			if err != nil {
				t.Fatal(err)
			}
			after, _ := time.Parse(time.RFC3339, tt.after)
			if got, _ := c.Next(after); got.Format(time.RFC3339) != tt.want {
				t.Errorf("got %s, want %s", got.Format(time.RFC3339), tt.want)
			}
		})
	}
}

func TestCronSpecsThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		spec string
		pos  int
		want string
	}{
		{"", 0, "empty"},
		{"0 8 * *", 0, "4 fields"},
		{"0 0 8 * * *", 0, "6 fields"},
		{"*/90 * * * *", 2, "by accident"},
		{"0,,1 * * * *", 2, "empty item"},
		{"60 * * * *", 0, "no minute 60"},
		{"0 24 * * *", 2, "no hour 24"},
		{"0 8 * * MOO", 8, "not a weekday"},
		{"0 8 30 2 *", 0, "never fires"},
		{"0 8 * * 5-3", 8, "ends before"},
		{"@every 1h", 0, "no planned time"},
		{"TZ=UTC 0 8 * * *", 0, "zone cannot stand"},
		{"TZ=UTC", 0, "zone cannot stand"},
		{"@sometimes", 0, "not a cron spec"},
		{"@reboot", 0, "no planned time"},
		{"0-70 * * * *", 2, "no minute 70"},
		{"+5 * * * *", 0, "not a minute"},
		{"-5 * * * *", 0, "not a minute"},
		{"50/15 * * * *", 3, "by accident"},
		{"10-20/15 * * * *", 6, "by accident"},
		{"*/0 * * * *", 2, "not a number from 1"},
		{"*/5/2 * * * *", 2, "not a number from 1"},
		{"0 8 * * */7", 10, "by accident"},
		{"0 8 * * 7/2", 10, "by accident"},
		{"0,* * * * *", 2, "means nothing"},
		{"? * * * *", 0, "not a minute"},
		{"0 0 0 * *", 4, "no day of month 0"},
		{"0 0 1 13 *", 6, "no month 13"},
		{"0 0 1 JANUARY *", 6, "not a month"},
		{"0 8 * * FRI-MON", 8, "FRI-6,0-MON"},
		{"0 22-6 * * *", 2, "22-23,0-6"},
		{"0 8 31 4,6,9,11 *", 0, "never fires"},
		{"0 8 1 * MON-SUN", 0, "every day by accident"},
		{"0 8 1-31 * MON", 0, "every day by accident"},
		{"  0   8  * *  MOO", 14, "not a weekday"},
		{"CRON_TZ=UTC 0 8 * * *", 0, "zone cannot stand"},
	} {
		_, err := schedule.ParseCron(tt.spec, time.UTC)
		var fault *schedule.Error
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), tt.want) || fault.Pos != tt.pos {
			t.Errorf("%q: got %v, want %q at %d", tt.spec, err, tt.want, tt.pos)
		}
	}
}

func TestZonesThatAreRefused(t *testing.T) {
	for name, want := range map[string]string{
		"": "not the name", "Local": "not the name", "localtime": "not the name", "posixrules": "not the name", "Factory": "not the name",
		"right/Europe/London": "not the name", "europe/london": "Europe/London?", "BST": "Europe/London?", "utc": "UTC?", "New York": "America/New_York?",
		"Europe/Lundon": "Europe/London?", "Europe/Lodnon": "Europe/London?", "america/port_of_spain": "America/Port_of_Spain?", "Kathmandu": "Asia/Kathmandu?",
		"America/Buenos Aires": "IANA", "Nowhere": "IANA", "../UTC": "IANA", " UTC": "IANA", "GMT+1": "IANA",
	} {
		_, err := schedule.LoadZone(name)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", name, err, want)
		}
	}
}

var zones = []string{"UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "Asia/Gaza", "America/Santiago"}

// anyWindow draws a window in the file's grammar.
func anyWindow(t *rapid.T, label string) string {
	days := rapid.SampledFrom([]string{"", "Mon-Fri ", "Fri-Mon ", "Sat+Sun ", "Mon#1 ", "FriL ", "1-15 ", "L ", "Mar-Oct ", "Oct-Nov 20-L ", "2026-03-20..2026-04-10 ", "2027-10-31 "}).Draw(t, label+" days")
	from := rapid.IntRange(0, 1439).Draw(t, label+" from")
	to := rapid.IntRange(1, 1440).Draw(t, label+" to")
	if from == to {
		to = from%1440 + 1
	}
	clock := func(m int) string { return time.Date(2000, 1, 1, 0, m, 0, 0, time.UTC).Format("15:04") }
	end := clock(to)
	if to == 1440 {
		end = "24:00"
	}
	if rapid.IntRange(0, 5).Draw(t, label+" span") == 0 {
		weekday := rapid.SampledFrom([]string{"Mon", "Tue", "Fri", "Sat", "Sun"})
		return weekday.Draw(t, label+" first") + " " + clock(from) + " - " + weekday.Draw(t, label+" last") + " " + end
	}
	return days + clock(from) + "-" + end
}

// drawWeekly draws a schedule of every form: running or stopped windows or both,
// one-sided or not.
func drawWeekly(t *rapid.T) *schedule.Weekly {
	z, err := schedule.LoadZone(rapid.SampledFrom(zones).Draw(t, "zone"))
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{anyWindow(t, "first")}
	if rapid.Bool().Draw(t, "two") {
		lines = append(lines, anyWindow(t, "second"))
	}
	running, stopped := lines, []string(nil)
	switch rapid.SampledFrom([]string{"running", "stopped", "both"}).Draw(t, "sides") {
	case "stopped":
		running, stopped = nil, lines
	case "both":
		stopped = []string{anyWindow(t, "stopped")}
	}
	w, err := schedule.ParseWeekly(running, stopped, z)
	if err != nil && strings.Contains(err.Error(), "overlap") {
		w, err = schedule.ParseWeekly(running, nil, z)
	}
	if err != nil {
		t.Fatalf("%q %q: %v", running, stopped, err)
	}
	if rapid.Bool().Draw(t, "only") {
		w = w.OneSided()
	}
	return w
}

// drawLevel draws a schedule, with or without days on which it makes an exception.
func drawLevel(t *rapid.T) *schedule.Weekly {
	w := drawWeekly(t)
	var rules []schedule.Exception
	for n := range rapid.IntRange(0, 2).Draw(t, "exceptions") {
		rule := schedule.Exception{Calendar: drawCalendar(t), Name: fmt.Sprint(n)}
		rule.Use = rapid.SampledFrom([]schedule.Use{schedule.UseNever, schedule.UseAlways, schedule.UseUnchanged, schedule.UseSchedule}).Draw(t, "use")
		if rule.Use == schedule.UseSchedule {
			rule.Schedule = drawWeekly(t)
		}
		rules = append(rules, rule)
	}
	if rules == nil {
		return w
	}
	return w.Except(rules)
}

// drawCalendar draws dates, often those on which clocks change, or events with
// times, which are on other dates in other zones.
func drawCalendar(t *rapid.T) *schedule.Calendar {
	c, err := schedule.ParseDates([]string{rapid.SampledFrom([]string{
		"12-25", "03-29", "10-25", "2026-03-28..2026-03-30", "2026-10-24..2026-10-26", "2027-10-31", "02-29",
	}).Draw(t, "dates")})
	if rapid.IntRange(0, 2).Draw(t, "from a file") == 0 {
		start := instant(t).Format("20060102T150405Z")
		rule := rapid.SampledFrom([]string{"FREQ=WEEKLY", "FREQ=DAILY;INTERVAL=11", "FREQ=MONTHLY;BYDAY=-1SU", "FREQ=YEARLY"}).Draw(t, "rule")
		c, err = schedule.ParseICal(vcal("DTSTART:" + start + "\nDURATION:PT" + fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "hours")) + "H\nRRULE:" + rule))
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// instant draws one between 2024 and 2032, often near a change of the clocks.
func instant(t *rapid.T) time.Time {
	base := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	if rapid.Bool().Draw(t, "near a change") {
		base = time.Date(rapid.IntRange(2024, 2031).Draw(t, "year"), rapid.SampledFrom([]time.Month{3, 4, 10, 11}).Draw(t, "month"), 1, 0, 0, 0, 0, time.UTC)
		return base.Add(time.Duration(rapid.IntRange(0, 31*24*60).Draw(t, "minute")) * time.Minute)
	}
	return base.Add(time.Duration(rapid.IntRange(0, 8*365*24*60).Draw(t, "minute")) * time.Minute)
}

func TestNextIsStrictlyLaterAndTheSameFromAnyInstantBeforeIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, from := drawLevel(t), instant(t)
		next, ok := w.Next(from)
		if !ok {
			return
		}
		if !next.At.After(from) || next.At.Location() != time.UTC {
			t.Fatalf("next edge %s is not after %s, in UTC", next.At, from)
		}
		if w.At(from) == next.To || w.At(next.At) != next.To || w.At(next.At.Add(-time.Nanosecond)) != w.At(from) {
			t.Fatalf("from %s: state %s, before the edge %s, at it %s, to %s", from, w.At(from), w.At(next.At.Add(-time.Nanosecond)), w.At(next.At), next.To)
		}
		between := from.Add(time.Duration(rapid.Int64Range(0, int64(next.At.Sub(from))-1).Draw(t, "between")))
		if again, _ := w.Next(between); !again.At.Equal(next.At) {
			t.Fatalf("next from %s is %s, from %s it is %s", from, next.At, between, again.At)
		}
		if prev, ok := w.Prev(next.At); !ok || !prev.At.Equal(next.At) || prev.To != next.To {
			t.Fatalf("prev of the edge %s is %s", next.At, prev.At)
		}
	})
}

// TestAgainstAnObviousReference compares At with what a person would do: find
// the day on which a window begins, by looking at the wall clock minute by minute.
func TestAgainstAnObviousReference(t *testing.T) {
	for _, name := range zones {
		z := zone(t, name)
		w := weekly(t, name, "Mon-Fri 08:00-19:00", "Sat 22:30-02:15")
		for _, month := range []time.Month{3, 4, 9, 10, 11} {
			for minute := time.Date(2026, month, 1, 0, 0, 0, 0, z); minute.Month() == month; minute = minute.Add(7 * time.Minute) {
				clock := minute.Hour()*60 + minute.Minute()
				wd := minute.Weekday()
				weekday := wd >= time.Monday && wd <= time.Friday
				want := schedule.Stopped
				if weekday && clock >= 480 && clock < 1140 || wd == time.Saturday && clock >= 1350 || wd == time.Sunday && clock < 135 {
					want = schedule.Running
				}
				if got := w.At(minute); got != want {
					if nearChange(minute, z) {
						continue // the rules for gap and overlap have tests of their own
					}
					t.Fatalf("%s %s: got %s, want %s", name, minute, got, want)
				}
			}
		}
	}
}

func nearChange(t time.Time, z *time.Location) bool {
	_, a := t.Add(-3 * time.Hour).In(z).Zone()
	_, b := t.Add(3 * time.Hour).In(z).Zone()
	return a != b
}

func TestTheStateIsTheFoldOfTheEdges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, from := drawLevel(t), instant(t)
		state, now := w.At(from), from
		var edges []schedule.Transition
		for len(edges) < 20 {
			next, ok := w.Next(now)
			if !ok {
				break
			}
			if next.To == state {
				t.Fatalf("%s: the edge at %s changes nothing", w, next.At)
			}
			for range 3 {
				between := now.Add(time.Duration(rapid.Int64Range(0, int64(next.At.Sub(now))-1).Draw(t, "between")))
				if got := w.At(between); got != state {
					t.Fatalf("%s at %s: %s, want %s as since %s", w, between, got, state, now)
				}
			}
			edges = append(edges, next)
			now, state = next.At, next.To
		}
		for i := len(edges) - 1; i > 0; i-- { // and the same way back
			prev, ok := w.Prev(edges[i].At.Add(-time.Nanosecond))
			if !ok || prev != edges[i-1] {
				t.Fatalf("%s: before %v comes %v, want %v", w, edges[i], prev, edges[i-1])
			}
		}
	})
}

func TestJoiningAdjacentWindowsChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z, err := schedule.LoadZone(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		days := rapid.SampledFrom([]string{"", "Mon-Fri ", "Sun ", "SunL ", "20-L "}).Draw(t, "days")
		minutes := rapid.SliceOfNDistinct(rapid.IntRange(0, 1439), 3, 3, rapid.ID[int]).Draw(t, "minutes")
		slices.Sort(minutes)
		clock := func(n int) string { return fmt.Sprintf("%02d:%02d", minutes[n]/60, minutes[n]%60) }
		one, err := schedule.ParseWeekly([]string{days + clock(0) + "-" + clock(2)}, nil, z)
		if err != nil {
			t.Fatal(err)
		}
		two, err := schedule.ParseWeekly([]string{days + clock(1) + "-" + clock(2) + ", " + days + clock(0) + "-" + clock(1)}, nil, z)
		if err != nil {
			t.Fatal(err)
		}
		now := instant(t)
		if one.At(now) != two.At(now) {
			t.Fatalf("at %s %s wants %s, and %s wants %s", now, one, one.At(now), two, two.At(now))
		}
		for range 10 {
			a, _ := one.Next(now)
			b, _ := two.Next(now)
			c, _ := one.Prev(now)
			d, _ := two.Prev(now)
			if a != b || c != d {
				t.Fatalf("around %s %s has %v and %v, %s has %v and %v", now, one, c, a, two, d, b)
			}
			now = a.At
		}
	})
}

func TestStoppedWindowsAreTheOppositeOfRunningWindows(t *testing.T) {
	opposite := map[schedule.State]schedule.State{schedule.Running: schedule.Stopped, schedule.Stopped: schedule.Running}
	rapid.Check(t, func(t *rapid.T) {
		z, err := schedule.LoadZone(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		line, now := []string{anyWindow(t, "window")}, instant(t)
		running, err := schedule.ParseWeekly(line, nil, z)
		if err != nil {
			t.Fatal(err)
		}
		stopped, err := schedule.ParseWeekly(nil, line, z)
		if err != nil {
			t.Fatal(err)
		}
		a, okA := running.Next(now)
		b, okB := stopped.Next(now)
		if running.At(now) != opposite[stopped.At(now)] || okA != okB || !a.At.Equal(b.At) || okA && a.To != opposite[b.To] {
			t.Fatalf("%q at %s: %s and %s, next %v and %v", line, now, running.At(now), stopped.At(now), a, b)
		}
		if only := running.OneSided(); (only.At(now) == schedule.Any) != (running.At(now) == schedule.Stopped) {
			t.Fatalf("%q one-sided at %s: %s", line, now, only.At(now))
		}
	})
}

// Several lines, in any order, mean the same as one.
func TestTheOrderOfWindowsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z, err := schedule.LoadZone(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		lines := []string{anyWindow(t, "first"), anyWindow(t, "second"), anyWindow(t, "third")}
		one, err := schedule.ParseWeekly([]string{strings.Join(lines, "; ")}, nil, z)
		if err != nil {
			t.Fatal(err)
		}
		other, err := schedule.ParseWeekly(rapid.Permutation(lines).Draw(t, "order"), nil, z)
		if err != nil {
			t.Fatal(err)
		}
		now := instant(t)
		a, _ := one.Next(now)
		b, _ := other.Next(now)
		if c, _ := one.Prev(now); a != b || one.At(now) != other.At(now) {
			t.Fatalf("at %s %s wants %s, then %v, since %v; %s wants %s, then %v", now, one, one.At(now), a, c, other, other.At(now), b)
		}
	})
}

// An exception for dates that never come, or that leaves all as it is, changes
// nothing.
func TestAnExceptionThatExceptsNothingChangesNothing(t *testing.T) {
	never, err := schedule.ParseDates([]string{"1970-01-01"})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		w, now := drawWeekly(t), instant(t)
		same := w.Except([]schedule.Exception{{Calendar: never, Use: schedule.UseNever}, {Calendar: drawCalendar(t), Use: schedule.UseUnchanged}})
		a, okA := w.Next(now)
		b, okB := same.Next(now)
		c, _ := w.Prev(now)
		d, _ := same.Prev(now)
		if w.At(now) != same.At(now) || a != b || okA != okB || c != d && c.At.Year() > 1970 {
			t.Fatalf("%s at %s: %s, %v and %v; with an exception %s, %v and %v", w, now, w.At(now), c, a, same.At(now), d, b)
		}
	})
}

func TestWhatParsesPrintsAndParsesBackEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWeekly(t)
		again, err := schedule.ParseWeekly(lines(w, schedule.Running), lines(w, schedule.Stopped), time.UTC)
		if err != nil {
			t.Fatalf("%q: %v", w, err)
		}
		if strings.HasSuffix(w.String(), " only") {
			again = again.OneSided()
		}
		if again.String() != w.String() {
			t.Fatalf("%q prints as %q", w, again)
		}
	})
}

// lines are the windows of one side, as they are printed.
func lines(w *schedule.Weekly, side schedule.State) []string {
	if text := w.Windows(side); text != "" {
		return []string{text}
	}
	return nil
}

func TestCronNextIsStrictlyLaterAndAgreesWithPrev(t *testing.T) {
	specs := []string{"30 5 * * MON-FRI", "*/15 * * * *", "0 0 1 * *", "30 1,2 * * *", "59 23 31 12 *", "0 8 24 * *", "15 0 * * 7", "@hourly", "7 0-23 1 * *", "0 0 29 2 *", "*/7 */5 13 * FRI"}
	rapid.Check(t, func(t *rapid.T) {
		z, _ := schedule.LoadZone(rapid.SampledFrom(zones).Draw(t, "zone"))
		c, err := schedule.ParseCron(rapid.SampledFrom(specs).Draw(t, "spec"), z)
		if err != nil {
			t.Fatal(err)
		}
		from := instant(t)
		next, ok := c.Next(from)
		if !ok || !next.After(from) {
			t.Fatalf("next of %s is %s", from, next)
		}
		between := from.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(from))-1).Draw(t, "between")))
		if again, _ := c.Next(between); !again.Equal(next) {
			t.Fatalf("next from %s is %s, from %s it is %s", from, next, between, again)
		}
		if prev, ok := c.Prev(next); !ok || !prev.Equal(next) {
			t.Fatalf("prev of %s is %s", next, prev)
		}
	})
}

func FuzzParseWeekly(f *testing.F) {
	for _, s := range []string{"Mon-Fri 08:00-19:00", "Sun 22:00 - Fri 19:00", "Mon#1_08:00-09:00;L 10:00-24:00 Europe/London", "2026-12-24..2027-01-01 10:00-11:00", "Jan-Mar 1-15 22:00-06:00",
		"Nov+Feb FriL+Mon-Wed 00:00-24:00", "Mon_24:00_-_Tue_00:00_America/New_York", "25-L+1-5 08:00-08:00, 00:00-00:00 UTC"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := schedule.ParseWeekly([]string{text}, nil, time.UTC)
		if err != nil {
			var fault *schedule.Error
			if !errors.As(err, &fault) || fault.Pos < 0 || fault.Pos > len(text) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := schedule.ParseWeekly([]string{w.Windows(schedule.Running)}, nil, time.UTC)
		if err != nil || again.String() != w.String() {
			t.Fatalf("%q prints as %q, which reads as %v, %v", text, w, again, err)
		}
		from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		next, ok := w.Next(from)
		if other, also := again.Next(from); next != other || ok != also {
			t.Fatalf("%q has an edge at %v, and printed as %q at %v", text, next, w, other)
		}
		if ok && (w.At(next.At) != next.To || w.At(next.At.Add(-1)) != w.At(from) || w.At(from) == next.To) {
			t.Fatalf("%q: the edge %v is none", text, next)
		}
	})
}

func FuzzParseCron(f *testing.F) {
	for _, s := range []string{"30 5 * * MON-FRI", "@daily", "*/15 0-6 1,15 JAN-MAR 7", "0 0 * * 5-7/2", "0 0 * * SAT-SUN", "5/20 ? * * ?", "@hourly", "59 23 29 2 *"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := schedule.ParseCron(text, time.UTC)
		if err != nil {
			return
		}
		again, err := schedule.ParseCron(c.Spec(), time.UTC)
		if err != nil || again.String() != c.String() {
			t.Fatalf("%q prints as %q, which reads as %v, %v", text, c.Spec(), again, err)
		}
		if _, ok := c.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); !ok {
			t.Fatalf("%q was taken but never fires", text)
		}
	})
}

// BenchmarkNextEdge compares with robfig/cron, whose parser we use and whose clock
// we do not, in one run: cron specs with the same spec, windows with that of their
// start.
func BenchmarkNextEdge(b *testing.B) {
	london := zone(b, "Europe/London")
	from := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for _, bm := range []struct{ name, spec string }{
		{"weekdays", "30 5 * * MON-FRI"}, {"quarter-hours", "*/15 * * * *"}, {"yearly", "0 8 31 12 *"}, {"leap-day", "0 8 29 2 *"},
	} {
		b.Run("cron="+bm.name, func(b *testing.B) {
			c, err := schedule.ParseCron(bm.spec, london)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				c.Next(from)
			}
		})
		b.Run("robfig="+bm.name, func(b *testing.B) {
			s, err := cron.ParseStandard(bm.spec)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Next(from.In(london))
			}
		})
	}
	holidays := dates(b, "2026-12-25", "12-26", "2026-03-05..2026-03-06")
	for _, bm := range []struct {
		name   string
		w      *schedule.Weekly
		robfig string
	}{
		{"office-hours", weekly(b, "Europe/London", "Mon-Fri 08:00-19:00"), "0 8 * * MON-FRI"},
		{"span", weekly(b, "Europe/London", "Sun 22:00 - Fri 19:00"), "0 22 * * SUN"},
		{"last-friday", weekly(b, "Europe/London", "FriL 08:00-19:00"), "0 8 25-31 * *"},
		{"days-of-month", weekly(b, "Europe/London", "Jan-Mar 20-L 08:00-19:00"), "0 8 20-31 1-3 *"},
		{"five-windows", weekly(b, "Europe/London", "Mon 08:00-19:00; Tue 09:00-18:00; Wed 22:00-06:00; Fri 10:00-16:00; Sat 11:00-12:00"), "0 8 * * MON-FRI"},
		{"exceptions", weekly(b, "Europe/London", "Mon-Fri 08:00-19:00").Except([]schedule.Exception{{Calendar: holidays, Use: schedule.UseNever}}), "0 8 * * MON-FRI"},
	} {
		b.Run("window="+bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bm.w.Next(from)
			}
		})
		b.Run("window-prev="+bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bm.w.Prev(from)
			}
		})
		b.Run("window-at="+bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bm.w.At(from)
			}
		})
		b.Run("robfig-of-window="+bm.name, func(b *testing.B) {
			s, err := cron.ParseStandard(bm.robfig)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.Next(from.In(london))
			}
		})
	}
}
