package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// StoreRun stores a plan unless one is there for its trigger and region: then
// stored is false, and that one stands.
func (b *Bus) StoreRun(ctx context.Context, r Run) (stored bool, err error) {
	if err := checkTokens([]string{"region", "trigger"}, r.Region, r.Trigger); err != nil {
		return false, err
	}
	t := TraceOf(ctx)
	r.Trace, r.State = t.Parent, t.State
	parts, err := b.split(&r)
	if err != nil {
		return false, err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	msg := traced(ctx, &nats.Msg{Subject: runSubject(r.Region, r.Trigger), Data: body})
	if r.Asked != "" {
		return b.storeAsked(ctx, &r, msg, parts)
	}
	return b.storeOnce(ctx, StreamRun, msg, parts, func(data []byte) error { return parseRun(msg.Subject, data, new(Run)) })
}

// storeAsked stores a part of the plan of a command with an id, unless a plan of
// another command is stored under that, in whichever region: the id means one thing.
func (b *Bus) storeAsked(ctx context.Context, r *Run, msg *nats.Msg, parts []*nats.Msg) (stored bool, err error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	filter, last := runSubject("*", r.Trigger), uint64(0)
	if b.waits.isSlow() { // as in storeOnce
		if _, found, err := b.LoadRun(ctx, r.Region, r.Trigger); err != nil || found {
			return false, err
		}
	}
	for {
		if _, stored, err = b.publishExpecting(ctx, msg, last, filter, parts...); stored || err != nil {
			return stored, err
		}
		newest, err := b.newestOf(ctx, StreamRun, filter)
		if errors.Is(err, jetstream.ErrMsgNotFound) { // as in storeOnce
			if err := sleep(ctx, trailRetry); err != nil {
				return false, fmt.Errorf("read %s: %w", filter, err)
			}
			continue
		}
		if err != nil {
			return false, fmt.Errorf("read %s: %w", filter, b.explain(err))
		}
		var there Run
		if err := json.Unmarshal(newest.Data, &there); err == nil && parseRun(newest.Subject, newest.Data, &there) == nil && there.Asked != r.Asked {
			return false, nil
		}
		if _, found, err := b.LoadRun(ctx, r.Region, r.Trigger); err != nil || found {
			return false, err
		}
		if newest.Sequence == last { // a rival is on its way, and may yet come to nothing
			if err := sleep(ctx, trailRetry); err != nil {
				return false, fmt.Errorf("read %s: %w", filter, err)
			}
		}
		last = newest.Sequence // a part of the same plan, or what cannot be read
	}
}

// LoadRun reads the stored plan of a trigger in a region (lower case).
func (b *Bus) LoadRun(ctx context.Context, region, trigger string) (Run, bool, error) {
	var r Run
	subject := runSubject(region, trigger)
	found, err := b.load(ctx, StreamRun, subject, func(data []byte) error { return parseRun(subject, data, &r) })
	if !found {
		return Run{}, false, err
	}
	err = b.join(ctx, &r)
	if errors.Is(err, errUnreadable) {
		b.log.Warn("a stored plan cannot be read", zap.String("subject", subject), zap.Error(err))
		return Run{}, false, nil // a dead letter when it is delivered
	}
	return r, true, err
}

// FirstRun is the stored plan of a command's trigger, in whichever region, without
// the items that are in further messages. Where only the part of it is stored that
// waits for approval it is that.
func (b *Bus) FirstRun(ctx context.Context, trigger string) (Run, bool, error) {
	r, found, err := b.firstRun(ctx, trigger)
	if found || err != nil {
		return r, found, err
	}
	return b.firstRun(ctx, HeldID(trigger))
}

func (b *Bus) firstRun(ctx context.Context, trigger string) (Run, bool, error) {
	var r Run
	found, err := b.load(ctx, StreamRun, runSubject("*", trigger), func(data []byte) error {
		if err := json.Unmarshal(data, &r); err != nil {
			return err
		}
		return parseRun(runSubject(r.Region, trigger), data, &r)
	})
	return r, found, err
}

// Runs are the plans stored since a time, oldest first.
func (b *Bus) Runs(ctx context.Context, since time.Time) iter.Seq2[Run, error] {
	return b.runs(ctx, runSubject("*", "*"), since)
}

func (b *Bus) runs(ctx context.Context, filter string, since time.Time) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		for msg, err := range b.scan(ctx, StreamRun, filter, since) {
			var r Run
			if err == nil && parseRun(msg.Subject, msg.Data, &r) != nil {
				continue // a dead letter when it was delivered
			}
			if err == nil {
				r.Seq = msg.Sequence
				if err = b.join(ctx, &r); errors.Is(err, errUnreadable) {
					continue
				}
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Records are the events stored since a time that match a subject filter (empty:
// all), oldest first. What cannot be read is passed over.
func (b *Bus) Records(ctx context.Context, filter string, since time.Time) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for msg, err := range b.scan(ctx, StreamEvt, cmp.Or(filter, EvtAll), since) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			rec, err := decodeEvent(msg.Data)
			if err != nil {
				continue
			}
			rec.StoredAt, rec.Seq = msg.Time, msg.Sequence
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// RunDelivery is a stored plan to be carried out.
type RunDelivery struct {
	delivery
	Run Run
}

// ConsumeRuns hands stored plans to handle, with the trace context of what asked
// for them; see ConsumeIn.
func (b *Bus) ConsumeRuns(ctx context.Context, n int, handle func(context.Context, *RunDelivery)) error {
	return b.consume(ctx, StreamRun, durableRunner, "", n, func(ctx context.Context, d delivery) {
		if isPart(d.Subject) {
			_ = d.Ack() // read together with its plan; lost: it comes again
			return
		}
		rd := &RunDelivery{delivery: d}
		err := parseRun(d.Subject, d.msg.Data(), &rd.Run)
		if err == nil {
			err = b.join(ctx, &rd.Run)
		}
		switch {
		case errors.Is(err, errUnreadable):
			b.bury(ctx, d, err.Error())
			return
		case err != nil:
			b.log.Warn("a stored plan cannot be read, will be tried again", zap.String("subject", d.Subject), zap.Error(err))
			_ = d.Nak(deadRetry)
			return
		}
		handle(WithTrace(ctx, Trace{rd.Run.Trace, rd.Run.State}), rd)
	})
}

// parseRun reads a stored plan. Its tokens make subjects, so they are checked:
// anyone who may publish could have written it.
func parseRun(subject string, data []byte, r *Run) error {
	if err := json.Unmarshal(data, r); err != nil {
		return fmt.Errorf("%w: the body is not a plan: %w", errUnreadable, err)
	}
	if subject != runSubject(r.Region, r.Trigger) {
		return fmt.Errorf("%w: the body is of another plan than the subject says", errUnreadable)
	}
	if r.Parts < 0 || r.Parts > maxParts {
		return fmt.Errorf("%w: it says that it has %d parts, at most %d are read", errUnreadable, r.Parts, maxParts)
	}
	return checkItems(r.Items)
}

func checkItems(items []Item) error {
	for _, it := range items {
		if err := checkTokens([]string{"action id", "action", "region", "instance"}, it.ID, it.Action, it.Region, it.Instance); err != nil {
			return fmt.Errorf("%w: %w", errUnreadable, err)
		}
		if err := it.Stage.check(); err != nil {
			return fmt.Errorf("%w: action %s: %w", errUnreadable, it.ID, err)
		}
	}
	return nil
}

const (
	// MaxStageDeadline is the longest that a stage of a stored plan may take: as long as
	// plans are kept.
	MaxStageDeadline = 7 * 24 * time.Hour
	maxStages        = 10_000
)

// check refuses a stage that no planner makes: others would wait for it for ever.
func (s *Stage) check() error {
	switch {
	case s == nil:
	case s.Action != "start" && s.Action != "stop":
		return fmt.Errorf("its stage is one to %q, not to start or stop", s.Action)
	case s.Of < 1 || s.Of > maxStages || s.Turn < 1 || s.Turn > s.Of:
		return fmt.Errorf("its stage is turn %d of %d", s.Turn, s.Of)
	case s.Deadline <= 0 || s.Deadline > MaxStageDeadline:
		return fmt.Errorf("the deadline of its stage is %s, not more than 0 and at most %s", s.Deadline, MaxStageDeadline)
	case s.TCP < 0 || s.TCP > 65535:
		return fmt.Errorf("its stage asks port %d", s.TCP)
	}
	return nil
}

// scanBatch is how many messages are read with one request.
const scanBatch = 500

// scan reads what a stream has of a subject filter since a time, oldest first,
// and ends at what is newest when it gets there.
func (b *Bus) scan(ctx context.Context, stream, filter string, since time.Time) iter.Seq2[*jetstream.RawStreamMsg, error] {
	if since.IsZero() {
		return b.scanFrom(ctx, stream, directAsk{Filter: filter, Seq: 1})
	}
	return b.scanFrom(ctx, stream, directAsk{Filter: filter, Since: &since})
}

// scanFrom is scan from where ask says.
func (b *Bus) scanFrom(ctx context.Context, stream string, ask directAsk) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		ask.Batch = scanBatch
		for {
			asking, cancel := b.bounded(ctx)
			msgs, left, err := b.direct(asking, stream, ask)
			cancel()
			if err != nil {
				yield(nil, fmt.Errorf("read stream %s: %w", stream, b.explain(err)))
				return
			}
			for _, msg := range msgs {
				if !yield(msg, nil) {
					return
				}
			}
			if len(msgs) == 0 || left == 0 {
				return
			}
			ask = directAsk{Batch: scanBatch, Filter: ask.Filter, Seq: msgs[len(msgs)-1].Sequence + 1}
		}
	}
}
