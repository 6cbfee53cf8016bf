package policies

import (
	"fmt"
	"slices"
	"time"

	"nightshift/policies/schedule"
)

// due is an edge of this trigger that concerns an instance.
type due struct {
	source string
	policy int // index; -1: none
	at     time.Time
	fires  bool // of a cron policy: a planned time, not the end of what it wanted
}

// tick decides about the instances that the edges concern.
func (d *decision) tick(inv []Instance) {
	d.newest = make([]Edge, len(d.set.Policies))
	first := d.trig.Edges[0].Planned
	for _, e := range d.trig.Edges {
		e.From = e.from()
		first = earlier(first, e.From)
		if isPseudo(e.Policy) {
			d.pseudo = append(d.pseudo, e)
			continue
		}
		i := d.index.policy(e.Policy)
		if i < 0 || e.Hash != "" && e.Hash != d.set.Policies[i].Hash() {
			d.skipEdge(e)
			continue
		}
		old := &d.newest[i]
		from := e.From
		if old.Policy != "" {
			from = earlier(e.From, old.From)
		}
		if old.Policy == "" || old.Planned.Before(e.Planned) {
			*old = e
		}
		old.From = from
	}
	d.present = newMoment(d.index, d.facts, later(d.now, d.trig.At))
	d.past = newMoment(d.index, d.facts, first.Add(-time.Second)) // see wholeSecond
	// Who is concerned is found out first, so that the plan is allocated once.
	var found []int32 // an instance, how many policies select it, which
	count := 0
	d.counts = make([]int, len(d.set.Policies))
	for n := range inv {
		matched := d.match(&inv[n])
		d.count(matched)
		if !d.concern(&inv[n], matched) {
			continue
		}
		count++
		found = append(found, int32(n), int32(len(matched)))
		for _, i := range matched {
			found = append(found, int32(i))
		}
	}
	d.plan.Actions = make([]Action, 0, count)
	var matched []int
	for len(found) > 0 {
		inst, n := &inv[found[0]], found[1]
		matched = matched[:0]
		for _, i := range found[2 : 2+n] {
			matched = append(matched, int(i))
		}
		found = found[2+n:]
		d.concern(inst, matched)
		d.tickInstance(inst, matched)
	}
}

// match is the policies that select an instance; it is good until the next call.
func (d *decision) match(inst *Instance) []int {
	d.matched = d.index.match(inst, d.matched[:0])
	return d.matched
}

func (e Edge) from() time.Time {
	if e.From.IsZero() {
		return e.Planned
	}
	return e.From
}

// covers reports whether an edge stands for an instant.
func (e Edge) covers(t time.Time) bool {
	to := e.To
	if to.IsZero() {
		to = e.Planned
	}
	return !t.Before(e.from()) && !t.After(to) || t.Equal(e.Planned)
}

// skipEdge ends an edge of a policy that is not, or no longer, in this form.
func (d *decision) skipEdge(e Edge) {
	d.plan.Skips = append(d.plan.Skips, Skip{
		Action: Action{ID: ActionID(d.trig.ID, 0, e.ID(), "tick"), Kind: "tick", Verb: "tick", Policy: e.Policy, Planned: e.Planned, Due: e.Planned},
		Reason: ReasonPolicyChanged, Detail: "the policy was changed or taken away since the edge was planned",
	})
}

// concern collects which edges concern an instance, and reports whether any does.
func (d *decision) concern(inst *Instance, matched []int) bool {
	d.dues = d.dues[:0]
	for _, i := range matched {
		e := d.newest[i]
		if e.Policy == "" {
			continue
		}
		switch p := &d.set.Policies[i]; {
		case p.FromTag != nil:
			if w := d.present.view(i, inst); e.covers(w.edge) {
				d.dues = append(d.dues, due{p.Name, i, w.edge, false})
			}
		case p.Signal != nil:
			for _, imp := range d.facts.Impulses[inst.ID] {
				if end := wholeSecond(imp.Until); imp.Policy == p.Name && e.covers(end) {
					d.dues = append(d.dues, due{p.Name, i, end, false})
				}
			}
		case p.Cron != nil:
			fired, ok := p.Cron.Prev(e.Planned)
			d.dues = append(d.dues, due{p.Name, i, e.Planned, ok && fired.Equal(e.Planned)})
		default:
			d.dues = append(d.dues, due{p.Name, i, e.Planned, false})
		}
	}
	for _, e := range d.pseudo {
		if at, ok := d.pseudoDue(e, inst, matched); ok {
			d.dues = append(d.dues, due{e.Policy, -1, at, false})
		}
	}
	return len(d.dues) > 0
}

// pseudoDue is the newest instant in an edge at which an exception of an instance
// begins or ends.
func (d *decision) pseudoDue(e Edge, inst *Instance, matched []int) (newest time.Time, ok bool) {
	try := func(t time.Time) {
		if t = wholeSecond(t); !t.IsZero() && e.covers(t) && t.After(newest) {
			newest, ok = t, true
		}
	}
	switch e.Policy {
	case KeepSource:
		for _, k := range d.set.keeps(inst, d.facts, d.now) {
			try(k.begin())
			try(k.Until)
		}
	case MarkSource:
		for _, k := range d.set.marks(inst) {
			try(k.at)
		}
	case PauseSource:
		for _, p := range d.facts.Pauses {
			if p.Instance == inst.ID || p.Instance == "" && (p.Policy == "" || slices.ContainsFunc(matched, func(i int) bool { return p.silences(&d.set.Policies[i]) })) {
				try(p.Until)
			}
		}
	case HandSource:
		if at, found := d.set.stopAgain(inst, d.facts, matched); found {
			try(at)
		}
	}
	return newest, ok
}

// stopAgain is when an instance that was started by hand in the off time is to be
// stopped again.
func (s *Set) stopAgain(inst *Instance, facts *Facts, matched []int) (at time.Time, ok bool) {
	h, found := facts.Hands[inst.ID]
	if !found || h.State != schedule.Running {
		return at, false
	}
	for _, i := range matched {
		p := &s.Policies[i]
		if p.StopAgainAfter == 0 {
			continue
		}
		if table := p.table(inst); table != nil && h.during(table) == schedule.Stopped {
			if t := h.At.Add(p.StopAgainAfter); !ok || t.Before(at) {
				at, ok = t, true
			}
		}
	}
	return at, ok
}

// table is the timetable by which a level decides about an instance, or nil.
func (p *Policy) table(inst *Instance) schedule.Timetable {
	if p.FromTag == nil {
		return p.Schedule
	}
	value, ok := p.FromTag.of(inst)
	if !ok {
		return nil
	}
	table, err := p.FromTag.Read(value)
	if err != nil {
		return nil
	}
	return table
}

// LevelAt is what a level wants of an instance at an instant of plan time; Any
// when that is nothing, or the policy is no level.
func (p *Policy) LevelAt(inst Instance, at time.Time) schedule.State {
	if table := p.table(&inst); table != nil {
		return table.At(at)
	}
	return schedule.Any
}

func (d *decision) tickInstance(inst *Instance, matched []int) {
	hasPower := slices.ContainsFunc(d.dues, func(u due) bool {
		if u.policy < 0 || d.set.Policies[u.policy].IsLevel() {
			return true
		}
		_, power := d.set.Policies[u.policy].power()
		return power
	})
	if hasPower {
		d.powerByTick(inst, matched)
	}
	if slices.ContainsFunc(d.dues, func(u due) bool { return u.fires }) {
		d.steps(inst, matched, func(i int) (time.Time, bool) {
			for _, u := range d.dues {
				if u.policy == i && u.fires {
					return u.at, true
				}
			}
			return time.Time{}, false
		})
	}
}

// powerByTick acts for the winner when it is new.
func (d *decision) powerByTick(inst *Instance, matched []int) {
	was, wasOK := d.past.winner(inst, matched)
	win, ok := d.present.winner(inst, matched)
	cause := d.newestDue()
	base := Action{Kind: KindPower, Policy: cause.source, Planned: cause.at, Due: cause.at}
	if !ok {
		base.Verb = Stop
		switch pause := d.silencer(inst, matched); {
		case pause != nil:
			d.skip(inst, base, ReasonPaused, d.set.pauseWords(pause))
		case d.endsWhatItStarted(inst):
			base.Why = "end of " + cause.source + ", which started it"
			base.GiveUpAfter = DefaultGiveUp
			base.HoldsUntil = base.Planned // it wants nothing from here on
			d.act(inst, base)
		case cause.source == PauseSource && !d.hasVoice(inst, matched):
			// resumed, and no policy has a say: nothing was planned for it
		default:
			d.skip(inst, base, ReasonNoWant, "no source wants it running or stopped now")
		}
		return
	}
	from, isDue := d.dueOf(win, cause)
	if !isDue && wasOK && was.Source == win.Source {
		if i := d.resumed(matched, cause); i >= 0 {
			base.Policy, cause.policy = d.set.Policies[i].Name, i // it may speak again, and has no say
		}
		base.Verb = verbFor(d.wantOf(cause, inst, win.State))
		reason, detail := d.beaten(&win, inst)
		d.skip(inst, base, reason, detail)
		return
	}
	if win.State == schedule.Any {
		base.Verb = Stop
		d.skip(inst, base, ReasonKept, d.present.why(&win, inst))
		return
	}
	a := d.powerAction(&win, inst)
	if win.policy < 0 { // what is kept is kept now, whenever that began
		from.at = cause.at
	}
	a.Planned, a.Due = from.at, from.at
	if from.source != win.Source {
		a.Why += ", after " + d.set.SourceWord(from.source)
	}
	d.time(&a, &win, inst)
	d.act(inst, a)
}

// hasVoice reports whether a policy that plans the power of an instance selects it,
// or whether a pause of that instance alone has ended.
func (d *decision) hasVoice(inst *Instance, matched []int) bool {
	return slices.ContainsFunc(matched, func(i int) bool {
		p := &d.set.Policies[i]
		_, power := p.power()
		return p.IsLevel() || power && p.Signal == nil
	}) || slices.ContainsFunc(d.facts.Pauses, func(p Pause) bool { return p.Instance == inst.ID })
}

// resumed is the first policy of an instance whose pause ended at an edge, or -1.
func (d *decision) resumed(matched []int, cause due) int {
	if cause.source != PauseSource {
		return -1
	}
	for _, i := range matched {
		for _, p := range d.facts.Pauses {
			if p.Policy != "" && wholeSecond(p.Until).Equal(cause.at) && p.silences(&d.set.Policies[i]) {
				return i
			}
		}
	}
	return -1
}

// dueOf is the edge of the winner in this trigger; without one it is the cause.
// What was started by hand and is to be stopped again counts for whoever wants that.
func (d *decision) dueOf(win Want, cause due) (from due, isDue bool) {
	for _, source := range []string{win.Source, HandSource} {
		for _, u := range d.dues {
			if u.source == source {
				return u, true
			}
		}
	}
	return cause, false
}

// silencer is the pause that keeps an instance's wants silent, or nil.
func (d *decision) silencer(inst *Instance, matched []int) *Pause {
	if p := d.present.silent.of("", inst.ID); p != nil {
		return p
	}
	for _, i := range matched {
		if p := d.present.silent.policies[d.set.Policies[i].Name]; p != nil {
			return p
		}
	}
	return nil
}

func (s *Set) pauseWords(p *Pause) string {
	words := "everything is paused"
	switch {
	case p.Instance != "":
		words = "the instance is paused"
	case p.Policy != "":
		words = "policy " + p.Policy + " is paused"
	}
	if !p.Until.IsZero() {
		words += " until " + s.clock(p.Until)
	}
	if p.Reason != "" {
		words += ": " + p.Reason
	}
	return words
}

// startedFor is how long after its start the end of a want still stops what it
// started.
const startedFor = 7 * 24 * time.Hour

// endsWhatItStarted reports whether a running want with an end is over now, that
// was what started the instance.
func (d *decision) endsWhatItStarted(inst *Instance) bool {
	for _, u := range d.dues {
		if u.policy < 0 || d.set.Policies[u.policy].Lasts == 0 {
			continue
		}
		for _, imp := range d.facts.Impulses[inst.ID] {
			if imp.Policy == u.source && imp.Started && imp.State == schedule.Running && wholeSecond(imp.Until).Equal(u.at) && imp.At.Add(startedFor).After(u.at) {
				return true
			}
		}
	}
	return false
}

// wantOf is what the source of an edge by itself wants now, or otherwise when it
// wants nothing.
func (d *decision) wantOf(cause due, inst *Instance, otherwise schedule.State) schedule.State {
	if cause.policy >= 0 {
		if w := d.present.view(cause.policy, inst); w.State != "" {
			return w.State
		}
	}
	return otherwise
}

// beaten is why something is not done because of what wins: kept where a keep does, else
// outranked.
func (d *decision) beaten(win *Want, inst *Instance) (Reason, string) {
	if win.Source == KeepSource {
		return ReasonKept, d.at().why(win, inst)
	}
	return ReasonOutranked, d.wantWords(win)
}

func (d *decision) wantWords(w *Want) string {
	if w.policy < 0 {
		return d.set.SourceWord(w.Source) + " wants " + stateWord(w.State)
	}
	return fmt.Sprintf("policy %s (priority %d) wants %s", w.Source, w.Priority, w.State)
}

// SourceWord names a source in a sentence.
func (s *Set) SourceWord(source string) string {
	switch source {
	case KeepSource:
		return "a keep"
	case MarkSource:
		return "a mark"
	case PauseSource:
		return "a pause"
	case HandSource:
		return "a start by hand"
	case CommandSource:
		return "a command"
	}
	return "policy " + source
}

// newestDue is the edge that a decision about an instance is put down to.
func (d *decision) newestDue() due {
	last := d.dues[0]
	for _, u := range d.dues[1:] {
		if u.at.After(last.at) || u.at.Equal(last.at) && u.source < last.source {
			last = u
		}
	}
	return last
}
