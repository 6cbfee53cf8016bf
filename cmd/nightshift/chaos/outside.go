package chaos

import (
	"context"
	"errors"
	"sync"
	"time"

	"nightshift/events"
	"nightshift/worker"
)

// outside is what other programs see: a connection to NATS that is made anew
// whenever it broke.
type outside struct {
	c   *chaos
	url string

	mu  sync.Mutex
	bus *events.Bus
}

// askPatience bounds one question or message from outside.
const askPatience = 5 * time.Second

// do lends the connection. An error that is no refusal ends it.
func (o *outside) do(ctx context.Context, f func(context.Context, *events.Bus) error) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	bus, err := o.connected(ctx)
	if err != nil {
		return err
	}
	err = f(ctx, bus)
	var no *events.Refusal
	if err != nil && !errors.As(err, &no) {
		o.drop(bus)
	}
	return err
}

func (o *outside) connected(ctx context.Context) (*events.Bus, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bus != nil {
		return o.bus, nil
	}
	bus, err := events.Dial(ctx, o.url, events.Auth{})
	if err != nil {
		return nil, err
	}
	o.bus = bus
	return bus, nil
}

func (o *outside) drop(bus *events.Bus) {
	o.mu.Lock()
	if o.bus == bus {
		o.bus = nil
	}
	o.mu.Unlock()
	bus.Conn().Close() // what others are about on it fails, too, and is begun anew
}

func (o *outside) close() {
	o.mu.Lock()
	bus := o.bus
	o.mu.Unlock()
	if bus != nil {
		o.drop(bus)
	}
}

// isReady reports whether a daemon is.
func (o *outside) isReady(ctx context.Context) bool {
	var s worker.Status
	err := o.do(ctx, func(ctx context.Context, bus *events.Bus) error { return bus.Ask(ctx, "status", struct{}{}, &s) })
	return err == nil && s.Ready
}

// listen counts events as they come, until ctx ends, over all restarts.
func (o *outside) listen(ctx context.Context) {
	var last uint64
	since := time.Now().Add(-time.Minute)
	for ctx.Err() == nil {
		bus, err := events.Dial(ctx, o.url, events.Auth{})
		if err == nil {
			_ = bus.Watch(ctx, events.WatchOptions{Since: since}, func(rec events.Record, stored time.Time, seq uint64) error {
				if seq > last {
					last, since = seq, stored
					o.c.tally.heard(rec)
				}
				return nil
			})
			bus.Conn().Close()
		}
		sleep(ctx, 100*time.Millisecond)
	}
}
