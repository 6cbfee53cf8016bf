package events_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"nightshift/events"
)

func TestEventsTakeNoMoreRoomThanTheyMay(t *testing.T) {
	const most = 64 << 10
	b := open(t, events.Options{DataDir: t.TempDir(), EventsSize: most})
	note := func(n int) events.Record {
		return events.Record{ActionID: fmt.Sprintf("a%d", n), Action: "stop", Region: "lon1", Instance: "i-1", Trigger: "t1", Detail: strings.Repeat("x", 1000)}
	}
	for n := range 100 {
		if _, err := b.PublishOutcome(t.Context(), withOutcome(note(n), events.Done)); err != nil {
			t.Fatal(err)
		}
	}
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), events.StreamEvt)
	if err != nil {
		t.Fatal(err)
	}
	state := s.CachedInfo().State
	if state.Bytes > most || state.Bytes < most/2 || state.LastSeq != 100 || state.FirstSeq < 20 {
		t.Errorf("100 events of 1 KB take %d bytes, from %d to %d, want the newest, in at most %d", state.Bytes, state.FirstSeq, state.LastSeq, most)
	}
	if trail, err := b.Trail(t.Context(), "lon1", "i-1", "a99"); err != nil || len(trail.Records) == 0 {
		t.Errorf("the newest is not there: %+v, %v", trail, err)
	}
}

func withOutcome(rec events.Record, o events.Outcome) events.Record {
	rec.Outcome = o
	return rec
}

// TestTheBoundTakesNoRoomBeforehand: neither on a small disk of the embedded NATS, nor
// does an external one that cannot promise it keep the daemon from starting.
func TestTheBoundTakesNoRoomBeforehand(t *testing.T) {
	b := open(t, events.Options{DataDir: t.TempDir(), EventsSize: 1 << 50}) // a thousand TiB
	if gaps, err := b.Gaps(t.Context(), events.Options{EventsSize: 1 << 50}); err != nil || len(wholeStores(gaps)) > 0 {
		t.Errorf("embedded: %v, %v", gaps, err)
	}

	small := natsServer(t, server.Options{StoreDir: t.TempDir(), JetStreamMaxStore: 256 << 20})
	url := small.ClientURL()
	core, logs := observer.New(zap.WarnLevel)
	far := open(t, events.Options{URL: url, Log: zap.New(core)})
	if n := logs.FilterMessageSnippet("not bounded by size").Len(); n != 1 {
		t.Errorf("it is said %d times that events are not bounded by size, want once: %v", n, logs.All())
	}
	gaps, err := far.Gaps(t.Context(), events.Options{})
	if text := fmt.Sprint(wholeStores(gaps)); err != nil || text != "[stream NS_EVT differs: max_bytes 0, want 1073741824]" {
		t.Errorf("compared: %s, %v", text, err)
	}
	if _, err := far.SetUp(t.Context(), events.Options{}); err == nil || !strings.Contains(err.Error(), "nats.events_size") {
		t.Errorf("set up: %v, want what to do", err)
	}
	if _, err := far.SetUp(t.Context(), events.Options{EventsSize: 100 << 20}); err != nil {
		t.Errorf("with less: %v", err)
	}
	if gaps, err := far.Gaps(t.Context(), events.Options{EventsSize: 100 << 20}); err != nil || len(gaps) > 0 {
		t.Errorf("with less: %v, %v", gaps, err)
	}
}

// wholeStores are the gaps but for consumers, which are made when they are used.
func wholeStores(gaps []events.Gap) (rest []events.Gap) {
	for _, g := range gaps {
		if !strings.HasPrefix(g.What, "consumer") {
			rest = append(rest, g)
		}
	}
	return rest
}
