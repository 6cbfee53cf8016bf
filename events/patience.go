package events

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A store whose disk is slow, or that has more to write than it manages at once, does
// what it is asked for and answers late. Whoever asks again after publishTimeout adds
// to what it has to do, and so do all others, in step: no answer is ever in time, and
// what was done is thrown away. So the wait for an answer grows while answers are late.

const (
	// patienceMost is the longest that an answer is waited for.
	patienceMost = 2 * time.Minute
	// calmFor is for how long no answer may be late before the wait is as short again
	// as it was: nothing is asked twice of a store that is quick, but what got lost.
	calmFor = 2 * time.Minute
)

// patience is how long answers of NATS are waited for.
type patience struct {
	mu   sync.Mutex
	now  time.Duration // 0: publishTimeout
	late time.Time     // when an answer was late last
}

func (p *patience) limit() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == 0 || time.Since(p.late) > calmFor {
		p.now = publishTimeout
	}
	return p.now
}

// took takes up how long an answer was waited for, and whether it was in vain.
func (p *patience) took(limit, took time.Duration, inVain bool) {
	if took < publishTimeout/2 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = time.Now()
	if inVain && limit >= p.now { // of those that wait together one
		p.now = min(2*limit, patienceMost)
	}
}

// isSlow reports whether answers were late of late.
func (p *patience) isSlow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.late.IsZero() && time.Since(p.late) <= calmFor
}

// bounded bounds a wait for answers of NATS that nobody else has bounded.
func (b *Bus) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	began, limit := time.Now(), b.waits.limit()
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, func() {
		inVain := errors.Is(ctx.Err(), context.DeadlineExceeded)
		cancel()
		if !inVain || b.nc.IsConnected() { // else nobody was asked
			b.waits.took(limit, time.Since(began), inVain)
		}
	}
}

// bucket is ns_state, with that patience.
type bucket struct {
	jetstream.KeyValue
	b *Bus
}

func (k bucket) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	ctx, cancel := k.b.bounded(ctx)
	defer cancel()
	return k.KeyValue.Get(ctx, key)
}

func (k bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, key, func(ctx context.Context) (uint64, error) { return k.KeyValue.Put(ctx, key, value) })
}

func (k bucket) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (uint64, error) {
	return k.write(ctx, key, func(ctx context.Context) (uint64, error) { return k.KeyValue.Create(ctx, key, value, opts...) })
}

func (k bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return k.write(ctx, key, func(ctx context.Context) (uint64, error) { return k.KeyValue.Update(ctx, key, value, revision) })
}

func (k bucket) Delete(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	_, err := k.write(ctx, key, func(ctx context.Context) (uint64, error) { return 0, k.KeyValue.Delete(ctx, key, opts...) })
	return err
}

// write ends at once where the store cannot be written: the server would not answer,
// and what is read (a list of instances, whose account it is) may wait for what is to
// be remembered of it.
func (k bucket) write(ctx context.Context, key string, do func(context.Context) (uint64, error)) (revision uint64, err error) {
	if err := k.b.disk.err(); err != nil {
		return 0, err
	}
	ctx, cancel := k.b.bounded(ctx)
	defer cancel()
	ctx, end := k.b.guard(ctx, stateSubjects+key)
	revision, err = do(ctx)
	return revision, end(err)
}

// stateSubjects begins the subjects of ns_state.
const stateSubjects = "$KV." + Bucket + "."
