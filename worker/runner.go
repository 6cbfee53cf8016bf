package worker

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/policies"
)

// Machine times of the runner.
const (
	railReadingAge = 60 * time.Second // rails are checked on a reading at most this old
	// retagReadingAge is shorter: a retag replaces the whole set, so it would undo
	// what somebody else changed since the reading.
	retagReadingAge = 2 * time.Second
	callTimeout     = 30 * time.Second // a call ends within, retries of the client included
	retryMin        = time.Second      // between two attempts, doubling
	retryMax        = time.Minute
	lastWords       = 5 * time.Second        // after the grace period, to store what an answer said
	keepRetry       = 500 * time.Millisecond // between two attempts to store what an answer said
	busyPoll        = 2 * time.Second        // between two looks at an instance that is busy, or held by another action
)

const skipAlready = string(policies.ReasonAlready)

// runner carries stored plans out.
type runner struct {
	rules    *rules
	api      *civo.Client
	bus      *events.Bus
	inv      *Inventory
	clock    Clock
	verifyBy Verify
	log      *zap.Logger
	embedded bool
	workers  int

	calls    context.Context     // the life of calls under way; ends when the grace period is over
	slots    *semaphore.Weighted // one per call to the API
	holding  *semaphore.Weighted // one per run that waits for approval here
	lives    *lives
	memory   *memory
	others   *replicas
	hour     *hourly
	counters *counters
	account  *gate
	tally    *tally
	since    time.Time           // when the process took up its work
	asking   *semaphore.Weighted // one per question whether an instance is ready
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	past     *events.Past
	ledger   *ledger
	check    *clockCheck

	mu       sync.Mutex
	accepted map[string]time.Time     // by instance id: when our last call was accepted (machine time)
	began    map[string]events.Record // by instance id: our newest call, when it has its outcome; only where nobody else calls
}

// set is what is in force.
func (r *runner) set() *policies.Set { return r.rules.set() }

// handle brings every action of a run to its outcome, then acknowledges it.
func (r *runner) handle(ctx context.Context, d *events.RunDelivery) {
	run := &d.Run
	passed(runTaken, "")
	if len(run.Items) == 0 {
		r.finish(ctx, d, r.endEmpty(ctx, run))
		return
	}
	if r.others.isOthers(run, d.StoredAt) {
		_ = d.Nak(handBackAgain)
		return
	}
	for i := range run.Items {
		run.Items[i].Policy = r.memory.nameInForce(run.Items[i].Policy)
	}
	for _, it := range run.Items { // before the first acts: an older run must not go on meanwhile
		r.lives.open(d.Seq, run.StoredAt, it)
	}
	if run.Held != "" && !r.isPast(d.Seq) {
		if !r.holding.TryAcquire(1) { // those that wait must not take the places of those that need not
			_ = d.Nak(heldAgain)
			return
		}
		defer r.holding.Release(1)
		if approved, err := r.awaitApproval(ctx, d); err != nil || !approved {
			r.finish(ctx, d, err)
			return
		}
	}
	fresh := r.lives.take(run) // nothing can be in the ledger
	turns, err := r.turnsOf(ctx, d, fresh)
	if err != nil {
		r.finish(ctx, d, err)
		return
	}
	own := semaphore.NewWeighted(int64(r.workers)) // so that a large run leaves room for a command
	var g errgroup.Group                           // ends with this call
	size, first := sizeOf(run.Items), canaries(r.set(), run.Items)
	chosen, late := selectorOf(run), new(turned)
	for _, line := range turns.lines {
		g.Go(func() error {
			err := r.recovering(func() error { return r.walk(ctx, turns, run, line) })
			if err != nil {
				turns.breakOff(err)
			}
			return err
		})
	}
	for _, items := range byInstance(run.Items) {
		g.Go(func() error {
			for _, it := range items { // the steps of one instance one after another
				a := &attempt{
					seq: d.Seq, run: run, item: it, life: r.lives.open(d.Seq, run.StoredAt, it), own: own, turns: turns, imposed: turns.waited(it), placed: turns.isUnderWay(it.ID),
					size: size, canary: first[it.Policy], isOurs: d.IsOurs, chosen: chosen, turned: late,
				}
				if fresh {
					a.read = &events.Trail{}
				}
				err := r.recovering(func() error { return r.carryOut(ctx, a) })
				turns.end(a, err)
				if err != nil {
					a.canary.leave()
					return err
				}
			}
			return nil
		})
	}
	r.finish(ctx, d, g.Wait())
}

// recovering turns a panic into an error, so that one action cannot end the daemon.
func (r *runner) recovering(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("programming error, please report it: %v", p)
			r.log.Error("panic in an action", zap.Any("panic", p), zap.Stack("stack"))
		}
	}()
	return f()
}

func (r *runner) finish(ctx context.Context, d *events.RunDelivery, err error) {
	var ackErr error
	if err != nil {
		r.lives.handOver(&d.Run)
	}
	switch {
	case err == nil:
		ackErr = d.Ack()
		passed(runAcknowledged, "")
	case ctx.Err() != nil:
		ackErr = d.Nak(0)
	default:
		r.log.Warn("run not finished, will be taken up again", zap.String(keyTrigger, d.Run.Trigger),
			regionField(d.Run.Region), zap.Error(err))
		ackErr = d.Nak(retryMin)
	}
	if ackErr != nil {
		r.log.Debug("acknowledgement lost, it will be delivered again", zap.Error(ackErr))
	}
}

// endEmpty gives a trigger that touches nothing its one event.
func (r *runner) endEmpty(ctx context.Context, run *events.Run) error {
	if run.Why == "" {
		return nil // another region has actions, or tells why not
	}
	rec := events.Record{
		ActionID: policies.ActionID(run.Trigger, 0, run.Region, "none"), Action: "plan", Outcome: events.Skipped,
		Reason: string(policies.ReasonNoMatch), Detail: run.Why, Trigger: run.Trigger, Who: run.Who, Claim: run.Claim,
		Policy: policiesOf(run.Edges), Region: run.Region, Instance: "_", Planned: run.Planned,
	}
	_, err := r.bus.PublishOutcome(ctx, rec)
	passed(outcomeStored, rec.Action)
	return err
}

func policiesOf(edges []string) string {
	var names []string
	for _, e := range edges {
		name, _, _ := strings.Cut(e, "@")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// byInstance groups items by instance in order of their first appearance, each
// group in order of steps.
func byInstance(items []events.Item) [][]events.Item {
	at := make(map[string]int)
	var groups [][]events.Item
	for _, it := range items {
		i, ok := at[it.Instance]
		if !ok {
			i = len(groups)
			at[it.Instance] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], it)
	}
	for _, g := range groups {
		slices.SortStableFunc(g, func(a, b events.Item) int { return a.Step - b.Step })
	}
	return groups
}

// attempt is what this process remembers of an action on its way. All that must
// survive a crash is in the ledger instead.
type attempt struct {
	seq  uint64 // of the run
	run  *events.Run
	item events.Item
	life *life
	own  *semaphore.Weighted // of the run
	size size                // of the run

	isOurs func() bool // nobody else carries the run out

	canary *canary            // whose turn it waits for; nil: nobody's
	chosen *policies.Selector // of the run, where one was asked for all that it chooses; else nil
	turned *turned            // of the run

	turns  *turns  // of the run
	placed bool    // it has a place in the pace of the run
	end    verdict // how it ended; outcome and reason only

	notBefore time.Time     // a reading that this action looks at began no earlier
	imposed   time.Duration // waits that we imposed: they don't count against the give-up time
	firstSo   time.Time     // since when readings say that the instance is as wanted; zero: not so
	calls     int           // by this process
	made      int           // calls in all, as the ledger says
	tries     int           // in vain
	lastErr   string
	fault     policies.Reason // of lastErr
	floored   bool            // it counts as down for floors
	cool      *cooldown       // what begins with the call; nil: none
	began     events.Record   // the newest call of this process, as it stands in the ledger
	noted     string          // last detail that was noted while waiting
	least     uint64          // the ledger has a record of the action with this sequence

	read     *events.Trail  // what the ledger has of the action; nil when something was added since
	accepted *events.Record // a call was accepted and the note that says so is not stored yet
}

// trail is what the ledger has of an action.
func (r *runner) trail(ctx context.Context, a *attempt) (events.Trail, error) {
	if a.read == nil {
		trail, err := r.bus.TrailFrom(ctx, a.item.Region, a.item.Instance, a.item.ID, a.least)
		if err != nil {
			return trail, fmt.Errorf("read the ledger of action %s: %w", a.item.ID, err)
		}
		a.read, a.least = &trail, max(a.least, trail.Seq)
	}
	return *a.read, nil
}

// add stores a note of an action.
func (r *runner) add(ctx context.Context, a *attempt, rec events.Record) error {
	a.read = nil
	seq, err := r.bus.AddNote(ctx, rec)
	a.least = max(a.least, seq)
	return err
}

// keep stores what is known of a call that was made, while NATS may be away: it
// cannot be found out again. It is tried for as long as a call may take.
func (r *runner) keep(ctx context.Context, store func(context.Context) error) error {
	ctx, end := r.toTheEnd(ctx)
	defer end()
	deadline := time.Now().Add(callTimeout)
	for {
		err := store(ctx)
		if err == nil || r.embedded || r.calls.Err() != nil || time.Now().After(deadline) {
			return err
		}
		r.log.Debug("not stored, will be tried again", zap.Error(err))
		if sleepUntil(r.calls, time.Now().Add(keepRetry)) != nil {
			return err
		}
	}
}

// toTheEnd is the life of what must be stored although the daemon is told to end: until
// lastWords after the grace period, however slow the store is. Whoever started the
// daemon kills it soon after.
func (r *runner) toTheEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(r.calls, func() {
		timer := time.NewTimer(lastWords)
		defer timer.Stop()
		select {
		case <-timer.C:
			end(context.Cause(r.calls))
		case <-ctx.Done():
		}
	})
	return ctx, func() { stop(); end(nil) }
}

// next says how an action goes on: it ended, or it is looked at again after a time.
type next struct {
	outcome *verdict
	after   time.Time
	ours    bool                                                       // a limit of ours keeps it back until then: that does not count against the give-up time
	turn    func(ctx context.Context, overtaken <-chan struct{}) error // waits, if not nil, for its turn
}

// verdict is an outcome with its reasons.
type verdict struct {
	outcome events.Outcome
	reason  policies.Reason
	detail  string
	err     string
	before  string
	after   string
	to      []string // of a message

	calledAt, seenAt time.Time // of what is unknown
}

func ended(v verdict) next       { return next{outcome: &v} }
func lookAgain(t time.Time) next { return next{after: t} }
func atOnce() next               { return next{after: time.Now()} }

// end stores the outcome; where one is stored already, that one stands.
func (r *runner) end(ctx context.Context, a *attempt, v verdict) error {
	it := a.item
	rec := r.record(a, v.outcome)
	rec.Reason, rec.Detail, rec.Error, rec.Before, rec.After = string(v.reason), v.detail, v.err, v.before, v.after
	rec.To, rec.CalledAt, rec.SeenAt = v.to, v.calledAt, v.seenAt
	rec.Lateness, rec.Attempt = lateness(r.clock.Now(), it.Planned), a.made
	passed(outcomeKnown, it.Action)
	stored, err := r.bus.PublishOutcomeAfter(ctx, rec, a.read)
	if err != nil && a.began.Seq > 0 { // what the answer was nobody else knows
		err = r.keep(context.WithoutCancel(ctx), func(ctx context.Context) (err error) {
			stored, err = r.bus.PublishOutcome(ctx, rec)
			return err
		})
	}
	passed(outcomeStored, it.Action)
	if err != nil {
		a.read = nil
		return fmt.Errorf("store outcome %s of action %s: %w", v.outcome, it.ID, err)
	}
	a.end = v
	r.lives.end(it.ID)
	a.canary.ended(it.ID, v.outcome, cmp.Or(v.err, v.detail), time.Now())
	r.endFloors(ctx, a, v.outcome)
	if a.began.Seq > 0 && r.embedded {
		r.mu.Lock()
		r.began[it.Instance] = a.began
		r.mu.Unlock()
	}
	if !stored {
		return nil
	}
	r.tally.add(Ended{Policy: it.Policy, Action: it.Action, Outcome: string(v.outcome), Reason: string(v.reason)})
	r.judge(ctx, it, v)
	if isUndone(v.outcome, string(v.reason)) {
		r.memory.unlearn(it.ID, it.Policy, it.Instance)
	}
	fields := append(itemFields(it), zap.String(keyOutcome, string(v.outcome)))
	for _, f := range []struct{ key, value string }{{keyReason, string(v.reason)}, {keyDetail, v.detail}, {"error", v.err}} {
		if f.value != "" {
			fields = append(fields, zap.String(f.key, f.value))
		}
	}
	switch v.outcome {
	case events.Failed, events.Unknown:
		r.log.Error("action ended", fields...)
	case events.Expired:
		r.log.Warn("action ended", fields...)
	default:
		r.log.Info("action ended", fields...)
	}
	return nil
}

// lateness is how long after a planned time it is, as records say it.
func lateness(now, planned time.Time) string {
	return now.Sub(planned).Round(time.Millisecond).String()
}

func (r *runner) record(a *attempt, o events.Outcome) events.Record {
	it := a.item
	return events.Record{
		ActionID: it.ID, Action: it.Action, Outcome: o, Trigger: a.run.Origin(), Who: a.run.Who, Claim: a.run.Claim, Policy: it.Policy, Revision: it.Revision, Why: it.Why,
		Region: it.Region, Instance: it.Instance, Hostname: it.Hostname, Planned: it.Planned, RunSeq: a.seq,
	}
}

// wait sleeps until a machine time, or until a newer action overtakes this one.
func (r *runner) wait(ctx context.Context, a *attempt, until time.Time) error {
	d := time.Until(until)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	overtaken := a.life.overtaken
	if a.life.isOvertaken() {
		overtaken = nil // known already
	}
	select {
	case <-timer.C:
		return nil
	case <-overtaken:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// note tells once why an action waits.
func (r *runner) note(ctx context.Context, a *attempt, detail, fault string) error {
	if a.noted == detail+fault {
		return nil
	}
	a.noted = detail + fault
	rec := r.record(a, events.Waiting)
	rec.Detail, rec.Error = detail, fault
	return r.add(ctx, a, rec)
}
