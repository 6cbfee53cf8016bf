package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

func TestWhoNobodyVouchesForIsAClaimInTheAuditTrail(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "stopped", For: "1h", Who: "ann", Reason: "repairs"}, ignored())
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", End: true, Who: "ann"}, ignored())
		w.ask("pause", worker.PauseRequest{Policy: "dev-hours", Who: "ann"}, &worker.PauseAnswer{})
		w.ask("resume", worker.PauseRequest{Policy: "dev-hours", Who: "ann"}, &worker.PauseAnswer{})
		var run worker.RunAnswer
		w.ask("run", worker.RunRequest{Select: worker.SelectForm{All: []string{"role=web"}}, Action: "stop", Who: "ann"}, &run)
		w.after(5 * time.Minute)
		w.ask("undo", worker.ApproveRequest{Run: run.Trigger, Who: "ann"}, &worker.ApproveAnswer{})
		w.ask("do.oncall.lon1."+api1+".stop", events.Command{Claim: "ann"}, &worker.DoAnswer{})
		w.after(5 * time.Minute)
		claims := make(map[string]string) // by what it was
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.all {
			if isOutcome(r.Outcome) || r.Outcome == events.Noticed {
				claims[strings.TrimSpace(r.Action+" "+r.Hostname+" "+r.Reason)] = r.Who + "/" + r.Claim
			}
		}
		for what, want := range map[string]string{
			"keep dev-1 kept": "local/ann", "keep dev-1 ended": "local/ann", "pause  paused": "local/ann", "pause  resumed": "local/ann",
			"stop web-1": "local/ann", "start web-1": "local/ann", "stop api-1": "oncall/ann",
		} {
			if claims[what] != want {
				t.Errorf("%s is of %q, want %q: %v", what, claims[what], want, claims)
			}
		}
	})
}

func TestTheEndOfAPolicysPauseSaysOfThePolicyThatItHasNoSay(t *testing.T) {
	const file = devHours + `  - name: always
    select: { hostname: [dev-1] }
    schedule: { running: ["00:00-24:00"] }
    priority: 5
`
	inBubble(t, "2026-03-04 12:00", with(file), func(t *testing.T, w *world) {
		w.ask("pause", worker.PauseRequest{Policy: "dev-hours", For: "10m"}, &worker.PauseAnswer{})
		w.after(15 * time.Minute)
		found := false
		for _, r := range w.records(events.Skipped) {
			if r.Hostname == "dev-1" {
				found = true
				if r.Policy != "dev-hours" || r.Reason != string(policies.ReasonOutranked) || !strings.Contains(r.Detail, "policy always (priority 5) wants running") {
					t.Errorf("skipped (%s) by %s: %s", r.Reason, r.Policy, r.Detail)
				}
			}
		}
		if !found {
			t.Errorf("nothing is said of dev-1: %q", w.outcomes())
		}
		r := w.theRun("pause@2026-03-04T12:10")
		if r.Name != "pause@2026-03-04T12:10" {
			t.Errorf("the run is called %s", r.Name)
		}
	})
}
