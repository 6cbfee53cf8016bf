package worker_test

import (
	"fmt"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

const batches = "instances:\n  - { hostname: \"batch-%d\", count: 30, region: LON1, tags: [batch] }\n"

// sweepSlowly asks for thirty stops that are good for five minutes, and would take ten.
func (w *world) sweepSlowly() {
	w.t.Helper()
	w.end()
	w.o.Workers = 1
	w.begin()
	w.after(time.Second)
	w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Slow, Delay: 20 * time.Second, Count: -1})
	var run worker.RunAnswer
	w.ask("run", worker.RunRequest{Select: worker.SelectForm{All: []string{"batch"}}, Action: "stop", ID: "sweep", GiveUpAfter: "5m"}, &run)
	if run.Held != "" {
		w.ask("approve", worker.ApproveRequest{Run: run.Trigger}, new(worker.ApproveAnswer))
	}
}

func TestWhatStoodInLineForItsTurnIsNotGivenUpBecauseOfARestart(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", office, batches, func(t *testing.T, w *world) {
		w.sweepSlowly()
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

// A process that is killed as soon as it has said something leaves a run that was
// worked on just now; nobody had for hours.
func TestTheTimeInWhichNobodyWorkedOnARunCountsAgainstItsGiveUpTimes(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", office, batches, func(t *testing.T, w *world) {
		w.sweepSlowly()
		w.after(time.Minute)
		w.end()
		w.after(2 * time.Hour)
		begun := w.calls("stop")
		for run, err := range w.bus.Runs(t.Context(), time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			it := run.Items[len(run.Items)-1]
			rec := events.Record{RunSeq: run.Seq, ActionID: it.ID, Action: it.Action, Region: it.Region, Instance: it.Instance, Trigger: run.Trigger, Outcome: events.Waiting, Detail: "waits"}
			if err := w.bus.PublishNote(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
		w.begin()
		w.after(10 * time.Minute)
		if n := w.calls("stop"); n > begun {
			t.Errorf("%d stops were sent, %d of them two hours after they had been asked for; they are good for five minutes", n, n-begun)
		}
		if n := len(w.records(events.Expired)); n < 20 {
			t.Errorf("%d expired, want those that had not begun", n)
		}
	})
}
