package foreign_test

import (
	"encoding/json"
	"testing"
	"time"

	"nightshift/policies/foreign"
)

// c7n/tags.py, TagActionFilter, and tests/test_filters.py TestMarkedForAction.
func TestCustodianMarks(t *testing.T) {
	const noon = "2026-06-15T12:00:00Z"
	for _, tt := range []struct {
		source, spec, policy string
		env                  map[string]any
		at                   string
		want                 any
	}{
		{"test_filter_action_date: today", `"not compliant: stop@2026/06/15"`, `{}`, nil, noon, true},
		{"test_filter_action_date: tomorrow", `"not compliant: stop@2026/06/16"`, `{}`, nil, noon, false},
		{"test_filter_action_date: another action", `"not compliant: terminate@2026/06/14"`, `{}`, nil, noon, false},
		{"test_marked_for_op_with_skew: 7 of 7 days", `"not compliant: stop@2026/06/22"`, `{"skew":7}`, nil, noon, true},
		{"test_marked_for_op_with_skew: 3 of 7 days", `"not compliant: stop@2026/06/22"`, `{"skew":3}`, nil, noon, false},
		{"test_marked_for_op_with_hours: due", `"not compliant: stop@2026/06/15 1130 UTC"`, `{}`, nil, noon, true},
		{"test_marked_for_op_with_hours: not yet", `"not compliant: stop@2026/06/15 1230 UTC"`, `{}`, nil, noon, false},
		{"skew_hours", `"not compliant: stop@2026/06/15 1230 UTC"`, `{"skew_hours":1}`, nil, noon, true},
		{"code: a colon in the time makes it fail", `"msg: stop@2026/06/15 11:30 UTC"`, `{}`, nil, noon, "error"},
		{"code: no message, no mark", `"stop@2026/06/15"`, `{}`, nil, noon, false},
		{"code: no tag", `null`, `{}`, nil, noon, false},
		{"code: a date that is none", `"msg: stop@soon"`, `{}`, nil, noon, false},
		{"code: a bare date is compared with the process's clock", `"msg: stop@2026/06/16"`, `{}`, map[string]any{"TZ": "Pacific/Auckland"}, noon, true},
		{"code: and ignores tz", `"msg: stop@2026/06/16"`, `{"tz":"nzst"}`, nil, noon, false},
		{"code: an abbreviation that is not the process's own is passed over", `"msg: stop@2026/06/15 1130 EDT"`, `{}`, nil, noon, true},
	} {
		t.Run(tt.source, func(t *testing.T) {
			if got := ask(t, foreign.CustodianMark, tt.spec, tt.policy, tt.env, "due", tt.at); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// The rows of tests/test_filters.py TestMarkedForAction, with a fixed date.
func TestCustodianMarksBySkew(t *testing.T) {
	for _, tt := range []struct {
		days int // from now
		op   string
		skew string
		want bool
	}{
		{7, "stop", "7", true}, {7, "stop", "3", false}, {0, "stop", "0", true}, {0, "stop", "5", true}, {-7, "stop", "5", true},
		{1, "stop", "1", true}, {2, "stop", "1", false}, {3, "stop", "1", false},
		{-1, "stop", "0", true}, {0, "stop", "0", true}, {1, "stop", "0", false}, {-1, "terminate", "0", false}, // test_filter_action_date
	} {
		day := time.Date(2026, 6, 15+tt.days, 0, 0, 0, 0, time.UTC).Format("2006/01/02")
		got := ask(t, foreign.CustodianMark, `"not compliant: `+tt.op+`@`+day+`"`, `{"op":"stop","skew":`+tt.skew+`}`, nil, "due", "2026-06-15T12:00:00Z")
		if got != tt.want {
			t.Errorf("%s on %s with skew %s: got %v, want %v", tt.op, day, tt.skew, got, tt.want)
		}
	}
}

// The dates that dateutil reads: the row says when the mark is due, in a process
// whose zone is New York; none: it is no date.
func TestCustodianMarkDates(t *testing.T) {
	for _, tt := range []struct{ date, due string }{
		{"2026/06/15", "2026-06-15T00:00:00-04:00"},
		{" 2026/06/15 ", "2026-06-15T00:00:00-04:00"},
		{"2026-06-15", "2026-06-15T00:00:00-04:00"},
		{"2026.6.5", "2026-06-05T00:00:00-04:00"},
		{"20260615", "2026-06-15T00:00:00-04:00"},
		{"06/15/2026", "2026-06-15T00:00:00-04:00"},
		{"06/05/2026", "2026-06-05T00:00:00-04:00"},
		{"15/06/2026", "2026-06-15T00:00:00-04:00"},
		{"06-15-26", "2026-06-15T00:00:00-04:00"},
		{"15 June 2026", "2026-06-15T00:00:00-04:00"},
		{"Jun 15, 2026", "2026-06-15T00:00:00-04:00"},
		{"2026/06/15 1130", "2026-06-15T11:30:00-04:00"},
		{"2026/06/15T1130", "2026-06-15T11:30:00-04:00"},
		{"2026/06/15 11", "2026-06-15T11:00:00-04:00"},
		{"2026/06/15 113015", "2026-06-15T11:30:15-04:00"},
		{"2026/06/15 5pm", "2026-06-15T17:00:00-04:00"},
		{"2026/06/15 12am", "2026-06-15T00:00:00-04:00"},
		{"2026/06/15 1130 UTC", "2026-06-15T11:30:00Z"},
		{"2026/06/15 1130UTC", "2026-06-15T11:30:00Z"},
		{"2026/06/15 1130 GMT", "2026-06-15T11:30:00Z"},
		{"2026/06/15 1130 EDT", "2026-06-15T11:30:00-04:00"},
		{"2026/06/15 1130 JST", "2026-06-15T11:30:00-04:00"}, // unknown to the process, so passed over
		{"2026/06/15 1130 +0200", "2026-06-15T11:30:00+02:00"},
		{"2026/06/15 1130 -03", "2026-06-15T11:30:00-03:00"}, // what Custodian writes for brt
		{"2026/06/15 1130 +5", "2026-06-15T11:30:00+05:00"},
		{"2026/06/15 1130 UTC+3", "2026-06-15T11:30:00-03:00"},
		{"2026/06/15 -0300", "2026-06-15T03:00:00-04:00"}, // a minus before a clock is nothing
		{"2026/06/15 UTC", ""},
		{"2026/06/15 7", ""},
		{"2026/06/15 2400", ""},
		{"2026/06/15 1160", ""},
		{"2026/06/15 1130 utc", ""},
		{"2026/06/15 1130 America/New_York", ""},
		{"2026/06/15 1130 +530", ""},
		{"2026/06/15 13pm", ""},
		{"2026/02/30", ""},
		{"2026/13/01", ""},
		{"@2026/06/15", ""},
		{"tomorrow", ""},
		{"", ""},
	} {
		env := map[string]any{"TZ": "America/New_York"}
		spec, _ := json.Marshal("msg: stop@" + tt.date)
		if tt.due == "" {
			if got := ask(t, foreign.CustodianMark, string(spec), `{}`, env, "due", "2030-01-01T00:00:00Z"); got != false {
				t.Errorf("%q: got %v, want false for good", tt.date, got)
			}
			continue
		}
		due, err := time.Parse(time.RFC3339, tt.due)
		if err != nil {
			t.Fatal(err)
		}
		for at, want := range map[time.Time]bool{due: true, due.Add(-time.Second): false} {
			if got := ask(t, foreign.CustodianMark, string(spec), `{}`, env, "due", at.UTC().Format(time.RFC3339)); got != want {
				t.Errorf("%q at %s: got %v, want %v", tt.date, at, got, want)
			}
		}
	}
}

func TestCustodianMarkSettings(t *testing.T) {
	for _, tt := range []struct {
		source, spec, policy string
		edge                 foreign.Edge
		at                   string
		want                 any
	}{
		{"code: parts of a day", `"m: stop@2026/06/16"`, `{"skew":0.5}`, "due", "2026-06-15T12:00:00Z", true},
		{"code: days and hours add up", `"m: stop@2026/06/17"`, `{"skew":1,"skew_hours":12}`, "due", "2026-06-15T12:00:00Z", true},
		{"code: days are days of tz's clock, over the change to summer time", `"m: stop@2026/03/09 1200 UTC"`, `{"skew":1,"tz":"et"}`, "due", "2026-03-08T12:00:00Z", true},
		{"code: and an hour earlier on that clock", `"m: stop@2026/03/08 1200 UTC"`, `{"skew":1,"tz":"et"}`, "due", "2026-03-07T12:30:00Z", false},
		{"code: in utc a day has 24 hours", `"m: stop@2026/03/08 1200 UTC"`, `{"skew":1}`, "due", "2026-03-07T12:30:00Z", true},
		{"code: blanks around the action and date", `"m:   stop@2026/06/15  "`, `{}`, "due", "2026-06-15T12:00:00Z", true},
		{"code: a blank within is another action", `"m: stop @2026/06/15"`, `{}`, "due", "2026-06-15T12:00:00Z", false},
		{"code: capitals are another action", `"m: Stop@2026/06/15"`, `{}`, "due", "2026-06-15T12:00:00Z", false},
		{"code: an @ in the message only", `"mail@x: stop"`, `{}`, "due", "2026-06-15T12:00:00Z", "error"},
		{"code: another op", `"m: terminate@2026/06/15"`, `{"op":"terminate"}`, "due", "2026-06-15T12:00:00Z", true},
		{"code: an empty value", `""`, `{}`, "due", "2026-06-15T12:00:00Z", false},
		{"code: 10:30 with a zone", `"m: stop@2026/06/15T10:30:00+00:00"`, `{}`, "due", "2026-06-15T12:00:00Z", "error"},
		{"validate: op", `null`, `{"op":"stop","tz":"et"}`, "validate", "", "ok"},
		{"validate: an op that is none", `null`, `{"op":"fly"}`, "validate", "", "error"},
		{"validate: unless it is custom", `null`, `{"op":"fly","custom":true}`, "validate", "", "ok"},
		{"validate: a zone that is none means the process's own", `null`, `{"op":"stop","tz":"nowhere"}`, "validate", "", "ok"},
		{"schema: skew", `null`, `{"op":"stop","skew":-1}`, "validate", "", "error"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			if got := ask(t, foreign.CustodianMark, tt.spec, tt.policy, nil, tt.edge, tt.at); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
