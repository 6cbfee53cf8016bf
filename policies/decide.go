package policies

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// SignalSettle is how long after an action of ours signals do nothing to an
// instance (plan time): the evening stop would else raise the alert that reboots.
const SignalSettle = 10 * time.Minute

// Decide works out what a trigger asks for. All times are plan time; now is the
// instant as of which wants are compared. The inventory may be in any order and
// is not changed.
func Decide(set *Set, inv []Instance, facts Facts, trig Trigger, now time.Time) Plan {
	d := &decision{set: set, facts: &facts, trig: trig, now: now, inv: inv, index: newIndex(set)}
	switch {
	case trig.Command != nil:
		d.command(inv)
	case trig.Signal != nil:
		d.signal(inv)
	case trig.Drift:
		d.drift(inv)
	case len(trig.Edges) > 0:
		d.tick(inv)
	default:
		d.look(inv)
	}
	d.rails()
	slices.SortFunc(d.plan.Skips, func(a, b Skip) int { return actionOrder(a.Action, b.Action) })
	return d.plan
}

type decision struct {
	set   *Set
	facts *Facts
	trig  Trigger
	now   time.Time
	plan  Plan
	index *index

	present *moment // as of now; nil until it is asked for
	past    *moment // just before the trigger; ticks only
	newest  []Edge  // by policy, of the trigger; no Policy: none
	pseudo  []Edge  // of sources that are no policies
	dues    []due   // of the instance that is being decided about
	matched []int   // for match
	winners []stepWinner
	inv     []Instance // what is decided about
	counts  []int      // by policy: how many instances it selects; nil: nobody counted
	whole   bool       // they are of the whole fleet
}

// at is the present moment.
func (d *decision) at() *moment {
	if d.present == nil {
		d.present = newMoment(d.index, d.facts, d.now)
	}
	return d.present
}

func (d *decision) powerAction(w *Want, inst *Instance) Action {
	return Action{Kind: KindPower, Verb: verbFor(w.State), Policy: w.Source, Priority: w.Priority, Level: !w.Impulse && w.policy >= 0,
		Why: d.at().why(w, inst), Planned: w.Since, Due: w.Since, HoldsUntil: w.Until}
}

// time says how long an action is good, and when it is due.
func (d *decision) time(a *Action, w *Want, inst *Instance) {
	a.GiveUpAfter, a.Until = DefaultStopGiveUp, time.Time{}
	if w.policy >= 0 {
		p := &d.set.Policies[w.policy]
		a.GiveUpAfter, a.Until = p.giveUp(a.Planned, p.table(inst))
		a.Due = a.Planned.Add(p.spreadOf(inst.ID, a.Planned))
	}
	if a.Verb == Stop && w.rank == rankPolicy {
		a.Due = later(a.Due, d.facts.oldEnough(inst))
	}
}

// spreadOf is how long after an edge an instance is due: evenly spread, and the
// same for the same edge whoever works it out.
func (p *Policy) spreadOf(instance string, planned time.Time) time.Duration {
	if p.Spread <= 0 {
		return 0
	}
	text := make([]byte, 0, 160) // stays on the stack
	text = append(append(append(append(text, p.Name...), '|'), instance...), '|')
	sum := sha256.Sum256(strconv.AppendInt(text, planned.Unix(), 10))
	return time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(p.Spread)).Truncate(time.Second)
}

// oldEnough is when an instance is no longer new. The creation time that the API
// gives is believed; else it is when the instance was first seen.
func (f *Facts) oldEnough(inst *Instance) time.Time {
	born := inst.CreatedAt
	if born.IsZero() {
		born = f.FirstSeen[inst.ID]
	}
	if born.IsZero() {
		return born
	}
	return born.Add(NewFor)
}

// command decides about the instances that a command names.
func (d *decision) command(inv []Instance) {
	c := d.trig.Command
	a := d.commandAction(c.Step)
	switch {
	case c.Select != nil:
		for n := range inv {
			if c.Select.matches(&inv[n]) {
				d.act(&inv[n], a)
			}
		}
	case len(c.Each) > 0:
		at := make(map[string]int, len(inv))
		for n := range inv {
			at[inv[n].ID] = n
		}
		for _, o := range c.Each {
			a := d.commandAction(o.Step)
			a.Step = o.N
			if n, ok := at[o.Instance]; ok && strings.EqualFold(inv[n].Region, o.Region) {
				d.act(&inv[n], a)
			} else {
				d.skipGone(o.Region, o.Instance, a, "")
			}
		}
	default:
		at := slices.IndexFunc(inv, func(i Instance) bool { return i.ID == c.Instance && strings.EqualFold(i.Region, c.Region) })
		if at < 0 {
			d.skipGone(c.Region, c.Instance, a, Meant(inv, c.Instance))
			return
		}
		d.act(&inv[at], a)
	}
}

// commandAction is what a command asks of an instance.
func (d *decision) commandAction(s Step) Action {
	c := d.trig.Command
	a := Action{Kind: KindOf(s.Verb), Verb: s.Verb, Hard: s.Hard, Size: s.Size, Add: s.Add, Remove: s.Remove, Firewall: s.Firewall, Why: c.Reason,
		Planned: d.trig.At, Due: later(d.trig.At, c.NotBefore), GiveUpAfter: cmp.Or(c.GiveUpAfter, DefaultGiveUp)}
	if c.DryRun {
		a.Mode = ModeObserve
	}
	return a
}

// skipGone leaves out what is about no instance; meant says which may be.
func (d *decision) skipGone(region, instance string, a Action, meant string) {
	d.skip(&Instance{ID: instance, Region: region}, a, ReasonGone, "a full list of "+region+" lacks it"+meant)
}

// look decides what would be done if all that is wanted now were put into force.
func (d *decision) look(inv []Instance) {
	var matched []int
	for n := range inv {
		inst := &inv[n]
		matched = d.index.match(inst, matched[:0])
		win, ok := d.at().winner(inst, matched)
		if !ok {
			continue
		}
		if win.State == schedule.Any {
			d.skip(inst, Action{Kind: KindPower, Verb: Stop, Policy: win.Source, Planned: win.Since, Due: win.Since}, ReasonKept, d.at().why(&win, inst))
			continue
		}
		a := d.powerAction(&win, inst)
		d.time(&a, &win, inst)
		a.Due = a.Planned
		d.act(inst, a)
	}
}

// act is where every action passes: what keeps it from being done makes it a skip.
func (d *decision) act(inst *Instance, a Action) {
	if a.Mode == "" {
		a.Mode = d.set.Mode
		if i := d.index.policy(a.Policy); i >= 0 && d.set.Policies[i].Mode != "" {
			a.Mode = d.set.Policies[i].Mode
		}
	}
	if reason, detail := d.prevents(inst, &a); reason != "" {
		d.skip(inst, a, reason, detail)
		return
	}
	if a.Mode == ModeAsk && a.Verb != Notify {
		a.Hold = "mode is ask"
	}
	if len(d.set.Floors) > 0 && a.Verb.Lowers() && inst.Status == StatusActive {
		a.floors = d.set.floorsOver(inst)
	}
	d.plan.Actions = append(d.plan.Actions, d.on(inst, a))
}

func (d *decision) skip(inst *Instance, a Action, reason Reason, detail string) {
	if strings.HasPrefix(a.Size, ladderMark) {
		a.Size = ""
	}
	d.plan.Skips = append(d.plan.Skips, Skip{Action: d.on(inst, a), Reason: reason, Detail: detail})
}

func (d *decision) on(inst *Instance, a Action) Action {
	if a.ID == "" {
		a.ID = ActionID(d.trig.ID, a.Step, inst.ID, a.Kind)
	}
	a.Region, a.Instance, a.Hostname = inst.Region, inst.ID, inst.Hostname
	if a.Kind == KindPower && len(d.set.Orders) > 0 {
		a.Place = d.set.placeOf(inst)
	}
	return a
}

// prevents is why an action is not done, in the order in which one would ask.
func (d *decision) prevents(inst *Instance, a *Action) (Reason, string) {
	if a.Verb == Notify {
		return d.hushes(inst, a)
	}
	if reason, detail := d.set.untouchable(inst); reason != "" {
		return reason, detail
	}
	if !slices.Contains(d.set.Allow, a.Verb) {
		return ReasonNotAllowed, string(a.Verb) + " is not in allow"
	}
	if reason, detail := d.at().overrules(inst, a); reason != "" {
		return reason, detail
	}
	if reason, detail := d.respects(inst, a); reason != "" {
		return reason, detail
	}
	if d.trig.Signal != nil {
		if reason, detail := d.quiets(inst, a); reason != "" {
			return reason, detail
		}
	}
	return d.asItIs(inst, a)
}

// hushes is why nobody is told of an instance. A message touches nothing, so it
// needs no leave, and protected instances have people who want to know, too.
func (d *decision) hushes(inst *Instance, a *Action) (Reason, string) {
	if reason, detail := d.at().overrules(inst, a); reason != "" {
		return reason, detail
	}
	if name, off := d.wantedOff(inst); off {
		return ReasonOffOnPurpose, name
	}
	if i := d.index.policy(a.Policy); i >= 0 {
		return CoolingDown(&d.set.Policies[i], d.facts.Cooldowns[CooldownKey(a.Policy, inst.ID)], d.now)
	}
	return "", ""
}

// SpanWords prints a duration as people write it: 30m, 24h, not 24h0m0s.
func SpanWords(d time.Duration) string {
	s := d.String()
	s = strings.TrimSuffix(s, "0s")
	if s != "" && !strings.HasSuffix(s, "m") && !strings.HasSuffix(s, "h") {
		return d.String()
	}
	s = strings.TrimSuffix(s, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(s, "h0m")]
	return cmp.Or(s, d.String())
}

// asItIs compares an action with the instance: already so, or not possible. It
// takes the step of a ladder and works out the new tags.
func (d *decision) asItIs(inst *Instance, a *Action) (Reason, string) {
	switch a.Verb {
	case Start, Stop:
		target := StatusActive
		if a.Verb == Stop {
			target = StatusShutoff
		}
		if inst.Status == target {
			return ReasonAlready, "it is " + target
		}
	case Reboot:
		if inst.Status == StatusShutoff {
			return ReasonNotActive, "it is " + inst.Status
		}
		if d.trig.Command == nil {
			if name, off := d.wantedOff(inst); off {
				return ReasonOffOnPurpose, name
			}
			if d.changesPower(inst) {
				return ReasonOutranked, "it is started or stopped at the same time"
			}
		}
	case Resize:
		return d.resize(inst, a)
	case Retag:
		a.Tags = Retagged(inst.Tags, a.Add, a.Remove)
		if slices.Equal(a.Tags, slices.Compact(slices.Sorted(slices.Values(inst.Tags)))) {
			return ReasonAlready, "it has these tags"
		}
	case Firewall:
		switch a.Firewall {
		case "":
			return ReasonInvalid, "the firewall is blank, which would open the default one"
		case inst.FirewallID:
			return ReasonAlready, "it has this firewall"
		}
	}
	return "", ""
}

// changesPower reports whether the plan starts or stops an instance. What it does
// with an instance stands together.
func (d *decision) changesPower(inst *Instance) bool {
	for i := len(d.plan.Actions) - 1; i >= 0 && d.plan.Actions[i].Instance == inst.ID; i-- {
		if d.plan.Actions[i].Kind == KindPower {
			return true
		}
	}
	return false
}

// resize turns one step up a ladder into the size that it leads to.
func (d *decision) resize(inst *Instance, a *Action) (Reason, string) {
	if list, ok := strings.CutPrefix(a.Size, ladderMark); ok {
		ladder := strings.Fields(list)
		switch at := slices.Index(ladder, inst.Size); {
		case at < 0:
			return ReasonOffLadder, inst.Size + " is none of " + list
		case at == len(ladder)-1:
			return ReasonTopOfLadder, inst.Size + " is the last of " + list
		default:
			a.Size = ladder[at+1]
		}
	}
	if a.Size == inst.Size {
		return ReasonAlready, "it is " + a.Size
	}
	return "", ""
}

// Retagged is a set of tags, sorted, after adding and removing.
func Retagged(tags, add, remove []string) []string {
	var out []string
	for _, t := range slices.Concat(tags, add) {
		if !slices.Contains(remove, t) {
			out = append(out, t)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (t Trigger) isLook() bool {
	return t.Command == nil && t.Signal == nil && len(t.Edges) == 0 && !t.Drift
}

// wholeSecond is the first whole second not before an instant: edges are planned
// to the second, and an exception is over at the edge that stands for its end.
func wholeSecond(t time.Time) time.Time {
	if s := t.Truncate(time.Second); !s.Equal(t) {
		return s.Add(time.Second)
	}
	return t
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
