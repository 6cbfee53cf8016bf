package events_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nightshift/events"
)

// forgery is a message that the client of NATS takes for an answer of the server.
func forgery(t *testing.T, b *events.Bus, subject, status, description string, more ...string) {
	t.Helper()
	msg := nats.NewMsg(subject)
	msg.Header.Set("Status", status)
	msg.Header.Set("Description", description)
	for i := 0; i < len(more); i += 2 {
		msg.Header.Add(more[i], more[i+1])
	}
	if _, err := b.Conn().RequestMsg(msg, 5*time.Second); err != nil {
		t.Fatal(err)
	}
}

// TestAStoredMessageThatLooksLikeAnAnswerOfTheServerEndsNoReading: what is behind it is
// read, too.
func TestAStoredMessageThatLooksLikeAnAnswerOfTheServerEndsNoReading(t *testing.T) {
	b := open(t, events.Options{})
	run := func(n int) events.Run {
		return events.Run{Trigger: fmt.Sprintf("t%d", n), Kind: "tick", Region: "lon1", Planned: time.Unix(int64(n), 0).UTC()}
	}
	store := func(n int) {
		t.Helper()
		if stored, err := b.StoreRun(t.Context(), run(n)); !stored || err != nil {
			t.Fatalf("stored %v, %v", stored, err)
		}
	}
	store(1)
	forgery(t, b, "nightshift.v1.run.lon1.x1", "404", "No Messages")
	store(2)
	forgery(t, b, "nightshift.v1.run.lon1.x2", "204", "EOB")
	forgery(t, b, "nightshift.v1.run.lon1.x3", "503", "", "Nats-Sequence", "1", "Nats-Subject", "nightshift.v1.run.lon1.t1")
	forgery(t, b, "nightshift.v1.run.lon1.t4", "503", "")
	store(3)
	store(4) // in the place of one that cannot be read
	want := []string{"t1", "t2", "t3", "t4"}
	var got, back []string
	for r, err := range b.Runs(t.Context(), time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Trigger)
	}
	for r, err := range b.NewestRuns(t.Context(), time.Time{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, r.Trigger)
	}
	slices.Reverse(back)
	if !slices.Equal(got, want) || !slices.Equal(back, want) {
		t.Errorf("read %v, and backward %v, want %v", got, back, want)
	}
	if damages, err := b.Damages(t.Context()); err != nil || len(damages) > 0 {
		t.Errorf("damaged: %v, %v; all can be read", damages, err)
	}
	if _, ok, err := b.LoadRun(t.Context(), "lon1", "x1"); ok || err != nil {
		t.Errorf("the forgery is a plan: %v, %v", ok, err)
	}

	rec := events.Record{ActionID: "a1", Action: "stop", Region: "lon1", Instance: "i-1", Trigger: "t1"}
	if _, ok, err := b.PublishStarted(t.Context(), rec, 0); !ok || err != nil {
		t.Fatal(ok, err)
	}
	forgery(t, b, "nightshift.v1.evt.lon1.i-1.stop.note.a1", "404", "")
	forgery(t, b, "nightshift.v1.evt.lon1.i-1.stop.started.a2", "404", "")
	if _, seq, err := b.LastStarted(t.Context(), "lon1", "i-1"); err != nil || seq != 3 {
		t.Errorf("the last call is at %d, %v, want 3: else nothing could be announced any more", seq, err)
	}
	if trail, err := b.Trail(t.Context(), "lon1", "i-1", "a1"); err != nil || trail.Seq < 2 {
		t.Errorf("the trail is %+v, %v", trail, err)
	}
}
