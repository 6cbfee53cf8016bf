package worker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// approval is what is remembered of a held run that may go on.
type approval struct {
	Who   string    `json:"who,omitempty"`   // that NATS vouches for
	Claim string    `json:"claim,omitempty"` // as the sender says
	At    time.Time `json:"at"`              // plan time
}

const (
	// heldPoll is how often a held run looks whether a newer one has overtaken it.
	heldPoll = 5 * time.Second
	// heldAtOnce bounds the held runs that wait in a handler, and so hear of their
	// approval at once; the others are delivered again after heldAgain.
	heldAtOnce = 100
	heldAgain  = 10 * time.Second
)

func approvalKey(run *events.Run) string { return run.Region + "." + run.Trigger }

// awaitApproval holds a run until it is approved. It ends the run, and returns
// false, when nobody does so in time, or a newer trigger decides about one of its
// instances.
func (r *runner) awaitApproval(ctx context.Context, d *events.RunDelivery) (approved bool, err error) {
	run := &d.Run
	if err := r.noticeHeld(ctx, run); err != nil {
		return false, err
	}
	passed(heldNoticed, "")
	r.lives.hold(run.Items, 1)
	defer r.lives.hold(run.Items, -1)
	var lives []*life
	for _, it := range run.Items {
		lives = append(lives, r.lives.open(d.Seq, run.StoredAt, it))
	}
	for {
		changed, a, ok := r.memory.approval(run)
		switch {
		case ok:
			passed(approvalHeard, "")
			r.memory.learn(*run)
			r.log.Info("held run approved", zap.String(keyTrigger, run.Trigger), regionField(run.Region), zap.String("who", a.Who), zap.String("claim", a.Claim))
			return true, nil
		case time.Now().After(run.HeldUntil) && !r.check.isWrong():
			return false, r.endHeld(ctx, d, lives, "nobody approved it until "+run.HeldUntil.Format(time.RFC3339))
		case anyOvertaken(lives):
			return false, r.endHeld(ctx, d, lives, "a newer trigger decided about one of its instances")
		}
		timer := time.NewTimer(min(heldPoll, max(time.Second, time.Until(run.HeldUntil)+time.Millisecond)))
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
			timer.Stop()
			return false, context.Cause(ctx)
		}
		timer.Stop()
	}
}

func anyOvertaken(lives []*life) bool {
	for _, l := range lives {
		if l.isOvertaken() {
			return true
		}
	}
	return false
}

// endHeld gives each action of a run that was not approved its outcome.
func (r *runner) endHeld(ctx context.Context, d *events.RunDelivery, lives []*life, why string) error {
	for i, it := range d.Run.Items {
		v := verdict{outcome: events.Expired, reason: policies.ReasonNotApproved, detail: "held (" + d.Run.Held + "); " + why, before: it.Status}
		if lives[i].isOvertaken() {
			v.outcome, v.reason = events.Superseded, ""
		}
		if err := r.end(ctx, &attempt{seq: d.Seq, run: &d.Run, item: it, life: lives[i]}, v); err != nil {
			return err
		}
	}
	return nil
}

// noticeHeld says once that a run waits.
func (r *runner) noticeHeld(ctx context.Context, run *events.Run) error {
	rec := events.Record{
		ActionID: policies.ActionID(run.Trigger, 0, run.Region, "run"), Action: "run", Reason: "held",
		Detail:  fmt.Sprintf("%d actions wait for approval until %s: %s; approve them with: nightshift approve %s", len(run.Items), run.HeldUntil.Format(time.RFC3339), run.Held, run.Origin()),
		Trigger: run.Origin(), Who: run.Who, Claim: run.Claim, Policy: policiesOf(run.Edges), Region: run.Region, Instance: events.None, Planned: run.Planned,
	}
	if err := r.bus.PublishNoticed(ctx, rec); err != nil {
		return fmt.Errorf("say that run %s is held: %w", run.Trigger, err)
	}
	return nil
}

// approval returns the approval of a held run, if there is one, and a channel that
// is closed when there is another.
func (m *memory) approval(run *events.Run) (changed <-chan struct{}, a approval, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok = m.approvals[approvalKey(run)]
	return m.approved, a, ok
}

// approve lets a held run go on.
func (m *memory) approve(ctx context.Context, run *events.Run, who, claim string) error {
	a := approval{Who: who, Claim: claim, At: m.clock.Now()}
	if err := m.store(ctx, stateApproval+approvalKey(run), a); err != nil {
		return err
	}
	passed(approvalStored, "")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.approvals[approvalKey(run)] = a
	m.learnHeld(approvalKey(run))
	close(m.approved)
	m.approved = make(chan struct{})
	return nil
}
