package events

import (
	"context"
	"iter"
	"time"
)

// Ticks are those stored since a time, oldest first. What cannot be read is passed
// over: it is a dead letter.
func (b *Bus) Ticks(ctx context.Context, since time.Time) iter.Seq2[Tick, error] {
	return b.ticks(ctx, prefix+"tick.>", since)
}

// TicksOf are those of one policy.
func (b *Bus) TicksOf(ctx context.Context, policy string, since time.Time) iter.Seq2[Tick, error] {
	return b.ticks(ctx, prefix+"tick."+policy+".*", since)
}

func (b *Bus) ticks(ctx context.Context, filter string, since time.Time) iter.Seq2[Tick, error] {
	return func(yield func(Tick, error) bool) {
		for msg, err := range b.scan(ctx, StreamIn, filter, since) {
			if err != nil {
				yield(Tick{}, err)
				return
			}
			elements, err := parseMessage(msg.Subject, "", msg.Data)
			if err != nil {
				continue
			}
			t := *elements[0].in.Tick
			t.StoredAt = msg.Time
			if !yield(t, nil) {
				return
			}
		}
	}
}
