package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

// storedHand is a hand in ns_state, with what the notice about it says: a process
// that is killed between the two leaves the notice to the next one.
type storedHand struct {
	policies.Hand
	Region   string `json:"region,omitempty"` // empty: stored by an older binary
	Hostname string `json:"hostname,omitempty"`
	Before   string `json:"before,omitempty"` // status
	After    string `json:"after,omitempty"`
}

// handNotice is the same each time, so that it is stored once.
func handNotice(instance string, h storedHand) events.Record {
	verb := "started"
	if h.State == schedule.Stopped {
		verb = "stopped"
	}
	return events.Record{
		ActionID: policies.ActionID("hand", int(h.At.Unix()), instance, policies.KindPower), Action: "power", Outcome: events.Noticed, Reason: string(policies.ReasonHand),
		Detail: verb + " by somebody else", Trigger: "reading", Region: h.Region, Instance: instance, Hostname: h.Hostname,
		Before: h.Before, After: h.After, Planned: h.At,
	}
}

// toldFor is how far back (plan time) hands are told of again at a start. It is
// less than NS_EVT keeps its events, which would not refuse them otherwise.
const toldFor = 7 * 24 * time.Hour

// tellHands tells of those hands that were stored, and not told of, when a process
// was killed.
func (m *memory) tellHands(ctx context.Context) {
	m.mu.Lock()
	var instances []string
	for id, h := range m.hands {
		if m.clock.Now().Sub(h.At) < toldFor {
			instances = append(instances, id)
		}
	}
	m.mu.Unlock()
	for _, id := range instances {
		if err := m.tellHand(ctx, id); err != nil && ctx.Err() == nil {
			m.log.Warn("a change by hand of before the start may not have been told", zap.String(keyInstance, id), zap.Error(err))
		}
	}
}

func (m *memory) tellHand(ctx context.Context, instance string) error {
	entry, err := m.bus.State().Get(ctx, stateHand+instance)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil // it has ended meanwhile
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", stateHand+instance, err)
	}
	var h storedHand
	if err := json.Unmarshal(entry.Value(), &h); err != nil {
		return fmt.Errorf("read %s: %w", stateHand+instance, err)
	}
	if h.Region == "" {
		return nil
	}
	return m.bus.PublishNoticed(ctx, handNotice(instance, h))
}
