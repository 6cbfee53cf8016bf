package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/worker"
)

// TestASweepIsAsFastAsItsRateAndAsksNoMoreThanItMust stops 3,000 instances at the
// world's 50 requests a second, in virtual time: from the edge to the last call it
// takes at most 1.05 × N/R, with at most 1.05 × the least number of requests: one
// per instance, the list that the plan is made on, and one list a Verify.Poll (5 s)
// from the first call until the last instance is seen to be stopped.
func TestASweepIsAsFastAsItsRateAndAsksNoMoreThanItMust(t *testing.T) {
	const n, rate, poll = 3000, 50, 5
	file := strings.Replace(office, "protect:", "limits: { per_run: 5000, per_hour: 5000 }\nprotect:", 1)

	inBubbleWith(t, "2026-11-27 18:58", file, devMachines(n), func(t *testing.T, w *world) {
		w.after(90 * time.Second) // what is read at the start is over
		before := len(w.sim.Requests())
		w.after(10 * time.Minute)
		if got := len(w.outcomes()); got != n {
			t.Errorf("%d outcomes, want %d", got, n)
			return
		}
		requests := w.sim.Requests()[before:]
		edge := time.Date(2026, 11, 27, 19, 0, 0, 0, time.UTC)
		var last time.Time
		calls, lists := 0, 0
		for _, r := range requests {
			switch {
			case r.Op == "stop":
				calls, last = calls+1, r.Time
			case r.Op == "list" && r.Time.Before(edge.Add(5*time.Minute)):
				lists++ // after that, those of the look for drift
			}
		}
		took, ideal := last.Sub(edge).Seconds(), float64(n)/rate
		least := float64(n + 1 + int(ideal+20)/poll) // the simulator takes 20 s to stop an instance
		asked := float64(calls + lists)
		t.Logf("%.1f s of %.1f (%.3f), %d calls and %d lists of %.0f requests (%.3f)", took, ideal, took/ideal, calls, lists, least, asked/least)
		if took > 1.05*ideal {
			t.Errorf("the last call came %.1f s after the edge, want at most %.1f", took, 1.05*ideal)
		}
		if calls != n || asked > 1.05*least {
			t.Errorf("%d calls and %d lists, want %d calls and %.0f requests in all", calls, lists, n, 1.05*least)
		}
	})
}

// TestACommandForAWholeFleetIsAnswered: the plan of 5,000 instances is larger than a
// message; it is stored whole, and the answer says how much it leaves out.
func TestACommandForAWholeFleetIsAnswered(t *testing.T) {
	const n = 5000
	file := strings.Replace(office, "protect:", "mode: observe\nlimits: { per_run: 9000, per_hour: 9000 }\nprotect:", 1)
	inBubbleWith(t, "2026-11-27 12:00", file, devMachines(n), func(t *testing.T, w *world) {
		var a worker.RunAnswer
		w.ask("run", worker.RunRequest{Select: worker.SelectForm{All: []string{"env=dev"}}, Action: "stop"}, &a)
		if a.ActionsInAll != n || len(a.Actions) != 1000 || a.Held != "" {
			t.Errorf("%d of %d actions, held %q", len(a.Actions), a.ActionsInAll, a.Held)
		}
		w.after(time.Minute)
		if got := len(w.outcomes()); got != n {
			t.Errorf("%d outcomes, want %d", got, n)
		}
		seen := make(map[string]bool)
		for page := w.theRun(a.Trigger); len(page.Items) > 0; {
			if page.ItemsInAll != n || page.Counts["planned"] != n {
				t.Fatalf("the run has %d actions, %v", page.ItemsInAll, page.Counts)
			}
			for _, it := range page.Items {
				seen[it.Instance] = true
			}
			var next worker.RunsAnswer
			w.ask("runs", worker.RunsRequest{Run: a.Trigger, Skip: len(seen)}, &next)
			page = next.Runs[0]
		}
		if len(seen) != n {
			t.Errorf("the pages have %d instances, want %d", len(seen), n)
		}
	})
}

// devMachines is a fleet of n running development machines.
func devMachines(n int) string {
	machines := []string{"instances:"}
	for i := range n {
		machines = append(machines, fmt.Sprintf("  - { id: %s, hostname: dev-%d, region: LON1, size: g3.small, tags: [env=dev], status: ACTIVE }", pathInstance(i), i))
	}
	return strings.Join(machines, "\n")
}
