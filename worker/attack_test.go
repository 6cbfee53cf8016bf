package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

// What was planned, and what is no longer meant when its turn comes.

func TestWhatASelectorNoLongerChoosesIsLeftAloneWhenItsRunIsApproved(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours)+"limits: { per_run: 1 }\n", func(t *testing.T, w *world) {
		var a worker.RunAnswer
		w.ask("run", worker.RunRequest{ID: "n1", Select: worker.SelectForm{All: []string{"env=dev"}, Status: []string{"ACTIVE"}}, Action: "stop", GiveUpAfter: "2h"}, &a)
		if a.Held == "" {
			t.Fatalf("it is not held: %+v", a)
		}
		w.sim.SetTags(dev1, "env=prod")
		w.after(2 * time.Minute)
		w.ask("approve", worker.ApproveRequest{Run: a.Trigger}, &worker.ApproveAnswer{})
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "SHUTOFF")
		w.wantOutcomes("stop dev-1 skipped changed", "stop dev-2 done", "stop dev-db skipped protected")
	})
}

func TestAStopTakenOutOfACronPolicyIsNotSent(t *testing.T) {
	const nap = `  - name: nap
    select: { all: [env=dev] }
    spread: 30m
    cron: "0 12 * * *"
    do: stop
`
	inBubble(t, "2026-03-04 11:59", with(nap), func(t *testing.T, w *world) {
		w.after(time.Minute + time.Second)
		w.edit(with(strings.Replace(nap, "do: stop", "do: { retag: { add: [noon] } }", 1)))
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "ACTIVE")
		w.wantOutcomes("stop dev-1 skipped changed", "stop dev-2 skipped changed", "stop dev-db skipped protected")
	})
}

func TestAStopOfAWindowThatIsOverIsNotSent(t *testing.T) {
	const lunch = `  - name: lunch
    select: { all: [env=dev] }
    schedule: { running: ["08:00-11:00"], stopped: ["12:00-12:10"] }
`
	inBubble(t, "2026-03-04 11:59", with(lunch), func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.ServerError, Count: -1})
		w.after(15 * time.Minute)
		w.sim.ClearFaults()
		w.after(20 * time.Minute)
		w.wantStatus(dev1, "ACTIVE") // who would start it again?
	})
}

func TestAScheduleThatWantsNothingAnyMoreStopsNobody(t *testing.T) {
	const nights = `  - name: nights
    select: { all: [env=dev] }
    spread: 30m
    schedule: { running: ["08:00-18:00"], stopped: ["20:00-06:00"] }
`
	inBubble(t, "2026-03-04 19:59", with(nights), func(t *testing.T, w *world) {
		w.after(time.Minute + time.Second)
		w.edit(with(strings.Replace(nights, "20:00-06:00", "23:00-06:00", 1)))
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "ACTIVE")
	})
}

func TestAHardRebootTakenOutOfAPolicyIsNotSent(t *testing.T) {
	const down = `  - name: down
    select: { all: [role=web] }
    trigger: { alert: Down }
    do:
      - { reboot: hard, after: 5m }
`
	inBubble(t, "2026-03-04 12:00", with(down), func(t *testing.T, w *world) {
		w.signal(events.Signal{ID: "s1", Instance: web1, Alert: "Down"})
		w.after(time.Minute)
		w.edit(with(strings.Replace(down, "reboot: hard", "reboot: soft", 1)))
		w.after(10 * time.Minute)
		if n := w.calls("hard_reboot"); n != 0 {
			t.Errorf("%d hard reboots were sent", n)
		}
		w.wantOutcomes("reboot web-1 skipped changed")
	})
}

func TestAMarkThatIsTakenAwayStopsNobody(t *testing.T) {
	inBubble(t, "2026-03-04 11:50", asking(with(devHours)), func(t *testing.T, w *world) {
		w.sim.SetTags(web1, "role=web", "nightshift.mark=stop@2026-03-04T12:00")
		w.after(15 * time.Minute)
		var r worker.RunsAnswer
		w.ask("runs", worker.RunsRequest{}, &r)
		w.sim.SetTags(web1, "role=web")
		w.after(2 * time.Minute)
		for _, run := range r.Runs {
			if run.State == "held" {
				w.ask("approve", worker.ApproveRequest{Run: run.Trigger}, &worker.ApproveAnswer{})
			}
		}
		w.after(5 * time.Minute)
		w.wantStatus(web1, "ACTIVE")
		w.wantOutcomes("stop web-1 skipped changed")
	})
}

func TestInModeAskWhatLookedAsWantedIsNotStoppedUnasked(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", asking(with(devHours)), func(t *testing.T, w *world) {
		w.sim.SetStatus(dev1, "SHUTOFF")
		w.after(10*time.Minute + 10*time.Second) // 19:00:10: it was seen stopped, and will be looked at once more
		w.sim.SetStatus(dev1, "ACTIVE")
		w.after(10 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		if n := w.calls("stop"); n != 0 {
			t.Errorf("%d stops were sent, and nobody was asked", n)
		}
	})
}

func TestWhatLookedAsWantedCountsAsSoonAsItDoesNot(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:50", herdHours+"limits: { per_run: 3 }\n", herd(8, "env=dev"), func(t *testing.T, w *world) {
		for i := range 8 {
			w.sim.SetStatus(head(i), "SHUTOFF")
		}
		w.after(10*time.Minute + 10*time.Second)
		for i := range 8 {
			w.sim.SetStatus(head(i), "ACTIVE")
		}
		w.after(10 * time.Minute)
		if n := w.calls("stop"); n > 3 {
			t.Errorf("%d stops were sent, limits.per_run is 3", n)
		}
	})
}

func TestWhatWasPlannedBeforeAPolicyWasRenamedIsDone(t *testing.T) {
	const spread, renamed = devHours + "    spread: 30m\n", "name: office-hours\n    was: dev-hours"
	inBubbleWith(t, "2026-03-04 07:50", with(spread), strings.ReplaceAll(fleet, "ACTIVE", "SHUTOFF"), func(t *testing.T, w *world) {
		w.after(10*time.Minute + time.Second)
		w.edit(with(strings.Replace(spread, "name: dev-hours", renamed, 1)))
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE") // else it would be off until tomorrow
		w.wantStatus(dev2, "ACTIVE")
		w.wantOutcomes("start dev-1 done", "start dev-2 done", "start dev-db skipped protected")
	})
}

func TestAPauseOfARenamedPolicyHoldsForWhatWasPlannedBefore(t *testing.T) {
	const spread, renamed = devHours + "    spread: 30m\n", "name: office-hours\n    was: dev-hours"
	inBubble(t, "2026-03-04 18:50", with(spread), func(t *testing.T, w *world) {
		w.after(10*time.Minute + time.Second)
		w.edit(with(strings.Replace(spread, "name: dev-hours", renamed, 1)))
		w.ask("pause", worker.PauseRequest{Policy: "office-hours"}, &worker.PauseAnswer{})
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "ACTIVE")
		w.wantOutcomes("stop dev-1 skipped paused", "stop dev-2 skipped paused", "stop dev-db skipped protected")
	})
}

func TestAHeldRunOfAPolicyThatWasRenamedCanBeApproved(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", asking(with(devHours)), func(t *testing.T, w *world) {
		w.after(15 * time.Minute)
		w.edit(asking(with(strings.Replace(devHours, "name: dev-hours", "name: office-hours\n    was: dev-hours", 1))))
		w.end()
		w.begin()
		w.after(5 * time.Minute)
		w.ask("approve", worker.ApproveRequest{Run: "dev-hours@19:00"}, &worker.ApproveAnswer{})
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(dev2, "SHUTOFF")
	})
}

func TestWhatWasStoppedByHandBeforeTheEdgeIsStartedAtIt(t *testing.T) {
	inBubble(t, "2026-03-04 07:45", with(devHours+"    respect_stop: 24h\n"), func(t *testing.T, w *world) {
		w.after(10 * time.Minute)
		w.sim.SetStatus(dev1, "SHUTOFF") // 07:55, and it is seen at 08:00, when the start is planned
		w.after(10 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
	})
}
