package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/policies"
)

// lastCall is the newest entry of a ledger that says how the last call stands:
// started (its answer is not known), accepted, or put off (answered with no).
func lastCall(t events.Trail) (events.Record, bool) {
	for i := len(t.Records) - 1; i >= 0; i-- {
		switch rec := t.Records[i]; rec.Outcome {
		case events.Started, events.Accepted, events.PutOff:
			return rec, true
		}
	}
	return events.Record{}, false
}

// plannedEnd is the outcome of what the plan says not to do.
func plannedEnd(it events.Item) (verdict, bool) {
	switch {
	case it.Skip == string(policies.ReasonExpired):
		return verdict{outcome: events.Expired, detail: it.Detail, before: it.Status}, true
	case it.Skip == skipAlready && !it.Observe:
		return verdict{}, false // believed only after a second reading
	case it.Skip != "":
		return verdict{outcome: events.Skipped, reason: policies.Reason(it.Skip), detail: it.Detail, before: it.Status}, true
	case it.Observe:
		return verdict{outcome: events.Planned, detail: "nothing is done in observe mode or a dry run", before: it.Status}, true
	}
	return verdict{}, false
}

// slot waits for a place among the calls under way; the wait is ours and does
// not count against the give-up time.
func (r *runner) slot(ctx context.Context, a *attempt) (release func(), err error) {
	began := time.Now()
	if err := a.own.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := r.slots.Acquire(ctx, 1); err != nil {
		a.own.Release(1)
		return nil, context.Cause(ctx)
	}
	a.imposed += time.Since(began)
	return func() { r.slots.Release(1); a.own.Release(1) }, nil
}

// act looks at the instance, checks the rails, and calls the API once.
func (r *runner) act(ctx context.Context, a *attempt, trail events.Trail) (next, error) {
	if err := r.check.ok(ctx); err != nil { // by a clock that is wrong nothing is too late
		return lookAgain(time.Now().Add(clockPoll)), r.note(ctx, a, "put off", err.Error())
	}
	if v, ok := r.tooLate(a, trail); ok {
		return ended(v), nil
	}
	if until, err := r.account.closed(); err != nil {
		return lookAgain(until), r.note(ctx, a, "put off", "Civo refuses the token")
	}
	a.item.Policy = r.memory.nameInForce(a.item.Policy) // the file may have been edited while it waited
	it := a.item
	if !r.inv.Has(it.Region) {
		return ended(verdict{outcome: events.Skipped, reason: policies.ReasonPolicyChanged, detail: "region " + strings.ToUpper(it.Region) + " is not in the policy file any more", before: it.Status}), nil
	}
	other, ended, err := r.lastCallTo(ctx, it)
	if err != nil {
		return next{}, fmt.Errorf("read the last call to instance %s: %w", it.Instance, err)
	}
	if other.ActionID == it.ID && other.Seq > trail.Seq { // another replica carries this action out, too
		a.read, a.least = nil, other.Seq
		return atOnce(), nil
	}
	if !ended {
		if busy, err := r.inFlight(ctx, a, other); err != nil || busy {
			return lookAgain(time.Now().Add(busyPoll)), err
		}
	}
	if it.Action == string(policies.Retag) && other.ActionID != "" && time.Since(other.StoredAt) < railReadingAge {
		a.notBefore = maxTime(a.notBefore, time.Now()) // a reading of before that call lacks what it changed
	}
	reading, err := r.inv.Reading(ctx, it.Region, a.freshFrom(time.Now()))
	if err != nil {
		if ctx.Err() != nil {
			return next{}, err
		}
		return r.tryLater(ctx, a, fmt.Errorf("look at the instance before acting: %w", err))
	}
	c := &look{r: r, a: a, reading: reading, last: other, trail: trail, now: time.Now()}
	c.inst, c.found = reading.Instance(it.Instance)
	for _, check := range rails {
		n, stop, err := check(ctx, c)
		if err != nil || stop {
			return n, err
		}
	}
	return r.call(ctx, a, c.inst, other.Seq, trail)
}

// lastCallTo is the newest call to an instance that was announced; its Seq is 0
// when there was none. Where nobody else calls it is remembered once it has ended.
func (r *runner) lastCallTo(ctx context.Context, it events.Item) (rec events.Record, ended bool, err error) {
	r.mu.Lock()
	rec, ended = r.began[it.Instance]
	r.mu.Unlock()
	if ended {
		return rec, true, nil
	}
	rec, seq, err := r.bus.LastStarted(ctx, it.Region, it.Instance)
	rec.Seq = seq
	return rec, false, err
}

// freshFrom is when a reading must have begun, at the latest, to act on it.
func (a *attempt) freshFrom(now time.Time) time.Time {
	age := railReadingAge
	if a.item.Action == string(policies.Retag) {
		age = retagReadingAge
	}
	if t := now.Add(-age); t.After(a.notBefore) {
		return t
	}
	return a.notBefore
}

// tooLate ends an action whose give-up time has passed: expired when it never
// began, failed when it was tried to the end.
func (r *runner) tooLate(a *attempt, trail events.Trail) (verdict, bool) {
	if !time.Now().Add(-a.imposed).After(a.item.NotAfter) {
		return verdict{}, false
	}
	last, _ := lastCall(trail)
	reason, fault := a.faultOf(last)
	if fault == "" {
		return verdict{outcome: events.Expired, detail: strings.TrimSuffix("not begun before "+a.item.NotAfter.Format(time.RFC3339)+"; "+a.noted, "; "), before: a.item.Status}, true
	}
	return verdict{outcome: events.Failed, reason: reason, detail: "given up at " + a.item.NotAfter.Format(time.RFC3339), err: fault, before: a.item.Status}, true
}

// inFlight reports whether another action's call to the instance may be under
// way. A call has ended when its answer is in the ledger, or when its deadline
// has passed and its own run has looked what became of it.
func (r *runner) inFlight(ctx context.Context, a *attempt, other events.Record) (bool, error) {
	if other.ActionID == "" || other.ActionID == a.item.ID {
		return false, nil
	}
	trail, err := r.bus.Trail(ctx, other.Region, other.Instance, other.ActionID)
	if err != nil {
		return false, fmt.Errorf("read the ledger of action %s: %w", other.ActionID, err)
	}
	if _, isEnded := trail.Outcome(); isEnded {
		return false, nil
	}
	last, ok := lastCall(trail)
	if !ok || last.Outcome != events.Started {
		return false, nil
	}
	if time.Now().After(last.Deadline.Add(r.verifyBy.Within)) {
		return false, nil // nobody is left to say what became of it
	}
	return true, r.note(ctx, a, "waits for action "+other.ActionID+" ("+other.Action+") on the same instance", "")
}

// call stores started, on the condition that nobody else's call has begun, and
// asks the API.
func (r *runner) call(ctx context.Context, a *attempt, inst policies.Instance, seq uint64, trail events.Trail) (next, error) {
	it := a.item
	rec := r.record(a, events.Started)
	rec.Attempt = attempts(trail) + 1
	rec.Deadline = time.Now().Add(patience(callTimeout)).UTC()
	rec.Before = describe(it, inst)
	r.mu.Lock()
	delete(r.began, it.Instance)
	r.mu.Unlock()
	a.read = nil
	if !a.isOurs() {
		return next{}, events.ErrLetGo
	}
	// The answer is awaited although the daemon may be told to end: what is announced
	// and not called must be taken back, and a ledger that is read at once may lack it.
	announcing, end := r.toTheEnd(ctx)
	started, ok, err := r.bus.PublishStarted(announcing, rec, seq)
	end()
	if err != nil {
		return r.notAnnounced(ctx, a, rec, fmt.Errorf("announce the call of action %s: %w", it.ID, err))
	}
	if !ok {
		return atOnce(), nil // somebody was faster: see who
	}
	a.least = max(a.least, started)
	passed(startedStored, it.Action)
	if trail, err = r.trail(ctx, a); err != nil {
		return r.notAnnounced(ctx, a, rec, err)
	}
	if _, isEnded := trail.Outcome(); isEnded {
		return atOnce(), nil // that outcome stands
	}
	if !a.isOurs() { // whoever carries the run out now goes by its order and pace
		return r.notAnnounced(ctx, a, rec, events.ErrLetGo)
	}
	if a.cool != nil {
		if err := r.memory.store(ctx, stateCooldown+it.Policy+"."+it.Instance, a.cool); err != nil {
			return r.notAnnounced(ctx, a, rec, err)
		}
		passed(cooldownStored, it.Action)
	}
	r.memory.called(it.Instance, policies.Verb(it.Action))
	r.memory.started(it.ID, it.Policy, it.Instance)
	a.turns.began(it.ID)
	a.calls, a.made = rec.Attempt, rec.Attempt
	a.began = rec
	a.began.Outcome, a.began.Seq, a.began.StoredAt = events.Started, started, time.Now()

	callCtx, cancel := context.WithDeadline(r.calls, rec.Deadline)
	defer cancel()
	if time.Now().After(rec.Deadline) {
		return r.putOff(ctx, a, rec, errors.New("the deadline of the call passed before it was sent"), 0)
	}
	began := time.Now()
	err = r.send(watchSent(callCtx, it.Action), it, inst)
	passed(answerRead, it.Action)
	r.log.Debug("called", append(itemFields(it), zap.Int(keyAttempt, rec.Attempt), zap.Duration("duration", time.Since(began)), zap.Error(err))...)
	return r.answered(ctx, a, rec, err)
}

// notAnnounced is for a call that was not made, because whether it is announced, or
// still to be made, is not known. Only this process knows that: what is announced without an answer
// would count as sent.
func (r *runner) notAnnounced(ctx context.Context, a *attempt, rec events.Record, fault error) (next, error) {
	if r.embedded && ctx.Err() == nil {
		return next{}, fault
	}
	err := r.keep(context.WithoutCancel(ctx), func(ctx context.Context) error {
		trail, err := r.trail(ctx, a)
		if err != nil {
			return err
		}
		last, ok := lastCall(trail)
		if !ok || last.Outcome != events.Started || !last.Deadline.Equal(rec.Deadline) {
			return nil // it was not stored, or it is somebody else's
		}
		rec.Outcome, rec.Error, rec.Deadline = events.PutOff, "not sent: "+fault.Error(), time.Time{}
		return r.add(ctx, a, rec)
	})
	a.read = nil
	if err != nil {
		return next{}, errors.Join(fault, err)
	}
	return lookAgain(time.Now().Add(a.growingWait())), ctx.Err()
}

// answered stores what the API said. From here on ctx may have ended: the
// answer is stored all the same.
func (r *runner) answered(ctx context.Context, a *attempt, rec events.Record, err error) (next, error) {
	store := context.WithoutCancel(ctx)
	var refusal *civo.Error
	errors.As(err, &refusal)
	if refusal != nil && refusal.Unclear { // an attempt before, within the same call
		rec.Reason = unclear
	}
	switch {
	case err == nil:
		note := rec
		note.Outcome, note.Deadline = events.Accepted, time.Time{}
		note.StoredAt = time.Now()
		a.accepted, a.noted = &note, ""
		r.setAccepted(a.item.Instance, note.StoredAt)
		if r.canLook(a.item) {
			return atOnce(), nil // its state may be seen at once: then the outcome says it all
		}
		return atOnce(), r.noteAccepted(store, a)
	case errors.Is(err, civo.ErrUnauthorized):
		r.account.saw(store, err)
		return r.putOff(store, a, rec, err, 0)
	case refusal != nil && refusal.Code == "database_cannot_manage_cluster_instance":
		return ended(verdict{outcome: events.Skipped, reason: policies.ReasonCluster, detail: "Civo refuses: the instance belongs to a Kubernetes cluster", err: err.Error(), before: rec.Before}), nil
	case errors.Is(err, civo.ErrNotFound):
		a.notBefore = time.Now() // believed only when a full list lacks it too
		return r.putOff(store, a, rec, err, 0)
	case errors.Is(err, civo.ErrBusy): // perhaps because of an earlier attempt of ours, whose answer was lost
		a.notBefore = time.Now()
		rec.Reason = unclear
		return r.putOff(store, a, rec, err, refusal.RetryAfter)
	case errors.Is(err, civo.ErrRateLimited):
		a.notBefore = time.Now()
		return r.putOff(store, a, rec, err, refusal.RetryAfter)
	case isPermanent(err):
		if after, ok := r.isSoAlready(ctx, a.item); ok {
			return ended(verdict{outcome: events.Done, detail: "Civo refuses, for it is so: an attempt before was carried out, and its answer lost", err: err.Error(), before: rec.Before, after: after}), nil
		}
		return ended(verdict{outcome: events.Failed, reason: faultReason(err), detail: "Civo refuses", err: err.Error(), before: rec.Before}), nil
	case repeatable(a.item) && refusal != nil && refusal.Status >= 500:
		a.notBefore = time.Now()
		rec.Reason = unclear
		return r.putOff(store, a, rec, err, refusal.RetryAfter)
	case civo.NotSent(err):
		return r.putOff(store, a, rec, err, 0)
	default: // the answer is lost: look what became of it
		a.faulted(err)
		return atOnce(), nil
	}
}

// isSoAlready looks whether a resize was refused because the instance has that
// size: Civo resizes to a larger one only.
func (r *runner) isSoAlready(ctx context.Context, it events.Item) (size string, ok bool) {
	if it.Kind != string(policies.KindSize) {
		return "", false
	}
	reading, err := r.inv.Reading(ctx, it.Region, time.Now())
	if err != nil {
		return "", false
	}
	inst, ok := reading.Instance(it.Instance)
	return describe(it, inst), ok && asWanted(it, inst)
}

// unclear is the reason of a call that was put off although it may have had an
// effect: when the instance is as wanted later, it was our doing.
const unclear = "unclear"

// canLook reports whether the state that a call leads to can be looked at now. A
// reboot leads to none: whether it was accepted is all that can be known of it.
func (r *runner) canLook(it events.Item) bool {
	last := r.inv.last(it.Region)
	return repeatable(it) && (last == nil || time.Since(last.Began) >= r.verifyBy.Poll)
}

// noteAccepted stores that a call was accepted.
func (r *runner) noteAccepted(ctx context.Context, a *attempt) error {
	if a.accepted == nil {
		return nil
	}
	note := *a.accepted
	a.accepted = nil
	if err := r.keep(context.WithoutCancel(ctx), func(ctx context.Context) error { return r.add(ctx, a, note) }); err != nil {
		return fmt.Errorf("note that action %s was accepted: %w", a.item.ID, err)
	}
	passed(acceptedNoted, a.item.Action)
	return nil
}

func isPermanent(err error) bool {
	return errors.Is(err, civo.ErrQuota) || errors.Is(err, civo.ErrCapacity) || errors.Is(err, civo.ErrForbidden) || errors.Is(err, civo.ErrInvalid)
}

// repeatable says whether an action is a state, which can be asked for twice.
// A reboot is an act: it is never sent again when its answer is lost.
func repeatable(it events.Item) bool { return it.Kind != string(policies.KindReboot) }

func (r *runner) send(ctx context.Context, it events.Item, inst policies.Instance) error {
	region := inst.Region
	switch policies.Verb(it.Action) {
	case policies.Stop:
		return r.api.Stop(ctx, region, it.Instance)
	case policies.Start:
		return r.api.Start(ctx, region, it.Instance)
	case policies.Reboot:
		if it.Hard {
			return r.api.HardReboot(ctx, region, it.Instance)
		}
		return r.api.SoftReboot(ctx, region, it.Instance)
	case policies.Resize:
		return r.api.Resize(ctx, region, it.Instance, it.Size)
	case policies.Retag:
		return r.api.Retag(ctx, region, it.Instance, policies.Retagged(inst.Tags, it.Add, it.Remove))
	case policies.Firewall:
		return r.api.SetFirewall(ctx, region, it.Instance, it.Firewall)
	}
	return fmt.Errorf("action %s is none that a run may hold: %w", it.Action, civo.ErrInvalid)
}

// putOff ends a call that was answered with no, or never sent: the action is
// tried again later.
func (r *runner) putOff(ctx context.Context, a *attempt, rec events.Record, fault error, wait time.Duration) (next, error) {
	rec.Outcome, rec.Error, rec.Deadline = events.PutOff, fault.Error(), time.Time{}
	rec.Reason = cmp.Or(rec.Reason, string(faultReason(fault)))
	if err := r.keep(context.WithoutCancel(ctx), func(ctx context.Context) error { return r.add(ctx, a, rec) }); err != nil {
		return next{}, fmt.Errorf("note that action %s is put off: %w", a.item.ID, err)
	}
	passed(putOffNoted, a.item.Action)
	a.faulted(fault)
	return lookAgain(time.Now().Add(max(wait, a.growingWait()))), nil
}

// tryLater waits without a call having been made.
func (r *runner) tryLater(ctx context.Context, a *attempt, fault error) (next, error) {
	return lookAgain(time.Now().Add(a.growingWait())), r.note(ctx, a, "put off", fault.Error())
}

func (a *attempt) growingWait() time.Duration {
	a.tries++
	return min(retryMax, retryMin<<min(a.tries-1, 10))
}

// afterLostAnswer finds out what became of a call whose answer is not known:
// the process was killed, or the connection was cut. States are looked at, and
// asked for again where they are not so. A reboot is never sent again.
func (r *runner) afterLostAnswer(ctx context.Context, a *attempt, started events.Record) (next, error) {
	if a.calls != started.Attempt && !r.embedded && time.Now().Before(started.Deadline) {
		return lookAgain(minTime(started.Deadline, time.Now().Add(busyPoll))), nil // another replica may be waiting for the answer right now
	}
	if !repeatable(a.item) {
		return r.verifyReboot(ctx, a, started, false)
	}
	if a.notBefore.Before(started.StoredAt) {
		a.notBefore = time.Now()
	}
	reading, err := r.inv.Reading(ctx, a.item.Region, a.notBefore)
	if err != nil {
		if ctx.Err() != nil {
			return next{}, err
		}
		if time.Since(started.StoredAt) > r.verifyBy.Within {
			return unknown(a, started, reasonNotListed, "the answer was lost, and the region could not be listed since", "", time.Time{}, err.Error()), nil
		}
		a.notBefore = time.Time{}
		return r.tryLater(ctx, a, err)
	}
	inst, found := reading.Instance(a.item.Instance)
	switch {
	case !found:
		return ended(verdict{outcome: events.Failed, reason: policies.ReasonGone, detail: "the answer was lost, and the instance is gone", before: started.Before}), nil
	case asWanted(a.item, inst):
		return ended(verdict{outcome: events.Done, detail: "the answer was lost, but it is so", before: started.Before, after: describe(a.item, inst)}), nil
	case isBusy(inst.Status) && time.Since(started.StoredAt) < r.verifyBy.Within:
		a.notBefore = time.Now().Add(r.verifyBy.Poll)
		return lookAgain(a.notBefore), nil
	}
	fault := a.lastErr
	if fault == "" {
		fault = "the process ended before the answer came"
	}
	started.Reason = unclear
	return r.putOff(ctx, a, started, errors.New(fault+"; looked again: "+describe(a.item, inst)), 0)
}

func (r *runner) setAccepted(instance string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted[instance] = at
}

func attempts(t events.Trail) int {
	n := 0
	for _, rec := range t.Records {
		n = max(n, rec.Attempt)
	}
	return n
}
