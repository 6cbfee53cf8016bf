package worker_test

import (
	"testing"
	"time"

	"nightshift/events"
)

// A restart plans two triggers at once, and the plan of the older one is stored
// last: what it asks for is over already.
func TestAnActionThatCanOnlyExpireEndsNoOther(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.SetStatus(web1, "MIGRATING")
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.after(10 * time.Second)
		old := events.Item{ID: "0123456789abcdef01234567", Kind: "power", Action: "stop", Region: "lon1", Instance: web1, Hostname: "web-1", Planned: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Minute)}
		if _, err := w.bus.StoreRun(t.Context(), events.Run{Trigger: "local-old", Kind: "command", Who: "local", Region: "lon1", Planned: old.Planned, StoredAt: time.Now(), Items: []events.Item{old}}); err != nil {
			t.Fatal(err)
		}
		w.after(10 * time.Second)
		w.sim.SetStatus(web1, "ACTIVE")
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 expired", "stop web-1 done")
		w.wantStatus(web1, "SHUTOFF")
	})
}
