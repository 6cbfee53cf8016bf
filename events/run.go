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
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// StoreRun stores a plan unless one is there for its trigger and region: then
// stored is false, and that one stands.
func (b *Bus) StoreRun(ctx context.Context, r Run) (stored bool, err error) {
	if err := checkTokens([]string{"region", "trigger"}, r.Region, r.Trigger); err != nil {
		return false, err
	}
	r.Trace = TraceOf(ctx)
	body, err := json.Marshal(r)
	if err != nil {
		return false, err
	}
	msg := traced(ctx, &nats.Msg{Subject: runSubject(r.Region, r.Trigger), Data: body})
	return b.storeOnce(ctx, StreamRun, msg, func(data []byte) error { return parseRun(msg.Subject, data, new(Run)) })
}

// LoadRun reads the stored plan of a trigger in a region (lower case).
func (b *Bus) LoadRun(ctx context.Context, region, trigger string) (Run, bool, error) {
	var r Run
	subject := runSubject(region, trigger)
	found, err := b.load(ctx, StreamRun, subject, func(data []byte) error { return parseRun(subject, data, &r) })
	if !found {
		return Run{}, false, err
	}
	return r, true, nil
}

// Runs are the plans stored since a time, oldest first.
func (b *Bus) Runs(ctx context.Context, since time.Time) iter.Seq2[Run, error] {
	return b.runs(ctx, prefix+"run.>", since)
}

func (b *Bus) runs(ctx context.Context, filter string, since time.Time) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		for msg, err := range b.scan(ctx, StreamRun, filter, since) {
			var r Run
			if err == nil && json.Unmarshal(msg.Data, &r) != nil {
				continue // a dead letter when it was delivered
			}
			if err == nil {
				r.Seq = msg.Sequence
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
		rd := &RunDelivery{delivery: d}
		if err := parseRun(d.Subject, d.msg.Data(), &rd.Run); err != nil {
			b.bury(ctx, d, err.Error())
			return
		}
		handle(WithTrace(ctx, rd.Run.Trace), rd)
	})
}

// parseRun reads a stored plan. Its tokens make subjects, so they are checked:
// anyone who may publish could have written it.
func parseRun(subject string, data []byte, r *Run) error {
	if err := json.Unmarshal(data, r); err != nil {
		return fmt.Errorf("the body is not a plan: %w", err)
	}
	if subject != runSubject(r.Region, r.Trigger) {
		return errors.New("the body is of another plan than the subject says")
	}
	for _, it := range r.Items {
		if err := checkTokens([]string{"action id", "action", "region", "instance"}, it.ID, it.Action, it.Region, it.Instance); err != nil {
			return err
		}
	}
	return nil
}

// scanBatch is how many messages are read with one request.
const scanBatch = 500

// scan reads what a stream has of a subject filter since a time, oldest first,
// and ends at what is newest when it gets there.
func (b *Bus) scan(ctx context.Context, stream, filter string, since time.Time) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		from := []jetstreamext.GetBatchOpt{jetstreamext.GetBatchSubject(filter)}
		if since.IsZero() {
			from = append(from, jetstreamext.GetBatchSeq(1))
		} else {
			from = append(from, jetstreamext.GetBatchStartTime(since))
		}
		for {
			ask, cancel := bounded(ctx)
			msgs, err := jetstreamext.GetBatch(ask, b.js, stream, scanBatch, from...)
			n, last := 0, uint64(0)
			if err == nil {
				for msg, msgErr := range msgs {
					if msgErr != nil {
						err = msgErr
						break
					}
					n, last = n+1, msg.Sequence
					if !yield(msg, nil) {
						cancel()
						return
					}
				}
			}
			cancel()
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("read stream %s: %w", stream, b.explain(err)))
				return
			}
			if n < scanBatch {
				return
			}
			from = []jetstreamext.GetBatchOpt{jetstreamext.GetBatchSubject(filter), jetstreamext.GetBatchSeq(last + 1)}
		}
	}
}
