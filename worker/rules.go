package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// rules are the policies in force. They are replaced whole: whoever asks twice
// may get two answers, and each of them is one file.
type rules struct{ p atomic.Pointer[revision] }

type revision struct {
	set    *policies.Set
	name   string            // short hash of the texts that the set was read from
	hashes map[string]string // of each policy by name
	since  time.Time         // machine time
}

func (r *rules) put(set *policies.Set, name string) {
	hashes := make(map[string]string, len(set.Policies))
	for i := range set.Policies {
		hashes[set.Policies[i].Name] = set.Policies[i].Hash()
	}
	r.p.Store(&revision{set, name, hashes, time.Now()})
}

// hash is the revision of one policy, empty for what is none.
func (r *rules) hash(policy string) string { return r.p.Load().hashes[policy] }

func (r *rules) set() *policies.Set { return r.p.Load().set }

// set is what is in force.
func (w *Worker) set() *policies.Set { return w.rules.set() }

// actPolicies is the action of notices about the policy file.
const actPolicies = "policies"

// Replace puts another set of policies in force. Nothing is acted upon on the
// spot: a policy that is new or changed begins now, and its next edge is the first
// that fires. What was planned before is checked against the new set just before
// each call.
func (w *Worker) Replace(ctx context.Context, set *policies.Set, revision string) {
	old := w.set()
	for _, region := range old.Regions {
		if !slices.Contains(set.Regions, region) {
			w.memory.forgetRegion(region, w.inv.last(region))
		}
	}
	w.inv.setRegions(set.Regions)
	w.memory.rename(set)
	w.rules.put(set, revision)
	w.fault.Store(nil)
	w.memory.mu.Lock()
	w.memory.touch() // so that the scheduler looks at once
	w.memory.mu.Unlock()
	if !slices.Equal(old.Regions, set.Regions) {
		select {
		case w.regionsEdited <- struct{}{}:
		default:
		}
	}
	changes := changed(old, set, w.o.Clock.Now())
	words := cmp.Or(strings.Join(changes, "; "), "no policy has changed")
	w.o.Log.Info("policies replaced", zap.String("revision", revision), zap.Int("policies", len(set.Policies)), zap.Strings("changes", changes))
	w.noticePolicies(ctx, "replaced", revision, fmt.Sprintf("revision %s is in force: %s", revision, words))
}

// Refuse reports that a newer policy file cannot be put in force; the old one stays.
func (w *Worker) Refuse(ctx context.Context, fault error) {
	words := fault.Error()
	w.fault.Store(&words)
	w.o.Log.Error("the policy file has changed and cannot be used, the old one stays in force", zap.Error(fault))
	w.noticePolicies(ctx, string(policies.ReasonInvalid), words, "the policy file cannot be used, the old one stays in force: "+words)
}

// noticePolicies stores one notice about the policy file.
func (w *Worker) noticePolicies(ctx context.Context, reason, what, detail string) {
	now := w.o.Clock.Now()
	rec := events.Record{
		ActionID: policies.ActionID("policies "+reason+" "+what, int(now.Unix()), events.None, actPolicies), Action: actPolicies, Reason: reason,
		Detail: detail, Trigger: actPolicies, Region: events.None, Instance: events.None, Planned: now,
	}
	if err := w.bus.PublishNoticed(ctx, rec); err != nil && ctx.Err() == nil {
		w.o.Log.Warn("the notice about the policy file is not stored", zap.Error(err))
	}
}

// changed says which mode and regions hold now where they are others, and of each
// policy that is new, changed or gone what becomes of it.
func changed(old, set *policies.Set, now time.Time) (words []string) {
	if old.Mode != set.Mode {
		words = append(words, fmt.Sprintf("the mode is %s, it was %s", set.Mode, old.Mode))
	}
	if !slices.Equal(old.Regions, set.Regions) {
		words = append(words, fmt.Sprintf("the regions are %s, they were %s", strings.Join(set.Regions, ", "), strings.Join(old.Regions, ", ")))
	}
	for i := range set.Policies {
		p := &set.Policies[i]
		before, known := old.Policy(p.Name)
		switch {
		case !known:
			words = append(words, p.Name+" is new, "+nextWords(set, p, now))
		case before.Hash() != p.Hash():
			words = append(words, p.Name+" is changed, "+nextWords(set, p, now))
		}
	}
	for i := range old.Policies {
		if _, ok := set.Policy(old.Policies[i].Name); !ok {
			words = append(words, old.Policies[i].Name+" is gone")
		}
	}
	return words
}

// nextWords say when a policy acts for the first time.
func nextWords(set *policies.Set, p *policies.Policy, now time.Time) string {
	one := *set
	one.Policies = []policies.Policy{*p}
	next := one.NextEdges(now, 1)
	switch {
	case p.Signal != nil:
		return "waits for " + p.Signal.String()
	case p.FromTag != nil:
		return "its edges are in the tags"
	case len(next) == 0:
		return "no edge lies ahead"
	}
	return "next edge " + next[0].Planned.In(cmp.Or(set.Zone, time.UTC)).Format("Mon 2006-01-02 15:04 MST") + " (" + next[0].Want + ")"
}
