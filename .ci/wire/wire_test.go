// Package wire tries the daemon with programs that are not its own: the official
// command line of NATS, and toxiproxy between the daemon and an external NATS.
// It is a module of its own, because these need four times as many modules as
// nightshift itself.
package wire_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/worker"
)

// natsCLI is the official command line, built from the version in go.mod.
var natsCLI string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wire")
	if err != nil {
		log.Fatal(err)
	}
	natsCLI = filepath.Join(dir, "nats")
	if out, err := exec.Command("go", "build", "-o", natsCLI, "github.com/nats-io/natscli/nats").CombinedOutput(); err != nil {
		log.Fatalf("build the nats command line: %v\n%s", err, out)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

const file = `
version: 1
regions: [LON1]
policies:
  - name: never
    select: { all: [env=none] }
    cron: "0 0 1 1 *"
    do: stop
allow: [start, stop, reboot]
`

func machine(i int) string { return fmt.Sprintf("66666666-0000-4000-8000-%012d", i) }

// daemon is a running daemon with a simulator.
type daemon struct {
	sim *civosim.Sim
	bus *events.Bus
}

// begin runs a daemon on a bus until the test ends.
func begin(t *testing.T, o events.Options, machines int) *daemon {
	t.Helper()
	cfg, err := configs.Parse("wire.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	var fleet strings.Builder
	fleet.WriteString("instances:\n")
	for i := range machines {
		fmt.Fprintf(&fleet, "  - { id: %s, hostname: wire-%d, region: LON1, size: g3.small, tags: [env=wire], status: ACTIVE }\n", machine(i), i)
	}
	instances, err := civosim.ParseFleet([]byte(fleet.String()))
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{sim: civosim.New(civosim.Options{Token: "secret", Regions: []string{"LON1"}, Delay: 200 * time.Millisecond, Seed: 1, Fleet: instances})}
	api, err := civo.New("secret", civo.Options{HTTPClient: &http.Client{Transport: d.sim.Transport()}, BaseURL: "http://civo.test", Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if d.bus, err = events.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	w := worker.New(&cfg.Policies, api, d.bus, worker.Options{Embedded: o.URL == "", Verify: worker.Verify{
		Within: 10 * time.Second, Settle: time.Second, Apart: 100 * time.Millisecond, Poll: 50 * time.Millisecond,
	}})
	running.Go(func() { // until the test ends
		if err := w.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := d.bus.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return d
}

// calls counts the requests of an operation on an instance that had an effect.
func (d *daemon) calls(op, instance string) (n int) {
	for _, r := range d.sim.Requests() {
		if r.Op == op && r.Instance == instance && r.Effect {
			n++
		}
	}
	return n
}

// outcomes collects outcomes as they are stored.
type outcomes struct {
	mu     sync.Mutex
	byID   map[string][]events.Record
	change chan struct{}
}

// watch collects the outcomes on a bus until the test ends.
func watch(t *testing.T, bus *events.Bus) *outcomes {
	t.Helper()
	o := &outcomes{byID: make(map[string][]events.Record), change: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { // until stop
		for ctx.Err() == nil {
			_ = bus.Watch(ctx, events.WatchOptions{Since: time.Now().Add(-time.Hour)}, o.take)
		}
	})
	t.Cleanup(func() { stop(); watching.Wait() })
	return o
}

func (o *outcomes) take(rec events.Record, _ time.Time, _ uint64) error {
	if !rec.Outcome.Ends() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, known := range o.byID[rec.ActionID] {
		if known.Seq == rec.Seq {
			return nil
		}
	}
	o.byID[rec.ActionID] = append(o.byID[rec.ActionID], rec)
	select {
	case o.change <- struct{}{}:
	default:
	}
	return nil
}

// wait waits until n actions have their outcome, and returns them.
func (o *outcomes) wait(t *testing.T, n int) []events.Record {
	t.Helper()
	patience := time.NewTimer(2 * time.Minute)
	defer patience.Stop()
	for {
		o.mu.Lock()
		var all []events.Record
		for id, list := range o.byID {
			if len(list) > 1 {
				t.Errorf("action %s has %d outcomes", id, len(list))
			}
			all = append(all, list...)
		}
		o.mu.Unlock()
		if len(all) >= n {
			return all
		}
		select {
		case <-o.change:
		case <-patience.C:
			t.Fatalf("%d of %d actions have their outcome", len(all), n)
		}
	}
}
