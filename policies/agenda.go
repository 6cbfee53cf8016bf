package policies

import (
	"cmp"
	"slices"
	"time"

	"nightshift/policies/schedule"
)

// Agenda is what lies ahead: the edges of a set, together with those that only
// the inventory and the facts know of, such as the hours in tags and the ends of
// keeps. It is a snapshot; make a new one when either changes.
type Agenda struct {
	set    *Set
	tables [][]schedule.Timetable // by policy: of those that follow tags, one for each value
	once   []UpcomingEdge         // at one time only, in order
	ends   []Exception
}

// Exception is an edge of one instance, or of a pause, that the policy file alone
// does not have: the begin or end of an exception.
type Exception struct {
	Edge
	About  string // id of the instance; of a pause what it silences
	Region string // of the instance; empty: of a pause
}

// Exceptions are those edges, in no order: of one instant there may be several.
func (a *Agenda) Exceptions() []Exception { return a.ends }

// Agenda makes the agenda of an inventory. Without one it is that of the file.
func (s *Set) Agenda(inv []Instance, facts Facts, now time.Time) *Agenda {
	a := &Agenda{set: s, tables: make([][]schedule.Timetable, len(s.Policies))}
	values := make(map[tagValue]bool)
	index := newIndex(s)
	hasTags := slices.ContainsFunc(s.Policies, func(p Policy) bool { return p.FromTag != nil })
	var matched []int
	for n := range inv {
		inst := &inv[n]
		if hasTags || len(facts.Hands) > 0 {
			matched = index.match(inst, matched[:0])
		}
		for _, i := range matched {
			p := &s.Policies[i]
			if p.FromTag == nil {
				continue
			}
			value, ok := p.FromTag.of(inst)
			if key := (tagValue{i, value}); ok && !values[key] {
				values[key] = true
				if table, err := p.FromTag.Read(value); err == nil {
					a.tables[i] = append(a.tables[i], table)
				}
			}
		}
		a.addOnce(inst, &facts, matched, now)
	}
	for _, p := range facts.Pauses {
		a.add(&Instance{ID: "all " + p.Policy + " " + p.Instance}, PauseSource, p.Until, "end of a pause")
	}
	slices.SortFunc(a.once, func(x, y UpcomingEdge) int { return cmp.Or(compareEdges(x.Edge, y.Edge), cmp.Compare(x.Want, y.Want)) })
	a.once = slices.CompactFunc(a.once, func(x, y UpcomingEdge) bool { return x.Edge == y.Edge })
	return a
}

// addOnce adds the times at which something of one instance begins or ends.
func (a *Agenda) addOnce(inst *Instance, facts *Facts, matched []int, now time.Time) {
	for _, k := range a.set.keeps(inst, facts, now) {
		a.add(inst, KeepSource, k.begin(), "begin of a keep")
		a.add(inst, KeepSource, k.Until, "end of a keep")
	}
	for _, k := range a.set.marks(inst) {
		a.add(inst, MarkSource, k.at, string(k.verb))
	}
	for _, imp := range facts.Impulses[inst.ID] {
		if i := a.set.policyIndex(imp.Policy); i >= 0 && a.set.Policies[i].Signal != nil {
			a.add(inst, imp.Policy, imp.Until, "end of "+imp.Policy)
		}
	}
	if at, ok := a.set.stopAgain(inst, facts, matched); ok {
		a.add(inst, HandSource, at, "stop again")
	}
}

func (a *Agenda) add(of *Instance, source string, at time.Time, want string) {
	if !at.IsZero() {
		e := Edge{Policy: source, Planned: wholeSecond(at.UTC())}
		a.once = append(a.once, UpcomingEdge{e, want})
		a.ends = append(a.ends, Exception{e, of.ID, of.Region})
	}
}

func compareEdges(a, b Edge) int {
	return cmp.Or(a.Planned.Compare(b.Planned), cmp.Compare(a.Policy, b.Policy))
}

// next is the first edge of a policy strictly after an instant.
func (a *Agenda) next(i int, after time.Time) (at time.Time, want string, ok bool) {
	p := &a.set.Policies[i]
	if p.FromTag == nil {
		return p.next(after)
	}
	for _, table := range a.tables[i] {
		t, found := table.Next(after)
		switch {
		case !found || ok && at.Before(t.At):
		case ok && at.Equal(t.At) && want != wantWord(t.To):
			want = "running or stopped"
		default:
			at, want, ok = t.At, wantWord(t.To), true
		}
	}
	return at, want, ok
}

// Edges are all in (after, upTo], in order of time and name.
func (a *Agenda) Edges(after, upTo time.Time) []Edge {
	return a.EdgesSince(func(string) time.Time { return after }, upTo)
}

// EdgesSince are the edges of each source that lie after an instant of its own and
// not after upTo, in order of time and name.
func (a *Agenda) EdgesSince(after func(source string) time.Time, upTo time.Time) []Edge {
	var edges []Edge
	for i := range a.set.Policies {
		p := &a.set.Policies[i]
		hash := ""
		for t := after(p.Name); ; {
			at, _, ok := a.next(i, t)
			if !ok || at.After(upTo) {
				break
			}
			if hash == "" {
				hash = p.Hash()
			}
			edges = append(edges, Edge{Policy: p.Name, Planned: at.UTC(), Hash: hash})
			t = at
		}
	}
	for _, u := range a.once {
		if e := u.Edge; e.Planned.After(after(e.Policy)) && !e.Planned.After(upTo) {
			if p, ok := a.set.Policy(e.Policy); ok {
				e.Hash = p.Hash()
			}
			edges = append(edges, e)
		}
	}
	slices.SortFunc(edges, compareEdges)
	return edges
}

// CountEdges counts the edges of a policy in (after, upTo], of which there may be too
// many to hold, and gives the first and the last. Exceptions of instances are not
// among them.
func (a *Agenda) CountEdges(policy string, after, upTo time.Time) (n int, first, last Edge) {
	i := slices.IndexFunc(a.set.Policies, func(p Policy) bool { return p.Name == policy })
	if i < 0 {
		return 0, first, last
	}
	for t := after; ; n++ {
		at, _, ok := a.next(i, t)
		if !ok || at.After(upTo) {
			break
		}
		if t = at; n == 0 {
			first.Planned = at.UTC()
		}
		last.Planned = at.UTC()
	}
	first.Policy, first.Hash = policy, a.set.Policies[i].Hash()
	last.Policy, last.Hash = policy, first.Hash
	return n, first, last
}

// UpcomingEdge is an edge with what it is about, for people.
type UpcomingEdge struct {
	Edge
	Want string `json:"want"` // running, stopped, start, reboot soft, …
}

// NextEdges are the first n edges strictly after an instant, in order.
func (a *Agenda) NextEdges(after time.Time, n int) []UpcomingEdge {
	type cursor struct {
		policy int
		at     time.Time
		want   string
	}
	var ahead []cursor
	advance := func(i int, t time.Time) {
		if at, want, ok := a.next(i, t); ok {
			ahead = append(ahead, cursor{i, at, want})
		}
	}
	for i := range a.set.Policies {
		advance(i, after)
	}
	once, _ := slices.BinarySearchFunc(a.once, after, func(e UpcomingEdge, t time.Time) int {
		if e.Planned.After(t) {
			return 1
		}
		return -1
	})
	var out []UpcomingEdge
	for len(out) < n {
		first := -1
		for i, c := range ahead {
			if first < 0 || cmp.Or(c.at.Compare(ahead[first].at), cmp.Compare(a.set.Policies[c.policy].Name, a.set.Policies[ahead[first].policy].Name)) < 0 {
				first = i
			}
		}
		if once < len(a.once) && (first < 0 || a.once[once].Planned.Before(ahead[first].at)) {
			out = append(out, a.once[once])
			once++
			continue
		}
		if first < 0 {
			break
		}
		c := ahead[first]
		ahead = slices.Delete(ahead, first, first+1)
		p := &a.set.Policies[c.policy]
		out = append(out, UpcomingEdge{Edge{Policy: p.Name, Planned: c.at.UTC(), Hash: p.Hash()}, c.want})
		advance(c.policy, c.at)
	}
	return out
}

// Edges are those of the file alone in (after, upTo].
func (s *Set) Edges(after, upTo time.Time) []Edge {
	return s.Agenda(nil, Facts{}, after).Edges(after, upTo)
}

// NextEdges are the first n edges of the file alone strictly after an instant.
func (s *Set) NextEdges(after time.Time, n int) []UpcomingEdge {
	return s.Agenda(nil, Facts{}, after).NextEdges(after, n)
}
