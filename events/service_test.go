package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"nightshift/events"
)

// serve answers with echo until the test ends.
func serve(t *testing.T, b *events.Bus) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	echo := events.Endpoint{Name: "echo", About: "Say it again.", Schemas: map[string]string{"request": "{}"}, Handle: func(_ context.Context, r events.Request) (any, error) {
		if string(r.Body) == "no" {
			return nil, events.Refuse(409, "not today")
		}
		return string(r.Body), nil
	}}
	go func() { done <- b.Serve(ctx, "1.2.3", []events.Endpoint{echo}) }() // until stop
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := b.Conn().Request("$SRV.PING.nightshift", nil, time.Second); err == nil || time.Now().After(deadline) {
			return
		}
	}
}

func TestTheServiceIsKnownToTheToolsOfNATS(t *testing.T) {
	b := open(t, events.Options{})
	serve(t, b)
	var answer string
	if err := b.Ask(t.Context(), "echo", "hello", &answer); err != nil || answer != `"hello"` {
		t.Errorf("got %q, %v", answer, err)
	}
	msg, err := b.Conn().Request("nightshift.v1.ctl.echo", []byte("no"), time.Second)
	if err != nil || msg.Header.Get(micro.ErrorCodeHeader) != "409" || msg.Header.Get(micro.ErrorHeader) != "not today" {
		t.Errorf("refused: %+v, %v", msg, err)
	}
	ask := func(subject string, into any) {
		t.Helper()
		msg, err := b.Conn().Request(subject, nil, time.Second)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		if err := json.Unmarshal(msg.Data, into); err != nil {
			t.Fatal(err)
		}
	}
	var info micro.Info
	ask("$SRV.INFO.nightshift", &info)
	if info.Type != micro.InfoResponseType || info.Version != "1.2.3" || len(info.Endpoints) != 1 || info.Endpoints[0].Subject != "nightshift.v1.ctl.echo" || info.Endpoints[0].Metadata["schema.request"] != "{}" {
		t.Errorf("info: %+v", info)
	}
	var stats micro.Stats
	ask("$SRV.STATS.nightshift."+info.ID, &stats)
	if len(stats.Endpoints) != 1 || stats.Endpoints[0].NumRequests != 2 || stats.Endpoints[0].NumErrors != 1 || stats.Endpoints[0].LastError != "not today" {
		t.Errorf("stats: %+v", stats.Endpoints)
	}
}

func TestNobodyHasTheServiceWriteWhereOnlyTheDaemonMay(t *testing.T) {
	b := open(t, events.Options{})
	serve(t, b)
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		for _, reply := range []string{"$KV.ns_state.pause.all", "nightshift.v1.cmd.local.lon1.i-1.stop"} {
			if err := b.Conn().PublishMsg(&nats.Msg{Subject: "$SRV." + verb, Reply: reply}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var answer string
	if err := b.Ask(t.Context(), "echo", "after", &answer); err != nil { // questions are begun in order
		t.Fatal(err)
	}
	if _, err := b.State().Get(t.Context(), "pause.all"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the state was written over: %v", err)
	}
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), events.StreamIn)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("%d commands are stored", n)
	}
}

func TestADeadLetterAboutAnInstanceHasItsOutcome(t *testing.T) {
	b := open(t, events.Options{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	seen := make(chan events.Record, 10)
	go func() { // until stop
		_ = b.Watch(ctx, events.WatchOptions{Since: time.Now().Add(-time.Minute)}, func(rec events.Record, _ time.Time, _ uint64) error { seen <- rec; return nil })
	}()
	go func() { // until stop
		_ = b.ConsumeIn(ctx, 1, 1, func(_ context.Context, in *events.Incoming) { _ = in.Ack() })
	}()
	for _, m := range []struct{ subject, body string }{
		{"nightshift.v1.cmd.oncall.lon1.i-1.stop", `{"id": "42", "dry_rum": true}`},
		{"nightshift.v1.sig.prometheus.lon1.i-2", `[{"load": "cpu", "value": 9}, {"load": "cpu"}]`},
		{"nightshift.v1.sig.prometheus._._", `nonsense`}, // about nobody
	} {
		if err := b.Conn().Publish(m.subject, []byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"i-1": "stop oncall s1 dry_rum", "i-2": "plan prometheus s2-2 a load has a value"}
	for len(want) > 0 {
		select {
		case rec := <-seen:
			words := strings.Fields(want[rec.Instance])
			if len(words) == 0 || rec.Outcome != events.Failed || rec.Action != words[0] || rec.Who != words[1] || rec.Trigger != words[2] || !strings.Contains(rec.Detail, strings.Join(words[3:], " ")) || rec.Region != "lon1" {
				t.Errorf("got %+v", rec)
			}
			delete(want, rec.Instance)
		case <-time.After(20 * time.Second):
			t.Fatalf("no outcome of %v", want)
		}
	}
}
