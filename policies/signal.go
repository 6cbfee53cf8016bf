package policies

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// signal decides about the one instance that a signal names, or about those that
// a policy picks when it names none.
func (d *decision) signal(inv []Instance) {
	s := d.trig.Signal
	if s.Resolved {
		return
	}
	var concerned []int
	var barred *Policy // hears the signal, and its source may not trigger it
	for i := range d.set.Policies {
		switch p := &d.set.Policies[i]; {
		case !d.concerns(p, s):
		case d.set.MayTrigger(s, p.Name):
			concerned = append(concerned, i)
		case barred == nil:
			barred = p
		}
	}
	if len(concerned) == 0 {
		if barred != nil {
			d.bar(barred, s)
		}
		return
	}
	slices.SortFunc(concerned, d.set.bySay)
	first := &d.set.Policies[concerned[0]]
	base := d.stepAction(first, 0, first.Do[0], d.trig.At)
	base.Size = ""
	if s.Instance == "" {
		d.pickAll(inv, concerned)
		return
	}
	at := slices.IndexFunc(inv, func(i Instance) bool { return i.ID == s.Instance })
	if at < 0 {
		d.skip(&Instance{ID: s.Instance, Region: s.Region}, base, ReasonGone, "a full list of "+s.Region+" lacks it"+named(inv, s.Instance))
		return
	}
	inst := &inv[at]
	concerned = slices.DeleteFunc(concerned, func(i int) bool { return !d.set.Policies[i].Select.Matches(*inst) })
	if len(concerned) == 0 {
		d.skip(inst, base, ReasonNoMatch, "policy "+first.Name+" does not select it")
		return
	}
	d.powerBySignal(inst, d.index.match(inst, nil), concerned)
	d.steps(inst, concerned, func(int) (time.Time, bool) { return d.trig.At, true })
}

// bar says that nobody who may be triggered by a signal's source hears it, but a
// policy that may not.
func (d *decision) bar(p *Policy, s *Signal) {
	d.plan.Skips = append(d.plan.Skips, Skip{
		Action: Action{ID: ActionID(d.trig.ID, 0, p.Name, "plan"), Kind: "plan", Verb: "plan", Policy: p.Name, Planned: d.trig.At, Due: d.trig.At},
		Reason: ReasonNotAllowed, Detail: "source " + s.Source + " may not trigger policy " + p.Name,
	})
}

// concerns reports whether a signal is one that triggers a policy now.
func (d *decision) concerns(p *Policy, s *Signal) bool {
	if !p.Signal.Hears(s) {
		return false
	}
	switch c := p.Signal; {
	case c.Load == "":
		return true
	case c.For == 0:
		return s.Value > c.Above
	default:
		high, ok := d.facts.Loads[CooldownKey(p.Name, s.Instance)]
		return ok && !d.trig.At.Before(high.Since.Add(c.For))
	}
}

// Hears reports whether a signal is of the kind that a cause waits for, whatever
// its value.
func (c *SignalCause) Hears(s *Signal) bool {
	if c == nil || c.Alert != s.Alert || c.Load != s.Load || c.Name != s.Name {
		return false
	}
	for k, v := range c.Labels {
		if s.Labels[k] != v {
			return false
		}
	}
	return !slices.ContainsFunc(c.Matchers, func(m Matcher) bool { return !m.Matches(s.Labels) })
}

// words say what a signal is about.
func (s *Signal) words(set *Set, at time.Time) string {
	if s == nil {
		return ""
	}
	what := "signal " + s.Name
	switch {
	case s.Alert != "":
		what = "alert " + s.Alert
	case s.Load != "":
		what = fmt.Sprintf("load %s at %g", s.Load, s.Value)
	}
	return what + " since " + set.clock(at)
}

// TracksLoad reports whether it must be remembered since when a load is high.
func (p *Policy) TracksLoad() bool {
	return p.Signal != nil && p.Signal.Load != "" && (p.Signal.For > 0 || slices.ContainsFunc(p.Do, func(s Step) bool { return s.IfFiring }))
}

// bySay orders the policies that one signal triggers by who has the say about
// power: the highest priority, then start before stop.
func (s *Set) bySay(i, j int) int {
	a, b := &s.Policies[i], &s.Policies[j]
	stops := func(p *Policy) int {
		if step, ok := p.power(); ok && step.Verb == Stop {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(stops(a), stops(b)), cmp.Compare(a.Name, b.Name))
}

// powerBySignal acts for the first that has the say; who is paused has none.
func (d *decision) powerBySignal(inst *Instance, matched, concerned []int) {
	best := -1
	for _, i := range concerned {
		if _, ok := d.set.Policies[i].power(); ok && (best < 0 || d.isPaused(best, inst) && !d.isPaused(i, inst)) {
			best = i
		}
	}
	if best < 0 {
		return
	}
	a := d.signalPower(&d.set.Policies[best])
	if a.Verb == Stop { // a start is bound only by protect, pause and keep
		win, ok := d.at().winner(inst, matched)
		if ok && win.State == schedule.Running && (win.rank == rankCommand || win.rank == rankPolicy && win.Priority > a.Priority) {
			d.skip(inst, a, ReasonOutranked, d.wantWords(&win))
			return
		}
	}
	d.act(inst, a)
}

// signalPower is the power step of a policy that a signal triggers.
func (d *decision) signalPower(p *Policy) Action {
	n := slices.IndexFunc(p.Do, func(s Step) bool { return KindOf(s.Verb) == KindPower })
	a := d.stepAction(p, n, p.Do[n], d.trig.At)
	if p.Lasts > 0 {
		a.HoldsUntil = a.Due.Add(p.Lasts)
	}
	return a
}

// pickAll lets each policy that a signal without an instance triggers choose.
func (d *decision) pickAll(inv []Instance, concerned []int) {
	for _, i := range concerned {
		p := &d.set.Policies[i]
		if _, ok := p.power(); p.Pick == nil || !ok {
			d.plan.Skips = append(d.plan.Skips, Skip{
				Action: Action{ID: ActionID(d.trig.ID, 0, p.Name, "plan"), Kind: "plan", Verb: "plan", Policy: p.Name, Planned: d.trig.At, Due: d.trig.At},
				Reason: ReasonAmbiguous, Detail: "the signal names no instance, and policy " + p.Name + " has no pick",
			})
			continue
		}
		d.pick(inv, p)
	}
}

// pick brings as many instances of a policy's to the state that it wants as it
// asks for. Those that are so already count first, what the policy itself keeps so
// before others: a further signal prolongs their time.
func (d *decision) pick(inv []Instance, p *Policy) {
	a := d.signalPower(p)
	want := p.Pick.Count
	if want == 0 && d.trig.Signal.Value > 0 { // a value that is no number is not
		want = int(math.Ceil(min(d.trig.Signal.Value, math.MaxInt32)))
	}
	if p.Pick.AtMost > 0 {
		want = min(want, p.Pick.AtMost)
	}
	type candidate struct {
		inst *Instance
		rank int
	}
	target := statusFor(stateFor(a.Verb))
	taken := make(map[string]Verb) // by a policy that had its say before
	for _, o := range d.plan.Actions {
		taken[o.Instance] = o.Verb
	}
	var found []candidate
	for n := range inv {
		inst := &inv[n]
		if !p.Select.Matches(*inst) || d.trig.Signal.Region != "" && !strings.EqualFold(d.trig.Signal.Region, inst.Region) {
			continue
		}
		if reason, _ := d.prevents(inst, &a); reason != "" && reason != ReasonAlready && (reason != ReasonOffOnPurpose || inst.Status != target) {
			continue
		}
		c := candidate{inst, 2}
		switch verb, isTaken := taken[inst.ID]; {
		case isTaken && verb != a.Verb:
			continue
		case isTaken:
			c.rank = -1
		case d.holds(p, inst):
			c.rank = 0
		case inst.Status == target:
			c.rank = 1
		case inst.Status != StatusActive && inst.Status != StatusShutoff:
			c.rank = 3
		}
		found = append(found, c)
	}
	slices.SortFunc(found, func(x, y candidate) int {
		return cmp.Or(x.rank-y.rank, cmp.Compare(x.inst.Region, y.inst.Region), cmp.Compare(x.inst.Hostname, y.inst.Hostname), cmp.Compare(x.inst.ID, y.inst.ID))
	})
	a.Why = fmt.Sprintf("%d of %d picked", min(want, len(found)), len(found))
	for _, c := range found[:min(want, len(found))] {
		if c.rank >= 0 {
			d.act(c.inst, a)
		}
	}
}

// holds reports whether an impulse of a policy lives on an instance.
func (d *decision) holds(p *Policy, inst *Instance) bool {
	return slices.ContainsFunc(d.facts.Impulses[inst.ID], func(i Impulse) bool {
		return i.Policy == p.Name && !i.Until.IsZero() && d.now.Before(i.Until)
	})
}

// quiets is why a signal does nothing to an instance.
func (d *decision) quiets(inst *Instance, a *Action) (Reason, string) {
	i := d.index.policy(a.Policy)
	if i < 0 || a.Verb == Start { // a start is bound only by protect, pause and keep
		return "", ""
	}
	p := &d.set.Policies[i]
	if a.Verb == Reboot || a.Verb == Resize || a.Verb == Stop {
		if name, off := d.wantedOff(inst); off {
			return ReasonOffOnPurpose, name
		}
		if a.Verb == Stop && inst.Status == StatusShutoff {
			return "", "" // already so
		}
		if inst.Status != StatusActive {
			return ReasonNotActive, "it is " + inst.Status
		}
		if last, ok := d.facts.LastActions[inst.ID]; ok && d.now.Before(last.Add(SignalSettle)) {
			return ReasonSettling, "an action of ours was accepted at " + last.UTC().Format(time.RFC3339)
		}
	}
	if reason, detail := CoolingDown(p, d.facts.Cooldowns[CooldownKey(p.Name, inst.ID)], d.now); reason != "" {
		return reason, detail
	}
	if p.AtMost.Instances > 0 {
		if others := d.touched(p, inst.ID); others >= p.AtMost.Instances {
			return ReasonOverLimit, fmt.Sprintf("policy %s acted on %d others within %s, at_most allows %d: so many at once are rather the network", p.Name, others, SpanWords(p.AtMost.Within), p.AtMost.Instances)
		}
	}
	return "", ""
}

// CoolingDown is why a policy leaves an instance alone for a while; the reason is
// empty when it need not.
func CoolingDown(p *Policy, c Cooldown, now time.Time) (Reason, string) {
	end := c.At.Add(c.Span(p))
	switch {
	case !now.Before(end):
		return "", ""
	case c.Streak > 0:
		return ReasonFlapping, fmt.Sprintf("policy %s acted again and again, %d times in a row; its cool-down has grown to %s and ends at %s", p.Name, c.Streak+1, SpanWords(c.Span(p)), end.UTC().Format(time.RFC3339))
	}
	return ReasonCooldown, fmt.Sprintf("policy %s acted at %s, its cool-down is %s", p.Name, c.At.UTC().Format(time.RFC3339), SpanWords(p.Cooldown))
}

// touched is on how many other instances a policy acted of late.
func (d *decision) touched(p *Policy, instance string) int {
	n := 0
	for key, c := range d.facts.Cooldowns {
		id, ok := strings.CutPrefix(key, p.Name+"/")
		if ok && id != instance && d.now.Before(c.At.Add(p.AtMost.Within)) {
			n++
		}
	}
	return n
}

// wantedOff reports whether the power want that holds is stopped, and whose it is.
func (d *decision) wantedOff(inst *Instance) (string, bool) {
	win, ok := d.at().winner(inst, d.match(inst))
	if !ok || win.State != schedule.Stopped {
		return "", false
	}
	if win.policy < 0 {
		return d.set.SourceWord(win.Source), true
	}
	return win.Source, true
}
