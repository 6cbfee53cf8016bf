package worker_test

import (
	"testing"
	"time"

	"nightshift/events"
	"nightshift/worker"
)

func (w *world) pauseAndResume() {
	w.t.Helper()
	w.ask("pause", worker.PauseRequest{All: true}, &worker.PauseAnswer{})
	w.after(time.Minute)
	w.ask("resume", worker.PauseRequest{All: true}, &worker.PauseAnswer{})
	w.after(5 * time.Minute)
}

func TestAStaleKeepByTagDoesNotBeginAnewAtARestart(t *testing.T) {
	inBubble(t, "2026-03-03 12:00", with(devHours), func(t *testing.T, w *world) {
		w.after(15 * time.Minute)
		w.retag(dev1, "env=dev", "nightshift.keep=stopped")
		w.after(23 * time.Hour) // Wednesday 11:15; the keep is over since midnight
		w.wantStatus(dev1, "ACTIVE")
		w.end()
		w.begin()
		w.after(30 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestAKeepByTagThatIsPutOnAgainHoldsAgain(t *testing.T) {
	inBubble(t, "2026-03-03 12:00", with(devHours), func(t *testing.T, w *world) {
		w.after(15 * time.Minute)
		w.retag(dev1, "env=dev", "nightshift.keep=running")
		w.after(21 * time.Hour) // Wednesday 09:15
		w.retag(dev1, "env=dev")
		w.after(9 * time.Hour) // 18:15
		w.retag(dev1, "env=dev", "nightshift.keep=running")
		w.after(90 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestACommandThatIsDueLaterWantsNothingBefore(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.command(events.Command{ID: "c", Instance: web1, Action: "stop", NotBefore: time.Now().Add(3 * time.Hour)})
		w.after(time.Minute)
		w.pauseAndResume()
		w.wantStatus(web1, "ACTIVE")
	})
}

func TestAnAlertResolvedBeforeItsTimeWantsNothing(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours+`  - name: quarantine
    select: { all: [role=web] }
    trigger: { alert: Intrusion, for: 10m }
    do: stop
`), func(t *testing.T, w *world) {
		at := time.Now()
		w.signal(events.Signal{Instance: web1, Alert: "Intrusion", Fingerprint: "f", StartsAt: at})
		w.after(2 * time.Minute)
		w.signal(events.Signal{Instance: web1, Alert: "Intrusion", Fingerprint: "f", StartsAt: at, Status: "resolved"})
		w.after(20 * time.Minute)
		w.wantStatus(web1, "ACTIVE")
		w.pauseAndResume()
		w.wantStatus(web1, "ACTIVE")
	})
}

func TestATagOfAnotherToolThatChangesIsFollowed(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(`  - name: moved
    select: { all: ["maid_offhours=*"] }
    schedule: { from_tag: maid_offhours, grammar: c7n-offhours, settings: { default_tz: bst } }
`), func(t *testing.T, w *world) {
		w.retag(dev1, "maid_offhours=off=u28m-fu2c17u29")
		w.after(15 * time.Minute)
		w.retag(dev1, "maid_offhours=off=(m-f,14);on=(m-f,8);tz=bst")
		w.after(2*time.Hour + 15*time.Minute) // 14:30
		w.wantStatus(dev1, "SHUTOFF")
	})
}

func TestAHandEndsACommand(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.command(events.Command{ID: "c", Instance: web1, Action: "stop"})
		w.after(time.Hour)
		w.wantStatus(web1, "SHUTOFF")
		w.byHand(w.api.Start, web1)
		w.after(time.Hour)
		w.wantStatus(web1, "ACTIVE")
		w.pauseAndResume()
		w.wantStatus(web1, "ACTIVE")
	})
}

func TestTheSameIdTwiceWantsWhatIsStored(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.ask("run", worker.RunRequest{ID: "n1", Select: worker.SelectForm{All: []string{"role=web"}}, Action: "start"}, &worker.RunAnswer{})
		w.after(3 * time.Minute)
		w.refused("run.local._.stop", worker.RunRequest{ID: "n1", Select: worker.SelectForm{All: []string{"role=web"}}}, "id n1 of local is used: start web-1")
		w.after(3 * time.Minute)
		w.wantStatus(web1, "ACTIVE")
		w.pauseAndResume()
		w.wantStatus(web1, "ACTIVE")
	})
}

func TestATimeInTheFutureDoesNotHoldALoadHigh(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(`  - name: api-grows
    select: { all: [role=api] }
    trigger: { load: cpu, above: 85, clear_below: 60, for: 5m }
    do: { resize: [g3.small, g3.medium, g3.large] }
    cooldown: 24h
`), func(t *testing.T, w *world) {
		send := func(v float64, at time.Time) {
			w.signal(events.Signal{Instance: api1, Load: "cpu", Value: &v, Time: at})
			w.after(time.Minute)
		}
		send(90, time.Now())
		send(90, time.Now().Add(10*time.Hour))
		for range 10 {
			send(5, time.Now())
		}
		if n := w.calls("resize"); n != 0 {
			t.Errorf("resized %d times at a load of 5", n)
		}
	})
}

func TestAnEdgeSoonAfterARestartIsOnTime(t *testing.T) {
	inBubble(t, "2026-03-04 16:00", with(`  - name: own-hours
    select: { all: ["nightshift.hours=*"] }
    schedule: { from_tag: nightshift.hours }
`), func(t *testing.T, w *world) {
		w.retag(dev1, "nightshift.hours=Mon-Fri_08:00-17:02_Europe/London")
		w.after(61 * time.Minute)
		w.end()
		w.begin()
		w.after(4 * time.Minute) // 17:05
		w.wantStatus(dev1, "SHUTOFF")
	})
}

func TestAWantThatCameToNothingIsForgottenOverARestart(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.ask("pause", worker.PauseRequest{Instance: web1, Region: "LON1"}, &worker.PauseAnswer{})
		w.after(2 * time.Minute)
		w.ask("resume", worker.PauseRequest{Instance: web1, Region: "LON1"}, &worker.PauseAnswer{})
		w.after(2 * time.Minute)
		w.command(events.Command{ID: "c", Instance: web1, Action: "stop", NotBefore: time.Now().Add(20 * time.Minute)})
		w.after(time.Minute)
		w.ask("pause", worker.PauseRequest{Instance: web1, Region: "LON1"}, &worker.PauseAnswer{})
		w.after(30 * time.Minute)
		w.wantOutcomes("stop web-1 skipped paused", "stop web-1 skipped no want")
		w.end()
		w.begin()
		w.after(time.Minute)
		w.ask("resume", worker.PauseRequest{Instance: web1, Region: "LON1"}, &worker.PauseAnswer{})
		w.after(5 * time.Minute)
		w.wantStatus(web1, "ACTIVE")
	})
}

func TestWhatWasStartedAfterAllIsStoppedAtItsEnd(t *testing.T) {
	inBubble(t, "2026-03-04 20:00", with(`  - name: ci
    select: { all: [env=dev] }
    trigger: { alert: Queued }
    do: start
    lasts: 30m
`), func(t *testing.T, w *world) {
		w.ask("plan", worker.PlanRequest{}, &worker.PlanAnswer{}) // read as ACTIVE a moment before it goes off
		w.sim.SetStatus(dev1, "SHUTOFF")
		w.signal(events.Signal{Instance: dev1, Alert: "Queued", ID: "a"})
		w.after(10 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.after(30 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
	})
}
