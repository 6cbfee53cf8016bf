package policies

import "slices"

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
