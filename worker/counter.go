package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nightshift/events"
)

// Keys of ns_state in which replicas count together.
const (
	stateHour    = "rail.hour"
	stateActed   = "rail.acted." // <policy>
	stateFloor   = "rail.floor." // <hash of the selector>
	stateBreaker = "breaker."    // <policy>
)

const (
	// counterTries bounds how often a change is tried that others are always faster with.
	counterTries = 100
	// counterRush is how many times it is tried at once; then after waits (machine time)
	// that grow, by chance, so that rivals do not meet again.
	counterRush    = 3
	counterWait    = 2 * time.Millisecond
	counterWaitMax = 200 * time.Millisecond
)

// counters are records of ns_state in which all replicas count. A change is stored
// on the condition that nobody has changed the record since it was read, so that
// two never take the last place. What was read is remembered: a change that nobody
// gets in the way of is one round trip.
type counters struct {
	bus *events.Bus

	mu sync.Mutex
	of map[string]*counter
}

type counter struct {
	turn     chan struct{} // one change at a time in this process
	body     []byte
	revision uint64 // 0: there is none
	known    bool
}

func newCounters(bus *events.Bus) *counters {
	return &counters{bus: bus, of: make(map[string]*counter)}
}

func (t *counters) get(key string) *counter {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.of[key]
	if e == nil {
		e = &counter{turn: make(chan struct{}, 1)}
		t.of[key] = e
	}
	return e
}

// count changes a record, and reports whether f did: f returns false to leave the
// record as it is, and may be asked again with a newer one. A record begins as
// the former one, where that has a key and is newer, or empty. An error says
// that nobody knows whether there is room: then nothing may be called.
func count[T any](ctx context.Context, t *counters, key, former string, f func(v *T) bool) (changed bool, err error) {
	e := t.get(key)
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	defer func() { <-e.turn }()
	for n := range counterTries {
		if n > counterRush {
			if err := sleepUntil(ctx, time.Now().Add(rand.N(min(counterWait<<min(n-counterRush, 10), counterWaitMax)))); err != nil {
				return false, err
			}
		}
		fresh := !e.known || former != "" // while an edit comes to one replica after another, they count under both names
		if fresh {
			if err := t.read(ctx, e, key, former); err != nil {
				return false, err
			}
		}
		var v T
		if len(e.body) > 0 {
			if err := json.Unmarshal(e.body, &v); err != nil {
				e.known = false
				return false, fmt.Errorf("read %s of the store: %w; nothing that it limits is called until that key is right or deleted", key, err)
			}
		}
		if !f(&v) {
			if fresh {
				return false, nil
			}
			e.known = false // somebody may have made room
			continue
		}
		body, err := json.Marshal(v)
		if err != nil {
			return false, err
		}
		e.known = false
		revision, err := t.write(ctx, key, body, e.revision)
		switch {
		case err == nil:
			e.body, e.revision, e.known = body, revision, true
			return true, nil
		case errors.Is(err, jetstream.ErrKeyRevisionMismatch) || errors.Is(err, jetstream.ErrKeyExists):
		default:
			return false, fmt.Errorf("count in %s: %w", key, err)
		}
	}
	return false, fmt.Errorf("count in %s: others were faster %d times", key, counterTries)
}

// read takes up the newer of a record and its former one: a policy that got an old
// name back has an old record under that, too. It is written under the key.
func (t *counters) read(ctx context.Context, e *counter, key, former string) error {
	entry, err := lookUp(ctx, t.bus, key)
	if err != nil {
		return err
	}
	e.body, e.revision, e.known = nil, 0, true
	if entry != nil {
		e.body, e.revision = entry.Value(), entry.Revision()
	}
	if former == "" {
		return nil
	}
	entry, err = lookUp(ctx, t.bus, former)
	if err != nil {
		e.known = false
		return err
	}
	if entry != nil && entry.Revision() > e.revision {
		e.body = entry.Value()
	}
	return nil
}

// lookUp is an entry of the store; nil: there is none.
func lookUp(ctx context.Context, bus *events.Bus, key string) (jetstream.KeyValueEntry, error) {
	entry, err := bus.State().Get(ctx, key)
	switch {
	case err == nil:
		return entry, nil
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, nil
	}
	return nil, fmt.Errorf("read %s of the store: %w", key, err)
}

func (t *counters) write(ctx context.Context, key string, body []byte, revision uint64) (uint64, error) {
	if revision == 0 {
		return t.bus.State().Create(ctx, key, body)
	}
	return t.bus.State().Update(ctx, key, body, revision)
}

// peek is a record as it was last seen here, without asking.
func peek[T any](t *counters, key string) (v T) {
	e := t.get(key)
	select {
	case e.turn <- struct{}{}:
	default:
		return v // it is being changed
	}
	defer func() { <-e.turn }()
	if len(e.body) > 0 {
		_ = json.Unmarshal(e.body, &v) // what cannot be read is said where it is counted
	}
	return v
}
