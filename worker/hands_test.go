package worker_test

import (
	"encoding/json"
	"testing"
	"time"

	"nightshift/events"
)

// A process was killed when it had stored that somebody stopped an instance, and
// had not told of it yet.
func TestAHandThatWasStoredIsToldOfAfterAKill(t *testing.T) {
	inBubble(t, "2026-03-04 10:00", with(devHours), func(t *testing.T, w *world) {
		told := func() (n int) {
			for _, rec := range w.records(events.Noticed) {
				if rec.Reason == "hand" && rec.Instance == dev1 && rec.Hostname == "dev-1" && rec.After == "SHUTOFF" {
					n++
				}
			}
			return n
		}
		w.after(time.Minute)
		w.end()
		hand, err := json.Marshal(map[string]any{"state": "stopped", "at": time.Now().UTC(), "region": "lon1", "hostname": "dev-1", "before": "ACTIVE", "after": "SHUTOFF"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.bus.State().Put(t.Context(), "hand."+dev1, hand); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.begin()
			w.after(time.Second)
			if n := told(); n != 1 {
				t.Errorf("told %d times, want once", n)
			}
			w.end()
		}
		w.begin() // inBubble ends it
	})
}
