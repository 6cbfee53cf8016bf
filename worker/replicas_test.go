package worker_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/worker"
)

// second is another daemon on the same bus.
func (w *world) second() (end func()) {
	w.t.Helper()
	w.end() // neither of two is the only one
	w.o.Embedded = false
	w.begin()
	synctest.Wait()
	api, err := civo.New("secret", civo.Options{HTTPClient: &http.Client{Transport: w.sim.Transport()}, BaseURL: "http://civo.test", Rate: 50})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	o := w.o
	o.Version = "0.0.2"
	d := worker.New(w.set, api, w.bus, o)
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() { stop(); <-done }
}

func TestEndsArePlannedByWhicheverReplica(t *testing.T) {
	inBubble(t, "2026-03-04 20:00", with(`  - name: ci
    select: { all: [env=dev] }
    trigger: { alert: Queued }
    do: start
    lasts: 30m
    cooldown: 1s
`), func(t *testing.T, w *world) {
		w.sim.SetStatus(dev1, "SHUTOFF")
		w.sim.SetStatus(dev2, "SHUTOFF")
		end := w.second()
		defer end()
		w.after(time.Minute)
		bad := 0
		for n := range 6 {
			w.after(2 * time.Minute) // until what was read before is forgotten
			w.signal(events.Signal{Instance: dev1, Alert: "Queued", ID: fmt.Sprint("a", n)})
			w.signal(events.Signal{Instance: dev2, Alert: "Queued", ID: fmt.Sprint("b", n)})
			w.after(50 * time.Minute)
			for _, i := range w.sim.Instances() {
				if (i.ID == dev1 || i.ID == dev2) && i.Status != "SHUTOFF" {
					bad++
					t.Logf("%d %s %q", n, i.Hostname, w.outcomes()[max(0, len(w.outcomes())-6):])
					w.sim.SetStatus(i.ID, "SHUTOFF")
				}
			}
		}
		if bad > 0 {
			t.Errorf("%d of 12 were not stopped at their end", bad)
		}
	})
}
