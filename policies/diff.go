package policies

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// ChangeKind says how what would be done differs between two sets.
type ChangeKind string

// The kinds of changes.
const (
	Appears  ChangeKind = "appears"  // only the second set does it
	Vanishes ChangeKind = "vanishes" // only the first
	Moves    ChangeKind = "moves"    // the same, at another time less than half a day off
	Becomes  ChangeKind = "becomes"  // at that time something else is done, or it is only planned
	Reasons  ChangeKind = "reason"   // the same at the same time, but another policy asks for it
)

// ChangeKinds are all kinds, in the order in which they are shown.
func ChangeKinds() []ChangeKind { return []ChangeKind{Appears, Vanishes, Moves, Becomes, Reasons} }

// moveWithin is how far an action may be off to count as moved: further away it
// is another one, of another day.
const moveWithin = 12 * time.Hour

// Change is one action on one instance that differs.
type Change struct {
	Kind   ChangeKind
	Before *Action // nil: appears
	After  *Action // nil: vanishes
	// Instead is what the other set says about the instance at that time, where
	// only one acts: "already: it is SHUTOFF". Empty: no policy of it asks then.
	Instead string
}

// action is the one to show: the newer.
func (c *Change) action() *Action {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// At is the earlier of the planned times. Each instance is due later by its share
// of a spread.
func (c *Change) At() time.Time {
	if c.Before != nil && c.After != nil {
		return earlier(c.Before.Planned, c.After.Planned)
	}
	return c.action().Planned
}

// Instance is the action's instance, as far as an action names it.
func (c *Change) Instance() (region, id, hostname string) {
	a := c.action()
	return a.Region, a.Instance, a.Hostname
}

// Policy is the policy that a change is put down to: the newer one.
func (c *Change) Policy() string { return c.action().Policy }

// Totals say how much a set does over the time.
type Totals struct {
	Instances int           // in the regions of the set
	Actions   int           // those that are only planned (observe) included
	Running   time.Duration // of all instances together
}

// Reworded is something that both sets have in different form.
type Reworded struct {
	Name   string
	Before string // empty: the first set does not have it
	After  string
}

// Difference is what two sets would do differently from one time to another.
type Difference struct {
	From, To time.Time
	Before   Totals
	After    Totals
	Changes  []Change // in order of time, region, host name
	// Waiting are the policies that wait for signals and differ. No simulation
	// shows what they would do.
	Waiting []Reworded
	// Settings are those of the whole set that differ: mode, allow, protect, …
	Settings []Reworded
	// Unseen are the other policies that differ and yet have no part in a change.
	Unseen []string
}

// Same reports whether nothing would be done differently. Policies that are
// written differently and do the same, for as long as was looked, are the same.
func (d *Difference) Same() bool { return len(d.Changes)+len(d.Waiting)+len(d.Settings) == 0 }

// Counts counts the changes of a policy by kind; of all policies with no name.
func (d *Difference) Counts(policy string) map[ChangeKind]int {
	counts := make(map[ChangeKind]int)
	for i := range d.Changes {
		if policy == "" || d.Changes[i].Policy() == policy {
			counts[d.Changes[i].Kind]++
		}
	}
	return counts
}

// Policies are the names of those that changes are put down to, sorted.
func (d *Difference) Policies() []string {
	var names []string
	for i := range d.Changes {
		names = append(names, d.Changes[i].Policy())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Diff simulates two sets over the same fleet, each in the regions that it names,
// and compares what they do in (from, to]. Signals and commands do not happen.
func Diff(before, after *Set, inv []Instance, facts Facts, from, to time.Time) Difference {
	d := Difference{From: from, To: to}
	olds, news := newCourse(before, inv, facts, from, to), newCourse(after, inv, facts, from, to)
	d.Before, d.After = olds.totals, news.totals
	for _, key := range olds.instancesWith(news) {
		d.Changes = append(d.Changes, pairUp(olds.actions[key], news.actions[key])...)
	}
	olds.instead(d.Changes, Appears)
	news.instead(d.Changes, Vanishes)
	slices.SortStableFunc(d.Changes, func(a, b Change) int {
		x, y := a.action(), b.action()
		return cmp.Or(a.At().Compare(b.At()), cmp.Compare(x.Region, y.Region), cmp.Compare(x.Hostname, y.Hostname), cmp.Compare(x.Instance, y.Instance),
			cmp.Compare(x.Kind, y.Kind), cmp.Compare(a.Kind, b.Kind), cmp.Compare(x.Policy, y.Policy))
	})
	d.Settings = settingsThatDiffer(before, after)
	d.policiesThatDiffer(before, after)
	return d
}

// course is what one set does over the time.
type course struct {
	stages  []Stage
	actions map[instanceKey][]*Action
	set     *Set
	fleet   map[string]*Instance // by id, of all regions
	totals  Totals
}

type instanceKey struct{ region, hostname, id string }

func keyOf(a *Action) instanceKey { return instanceKey{a.Region, a.Hostname, a.Instance} }

func newCourse(set *Set, inv []Instance, facts Facts, from, to time.Time) course {
	own := slices.DeleteFunc(slices.Clone(inv), func(i Instance) bool { return !set.covers(i.Region) })
	c := course{stages: Simulate(set, own, facts, from, to), actions: make(map[instanceKey][]*Action), set: set, fleet: make(map[string]*Instance, len(inv))}
	for i := range inv {
		c.fleet[inv[i].ID] = &inv[i]
	}
	c.totals.Instances = len(own)
	for n := range c.stages {
		actions := c.stages[n].Plan.Actions
		c.totals.Actions += len(actions)
		for i := range actions {
			a := &actions[i]
			c.actions[keyOf(a)] = append(c.actions[keyOf(a)], a)
		}
	}
	for _, spans := range Courses(own, c.stages, from, to) {
		c.totals.Running += Within(spans, schedule.Running, from, to)
	}
	return c
}

// covers reports whether a region is one of the set's; a set that names none
// covers all.
func (s *Set) covers(region string) bool {
	return len(s.Regions) == 0 || slices.ContainsFunc(s.Regions, func(r string) bool { return strings.EqualFold(r, region) })
}

func (c *course) instancesWith(o course) []instanceKey {
	var keys []instanceKey
	for _, m := range []map[instanceKey][]*Action{c.actions, o.actions} {
		for k := range m {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b instanceKey) int {
		return cmp.Or(cmp.Compare(a.region, b.region), cmp.Compare(a.hostname, b.hostname), cmp.Compare(a.id, b.id))
	})
	return slices.Compact(keys)
}

// instead fills in what this set says at the time of changes that only the other
// one acts in.
func (c *course) instead(changes []Change, kind ChangeKind) {
	type moment struct {
		instance string
		kind     Kind
		at       int64
	}
	wanted := make(map[moment]*Change)
	for i := range changes {
		ch := &changes[i]
		if ch.Kind != kind {
			continue
		}
		a := ch.action()
		if ch.Instead = c.never(c.fleet[a.Instance]); ch.Instead != "" {
			continue
		}
		wanted[moment{a.Instance, a.Kind, a.Planned.Unix()}] = ch
	}
	if len(wanted) == 0 {
		return
	}
	for n := range c.stages {
		for i := range c.stages[n].Plan.Skips {
			s := &c.stages[n].Plan.Skips[i]
			if ch, ok := wanted[moment{s.Instance, s.Kind, c.stages[n].At.Unix()}]; ok && ch.Instead == "" {
				ch.Instead = string(s.Reason)
				if s.Detail != "" {
					ch.Instead += ": " + s.Detail
				}
			}
		}
	}
}

// never is why this set does nothing about an instance at any time; empty: it may.
func (c *course) never(inst *Instance) string {
	if !c.set.covers(inst.Region) {
		return "region " + inst.Region + " is not named"
	}
	if reason, detail := c.set.Untouchable(*inst); reason != "" {
		return string(reason) + ": " + detail
	}
	return ""
}

// What is an action in words, without instance and time: "stop", "resize to
// g3.large", "stop (only planned)".
func (a *Action) What() string {
	s := Step{Verb: a.Verb, Hard: a.Hard, Size: a.Size, Add: a.Add, Remove: a.Remove, Firewall: a.Firewall}.String()
	switch {
	case a.Mode == ModeObserve:
		s += " (only planned)"
	case a.Hold != "":
		s += " (waits for approval)"
	}
	return s
}

// pairUp compares the actions of two sets on one instance. Both are in order of
// time. It is the same in both directions: what appears one way vanishes the other.
func pairUp(olds, news []*Action) []Change {
	var changes []Change
	pair := func(kind ChangeKind, same func(a, b *Action) bool) {
		olds, news = takePairs(olds, news, same, func(a, b *Action) {
			k := kind
			if k == Reasons && a.Due.Equal(b.Due) && a.Policy == b.Policy {
				return // its windows may be written differently: where that matters other actions differ
			}
			if k == Reasons && !a.Due.Equal(b.Due) {
				k = Moves
			}
			changes = append(changes, Change{Kind: k, Before: a, After: b})
		})
	}
	sameTime := func(a, b *Action) bool { return a.Planned.Equal(b.Planned) && a.Kind == b.Kind }
	pair(Reasons, func(a, b *Action) bool { return sameTime(a, b) && a.What() == b.What() && a.Policy == b.Policy })
	pair(Reasons, func(a, b *Action) bool { return sameTime(a, b) && a.What() == b.What() })
	pair(Becomes, sameTime)
	return append(changes, moved(olds, news)...)
}

// takePairs gives those that belong together to found, in order, and returns the rest.
// Only those of the same planned time can belong together.
func takePairs(olds, news []*Action, same func(a, b *Action) bool, found func(a, b *Action)) (restOld, restNew []*Action) {
	taken := make([]bool, len(news))
	begin := 0
	for _, a := range olds {
		for begin < len(news) && news[begin].Planned.Before(a.Planned) {
			begin++
		}
		at := -1
		for i := begin; i < len(news) && news[i].Planned.Equal(a.Planned); i++ {
			if !taken[i] && same(a, news[i]) {
				at = i
				break
			}
		}
		if at < 0 {
			restOld = append(restOld, a)
			continue
		}
		taken[at] = true
		found(a, news[at])
	}
	for i, b := range news {
		if !taken[i] {
			restNew = append(restNew, b)
		}
	}
	return restOld, restNew
}

// moved pairs each action with the nearest that does the same at another time.
// What has none has appeared or vanished.
func moved(olds, news []*Action) []Change {
	var changes []Change
	byWhat := func(list []*Action) map[string][]*Action {
		m := make(map[string][]*Action)
		for _, a := range list {
			m[a.What()] = append(m[a.What()], a)
		}
		return m
	}
	was, is := byWhat(olds), byWhat(news)
	var whats []string
	for _, m := range []map[string][]*Action{was, is} {
		for w := range m {
			whats = append(whats, w)
		}
	}
	slices.Sort(whats)
	for _, w := range slices.Compact(whats) {
		changes = append(changes, movedOf(was[w], is[w])...)
	}
	return changes
}

func movedOf(a, b []*Action) []Change {
	var changes []Change
	apart := func(x, y *Action) time.Duration { return x.Planned.Sub(y.Planned).Abs() }
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		both := i < len(a) && j < len(b)
		d := time.Duration(0)
		if both {
			d = apart(a[i], b[j])
		}
		switch {
		case !both && i < len(a), both && d > moveWithin && a[i].Planned.Before(b[j].Planned), both && i+1 < len(a) && apart(a[i+1], b[j]) < d:
			changes = append(changes, Change{Kind: Vanishes, Before: a[i]})
			i++
		case !both, d > moveWithin, j+1 < len(b) && apart(a[i], b[j+1]) < d:
			changes = append(changes, Change{Kind: Appears, After: b[j]})
			j++
		default:
			changes = append(changes, Change{Kind: Moves, Before: a[i], After: b[j]})
			i++
			j++
		}
	}
	return changes
}

// settingsThatDiffer compares what holds for all policies, signals and commands.
func settingsThatDiffer(before, after *Set) []Reworded {
	var out []Reworded
	for _, s := range []struct {
		name string
		form func(*Set) string
	}{
		{"mode", func(s *Set) string { return string(s.Mode) }},
		{"regions", func(s *Set) string { return strings.Join(slices.Sorted(slices.Values(s.Regions)), ", ") }},
		{"allow", func(s *Set) string { return joinVerbs(s.Allow) }},
		{"protect", func(s *Set) string { return s.Protect.String() }},
		{"limits", func(s *Set) string {
			return fmt.Sprintf("per_run %d, per_hour %d", cmp.Or(s.Limits.PerRun, DefaultPerRun), cmp.Or(s.Limits.PerHour, DefaultPerHour))
		}},
		{"hold_for", func(s *Set) string { return SpanWords(cmp.Or(s.HoldFor, DefaultHoldFor)) }},
		{"owners", func(s *Set) string { return s.Owners.String() }},
	} {
		if a, b := s.form(before), s.form(after); a != b {
			out = append(out, Reworded{s.name, a, b})
		}
	}
	return out
}

func joinVerbs(verbs []Verb) string {
	var words []string
	for _, v := range verbs {
		words = append(words, string(v))
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ", ")
}

// String prints which tags of owners count.
func (o Owners) String() string {
	if len(o.Keys) == 0 {
		return ""
	}
	return fmt.Sprintf("%s{%s}, keep for %s at most", cmp.Or(o.Prefix, DefaultPrefix), strings.Join(slices.Sorted(slices.Values(o.Keys)), ","), SpanWords(cmp.Or(o.Max, DefaultKeep)))
}

func (d *Difference) policiesThatDiffer(before, after *Set) {
	seen := d.partsTaken()
	names := make([]string, 0, len(before.Policies)+len(after.Policies))
	for _, s := range []*Set{before, after} {
		for i := range s.Policies {
			names = append(names, s.Policies[i].Name)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		a, inA := before.Policy(name)
		b, inB := after.Policy(name)
		switch {
		case inA && inB && a.Hash() == b.Hash():
		case inA && a.Signal != nil || inB && b.Signal != nil:
			r := Reworded{Name: name}
			if inA {
				r.Before = a.Words()
			}
			if inB {
				r.After = b.Words()
			}
			if r.Before == r.After {
				r.After += "; it differs in what this line does not show"
			}
			d.Waiting = append(d.Waiting, r)
		case !seen[name]:
			d.Unseen = append(d.Unseen, name)
		}
	}
}

// partsTaken are the policies that have a part in a change.
func (d *Difference) partsTaken() map[string]bool {
	seen := make(map[string]bool)
	for i := range d.Changes {
		for _, a := range []*Action{d.Changes[i].Before, d.Changes[i].After} {
			if a != nil {
				seen[a.Policy] = true
			}
		}
	}
	return seen
}

// Words is a policy in one line for people: whom it selects, when, what it does.
func (p *Policy) Words() string {
	parts := []string{p.Select.String()}
	switch {
	case p.Schedule != nil:
		parts = append(parts, "schedule "+p.Schedule.String())
	case p.FromTag != nil:
		parts = append(parts, "the hours of its tag "+p.FromTag.Tag)
	case p.Cron != nil:
		parts = append(parts, "cron "+p.Cron.String(), stepNames(p.Do))
	case p.Signal != nil:
		parts = append(parts, p.Signal.conditions(), stepNames(p.Do))
		if p.Cooldown > 0 {
			parts = append(parts, "cooldown "+SpanWords(p.Cooldown))
		}
		if p.AtMost.Instances > 0 {
			parts = append(parts, fmt.Sprintf("at most %d within %s", p.AtMost.Instances, SpanWords(p.AtMost.Within)))
		}
	}
	if p.Lasts > 0 {
		parts = append(parts, "lasts "+SpanWords(p.Lasts))
	}
	if p.Priority != 0 {
		parts = append(parts, fmt.Sprintf("priority %d", p.Priority))
	}
	if p.Mode != "" {
		parts = append(parts, "mode "+string(p.Mode))
	}
	return strings.Join(parts, "; ")
}

// conditions are what a signal must be like, in words.
func (c *SignalCause) conditions() string {
	words := []string{c.String()}
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		words = append(words, k+"="+c.Labels[k])
	}
	for _, m := range c.Matchers {
		words = append(words, m.String())
	}
	if c.ClearBelow != 0 {
		words = append(words, fmt.Sprintf("until below %g", c.ClearBelow))
	}
	return strings.Join(words, " ")
}
