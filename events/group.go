package events

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// groupLeast is how many messages must wait for the disk before they are written
	// as one: an atomic batch costs the server about as much as four messages.
	groupLeast = 8
	// groupMost bounds a batch (the server takes 1,000).
	groupMost = 256
)

// group writes what waits for the same stream as one atomic batch, with one sync
// instead of one each: while one write is under way, the next gathers. Each
// message keeps its own expectation. A batch in which one does not hold is
// refused whole, and written in halves.
type group struct {
	mu      sync.Mutex
	waiting []*write
	busy    bool // a write is under way; whoever ends it begins the next
}

// write is one message on its way into a stream.
type write struct {
	ctx  context.Context
	msg  *nats.Msg
	key  string // two of the same are never in one batch: the second expects what the first becomes
	done chan struct{}
	seq  uint64
	err  error
}

// grouped is the group that a message belongs to, nil for streams without.
func (b *Bus) grouped(subject string) (g *group, key string) {
	rest, _ := strings.CutPrefix(subject, prefix)
	switch tok := strings.SplitN(rest, ".", 4); {
	case tok[0] == "evt" && len(tok) == 4:
		return &b.evt, tok[1] + "." + tok[2]
	case tok[0] == "run":
		return &b.run, subject
	case tok[0] == "tick":
		return &b.tick, subject
	}
	return nil, ""
}

// put stores a message with others that are on their way to the same stream. It
// returns when the message is stored or refused, or ctx has ended: then it may be
// stored all the same.
func (b *Bus) put(ctx context.Context, msg *nats.Msg) (seq uint64, err error) {
	g, key := b.grouped(msg.Subject)
	if g == nil {
		return b.putSingly(ctx, msg)
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	w := &write{ctx: ctx, msg: msg, key: key, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, w)
	first := !g.busy
	g.busy = true
	g.mu.Unlock()
	if first {
		go b.writeAll(g) // until nothing waits; each write is bounded
	}
	select {
	case <-w.done:
		return w.seq, w.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (b *Bus) putSingly(ctx context.Context, msg *nats.Msg) (uint64, error) {
	ack, err := b.publish(ctx, msg)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// writeAll writes what waits, until nothing does.
func (b *Bus) writeAll(g *group) {
	for {
		batch := g.take()
		if len(batch) == 0 {
			return
		}
		b.write(batch)
		for _, w := range batch {
			close(w.done)
		}
	}
}

// write writes messages together, or singly where they are few. Of those that were
// refused together, since the expectation of one does not hold, each half is tried:
// singly all of them would wait for a sync of each.
func (b *Bus) write(batch []*write) {
	least := groupLeast
	if b.waits.isSlow() { // the disk, which a batch asks once
		least = 2
	}
	switch n := len(batch); {
	case n < least || b.disk.err() != nil:
		b.writeSingly(batch)
	case !b.writeBatch(batch):
		b.write(batch[:n/2])
		b.write(batch[n/2:])
	}
}

// take is the next batch. What nobody waits for any more is dropped.
func (g *group) take() (batch []*write) {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := make(map[string]bool)
	var left []*write
	for _, w := range g.waiting {
		switch {
		case w.ctx.Err() != nil:
		case taken[w.key] || len(batch) == groupMost:
			left = append(left, w)
		default:
			taken[w.key] = true
			batch = append(batch, w)
		}
	}
	g.waiting = left
	g.busy = len(batch) > 0
	return batch
}

func (b *Bus) writeSingly(batch []*write) {
	var all sync.WaitGroup // ends with this call
	for _, w := range batch {
		all.Go(func() { w.seq, w.err = b.putSingly(w.ctx, w.msg) })
	}
	all.Wait()
}

// writeBatch writes a batch as one. It reports whether the messages have their
// answer; a batch that was refused has stored nothing.
func (b *Bus) writeBatch(batch []*write) bool {
	ctx, cancel := b.bounded(context.Background())
	defer cancel()
	msgs := make([]*nats.Msg, len(batch))
	for i, w := range batch {
		msgs[i] = w.msg
	}
	seq, err := b.commit(ctx, msgs)
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) {
		return false
	}
	for i, w := range batch {
		w.seq, w.err = seq-uint64(len(batch)-1-i), err
	}
	return true
}

// commit stores messages of one stream, all or none, and returns the sequence of
// the last.
func (b *Bus) commit(ctx context.Context, batch []*nats.Msg) (last uint64, err error) {
	if err := b.disk.err(); err != nil { // the server would not answer
		return 0, err
	}
	ctx, end := b.guard(ctx, batch[len(batch)-1].Subject)
	defer func() { err = end(err) }()
	p, err := jetstreamext.NewBatchPublisher(b.js, jetstreamext.BatchFlowControl{AckTimeout: b.waits.limit()})
	if err != nil {
		return 0, err
	}
	for i, own := range batch {
		msg := &nats.Msg{Subject: own.Subject, Data: own.Data, Header: make(nats.Header, len(own.Header)+3)}
		maps.Copy(msg.Header, own.Header) // its own stays as it is, should it be written singly
		if i < len(batch)-1 {
			if err := p.AddMsg(msg); err != nil {
				return 0, errors.Join(err, p.Discard())
			}
			continue
		}
		ack, err := p.CommitMsg(ctx, msg)
		if err != nil {
			return 0, err
		}
		last = ack.Sequence
	}
	return last, nil
}
