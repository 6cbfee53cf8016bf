package worker

import (
	"context"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// offOnPurpose ends what a signal asked for of an instance that is meant to be off
// by now, or is: a resize would switch it on again. Only what was planned while it
// was on comes here.
func offOnPurpose(_ context.Context, l *look) (next, bool, error) {
	it := l.a.item
	if l.a.run.Kind != "signal" || it.Policy == "" {
		return pass()
	}
	verb := policies.Verb(it.Action)
	if verb != policies.Reboot && verb != policies.Resize && verb != policies.Stop {
		return pass()
	}
	set := l.r.set()
	win, ok := set.Winner(l.inst, l.r.memory.wantFacts(l.inst), l.r.clock.Now())
	switch {
	case ok && win.State == schedule.Stopped && win.Source != it.Policy: // a stop by signal is what it wants itself
		return l.skip(policies.ReasonOffOnPurpose, set.SourceWord(win.Source))
	case verb != policies.Stop && l.inst.Status == policies.StatusShutoff:
		return l.skip(policies.ReasonNotActive, "it is "+l.inst.Status)
	}
	return pass()
}
