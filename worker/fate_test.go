package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/worker"
)

// What is bad, and what is away, stops nothing but itself; and whoever wants all to
// stop is heard meanwhile.

func TestOneBadInstancePolicyTagOrRegionStopsNoOther(t *testing.T) {
	file := strings.Replace(herdHours, "regions: [LON1]", "regions: [LON1, NYC1]", 1) + `  - name: bad
    select: { all: [env=bad] }
    schedule: office
  - name: own
    select: { all: ["nightshift.hours=*"] }
    schedule: { from_tag: nightshift.hours }
owners: { keys: [hours, keep] }
`
	fleet := herd(3, "env=dev") + `  - { id: 77777777-0000-4000-8000-000000000001, hostname: b-1, region: LON1, size: g3.small, tags: [env=bad], status: ACTIVE }
  - { id: 77777777-0000-4000-8000-000000000002, hostname: b-2, region: LON1, size: g3.small, tags: [env=bad], status: ACTIVE }
  - { id: 77777777-0000-4000-8000-000000000003, hostname: t-1, region: LON1, size: g3.small, tags: ["nightshift.hours=Mon-Fry_99:00", "nightshift.keep=maybe", env=dev], status: ACTIVE }
  - { id: 77777777-0000-4000-8000-000000000004, hostname: n-1, region: NYC1, size: g3.small, tags: [env=dev], status: ACTIVE }
`
	inBubbleWith(t, "2026-03-04 18:50", file, fleet, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "list", Region: "NYC1", Kind: civosim.ServerError, Count: -1})
		w.sim.Inject(civosim.Fault{Op: "stop", Instance: head(0), Kind: civosim.Stuck, Count: -1})
		for _, id := range []string{"77777777-0000-4000-8000-000000000001", "77777777-0000-4000-8000-000000000002"} {
			w.sim.Inject(civosim.Fault{Op: "stop", Instance: id, Kind: civosim.CutAfter, Count: 1})
		}
		w.after(15 * time.Minute) // 19:05
		for _, id := range []string{head(1), head(2), "77777777-0000-4000-8000-000000000003"} {
			w.wantStatus(id, "SHUTOFF")
		}
		w.wantStatus("77777777-0000-4000-8000-000000000004", "ACTIVE")
		w.sim.ClearFaults()
		w.after(20 * time.Minute)
		w.wantStatus("77777777-0000-4000-8000-000000000004", "SHUTOFF") // its region's part was put off alone
		n := w.ended()
		if n["stop done"] != 6 || n["stop failed"] != 1 {
			t.Errorf("outcomes: %v", n)
		}
	})
}

func TestAPauseHoldsWhatTheAPIHasKeptWaiting(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours), func(t *testing.T, w *world) {
		w.after(time.Minute) // the fleet has been seen
		w.sim.Inject(civosim.Fault{Op: "*", Kind: civosim.ServerError, Count: -1})
		w.after(15 * time.Minute) // 19:06: the stops are put off
		w.ask("pause", worker.PauseRequest{Instance: web1, Region: "LON1"}, &worker.PauseAnswer{})
		w.ask("pause", worker.PauseRequest{All: true, Reason: "something is wrong"}, &worker.PauseAnswer{})
		w.sim.ClearFaults()
		before := w.calls("stop")
		w.after(30 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		if n := w.calls("stop") - before; n != 0 {
			t.Errorf("%d stops were sent under the pause", n)
		}
		w.ask("resume", worker.PauseRequest{All: true}, &worker.PauseAnswer{}) // its end is an edge
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
	})
}

func TestAPauseLastsWhileNATSIsAway(t *testing.T) {
	withFarServer(t, "2026-03-04 18:30", office, func(t *testing.T, w *world, far *farServer) {
		w.after(10 * time.Minute)
		w.ask("pause", worker.PauseRequest{All: true}, &worker.PauseAnswer{})
		far.cut()
		if err := w.bus.Ask(t.Context(), "pause", worker.PauseRequest{Policy: "web-down"}, &worker.PauseAnswer{}); err == nil {
			t.Error("a pause is confirmed that is not stored")
		}
		w.after(time.Hour)
		if n := w.calls("stop"); n != 0 {
			t.Errorf("%d stops were sent without NATS", n)
		}
		far.restore()
		w.after(30 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		if n := w.calls("stop"); n != 0 {
			t.Errorf("%d stops were sent under the pause", n)
		}
	})
}
