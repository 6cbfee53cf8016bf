package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

// What a process counted, or was about to, when it was killed.

func TestATrialThatEndedIsCountedByWhoeverGoesOn(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:59", herdHours, herd(2, "env=dev"), func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Instance: head(1), Kind: civosim.ServerError, Count: -1})
		w.after(5 * time.Minute) // h-1 is done, h-2 put off
		w.end()
		w.sim.ClearFaults()
		w.putBreaker("hours", map[string]any{"last": "it", "until": time.Now().Add(-6 * time.Minute), "times": 1, "trial": w.itemOf(london(t, "2026-03-04 19:00"), head(0)).ID, "trial_at": time.Now()})
		w.begin()
		w.after(4 * time.Minute)
		w.wantOutcomes("stop h-1 done", "stop h-2 done")
		if entry, err := w.bus.State().Get(t.Context(), "breaker.hours"); err != nil || strings.Contains(string(entry.Value()), "trial") {
			t.Errorf("the breaker is %s %v", entry.Value(), err)
		}
	})
}

func TestABrokenPolicyIsPausedByWhoeverGoesOn(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:30", herdHours, herd(2, "env=dev"), func(t *testing.T, w *world) {
		w.end()
		w.putBreaker("hours", map[string]any{"last": "stop of h-9: quota", "until": time.Now().Add(45 * time.Minute), "times": 1})
		w.begin()
		w.after(time.Minute)
		if s := w.w.Status(t.Context()); len(s.Paused) != 1 || s.Paused[0].Policy != "hours" || s.Paused[0].Who != "nightshift" {
			t.Errorf("status: %+v", s.Paused)
		}
		said := 0
		for _, r := range w.records(events.Noticed) {
			if r.Action == "policy" && r.Reason == "broken" {
				said++
			}
		}
		if said != 1 {
			t.Errorf("it was said %d times", said)
		}
		w.after(50 * time.Minute) // 19:21: its end was an edge
		w.wantStatus(head(0), "SHUTOFF")
		w.wantStatus(head(1), "SHUTOFF")
	})
}

func TestResumeOfATrialIsInTheAuditTrail(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:30", herdHours, herd(2, "env=dev"), func(t *testing.T, w *world) {
		w.end()
		w.putBreaker("hours", map[string]any{"last": "it", "until": time.Now().Add(-time.Minute), "times": 1})
		w.begin()
		w.after(time.Minute)
		w.ask("resume", worker.PauseRequest{Policy: "hours", Who: "ann", Reason: "the quota is raised"}, &worker.PauseAnswer{})
		w.after(time.Second)
		for _, r := range w.records(events.Noticed) {
			if r.Action == "pause" && r.Reason == "resumed" && r.Policy == "hours" && r.Who == events.DefaultWho && r.Claim == "ann" && r.Why == "the quota is raised" {
				return
			}
		}
		t.Errorf("the notices are %+v", w.records(events.Noticed))
	})
}

func TestAStartedInstanceCountsAsRunningForFloors(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", herdHours+"floors: [ { select: { all: [env=dev] }, running: 2 } ]\n", herd(3, "env=dev"), func(t *testing.T, w *world) {
		for i, action := range []string{"stop", "start"} {
			w.command(events.Command{ID: fmt.Sprint("a", i), Instance: head(0), Action: action})
			w.after(time.Minute)
		}
		began := time.Now()
		w.command(events.Command{ID: "b", Instance: head(1), Action: "stop"})
		w.after(5 * time.Minute)
		w.wantOutcomes("stop h-1 done", "start h-1 done", "stop h-2 done")
		if stops := w.sent("stop"); stops[len(stops)-1].Sub(began) > time.Minute {
			t.Errorf("the second stop was sent %s after it was asked for", stops[len(stops)-1].Sub(began))
		}
	})
}

func TestAMendThatAFloorKeepsBackSaysSoOnce(t *testing.T) {
	strict := strings.Replace(herdHours, "schedule: office", "schedule: office\n    enforce: strict", 1) + "floors: [ { select: { all: [env=dev] }, running: 2 } ]\n"
	inBubbleWith(t, "2026-03-04 18:50", strict, herd(4, "env=dev"), func(t *testing.T, w *world) {
		for i := range 3 {
			w.sim.SetStatus(head(i), "SHUTOFF")
		}
		w.after(25 * time.Minute) // only h-4 runs: the edge has said that it stays
		said := func() (names []string) {
			for _, r := range w.records(events.Noticed) {
				if r.Reason == "floor" {
					names = append(names, r.Hostname)
				}
			}
			return names
		}
		if got := said(); len(got) != 0 {
			t.Errorf("it is said again of %q", got)
		}
		w.sim.SetStatus(head(0), "ACTIVE") // by somebody
		w.after(40 * time.Minute)
		if got := said(); len(got) != 1 || got[0] != "h-1" {
			t.Errorf("it is said of %q", got)
		}
	})
}
