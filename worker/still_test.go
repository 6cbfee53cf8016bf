package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/worker"
)

func TestObserveWrittenAfterThePlanHolds(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours+"    spread: 30m\n"), func(t *testing.T, w *world) {
		w.after(10*time.Minute + time.Second)
		w.edit(strings.Replace(with(devHours+"    spread: 30m\n"), "version: 1", "version: 1\nmode: observe", 1))
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "ACTIVE")
	})
}

func TestAHigherPolicyWrittenAfterThePlanHolds(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours+"    spread: 30m\n"), func(t *testing.T, w *world) {
		w.after(10*time.Minute + time.Second)
		w.edit(strings.Replace(with(devHours+"    spread: 30m\n  - name: release\n    select: { all: [env=dev] }\n    priority: 10\n    schedule: late\n"), "schedules:", "schedules:\n  late: { running: [\"Mon-Fri 08:00-22:00\"] }", 1))
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "ACTIVE")
	})
}

func TestARegionTakenOutAfterThePlanIsLeftAlone(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", strings.Replace(with(devHours+"    spread: 30m\n"), "[LON1]", "[LON1, NYC1]", 1), func(t *testing.T, w *world) {
		w.after(10*time.Minute + time.Second)
		w.edit(strings.Replace(with(devHours+"    spread: 30m\n"), "[LON1]", "[NYC1]", 1))
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "ACTIVE")
	})
}

func TestAKeepThatIsChangedHolds(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.ServerError, Count: -1})
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "stopped", For: "4h"}, ignored())
		w.after(2 * time.Minute)
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "asis", For: "4h"}, ignored())
		w.after(2 * time.Minute)
		w.sim.ClearFaults()
		w.after(10 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestAskWrittenAfterThePlanHolds(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours+"    spread: 30m\n"), func(t *testing.T, w *world) {
		w.after(10*time.Minute + time.Second)
		w.edit(asking(with(devHours + "    spread: 30m\n")))
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantOutcomes("stop dev-1 skipped changed", "stop dev-2 skipped changed", "stop dev-db skipped protected")
	})
}
