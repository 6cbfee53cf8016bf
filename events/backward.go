package events

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// backBatch is how many sequences are read with one request going backwards: few,
// because plans are large and whoever asks wants the newest only.
const backBatch = 32

// NewestRuns are the plans stored since a time with a sequence below before (0:
// all), newest first. It reads no more than it is asked for.
func (b *Bus) NewestRuns(ctx context.Context, since time.Time, before uint64) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		for msg, err := range b.scanBack(ctx, StreamRun, since, before) {
			var r Run
			if err != nil {
				yield(r, err)
				return
			}
			if parseRun(msg.Subject, msg.Data, &r) != nil {
				continue // a dead letter when it was delivered
			}
			r.Seq = msg.Sequence
			if !yield(r, nil) {
				return
			}
		}
	}
}

// scanBack reads what a stream has since a time and below a sequence (0: all),
// newest first.
func (b *Bus) scanBack(ctx context.Context, stream string, since time.Time, before uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		fail := func(err error) { yield(nil, fmt.Errorf("read stream %s: %w", stream, b.explain(err))) }
		s, err := b.stream(ctx, stream)
		if err != nil {
			yield(nil, err)
			return
		}
		ask, cancel := b.bounded(ctx)
		info, err := s.Info(ask)
		cancel()
		if err != nil {
			fail(err)
			return
		}
		first, end := info.State.FirstSeq, info.State.LastSeq+1
		if before != 0 {
			end = min(end, before)
		}
		for end > max(first, 1) {
			start := max(first, 1)
			if end > start+backBatch {
				start = end - backBatch
			}
			msgs, err := b.window(ctx, stream, start, end)
			if err != nil {
				fail(err)
				return
			}
			for i := len(msgs) - 1; i >= 0; i-- {
				if msgs[i].Time.Before(since) || !yield(msgs[i], nil) {
					return
				}
			}
			end = start
		}
	}
}

// window reads the messages from one sequence up to another, which it leaves out.
func (b *Bus) window(ctx context.Context, stream string, start, end uint64) (msgs []*jetstream.RawStreamMsg, err error) {
	ask, cancel := b.bounded(ctx)
	defer cancel()
	found, _, err := b.direct(ask, stream, directAsk{Batch: int(end - start), Seq: start})
	for _, msg := range found {
		if msg.Sequence >= end { // a gap: these were read before
			break
		}
		msgs = append(msgs, msg)
	}
	return msgs, err
}
