package policies

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Limits hold a run back that is larger than anyone meant.
type Limits struct {
	PerRun  int     // actions of one run; 0 means DefaultPerRun
	PerHour int     // actions started in any hour, over all runs; 0 means DefaultPerHour
	Share   float64 // of the fleet in one run, and of a trigger's selector in an hour; 0: no bound
}

// Floor is how many of the selected instances stay running, whoever wants otherwise.
type Floor struct {
	Select  Selector
	Running int
}

const (
	// FewInstances are too few for a share of them to mean anything, or for their
	// number to have grown.
	FewInstances = 5
	// ShareWithin is the time in which a policy that is triggered may act on a share
	// of what it selects (plan time).
	ShareWithin = time.Hour
	growth      = 2 // times the instances of the last run
)

// Allowed is how many of n instances a share allows: rounded down, at least one.
// A share of few instances bounds nothing.
func (l Limits) Allowed(n int) (most int, bound bool) {
	if l.Share <= 0 || n < FewInstances {
		return 0, false
	}
	return max(1, int(math.Floor(l.Share*float64(n)+1e-9))), true // 0.29 of 100 is 29
}

// Counts reports whether limits count an action. Starts by schedule are never
// held back, messages touch nothing, and what is only observed does neither.
func (a *Action) Counts() bool {
	return !(a.Level && a.Verb == Start) && a.Mode != ModeObserve && a.Verb != Notify
}

// Lowers reports whether an action takes an instance down, if only for a while.
func (v Verb) Lowers() bool {
	return v == Stop || v == Reboot || v == Resize || v == Delete
}

// FloorsOver are the floors that count an instance, by their place in the set.
func (s *Set) FloorsOver(inst Instance) []int { return s.floorsOver(&inst) }

func (s *Set) floorsOver(inst *Instance) (over []int) {
	for i := range s.Floors {
		if s.Floors[i].Select.matches(inst) {
			over = append(over, i)
		}
	}
	return over
}

// Up is how many instances that a floor counts are running.
func (f *Floor) Up(inv []Instance) (n int) {
	for i := range inv {
		if inv[i].Status == StatusActive && f.Select.matches(&inv[i]) {
			n++
		}
	}
	return n
}

// Words say what a floor asks for.
func (f *Floor) Words() string {
	return fmt.Sprintf("at least %d of %s stay running", f.Running, f.Select)
}

// rails go over what is decided as a whole: what is kept up, what is too large, and
// who goes first.
func (d *decision) rails() {
	slices.SortFunc(d.plan.Actions, actionOrder)
	d.keepFloors()
	runs := map[time.Time][]*Action{}
	for i := range d.plan.Actions {
		a := &d.plan.Actions[i]
		if !a.Counts() {
			continue
		}
		var at time.Time
		if d.trig.isLook() { // each edge is a run of its own
			at = a.Planned
		}
		runs[at] = append(runs[at], a)
	}
	for _, run := range runs {
		d.limit(run)
	}
	d.canaries()
}

// actionOrder is the order of a plan.
func actionOrder(a, b Action) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.Instance, b.Instance),
		cmp.Compare(a.Step, b.Step), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Policy, b.Policy), a.Planned.Compare(b.Planned))
}

// fleet is the last complete inventory, by region; where nobody gave one, what is
// decided about is all there is.
func (d *decision) fleet() [][]Instance {
	if d.facts.Fleet != nil {
		return d.facts.Fleet
	}
	return [][]Instance{d.inv}
}

func (d *decision) fleetSize() (n int) {
	for _, part := range d.fleet() {
		n += len(part)
	}
	return n
}

// selected is how many instances of the fleet a policy selects.
func (d *decision) selected(policy int) int {
	if d.counts == nil || !d.whole && len(d.inv) != d.fleetSize() { // not all were looked at
		d.counts = make([]int, len(d.set.Policies))
		var matched []int
		for _, part := range d.fleet() {
			for i := range part {
				matched = d.index.match(&part[i], matched[:0])
				d.count(matched)
			}
		}
		d.whole = true
	}
	return d.counts[policy]
}

func (d *decision) count(matched []int) {
	for _, i := range matched {
		d.counts[i]++
	}
}

// keepFloors takes out what would leave too few running: in the order of the plan
// the first go, the others stay. A reboot comes back, so it is asked about alone;
// just before the call it waits for those that are down.
func (d *decision) keepFloors() {
	if len(d.set.Floors) == 0 || d.facts.Partial { // just before the call all regions are looked at
		return
	}
	up := make(map[int]int) // by floor: how many would be running
	down := make([]bool, len(d.plan.Actions))
	for _, observed := range []bool{false, true} { // what is only observed takes nobody's place
		for n := range d.plan.Actions {
			a := &d.plan.Actions[n]
			if (a.Mode == ModeObserve) != observed {
				continue
			}
			for _, f := range a.floors {
				if _, known := up[f]; !known {
					for _, part := range d.fleet() {
						up[f] += d.set.Floors[f].Up(part)
					}
				}
				if up[f]-1 < d.set.Floors[f].Running {
					down[n] = true
					d.plan.Skips = append(d.plan.Skips, Skip{Action: *a, Reason: ReasonFloor, Detail: fmt.Sprintf("%s, and %d are", d.set.Floors[f].Words(), up[f])})
					break
				}
			}
			if !down[n] && a.Verb != Reboot && a.Verb != Resize {
				for _, f := range a.floors {
					up[f]--
				}
			}
		}
	}
	n := 0
	d.plan.Actions = slices.DeleteFunc(d.plan.Actions, func(Action) bool { n++; return down[n-1] })
}

// limit holds a run that is larger than anyone meant until somebody approves it:
// all that counts, not only what is too much, because nobody can say which part
// was meant.
func (d *decision) limit(run []*Action) {
	hold := func(words string, which func(*Action) bool) {
		for _, a := range run {
			if which == nil || which(a) {
				a.Hold = words
			}
		}
	}
	d.limitByPolicy(run, hold)
	most := cmp.Or(d.set.Limits.PerRun, DefaultPerRun)
	if n := len(run) + len(d.facts.Asked); n > most {
		hold(fmt.Sprintf("%d actions are more than limits.per_run (%d)", n, most), nil)
		return
	}
	instances := make(map[string]bool)
	for _, id := range d.facts.Asked {
		instances[id] = true
	}
	for _, a := range run {
		instances[a.Instance] = true
	}
	n := d.fleetSize()
	if d.facts.Partial && d.set.Limits.Share > 0 && len(instances) > 1 {
		hold(fmt.Sprintf("limits.share is %g, and how large the fleet is is not known: a region was never read", d.set.Limits.Share), nil)
	} else if most, bound := d.set.Limits.Allowed(n); bound && len(instances) > most {
		hold(fmt.Sprintf("%d instances are more than limits.share (%g) allows of a fleet of %d: %d", len(instances), d.set.Limits.Share, n, most), nil)
	}
}

// limitByPolicy holds what a policy would do to more of what it selects than it
// may, or to far more than at its last run.
func (d *decision) limitByPolicy(run []*Action, hold func(string, func(*Action) bool)) {
	byTrigger, inTime := d.trig.Signal != nil, len(d.trig.Edges) > 0 || d.trig.Drift || d.trig.isLook()
	if !inTime && (!byTrigger || d.set.Limits.Share <= 0) {
		return
	}
	of := make(map[int][]*Action)
	for _, a := range run {
		if i := d.index.policy(a.Policy); i >= 0 {
			of[i] = append(of[i], a)
		}
	}
	for i, actions := range of {
		p := &d.set.Policies[i]
		mine := func(a *Action) bool { return a.Policy == p.Name }
		switch {
		case inTime:
			n := d.selected(i) // where a region was never read: at least so many
			if !d.facts.Partial {
				if d.plan.Sizes == nil {
					d.plan.Sizes = make(map[string]int)
				}
				d.plan.Sizes[p.Name] = n
			}
			if last, known := d.facts.Sizes[p.Name]; known && n >= FewInstances && n >= growth*last {
				hold(fmt.Sprintf("policy %s selects %d instances, it was %d at its last run: what has at least doubled is asked about once", p.Name, n, last), mine)
				if d.plan.Grown == nil {
					d.plan.Grown = make(map[string]int)
				}
				d.plan.Grown[p.Name] = n
				delete(d.plan.Sizes, p.Name) // as long as nobody approves it is asked about again
			}
		case byTrigger:
			n := d.selected(i)
			most, bound := d.set.Limits.Allowed(n)
			if !bound && d.facts.Partial { // of how many it is a share is not known: the least that it can be
				most, bound = 1, true
			}
			if !bound {
				continue
			}
			touched := d.touchedWithin(p, ShareWithin)
			for _, a := range actions {
				if a.Verb != Start { // a start by signal is bound only by protect, pause and keep
					touched[a.Instance] = true
				}
			}
			if len(touched) > most {
				hold(fmt.Sprintf("%d instances within %s are more than limits.share (%g) allows of the %d that policy %s selects: %d", len(touched), SpanWords(ShareWithin), d.set.Limits.Share, n, p.Name, most),
					func(a *Action) bool { return mine(a) && a.Verb != Start })
			}
		}
	}
}

// touchedWithin are the instances that a policy acted on within a time.
func (d *decision) touchedWithin(p *Policy, within time.Duration) map[string]bool {
	touched := make(map[string]bool)
	for key, c := range d.facts.Cooldowns {
		if id, ok := strings.CutPrefix(key, p.Name+"/"); ok && d.now.Before(c.At.Add(within)) {
			touched[id] = true
		}
	}
	return touched
}

// canaries say who goes first where a policy tries one instance of each region
// before the others: whose turn in an order, or whose time, comes first.
func (d *decision) canaries() {
	first := make(map[string]*Action) // by region and policy
	of := func(a *Action) (key string, stay time.Duration) {
		if i := d.index.policy(a.Policy); i >= 0 && a.Counts() {
			stay = d.set.Policies[i].Canary
		}
		return a.Region + " " + a.Policy, stay
	}
	for n := range d.plan.Actions {
		a := &d.plan.Actions[n]
		key, stay := of(a)
		if stay == 0 {
			continue
		}
		if c := first[key]; c == nil || cmp.Or(cmp.Compare(a.turn(), c.turn()), a.Due.Compare(c.Due)) < 0 {
			first[key] = a
		}
	}
	for n := range d.plan.Actions {
		a := &d.plan.Actions[n]
		key, stay := of(a)
		if c := first[key]; stay > 0 && c.Instance != a.Instance {
			c.Canary = "goes first, as the canary"
			a.Canary = fmt.Sprintf("after %s, when that has stayed so for %s", cmp.Or(c.Hostname, c.Instance), SpanWords(stay))
		}
	}
}

// turn is when an action has its turn in an order.
func (a *Action) turn() int {
	if a.Place.Order == nil {
		return 0
	}
	return a.Place.Turn(a.Verb)
}

// Waits says what an action waits for, in words; empty: nothing.
func (a *Action) Waits() string {
	switch {
	case a.Hold != "":
		return "waits for approval: " + a.Hold
	default:
		return a.Canary
	}
}
