package foreign_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

// A tag that is followed: a week of edges.
func TestTimetables(t *testing.T) {
	london, err := schedule.LoadZone("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, grammar, value string
		set                  foreign.Settings
		want, warning        string
	}{
		{"both sides", foreign.CustodianOffhours, "off=(M-F,19);on=(M-F,7);tz=bst", nil, "Mon 07 running, Mon 19 stopped, Tue 07 running, Tue 19 stopped", "summer time"},
		{"one side takes the policy's", foreign.CustodianOffhours, "off=(M-F,20)", foreign.Settings{"onhour": 9, "default_tz": "bst"}, "Mon 09 running, Mon 20 stopped, Tue 09 running, Tue 20 stopped", "on is not in the tag"},
		{"off alone confirms its state each evening", foreign.CustodianOffhours, "off=(M-F,20);on=disabled;tz=bst", nil, "Mon 20 stopped, Tue 20 stopped", ""},
		{"opted out", foreign.CustodianOffhours, "off", nil, "", ""},
		{"uptime", foreign.KubeDownscaler, "Mon-Fri 07:00-19:00 Europe/London", nil, "Mon 07 running, Mon 19 stopped, Tue 07 running, Tue 19 stopped", ""},
		{"uptime as a tag", foreign.KubeDownscaler, "Mon-Fri_07:00-19:00_Europe/London", nil, "Mon 07 running, Mon 19 stopped, Tue 07 running, Tue 19 stopped", ""},
		{"downtime", foreign.KubeDownscaler, "Mon-Fri 07:00-19:00 Europe/London", foreign.Settings{"as": "downtime"}, "Mon 07 stopped, Mon 19 running, Tue 07 stopped, Tue 19 running", ""},
		{"past midnight", foreign.KubeDownscaler, "Mon-Fri 22:00-06:00 Europe/London", nil, "", "never matches"},
		{"a schedule of AWS", foreign.InstanceScheduler, "office", foreign.Settings{"schedules": map[string]any{"office": map[string]any{"timezone": "Europe/London", "periods": []any{map[string]any{"begintime": "07:00", "endtime": "19:00", "weekdays": []any{"mon-fri"}}}}}}, "Mon 07 running, Mon 19 stopped, Tue 07 running, Tue 19 stopped", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table, warnings, err := foreign.Read(tt.grammar, tt.value, tt.set, london)
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2026, 7, 6, 0, 0, 0, 0, london) // a Monday
			end := at.AddDate(0, 0, 2)
			var got []string
			for {
				n, ok := table.Next(at)
				if !ok || n.At.After(end) {
					break
				}
				got = append(got, n.At.In(london).Format("Mon 15 ")+string(n.To))
				at = n.At
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("got %s\nwant %s", strings.Join(got, ", "), tt.want)
			}
			if !strings.Contains(fmt.Sprint(warnings), tt.warning) {
				t.Errorf("warnings %v lack %q", warnings, tt.warning)
			}
		})
	}
	for _, bad := range []struct{ grammar, value string }{{foreign.CustodianOffhours, "off=(m-f,25)"}, {foreign.KubeDownscaler, "soon"}, {foreign.InstanceScheduler, "nobody"}, {"klingon", "x"}, {foreign.CustodianMark, "x"}} {
		if _, _, err := foreign.Read(bad.grammar, bad.value, nil, london); err == nil {
			t.Errorf("%s %q is read", bad.grammar, bad.value)
		}
	}
}

// Next is strictly later, the same from any instant before it, and the state at t
// is the fold of the edges.
func TestTimetablesFold(t *testing.T) {
	london, err := schedule.LoadZone("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	values := []struct{ grammar, value string }{
		{foreign.CustodianOffhours, "off=[(m-f,19),(u,1)];on=(m-f,7);tz=bst"}, {foreign.CustodianOffhours, "tz=asia/kolkata"},
		{foreign.KubeDownscaler, "Mon-Fri 07:00-19:00 Europe/London,Sun-Sun 00:30-01:30 Europe/London"},
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.SampledFrom(values).Draw(t, "value")
		table, _, err := foreign.Read(v.grammar, v.value, nil, london)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 525_600).Draw(t, "minute")) * time.Minute)
		next, ok := table.Next(at)
		if !ok || !next.At.After(at) {
			t.Fatalf("after %s comes %s", at, next.At)
		}
		between := at.Add(time.Duration(rapid.Int64Range(0, int64(next.At.Sub(at))-1).Draw(t, "between")))
		if again, _ := table.Next(between); !again.At.Equal(next.At) {
			t.Fatalf("from %s the next is %s, from %s %s", at, next.At, between, again.At)
		}
		if got := table.At(next.At); got != next.To {
			t.Fatalf("at its edge %s it wants %s, not %s", next.At, got, next.To)
		}
		if prev, ok := table.Prev(next.At); !ok || !prev.At.Equal(next.At) || prev.To != next.To {
			t.Fatalf("the newest edge at %s is %s", next.At, prev.At)
		}
		if got, want := table.At(between), table.At(at); got != want {
			t.Fatalf("between two edges the state goes from %s to %s", want, got)
		}
	})
}

// The edges are those that looking minute by minute finds, around the changes of
// the clocks of zones of all kinds.
func TestTimetablesAgainstMinutes(t *testing.T) {
	office := map[string]any{
		"hours":    map[string]any{"timezone": "Australia/Lord_Howe", "periods": []any{map[string]any{"begintime": "01:45", "endtime": "02:15"}, map[string]any{"begintime": "02:16", "endtime": "19:00", "weekdays": []any{"sat-mon"}}}},
		"oneSided": map[string]any{"timezone": "Europe/London", "periods": []any{map[string]any{"begintime": "01:30", "weekdays": []any{"sun", "mon#1"}}, map[string]any{"endtime": "23:59", "monthdays": []any{"28-L/2"}}}},
		"failing":  map[string]any{"timezone": "America/New_York", "periods": []any{map[string]any{"monthdays": []any{"31W"}}}},
	}
	for _, tt := range []struct{ grammar, value string }{
		{foreign.CustodianOffhours, "off=[(m-f,19),(u,1)];on=[(m-f,7),(u,2)];tz=bst"},
		{foreign.CustodianOffhours, "off=(m-u,2);on=(m-u,3);tz=australia/lord_howe"},
		{foreign.CustodianOffhours, "off=(m-u,0);on=disabled;tz=asia/kathmandu"},
		{foreign.KubeDownscaler, "Sun-Sun 01:00-02:30 Europe/London,Mon-Fri 08:00-18:00 America/New_York"},
		{foreign.KubeDownscaler, "Mon-Sun 00:00-24:00 Asia/Tokyo"},
		{foreign.KubeDownscaler, "Mon-Sun 18:30-22:00 America/Los_Angeles"},
		{foreign.KubeDownscaler, "Sat-Sun 22:00-24:00 Australia/Lord_Howe,2026-03-29T00:30:00+00:00-2026-03-29T00:40:00+00:00"},
		{foreign.InstanceScheduler, "hours"},
		{foreign.InstanceScheduler, "oneSided"},
		{foreign.InstanceScheduler, "failing"},
	} {
		var set foreign.Settings
		if tt.grammar == foreign.InstanceScheduler {
			set = foreign.Settings{"schedules": office}
		}
		table, _, err := foreign.Read(tt.grammar, tt.value, set, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []time.Time{time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC), time.Date(2026, 9, 30, 0, 0, 0, 0, time.UTC)} {
			end := from.AddDate(0, 0, 3)
			var want, got []string
			state := table.At(from)
			for at := from.Add(time.Minute); at.Before(end); at = at.Add(time.Minute) {
				if s := table.At(at); s != state {
					want, state = append(want, at.Format(time.RFC3339)+" "+string(s)), s
				}
			}
			state = table.At(from)
			for next, ok := table.Next(from); ok && next.At.Before(end); next, ok = table.Next(next.At) {
				if prev, ok := table.Prev(next.At); !ok || prev != next {
					t.Errorf("%s: the newest edge at %v is %v", tt.value, next, prev)
				}
				if next.To != state { // the hours of Custodian also confirm
					minute := next.At.Add(time.Minute - time.Nanosecond).Truncate(time.Minute) // a range may end within a minute
					got, state = append(got, minute.Format(time.RFC3339)+" "+string(next.To)), next.To
				}
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s from %s:\ngot  %s\nwant %s", tt.value, from, got, want)
			}
		}
	}
}

// A range of seconds has both its edges: the last second is in.
func TestATimetableOfSeconds(t *testing.T) {
	table, _, err := foreign.Read(foreign.KubeDownscaler, "2026-03-29T00:30:10+00:00-2026-03-29T00:30:40+00:00", nil, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	begin := schedule.Transition{At: time.Date(2026, 3, 29, 0, 30, 10, 0, time.UTC), To: schedule.Running}
	end := schedule.Transition{At: time.Date(2026, 3, 29, 0, 30, 41, 0, time.UTC), To: schedule.Stopped}
	if next, ok := table.Next(begin.At.Add(-time.Hour)); !ok || next != begin {
		t.Errorf("it begins at %v, want %v", next, begin)
	}
	if next, ok := table.Next(begin.At); !ok || next != end {
		t.Errorf("it ends at %v, want %v", next, end)
	}
	if prev, ok := table.Prev(end.At.Add(time.Hour)); !ok || prev != end {
		t.Errorf("it ended at %v, want %v", prev, end)
	}
}

// A schedule that never changes is searched in no time worth waiting for.
func BenchmarkNextThatNeverComes(b *testing.B) {
	for _, tt := range []struct{ grammar, value string }{{foreign.CustodianOffhours, "off=disabled;on=disabled"}, {foreign.KubeDownscaler, "Mon-Sun 00:00-24:00 Europe/London"}, {foreign.InstanceScheduler, "always"}} {
		b.Run(tt.grammar, func(b *testing.B) {
			table, _, err := foreign.Read(tt.grammar, tt.value, foreign.Settings{"schedules": map[string]any{"always": map[string]any{"timezone": "Europe/London", "periods": []any{map[string]any{"weekdays": []any{"*"}}}}}}, time.UTC)
			if err != nil {
				b.Fatal(err)
			}
			at := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
			for b.Loop() {
				if _, ok := table.Next(at); ok {
					b.Fatal("it changes")
				}
			}
		})
	}
}
