package policies

import (
	"slices"
	"strings"
)

// index finds the policies that select an instance without asking each: most
// selectors need a tag, or a host name, that begins with a known text. It is for
// one decision at a time.
type index struct {
	set    *Set
	byName map[string]int
	tags   patterns
	hosts  patterns
	rest   []int          // must be asked each
	users  map[string]int // of a tag that selectors need: env=dev says little where everybody asks for it

	asked []uint32 // by policy: the last round in which it was asked
	round uint32
}

func newIndex(set *Set) *index {
	x := &index{set: set, byName: make(map[string]int, len(set.Policies)), asked: make([]uint32, len(set.Policies))}
	x.users = make(map[string]int)
	for i := range set.Policies {
		x.byName[set.Policies[i].Name] = i
		for s := &set.Policies[i].Select; s != nil; s = s.Within {
			for _, g := range s.needed() {
				x.users[g]++
			}
		}
	}
	for i := range set.Policies {
		x.add(i)
	}
	return x
}

// add files a policy under the patterns of which every instance that it selects
// has one: the rarest tag, else whatever narrows most.
func (x *index) add(i int) {
	var best []string
	into, rank := (*patterns)(nil), asksAll
	offer := func(p *patterns, globs []string) {
		r := narrowness(globs)
		isRarer := r == whole && len(best) == 1 && len(globs) == 1 && x.users[globs[0]] < x.users[best[0]]
		if r > rank || r == rank && isRarer {
			into, best, rank = p, globs, r
		}
	}
	for s := &x.set.Policies[i].Select; s != nil; s = s.Within {
		for _, g := range s.needed() {
			offer(&x.tags, []string{g})
		}
		offer(&x.hosts, s.Hostname)
		offer(&x.tags, s.Any)
	}
	if into == nil {
		x.rest = append(x.rest, i)
		return
	}
	for _, g := range best {
		into.add(g, i)
	}
}

// needed are the patterns of which every selected instance has a tag for each.
func (s *Selector) needed() []string {
	if s.When == nil {
		return s.All
	}
	return slices.Concat(s.All, s.When.tags)
}

// Ranks of narrowness: the larger, the fewer instances are asked about.
const (
	asksAll = iota // some pattern begins with a wildcard
	begins         // all begin with a known text
	whole          // all are a known text
)

func narrowness(globs []string) int {
	rank := asksAll
	for n, g := range globs {
		r := begins
		switch head, wild := literal(g); {
		case !wild:
			r = whole
		case head == "":
			return asksAll
		}
		if n == 0 || r < rank {
			rank = r
		}
	}
	return rank
}

// literal is what a pattern begins with before its first wildcard.
func literal(glob string) (head string, wild bool) {
	if at := strings.IndexAny(glob, wildcards); at >= 0 {
		return glob[:at], true
	}
	return glob, false
}

// patterns find who has asked for a text, or for one that begins so.
type patterns struct {
	exact   map[string][]int
	heads   map[string][]int
	lengths []int // of the keys of heads
}

func (p *patterns) add(glob string, i int) {
	head, wild := literal(glob)
	if !wild {
		if p.exact == nil {
			p.exact = make(map[string][]int)
		}
		p.exact[head] = append(p.exact[head], i)
		return
	}
	if p.heads == nil {
		p.heads = make(map[string][]int)
	}
	p.heads[head] = append(p.heads[head], i)
	if !slices.Contains(p.lengths, len(head)) {
		p.lengths = append(p.lengths, len(head))
	}
}

// match appends the policies that select an instance to into, in order.
func (x *index) match(inst *Instance, into []int) []int {
	x.round++
	for _, t := range inst.Tags {
		into = x.ask(&x.tags, t, inst, into)
	}
	into = x.ask(&x.hosts, inst.Hostname, inst, into)
	into = x.askAll(x.rest, inst, into)
	slices.Sort(into)
	return into
}

func (x *index) ask(p *patterns, text string, inst *Instance, into []int) []int {
	if p.exact != nil {
		into = x.askAll(p.exact[text], inst, into)
	}
	for _, n := range p.lengths {
		if n <= len(text) {
			into = x.askAll(p.heads[text[:n]], inst, into)
		}
	}
	return into
}

func (x *index) askAll(list []int, inst *Instance, into []int) []int {
	for _, i := range list {
		if x.asked[i] == x.round {
			continue
		}
		x.asked[i] = x.round
		if x.set.Policies[i].Select.matches(inst) {
			into = append(into, i)
		}
	}
	return into
}

// policy is where in the set a policy stands, or -1.
func (x *index) policy(name string) int {
	if i, ok := x.byName[name]; ok {
		return i
	}
	return -1
}
