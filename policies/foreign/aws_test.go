package foreign_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/policies/foreign"
)

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

// Fields that Instance Scheduler reads or refuses: the tests of its parsers
// (tests/cron/test_*_parser.py) and of its model (tests/model), whole.
func TestInstanceSchedulerFields(t *testing.T) {
	good := map[string]string{ // separated by |, for values hold commas
		"monthdays": "*|?|1|2|31|5-20|1-30|1,2,3,4,5|2, 8, 10, 20, 22|L|6-L|3-L/2|1/7|15-30/3|17W|12-15|1-15/2|20-L|15W|30|26-30|31|1W|31W|l|7w|9 - 12",
		"months": "*|?|1|12|january|JANUARY|jan|JAN|may|december|DEC|1-3|7-8|1-12|12-1|2-1|1,3,7|10, 2, 12, 11, 6|January-June|July-November|October-June|July-June|" +
			"january,march,july|october, february, december, november, june|jan-jun|jul-nov|Oct-Jun|jul-jun|Oct, Feb, Dec, Nov, Jun|4/2|Jan/3|3-9/2|feb-sep/6|October-December/2|10-12|1/3|5-9/2|mar/3|Jan-Jul/2",
		"weekdays": "*|?|0|6|monday|SUNDAY|mon|SUN|0-2|1-5|5-6|6-0|2-1|1,3,6|4, 2, 5, 0, 6|Monday-Friday|Saturday-Sunday|Sunday-Monday|wednesday-tuesday|Tuesday,Thursday,Sunday|" +
			"Monday, Friday, Sunday, Tuesday, Wednesday|mon-fri|Sat-Sun|sun-mon|Wed-Tue|Mon, Fri, Sun, Tue, Wed|L|Mon/2|3/3|Thursday/2|1-5/3|Mon-Fri/2|Tuesday-Sunday/3|Thursday#3|mon#1|2#2|1L|ThursdayL|monL|4-6|1-2, Thu-Fri|0#1|Mon#5|FriL|6L|L,0",
	}
	bad := map[string]string{
		"monthdays": "W|32W|0W|36|0|32|2W-15|L-13|bad-string|20-15|1#1|1L|-1||1,|mon|*/2|1.5|1-2-3|L/2",
		"months":    "13|0|befruary|sup|L|3-L|^-6|L-2||not-a-month|W|1W|jan#1|janL|7L|*/2|jan-|-jan",
		"weekdays":  "-1|7|wensday|fro|3-L|^-6|0#6|0#-1|0#0|L-2|not-a-day|Mon#6|2-L|5W||mon-fro|mon #1|#1|1#L|*/2",
	}
	for want, lists := range map[string]map[string]string{"ok": good, "error": bad} {
		for field, list := range lists {
			for value := range strings.SplitSeq(list, "|") {
				spec, _ := json.Marshal(map[string]any{"periods": []any{map[string]any{field: []string{value}}}})
				if got := ask(t, foreign.InstanceScheduler, string(spec), "", nil, "validate", ""); got != want {
					t.Errorf("%s %q: got %v, want %s", field, value, got, want)
				}
			}
		}
	}
	for field, list := range map[string][]string{"monthdays": {"2", "13-15", "5-8", "1/8"}, "months": {"3", "4-6", "Feb"}, "weekdays": {"2", "Sat-Sun", "Monday"}} { // several
		spec, _ := json.Marshal(map[string]any{"periods": []any{map[string]any{field: list}}})
		if got := ask(t, foreign.InstanceScheduler, string(spec), "", nil, "validate", ""); got != "ok" {
			t.Errorf("%s %q: got %v", field, list, got)
		}
	}
	for time, want := range map[string]string{ // test_time_utils.py, test_accepts_ and test_rejects_invalid_time_strings
		"00:00": "ok", "1:00": "ok", "01:00": "ok", "10:00": "ok", "00:05": "ok", "00:15": "ok", "23:59": "ok", "4:35": "ok", "01:05": "ok",
		"abc": "error", "10:5": "error", "1:5": "error", "24:00": "error", "25:00": "error", "ab": "error", "24:01": "error", "|5:00": "error", " 05:00": "error", "05:00:00": "error",
	} {
		for _, side := range []string{"begintime", "endtime"} {
			if got := ask(t, foreign.InstanceScheduler, `{"periods":[{"`+side+`":"`+time+`"}]}`, "", nil, "validate", ""); got != want {
				t.Errorf("%s %s: got %v, want %s", side, time, got, want)
			}
		}
	}
}

// The days of a month on which a field runs: tests/cron/test_cron_to_running_period.py
// and tests/configuration/test_running_period.py, whole, and what follows from the code.
func TestInstanceSchedulerDays(t *testing.T) {
	const april23, april24, september24 = "2023-04", "2024-04", "2024-09"
	for _, tt := range []struct{ source, field, value, month, want string }{
		{"test_nearest_weekday_runs_as_expected", "monthdays", "1W", april23, "3"},
		{"test_nearest_weekday_runs_as_expected", "monthdays", "2W", april23, "3"},
		{"test_nearest_weekday_runs_as_expected", "monthdays", "3W", april23, "3"},
		{"test_nearest_weekday_runs_as_expected", "monthdays", "15W", april23, "14"},
		{"test_nearest_weekday_runs_as_expected", "monthdays", "16W", april23, "17"},
		{"test_nearest_weekday_runs_as_expected", "monthdays", "29W", april23, "28"},
		{"test_nearest_weekday_runs_as_expected", "monthdays", "30W", april23, "28"},
		{"test_last_weekday_runs_on_expected_day", "weekdays", "monL", april24, "29"},
		{"test_last_weekday_runs_on_expected_day", "weekdays", "1L", april24, "30"},
		{"test_last_weekday_runs_on_expected_day", "weekdays", "WedL", april24, "24"},
		{"test_last_weekday_runs_on_expected_day", "weekdays", "3L", april24, "25"},
		{"test_last_weekday_runs_on_expected_day", "weekdays", "FRIL", april24, "26"},
		{"test_last_weekday_runs_on_expected_day", "weekdays", "satL", april24, "27"},
		{"test_last_weekday_runs_on_expected_day", "weekdays", "6L", april24, "28"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "mon#1", april24, "1"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "tue#1", april24, "2"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "wed#1", april24, "3"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "thu#1", april24, "4"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "fri#1", april24, "5"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "sat#1", april24, "6"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "sun#1", april24, "7"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "mon#2", april24, "8"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "mon#3", april24, "15"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "mon#4", april24, "22"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "mon#5", april24, "29"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "TUE#3", april24, "16"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "sun#2", april24, "14"},
		{"test_nth_weekday_runs_on_expected_day", "weekdays", "Tue#5", april24, "30"},
		{"test_nth_weekday_does_not_run_when_weekday_does_not_exist_in_month", "weekdays", "Thu#5", april24, ""},
		{"test_resolve_nth_weekday", "weekdays", "0#1", september24, "2"},
		{"test_resolve_nth_weekday", "weekdays", "6#1", september24, "1"},
		{"test_resolve_nth_weekday", "weekdays", "6#2", september24, "8"},
		{"test_resolve_nth_weekday", "weekdays", "4#3", september24, "20"},
		{"test_resolve_nth_weekday", "weekdays", "5#3", september24, "21"},
		{"test_resolve_nth_weekday", "weekdays", "5#4", september24, "28"},
		{"test_resolve_nth_weekday", "weekdays", "1#1", september24, "3"},
		{"test_resolve_nth_weekday", "weekdays", "1#3", september24, "17"},
		{"test_monthday_only", "monthdays", "3,5,15", april23, "3 5 15"},
		{"test_range_wraps_as_expected: a step, in days", "monthdays", "1-7/2", april24, "1 3 5 7"},
		{"test_range_wraps_as_expected: cut short", "monthdays", "1-7/4", april24, "1 5"},
		{"test_range_wraps_as_expected: to the last", "monthdays", "23-L/2", april24, "23 25 27 29"},
		{"test_range_wraps_as_expected: beyond the month", "monthdays", "28-31/2", april24, "28 30"},
		{"test_range_wraps_as_expected: begins beyond the month", "monthdays", "31-L/2", april24, ""},
		{"test_range_wraps_as_expected: begins beyond the month", "monthdays", "31/2", april24, ""},
		{"test_range_wraps_as_expected: wraps", "weekdays", "4-3/2", april24, "2 4 5 7 9 11 12 14 16 18 19 21 23 25 26 28 30"},
		{"test_range_wraps_as_expected: one day", "weekdays", "3-3/2", april24, "4 11 18 25"},
		{"code: L of weekdays is Sunday", "weekdays", "L", april24, "7 14 21 28"},
		{"code: L of days", "monthdays", "L", "2024-02", "29"},
		{"code: 30-L in February", "monthdays", "30-L", "2024-02", ""},
		{"code: the last digit is the step", "monthdays", "1/17", april24, "1 8 15 22 29"},
		{"code: whatever stands around it", "monthdays", "1/x7y", april24, "1 8 15 22 29"},
		{"code: a step of 0 never ends", "monthdays", "1/10", april24, "error"},
		{"code: 31W fails where there is no 31st", "monthdays", "31W", april24, "error"},
		{"test_month_only_is_running_for_whole_month", "months", "4", april23, "1-30"},
		{"test_month_only_is_stopped_in_other_months", "months", "4", "2023-05", ""},
		{"code: months wrap with a step", "months", "10-3/2", "2024-12", "1-31"},
		{"code: months wrap with a step, not that one", "months", "10-3/2", "2024-11", ""},
	} {
		spec, _ := json.Marshal(map[string]any{"periods": []any{map[string]any{tt.field: []string{tt.value}}}})
		first, err := time.Parse("2006-01", tt.month)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for at := first; at.Month() == first.Month(); at = at.AddDate(0, 0, 1) {
			switch ask(t, foreign.InstanceScheduler, string(spec), "", nil, "state", at.Format(time.RFC3339)) {
			case "running":
				got = append(got, fmt.Sprint(at.Day()))
			case "error":
				got = []string{"error"}
			}
		}
		if days := first.AddDate(0, 1, -1).Day(); len(got) == days {
			got = []string{fmt.Sprintf("1-%d", days)}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %s in %s: got %s, want %s", tt.source, tt.value, tt.month, strings.Join(got, " "), tt.want)
		}
	}
}

// Times, zones, and several periods.
func TestInstanceSchedulerStates(t *testing.T) {
	const (
		oneSidedStart = `{"periods":[{"begintime":"10:00"}]}`
		oneSidedStop  = `{"periods":[{"endtime":"10:00"}]}`
		both          = `{"periods":[{"begintime":"10:00","endtime":"20:00"}]}`
		adjacent      = `{"periods":[{"begintime":"5:00","endtime":"10:00"},{"begintime":"10:01","endtime":"15:00"}]}`
		overMidnight  = `{"periods":[{"begintime":"5:00","endtime":"23:59"},{"begintime":"0:00","endtime":"3:00"}]}`
		notTuesday    = `{"periods":[{"begintime":"0:00","endtime":"18:00","weekdays":["1"]},{"begintime":"19:00","endtime":"23:59","weekdays":["1"]},{"weekdays":["2-0"]}]}`
		sydney        = `{"timezone":"Australia/Sydney","periods":[{"begintime":"07:00","endtime":"21:00","weekdays":["mon-fri"]},{"begintime":"00:00","endtime":"11:00","weekdays":["sun#2"]},{"begintime":"00:00","endtime":"11:00","weekdays":["sun#3"]}]}`
	)
	morning := func(zone string) string {
		return `{"timezone":"` + zone + `","periods":[{"begintime":"0:00","endtime":"12:00"}]}`
	}
	for _, tt := range []struct{ source, spec, at, want string }{
		{"test_one_sided_start", oneSidedStart, "2023-07-10T05:00:00Z", "any"},
		{"test_one_sided_start", oneSidedStart, "2023-07-10T10:00:00Z", "running"},
		{"test_one_sided_start", oneSidedStart, "2023-07-10T15:00:00Z", "running"},
		{"test_one_sided_stop", oneSidedStop, "2023-07-10T05:00:00Z", "any"},
		{"test_one_sided_stop", oneSidedStop, "2023-07-10T10:00:00Z", "stopped"},
		{"test_one_sided_stop", oneSidedStop, "2023-07-10T15:00:00Z", "stopped"},
		{"test_regular_period", both, "2023-07-10T05:00:00Z", "stopped"},
		{"test_regular_period", both, "2023-07-10T10:00:00Z", "running"},
		{"test_regular_period", both, "2023-07-10T15:00:00Z", "running"},
		{"test_regular_period", both, "2023-07-10T20:00:00Z", "stopped"},
		{"test_regular_period", both, "2023-07-10T22:00:00Z", "stopped"},
		{"test_adjacent_periods_do_not_get_stopped_in_the_middle", adjacent, "2023-07-10T09:30:00Z", "running"},
		{"test_adjacent_periods_do_not_get_stopped_in_the_middle", adjacent, "2023-07-10T10:00:30Z", "running"},
		{"test_adjacent_periods_across_midnight", overMidnight, "2023-07-10T23:30:00Z", "running"},
		{"test_adjacent_periods_across_midnight", overMidnight, "2023-07-10T23:59:59Z", "running"},
		{"test_adjacent_periods_across_midnight", overMidnight, "2023-07-11T00:00:00Z", "running"},
		{"test_not_running_period", notTuesday, "2024-01-02T17:55:00Z", "running"},
		{"test_not_running_period", notTuesday, "2024-01-02T18:00:00Z", "stopped"},
		{"test_not_running_period", notTuesday, "2024-01-02T19:00:00Z", "running"},
		{"test_not_running_period", notTuesday, "2024-01-03T18:00:00Z", "running"},
		{"test_weekday_boundaries_respect_schedule_timezone", sydney, "2023-08-12T14:00:00Z", "running"},
		{"test_weekday_boundaries_respect_schedule_timezone: before", sydney, "2023-08-12T13:59:00Z", "stopped"},
		{"test_time_zones", morning("Etc/GMT+12"), "2023-06-09T12:00:00Z", "running"},
		{"test_time_zones", morning("Etc/GMT+10"), "2023-06-09T12:00:00Z", "running"},
		{"test_time_zones", morning("Etc/GMT+5"), "2023-06-09T12:00:00Z", "running"},
		{"test_time_zones", morning("Etc/GMT"), "2023-06-09T12:00:00Z", "stopped"},
		{"test_time_zones", morning("Etc/GMT-5"), "2023-06-09T12:00:00Z", "stopped"},
		{"test_time_zones", morning("Etc/GMT-10"), "2023-06-09T12:00:00Z", "stopped"},
		{"test_time_zones", morning("Etc/GMT-13"), "2023-06-09T12:00:00Z", "running"},
		{"code: one period is not bridged with itself", `{"periods":[{"begintime":"00:00","endtime":"23:59"}]}`, "2023-07-10T23:59:00Z", "stopped"},
		{"code: a bridge needs running on both sides, any is not enough", `{"periods":[{"begintime":"04:00","endtime":"12:00"},{"endtime":"12:00"}]}`, "2023-07-10T12:00:00Z", "stopped"},
		{"code: outside its days a one-sided period stops", `{"periods":[{"begintime":"10:00","weekdays":["mon"]}]}`, "2023-07-11T12:00:00Z", "stopped"},
		{"code: and before its time it has no voice", `{"periods":[{"begintime":"10:00","weekdays":["mon"]}]}`, "2023-07-10T09:00:00Z", "any"},
		{"code: begin and end are one: never", `{"periods":[{"begintime":"10:00","endtime":"10:00"}]}`, "2023-07-10T10:00:00Z", "stopped"},
		{"code: an empty time is none", `{"periods":[{"begintime":"","endtime":"10:00"}]}`, "2023-07-10T09:00:00Z", "any"},
		{"code: an empty time alone runs all day", `{"periods":[{"begintime":""}]}`, "2023-07-10T09:00:00Z", "running"},
		{"code: the override outdoes all", `{"override_status":"STOPPED","periods":[{"months":["*"]}]}`, "2023-07-10T09:00:00Z", "stopped"},
		{"code: but not a period that cannot be read", `{"override_status":"stopped","periods":[{"months":["L"]}]}`, "2023-07-10T09:00:00Z", "error"},
		{"code: an empty override is none", `{"override_status":"","periods":[{"months":["*"]}]}`, "2023-07-10T09:00:00Z", "running"},
		{"test_rejects_invalid_override_status", `{"override_status":"invalid","periods":[{"months":["*"]}]}`, "2023-07-10T09:00:00Z", "error"},
		{"test_rejects_when_no_periods_or_overrides_provided", `{"timezone":"America/New_York"}`, "2023-07-10T09:00:00Z", "error"},
		{"test_rejects_invalid_timezone", `{"timezone":"fake-timezone","periods":[{"months":["*"]}]}`, "2023-07-10T09:00:00Z", "error"},
		{"code: a zone by its exact name", `{"timezone":"America/New York","periods":[{"months":["*"]}]}`, "2023-07-10T09:00:00Z", "error"},
		{"test_timezone_uses_default_timezone_when_not_provided: UTC", `{"timezone":"","periods":[{"endtime":"10:00"}]}`, "2023-07-10T09:59:00Z", "any"},
		{"code: an hour that is repeated runs twice", `{"timezone":"Europe/London","periods":[{"begintime":"01:00","endtime":"02:00"}]}`, "2026-10-25T01:30:00Z", "running"},
		{"instancetype means nothing here", `{"periods":[{"begintime":"10:00","endtime":"20:00","instancetype":"t3.large"}]}`, "2023-07-10T15:00:00Z", "running"},
	} {
		if got := ask(t, foreign.InstanceScheduler, tt.spec, "", nil, "state", tt.at); got != tt.want {
			t.Errorf("%s: at %s: got %v, want %s", tt.source, tt.at, got, tt.want)
		}
	}
	// Which zone counts where the schedule names none.
	q := foreign.Question{Grammar: foreign.InstanceScheduler, Spec: json.RawMessage(oneSidedStop), DefaultTZ: "Asia/Tokyo", Edge: "state", At: time.Date(2023, 7, 10, 1, 0, 0, 0, time.UTC)}
	if got := foreign.Answer(q).Result; got != "stopped" {
		t.Errorf("in Tokyo by default: got %v", got)
	}
}
