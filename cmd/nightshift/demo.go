package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

const (
	demoToken = "demo"
	demoSpeed = 1440 // plan time: a day in a minute
	demoDelay = 400 * time.Millisecond
	// demoPatience bounds the wait for the last actions after the day is over.
	demoPatience = 20 * time.Second
)

// demoStart is where plan time begins: five in the morning of a Wednesday, before
// anything happens.
func demoStart(zone *time.Location) time.Time {
	return time.Date(2026, time.March, 4, 5, 0, 0, 0, zone)
}

func newDemoCommand() *cobra.Command {
	var once, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a day of a small fleet go by in a minute, here alone",
		Long: `demo runs the whole program on this machine: the daemon, an embedded NATS
JetStream server, and a simulator of the Civo API with a small fleet in two
regions. Plan time runs fast, a day in a minute. Nothing is sent anywhere else.

The policies are those of the example file (nightshift demo --print-config).
What happens is told line by line. The addresses of the simulator and of NATS
are printed first, so that you can poke them with curl and nats while it runs.

Exit codes: 0; 1 something is not as it should be at the end of --once; 64 wrong
usage.`,
		Example: `  nightshift demo            until Ctrl-C
  nightshift demo --once     one day, then a summary`,
		Args: cobra.NoArgs,
	}
	var printConfig bool
	cmd.Flags().BoolVar(&once, "once", false, "end after one simulated day with a summary; exit code 1 when anything is not as it should be")
	cmd.Flags().BoolVar(&printConfig, "print-config", false, "print the policy file of the demo and end")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the daemon's log, too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if printConfig {
			_, err := cmd.OutOrStdout().Write(configs.Example())
			return err
		}
		log := zap.NewNop()
		if verbose {
			log = newLogger(cmd.ErrOrStderr(), "console", true)
		}
		return runDemo(cmd.Context(), cmd.OutOrStdout(), once, log)
	}
	return cmd
}

// demo is everything that runs: the parts are the real ones, the cloud is not.
type demo struct {
	out   *story
	cfg   *configs.Config
	sim   *civosim.Sim
	api   *civo.Client
	bus   *events.Bus
	clock worker.Clock
	work  *worker.Worker
	start time.Time
}

func runDemo(ctx context.Context, out io.Writer, once bool, log *zap.Logger) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d := &demo{}
	d.cfg, err = configs.Parse("example.yaml", configs.Example())
	if err != nil {
		return err
	}
	d.start = demoStart(d.cfg.Policies.Zone)

	fleet, err := civosim.ParseFleet([]byte(demoFleet))
	if err != nil {
		return fmt.Errorf("read the fleet of the demo: %w", err)
	}
	d.sim = civosim.New(civosim.Options{Token: demoToken, Regions: d.cfg.Policies.Regions, Delay: demoDelay, Seed: 1, Fleet: fleet})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the simulator: %w", err)
	}
	server := &http.Server{Handler: d.sim, ReadHeaderTimeout: 5 * time.Second}
	serving := make(chan struct{})
	go func() { defer close(serving); _ = server.Serve(ln) }() // until server.Close
	defer func() { _ = server.Close(); <-serving }()
	simURL := "http://" + ln.Addr().String()

	dir, err := os.MkdirTemp("", "nightshift-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d.bus, err = events.Open(ctx, events.Options{DataDir: dir, Listen: "127.0.0.1:0", Name: "nightshift demo", Log: log})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, d.bus.Close(closing))
	}()
	d.api, err = civo.New(demoToken, civo.Options{BaseURL: simURL, Version: version, Rate: 100})
	if err != nil {
		return err
	}

	d.clock = worker.Fast(time.Now(), d.start, demoSpeed)
	d.out = &story{w: out, clock: d.clock, zone: d.cfg.Policies.Zone}
	d.work = worker.New(&d.cfg.Policies, d.api, d.bus, worker.Options{
		Log: log, Version: version, Revision: d.cfg.Revision, Workers: d.cfg.Workers, Clock: d.clock, Embedded: true,
		Grace:  5 * time.Second,
		Verify: worker.Verify{Within: 15 * time.Second, Settle: 1500 * time.Millisecond, Apart: 500 * time.Millisecond, Poll: 250 * time.Millisecond},
	})
	d.introduce(out, simURL)

	running, end := context.WithCancel(ctx)
	defer end()
	g, running := errgroup.WithContext(running)
	g.Go(func() error { return d.work.Run(running) }) // until running ends
	g.Go(func() error {                               // until running ends
		err := d.bus.Watch(running, events.WatchOptions{Since: time.Now().Add(-time.Minute)}, d.out.tell)
		if running.Err() != nil {
			return nil
		}
		return err
	})
	g.Go(func() error { return d.world(running) })      // until its day is over
	g.Go(func() error { return d.tellFaults(running) }) // until running ends
	var verdict error
	if once {
		g.Go(func() error { // ends the demo
			defer end()
			verdict = d.oneDay(running)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if once && ctx.Err() == nil {
		return d.out.conclude(verdict)
	}
	return nil
}

func (d *demo) introduce(out io.Writer, simURL string) {
	fmt.Fprintf(out, `Nightshift demo: a day in a minute, from %s. The cloud is simulated, the program is real.

  simulator  %s   curl -H 'Authorization: bearer %s' '%s/v2/instances?region=LON1'
  NATS       %s   nats -s %[5]s sub 'nightshift.v1.evt.>'
  policies   nightshift demo --print-config

`, d.start.Format("Monday 15:04"), simURL, demoToken, simURL, d.bus.URL())
	fmt.Fprintf(out, "  %d instances:", len(d.sim.Instances()))
	for _, i := range d.sim.Instances() {
		fmt.Fprintf(out, " %s", i.Hostname)
	}
	fmt.Fprintln(out)
	fmt.Fprintln(out)
}

// world is what happens outside: alerts and load come in over NATS, as from any
// other program, and the API has its bad moments.
func (d *demo) world(ctx context.Context) error {
	outside, err := events.Dial(ctx, d.bus.URL(), events.Auth{})
	if err != nil {
		return err
	}
	defer func() { _ = outside.Close(context.WithoutCancel(ctx)) }()
	cpu := 93.0
	at := func(hour, minute int) time.Time {
		return d.start.Add(time.Duration(hour-5)*time.Hour + time.Duration(minute)*time.Minute)
	}
	for _, happening := range []struct {
		at   time.Time
		tell string
		do   func() error
	}{
		{at(7, 50), "the API begins to answer 429 Too Many Requests", func() error {
			d.sim.Inject(civosim.Fault{Op: "start", Kind: civosim.RateLimited, RetryAfter: time.Second, Count: 2})
			return nil
		}},
		{at(10, 15), "Prometheus: InstanceDown on web-1, severity critical", func() error {
			return d.signal(ctx, outside, "web-1", events.Signal{Alert: "InstanceDown", Labels: map[string]string{"severity": "critical"}, Fingerprint: "c0ffee01", StartsAt: time.Now().UTC()})
		}},
		{at(10, 35), "Prometheus: InstanceDown on web-1 again", func() error {
			return d.signal(ctx, outside, "web-1", events.Signal{Alert: "InstanceDown", Labels: map[string]string{"severity": "critical"}, Fingerprint: "c0ffee01", StartsAt: time.Now().UTC()})
		}},
		{at(13, 30), "load: cpu of api-1 at 93 %", func() error {
			return d.signal(ctx, outside, "api-1", events.Signal{Load: "cpu", Value: &cpu})
		}},
		{at(18, 50), "the API will carry out a stop, and its answer will be lost", func() error {
			d.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.CutAfter, Count: 1})
			return nil
		}},
		{at(21, 0), "Prometheus: InstanceDown on staging", func() error {
			return d.signal(ctx, outside, "staging", events.Signal{Alert: "InstanceDown", Labels: map[string]string{"severity": "critical"}, Fingerprint: "c0ffee02", StartsAt: time.Now().UTC()})
		}},
	} {
		if !sleep(ctx, time.Until(d.clock.Machine(happening.at))) {
			return nil
		}
		d.out.happened(happening.at, happening.tell)
		if err := happening.do(); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// tellFaults says what went wrong between the daemon and the API: the client
// bears most of it without a word.
func (d *demo) tellFaults(ctx context.Context) error {
	for told := 0; sleep(ctx, 50*time.Millisecond); {
		requests := d.sim.Requests()
		for _, r := range requests[told:] {
			if what := faultWords[r.Fault]; what != "" {
				host := r.Instance
				for _, i := range d.sim.Instances() {
					if i.ID == r.Instance {
						host = i.Hostname
					}
				}
				d.out.happened(d.clock.Plan(r.Time), fmt.Sprintf("the API: %s %s: %s", r.Op, host, what))
			}
		}
		told = len(requests)
	}
	return nil
}

var faultWords = map[civosim.FaultKind]string{
	civosim.RateLimited: "429 Too Many Requests, come again in a second; it is tried again then",
	civosim.CutAfter:    "carried out, but the connection ended before the answer; it is looked at again",
}

func (d *demo) signal(ctx context.Context, outside *events.Bus, hostname string, s events.Signal) error {
	for _, i := range d.sim.Instances() {
		if i.Hostname == hostname {
			s.Source, s.Region, s.Instance = "monitoring", strings.ToLower(i.Region), i.ID
			_, err := outside.PublishSignal(ctx, s)
			return err
		}
	}
	return fmt.Errorf("the fleet has no %s", hostname)
}

// oneDay waits until the day is over and all that it began has ended, then
// looks whether everything is as it should be.
func (d *demo) oneDay(ctx context.Context) error {
	end := d.start.Add(24 * time.Hour)
	if !sleep(ctx, time.Until(d.clock.Machine(end))) {
		return ctx.Err()
	}
	deadline := time.Now().Add(demoPatience)
	for {
		err := d.judge(ctx)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if !sleep(ctx, 300*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// judge says what is not as it should be: an edge without a plan, an action
// without an outcome, an instance that is not as the policies want it.
func (d *demo) judge(ctx context.Context) error {
	now := d.clock.Now()
	taken := make(map[string]bool)
	var open []string
	for run, err := range d.bus.Runs(ctx, time.Time{}) {
		if err != nil {
			return err
		}
		for _, e := range run.Edges {
			taken[e] = true
		}
		for _, it := range run.Items {
			trail, err := d.bus.Trail(ctx, it.Region, it.Instance, it.ID)
			if err != nil {
				return err
			}
			if _, ok := trail.Outcome(); !ok {
				open = append(open, it.Action+" "+it.Hostname)
			}
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("without an outcome: %s", strings.Join(open, ", "))
	}
	edges := d.cfg.Policies.Edges(d.start, now)
	for _, e := range edges {
		if !taken[e.ID()] {
			return fmt.Errorf("edge %s has no plan", e.ID())
		}
	}
	inv, faults := worker.ReadInventory(ctx, d.api, d.cfg.Policies.Regions)
	for _, err := range faults {
		return err
	}
	if plan := policies.Decide(&d.cfg.Policies, inv, policies.Facts{}, policies.Trigger{ID: "judge", At: now}, now); len(plan.Actions) > 0 {
		a := plan.Actions[0]
		return fmt.Errorf("%s should be changed: %s (%s, %s)", a.Hostname, a.Verb, a.Policy, a.Why)
	}
	survived := make(map[civosim.FaultKind]int)
	for _, req := range d.sim.Requests() {
		survived[req.Fault]++
	}
	for _, kind := range []civosim.FaultKind{civosim.RateLimited, civosim.CutAfter} {
		if survived[kind] == 0 {
			return fmt.Errorf("the fault %q never happened", kind)
		}
	}
	d.out.setEdges(len(edges))
	return nil
}

// story tells what happens, in plan time.
type story struct {
	w     io.Writer
	clock worker.Clock
	zone  *time.Location

	mu     sync.Mutex
	counts map[events.Outcome]int
	edges  int
}

func (s *story) setEdges(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.edges = n
}

func (s *story) happened(at time.Time, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, "%s  ~ %s\n", at.In(s.zone).Format("15:04"), what)
}

func (s *story) tell(rec events.Record, stored time.Time, _ uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = make(map[events.Outcome]int)
	}
	s.counts[rec.Outcome]++
	if rec.Outcome == events.Started || rec.Outcome == events.Accepted || rec.Outcome == events.Waiting {
		return nil
	}
	fmt.Fprintf(s.w, "%s  %s\n", s.clock.Plan(stored).In(s.zone).Format("15:04"), storyLine(rec))
	return nil
}

// storyLine is one event in a line, for people.
func storyLine(rec events.Record) string {
	what := rec.Action
	if rec.Hostname != "" {
		what += " " + rec.Hostname
	} else if rec.Instance != "_" {
		what += " " + rec.Instance
	}
	var why []string
	outcome := string(rec.Outcome)
	if rec.Reason != "" {
		outcome += ": " + rec.Reason
	}
	if rec.Before != "" && rec.After != "" && rec.Before != rec.After {
		why = append(why, rec.Before+" -> "+rec.After)
	}
	for _, s := range []string{rec.Detail, rec.Error} {
		if s != "" {
			why = append(why, s)
		}
	}
	cause := sourceName(rec.Policy)
	if cause == "" {
		cause = rec.Who
	}
	return fmt.Sprintf("%-15s %-20s %-26s %s", cause, what, outcome, strings.Join(why, "; "))
}

// conclude is the last line of the demo.
func (s *story) conclude(fault error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	sum := fmt.Sprintf("%d edges, %d actions done, %d skipped, %d failed or unknown", s.edges, c[events.Done], c[events.Skipped]+c[events.Superseded]+c[events.Expired], c[events.Failed]+c[events.Unknown])
	if fault != nil {
		fmt.Fprintf(s.w, "\nThe day did not end well: %v (%s)\n", fault, sum)
		return errSilent
	}
	fmt.Fprintf(s.w, "\nThe day ended well: %s; a 429 and a lost answer survived; every edge has its outcome, the fleet is as the policies want it.\n", sum)
	return nil
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// demoFleet is the fleet of the demo at five in the morning.
const demoFleet = `instances:
  - { hostname: "dev-%d",   count: 3, region: LON1, tags: [env=dev], status: SHUTOFF }
  - { hostname: "dev-ny-%d", count: 2, region: NYC1, tags: [env=dev], status: SHUTOFF }
  - { hostname: dev-db,     region: LON1, tags: [env=dev, protected] }
  - { hostname: "web-%d",   count: 2, region: LON1, tags: [role=web], size: g3.small }
  - { hostname: api-1,      region: LON1, tags: [role=api], size: g3.small }
  - { hostname: staging,    region: LON1, tags: [env=dev, role=web], status: SHUTOFF }
  - { hostname: "batch-%d", count: 2, region: NYC1, tags: [batch], size: g3.large, status: SHUTOFF }
  - { hostname: ci-ny,      region: NYC1, tags: [sleeps] }
`
