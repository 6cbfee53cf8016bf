package worker_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/worker"
)

// beside is another daemon with a connection of its own to the same NATS.
func (w *world) beside(far *farServer) (end func()) {
	w.t.Helper()
	bus, err := events.Open(w.t.Context(), events.Options{URL: "nats://127.0.0.1:4222", Memory: true, Dialer: far})
	if err != nil {
		w.t.Fatal(err)
	}
	api, err := civo.New("secret", civo.Options{HTTPClient: &http.Client{Transport: w.sim.Transport()}, BaseURL: "http://civo.test", Rate: 50})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	o := w.o
	o.Name = "beside"
	d := worker.New(w.set, api, bus, o)
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }() // until end
	return func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		if err := bus.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	}
}

// A replica that does not reach NATS while it carries a run out does not know that
// another has been given it: two went by a pace and an order each.
func TestWhoIsCutOffLetsGoOfItsRun(t *testing.T) {
	const file = `
version: 1
regions: [LON1]
policies: [ { name: night, select: { all: [shop] }, schedule: { running: ["07:00-08:00"] } } ]
`
	const takes = 20 // seconds, in the simulator
	for _, tt := range []struct {
		name, file string
		away       time.Duration
	}{
		{"by pace, shorter than it matters", file + "pace: { at_once: 1 }", 8 * time.Second},
		{"by pace, hardly long enough", file + "pace: { at_once: 1 }", 16 * time.Second},
		{"by pace, for a minute", file + "pace: { at_once: 1 }", time.Minute},
		{"by pace, for longer than the run", file + "pace: { at_once: 1 }", 5 * time.Minute},
		{"two at once", file + "pace: { at_once: 2 }", 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			atOnce := 1
			if strings.Contains(tt.file, "at_once: 2") {
				atOnce = 2
			}
			withFarFleet(t, "2026-03-04 07:59", tt.file, shopIs("ACTIVE"), func(t *testing.T, w *world, far *farServer) {
				eight := london(t, "2026-03-04 08:00")
				w.after(65 * time.Second) // the run has begun here
				defer w.beside(&farServer{server: far.server})()
				w.after(5 * time.Second)
				far.cut()
				w.after(tt.away)
				far.restore()
				w.after(15 * time.Minute)
				acts := w.acts("stop", eight)
				if len(acts) != 6 {
					t.Fatalf("the stops are %q, want six", acts)
				}
				var at []int
				for _, s := range acts {
					var host string
					var n int
					if _, err := fmt.Sscanf(s, "%s +%d", &host, &n); err != nil {
						t.Fatal(err)
					}
					at = append(at, n)
				}
				for i := atOnce; i < len(at); i++ {
					if at[i]-at[i-atOnce] < takes {
						t.Errorf("of %q more than %d were under way at once", acts, atOnce)
					}
				}
				if cut := 10; tt.away > time.Minute && (at[2] > cut+120 || at[5] > cut+int(tt.away.Seconds())) {
					t.Errorf("%q: the other has not gone on while one was cut off", acts)
				}
				if tt.away < 10*time.Second && at[5] > 6*takes+60 {
					t.Errorf("%q waited for nothing", acts)
				}
			})
		})
	}
}
