package worker_test

import (
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
)

// TestWhatIsGivenUpSaysWhatItWasAnswered, also after a restart, from what the ledger has.
func TestWhatIsGivenUpSaysWhatItWasAnswered(t *testing.T) {
	for kind, want := range map[civosim.FaultKind]string{civosim.RateLimited: "rate limited", civosim.ServerError: "unavailable"} {
		t.Run(want, func(t *testing.T) {
			inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
				w.sim.Inject(civosim.Fault{Op: "stop", Instance: dev1, Kind: kind, Count: -1})
				w.command(events.Command{Who: "local", Region: "lon1", Instance: dev1, Action: "stop", ID: "1", GiveUpAfter: "5m"})
				w.after(30 * time.Minute)
				ends := w.records(events.Failed)
				if len(ends) != 1 || ends[0].Reason != want {
					t.Errorf("ended as %+v, want failed (%s)", ends, want)
				}
			})
		})
	}
}
