package schedule_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"nightshift/policies/schedule"
)

// faultless fails when an error does not say where in the text it is.
func faultless(t *testing.T, text string, err error) {
	t.Helper()
	var fault *schedule.Error
	if !errors.As(err, &fault) || fault.Pos < 0 || fault.Pos > len(text) || fault.Msg == "" {
		t.Fatalf("%q: %v", text, err)
	}
}

// A tag has no blanks: written with _ it means the same as with blanks.
func FuzzTagForm(f *testing.F) {
	for _, s := range []string{"Mon-Fri 08:00-19:00", "Sun 22:00 - Fri 19:00", "Mon 08:00-09:00;Sat 10:00-14:00 America/New_York", "Mar 1-15 08:00-19:00 UTC", "2026-12-24..2026-12-26 00:00-24:00", "Mon#1+FriL 8:00-9:00; L 22:00-06:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := schedule.ParseWeekly([]string{text}, nil, time.UTC)
		if err != nil {
			faultless(t, text, err)
			return
		}
		printed := w.Windows(schedule.Running)
		tag := strings.ReplaceAll(printed, "; ", ";")
		tag = strings.ReplaceAll(tag, " ", "_")
		again, err := schedule.ParseWeekly([]string{tag}, nil, time.UTC)
		if err != nil || again.String() != w.String() {
			t.Fatalf("%q is %q as a tag, which reads as %v, %v", text, tag, again, err)
		}
	})
}

func FuzzBothSides(f *testing.F) {
	f.Add("Mon-Fri 08:00-19:00", "Sat+Sun 00:00-24:00")
	f.Add("Mon#1 08:00-19:00", "L 22:00-06:00")
	f.Add("2026-12-24 08:00-19:00", "Dec 24 19:00-20:00 Asia/Tokyo")
	f.Fuzz(func(t *testing.T, running, stopped string) {
		w, err := schedule.ParseWeekly([]string{running}, []string{stopped}, time.UTC)
		if err != nil {
			return
		}
		again, err := schedule.ParseWeekly([]string{w.Windows(schedule.Running)}, []string{w.Windows(schedule.Stopped)}, time.UTC)
		if err != nil || again.String() != w.String() {
			t.Fatalf("%q prints as %v, %v", w, again, err)
		}
	})
}

func FuzzLoadZone(f *testing.F) {
	for _, s := range []string{"Europe/London", "UTC", "Local", "", "../UTC", "right/UTC", "europe/london", "Etc/GMT+5", "Europe/", "zone.tab", "BST", "New York"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		z, err := schedule.LoadZone(name)
		if err != nil {
			faultless(t, name, err)
			return
		}
		if z.String() != name || z == time.Local {
			t.Fatalf("%q is the zone %q", name, z)
		}
	})
}

func FuzzDates(f *testing.F) {
	for _, s := range []string{"2026-12-25 Christmas Day", "2026-12-24..2027-01-01", "12-25", "02-29 leap day", "12-24\teve", "9999-12-30..9999-12-31"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := schedule.ParseDates([]string{line})
		if err != nil {
			faultless(t, line, err)
			return
		}
		again, err := schedule.ParseDates(strings.Fields(c.String()))
		if err != nil || again.String() != c.String() || again.Len() != c.Len() {
			t.Fatalf("%q is %q, which reads as %v, %v", line, c, again, err)
		}
	})
}
