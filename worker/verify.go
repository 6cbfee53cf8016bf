package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// verifyGrowth and verifyPaceMax make the listings of a region rarer the longer
// an action takes.
const (
	verifyGrowth  = 1.5
	verifyPaceMax = 6 // times Verify.Poll
)

// verify settles an accepted call: the target seen once is done, never seen
// within Verify.Within is failed.
func (r *runner) verify(ctx context.Context, a *attempt, accepted events.Record) (next, error) {
	if !repeatable(a.item) {
		return r.verifyReboot(ctx, a, accepted, true)
	}
	since := accepted.StoredAt
	pace := r.verifyBy.Poll
	notBefore := since
	status, seenAt := accepted.Before, time.Time{}
	for {
		if a.life.isOvertaken() {
			return ended(verdict{outcome: events.Superseded, detail: "accepted, then a newer trigger decided about this instance", before: accepted.Before, after: status}), nil
		}
		reading, err := r.nextReading(ctx, a, notBefore, pace)
		if err != nil && ctx.Err() != nil {
			return next{}, err
		}
		late := time.Since(since) > r.verifyBy.Within
		switch {
		case err != nil && late:
			return unknown(a, accepted, reasonNotListed, "it was accepted, but the region could not be listed long enough to see what became of it", status, seenAt, err.Error()), nil
		case err == nil:
			inst, found := reading.Instance(a.item.Instance)
			if !found {
				return ended(verdict{outcome: events.Failed, reason: policies.ReasonGone, detail: "accepted, then the instance was gone", before: accepted.Before}), nil
			}
			status, seenAt = describe(a.item, inst), reading.Began
			if asWanted(a.item, inst) {
				return ended(verdict{outcome: events.Done, before: accepted.Before, after: status}), nil
			}
			if late {
				return ended(verdict{outcome: events.Failed, reason: still(a.item, inst), detail: fmt.Sprintf("accepted, but not so after %s: %s", r.verifyBy.Within, status), before: accepted.Before, after: status}), nil
			}
			notBefore = reading.Began.Add(pace)
		default:
			notBefore = time.Now().Add(pace) // the fault that is known answers who asks for less
		}
		if err := r.noteAccepted(ctx, a); err != nil {
			return next{}, err
		}
		pace = min(time.Duration(float64(pace)*verifyGrowth), verifyPaceMax*r.verifyBy.Poll)
	}
}

// nextReading is the next one that everybody in the region shares; a newer
// action that overtakes this one ends the wait.
func (r *runner) nextReading(ctx context.Context, a *attempt, notBefore time.Time, pace time.Duration) (*Reading, error) {
	if last := r.inv.last(a.item.Region); last != nil {
		notBefore = maxTime(notBefore, last.Began.Add(pace))
	}
	if err := r.wait(ctx, a, notBefore); err != nil {
		return nil, err
	}
	if err := r.check.untilRight(ctx); err != nil { // by a clock that is wrong nothing has taken too long
		return nil, err
	}
	return r.inv.Reading(ctx, a.item.Region, notBefore)
}

// verifyReboot watches an instance come back. An accepted reboot is done when a
// status other than ACTIVE and then ACTIVE was seen, or ACTIVE all through
// Verify.Settle. A reboot whose answer was lost is done only in the first case.
func (r *runner) verifyReboot(ctx context.Context, a *attempt, call events.Record, accepted bool) (next, error) {
	since := call.StoredAt
	notBefore := since
	other, status, seenAt := "", call.Before, time.Time{}
	pace := r.verifyBy.Poll
	for {
		reading, err := r.nextReading(ctx, a, notBefore, pace)
		if err != nil && ctx.Err() != nil {
			return next{}, err
		}
		late := time.Since(since) > r.verifyBy.Within
		if err != nil {
			if late {
				return unknown(a, call, reasonNotListed, lostOr(accepted)+", and the region could not be listed long enough to see what became of it", status, seenAt, err.Error()), nil
			}
			notBefore = time.Now().Add(pace)
			continue
		}
		inst, found := reading.Instance(a.item.Instance)
		status, seenAt = inst.Status, reading.Began
		switch {
		case !found:
			return ended(verdict{outcome: events.Failed, reason: policies.ReasonGone, detail: lostOr(accepted) + ", then the instance was gone", before: call.Before}), nil
		case status != policies.StatusActive:
			other = status
		case other != "":
			return ended(verdict{outcome: events.Done, detail: "seen " + other + ", then ACTIVE", before: call.Before, after: status}), nil
		case reading.Began.Sub(since) >= r.verifyBy.Settle && accepted:
			return ended(verdict{outcome: events.Done, detail: "accepted, and ACTIVE all through " + r.verifyBy.Settle.String(), before: call.Before, after: status}), nil
		case reading.Began.Sub(since) >= r.verifyBy.Settle:
			return unknown(a, call, reasonAnswerLost, "the answer was lost, and the instance was seen only ACTIVE since; a reboot is never sent twice", status, seenAt, a.lastErr), nil
		}
		if late {
			return ended(verdict{outcome: events.Failed, reason: still(a.item, inst), detail: fmt.Sprintf("%s, but still %s after %s", lostOr(accepted), status, r.verifyBy.Within), before: call.Before, after: status}), nil
		}
		notBefore = reading.Began.Add(pace)
	}
}

// unknown ends an action of which nobody can tell what became of it, with what is
// known: when the call was announced or accepted, and when it was last seen how.
// status is of before the call when seenAt is zero.
func unknown(a *attempt, call events.Record, reason policies.Reason, why, status string, seenAt time.Time, fault string) next {
	seen := "not seen since"
	if !seenAt.IsZero() {
		seen = "last seen " + status + " at " + seenAt.UTC().Format(time.RFC3339)
	} else {
		status = ""
	}
	return ended(verdict{
		outcome: events.Unknown, reason: reason, err: fault, before: call.Before, after: status, calledAt: call.StoredAt.UTC(), seenAt: seenAt.UTC(),
		detail: fmt.Sprintf("%s; %s at %s, %s; when you have looked: nightshift settle %s", why, call.Outcome, call.StoredAt.UTC().Format(time.RFC3339), seen, a.item.ID),
	})
}

func lostOr(accepted bool) string {
	if accepted {
		return "accepted"
	}
	return "the answer was lost"
}

// asWanted reports whether an instance is what an action makes of it. A reboot
// never is.
func asWanted(it events.Item, inst policies.Instance) bool {
	switch policies.Verb(it.Action) {
	case policies.Start:
		return inst.Status == policies.StatusActive
	case policies.Stop:
		return inst.Status == policies.StatusShutoff
	case policies.Resize:
		return inst.Size == it.Size && !isBusy(inst.Status)
	case policies.Retag:
		for _, t := range it.Add {
			if !slices.Contains(inst.Tags, t) {
				return false
			}
		}
		for _, t := range it.Remove {
			if slices.Contains(inst.Tags, t) {
				return false
			}
		}
		return true
	case policies.Firewall:
		return inst.FirewallID == it.Firewall
	}
	return false
}

// isBusy reports whether an instance is on its way from one state to another;
// every status that is not known to be an end state counts.
func isBusy(status string) bool {
	return status != policies.StatusActive && status != policies.StatusShutoff
}

// describe is the part of an instance that an action is about.
func describe(it events.Item, inst policies.Instance) string {
	switch policies.Verb(it.Action) {
	case policies.Resize:
		return inst.Size + " " + inst.Status
	case policies.Retag:
		return strings.Join(inst.Tags, " ")
	case policies.Firewall:
		return inst.FirewallID
	}
	return inst.Status
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
