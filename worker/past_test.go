package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/events"
)

// beginAnew is what a restore leaves in the store.
func (w *world) beginAnew() {
	w.t.Helper()
	if _, err := w.bus.BeginAnew(w.t.Context(), "restored from a backup of 2026-03-04T12:00:00Z", "test"); err != nil {
		w.t.Fatal(err)
	}
}

func TestAfterARestoreNothingOfBeforeIsDone(t *testing.T) {
	inBubble(t, "2026-03-04 18:55", office, func(t *testing.T, w *world) {
		w.after(time.Minute)
		w.end()
		w.command(events.Command{ID: "abc", Instance: web1, Action: "stop"}) // done since, or not: who knows
		w.after(10 * time.Minute)                                            // over the edge at 19:00
		w.beginAnew()
		w.begin()
		w.after(2 * time.Hour)
		w.wantOutcomes("stop  expired")
		if n := w.calls("stop"); n != 0 {
			t.Errorf("%d stop calls, want none", n)
		}
		w.end()
		w.begin()
		w.after(23 * time.Hour)
		if got := strings.Join(w.outcomes(), "; "); !strings.Contains(got, "stop dev-1 done") {
			t.Errorf("the next evening is forgotten, too: %s", got)
		}
		said := 0
		for _, r := range w.records(events.Noticed) {
			if r.Action == "store" && strings.Contains(r.Detail, "the store was restored from a backup of 2026-03-04T12:00:00Z at 2026-03-04T19:06:00Z") {
				said++
			}
		}
		if said != 1 {
			t.Errorf("the restore is said %d times, want once: %+v", said, w.records(events.Noticed))
		}
	})
}

func TestAfterARestoreARunOfBeforeIsNotBegunAndACallOfBeforeIsLookedAfter(t *testing.T) {
	file := strings.Replace(office, "    schedule: office\n", "    schedule: office\n    spread: 40m\n", 1)
	inBubble(t, "2026-03-04 18:55", file, func(t *testing.T, w *world) {
		w.command(events.Command{ID: "abc", Instance: web1, Action: "stop"})
		w.after(5*time.Minute + time.Second) // the stops of the evening are planned, each for its own time
		w.command(events.Command{ID: "def", Instance: api1, Action: "stop"})
		w.after(5 * time.Second) // accepted
		w.end()
		w.beginAnew()
		w.begin()
		w.after(2 * time.Hour)
		w.wantOutcomes("stop web-1 done", "stop api-1 done", "stop dev-1 expired", "stop dev-2 expired", "stop dev-db skipped protected")
	})
}
