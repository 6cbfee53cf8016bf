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
	"nightshift/worker"
)

func TestARetryAsksOnceWhileItRunsAndReallyAgainWhenItFailedToo(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.fault("stop", civosim.CutBefore, -1)
		w.command(events.Command{ID: "c1", Instance: web1, Action: "stop", GiveUpAfter: "2m"})
		w.after(10 * time.Minute)
		w.wantOutcomes("stop web-1 failed")

		var first, same worker.ApproveAnswer
		w.ask("retry", worker.ApproveRequest{Run: "local-c1", Who: "ann"}, &first)
		w.after(10 * time.Second)
		w.ask("retry", worker.ApproveRequest{Run: "local-c1", Who: "ann"}, &same)
		if first.Actions != 1 || same.Actions != 1 || !same.Again || !slices.Equal(first.Asked, same.Asked) {
			t.Errorf("asked for twice within an attempt: %+v, then %+v", first, same)
		}
		w.after(time.Hour) // given up, too
		if r := w.theRun(first.Asked[0]); r.State != "ended" || r.Counts["failed (unavailable)"] != 1 || r.Retries != "local-c1" {
			t.Fatalf("the first retry is %+v", r)
		}
		w.sim.ClearFaults()
		before := w.calls("stop")
		var second worker.ApproveAnswer
		w.ask("retry", worker.ApproveRequest{Run: first.Asked[0]}, &second) // by the name of the retry: it is the same chain
		w.after(5 * time.Minute)
		if second.Again || second.Asked[0] == first.Asked[0] {
			t.Errorf("the second attempt is %+v", second)
		}
		w.wantStatus(web1, "SHUTOFF")
		if n := w.calls("stop") - before; n != 1 {
			t.Errorf("%d stops were sent, want 1", n)
		}
		w.refused("retry", worker.ApproveRequest{Run: "local-c1"}, "has done all that it could")
	})
}

func TestNothingIsRetriedByAClockThatIsWrong(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.fault("stop", civosim.CutBefore, -1)
		w.command(events.Command{ID: "c1", Instance: web1, Action: "stop", GiveUpAfter: "2m"})
		w.after(10 * time.Minute)
		w.wantOutcomes("stop web-1 failed")
		w.restartOff(2 * time.Hour)
		w.after(time.Minute)
		w.refused("retry", worker.ApproveRequest{Run: "local-c1"}, "2h0m0s ahead of the clock of NATS")
		w.restartOff(0)
		w.after(time.Minute)
		w.ask("retry", worker.ApproveRequest{Run: "local-c1"}, &worker.ApproveAnswer{})
	})
}

func TestARetryOfMoreThanTheLimitIsHeld(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours)+"limits: { per_run: 2 }\n", func(t *testing.T, w *world) {
		w.fault("stop", civosim.CutBefore, -1)
		w.after(2 * time.Hour)
		w.wantOutcomes("stop dev-db skipped protected", "stop dev-1 failed", "stop dev-2 failed")
		w.sim.ClearFaults()
		w.edit(with(devHours) + "limits: { per_run: 1 }\n")
		var a worker.ApproveAnswer
		w.ask("retry", worker.ApproveRequest{Run: "dev-hours@19:00"}, &a)
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		if !strings.Contains(a.Held, "2 actions are more than limits.per_run (1)") {
			t.Fatalf("it is not held: %+v", a)
		}
		w.ask("approve", worker.ApproveRequest{Run: a.Asked[0]}, &worker.ApproveAnswer{})
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(dev2, "SHUTOFF")
	})
}

func TestAnUndoThatWasPausedIsAskedForAgain(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours), func(t *testing.T, w *world) {
		w.after(20 * time.Minute)
		w.ask("pause", worker.PauseRequest{Instance: dev1, Region: "LON1"}, &worker.PauseAnswer{})
		var a worker.ApproveAnswer
		w.ask("undo", worker.ApproveRequest{Run: "dev-hours@19:00"}, &a)
		if a.Actions != 1 || len(a.Left) != 1 || !strings.Contains(a.Left[0], "start dev-1: paused") {
			t.Errorf("the undo is %+v", a)
		}
		w.after(5 * time.Minute)
		w.wantStatus(dev2, "ACTIVE")
		w.ask("resume", worker.PauseRequest{Instance: dev1, Region: "LON1"}, &worker.PauseAnswer{})
		w.after(time.Minute) // the end of the pause is an edge
		w.ask("undo", worker.ApproveRequest{Run: "dev-hours@19:00"}, &a)
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		if n := w.calls("start"); n != 2 {
			t.Errorf("%d starts were sent, want 2", n)
		}
	})
}

func TestAnUndoGoesBackStepByStep(t *testing.T) {
	const file = `  - name: wall
    select: { all: [role=web] }
    trigger: { signal: attack }
    do: [ { firewall: %s }, { firewall: %s, after: 1m } ]
`
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		var before string
		for _, i := range w.sim.Instances() {
			if i.ID == web1 {
				before = i.FirewallID
			}
		}
		w.edit(with(fmt.Sprintf(file, w.firewall("restrictive-firewall"), before)))
		w.signal(events.Signal{ID: "a", Instance: web1, Name: "attack"})
		w.after(10 * time.Minute)
		var a worker.ApproveAnswer
		w.ask("undo", worker.ApproveRequest{Run: "prometheus-a"}, &a)
		w.after(10 * time.Minute)
		if a.Actions != 2 {
			t.Errorf("the undo is %+v", a)
		}
		w.wantFirewall(web1, before)
		if n := w.calls("firewall"); n != 4 {
			t.Errorf("%d firewalls were set, want 4: %v", n, w.outcomes())
		}
	})
}

func TestTheListOfRunsIsBoundedAndSaysThatThereAreMore(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		for n := range 70 {
			c := events.Command{ID: fmt.Sprintf("c%d", n), Instance: web1, Action: "retag", Add: []string{"seen"}, DryRun: true}
			if n == 3 {
				c = events.Command{ID: "c3", Instance: web1, Action: "firewall", Firewall: "00000000-0000-4000-8000-000000000000"}
			}
			w.command(c)
			w.after(time.Second)
		}
		w.after(time.Minute)
		list := func(req worker.RunsRequest) (a worker.RunsAnswer) {
			w.ask("runs", req, &a)
			return a
		}
		if a := list(worker.RunsRequest{}); len(a.Runs) != 50 || !a.More || a.Runs[0].Trigger != "local-c69" || a.Runs[49].Trigger != "local-c20" {
			t.Errorf("%d runs, more %v, from %s to %s", len(a.Runs), a.More, a.Runs[0].Trigger, a.Runs[len(a.Runs)-1].Trigger)
		}
		if a := list(worker.RunsRequest{Limit: 70}); len(a.Runs) != 70 || a.More {
			t.Errorf("%d runs, more %v", len(a.Runs), a.More)
		}
		if a := list(worker.RunsRequest{Failed: true, Limit: 5}); len(a.Runs) != 1 || a.More || a.Runs[0].Trigger != "local-c3" || a.Runs[0].Counts["failed (invalid)"] != 1 {
			t.Errorf("failed: %+v, more %v", a.Runs, a.More)
		}
		if a := list(worker.RunsRequest{Since: time.Now().Add(-80 * time.Second)}); len(a.Runs) < 15 || len(a.Runs) > 25 || a.More {
			t.Errorf("%d runs of late, more %v", len(a.Runs), a.More)
		}
	})
}

func (w *world) fault(op string, kind civosim.FaultKind, count int) {
	w.sim.Inject(civosim.Fault{Op: op, Kind: kind, Count: count})
}

// refused is a question whose answer is no.
func (w *world) refused(endpoint string, in any, want string) {
	w.t.Helper()
	if err := w.bus.Ask(w.t.Context(), endpoint, in, &struct{}{}); err == nil || !strings.Contains(err.Error(), want) {
		w.t.Errorf("%s: got %v, want %q", endpoint, err, want)
	}
}

func (w *world) wantFirewall(id, want string) {
	w.t.Helper()
	for _, i := range w.sim.Instances() {
		if i.ID == id && i.FirewallID != want {
			w.t.Errorf("%s is behind firewall %s, want %s", i.Hostname, i.FirewallID, want)
		}
	}
}

// What a newer edge wants after its spread overtakes one that waits for its second look: that
// one ends at once, and the region is not listed over and over until its look was due.
func TestWhoIsOvertakenWhileHeWaitsListsTheRegionOnce(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.command(events.Command{ID: "now", Instance: web1, Action: "start"})
		w.after(5 * time.Second)
		before := w.calls("list")
		now := time.Now().UTC()
		later := events.Item{ID: "later", Kind: "power", Action: "start", Policy: policies.MarkSource, Region: "lon1", Instance: web1, Planned: now, NotBefore: now.Add(3 * time.Hour), NotAfter: now.Add(4 * time.Hour)}
		if _, err := w.bus.StoreRun(t.Context(), events.Run{Trigger: "later", Region: "lon1", Kind: "tick", Planned: now, StoredAt: now, Items: []events.Item{later}}); err != nil {
			t.Fatal(err)
		}
		w.after(5 * time.Second)
		w.wantOutcomes("start web-1 superseded")
		if n := w.calls("list") - before; n > 2 {
			t.Errorf("the region was listed %d times", n)
		}
	})
}
