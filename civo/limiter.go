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
	configured float64 // requests a second, of all replicas together

	mu      sync.Mutex
	most    float64   // requests a second, this process's part of configured
	halved  time.Time // when the rate was last lowered
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
	return &limiter{configured: rate, most: rate, rate: rate, tokens: max(1, rate)}
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
	l.lower(time.Now(), time.Now().Add(retryAfter))
}

// lower halves the rate, and lets nobody through before a time. Callers hold mu.
func (l *limiter) lower(now, until time.Time) {
	l.halved = now
	l.rate = max(l.most*limiterLeast, l.rate/2)
	l.tokens = min(l.tokens, 1)
	if until.After(l.closed) {
		l.closed = until
	}
}

// limiterSame is within how long a 429 of another process is the same news as one
// of this process: the rate is lowered once.
const limiterSame = 3 * time.Second

// slow is told that another process got a 429.
func (l *limiter) slow(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.halved) < limiterSame {
		l.closed = maxTime(l.closed, until)
		return
	}
	l.lower(now, until)
}

// share is told how many processes share the configured rate.
func (l *limiter) share(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := l.configured / float64(max(1, n))
	l.rate *= most / l.most // as much lower as it was after a 429
	l.most = most
	l.tokens = min(l.tokens, max(1, l.rate))
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// RateState is how the limiter stands, for metrics.
type RateState struct {
	Rate        float64       // requests a second now; at most Share
	Share       float64       // requests a second that are this process's part of the configured rate
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
	return RateState{Rate: l.rate, Share: l.most, Configured: l.configured, ClosedUntil: l.closed, Refused: l.refused, Passed: l.passed, Waited: l.waited}
}

// Share says how many processes share the token, and with it the configured rate:
// each of them takes its part. It begins with 1.
func (c *Client) Share(n int) { c.limiter.share(n) }

// Slow says that another process with the same token got a 429, and until when
// the API wants to be left alone: this one's rate falls, too.
func (c *Client) Slow(until time.Time) { c.limiter.slow(until) }
