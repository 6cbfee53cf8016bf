package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"
)

// A stream is followed with a consumer of one's own, which remembers nothing and is made
// anew behind the newest message that was handed over whenever one may be missing. The
// client's ordered consumer does so too, but who stops it while NATS is away waits until
// NATS is back, and what is stored without a body may pass for an answer of the server.

const (
	// followAhead is how many messages are asked for at a time.
	followAhead = 256
	// followIdle is how long the server keeps a consumer that nobody asks.
	followIdle = time.Minute
)

// follower is how far a stream is followed.
type follower struct {
	b        *Bus
	stream   string
	config   jetstream.ConsumerConfig // where the first consumer begins
	isReplay bool
	last     uint64 // sequence of the newest message that was handed over, or that was there before the first
	isBegun  bool
}

// follow hands the messages of a stream to handle in their order, each once, until ctx
// ends (then it returns nil), or handle returns an error (then it returns that), or with
// replay there is nothing newer. It fails when the first consumer cannot be made, or the
// rights do not reach; what breaks later it goes on from.
func (b *Bus) follow(ctx context.Context, stream string, config jetstream.ConsumerConfig, replay bool, handle func(*pulled) error) error {
	f := &follower{b: b, stream: stream, config: config, isReplay: replay}
	for {
		began := time.Now()
		err := f.once(ctx, handle)
		var end *handled
		var denied *Denied
		switch {
		case errors.As(err, &end):
			return end.err
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errReplayed):
			return nil
		case !f.isBegun, errors.As(err, &denied), b.nc.IsClosed():
			return err
		}
		b.log.Debug("followed anew", zap.String("stream", stream), zap.Uint64("behind", f.last), zap.Error(err))
		if time.Since(began) < consumeWait { // not again and again
			_ = sleep(ctx, consumeWait)
		}
	}
}

// handled is what a handler said.
type handled struct{ err error }

func (h *handled) Error() string { return h.err.Error() }

// errReplayed says that the newest message was handed over.
var errReplayed = errors.New("nothing newer is stored")

// once follows with one consumer, until a message may be missing.
func (f *follower) once(ctx context.Context, handle func(*pulled) error) error {
	info, err := f.consumer(ctx)
	if err != nil {
		return err
	}
	if !f.isBegun {
		f.isBegun, f.last = true, info.Delivered.Stream
	}
	if f.isReplay && info.NumPending == 0 {
		return errReplayed
	}
	ctx, end := f.b.guard(ctx, "$JS.API.CONSUMER.MSG.NEXT."+f.stream+"."+info.Name)
	return end(f.pull(ctx, info.Name, handle))
}

// consumer makes one that begins where the follower is.
func (f *follower) consumer(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	cfg := f.config
	cfg.Name, cfg.AckPolicy, cfg.MemoryStorage, cfg.Replicas, cfg.InactiveThreshold = nuid.Next(), jetstream.AckNonePolicy, true, 1, followIdle
	if f.isBegun {
		cfg.DeliverPolicy, cfg.OptStartSeq, cfg.OptStartTime = jetstream.DeliverByStartSequencePolicy, f.last+1, nil
		if err := f.b.connected(ctx); err != nil { // else each attempt is sent when NATS is back
			return nil, err
		}
	}
	making, cancel := f.b.bounded(ctx)
	defer cancel()
	making, end := f.b.guard(making, "$JS.API.CONSUMER.CREATE."+f.stream)
	consumer, err := f.b.js.CreateConsumer(making, f.stream, cfg)
	if err = end(err); err != nil {
		return nil, err
	}
	return consumer.CachedInfo(), nil
}

// pull takes what a consumer has.
func (f *follower) pull(ctx context.Context, consumer string, handle func(*pulled) error) error {
	p, err := f.b.puller(f.stream, consumer, followAhead)
	if err != nil {
		return err
	}
	p.ordered = &place{stream: f.stream, consumer: consumer}
	defer func() {
		if f.b.nc.IsConnected() { // else it goes by itself
			_ = f.b.nc.Publish("$JS.API.CONSUMER.DELETE."+f.stream+"."+consumer, nil)
		}
	}()
	defer p.close()
	defer f.b.disk.whenTakenUp(p.stop)()
	defer context.AfterFunc(ctx, p.stop)()
	for {
		msg, err := p.next(0)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		f.last = msg.meta.Sequence.Stream
		if err := handle(msg); err != nil {
			return &handled{err}
		}
		if f.isReplay && msg.meta.NumPending == 0 {
			return errReplayed
		}
	}
}

// connected waits until NATS is there.
func (b *Bus) connected(ctx context.Context) error {
	changed := b.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer b.nc.RemoveStatusListener(changed)
	for !b.nc.IsConnected() {
		if b.nc.IsClosed() {
			return nats.ErrConnectionClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// place is how far the messages of a consumer have been taken, of which none may be
// missing.
type place struct {
	stream, consumer string
	last             uint64 // the consumer's own count
}

// follows reports whether a message is one of the consumer; it fails when one before it
// is missing.
func (o *place) follows(m *pulled) (bool, error) {
	meta, err := m.msg.Metadata()
	if err != nil || meta.Stream != o.stream || meta.Consumer != o.consumer {
		return false, nil // anyone who may publish could have sent it
	}
	if meta.Sequence.Consumer != o.last+1 {
		return false, fmt.Errorf("%d messages before %d are missing", meta.Sequence.Consumer-o.last-1, meta.Sequence.Stream)
	}
	o.last, m.meta = meta.Sequence.Consumer, meta
	return true, nil
}

// isBroken reports whether an answer of the server says that the consumer is no more,
// or has sent what did not come.
func (o *place) isBroken(h nats.Header) bool {
	switch h.Get("Status") {
	case "503": // nobody is there to ask
		return true
	case "409":
		return strings.Contains(strings.ToLower(h.Get("Description")), "leadership change")
	case "100":
		sent, err := strconv.ParseUint(h.Get("Nats-Last-Consumer"), 10, 64)
		return err == nil && sent > o.last
	}
	return false
}
