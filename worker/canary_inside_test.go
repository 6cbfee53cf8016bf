package worker

import (
	"testing"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// After a restart the outcomes of a run are read in any order.
func TestWhoGoesFirstIsFoundInWhicheverOrderOutcomesAreRead(t *testing.T) {
	set := &policies.Set{Policies: []policies.Policy{{Name: "p", Canary: time.Minute}}}
	var items []events.Item
	for _, id := range []string{"a", "b", "c"} {
		items = append(items, events.Item{ID: id, Instance: id, Policy: "p", Kind: "power", Action: "stop"})
	}
	when := time.Now()
	for _, read := range []string{"ab", "ba"} {
		c := canaries(set, items)["p"]
		for _, id := range read {
			o := events.Skipped
			if id == 'b' {
				o = events.Done
			}
			c.ended(string(id), o, "", when)
		}
		if c.name() != "b" || !c.since.Equal(when) {
			t.Errorf("read as %s: %s goes first, done at %v", read, c.name(), c.since)
		}
	}
}
