package policies

import "slices"

// AsksFor reports whether a policy, in the form that it has now, asks for a step
// that was planned. What a level wants of the power at an instant its timetable
// says, see [Set.Winner].
func (p *Policy) AsksFor(s Step) bool {
	if p.IsLevel() {
		return KindOf(s.Verb) == KindPower
	}
	return slices.ContainsFunc(p.Do, func(o Step) bool {
		if o.Verb != s.Verb {
			return false
		}
		switch s.Verb {
		case Reboot:
			return o.Hard == s.Hard
		case Resize:
			return o.Size == s.Size || slices.Contains(o.Ladder, s.Size)
		case Retag:
			return slices.Equal(o.Add, s.Add) && slices.Equal(o.Remove, s.Remove)
		case Firewall:
			return o.Firewall == s.Firewall
		}
		return true
	})
}
