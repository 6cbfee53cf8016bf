package events

import (
	"context"
	"strings"
	"testing"
	"time"
)

// asked counts the questions after streams that a server was asked.
func asked(t *testing.T, b *Bus) func() int {
	t.Helper()
	questions, err := b.nc.SubscribeSync("$JS.API.STREAM.INFO.>")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = questions.Unsubscribe() }) // what nobody reads would keep the connection from draining
	return func() int {
		if err := b.nc.Flush(); err != nil {
			t.Fatal(err)
		}
		n, _, err := questions.Pending()
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if _, err := questions.NextMsg(time.Second); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
}

func tell(t *testing.T, b *Bus, id string) {
	t.Helper()
	if err := b.PublishNoticed(t.Context(), Record{ActionID: id, Action: "test", Reason: "test", Trigger: "test", Region: None, Instance: None}); err != nil {
		t.Fatal(err)
	}
}

func TestTheStoreIsAskedForItsTimesOnlyWhenTheClockWasSet(t *testing.T) {
	b, err := Open(t.Context(), Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	times := func(b *Bus) (server, newest time.Time) {
		t.Helper()
		server, newest, err := b.Times(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Since(server); off < -time.Second || off > time.Minute {
			t.Errorf("the clock of the server is off by %s", off)
		}
		return server, newest
	}
	questions := asked(t, b)
	tell(t, b, "1")
	_, first := times(b)
	if since := time.Since(first); since < 0 || since > time.Minute {
		t.Errorf("what was stored just now is %s old", since)
	}
	if n := questions(); n != 4 {
		t.Errorf("the first look was %d questions, want one per stream", n)
	}
	tell(t, b, "2")
	if _, newest := times(b); newest.After(time.Now()) {
		t.Errorf("something lies ahead: %s", newest)
	}
	if n := questions(); n != 0 {
		t.Errorf("%d questions, though the clock went as time passed", n)
	}
	for name, by := range map[string]time.Duration{"forward": -time.Hour, "back": time.Hour} {
		b.reckoning.wall = b.reckoning.wall.Add(by)
		if _, newest := times(b); !newest.After(first) {
			t.Errorf("the clock was set %s, and what is newest is still %s", name, newest)
		}
		if n := questions(); n != 4 {
			t.Errorf("%d questions after the clock was set %s", n, name)
		}
	}

	other, err := Open(t.Context(), Options{URL: b.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close(context.Background()) })
	questions()
	for _, id := range []string{"3", "4"} { // another machine has another clock
		_, before := times(other)
		tell(t, b, id)
		if _, newest := times(other); !newest.After(before) {
			t.Errorf("what somebody stored is not seen: the newest is of %s", newest)
		}
	}
	if n := questions(); n != 4*4 {
		t.Errorf("an external NATS was asked %d questions, want 16", n)
	}
	if err := b.js.DeleteStream(t.Context(), StreamRun); err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Times(t.Context()); err == nil || !strings.Contains(err.Error(), StreamRun) {
		t.Errorf("a stream is gone, and the error is %v", err)
	}
}
