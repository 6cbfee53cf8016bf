package policies

import (
	"strings"
	"time"
)

// steps acts for the policies that are due, kind by kind: of two that want the
// same kind of an instance the higher priority wins, then the later time.
func (d *decision) steps(inst *Instance, matched []int, due func(i int) (time.Time, bool)) {
	best := make(map[Kind]int)
	for _, i := range matched {
		at, ok := due(i)
		if !ok {
			continue
		}
		for _, s := range d.set.Policies[i].Do {
			k := KindOf(s.Verb)
			if k == KindPower {
				continue
			}
			b, taken := best[k]
			if taken {
				bAt, _ := due(b)
				pi, pb := &d.set.Policies[i], &d.set.Policies[b]
				if pi.Priority < pb.Priority || pi.Priority == pb.Priority && (at.Before(bAt) || at.Equal(bAt) && pi.Name > pb.Name) {
					continue
				}
			}
			best[k] = i
		}
	}
	for _, i := range matched {
		at, ok := due(i)
		if !ok {
			continue
		}
		p := &d.set.Policies[i]
		for n, s := range p.Do {
			k := KindOf(s.Verb)
			if k == KindPower {
				continue
			}
			a := d.stepAction(p, n, s, at)
			if p.Cron != nil {
				a.Due = at.Add(p.spreadOf(inst.ID, at))
			}
			if best[k] != i {
				d.skip(inst, a, ReasonOutranked, "policy "+d.set.Policies[best[k]].Name+" decides about its "+string(k))
				continue
			}
			d.act(inst, a)
		}
	}
}

func (d *decision) stepAction(p *Policy, n int, s Step, at time.Time) Action {
	a := Action{Step: n, Kind: KindOf(s.Verb), Verb: s.Verb, Hard: s.Hard, Size: s.Size, Add: s.Add, Remove: s.Remove, Firewall: s.Firewall,
		Policy: p.Name, Priority: p.Priority, Planned: at, Due: at.Add(s.After), IfFiring: s.IfFiring}
	switch c := p.Signal; {
	case c == nil:
		a.Why = "cron " + p.Cron.String()
	case c.Alert != "":
		a.Due = a.Due.Add(c.For)
	}
	a.GiveUpAfter, a.Until = p.giveUp(at, nil)
	if len(s.Ladder) > 0 {
		a.Size = ladderMark + strings.Join(s.Ladder, " ")
	}
	return a
}

// ladderMark stands before a ladder in Action.Size until act has taken the step
// that fits the instance; it never leaves this package.
const ladderMark = "\x00"
