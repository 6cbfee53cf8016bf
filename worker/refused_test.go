package worker_test

import (
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
)

func TestAResizeThatIsRefusedBecauseItWasCarriedOutIsDone(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "resize", Kind: civosim.CutAfter})
		w.sim.Inject(civosim.Fault{Op: "resize", Kind: civosim.RateLimited, RetryAfter: 25 * time.Second}) // until it has the size
		w.command(events.Command{Instance: api1, Action: "resize", Size: "g3.medium", ID: "grow"})
		w.after(10 * time.Minute)
		w.wantOutcomes("resize api-1 done")
	})
}

func TestAResizeThatCivoRefusesFails(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "resize", Kind: civosim.Refused, Code: "parameter_value_missing"})
		w.command(events.Command{Instance: api1, Action: "resize", Size: "g3.medium", ID: "grow"})
		w.after(10 * time.Minute)
		w.wantOutcomes("resize api-1 failed")
	})
}
