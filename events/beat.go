package events

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// beatSubject is where replicas say that they live. Nothing keeps it: what counts
// is who is heard now.
const beatSubject = prefix + "beat"

// beatDeniedFor is how long rights that forbid to be heard are believed: each
// attempt is a line in two logs.
const beatDeniedFor = time.Minute

// Beat is what a replica says of itself, so that the others know how many share
// the API's rate, and whose policy file is another.
type Beat struct {
	ID       string    `json:"id"`   // of this life of the replica
	Name     string    `json:"name"` // host and process
	Version  string    `json:"version,omitempty"`
	Revision string    `json:"revision"` // of the policy file
	Since    time.Time `json:"since"`    // machine time from which on that is in force
	// Hello asks the others to be heard at once.
	Hello bool `json:"hello,omitempty"`
	// Leaving says that this replica makes no more calls.
	Leaving bool `json:"leaving,omitempty"`
	// Refused counts the times that the API said 429; ClosedUntil is until when it
	// wants to be left alone (machine time).
	Refused     int64     `json:"refused,omitempty"`
	ClosedUntil time.Time `json:"closed_until,omitzero"`
}

// Beat tells the other replicas of this one. While NATS is away it is an error,
// and nobody is told later.
func (b *Bus) Beat(beat Beat) error {
	if !b.nc.IsConnected() {
		return fmt.Errorf("tell the other replicas: NATS is %s", b.nc.Status())
	}
	if time.Since(time.Unix(0, b.beatDenied.Load())) < beatDeniedFor {
		return &Denied{Verb: "publish", Subject: beatSubject}
	}
	body, err := json.Marshal(beat)
	if err != nil {
		return err
	}
	return b.nc.Publish(beatSubject, body)
}

// HearBeats hands what replicas say of themselves, this one included, to handle,
// one after another, until ctx ends.
func (b *Bus) HearBeats(ctx context.Context, handle func(Beat)) error {
	sub, err := b.nc.Subscribe(beatSubject, func(msg *nats.Msg) {
		var beat Beat
		if err := json.Unmarshal(msg.Data, &beat); err != nil || beat.ID == "" {
			b.log.Debug("what a replica says of itself cannot be read", zap.Error(err))
			return
		}
		handle(beat)
	})
	if err != nil {
		return fmt.Errorf("hear the other replicas: %w", err)
	}
	<-ctx.Done()
	return sub.Unsubscribe()
}

// IsConnected reports whether NATS can be reached at this moment.
func (b *Bus) IsConnected() bool { return b.nc.IsConnected() }
