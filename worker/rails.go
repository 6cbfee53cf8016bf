package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

// look is one action beside what its instance looks like just before the call.
type look struct {
	r       *runner
	a       *attempt
	reading *Reading
	inst    policies.Instance
	found   bool
	last    events.Record // newest call to the instance, by whichever action
	trail   events.Trail  // of this action
	now     time.Time     // machine time
}

// A rail lets an action pass, or says how it goes on instead.
type rail func(ctx context.Context, l *look) (n next, stop bool, err error)

// rails are checked in this order, just before every call, on a reading at most
// railReadingAge old. What was planned and no longer holds is skipped.
var rails = []rail{
	overtaken,
	resolved,
	gone,
	protected,
	stillActing,
	overruled,
	stillAllowed,
	stillSelected,
	offOnPurpose,
	stillLasting,
	stillHigh,
	cooledDown,
	stillSmall,
	alreadySo,
	rightStatus,
	inTurn,
	onTrial, // behind the order: who is tried waits for no other
	roomInHour,
	inPace, // from here on places are taken; who waits on gives his place in the pace back
	aboveFloors,
	withinAtMost, // what it takes stays with the instance
	withinHour,   // what it takes is gone: the last
}

func pass() (next, bool, error) { return next{}, false, nil }

func (l *look) skip(reason policies.Reason, detail string) (next, bool, error) {
	return ended(verdict{outcome: events.Skipped, reason: reason, detail: detail, before: describe(l.a.item, l.inst)}), true, nil
}

// at is the plan time as of which the rails are checked: not before the action's
// own, which lies a moment ahead where another replica's clock is faster.
func (l *look) at() time.Time { return maxTime(l.r.clock.Now(), l.a.item.Planned) }

// later waits until a machine time; a reading made before will not do then.
func (l *look) later(ctx context.Context, until time.Time, why string) (next, bool, error) {
	l.a.notBefore = until
	return lookAgain(until), true, l.r.note(ctx, l.a, why, "")
}

// queue is later behind a limit of ours, which does not count against the give-up
// time. Meanwhile the place in the pace is another's: perhaps of the one that is
// waited for.
func (l *look) queue(ctx context.Context, until time.Time, why string) (next, bool, error) {
	l.a.leavePace()
	n, stop, err := l.later(ctx, until, why)
	n.ours = true
	return n, stop, err
}

// overtaken ends what a newer run wants otherwise; after a restart, too, when
// only the ledger remembers the newer one.
func overtaken(_ context.Context, l *look) (next, bool, error) {
	newer := l.last.RunSeq > l.a.seq && string(policies.KindOf(policies.Verb(l.last.Action))) == l.a.item.Kind
	newer = newer && !(isDelayed(l.a.item) && l.last.StoredAt.Before(l.a.item.NotBefore))
	if !newer && !l.a.life.isOvertaken() {
		return pass()
	}
	return ended(verdict{outcome: events.Superseded, detail: "a newer trigger decided about this instance", before: describe(l.a.item, l.inst)}), true, nil
}

// resolved ends what an alert asked for that is over before the action began.
func resolved(ctx context.Context, l *look) (next, bool, error) {
	if l.a.run.Kind != "signal" || l.a.item.Policy == "" {
		return pass()
	}
	_, over, err := l.r.bus.LoadRun(ctx, l.a.item.Region, events.ResolvedID(l.a.run.Origin()))
	if err != nil {
		return next{}, true, fmt.Errorf("see whether trigger %s is resolved: %w", l.a.run.Trigger, err)
	}
	if !over {
		return pass()
	}
	return l.skip(policies.ReasonResolved, "the alert is over")
}

func gone(_ context.Context, l *look) (next, bool, error) {
	if l.found {
		return pass()
	}
	return l.skip(policies.ReasonGone, "a full list of "+l.reading.Region+" lacks it")
}

func protected(_ context.Context, l *look) (next, bool, error) {
	if reason, detail := l.r.set().Untouchable(l.inst); reason != "" {
		return l.skip(reason, detail)
	}
	return pass()
}

// overruled ends what a pause or a keep that came since the plan does not let be.
func overruled(_ context.Context, l *look) (next, bool, error) {
	it, r := l.a.item, l.r
	reason, detail := r.set().Overrules(l.inst, r.memory.exceptions(l.inst), policies.Verb(it.Action), it.Policy, l.at())
	if reason == "" {
		return pass()
	}
	return l.skip(reason, detail)
}

func stillAllowed(_ context.Context, l *look) (next, bool, error) {
	if slices.Contains(l.r.set().Allow, policies.Verb(l.a.item.Action)) {
		return pass()
	}
	return l.skip(policies.ReasonNotAllowed, l.a.item.Action+" is not in allow")
}

// stateAfter is the power state that an action leads to.
func stateAfter(action string) schedule.State {
	if action == string(policies.Start) {
		return schedule.Running
	}
	return schedule.Stopped
}

// stillActing ends what was planned before the file said observe, or ask: somebody
// wrote that to have nothing done.
func stillActing(_ context.Context, l *look) (next, bool, error) {
	switch mode := l.r.set().ModeOf(l.a.item.Policy); {
	case mode == policies.ModeObserve:
		return ended(verdict{outcome: events.Planned, detail: "mode is observe now", before: describe(l.a.item, l.inst)}), true, nil
	case mode == policies.ModeAsk && l.a.run.Held == "" && (l.a.item.Skip == "" || !asWanted(l.a.item, l.inst)):
		return l.skip(policies.ReasonChanged, "mode is ask now, and nobody was asked")
	}
	return pass()
}

// stillLasting ends what is wanted no longer: it waited past the end of its lasts.
func stillLasting(_ context.Context, l *look) (next, bool, error) {
	end := l.a.item.HoldsUntil
	if !end.After(l.a.item.Planned) || l.r.clock.Now().Before(end) { // the stop at such an end is wanted from then on
		return pass()
	}
	return l.skip(policies.ReasonChanged, "what it was wanted for ended at "+end.UTC().Format(time.RFC3339))
}

// stillHigh ends a later step for a load that is no longer high.
func stillHigh(_ context.Context, l *look) (next, bool, error) {
	p, ok := l.r.set().Policy(l.a.item.Policy)
	if !l.a.item.IfFiring || !ok || p.Signal == nil || p.Signal.Load == "" || l.r.memory.isHigh(p.Name, l.a.item.Instance) {
		return pass()
	}
	return l.skip(policies.ReasonResolved, "the load is no longer high")
}

func cooledDown(ctx context.Context, l *look) (next, bool, error) {
	p, ok := l.r.set().Policy(l.a.item.Policy)
	if !ok || p.Signal == nil || l.a.item.Action == string(policies.Start) {
		return pass()
	}
	c, ok, err := recallCooldown(ctx, l.r.bus, p.Name, l.a.item.Instance)
	if err == nil && p.Was != "" {
		var former cooldown
		var had bool
		if former, had, err = recallCooldown(ctx, l.r.bus, p.Was, l.a.item.Instance); had && (!ok || former.At.After(c.At)) { // it may have got an old name back
			c, ok = former, true
		}
	}
	if err != nil {
		return next{}, true, err
	}
	if reason, detail := policies.CoolingDown(p, c.Cooldown, l.r.clock.Now()); ok && c.Trigger != l.a.run.Origin() && reason != "" {
		return l.skip(reason, detail)
	}
	return pass()
}

func recallCooldown(ctx context.Context, bus *events.Bus, policy, instance string) (cooldown, bool, error) {
	var c cooldown
	entry, err := bus.State().Get(ctx, stateCooldown+policy+"."+instance)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return c, false, nil
	}
	if err != nil {
		return c, false, fmt.Errorf("read the cool-down of policy %s: %w", policy, err)
	}
	if err := json.Unmarshal(entry.Value(), &c); err != nil {
		return c, false, fmt.Errorf("read the cool-down of policy %s: %w", policy, err)
	}
	return c, true, nil
}

// bound is on how many instances a policy acts by trigger within a time.
type bound struct {
	instances int
	within    time.Duration // plan time
	words     string        // what says so
}

// boundsOf are at_most, and the share of what the policy selects unless somebody
// has approved the run.
func (l *look) boundsOf(p *policies.Policy) (all []bound) {
	if p.AtMost.Instances > 0 {
		all = append(all, bound{p.AtMost.Instances, p.AtMost.Within, "at_most"})
	}
	limits := l.r.set().Limits
	if limits.Share > 0 && l.a.run.Held == "" {
		most, ok := limits.Allowed(l.r.inv.selected(p))
		if !ok && len(l.r.inv.read()) < len(l.r.inv.names()) { // of how many it is a share is not known: the least that it can be
			most, ok = 1, true
		}
		if ok {
			all = append(all, bound{most, policies.ShareWithin, "limits.share"})
		}
	}
	return all
}

// actedCount is the record of a policy's at_most: when it acted on each instance.
type actedCount struct {
	At map[string]time.Time `json:"at"` // plan time, by instance
}

// exceeds is the first bound that others have reached.
func exceeds(bounds []bound, acted map[string]time.Time, instance string, now time.Time) (b bound, others int, over bool) {
	for _, b := range bounds {
		others = 0
		for id, at := range acted {
			if id != instance && now.Before(at.Add(b.within)) {
				others++
			}
		}
		if others >= b.instances {
			return b, others, true
		}
	}
	return bound{}, others, false
}

// withinAtMost counts the instance among those that its policy acts on by
// trigger, or ends the action where at_most is reached.
func withinAtMost(ctx context.Context, l *look) (next, bool, error) {
	it := l.a.item
	p, ok := l.r.set().Policy(it.Policy)
	if !ok || p.Signal == nil || it.Action == string(policies.Start) {
		return pass()
	}
	bounds := l.boundsOf(p)
	refuse := func(b bound, others int) (next, bool, error) {
		return l.skip(policies.ReasonOverLimit, fmt.Sprintf("policy %s acted on %d others within %s, %s allows %d", p.Name, others, policies.SpanWords(b.within), b.words, b.instances))
	}
	if !l.r.embedded && len(bounds) > 0 {
		now := l.r.clock.Now()
		var b bound
		var others int
		took, err := count(ctx, l.r.counters, stateActed+p.Name, formerKey(stateActed, p), func(c *actedCount) bool {
			var over bool
			if b, others, over = exceeds(bounds, c.At, it.Instance, now); over {
				return false
			}
			if c.At == nil {
				c.At = make(map[string]time.Time)
			}
			for id, at := range c.At {
				if now.Sub(at) > max(p.AtMost.Within, policies.ShareWithin) {
					delete(c.At, id)
				}
			}
			c.At[it.Instance] = now
			return true
		})
		switch {
		case err != nil:
			return next{}, true, err
		case !took:
			return refuse(b, others)
		}
	}
	c, b, others, ok := l.r.memory.reserve(p, it.Instance, l.a.run.Origin(), bounds)
	if !ok {
		return refuse(b, others)
	}
	l.a.cool = &c
	return pass()
}

// formerKey is the key under the name that a policy had; empty: it had none.
func formerKey(prefix string, p *policies.Policy) string {
	if p.Was == "" {
		return ""
	}
	return prefix + p.Was
}

// alreadySo believes that nothing is to be done only when two readings agree
// that are Verify.Apart apart and both lie Verify.Settle after our last call.
func alreadySo(ctx context.Context, l *look) (next, bool, error) {
	a, v := l.a, l.r.verifyBy
	if !asWanted(a.item, l.inst) {
		a.firstSo = time.Time{}
		return pass()
	}
	isUnclear := func(rec events.Record) bool { return rec.Outcome == events.PutOff && rec.Reason == unclear }
	if i := slices.IndexFunc(l.trail.Records, isUnclear); i >= 0 { // also where a later one was turned away
		putOff := l.trail.Records[i]
		return ended(verdict{outcome: events.Done, detail: "seen after a call whose answer was lost or unclear", before: putOff.Before, after: describe(a.item, l.inst)}), true, nil
	}
	quiet, err := l.r.quietSince(ctx, l)
	if err != nil {
		return next{}, true, err
	}
	if a.firstSo.IsZero() && a.item.Skip == skipAlready {
		a.firstSo = a.item.SeenAt
	}
	if a.firstSo.IsZero() || a.firstSo.Before(quiet) {
		a.firstSo = l.reading.Began
	}
	if l.reading.Began.Before(quiet) {
		a.firstSo = time.Time{}
		return l.later(ctx, minTime(quiet, l.now.Add(v.Poll)), "looks as wanted, but our last call has not settled")
	}
	if agreed := a.firstSo.Add(v.Apart); l.reading.Began.Before(agreed) {
		return l.later(ctx, agreed, "is as wanted; will look once more")
	}
	is := describe(a.item, l.inst)
	detail := "it was " + is + " both times it was looked at, " + l.reading.Began.Sub(a.firstSo).Round(time.Second).String() + " apart"
	return ended(verdict{outcome: events.Skipped, reason: policies.ReasonAlready, detail: detail, before: is, after: is}), true, nil
}

// quietSince is when our last call to the instance has settled, in machine time.
func (r *runner) quietSince(ctx context.Context, l *look) (time.Time, error) {
	r.mu.Lock()
	at := r.accepted[l.a.item.Instance]
	r.mu.Unlock()
	if l.last.ActionID != "" && l.last.StoredAt.After(at) { // by another process, or not accepted
		trail, err := r.bus.Trail(ctx, l.last.Region, l.last.Instance, l.last.ActionID)
		if err != nil {
			return at, fmt.Errorf("read the ledger of action %s: %w", l.last.ActionID, err)
		}
		end, _ := trail.Outcome()
		if rec, ok := lastCall(trail); ok && (rec.Outcome == events.Accepted || end.Outcome == events.Done) {
			at = rec.StoredAt
		}
	}
	if at.IsZero() {
		return at, nil
	}
	return at.Add(r.verifyBy.Settle), nil
}

// rightStatus waits while the instance is on its way from one state to another.
// A status that we do not know is such a way, too.
func rightStatus(ctx context.Context, l *look) (next, bool, error) {
	it, status := l.a.item, l.inst.Status
	switch policies.Verb(it.Action) {
	case policies.Retag, policies.Firewall:
		return pass() // do not depend on the power state
	case policies.Reboot:
		if status == policies.StatusShutoff {
			return l.skip(policies.ReasonNotActive, "it is "+status)
		}
	}
	if isBusy(status) {
		return l.later(ctx, l.now.Add(busyPoll), "waits while the instance is "+status)
	}
	return pass()
}

// hourLimit is limits.per_hour, unless an action is not counted: starts by schedule
// are never held back.
func (l *look) hourLimit() (limit int, counts bool) {
	return cmp.Or(l.r.set().Limits.PerHour, policies.DefaultPerHour), !l.a.item.Level || l.a.item.Action != string(policies.Start)
}

// roomInHour waits for room under limits.per_hour, and takes none yet: what is not
// called for another reason would take it from others.
func roomInHour(ctx context.Context, l *look) (next, bool, error) {
	limit, counts := l.hourLimit()
	if until := l.r.hour.look(l.now, limit); counts && until.After(l.now) {
		return l.laterInHour(ctx, until, limit)
	}
	return pass()
}

func (l *look) laterInHour(ctx context.Context, until time.Time, limit int) (next, bool, error) {
	if l.a.floored { // it may be long
		if err := l.r.leaveFloors(ctx, l.a); err != nil {
			return next{}, true, err
		}
	}
	return l.queue(ctx, until, fmt.Sprintf("limits.per_hour: %d actions began within the last hour", limit))
}

// withinHour takes a place under limits.per_hour. What is not counted takes one
// where there is one: the limit counts all that began.
func withinHour(ctx context.Context, l *look) (next, bool, error) {
	limit, counts := l.hourLimit()
	if !counts {
		limit = math.MaxInt
	}
	until, err := l.r.hour.take(ctx, l.now, limit)
	if err != nil {
		return next{}, true, err
	}
	if until.After(l.now) {
		return l.laterInHour(ctx, until, limit)
	}
	return pass()
}

// countsIn reports whether limits count what is stored of an action.
func countsIn(it events.Item) bool {
	a := policies.Action{Level: it.Level, Verb: policies.Verb(it.Action)}
	return it.Skip == "" && !it.Observe && a.Counts()
}

// size is how large a run is, as limits count.
type size struct{ actions, instances int }

func sizeOf(items []events.Item) (s size) {
	seen := make(map[string]bool)
	for _, it := range items {
		if countsIn(it) {
			s.actions++
			seen[it.Instance] = true
		}
	}
	s.instances = len(seen)
	return s
}

// stillSmall ends what nobody was asked about and is too large by now: the file was
// edited, or the fleet has shrunk.
func stillSmall(_ context.Context, l *look) (next, bool, error) {
	switch {
	case l.a.run.Held != "":
		return pass()
	case !countsIn(l.a.item):
		return l.stillFew()
	}
	limits := l.r.set().Limits
	if most := cmp.Or(limits.PerRun, policies.DefaultPerRun); l.a.size.actions > most {
		return l.skip(policies.ReasonChanged, fmt.Sprintf("limits.per_run is %d now, and nobody was asked about this run of %d", most, l.a.size.actions))
	}
	n := 0
	if limits.Share > 0 {
		n = l.r.inv.size()
	}
	if most, bound := limits.Allowed(n); bound && l.a.size.instances > most {
		return l.skip(policies.ReasonChanged, fmt.Sprintf("limits.share (%g) allows %d of the %d instances that there are now, and nobody was asked about this run of %d", limits.Share, most, n, l.a.size.instances))
	}
	return pass()
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
