package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Trail is what the ledger has of one action: the newest record of each kind, in
// the order in which they were stored.
type Trail struct {
	Seq     uint64 // sequence of the newest, 0 when there is none: what an outcome expects
	Records []Record
}

// Outcome is how the action ended, if it did.
func (t Trail) Outcome() (Record, bool) {
	for _, rec := range t.Records {
		if rec.Outcome.Ends() {
			return rec, true
		}
	}
	return Record{}, false
}

// Trail reads what the ledger has of an action. Region is lower case.
func (b *Bus) Trail(ctx context.Context, region, instance, actionID string) (Trail, error) {
	var t Trail
	filter := trailFilter(region, instance, actionID)
	ask, cancel := b.bounded(ctx)
	defer cancel()
	for msg, err := range b.newest(ask, StreamEvt, filter) {
		if err != nil {
			return Trail{}, fmt.Errorf("read the ledger under %s: %w", filter, b.explain(err))
		}
		t.Seq = max(t.Seq, msg.Sequence)
		rec, err := decodeEvent(msg.Data)
		if err != nil { // not written by us: it counts for what an outcome expects, and says nothing
			b.log.Warn("an event cannot be read", zap.String("subject", msg.Subject), zap.Uint64("seq", msg.Sequence), zap.Error(err))
			continue
		}
		rec.StoredAt, rec.Seq = msg.Time, msg.Sequence
		t.Records = append(t.Records, rec)
	}
	slices.SortFunc(t.Records, func(a, b Record) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return t, nil
}

// trailRetry is the wait before a node that lags behind is asked again, or another.
const trailRetry = 20 * time.Millisecond

// TrailFrom is Trail for who knows that the action has a record of a sequence: in
// a cluster every node answers, and one may lag behind what another has confirmed.
func (b *Bus) TrailFrom(ctx context.Context, region, instance, actionID string, least uint64) (Trail, error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	for {
		t, err := b.Trail(ctx, region, instance, actionID)
		if err != nil || t.Seq >= least {
			return t, err
		}
		if err := sleep(ctx, trailRetry); err != nil {
			return t, fmt.Errorf("read the ledger of action %s: no node of NATS has what was stored of it: %w", actionID, err)
		}
	}
}

// LastStarted is the newest call to an instance that was announced, by whichever
// action; seq is 0 when there was none.
func (b *Bus) LastStarted(ctx context.Context, region, instance string) (rec Record, seq uint64, err error) {
	filter := startedFilter(region, instance)
	ask, cancel := b.bounded(ctx)
	defer cancel()
	msg, err := b.newestOf(ask, StreamEvt, filter)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return rec, 0, nil
	}
	if err != nil {
		return rec, 0, fmt.Errorf("read the ledger under %s: %w", filter, b.explain(err))
	}
	if rec, err = decodeEvent(msg.Data); err != nil {
		b.log.Warn("an event cannot be read", zap.String("subject", msg.Subject), zap.Uint64("seq", msg.Sequence), zap.Error(err))
		return Record{}, msg.Sequence, nil
	}
	rec.StoredAt, rec.Seq = msg.Time, msg.Sequence
	return rec, msg.Sequence, nil
}

// PublishStarted announces a call, on the condition that the newest call to the
// instance is still the one with sequence expect (0: none). ok is false when it
// is not: somebody else was faster.
func (b *Bus) PublishStarted(ctx context.Context, rec Record, expect uint64) (seq uint64, ok bool, err error) {
	rec.Outcome = Started
	return b.publishRecord(ctx, rec, expect, startedFilter(rec.Region, rec.Instance))
}

// PublishOutcome stores an outcome unless one is there: then stored is false,
// and that one stands.
func (b *Bus) PublishOutcome(ctx context.Context, rec Record) (stored bool, err error) {
	return b.PublishOutcomeAfter(ctx, rec, nil)
}

// PublishOutcomeAfter is PublishOutcome for who has read the trail of the action
// already (nil: not): it is read again only where something was added since.
func (b *Bus) PublishOutcomeAfter(ctx context.Context, rec Record, read *Trail) (stored bool, err error) {
	if !rec.Outcome.Ends() {
		return false, fmt.Errorf("%s is not an outcome", rec.Outcome)
	}
	for ; ; read = nil {
		if read == nil {
			trail, err := b.Trail(ctx, rec.Region, rec.Instance, rec.ActionID)
			if err != nil {
				return false, err
			}
			read = &trail
		}
		if _, ended := read.Outcome(); ended {
			return false, nil
		}
		_, ok, err := b.publishRecord(ctx, rec, read.Seq, trailFilter(rec.Region, rec.Instance, rec.ActionID))
		if err != nil || ok {
			return ok, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
}

// PublishNote stores what happens on the way to an outcome.
func (b *Bus) PublishNote(ctx context.Context, rec Record) error {
	_, err := b.AddNote(ctx, rec)
	return err
}

// PublishNoteOnce is PublishNote unless something is stored under that action id.
func (b *Bus) PublishNoteOnce(ctx context.Context, rec Record) error {
	if rec.Outcome.Ends() || rec.Outcome == Started {
		return fmt.Errorf("%s is not a note", rec.Outcome)
	}
	_, _, err := b.publishRecord(ctx, rec, 0, trailFilter(rec.Region, rec.Instance, rec.ActionID))
	return err
}

// AddNote is PublishNote for who wants to know its sequence, for [Bus.TrailFrom].
func (b *Bus) AddNote(ctx context.Context, rec Record) (seq uint64, err error) {
	if rec.Outcome.Ends() || rec.Outcome == Started {
		return 0, fmt.Errorf("%s is not a note", rec.Outcome)
	}
	msg, err := b.message(ctx, rec)
	if err != nil {
		return 0, err
	}
	return b.put(ctx, msg)
}

// PublishNoticed stores a notice unless it is there already: the same action id
// on the same instance is noticed once.
func (b *Bus) PublishNoticed(ctx context.Context, rec Record) error {
	rec.Outcome = Noticed
	_, _, err := b.publishRecord(ctx, rec, 0, trailFilter(rec.Region, rec.Instance, rec.ActionID))
	return err
}

func (b *Bus) publishRecord(ctx context.Context, rec Record, expect uint64, filter string) (seq uint64, ok bool, err error) {
	msg, err := b.message(ctx, rec)
	if err != nil {
		return 0, false, err
	}
	return b.publishExpecting(ctx, msg, expect, filter)
}

func (b *Bus) message(ctx context.Context, rec Record) (*nats.Msg, error) {
	if err := checkTokens([]string{"region", "instance", "action", "outcome", "action id"}, rec.Region, rec.Instance, rec.Action, string(rec.Outcome), rec.ActionID); err != nil {
		return nil, err
	}
	t := TraceOf(ctx)
	rec.Trace, rec.TraceState = t.Parent, t.State
	id, body, err := encodeEvent(rec, b.source, time.Now())
	if err != nil {
		return nil, err
	}
	msg := nats.NewMsg(eventSubject(rec))
	msg.Data = body
	msg.Header.Set(contentTypeHeader, eventContentType)
	traced(ctx, msg)
	if rec.Outcome != Started { // an attempt that was refused may be announced again
		msg.Header.Set(jetstream.MsgIDHeader, id)
	}
	return msg, nil
}

// StartedSince is when calls were announced since a time, oldest first.
func (b *Bus) StartedSince(ctx context.Context, since time.Time) ([]time.Time, error) {
	var at []time.Time
	for msg, err := range b.scan(ctx, StreamEvt, prefix+"evt.*.*.*.started.*", since) {
		if err != nil {
			return nil, err
		}
		at = append(at, msg.Time)
	}
	return at, nil
}
