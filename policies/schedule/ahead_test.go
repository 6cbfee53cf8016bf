package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/policies/schedule"
)

// TestTurnsAreWhereTheWallClockOfAnEdgeIsNotAsPlanned compares with the plain
// meaning: the wall time of each edge, over all that a year has.
func TestTurnsAreWhereTheWallClockOfAnEdgeIsNotAsPlanned(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(1, 0, 0)
	for _, name := range []string{"Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/Santiago", "Asia/Kolkata", "UTC"} {
		zone, err := schedule.LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		for minute := 0; minute < 1440; minute += 10 {
			c, err := schedule.ParseCron(fmt.Sprintf("%d %d * * *", minute%60, minute/60), zone)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for at, ok := c.Next(from.Add(-time.Second)); ok && at.Before(to); at, ok = c.Next(at) {
				planned := fmt.Sprintf("%02d:%02d", minute/60, minute%60)
				switch local := at.In(zone); {
				case local.Format("15:04") != planned:
					want = append(want, planned+" gap "+at.Format(time.RFC3339))
				case at.Add(time.Hour).In(zone).Format("15:04") == planned || at.Add(30*time.Minute).In(zone).Format("15:04") == planned:
					want = append(want, planned+" overlap "+at.Format(time.RFC3339))
				}
			}
			var got []string
			for _, x := range c.Turns(from, to) {
				got = append(got, x.Wall.Format("15:04")+map[bool]string{true: " gap ", false: " overlap "}[x.Gap]+x.At.Format(time.RFC3339))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
		}
	}
}

func TestSpecialsOfASchedule(t *testing.T) {
	london, err := schedule.LoadZone("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, windows, dates string
		use                  schedule.Use
		want                 string
	}{
		{"a working day", "Mon-Fri 08:00-19:00", "2026-12-25 Christmas", schedule.UseNever, "12-25 Christmas starts changes"},
		{"a weekend", "Mon-Fri 08:00-19:00", "2026-12-26", schedule.UseNever, "12-26"},
		{"a weekend that is made to run", "Mon-Fri 08:00-19:00", "2026-12-26", schedule.UseAlways, "12-26 changes"},
		{"a window past midnight that does not begin is missing on the next day", "Fri 22:00-06:00", "2026-12-25..2026-12-26", schedule.UseNever, "12-25 starts changes, 12-26 changes"},
		{"a span of days", "Mon 08:00 - Fri 19:00", "2026-12-23", schedule.UseNever, "12-23 starts changes"},
		{"as on any other day", "Mon-Fri 08:00-19:00", "2026-12-25", schedule.UseUnchanged, "12-25 starts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := schedule.ParseWeekly([]string{tt.windows}, nil, london)
			if err != nil {
				t.Fatal(err)
			}
			c, err := schedule.ParseDates([]string{tt.dates})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range w.Except([]schedule.Exception{{Calendar: c, Name: "c", Use: tt.use}}).Specials(from, from.AddDate(0, 0, 14)) {
				words := s.Day.Format("01-02")
				if s.Name != "" {
					words += " " + s.Name
				}
				if s.Starts {
					words += " starts"
				}
				if s.Changes {
					words += " changes"
				}
				got = append(got, words)
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("got %q, want %q", strings.Join(got, ", "), tt.want)
			}
		})
	}
}

func TestBetweenIsOneNextAfterAnother(t *testing.T) {
	for _, name := range []string{"Europe/London", "Australia/Lord_Howe", "America/Santiago"} {
		zone, err := schedule.LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range []string{"30 * * * *", "*/20 0-3 * * *", "0 0 * * SUN", "15 1 1 * *"} {
			c, err := schedule.ParseCron(spec, zone)
			if err != nil {
				t.Fatal(err)
			}
			from, to := time.Date(2026, 3, 1, 0, 15, 0, 0, time.UTC), time.Date(2026, 11, 5, 0, 30, 0, 0, time.UTC)
			got := c.Between(from, to, 100_000)
			n := 0
			for at, ok := c.Next(from); ok && at.Before(to); at, ok = c.Next(at) {
				if n >= len(got) || !got[n].Equal(at) {
					t.Fatalf("%s %s: number %d is not %s", spec, name, n, at)
				}
				n++
			}
			if n != len(got) || len(c.Between(from, to, 3)) != 3 {
				t.Errorf("%s %s: got %d, want %d", spec, name, len(got), n)
			}
		}
	}
}
