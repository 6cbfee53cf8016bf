package worker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/policies"
)

// Killed after the first ticks were stored and before it was remembered, the
// scheduler announces them again, together with what became due meanwhile. Both
// announcements are planned at the same moment.
func TestEdgesAnnouncedAgainByARestartAreInOnePlanEach(t *testing.T) {
	file := strings.Replace(office, "policies:", `policies:
  - name: web-off
    select: { all: [role=web] }
    cron: "1 19 * * *"
    do: stop`, 1)
	inBubble(t, "2026-03-04 18:59", file, func(t *testing.T, w *world) {
		w.end()
		w.after(90 * time.Second)
		first := w.set.Edges(time.Now().Add(-time.Minute), time.Now())
		w.after(time.Minute)
		all := w.set.Edges(time.Now().Add(-3*time.Minute), time.Now())
		if len(first) != 1 || len(all) != 2 {
			t.Fatalf("%d edges, then %d", len(first), len(all))
		}
		ids := []string{all[0].ID(), all[1].ID()}
		for i, trigger := range []string{fmt.Sprintf("t%d", all[0].Planned.Unix()), fmt.Sprintf("t%d", all[1].Planned.Unix())} {
			if _, err := w.bus.PublishTick(t.Context(), events.Tick{Policy: all[i].Policy, Planned: all[i].Planned, Hash: all[i].Hash, Trigger: trigger, Edges: ids[:i+1]}); err != nil {
				t.Fatal(err)
			}
		}
		w.begin()
		w.after(5 * time.Minute)
		plans := make(map[string][]string) // triggers by edge
		for run, err := range w.bus.Runs(t.Context(), time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, edge := range run.Edges {
				if !slices.Contains(plans[edge], run.Trigger) {
					plans[edge] = append(plans[edge], run.Trigger)
				}
			}
		}
		for _, edge := range ids {
			if len(plans[edge]) != 1 {
				t.Errorf("edge %s is in the plans of %v, want one", edge, plans[edge])
			}
		}
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected", "stop web-1 done")
	})
}

// The instance that has hours in a tag is in a region that cannot be read when the
// edge of another policy comes: the tag's edge becomes known later, when both are
// planned at the same moment.
func TestEdgesOfOneInstantAnnouncedApartAreBothPlanned(t *testing.T) {
	file := with(`  - name: own-hours
    select: { all: ["nightshift.hours=*"] }
    schedule: { from_tag: nightshift.hours }
  - name: web-off
    select: { all: [role=web] }
    cron: "0 19 * * *"
    do: stop
`)
	inBubble(t, "2026-03-04 18:55", file, func(t *testing.T, w *world) {
		w.end()
		w.retag(dev1, "nightshift.hours=Mon-Fri_08:00-19:00")
		w.sim.Inject(civosim.Fault{Op: "list", Kind: civosim.ServerError, Count: -1})
		w.begin()
		w.after(5*time.Minute + 20*time.Second)
		w.sim.ClearFaults()
		w.after(10 * time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop web-1 done")
		w.wantStatus(dev1, "SHUTOFF")
	})
}

// Killed when it had stored the newest of two edges that it found missed, and not
// yet the tick for the older, the scheduler finds both missed again, behind a third
// one, and the place of the tick that is to stand for both is taken.
func TestAnEdgeBehindOneThatAKilledProcessAnnouncedHasItsEvent(t *testing.T) {
	file := with(`  - name: web-off
    select: { all: [role=web] }
    cron: "0 * * * *"
    do: stop
`)
	inBubble(t, "2026-03-04 12:59", file, func(t *testing.T, w *world) {
		w.end()
		w.after(2*time.Hour + 2*time.Minute)
		edges := w.set.Edges(time.Now().Add(-150*time.Minute), time.Now())
		if len(edges) != 3 {
			t.Fatalf("%d edges, want those of 13, 14 and 15 o'clock", len(edges))
		}
		killed := events.Tick{Policy: edges[1].Policy, Planned: edges[1].Planned, Hash: edges[1].Hash, Trigger: fmt.Sprintf("t%d-abcdef", edges[1].Planned.Unix()), Edges: []string{edges[1].ID()}}
		if _, err := w.bus.PublishTick(t.Context(), killed); err != nil {
			t.Fatal(err)
		}
		w.begin()
		w.after(5 * time.Minute)
		told := 0
		for _, o := range []events.Outcome{events.Skipped, events.Superseded, events.Expired} {
			for _, rec := range w.records(o) {
				if rec.ActionID == policies.ActionID(edges[0].ID(), 0, events.None, "none") {
					told++
				}
			}
		}
		if told != 1 {
			t.Errorf("%d events say why the edge of 13 o'clock did not run, want one", told)
		}
	})
}
