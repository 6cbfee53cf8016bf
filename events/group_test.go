package events_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"nightshift/events"
)

func TestWhatIsStoredTogetherKeepsItsOwnExpectations(t *testing.T) {
	b := open(t, events.Options{})
	const actions, rivals = 100, 3
	var stored atomic.Int32
	var all sync.WaitGroup
	for i := range actions {
		for r := range rivals {
			all.Go(func() {
				rec := record(events.Started)
				rec.ActionID, rec.Instance = fmt.Sprintf("a%d-%d", i, r), fmt.Sprintf("i-%d", i)
				seq, ok, err := b.PublishStarted(t.Context(), rec, 0)
				if err != nil {
					t.Error(err)
				}
				if !ok {
					return
				}
				stored.Add(1)
				last, at, err := b.LastStarted(t.Context(), "lon1", rec.Instance)
				if err != nil || at != seq || last.ActionID != rec.ActionID {
					t.Errorf("started of %s has sequence %d, the ledger says %s at %d: %v", rec.ActionID, seq, last.ActionID, at, err)
				}
				rec.Outcome = events.Done
				if ok, err := b.PublishOutcomeAfter(t.Context(), rec, &events.Trail{Seq: seq}); !ok || err != nil {
					t.Errorf("outcome of %s: stored %v, %v", rec.ActionID, ok, err)
				}
			})
		}
	}
	all.Wait()
	if n := stored.Load(); n != actions {
		t.Errorf("%d calls began on %d instances, want one on each", n, actions)
	}
	n := 0
	for _, err := range b.Records(t.Context(), "", planned.AddDate(-10, 0, 0)) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2*actions {
		t.Errorf("%d events are stored, want %d", n, 2*actions)
	}
}

func TestAnOutcomeAfterAnOldReadingIsNotStoredTwice(t *testing.T) {
	b := open(t, events.Options{})
	var stored atomic.Int32
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			ok, err := b.PublishOutcomeAfter(t.Context(), record(events.Done), &events.Trail{})
			if err != nil {
				t.Error(err)
			}
			if ok {
				stored.Add(1)
			}
		})
	}
	all.Wait()
	trail, err := b.Trail(t.Context(), "lon1", "i-1", "a1")
	if err != nil || len(trail.Records) != 1 || stored.Load() != 1 {
		t.Errorf("%d stored, the trail has %d: %v", stored.Load(), len(trail.Records), err)
	}
}

func TestWhatWaitsForTheDiskIsWrittenAsOne(t *testing.T) {
	b := open(t, events.Options{})
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamEvt)
	if err != nil {
		t.Fatal(err)
	}
	var together atomic.Int32
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			rec := record(events.Started)
			rec.ActionID, rec.Instance = fmt.Sprintf("a%d", i), fmt.Sprintf("i-%d", i)
			seq, ok, err := b.PublishStarted(t.Context(), rec, 0)
			if !ok || err != nil {
				t.Errorf("started of %s: stored %v, %v", rec.ActionID, ok, err)
				return
			}
			msg, err := stream.GetMsg(t.Context(), seq)
			if err != nil || !strings.HasSuffix(msg.Subject, ".started."+rec.ActionID) {
				t.Errorf("started of %s has sequence %d, where the stream has %+v: %v", rec.ActionID, seq, msg, err)
				return
			}
			if msg.Header.Get("Nats-Batch-Id") != "" {
				together.Add(1)
			}
		})
	}
	all.Wait()
	if together.Load() == 0 {
		t.Error("of 200 events at once none was written together with others")
	}
}
