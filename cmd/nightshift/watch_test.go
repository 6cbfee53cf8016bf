package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"nightshift/events"
)

func TestSinceMeansTheLatestSuchDayThatHasBegun(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	friday := time.Date(2026, 10, 30, 17, 0, 0, 0, london)
	monday := time.Date(2026, 10, 26, 9, 0, 0, 0, london) // the day after the clocks went back
	for _, c := range []struct {
		text string
		now  time.Time
		want string
	}{
		{"2h", friday, "2026-10-30T15:00:00Z"},
		{"3d", monday, "2026-10-23T09:00:00+01:00"},
		{"today", friday, "2026-10-30T00:00:00Z"},
		{"yesterday", monday, "2026-10-25T00:00:00+01:00"},
		{"friday", friday, "2026-10-30T00:00:00Z"},
		{"Friday", monday, "2026-10-23T00:00:00+01:00"},
		{"sat", monday, "2026-10-24T00:00:00+01:00"},
		{"friday 16:00", friday, "2026-10-30T16:00:00Z"},
		{"friday 18:00", friday, "2026-10-23T18:00:00+01:00"}, // this week's has not come yet
		{"yesterday 18:00", monday, "2026-10-25T18:00:00Z"},
		{"2026-10-24", friday, "2026-10-24T00:00:00+01:00"},
		{"2026-10-24 19:00", friday, "2026-10-24T19:00:00+01:00"},
		{"2026-10-24T19:00:00Z", friday, "2026-10-24T19:00:00Z"},
	} {
		got, err := sinceAt(c.text, c.now, london)
		if err != nil || got.Format(time.RFC3339) != c.want {
			t.Errorf("%q at %s: got %s, want %s, %v", c.text, c.now, got.Format(time.RFC3339), c.want, err)
		}
	}
	for _, bad := range []string{"", "-2h", "0s", "someday", "friday 25:00", "fr", "2026-13-01", "days"} {
		if got, err := sinceAt(bad, friday, london); err == nil {
			t.Errorf("%q is read as %s", bad, got)
		}
	}
}

func TestAHistoryIsReadable(t *testing.T) {
	at := time.Date(2026, 11, 27, 19, 0, 2, 0, time.UTC)
	rec := func(seq uint64, after time.Duration, r events.Record) events.Record {
		r.Region, r.Instance, r.Hostname, r.Seq, r.StoredAt = "lon1", "i-1", "dev-1", seq, at.Add(after)
		return r
	}
	stop := events.Record{ActionID: "a", Action: "stop", Policy: "dev-hours", Why: "outside of office", Before: "ACTIVE"}
	started, accepted, done := stop, stop, stop
	started.Outcome, accepted.Outcome = events.Started, events.Accepted
	done.Outcome, done.After, done.Lateness, done.Attempt = events.Done, "SHUTOFF", "1m30s", 2
	all := []events.Record{
		rec(1, 0, started), rec(2, time.Second, accepted), rec(3, 88*time.Second, done),
		rec(4, 3*time.Hour, events.Record{ActionID: "h", Action: "power", Outcome: events.Noticed, Reason: "hand", Detail: "started by somebody else", Before: "SHUTOFF", After: "ACTIVE"}),
		rec(5, 13*time.Hour, events.Record{ActionID: "b", Action: "reboot", Outcome: events.Skipped, Reason: "off on purpose", Who: "prom", Detail: "evil \x1b[2J\u202e"}),
		rec(6, 14*time.Hour, events.Record{ActionID: "c", Action: "resize", Outcome: events.Waiting, Who: "oncall", Detail: "put off"}),
	}
	const want = `dev-1  i-1 in LON1

Friday 27 November 2026
  19:01:30  stop     done                ACTIVE -> SHUTOFF  policy dev-hours  outside of office; 1m30s after the planned time; 2 calls
  22:00:02  BY HAND  started             SHUTOFF -> ACTIVE

Saturday 28 November 2026
  08:00:02  reboot  skipped (off on purpose)    by prom    evil ` + "\ufffd[2J\ufffd" + `
  09:00:02  resize  waiting                     by oncall  put off
`
	var out bytes.Buffer
	if err := printHistory(&out, all, false, time.UTC); err != nil {
		t.Fatal(err)
	}
	if squeeze(out.String()) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if err := printHistory(&out, all, true, time.UTC); err != nil || !strings.Contains(out.String(), "accepted") {
		t.Errorf("with notes, %v:\n%s", err, out.String())
	}
}

// squeeze makes columns comparable whatever their width.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return strings.Join(lines, "\n")
}
