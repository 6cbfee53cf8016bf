package policies

import (
	"fmt"
	"slices"
	"strings"
)

// orders finds orders that wait for something else than they seem to.
func (l *lint) orders(words *fleetWords) {
	for i := range l.set.Orders {
		o := &l.set.Orders[i]
		for n := range o.Stages[:max(0, len(o.Stages)-1)] {
			if o.Stages[n].Ready == (Ready{}) {
				l.add(SevereNote, "order", "", "such as ready: { tcp: 5432 }",
					"order %s, stage %d has no ready: the next one starts when the API says %s, whatever runs on the instance", o.Name, n+1, StatusActive)
			}
		}
		if l.known {
			l.orderOf(o, words)
		}
	}
	if l.known {
		l.inTwoPlaces()
	}
}

// orderOf finds what is odd about the instances of an order.
func (l *lint) orderOf(o *Order, words *fleetWords) {
	var without []string                    // its tag
	regions := make(map[string][]string)    // by group
	groups := make(map[string]map[int]bool) // stages of each
	for n := range l.inv {
		inst := &l.inv[n]
		p := l.set.placeOf(inst)
		if p.Order != o {
			continue
		}
		values := tagsOf(inst, o.Per)
		if o.Per != "" && len(values) == 0 {
			without = append(without, inst.name())
		}
		if region := strings.ToUpper(inst.Region); !slices.Contains(regions[p.Group], region) {
			regions[p.Group] = append(regions[p.Group], region)
		}
		if groups[p.Group] == nil {
			groups[p.Group] = make(map[int]bool)
		}
		groups[p.Group][p.Stage] = true
		if len(values) > 1 {
			l.add(SevereWarning, "order", "", "", "%s is in one group of order %s only: it has the tags %s, and the first counts", inst.name(), o.Name, strings.Join(values, " "))
		}
	}
	for n := range o.Stages {
		if !slices.ContainsFunc(l.inv, o.Stages[n].Select.Matches) {
			msg, hint := words.missing(o.Stages[n].Select)
			l.add(SevereWarning, "order", "", hint, "order %s, stage %d selects nothing: %s", o.Name, n+1, msg)
		}
	}
	if len(without) > 0 {
		f := l.add(SevereWarning, "order", "", "", "%s of order %s %s no tag %s: together they are a group of their own", counted(len(without), "instance"), o.Name,
			map[bool]string{true: "has", false: "have"}[len(without) == 1], o.Per)
		f.Items = without
	}
	for _, group := range mapKeys(regions) {
		if in := regions[group]; len(in) > 1 && len(groups[group]) > 1 {
			slices.Sort(in)
			f := l.add(SevereWarning, "order", "", "", "%s has instances in %s: in each region they wait for each other, and no region waits for another", Place{Order: o, Group: group}.name(), strings.Join(in, " and "))
			f.like = o.Name + " over regions"
		}
	}
}

// inTwoPlaces finds instances that a second stage selects, too: it does not count.
func (l *lint) inTwoPlaces() {
	for n := range l.inv {
		inst := &l.inv[n]
		var places []string
		for i := range l.set.Orders {
			o := &l.set.Orders[i]
			for k := range o.Stages {
				if o.Stages[k].Select.matches(inst) {
					places = append(places, fmt.Sprintf("stage %d of order %s", k+1, o.Name))
				}
			}
		}
		if len(places) > 1 {
			f := l.add(SevereWarning, "order", "", "", "%s is in %s; %s selects it, too, and does not count", inst.name(), places[0], strings.Join(places[1:], " and "))
			f.like = strings.Join(places, " ")
		}
	}
}
