package events_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nightshift/events"
)

func largeRun(n int) events.Run {
	r := events.Run{Trigger: "t1795806000", Kind: "tick", Region: "lon1", Edges: []string{"dev-hours@1795806000"}, Planned: time.Unix(1795806000, 0).UTC()}
	for i := range n {
		r.Items = append(r.Items, events.Item{
			ID: fmt.Sprintf("a%019d", i), Kind: "power", Action: "stop", Region: "lon1", Instance: fmt.Sprintf("33333333-0000-4000-8000-%012d", i),
			Hostname: fmt.Sprintf("dev-%d", i), Policy: "dev-hours", Why: "outside of Mon-Fri 08:00-19:00 Europe/London", Planned: r.Planned,
		})
	}
	return r
}

// sameItems compares a plan as it was read with what was stored.
func sameItems(t *testing.T, what string, got events.Run, want events.Run) {
	t.Helper()
	if got.Parts != 0 || len(got.Items) != len(want.Items) {
		t.Fatalf("%s: %d items and %d parts, want %d items", what, len(got.Items), got.Parts, len(want.Items))
	}
	for i := range want.Items {
		if got.Items[i].ID != want.Items[i].ID || got.Items[i].Hostname != want.Items[i].Hostname {
			t.Fatalf("%s: item %d is %+v, want %+v", what, i, got.Items[i], want.Items[i])
		}
	}
}

// TestAPlanLargerThanAMessageIsStoredWhole, or not at all, whoever reads it.
func TestAPlanLargerThanAMessageIsStoredWhole(t *testing.T) {
	b := open(t, events.Options{})
	want := largeRun(20_000)
	if stored, err := b.StoreRun(t.Context(), want); !stored || err != nil {
		t.Fatalf("stored %v, %v", stored, err)
	}
	if len(want.Items) != 20_000 {
		t.Errorf("storing a plan changed it: %d items", len(want.Items))
	}
	other := largeRun(5000)
	if stored, err := b.StoreRun(t.Context(), other); stored || err != nil {
		t.Errorf("a second plan of the same trigger: stored %v, %v", stored, err)
	}
	got, ok, err := b.LoadRun(t.Context(), "lon1", want.Trigger)
	if !ok || err != nil {
		t.Fatalf("load: %v %v", ok, err)
	}
	sameItems(t, "LoadRun", got, want)
	n := 0
	for run, err := range b.Runs(t.Context(), time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		sameItems(t, "Runs", run, want)
	}
	if n != 1 {
		t.Errorf("Runs has %d plans, want 1", n)
	}
	of, err := b.RunsOf(t.Context(), want.Trigger)
	if err != nil || len(of) != 1 {
		t.Fatalf("RunsOf: %d plans, %v", len(of), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	watched := make(chan events.Run, 10)
	go func() { _ = b.WatchRuns(ctx, time.Now().Add(-time.Minute), func(r events.Run) { watched <- r }) }() // until cancel
	delivered := make(chan events.Run, 10)
	done := make(chan struct{})
	go func() { // until cancel
		defer close(done)
		_ = b.ConsumeRuns(ctx, 4, func(_ context.Context, d *events.RunDelivery) { delivered <- d.Run; _ = d.Ack() })
	}()
	sameItems(t, "WatchRuns", <-watched, want)
	sameItems(t, "ConsumeRuns", <-delivered, want)
	small := events.Run{Trigger: "small", Kind: "command", Region: "lon1", Why: "nothing"}
	if _, err := b.StoreRun(t.Context(), small); err != nil {
		t.Fatal(err)
	}
	if next := <-delivered; next.Trigger != "small" {
		t.Errorf("after the large plan %q was delivered: a part is no plan", next.Trigger)
	}
	cancel()
	<-done
}

// TestAPlanWhosePartsAreMissingIsADeadLetter: it harms nothing else.
func TestAPlanWhosePartsAreMissingIsADeadLetter(t *testing.T) {
	for name, body := range map[string]string{
		"no parts":   `{"trigger":"forged","region":"lon1","planned":"2026-11-27T19:00:00Z","stored_at":"2026-11-27T19:00:00Z","parts":2}`,
		"many parts": `{"trigger":"forged","region":"lon1","planned":"2026-11-27T19:00:00Z","stored_at":"2026-11-27T19:00:00Z","parts":1000000000}`,
		"negative":   `{"trigger":"forged","region":"lon1","planned":"2026-11-27T19:00:00Z","stored_at":"2026-11-27T19:00:00Z","parts":-1}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, events.Options{})
			if err := b.Conn().PublishMsg(&nats.Msg{Subject: "nightshift.v1.run.lon1.forged", Data: []byte(body)}); err != nil {
				t.Fatal(err)
			}
			if err := b.Conn().PublishMsg(&nats.Msg{Subject: "nightshift.v1.run.lon1.forged.1", Data: []byte("[{]")}); err != nil {
				t.Fatal(err)
			}
			if err := b.Conn().Flush(); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := b.LoadRun(t.Context(), "lon1", "forged"); ok || err != nil {
				t.Errorf("load: %v %v", ok, err)
			}
			for run, err := range b.Runs(t.Context(), time.Time{}) {
				t.Errorf("Runs: %+v %v", run, err)
			}
			if _, err := b.StoreRun(t.Context(), events.Run{Trigger: "good", Region: "lon1"}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			delivered, done := make(chan string, 10), make(chan struct{})
			go func() { // until cancel
				defer close(done)
				_ = b.ConsumeRuns(ctx, 4, func(_ context.Context, d *events.RunDelivery) {
					delivered <- d.Run.Trigger
					_ = d.Ack()
				})
			}()
			if got := <-delivered; got != "good" {
				t.Errorf("delivered %v", got)
			}
			var letters []events.DeadLetter
			for len(letters) == 0 && ctx.Err() == nil {
				for l, err := range b.DeadLetters(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					letters = append(letters, l)
				}
			}
			cancel()
			<-done
			if len(letters) != 1 || !strings.Contains(letters[0].Reason, "part") {
				t.Errorf("dead letters: %+v", letters)
			}
		})
	}
}
