package worker

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

const (
	// breakAfter is on how many different instances in a row the actions of a policy
	// fail before it falls silent: one bad instance alone never silences it.
	breakAfter = 5
	// breakFor is for how long (plan time); twice as long each time that its trial
	// fails, up to breakMost.
	breakFor, breakMost = 30 * time.Minute, 4 * time.Hour
	// breakerName is who pauses a policy whose actions fail.
	breakerName = "nightshift"
)

// breaker is what is remembered of a policy whose actions fail. The pause that it
// makes is one like any other: status and explain show it, resume ends it, and its
// end is an edge. After that one action is tried before the others.
type breaker struct {
	Failed  []string  `json:"failed,omitempty"` // instances, since one went well
	Last    string    `json:"last,omitempty"`   // failure, in words
	Until   time.Time `json:"until,omitzero"`   // plan time; zero: it never fell silent
	Times   int       `json:"times,omitempty"`  // in a row that it did
	Trial   string    `json:"trial,omitempty"`  // action that is tried
	TrialAt time.Time `json:"trial_at,omitzero"`
}

func (b *breaker) isOpen() bool { return !b.Until.IsZero() }

// breaks reports whether an action is one that can silence its policy.
func breaks(it events.Item) bool {
	return it.Policy != "" && !strings.HasPrefix(it.Policy, "_") && it.Kind != string(policies.KindNotify)
}

func (m *memory) breakerOf(policy string) breaker {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.breakers[policy]
}

func (m *memory) changeBreaker(ctx context.Context, policy string, f func(b *breaker) bool) (bool, error) {
	var now breaker
	former := ""
	if was := m.nameBefore(policy); was != "" {
		former = stateBreaker + was
	}
	changed, err := count(ctx, m.counters, stateBreaker+policy, former, func(b *breaker) bool {
		ok := f(b)
		now = *b
		return ok
	})
	if changed {
		m.mu.Lock()
		m.breakers[policy] = now
		m.mu.Unlock()
	}
	return changed, err
}

// onTrial lets one action at a time pass of a policy that fell silent because its
// actions failed, until one goes well.
func onTrial(ctx context.Context, l *look) (next, bool, error) {
	it, m := l.a.item, l.r.memory
	if !breaks(it) {
		return pass()
	}
	if b := m.breakerOf(it.Policy); !b.isOpen() {
		return pass()
	}
	now := l.r.clock.Now()
	var seen breaker
	took, err := m.changeBreaker(ctx, it.Policy, func(b *breaker) bool {
		seen = *b
		if !b.isOpen() || now.Before(b.Until) || b.Trial != "" && b.Trial != it.ID && l.now.Sub(b.TrialAt) < l.r.forgottenAfter() {
			return false
		}
		b.Trial, b.TrialAt = it.ID, l.now
		return true
	})
	switch {
	case err != nil:
		return next{}, true, err
	case took || !seen.isOpen():
		return pass()
	case now.Before(seen.Until):
		if err := m.silence(ctx, it.Policy, seen); err != nil { // whoever counted the failure may have been killed before he did
			return next{}, true, err
		}
		return l.skip(policies.ReasonPaused, "policy "+it.Policy+" is silent until "+seen.Until.Format(time.RFC3339)+": "+seen.words())
	}
	return l.queue(ctx, l.now.Add(l.r.verifyBy.Poll), "policy "+it.Policy+" failed of late: waits until the one action that is tried, "+seen.Trial+", has ended")
}

// words say why a policy is silent.
func (b *breaker) words() string {
	return fmt.Sprintf("its actions fail, the last %s", b.Last)
}

// judge takes up how an action ended for the breaker of its policy. What cannot be
// stored is only said: the outcome stands.
func (r *runner) judge(ctx context.Context, it events.Item, v verdict) {
	if !breaks(it) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	if err := r.check.refuse(ctx); err != nil {
		r.log.Warn("how an action ended is not counted for its policy", zap.String(keyPolicy, it.Policy), zap.Error(err))
		return
	}
	var err error
	switch known := r.memory.breakerOf(it.Policy); {
	case v.outcome == events.Failed && v.reason != policies.ReasonGone:
		err = r.memory.failed(ctx, it, cmp.Or(v.err, v.detail))
	case known.Last == "":
	case v.outcome == events.Done:
		err = r.memory.worked(ctx, it)
	case known.Trial == it.ID:
		_, err = r.memory.changeBreaker(ctx, it.Policy, func(b *breaker) bool {
			if b.Trial != it.ID {
				return false
			}
			b.Trial, b.TrialAt = "", time.Time{}
			return true
		})
	}
	if err != nil {
		r.log.Warn("how an action ended is not counted for its policy", zap.String(keyPolicy, it.Policy), zap.Error(err))
	}
}

// failed counts a failure, and lets the policy fall silent when there are too many.
func (m *memory) failed(ctx context.Context, it events.Item, fault string) error {
	now := m.clock.Now()
	var tripped bool
	var b breaker
	_, err := m.changeBreaker(ctx, it.Policy, func(v *breaker) bool {
		tripped = false
		if now.Before(v.Until) {
			return false // it was under way when the policy fell silent
		}
		if !slices.Contains(v.Failed, it.Instance) {
			v.Failed = append(v.Failed, it.Instance)
		}
		v.Last = fmt.Sprintf("%s of %s: %s", it.Action, cmp.Or(it.Hostname, it.Instance), fault)
		if v.isOpen() || len(v.Failed) >= breakAfter {
			tripped = true
			v.Until = now.Add(min(breakFor<<min(v.Times, 10), breakMost))
			v.Times, v.Failed, v.Trial, v.TrialAt = v.Times+1, nil, "", time.Time{}
		}
		b = *v
		return true
	})
	if err != nil || !tripped {
		return err
	}
	m.log.Error("the policy's actions fail, it falls silent", zap.String(keyPolicy, it.Policy), zap.Time("until", b.Until), zap.String(keyDetail, b.Last))
	return m.silence(ctx, it.Policy, b)
}

// silence pauses a policy whose breaker is open, and says so, unless that was done.
func (m *memory) silence(ctx context.Context, policy string, b breaker) error {
	now := m.clock.Now()
	pause := policies.Pause{Policy: policy, Since: now, Until: b.Until, Who: breakerName, Reason: b.words()}
	if old, ok := m.pauseOf(pause); ok && old.Holds(now) && (old.Until.IsZero() || !old.Until.Before(b.Until)) {
		if old.Who != breakerName {
			return m.noticeBroken(ctx, policy, b)
		}
		return nil // and said
	}
	if err := m.noticeBroken(ctx, policy, b); err != nil {
		return err
	}
	return m.putPause(ctx, pause)
}

// silenceBroken does what a process that was killed in the middle of it left undone.
func (m *memory) silenceBroken(ctx context.Context) error {
	m.mu.Lock()
	open := maps.Clone(m.breakers)
	m.mu.Unlock()
	for policy, b := range open {
		if m.clock.Now().Before(b.Until) {
			if err := m.silence(ctx, policy, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) noticeBroken(ctx context.Context, policy string, b breaker) error {
	return m.noticeBreaker(ctx, policy, "broken", fmt.Sprintf("policy %s falls silent until %s: %s; nightshift resume --policy %s ends it", policy, b.Until.Format(time.RFC3339), b.words(), policy), b)
}

// worked forgets failures: one went well.
func (m *memory) worked(ctx context.Context, it events.Item) error {
	now := m.clock.Now()
	var before breaker
	changed, err := m.changeBreaker(ctx, it.Policy, func(b *breaker) bool {
		before = *b
		if b.Last == "" || now.Before(b.Until) {
			return false
		}
		*b = breaker{}
		return true
	})
	if err != nil || !changed || !before.isOpen() {
		return err
	}
	m.log.Info("the policy acts again", zap.String(keyPolicy, it.Policy))
	return m.noticeBreaker(ctx, it.Policy, "mended", fmt.Sprintf("policy %s acts again: %s of %s went well", it.Policy, it.Action, cmp.Or(it.Hostname, it.Instance)), before)
}

// closeBreaker forgets that a policy's actions failed, and reports whether it was
// silent for that, or on trial.
func (m *memory) closeBreaker(ctx context.Context, policy string) (bool, error) {
	if m.breakerOf(policy).Last == "" {
		return false, nil
	}
	var before breaker
	_, err := m.changeBreaker(ctx, policy, func(b *breaker) bool {
		before = *b
		*b = breaker{}
		return before.Last != ""
	})
	return before.isOpen(), err
}

func (m *memory) noticeBreaker(ctx context.Context, policy, reason, detail string, b breaker) error {
	rec := events.Record{
		ActionID: policies.ActionID(reason+" "+policy, int(b.Until.Unix()), events.None, "policy"), Action: "policy", Reason: reason,
		Detail: detail, Trigger: "breaker", Policy: policy, Region: events.None, Instance: events.None, Planned: m.clock.Now(),
	}
	if err := m.bus.PublishNoticed(ctx, rec); err != nil {
		return fmt.Errorf("say that policy %s is %s: %w", policy, reason, err)
	}
	return nil
}
