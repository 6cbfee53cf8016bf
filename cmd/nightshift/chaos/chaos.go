package chaos

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

// Options of a chaos. For is required; the zero value of the rest is the
// documented default.
type Options struct {
	For      time.Duration // how long things go wrong; what it takes to calm down comes on top
	Seed     uint64
	Config   string  // the policy file; empty: one that is made for it
	Replicas int     // 0 or 1: one daemon with its embedded NATS; more: so many on one NATS
	Errors   float64 // share of the API's answers that are errors, or do not come
	Lost     float64 // share of what is carried out and its answer lost
	Program  string  // path of the nightshift to run; empty: this one
	// Progress is told several times a second how it goes; nil: nobody is.
	Progress func(Progress)
}

// Progress is how a chaos goes.
type Progress struct {
	Phase   string // "storm", "calm", "judging"
	Elapsed time.Duration
	Plan    time.Time // plan time
	Tally
}

const (
	// speed is that of plan time: a day in a minute.
	speed = 1440
	// pace is how often progress is told.
	pace = 250 * time.Millisecond
)

// starts are the days on which plan time may begin, in the zone of the file: a
// plain one, a weekend, both nights on which clocks change, and the turn of a year.
var starts = []string{"2026-03-04 05:00", "2026-03-06 15:00", "2026-03-28 16:00", "2026-10-24 16:00", "2026-12-31 12:00"}

//go:embed chaos.yaml
var ownPolicies []byte

// chaos is everything that runs.
type chaos struct {
	o       Options
	dir     string // of all that is kept
	file    string // the policy file that daemons read
	token   string
	launch  launcher
	cfg     *configs.Config
	set     *policies.Set
	fleet   []civosim.Machine // at the start
	machine time.Time         // at which plan time was ...
	plan    time.Time         // ... this
	clock   worker.Clock

	cloud    *cloud
	nats     *bus
	replicas []*replica
	outside  *outside
	acts     *acts
	tally    tally
	rest     time.Time // when everything had come to rest
}

// Run lets chaos be and returns what became of the promise. When ctx ends the
// storm is over at once, and it is judged what was until then. It returns an
// error only when the chaos itself could not be.
func Run(ctx context.Context, o Options) (_ *Verdict, err error) {
	c, err := prepare(o)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx)) // of the parts: longer than the storm's
	defer end()
	defer c.endAll()
	began := time.Now()
	if err := c.begin(life); err != nil {
		return nil, fmt.Errorf("%w; what was said is in %s", err, c.dir)
	}
	phases := make(chan string, 3)
	var telling sync.WaitGroup
	telling.Go(func() { c.tell(life, began, phases) }) // until life ends
	telling.Go(func() { c.outside.listen(life) })      // likewise
	telling.Go(func() { c.keepBooks(life) })           // likewise
	defer telling.Wait()
	defer end()

	phases <- "storm"
	if err := c.storm(ctx, life); err != nil {
		return nil, fmt.Errorf("%w; what was said is in %s", err, c.dir)
	}
	phases <- "calm"
	restless := c.calm(life)
	phases <- "judging"
	v, err := c.judge(life, restless)
	if err != nil {
		return nil, fmt.Errorf("%w; what was said is in %s", err, c.dir)
	}
	v.Took = time.Since(began)
	if len(v.Breaches) == 0 {
		c.endAll()
		return v, os.RemoveAll(c.dir)
	}
	return v, nil
}

// prepare reads the policies and makes a directory for all that is written.
func prepare(o Options) (*chaos, error) {
	c := &chaos{o: o}
	c.o.Replicas = max(1, o.Replicas)
	var err error
	if c.o.Program == "" {
		if c.o.Program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find this program, to run it as daemon: %w", err)
		}
	}
	if c.dir, err = os.MkdirTemp("", "nightshift-chaos-"); err != nil {
		return nil, err
	}
	var secret [12]byte
	_, _ = rand.Read(secret[:]) // never fails
	c.token = hex.EncodeToString(secret[:])
	c.launch = launcher{program: c.o.Program, dir: c.dir, env: environment(c.token, c.dir)}
	if err := c.readPolicies(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	if err := c.drawFleet(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	return c, nil
}

// ErrNothingToDo is when no instance can be invented for any policy.
var ErrNothingToDo = errors.New("no instance can be invented for any policy: no tags can be read off their selectors")

// drawFleet invents a fleet for the policies, and draws the day on which plan time
// begins.
func (c *chaos) drawFleet() (err error) {
	rng := c.rng("fleet")
	c.fleet, c.tally.unmatched = invent(c.set, rng)
	if len(c.tally.unmatched) == len(c.set.Policies) {
		return fmt.Errorf("%w (%s)", ErrNothingToDo, strings.Join(c.tally.unmatched, ", "))
	}
	day, err := time.ParseInLocation("2006-01-02 15:04", pick(rng, starts), c.zone())
	c.plan = day.UTC()
	return err
}

// readPolicies copies the policy file, since it will be edited, with what it names.
func (c *chaos) readPolicies() (err error) {
	copied := func(path string, text []byte) (string, error) {
		into := filepath.Join(c.dir, "policies", path)
		if err := os.MkdirAll(filepath.Dir(into), 0o700); err != nil {
			return "", err
		}
		return into, os.WriteFile(into, text, 0o600)
	}
	if c.o.Config == "" {
		c.file, err = copied("nightshift.yaml", ownPolicies)
	} else {
		var cfg *configs.Config
		if cfg, err = configs.Load(c.o.Config, c.launch.env, configs.Overrides{}); err != nil {
			return err
		}
		for i, path := range cfg.Files {
			full, err := filepath.Abs(path)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(full)
			if err != nil {
				return err
			}
			// The whole path below ours, so that names with .. lead where they led.
			into, err := copied(strings.TrimPrefix(full, filepath.VolumeName(full)), text)
			if err != nil {
				return err
			}
			if i == 0 {
				c.file = into
			}
		}
	}
	if err != nil {
		return err
	}
	c.cfg, err = configs.Load(c.file, c.launch.env, configs.Overrides{})
	if err != nil {
		return err
	}
	Rehearse(c.cfg)
	c.set = &c.cfg.Policies
	return nil
}

// begin starts the parts.
func (c *chaos) begin(ctx context.Context) error {
	if err := c.beginCloud(ctx, c.fleet); err != nil {
		return err
	}
	c.machine = time.Now().Truncate(time.Second)
	c.clock = worker.Fast(c.machine, c.plan, speed)
	if err := c.beginBus(ctx); err != nil {
		return err
	}
	c.acts = &acts{}
	return c.beginDaemons(ctx)
}

func (c *chaos) zone() *time.Location {
	if c.set.Zone == nil {
		return time.UTC
	}
	return c.set.Zone
}

// rng is chance for one purpose, so that what one does changes nothing for another.
func (c *chaos) rng(purpose string) *mathrand.Rand {
	var stream uint64
	for _, b := range []byte(purpose) {
		stream = stream*131 + uint64(b)
	}
	return mathrand.New(mathrand.NewPCG(c.o.Seed, stream))
}

// storm lets things go wrong until it is over.
func (c *chaos) storm(ctx, life context.Context) error {
	ctx, stop := context.WithTimeout(ctx, c.o.For-calmShare(c.o.For))
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	for _, actor := range c.actors() {
		g.Go(func() error { // until ctx ends
			if err := actor.act(ctx, c.rng(actor.name)); ignoreEnd(ctx, err) != nil {
				return fmt.Errorf("%s: %w", actor.name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// calmShare is the part of the time in which nothing goes wrong any more.
func calmShare(d time.Duration) time.Duration {
	return min(d/2, 15*time.Second)
}

// tell tells how it goes until ctx ends.
func (c *chaos) tell(ctx context.Context, began time.Time, phases <-chan string) {
	if c.o.Progress == nil {
		return
	}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	phase := ""
	for {
		select {
		case <-ctx.Done():
			return
		case phase = <-phases:
			continue
		case <-ticker.C:
		}
		c.o.Progress(Progress{Phase: phase, Elapsed: time.Since(began), Plan: c.clock.Now(), Tally: c.tally.now()})
	}
}

// endAll ends whatever still runs.
func (c *chaos) endAll() {
	for _, r := range c.replicas {
		r.end()
	}
	if c.outside != nil {
		c.outside.close()
	}
	if c.nats != nil {
		c.nats.end()
	}
	if c.cloud != nil && c.cloud.process != nil {
		c.cloud.process.kill()
	}
}

// freePort is an address on which nobody answers.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// Tally is what was counted so far.
type Tally struct {
	Kills, Stops, Freezes, BusKills int
	Commands, Signals, Hands        int
	Edits, Exceptions, Approvals    int
	Outcomes                        map[events.Outcome]int // actions by how they ended
	Under                           int                    // begun and not ended
	Faults                          int                    // requests that were struck
	Requests                        int
}

// tally counts while it goes.
type tally struct {
	mu        sync.Mutex
	t         Tally
	unmatched []string
	under     map[string]bool
	readyIn   []time.Duration // from the start of a daemon to when it is ready
}

func (t *tally) count(n func(*Tally)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n(&t.t)
}

func (t *tally) now() Tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.t
	now.Under = len(t.under)
	now.Outcomes = make(map[events.Outcome]int, len(t.t.Outcomes))
	for o, n := range t.t.Outcomes {
		now.Outcomes[o] = n
	}
	return now
}

// heard takes up an event.
func (t *tally) heard(rec events.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.t.Outcomes == nil {
		t.t.Outcomes, t.under = make(map[events.Outcome]int), make(map[string]bool)
	}
	switch {
	case rec.Outcome.Ends():
		t.t.Outcomes[rec.Outcome]++
		delete(t.under, rec.ActionID)
	case rec.Outcome == events.Started:
		t.under[rec.ActionID] = true
	}
}

func (t *tally) ready(in time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readyIn = append(t.readyIn, in)
}

// median of durations, zero of none.
func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}
