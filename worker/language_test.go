package worker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/events"
	"nightshift/worker"
)

// with is the office file with something else in place of its policies.
func with(policies string) string {
	before, _, _ := strings.Cut(office, "policies:")
	return before + "protect: { all: [protected] }\nowners: { keys: [keep, hours, schedule, mark] }\nallow: [start, stop, reboot, retag, firewall, resize]\npolicies:\n" + policies
}

const devHours = `  - name: dev-hours
    select: { all: [env=dev] }
    schedule: office
`

func (w *world) ask(endpoint string, in, out any) {
	w.t.Helper()
	if run, ok := in.(worker.RunRequest); ok && endpoint == "run" {
		endpoint = "run.local._." + run.Action
	}
	if err := w.bus.Ask(w.t.Context(), endpoint, in, out); err != nil {
		w.t.Fatal(err)
	}
}

// byHand is what somebody else does, past the daemon.
func (w *world) byHand(do func(ctx context.Context, region, id string) error, id string) {
	w.t.Helper()
	if err := do(w.t.Context(), "LON1", id); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) retag(id string, tags ...string) {
	w.t.Helper()
	if err := w.api.Retag(w.t.Context(), "LON1", id, tags); err != nil {
		w.t.Fatal(err)
	}
}

func TestAKeepUntil22OverAnEdgeAt19StopsAt22(t *testing.T) {
	inBubble(t, "2026-03-04 18:00", with(devHours), func(t *testing.T, w *world) {
		var a worker.KeepAnswer
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "running", For: "4h"}, &a)
		w.after(2 * time.Hour)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "SHUTOFF")
		w.after(2*time.Hour + 5*time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		for _, r := range w.records(events.Done) {
			if r.Hostname == "dev-1" && !r.Planned.Equal(a.Until) {
				t.Errorf("dev-1 was stopped for %s, want the end of the keep, %s", r.Planned, a.Until)
			}
		}
	})
}

func TestAKeepIsRememberedOverARestartAndEndsOnTime(t *testing.T) {
	inBubble(t, "2026-03-04 18:00", with(devHours), func(t *testing.T, w *world) {
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "running", For: "4h"}, ignored())
		w.after(10 * time.Minute)
		w.end()
		time.Sleep(time.Hour) // the 19:00 edge comes while nobody is there
		w.begin()
		w.after(30 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "SHUTOFF")
		w.after(3 * time.Hour)
		w.wantStatus(dev1, "SHUTOFF")
	})
}

// nobody reads the answer.
func ignored() *worker.KeepAnswer { return &worker.KeepAnswer{} }

func TestAKeepOutranksACommandAndItsEndLetsThePolicyDecide(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "stopped", For: "1h"}, ignored())
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF") // the begin of a keep is an edge
		w.command(events.Command{Instance: dev1, Action: "start", ID: "c1"})
		w.after(5 * time.Minute)
		if got := strings.Join(w.outcomes(), "\n"); !strings.Contains(got, "start dev-1 skipped kept") {
			t.Errorf("outcomes %s", got)
		}
		w.wantStatus(dev1, "SHUTOFF")
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", End: true}, ignored())
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestAKeepByTagIsSeenAndEnds(t *testing.T) {
	inBubble(t, "2026-03-04 18:00", with(devHours), func(t *testing.T, w *world) {
		w.after(15 * time.Minute) // the daemon has begun to watch
		w.retag(dev1, "env=dev", "nightshift.keep=running@2026-03-04T21:00")
		w.after(90 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "SHUTOFF")
		w.after(2 * time.Hour)
		w.wantStatus(dev1, "SHUTOFF")
	})
}

// (The second reading was taken for the first sight of the tag: what it asks for
// began then, for another time where it had been planned before.)
func TestAKeepByTagThatIsThereAtTheFirstReadingBeginsWithIt(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.end()
		w.retag(dev2, "env=dev", "nightshift.keep=running@2026-03-04T21:00")
		w.begin() // which reads the regions, since tags count
		synctest.Wait()
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "running", For: "4h"}, ignored())
		first := time.Now()
		w.after(30 * time.Minute)
		var begun []string
		for _, r := range w.records(events.Skipped) {
			if r.Hostname == "dev-2" {
				begun = append(begun, r.Planned.Sub(first).String())
				if r.Planned.Sub(first) > 2*time.Second {
					t.Errorf("the keep of dev-2 began %s after the first reading", r.Planned.Sub(first))
				}
			}
		}
		if len(begun) > 1 {
			t.Errorf("the keep of dev-2 began more than once: %s", begun)
		}
	})
}

func TestHoursInATagAreFollowed(t *testing.T) {
	inBubble(t, "2026-03-04 16:00", with(`  - name: own-hours
    select: { all: ["nightshift.hours=*"] }
    schedule: { from_tag: nightshift.hours }
  - name: named
    select: { all: ["nightshift.schedule=*"] }
    schedule: { from_tag: nightshift.schedule }
`), func(t *testing.T, w *world) {
		w.retag(dev1, "nightshift.hours=Mon-Fri_08:00-17:00_Europe/London")
		w.retag(dev2, "nightshift.schedule=office")
		w.retag(web1, "nightshift.hours=whenever")
		w.after(90 * time.Minute) // 17:30
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(dev2, "ACTIVE")
		w.after(2 * time.Hour) // 19:30
		w.wantStatus(dev2, "SHUTOFF")
		found := false
		for _, r := range w.records(events.Noticed) {
			found = found || r.Hostname == "web-1" && strings.Contains(r.Detail, "nightshift.hours=whenever")
		}
		if !found {
			t.Error("a tag that cannot be read is not reported")
		}
	})
}

func TestATagInTheGrammarOfAnotherToolIsFollowed(t *testing.T) {
	inBubble(t, "2026-03-04 16:30", with(`  - name: moved
    select: { all: ["maid_offhours=*"] }
    schedule: { from_tag: maid_offhours, grammar: c7n-offhours, settings: { default_tz: bst } }
`), func(t *testing.T, w *world) {
		w.retag(dev1, "maid_offhours=off=u28m-fu2c17u29")
		w.retag(dev2, "maid_offhours=on")
		w.after(time.Hour) // 17:30
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(dev2, "ACTIVE")
		w.after(2 * time.Hour) // 19:30: Custodian's own default
		w.wantStatus(dev2, "SHUTOFF")
	})
}

func TestWhatSomebodyStartsAtNightIsStoppedAgain(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours+"    stop_again_after: 3h\n"), func(t *testing.T, w *world) {
		w.after(time.Hour) // 19:30: both are off
		w.wantStatus(dev1, "SHUTOFF")
		w.byHand(w.api.Start, dev1)
		w.after(2 * time.Hour)
		w.wantStatus(dev1, "ACTIVE") // a hand lasts
		w.after(90 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		if n := len(w.records(events.Noticed)); n == 0 {
			t.Error("nobody noticed the hand")
		}
	})
}

func TestWhatSomebodyStoppedByDayStaysSoTheNextMorning(t *testing.T) {
	inBubble(t, "2026-03-04 15:00", with(devHours), func(t *testing.T, w *world) {
		w.after(30 * time.Minute)
		w.byHand(w.api.Stop, dev1)
		w.after(17 * time.Hour) // Thursday 08:30
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(dev2, "ACTIVE")
		w.wantOutcomes("stop dev-db skipped protected", "stop dev-1 skipped already", "stop dev-2 done", "start dev-1 skipped hand", "start dev-2 done", "start dev-db skipped protected")
		w.after(24 * time.Hour) // Friday 08:30
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestDriftIsReportedAndMendedWhereItIsEnforced(t *testing.T) {
	for mode, want := range map[string]string{"false": "ACTIVE", "true": "ACTIVE", "strict": "SHUTOFF"} {
		t.Run(mode, func(t *testing.T) {
			inBubble(t, "2026-03-04 18:30", with(devHours+"    enforce: "+mode+"\n"), func(t *testing.T, w *world) {
				w.after(time.Hour)
				w.byHand(w.api.Start, dev1)
				w.after(30 * time.Minute)
				w.wantStatus(dev1, want)
				reported := 0
				for _, r := range w.records(events.Noticed) {
					if r.Hostname == "dev-1" && r.Trigger == "drift" {
						reported++
					}
				}
				if mode != "strict" && reported != 1 {
					t.Errorf("drift was reported %d times, want once", reported)
				}
			})
		})
	}
}

func TestAnAlertThatFiresForAWhileRebootsSoftThenHard(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(`  - name: web-down
    select: { all: [role=web] }
    trigger: { alert: InstanceDown, for: 5m, matchers: ['severity=~"critical|page"'] }
    do:
      - reboot: soft
      - { reboot: hard, after: 10m, if: still-firing }
`), func(t *testing.T, w *world) {
		w.signal(events.Signal{Instance: web1, Alert: "InstanceDown", Labels: map[string]string{"severity": "info"}, Fingerprint: "f0", StartsAt: time.Now()})
		w.signal(events.Signal{Instance: web1, Alert: "InstanceDown", Labels: map[string]string{"severity": "page"}, Fingerprint: "f1", StartsAt: time.Now().Add(-time.Minute)})
		w.after(3 * time.Minute)
		if n := w.calls("soft_reboot"); n != 0 {
			t.Errorf("rebooted after 4 minutes of firing, want 5")
		}
		w.after(2 * time.Minute)
		if n := w.calls("soft_reboot"); n != 1 {
			t.Errorf("%d soft reboots after 6 minutes of firing", n)
		}
		w.after(8 * time.Minute)
		if n := w.calls("hard_reboot"); n != 0 {
			t.Error("the second step came too early")
		}
		w.after(10 * time.Minute)
		if n := w.calls("hard_reboot"); n != 1 {
			t.Errorf("%d hard reboots", n)
		}
	})
}

func TestAnAlertThatEndsInTimeRebootsNothing(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(`  - name: web-down
    select: { all: [role=web] }
    trigger: { alert: InstanceDown, for: 5m }
    do: { reboot: soft }
`), func(t *testing.T, w *world) {
		s := events.Signal{Instance: web1, Alert: "InstanceDown", Fingerprint: "f1", StartsAt: time.Now()}
		w.signal(s)
		w.after(3 * time.Minute)
		s.Status = "resolved"
		w.signal(s)
		w.after(10 * time.Minute)
		w.wantOutcomes("reboot web-1 skipped resolved", "plan  skipped no match")
		if n := w.calls("soft_reboot"); n != 0 {
			t.Errorf("%d reboots", n)
		}
	})
}

func TestALoadMustBeHighForAWhileAndDipsDoNotCount(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(`  - name: api-grows
    select: { all: [role=api] }
    trigger: { load: cpu, above: 85, clear_below: 60, for: 10m }
    do: { resize: [g3.small, g3.medium, g3.large] }
    cooldown: 24h
`), func(t *testing.T, w *world) {
		send := func(v float64) {
			w.signal(events.Signal{Instance: api1, Load: "cpu", Value: &v, Time: time.Now()})
			w.after(2 * time.Minute)
		}
		for _, v := range []float64{90, 95, 50, 90, 70, 90} { // 50 clears it; 70 does not
			send(v)
		}
		if n := w.calls("resize"); n != 0 {
			t.Errorf("resized after 4 minutes above")
		}
		for range 3 {
			send(90)
		}
		w.after(10 * time.Minute)
		if n := w.calls("resize"); n != 1 {
			t.Errorf("%d resizes, want 1", n)
		}
	})
}

func TestFortyAlertsAtOnceAreTheNetwork(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(`  - name: down
    select: { all: ["*"] }
    trigger: { alert: InstanceDown }
    do: { reboot: soft }
`), func(t *testing.T, w *world) {
		for i, id := range []string{dev1, dev2, web1, api1} {
			w.signal(events.Signal{Instance: id, Alert: "InstanceDown", Fingerprint: string(rune('a' + i)), StartsAt: time.Now()})
		}
		w.after(20 * time.Minute)
		if n := w.calls("soft_reboot"); n != 2 {
			t.Errorf("%d reboots, want the 2 of at_most", n)
		}
		over := 0
		for _, r := range w.records(events.Skipped) {
			if r.Reason == "over limit" {
				over++
			}
		}
		if over != 2 {
			t.Errorf("%d skipped as over limit, want 2: %v", over, w.outcomes())
		}
	})
}

func TestASignalPicksMachinesAndItsEndStopsWhatItStarted(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(`  - name: ci
    select: { all: [env=dev] }
    trigger: { signal: ci.queued }
    do: start
    pick: { count: signal.value, at_most: 8 }
    lasts: 30m
`), func(t *testing.T, w *world) {
		w.byHand(w.api.Stop, dev1)
		w.byHand(w.api.Stop, dev2)
		w.after(20 * time.Minute)
		queued := func(id string, v float64) {
			if _, err := w.bus.PublishSignal(w.t.Context(), events.Signal{Source: "ci", Region: events.None, Instance: events.None, ID: id, Name: "ci.queued", Value: &v}); err != nil {
				t.Fatal(err)
			}
		}
		queued("1", 1)
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "SHUTOFF")
		w.after(15 * time.Minute)
		queued("2", 1) // prolongs it
		w.after(20 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.after(15 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(dev2, "SHUTOFF")
	})
}

func TestAFlappingAlertIsLeftAloneForLonger(t *testing.T) {
	inBubble(t, "2026-03-04 09:00", with(`  - name: web-down
    select: { all: [role=web] }
    trigger: { alert: InstanceDown }
    do: { reboot: soft }
    cooldown: 30m
`), func(t *testing.T, w *world) {
		for n := range 10 { // it fires anew every 35 minutes
			w.signal(events.Signal{Instance: web1, Alert: "InstanceDown", Fingerprint: "f", StartsAt: time.Now()})
			w.after(35 * time.Minute)
			_ = n
		}
		if n := w.calls("soft_reboot"); n > 5 {
			t.Errorf("%d reboots in 10 firings, want fewer and fewer", n)
		}
		if !strings.Contains(strings.Join(w.outcomes(), "\n"), "reboot web-1 skipped flapping") {
			t.Errorf("nothing was skipped as flapping: %v", w.outcomes())
		}
	})
}

func TestSpreadStopsEachInItsOwnTime(t *testing.T) {
	inBubble(t, "2026-03-04 18:55", with(devHours+"    spread: 30m\n"), func(t *testing.T, w *world) {
		w.after(6 * time.Minute)
		early := w.calls("stop")
		w.after(40 * time.Minute)
		if n := w.calls("stop"); n != 2 || early == 2 {
			t.Errorf("%d stops after a minute, %d in the end", early, n)
		}
	})
}

func TestExplainArguesAboutAnInstance(t *testing.T) {
	inBubble(t, "2026-03-04 20:00", with(devHours+`  - name: release
    select: { all: [env=dev] }
    priority: 5
    cron: "30 19 * * *"
    do: start
    lasts: 3h
`), func(t *testing.T, w *world) {
		var a worker.ExplainAnswer
		w.ask("explain", worker.ExplainRequest{Instance: dev1, Region: "lon1"}, &a)
		if len(a.Wants) != 2 || a.Wants[0].Source != "release" || a.Wants[1].Source != "dev-hours" || a.Wants[1].Loses != "priority 0 is less than 5" {
			t.Errorf("the argument is %+v", a.Wants)
		}
	})
}

func TestARenamedPolicyCarriesItsHistoryOn(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
		w.end()
		time.Sleep(35 * time.Minute) // 19:05: the edge passed while nobody was there
		w.set = w.parse(with(strings.Replace(devHours, "name: dev-hours", "name: office-hours\n    was: dev-hours", 1)))
		w.begin()
		w.after(10 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		synctest.Wait()
	})
}

func TestARenamedPolicyWithoutItsHistoryBeginsAnew(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
		w.end()
		time.Sleep(35 * time.Minute)
		w.set = w.parse(with(strings.Replace(devHours, "name: dev-hours", "name: office-hours", 1)))
		w.begin()
		w.after(10 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestABusyMachineIsNotStoppedUntilItsLoadHasBeenLowForHalfAnHour(t *testing.T) {
	const busy = devHours + `  - name: busy
    select: { all: [env=dev] }
    trigger: { load: cpu, above: 20 }
    do: start
    lasts: 30m
    priority: 1
`
	inBubble(t, "2026-03-04 18:30", with(busy), func(t *testing.T, w *world) {
		for _, load := range []float64{90, 80, 70, 60, 5, 4, 3, 2, 1} { // every ten minutes, the last high one at 19:15
			w.after(10 * time.Minute)
			if load == 90 {
				w.after(5 * time.Minute)
			}
			w.signal(events.Signal{Instance: dev1, Load: "cpu", Value: &load, ID: fmt.Sprintf("load-%g", load)})
			if load == 5 { // 19:25
				w.wantStatus(dev1, "ACTIVE")
				w.wantStatus(dev2, "SHUTOFF")
			}
		}
		w.wantStatus(dev1, "SHUTOFF") // 20:05
		for _, r := range w.records(events.Done) {
			if at := r.Planned.Format("15:04"); r.Hostname == "dev-1" && at != "19:45" {
				t.Errorf("dev-1 was stopped for %s, want 19:45, half an hour after the last high load", at)
			}
		}
	})
}

func TestAPauseHoldsUpAStopAndItsEndMakesUpForIt(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
		w.ask("pause", worker.PauseRequest{All: true, Until: "20:00", Reason: "incident"}, &worker.PauseAnswer{})
		w.after(time.Hour) // 19:30
		w.wantStatus(dev1, "ACTIVE")
		w.wantOutcomes("stop dev-1 skipped paused", "stop dev-2 skipped paused", "stop dev-db skipped paused")
		var s worker.Status
		w.ask("status", struct{}{}, &s)
		if len(s.Paused) != 1 || s.Paused[0].Reason != "incident" {
			t.Errorf("the status says %+v", s.Paused)
		}
		w.end() // a pause is remembered over a restart
		w.begin()
		w.after(20 * time.Minute) // 19:50
		w.command(events.Command{ID: "c1", Instance: dev1, Action: "stop"})
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "ACTIVE") // commands, too
		w.after(10 * time.Minute)    // 20:05
		w.wantStatus(dev1, "SHUTOFF")
		for _, r := range w.records(events.Done) {
			if at := r.Planned.Format("15:04"); at != "20:00" {
				t.Errorf("%s was stopped for %s, want the end of the pause, 20:00", r.Hostname, at)
			}
		}
	})
}

func TestOnePolicyOrOneInstanceIsPausedAndResumed(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
		w.ask("pause", worker.PauseRequest{Instance: dev1, Region: "LON1"}, &worker.PauseAnswer{})
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "SHUTOFF")
		w.ask("resume", worker.PauseRequest{Instance: dev1, Region: "LON1"}, &worker.PauseAnswer{})
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.ask("pause", worker.PauseRequest{Policy: "dev-hours"}, &worker.PauseAnswer{})
		w.after(13 * time.Hour) // Thursday 08:15
		w.wantStatus(dev1, "SHUTOFF")
		w.ask("resume", worker.PauseRequest{Policy: "dev-hours"}, &worker.PauseAnswer{})
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		for want, bad := range map[string]worker.PauseRequest{
			"is not paused":         {Policy: "dev-hours"},
			"there is no policy":    {Policy: "nobody"},
			"name what it is":       {},
			"no instance nobody":    {Instance: "nobody", Region: "LON1"},
			"name what it is about": {All: true, Policy: "dev-hours"},
		} {
			if err := w.bus.Ask(t.Context(), "resume", bad, &worker.PauseAnswer{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("resume %+v: got %v, want %q", bad, err, want)
			}
		}
	})
}
