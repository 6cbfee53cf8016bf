package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/policies"
)

// gate keeps everybody from the API for a while after it has refused the token:
// every action is put off, with one loud event and no hammering.
type gate struct {
	bus *events.Bus
	log *zap.Logger

	mu    sync.Mutex
	until time.Time
	wait  time.Duration
}

// How long the gate stays shut, doubling (machine time).
const (
	gateMin = 15 * time.Second
	gateMax = 5 * time.Minute
)

// saw is told how each call to the API went. A refused token shuts the gate, any
// answer that is not a refusal opens it.
func (g *gate) saw(ctx context.Context, err error) {
	if err == nil {
		g.mu.Lock()
		g.wait, g.until = 0, time.Time{}
		g.mu.Unlock()
		return
	}
	if errors.Is(err, civo.ErrUnauthorized) && g.shut(time.Now()) {
		g.say(ctx, err)
	}
}

// shut reports whether it is news that the token is refused.
func (g *gate) shut(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.until) {
		return false
	}
	news := g.wait == 0
	g.wait = min(gateMax, max(gateMin, 2*g.wait))
	g.until = now.Add(g.wait)
	return news
}

// closed is an error while nothing may be asked, and until when.
func (g *gate) closed() (until time.Time, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Now().Before(g.until) {
		return g.until, fmt.Errorf("not asked until %s, because Civo refuses the token", g.until.UTC().Format(time.TimeOnly))
	}
	return time.Time{}, nil
}

// refused reports whether the token was refused, and none was accepted since.
func (g *gate) refused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.wait > 0
}

// sayEvery is the time in which it is said once over all replicas: each finds it out
// with its own next call.
const sayEvery = 2 * gateMax

func (g *gate) say(ctx context.Context, fault error) {
	ctx = context.WithoutCancel(ctx)
	g.log.Error("Civo refuses the token: every action is put off until it is accepted again; give it a valid one", zap.Error(fault))
	window := time.Now().UTC().Truncate(sayEvery)
	id := func(window time.Time) string {
		return policies.ActionID(actAccount, 0, window.Format(time.RFC3339), "account")
	}
	if before, err := g.bus.Trail(ctx, events.None, events.None, id(window.Add(-sayEvery))); err == nil && len(before.Records) > 0 &&
		time.Since(before.Records[len(before.Records)-1].StoredAt) < sayEvery {
		return // said a moment ago, by whichever replica
	}
	rec := events.Record{
		ActionID: id(window), Action: actAccount,
		Outcome: events.PutOff, Detail: "Civo refuses the token: every action is put off until it is accepted again", Error: fault.Error(),
		Trigger: "account", Region: events.None, Instance: events.None,
	}
	if err := g.bus.PublishNoteOnce(ctx, rec); err != nil {
		g.log.Warn("event not stored", zap.Error(err))
	}
}
