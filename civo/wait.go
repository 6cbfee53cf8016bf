package civo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Statuses at which an instance rests. Every other status, one that this client
// does not know included, means busy: wait.
const (
	StatusActive  = "ACTIVE"
	StatusShutoff = "SHUTOFF"
)

// Busy reports whether an instance is on its way from one state to another.
func (i Instance) Busy() bool { return i.Status != StatusActive && i.Status != StatusShutoff }

// ErrGone says that an instance that was waited for is in no complete list of
// its region any more.
var ErrGone = errors.New("the instance is gone")

// Waiter waits for states. However many goroutines wait for instances of a
// region, it is listed once for all of them. The zero value is not usable: make
// one with NewWaiter.
type Waiter struct {
	c    *Client
	pace time.Duration

	mu      sync.Mutex
	regions map[string]*reading
}

// reading is the newest list of a region, and the one under way.
type reading struct {
	began   time.Time
	byID    map[string]Instance
	err     error
	running chan struct{} // closed when the list under way has come; nil: none is
}

// NewWaiter makes a waiter that lists a region at most once in pace (machine time).
func NewWaiter(c *Client, pace time.Duration) *Waiter {
	return &Waiter{c: c, pace: pace, regions: make(map[string]*reading)}
}

// Wait returns the instance once reached says so of a list that began after the
// call of Wait; the caller's context bounds it. A list that fails is tried again.
// [ErrGone] is returned when a complete list lacks the instance.
func (w *Waiter) Wait(ctx context.Context, region, id string, reached func(Instance) bool) (Instance, error) {
	notBefore := time.Now().Add(time.Nanosecond) // not one that began before
	var last Instance
	for {
		began, list, err := w.read(ctx, region, notBefore)
		switch {
		case ctx.Err() != nil:
			return last, fmt.Errorf("wait for instance %s in %s, last seen %q: %w", id, region, last.Status, context.Cause(ctx))
		case err != nil && !retryLater(err):
			return last, err
		case err == nil:
			i, ok := list[id]
			if !ok {
				return last, fmt.Errorf("wait for instance %s in %s: %w", id, region, ErrGone)
			}
			if last = i; reached(i) {
				return i, nil
			}
		}
		notBefore = began.Add(time.Nanosecond) // a newer list than this one
	}
}

// WaitGone returns when a complete list that began after the call lacks the instance.
func (w *Waiter) WaitGone(ctx context.Context, region, id string) error {
	_, err := w.Wait(ctx, region, id, func(Instance) bool { return false })
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}

func retryLater(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRateLimited)
}

// read returns a list that began at or after notBefore, and when it began.
func (w *Waiter) read(ctx context.Context, region string, notBefore time.Time) (time.Time, map[string]Instance, error) {
	for {
		w.mu.Lock()
		r := w.regions[region]
		if r == nil {
			r = &reading{}
			w.regions[region] = r
		}
		if !r.began.Before(notBefore) && r.running == nil {
			defer w.mu.Unlock()
			return r.began, r.byID, r.err
		}
		if r.running != nil {
			running := r.running
			w.mu.Unlock()
			select {
			case <-running:
			case <-ctx.Done():
				return time.Time{}, nil, context.Cause(ctx)
			}
			continue
		}
		r.running = make(chan struct{})
		next := r.began.Add(w.pace)
		w.mu.Unlock()

		began, list, err := w.list(ctx, region, next)
		w.mu.Lock()
		if ctx.Err() == nil { // a list that its leader gave up says nothing to the others
			r.began, r.byID, r.err = began, list, err
		}
		close(r.running)
		r.running = nil
		w.mu.Unlock()
		if ctx.Err() != nil {
			return time.Time{}, nil, context.Cause(ctx)
		}
	}
}

func (w *Waiter) list(ctx context.Context, region string, next time.Time) (time.Time, map[string]Instance, error) {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	began := time.Now()
	all, err := w.c.ListInstances(ctx, region)
	byID := make(map[string]Instance, len(all))
	for _, i := range all {
		byID[i.ID] = i
	}
	return began, byID, err
}

// SettleCreate finds out what became of a create whose answer was lost, by the
// tag that was unique to the attempt: the instance, or false when a complete
// list has none. Since the API may still be at it, ask again after a while before
// creating anew; a failed create can hold quota, too.
func (c *Client) SettleCreate(ctx context.Context, region, tag string) (Instance, bool, error) {
	if tag == "" {
		return Instance{}, false, invalid("settle a create", "", region, "the attempt's tag is missing")
	}
	var found []Instance
	all, err := c.ListInstances(ctx, region)
	if err != nil {
		return Instance{}, false, err
	}
	for _, i := range all {
		for _, t := range i.Tags {
			if t == tag {
				found = append(found, i)
			}
		}
	}
	switch len(found) {
	case 0:
		return Instance{}, false, nil
	case 1:
		return found[0], true, nil
	}
	return Instance{}, false, &Error{Op: "settle a create", Region: region, Reason: fmt.Sprintf("%d instances have the tag %s", len(found), tag), kind: ErrAmbiguous}
}
