package events_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"nightshift/events"
)

// TestAnIdIsTakenOnceInAllRegions is two replicas that plan two commands of one id,
// for two regions, in one moment: their plans have subjects of their own.
func TestAnIdIsTakenOnceInAllRegions(t *testing.T) {
	b := open(t, events.Options{Memory: true})
	for n := range 20 {
		trigger := fmt.Sprintf("oncall-x%d", n)
		var won atomic.Int32
		var all sync.WaitGroup // ends with this round
		for _, region := range []string{"lon1", "nyc1", "fra1"} {
			all.Go(func() {
				stored, err := b.StoreRun(t.Context(), events.Run{Trigger: trigger, Region: region, Kind: "command", Asked: "what " + region + " was asked for"})
				if err != nil {
					t.Error(err)
				}
				if stored {
					won.Add(1)
				}
			})
		}
		all.Wait()
		first, ok, err := b.FirstRun(t.Context(), trigger)
		if won.Load() != 1 || err != nil || !ok {
			t.Fatalf("%d plans were stored under one id (%t, %v), want one", won.Load(), ok, err)
		}
		for _, region := range []string{"sea1", first.Region} { // a part of the same plan, and the same again
			stored, err := b.StoreRun(t.Context(), events.Run{Trigger: trigger, Region: region, Kind: "command", Asked: first.Asked})
			if err != nil || stored != (region == "sea1") {
				t.Errorf("the part of %s: stored %t, %v", region, stored, err)
			}
		}
	}
}
