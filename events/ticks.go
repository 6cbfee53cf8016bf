package events

import (
	"context"
	"iter"
	"time"
)

// Ticks are those stored since a time, oldest first. What cannot be read is passed
// over: it is a dead letter.
func (b *Bus) Ticks(ctx context.Context, since time.Time) iter.Seq2[Tick, error] {
	return func(yield func(Tick, error) bool) {
		for msg, err := range b.scan(ctx, StreamIn, prefix+"tick.>", since) {
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
