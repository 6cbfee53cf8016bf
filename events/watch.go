package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// WatchOptions say which events are watched.
type WatchOptions struct {
	Since  time.Time // zero: only those stored from now on, or with Replay all that are kept
	Replay bool      // end with the newest that is stored
	Filter string    // subject filter; default EvtAll
	Query  Query     // further conditions
}

// Query are conditions on events. Each field is a list of which one must be so;
// an empty list asks for nothing.
type Query struct {
	Regions   []string // lower case
	Instances []string // ids
	Outcomes  []Outcome
	Policies  []string
	Who       []string
}

// maxFilters bounds what the server is asked to look for: beyond, events are
// sorted out here.
const maxFilters = 32

// filters are the conditions that the server can look after.
func (q *Query) filters() ([]string, error) {
	regions, err := tokensOrAny("region", q.Regions)
	if err != nil {
		return nil, err
	}
	instances, err := tokensOrAny("instance", q.Instances)
	if err != nil {
		return nil, err
	}
	outcomes, err := tokensOrAny("outcome", q.Outcomes)
	if err != nil {
		return nil, err
	}
	if len(regions)*len(instances)*len(outcomes) > maxFilters {
		return []string{EvtAll}, nil
	}
	var out []string
	for _, r := range regions {
		for _, i := range instances {
			for _, o := range outcomes {
				out = append(out, prefix+"evt."+r+"."+i+".*."+o+".*")
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil // the server refuses filters that overlap
}

func tokensOrAny[T ~string](name string, values []T) ([]string, error) {
	if len(values) == 0 {
		return []string{"*"}, nil
	}
	out := make([]string, len(values))
	for i, v := range values {
		if err := checkTokens([]string{name}, string(v)); err != nil {
			return nil, err
		}
		out[i] = string(v)
	}
	return out, nil
}

// Matches reports whether an event meets all conditions.
func (q *Query) Matches(rec *Record) bool {
	return hasOr(q.Regions, rec.Region) && hasOr(q.Instances, rec.Instance) && hasOr(q.Outcomes, rec.Outcome) &&
		hasOr(q.Who, rec.Who) && (len(q.Policies) == 0 || slices.ContainsFunc(strings.Fields(rec.Policy), func(p string) bool { return slices.Contains(q.Policies, p) }))
}

func hasOr[T comparable](list []T, value T) bool {
	return len(list) == 0 || slices.Contains(list, value)
}

// WatchRuns hands plans stored since a time to handle, in order, until ctx ends.
func (b *Bus) WatchRuns(ctx context.Context, since time.Time, handle func(Run)) error {
	config := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since, FilterSubject: runSubject("*", "*")}
	err := b.follow(ctx, StreamRun, config, false, func(msg *pulled) error {
		var r Run
		err := parseRun(msg.Subject(), msg.Data(), &r)
		if err == nil {
			err = b.join(ctx, &r)
		}
		if errors.Is(err, errUnreadable) {
			return nil // a dead letter when it is delivered
		}
		if err != nil {
			return err
		}
		r.Seq = msg.meta.Sequence.Stream
		handle(r)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch plans: %w", err)
	}
	return nil
}

// Watch hands events to handle in the order in which they were stored, until ctx
// ends (then it returns nil), or with Replay the newest is reached, or handle
// returns an error (then it returns that). An event that cannot be read is passed
// over. Whose rights do not reach to what is stored sees events from now on all
// the same; one of two replicas that say the same at once is seen then, too,
// although only one is stored.
func (b *Bus) Watch(ctx context.Context, o WatchOptions, handle func(rec Record, stored time.Time, seq uint64) error) error {
	filters, err := o.Query.filters()
	if err != nil {
		return err
	}
	if o.Filter != "" {
		filters = []string{o.Filter}
	}
	config := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy, FilterSubjects: filters}
	if len(filters) == 1 {
		config.FilterSubject, config.FilterSubjects = filters[0], nil
	}
	switch {
	case !o.Since.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.Since
	case o.Replay:
		config.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	var said error // by handle
	err = b.follow(ctx, StreamEvt, config, o.Replay, func(msg *pulled) error {
		rec, err := decodeEvent(msg.Data())
		if err != nil {
			return nil
		}
		rec.StoredAt, rec.Seq, rec.event = msg.meta.Timestamp, msg.meta.Sequence.Stream, string(msg.Data())
		if o.Query.Matches(&rec) {
			said = handle(rec, rec.StoredAt, rec.Seq)
		}
		return said
	})
	var denied *Denied
	switch {
	case err == nil || said != nil:
		return err
	case errors.As(err, &denied) && o.Since.IsZero() && !o.Replay:
		return b.listenFor(ctx, filters, o.Query, handle)
	}
	return fmt.Errorf("watch events: %w", err)
}

// listenFor hands on what is published from now on, as it is published.
func (b *Bus) listenFor(ctx context.Context, filters []string, q Query, handle func(rec Record, stored time.Time, seq uint64) error) error {
	filter := EvtAll
	if len(filters) == 1 {
		filter = filters[0]
	}
	sub, err := b.nc.SubscribeSync(filter)
	if err != nil {
		return fmt.Errorf("watch events: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	return hearOn(ctx, sub, q, handle)
}

func hearOn(ctx context.Context, sub *nats.Subscription, q Query, handle func(rec Record, stored time.Time, seq uint64) error) error {
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
		rec.StoredAt, rec.event = time.Now(), string(msg.Data)
		if !q.Matches(&rec) {
			continue
		}
		if err := handle(rec, rec.StoredAt, 0); err != nil {
			return err
		}
	}
}
