package policies

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// Bounds of what is looked through. Nothing that people write by hand comes near.
const (
	maxEdges  = 2000                // of one policy
	maxKinds  = 2000                // of instances
	maxTables = 200                 // in the tags of one policy
	maxWork   = 10_000_000          // wants that are compared
	lookTag   = 14 * 24 * time.Hour // ahead in another tool's grammar, which is asked minute by minute
)

// alike are instances that the same policies select, with the same hours in their
// tags: what holds for one holds for all.
type alike struct {
	inst    Instance // the first
	matched []int
	n       int // how many; 0: made up, because the fleet is not known
}

// sortOut sorts the instances that may be touched by what policies want of them.
// Where the fleet is not known each policy stands for one, that has what its
// selector names and nothing else.
func (l *lint) sortOut() {
	index := newIndex(l.set)
	byKey := make(map[string]*alike)
	add := func(inst *Instance, n int) {
		matched := index.match(inst, nil)
		if len(matched) == 0 {
			return
		}
		key := fmt.Sprint(matched)
		for _, i := range matched {
			if f := l.set.Policies[i].FromTag; f != nil {
				value, ok := f.of(inst)
				key += "|" + strconv.FormatBool(ok) + value
			}
		}
		if k := byKey[key]; k != nil {
			k.n += n
			return
		}
		byKey[key] = &alike{*inst, matched, n}
		l.kinds = append(l.kinds, byKey[key])
	}
	if l.known {
		for n := range l.inv {
			if l.touch[n] {
				add(&l.inv[n], 1)
			}
		}
	} else {
		for i := range l.set.Policies {
			if inst, ok := typical(l.set.Policies[i].Select, l.set.Regions); ok {
				add(&inst, 0)
			}
		}
	}
	if len(l.kinds) > maxKinds {
		l.add(SevereNote, "incomplete", "", "", "of %d kinds of instances %d were looked at for contradictions", len(l.kinds), maxKinds)
		l.kinds = l.kinds[:maxKinds]
	}
}

// typical makes up an instance that a selector selects; false: it cannot.
func typical(s Selector, regions []string) (Instance, bool) {
	plain := func(globs []string, otherwise string) string {
		if len(globs) == 0 {
			return otherwise
		}
		return strings.NewReplacer("*", "x", "?", "x").Replace(globs[0])
	}
	inst := Instance{ID: "x", Status: StatusActive}
	for _, x := range s.scopes() {
		for _, g := range x.All {
			if g != "*" {
				inst.Tags = append(inst.Tags, plain([]string{g}, ""))
			}
		}
		if len(x.Any) > 0 && x.Any[0] != "*" {
			inst.Tags = append(inst.Tags, plain(x.Any, ""))
		}
		inst.Region = plain(x.Region, inst.Region)
		inst.Size = plain(x.Size, inst.Size)
		inst.Hostname = plain(x.Hostname, inst.Hostname)
		inst.Status = plain(x.Status, inst.Status)
	}
	if inst.Region == "" && len(regions) > 0 {
		inst.Region = regions[0]
	}
	return inst, s.Matches(inst)
}

// future is what a timetable or a cron wants in the year ahead.
type future struct {
	points []point
	fires  []time.Time // of a cron
	end    time.Time   // up to where it was looked
}

type point struct {
	at   time.Time
	want Want
}

// futureOf is that of a policy on an instance.
func (l *lint) futureOf(i int, inst *Instance) *future {
	p := &l.set.Policies[i]
	if p.FromTag == nil {
		if l.lines[i] == nil {
			l.lines[i] = l.look(i, p.Schedule, l.to)
		}
		return l.lines[i]
	}
	value, ok := p.FromTag.of(inst)
	for _, t := range l.tablesOf(p) {
		if ok && t.value == value {
			if l.byValue[tagValue{i, value}] == nil {
				to := l.to
				if _, own := t.table.(*schedule.Weekly); !own {
					to = l.from.Add(lookTag)
				}
				l.byValue[tagValue{i, value}] = l.look(i, t.table, to)
			}
			return l.byValue[tagValue{i, value}]
		}
	}
	return &future{points: []point{{l.from, Want{Source: p.Name, Priority: p.Priority, policy: i}}}, end: l.to}
}

// tablesOf are the timetables that instances carry for a policy.
func (l *lint) tablesOf(p *Policy) (tables []tagTable) {
	i := l.set.policyIndex(p.Name)
	if l.tables[i] != nil {
		return l.tables[i]
	}
	seen := make(map[string]bool)
	for _, k := range l.kinds {
		value, ok := p.FromTag.of(&k.inst)
		if !ok || seen[value] || !slices.Contains(k.matched, i) || len(seen) >= maxTables {
			continue
		}
		seen[value] = true
		if table, err := p.FromTag.Read(value); err == nil {
			tables = append(tables, tagTable{value, table})
		}
	}
	if len(seen) >= maxTables {
		l.add(SevereNote, "incomplete", p.Name, "", "the first %d values of the tag %s were looked at for contradictions", maxTables, p.FromTag.Tag)
	}
	l.tables[i] = append([]tagTable{}, tables...)
	return l.tables[i]
}

// look follows what a policy wants from edge to edge.
func (l *lint) look(i int, table schedule.Timetable, to time.Time) *future {
	p := &l.set.Policies[i]
	want := Want{Source: p.Name, Priority: p.Priority, policy: i}
	switch {
	case table != nil:
		return followTable(table, want, l.from, to)
	case p.Cron != nil:
		return p.followCron(want, l.from, to)
	}
	return &future{points: []point{{l.from, want}}, end: to}
}

func followTable(table schedule.Timetable, want Want, at, to time.Time) *future {
	f := &future{end: to}
	for {
		f.points = append(f.points, point{at, levelWant(want, table, at)})
		next, ok := table.Next(at)
		switch {
		case !ok || !next.At.Before(to):
			return f
		case len(f.points) >= maxEdges:
			f.end = next.At
			return f
		}
		at = next.At
	}
}

func (p *Policy) followCron(want Want, from, to time.Time) *future {
	f := &future{end: to, points: []point{{from, p.cronWant(want, from)}}}
	f.fires = p.Cron.Between(from.Add(-time.Nanosecond), to, maxEdges)
	if len(f.fires) == maxEdges {
		f.end = f.fires[maxEdges-1]
	}
	step, power := p.power()
	end := f.points[0].want.Until
	ends := func(before time.Time) { // what lasts may be over before it comes again
		if !end.IsZero() && end.After(f.points[len(f.points)-1].at) && end.Before(before) {
			f.points = append(f.points, point{end, p.firedWant(want, step, end.Add(-p.Lasts), end)})
		}
	}
	for _, at := range f.fires {
		w := want
		if power {
			ends(at)
			w = p.firedWant(want, step, at, at)
			end = w.Until
		}
		f.points = append(f.points, point{at, w})
	}
	ends(f.end)
	return f
}

// quarrel is that one policy has its way against another.
type quarrel struct {
	winner, loser int
	kind          Kind
	rule          string // by which it wins
}

// dispute is how a quarrel goes.
type dispute struct {
	first time.Time // zero: whenever the signal comes
	lasts time.Duration
	at    Instance // the first that it is about
	n     int
	wins  string // what the winner wants
	loses string
	equal bool      // neither outranks the other, nor comes later
	until time.Time // up to where it was looked

	kind   int // of the instances that were counted last
	within time.Duration
}

// conflicts finds policies that want different things of an instance.
func (l *lint) conflicts() {
	flat := *l.set // without tags of owners, which are meant to overrule; what is followed is put in
	flat.Owners = Owners{}
	flat.Policies = slices.Clone(l.set.Policies)
	for i := range flat.Policies {
		flat.Policies[i].FromTag = nil
	}
	c := &contest{lint: l, flat: &flat, quarrels: make(map[quarrel]*dispute), voice: make([]bool, len(l.set.Policies)), way: make([]bool, len(l.set.Policies)),
		beaten: make([]map[string]bool, len(l.set.Policies)), reboots: make([]rebootCount, len(l.set.Policies))}
	c.until = slices.Repeat([]time.Time{l.to}, len(l.set.Policies))
	for n, k := range l.kinds {
		if c.work > maxWork {
			l.add(SevereNote, "incomplete", "", "", "of %d kinds of instances %d were looked at for contradictions", len(l.kinds), n)
			break
		}
		c.kind = n + 1
		c.power(k)
		c.steps(k)
		c.signals(k)
	}
	c.tell()
}

type rebootCount struct {
	planned, off int
	by           string
}

// contest is the argument between policies, over all kinds of instances.
type contest struct {
	*lint
	flat       *Set
	kind       int       // that is looked at, from 1
	end        time.Time // up to where its power is looked at
	work       int
	until      []time.Time // by policy: the earliest of these
	quarrels   map[quarrel]*dispute
	voice, way []bool // by policy: it has wanted something; that was what happened
	beaten     []map[string]bool
	reboots    []rebootCount
}

// note takes up that one want wins against another.
func (c *contest) note(q quarrel, k *alike, first time.Time, lasts time.Duration) *dispute {
	x := c.quarrels[q]
	if x == nil {
		x = &dispute{first: first, at: k.inst, until: c.end}
		c.quarrels[q] = x
	}
	x.until = earlier(x.until, c.end)
	if x.kind != c.kind {
		x.kind, x.within = c.kind, 0
		x.n += k.n
	}
	x.within += lasts
	x.lasts = max(x.lasts, x.within)
	if first.Before(x.first) {
		x.first = first
	}
	return x
}

// power follows the power of a kind of instances through the year.
func (c *contest) power(k *alike) {
	futures := make([]*future, len(k.matched))
	c.end = c.to
	voices, reboots := 0, false
	for n, i := range k.matched {
		futures[n] = c.futureOf(i, &k.inst)
		c.end = earlier(c.end, futures[n].end)
		if slices.ContainsFunc(futures[n].points, func(p point) bool { return p.want.State != "" }) {
			voices++
		}
		reboots = reboots || slices.ContainsFunc(c.set.Policies[i].Do, func(s Step) bool { return s.Verb == Reboot })
	}
	if voices < 2 && !reboots {
		for n, i := range k.matched {
			if slices.ContainsFunc(futures[n].points, func(p point) bool { return p.want.State != "" }) {
				c.voice[i], c.way[i] = true, true
			}
		}
		return
	}
	var instants []time.Time
	for _, f := range futures {
		for _, p := range f.points {
			if p.at.Before(c.end) {
				instants = append(instants, p.at)
			}
		}
	}
	slices.SortFunc(instants, time.Time.Compare)
	instants = slices.CompactFunc(instants, time.Time.Equal)
	c.work += len(instants) * len(k.matched)
	for _, i := range k.matched {
		c.until[i] = earlier(c.until[i], c.end)
	}
	m := &moment{set: c.flat, facts: &Facts{}, views: make([]Want, len(c.set.Policies))}
	cursor := make([]int, len(futures))
	for n, at := range instants {
		m.at = at
		until := c.end
		if n+1 < len(instants) {
			until = instants[n+1]
		}
		for f, i := range k.matched {
			points := futures[f].points
			for cursor[f]+1 < len(points) && !points[cursor[f]+1].at.After(at) {
				cursor[f]++
			}
			m.views[i] = points[cursor[f]].want
		}
		c.argue(m.wants(&k.inst, k.matched), k, at, until)
		c.rebootsAt(m, k, futures, at)
	}
}

// argue takes up who wins at an instant, against whom.
func (c *contest) argue(wants []Want, k *alike, at, until time.Time) {
	if len(wants) == 0 {
		return
	}
	win := &wants[bestOf(wants)]
	for n := range wants {
		w := &wants[n]
		c.voice[w.policy] = true
		if w.State == win.State {
			c.way[w.policy] = true
			continue
		}
		if c.beaten[w.policy] == nil {
			c.beaten[w.policy] = make(map[string]bool)
		}
		c.beaten[w.policy][win.Source] = true
		x := c.note(quarrel{win.policy, w.policy, KindPower, loses(w, win)}, k, at, until.Sub(at))
		x.wins, x.loses = string(win.State), string(w.State)
		x.equal = w.Priority == win.Priority && w.Impulse == win.Impulse && (!w.Impulse || w.Since.Equal(win.Since))
	}
}

// rebootsAt counts the reboots that are planned for an instant, and those that are
// dropped because the instance is off on purpose then.
func (c *contest) rebootsAt(m *moment, k *alike, futures []*future, at time.Time) {
	for n, i := range k.matched {
		p := &c.set.Policies[i]
		if p.Cron == nil || !slices.ContainsFunc(p.Do, func(s Step) bool { return s.Verb == Reboot }) {
			continue
		}
		if _, fires := slices.BinarySearchFunc(futures[n].fires, at, time.Time.Compare); !fires {
			continue
		}
		c.reboots[i].planned++
		if win, ok := m.winner(&k.inst, k.matched); ok && win.State == schedule.Stopped {
			c.reboots[i].off++
			c.reboots[i].by = win.Source
		}
	}
}

// steps finds cron policies that fire at the same time and want different things.
func (c *contest) steps(k *alike) {
	for x, i := range k.matched {
		for _, j := range k.matched[x+1:] {
			a, b := &c.set.Policies[i], &c.set.Policies[j]
			if a.Cron == nil || b.Cron == nil {
				continue
			}
			for _, kind := range differ(a, b) {
				if kind == KindPower {
					continue // see power
				}
				for _, at := range common(c.futureOf(i, &k.inst).fires, c.futureOf(j, &k.inst).fires) {
					c.decided(i, j, kind, k, at)
				}
			}
		}
	}
}

// signals finds policies that the same signal triggers, and that want different
// things.
func (c *contest) signals(k *alike) {
	for x, i := range k.matched {
		for _, j := range k.matched[x+1:] {
			a, b := &c.set.Policies[i], &c.set.Policies[j]
			if a.Signal == nil || b.Signal == nil || !a.Signal.hearsWith(b.Signal) {
				continue
			}
			for _, kind := range differ(a, b) {
				c.decided(i, j, kind, k, time.Time{})
			}
		}
	}
}

// decided takes up which of two policies wins that act at the same time.
func (c *contest) decided(i, j int, kind Kind, k *alike, at time.Time) {
	a, b := &c.set.Policies[i], &c.set.Policies[j]
	if cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Name, b.Name)) > 0 {
		i, j, a, b = j, i, b, a
	}
	rule := "between equals the first name wins"
	if a.Priority != b.Priority {
		rule = fmt.Sprintf("priority %d is less than %d", b.Priority, a.Priority)
	}
	x := c.note(quarrel{i, j, kind, rule}, k, at, 0)
	x.wins, x.loses, x.equal = stepsOf(a, kind), stepsOf(b, kind), a.Priority == b.Priority
}

// hearsWith reports whether one signal can trigger both causes.
func (c *SignalCause) hearsWith(o *SignalCause) bool {
	if c.Alert != o.Alert || c.Load != o.Load || c.Name != o.Name {
		return false
	}
	for k, v := range c.Labels {
		if other, ok := o.Labels[k]; ok && other != v {
			return false
		}
	}
	refuses := func(m []Matcher, labels map[string]string) bool {
		return slices.ContainsFunc(m, func(m Matcher) bool {
			_, known := labels[m.Label]
			return known && !m.Matches(labels)
		})
	}
	return !refuses(c.Matchers, o.Labels) && !refuses(o.Matchers, c.Labels)
}

// differ are the kinds of which two policies want different things.
func differ(a, b *Policy) (kinds []Kind) {
	for _, s := range a.Do {
		kind := KindOf(s.Verb)
		if kind == KindNotify { // whoever has something to say is heard
			continue
		}
		if other := stepsOf(b, kind); other != "" && other != stepsOf(a, kind) && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func stepsOf(p *Policy, kind Kind) string {
	var steps []Step
	for _, s := range p.Do {
		if KindOf(s.Verb) == kind {
			steps = append(steps, s)
		}
	}
	return stepNames(steps)
}

// common are the instants that are in both lists, which are in order.
func common(a, b []time.Time) (both []time.Time) {
	for len(a) > 0 && len(b) > 0 {
		switch n := a[0].Compare(b[0]); {
		case n < 0:
			a = a[1:]
		case n > 0:
			b = b[1:]
		default:
			both = append(both, a[0])
			a, b = a[1:], b[1:]
		}
	}
	return both
}

// tell makes findings of what was taken up.
func (c *contest) tell() {
	keys := slices.SortedFunc(maps.Keys(c.quarrels), func(a, b quarrel) int {
		return cmp.Or(a.loser-b.loser, a.winner-b.winner, cmp.Compare(a.kind, b.kind), cmp.Compare(a.rule, b.rule))
	})
	for _, q := range keys {
		x := c.quarrels[q]
		winner, loser := c.set.Policies[q.winner].Name, c.set.Policies[q.loser].Name
		severity, hint := SevereNote, ""
		if x.equal {
			severity, hint = SevereWarning, "give one of them a priority, or keep their selectors apart"
		}
		when := "at the same signal"
		if !x.first.IsZero() {
			when = "first " + c.set.clock(x.first)
		}
		if x.lasts >= time.Hour {
			when += ", " + counted(int(x.lasts.Round(time.Hour)/time.Hour), "hour") + " " + c.span(x.until)
		}
		f := c.add(severity, "conflict", loser, hint, "it wants %s while %s wants %s (%s): %s wins, %s", x.loses, winner, x.wins, when, winner, q.rule)
		if x.n > 0 {
			f.Instance, f.More = x.at.name(), x.n-1
		}
	}
	for i := range c.set.Policies {
		name := c.set.Policies[i].Name
		if c.voice[i] && !c.way[i] {
			c.add(SevereWarning, "shadowed", name, "", "it never has its way %s: when it wants something, it is beaten by %s", c.span(c.until[i]), joinNames(c.beaten[i]))
		}
		if r := c.reboots[i]; r.planned > 0 && r.planned == r.off {
			c.add(SevereWarning, "reboot-while-off", name, "", "it never reboots: at each of its planned times %s wants the instance stopped", r.by)
		}
	}
}

// span says how far something was looked at.
func (c *contest) span(until time.Time) string {
	if until.Before(c.to) {
		return "until " + c.set.clock(until)
	}
	return "in the year ahead"
}
