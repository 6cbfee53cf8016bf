package worker_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/worker"
)

// BenchmarkRestart ends a daemon without grace while 10,000 actions are under way
// or wait for their turn, and starts it again on the store that it has left, on a
// disk: how long until it is ready, until it asks the API for the first time, and
// until every action has its outcome. The API answers at once and asks for no rate.
func BenchmarkRestart(b *testing.B) {
	const n = 10_000
	cfg, err := configs.Parse("bench.yaml", []byte(strings.Replace(office, "protect:", "limits: { per_run: 20000, per_hour: 1000000 }\nprotect:", 1)))
	if err != nil {
		b.Fatal(err)
	}
	machines, err := civosim.ParseFleet([]byte(devMachines(n)))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		sim := civosim.New(civosim.Options{Token: "secret", Regions: cfg.Policies.Regions, Seed: 1, Fleet: machines, Ledger: 10 * n})
		dir := b.TempDir()
		begin := func() (bus *events.Bus, w *worker.Worker, end func()) {
			bus, err := events.Open(b.Context(), events.Options{Listen: "none", DataDir: dir, Name: "restart"})
			if err != nil {
				b.Fatal(err)
			}
			api, err := civo.New("secret", civo.Options{HTTPClient: &http.Client{Transport: sim.Transport()}, BaseURL: "http://civo.test", Rate: 1e6})
			if err != nil {
				b.Fatal(err)
			}
			w = worker.New(&cfg.Policies, api, bus, worker.Options{Embedded: true, Grace: time.Millisecond, Workers: 64})
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }() // until end
			waitUntil(b, func() bool { return w.Status(b.Context()).Ready })
			return bus, w, func() {
				stop()
				if err := <-done; err != nil {
					b.Error(err)
				}
				if err := bus.Close(context.Background()); err != nil {
					b.Error(err)
				}
			}
		}
		calls := func() (n int) {
			for _, r := range sim.Requests() {
				if r.Op == "stop" {
					n++
				}
			}
			return n
		}

		sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.ServerError, Count: -1})
		bus, _, end := begin()
		waitUntil(b, func() bool { return bus.Ask(b.Context(), "status", struct{}{}, new(worker.Status)) == nil })
		asking, cancel := context.WithTimeout(b.Context(), time.Minute)
		var answer worker.RunAnswer
		if err := bus.Ask(asking, "run.local._.stop", worker.RunRequest{Select: worker.SelectForm{All: []string{"env=dev"}}, Action: "stop"}, &answer); err != nil {
			b.Fatal(err)
		}
		cancel()
		waitUntil(b, func() bool { return calls() > 200 })
		end()
		sim.ClearFaults()
		before := calls()

		began := time.Now()
		bus, _, end = begin()
		ready := time.Since(began)
		waitUntil(b, func() bool { return calls() > before })
		first := time.Since(began)
		ended := 0
		watching, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
		if err := bus.Watch(watching, events.WatchOptions{Since: began.Add(-time.Hour), Filter: "nightshift.v1.evt.*.*.stop.done.*"}, func(events.Record, time.Time, uint64) error {
			if ended++; ended == n {
				return errEnough
			}
			return nil
		}); !errors.Is(err, errEnough) {
			b.Fatalf("%d of %d actions have an outcome: %v", ended, n, err)
		}
		cancel()
		all := time.Since(began)
		end()
		b.ReportMetric(float64(ready.Milliseconds()), "ms-to-ready")
		b.ReportMetric(float64(first.Milliseconds()), "ms-to-first-call")
		b.ReportMetric(all.Seconds(), "s-to-all-outcomes")
	}
}

var errEnough = errors.New("enough")

func waitUntil(b *testing.B, is func() bool) {
	b.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for !is() {
		select {
		case <-ticker.C:
		case <-deadline:
			b.Fatal("it is not so after two minutes")
		}
	}
}
