package foreign_test

import (
	"encoding/json"
	"strings"
	"testing"

	"nightshift/policies/foreign"
)

// The windows, cron lines and tags of our own language, as a batch asks for them.
// Of most windows the row says how a day, or a change of the clocks, is seen.
func TestNative(t *testing.T) {
	const (
		london  = "Europe/London"
		stopped = `{"as":"stopped"}`
	)
	for _, tt := range []struct {
		what, spec, zone, policy string
		edge                     foreign.Edge
		at                       string
		want                     any
	}{
		{"inside", "Mon-Fri 08:00-19:00", london, "", "state", "2026-07-01T07:00:00Z", "running"},
		{"before", "Mon-Fri 08:00-19:00", london, "", "state", "2026-07-01T06:59:59Z", "stopped"},
		{"the end is not in", "Mon-Fri 08:00-19:00", london, "", "state", "2026-07-01T18:00:00Z", "stopped"},
		{"at with an offset", "Mon-Fri 08:00-19:00", london, "", "state", "2026-07-01T23:59:00+09:00", "running"},
		{"UTC where no zone is named", "08:00-19:00", "", "", "window", "2026-07-01T08:00:00Z", true},
		{"the spec's zone outdoes the default", "Mon-Fri 08:00-19:00 Europe/London", "Asia/Tokyo", "", "window", "2026-07-01T07:00:00Z", true},
		{"as a tag", "Mon-Fri_08:00-19:00;Sat_10:00-14:00_Europe/London", "", "", "window", "2026-07-04T09:00:00Z", true},
		{"a comma separates, too", "Mon-Fri 08:00-19:00, Sat 10:00-14:00 America/New_York", "", "", "window", "2026-07-04T14:00:00Z", true},
		{"past midnight, in the evening", "Fri 22:00-06:00", "", "", "window", "2026-07-03T22:00:00Z", true},
		{"past midnight, it belongs to the day on which it begins", "Fri 22:00-06:00", "", "", "window", "2026-07-04T05:59:00Z", true},
		{"past midnight, not the morning before", "Fri 22:00-06:00", "", "", "window", "2026-07-03T05:00:00Z", false},
		{"days that wrap", "Fri-Mon 10:00-12:00", "", "", "window", "2026-07-05T11:00:00Z", true},
		{"days that wrap, not between", "Fri-Mon 10:00-12:00", "", "", "window", "2026-07-08T11:00:00Z", false},
		{"a span over days", "Sun 22:00 - Fri 19:00", "", "", "window", "2026-07-03T18:59:00Z", true},
		{"a span over days, after it", "Sun 22:00 - Fri 19:00", "", "", "window", "2026-07-05T21:59:00Z", false},
		{"24:00", "Mon 20:00-24:00", "", "", "window", "2026-07-06T23:59:59Z", true},
		{"24:00 is over at midnight", "Mon 20:00-24:00", "", "", "window", "2026-07-07T00:00:00Z", false},
		{"an end that is the begin lies on the next day", "Mon 08:00-08:00", "", "", "window", "2026-07-07T07:59:00Z", true},
		{"a list of days", "Mon+Wed 10:00-12:00", "", "", "window", "2026-07-08T11:00:00Z", true},
		{"the first Monday", "Mon#1 10:00-12:00", "", "", "window", "2026-07-06T11:00:00Z", true},
		{"not the second", "Mon#1 10:00-12:00", "", "", "window", "2026-07-13T11:00:00Z", false},
		{"the last Friday", "FriL 10:00-12:00", "", "", "window", "2026-07-31T11:00:00Z", true},
		{"days of the month", "1-15 10:00-12:00", "", "", "window", "2026-07-15T11:00:00Z", true},
		{"days of the month, the day after", "1-15 10:00-12:00", "", "", "window", "2026-07-16T11:00:00Z", false},
		{"the last day", "L 10:00-12:00", "", "", "window", "2028-02-29T11:00:00Z", true},
		{"with months", "Jan-Mar 1-15 10:00-12:00", "", "", "window", "2026-03-15T11:00:00Z", true},
		{"in another month", "Jan-Mar 1-15 10:00-12:00", "", "", "window", "2026-04-15T11:00:00Z", false},
		{"months that wrap", "Nov-Feb Mon 10:00-12:00", "", "", "window", "2026-01-05T11:00:00Z", true},
		{"dates", "2026-12-24..2027-01-01 00:00-24:00", "", "", "window", "2027-01-01T23:59:59Z", true},
		{"after the dates", "2026-12-24..2027-01-01 00:00-24:00", "", "", "window", "2027-01-02T00:00:00Z", false},
		{"an edge", "08:00-19:00", "", "", "on", "2026-07-01T08:00:00Z", true},
		{"the minute of an edge", "08:00-19:00", "", "", "on", "2026-07-01T08:00:59Z", true},
		{"the minute after it", "08:00-19:00", "", "", "on", "2026-07-01T08:01:00Z", false},
		{"the other edge", "08:00-19:00", "", "", "off", "2026-07-01T19:00:00Z", true},
		{"not the other edge", "08:00-19:00", "", "", "off", "2026-07-01T08:00:00Z", false},
		{"adjacent windows have no edge between them", "08:00-12:00; 12:00-19:00", "", "", "off", "2026-07-01T12:00:00Z", false},
		{"nor over midnight", "20:00-24:00, 00:00-06:00", "", "", "on", "2026-07-01T00:00:00Z", false},
		{"overlapping windows are one", "08:00-12:00; 10:00-19:00", "", "", "off", "2026-07-01T12:00:00Z", false},
		{"stopped windows", "22:00-06:00", "", stopped, "state", "2026-07-01T23:00:00Z", "stopped"},
		{"running else", "22:00-06:00", "", stopped, "state", "2026-07-01T12:00:00Z", "running"},
		{"inside is where they stop", "22:00-06:00", "", stopped, "window", "2026-07-01T23:00:00Z", true},
		{"they stop at their begin", "22:00-06:00", "", stopped, "off", "2026-07-01T22:00:00Z", true},
		{"one-sided", "22:00-06:00", "", `{"as":"stopped","only":true}`, "state", "2026-07-01T12:00:00Z", "any"},
		{"one-sided has no edge at its end", "22:00-06:00", "", `{"as":"stopped","only":true}`, "on", "2026-07-01T06:00:00Z", false},
		{"a begin in the gap is the first instant after it", "01:30-03:00", london, "", "on", "2026-03-29T01:00:00Z", true},
		{"a window in the gap is empty", "01:00-02:00", london, "", "state", "2026-03-29T01:00:00Z", "stopped"},
		{"an end in the gap, too", "00:30-01:30", london, "", "off", "2026-03-29T01:00:00Z", true},
		{"an end in the overlap is its first reading", "00:30-01:30", london, "", "off", "2026-10-25T00:30:00Z", true},
		{"and not the second", "00:30-01:30", london, "", "off", "2026-10-25T01:30:00Z", false},
		{"between the readings the window is over", "01:00-01:30", london, "", "window", "2026-10-25T01:15:00Z", false},
		{"a window that begins in the overlap lasts through it", "01:30-02:30", london, "", "window", "2026-10-25T01:10:00Z", true},
		{"cron", "30 5 * * MON-FRI", "", "", "due", "2026-07-01T05:30:00Z", true},
		{"cron, on", "30 5 * * MON-FRI", "", "", "on", "2026-07-01T05:30:30Z", true},
		{"cron, the minute after", "30 5 * * MON-FRI", "", "", "due", "2026-07-01T05:31:00Z", false},
		{"cron, 7 is Sunday", "0 0 * * 7", "", "", "due", "2026-07-05T00:00:00Z", true},
		{"cron, @daily in its zone", "@daily", "Europe/Berlin", "", "due", "2026-06-15T00:00:00+02:00", true},
		{"cron in the gap", "30 1 * * *", london, "", "due", "2026-03-29T01:00:00Z", true},
		{"cron in the overlap, once", "30 1 * * *", london, "", "due", "2026-10-25T00:30:00Z", true},
		{"cron in the overlap, not twice", "30 1 * * *", london, "", "due", "2026-10-25T01:30:00Z", false},
		{"cron of every hour follows elapsed time", "30 * * * *", london, "", "due", "2026-10-25T01:30:00Z", true},
		{"cron has no state", "@daily", "", "", "state", "2026-07-01T05:30:00Z", "error"},
		{"a mark", "stop@2026-12-01T18:00", london, "", "due", "2026-12-01T18:00:00Z", true},
		{"a mark before its time", "stop@2026-12-01T18:00", london, "", "due", "2026-12-01T17:59:59Z", false},
		{"a mark is midnight of its day", "start@2026-07-01", london, "", "on", "2026-06-30T23:00:00Z", true},
		{"a mark to start does not stop", "start@2026-07-01", london, "", "off", "2026-06-30T23:00:00Z", false},
		{"a keep", "running@2026-11-27T22:00", "", "", "state", "2026-11-27T21:59:00Z", "running"},
		{"a keep that is over", "running@2026-11-27T22:00", "", "", "state", "2026-11-27T22:00:00Z", "any"},
		{"a keep that ends by itself", "stopped", "", "", "state", "2026-11-27T22:00:00Z", "stopped"},
		{"as it is", "asis@2026-11-27T22:00", "", "", "state", "2026-11-27T21:00:00Z", "any"},
		{"no such edge", "08:00-19:00", "", "", "due", "2026-07-01T08:00:00Z", "error"},
		{"no edge", "08:00-19:00", "", "", "", "2026-07-01T08:00:00Z", "error"},
		{"no instant", "08:00-19:00", "", "", "state", "", "error"},
		{"no zone", "08:00-19:00", "Local", "", "state", "2026-07-01T08:00:00Z", "error"},
		{"no such side", "08:00-19:00", "", `{"as":"downtime"}`, "state", "2026-07-01T08:00:00Z", "error"},
		{"one-sided, but not a truth", "08:00-19:00", "", `{"only":"yes"}`, "state", "2026-07-01T08:00:00Z", "error"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			spec, _ := json.Marshal(tt.spec)
			if got := askIn(t, tt.zone, foreign.Native, string(spec), tt.policy, nil, tt.edge, tt.at); got != tt.want {
				t.Errorf("%s %s at %s: got %v, want %v", tt.spec, tt.edge, tt.at, got, tt.want)
			}
		})
	}
}

func TestNativeIsValid(t *testing.T) {
	for want, list := range map[string]string{
		"ok": "Sun 22:00 - Fri 19:00|mon-fri 08:00-19:00|Monday-Friday 08:00-19:00|00:00-24:00|Feb 29 08:00-19:00|Jan+Jul Mon#1 08:00-10:00|FriL 08:00-10:00|1-L 08:00-10:00|2026-12-24..2027-01-01 08:00-10:00|" +
			"Mon-Fri_08:00-19:00_UTC|Mon-Fri_08:00-19:00;Sat_10:00-14:00_Europe/London|30 5 * * MON-FRI|@daily|@hourly|@weekly|@monthly|@yearly|0 0 * * 7|0 0 * * FRI-SUN|*/15 * * * *|0 0 29 2 *| @daily |" +
			"stop@2026-12-01|start@2026-12-01T18:00|running@2026-11-27T22:00|asis|stopped@2026-11-27T22:00_Europe/London",
		"error": "|  |,|9-17|08:00-25:00|08:00-24:01|24:00-06:00|Mon-Fri|Mon Fri 08:00-19:00|Xyz 08:00-19:00|Mon#6 08:00-19:00|32 08:00-19:00|15-1 08:00-19:00|Feb 30 08:00-19:00|2026-12-24..2026-01-01 08:00-19:00|2026-02-30 08:00-19:00|" +
			"08:00-19:00 Europe/Lodnon|08:00-19:00 Local|Sun 22:00 - 19:00|always|office|*/90 * * * *|0,,1 * * * *|@every 1h|@reboot|@foo|0 0 30 2 *|0 0 * * 8|60 * * * *|0 0 * * * *|0 0 * *|TZ=UTC 0 0 * * *|0 0 1-31 * MON|*/0 * * * *|" +
			"stop|stop@|stop@soon|reboot@2026-12-01|running@|running@soon",
	} {
		for spec := range strings.SplitSeq(list, "|") {
			text, _ := json.Marshal(spec)
			if got := ask(t, foreign.Native, string(text), "", nil, "validate", ""); got != want {
				t.Errorf("%q: got %v, want %s", spec, got, want)
			}
		}
	}
}

// A schedule as the policy file writes it.
func TestNativeObject(t *testing.T) {
	for _, tt := range []struct {
		spec string
		edge foreign.Edge
		want any
	}{
		{`{"running":["Mon-Fri 08:00-19:00","Sat 10:00-14:00"],"timezone":"Europe/London"}`, "state", "running"},
		{`{"stopped":"22:00-06:00"}`, "state", "running"},
		{`{"stopped":"06:00-22:00"}`, "window", true},
		{`{"running":["20:00-22:00"],"stopped":["00:00-06:00"]}`, "state", "any"},
		{`{"running":"08:00-10:00","stopped":"09:00-11:00"}`, "validate", "error"},
		{`{"running":7}`, "validate", "error"},
		{`{}`, "validate", "error"},
		{`["08:00-19:00"]`, "validate", "error"},
		{`7`, "validate", "error"},
		{`null`, "validate", "error"},
		{``, "validate", "error"},
	} {
		if got := ask(t, foreign.Native, tt.spec, "", nil, tt.edge, "2026-07-01T07:00:00Z"); got != tt.want {
			t.Errorf("%s %s: got %v, want %v", tt.spec, tt.edge, got, tt.want)
		}
	}
}
