package worker_test

import (
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
)

// A resize that waits for a better moment of the API, while somebody stops the
// instance: sent then, it would switch it on again.
func TestALoadResizesNothingThatWasStoppedMeanwhile(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "resize", Kind: civosim.RateLimited, RetryAfter: 2 * time.Minute, Count: 1})
		high := 93.0
		w.signal(events.Signal{Instance: api1, Load: "cpu", Value: &high})
		w.after(5 * time.Second)
		w.command(events.Command{Instance: api1, Action: "stop"})
		w.after(10 * time.Minute)
		w.wantOutcomes("stop api-1 done", "resize api-1 skipped off on purpose")
		w.wantStatus(api1, "SHUTOFF")
	})
}
