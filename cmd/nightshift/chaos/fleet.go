package chaos

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"nightshift/civo/civosim"
	"nightshift/policies"
)

// perPolicy is how many instances are invented for each policy: fewer where there
// are many policies, since a day is a minute and all of them must be done in it.
func perPolicy(policies int) int { return min(max(fleetSize/max(policies, 1), 1), 4) }

// fleetSize is how many instances there are about, at most, unless there are more policies.
const fleetSize = 200

// invent makes a fleet for a set of policies: for each some instances that it
// selects, some that two of them select, some that are protected, one in each
// region that nobody selects, and a node of a Kubernetes cluster. Unmatched are the
// policies for which none could be invented: no tags can be read off some
// expressions.
func invent(set *policies.Set, rng *rand.Rand) (fleet []civosim.Machine, unmatched []string) {
	add := func(name string, i policies.Instance) {
		m := civosim.Machine{Hostname: i.Hostname, Region: i.Region, Size: i.Size, Status: i.Status, Tags: i.Tags}
		if m.Hostname == "" {
			m.Hostname = name
		}
		if m.Region == "" {
			m.Region = pick(rng, set.Regions)
		}
		if m.Size == "" {
			m.Size = "g3.small"
		}
		if m.Status == "" {
			m.Status = pick(rng, []string{policies.StatusActive, policies.StatusActive, policies.StatusShutoff})
		}
		fleet = append(fleet, m)
	}
	for i := range set.Policies {
		p := &set.Policies[i]
		found := false
		for n := range perPolicy(len(set.Policies)) {
			inst := like(&p.Select, rng, n)
			if p.FromTag != nil {
				inst.Tags = withHours(inst.Tags, p.FromTag, n)
			}
			if !p.Select.Matches(as(inst, set)) {
				continue
			}
			found = true
			if n == 0 && len(set.Policies) > 1 { // one that another policy selects as well
				if both := merged(inst, like(&set.Policies[rng.IntN(len(set.Policies))].Select, rng, n)); p.Select.Matches(as(both, set)) {
					inst = both
				}
			}
			add(fmt.Sprintf("%s-%d", p.Name, n+1), inst)
		}
		if !found {
			unmatched = append(unmatched, p.Name)
		}
	}
	if !set.Protect.IsZero() {
		for n := range 2 {
			inst := like(&set.Protect, rng, n)
			if len(set.Policies) > 0 {
				inst = merged(inst, like(&set.Policies[rng.IntN(len(set.Policies))].Select, rng, n))
			}
			add(fmt.Sprintf("protected-%d", n+1), inst)
		}
	}
	for _, region := range set.Regions { // one in each, so that the simulator knows them all
		add("nobodys-"+strings.ToLower(region), policies.Instance{Region: region})
	}
	if len(set.Policies) > 0 {
		node := like(&set.Policies[0].Select, rng, 0)
		node.Tags = append(node.Tags, "civo-kubernetes")
		add("node-1", node)
	}
	return fleet, unmatched
}

// as fills in what a selector may look at and an invention leaves open.
func as(i policies.Instance, set *policies.Set) policies.Instance {
	if i.Region == "" {
		i.Region = set.Regions[0]
	}
	if i.Size == "" {
		i.Size = "g3.small"
	}
	if i.Status == "" {
		i.Status = policies.StatusActive
	}
	i.CPUCores, i.RAMMB, i.DiskGB = 8, 32768, 500 // for expressions that ask for some
	return i
}

// like is an instance that a selector may choose.
func like(s *policies.Selector, rng *rand.Rand, n int) (i policies.Instance) {
	for _, sel := range []*policies.Selector{s, s.Within} {
		if sel == nil {
			continue
		}
		for _, glob := range sel.All {
			if glob != "*" {
				i.Tags = append(i.Tags, literal(glob))
			}
		}
		if len(sel.Any) > 0 {
			i.Tags = append(i.Tags, literal(sel.Any[n%len(sel.Any)]))
		}
		if sel.When != nil { // the texts in it are mostly tags
			for _, m := range regexp.MustCompile(`["']([^"'\s]+)["']`).FindAllStringSubmatch(sel.When.String(), -1) {
				i.Tags = append(i.Tags, m[1])
			}
		}
		for _, x := range []struct {
			into  *string
			globs []string
		}{{&i.Region, sel.Region}, {&i.Size, sel.Size}, {&i.Status, sel.Status}, {&i.Hostname, sel.Hostname}} {
			if len(x.globs) > 0 {
				*x.into = literal(x.globs[n%len(x.globs)])
			}
		}
	}
	if i.Size != "" && !slices.Contains(sizes, i.Size) {
		i.Size = matching(s.Size, sizes)
	}
	if i.Hostname != "" && n > 0 {
		if glob := s.Hostname; len(glob) > 0 && strings.Contains(glob[n%len(glob)], "*") {
			i.Hostname = strings.Replace(glob[n%len(glob)], "*", fmt.Sprint(n+1), 1)
		}
	}
	return i
}

// sizes are those of the simulator that an invented instance may have.
var sizes = []string{"g3.xsmall", "g3.small", "g3.medium", "g3.large", "g3.xlarge", "g4s.small", "g4s.medium", "g4s.large"}

// matching is the first of some values that a selector's globs choose.
func matching(globs, values []string) string {
	for _, v := range values {
		if (policies.Selector{Size: globs}).Matches(policies.Instance{Size: v}) {
			return v
		}
	}
	return ""
}

var wild = regexp.MustCompile(`\[\^?[^\]]*\]`)

// literal is a text that a glob matches.
func literal(glob string) string {
	s := wild.ReplaceAllStringFunc(glob, func(class string) string { return class[1:2] })
	return strings.NewReplacer("*", "1", "?", "1", `\`, "").Replace(s)
}

// withHours gives an instance a timetable of its own where the policy's tag is
// ours: another tool's grammar is not invented.
func withHours(tags []string, from *policies.FromTag, n int) []string {
	tags = slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return strings.HasPrefix(t, from.Tag+"=") })
	for _, value := range []string{"00:00-02:00;04:00-08:00;12:00-16:00;18:00-20:00", "02:00-06:00;10:00-12:00;14:00-20:00", "Mon-Fri_08:00-18:00", "06:00-22:00"}[n%4:] {
		if _, err := from.Read(value); err == nil {
			return append(tags, from.Tag+"="+value)
		}
	}
	return append(tags, from.Tag+"=1")
}

// merged has the tags of two instances; of the rest, what the first one says.
func merged(a, b policies.Instance) policies.Instance {
	for _, t := range b.Tags {
		if !slices.Contains(a.Tags, t) {
			a.Tags = append(slices.Clip(a.Tags), t)
		}
	}
	return a
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }
