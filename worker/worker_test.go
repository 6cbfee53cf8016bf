package worker_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

func TestMain(m *testing.M) {
	ats.Register() // the server's own clock, which must be made outside of any bubble
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// world is a daemon with its cloud and its bus inside a bubble: time passes
// only when everybody waits.
type world struct {
	t   *testing.T
	sim *civosim.Sim
	bus *events.Bus
	set *policies.Set
	api *civo.Client
	o   worker.Options
	w   *worker.Worker

	stop context.CancelFunc
	done chan error

	mu  sync.Mutex
	all []events.Record
}

const office = `
version: 1
regions: [LON1]
timezone: Europe/London
schedules:
  office: { running: ["Mon-Fri 08:00-19:00"] }
policies:
  - name: dev-hours
    select: { all: [env=dev] }
    schedule: office
  - name: web-down
    select: { all: [role=web] }
    trigger: { alert: InstanceDown }
    do: { reboot: soft }
    cooldown: 30m
  - name: api-grows
    select: { all: [role=api] }
    trigger: { load: cpu, above: 85 }
    do: { resize: [g3.small, g3.medium, g3.large] }
    cooldown: 24h
protect: { all: [protected] }
allow: [start, stop, reboot, retag, firewall, resize]
`

const fleet = `instances:
  - { id: 11111111-0000-4000-8000-000000000001, hostname: dev-1, region: LON1, size: g3.small, tags: [env=dev], status: ACTIVE }
  - { id: 11111111-0000-4000-8000-000000000002, hostname: dev-2, region: LON1, size: g3.small, tags: [env=dev], status: ACTIVE }
  - { id: 22222222-0000-4000-8000-000000000001, hostname: dev-db, region: LON1, size: g3.small, tags: [env=dev, protected], status: ACTIVE }
  - { id: 33333333-0000-4000-8000-000000000001, hostname: web-1, region: LON1, size: g3.small, tags: [role=web], status: ACTIVE }
  - { id: 44444444-0000-4000-8000-000000000001, hostname: api-1, region: LON1, size: g3.small, tags: [role=api], status: ACTIVE }
`

const (
	dev1 = "11111111-0000-4000-8000-000000000001"
	dev2 = "11111111-0000-4000-8000-000000000002"
	db   = "22222222-0000-4000-8000-000000000001"
	web1 = "33333333-0000-4000-8000-000000000001"
	api1 = "44444444-0000-4000-8000-000000000001"
)

// inBubble runs a test in a bubble whose clock stands at a time in London, with
// a running daemon.
func inBubble(t *testing.T, at string, file string, test func(t *testing.T, w *world)) {
	t.Helper()
	inBubbleWith(t, at, file, fleet, test)
}

// inBubbleWith is the same with another fleet.
func inBubbleWith(t *testing.T, at, file, fleet string, test func(t *testing.T, w *world)) {
	t.Helper()
	defer func() { // nats.go pools timers: those of one bubble must not reach the next
		runtime.GC()
		runtime.GC()
	}()
	synctest.Test(t, func(t *testing.T) {
		goTo(t, at)
		w := &world{t: t, o: worker.Options{Embedded: true}}
		w.set = w.parse(file)
		machines, err := civosim.ParseFleet([]byte(fleet))
		if err != nil {
			t.Fatal(err)
		}
		w.sim = civosim.New(civosim.Options{Token: "secret", Regions: w.set.Regions, Delay: 20 * time.Second, Seed: 1, Fleet: machines})
		w.bus, err = events.Open(t.Context(), events.Options{Listen: "none", Memory: true, Name: "test"})
		if err != nil {
			t.Fatal(err)
		}
		watching, endWatch := context.WithCancel(context.Background())
		watched := make(chan struct{})
		go func() { // until endWatch
			defer close(watched)
			_ = w.bus.Watch(watching, events.WatchOptions{Since: time.Now().Add(-time.Hour)}, w.remember)
		}()
		w.begin()
		synctest.Wait()
		test(t, w)
		w.end()
		endWatch()
		<-watched
		if err := w.bus.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func (w *world) parse(file string) *policies.Set {
	w.t.Helper()
	cfg, err := configs.Parse("test.yaml", []byte(file))
	if err != nil {
		w.t.Fatal(err)
	}
	return &cfg.Policies
}

// firewall is the id of a firewall in LON1, by its name.
func (w *world) firewall(name string) string {
	w.t.Helper()
	all, err := w.api.Firewalls(w.t.Context(), "LON1")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range all {
		if f.Name == name {
			return f.ID
		}
	}
	w.t.Fatalf("there is no firewall %s", name)
	return ""
}

func goTo(t *testing.T, at string) {
	t.Helper()
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	when, err := time.ParseInLocation("2006-01-02 15:04", at, zone)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(when))
}

// begin starts a daemon on the bus; after end it is a restart.
func (w *world) begin() {
	w.t.Helper()
	api, err := civo.New("secret", civo.Options{HTTPClient: &http.Client{Transport: w.sim.Transport()}, BaseURL: "http://civo.test", Rate: 50})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.api = api
	w.stop, w.done = stop, make(chan error, 1)
	w.w = worker.New(w.set, api, w.bus, w.o)
	go func() { w.done <- w.w.Run(ctx) }() // until stop
}

func (w *world) end() {
	w.t.Helper()
	w.stop()
	if err := <-w.done; err != nil {
		w.t.Errorf("run: %v", err)
	}
}

func (w *world) remember(rec events.Record, _ time.Time, _ uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, rec)
	return nil
}

// after lets time pass until every loop waits again.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func isOutcome(o events.Outcome) bool {
	switch o {
	case events.Started, events.Accepted, events.PutOff, events.Waiting, events.Settled, events.Noticed:
		return false
	}
	return true
}

// outcomes are those stored so far, as "verb host outcome reason", in order.
func (w *world) outcomes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	seen := make(map[string]bool)
	for _, r := range w.all {
		if !isOutcome(r.Outcome) {
			continue
		}
		if seen[r.ActionID] {
			w.t.Errorf("action %s (%s %s) has two outcomes", r.ActionID, r.Action, r.Hostname)
		}
		seen[r.ActionID] = true
		line := fmt.Sprintf("%s %s %s", r.Action, r.Hostname, r.Outcome)
		if r.Reason != "" && r.Outcome != events.Failed && r.Outcome != events.Unknown { // of what failed the tests of its reason tell
			line += " " + r.Reason
		}
		out = append(out, line)
	}
	return out
}

func (w *world) records(o events.Outcome) []events.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []events.Record
	for _, r := range w.all {
		if r.Outcome == o {
			out = append(out, r)
		}
	}
	return out
}

// wantOutcomes compares what is stored, in any order.
func (w *world) wantOutcomes(want ...string) {
	w.t.Helper()
	got := w.outcomes()
	left := append([]string(nil), got...)
	for _, s := range want {
		found := false
		for i, g := range left {
			if g == s {
				left = append(left[:i], left[i+1:]...)
				found = true
				break
			}
		}
		if !found {
			w.t.Errorf("no outcome %q\n got: %s", s, strings.Join(got, "\n      "))
		}
	}
	if len(left) > 0 {
		w.t.Errorf("outcomes nobody expected: %s", strings.Join(left, "; "))
	}
}

func (w *world) wantStatus(id, want string) {
	w.t.Helper()
	for _, i := range w.sim.Instances() {
		if i.ID == id {
			if i.Status != want {
				w.t.Errorf("%s is %s, want %s", i.Hostname, i.Status, want)
			}
			return
		}
	}
	w.t.Errorf("no instance %s", id)
}

// calls counts the requests of one operation that reached the API.
func (w *world) calls(op string) int {
	n := 0
	for _, r := range w.sim.Requests() {
		if r.Op == op {
			n++
		}
	}
	return n
}

func (w *world) command(c events.Command) {
	w.t.Helper()
	if c.Who == "" {
		c.Who = "local"
	}
	if c.Region == "" {
		c.Region = "lon1"
	}
	if _, err := w.bus.PublishCommand(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) signal(s events.Signal) {
	w.t.Helper()
	s.Source, s.Region = "prometheus", "lon1"
	if _, err := w.bus.PublishSignal(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}
