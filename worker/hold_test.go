package worker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
		if r := w.theRun(a.Asked[0]); r.Counts["failed (invalid)"] != 1 || r.Items[0].ActionID != policies.ActionID(a.Asked[0], 0, web1, policies.KindFirewall) {
			t.Errorf("the retry is %+v", r)
		}
	})
}

func TestACommandIsStoredAndAnswered(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		var a worker.DoAnswer
		w.ask("do.ann.lon1."+web1+".stop", events.Command{ID: "42", Reason: "patching"}, &a)
		if a.Trigger != "ann-42" || a.Hostname != "web-1" || a.ActionID != policies.ActionID("ann-42", 0, web1, policies.KindPower) {
			t.Errorf("the answer is %+v", a)
		}
		w.ask("do.ann.lon1."+web1+".stop", events.Command{ID: "42"}, &a) // the same id acts once
		w.after(2 * time.Minute)
		w.wantOutcomes("stop web-1 done")
		for _, r := range w.records(events.Done) {
			if r.Who != "ann" || r.ActionID != a.ActionID {
				t.Errorf("the outcome is of %s, action %s", r.Who, r.ActionID)
			}
		}
		for _, tt := range []struct {
			name, body, want string
			code             int
		}{
			{"do.ann.lon1." + db + ".stop", "", "protected", 409},
			{"do.ann.lon1.nobody.stop", "", "no instance nobody is in LON1", 404},
			{"do.ann.nyc1." + dev1 + ".stop", "", "region NYC1 is not one of", 404},
			{"do.Ann.lon1." + dev1 + ".stop", "", `who "Ann" cannot stand in a subject: use a-z`, 400},
			{"do.ann.lon1." + dev1 + ".explode", "", "none of start, stop", 400},
			{"do.ann.lon1." + dev1 + ".resize", "", "resize needs a size", 400},
			{"do.ann.lon1." + dev1 + ".stop", `{"raeson": "x"}`, "raeson", 400},
			{"run.ann._.stop", `{"action": "stop", "select": {}}`, "a selector needs at least one key", 400},
			{"run.ann._.stop", `{"action": "stop", "select": {"all": ["nobody-has-it"]}}`, "no instance is selected", 404},
			{"run.ann._.stop", `{"action": "stop", "select": {"when": "cpus > 1"}}`, "select.when", 400},
			{"explain", `{}`, "name an instance", 400},
			{"explain", `["a list"]`, "cannot be read", 400},
			{"keep", `{"instance": "` + dev1 + `", "region": "lon1", "state": "on"}`, "none of running", 400},
			{"runs", `{"run": "dev-hours@yesterday"}`, "no run", 400},
			{"plan", `{"policy": "nobody"}`, `there is no policy "nobody"`, 404},
		} {
			var body any
			if tt.body != "" {
				body = json.RawMessage(tt.body)
			}
			err := w.bus.Ask(t.Context(), tt.name, body, &struct{}{})
			var no *events.Refusal
			if !errors.As(err, &no) || no.Code != tt.code || !strings.Contains(no.Msg, tt.want) {
				t.Errorf("%s %s: got %v, want %d and %q", tt.name, tt.body, err, tt.code, tt.want)
			}
		}
	})
}

func TestACommandForASelectorIsOneRun(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours)+"limits: { per_run: 2 }\n", func(t *testing.T, w *world) {
		var a worker.RunAnswer
		w.ask("run", worker.RunRequest{ID: "n1", Select: worker.SelectForm{All: []string{"env=dev"}}, Action: "stop", Who: "ann", Reason: "quiet"}, &a)
		if len(a.Actions) != 2 || len(a.Skips) != 1 || a.Skips[0].Reason != "protected" || a.Held != "" {
			t.Errorf("the plan is %+v", a)
		}
		w.after(2 * time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
		w.ask("run", worker.RunRequest{Select: worker.SelectForm{All: []string{"*"}}, Action: "reboot"}, &a)
		if a.Held != "" { // two of the five are off by now, one is protected
			t.Errorf("it is held: %s", a.Held)
		}
		w.after(2 * time.Minute)
		w.ask("run", worker.RunRequest{Select: worker.SelectForm{All: []string{"*"}}, Action: "retag", Add: []string{"seen"}}, &a)
		if !strings.Contains(a.Held, "4 actions are more than limits.per_run (2)") {
			t.Errorf("it is held: %q", a.Held)
		}
		w.ask("approve", worker.ApproveRequest{Run: a.Trigger}, &worker.ApproveAnswer{})
		w.after(2 * time.Minute)
		if r := w.theRun(a.Trigger); r.Counts["done"] != 4 {
			t.Errorf("the run is %+v", r)
		}
		var undo worker.ApproveAnswer
		w.ask("undo", worker.ApproveRequest{Run: a.Trigger}, &undo)
		if !strings.Contains(undo.Held, "4 actions are more than limits.per_run (2)") || len(undo.Asked) != 1 {
			t.Fatalf("the undo is %+v", undo)
		}
		w.ask("approve", worker.ApproveRequest{Run: undo.Asked[0]}, &worker.ApproveAnswer{})
		w.after(2 * time.Minute)
		for _, i := range w.sim.Instances() {
			if slices.Contains(i.Tags, "seen") {
				t.Errorf("%s has still the tag", i.Hostname)
			}
		}
	})
}

func TestPlanSaysWhatWouldBeDoneWithWhatIsRemembered(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "running", Until: "22:00"}, ignored())
		var a worker.PlanAnswer
		w.ask("plan", worker.PlanRequest{At: "19:30"}, &a)
		if len(a.Actions) != 1 || a.Actions[0].Hostname != "dev-2" || a.Actions[0].Action != "stop" || len(a.Next) == 0 {
			t.Errorf("the plan is %+v", a)
		}
	})
}

func TestACommandIsDueLater(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.command(events.Command{ID: "c", Instance: web1, Action: "stop", NotBefore: time.Now().Add(3 * time.Hour)})
		w.after(time.Hour)
		w.wantStatus(web1, "ACTIVE")
		w.after(2*time.Hour + 5*time.Minute)
		w.wantStatus(web1, "SHUTOFF")
	})
}

func TestAHeldCommandSaysHowLongItMayBeApproved(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", asking(with(devHours)), func(t *testing.T, w *world) {
		w.command(events.Command{ID: "c", Instance: web1, Action: "stop"})
		w.after(20 * time.Minute)
		err := w.bus.Ask(t.Context(), "approve", worker.ApproveRequest{Run: "local-c"}, &worker.ApproveAnswer{})
		w.after(5 * time.Minute)
		if err == nil && len(w.outcomes()) > 0 && strings.Contains(w.outcomes()[0], "expired") {
			t.Error("approved, and expired all the same")
		}
	})
}

func TestAHeldRunOfAnEnforcedPolicyIsNotOvertakenByDrift(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", asking(with(devHours+"    enforce: true\n")), func(t *testing.T, w *world) {
		w.after(65 * time.Minute)
		if r := w.theRun("dev-hours@2026-03-04T19:00"); r.State != "held" {
			t.Errorf("the run is %s %v; %q", r.State, r.Counts, w.outcomes())
		}
	})
}

func TestAPausedPolicyThatIsRenamedStaysPaused(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
		w.ask("pause", worker.PauseRequest{Policy: "dev-hours"}, &worker.PauseAnswer{})
		w.edit(with(strings.Replace(devHours, "name: dev-hours", "name: office-hours\n    was: dev-hours", 1)))
		w.after(time.Hour)
		w.wantStatus(dev1, "ACTIVE")
		if err := w.bus.Ask(t.Context(), "resume", worker.PauseRequest{Policy: "dev-hours"}, &worker.PauseAnswer{}); err != nil {
			t.Error(err)
		}
	})
}

func TestAnAnswerThatIsTooLargeIsSaidToBe(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		run := events.Run{Kind: "signal", Who: "prometheus", Region: "lon1", Why: strings.Repeat("x", 250<<10)}
		for n := range 5 {
			run.Trigger, run.StoredAt = fmt.Sprintf("s%d", 100000+n), time.Now()
			if _, err := w.bus.StoreRun(t.Context(), run); err != nil {
				t.Fatal(err)
			}
		}
		err := w.bus.Ask(t.Context(), "runs", worker.RunsRequest{}, &worker.RunsAnswer{})
		if err == nil || !strings.Contains(err.Error(), "cannot be sent") {
			t.Errorf("got %v", err)
		}
	})
}

func TestDriftThatWaitsForApprovalAsksOnce(t *testing.T) {
	inBubble(t, "2026-03-04 20:00", asking(with(devHours+"    enforce: strict\n")), func(t *testing.T, w *world) {
		w.after(45 * time.Minute) // four looks; it runs, and nobody approves
		asked := 0
		for _, r := range w.records(events.Noticed) {
			if r.Reason == "held" {
				asked++
			}
		}
		if asked != 1 {
			t.Errorf("it was asked %d times, want once", asked)
		}
		w.wantOutcomes()
	})
}

func TestAThousandRunsThatWaitDoNotKeepACommandFromActing(t *testing.T) {
	const file = `  - name: gather
    select: { all: [seen-often] }
    mode: ask
    trigger: { signal: seen }
    do: { retag: { add: [seen] } }
`
	many := fleet + "  - { hostname: \"many-%d\", count: 1050, region: LON1, size: g3.small, tags: [seen-often] }\n"
	inBubbleWith(t, "2026-03-04 12:00", with(file+devHours), many, func(t *testing.T, w *world) {
		for _, i := range w.sim.Instances() {
			if strings.HasPrefix(i.Hostname, "many-") {
				w.signal(events.Signal{ID: "n-" + i.ID, Instance: i.ID, Name: "seen"})
			}
		}
		w.after(time.Minute)
		w.command(events.Command{ID: "c", Instance: api1, Action: "stop"})
		w.after(2 * time.Minute)
		w.wantStatus(api1, "SHUTOFF")
	})
}

func TestAnApprovalAfterTheEndOfWhatItWasForDoesNothing(t *testing.T) {
	const file = `  - name: nap
    select: { all: [env=dev], none: [protected] }
    mode: ask
    cron: "0 12 * * *"
    do: stop
    lasts: 5m
`
	inBubble(t, "2026-03-04 11:59", with(file), func(t *testing.T, w *world) {
		w.after(8 * time.Minute) // 12:07
		var r worker.RunsAnswer
		w.ask("runs", worker.RunsRequest{}, &r)
		for _, run := range r.Runs {
			if run.State == "held" {
				w.ask("approve", worker.ApproveRequest{Run: run.Trigger}, &worker.ApproveAnswer{})
			}
		}
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		if n := w.calls("stop"); n != 0 {
			t.Errorf("%d stops were sent", n)
		}
	})
}
