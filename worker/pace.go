package worker

import (
	"context"
	"time"

	"nightshift/policies"
)

// pacer lets the actions of one run begin at their pace.
type pacer struct {
	places chan struct{} // one for each that is under way; nil: any number may be
	gate   chan struct{} // holds whoever begins next
	apart  time.Duration
	last   time.Time       // when the newest began; changed by who holds the gate
	newest string          // its action id
	before time.Time       // when the one before it began
	taken  map[string]bool // by action id: under way when the run was taken up, with a place
}

func newPacer(p policies.Pace) *pacer {
	pacer := &pacer{gate: make(chan struct{}, 1), apart: p.Apart, taken: make(map[string]bool)}
	if p.AtOnce > 0 {
		pacer.places = make(chan struct{}, p.AtOnce)
	}
	return pacer
}

// recall takes up a call that was made before the run was taken up.
func (p *pacer) recall(id string, at time.Time, underWay bool) {
	p.last = maxTime(p.last, at)
	if underWay {
		p.taken[id] = p.try(p.places)
	}
}

func (*pacer) try(c chan struct{}) bool {
	select {
	case c <- struct{}{}:
		return true
	default:
		return c == nil
	}
}

// begin takes up that an action begins now. Callers hold the gate.
func (p *pacer) begin(id string) {
	p.before, p.last, p.newest = p.last, time.Now(), id
}

// takeNow takes a place if an action may begin at once.
func (p *pacer) takeNow(id string) bool {
	if !p.try(p.places) {
		return false
	}
	if p.try(p.gate) {
		free := !time.Now().Before(p.last.Add(p.apart))
		if free {
			p.begin(id)
		}
		<-p.gate
		if free {
			return true
		}
	}
	p.release()
	return false
}

// take waits for a place, and until the one before began long enough ago. Without
// a place it returns when the action is overtaken, or ctx ends, or its run is broken off.
func (p *pacer) take(ctx context.Context, id string, overtaken <-chan struct{}, t *turns) (taken bool, err error) {
	wait := func(c chan struct{}, timer <-chan time.Time) (ok bool, err error) {
		select {
		case c <- struct{}{}:
			return true, nil
		case <-timer:
			return true, nil
		case <-overtaken:
			return false, nil
		case <-t.broken:
			return false, t.fault
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	if p.places != nil {
		if ok, err := wait(p.places, nil); !ok {
			return false, err
		}
	}
	defer func() {
		if !taken {
			p.release()
		}
	}()
	if ok, err := wait(p.gate, nil); !ok {
		return false, err
	}
	defer func() { <-p.gate }()
	timer := time.NewTimer(time.Until(p.last.Add(p.apart)))
	defer timer.Stop()
	if ok, err := wait(nil, timer.C); !ok {
		return false, err
	}
	p.begin(id)
	return true, nil
}

// release gives a place back.
func (p *pacer) release() {
	if p.places != nil {
		<-p.places
	}
}

// leavePace gives the place of an action back that waits for something else. Where
// nothing came of it the next need not keep its distance.
func (a *attempt) leavePace() {
	if !a.placed {
		return
	}
	p := a.turns.pace
	a.placed = false
	p.release()
	if a.calls == 0 && p.try(p.gate) {
		if p.newest == a.item.ID {
			p.last, p.newest = p.before, ""
		}
		<-p.gate
	}
}

// inPace waits until the pace of the run lets one more begin.
func inPace(ctx context.Context, l *look) (next, bool, error) {
	a, t := l.a, l.a.turns
	if t.pace == nil || !t.paced[a.item.ID] || a.placed {
		return pass()
	}
	if t.pace.takeNow(a.item.ID) {
		a.placed = true
		return pass()
	}
	n := next{turn: func(ctx context.Context, overtaken <-chan struct{}) (err error) {
		a.placed, err = t.pace.take(ctx, a.item.ID, overtaken, t)
		return err
	}}
	return n, true, l.noteTurn(ctx, "waits by pace")
}

// isUnderWay reports whether an action has a place since before the run was taken up.
func (t *turns) isUnderWay(id string) bool { return t.pace != nil && t.pace.taken[id] }
