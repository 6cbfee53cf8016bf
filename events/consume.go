package events

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	// ackWait is how long a message stays with a process that has died before
	// somebody else is given it.
	ackWait = 15 * time.Second
	// keepAlive is how often a message in work is kept from being delivered again.
	keepAlive   = ackWait / 3
	deadRetry   = 5 * time.Second
	consumeWait = time.Second // before a consumer that could not be made is tried again
	// pullHeartbeat finds out that the node of an external NATS that was asked for
	// messages is no more: after two that do not come they are asked for anew.
	pullHeartbeat = 4 * time.Second
	// inProcessPull and inProcessHeartbeat are how long the embedded server is asked
	// for messages at a time, and how often it says that there are none: it goes when
	// this process goes, so both serve nobody, and each wakes an idle machine.
	inProcessPull, inProcessHeartbeat = 10 * time.Minute, 30 * time.Second
	// drainWait bounds how long messages on their way are waited for at the end.
	drainWait = 2 * time.Second
)

// delivery is one message of a stream, delivered perhaps not for the first time.
type delivery struct {
	msg      *pulled
	Subject  string
	Seq      uint64    // in its stream
	StoredAt time.Time // the server's
	Times    int       // that it was delivered, as far as the server remembers
	Part     int       // 1, 2, … of a batch; 0: the message is not a batch

	of    *answers // of a batch: what is said of its parts
	lease *lease   // nil: it can be given to nobody else
}

// answers are what was said of the parts of one message.
type answers struct {
	taken      int
	handedBack bool
	delay      time.Duration // the longest that a part asked for
}

func (a *answers) back(delay time.Duration) {
	a.handedBack, a.delay = true, max(a.delay, delay)
}

// Ack says that what the message asks for is stored elsewhere. It may be lost.
func (d delivery) Ack() error {
	if d.of != nil {
		d.of.taken++
		return nil
	}
	return d.msg.Ack()
}

// Nak asks for the message again after a delay.
func (d delivery) Nak(delay time.Duration) error {
	if d.of != nil {
		d.of.back(delay)
		return nil
	}
	if !d.IsOurs() {
		return nil // it would be taken from whoever has it now
	}
	return d.msg.Nak(delay)
}

// consume hands the messages of a durable consumer to handle, at most n at once,
// until ctx ends and the running handlers have returned. A consumer that cannot
// be made or breaks is made again.
func (b *Bus) consume(ctx context.Context, stream, durable, filter string, n int, handle func(context.Context, delivery)) error {
	return b.consumeAs(ctx, stream, consumerConfig(durable, filter), n, true, handle)
}

// consumeAs is consume with a consumer of another form. With reset what was not
// acknowledged before is delivered again at once, where nobody else can be at it.
func (b *Bus) consumeAs(ctx context.Context, stream string, cfg jetstream.ConsumerConfig, n int, reset bool, handle func(context.Context, delivery)) error {
	intake := &intake{places: make(chan struct{}, n), handle: handle, work: make(map[uint64]*inWork)} // outlives a consumer that breaks: a run may be in work for hours
	defer intake.handlers.Wait()
	first := reset
	for ctx.Err() == nil {
		err := b.consumeOnce(ctx, stream, cfg, intake, first)
		if err != nil && ctx.Err() == nil {
			b.log.Warn("consumer broken, will be made again", zap.String("stream", stream), zap.Error(err))
		}
		first = false
		_ = sleep(ctx, consumeWait)
	}
	return nil
}

// intake is what is being handled of a consumer.
type intake struct {
	places   chan struct{}  // at most so many handlers
	handlers sync.WaitGroup // each ends with its handler
	handle   func(context.Context, delivery)

	mu   sync.Mutex
	work map[uint64]*inWork // by sequence
}

// inWork is a message in work.
type inWork struct {
	lease *lease
	again *delivery // it was let go, and came back: when the first handler has ended it begins anew
}

// begin reports whether a message is not in work yet. What is delivered again while it
// is, since NATS was away for longer than ackWait, must not be begun a second time:
// the first handler keeps it alive, and acknowledges it.
func (in *intake) begin(d delivery) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	w, ok := in.work[d.Seq]
	if !ok {
		in.work[d.Seq] = &inWork{lease: d.lease}
		return true
	}
	if w.lease != nil && !w.lease.renew(time.Now()) {
		w.again = &d
	}
	return false
}

// end says that a handler has ended, and returns what is to be handled anew.
func (in *intake) end(seq uint64) *delivery {
	in.mu.Lock()
	defer in.mu.Unlock()
	if d := in.work[seq].again; d != nil && d.IsOurs() {
		in.work[seq] = &inWork{lease: d.lease}
		return d
	}
	delete(in.work, seq)
	return nil
}

func (b *Bus) consumeOnce(ctx context.Context, stream string, cfg jetstream.ConsumerConfig, in *intake, first bool) error {
	durable := cfg.Durable
	if err := b.ensure(ctx, b.consumerStore(stream, cfg)); err != nil {
		return err
	}
	if _, err := b.js.Consumer(ctx, stream, durable); err != nil {
		return fmt.Errorf("open consumer %s of %s: %w", durable, stream, b.explain(err))
	}
	if first && b.embedded != nil {
		// This process is the only one: nobody works on what is not acknowledged,
		// so there is no need to wait until its time is over.
		if _, err := b.js.ResetConsumer(ctx, stream, durable); err != nil {
			return fmt.Errorf("reset consumer %s of %s: %w", durable, stream, err)
		}
	}
	messages, err := b.puller(stream, durable, cap(in.places))
	if err != nil {
		return fmt.Errorf("pull from %s: %w", stream, err)
	}
	defer messages.close()
	defer b.disk.whenTakenUp(messages.stop)()
	drain := context.AfterFunc(ctx, messages.drain)
	defer drain()
	for {
		select {
		case in.places <- struct{}{}:
		case <-ctx.Done():
			handBack(messages)
			return nil
		}
		msg, err := messages.next(0)
		if err == nil && ctx.Err() != nil {
			_ = msg.Nak(0)
			handBack(messages)
			return nil
		}
		if err != nil {
			<-in.places
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		d := delivery{msg: msg, Subject: msg.Subject()}
		if meta, err := msg.msg.Metadata(); err == nil {
			d.Seq, d.StoredAt, d.Times = meta.Sequence.Stream, meta.Timestamp, int(min(meta.NumDelivered, 1<<20))
		}
		if b.embedded == nil && durable == durableRunner {
			d.lease = newLease(time.Now())
		}
		if !in.begin(d) {
			<-in.places
			continue
		}
		in.handlers.Go(func() {
			defer func() { <-in.places }()
			for next := &d; next != nil; next = in.end(d.Seq) {
				b.work(ctx, *next, in.handle)
			}
		})
	}
}

// patience is how long a pull waits, and how it is noticed that nobody answers it.
func (b *Bus) patience() (expires, heartbeat time.Duration) {
	if b.embedded == nil {
		return jetstream.DefaultExpires, pullHeartbeat
	}
	return inProcessPull, inProcessHeartbeat
}

// handBack gives back what was asked for and is not begun, also what is on its
// way: else nobody would be given it until ackWait is over.
func handBack(messages *puller) {
	for {
		msg, err := messages.next(drainWait)
		if err != nil {
			return
		}
		_ = msg.Nak(0)
	}
}

// work runs a handler and keeps its message alive meanwhile. The handler's context ends
// when the message is let go.
func (b *Bus) work(ctx context.Context, d delivery, handle func(context.Context, delivery)) {
	alive := make(chan struct{})
	var beat sync.WaitGroup
	ctx, letGo := context.WithCancelCause(ctx)
	keeping, kept := context.WithCancel(context.WithoutCancel(ctx)) // a handler may have to do when it is to end
	beat.Go(func() {                                                // until the handler has returned
		if d.lease != nil {
			b.keepLease(keeping, d, letGo)
			return
		}
		ticker := time.NewTicker(keepAlive)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_ = d.msg.InProgress() // lost: delivered again, here while it is in work to nobody, to another replica found in work by the ledger
			case <-alive:
				return
			}
		}
	})
	defer letGo(nil)
	defer beat.Wait()
	defer kept()
	defer close(alive)
	defer func() {
		if p := recover(); p != nil {
			b.log.Error("panic while handling a message, it will be delivered again", zap.String("subject", d.Subject), zap.Any("panic", p), zap.Stack("stack"))
			_ = d.Nak(deadRetry)
		}
	}()
	handle(ctx, d)
}
