package events

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Told is an event for people: delivered to each listener, perhaps not for the
// first time.
type Told struct {
	delivery
	Record Record
}

// Beginnings of the names of what listeners keep: consumers of NS_EVT.
const listener = "notify-"

// listenerMemory is how long a listener that is away is remembered.
const listenerMemory = 24 * time.Hour

// Subjects that a listener may ask for. They do not overlap.
const (
	ToldHeld = prefix + "evt.*." + None + "." + ActionRun + "." + string(Noticed) + ".*"
	ToldLate = prefix + "evt.*." + None + "." + ActionStage + "." + string(Noticed) + ".*"
	ToldWarn = prefix + "evt." + None + "." + None + "." + ActionWarn + "." + string(Noticed) + ".*"
	ToldStep = prefix + "evt.*.*." + ActionNotify + "." + string(Done) + ".*"
)

// ToldFailed are those of what did not come to what was wanted.
var ToldFailed = []string{prefix + "evt.*.*.*." + string(Failed) + ".*", prefix + "evt.*.*.*." + string(Expired) + ".*", prefix + "evt.*.*.*." + string(Unknown) + ".*"}

// Listen hands the events of some subjects that are stored from now on, or since
// the last time that the name listened, to handle, at most n at once, until ctx
// ends and the running handlers have returned. Listeners of one name on several
// replicas share the events. The handler acknowledges.
func (b *Bus) Listen(ctx context.Context, name string, subjects []string, n int, handle func(context.Context, *Told)) error {
	cfg := jetstream.ConsumerConfig{
		Durable: listener + name, FilterSubjects: slices.Sorted(slices.Values(subjects)), DeliverPolicy: jetstream.DeliverNewPolicy, InactiveThreshold: listenerMemory,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: -1,
	}
	return b.consumeAs(ctx, StreamEvt, cfg, n, false, func(ctx context.Context, d delivery) {
		rec, err := decodeEvent(d.msg.Data())
		if err != nil {
			_ = d.Ack() // not written by us: the ledger passes over it, too
			return
		}
		rec.StoredAt, rec.Seq = d.StoredAt, d.Seq
		handle(ctx, &Told{d, rec})
	})
}

// RunsOf are the stored plans of a trigger: one for each region, and one more
// where a part of it waits for approval.
func (b *Bus) RunsOf(ctx context.Context, trigger string) ([]Run, error) {
	var runs []Run
	if err := checkTokens([]string{"trigger"}, trigger); err != nil {
		return nil, nil // no plan has such a trigger
	}
	for _, id := range []string{trigger, HeldID(trigger)} {
		for r, err := range b.runs(ctx, runSubject("*", id), time.Time{}) {
			if err != nil {
				return nil, err
			}
			runs = append(runs, r)
		}
	}
	return runs, nil
}
