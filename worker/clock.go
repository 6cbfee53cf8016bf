package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// A wrong clock fires edges that are not due, and voids those that are. So nothing
// acts before the clock is plausible: not before this program was built, not before
// what was stored last (unless the kernel says that the clock is kept right), and
// close to the clock of NATS, which all replicas share. Where plan time runs fast
// against a simulator there is nothing to compare.

const (
	// clockLook is how often the clock is compared, while somebody wants to act; each
	// time NATS is asked. That it jumped is seen without asking.
	clockLook = time.Minute
	// clockPoll is how long whoever wants to act waits while it is not plausible.
	clockPoll = 5 * time.Second
	// clockJump is how far the clock may run from the time that has passed.
	clockJump = 30 * time.Second
)

// actClock is the action of notices about the clock.
const actClock = "clock"

// clockCheck knows whether the clock may be acted by. It is safe for concurrent use.
type clockCheck struct {
	bus    *events.Bus
	times  func(context.Context) (server, newest time.Time, err error) // of NATS: its clock, and when anything was stored last
	clock  Clock
	built  time.Time
	synced func() bool
	log    *zap.Logger

	mu        sync.Mutex
	comparing chan struct{} // closed when the comparison under way has ended; nil: there is none
	looked    time.Time     // with a reading of the monotonic clock; zero: never
	wall      time.Time     // what the clock said then
	err       error
}

func newClockCheck(bus *events.Bus, o Options) *clockCheck {
	return &clockCheck{bus: bus, times: bus.Times, clock: o.Clock, built: o.Built, synced: o.Synced, log: o.Log}
}

// ClockError says why nothing is done.
type ClockError struct{ Why string }

func (e *ClockError) Error() string {
	return "the clock is not plausible: " + e.Why + "; nothing is done until it is right (see docs/recovery.md)"
}

// ok is nil when the clock may be acted by. While one compares, the others wait for
// what comes of it: an older answer may be that of before a jump, or none at all.
func (c *clockCheck) ok(ctx context.Context) error {
	if c.clock.IsFast() {
		return nil
	}
	for {
		now := time.Now()
		wall := c.clock.Plan(now.Round(0))
		c.mu.Lock()
		if wait := c.comparing; wait != nil {
			c.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		jump := time.Duration(0)
		if !c.looked.IsZero() {
			jump = wall.Sub(c.wall) - now.Sub(c.looked)
		}
		jumped := jump > clockJump || jump < -clockJump
		if !c.looked.IsZero() && now.Sub(c.looked) < believed(c.err) && !jumped {
			err := c.err
			c.mu.Unlock()
			return err
		}
		done := make(chan struct{})
		c.comparing = done
		c.mu.Unlock()
		if jumped {
			c.say(ctx, "jumped", fmt.Sprintf("the clock has jumped by %s, or the machine slept: it says %s", jump.Round(time.Second), wall.Format(time.RFC3339)))
		}
		err := c.compare(ctx)
		c.mu.Lock()
		c.comparing = nil
		old := c.err
		gone := err != nil && ctx.Err() != nil
		if !gone { // that one caller has gone says nothing of the clock: whoever waits compares for himself
			c.looked, c.wall, c.err = now, wall, err
		}
		c.mu.Unlock()
		close(done)
		if !gone {
			c.tell(ctx, old, err, wall)
		}
		return err
	}
}

// tell says what has changed since the last comparison.
func (c *clockCheck) tell(ctx context.Context, old, err error, wall time.Time) {
	switch {
	case err != nil && (old == nil || old.Error() != err.Error()):
		c.log.Error("nothing is done", zap.Error(err))
		if old == nil {
			c.say(ctx, "not plausible", err.Error())
		}
	case err == nil && old != nil:
		c.say(ctx, "plausible", "the clock is plausible again: it says "+wall.Format(time.RFC3339))
	}
}

// believed is how long what a comparison said is good.
func believed(said error) time.Duration {
	if said != nil {
		return clockPoll
	}
	return clockLook
}

// fault is what the last comparison said.
func (c *clockCheck) fault() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// isWrong reports whether the clock is known to be wrong, or has jumped since it was
// compared: what its time would be remembered with, waits. It asks nobody.
func (c *clockCheck) isWrong() bool {
	if c.clock.IsFast() {
		return false
	}
	now := time.Now()
	wall := c.clock.Plan(now.Round(0))
	c.mu.Lock()
	defer c.mu.Unlock()
	jump := time.Duration(0)
	if !c.looked.IsZero() {
		jump = wall.Sub(c.wall) - now.Sub(c.looked)
	}
	var wrong *ClockError
	return jump.Abs() > clockJump || errors.As(c.err, &wrong)
}

// refuse says no to what would be remembered with a time of a clock that is wrong. That
// NATS cannot be asked for its clock is no reason: a pause helps then, too.
func (c *clockCheck) refuse(ctx context.Context) error {
	var wrong *ClockError
	if errors.As(c.ok(ctx), &wrong) {
		return events.Refuse(503, "not stored: %v", wrong)
	}
	return nil
}

// untilRight waits while the clock is wrong.
func (c *clockCheck) untilRight(ctx context.Context) error {
	for c.isWrong() && c.ok(ctx) != nil {
		if err := sleepUntil(ctx, time.Now().Add(clockPoll)); err != nil {
			return err
		}
	}
	return nil
}

func (c *clockCheck) compare(ctx context.Context) error {
	server, newest, err := c.times(ctx)
	if err != nil {
		return fmt.Errorf("compare the clock with that of NATS: %w", err)
	}
	return implausible(c.clock.Now(), server, newest, c.built, c.synced)
}

// CheckClock compares the machine's clock as the daemon does before it acts.
func CheckClock(ctx context.Context, bus *events.Bus, built time.Time) error {
	return (&clockCheck{times: bus.Times, built: built, synced: kernelSynced}).compare(ctx)
}

// implausible says what is wrong with a clock that says now, if anything.
func implausible(now, server, newest, built time.Time, synced func() bool) error {
	off := now.Sub(server)
	says := "it says " + now.UTC().Format(time.RFC3339)
	switch {
	case now.Before(built):
		return &ClockError{says + ", and this program was built at " + built.UTC().Format(time.RFC3339)}
	case off > maxAhead:
		return &ClockError{fmt.Sprintf("%s, %s ahead of the clock of NATS", says, off.Round(time.Second))}
	case off < -maxAhead:
		return &ClockError{fmt.Sprintf("%s, %s behind the clock of NATS", says, -off.Round(time.Second))}
	case newest.After(now.Add(maxAhead)) && !synced():
		return &ClockError{fmt.Sprintf("%s, and what was stored last is of %s; nothing keeps it right, as far as the kernel knows", says, newest.UTC().Format(time.RFC3339))}
	}
	return nil
}

func (c *clockCheck) say(ctx context.Context, reason, detail string) {
	c.log.Warn("clock", zap.String(keyReason, reason), zap.String(keyDetail, detail))
	rec := events.Record{
		ActionID: policies.ActionID(actClock, 0, time.Now().UTC().Format(time.RFC3339Nano), policies.Kind(reason)), Action: actClock, Reason: reason, Detail: detail,
		Trigger: actClock, Region: events.None, Instance: events.None,
	}
	if err := c.bus.PublishNoticed(ctx, rec); err != nil && ctx.Err() == nil {
		c.log.Warn("event not stored", zap.Error(err))
	}
}

// rewind lets a policy whose newest edge lies ahead begin now: the clock stood ahead
// when that was remembered, and was set back since. Edges that have a tick do not
// fire again; its subject is taken.
func (s *scheduler) rewind(ctx context.Context, now time.Time) error {
	if s.clock.IsFast() {
		return nil
	}
	for name, m := range s.memory {
		if !m.Last.After(now.Add(maxAhead)) {
			continue
		}
		s.log.Warn("the clock was ahead: edges from now on fire", zap.String(keyPolicy, name), zap.Time("was", m.Last))
		m.Last = now
		if err := s.remember(ctx, name, m); err != nil {
			return err
		}
		s.memory[name] = m
	}
	return nil
}
