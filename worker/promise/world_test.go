package promise_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
	"nightshift/worker/promise"
)

// world is several daemons on one bus and one cloud inside a bubble, and what is
// written down of them.
type world struct {
	t       *testing.T
	plan    *scenario
	nats    *server.Server
	sim     *civosim.Sim
	own     *events.Bus // of who watches
	file    string      // the newest, and what it says
	set     *policies.Set
	daemon  []*daemon
	renamed string          // the policy that has, or had, another name
	dead    []chan struct{} // ends of processes that were killed

	past  promise.History
	steps []string // what happened to the world, as the trace shows it
	began time.Time
	seen  map[string]uint64 // revisions of ns_state that have been written down
}

// daemon is one replica, killed and started again as often as may be.
type daemon struct {
	w        *world
	name     string
	offset   time.Duration // of its clock
	ahead    *atomic.Int64 // how far its clock is ahead now, in nanoseconds
	*process               // nil: there is none, or it was killed
	up       int           // index of its open span in History.Up; -1: none
	file     int           // index of its open file in History.Files; -1: none
}

// process is one life of a daemon.
type process struct {
	wire   *wire
	life   chan struct{} // closed when it has ended
	stop   context.CancelFunc
	ready  chan struct{}  // closed when it is put together, or will not be
	worker *worker.Worker // nil until then
}

func newWorld(t *testing.T, plan *scenario) *world {
	w := &world{t: t, plan: plan, began: time.Now(), seen: make(map[string]uint64)}
	var err error
	w.nats, err = server.NewServer(&server.Options{ServerName: "far", DontListen: true, NoSigs: true, NoLog: true, NoSystemAccount: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w.nats.Start()
	if !w.nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("the bus is not ready")
	}
	machines, err := civosim.ParseFleet([]byte(fleet))
	if err != nil {
		t.Fatal(err)
	}
	w.edit(plan.file)
	w.sim = civosim.New(civosim.Options{Token: "secret", Regions: w.set.Regions, Delay: 20 * time.Second, Jitter: 1, Seed: plan.seed, Fleet: machines})
	watching := newWire(w.nats, w.sim)
	if w.own, err = events.Open(t.Context(), events.Options{URL: "nats://127.0.0.1:4222", Memory: true, Dialer: watching}); err != nil {
		t.Fatal(err)
	}
	w.past = promise.History{Started: time.Now(), Approved: make(map[string]time.Time), Apart: plan.apart, Rate: plan.rate, Burst: 2 * plan.rate} // a full bucket, and a second until it knows of the others
	w.snapshot()
	for i, offset := range plan.offsets {
		w.daemon = append(w.daemon, &daemon{w: w, name: string(rune('a' + i)), offset: offset, ahead: new(atomic.Int64), up: -1, file: -1})
		w.daemon[i].jump(0)
	}
	return w
}

// tell writes down what happened to the world.
func (w *world) tell(format string, args ...any) {
	w.steps = append(w.steps, time.Now().UTC().Format("Mon 02 15:04:05.000")+" ** "+fmt.Sprintf(format, args...))
}

func (w *world) edit(file string) {
	for _, p := range []string{"dev-hours", "web-down"} {
		if strings.Contains(file, "was: "+p+"\n") {
			w.renamed = p
		}
	}
	if w.renamed != "" && !strings.Contains(file, renamedTo) { // who gives a policy its old name back without saying so has a new policy
		name := "  - name: " + w.renamed + "\n"
		file = strings.Replace(file, name, name+"    was: "+renamedTo+"\n", 1)
	}
	w.file, w.set = file, parse(w.t, file)
}

func (w *world) snapshot() { w.past.Fleets = append(w.past.Fleets, promise.FleetOf(w.sim, time.Now())) }

// start begins a process.
func (d *daemon) start() {
	w := d.w
	ctx, stop := context.WithCancel(context.Background())
	p := &process{wire: newWire(w.nats, w.sim), stop: stop, life: make(chan struct{}), ready: make(chan struct{})}
	d.process = p
	d.reads(w.set)
	d.begins()
	api, err := civo.New("secret", civo.Options{HTTPClient: &http.Client{Transport: p.wire}, BaseURL: "http://civo.test", Rate: w.plan.rate})
	if err != nil {
		w.t.Fatal(err)
	}
	o := worker.Options{Name: d.name, Embedded: len(w.daemon) == 1 && w.plan.alone, Clock: worker.Jumping(d.ahead), Synced: func() bool { return false }, Grace: 5 * time.Second}
	set, opened := w.set, make(chan *events.Bus, 1)
	go func() { // until stop, or until it is dead
		defer close(p.life)
		bus, err := events.Open(ctx, events.Options{URL: "nats://127.0.0.1:4222", Memory: true, Dialer: p.wire})
		if err != nil {
			close(p.ready)
			return
		}
		opened <- bus
		p.worker = worker.New(set, api, bus, o)
		close(p.ready)
		if err := p.worker.Run(ctx); err != nil && !p.wire.isDead() {
			w.t.Errorf("daemon %s ended: %v", d.name, err)
		}
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := bus.Close(closing); err != nil {
			w.t.Errorf("daemon %s: %v", d.name, err)
		}
	}()
	go func() { // until the process ends: what is left of one that was killed is told to go
		select {
		case <-p.wire.dead:
			select {
			case bus := <-opened:
				bus.Conn().Close()
				select {
				case <-time.After(rest):
				case <-p.life:
				}
			default:
			}
			stop()
		case <-p.life:
		}
	}()
}

// rest is how long what is left of a killed process goes on, without a way to the
// world. Told to stop at once it would wait for a mutex of nats.go whose holder
// sleeps until a connection comes back, and in a bubble time waits for mutexes.
const rest = 30 * time.Second

// begins notes that a daemon works from now on, if its clock is right.
func (d *daemon) begins() {
	if d.up >= 0 || d.isWrong() {
		return
	}
	d.w.past.Up = append(d.w.past.Up, promise.Span{Daemon: d.name, From: time.Now()})
	d.up = len(d.w.past.Up) - 1
}

// isWrong reports whether the clock of a daemon is so wrong that it does nothing.
func (d *daemon) isWrong() bool {
	return (time.Duration(d.ahead.Load()) - d.offset).Abs() > time.Minute
}

// jump sets the clock of a daemon wrong, by 0 right again but for its offset.
func (d *daemon) jump(by time.Duration) {
	d.ahead.Store(int64(d.offset + by))
	if !d.isUp() {
		return
	}
	if d.isWrong() {
		d.down()
	} else if !d.wire.isAway() {
		d.begins()
	}
}

// reads writes down which file is in force on a daemon.
func (d *daemon) reads(set *policies.Set) {
	files := d.w.past.Files
	if d.file >= 0 {
		if files[d.file].Set == set {
			return
		}
		files[d.file].Until = time.Now()
	}
	d.w.past.Files = append(files, promise.File{Daemon: d.name, From: time.Now(), Set: set})
	d.file = len(d.w.past.Files) - 1
}

// isUp reports whether a daemon has a living process; it takes up that one was killed.
func (d *daemon) isUp() bool {
	if d.process == nil {
		return false
	}
	if d.wire.isDead() {
		d.down()
		d.w.tell("daemon %s is found killed", d.name)
		d.w.dead = append(d.w.dead, d.life)
		d.process = nil
		return false
	}
	return true
}

func (d *daemon) down() {
	if d.up >= 0 {
		d.w.past.Up[d.up].Until = time.Now()
		d.up = -1
	}
}

// end is an ordered stop.
func (d *daemon) end() {
	if d.process == nil {
		return
	}
	d.down()
	if d.wire.isUnsettled() { // see rest
		d.wire.kill()
	} else {
		d.stop()
	}
	<-d.life
	d.process = nil
}

// note is what is written down each hour, and at the end.
func (w *world) note() {
	past := &w.past
	past.Now = time.Now()
	w.noteState()
	var from time.Time
	var newest uint64
	if n := len(past.Events); n > 0 {
		from, newest = past.Events[n-1].StoredAt, past.Events[n-1].Seq
	}
	for rec, err := range w.own.Records(w.t.Context(), "", from) {
		if err != nil {
			w.t.Fatal(err)
		}
		if rec.Seq > newest {
			past.Events = append(past.Events, rec)
		}
	}
	newest, from = 0, time.Time{}
	if n := len(past.Runs); n > 0 {
		newest = past.Runs[n-1].Seq
	}
	for run, err := range w.own.Runs(w.t.Context(), from) {
		if err != nil {
			w.t.Fatal(err)
		}
		if run.Seq > newest {
			past.Runs = append(past.Runs, run)
		}
	}
	past.Ticks = nil
	for tick, err := range w.own.Ticks(w.t.Context(), from) {
		if err != nil {
			w.t.Fatal(err)
		}
		past.Ticks = append(past.Ticks, tick)
	}
	past.Requests = w.sim.Requests()
	w.snapshot()
}

// noteState writes down keeps, pauses and approvals as they are stored: an answer
// may be lost of one that is.
func (w *world) noteState() {
	keys, err := w.own.State().ListKeysFiltered(w.t.Context(), "keep.>", "pause.>", "approved.>")
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for key := range keys.Keys() {
		names = append(names, key)
	}
	slices.Sort(names)
	for _, key := range names {
		entry, err := w.own.State().Get(w.t.Context(), key)
		if err != nil {
			continue
		}
		if w.seen[key] == entry.Revision() {
			continue
		}
		w.seen[key] = entry.Revision()
		kind, rest, _ := strings.Cut(key, ".")
		switch kind {
		case "keep":
			var k policies.Keep
			w.decode(entry.Value(), &k)
			w.past.Keeps = append(w.past.Keeps, promise.Keep{Instance: rest, Keep: k})
		case "pause":
			var p policies.Pause
			w.decode(entry.Value(), &p)
			w.past.Pauses = append(w.past.Pauses, p)
		case "approved":
			var a struct{ At time.Time }
			w.decode(entry.Value(), &a)
			if _, again := w.past.Approved[rest]; !again { // nothing waits for being told twice
				w.past.Approved[rest] = a.At
			}
		}
	}
}

func (w *world) decode(body []byte, into any) {
	if err := json.Unmarshal(body, into); err != nil {
		w.t.Fatal(err)
	}
}

// until lets time pass.
func (w *world) until(t time.Time) {
	if d := time.Until(t); d > 0 {
		time.Sleep(d)
	}
}

// close ends everything, also after a failure.
func (w *world) close() {
	for _, d := range w.daemon {
		d.end()
	}
	for _, life := range w.dead {
		<-life
	}
	if err := w.own.Close(context.Background()); err != nil {
		w.t.Errorf("close: %v", err)
	}
	w.nats.Shutdown()
	w.nats.WaitForShutdown()
	synctest.Wait()
}
