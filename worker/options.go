package worker

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Options are what a Worker needs besides policies, API and bus. The zero value
// of each field is the documented default.
type Options struct {
	Log      *zap.Logger // default: none
	Name     string      // of this replica, for the status
	Version  string
	Revision string // of the configuration, until it is replaced
	Workers  int    // calls to the API under way at once; default 8
	Verify   Verify
	Clock    Clock         // plan time; default: the machine's
	Grace    time.Duration // for what is under way when Run's context ends; default 20 s
	Built    time.Time     // of this program: no clock is right that says an earlier time; zero: not known
	Synced   func() bool   // whether the machine's clock is kept right; default: as the kernel says
	Embedded bool          // the bus is an embedded server and this process its only user
	// Dial reaches instances that are asked whether they are ready; default: by the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Verify says how an accepted call is settled. All in machine time.
type Verify struct {
	Within time.Duration // target not seen within: failed; default 10 min
	Settle time.Duration // after an accepted call nothing counts as "already so"; default 2 min
	Apart  time.Duration // two readings that agree on "already so" are this far apart; default 30 s
	Poll   time.Duration // between two listings of a region; default 5 s
}

// Defaults of Options. Machine time.
const (
	DefaultWorkers = 8
	DefaultGrace   = 20 * time.Second
	DefaultWithin  = 10 * time.Minute
	DefaultSettle  = 2 * time.Minute
	DefaultApart   = 30 * time.Second
	DefaultPoll    = 5 * time.Second
)

// Clock tells plan time: the time in which edges, windows and cool-downs lie.
// The zero Clock is the machine's own. A fast one is for the demo and against a
// simulator only; HTTP, deadlines of calls and verification never run fast.
type Clock struct {
	machine time.Time // where both clocks were read together
	plan    time.Time
	speed   float64
	off     *atomic.Int64 // by how many nanoseconds it is ahead of the machine's, which it is meant to be; nil: it is
}

// Fast is a clock that stands at plan now and runs speed times as fast as the
// machine's. It panics when speed is not positive.
func Fast(now, plan time.Time, speed float64) Clock {
	if speed <= 0 {
		panic("worker: clock speed must be positive")
	}
	return Clock{machine: now, plan: plan, speed: speed}
}

// Off is the clock of a machine whose clock is wrong by d.
func Off(d time.Duration) Clock {
	by := new(atomic.Int64)
	by.Store(int64(d))
	return Jumping(by)
}

// Jumping is the clock of a machine whose clock is ahead by as many nanoseconds as by
// says when it is read, so that it jumps when that changes.
func Jumping(by *atomic.Int64) Clock { return Clock{off: by} }

// Now is the plan time at this moment, in UTC.
func (c Clock) Now() time.Time { return c.Plan(time.Now()) }

// Plan is the plan time at a machine time.
func (c Clock) Plan(machine time.Time) time.Time {
	if c.off != nil {
		machine = machine.Add(time.Duration(c.off.Load()))
	}
	if c.speed == 0 {
		return machine.UTC()
	}
	return c.plan.Add(time.Duration(float64(machine.Sub(c.machine)) * c.speed)).UTC()
}

// Machine is the machine time at which plan time reaches an instant.
func (c Clock) Machine(plan time.Time) time.Time {
	if c.off != nil {
		return plan.Add(-time.Duration(c.off.Load()))
	}
	if c.speed == 0 {
		return plan
	}
	return c.machine.Add(time.Duration(float64(plan.Sub(c.plan)) / c.speed))
}

// IsFast reports whether plan time is not meant to be the machine's.
func (c Clock) IsFast() bool { return c.speed != 0 }
