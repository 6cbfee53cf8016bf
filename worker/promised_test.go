package worker_test

import (
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
)

func TestARegionThatCannotBeListedAfterACallIsAskedAgainAtAPace(t *testing.T) {
	for _, action := range []string{"stop", "reboot"} {
		inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) { // without a pace its clock never moves
			w.command(events.Command{Instance: web1, Action: action})
			w.after(2 * time.Second)
			w.sim.Inject(civosim.Fault{Op: "list", Kind: civosim.ServerError, Count: -1})
			before := w.calls("list")
			w.after(20 * time.Minute)
			w.wantOutcomes(action + " web-1 unknown")
			if n := w.calls("list") - before; n > 300 {
				t.Errorf("a region that cannot be listed was asked %d times in twenty minutes", n)
			}
		})
	}
}

func TestAPlannedTimeThatTwoTriggersAnnouncedIsActedUponOnce(t *testing.T) {
	file := with(`  - name: noon
    select: { all: [role=web] }
    cron: "0 12 * * *"
    do: reboot
  - name: after-noon
    select: { all: [role=api] }
    cron: "1 12 * * *"
    do: start
`)
	inBubble(t, "2026-03-04 12:02", file, func(t *testing.T, w *world) {
		noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
		first, second := w.tick("noon", noon), w.tick("after-noon", noon.Add(time.Minute))
		first.Trigger, first.Edges = "t1772625600", []string{"noon@1772625600"}                            // stored by a daemon that was killed then,
		second.Trigger, second.Edges = "t1772625660", []string{"noon@1772625600", "after-noon@1772625660"} // and so announced again by the next
		for _, tick := range []events.Tick{first, second} {
			if _, err := w.bus.PublishTick(t.Context(), tick); err != nil {
				t.Fatal(err)
			}
		}
		w.after(5 * time.Minute)
		if n := w.calls("soft_reboot"); n != 1 {
			t.Errorf("web-1 was rebooted %d times for one planned time", n)
		}
		w.wantOutcomes("reboot web-1 done", "start api-1 skipped already")
	})
}

func TestATickThatAFasterClockAnnouncedIsActedUponWhenItsTimeHasCome(t *testing.T) {
	inBubble(t, "2026-03-04 18:59", office, func(t *testing.T, w *world) {
		w.after(57 * time.Second)
		tick := w.tick("dev-hours", time.Date(2026, 3, 4, 19, 0, 0, 0, time.UTC))
		tick.Trigger, tick.Edges = "t1772650800", []string{"dev-hours@1772650800"}
		if _, err := w.bus.PublishTick(t.Context(), tick); err != nil {
			t.Fatal(err)
		}
		w.after(2 * time.Second)
		if n := w.calls("stop"); n > 0 {
			t.Errorf("%d stops were sent before 19:00", n)
		}
		w.after(5 * time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
	})
}

// tick is one of a policy in the form that is in force.
func (w *world) tick(policy string, planned time.Time) events.Tick {
	w.t.Helper()
	p, ok := w.set.Policy(policy)
	if !ok {
		w.t.Fatalf("there is no policy %s", policy)
	}
	return events.Tick{Policy: policy, Planned: planned, Hash: p.Hash()}
}
