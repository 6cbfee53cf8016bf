package events

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// WatchOptions say which events are watched.
type WatchOptions struct {
	Since  time.Time // zero: only those stored from now on
	Filter string    // subject filter; default EvtAll
}

// WatchRuns hands plans stored since a time to handle, in order, until ctx ends.
func (b *Bus) WatchRuns(ctx context.Context, since time.Time, handle func(Run)) error {
	consumer, err := b.js.OrderedConsumer(ctx, StreamRun, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, FilterSubjects: []string{prefix + "run.>"},
	})
	if err != nil {
		return fmt.Errorf("watch plans: %w", b.explain(err))
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("watch plans: %w", b.explain(err))
	}
	defer messages.Stop()
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	for {
		msg, err := messages.Next()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch plans: %w", b.explain(err))
		}
		var r Run
		if parseRun(msg.Subject(), msg.Data(), &r) == nil {
			handle(r)
		}
	}
}

// Watch hands events to handle in the order in which they were stored, until ctx
// ends (then it returns nil) or handle returns an error (then it returns that).
// An event that cannot be read is passed over.
func (b *Bus) Watch(ctx context.Context, o WatchOptions, handle func(rec Record, stored time.Time, seq uint64) error) error {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy, FilterSubjects: []string{EvtAll}}
	if o.Filter != "" {
		cfg.FilterSubjects = []string{o.Filter}
	}
	if !o.Since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.Since
	}
	consumer, err := b.js.OrderedConsumer(ctx, StreamEvt, cfg)
	if err != nil {
		return fmt.Errorf("watch events: %w", b.explain(err))
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("watch events: %w", b.explain(err))
	}
	defer messages.Stop()
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	for {
		msg, err := messages.Next()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch events: %w", b.explain(err))
		}
		rec, err := decodeEvent(msg.Data())
		if err != nil {
			continue
		}
		if meta, err := msg.Metadata(); err == nil {
			rec.StoredAt, rec.Seq = meta.Timestamp, meta.Sequence.Stream
		}
		if err := handle(rec, rec.StoredAt, rec.Seq); err != nil {
			return err
		}
	}
}
