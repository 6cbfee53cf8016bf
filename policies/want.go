package policies

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// Sources of wants and edges that are no policies. No policy can have such a name.
const (
	KeepSource    = "_keep"
	MarkSource    = "_mark"
	PauseSource   = "_pause"
	HandSource    = "_hand"
	CommandSource = "_command"
	DriftSource   = "_drift"
)

// Want is what a source wants of an instance's power at an instant.
type Want struct {
	Source   string         `json:"source"`  // a policy, or one of the sources above
	State    schedule.State `json:"state"`   // Running, Stopped, or Any: as it is
	Impulse  bool           `json:"impulse"` // it came at Since; else a level, that holds from Since
	Priority int            `json:"priority"`
	Since    time.Time      `json:"since,omitzero"` // planned time
	Until    time.Time      `json:"until,omitzero"` // zero: until the next edge that concerns the instance

	rank   int       // keep before command before policy
	policy int       // index in Set.Policies; -1: none
	edge   time.Time // newest edge of the source not after the moment
	tag    string    // of an owner, that says so
}

// Ranks of sources (language.md, "Who wins").
const (
	rankPolicy = iota
	rankCommand
	rankKeep
)

// beats reports whether a want goes before another of the same instance.
func (w *Want) beats(o *Want) bool {
	switch {
	case w.rank != o.rank:
		return w.rank > o.rank
	case w.Priority != o.Priority:
		return w.Priority > o.Priority
	case w.Impulse != o.Impulse:
		if w.Impulse {
			return w.Since.After(o.Since) || w.State == schedule.Running && o.State != schedule.Running
		}
		return !o.beats(w)
	case w.Impulse && !w.Since.Equal(o.Since):
		return w.Since.After(o.Since)
	case w.State != o.State:
		return w.State == schedule.Running
	case !w.Since.Equal(o.Since): // levels: the one that an impulse is less likely to have come after
		return w.Since.After(o.Since)
	}
	return w.Source < o.Source
}

// moment is what everybody wants at one instant.
type moment struct {
	set   *Set
	facts *Facts
	index *index
	at    time.Time

	views  []Want // by policy, for those that want the same of every instance; no State: nothing
	byTag  map[tagValue]Want
	whys   [][2]string // by policy: in words where its schedule wants running, and where not
	silent silence
	buf    []Want
}

type tagValue struct {
	policy int
	value  string
}

// silence is which pauses hold.
type silence struct {
	all       *Pause
	policies  map[string]*Pause
	instances map[string]*Pause
}

// silences reports whether a pause of a policy concerns one, perhaps by a name that it had.
func (p *Pause) silences(policy *Policy) bool {
	return p.Policy != "" && (p.Policy == policy.Name || p.Policy == policy.Was)
}

func (s *Set) silenceAt(pauses []Pause, t time.Time) silence {
	silent := silenceAt(pauses, t)
	for i := range s.Policies {
		p := &s.Policies[i]
		if was := silent.policies[p.Was]; was != nil && silent.policies[p.Name] == nil {
			silent.policies[p.Name] = was
		}
	}
	return silent
}

func silenceAt(pauses []Pause, t time.Time) silence {
	s := silence{}
	for i := range pauses {
		p := &pauses[i]
		switch {
		case !p.Holds(t):
		case p.Instance != "":
			if s.instances == nil {
				s.instances = make(map[string]*Pause)
			}
			s.instances[p.Instance] = p
		case p.Policy != "":
			if s.policies == nil {
				s.policies = make(map[string]*Pause)
			}
			s.policies[p.Policy] = p
		default:
			s.all = p
		}
	}
	return s
}

// of is the pause that silences a source on an instance, or nil.
func (s *silence) of(source, instance string) *Pause {
	switch {
	case s.all != nil:
		return s.all
	case s.instances[instance] != nil:
		return s.instances[instance]
	}
	return s.policies[source]
}

func newMoment(index *index, facts *Facts, at time.Time) *moment {
	set := index.set
	m := &moment{set: set, facts: facts, index: index, at: at, views: make([]Want, len(set.Policies)), byTag: make(map[tagValue]Want), silent: set.silenceAt(facts.Pauses, at)}
	for i := range set.Policies {
		p := &set.Policies[i]
		w := Want{Source: p.Name, Priority: p.Priority, policy: i}
		switch {
		case p.Schedule != nil:
			m.views[i] = levelWant(w, p.Schedule, at)
		case p.Cron != nil:
			m.views[i] = p.cronWant(w, at)
		default:
			m.views[i] = w
		}
	}
	return m
}

// levelWant is what a timetable wants at an instant.
func levelWant(w Want, table schedule.Timetable, at time.Time) Want {
	if state := table.At(at); state != schedule.Any {
		w.State = state
	}
	if last, ok := table.Prev(at); ok {
		w.Since, w.edge = last.At, last.At
	}
	return w
}

// cronWant is what the newest planned time of a cron policy wants at an instant.
func (p *Policy) cronWant(w Want, at time.Time) Want {
	step, ok := p.power()
	if !ok {
		return w
	}
	fired, ok := p.Cron.Prev(at)
	if !ok {
		return w
	}
	return p.firedWant(w, step, fired, at)
}

// firedWant is what a planned time of a cron policy still wants at an instant.
func (p *Policy) firedWant(w Want, step Step, fired, at time.Time) Want {
	w.Impulse, w.Since, w.edge = true, fired, fired
	if p.Lasts > 0 {
		w.Until = fired.Add(p.Lasts)
		if !at.Before(w.Until) {
			w.edge = w.Until
			return w
		}
	}
	w.State = stateFor(step.Verb)
	return w
}

func stateFor(v Verb) schedule.State {
	if v == Start {
		return schedule.Running
	}
	return schedule.Stopped
}

func verbFor(s schedule.State) Verb {
	if s == schedule.Running {
		return Start
	}
	return Stop
}

// view is what a policy wants of an instance; State is empty when that is nothing.
func (m *moment) view(i int, inst *Instance) Want {
	p := &m.set.Policies[i]
	if p.FromTag == nil {
		return m.views[i]
	}
	value, ok := p.FromTag.of(inst)
	if !ok {
		return m.views[i]
	}
	key := tagValue{i, value}
	w, known := m.byTag[key]
	if !known {
		w = m.views[i]
		if table, err := p.FromTag.Read(value); err == nil {
			w = levelWant(w, table, m.at)
		}
		m.byTag[key] = w
	}
	return w
}

// wants are all power wants of an instance at the moment, but for those that
// are silenced or over. The result is good until the next call.
func (m *moment) wants(inst *Instance, matched []int) []Want {
	m.buf = m.buf[:0]
	quiet := m.silent.all != nil || m.silent.instances[inst.ID] != nil
	if !quiet {
		for _, i := range matched {
			w := m.view(i, inst)
			if w.State != "" && m.silent.policies[w.Source] == nil && (!w.Impulse || !w.Until.IsZero() || m.unended(&w, inst, matched)) {
				m.buf = append(m.buf, w)
			}
		}
		m.addImpulses(inst, matched)
		m.addMarks(inst, matched)
		if k, ok := m.set.keep(inst, m.facts, m.at); ok {
			m.buf = append(m.buf, Want{Source: KeepSource, State: k.State, Since: k.Since, Until: k.Until, rank: rankKeep, policy: -1, tag: k.tag})
		}
	}
	return m.buf
}

// addImpulses adds what commands and signals want.
func (m *moment) addImpulses(inst *Instance, matched []int) {
	if len(m.facts.Impulses) == 0 {
		return
	}
	for _, imp := range m.facts.Impulses[inst.ID] {
		if imp.At.After(m.at) || !imp.Until.IsZero() && !m.at.Before(imp.Until) {
			continue
		}
		w := Want{Source: imp.Policy, State: imp.State, Impulse: true, Since: imp.At, Until: imp.Until, policy: -1, edge: imp.At}
		if imp.Policy == "" {
			w.Source, w.rank = CommandSource, rankCommand
		} else {
			w.policy = m.index.policy(imp.Policy)
			if w.policy < 0 || m.set.Policies[w.policy].Signal == nil || m.silent.policies[imp.Policy] != nil {
				continue // gone, or a cron policy, which the calendar knows
			}
			w.Priority = m.set.Policies[w.policy].Priority
		}
		if !w.Until.IsZero() || m.unended(&w, inst, matched) {
			m.buf = append(m.buf, w)
		}
	}
}

// addMarks adds what owners have set for one time.
func (m *moment) addMarks(inst *Instance, matched []int) {
	for _, k := range m.set.marks(inst) {
		if k.at.After(m.at) {
			continue
		}
		w := Want{Source: MarkSource, State: stateFor(k.verb), Impulse: true, Since: k.at, policy: -1, edge: k.at, tag: k.tag}
		if m.unended(&w, inst, matched) {
			m.buf = append(m.buf, w)
		}
	}
}

// unended reports whether no edge of at least its priority has ended an impulse
// that says nothing of how long it lasts. What is no policy's has no priority:
// any edge ends it. So does somebody who does the opposite by hand.
func (m *moment) unended(w *Want, inst *Instance, matched []int) bool {
	if h, ok := m.facts.Hands[inst.ID]; ok && h.State != w.State && h.isAfter(w.Since) {
		return false
	}
	for _, i := range matched {
		if (w.policy < 0 || m.set.Policies[i].Priority >= w.Priority) && m.view(i, inst).edge.After(w.Since) {
			return false
		}
	}
	return true
}

// winner is the want that holds for an instance.
func (m *moment) winner(inst *Instance, matched []int) (Want, bool) {
	wants := m.wants(inst, matched)
	if len(wants) == 0 {
		return Want{}, false
	}
	return wants[bestOf(wants)], true
}

// bestOf is the index of the want that goes before all others. Among equals an
// impulse need not beat each level, so the best level meets the best impulse.
func bestOf(wants []Want) int {
	level, impulse := -1, -1
	for i := range wants {
		best := &level
		if wants[i].Impulse {
			best = &impulse
		}
		if *best < 0 || wants[i].beats(&wants[*best]) {
			*best = i
		}
	}
	switch {
	case level < 0:
		return impulse
	case impulse < 0 || wants[level].beats(&wants[impulse]):
		return level
	}
	return impulse
}

// why says in words what a want comes from.
func (m *moment) why(w *Want, inst *Instance) string {
	until := func() string {
		if w.Until.IsZero() {
			return ""
		}
		return " until " + m.set.clock(w.Until)
	}
	switch w.Source {
	case KeepSource:
		s := "kept " + stateWord(w.State) + until()
		if w.tag != "" {
			s += " by the tag " + w.tag
		}
		return s
	case MarkSource:
		return "the tag " + w.tag
	case CommandSource:
		return "a command at " + m.set.clock(w.Since)
	}
	p := &m.set.Policies[w.policy]
	switch {
	case p.Schedule != nil:
		return m.where(w)
	case p.FromTag != nil:
		value, _ := p.FromTag.of(inst)
		return fmt.Sprintf("%s the hours of its tag %s=%s", inOrOut(w.State), p.FromTag.Tag, value)
	case p.Cron != nil:
		return "cron " + p.Cron.String() + until()
	}
	return "a signal at " + m.set.clock(w.Since) + until()
}

// where says it of a schedule, once for all its instances.
func (m *moment) where(w *Want) string {
	if m.whys == nil {
		m.whys = make([][2]string, len(m.set.Policies))
	}
	side := 0
	if w.State != schedule.Running {
		side = 1
	}
	words := &m.whys[w.policy][side]
	if *words == "" {
		*words = whereIn(m.set.Policies[w.policy].Schedule, w.State)
	}
	return *words
}

func inOrOut(s schedule.State) string {
	if s == schedule.Running {
		return "inside"
	}
	return "outside"
}

func stateWord(s schedule.State) string {
	if s == schedule.Any {
		return "as it is"
	}
	return string(s)
}

// clock prints an instant as people of the file's zone say it.
func (s *Set) clock(t time.Time) string { return t.In(s.zone()).Format("Mon 2006-01-02 15:04 MST") }

// whereIn says in words which windows make a timetable want a state.
func whereIn(table schedule.Timetable, want schedule.State) string {
	other := schedule.Running
	if want == schedule.Running {
		other = schedule.Stopped
	}
	if windows := table.Windows(want); windows != "" {
		return "inside " + windows
	}
	return "outside " + cmp.Or(table.Windows(other), table.String())
}

// isPseudo tells a source that is no policy.
func isPseudo(source string) bool { return strings.HasPrefix(source, "_") }
