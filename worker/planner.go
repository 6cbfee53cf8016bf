package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"nightshift/events"
	"nightshift/policies"
)

const (
	// planReadingAge is how old a reading may be that a plan is made on (machine
	// time); every rail is checked again on a reading at most railReadingAge old.
	planReadingAge = 5 * time.Second
	// tickPatience is how long a plan waits for the ticks that were announced
	// together with its own (machine time): a crash may have kept some back.
	tickPatience = 30 * time.Second
	tickRetry    = 100 * time.Millisecond
	// maxAhead is how far ahead of the server's clock a tick may lie (machine time).
	maxAhead     = time.Minute
	planRetryMin = time.Second
	planRetryMax = time.Minute
)

// planner turns triggers into stored runs.
type planner struct {
	rules  *rules
	bus    *events.Bus
	inv    *Inventory
	memory *memory
	lives  *lives
	others *replicas
	crowd  *crowd
	loads  loadsSaid
	clock  Clock
	log    *zap.Logger
	past   *events.Past
	check  *clockCheck

	scheduler *scheduler

	mu      sync.Mutex
	began   time.Time            // machine time; ticks kept back by a crash are published after it
	listed  map[string]string    // edge id -> id of the trigger whose stored plan lists it
	whole   map[string]bool      // ids of those triggers of which this process has seen every region's plan stored
	turns   map[string]*tickTurn // by trigger of ticks: one of them is planned at a time
	retries map[incomingKey]int
}

// incomingKey is what came in: a message of NS_IN, or a part of one.
type incomingKey struct {
	seq  uint64
	part int
}

func keyOf(in *events.Incoming) incomingKey { return incomingKey{in.Seq, in.Part} }

// set is what is in force.
func (p *planner) set() *policies.Set { return p.rules.set() }

// errTooEarly says that ticks announced together with this one are not stored yet,
// or that a faster clock announced them and their time has not come.
var errTooEarly = errors.New("ticks of the same instant are not stored yet, or lie ahead")

// load reads which edges the stored plans list.
func (p *planner) load(ctx context.Context) error {
	p.began = time.Now()
	p.listed = make(map[string]string)
	p.whole = make(map[string]bool)
	p.retries = make(map[incomingKey]int)
	done, undone, err := p.ended(ctx, time.Now().Add(-maxCatchUp))
	if err != nil {
		return fmt.Errorf("read which actions were done: %w", err)
	}
	for run, err := range p.bus.Runs(ctx, time.Now().Add(-maxCatchUp)) {
		if err != nil {
			return fmt.Errorf("read the stored plans: %w", err)
		}
		p.lives.planned(&run)
		run.Items = slices.DeleteFunc(run.Items, func(it events.Item) bool { return undone[it.ID] })
		for i := range run.Items {
			if it := &run.Items[i]; it.Skip == skipAlready && done[it.ID] {
				it.Skip = "" // it was not so when its turn came
			}
		}
		for _, e := range run.Edges {
			p.listed[e] = run.Trigger
		}
		p.memory.learn(run)
	}
	return nil
}

// follow takes up the plans that other replicas store, until ctx ends.
func (p *planner) follow(ctx context.Context) error {
	since := p.began.Add(-followMargin)
	for {
		err := p.bus.WatchRuns(ctx, since, func(run events.Run) {
			since = maxTime(since, run.StoredAt.Add(-followMargin)) // whatever is in between when NATS is back
			p.mu.Lock()
			for _, e := range run.Edges {
				p.listed[e] = run.Trigger
			}
			p.mu.Unlock()
			p.lives.planned(&run)
			p.memory.learn(run)
		})
		if ctx.Err() != nil {
			return nil
		}
		p.log.Warn("the plans of other replicas cannot be followed, will be tried again", zap.Error(err))
		if sleepUntil(ctx, time.Now().Add(prepareRetry)) != nil {
			return nil
		}
	}
}

// followMargin is how far back is looked again for what replicas with other clocks
// have stored.
const followMargin = time.Minute

// followOutcomes takes up how the starts and stops of other replicas stand, until
// ctx ends: what came to nothing is not wanted any more.
func (p *planner) followOutcomes(ctx context.Context) error {
	since := p.began.Add(-followMargin)
	query := events.Query{Outcomes: []events.Outcome{events.Started, events.Skipped, events.Expired, events.Failed}}
	for {
		err := p.bus.Watch(ctx, events.WatchOptions{Since: since, Query: query}, func(rec events.Record, stored time.Time, _ uint64) error {
			since = maxTime(since, stored.Add(-followMargin))
			if policies.KindOf(policies.Verb(rec.Action)) != policies.KindPower {
				return nil
			}
			if rec.Outcome == events.Started {
				p.memory.started(rec.ActionID, rec.Policy, rec.Instance)
			} else if isUndone(rec.Outcome, rec.Reason) {
				p.memory.unlearnOther(rec.ActionID, rec.Policy, rec.Instance)
			}
			return nil
		})
		if ctx.Err() != nil {
			return nil
		}
		p.log.Warn("the outcomes of other replicas cannot be followed, will be tried again", zap.Error(err))
		if sleepUntil(ctx, time.Now().Add(prepareRetry)) != nil {
			return nil
		}
	}
}

// ended are the starts and stops that were done, and those that ended otherwise.
func (p *planner) ended(ctx context.Context, since time.Time) (done, undone map[string]bool, err error) {
	done, undone = make(map[string]bool), make(map[string]bool)
	for _, verb := range []policies.Verb{policies.Start, policies.Stop} {
		for _, o := range []events.Outcome{events.Done, events.Skipped, events.Expired, events.Failed} {
			for rec, err := range p.bus.Records(ctx, events.OutcomeFilter(string(verb), o), since) {
				switch {
				case err != nil:
					return nil, nil, err
				case o == events.Done:
					done[rec.ActionID] = true
				case isUndone(rec.Outcome, rec.Reason):
					undone[rec.ActionID] = true
				}
			}
		}
	}
	return done, undone, nil
}

// handle is given everything that comes in on NS_IN, and decides when it is
// acknowledged: never before what it asks for is stored.
func (p *planner) handle(ctx context.Context, in *events.Incoming) {
	var early *aheadError
	err := p.plan(ctx, in)
	switch {
	case err == nil:
		p.forget(keyOf(in))
		err = in.Ack()
		passed(triggerAcked, "")
	case errors.Is(err, errTooEarly):
		err = in.Nak(tickRetry)
	case errors.As(err, &early):
		err = in.Nak(min(time.Until(early.until), aheadAgain))
	case errors.Is(err, errOtherRevision):
		p.log.Debug("handed back", zap.String(keySubject, in.Subject), zap.Error(err))
		err = in.Nak(handBackAgain)
	case ctx.Err() != nil:
		err = in.Nak(0)
	default:
		delay := p.backOff(keyOf(in))
		p.log.Warn("not planned, will be tried again", zap.String(keySubject, in.Subject),
			zap.Duration("delay", delay), zap.Error(err))
		err = in.Nak(delay)
	}
	if err != nil {
		p.log.Debug("acknowledgement lost, it will be delivered again", zap.Error(err))
	}
}

func (p *planner) plan(ctx context.Context, in *events.Incoming) error {
	if err := p.check.ok(ctx); err != nil {
		return err
	}
	switch {
	case in.Seq <= p.past.In:
		return p.leaveBehind(ctx, in)
	case in.Tick != nil && in.Tick.Missed > 0:
		return p.voidTick(ctx, in.Tick)
	case in.Tick != nil && !p.clock.IsFast() && in.Tick.Planned.After(in.StoredAt.Add(maxAhead)) && p.clock.Now().Before(in.Tick.Planned):
		return p.keepForItsTime(ctx, in)
	case in.Tick != nil && p.isElsewhere(in.Tick, in.Tick.Trigger):
		return nil
	case in.Command != nil && !p.inv.Has(in.Command.Region):
		c := in.Command
		return p.refuse(ctx, in, c.Region, c.Instance, c.Action,
			fmt.Sprintf("region %s is not one of the daemon's (%s)", strings.ToUpper(c.Region), strings.Join(p.set().Regions, ", ")))
	case in.Command != nil && tooFar(p.clock, in.Command) != "":
		c := in.Command
		return p.refuse(ctx, in, c.Region, c.Instance, c.Action, tooFar(p.clock, c))
	case in.Signal != nil && in.Signal.Region == events.None && in.Signal.Instance != events.None:
		return p.refuse(ctx, in, events.None, in.Signal.Instance, "plan", "the signal names an instance without its region")
	case in.Signal != nil && in.Signal.Region != events.None && !p.inv.Has(in.Signal.Region):
		s := in.Signal
		return p.refuse(ctx, in, s.Region, s.Instance, "plan",
			fmt.Sprintf("region %s is not one of the daemon's (%s)", strings.ToUpper(s.Region), strings.Join(p.set().Regions, ", ")))
	case in.Tick != nil && in.Tick.Policy == policies.DriftSource:
		return p.planDrift(ctx, in)
	case in.Signal != nil:
		if err := p.hear(ctx, in); err != nil {
			return err
		}
		return p.crowd.plan(ctx, in, func() error { return p.planTrigger(ctx, in) })
	}
	if in.Tick != nil {
		return p.planTick(ctx, in)
	}
	if in.Command.ID != "" {
		return p.planOnce(ctx, in)
	}
	return p.planTrigger(ctx, in)
}

// planTick plans the trigger of a tick, unless another of its ticks has done so:
// the ticks of one instant come one by one, and one plan is for all of them.
func (p *planner) planTick(ctx context.Context, in *events.Incoming) error {
	trigger, edge := in.Tick.Trigger, edgeOf(in.Tick).ID()
	release, err := p.turnOf(ctx, trigger)
	if err != nil {
		return err
	}
	defer release()
	p.mu.Lock()
	isPlanned := p.whole[trigger] && p.listed[edge] == trigger
	p.mu.Unlock()
	if isPlanned {
		return nil
	}
	if err := p.planTrigger(ctx, in); err != nil {
		return err
	}
	p.mu.Lock()
	p.whole[trigger] = true
	p.mu.Unlock()
	return nil
}

// tickTurn lets one tick of a trigger after another be planned.
type tickTurn struct {
	free  chan struct{} // has an element while nobody has the turn
	users int           // who has it or waits for it
}

// turnOf waits until no other tick of a trigger is being planned.
func (p *planner) turnOf(ctx context.Context, trigger string) (release func(), err error) {
	p.mu.Lock()
	t := p.turns[trigger]
	if t == nil {
		t = &tickTurn{free: make(chan struct{}, 1)}
		t.free <- struct{}{}
		if p.turns == nil {
			p.turns = make(map[string]*tickTurn)
		}
		p.turns[trigger] = t
	}
	t.users++
	p.mu.Unlock()
	leave := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(p.turns, trigger)
		}
	}
	select {
	case <-t.free:
		return func() { t.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// isElsewhere reports whether a stored plan of another trigger lists the tick.
func (p *planner) isElsewhere(t *events.Tick, trigger string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, ok := p.listed[edgeOf(t).ID()]
	return ok && id != trigger && !strings.HasPrefix(id, trigger+"-")
}

// isOlder reports whether the newest edge of a trigger of ticks lies before that
// of another.
func isOlder(trigger, other string) bool {
	unix := func(id string) int64 {
		first, _, _ := strings.Cut(id, "-")
		n, _ := strconv.ParseInt(strings.TrimPrefix(first, "t"), 10, 64) // 0: none of ours
		return n
	}
	return unix(trigger) < unix(other)
}

func edgeOf(t *events.Tick) policies.Edge {
	e := policies.Edge{Policy: t.Policy, Planned: t.Planned, Hash: t.Hash, From: t.Since, To: t.Upto}
	if e.Hash == noHash {
		e.Hash = ""
	}
	return e
}

// voidTick gives edges that will not run the one event that says so.
func (p *planner) voidTick(ctx context.Context, t *events.Tick) error {
	detail := fmt.Sprintf("planned for %s, noticed too late", t.Planned.Format(time.RFC3339))
	if t.Missed > 1 {
		detail = fmt.Sprintf("%d edges planned from %s to %s, noticed too late", t.Missed, t.Since.Format(time.RFC3339), t.Planned.Format(time.RFC3339))
	}
	return p.endTick(ctx, t, detail)
}

func (p *planner) endTick(ctx context.Context, t *events.Tick, detail string) error {
	edge := edgeOf(t)
	rec := events.Record{
		ActionID: policies.ActionID(edge.ID(), 0, "_", "none"), Action: "tick", Outcome: events.Expired,
		Detail: detail, Trigger: t.Trigger, Policy: t.Policy, Revision: edge.Hash, Region: "_", Instance: "_", Planned: t.Planned, Lateness: lateness(p.clock.Now(), t.Planned),
	}
	if _, err := p.bus.PublishOutcome(ctx, rec); err != nil {
		return fmt.Errorf("report edge %s as expired: %w", edge.ID(), err)
	}
	p.log.Warn("edge missed", zap.String(keyPolicy, t.Policy), zap.Time(keyPlanned, t.Planned), zap.Int("count", t.Missed), zap.String(keyDetail, detail))
	return nil
}

// refuse ends what asks for something that cannot be, with an outcome that its
// sender can wait for.
func (p *planner) refuse(ctx context.Context, in *events.Incoming, region, instance, action, detail string) error {
	id := in.TriggerID()
	kind := policies.KindOf(policies.Verb(action))
	rec := events.Record{
		ActionID: policies.ActionID(id, 0, instance, kind), Action: action, Outcome: events.Failed, Reason: string(policies.ReasonInvalid),
		Detail: detail, Trigger: id, Region: region, Instance: instance, Hostname: p.inv.hostname(region, instance),
	}
	if in.Command != nil {
		rec.Who, rec.Claim = in.Command.Who, clip(in.Command.Claim)
	} else if in.Signal != nil {
		rec.Who = in.Signal.Source
	}
	if _, err := p.bus.PublishOutcome(ctx, rec); err != nil {
		return fmt.Errorf("refuse %s: %w", in.Subject, err)
	}
	p.log.Warn("refused", zap.String(keySubject, in.Subject), zap.String(keyDetail, detail))
	return nil
}

// trigger is the decision's view of what came in.
func (p *planner) trigger(ctx context.Context, in *events.Incoming) (policies.Trigger, error) {
	trig := policies.Trigger{ID: in.TriggerID(), At: p.clock.Plan(in.StoredAt)}
	switch {
	case in.Tick != nil:
		var edges []policies.Edge
		var err error
		if trig.ID, edges, err = p.edges(ctx, in); err != nil {
			return trig, err
		}
		if err := p.ownForm(in, edges); err != nil {
			return trig, err
		}
		trig.Edges, trig.At = edges, edges[0].Planned
		for _, e := range edges {
			if e.Planned.After(trig.At) {
				trig.At = e.Planned
			}
		}
	case in.Command != nil:
		c := in.Command
		giveUp, _ := time.ParseDuration(c.GiveUpAfter) // checked when it was read
		trig.Who, trig.Claim = c.Who, clip(c.Claim)
		trig.Command = &policies.Command{
			Region: strings.ToUpper(c.Region), Instance: c.Instance, Reason: c.Reason, NotBefore: c.NotBefore, GiveUpAfter: giveUp, DryRun: c.DryRun,
			Step: stepOf(*c),
		}
	case in.Signal != nil:
		s := in.Signal
		trig.Who = s.Source
		if t := s.At(); !t.IsZero() {
			trig.At = minTime(p.clock.Plan(t), p.clock.Now()) // a source whose clock is fast must not be waited for
		}
		trig.Signal = &policies.Signal{
			Source: s.Source, Region: strings.ToUpper(s.Region), Instance: s.Instance, Alert: s.Alert, Load: s.Load,
			Name: s.Name, Labels: s.Labels, Resolved: s.Resolved(), Bound: s.Webhook,
		}
		if s.Instance == events.None {
			trig.Signal.Instance = ""
		}
		if s.Region == events.None {
			trig.Signal.Region = ""
		}
		if s.Value != nil {
			trig.Signal.Value = *s.Value
		}
	}
	return trig, nil
}

// edges are those that a tick's trigger takes: all that were announced together
// with it, run, and are in no other stored plan. Those that a process had announced
// before, and was killed then, are its trigger's, which is planned first: a newer
// plan overtakes it. Where a plan of the trigger is stored already, for another
// region, it takes the same. A tick that such a plan does not list came too late
// for it, and makes a trigger of its own.
func (p *planner) edges(ctx context.Context, in *events.Incoming) (trigger string, edges []policies.Edge, err error) {
	own := edgeOf(in.Tick)
	stored, ok, err := p.storedPlan(ctx, in.Tick.Trigger)
	if err != nil {
		return "", nil, err
	}
	take, id := in.Tick.Edges, in.Tick.Trigger
	switch {
	case ok:
		take = stored.Edges
		if !slices.Contains(stored.Edges, own.ID()) {
			return id + "-" + events.TokenOf(own.ID()), []policies.Edge{own}, nil
		}
	case in.Tick.Lead != "":
		lead, found, err := p.bus.LoadTick(ctx, in.Tick.Lead)
		switch {
		case err != nil:
			return "", nil, fmt.Errorf("read tick %s: %w", in.Tick.Lead, err)
		case !found && p.mayCome(in):
			return "", nil, errTooEarly
		case found && lead.Trigger == id:
			take = lead.Edges
		}
	}
	for _, edge := range take {
		t, found, err := p.bus.LoadTick(ctx, edge)
		if err != nil {
			return "", nil, fmt.Errorf("read tick %s: %w", edge, err)
		}
		switch {
		case !found && p.mayCome(in):
			return "", nil, errTooEarly
		case !found || t.Missed > 0:
		case ok || t.Trigger == id && !p.isElsewhere(&t, id):
			edges = append(edges, edgeOf(&t))
		case p.mayCome(in) && isOlder(t.Trigger, id):
			_, planned, err := p.storedPlan(ctx, t.Trigger)
			if err != nil {
				return "", nil, err
			}
			if !planned {
				return "", nil, errTooEarly
			}
		}
	}
	if !slices.ContainsFunc(edges, func(e policies.Edge) bool { return e.ID() == own.ID() }) {
		edges = append(edges, own)
	}
	return id, edges, nil
}

// mayCome reports whether a tick that was announced together with one may still be
// stored.
func (p *planner) mayCome(in *events.Incoming) bool {
	return time.Since(in.StoredAt) < tickPatience || time.Since(p.began) < tickPatience
}

// ownForm hands edges back that a form of their policy planned which this replica
// has not, as long as another may have it. After that they are decided about in
// this one's form, where that has the same edge and was known before it.
func (p *planner) ownForm(in *events.Incoming, edges []policies.Edge) error {
	for i := range edges {
		e := &edges[i]
		hash := p.rules.hash(e.Policy)
		if e.Hash == "" || e.Hash == hash {
			continue
		}
		if time.Since(in.StoredAt) < handBackFor && p.others.mayHaveAnother() {
			return errOtherRevision
		}
		if hash != "" && p.scheduler.hasEdge(*e) {
			e.Hash = hash
		}
	}
	return nil
}

// storedPlan is the plan of a trigger in the first region that has one.
func (p *planner) storedPlan(ctx context.Context, trigger string) (events.Run, bool, error) {
	for _, region := range p.set().Regions {
		run, ok, err := p.bus.LoadRun(ctx, strings.ToLower(region), trigger)
		if err != nil || ok {
			return run, ok, err
		}
	}
	return events.Run{}, false, nil
}

// inventoryFor reads the regions that a trigger concerns and that have no stored
// plan of it yet. A region that cannot be read is in faults; once the trigger is
// too old to act upon, its part of the plan is stored as given up.
func (p *planner) inventoryFor(ctx context.Context, in *events.Incoming, trig policies.Trigger) (regions []string, inv []policies.Instance, faults []error, err error) {
	want := p.set().Regions
	notBefore := time.Now().Add(-planReadingAge)
	switch {
	case trig.Command != nil:
		want = []string{trig.Command.Region}
		notBefore = p.recentEnough(trig.Command.Region, trig.Command.Instance, notBefore)
	case trig.Signal != nil && trig.Signal.Region != "":
		want = []string{trig.Signal.Region}
		notBefore = p.recentEnough(trig.Signal.Region, trig.Signal.Instance, notBefore)
	}
	readings := make([]*Reading, len(want))
	broken := make([]error, len(want))
	var g errgroup.Group // ends with this call
	for i, region := range want {
		g.Go(func() error {
			if trig.Command == nil { // a command is decided about sooner than it is asked for
				run, stored, err := p.bus.LoadRun(ctx, strings.ToLower(region), trig.ID)
				if err != nil {
					return err
				}
				if stored { // perhaps by another replica, or the answer was lost
					p.memory.learn(run)
					return nil
				}
			}
			readings[i], broken[i] = p.inv.Reading(ctx, region, notBefore)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, nil, err
	}
	for i, region := range want {
		if broken[i] != nil {
			if !p.givenUp(in, trig) {
				faults = append(faults, broken[i])
				continue
			}
			if err := p.giveUpRegion(ctx, in, trig, region, broken[i]); err != nil && !errors.Is(err, errIDUsed) {
				return nil, nil, nil, err
			}
		}
		if readings[i] != nil {
			regions = append(regions, region)
			about := readings[i].of(named(trig))
			if len(about) == 0 {
				about = p.meant(readings[i], trig)
			}
			inv = append(inv, about...)
		}
	}
	return regions, inv, faults, nil
}

// meant are those that may be meant by an id that a region lacks, for the reason of the
// skip: of a signal, which comes in great numbers, only those of that host name.
func (p *planner) meant(reading *Reading, trig policies.Trigger) (inv []policies.Instance) {
	switch {
	case trig.Command != nil:
		return p.inv.around(reading, p.set().Regions)
	case trig.Signal != nil && trig.Signal.Instance != "":
		for _, i := range reading.Instances {
			if strings.EqualFold(i.Hostname, trig.Signal.Instance) {
				inv = append(inv, i)
			}
		}
	}
	return inv
}

// recentEnough lets an older reading do when it knows the one instance that is
// asked about: the rails are checked on a fresh one anyway.
func (p *planner) recentEnough(region, instance string, notBefore time.Time) time.Time {
	if last := p.inv.last(region); last != nil {
		if _, ok := last.Instance(instance); ok {
			return time.Now().Add(-railReadingAge)
		}
	}
	return notBefore
}

// givenUp reports whether nothing that the trigger asks for may begin any more.
func (p *planner) givenUp(in *events.Incoming, trig policies.Trigger) bool {
	now := time.Now()
	switch {
	case trig.Drift:
		return false // the next look comes soon
	case trig.Command != nil:
		d := trig.Command.GiveUpAfter
		if d == 0 {
			d = policies.DefaultGiveUp
		}
		return now.After(maxTime(in.StoredAt, p.clock.Machine(trig.Command.NotBefore)).Add(d))
	case trig.Signal != nil:
		d := policies.DefaultGiveUp
		for i := range p.set().Policies {
			if p.set().Policies[i].Signal != nil {
				d = max(d, p.set().Policies[i].GiveUpAfter)
			}
		}
		return now.After(p.clock.Machine(trig.At).Add(d))
	}
	s := scheduler{set: p.set(), clock: p.clock}
	for _, e := range trig.Edges {
		if !s.givenUp(e, p.clock.Plan(now)) {
			return false
		}
	}
	return true
}

func (p *planner) giveUpRegion(ctx context.Context, in *events.Incoming, trig policies.Trigger, region string, fault error) error {
	run := p.newRun(trig, region)
	run.Asked = askedBy(in)
	run.Why = fmt.Sprintf("region %s could not be listed until it was too late: %v", region, fault)
	return p.putAsked(ctx, in, run)
}

// hear takes up the value of a load, also of one that is not planned because a
// newer one waits.
func (p *planner) hear(ctx context.Context, in *events.Incoming) error {
	if in.Signal.Load == "" || in.Signal.Resolved() {
		return nil
	}
	trig, err := p.trigger(ctx, in)
	if err != nil {
		return err
	}
	return p.memory.hear(ctx, p.set(), trig.Signal, trig.At)
}

// named is the instance that a trigger is about, if it names one.
func named(trig policies.Trigger) string {
	switch {
	case trig.Command != nil:
		return trig.Command.Instance
	case trig.Signal != nil:
		return trig.Signal.Instance
	}
	return ""
}

// facts is what is remembered and concerns a trigger, in regions that are decided about.
func (p *planner) facts(ctx context.Context, trig policies.Trigger, regions []string) (policies.Facts, error) {
	instance := named(trig)
	facts := p.memory.factsOf(p.set(), instance)
	p.inv.addFleet(&facts)
	if instance == "" && len(regions) < len(p.set().Regions) {
		var err error
		if facts.Asked, err = p.asked(ctx, trig); err != nil {
			return facts, err
		}
	}
	if trig.Signal == nil {
		return facts, nil
	}
	p.memory.addSignalFacts(&facts, p.set(), trig.Signal, trig.ID)
	if trig.Signal.Instance == "" {
		return facts, nil
	}
	last, _, err := p.bus.LastStarted(ctx, strings.ToLower(trig.Signal.Region), trig.Signal.Instance)
	if err != nil {
		return facts, err
	}
	if last.ActionID != "" && last.Trigger != trig.ID {
		facts.LastActions = map[string]time.Time{trig.Signal.Instance: p.clock.Plan(last.StoredAt)}
	}
	return facts, nil
}

// asked are the instances of what a trigger asked for in regions that were decided
// about before, because the others could not be listed then: limits count them all.
func (p *planner) asked(ctx context.Context, trig policies.Trigger) (instances []string, err error) {
	for _, region := range p.set().Regions {
		for _, trigger := range []string{trig.ID, events.HeldID(trig.ID)} {
			run, ok, err := p.bus.LoadRun(ctx, strings.ToLower(region), trigger)
			if err != nil {
				return nil, err
			}
			for _, it := range run.Items {
				if ok && countsIn(it) {
					instances = append(instances, it.Instance)
				}
			}
		}
	}
	return instances, nil
}

// runs are the plan's parts, one for each region that was read, empty ones too:
// they say that the region has been decided. What waits for approval is a run of
// its own, and comes first: once the others are stored nobody plans again. Where
// nothing at all is to be done the first says why.
func (p *planner) runs(trig policies.Trigger, regions []string, plan policies.Plan) []events.Run {
	if len(regions) == 0 {
		return nil
	}
	runs := make([]events.Run, len(regions))
	at := make(map[string]int, len(regions))
	for i, region := range regions {
		runs[i] = p.newRun(trig, region)
		at[region] = i
	}
	var held []events.Run
	for _, a := range plan.Actions {
		if a.Hold == "" {
			i := at[a.Region]
			runs[i].Items = append(runs[i].Items, p.item(a))
			continue
		}
		i := slices.IndexFunc(held, func(r events.Run) bool { return strings.EqualFold(r.Region, a.Region) })
		if i < 0 {
			i = len(held)
			held = append(held, p.heldRun(runs[at[a.Region]], a.Hold))
			held[i].Grown = plan.Grown
		} else if !strings.Contains(held[i].Held, a.Hold) {
			held[i].Held += "; " + a.Hold
		}
		held[i].Items = append(held[i].Items, p.item(a))
	}
	for _, s := range plan.Skips {
		it := p.item(s.Action)
		it.Skip, it.Detail = string(s.Reason), s.Detail
		i := at[s.Region] // a skip without an instance goes with the first region
		runs[i].Items = append(runs[i].Items, it)
	}
	if len(plan.Actions)+len(plan.Skips) == 0 && len(regions) == len(p.set().Regions) || len(regions) == 1 && len(runs[0].Items)+len(held) == 0 {
		runs[0].Why = whyNothing(trig)
	}
	for i := range held { // nobody is told to approve what would be given up
		var last time.Time
		for n := range held[i].Items {
			it := &held[i].Items[n]
			if trig.Drift { // it goes on, and the rails look whether it does
				it.NotAfter = held[i].HeldUntil.Add(policies.DefaultGiveUp)
			}
			last = maxTime(last, it.NotAfter)
		}
		held[i].HeldUntil = minTime(held[i].HeldUntil, last)
	}
	return append(held, runs...)
}

// heldRun is the part of a plan that waits for approval.
func (p *planner) heldRun(of events.Run, why string) events.Run {
	of.Trigger, of.Items = events.HeldID(of.Trigger), nil
	of.Held, of.HeldUntil = why, time.Now().Add(cmp.Or(p.set().HoldFor, policies.DefaultHoldFor)).UTC()
	return of
}

// store stores a run, unless there is one of its trigger and region.
func (p *planner) store(ctx context.Context, run events.Run) error {
	_, err := p.put(ctx, run)
	return err
}

// put is store for who wants to know which plan stands.
func (p *planner) put(ctx context.Context, run events.Run) (events.Run, error) {
	p.lives.stored(&run)
	stored, err := p.bus.StoreRun(ctx, run)
	passed(planStored, "")
	if !stored {
		p.lives.take(&run)
	}
	switch {
	case err != nil:
		return run, err
	case stored:
		p.memory.learn(run)
		return run, nil
	}
	there, ok, err := p.bus.LoadRun(ctx, run.Region, run.Trigger) // perhaps another replica's, or the answer was lost
	if err == nil && !ok && run.Asked != "" {
		there, ok, err = p.bus.FirstRun(ctx, run.Origin()) // in another region, of another command
	}
	if !ok {
		return run, err
	}
	p.memory.learn(there)
	return there, err
}

func whyNothing(trig policies.Trigger) string {
	switch {
	case trig.Signal != nil && trig.Signal.Resolved:
		return string(policies.ReasonResolved)
	case trig.Signal != nil:
		return "no policy is triggered by this signal"
	default:
		return "no instance is selected"
	}
}

func (p *planner) newRun(trig policies.Trigger, region string) events.Run {
	run := events.Run{
		Trigger: trig.ID, Who: trig.Who, Claim: trig.Claim, Region: strings.ToLower(region), Planned: trig.At, StoredAt: time.Now().UTC(),
	}
	switch {
	case len(trig.Edges) > 0:
		run.Kind = "tick"
		for _, e := range trig.Edges {
			run.Edges = append(run.Edges, e.ID())
		}
		p.mu.Lock()
		for _, e := range run.Edges {
			p.listed[e] = trig.ID
		}
		p.mu.Unlock()
	case trig.Command != nil:
		run.Kind = "command"
	case trig.Signal != nil:
		run.Kind = "signal"
	default:
		run.Kind = "drift"
	}
	return run
}

// item is the stored form of an action: the one place where policies.Action
// becomes a message.
func (p *planner) item(a policies.Action) events.Item {
	it := events.Item{
		ID: a.ID, Step: a.Step, Kind: string(a.Kind), Action: string(a.Verb),
		Region: strings.ToLower(a.Region), Instance: a.Instance, Hostname: a.Hostname,
		Hard: a.Hard, Size: a.Size, Tags: a.Tags, Add: a.Add, Remove: a.Remove, Firewall: a.Firewall, To: a.To,
		Policy: a.Policy, Revision: p.rules.hash(a.Policy), Why: a.Why, Priority: a.Priority, Level: a.Level, Planned: a.Planned.UTC(),
		Observe: a.Mode == policies.ModeObserve, HoldsUntil: a.HoldsUntil, IfFiring: a.IfFiring,
	}
	if a.Due.After(a.Planned) {
		it.NotBefore = p.clock.Machine(a.Due).UTC()
	}
	if it.Region == "" {
		it.Region = "_"
	}
	if it.Instance == "" {
		it.Instance = "_"
	}
	if a.Until.IsZero() {
		it.NotAfter = p.clock.Machine(a.Due).Add(a.GiveUpAfter)
	} else {
		it.NotAfter = p.clock.Machine(a.Until)
	}
	it.NotAfter = it.NotAfter.UTC()
	if last := p.inv.last(a.Region); last != nil {
		if inst, ok := last.Instance(a.Instance); ok {
			it.SeenAt, it.Status = last.Began.UTC(), inst.Status
		}
	}
	it.Stage = stageOf(a)
	return it
}

func (p *planner) logPlan(trig policies.Trigger, plan policies.Plan) {
	p.log.Info("planned", zap.String(keyTrigger, trig.ID), zap.Time(keyPlanned, trig.At),
		zap.Duration(keyLateness, p.clock.Now().Sub(trig.At)), zap.Int("actions", len(plan.Actions)), zap.Int("skips", len(plan.Skips)))
}

func (p *planner) backOff(key incomingKey) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.retries[key]
	p.retries[key] = n + 1
	return min(planRetryMax, planRetryMin<<min(n, 10))
}

func (p *planner) forget(key incomingKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.retries, key)
}

// prune forgets edges that no stream holds any more.
func (p *planner) prune(before time.Time) {
	p.loads.prune(p.clock.Now())
	p.mu.Lock()
	defer p.mu.Unlock()
	for edge := range p.listed {
		if unix, ok := edgeUnix(edge); ok && time.Unix(unix, 0).Before(before) {
			delete(p.whole, p.listed[edge])
			delete(p.listed, edge)
		}
	}
}

func edgeUnix(edge string) (int64, bool) {
	i := strings.LastIndexByte(edge, '@')
	if i < 0 {
		return 0, false
	}
	var unix int64
	_, err := fmt.Sscanf(edge[i+1:], "%d", &unix)
	return unix, err == nil
}
