package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Expected are the events of one action that is about to be asked for. They are
// listened for before it is, so that none is missed by whoever has no right to read
// the stream.
type Expected struct {
	bus    *Bus
	filter string
	since  time.Time
	sub    *nats.Subscription
}

// Expect begins to listen for the events of a filter. Close ends it.
func (b *Bus) Expect(ctx context.Context, filter string) (*Expected, error) {
	e := &Expected{bus: b, filter: filter, since: time.Now().Add(-time.Second)}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	var err error
	if e.sub, err = b.nc.SubscribeSync(filter); err == nil {
		err = b.nc.FlushWithContext(ctx) // it holds before anything is asked
	}
	if err != nil {
		e.Close()
		return nil, fmt.Errorf("listen for events: %w", b.explain(err))
	}
	return e, nil
}

// Close ends to listen.
func (e *Expected) Close() {
	if e.sub != nil {
		_ = e.sub.Unsubscribe()
	}
}

// Watch hands the events to handle, as [Bus.Watch] does: from the stream, or where
// the rights do not reach there as they were heard.
func (e *Expected) Watch(ctx context.Context, handle func(rec Record, stored time.Time, seq uint64) error) error {
	err := e.bus.Watch(ctx, WatchOptions{Since: e.since, Filter: e.filter}, handle)
	if denied := (*Denied)(nil); errors.As(err, &denied) {
		return hearOn(ctx, e.sub, Query{}, handle)
	}
	return err
}
