package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/events"
)

// A clock that is an hour wrong, or somebody who may write ticks, must not act on
// times that are still to come, nor take them away from the policies.
func TestATickOfAnHourAheadDoesNothingAndItsEdgeComesAllTheSame(t *testing.T) {
	inBubble(t, "2026-03-04 18:00", office, func(t *testing.T, w *world) {
		w.after(time.Minute)
		tick := w.tick("dev-hours", time.Date(2026, 3, 4, 19, 0, 0, 0, time.UTC))
		tick.Trigger, tick.Edges = "t1772650800", []string{"dev-hours@1772650800"}
		if _, err := w.bus.PublishTick(t.Context(), tick); err != nil {
			t.Fatal(err)
		}
		w.after(30 * time.Minute)
		if n := w.calls("stop"); n > 0 {
			t.Errorf("%d stops were sent before 19:00", n)
		}
		if said := w.records(events.Noticed); len(said) != 1 || !strings.Contains(said[0].Detail, "a clock is wrong, or somebody else wrote it") {
			t.Errorf("it is told of by %v", said)
		}
		w.after(45 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
	})
}
