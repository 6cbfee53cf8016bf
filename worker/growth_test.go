package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/worker"
)

// far is the i-th instance of another region.
func far(i int) string { return fmt.Sprintf("77777777-0000-4000-8000-%012d", i+1) }

// grown is a fleet of which env=dev selects 3 and env=* selects 8, in two regions.
func grown() string {
	fleet := herd(3, "env=dev")
	for i := range 3 {
		fleet += fmt.Sprintf("  - { id: %s, hostname: h-%d, region: LON1, size: g3.small, tags: [env=prod], status: ACTIVE }\n", head(3+i), 4+i)
	}
	for i := range 2 {
		fleet += fmt.Sprintf("  - { id: %s, hostname: n-%d, region: NYC1, size: g3.small, tags: [env=prod], status: ACTIVE }\n", far(i), 1+i)
	}
	return fleet
}

var herdInTwoRegions = strings.Replace(herdCron, "regions: [LON1]", "regions: [LON1, NYC1]", 1)

func TestGrowthIsAskedAboutInARegionThatCouldNotBeListedAtFirst(t *testing.T) {
	inBubbleWith(t, "2026-03-03 18:50", herdInTwoRegions, grown(), func(t *testing.T, w *world) {
		w.after(20 * time.Minute) // three are stopped
		w.edit(strings.Replace(herdInTwoRegions, "all: [env=dev]", `all: ["env=*"]`, 1))
		w.after(30 * time.Minute) // 19:40
		w.sim.Inject(civosim.Fault{Op: "list", Region: "NYC1", Kind: civosim.ServerError, Count: -1})
		w.after(30 * time.Minute) // 20:10: a part of the run is held
		w.sim.ClearFaults()
		w.after(4 * time.Minute) // the other part comes
		w.wantStatus(head(3), "ACTIVE")
		w.wantStatus(far(0), "ACTIVE")
		if r := w.theRun("nap@2026-03-03T20:00"); r.State != "held" || !strings.Contains(r.Held, "policy nap selects 8 instances, it was 3 at its last run") {
			t.Errorf("the run is %s: %s", r.State, r.Held)
		}
	})
}

func TestGrowthIsAskedAboutWhileARegionWasNeverRead(t *testing.T) {
	inBubbleWith(t, "2026-03-03 18:50", herdInTwoRegions, grown(), func(t *testing.T, w *world) {
		w.after(20 * time.Minute)
		w.edit(strings.Replace(herdInTwoRegions, "all: [env=dev]", `all: ["env=*"]`, 1))
		w.end()
		w.sim.Inject(civosim.Fault{Op: "list", Region: "NYC1", Kind: civosim.ServerError, Count: -1})
		w.begin()
		w.after(time.Hour)
		w.wantStatus(head(3), "ACTIVE")
		if r := w.theRun("nap@2026-03-03T20:00"); r.State != "held" || !strings.Contains(r.Held, "policy nap selects 6 instances, it was 3 at its last run") {
			t.Errorf("the run is %s: %s", r.State, r.Held)
		}
	})
}

func TestALookForDriftIsNoRunThatGrowthIsLearnedFrom(t *testing.T) {
	strict := strings.Replace(herdHours, "schedule: office", "schedule: office\n    enforce: strict", 1)
	inBubbleWith(t, "2026-03-03 18:50", strict, grown(), func(t *testing.T, w *world) {
		w.after(20 * time.Minute)
		w.edit(strings.Replace(strict, "all: [env=dev]", `all: ["env=*"]`, 1))
		w.after(4 * time.Hour) // the mend is held, expires, is held again
		w.wantStatus(head(3), "ACTIVE")
	})
}

// Nobody approved it: what it would have done is not done by the next look for drift,
// nor by the next edge. Approved once, it is not asked about again.
func TestGrowthThatNobodyApprovedIsAskedAboutAgain(t *testing.T) {
	enforce := strings.Replace(herdHours, "schedule: office", "schedule: office\n    enforce: true", 1)
	inBubbleWith(t, "2026-03-03 18:50", enforce, grown(), func(t *testing.T, w *world) {
		w.after(20 * time.Minute) // three are stopped
		w.edit(strings.Replace(enforce, "all: [env=dev]", `all: ["env=*"]`, 1))
		w.after(24*time.Hour + 10*time.Minute) // 19:20: the edge of the next day
		for _, day := range []string{"04", "05"} {
			w.wantStatus(head(3), "ACTIVE")
			if r := w.theRun("hours@2026-03-" + day + "T19:00"); r.State != "held" {
				t.Errorf("the run of the %s is %s: %s", day, r.State, r.Held)
			}
			if day == "04" {
				w.after(24 * time.Hour) // it expires; what drift would mend is held, too
			}
		}
		w.ask("approve", worker.ApproveRequest{Run: "hours@2026-03-05T19:00"}, new(worker.ApproveAnswer))
		w.after(10 * time.Minute)
		w.wantStatus(head(3), "SHUTOFF")
		w.after(24 * time.Hour)
		if r := w.theRun("hours@2026-03-06T19:00"); r.Held != "" {
			t.Errorf("approved the day before, the run of the next day is %s: %s", r.State, r.Held)
		}
	})
}
