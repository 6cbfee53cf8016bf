package worker_test

import (
	"testing"
	"time"

	"nightshift/events"
	"nightshift/worker"
)

func TestAHighLoadDuringACoolDownIsSaidOnceAndALowOneNotAtAll(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		measure := func(load float64, times int) {
			for range times {
				w.signal(events.Signal{Instance: api1, Load: "cpu", Value: &load})
				w.after(15 * time.Second)
			}
		}
		measure(20, 10)
		measure(93, 40) // acts once, is under way, then settling, then in its cool-down
		measure(20, 3)
		measure(93, 40)
		w.wantOutcomes("resize api-1 done", "resize api-1 skipped not active", "resize api-1 skipped settling", "resize api-1 skipped cooldown")
		w.after(15 * time.Minute)
		measure(93, 4) // it was low for a while: that is news
		w.wantOutcomes("resize api-1 done", "resize api-1 skipped not active", "resize api-1 skipped settling", "resize api-1 skipped cooldown", "resize api-1 skipped cooldown")
		var a worker.RunsAnswer
		w.ask("runs", worker.RunsRequest{}, &a)
		if len(a.Runs) != 5 {
			t.Errorf("%d runs, want 5: %+v", len(a.Runs), a.Runs)
		}
	})
}

func TestALoadThatStaysHighProlongsWhatItStartedWithFewRuns(t *testing.T) {
	const file = `
version: 1
regions: [LON1]
timezone: Europe/London
policies:
  - name: burst
    select: { all: [role=api] }
    trigger: { load: queue, above: 85 }
    do: start
    lasts: 30m
`
	inBubble(t, "2026-03-04 12:00", file, func(t *testing.T, w *world) {
		w.sim.SetStatus(api1, "SHUTOFF")
		w.after(time.Minute)
		high := 93.0
		for range 80 { // 20 minutes
			w.signal(events.Signal{Instance: api1, Load: "queue", Value: &high})
			w.after(15 * time.Second)
		}
		var a worker.RunsAnswer
		w.ask("runs", worker.RunsRequest{}, &a)
		if n := len(a.Runs); n < 5 || n > 12 {
			t.Errorf("%d runs for 80 measurements in 20 minutes", n)
		}
		w.after(26 * time.Minute)
		w.wantStatus(api1, "ACTIVE") // a tenth of 30m is the most that is lost
		w.after(6 * time.Minute)
		w.wantStatus(api1, "SHUTOFF")
	})
}
