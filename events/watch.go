package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// WatchOptions say which events are watched.
type WatchOptions struct {
	Since  time.Time // zero: only those stored from now on
	Filter string    // subject filter; default EvtAll
}

// Watch hands events to handle in the order in which they were stored, until ctx
// ends (then it returns nil) or handle returns an error (then it returns that).
// An event that cannot be read is passed over. Whose rights do not reach to what
// is stored sees events from now on all the same; one of two replicas that say the
// same at once is seen then, too, although only one is stored.
func (b *Bus) Watch(ctx context.Context, o WatchOptions, handle func(rec Record, stored time.Time, seq uint64) error) error {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy, FilterSubjects: []string{EvtAll}}
	if o.Filter != "" {
		cfg.FilterSubjects = []string{o.Filter}
	}
	if !o.Since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.Since
	}
	making, end := b.guard(ctx, "$JS.API.CONSUMER.CREATE."+StreamEvt)
	consumer, err := b.js.OrderedConsumer(making, StreamEvt, cfg)
	if err = end(err); err != nil {
		var denied *Denied
		if errors.As(err, &denied) && o.Since.IsZero() {
			return b.listenFor(ctx, cfg.FilterSubjects[0], handle)
		}
		return fmt.Errorf("watch events: %w", err)
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

// listenFor hands on what is published from now on, as it is published.
func (b *Bus) listenFor(ctx context.Context, filter string, handle func(rec Record, stored time.Time, seq uint64) error) error {
	sub, err := b.nc.SubscribeSync(filter)
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if denied := deniedIn(err); denied != nil {
			return fmt.Errorf("watch events: %w", denied)
		}
		if err != nil {
			return fmt.Errorf("watch events: %w", err)
		}
		rec, err := decodeEvent(msg.Data)
		if err != nil {
			continue
		}
		rec.StoredAt = time.Now()
		if err := handle(rec, rec.StoredAt, 0); err != nil {
			return err
		}
	}
}
