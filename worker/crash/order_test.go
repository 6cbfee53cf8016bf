package crash

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker/promise"
)

const orderFile = `version: 1
regions: [LON1]
timezone: UTC
policies:
  - { name: at-noon, select: { all: [shop] }, cron: "0 12 * * *", do: start }
order:
  - name: shop
    stages:
      - { select: { all: [role=db] } }
      - { select: { all: [role=app] } }
      - { select: { all: [role=web] } }
pace: { at_once: 1, apart: 250ms }
verify: { within: 20s, settle: 1s, apart: 200ms }
civo: { rate: 50/s }
`

// orderTurns are the instances of each stage.
var orderTurns = []int{2, 2, 1}

func orderFleet() string {
	var fleet strings.Builder
	fleet.WriteString("instances:\n")
	for turn, n := range orderTurns {
		for i := range n {
			fmt.Fprintf(&fleet, "  - { id: %s, hostname: %d-%d, region: LON1, status: SHUTOFF, tags: [shop, role=%s] }\n", orderID(turn, i), turn, i, []string{"db", "app", "web"}[turn])
		}
	}
	return fleet.String()
}

func orderID(turn, i int) string {
	return fmt.Sprintf("2222222%d-0000-4000-8000-00000000000%d", turn, i)
}

// A daemon that is killed in the middle of a stage, or between two, goes on there:
// nothing is started twice, nothing before its turn, and never two at once.
func TestAnOrderGoesOnAfterAKill(t *testing.T) {
	for _, external := range []bool{false, true} {
		t.Run(fmt.Sprintf("external=%t", external), func(t *testing.T) {
			t.Parallel()
			before := knownBefore(t, orderScene(), external)
			for _, point := range []string{"started-stored:2", "accepted-noted:1", "stage-noticed:1", "answer-read:3", "outcome-stored:4", "stage-noticed:2"} {
				t.Run(point, func(t *testing.T) {
					t.Parallel()
					orderGoesOn(t, point, external, before)
				})
			}
		})
	}
}

func orderScene() scene {
	return scene{sim: civosim.Options{Regions: []string{"LON1"}, Delay: 300 * time.Millisecond, Seed: 1}, fleet: orderFleet(), policies: orderFile}
}

func orderGoesOn(t *testing.T, point string, external bool, before string) {
	s := newSite(t, orderScene(), external, noon, before)
	asFound := promise.FleetOf(s.sim, time.Now())
	s.start(point).crashes()
	s.comesBack()
	st := s.allEnded(nil)
	checkOrder(t, s, &st)
	known := s.began.Add(-time.Hour) // before it began, an hour of plan time
	for _, breach := range promise.Check(s.history(&st, known, asFound, s.at)) {
		t.Error(breach)
	}
}

// checkOrder compares when each instance was started with when those before it
// were seen running.
func checkOrder(t *testing.T, s *site, st *story) {
	t.Helper()
	done := make(map[string]time.Time) // by instance: the outcome
	for _, rec := range st.records {
		if rec.Outcome.Ends() {
			if rec.Outcome != events.Done || !done[rec.Instance].IsZero() {
				t.Errorf("%s of %s ended as %s %s, want one outcome, done", rec.Action, rec.Hostname, rec.Outcome, rec.Reason)
			}
			done[rec.Instance] = rec.StoredAt
		}
	}
	called := make(map[string]time.Time)
	var calls []civosim.Request
	for _, r := range s.sim.Requests() {
		if !r.Effect {
			continue
		}
		if !called[r.Instance].IsZero() || r.Op != "start" {
			t.Errorf("%s of %s, which was started at %s", r.Op, r.Instance, called[r.Instance])
		}
		called[r.Instance] = r.Time
		calls = append(calls, r)
	}
	slices.SortFunc(calls, func(a, b civosim.Request) int { return a.Time.Compare(b.Time) })
	for i := 1; i < len(calls); i++ { // pace: one under way
		if before := calls[i-1]; calls[i].Time.Before(done[before.Instance]) {
			t.Errorf("%s is started at %s, while %s is under way until %s", calls[i].Instance, calls[i].Time, before.Instance, done[before.Instance])
		}
	}
	for turn, n := range orderTurns {
		for i := range n {
			id := orderID(turn, i)
			if called[id].IsZero() || done[id].IsZero() {
				t.Errorf("%s was started at %s, done at %s", id, called[id], done[id])
			}
			for other := range turn {
				for j := range orderTurns[other] {
					if first := orderID(other, j); called[id].Before(done[first]) {
						t.Errorf("%s of turn %d is started at %s, before %s is done at %s", id, turn+1, called[id], first, done[first])
					}
				}
			}
		}
	}
	reached := make(map[string]int)
	for _, rec := range st.records {
		if rec.Action == events.ActionStage {
			reached[rec.ActionID]++
			if rec.Reason != "reached" {
				t.Errorf("a stage: %s %s", rec.Reason, rec.Detail)
			}
		}
	}
	if len(reached) != len(orderTurns)-1 {
		t.Errorf("%d stages are noticed as reached, want %d", len(reached), len(orderTurns)-1)
	}
	for id, n := range reached {
		if n != 1 {
			t.Errorf("stage %s is noticed %d times", id, n)
		}
	}
}
