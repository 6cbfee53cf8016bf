package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// The durable consumers.
const (
	durablePlanner  = "planner" // of NS_IN: ticks
	durableCommands = "planner-commands"
	durableSignals  = "planner-signals"
	durableRunner   = "runner" // of NS_RUN
)

// Gap is something that NATS should have, and has not or has otherwise.
type Gap struct {
	What    string   `json:"what"` // "stream NS_IN"
	Missing bool     `json:"missing,omitempty"`
	Differs []string `json:"differs,omitempty"` // "max_age 24h, want 168h"
	Mended  bool     `json:"mended,omitempty"`
}

func (g Gap) String() string {
	if g.Missing {
		return g.What + " is missing"
	}
	return g.What + " differs: " + strings.Join(g.Differs, "; ")
}

// store is a stream, the bucket or a consumer.
type store struct {
	what    string
	subject string // on which it is made, or the beginning
	look    func(context.Context) (differs []string, missing bool, err error)
	put     func(context.Context) error
	putLess func(context.Context) error // where NATS has not the room that put reserves; nil: it reserves none
}

// layout says how streams are kept.
type layout struct {
	storage    jetstream.StorageType
	replicas   int
	eventsSize int64
}

func (b *Bus) layout(o Options) layout {
	l := layout{jetstream.FileStorage, o.Replicas, cmp.Or(o.EventsSize, DefaultEventsSize)}
	if o.Memory {
		l.storage, l.eventsSize = jetstream.MemoryStorage, 0
	}
	if l.replicas == 0 {
		l.replicas = 1
		if b.embedded == nil && b.nc.ConnectedClusterName() != "" {
			l.replicas = 3
		}
	}
	return l
}

// streamConfigs are the streams, in the order in which they are made.
func streamConfigs(l layout) []jetstream.StreamConfig {
	all := []jetstream.StreamConfig{
		{Name: StreamIn, Subjects: []string{prefix + "tick.>", prefix + "cmd.>", prefix + "sig.>"}, MaxAge: keepIn, Description: "ticks, commands, signals"},
		{Name: StreamRun, Subjects: []string{prefix + "run.>"}, MaxAge: keepRun, Description: "stored plans"},
		{Name: StreamEvt, Subjects: []string{EvtAll}, MaxAge: keepEvt, MaxMsgs: maxEvents, MaxBytes: l.eventsSize, DenyDelete: true, DenyPurge: true, Description: "ledger and audit trail"},
		{Name: StreamDLQ, Subjects: []string{prefix + "dlq.>"}, MaxAge: keepDLQ, Description: "what could not be read"},
	}
	for i := range all {
		c := &all[i]
		c.Storage, c.Replicas, c.AllowDirect, c.Retention = l.storage, l.replicas, true, jetstream.LimitsPolicy
		c.AllowAtomicPublish = c.Name != StreamDLQ
		if c.Name == StreamIn {
			c.Duplicates = dedupWindow
		}
	}
	return all
}

func consumerConfig(durable, filter string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{Durable: durable, FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: -1}
}

// stores are all that NATS should have.
func (b *Bus) stores(l layout) []store {
	var all []store
	for _, c := range streamConfigs(l) {
		all = append(all, b.streamStore(c))
	}
	all = append(all, b.bucketStore(l))
	for _, d := range durables {
		all = append(all, b.consumerStore(d.stream, consumerConfig(d.name, d.filter)))
	}
	return all
}

func (b *Bus) streamStore(want jetstream.StreamConfig) store {
	s := store{
		what: "stream " + want.Name, subject: "$JS.API.",
		look: func(ctx context.Context) ([]string, bool, error) {
			s, err := b.js.Stream(ctx, want.Name)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil, true, nil
			}
			if err != nil {
				return nil, false, err
			}
			return streamDiffers(s.CachedInfo().Config, want), false, nil
		},
		put: func(ctx context.Context) error { _, err := b.js.CreateOrUpdateStream(ctx, want); return err },
	}
	if less := want; want.MaxBytes > 0 {
		less.MaxBytes = 0
		s.putLess = func(ctx context.Context) error { _, err := b.js.CreateOrUpdateStream(ctx, less); return err }
	}
	return s
}

func streamDiffers(have, want jetstream.StreamConfig) []string {
	have.MaxBytes = max(have.MaxBytes, 0)
	if have.MaxMsgs < 0 {
		have.MaxMsgs = 0 // as the server writes "no bound"
	}
	if want.Duplicates == 0 {
		want.Duplicates = have.Duplicates // the server's default
	}
	var d differences
	d.add("subjects", strings.Join(slices.Sorted(slices.Values(have.Subjects)), " "), strings.Join(slices.Sorted(slices.Values(want.Subjects)), " "))
	d.add("max_age", have.MaxAge, want.MaxAge)
	d.add("max_msgs", have.MaxMsgs, want.MaxMsgs)
	d.add("max_bytes", have.MaxBytes, want.MaxBytes)
	d.add("storage", have.Storage, want.Storage)
	d.add("retention", have.Retention, want.Retention)
	d.add("num_replicas", have.Replicas, want.Replicas)
	d.add("duplicate_window", have.Duplicates, want.Duplicates)
	d.add("allow_direct", have.AllowDirect, want.AllowDirect)
	d.add("allow_atomic", have.AllowAtomicPublish, want.AllowAtomicPublish)
	d.add("deny_delete", have.DenyDelete, want.DenyDelete)
	d.add("deny_purge", have.DenyPurge, want.DenyPurge)
	return d
}

func (b *Bus) bucketStore(l layout) store {
	return store{
		what: "bucket " + Bucket, subject: "$JS.API.",
		look: func(ctx context.Context) ([]string, bool, error) {
			s, err := b.js.Stream(ctx, bucketStream)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil, true, nil
			}
			if err != nil {
				return nil, false, err
			}
			have := s.CachedInfo().Config
			var d differences
			d.add("history", have.MaxMsgsPerSubject, int64(1))
			d.add("storage", have.Storage, l.storage)
			d.add("num_replicas", have.Replicas, l.replicas)
			d.add("ttl", have.MaxAge, time.Duration(0))
			return d, false, nil
		},
		put: func(ctx context.Context) error {
			_, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: Bucket, Storage: l.storage, Replicas: l.replicas, History: 1, Description: "what nightshift remembers"})
			return err
		},
	}
}

func (b *Bus) consumerStore(stream string, want jetstream.ConsumerConfig) store {
	durable := want.Durable
	return store{
		what: "consumer " + durable + " of " + stream, subject: "$JS.API.CONSUMER.",
		look: func(ctx context.Context) ([]string, bool, error) {
			c, err := b.js.Consumer(ctx, stream, durable)
			if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil, true, nil
			}
			if err != nil {
				return nil, false, err
			}
			have := c.CachedInfo().Config
			var d differences
			d.add("filter_subject", have.FilterSubject, want.FilterSubject)
			d.add("filter_subjects", strings.Join(have.FilterSubjects, " "), strings.Join(want.FilterSubjects, " "))
			d.add("ack_policy", have.AckPolicy, want.AckPolicy)
			d.add("ack_wait", have.AckWait, want.AckWait)
			d.add("max_deliver", have.MaxDeliver, want.MaxDeliver)
			d.add("max_ack_pending", have.MaxAckPending, want.MaxAckPending)
			return d, false, nil
		},
		put: func(ctx context.Context) error { _, err := b.js.CreateOrUpdateConsumer(ctx, stream, want); return err },
	}
}

type differences []string

func (d *differences) add(name string, have, want any) {
	if h, w := fmt.Sprint(have), fmt.Sprint(want); h != w {
		*d = append(*d, fmt.Sprintf("%s %s, want %s", name, cmp.Or(h, "none"), cmp.Or(w, "none")))
	}
}

// gap looks for what is missing or differs.
func (b *Bus) gap(ctx context.Context, s store) (Gap, bool, error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	ctx, end := b.guard(ctx, s.subject)
	differs, missing, err := s.look(ctx)
	if err = end(err); err != nil {
		return Gap{}, false, fmt.Errorf("look at %s: %w", s.what, err)
	}
	return Gap{What: s.what, Missing: missing, Differs: differs}, missing || len(differs) > 0, nil
}

func (b *Bus) mend(ctx context.Context, s store) error {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	ctx, end := b.guard(ctx, s.subject)
	err := end(s.put(ctx))
	if isNoRoom(err) && s.putLess != nil {
		return fmt.Errorf("set up %s: %w: NATS counts what nats.events_size allows as taken: give it more (max_file_store, the limits of the account), or set that lower", s.what, err)
	}
	if err != nil {
		return fmt.Errorf("set up %s: %w", s.what, err)
	}
	return nil
}

// isNoRoom reports whether NATS refuses a stream for the room that it may take.
func isNoRoom(err error) bool {
	var refusal *jetstream.APIError
	if !errors.As(err, &refusal) {
		return false
	}
	if refusal.ErrorCode == errNoPeers { // so a cluster says it
		return strings.Contains(refusal.Description, "insufficient storage")
	}
	return slices.Contains([]jetstream.ErrorCode{errNoStorage, errNoAccountRoom, errStreamTooLarge}, refusal.ErrorCode)
}

// The server's answers when it has not the room, by itself, for the account, and for
// one stream of it.
const (
	errNoStorage      jetstream.ErrorCode = 10047
	errNoAccountRoom  jetstream.ErrorCode = 10002
	errStreamTooLarge jetstream.ErrorCode = 10122
)

// Gaps compares what NATS has with what it should have, and changes nothing. Of the
// options those count that say how streams are kept.
func (b *Bus) Gaps(ctx context.Context, o Options) ([]Gap, error) {
	return b.gaps(ctx, o, func(context.Context, store) error { return nil })
}

// SetUp makes what is missing, and brings the rest up to date. It returns what it
// did, also when it could not do all.
func (b *Bus) SetUp(ctx context.Context, o Options) ([]Gap, error) {
	gaps, err := b.gaps(ctx, o, b.mend)
	for i := range gaps {
		gaps[i].Mended = true
	}
	return gaps, err
}

func (b *Bus) gaps(ctx context.Context, o Options, mend func(context.Context, store) error) (gaps []Gap, err error) {
	for _, s := range b.stores(b.layout(o)) {
		gap, is, err := b.gap(ctx, s)
		if err == nil && is {
			err = mend(ctx, s)
		}
		if err != nil {
			return gaps, err
		}
		if is {
			gaps = append(gaps, gap)
		}
	}
	return gaps, nil
}

// errNotSetUp says what to do where the daemon may not do it itself.
const errNotSetUp = "%s, and the rights of this user do not allow to make it: run nightshift nats setup as one who may (role provisioner): %w"

// prepare makes sure that streams and bucket are there; the consumers are made
// when they are used. What may not be made must be there; what may not be changed
// is told and used as it is.
func (b *Bus) prepare(ctx context.Context, o Options) error {
	l := b.layout(o)
	if b.embedded == nil && l.replicas == 1 {
		b.log.Warn("streams are kept once: a lost disk of the NATS server loses what is planned and the audit trail")
	}
	for _, s := range b.stores(l) {
		if strings.HasPrefix(s.what, "consumer") {
			continue
		}
		if err := b.ensure(ctx, s); err != nil {
			return err
		}
	}
	kv, err := b.js.KeyValue(ctx, Bucket)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", Bucket, b.explain(err))
	}
	b.state = bucket{kv, b}
	return nil
}

func (b *Bus) ensure(ctx context.Context, s store) error {
	gap, is, err := b.gap(ctx, s)
	if err != nil || !is {
		return err
	}
	err = b.mend(ctx, s)
	var denied *Denied
	switch {
	case isNoRoom(err) && s.putLess != nil:
		b.log.Warn("events are not bounded by size, only by age and number", zap.Error(err))
		if !gap.Missing {
			return nil
		}
		ask, cancel := b.bounded(ctx)
		defer cancel()
		return b.explain(s.putLess(ask))
	case err == nil || !errors.As(err, &denied):
		return err
	case gap.Missing:
		return fmt.Errorf(errNotSetUp, gap, err)
	}
	b.log.Warn("NATS is not set up as it should be, and the rights of this user do not allow to change it: run nightshift nats setup",
		zap.Stringer("gap", gap), zap.Error(err))
	return nil
}
