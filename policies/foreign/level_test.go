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
