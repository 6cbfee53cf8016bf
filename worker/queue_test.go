package worker_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
)

// putBreaker stores what is remembered of a policy whose actions fail.
func (w *world) putBreaker(policy string, b map[string]any) {
	w.t.Helper()
	body, err := json.Marshal(b)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.bus.State().Put(w.t.Context(), "breaker."+policy, body); err != nil {
		w.t.Fatal(err)
	}
}

// itemOf is the action on an instance of the stored plan of an edge.
func (w *world) itemOf(at time.Time, instance string) events.Item {
	w.t.Helper()
	for run, err := range w.bus.Runs(w.t.Context(), at) {
		if err != nil {
			w.t.Error(err)
		}
		for _, it := range run.Items {
			if it.Instance == instance {
				return it
			}
		}
	}
	w.t.Errorf("no plan since %s has %s", at, instance)
	return events.Item{}
}

func TestPaceAndBreakerDoNotWaitForEachOtherAfterACrash(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:59", herdHours+"pace: { at_once: 1 }\n", herd(2, "env=dev"), func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.ServerError, Count: -1})
		w.after(3 * time.Minute) // h-1 has the place, and is put off
		w.end()
		w.sim.ClearFaults()
		w.putBreaker("hours", map[string]any{"last": "it", "until": time.Now().Add(-time.Minute), "times": 1, "trial": w.itemOf(london(t, "2026-03-04 19:00"), head(1)).ID, "trial_at": time.Now()})
		w.begin()
		w.after(4 * time.Minute)
		w.wantOutcomes("stop h-1 done", "stop h-2 done")
	})
}

func TestWaitsBehindALimitOfOursMakeNothingTooLate(t *testing.T) {
	short := strings.Replace(herdHours, "schedule: office", "schedule: office\n    give_up_after: 2m", 1)
	t.Run("the breaker", func(t *testing.T) {
		inBubbleWith(t, "2026-03-04 18:59", short, herd(2, "env=dev"), func(t *testing.T, w *world) {
			w.end()
			w.putBreaker("hours", map[string]any{"last": "it", "until": time.Now().Add(-time.Minute), "times": 1, "trial": "a1b2", "trial_at": time.Now()})
			w.begin()
			w.after(20 * time.Minute) // for 11.5 of them that trial might be another replica's
			w.wantOutcomes("stop h-1 done", "stop h-2 done")
		})
	})
	t.Run("a floor", func(t *testing.T) {
		inBubbleWith(t, "2026-03-04 12:00", herdHours+"floors: [ { select: { all: [env=dev] }, running: 2 } ]\n", herd(3, "env=dev"), func(t *testing.T, w *world) {
			for i := range 3 { // each takes the simulator 20 s, and settles for 2 min
				w.command(events.Command{ID: fmt.Sprint("c", i), Instance: head(i), Action: "reboot", GiveUpAfter: "20s"})
			}
			w.after(10 * time.Minute)
			if n := w.ended(); n["reboot done"] != 3 {
				t.Errorf("outcomes: %v", n)
			}
		})
	})
	t.Run("limits.per_hour", func(t *testing.T) {
		inBubbleWith(t, "2026-03-04 18:59", short+"limits: { per_hour: 2 }\n", herd(5, "env=dev"), func(t *testing.T, w *world) {
			w.after(2*time.Hour + 10*time.Minute)
			if n := w.ended(); n["stop done"] != 5 {
				t.Errorf("outcomes: %v", n)
			}
		})
	})
}

func TestAFloorWaitsForAForeignMachineNoLongerThanTheGiveUpTime(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", herdHours+"floors: [ { select: { all: [env=dev] }, running: 2 } ]\n", herd(3, "env=dev"), func(t *testing.T, w *world) {
		w.command(events.Command{ID: "c", Instance: head(0), Action: "reboot", NotBefore: time.Now().Add(3 * time.Minute), GiveUpAfter: "2m"})
		w.after(time.Second)
		w.sim.SetStatus(head(2), "BUILDING")
		w.after(10 * time.Minute)
		w.wantOutcomes("reboot h-1 expired")
	})
}
