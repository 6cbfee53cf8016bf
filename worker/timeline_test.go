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
)

func TestAWeekdayEveningStopsDevAndLeavesTheProtectedOne(t *testing.T) {
	inBubble(t, "2026-03-04 18:55", office, func(t *testing.T, w *world) {
		w.after(4 * time.Minute)
		w.wantOutcomes()
		w.after(5 * time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(db, "ACTIVE")
		w.wantStatus(web1, "ACTIVE")
	})
}

func TestTheNextMorningStartsThem(t *testing.T) {
	inBubble(t, "2026-03-04 18:55", office, func(t *testing.T, w *world) {
		w.after(13*time.Hour + 15*time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected",
			"start dev-1 done", "start dev-2 done", "start dev-db skipped protected")
		w.wantStatus(dev1, "ACTIVE")
		if n := w.calls("start"); n != 2 {
			t.Errorf("%d start calls, want 2", n)
		}
	})
}

func TestWhatIsSoAlreadyIsSeenTwiceAndNotCalled(t *testing.T) {
	inBubble(t, "2026-03-04 18:55", office, func(t *testing.T, w *world) {
		w.sim.SetStatus(dev1, "SHUTOFF")
		w.after(10 * time.Minute)
		w.wantOutcomes("stop dev-1 skipped already", "stop dev-2 done", "stop dev-db skipped protected")
		if n := w.calls("stop"); n != 1 {
			t.Errorf("%d stop calls, want 1", n)
		}
	})
}

func TestACommandActsOncePerID(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.command(events.Command{ID: "abc", Instance: web1, Action: "stop"})
		w.command(events.Command{ID: "abc", Instance: web1, Action: "stop"})
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 done")
		if n := w.calls("stop"); n != 1 {
			t.Errorf("%d stop calls, want 1", n)
		}
	})
}

func TestAnAlertRebootsOnceWithinItsCooldown(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		now := time.Now()
		alert := events.Signal{Instance: web1, Alert: "InstanceDown", Fingerprint: "f1", StartsAt: now}
		w.signal(alert)
		w.signal(alert) // an HA pair of Alertmanagers
		w.after(15 * time.Minute)
		w.signal(events.Signal{Instance: web1, Alert: "InstanceDown", Fingerprint: "f1", StartsAt: time.Now()})
		w.after(15 * time.Minute)
		w.wantOutcomes("reboot web-1 done", "reboot web-1 skipped cooldown")
		if n := w.calls("soft_reboot"); n != 1 {
			t.Errorf("%d reboots, want 1", n)
		}
	})
}

func TestAResolvedAlertCancelsWhatHasNotBegun(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "soft_reboot", Kind: civosim.RateLimited, RetryAfter: time.Minute}) // the reboot waits
		alert := events.Signal{Instance: web1, Alert: "InstanceDown", Fingerprint: "f1", StartsAt: time.Now()}
		w.signal(alert)
		w.after(30 * time.Second)
		alert.Status = "resolved"
		w.signal(alert)
		w.after(3 * time.Minute)
		if n := w.calls("soft_reboot"); n != 1 {
			t.Errorf("%d reboot calls, want the one that was turned away", n)
		}
		w.wantOutcomes("reboot web-1 skipped resolved", "plan  skipped no match")
	})
}

func TestALoadEventGrowsOneStep(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		v := 93.0
		w.signal(events.Signal{Instance: api1, Load: "cpu", Value: &v})
		w.after(10 * time.Minute)
		w.wantOutcomes("resize api-1 done")
		for _, i := range w.sim.Instances() {
			if i.ID == api1 && i.Size != "g3.medium" {
				t.Errorf("api-1 is %s, want g3.medium", i.Size)
			}
		}
	})
}

func TestALostAnswerToAStopIsLookedAtAndTheStopIsDone(t *testing.T) {
	for _, kind := range []civosim.FaultKind{civosim.CutBefore, civosim.CutAfter, civosim.ServerError, civosim.RateLimited, civosim.HTML504} {
		t.Run(string(kind), func(t *testing.T) {
			inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
				w.sim.Inject(civosim.Fault{Op: "stop", Kind: kind, Count: 3, RetryAfter: 2 * time.Second})
				w.command(events.Command{Instance: web1, Action: "stop"})
				w.after(14 * time.Minute)
				w.wantOutcomes("stop web-1 done")
				w.wantStatus(web1, "SHUTOFF")
			})
		})
	}
}

func TestALostAnswerToARebootIsNeverSentAgain(t *testing.T) {
	for _, tt := range []struct {
		kind civosim.FaultKind
		want string
	}{
		{civosim.CutAfter, "reboot web-1 done"},     // it was seen REBOOTING, then ACTIVE
		{civosim.CutBefore, "reboot web-1 unknown"}, // nothing was seen
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
				w.sim.Inject(civosim.Fault{Op: "soft_reboot", Kind: tt.kind, Count: 1})
				w.command(events.Command{Instance: web1, Action: "reboot"})
				w.after(14 * time.Minute)
				w.wantOutcomes(tt.want)
				if n := w.calls("soft_reboot"); n != 1 {
					t.Errorf("%d reboots, want 1", n)
				}
			})
		})
	}
}

func TestAnAcceptedCallThatIsNeverCarriedOutHasFailed(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.AcceptedButNotDone, Count: 1})
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.after(14 * time.Minute)
		w.wantOutcomes("stop web-1 failed")
	})
}

func TestARunSaysWhyWhatFailedHasFailed(t *testing.T) {
	inBubble(t, "2026-03-04 18:58", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Instance: dev1, Kind: civosim.AcceptedButNotDone, Count: 1})
		w.sim.Inject(civosim.Fault{Op: "stop", Instance: dev2, Kind: civosim.Refused, Code: "quota_limit_reached", Count: -1})
		w.after(20 * time.Minute)
		if got := w.theRun("dev-hours@19:00").Counts; got["failed (still ACTIVE)"] != 1 || got["failed (quota)"] != 1 || got["skipped (protected)"] != 1 {
			t.Errorf("the run is summed up as %v", got)
		}
		for _, e := range w.w.Ended() {
			if e.Outcome == "failed" && e.Reason != "quota" && e.Reason != "still ACTIVE" {
				t.Errorf("counted as failed (%s)", e.Reason)
			}
		}
	})
}

func TestAnInstanceThatVanishedIsSkipped(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Remove(web1)
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.after(time.Minute)
		w.wantOutcomes("stop  skipped gone")
	})
}

func TestANewerCommandOvertakesAnOlderOne(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.after(5 * time.Second)
		w.command(events.Command{Instance: web1, Action: "start"})
		w.after(10 * time.Minute)
		w.wantOutcomes("stop web-1 superseded", "start web-1 done")
		w.wantStatus(web1, "ACTIVE")
	})
}

func TestARestartBetweenAcceptedAndOutcomeEndsEachActionOnce(t *testing.T) {
	inBubble(t, "2026-03-04 18:59", office, func(t *testing.T, w *world) {
		w.after(time.Minute + 5*time.Second)
		if n := len(w.records(events.Accepted)); n != 2 {
			t.Fatalf("%d accepted, want 2", n)
		}
		w.end()
		w.begin()
		w.after(5 * time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
		if n := w.calls("stop"); n != 2 {
			t.Errorf("%d stop calls, want 2", n)
		}
	})
}

func TestAStartMissedWhileDownIsMadeUpWithinItsWindow(t *testing.T) {
	inBubble(t, "2026-03-03 20:00", office, func(t *testing.T, w *world) {
		w.sim.SetStatus(dev1, "SHUTOFF")
		w.sim.SetStatus(dev2, "SHUTOFF")
		w.end()
		w.after(14 * time.Hour) // 10:00 the next day
		w.begin()
		w.after(5 * time.Minute)
		w.wantOutcomes("start dev-1 done", "start dev-2 done", "start dev-db skipped protected")
	})
}

func TestAStopMissedByMoreThanAnHourHasOneEventAndTouchesNothing(t *testing.T) {
	inBubble(t, "2026-03-04 18:00", office, func(t *testing.T, w *world) {
		w.end()
		w.after(3 * time.Hour) // 21:00
		w.begin()
		w.after(5 * time.Minute)
		w.wantOutcomes("tick  expired")
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestWhoWasAwayForMoreThanAWeekSaysOfEachEdgeThatItIsTooLate(t *testing.T) {
	file := strings.Replace(office, "policies:\n", "policies:\n  - { name: yearly, select: { all: [env=dev] }, cron: \"0 6 5 3 *\", do: { reboot: soft } }\n", 1)
	inBubble(t, "2026-03-04 18:00", file, func(t *testing.T, w *world) {
		w.end()
		w.after(8*24*time.Hour + 7*time.Hour)
		w.begin()
		w.after(5 * time.Minute)
		w.wantOutcomes("tick  expired", "tick  expired")
		var said []string
		for _, r := range w.records(events.Expired) {
			said = append(said, r.Policy+": "+r.Detail)
		}
		slices.Sort(said)
		if len(said) != 2 || !strings.Contains(said[0], "13 edges planned from 2026-03-04T19:00:00Z") || !strings.Contains(said[1], "2026-03-05T06:00:00Z") {
			t.Errorf("said of what was missed: %q", said)
		}
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestTheFirstStartNeverActsOnEdgesOfBefore(t *testing.T) {
	inBubble(t, "2026-03-04 19:10", office, func(t *testing.T, w *world) {
		w.after(20 * time.Minute)
		w.wantOutcomes()
	})
}

func TestARefusedTokenPutsOffEverythingWithOneLoudEvent(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "*", Kind: civosim.Unauthorized, Count: 1000})
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.command(events.Command{Instance: api1, Action: "stop"})
		w.after(10 * time.Minute)
		loud := 0
		for _, r := range w.records(events.PutOff) {
			if r.Action == "account" {
				loud++
			}
		}
		if loud != 1 {
			t.Errorf("%d loud events, want 1", loud)
		}
		if n := len(w.sim.Requests()); n > 60 {
			t.Errorf("%d requests in ten minutes with a refused token: hammering", n)
		}
	})
}

func TestARegionThatCannotBeListedIsPutOffAlone(t *testing.T) {
	file := strings.Replace(office, "regions: [LON1]", "regions: [LON1, NYC1]", 1)
	inBubble(t, "2026-03-04 18:59", file, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "list", Region: "NYC1", Kind: civosim.ServerError, Count: 1 << 20})
		w.after(10 * time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
		w.after(time.Hour)
		got := w.outcomes()
		if last := got[len(got)-1]; last != "plan  skipped no match" || len(got) != 4 {
			t.Errorf("outcomes after an hour: %v, want one event that gives the region up", got)
		}
	})
}

func TestAnHourlyLimitHoldsBackButLosesNothing(t *testing.T) {
	file := office + "limits: { per_hour: 1 }\n"
	inBubble(t, "2026-03-04 12:00", file, func(t *testing.T, w *world) {
		w.command(events.Command{Instance: web1, Action: "stop", GiveUpAfter: "3h"})
		w.after(time.Minute)
		w.command(events.Command{Instance: api1, Action: "stop", GiveUpAfter: "3h"})
		w.after(10 * time.Minute)
		w.wantOutcomes("stop web-1 done")
		w.after(time.Hour)
		w.wantOutcomes("stop web-1 done", "stop api-1 done")
	})
}

func TestObserveModePlansAndTouchesNothing(t *testing.T) {
	inBubble(t, "2026-03-04 18:59", "mode: observe\n"+office, func(t *testing.T, w *world) {
		w.after(10 * time.Minute)
		w.wantOutcomes("stop dev-1 planned", "stop dev-2 planned", "stop dev-db skipped protected")
		if n := w.calls("stop"); n != 0 {
			t.Errorf("%d stop calls in observe mode", n)
		}
	})
}

func TestAQuarantineByAlertRetagsAndSetsTheFirewallWhateverTheState(t *testing.T) {
	inBubble(t, "2026-03-04 21:00", office, func(t *testing.T, w *world) {
		fw := w.firewall("restrictive-firewall")
		w.end()
		w.set = w.parse(strings.Replace(office, "policies:", `policies:
  - name: quarantine
    select: { all: ["*"] }
    trigger: { alert: Intrusion }
    do: [ { firewall: `+fw+` }, { retag: { add: [quarantined], remove: [env=dev] } } ]`, 1))
		w.sim.SetStatus(dev1, "SHUTOFF")
		w.begin()
		w.after(time.Second)
		w.signal(events.Signal{Instance: dev1, Alert: "Intrusion"})
		w.after(5 * time.Minute)
		w.wantOutcomes("firewall dev-1 done", "retag dev-1 done")
		for _, i := range w.sim.Instances() {
			if i.ID == dev1 && (i.FirewallID != fw || strings.Join(i.Tags, " ") != "quarantined") {
				t.Errorf("dev-1 has firewall %s and tags %v", i.FirewallID, i.Tags)
			}
		}
	})
}

func TestARebootUnderWayAtAStopIsNotSentAgainAtTheNextStart(t *testing.T) {
	for _, tt := range []struct {
		kind civosim.FaultKind
		want string
	}{
		{civosim.Slow, "reboot web-1 unknown"}, // it was carried out, but came back while nobody looked
		{civosim.CutBefore, "reboot web-1 unknown"},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
				w.sim.Inject(civosim.Fault{Op: "soft_reboot", Kind: tt.kind, Delay: time.Hour})
				w.command(events.Command{Instance: web1, Action: "reboot"})
				w.after(5 * time.Second)
				w.end() // the grace period passes, the call is cut
				w.after(time.Minute)
				w.begin()
				w.after(10 * time.Minute)
				w.wantOutcomes(tt.want)
				if n := w.calls("soft_reboot"); n != 1 {
					t.Errorf("%d reboots, want 1", n)
				}
			})
		})
	}
}

// A crash between two ticks of one instant: the first was stored, the second is
// published after the restart. Both edges must be planned.
func TestTicksKeptBackByACrashAreNotLost(t *testing.T) {
	file := office + `
`
	file = strings.Replace(file, "policies:", `policies:
  - name: web-off
    select: { all: [role=web] }
    cron: "0 19 * * *"
    do: stop`, 1)
	for _, late := range []time.Duration{2 * time.Second, 10 * time.Minute} {
		t.Run(late.String(), func(t *testing.T) {
			inBubble(t, "2026-03-04 18:59", file, func(t *testing.T, w *world) {
				w.end()
				planned := time.Now().Add(time.Minute).UTC()
				edges := w.set.Edges(planned.Add(-time.Second), planned)
				if len(edges) != 2 {
					t.Fatalf("%d edges", len(edges))
				}
				w.after(time.Minute)
				e := edges[0]
				if _, err := w.bus.PublishTick(t.Context(), events.Tick{Policy: e.Policy, Planned: e.Planned, Hash: e.Hash, Trigger: fmt.Sprintf("t%d", planned.Unix()), Edges: []string{edges[0].ID(), edges[1].ID()}}); err != nil {
					t.Fatal(err)
				}
				w.after(late) // the process is dead
				w.begin()
				w.after(5 * time.Minute)
				w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected", "stop web-1 done")
			})
		})
	}
}

func TestGarbageOnTheLedgerHarmsNobody(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		action := policies.ActionID(events.CommandTrigger("local", "x"), 0, web1, policies.KindPower)
		for _, subject := range []string{"nightshift.v1.evt.lon1." + web1 + ".stop.started." + action, "nightshift.v1.evt.lon1." + web1 + ".reboot.started.other"} {
			if err := w.bus.Conn().Publish(subject, []byte("garbage")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.bus.State().Put(t.Context(), "policy.dev-hours", []byte("garbage")); err != nil {
			t.Fatal(err)
		}
		w.command(events.Command{ID: "x", Instance: web1, Action: "stop"})
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 done")
		w.end()
		w.begin()
		w.after(8 * time.Hour)
		w.wantOutcomes("stop web-1 done", "stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
	})
}

func TestWhatCannotBeginInTimeIsExpiredAndWhatIsRefusedToTheEndHasFailed(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.SetStatus(web1, "MIGRATING") // for hours
		w.sim.Inject(civosim.Fault{Op: "stop", Instance: api1, Kind: civosim.ServerError, Count: -1})
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.command(events.Command{Instance: api1, Action: "stop"})
		w.after(14 * time.Minute)
		w.wantOutcomes()
		w.after(3 * time.Minute)
		w.wantOutcomes("stop web-1 expired", "stop api-1 failed")
		n := w.calls("stop")
		w.sim.SetStatus(web1, "ACTIVE")
		w.sim.ClearFaults()
		w.after(time.Hour)
		if w.calls("stop") != n {
			t.Error("a stop was sent after its give-up time")
		}
	})
}

func TestOneReadingIsNotEnoughForAlready(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.SetStatus(web1, "SHUTOFF")
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.after(10 * time.Second)
		w.wantOutcomes()
		w.sim.SetStatus(web1, "ACTIVE") // it was only on its way
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 done")
		w.wantStatus(web1, "SHUTOFF")
	})
}

func TestOneCallIsUnderWayPerInstance(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "soft_reboot", Kind: civosim.Slow, Delay: 20 * time.Second})
		w.command(events.Command{Instance: web1, Action: "reboot"})
		w.after(time.Second)
		w.command(events.Command{Instance: web1, Action: "retag", Add: []string{"a"}})
		w.after(5 * time.Minute)
		w.wantOutcomes("reboot web-1 done", "retag web-1 done")
		var reboot, retag time.Time
		for _, r := range w.sim.Requests() {
			switch r.Op {
			case "soft_reboot":
				reboot = r.Time
			case "retag":
				retag = r.Time
			}
		}
		if retag.Sub(reboot) < 20*time.Second {
			t.Errorf("the second call began %s after the first, which took 20s", retag.Sub(reboot))
		}
	})
}

func TestATickThatComesTooLateForItsPlanMakesOneOfItsOwn(t *testing.T) {
	file := strings.Replace(office, "policies:", `policies:
  - name: web-off
    select: { all: [role=web] }
    cron: "0 19 * * *"
    do: stop`, 1)
	inBubble(t, "2026-03-04 19:02", file, func(t *testing.T, w *world) {
		planned := time.Now().Add(-2 * time.Minute).UTC()
		edges := w.set.Edges(planned.Add(-time.Second), planned)
		if len(edges) != 2 {
			t.Fatalf("%d edges", len(edges))
		}
		for _, e := range edges {
			if _, err := w.bus.PublishTick(t.Context(), events.Tick{Policy: e.Policy, Planned: e.Planned, Hash: e.Hash, Trigger: fmt.Sprintf("t%d", planned.Unix()), Edges: []string{edges[0].ID(), edges[1].ID()}}); err != nil {
				t.Fatal(err)
			}
			w.after(2 * time.Minute) // the first is planned without the second
		}
		w.after(5 * time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected", "stop web-1 done")
	})
}

func TestAnInstanceThatVanishesBetweenPlanAndCallIsSkipped(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.SetStatus(web1, "MIGRATING")
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.after(10 * time.Second)
		w.sim.Remove(web1)
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 skipped gone")
	})
}

func TestAnInstanceThatIsProtectedAfterThePlanIsNotTouched(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.SetStatus(web1, "MIGRATING")
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.after(10 * time.Second)
		w.sim.SetTags(web1, "role=web", "protected")
		w.sim.SetStatus(web1, "ACTIVE")
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 skipped protected")
		w.wantStatus(web1, "ACTIVE")
	})
}

func TestANoThatWillStayANoFailsAtOnce(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.command(events.Command{Instance: web1, Action: "resize", Size: "g3.nonsense"})
		w.sim.Inject(civosim.Fault{Op: "resize", Instance: api1, Kind: civosim.Refused, Code: "quota_limit_reached", Reason: "8 CPU cores"})
		w.command(events.Command{Instance: api1, Action: "resize", Size: "g3.large"})
		w.after(10 * time.Second)
		w.wantOutcomes("resize web-1 failed", "resize api-1 failed")
		if n := w.calls("resize"); n != 2 {
			t.Errorf("%d calls, want one each", n)
		}
		for _, r := range w.records(events.Failed) {
			if r.Hostname == "api-1" && !strings.Contains(r.Error, "8 CPU cores") {
				t.Errorf("the outcome does not say why: %+v", r)
			}
		}
	})
}

func TestARetagKeepsWhatSomebodyElseChangedMomentsAgo(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.command(events.Command{Instance: api1, Action: "start"}) // the region is read
		w.after(time.Minute)
		w.sim.SetTags(web1, "role=web", "owner=ann")
		w.after(5 * time.Second)
		w.command(events.Command{Instance: web1, Action: "retag", Add: []string{"keep-on"}})
		w.after(time.Minute)
		w.wantOutcomes("start api-1 skipped already", "retag web-1 done")
		for _, i := range w.sim.Instances() {
			if i.ID == web1 && strings.Join(i.Tags, " ") != "keep-on owner=ann role=web" {
				t.Errorf("tags %v", i.Tags)
			}
		}
	})
}
