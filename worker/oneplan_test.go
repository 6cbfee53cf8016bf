package worker_test

import (
	"testing"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// A process was killed when it had stored one tick of two, and the next one has
// announced what was left together with a newer edge: seen in worker/crash.
func TestATickOfTwoAnnouncementsIsInOnePlanAndTheOlderIsPlannedFirst(t *testing.T) {
	inBubble(t, "2026-03-04 19:30", with(devHours+`  - name: evening
    select: { all: [role=web] }
    cron: "10 19 * * *"
    do: { reboot: soft }
`), func(t *testing.T, w *world) {
		tick := func(policy string, hour, minute int, trigger string, edges ...string) events.Tick {
			p, ok := w.set.Policy(policy)
			if !ok {
				t.Fatal(policy)
			}
			return events.Tick{Policy: policy, Planned: time.Date(2026, 3, 4, hour, minute, 0, 0, time.UTC), Hash: p.Hash(), Trigger: trigger, Edges: edges}
		}
		id := func(t events.Tick) string { return policies.Edge{Policy: t.Policy, Planned: t.Planned}.ID() }
		hours, evening, late := tick("dev-hours", 19, 0, ""), tick("evening", 19, 10, ""), tick("evening", 19, 20, "")
		hours.Trigger, hours.Edges = "t1772651400", []string{id(hours), id(evening)}
		evening.Trigger, evening.Edges = "t1772652000", []string{id(hours), id(evening), id(late)}
		late.Trigger, late.Edges = evening.Trigger, evening.Edges
		for _, tick := range []events.Tick{late, evening, hours} { // whichever comes first
			if _, err := w.bus.PublishTick(t.Context(), tick); err != nil {
				t.Fatal(err)
			}
		}
		w.after(time.Minute)
		in := make(map[string]string)
		var order []string
		for run, err := range w.bus.Runs(t.Context(), time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			order = append(order, run.Trigger)
			for _, e := range run.Edges {
				if other := in[e]; other != "" {
					t.Errorf("edge %s is in the plans of %s and of %s", e, other, run.Trigger)
				}
				in[e] = run.Trigger
			}
		}
		if len(order) != 2 || order[0] != hours.Trigger || in[id(hours)] != hours.Trigger || in[id(evening)] != evening.Trigger || in[id(late)] != evening.Trigger {
			t.Errorf("planned %v in order %v", in, order)
		}
	})
}
