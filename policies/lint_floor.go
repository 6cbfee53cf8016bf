package policies

// floors finds those that keep nothing up, or everything that they count.
func (l *lint) floors(words *fleetWords) {
	for i := range l.set.Floors {
		f := &l.set.Floors[i]
		n := 0
		for k := range l.inv {
			if f.Select.matches(&l.inv[k]) {
				n++
			}
		}
		switch {
		case !l.known || n > f.Running:
		case n == 0:
			msg, hint := words.missing(f.Select)
			l.add(SevereWarning, "floor", "", hint, "the floor of %s keeps nothing up: %s", f.Select, msg)
		default:
			l.add(SevereWarning, "floor", "", "leave one to spare", "%s, and there %s %s: none of them is ever stopped, rebooted or resized",
				f.Words(), map[bool]string{true: "is", false: "are"}[n == 1], counted(n, "instance"))
		}
	}
}
