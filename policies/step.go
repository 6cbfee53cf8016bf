package policies

import (
	"strings"
	"time"
)

// stepWinner is who decides about a kind of an instance.
type stepWinner struct {
	kind   Kind
	policy int
	at     time.Time
}

// steps acts for the policies that are due, kind by kind: of two that want the
// same kind of an instance the higher priority wins, then the later time. Who is
// paused has no say.
func (d *decision) steps(inst *Instance, matched []int, due func(i int) (time.Time, bool)) {
	d.winners = d.winners[:0]
	for _, i := range matched {
		at, ok := due(i)
		if !ok || d.isPaused(i, inst) {
			continue
		}
		for _, s := range d.set.Policies[i].Do {
			if k := KindOf(s.Verb); k != KindPower && k != KindNotify {
				d.compete(stepWinner{k, i, at})
			}
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
			if k == KindReboot || k == KindSize {
				a.Due = later(a.Due, d.facts.oldEnough(inst))
			}
			switch win := d.winnerOf(k); {
			case k == KindNotify: // whoever has something to say is heard
				a.ID, a.Why = d.besideID(inst, &a), d.trig.Signal.words(d.set, d.trig.At)
				d.act(inst, a)
			case win == i:
				d.act(inst, a)
			case d.isPaused(i, inst):
				a.ID = d.besideID(inst, &a)
				d.act(inst, a)
			default:
				a.ID = d.besideID(inst, &a)
				d.skip(inst, a, ReasonOutranked, "policy "+d.set.Policies[win].Name+" decides about its "+string(k))
			}
		}
	}
}

// compete lets a policy take a kind over from another, or not.
func (d *decision) compete(w stepWinner) {
	for n := range d.winners {
		best := &d.winners[n]
		if best.kind != w.kind {
			continue
		}
		pw, pb := &d.set.Policies[w.policy], &d.set.Policies[best.policy]
		switch {
		case pw.Priority != pb.Priority:
			if pw.Priority < pb.Priority {
				return
			}
		case !w.at.Equal(best.at):
			if w.at.Before(best.at) {
				return
			}
		case pw.Name > pb.Name:
			return
		}
		*best = w
		return
	}
	d.winners = append(d.winners, w)
}

func (d *decision) winnerOf(k Kind) int {
	for _, w := range d.winners {
		if w.kind == k {
			return w.policy
		}
	}
	return -1
}

func (d *decision) isPaused(i int, inst *Instance) bool {
	return d.at().silent.of(d.set.Policies[i].Name, inst.ID) != nil
}

// besideID is the identity of what a policy asked for and another decides about.
// The winner's action may be the same step of the same kind, and its identity is
// to have one outcome.
func (d *decision) besideID(inst *Instance, a *Action) string {
	return ActionID(d.trig.ID, a.Step, inst.ID, a.Kind+" of "+Kind(a.Policy))
}

func (d *decision) stepAction(p *Policy, n int, s Step, at time.Time) Action {
	a := Action{Step: n, Kind: KindOf(s.Verb), Verb: s.Verb, Hard: s.Hard, Size: s.Size, Add: s.Add, Remove: s.Remove, Firewall: s.Firewall, To: s.To,
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
