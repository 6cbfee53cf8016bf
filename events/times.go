package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// reckoning is what Times has found, as long as it can be reckoned from: the embedded
// server runs by this machine's clock, so while that one goes as time passes, nothing
// can be stored that is later than it. Only the clock that was set can leave something
// behind that lies ahead.
type reckoning struct {
	mu     sync.Mutex
	looked time.Time // with a reading of the monotonic clock; zero: never
	wall   time.Time // what the clock said then
	newest time.Time
}

// clockSlack is how far the clock may run from the time that has passed until the
// store is asked anew: less than anybody who compares cares about.
const clockSlack = time.Second

// Times are the server's clock, and when anything was stored last. Where that does not
// lie ahead of the clock something may have been stored since.
func (b *Bus) Times(ctx context.Context) (server, newest time.Time, err error) {
	if b.embedded == nil {
		return b.askTimes(ctx)
	}
	r := &b.reckoning
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	wall := now.Round(0)
	if ran := wall.Sub(r.wall) - now.Sub(r.looked); r.looked.IsZero() || ran.Abs() > clockSlack {
		if server, newest, err = b.askTimes(ctx); err != nil {
			return server, newest, err
		}
		r.looked, r.wall, r.newest = now, wall, newest
		return server, newest, nil
	}
	return wall, r.newest, nil
}

// askTimes reads them from the streams. An answer of NATS is long, and little of it
// is asked for: jetstream.Stream would read all of it.
func (b *Bus) askTimes(ctx context.Context) (server, newest time.Time, err error) {
	for _, stream := range []string{StreamIn, StreamRun, StreamEvt, bucketStream} {
		at, last, err := b.timesOf(ctx, stream)
		if err != nil {
			return server, newest, fmt.Errorf("stream %s: %w", stream, err)
		}
		server = at
		if last.After(newest) {
			newest = last
		}
	}
	return server, newest, nil
}

func (b *Bus) timesOf(ctx context.Context, stream string) (at, last time.Time, err error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	subject := "$JS.API.STREAM.INFO." + stream
	ctx, end := b.guard(ctx, subject)
	msg, err := b.nc.RequestWithContext(ctx, subject, nil)
	if err = end(err); err != nil {
		return at, last, err
	}
	var answer struct {
		Time  time.Time `json:"ts"`
		State struct {
			Last time.Time `json:"last_ts"`
		} `json:"state"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return at, last, err
	}
	if answer.Error != nil {
		return at, last, errors.New(answer.Error.Description)
	}
	return answer.Time, answer.State.Last, nil
}
