package foreign_test

import (
	"encoding/json"
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

// tests/test_time.py of hjacobs/kube-downscaler and py-kube-downscaler, whole.
func TestKubeDownscalersOwnTests(t *testing.T) {
	const (
		now      = "2026-06-15T12:00:00Z"
		sunday   = "2017-11-26T15:33:00Z"
		monday   = "2017-11-27T15:33:00Z"
		november = "2018-11-04T20:30:00Z"
		april    = "2020-04-10T10:11:00Z"
	)
	for _, tt := range []struct {
		source, spec, at string
		want             any
	}{
		{"test_invalid_time_spec", "", now, "error"},
		{"test_time_spec", "never", now, false},
		{"test_time_spec", "always", now, true},
		{"test_time_spec", "Mon-Mon 00:00-00:00 CET", now, false},
		{"test_time_spec", "Mon-Sun 00:00-24:00 CET", now, true},
		{"test_time_spec", "Sat-Sun 15:30-16:00 UTC", sunday, true},
		{"test_time_spec", "Sat-Sun 15:34-16:00 UTC", sunday, false},
		{"test_time_spec", "Mon-Fri 08:00-18:00 UTC", sunday, false},
		{"test_time_spec", "Mon-Fri 08:00-18:00 UTC, Sun-Sun 15:30-16:00 UTC", sunday, true},
		{"test_time_spec", "2017-11-26T14:04:48+00:00-2017-11-26T16:04:48+00:00", sunday, true},
		{"test_time_spec", "2017-11-26T14:04:48+00:00-2017-11-26T15:04:48+00:00", sunday, false},
		{"test_time_spec", "Mon-Fri 09:00-10:00 Pacific/Auckland", november, true},
		{"test_time_spec", "Sat-Sun 09:00-10:00 Pacific/Auckland", november, false},
		{"test_time_spec", "2017-01-01T00:01:02+00:00-2018-12-31T23:59:00+00:00", november, true},
		{"test_time_spec", "2017-01-01T00:01:02+00:00-2017-01-02T19:00:50+00:00, 2018-11-01T00:00:00+00:00-2018-12-31T23:59:00+00:00", november, true},
		{"test_time_spec", "2019-01-01T00:01:02+00:00-2019-12-31T23:59:00+00:00", november, false},
		{"test_time_spec", "2018-11-04T16:00:00-04:00-2018-11-04T16:40:00-04:00", november, true},
		{"test_time_spec", "2018-11-04T20:00:00-04:00-2018-11-04T20:40:00-04:00", november, false},
		{"test_time_spec_error_message", "Mon-Thur 09:00-20:00 Europe/London,Fri-Fri 10:00-18:00 Europe/London", april, "error"},
		{"test_week_starts_sunday", "Sun-Fri 15:30-16:00 UTC", monday, true},
		{"test_week_starts_sunday", "Sun-Mon 00:00-16:00 UTC", monday, true},
		{"test_week_starts_sunday", "Sun-Mon 00:00-15:00 UTC", monday, false},
		{"test_week_starts_sunday", "Sun-Fri 15:30-16:00 UTC", sunday, true},
		{"test_week_starts_sunday", "Sun-Mon 00:00-16:00 UTC", sunday, true},
		{"test_week_starts_sunday", "Sun-Mon 00:00-15:00 UTC", sunday, false},
		{"code: always is a word alone", " always", now, "error"},
		{"code: and nothing beside it", "always,never", now, "error"},
		{"code: a part that is empty", "Mon-Fri 08:00-09:00 UTC,", now, "error"},
		{"code: tabs around a part are cut off", "\tMon-Fri 08:00-18:00 UTC\t", now, true},
		{"code: two blanks within are not", "Mon-Fri  08:00-18:00 UTC", now, "error"},
		{"code: one day alone", "Mon 08:00-18:00 UTC", now, "error"},
		{"code: one digit", "Mon-Fri 8:00-18:00 UTC", now, "error"},
		{"code: capitals do not matter in days", "MON-fri 08:00-18:00 UTC", now, true},
		{"code: nor in zones", "Mon-Fri 08:00-18:00 europe/BERLIN", now, true},
		{"code: a minute that there is not counts on", "Mon-Mon 11:75-12:15 UTC", now, false},
		{"code: an hour that there is not", "Mon-Mon 00:00-99:00 UTC", now, true},
		{"code: only of a time alone the hour is checked", "Mon-Mon 24:00 UTC", now, "error"},
		{"code: + in a zone is written in letters", "Mon-Mon 00:00-24:00 America/Port_minus_au_minus_Prince", now, true},
		{"code: an offset of a day", "2026-01-01T00:00:00+24:00-2027-01-01T00:00:00+00:00", now, "error"},
		{"code: minutes of an offset count on", "2026-06-15T13:39:00+00:99-2027-01-01T00:00:00+00:00", now, true},
		{"code: 24:00 in a range", "2026-06-15T24:00:00+00:00-2027-01-01T00:00:00+00:00", now, "error"},
		{"code: Z in a range", "2026-06-15T00:00:00Z-2027-01-01T00:00:00Z", now, "error"},
		{"code: the fault is in the end, the begin is ahead", "2027-06-15T00:00:00+00:00-2027-13-01T00:00:00+00:00", now, "error"},
		{"code: a range that is backwards", "2027-01-01T00:00:00+00:00-2026-01-01T00:00:00+00:00", now, false},
		{"code: the last second is in", "2026-06-15T11:00:00+00:00-2026-06-15T12:00:00+00:00", now, true},
		{"code: a window in the gap never comes", "Sun-Sun 01:00-02:00 Europe/London", "2026-03-29T01:00:00Z", false},
		{"code: in the overlap it comes once", "Sun-Sun 01:00-02:00 Europe/London", "2026-10-25T00:30:00Z", true},
		{"code: and again", "Sun-Sun 01:00-02:00 Europe/London", "2026-10-25T01:30:00Z", true},
		{"code: the time is taken for UTC, whatever its offset", "Mon-Mon 12:00-13:00 UTC", "2026-06-15T12:30:00+05:00", true},
		{"code: a time alone at the end of the day loses a minute", "Mon-Sun 23:30 UTC", "2026-06-15T23:59:00Z", false},
	} {
		spec, _ := json.Marshal(tt.spec)
		if got := ask(t, foreign.KubeDownscaler, string(spec), "", nil, "window", tt.at); got != tt.want {
			t.Errorf("%s: %q at %s: got %v, want %v", tt.source, tt.spec, tt.at, got, tt.want)
		}
	}
}
