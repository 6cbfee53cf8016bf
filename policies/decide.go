package policies

import (
	"cmp"
	"fmt"
	"slices"
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
	d := &decision{set: set, facts: facts, trig: trig, now: now, index: newIndex(set)}
	switch {
	case trig.Command != nil:
		d.command(inv)
	case trig.Signal != nil:
		d.signal(inv)
	case len(trig.Edges) > 0:
		d.tick(inv)
	default:
		d.look(inv)
	}
	d.limit()
	order := func(a, b Action) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.Instance, b.Instance),
			cmp.Compare(a.Step, b.Step), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Policy, b.Policy))
	}
	slices.SortFunc(d.plan.Actions, order)
	slices.SortFunc(d.plan.Skips, func(a, b Skip) int { return order(a.Action, b.Action) })
	return d.plan
}

type decision struct {
	set   *Set
	facts Facts
	trig  Trigger
	now   time.Time
	plan  Plan
	index *index

	views []view // by index in set.Policies, of now
	past  []view // of just before the trigger; ticks only
}

// view is what a policy wants at one instant, the same for every instance that
// it selects.
type view struct {
	at      time.Time // of the view
	speaks  bool      // has a power want; an impulse may be ended by another's edge
	want    schedule.State
	impulse bool
	since   time.Time // planned time of the want
	edge    time.Time // newest edge of the policy, power or not, not after the view
	why     string    // the want in words
}

// tick decides about the instances that the policies with an edge select.
func (d *decision) tick(inv []Instance) {
	newest := make(map[int]Edge) // by policy
	first := d.trig.Edges[0].Planned
	for _, e := range d.trig.Edges {
		first = earlier(first, e.Planned)
		i := slices.IndexFunc(d.set.Policies, func(p Policy) bool { return p.Name == e.Policy })
		if i < 0 || e.Hash != "" && e.Hash != d.set.Policies[i].Hash() {
			d.skipEdge(e)
			continue
		}
		if old, ok := newest[i]; !ok || old.Planned.Before(e.Planned) {
			newest[i] = e
		}
	}
	d.views = d.viewsAt(later(d.now, d.trig.At))
	d.past = d.viewsAt(first.Add(-time.Nanosecond))
	var matched []int
	concerns := func(n int) bool {
		matched = d.index.match(&inv[n], matched[:0])
		return slices.ContainsFunc(matched, func(i int) bool { _, ok := newest[i]; return ok })
	}
	count := 0
	for n := range inv { // asked twice, so that the plan is allocated once
		if concerns(n) {
			count++
		}
	}
	d.plan.Actions = make([]Action, 0, count)
	for n := range inv {
		if concerns(n) {
			d.tickInstance(&inv[n], matched, newest)
		}
	}
}

// skipEdge ends an edge of a policy that is not, or no longer, in this form.
func (d *decision) skipEdge(e Edge) {
	d.plan.Skips = append(d.plan.Skips, Skip{
		Action: Action{ID: ActionID(d.trig.ID, 0, e.ID(), "tick"), Kind: "tick", Verb: "tick", Policy: e.Policy, Planned: e.Planned, Due: e.Planned},
		Reason: ReasonPolicyChanged, Detail: "the policy was changed or taken away since the edge was planned",
	})
}

func (d *decision) tickInstance(inst *Instance, matched []int, newest map[int]Edge) {
	hasPower := slices.ContainsFunc(matched, func(i int) bool {
		_, ok := newest[i]
		_, power := d.set.Policies[i].power()
		return ok && (power || d.set.Policies[i].Schedule != nil)
	})
	if hasPower {
		d.powerByTick(inst, matched, newest)
	}
	d.steps(inst, matched, func(i int) (time.Time, bool) {
		e, ok := newest[i]
		return e.Planned, ok && d.set.Policies[i].Cron != nil && d.fired(i, e.Planned)
	})
}

// fired tells a planned time of a cron policy from the end of what it wanted.
func (d *decision) fired(i int, planned time.Time) bool {
	t, ok := d.set.Policies[i].Cron.Prev(planned)
	return ok && t.Equal(planned)
}

// powerByTick acts for the winner when it is new.
func (d *decision) powerByTick(inst *Instance, matched []int, newest map[int]Edge) {
	win, ok := d.winner(d.views, matched)
	was, wasOK := d.winner(d.past, matched)
	loser := d.newestEdge(matched, newest)
	base := Action{Kind: KindPower, Policy: loser.Policy, Planned: loser.Planned, Due: loser.Planned}
	if !ok {
		base.Verb = Stop
		d.skip(inst, base, ReasonNoWant, "no policy wants it running or stopped now")
		return
	}
	p, v := &d.set.Policies[win], d.views[win]
	edge, hasEdge := newest[win]
	isNew := hasEdge || !wasOK || was != win || d.past[was].want != v.want
	a := d.powerAction(p, v)
	if !isNew {
		base.Verb = verbFor(schedule.State(d.viewWant(loser.Policy, v.want)))
		d.skip(inst, base, ReasonOutranked, fmt.Sprintf("policy %s (priority %d) wants %s", p.Name, p.Priority, v.want))
		return
	}
	if !hasEdge { // its want was there before: the end of another's is the planned time
		edge = Edge{Policy: p.Name, Planned: d.trig.At}
		a.Why += ", after policy " + loser.Policy
	}
	a.Planned, a.Due = edge.Planned, edge.Planned
	a.GiveUpAfter, a.Until = p.GiveUp(edge)
	d.act(inst, a)
}

// viewWant is what a policy by itself wants now, or otherwise when it wants nothing.
func (d *decision) viewWant(policy string, otherwise schedule.State) schedule.State {
	for i := range d.set.Policies {
		if d.set.Policies[i].Name == policy && d.views[i].speaks {
			return d.views[i].want
		}
	}
	return otherwise
}

func (d *decision) newestEdge(matched []int, newest map[int]Edge) Edge {
	var last Edge
	for _, i := range matched {
		if e, ok := newest[i]; ok && (last.Policy == "" || e.Planned.After(last.Planned) || e.Planned.Equal(last.Planned) && e.Policy < last.Policy) {
			last = e
		}
	}
	return last
}

func (d *decision) powerAction(p *Policy, v view) Action {
	return Action{Kind: KindPower, Verb: verbFor(v.want), Policy: p.Name, Priority: p.Priority, Level: !v.impulse, Why: v.why, Planned: v.since, Due: v.since}
}

func verbFor(s schedule.State) Verb {
	if s == schedule.Running {
		return Start
	}
	return Stop
}

// why says in words what a policy's want comes from.
func (p *Policy) why(v view) string {
	switch {
	case p.Schedule != nil:
		side := schedule.Running
		where := "inside "
		windows := p.Schedule.Windows(side)
		if v.want == schedule.Stopped {
			if stopped := p.Schedule.Windows(schedule.Stopped); stopped != "" {
				windows = stopped
			} else {
				where = "outside "
			}
		} else if windows == "" {
			windows, where = p.Schedule.Windows(schedule.Stopped), "outside "
		}
		return where + windows
	case p.Cron != nil:
		return "cron " + p.Cron.String()
	}
	return ""
}

// winner is the index of the policy whose power want holds, of those that select
// an instance.
func (d *decision) winner(views []view, matched []int) (int, bool) {
	best, level := -1, -1
	for _, i := range matched { // the best level, and the best impulse, of each priority
		if v := views[i]; v.speaks && !v.impulse && (level < 0 || d.beatsLevel(views, i, level)) {
			level = i
		}
	}
	best = level
	impulse := -1
	for _, i := range matched {
		if v := views[i]; v.speaks && v.impulse && d.alive(views, i, matched) && (impulse < 0 || d.beatsImpulse(views, i, impulse)) {
			impulse = i
		}
	}
	if impulse >= 0 && (level < 0 || d.impulseBeatsLevel(views, impulse, level)) {
		best = impulse
	}
	return best, best >= 0
}

func (d *decision) beatsLevel(views []view, a, b int) bool {
	pa, pb := &d.set.Policies[a], &d.set.Policies[b]
	if pa.Priority != pb.Priority {
		return pa.Priority > pb.Priority
	}
	if views[a].want != views[b].want {
		return views[a].want == schedule.Running
	}
	return pa.Name < pb.Name
}

func (d *decision) beatsImpulse(views []view, a, b int) bool {
	pa, pb := &d.set.Policies[a], &d.set.Policies[b]
	switch {
	case pa.Priority != pb.Priority:
		return pa.Priority > pb.Priority
	case !views[a].since.Equal(views[b].since):
		return views[a].since.After(views[b].since)
	case views[a].want != views[b].want:
		return views[a].want == schedule.Running
	}
	return pa.Name < pb.Name
}

func (d *decision) impulseBeatsLevel(views []view, impulse, level int) bool {
	pi, pl := &d.set.Policies[impulse], &d.set.Policies[level]
	if pi.Priority != pl.Priority {
		return pi.Priority > pl.Priority
	}
	return views[impulse].since.After(views[level].since) || views[impulse].want == schedule.Running
}

// alive reports whether no edge of at least its priority has ended an impulse
// that says nothing of how long it lasts.
func (d *decision) alive(views []view, i int, matched []int) bool {
	p := &d.set.Policies[i]
	if p.Lasts > 0 {
		return true
	}
	return !slices.ContainsFunc(matched, func(o int) bool {
		other := &d.set.Policies[o]
		return o != i && other.Priority >= p.Priority && views[o].edge.After(views[i].since)
	})
}

// viewsAt is what each policy wants at an instant.
func (d *decision) viewsAt(t time.Time) []view {
	views := make([]view, len(d.set.Policies))
	for i := range d.set.Policies {
		p, v := &d.set.Policies[i], &views[i]
		v.at = t
		switch {
		case p.Schedule != nil:
			v.want = p.Schedule.At(t)
			v.speaks = v.want != schedule.Any
			if last, ok := p.Schedule.Prev(t); ok {
				v.since, v.edge = last.At, last.At
			}
		case p.Cron != nil:
			step, ok := p.power()
			if !ok {
				continue
			}
			fired, ok := p.Cron.Prev(t)
			if !ok {
				continue
			}
			v.impulse, v.since, v.edge = true, fired, fired
			v.want = schedule.Stopped
			if step.Verb == Start {
				v.want = schedule.Running
			}
			v.speaks = p.Lasts == 0 || t.Before(fired.Add(p.Lasts))
			if p.Lasts > 0 && !v.speaks {
				v.edge = fired.Add(p.Lasts)
			}
		}
		if v.speaks {
			v.why = p.why(*v)
		}
	}
	return views
}

// steps acts for the policies that are due, kind by kind: of two that want the
// same kind of an instance the higher priority wins, then the later time.
func (d *decision) steps(inst *Instance, matched []int, due func(i int) (time.Time, bool)) {
	best := make(map[Kind]int)
	for _, i := range matched {
		at, ok := due(i)
		if !ok {
			continue
		}
		for _, s := range d.set.Policies[i].Do {
			k := KindOf(s.Verb)
			if k == KindPower {
				continue
			}
			b, taken := best[k]
			if taken {
				bAt, _ := due(b)
				pi, pb := &d.set.Policies[i], &d.set.Policies[b]
				if pi.Priority < pb.Priority || pi.Priority == pb.Priority && (at.Before(bAt) || at.Equal(bAt) && pi.Name > pb.Name) {
					continue
				}
			}
			best[k] = i
		}
	}
	for _, i := range matched {
		at, ok := due(i)
		if !ok {
			continue
		}
		p := &d.set.Policies[i]
		for n, s := range p.Do {
			k := KindOf(s.Verb)
			if k == KindPower {
				continue
			}
			a := d.stepAction(p, n, s, at)
			if best[k] != i {
				d.skip(inst, a, ReasonOutranked, "policy "+d.set.Policies[best[k]].Name+" decides about its "+string(k))
				continue
			}
			d.act(inst, a)
		}
	}
}

func (d *decision) stepAction(p *Policy, n int, s Step, at time.Time) Action {
	a := Action{Step: n, Kind: KindOf(s.Verb), Verb: s.Verb, Hard: s.Hard, Size: s.Size, Add: s.Add, Remove: s.Remove, Firewall: s.Firewall,
		Policy: p.Name, Priority: p.Priority, Planned: at, Due: at, Why: p.why(view{})}
	a.GiveUpAfter, a.Until = p.GiveUp(Edge{Planned: at})
	if len(s.Ladder) > 0 {
		a.Size = ladderMark + strings.Join(s.Ladder, " ")
	}
	return a
}

// ladderMark stands before a ladder in Action.Size until act has taken the step
// that fits the instance; it never leaves this package.
const ladderMark = "\x00"

// signal decides about the one instance that a signal names.
func (d *decision) signal(inv []Instance) {
	s := d.trig.Signal
	if s.Resolved {
		return
	}
	var concerned []int
	for i := range d.set.Policies {
		if d.set.Policies[i].concerns(s) {
			concerned = append(concerned, i)
		}
	}
	if len(concerned) == 0 {
		return
	}
	first := &d.set.Policies[concerned[0]]
	base := d.stepAction(first, 0, first.Do[0], d.trig.At)
	base.Size = ""
	at := slices.IndexFunc(inv, func(i Instance) bool { return i.ID == s.Instance })
	if at < 0 {
		d.skip(&Instance{ID: s.Instance, Region: s.Region}, base, ReasonGone, "a full list of "+s.Region+" lacks it")
		return
	}
	inst := &inv[at]
	concerned = slices.DeleteFunc(concerned, func(i int) bool { return !d.set.Policies[i].Select.Matches(*inst) })
	if len(concerned) == 0 {
		d.skip(inst, base, ReasonNoMatch, "policy "+first.Name+" does not select it")
		return
	}
	d.views = d.viewsAt(d.now)
	matched := d.index.match(inst, nil)
	d.powerBySignal(inst, matched, concerned)
	d.steps(inst, concerned, func(int) (time.Time, bool) { return d.trig.At, true })
}

// concerns reports whether a signal is one that a policy is triggered by.
func (p *Policy) concerns(s *Signal) bool {
	c := p.Signal
	if c == nil || c.Alert != s.Alert || c.Load != s.Load {
		return false
	}
	for k, v := range c.Labels {
		if s.Labels[k] != v {
			return false
		}
	}
	return c.Load == "" || s.Value > c.Above
}

func (d *decision) powerBySignal(inst *Instance, matched, concerned []int) {
	best := -1
	for _, i := range concerned {
		if _, ok := d.set.Policies[i].power(); !ok {
			continue
		}
		if best < 0 || d.set.Policies[i].Priority > d.set.Policies[best].Priority || d.set.Policies[i].Priority == d.set.Policies[best].Priority && d.set.Policies[i].Name < d.set.Policies[best].Name {
			best = i
		}
	}
	if best < 0 {
		return
	}
	p := &d.set.Policies[best]
	n := slices.IndexFunc(p.Do, func(s Step) bool { return KindOf(s.Verb) == KindPower })
	a := d.stepAction(p, n, p.Do[n], d.trig.At)
	if a.Verb == Stop { // a start is bound only by protect
		if win, ok := d.winner(d.views, matched); ok && d.set.Policies[win].Priority > p.Priority && d.views[win].want == schedule.Running {
			d.skip(inst, a, ReasonOutranked, fmt.Sprintf("policy %s (priority %d) wants running", d.set.Policies[win].Name, d.set.Policies[win].Priority))
			return
		}
	}
	d.act(inst, a)
}

// command decides about the one instance that a command names.
func (d *decision) command(inv []Instance) {
	c := d.trig.Command
	a := Action{Kind: KindOf(c.Step.Verb), Verb: c.Step.Verb, Hard: c.Step.Hard, Size: c.Step.Size, Add: c.Step.Add, Remove: c.Step.Remove,
		Firewall: c.Step.Firewall, Why: c.Reason, Planned: d.trig.At, Due: d.trig.At, GiveUpAfter: cmp.Or(c.GiveUpAfter, DefaultGiveUp)}
	if c.DryRun {
		a.Mode = ModeObserve
	}
	at := slices.IndexFunc(inv, func(i Instance) bool { return i.ID == c.Instance && strings.EqualFold(i.Region, c.Region) })
	if at < 0 {
		d.skip(&Instance{ID: c.Instance, Region: c.Region}, a, ReasonGone, "a full list of "+c.Region+" lacks it")
		return
	}
	d.act(&inv[at], a)
}

// look decides what would be done if all that is wanted now were put into force.
func (d *decision) look(inv []Instance) {
	d.views = d.viewsAt(d.now)
	var matched []int
	for n := range inv {
		inst := &inv[n]
		matched = d.index.match(inst, matched[:0])
		win, ok := d.winner(d.views, matched)
		if !ok {
			continue
		}
		p := &d.set.Policies[win]
		a := d.powerAction(p, d.views[win])
		a.GiveUpAfter, a.Until = p.GiveUp(Edge{Planned: a.Planned})
		d.act(inst, a)
	}
}

// act is where every action passes: what keeps it from being done makes it a skip.
func (d *decision) act(inst *Instance, a Action) {
	if a.Mode == "" {
		a.Mode = d.set.Mode
		if p, ok := d.set.Policy(a.Policy); ok && p.Mode != "" {
			a.Mode = p.Mode
		}
	}
	if reason, detail := d.prevents(inst, &a); reason != "" {
		d.skip(inst, a, reason, detail)
		return
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
	a.ID = ActionID(d.trig.ID, a.Step, inst.ID, a.Kind)
	a.Region, a.Instance, a.Hostname = inst.Region, inst.ID, inst.Hostname
	return a
}

// prevents is why an action is not done, in the order in which one would ask.
func (d *decision) prevents(inst *Instance, a *Action) (Reason, string) {
	if reason, detail := d.set.Untouchable(*inst); reason != "" {
		return reason, detail
	}
	if !slices.Contains(d.set.Allow, a.Verb) {
		return ReasonNotAllowed, string(a.Verb) + " is not in allow"
	}
	if d.trig.Signal != nil {
		if reason, detail := d.quiets(inst, a); reason != "" {
			return reason, detail
		}
	}
	return d.asItIs(inst, a)
}

// quiets is why a signal does nothing to an instance.
func (d *decision) quiets(inst *Instance, a *Action) (Reason, string) {
	p, ok := d.set.Policy(a.Policy)
	if !ok {
		return "", ""
	}
	if a.Verb == Reboot || a.Verb == Resize || a.Verb == Stop {
		if name, off := d.wantedOff(inst); off {
			return ReasonOffOnPurpose, name
		}
		if inst.Status != StatusActive {
			return ReasonNotActive, "it is " + inst.Status
		}
		if last, ok := d.facts.LastActions[inst.ID]; ok && d.now.Before(last.Add(SignalSettle)) {
			return ReasonSettling, "an action of ours was accepted at " + last.UTC().Format(time.RFC3339)
		}
	}
	if last, ok := d.facts.Cooldowns[CooldownKey(p.Name, inst.ID)]; ok && d.now.Before(last.Add(p.Cooldown)) {
		return ReasonCooldown, fmt.Sprintf("policy %s acted at %s, its cool-down is %s", p.Name, last.UTC().Format(time.RFC3339), p.Cooldown)
	}
	return "", ""
}

// wantedOff reports whether the power want that holds is stopped, and whose it is.
func (d *decision) wantedOff(inst *Instance) (string, bool) {
	if d.views == nil {
		d.views = d.viewsAt(d.now)
	}
	win, ok := d.winner(d.views, d.index.match(inst, nil))
	if !ok || d.views[win].want != schedule.Stopped {
		return "", false
	}
	return d.set.Policies[win].Name, true
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
			if slices.ContainsFunc(d.plan.Actions, func(o Action) bool { return o.Instance == inst.ID && o.Kind == KindPower }) {
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

// limit holds back a run that is larger than anyone meant: all that counts, not
// only what is too much, because nobody can say which part was meant.
func (d *decision) limit() {
	most := cmp.Or(d.set.Limits.PerRun, DefaultPerRun)
	counts := func(a Action) bool { return !(a.Level && a.Verb == Start) && a.Mode != ModeObserve }
	n := 0
	for _, a := range d.plan.Actions {
		if counts(a) {
			n++
		}
	}
	if n <= most || d.trig.isLook() {
		return
	}
	detail := fmt.Sprintf("the run has %d actions, limits.per_run is %d: raise it if that is meant", n, most)
	d.plan.Actions = slices.DeleteFunc(d.plan.Actions, func(a Action) bool {
		if counts(a) {
			d.plan.Skips = append(d.plan.Skips, Skip{Action: a, Reason: ReasonOverLimit, Detail: detail})
			return true
		}
		return false
	})
}

func (t Trigger) isLook() bool { return t.Command == nil && t.Signal == nil && len(t.Edges) == 0 }

// index finds the policies that select an instance without asking each: most
// selectors name a tag that all their instances have.
type index struct {
	set   *Set
	byTag map[string][]int
	rest  []int
}

func newIndex(set *Set) *index {
	x := &index{set: set, byTag: make(map[string][]int)}
	for i := range set.Policies {
		if key := set.Policies[i].Select.key(); key != "" {
			x.byTag[key] = append(x.byTag[key], i)
		} else {
			x.rest = append(x.rest, i)
		}
	}
	return x
}

// match appends the policies that select an instance to into, in order.
func (x *index) match(inst *Instance, into []int) []int {
	try := func(i int) {
		if x.set.Policies[i].Select.Matches(*inst) && !slices.Contains(into, i) {
			into = append(into, i)
		}
	}
	for _, t := range inst.Tags {
		for _, i := range x.byTag[t] {
			try(i)
		}
	}
	for _, i := range x.rest {
		try(i)
	}
	slices.Sort(into)
	return into
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
