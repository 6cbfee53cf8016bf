package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/policies"
)

const (
	// triggersAtOnce bounds the ticks, and the commands, that are planned at the same time.
	triggersAtOnce = 128
	// signalsAtOnce bounds the signals that are planned at the same time, and
	// signalsInHand those that wait for it and may supersede each other.
	signalsAtOnce, signalsInHand = 16, 2000
	// runsAtOnce bounds the runs being carried out; most of them only wait for an
	// instance to reach its state, which takes a goroutine and no worker.
	runsAtOnce = 1000
	// prepareRetry is the wait before the store is asked again at the start.
	prepareRetry = 2 * time.Second
)

// ErrGraceOver is the cause with which calls end that were under way at the end
// of Run and did not finish within Options.Grace.
var ErrGraceOver = errors.New("the grace period for running actions is over")

// Worker is the daemon: scheduler, planner, runner, and the control service.
type Worker struct {
	rules  rules
	api    *civo.Client
	bus    *events.Bus
	o      Options
	inv    *Inventory
	lives  *lives
	memory *memory
	tally  tally
	others *replicas
	since  time.Time
	ready  atomic.Bool
	fault  atomic.Pointer[string] // why a newer policy file is not in force
	past   events.Past            // read before anything begins
	wall   *clockCheck
	ledger ledger
	// refusals bound what the audit trail has of questions that are refused.
	refusals refusals
	// damages are what of the store cannot be read.
	damages atomic.Pointer[[]events.Damage]

	regionsEdited chan struct{}            // an edit brought other regions
	unknown       atomic.Pointer[[]string] // regions of the policy file that the account does not have
}

// New puts a worker together and starts nothing. The set, the client and the
// bus stay the caller's: Run does not close them.
func New(set *policies.Set, api *civo.Client, bus *events.Bus, o Options) *Worker {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Synced == nil {
		o.Synced = kernelSynced
	}
	o.Workers = cmp.Or(o.Workers, DefaultWorkers)
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	o.Grace = cmp.Or(o.Grace, DefaultGrace)
	o.Verify.Within = cmp.Or(o.Verify.Within, DefaultWithin)
	o.Verify.Settle = cmp.Or(o.Verify.Settle, DefaultSettle)
	o.Verify.Apart = cmp.Or(o.Verify.Apart, DefaultApart)
	o.Verify.Poll = cmp.Or(o.Verify.Poll, DefaultPoll)
	w := &Worker{api: api, bus: bus, o: o, ledger: ledger{read: make(chan struct{})}, inv: newInventory(api, set.Regions, &gate{bus: bus, log: o.Log}), regionsEdited: make(chan struct{}, 1), lives: newLives(o.Embedded)}
	w.rules.put(set, o.Revision)
	w.others = newReplicas(bus, api, &w.rules, o)
	w.memory = newMemory(bus, o.Clock, o.Verify, o.Log)
	w.inv.owner = &accountGuard{bus: bus, log: o.Log, regions: w.inv.names, list: w.inv.ask, others: make(map[string][]string)}
	w.wall = newClockCheck(bus, o)
	w.memory.rename(set)
	w.inv.clock = o.Clock
	w.inv.shown = w.memory.shown
	w.inv.observe = func(ctx context.Context, r *Reading) {
		if !w.wall.isWrong() { // what has changed meanwhile is seen when it is right
			w.memory.observe(ctx, w.set(), r)
		}
	}
	return w
}

// Run works until ctx ends, gives calls under way Options.Grace to finish, hands
// back what has not begun, and returns when every goroutine that it started has
// ended. It returns an error only when it cannot begin or the bus is closed
// under it; nothing that comes in over the network ends it.
func (w *Worker) Run(ctx context.Context) error {
	w.since = time.Now()
	calls, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abort(nil)

	scheduler := &scheduler{rules: &w.rules, bus: w.bus, inv: w.inv, recent: w.memory, others: w.others, clock: w.o.Clock, log: w.o.Log, past: &w.past, check: w.wall}
	planner := &planner{rules: &w.rules, bus: w.bus, inv: w.inv, memory: w.memory, lives: w.lives, others: w.others, scheduler: scheduler, crowd: newCrowd(signalsAtOnce), clock: w.o.Clock, log: w.o.Log, past: &w.past, check: w.wall}
	runner := &runner{
		rules: &w.rules, api: w.api, bus: w.bus, inv: w.inv, clock: w.o.Clock, verifyBy: w.o.Verify, log: w.o.Log,
		embedded: w.o.Embedded, workers: w.o.Workers, calls: calls,
		slots: semaphore.NewWeighted(int64(w.o.Workers)), holding: semaphore.NewWeighted(heldAtOnce), lives: w.lives, memory: w.memory, others: w.others, hour: &hourly{}, counters: w.memory.counters,
		account: w.inv.account, tally: &w.tally, since: w.since, asking: semaphore.NewWeighted(readyAtOnce), dial: w.o.Dial, past: &w.past, ledger: &w.ledger, check: w.wall,
		accepted: make(map[string]time.Time), began: make(map[string]events.Record),
	}
	if !w.o.Embedded {
		runner.hour.shared = w.memory.counters
	}
	remembering, forget := context.WithCancel(ctx)
	defer forget()
	loaded := make(chan struct{})
	var mirror sync.WaitGroup
	defer mirror.Wait()
	defer forget()
	mirror.Go(func() { _ = w.memory.mirror(remembering, loaded) }) // until Run ends
	select {
	case <-loaded:
	case <-ctx.Done():
		return nil
	}
	for {
		err := w.prepare(ctx, planner, runner)
		if err == nil {
			break
		}
		w.o.Log.Warn("not ready, will be tried again", zap.Error(err))
		if sleepUntil(ctx, time.Now().Add(prepareRetry)) != nil {
			return nil
		}
	}

	idle := make(chan struct{}) // closed when the last run is finished or handed back
	g, intake := errgroup.WithContext(ctx)
	heard := make(chan struct{}) // closed when questions are
	g.Go(func() error {          // until intake ends
		return w.bus.ServeThen(intake, w.o.Version, w.endpoints(planner), func() { close(heard) })
	})
	g.Go(func() error { return scheduler.run(intake) })                                                  // until intake ends
	g.Go(func() error { return w.bus.ConsumeIn(intake, triggersAtOnce, signalsInHand, planner.handle) }) // until intake ends
	g.Go(func() error {                                                                                  // until intake ends and the calls under way have ended
		defer close(idle)
		return w.bus.ConsumeRuns(intake, runsAtOnce, runner.handle)
	})
	g.Go(func() error { // the grace period
		<-intake.Done()
		timer := time.NewTimer(w.o.Grace)
		defer timer.Stop()
		select {
		case <-idle:
		case <-timer.C:
			abort(ErrGraceOver)
		}
		return nil
	})
	g.Go(func() error { return w.housekeeping(intake, planner) }) // until intake ends
	if !w.o.Embedded {
		g.Go(func() error { return planner.follow(intake) })         // until intake ends
		g.Go(func() error { return planner.followOutcomes(intake) }) // until intake ends
		g.Go(func() error {                                          // until intake ends and the calls under way have ended
			defer w.others.leave()
			err := w.others.run(intake)
			<-idle
			return err
		})
	}
	g.Go(func() error { return w.lookAfterStore(intake) })        // until intake ends
	g.Go(func() error { return scheduler.lookForDrift(intake) })  // until intake ends
	g.Go(func() error { return newWarner(w).run(intake) })        // until intake ends
	g.Go(func() error { w.checkRegions(intake); return nil })     // until intake ends
	g.Go(func() error { w.memory.tellHands(intake); return nil }) // until all are told, or intake ends
	select {                                                      // who is told that it is ready may ask at once
	case <-heard:
	case <-intake.Done():
	}
	w.ready.Store(true)
	w.o.Log.Info("ready", zap.Strings("regions", w.set().Regions), zap.Int("policies", len(w.set().Policies)),
		zap.String("mode", string(w.set().Mode)), zap.String("nats", w.bus.URL()))
	err := g.Wait()
	w.ready.Store(false)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// prepare reads from the store what must be known before anything is decided.
func (w *Worker) prepare(ctx context.Context, p *planner, r *runner) error {
	wrong := w.wall.refuse(ctx) // and it is known from the first reading on
	if err := w.lookBack(ctx); err != nil {
		return err
	}
	if w.bus.OwnsStore() {
		last, err := w.bus.LastRun(ctx)
		if err != nil {
			return err
		}
		w.ledger.before = last
	}
	if err := p.load(ctx); err != nil {
		return err
	}
	began, err := w.bus.StartedSince(ctx, time.Now().Add(-time.Hour))
	if err != nil {
		return fmt.Errorf("count the actions of the last hour: %w", err)
	}
	r.hour.began = began
	if wrong != nil {
		return nil // who wants to act when it is right, silences his policy himself
	}
	return w.memory.silenceBroken(ctx)
}

func (w *Worker) housekeeping(ctx context.Context, p *planner) error {
	for sleepUntil(ctx, time.Now().Add(time.Hour)) == nil {
		p.prune(w.o.Clock.Now().Add(-2 * maxCatchUp))
		if !w.wall.isWrong() { // else all might be old
			w.memory.prune(ctx, w.set())
		}
	}
	return nil
}

// find answers with every instance that goes by a name: an id, or a host name.
func (w *Worker) find(ctx context.Context, req FindRequest) (answer FindAnswer, err error) {
	if req.Name == "" && !req.Complete {
		return answer, events.Refuse(400, "name an instance: {\"name\": \"<id or host name>\"}")
	}
	regions := w.set().Regions
	if req.Region != "" {
		if !w.inv.Has(req.Region) {
			return answer, w.noRegion(req.Region)
		}
		regions = []string{strings.ToUpper(req.Region)}
	}
	var inv []policies.Instance
	for _, region := range regions {
		reading, err := w.inv.Reading(ctx, region, time.Now().Add(-planReadingAge))
		if err != nil {
			answer.Unread = append(answer.Unread, region+": "+err.Error())
			continue
		}
		if req.Complete {
			answer.begin(reading.Instances, req.Name)
			continue
		}
		for _, i := range reading.Instances {
			if i.ID == req.Name || strings.EqualFold(i.Hostname, req.Name) {
				answer.Found = append(answer.Found, Found{ID: i.ID, Hostname: i.Hostname, Region: i.Region, Status: i.Status})
			}
		}
		inv = append(inv, reading.Instances...)
	}
	if len(answer.Found) == 0 && !req.Complete {
		answer.Similar = policies.Alike(inv, req.Name, 5)
	}
	return answer, nil
}

// completions are how many host names are offered at most.
const completions = 100

// begin adds the host names that begin so.
func (a *FindAnswer) begin(inv []policies.Instance, with string) {
	for _, i := range inv {
		if len(a.Similar) < completions && strings.HasPrefix(strings.ToLower(i.Hostname), strings.ToLower(with)) && !slices.Contains(a.Similar, i.Hostname) {
			a.Similar = append(a.Similar, i.Hostname)
		}
	}
}

// Status says how the daemon is doing.
func (w *Worker) Status(ctx context.Context) Status {
	now := w.o.Clock.Now()
	s := Status{
		Name: w.o.Name, Version: w.o.Version, Revision: w.rules.p.Load().name, Mode: string(w.set().Mode), Since: w.since.UTC(), Now: now,
		Policies: len(w.set().Policies), Regions: w.regionStatus(), Open: w.lives.count(), Paused: w.memory.paused(now),
		Timezone: w.zone().String(), TokenRefused: w.inv.account.refused(),
	}
	pin, others := w.inv.owner.seen()
	s.Account, s.OtherAccount, s.NoInstance, s.StoreFaults = pin.IDs, others, w.inv.owner.isEmpty(), w.storeFaults()
	if err := w.wall.fault(); err != nil {
		s.ClockFault = err.Error()
	}
	s.NotReady = w.NotReady(ctx)
	s.Ready = len(s.NotReady) == 0
	for _, o := range w.others.living() {
		s.Replicas = append(s.Replicas, ReplicaStatus{o.Name, o.Version, o.Revision})
	}
	if fault := w.fault.Load(); fault != nil {
		s.PolicyFault = *fault
	}
	for _, e := range w.set().Agenda(w.inv.known(), w.memory.facts(), now).NextEdges(now, 5) {
		s.Next = append(s.Next, UpcomingEdge{Policy: e.Policy, Planned: e.Planned, Want: e.Want})
	}
	return s
}
