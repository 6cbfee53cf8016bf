package events

import (
	"strings"
	"testing"
)

// FuzzIncoming: whatever comes in, nothing panics, and what is taken has tokens
// that can stand in a subject.
func FuzzIncoming(f *testing.F) {
	f.Add("nightshift.v1.cmd.local.lon1.i-1.stop", []byte(`{"id":"a"}`))
	f.Add("nightshift.v1.sig.prom.lon1.i-1", []byte(`{"alert":"A","startsAt":"2026-01-01T00:00:00Z","fingerprint":"f"}`))
	f.Add("nightshift.v1.tick.dev.1", []byte(`{"policy":"dev","planned":"1970-01-01T00:00:01Z","trigger":"t1"}`))
	f.Add("nightshift.v1.cmd.a.b.c.retag", []byte(`{"add":["x y"]}`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		in, err := parseIncoming(subject, body)
		if err != nil {
			return
		}
		if id := in.TriggerID(); !isToken(id) {
			t.Fatalf("%s %q: trigger id %q", subject, body, id)
		}
		if c := in.Command; c != nil && CommandSubject(c.Who, c.Region, c.Instance, c.Action) != subject {
			t.Fatalf("%s is read as %+v", subject, c)
		}
	})
}

// FuzzRun: a stored plan that anyone could have written makes only good subjects.
func FuzzRun(f *testing.F) {
	f.Add("nightshift.v1.run.lon1.t1", []byte(`{"trigger":"t1","region":"lon1","items":[{"id":"a","action":"stop","region":"lon1","instance":"i"}]}`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		var r Run
		if parseRun(subject, body, &r) != nil {
			return
		}
		for _, it := range r.Items {
			if s := eventSubject(Record{Region: it.Region, Instance: it.Instance, Action: it.Action, Outcome: Done, ActionID: it.ID}); strings.Count(s, ".") != 7 || strings.ContainsAny(s, " *>") {
				t.Fatalf("subject %q", s)
			}
		}
	})
}
