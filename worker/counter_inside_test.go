package worker

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/events"
)

func TestWhoIsAlwaysTooLateToCountWaitsBetweenHisTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus, err := events.Open(t.Context(), events.Options{Listen: "none", Memory: true, Name: "test"})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = count(t.Context(), newCounters(bus), stateHour, "", func(*hourCount) bool {
			if _, err := bus.State().Put(t.Context(), stateHour, []byte("{}")); err != nil { // the rival
				t.Error(err)
			}
			return true
		})
		if err == nil || !strings.Contains(err.Error(), "others were faster 100 times") {
			t.Errorf("the error is %v", err)
		}
		if d := time.Since(began); d < time.Second {
			t.Errorf("all tries were made within %s", d)
		}
		if err := bus.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
