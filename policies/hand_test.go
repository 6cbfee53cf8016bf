package policies_test

import (
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// What somebody did since the reading before is shown by the one that an edge is
// decided on, a moment after the edge: it is not what came after.
func TestAHandThatTheReadingOfAnEdgeShowsIsFromBeforeIt(t *testing.T) {
	cron, err := schedule.ParseCron("0 19 * * *", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	set := &policies.Set{Policies: []policies.Policy{{Name: "evening", Select: policies.Selector{All: []string{"*"}}, Cron: cron, Do: []policies.Step{{Verb: policies.Stop}}}}}
	edge := time.Date(2026, 3, 4, 19, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name     string
		from, at time.Duration // since the edge
		wanted   bool
	}{
		{"last seen otherwise ten minutes before", -10 * time.Minute, time.Second, true},
		{"last seen otherwise after the edge", time.Second, 2 * time.Second, false},
		{"seen long after, while the API was away", -10 * time.Minute, 8 * time.Minute, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hand := policies.Hand{State: schedule.Running, From: edge.Add(tt.from), At: edge.Add(tt.at)}
			w, ok := set.Winner(policies.Instance{ID: "i"}, policies.Facts{Hands: map[string]policies.Hand{"i": hand}}, edge.Add(10*time.Minute))
			if ok != tt.wanted || ok && w.State != schedule.Stopped {
				t.Errorf("got %v %v, want it stopped: %v", w, ok, tt.wanted)
			}
		})
	}
}
