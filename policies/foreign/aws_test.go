package foreign_test

import (
	"testing"

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
