package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

// selectorOf is which instances a stored run was asked for; nil: each by its id. One
// that cannot be read selects nothing: then nothing is done by it.
func selectorOf(run *events.Run) *policies.Selector {
	if len(run.Select) == 0 {
		return nil
	}
	var form SelectForm
	if err := json.Unmarshal(run.Select, &form); err != nil {
		return &policies.Selector{}
	}
	s, err := form.selector()
	if err != nil {
		return &policies.Selector{}
	}
	if s.Status = nil; s.IsZero() { // the status is looked at by itself: what is as wanted by now is no change
		return nil
	}
	return &s
}

// stillChosen ends a command for all that a selector chose, where an instance is none
// of them any more. Once a call was made it goes on: that may have been what changed it.
func (l *look) stillChosen() (next, bool, error) {
	s := l.a.chosen
	if s == nil || l.a.made > 0 || s.Matches(l.inst) {
		return pass()
	}
	return l.skip(policies.ReasonChanged, "the selector of the command ("+s.String()+") no longer chooses it")
}

// stillSelected ends what nobody asks for any more: the file, a tag or a keep has
// changed since the plan.
func stillSelected(_ context.Context, l *look) (next, bool, error) {
	it, set := l.a.item, l.r.set()
	switch {
	case it.Policy == "":
		return l.stillChosen()
	case it.Policy == policies.KeepSource:
		k, kept := set.Kept(l.inst, l.r.memory.exceptions(l.inst), l.at())
		if !kept || k.State != stateAfter(it.Action) {
			return l.skip(policies.ReasonChanged, "it is no longer kept so")
		}
		return pass()
	}
	bySignal := false
	if !strings.HasPrefix(it.Policy, "_") {
		p, ok := set.Policy(it.Policy)
		switch {
		case !ok:
			return l.skip(policies.ReasonPolicyChanged, "policy "+it.Policy+" is gone")
		case !p.Select.Matches(l.inst):
			return l.skip(policies.ReasonChanged, "policy "+it.Policy+" no longer selects it")
		case !isEndOfWant(it) && !p.AsksFor(stepOf(commandOf(it))):
			return l.skip(policies.ReasonChanged, "policy "+it.Policy+" no longer asks for this "+it.Action)
		}
		bySignal = p.Signal != nil
	}
	if it.Kind != string(policies.KindPower) || bySignal {
		return pass()
	}
	w, ok := set.Winner(l.inst, l.r.memory.wantFacts(l.inst), l.at())
	switch {
	case !ok && !isEndOfWant(it):
		return l.skip(policies.ReasonChanged, "nothing wants it "+string(stateAfter(it.Action))+" now")
	case ok && w.State != schedule.Any && w.State != stateAfter(it.Action):
		return l.skip(policies.ReasonChanged, set.SourceWord(w.Source)+" wants it "+string(w.State)+" now")
	}
	return pass()
}

// isEndOfWant tells the stop of what a policy had started for a time: nothing wants
// it so, and that is why.
func isEndOfWant(it events.Item) bool {
	return !it.HoldsUntil.IsZero() && !it.HoldsUntil.After(it.Planned)
}

// turned are the instances of a run that were as wanted when it was planned, and are
// not when their turn comes: nobody has counted them.
type turned struct {
	mu        sync.Mutex
	instances map[string]bool
}

// add takes one up, and says how many there are.
func (t *turned) add(instance string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.instances == nil {
		t.instances = make(map[string]bool)
	}
	t.instances[instance] = true
	return len(t.instances)
}

// stillFew is stillSmall for what looked as wanted when it was planned: one reading
// that was wrong about all of a fleet is not to be a way around the limits.
func (l *look) stillFew() (next, bool, error) {
	it := l.a.item
	it.Skip = ""
	if l.a.item.Skip != skipAlready || !countsIn(it) || asWanted(it, l.inst) {
		return pass()
	}
	limits := l.r.set().Limits
	n := l.a.turned.add(it.Instance)
	if most := cmp.Or(limits.PerRun, policies.DefaultPerRun) - l.a.size.actions; n > most {
		return l.skip(policies.ReasonChanged, fmt.Sprintf("it looked as wanted when this run was planned, as others did, %d in all; limits.per_run leaves room for %d, and nobody was asked", n, max(0, most)))
	}
	if limits.Share <= 0 {
		return pass()
	}
	if most, bound := limits.Allowed(l.r.inv.size()); bound && n > most-l.a.size.instances {
		return l.skip(policies.ReasonChanged, fmt.Sprintf("it looked as wanted when this run was planned, as others did, %d in all; limits.share (%g) leaves room for %d, and nobody was asked", n, limits.Share, max(0, most-l.a.size.instances)))
	}
	return pass()
}
