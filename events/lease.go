package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A message in work stays with who has it as long as he says so. Where others take from
// the same consumer, who is cut off from NATS for longer than ackWait does not hear that
// the message was given to another. So he asks that NATS confirms what he says, and lets
// go of the message before NATS may give it away. What he lets go of is delivered again,
// to him or another, who goes on from the ledger.

const (
	// leaseFor is how long a message is surely with who had it confirmed; ackWait is
	// counted from later, since NATS hears of it later.
	leaseFor = ackWait - 2*time.Second
	// confirmWait is how long an answer of NATS is waited for before it is asked again.
	confirmWait = 2 * time.Second
	confirmPoll = 500 * time.Millisecond
)

// ErrLetGo says that a message may have been given to another meanwhile.
var ErrLetGo = errors.New("let go: NATS has not confirmed for " + leaseFor.String() + " that this replica still has it, so another may; it goes on where it is delivered next")

// lease is how long a message is surely here. It does not come back: another may have had
// the message meanwhile.
type lease struct {
	mu    sync.Mutex
	until time.Time
	isLet bool
}

func newLease(since time.Time) *lease { return &lease{until: since.Add(leaseFor)} }

// isOurs reports whether nobody else can have been given the message.
func (l *lease) isOurs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isLet = l.isLet || !time.Now().Before(l.until)
	return !l.isLet
}

// renew takes up that NATS confirmed what was said at a time, or gave the message to this
// process anew, and reports whether it was ours all the time.
func (l *lease) renew(said time.Time) bool {
	if !l.isOurs() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = said.Add(leaseFor)
	return true
}

func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.until)
}

// IsOurs reports whether nobody else can have been given the message: as long as that is
// so something new may be begun.
func (d delivery) IsOurs() bool { return d.lease == nil || d.lease.isOurs() }

// keepLease has NATS confirm that a message stays here until ctx ends, or lets it go.
func (b *Bus) keepLease(ctx context.Context, d delivery, letGo context.CancelCauseFunc) {
	for wait := keepAlive; sleep(ctx, min(wait, d.lease.left())) == nil; {
		if !d.lease.isOurs() {
			b.log.Warn("let go, since NATS does not confirm that it is still with this replica", zap.String("subject", d.Subject), zap.Duration("since", leaseFor))
			letGo(fmt.Errorf("%s: %w", d.Subject, ErrLetGo))
			return
		}
		if wait = confirmPoll; b.confirms(ctx, d) {
			wait = keepAlive
		}
	}
}

// confirms says that a message is in work, and reports whether NATS has heard it.
func (b *Bus) confirms(ctx context.Context, d delivery) bool {
	if !b.nc.IsConnected() { // it would be sent when the message is another's
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, min(confirmWait, d.lease.left()))
	defer cancel()
	said := time.Now()
	_, err := b.nc.RequestWithContext(ctx, d.msg.msg.Reply, []byte("+WPI"))
	return err == nil && d.lease.renew(said)
}
