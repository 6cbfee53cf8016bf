package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nightshift/events"
)

const (
	trace1 = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	trace2 = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00"
)

// publish sends a message with headers, as a client would.
func publish(t *testing.T, b *events.Bus, subject, contentType, traceparent, body string) {
	t.Helper()
	msg := nats.NewMsg(subject)
	msg.Data = []byte(body)
	for key, value := range map[string]string{"content-type": contentType, "traceparent": traceparent} {
		if value != "" {
			msg.Header.Set(key, value)
		}
	}
	if err := b.Conn().PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
}

// incoming is what a consumer was given.
type incoming struct {
	in    *events.Incoming
	trace string
}

// consume takes what comes in until n have come, and then ends.
func consume(t *testing.T, b *events.Bus, n int, handle func(*events.Incoming) error) (got []incoming) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	taken := make(chan incoming, n)
	ended := make(chan error, 1)
	go func() { // until stop
		ended <- b.ConsumeIn(ctx, 1, 1, func(ctx context.Context, in *events.Incoming) {
			if err := handle(in); err != nil {
				t.Error(err)
			}
			select {
			case taken <- incoming{in, events.TraceOf(ctx).Parent}:
			default:
			}
		})
	}()
	for range n {
		got = append(got, <-taken)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return got
}

func ack(in *events.Incoming) error { return in.Ack() }

func letters(t *testing.T, b *events.Bus) (all []events.DeadLetter) {
	t.Helper()
	for l, err := range b.DeadLetters(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func TestSignalsComeAsCloudEvents(t *testing.T) {
	b := open(t, events.Options{Memory: true})
	const subject = "nightshift.v1.sig.ci.lon1.i-1"
	for _, m := range []struct{ contentType, body, trace string }{
		{"application/cloudevents+json; charset=utf-8", `{"specversion":"1.0","id":"1","source":"/ci","type":"ci.queued","time":"2026-03-04T11:00:00Z","data":{"value":3}}`, trace1},
		{"", `{"specversion":"1.0","id":"1","source":"/ci","type":"ci.queued","traceparent":"` + trace2 + `"}`, ""},
		{"", `{"specversion":"1.0","id":"2","source":"/other","type":"x","data":{"alert":"A","fingerprint":"f","startsAt":"2026-03-04T10:00:00Z","labels":{"a":"b"}}}`, "garbage"},
		{"", `{"specversion":"1.0","id":"1","source":"/other","type":"x","datacontenttype":"application/json","data_base64":"eyJsb2FkIjoiY3B1IiwidmFsdWUiOjkzfQ=="}`, ""},
	} {
		publish(t, b, subject, m.contentType, m.trace, m.body)
	}
	got := consume(t, b, 4, ack)
	queued, again, alert, load := got[0].in.Signal, got[1].in.Signal, got[2].in.Signal, got[3].in.Signal
	if queued.Name != "ci.queued" || *queued.Value != 3 || queued.At().Hour() != 11 || queued.Source != "ci" || queued.Instance != "i-1" {
		t.Errorf("got %+v", queued)
	}
	if again.Value != nil || got[0].in.TriggerID() != got[1].in.TriggerID() {
		t.Errorf("the same id of the same source is the same event: %s and %s", got[0].in.TriggerID(), got[1].in.TriggerID())
	}
	if alert.Alert != "A" || alert.Labels["a"] != "b" || alert.Name != "" || alert.ID != "" {
		t.Errorf("a firing has an identity of its own: %+v", alert)
	}
	if load.Load != "cpu" || *load.Value != 93 || got[3].in.TriggerID() == got[0].in.TriggerID() {
		t.Errorf("got %+v", load)
	}
	if traces := []string{got[0].trace, got[1].trace, got[2].trace}; !slices.Equal(traces, []string{trace1, trace2, ""}) {
		t.Errorf("traces %q", traces)
	}
}

func TestABadCloudEventSaysWhatIsWrong(t *testing.T) {
	b := open(t, events.Options{Memory: true})
	bad := map[string]string{
		`{"specversion":"0.3","id":"1","source":"s","type":"t"}`:                                         `specversion "0.3"`,
		`{"specversion":"2.0","id":"1","source":"s","type":"t"}`:                                         `specversion "2.0"`,
		`{"id":"1","source":"s","type":"t"}`:                                                             "specversion is missing",
		`{"specversion":1,"id":"1","source":"s","type":"t"}`:                                             "not a CloudEvent",
		`{"specversion":"1.0","source":"s","type":"t"}`:                                                  "an id, a source and a type",
		`{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"text/xml","data":"x"}`: "JSON is read",
		`{"specversion":"1.0","id":"1","source":"s","type":"t","data":"text"}`:                           "is not a signal",
		`{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"alert":"A","load":"cpu"}}`:       "exactly one of",
		`{"specversion":"1.0","id":"1","source":"s","type":"t","time":"noon"}`:                           "not a CloudEvent",
		`{"specversion":"1.0","id":"1","source":"s","type":"t","data":{},"data_base64":"e30="}`:          "both data and data_base64",
	}
	for body := range bad {
		publish(t, b, "nightshift.v1.sig.ci.lon1.i-1", "application/cloudevents+json", "", body)
	}
	publish(t, b, "nightshift.v1.sig.ci.lon1.i-1", "application/cloudevents-batch+json", "", `{"specversion":"1.0"}`)
	publish(t, b, "nightshift.v1.sig.ci.lon1.i-1", "", "", `{"signal":"good"}`)
	consume(t, b, 1, ack)
	bad[`{"specversion":"1.0"}`] = "no JSON array"
	all := letters(t, b)
	if len(all) != len(bad) {
		t.Errorf("%d dead letters, want %d", len(all), len(bad))
	}
	for _, l := range all {
		if want := bad[l.Payload]; want == "" || !strings.Contains(l.Reason, want) {
			t.Errorf("%s: %q, want %q", l.Payload, l.Reason, want)
		}
	}
}

func TestOfABatchEachSignalCountsAndOnlyTheBadOnesAreDeadLetters(t *testing.T) {
	b := open(t, events.Options{Memory: true})
	publish(t, b, "nightshift.v1.sig.prom.lon1.i-1", "", "",
		`[{"load":"cpu","value":90},{"load":"cpu"},{"load":"mem","value":70},17,{"alert":"A","fingerprint":"f","startsAt":"2026-03-04T10:00:00Z"}]`)
	publish(t, b, "nightshift.v1.sig.prom.lon1.i-1", "application/cloudevents-batch+json", "",
		`[{"specversion":"1.0","id":"1","source":"s","type":"a"},{"signal":"plain"},{"specversion":"1.0","id":"2","source":"s","type":"b","traceparent":"`+trace2+`"}]`)
	got := consume(t, b, 5, ack)
	var names, ids []string
	for _, g := range got {
		s := g.in.Signal
		names = append(names, s.Load+s.Alert+s.Name)
		ids = append(ids, g.in.TriggerID())
	}
	if want := []string{"cpu", "mem", "A", "a", "b"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if ids[0] != "s1-1" || ids[1] != "s1-3" || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 5 {
		t.Errorf("triggers %v", ids)
	}
	if got[4].trace != trace2 {
		t.Errorf("trace %q", got[4].trace)
	}
	var dead []string
	for _, l := range letters(t, b) {
		dead = append(dead, fmt.Sprintf("%d.%d %s", l.Seq, l.Part, l.Payload))
	}
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.Consumer(t.Context(), events.StreamIn, "planner")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := consumer.Info(t.Context()); err != nil || info.NumAckPending != 0 {
		t.Errorf("a batch with dead letters is not acknowledged: %+v %v", info, err)
	}
	if want := []string{`1.2 {"load":"cpu"}`, `1.4 17`, `2.2 {"signal":"plain"}`}; !slices.Equal(dead, want) {
		t.Errorf("dead letters %q, want %q", dead, want)
	}
}

func TestABatchOfWhichOneSignalIsHandedBackComesAgainWithTheSameIdentities(t *testing.T) {
	b := open(t, events.Options{Memory: true})
	publish(t, b, "nightshift.v1.sig.prom.lon1.i-1", "", "", `[{"signal":"a"},{"signal":"b"},{}]`)
	tries := 0
	got := consume(t, b, 4, func(in *events.Incoming) error {
		if tries++; tries == 2 {
			return in.Nak(0)
		}
		return in.Ack()
	})
	var ids []string
	for _, g := range got {
		ids = append(ids, g.in.TriggerID())
	}
	if want := []string{"s1-1", "s1-2", "s1-1", "s1-2"}; !slices.Equal(ids, want) {
		t.Errorf("got %v, want %v", ids, want)
	}
	if n := len(letters(t, b)); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

func TestTheTraceContextGoesFromACommandToItsOutcome(t *testing.T) {
	b := open(t, events.Options{Memory: true})
	got := make(chan *nats.Msg, 2)
	if _, err := b.Conn().ChanSubscribe(events.EvtAll, got); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "nightshift.v1.cmd.local.lon1.i-1.stop", "", trace1, `{}`)
	if _, err := b.PublishCommand(events.WithTrace(t.Context(), events.Trace{Parent: trace2}), events.Command{Who: "local", Region: "lon1", Instance: "i-1", Action: "start"}); err != nil {
		t.Fatal(err)
	}
	for n, g := range consume(t, b, 2, ack) {
		run := events.Run{Trigger: fmt.Sprintf("t%d", n), Region: "lon1"}
		if _, err := b.StoreRun(events.WithTrace(t.Context(), events.Trace{Parent: g.trace}), run); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	done := make(chan struct{}, 2)
	go func() { // until stop
		ended <- b.ConsumeRuns(ctx, 1, func(ctx context.Context, d *events.RunDelivery) {
			rec := record(events.Done)
			rec.ActionID = "of-" + d.Run.Trigger
			if _, err := b.PublishOutcome(ctx, rec); err != nil {
				t.Error(err)
			}
			if err := d.Ack(); err != nil {
				t.Error(err)
			}
			done <- struct{}{}
		})
	}()
	for _, want := range []string{trace1, trace2} {
		<-done
		msg := <-got
		var ce struct{ Traceparent, DataSchema string }
		if err := json.Unmarshal(msg.Data, &ce); err != nil {
			t.Fatal(err)
		}
		if h := msg.Header.Get("traceparent"); h != want || ce.Traceparent != want || ce.DataSchema != events.RecordSchema {
			t.Errorf("header %q, attributes %+v, want %q", h, ce, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for rec, err := range b.Records(t.Context(), "", time.Time{}) {
		if err != nil || rec.Trace == "" {
			t.Errorf("read back %+v %v", rec, err)
		}
	}
}

func TestADeadLetterIsSentAgainAsItCameOrDropped(t *testing.T) {
	b := open(t, events.Options{Memory: true})
	bodies := []string{"{\"dryrun\":true}", "\xff\x00\x01", strings.Repeat("x", events.MaxBody), strings.Repeat("x", events.MaxBody+1)}
	for _, body := range bodies {
		publish(t, b, "nightshift.v1.cmd.local.lon1.i-1.stop", "text/strange; q=1", trace1, body)
	}
	publish(t, b, "nightshift.v1.cmd.local.lon1.i-1.stop", "", "", "")
	consume(t, b, 1, ack)
	all := letters(t, b)
	if len(all) != len(bodies) {
		t.Fatalf("%d dead letters, want %d", len(all), len(bodies))
	}
	sent, err := b.Conn().SubscribeSync("nightshift.v1.cmd.>")
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range all[:3] {
		first, err := b.RetryDead(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := b.RetryDead(t.Context(), l); err != nil || again != first {
			t.Errorf("asked for twice it is stored as %d and %d, %v", first, again, err)
		}
		if _, err := sent.NextMsg(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		msg, err := sent.NextMsg(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if string(msg.Data) != bodies[i] || msg.Header.Get("traceparent") != trace1 || msg.Header.Get("content-type") != "text/strange" {
			t.Errorf("sent again as %d bytes with %v", len(msg.Data), msg.Header)
		}
		if _, err := b.DeadLetter(t.Context(), l.N); !errors.Is(err, events.ErrNoDeadLetter) {
			t.Errorf("after its retry: %v", err)
		}
	}
	long := all[3]
	if _, err := b.RetryDead(t.Context(), long); err == nil || !strings.Contains(err.Error(), "only 65536 of 65537 bytes") {
		t.Errorf("one that is not whole: %v", err)
	}
	if err := b.DropDead(t.Context(), long.N); err != nil {
		t.Fatal(err)
	}
	if err := b.DropDead(t.Context(), long.N); !errors.Is(err, events.ErrNoDeadLetter) {
		t.Errorf("dropped twice: %v", err)
	}
	if n := len(letters(t, b)); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	for _, subject := range []string{"nightshift.v1.evt.lon1.i-1.stop.done.a", "$JS.API.STREAM.DELETE.NS_EVT", "nightshift.v1.cmd.>", "nightshift.v1.cmd.a b", "nightshift.v1.ctl.pause", ""} {
		if _, err := b.RetryDead(t.Context(), events.DeadLetter{Subject: subject, N: 1}); err == nil {
			t.Errorf("%q: a forged dead letter is sent", subject)
		}
	}
}

func TestWatchSortsOutOnTheServerAndHere(t *testing.T) {
	b := open(t, events.Options{Memory: true})
	for i, rec := range []events.Record{
		{Instance: "i-1", Outcome: events.Done, Policy: "dev-hours weekend"}, {Instance: "i-1", Outcome: events.Failed, Policy: "dev-hours"},
		{Instance: "i-2", Outcome: events.Done, Who: "oncall"}, {Instance: "_", Region: "_", Outcome: events.Expired, Policy: "weekend"},
	} {
		rec.ActionID, rec.Action, rec.Trigger = fmt.Sprintf("a%d", i), "stop", "t"
		if rec.Region == "" {
			rec.Region = "lon1"
		}
		if _, err := b.PublishOutcome(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("i-%d", i))
	}
	for _, c := range []struct {
		q    events.Query
		want string
	}{
		{events.Query{}, "a0 a1 a2 a3"},
		{events.Query{Instances: []string{"i-1"}}, "a0 a1"},
		{events.Query{Instances: []string{"i-1", "i-2", "i-1"}, Outcomes: []events.Outcome{events.Done}}, "a0 a2"},
		{events.Query{Instances: many}, "a0 a1 a2"},
		{events.Query{Policies: []string{"weekend"}}, "a0 a3"},
		{events.Query{Who: []string{"oncall"}, Regions: []string{"lon1"}}, "a2"},
		{events.Query{Regions: []string{"nyc1"}}, ""},
	} {
		var got []string
		err := b.Watch(t.Context(), events.WatchOptions{Replay: true, Query: c.q}, func(rec events.Record, _ time.Time, _ uint64) error {
			got = append(got, rec.ActionID)
			if !strings.Contains(string(rec.CloudEvent()), `"specversion":"1.0"`) {
				t.Errorf("the whole event is %s", rec.CloudEvent())
			}
			return nil
		})
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%+v: got %v, want %s, %v", c.q, got, c.want, err)
		}
	}
	for _, bad := range []string{"*", "a.b", ">", "A", ""} {
		if err := b.Watch(t.Context(), events.WatchOptions{Replay: true, Query: events.Query{Instances: []string{bad}}}, nil); err == nil {
			t.Errorf("instance %q is let through", bad)
		}
	}
}
