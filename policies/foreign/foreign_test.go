package foreign_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

// ask is a question in short: spec as JSON, policy as JSON.
func ask(t testing.TB, grammar, spec, policy string, env map[string]any, edge foreign.Edge, at string) any {
	t.Helper()
	q := foreign.Question{ID: "x", Grammar: grammar, Spec: json.RawMessage(spec), Env: env, Edge: edge}
	if policy != "" {
		if err := json.Unmarshal([]byte(policy), &q.Policy); err != nil {
			t.Fatal(err)
		}
	}
	if at != "" {
		var err error
		if q.At, err = time.Parse(time.RFC3339, at); err != nil {
			t.Fatal(err)
		}
	}
	return foreign.Answer(q).Result
}

// The rows of Custodian's own tests (tests/test_offhours.py, by the name of the
// test), and what follows from its code.
func TestCustodianOffhours(t *testing.T) {
	const evening, morning = "2015-12-01T19:05:00-05:00", "2015-12-01T07:05:00-05:00" // a Tuesday
	for _, tt := range []struct {
		source, spec, policy string
		edge                 foreign.Edge
		at                   string
		want                 any
	}{
		{"test_opt_out_behavior: no tag", `null`, `{"opt-out":true}`, "off", evening, true},
		{"test_opt_out_behavior: empty", `""`, `{"opt-out":true}`, "off", evening, true},
		{"test_opt_out_behavior: off", `"off"`, `{"opt-out":true}`, "off", evening, false},
		{"test_opt_in_behavior: no tag", `null`, ``, "off", evening, false},
		{"test_opt_in_behavior: empty", `""`, ``, "off", evening, true},
		{"test_opt_in_behavior: on", `"on"`, ``, "on", morning, true},
		{"test_process: a value that cannot be read", `"off=(m-f,5);zebrablue,on=(t-w,5)"`, `{"opt-out":true}`, "off", evening, "error"},
		{"test_everyday_onhour: Sunday", `"tz=est"`, `{"weekends":false}`, "on", "2016-08-14T07:20:00-04:00", true},
		{"weekends: not on Sunday", `"tz=est"`, ``, "on", "2016-08-14T07:20:00-04:00", false},
		{"test_weekends_only_onhour_support: Monday", `"tz=est"`, `{"weekends-only":true}`, "on", "2016-08-15T07:20:00-04:00", true},
		{"test_weekends_only_onhour_support: Tuesday", `"tz=est"`, `{"weekends-only":true}`, "on", "2016-08-16T07:20:00-04:00", false},
		{"test_onhour_weekend_support: Friday", `"tz=est"`, `{"weekends-only":true}`, "off", "2016-02-19T19:20:00-05:00", true},
		{"test_offhours_real_world_values: quoted", `"\"Offhours tz=ET\""`, ``, "off", evening, true},
		{"test_offhours_get_value: another zone", `"Offhours tz=PT"`, ``, "off", evening, false},
		{"test_onhour: the policy's hour", `"tz=est"`, `{"onhour":8}`, "on", morning, false},
		{"test_cant_parse_tz", `"tz=evt"`, ``, "off", evening, "error"},
		{"test_custom_offhours", `"off=(m-f,19);on=(m-f,7);tz=et"`, ``, "off", "2016-05-26T19:00:00-04:00", true},
		{"test_custom_offhours: later", `"off=(m-f,20);on=(m-f,7);tz=et"`, ``, "off", "2016-05-26T19:00:00-04:00", false},
		{"test_arizona_tz", `"off=(m-f,19);on=(m-f,7);tz=at"`, ``, "on", "2016-05-26T07:00:00-07:00", true},
		{"test_custom_bad_hours: empty parentheses", `"off=();tz=et"`, ``, "off", "2016-05-26T19:00:00-04:00", "error"},
		{"test_custom_bad_hours: 90", `"off=(m-f,90);on=(m-f,7);tz=et"`, ``, "off", "2016-05-26T19:00:00-04:00", "error"},
		{"test_offhours_skip", `"tz=est"`, `{"skip-days":["2017-01-01","2015-12-01"]}`, "off", evening, false},
		{"test_offhours_skip: another day", `"tz=est"`, `{"skip-days":["2015-12-02"]}`, "off", evening, true},
		{"test_offhours_get_value_fallback", `null`, `{"fallback-schedule":"off=[(T,19)];on=[(M,6)];tz=est"}`, "off", evening, true},
		{"test_tz_long_form_resolve", `"off=(m-f,19);tz=america/los_angeles"`, ``, "off", "2015-12-01T19:05:00-08:00", true},
		{"test_tz_long_form_resolve: not in title case", `"off=(m-f,19);tz=chile/easterisland"`, ``, "off", "2015-12-01T19:05:00-05:00", true},
		{"code: a blank before a key makes another key of it", `"off=(m-f,19); on=(m-f,7)"`, ``, "on", "2016-05-26T07:00:00-04:00", false},
		{"code: disabled leaves a side alone", `"off=disabled;on=(m-f,7);tz=et"`, ``, "off", evening, false},
		{"code: a side that is missing takes the policy's hour", `"on=(m-f,7);tz=et"`, ``, "off", evening, true},
		{"code: a trailing semicolon is passed over", `"off=(m-f,19);"`, ``, "off", evening, true},
		{"code: any minute of the hour counts", `"off=(m-f,19);tz=et"`, ``, "off", "2015-12-01T19:59:00-05:00", true},
		{"code: ist is Dublin", `"off=(m-f,19);tz=ist"`, ``, "off", "2015-12-01T19:05:00Z", true},
		{"code: an hour in the gap does not come", `"off=(m-u,2);tz=et"`, ``, "off", "2016-03-13T07:00:00Z", false},
		{"code: an hour in the overlap comes twice", `"off=(m-u,1);tz=et"`, ``, "off", "2016-11-06T06:10:00Z", true},
		{"test_validate: default_tz", `null`, `{"default_tz":"zmta"}`, "validate", "", "error"},
		{"test_validate: offhour", `null`, `{"offhour":25}`, "validate", "", "error"},
		{"test_validate: two lists", `null`, `{"skip-days":["2017-01-01"],"skip-days-from":{}}`, "validate", "", "error"},
		{"test_validate: nothing", `null`, `{}`, "validate", "", "ok"},
		{"test_schedule_parser: wrap around", `"on=[(s-m,10)];off=(s-m,19)"`, ``, "validate", "", "ok"},
		{"test_schedule_parser: brackets alone", `"off=[m-f,20];on=[m-f,5];tz=est"`, ``, "validate", "", "ok"},
		{"test_schedule_parser: empty", `""`, ``, "validate", "", "error"},
		{"test_schedule_parser: day", `"off=(1-2,12);on=(m-f,10);tz=est"`, ``, "validate", "", "error"},
		{"test_schedule_parser: hour", `"off=(m-f,a);on=(m-f,10);tz=est"`, ``, "validate", "", "error"},
		{"test_schedule_parser: no hour", `"off=(m-f);on=(m-f,10);tz=est"`, ``, "validate", "", "error"},
		{"test_schedule_parser: three days", `"off=(m-t-f,12);on=(m-f,10);tz=est"`, ``, "validate", "", "error"},
		{"test_schedule_parser: an extra key", `"off=(m-f,5);zebra=blue;on=(t-w,5)"`, ``, "validate", "", "error"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			if got := ask(t, foreign.CustodianOffhours, tt.spec, tt.policy, nil, tt.edge, tt.at); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

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

// source/app/tests of Instance Scheduler: configuration, cron and model.
func TestInstanceScheduler(t *testing.T) {
	for _, tt := range []struct {
		source, spec string
		edge         foreign.Edge
		at           string
		want         any
	}{
		{"test_one_sided_stop: before", `{"periods":[{"endtime":"10:00"}]}`, "state", "2024-01-03T05:00:00Z", "any"},
		{"test_one_sided_stop: after", `{"periods":[{"endtime":"10:00"}]}`, "state", "2024-01-03T10:00:00Z", "stopped"},
		{"test_one_sided_start: before", `{"periods":[{"begintime":"10:00"}]}`, "state", "2024-01-03T05:00:00Z", "any"},
		{"test_one_sided_start: after", `{"periods":[{"begintime":"10:00"}]}`, "state", "2024-01-03T10:00:00Z", "running"},
		{"test_weekdays_only", `{"periods":[{"weekdays":["0","3","5"]}]}`, "state", "2023-07-12T00:00:00Z", "stopped"},
		{"test_nth_weekday: second Sunday", `{"periods":[{"weekdays":["sun#2"]}]}`, "state", "2024-04-14T00:00:00Z", "running"},
		{"test_nth_weekday: third", `{"periods":[{"weekdays":["sun#2"]}]}`, "state", "2024-04-21T00:00:00Z", "stopped"},
		{"last Friday", `{"periods":[{"weekdays":["friL"]}]}`, "state", "2024-04-26T00:00:00Z", "running"},
		{"weekdays wrap", `{"periods":[{"weekdays":["sat-mon"]}]}`, "state", "2024-04-15T00:00:00Z", "running"},
		{"L is Sunday", `{"periods":[{"weekdays":["L"]}]}`, "state", "2024-04-14T00:00:00Z", "running"},
		{"months wrap", `{"periods":[{"months":["nov-feb"]}]}`, "state", "2024-01-14T00:00:00Z", "running"},
		{"the last day of the month", `{"periods":[{"monthdays":["L"]}]}`, "state", "2024-02-29T00:00:00Z", "running"},
		{"30-L in February is never", `{"periods":[{"monthdays":["30-L"]}]}`, "state", "2024-02-29T00:00:00Z", "stopped"},
		{"the nearest weekday of a Saturday is Friday", `{"periods":[{"monthdays":["13W"]}]}`, "state", "2024-04-12T00:00:00Z", "running"},
		{"31W fails in April", `{"periods":[{"monthdays":["31W"]}]}`, "state", "2024-04-12T00:00:00Z", "error"},
		{"monthdays and weekdays must both hold", `{"periods":[{"monthdays":["1-7"],"weekdays":["mon"]}]}`, "state", "2024-04-02T00:00:00Z", "stopped"},
		{"a step counts its last digit only", `{"periods":[{"monthdays":["1/12"]}]}`, "state", "2024-04-03T00:00:00Z", "running"},
		{"running before any", `{"periods":[{"begintime":"08:00"},{"endtime":"10:00"}]}`, "state", "2024-01-03T09:00:00Z", "running"},
		{"any before stopped", `{"periods":[{"endtime":"10:00"},{"begintime":"12:00","endtime":"13:00"}]}`, "state", "2024-01-03T09:00:00Z", "any"},
		{"a minute between two periods is bridged", `{"periods":[{"begintime":"04:00","endtime":"12:00"},{"begintime":"12:01","endtime":"15:00"}]}`, "state", "2024-01-03T12:00:00Z", "running"},
		{"two minutes are not", `{"periods":[{"begintime":"04:00","endtime":"12:00"},{"begintime":"12:02","endtime":"15:00"}]}`, "state", "2024-01-03T12:00:00Z", "stopped"},
		{"override", `{"override_status":"Running"}`, "state", "2024-01-03T12:00:00Z", "running"},
		{"in its zone", `{"timezone":"Asia/Tokyo","periods":[{"begintime":"09:00","endtime":"10:00"}]}`, "state", "2024-01-03T00:30:00Z", "running"},
		{"a window in the gap is skipped", `{"timezone":"Europe/London","periods":[{"begintime":"01:00","endtime":"02:00"}]}`, "state", "2024-03-31T01:00:00Z", "stopped"},
		{"no period", `{"periods":[]}`, "validate", "", "error"},
		{"an empty period", `{"periods":[{"name":"x"}]}`, "validate", "", "error"},
		{"begin after end", `{"periods":[{"begintime":"10:00","endtime":"5:00"}]}`, "validate", "", "error"},
		{"4:35", `{"periods":[{"begintime":"4:35"}]}`, "validate", "", "ok"},
		{"24:00", `{"periods":[{"endtime":"24:00"}]}`, "validate", "", "error"},
		{"an empty list", `{"periods":[{"weekdays":[]}]}`, "validate", "", "error"},
		{"monthdays 20-15", `{"periods":[{"monthdays":["20-15"]}]}`, "validate", "", "error"},
		{"monthdays W", `{"periods":[{"monthdays":["W"]}]}`, "validate", "", "error"},
		{"months L", `{"periods":[{"months":["L"]}]}`, "validate", "", "error"},
		{"months mar/3", `{"periods":[{"months":["mar/3"]}]}`, "validate", "", "ok"},
		{"weekdays 1-2, Thu-Fri", `{"periods":[{"weekdays":["1-2, Thu-Fri"]}]}`, "validate", "", "ok"},
		{"weekdays Mon#6", `{"periods":[{"weekdays":["Mon#6"]}]}`, "validate", "", "error"},
		{"weekdays 0#-1", `{"periods":[{"weekdays":["0#-1"]}]}`, "validate", "", "error"},
		{"weekdays 2-L", `{"periods":[{"weekdays":["2-L"]}]}`, "validate", "", "error"},
		{"weekdays 15W", `{"periods":[{"weekdays":["5W"]}]}`, "validate", "", "error"},
		{"weekdays L-2", `{"periods":[{"weekdays":["L-2"]}]}`, "validate", "", "error"},
		{"a zone that is none", `{"timezone":"Mars/Olympus","periods":[{"begintime":"10:00"}]}`, "validate", "", "error"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			if got := ask(t, foreign.InstanceScheduler, tt.spec, "", nil, tt.edge, tt.at); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNative(t *testing.T) {
	for _, tt := range []struct {
		spec string
		edge foreign.Edge
		at   string
		want any
	}{
		{`"Mon-Fri 08:00-19:00 Europe/London"`, "state", "2026-07-01T07:00:00Z", "running"},
		{`"Mon-Fri_08:00-19:00_Europe/London"`, "state", "2026-07-01T06:59:00Z", "stopped"},
		{`"22:00-06:00"`, "window", "2026-07-01T05:59:00Z", true},
		{`"Mon-Fri 08:00-19:00 Europe/London"`, "on", "2026-07-01T07:00:30Z", true},
		{`"Mon-Fri 08:00-19:00 Europe/London"`, "off", "2026-07-01T07:00:00Z", false},
		{`"Mon-Fri 08:00-19:00 Europe/London"`, "off", "2026-07-01T18:00:00Z", true},
		{`"30 5 * * MON-FRI"`, "on", "2026-07-01T05:30:00Z", true},
		{`"30 5 * * MON-FRI"`, "on", "2026-07-01T05:31:00Z", false},
		{`"9-17"`, "validate", "", "error"},
		{`"Sun 22:00 - Fri 19:00"`, "validate", "", "ok"},
		{`null`, "state", "", "error"},
	} {
		if got := ask(t, foreign.Native, tt.spec, "", nil, tt.edge, tt.at); got != tt.want {
			t.Errorf("%s %s at %s: got %v, want %v", tt.spec, tt.edge, tt.at, got, tt.want)
		}
	}
}

func TestWhatCannotBeAskedIsAnError(t *testing.T) {
	for _, tt := range []struct{ grammar, spec, policy, edge string }{
		{"klingon", `"x"`, ``, "state"},
		{foreign.CustodianOffhours, `4`, ``, "off"},
		{foreign.CustodianOffhours, `"tz=et"`, `{"onhour":"eight"}`, "on"},
		{foreign.CustodianOffhours, `"tz=et"`, ``, "window"},
		{foreign.CustodianMark, `"x: stop@2026/06/15"`, `{"skew":"one"}`, "due"},
		{foreign.KubeDownscaler, `"always"`, ``, "due"},
		{foreign.InstanceScheduler, `"x"`, ``, "state"},
	} {
		if got := ask(t, tt.grammar, tt.spec, tt.policy, nil, foreign.Edge(tt.edge), "2026-06-15T12:00:00Z"); got != "error" {
			t.Errorf("%s %s: got %v", tt.grammar, tt.spec, got)
		}
	}
}

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

func FuzzAnswer(f *testing.F) {
	for _, g := range []string{foreign.Native, foreign.CustodianOffhours, foreign.CustodianMark, foreign.KubeDownscaler, foreign.InstanceScheduler} {
		for _, spec := range []string{`"off=(m-f,19);on=(m-f,7);tz=pt"`, `"msg: stop@2026/06/15 1130 UTC"`, `"Mon-Fri 08:00-18:00 UTC"`, `{"timezone":"UTC","periods":[{"weekdays":["mon-fri/2"],"monthdays":["1-L/3","15W"]}]}`, `"2026-01-01T00:00:00+00:00-2026-01-02T00:00:00+00:00"`} {
			f.Add(g, spec, "state")
			f.Add(g, spec, "validate")
			f.Add(g, spec, "off")
		}
	}
	at := time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, grammar, spec, edge string) {
		r := foreign.Answer(foreign.Question{Grammar: grammar, Spec: json.RawMessage(spec), Edge: foreign.Edge(edge), At: at})
		switch r.Result {
		case true, false, "running", "stopped", "any", "ok":
		case "error":
			if r.Reason == "" {
				t.Error("an error without a reason")
			}
		default:
			t.Errorf("the result is %v", r.Result)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add(foreign.CustodianOffhours, "off=(m-f,19);on=(m-f,7);tz=pt")
	f.Add(foreign.KubeDownscaler, "Mon-Fri_08:00-18:00_UTC")
	at := time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, grammar, value string) {
		table, _, err := foreign.Read(grammar, value, nil, time.UTC)
		if err == nil && table.At(at) == "" {
			t.Errorf("%q has no state", value)
		}
	})
}

// One policy of Custodian without its counterpart wants something in the hours at
// which it acts, and nothing at all other times: it never starts what another
// policy would have to start.
func TestALonePolicyOfCustodianActsOnOneSide(t *testing.T) {
	set := foreign.Settings{"default_tz": "utc", "offhour": 19, "only": "stop", "skip-days": []any{"2027-01-05"}}
	for _, tt := range []struct {
		value, at string
		want      schedule.State
	}{
		{"", "2027-01-04T18:59:00Z", schedule.Any}, // a Monday
		{"", "2027-01-04T19:00:00Z", schedule.Stopped},
		{"", "2027-01-04T20:00:00Z", schedule.Any},
		{"", "2027-01-05T19:00:00Z", schedule.Any}, // skipped
		{"", "2027-01-06T07:00:00Z", schedule.Any}, // the onhour of a counterpart
		{"off=(m-f,21);on=(m-f,7)", "2027-01-04T21:30:00Z", schedule.Stopped},
		{"off=(m-f,21);on=(m-f,7)", "2027-01-04T07:30:00Z", schedule.Any},
		{"off=(m-f,21)", "2027-01-04T21:30:00Z", schedule.Stopped},
		{"off", "2027-01-04T19:00:00Z", schedule.Any},
	} {
		table, warnings, err := foreign.Read(foreign.CustodianOffhours, tt.value, set, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.At(at); got != tt.want {
			t.Errorf("%q at %s: got %s, want %s", tt.value, tt.at, got, tt.want)
		}
		for _, w := range warnings {
			if strings.HasPrefix(w.Text, "on is not in the tag") {
				t.Errorf("%q: warned of the side that it does not have: %s", tt.value, w.Text)
			}
		}
	}
	if _, _, err := foreign.Read(foreign.CustodianOffhours, "", foreign.Settings{"only": []any{"stop"}}, time.UTC); err == nil {
		t.Error("only: [stop] is good, want an error")
	}
}
