package worker

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"nightshift/events"
)

// loadPause is the least time between two plans for the same metric of the same
// instance (machine time): what comes meanwhile waits, and the newest stays.
const loadPause = time.Second

// crowd lets signals wait for their turn to be planned, so that a storm of them
// costs no more than what it has to say. A load that waits is superseded by a
// newer one of the same metric and instance; a firing that is planned right now
// answers all who repeat it.
type crowd struct {
	turns *semaphore.Weighted // signals being planned

	mu      sync.Mutex
	waiting map[string]*turn // by what was measured, or by trigger
	pruned  time.Time
	planned map[string]time.Time // by what was measured: when it was planned, within loadPause
}

// turn is one signal that waits, or one that is planned for all who repeat it.
type turn struct {
	seq   uint64
	newer chan struct{} // closed when a newer load has come
	done  chan struct{} // closed when it has been planned
	err   error
}

func newCrowd(n int64) *crowd {
	return &crowd{turns: semaphore.NewWeighted(n), waiting: make(map[string]*turn), planned: make(map[string]time.Time)}
}

// plan calls f for a signal when it is its turn, or not at all when another
// signal speaks for it.
func (c *crowd) plan(ctx context.Context, in *events.Incoming, f func() error) error {
	s := in.Signal
	if s.Load == "" {
		return c.once(ctx, in.TriggerID(), f)
	}
	key := s.Source + "/" + s.Region + "/" + s.Instance + "/" + s.Load
	own := &turn{seq: in.Seq, newer: make(chan struct{})}
	c.mu.Lock()
	switch other := c.waiting[key]; {
	case other == nil:
		c.waiting[key] = own
	case other.seq > own.seq:
		c.mu.Unlock()
		return nil
	default:
		close(other.newer)
		c.waiting[key] = own
	}
	c.mu.Unlock()
	turn, cancel := context.WithCancel(ctx)
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { // until the turn has come
		select {
		case <-own.newer:
			cancel()
		case <-stop:
		}
	})
	_ = sleepUntil(turn, c.after(key))
	err := c.turns.Acquire(turn, 1)
	close(stop)
	watch.Wait()
	cancel()
	c.mu.Lock()
	isNewest := c.waiting[key] == own
	if isNewest {
		delete(c.waiting, key) // what comes from now on has a turn of its own
		c.planned[key] = time.Now()
	}
	c.mu.Unlock()
	if err == nil {
		defer c.turns.Release(1)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !isNewest:
		return nil
	case err != nil:
		return err
	}
	return f()
}

// after is when a load may be planned again.
func (c *crowd) after(key string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.pruned) >= loadPause {
		c.pruned = time.Now()
		maps.DeleteFunc(c.planned, func(_ string, at time.Time) bool { return time.Since(at) >= loadPause })
	}
	if at, ok := c.planned[key]; ok {
		return at.Add(loadPause)
	}
	return time.Time{}
}

// once plans what has the same trigger for all who ask meanwhile.
func (c *crowd) once(ctx context.Context, trigger string, f func() error) error {
	c.mu.Lock()
	if other := c.waiting[trigger]; other != nil {
		c.mu.Unlock()
		select {
		case <-other.done:
			return other.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	own := &turn{done: make(chan struct{})}
	c.waiting[trigger] = own
	c.mu.Unlock()
	defer func() { // in a panic, too
		c.mu.Lock()
		delete(c.waiting, trigger)
		c.mu.Unlock()
		close(own.done)
	}()
	if own.err = c.turns.Acquire(ctx, 1); own.err != nil {
		return own.err
	}
	defer c.turns.Release(1)
	own.err = f()
	return own.err
}
