package events

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// FuzzIncoming: whatever comes in, nothing panics, and what is taken has tokens
// that can stand in a subject, and can be written down again.
func FuzzIncoming(f *testing.F) {
	const event = `{"specversion":"1.0","id":"1","source":"/ci","type":"ci.queued","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{"value":3}}`
	f.Add("nightshift.v1.cmd.local.lon1.i-1.stop", "", []byte(`{"id":"a"}`))
	f.Add("nightshift.v1.cmd.local.lon1.i-1.stop", "", []byte(`{"dryrun":true}`))
	f.Add("nightshift.v1.cmd.local.lon1.i-1.stop", "", []byte(`{"not_before":"9999-12-31T23:59:59Z","give_up_after":"900000h"}`))
	f.Add("nightshift.v1.sig.prom.lon1.i-1", "", []byte(`{"alert":"A","startsAt":"2026-01-01T00:00:00Z","fingerprint":"f"}`))
	f.Add("nightshift.v1.sig.ci.lon1.i-1", "application/cloudevents+json; charset=utf-8", []byte(event))
	f.Add("nightshift.v1.sig.ci._._", "application/cloudevents-batch+json", []byte("["+event+","+event+"]"))
	f.Add("nightshift.v1.sig.ci._._", "application/json", []byte(`[{"load":"cpu","value":1},{"load":"cpu"},[],null,{"specversion":"0.3"}]`))
	f.Add("nightshift.v1.sig.ci._._", "", []byte(strings.Repeat("[", 20_000)))
	f.Add("nightshift.v1.sig.ci._._", "", []byte(`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"eyJ2YWx1ZSI6MX0="}`))
	f.Add("nightshift.v1.tick.dev.1", "", []byte(`{"policy":"dev","planned":"1970-01-01T00:00:01Z","trigger":"t1","hash":"h","edges":["dev@1","*.>@1"]}`))
	f.Add("nightshift.v1.cmd.a.b.c.retag", "", []byte(`{"add":["x y"]}`))
	f.Fuzz(func(t *testing.T, subject, contentType string, body []byte) {
		elements, err := parseMessage(subject, contentType, body)
		if err != nil {
			return
		}
		if len(elements) == 0 || len(elements) > maxBatch {
			t.Fatalf("%d elements", len(elements))
		}
		ids := make(map[string]bool)
		for _, e := range elements {
			if e.err != nil {
				continue
			}
			in := e.in
			in.Seq, in.Part = 7, e.part
			id := in.TriggerID()
			if !isToken(id) {
				t.Fatalf("%s %q: trigger id %q", subject, body, id)
			}
			if s := in.Signal; s != nil && s.ID == "" && s.Fingerprint == "" && ids[id] {
				t.Fatalf("two of %q are trigger %s", body, id)
			}
			ids[id] = true
			if c := in.Command; c != nil && CommandSubject(c.Who, c.Region, c.Instance, c.Action) != subject {
				t.Fatalf("%s is read as %+v", subject, c)
			}
			if s := in.Signal; s != nil && SignalSubject(s.Source, s.Region, s.Instance) != subject {
				t.Fatalf("%s is read as %+v", subject, s)
			}
			for _, v := range []any{in.Tick, in.Command, in.Signal} {
				if _, err := json.Marshal(v); err != nil {
					t.Fatalf("%s %q cannot be written down: %v", subject, body, err)
				}
			}
		}
	})
}

// FuzzDeadLetter: a dead letter keeps its message byte for byte.
func FuzzDeadLetter(f *testing.F) {
	f.Add([]byte("{"))
	f.Add([]byte{0xff, 0, 1})
	f.Add([]byte("\x00 and \u2028"))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := delivery{msg: &pulled{msg: &nats.Msg{Data: body}}, Subject: "nightshift.v1.cmd.local.lon1.i-1.stop", Seq: 1}
		text, err := json.Marshal(newDeadLetter(d, body, "why"))
		if err != nil {
			t.Fatal(err)
		}
		var back DeadLetter
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if len(body) <= MaxBody && (!bytes.Equal(back.Body(), body) || !back.IsWhole()) {
			t.Fatalf("%q came back as %q", body, back.Body())
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

// FuzzEvent: an event that anyone could have written over what the ledger keeps is
// read or refused, and what is read can be written down again.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"a.done","type":"nightshift.stop.done","data":{"action_id":"a","action":"stop","outcome":"done","region":"lon1","instance":"i-1","planned":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"specversion":"1.0","data":{"outcome":"started","deadline":"9999-12-31T23:59:59Z","attempt":-1}}`))
	f.Add([]byte(`{"specversion":"1.0","data":[]}`))
	f.Add([]byte(`{"specversion":"0.3"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		rec, err := decodeEvent(body)
		if err != nil {
			return
		}
		trail := Trail{Seq: 1, Records: []Record{rec, rec}}
		_, _ = trail.Outcome()
		_, text, err := encodeEvent(rec, "nightshift", time.Unix(0, 0))
		if err != nil {
			t.Fatalf("%q cannot be written down: %v", body, err)
		}
		back, err := decodeEvent(text)
		if err != nil || back.ActionID != rec.ActionID || back.Outcome != rec.Outcome || !back.Deadline.Equal(rec.Deadline) {
			t.Fatalf("%q came back as %+v, %v", body, back, err)
		}
	})
}

// FuzzPart: so it is with a part of a large plan.
func FuzzPart(f *testing.F) {
	f.Add([]byte(`[{"id":"a","action":"stop","region":"lon1","instance":"i"}]`))
	f.Add([]byte(`[{"id":"a.>","action":"stop","region":"lon1","instance":"i"}]`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, err := parseItems(body)
		if err != nil {
			return
		}
		for _, it := range items {
			if s := eventSubject(Record{Region: it.Region, Instance: it.Instance, Action: it.Action, Outcome: Done, ActionID: it.ID}); strings.Count(s, ".") != 7 || strings.ContainsAny(s, " *>") {
				t.Fatalf("subject %q", s)
			}
		}
	})
}
