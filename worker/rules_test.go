package worker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"nightshift/events"
	"nightshift/worker"
)

// edit puts another policy file in force while the daemon runs.
func (w *world) edit(file string) {
	w.t.Helper()
	w.set = w.parse(file)
	w.w.Replace(w.t.Context(), w.set, "edited")
}

func officeUntil(end string) string {
	return strings.Replace(with(devHours), "08:00-19:00", "08:00-"+end, 1)
}

// notices are what was said about the policy file.
func (w *world) notices() (said []string) {
	for _, r := range w.records(events.Noticed) {
		if r.Action == "policies" {
			said = append(said, r.Reason+": "+r.Detail)
		}
	}
	return said
}

func TestAnEditTakesEffectAtItsNextEdgeAndNeverOnTheSpot(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
		w.after(time.Hour) // 19:30: stopped at 19:00
		w.wantStatus(dev1, "SHUTOFF")
		w.edit(officeUntil("20:00")) // running is wanted now, but its edge lies behind
		w.after(20 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
		if said := w.notices(); len(said) != 1 || !strings.Contains(said[0], "dev-hours is changed, next edge Wed 2026-03-04 20:00 GMT (stopped)") {
			t.Errorf("it was said: %q", said)
		}
		w.after(12*time.Hour + 20*time.Minute) // Thursday 08:10
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestAWindowEditedBeforeItsEdgeMovesIt(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
		w.edit(officeUntil("18:45"))
		w.after(20 * time.Minute) // 18:50
		w.wantStatus(dev1, "SHUTOFF")
	})
}

func TestAPolicyRenamedFiveMinutesAfterItsEdgeDoesNothingTwice(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
		w.after(35 * time.Minute)
		w.edit(with(strings.Replace(devHours, "name: dev-hours", "name: office-hours\n    was: dev-hours", 1)))
		w.after(time.Hour)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
		w.after(13 * time.Hour)
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestAPolicyTakenOutOverItsEdgeAndPutBackActsOnNothing(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours), func(t *testing.T, w *world) {
		w.after(time.Minute)
		w.edit(with("  - name: other\n    select: { all: [none-has-it] }\n    schedule: office\n"))
		w.after(15 * time.Minute) // 19:06
		w.edit(with(devHours))
		w.after(30 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
	})
}

func TestWhatIsPlannedAndNoLongerWantedAfterAnEditIsNotDone(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours+"    spread: 30m\n"), func(t *testing.T, w *world) {
		w.after(10*time.Minute + time.Second) // planned, not yet due
		w.edit(strings.Replace(officeUntil("22:00"), devHours, devHours+"    spread: 30m\n", 1))
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "ACTIVE")
		w.wantOutcomes("stop dev-1 skipped changed", "stop dev-2 skipped changed", "stop dev-db skipped protected")
	})
}

func TestProtectionWrittenAfterThePlanHolds(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours+"    spread: 30m\n"), func(t *testing.T, w *world) {
		w.after(10*time.Minute + time.Second)
		w.edit(strings.Replace(with(devHours+"    spread: 30m\n"), "protect: { all: [protected] }\nowners", "protect: { any: [protected, env=dev] }\nowners", 1))
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.wantOutcomes("stop dev-1 skipped protected", "stop dev-2 skipped protected", "stop dev-db skipped protected")
	})
}

func TestARegionThatIsAddedIsLookedAfter(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", strings.Replace(with(devHours), "[LON1]", "[LON1, NYC1]", 1), func(t *testing.T, w *world) {
		var s worker.Status
		w.edit(with(devHours))
		w.ask("status", struct{}{}, &s)
		if len(s.Regions) != 1 {
			t.Errorf("regions are %v, want LON1 alone", s.Regions)
		}
		w.edit(strings.Replace(with(devHours), "[LON1]", "[LON1, NYC1]", 1))
		w.after(20 * time.Minute)
		w.ask("status", struct{}{}, &s)
		if len(s.Regions) != 2 || s.Regions[1].ReadAt.IsZero() {
			t.Errorf("regions are %+v, want NYC1 read", s.Regions)
		}
	})
}

func TestARegionTakenOutAndPutBackIsSeenAnew(t *testing.T) {
	both := strings.Replace(with(devHours), "[LON1]", "[LON1, NYC1]", 1)
	far := fleet + "  - { id: 55555555-0000-4000-8000-000000000001, hostname: far-1, region: NYC1, size: g3.small, tags: [role=far], status: ACTIVE }\n"
	inBubbleWith(t, "2026-03-04 12:00", both, far, func(t *testing.T, w *world) {
		w.after(15 * time.Minute) // read
		w.edit(with(devHours))
		w.sim.SetStatus("55555555-0000-4000-8000-000000000001", "SHUTOFF") // nobody watches
		w.after(time.Hour)
		w.edit(both)
		w.after(15 * time.Minute)
		for _, r := range w.records(events.Noticed) {
			if r.Reason == "hand" {
				t.Errorf("a change that nobody watched is somebody's hand: %+v", r)
			}
		}
	})
}

func TestARegionThatTheAccountDoesNotHaveIsNamedAtTheStartAndAfterAnEdit(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.edit(strings.Replace(with(devHours), "[LON1]", "[LON1, LON9]", 1))
		w.after(time.Minute)
		var s worker.Status
		w.ask("status", struct{}{}, &s)
		if len(s.Regions) != 2 || !s.Regions[1].Unknown || s.Regions[0].Unknown {
			t.Errorf("the status says %+v", s.Regions)
		}
		if said := strings.Join(w.notices(), "\n"); strings.Count(said, "region LON9 is unknown to Civo") != 1 {
			t.Errorf("it was said: %s", said)
		}
		w.end()
		w.begin()
		w.after(time.Minute)
		if said := strings.Join(w.notices(), "\n"); strings.Count(said, "region LON9 is unknown to Civo") != 2 {
			t.Errorf("at the start it was said: %s", said)
		}
	})
}

func TestAFileThatCannotBeUsedChangesNothingAndIsReported(t *testing.T) {
	inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
		w.w.Refuse(t.Context(), errors.New("nightshift.yaml:9:7: unknown key"))
		var s worker.Status
		w.ask("status", struct{}{}, &s)
		if !strings.Contains(s.PolicyFault, "nightshift.yaml:9:7") || !s.Ready {
			t.Errorf("the status says %q, ready %v", s.PolicyFault, s.Ready)
		}
		w.after(0) // the watcher of the events has been told
		if said := w.notices(); len(said) != 1 || !strings.HasPrefix(said[0], "invalid: ") || !strings.Contains(said[0], "nightshift.yaml:9:7") {
			t.Errorf("it was said: %q", said)
		}
		w.after(40 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.edit(with(devHours))
		var after worker.Status
		w.ask("status", struct{}{}, &after)
		if after.PolicyFault != "" || after.Revision != "edited" {
			t.Errorf("after the mend the status says %q, revision %s", after.PolicyFault, after.Revision)
		}
	})
}
