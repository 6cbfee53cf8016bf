package worker_test

import (
	"fmt"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/worker"
)

func TestWhatStoodInLineForItsTurnIsNotGivenUpBecauseOfARestart(t *testing.T) {
	fleet := "instances:\n  - { hostname: \"batch-%d\", count: 30, region: LON1, tags: [batch] }\n"
	inBubbleWith(t, "2026-03-04 12:00", office, fleet, func(t *testing.T, w *world) {
		w.end()
		w.o.Workers = 1
		w.begin()
		w.after(time.Second)
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Slow, Delay: 20 * time.Second, Count: -1}) // ten minutes for all
		var run worker.RunAnswer
		w.ask("run", worker.RunRequest{Select: worker.SelectForm{All: []string{"batch"}}, Action: "stop", ID: "sweep", GiveUpAfter: "5m"}, &run)
		if run.Held != "" {
			w.ask("approve", worker.ApproveRequest{Run: run.Trigger}, new(worker.ApproveAnswer))
		}
		w.after(6 * time.Minute)
		w.end()
		w.begin()
		w.after(10 * time.Minute)
		var want []string
		for n := range 30 {
			want = append(want, fmt.Sprintf("stop batch-%d done", n+1))
		}
		w.wantOutcomes(want...)
	})
}
