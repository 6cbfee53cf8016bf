package foreign_test

import (
	"testing"

	"nightshift/policies/foreign"
)

// kube_downscaler/helper.py (matches_time_spec), and its tests/test_time.py.
func TestKubeDownscaler(t *testing.T) {
	const sunday = "2017-11-26T15:33:00Z"
	for _, tt := range []struct {
		source, spec string
		env          map[string]any
		at           string
		want         any
	}{
		{"always", `"always"`, nil, sunday, true},
		{"never", `"Never"`, nil, sunday, false},
		{"weekdays", `"Mon-Fri 08:00-18:00 UTC"`, nil, sunday, false},
		{"a day", `"Sun-Sun 15:30-16:00 UTC"`, nil, sunday, true},
		{"the end is not in", `"Sun-Sun 15:30-15:33 UTC"`, nil, sunday, false},
		{"in a zone", `"Sat-Sun 16:30-17:00 Europe/Berlin"`, nil, sunday, true},
		{"wraps over the weekend", `"Fri-Mon 15:30-16:00 UTC"`, nil, sunday, true},
		{"the second of two", `"Mon-Fri 08:00-18:00 UTC, Sun-Sun 15:30-16:00 UTC"`, nil, sunday, true},
		{"a fault behind a match is never seen", `"Sun-Sun 15:30-16:00 UTC,nonsense"`, nil, sunday, true},
		{"a fault before it is", `"nonsense,Sun-Sun 15:30-16:00 UTC"`, nil, sunday, "error"},
		{"no weekday", `"15:30-16:00 UTC"`, nil, sunday, "error"},
		{"past midnight never matches", `"Mon-Sun 22:00-06:00 UTC"`, nil, "2017-11-26T23:00:00Z", false},
		{"24:00", `"Sun-Sun 20:00-24:00 UTC"`, nil, "2017-11-26T23:59:00Z", true},
		{"a zone with digits is none", `"Mon-Fri 08:00-18:00 Etc/GMT+3"`, nil, sunday, "error"},
		{"an unknown zone", `"Mon-Fri 08:00-18:00 Mars/Olympus"`, nil, sunday, "error"},
		{"no weekday of that name", `"Foo-Fri 08:00-18:00 UTC"`, nil, sunday, "error"},
		{"a range", `"2017-11-26T00:00:00+00:00-2017-11-26T15:33:00+00:00"`, nil, sunday, true},
		{"a range in another offset", `"2017-11-26T17:00:00+01:00-2017-11-27T00:00:00+01:00"`, nil, sunday, false},
		{"a range that is none", `"2017-13-26T00:00:00+00:00-2017-11-26T15:33:00+00:00"`, nil, sunday, "error"},
		{"no zone, TZ set", `"Sun-Sun 15:30-16:00"`, map[string]any{"TZ": "UTC"}, sunday, true},
		{"no zone, TZ not set", `"Sun-Sun 15:30-16:00"`, nil, sunday, "error"},
		{"a time alone is half an hour, every day", `"15:30 UTC"`, nil, sunday, true},
		{"and over after it", `"15:00 UTC"`, nil, sunday, false},
		{"at the end of the day it is shorter", `"Sun-Sun 23:45 UTC"`, nil, "2017-11-26T23:58:00Z", true},
		{"empty", `""`, nil, sunday, "error"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			if got := ask(t, foreign.KubeDownscaler, tt.spec, "", tt.env, "window", tt.at); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
