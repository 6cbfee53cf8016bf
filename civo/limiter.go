package civo

import (
	"context"
	"sync"
	"time"
)

// limiter spaces the requests of one token. It adapts: a 429 halves the rate and
// keeps everybody waiting for as long as Retry-After says; after that the rate
// grows back slowly. Actions go before reads: a read yields while an action waits.
type limiter struct {
	most float64 // requests a second, as configured

	mu      sync.Mutex
	rate    float64   // now
	tokens  float64   // of the bucket; its size is one second's worth
	at      time.Time // when tokens was worked out
	closed  time.Time // nobody is let through before
	acting  int       // actions that wait
	refused int64     // 429s seen
	passed  int64
	waited  time.Duration
}

const (
	// limiterLeast is the part of the configured rate below which it does not fall.
	limiterLeast = 1.0 / 32
	// limiterGrowth is the part of the configured rate that is won back each second.
	limiterGrowth = 1.0 / 60
	// limiterYield is how long a read steps back while an action waits.
	limiterYield = 10 * time.Millisecond
)

func newLimiter(rate float64) *limiter {
	return &limiter{most: rate, rate: rate, tokens: max(1, rate)}
}

// wait lets one request through, or ends with ctx. When the deadline of ctx lies
// before its turn it ends at once.
func (l *limiter) wait(ctx context.Context, action bool) error {
	began := time.Now()
	if action {
		l.mu.Lock()
		l.acting++
		l.mu.Unlock()
		defer func() { l.mu.Lock(); l.acting--; l.mu.Unlock() }()
	}
	for {
		d := l.turn(time.Now(), action)
		if d <= 0 {
			l.mu.Lock()
			l.passed++
			l.waited += time.Since(began)
			l.mu.Unlock()
			return ctx.Err()
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
			return context.DeadlineExceeded
		}
		timer := time.NewTimer(d)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// turn takes a token and returns 0, or says how long to wait before asking again.
func (l *limiter) turn(now time.Time, action bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.IsZero() {
		l.at = now
	}
	passed := max(0, now.Sub(l.at).Seconds())
	l.at = now
	if now.After(l.closed) {
		l.rate = min(l.most, l.rate+l.most*limiterGrowth*passed)
	}
	l.tokens = min(max(1, l.rate), l.tokens+l.rate*passed)
	switch {
	case now.Before(l.closed):
		return l.closed.Sub(now)
	case !action && l.acting > 0:
		return limiterYield
	case l.tokens >= 1:
		l.tokens--
		return 0
	}
	return max(time.Millisecond, time.Duration((1-l.tokens)/l.rate*float64(time.Second)))
}

// tooMany is told of a 429.
func (l *limiter) tooMany(retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused++
	l.rate = max(l.most*limiterLeast, l.rate/2)
	l.tokens = min(l.tokens, 1)
	if until := time.Now().Add(retryAfter); until.After(l.closed) {
		l.closed = until
	}
}

// RateState is how the limiter stands, for metrics.
type RateState struct {
	Rate        float64       // requests a second now; at most the configured rate
	Configured  float64       // requests a second
	ClosedUntil time.Time     // no request before; zero or past: open
	Refused     int64         // 429s since the start
	Passed      int64         // requests let through since the start
	Waited      time.Duration // by all requests together
}

// RateState is how the shared rate stands at this moment.
func (c *Client) RateState() RateState {
	l := c.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	return RateState{Rate: l.rate, Configured: l.most, ClosedUntil: l.closed, Refused: l.refused, Passed: l.passed, Waited: l.waited}
}
