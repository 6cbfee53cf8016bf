package worker_test

import (
	"encoding/json"
	"testing"
	"time"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
	"nightshift/worker"
)

// putKeep stores a keep as another replica does, whose message was slow.
func (w *world) putKeep(instance string, k policies.Keep) {
	w.t.Helper()
	body, err := json.Marshal(k)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.bus.State().Put(w.t.Context(), "keep."+instance, body); err != nil {
		w.t.Fatal(err)
	}
}

func TestAKeepThatBecomesKnownWhenTheSchedulerHasPassedItsBeginIsMadeSo(t *testing.T) {
	for _, tt := range []struct {
		name string
		edge time.Duration // before the edge that was fired
	}{{"at a time of its own", time.Second}, {"at the second that was fired", 0}} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
				w.ask("keep", worker.KeepRequest{Instance: dev2, Region: "LON1", State: "running", For: "30m"}, ignored())
				w.after(30*time.Minute + 200*time.Millisecond) // the end of that keep is fired
				fired := time.Now().Truncate(time.Second)
				w.putKeep(dev1, policies.Keep{State: schedule.Stopped, Since: fired.Add(-2 * time.Second), Edge: fired.Add(-tt.edge), Until: fired.Add(time.Hour)})
				w.after(5 * time.Minute)
				w.wantStatus(dev1, "SHUTOFF")
				w.wantStatus(dev2, "ACTIVE")
				w.after(time.Hour) // and its end lets the policy decide
				w.wantStatus(dev1, "ACTIVE")
				w.end()
				w.begin()
				w.after(20 * time.Minute)
				if n := w.calls("stop") + w.calls("start"); n != 2 {
					t.Errorf("%d calls, want one stop and one start: %q", n, w.outcomes())
				}
			})
		})
	}
}

func TestAMarkInATagThatIsReadWhenALaterOneHasActedIsDone(t *testing.T) {
	inBubble(t, "2026-03-04 11:51", with(devHours), func(t *testing.T, w *world) {
		w.retag(dev2, "env=dev", "nightshift.mark=stop@2026-03-04T12:15")
		w.after(22 * time.Minute) // 12:13, read twice
		w.retag(dev1, "env=dev", "nightshift.mark=stop@2026-03-04T12:14")
		w.after(30 * time.Minute) // read at 12:20
		w.wantStatus(dev2, "SHUTOFF")
		w.wantStatus(dev1, "SHUTOFF")
		w.byHand(w.api.Start, dev1)
		w.end()
		w.begin()
		w.after(15 * time.Minute)
		w.wantStatus(dev1, "ACTIVE") // it is done once, over a restart too
	})
}

func TestTheEndOfWhatASignalWantedIsNotPassedOver(t *testing.T) {
	const file = `  - name: ci
    select: { all: [env=dev] }
    trigger: { alert: Queued }
    do: start
    lasts: 30m
`
	inBubble(t, "2026-03-04 20:00", with(file), func(t *testing.T, w *world) {
		w.end()
		w.o.Embedded = false // one of several replicas
		w.begin()
		w.sim.SetStatus(dev1, "SHUTOFF")
		w.sim.SetStatus(dev2, "SHUTOFF")
		w.after(11 * time.Minute)
		w.signal(events.Signal{Instance: dev2, Alert: "Queued", ID: "b", StartsAt: time.Now()})
		w.after(30*time.Minute + time.Second) // its end is fired
		end := time.Now().Add(-2 * time.Second).Truncate(time.Second)
		run := events.Run{Trigger: "prometheus-c", Kind: "signal", Who: "prometheus", Region: "lon1", Planned: end.Add(-30 * time.Minute), StoredAt: time.Now().Add(-28 * time.Minute),
			Items: []events.Item{{ID: "c", Kind: "power", Action: "start", Region: "lon1", Instance: dev1, Policy: "ci", Planned: end.Add(-30 * time.Minute), HoldsUntil: end, NotAfter: time.Now().Add(time.Minute)}}}
		w.sim.SetStatus(dev1, "ACTIVE") // another replica started it, and its plan is late
		rec := events.Record{ActionID: "c", Action: "start", Outcome: events.Done, Trigger: run.Trigger, Policy: "ci", Region: "lon1", Instance: dev1, Planned: run.Planned}
		if _, err := w.bus.PublishOutcome(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if _, err := w.bus.StoreRun(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		w.after(10 * time.Minute)
		w.wantStatus(dev2, "SHUTOFF")
		w.wantStatus(dev1, "SHUTOFF")
	})
}

func TestAPauseThatEndsInASecondThatHasBeenFiredEnds(t *testing.T) {
	inBubble(t, "2026-03-04 18:50", with(devHours), func(t *testing.T, w *world) {
		w.ask("pause", worker.PauseRequest{Instance: web1, Region: "LON1"}, &worker.PauseAnswer{})
		w.ask("pause", worker.PauseRequest{Policy: "dev-hours"}, &worker.PauseAnswer{})
		w.after(20 * time.Minute)
		w.wantStatus(dev1, "ACTIVE")
		w.ask("resume", worker.PauseRequest{Instance: web1, Region: "LON1"}, &worker.PauseAnswer{})
		w.after(1100 * time.Millisecond)
		fired := time.Now().Truncate(time.Second)
		body, err := json.Marshal(policies.Pause{Policy: "dev-hours", Since: fired.Add(-20 * time.Minute), Until: fired}) // resumed by another replica in the same second
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.bus.State().Put(t.Context(), "pause.policy.dev-hours", body); err != nil {
			t.Fatal(err)
		}
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
	})
}
