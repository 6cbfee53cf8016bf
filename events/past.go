package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Past is where a store begins anew: it was restored from a backup, or lost some of
// what it held. What was done since nobody can say, so nothing that was asked for
// up to then is begun, and no edge of up to then fires.
type Past struct {
	At  time.Time `json:"at"`  // machine time
	In  uint64    `json:"in"`  // last sequence of NS_IN then
	Run uint64    `json:"run"` // last sequence of NS_RUN then
	Why string    `json:"why"` // "restored from a backup of …"
	By  string    `json:"by,omitempty"`
}

// Pin is the account that a store belongs to.
type Pin struct {
	IDs   []string  `json:"ids"`             // sorted; one, where the API shows one only
	Since time.Time `json:"since"`           // machine time
	Who   string    `json:"who,omitempty"`   // that NATS vouches for
	Claim string    `json:"claim,omitempty"` // as the sender says
	// Empty says that somebody has accepted that the account lists no instance: until
	// it lists one again.
	Empty bool `json:"empty,omitempty"`
}

// Keys of ns_state that belong to the store as a whole.
const (
	pastKey = "past"
	pinKey  = "account"
)

// kv is the bucket, also on a connection that sets nothing up.
func (b *Bus) kv(ctx context.Context) (jetstream.KeyValue, error) {
	if b.state != nil {
		return b.state, nil
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	ctx, end := b.guard(ctx, "$JS.API.")
	kv, err := b.js.KeyValue(ctx, Bucket)
	if err = end(err); err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	return bucket{kv, b}, nil
}

// recall reads a key of ns_state; ok is false when it is not there.
func (b *Bus) recall(ctx context.Context, key string, into any) (revision uint64, ok bool, err error) {
	kv, err := b.kv(ctx)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read %s of bucket %s: %w", key, Bucket, b.explain(err))
	}
	if err := json.Unmarshal(entry.Value(), into); err != nil {
		return 0, false, fmt.Errorf("read %s of bucket %s: %w", key, Bucket, err)
	}
	return entry.Revision(), true, nil
}

// Past is where the store begins anew, if it does.
func (b *Bus) Past(ctx context.Context) (p Past, err error) {
	_, _, err = b.recall(ctx, pastKey, &p)
	return p, err
}

// BeginAnew puts all that is stored now behind the store. Why says what happened.
func (b *Bus) BeginAnew(ctx context.Context, why, by string) (p Past, err error) {
	p = Past{At: time.Now().UTC(), Why: why, By: by}
	for _, s := range []struct {
		name string
		last *uint64
	}{{StreamIn, &p.In}, {StreamRun, &p.Run}} {
		info, err := b.info(ctx, s.name)
		if err != nil {
			return p, err
		}
		*s.last = info.State.LastSeq
	}
	kv, err := b.kv(ctx)
	if err != nil {
		return p, err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	if _, err := kv.Put(ctx, pastKey, body); err != nil {
		return p, fmt.Errorf("write %s of bucket %s: %w", pastKey, Bucket, b.explain(err))
	}
	return p, nil
}

// LastRun is the sequence of the last stored plan.
func (b *Bus) LastRun(ctx context.Context) (uint64, error) {
	info, err := b.info(ctx, StreamRun)
	if err != nil {
		return 0, err
	}
	return info.State.LastSeq, nil
}

// info is what NATS says of a stream now.
func (b *Bus) info(ctx context.Context, stream string) (*jetstream.StreamInfo, error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	ctx, end := b.guard(ctx, "$JS.API.STREAM.INFO."+stream)
	s, err := b.js.Stream(ctx, stream)
	if err = end(err); err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	return s.CachedInfo(), nil
}

// Pinned is the account that the store belongs to; ok is false when none is yet.
func (b *Bus) Pinned(ctx context.Context) (p Pin, ok bool, err error) {
	_, ok, err = b.recall(ctx, pinKey, &p)
	return p, ok, err
}

// PinAccount says which account the store belongs to, unless it says so already:
// then that one stands and is returned.
func (b *Bus) PinAccount(ctx context.Context, p Pin) (Pin, error) {
	kv, err := b.kv(ctx)
	if err != nil {
		return p, err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	ask, cancel := b.bounded(ctx)
	defer cancel()
	_, err = kv.Create(ask, pinKey, body)
	if errors.Is(err, jetstream.ErrKeyExists) {
		there, _, err := b.Pinned(ctx)
		return there, err
	}
	if err != nil {
		return p, fmt.Errorf("write %s of bucket %s: %w", pinKey, Bucket, b.explain(err))
	}
	return p, nil
}

// RepinAccount says that the store belongs to another account from now on.
func (b *Bus) RepinAccount(ctx context.Context, p Pin) error {
	kv, err := b.kv(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	if _, err := kv.Put(ctx, pinKey, body); err != nil {
		return fmt.Errorf("write %s of bucket %s: %w", pinKey, Bucket, b.explain(err))
	}
	return nil
}
