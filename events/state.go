package events

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// state is the bucket of what is remembered. The embedded server gives no answer to
// a write that it cannot store: such a one fails at once then, and not only when its
// time is over, since what is read (a list of instances, whose account it is) may
// wait for what is to be remembered of it.
type state struct {
	jetstream.KeyValue
	bus *Bus
}

func (s state) write(ctx context.Context, key string, op func(ctx context.Context) error) error {
	if err := s.bus.disk.err(); err != nil {
		return err
	}
	ctx, end := s.bus.guard(ctx, bucketSubjects+key)
	return end(op(ctx))
}

func (s state) Put(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	err = s.write(ctx, key, func(ctx context.Context) (err error) { revision, err = s.KeyValue.Put(ctx, key, value); return err })
	return revision, err
}

func (s state) Create(ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt) (revision uint64, err error) {
	err = s.write(ctx, key, func(ctx context.Context) (err error) {
		revision, err = s.KeyValue.Create(ctx, key, value, opts...)
		return err
	})
	return revision, err
}

func (s state) Update(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error) {
	err = s.write(ctx, key, func(ctx context.Context) (err error) {
		next, err = s.KeyValue.Update(ctx, key, value, revision)
		return err
	})
	return next, err
}

func (s state) Delete(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	return s.write(ctx, key, func(ctx context.Context) error { return s.KeyValue.Delete(ctx, key, opts...) })
}
