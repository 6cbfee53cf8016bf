package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	stillLasting,
	stillHigh,
	cooledDown,
	alreadySo,
	rightStatus,
	inTurn,
	inPace,
	withinHour,
	withinAtMost, // the last: it counts the instance
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

// overtaken ends what a newer run wants otherwise; after a restart, too, when
// only the ledger remembers the newer one.
func overtaken(_ context.Context, l *look) (next, bool, error) {
	newer := l.last.RunSeq > l.a.seq && string(policies.KindOf(policies.Verb(l.last.Action))) == l.a.item.Kind
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

func stillSelected(_ context.Context, l *look) (next, bool, error) {
	name := l.a.item.Policy
	if name == "" {
		return pass() // a command
	}
	if name == policies.KeepSource {
		k, kept := l.r.set().Kept(l.inst, l.r.memory.exceptions(l.inst), l.at())
		if !kept || k.State != stateAfter(l.a.item.Action) {
			return l.skip(policies.ReasonChanged, "it is no longer kept so")
		}
		return pass()
	}
	if strings.HasPrefix(name, "_") {
		return pass()
	}
	p, ok := l.r.set().Policy(name)
	if !ok {
		return l.skip(policies.ReasonPolicyChanged, "policy "+name+" is gone")
	}
	if !p.Select.Matches(l.inst) {
		return l.skip(policies.ReasonChanged, "policy "+name+" no longer selects it")
	}
	if l.a.item.Kind == string(policies.KindPower) && p.Signal == nil { // the file may have been edited since the plan
		w, ok := l.r.set().Winner(l.inst, l.r.memory.wantFacts(l.inst), l.at())
		if ok && w.State != schedule.Any && w.State != stateAfter(l.a.item.Action) {
			return l.skip(policies.ReasonChanged, l.r.set().SourceWord(w.Source)+" wants it "+string(w.State)+" now")
		}
	}
	return pass()
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
	case mode == policies.ModeAsk && l.a.run.Held == "" && l.a.item.Skip == "":
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

// withinAtMost counts the instance among those that its policy acts on by
// trigger, or ends the action where at_most is reached.
func withinAtMost(_ context.Context, l *look) (next, bool, error) {
	it := l.a.item
	p, ok := l.r.set().Policy(it.Policy)
	if !ok || p.Signal == nil || it.Action == string(policies.Start) {
		return pass()
	}
	c, others, ok := l.r.memory.reserve(p, it.Instance, l.a.run.Origin())
	if !ok {
		return l.skip(policies.ReasonOverLimit, fmt.Sprintf("policy %s acted on %d others of late, at_most allows %d", p.Name, others, p.AtMost.Instances))
	}
	l.a.cool = &c
	return pass()
}

// alreadySo believes that nothing is to be done only when two readings agree
// that are Verify.Apart apart and both lie Verify.Settle after our last call.
func alreadySo(ctx context.Context, l *look) (next, bool, error) {
	a, v := l.a, l.r.verifyBy
	if !asWanted(a.item, l.inst) {
		a.firstSo = time.Time{}
		return pass()
	}
	if putOff, ok := lastCall(l.trail); ok && putOff.Reason == unclear {
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
	return ended(verdict{outcome: events.Skipped, reason: policies.ReasonAlready, detail: "seen twice, " + l.reading.Began.Sub(a.firstSo).Round(time.Second).String() + " apart",
		before: describe(a.item, l.inst), after: describe(a.item, l.inst)}), true, nil
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

// withinHour waits for room under limits.per_hour. Starts by schedule are never
// held back.
func withinHour(ctx context.Context, l *look) (next, bool, error) {
	if l.a.item.Level && l.a.item.Action == string(policies.Start) {
		return pass()
	}
	limit := cmp.Or(l.r.set().Limits.PerHour, policies.DefaultPerHour)
	if until := l.r.hour.room(l.now, limit); until.After(l.now) {
		return l.later(ctx, until, fmt.Sprintf("limits.per_hour: %d actions began within the last hour", limit))
	}
	return pass()
}

// hourly counts the calls that began within the last hour (machine time). It is
// filled from the ledger at start.
type hourly struct {
	mu    sync.Mutex
	began []time.Time // in order
}

func (h *hourly) add(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.began = append(h.began, t)
}

// room is when another call may begin: now, or when the oldest is an hour old.
func (h *hourly) room(now time.Time, limit int) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := 0
	for old < len(h.began) && now.Sub(h.began[old]) >= time.Hour {
		old++
	}
	h.began = slices.Delete(h.began, 0, old)
	if len(h.began) < limit {
		return now
	}
	return h.began[len(h.began)-limit].Add(time.Hour)
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
