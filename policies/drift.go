package policies

import (
	"fmt"
	"time"

	"nightshift/policies/schedule"
)

// DriftEvery is how often each level is compared with what is (plan time), at
// whole multiples of it.
const DriftEvery = 10 * time.Minute

// edgeFirst is how long a look for drift leaves an instance to the edge itself:
// most edges fall on the same second as a look.
const edgeFirst = time.Minute

// drift compares each level with what is. What differs is reported; it is mended
// where the policy enforces its level, but not against a hand.
func (d *decision) drift(inv []Instance) {
	var matched []int
	for n := range inv {
		inst := &inv[n]
		matched = d.index.match(inst, matched[:0])
		win, ok := d.at().winner(inst, matched)
		if !ok || win.Impulse || win.State == schedule.Any {
			continue
		}
		if win.policy >= 0 && d.now.Before(win.Since.Add(max(edgeFirst, d.set.Policies[win.policy].spreadOf(inst.ID, win.Since)))) {
			continue // its turn has not come yet
		}
		if reason, _ := d.set.untouchable(inst); reason != "" || inst.Status == statusFor(win.State) || inst.Status != StatusActive && inst.Status != StatusShutoff {
			continue
		}
		a := d.powerAction(&win, inst)
		a.Planned, a.Due = d.trig.At, d.trig.At
		a.GiveUpAfter = DefaultGiveUp
		a.Why += ", but it is " + inst.Status
		if reason, detail := d.leaves(&win, inst, matched); reason != "" {
			a.Planned = win.Since
			d.skip(inst, a, reason, detail)
			continue
		}
		if a.Verb == Stop {
			a.Due = later(a.Due, d.facts.oldEnough(inst))
		}
		d.act(inst, a)
	}
}

func statusFor(s schedule.State) string {
	if s == schedule.Running {
		return StatusActive
	}
	return StatusShutoff
}

// leaves is why drift is not mended; no reason: it is.
func (d *decision) leaves(win *Want, inst *Instance, matched []int) (Reason, string) {
	if win.policy < 0 {
		return ReasonDrift, "a keep acts when it begins, not between"
	}
	p := &d.set.Policies[win.policy]
	hand, byHand := d.facts.Hands[inst.ID]
	byHand = byHand && hand.State != win.State && !hand.At.Before(win.Since)
	words := "nobody knows by whom"
	if byHand {
		words = fmt.Sprintf("%s by hand at %s", pastWord(hand.State), d.set.clock(hand.At))
	}
	if p.Enforce != EnforceNot {
		if w, found := d.lives(inst, matched); found {
			return ReasonDrift, d.wantWords(&w) + ", and a mend never undoes a living impulse"
		}
	}
	switch {
	case p.Enforce == EnforceStrict:
		return "", ""
	case p.Enforce == EnforceNot:
		return ReasonDrift, words + "; its next edge decides, or enforce: true"
	case byHand:
		return ReasonHand, words
	case d.facts.WatchedSince.IsZero() || !d.facts.WatchedSince.Before(win.Since) || d.facts.FirstSeen[inst.ID].After(win.Since):
		return ReasonHand, "what happened since " + d.set.clock(win.Since) + " was not watched, so it counts as done by hand"
	}
	return "", ""
}

// lives is a signal's want that made an instance what it is and is not over: a
// start by signal is bound by no priority, so a level may win against it.
func (d *decision) lives(inst *Instance, matched []int) (Want, bool) {
	for _, w := range d.at().wants(inst, matched) {
		if w.Impulse && w.policy >= 0 && d.set.Policies[w.policy].Signal != nil && statusFor(w.State) == inst.Status {
			return w, true
		}
	}
	return Want{}, false
}

func pastWord(s schedule.State) string {
	if s == schedule.Running {
		return "started"
	}
	return "stopped"
}
