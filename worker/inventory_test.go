package worker

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"nightshift/civo"
	"nightshift/civo/civosim"
)

// TestACallerThatGoesAwaySpoilsNoReading: others in the same moment read the region
// themselves, and are not told that it cannot be read.
func TestACallerThatGoesAwaySpoilsNoReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := civosim.New(civosim.Options{Token: "secret", Regions: []string{"LON1"}, Seed: 1})
		sim.Inject(civosim.Fault{Op: "list", Kind: civosim.Slow, Delay: 10 * time.Second})
		api, err := civo.New("secret", civo.Options{HTTPClient: &http.Client{Transport: sim.Transport()}, BaseURL: "http://civo.test", Rate: 50})
		if err != nil {
			t.Fatal(err)
		}
		inv := newInventory(api, []string{"LON1"}, &gate{log: zap.NewNop()})
		inv.owner = &accountGuard{lists: map[string]listed{"LON1": {believed: true}}} // nothing was ever seen there
		now := time.Now()
		impatient, leave := context.WithCancel(t.Context())
		go func() { // until leave
			if _, err := inv.Reading(impatient, "LON1", now); err == nil {
				t.Error("the caller that left was answered")
			}
		}()
		synctest.Wait()
		answered := make(chan error, 1)
		go func() { // until it is answered
			_, err := inv.Reading(t.Context(), "LON1", now)
			answered <- err
		}()
		synctest.Wait()
		leave()
		if err := <-answered; err != nil {
			t.Errorf("the other caller was told: %v", err)
		}
	})
}
