package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

func asking(file string) string {
	return strings.Replace(file, "version: 1", "version: 1\nmode: ask", 1)
}

func (w *world) theRun(name string) worker.RunInfo {
	w.t.Helper()
	var a worker.RunsAnswer
	w.ask("runs", worker.RunsRequest{Run: name}, &a)
	if len(a.Runs) != 1 {
		w.t.Fatalf("%d runs are called %s", len(a.Runs), name)
	}
	return a.Runs[0]
}

func TestInModeAskARunWaitsForApproval(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", asking(with(devHours)), func(t *testing.T, w *world) {
		w.after(20 * time.Minute) // 19:10
		w.wantStatus(dev1, "ACTIVE")
		w.wantOutcomes("stop dev-db skipped protected") // what is not done needs no approval
		r := w.theRun("dev-hours@2026-03-04T19:00")
		if r.State != "held" || r.Held != "mode is ask" || r.Counts["under way"] != 2 {
			t.Errorf("the run is %+v", r)
		}
		w.end() // it is remembered over a restart
		w.begin()
		w.after(time.Minute)
		w.ask("approve", worker.ApproveRequest{Run: "dev-hours@19:00", Who: "ann"}, &worker.ApproveAnswer{})
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(dev2, "SHUTOFF")
		if r := w.theRun(r.Trigger); r.State != "ended" || r.Counts["done"] != 2 || r.Counts["skipped (protected)"] != 1 {
			t.Errorf("the run is %+v", r)
		}
		if err := w.bus.Ask(t.Context(), "approve", worker.ApproveRequest{Run: r.Trigger}, &worker.ApproveAnswer{}); err == nil || !strings.Contains(err.Error(), "does not wait for approval") {
			t.Errorf("approved twice: %v", err)
		}
	})
}

func TestAHeldStopApprovedTheNextMorningDoesNothing(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", asking(with(devHours)), func(t *testing.T, w *world) {
		w.after(14 * time.Hour) // Thursday 08:50
		if err := w.bus.Ask(t.Context(), "approve", worker.ApproveRequest{Run: "dev-hours@2026-03-04T19:00"}, &worker.ApproveAnswer{}); err == nil {
			t.Error("a stop of yesterday was approved")
		}
		w.wantStatus(dev1, "ACTIVE")
		w.wantOutcomes("stop dev-db skipped protected", "stop dev-1 expired not approved", "stop dev-2 expired not approved",
			"start dev-1 skipped already", "start dev-2 skipped already", "start dev-db skipped protected")
	})
}

func TestAHeldRunExpiresAtANewerDecisionAboutOneOfItsInstances(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", strings.Replace(with(devHours), "office\n", "office\n    mode: ask\n", 1), func(t *testing.T, w *world) {
		w.after(20 * time.Minute)
		w.command(events.Command{ID: "c", Instance: dev1, Action: "stop"})
		w.after(10 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(dev2, "ACTIVE")
		w.wantOutcomes("stop dev-db skipped protected", "stop dev-1 superseded", "stop dev-2 expired not approved", "stop dev-1 done")
	})
}

func TestARunLargerThanMeantIsHeldAndGoesOnWhenApproved(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours)+"limits: { per_run: 1 }\n", func(t *testing.T, w *world) {
		w.after(20 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		r := w.theRun("dev-hours@19:00")
		if r.State != "held" || !strings.Contains(r.Held, "2 actions are more than limits.per_run (1)") {
			t.Errorf("the run is %+v", r)
		}
		var a worker.ApproveAnswer
		w.ask("approve", worker.ApproveRequest{Run: r.Trigger}, &a)
		if a.Actions != 2 {
			t.Errorf("%d actions go on, want 2", a.Actions)
		}
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
	})
}

func TestARunIsUndoneAndWhatFailedIsRetried(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours), func(t *testing.T, w *world) {
		w.after(20 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		var a worker.ApproveAnswer
		w.ask("undo", worker.ApproveRequest{Run: "dev-hours@19:00", Who: "ann"}, &a)
		w.ask("undo", worker.ApproveRequest{Run: "dev-hours@19:00", Who: "ann"}, &a) // twice acts once
		if a.Actions != 2 {
			t.Errorf("%d actions are undone, want 2", a.Actions)
		}
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "ACTIVE")
		if n := w.calls("start"); n != 2 {
			t.Errorf("%d starts were sent, want 2", n)
		}
		if err := w.bus.Ask(t.Context(), "retry", worker.ApproveRequest{Run: "dev-hours@19:00"}, &a); err == nil || !strings.Contains(err.Error(), "nothing of run") {
			t.Errorf("retried what went well: %v", err)
		}
	})
}

func TestAStartThatFailedIsRetried(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.command(events.Command{ID: "c1", Instance: web1, Action: "firewall", Firewall: "00000000-0000-4000-8000-000000000000"})
		w.after(time.Minute)
		w.wantOutcomes("firewall web-1 failed")
		var failed worker.RunsAnswer
		w.ask("runs", worker.RunsRequest{Failed: true}, &failed)
		if len(failed.Runs) != 1 || failed.Runs[0].Trigger != "local-c1" {
			t.Fatalf("failed runs: %+v", failed.Runs)
		}
		var a worker.ApproveAnswer
		w.ask("retry", worker.ApproveRequest{Run: "local-c1"}, &a)
		w.after(time.Minute)
		if r := w.theRun(a.Asked[0]); r.Counts["failed"] != 1 || r.Items[0].ActionID != policies.ActionID(a.Asked[0], 0, web1, policies.KindFirewall) {
			t.Errorf("the retry is %+v", r)
		}
	})
}
