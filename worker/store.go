package worker

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// lookAfterStore reads once all that is stored, says what cannot be read, and takes
// the store up again when it could not be written for a while. Until ctx ends.
func (w *Worker) lookAfterStore(ctx context.Context) error {
	if w.bus.OwnsStore() {
		damages, err := w.bus.Damages(ctx)
		if ctx.Err() == nil { // else that it was not read to the end says nothing of it
			w.ledger.wasRead(damages, err)
		}
		if err != nil && ctx.Err() == nil {
			w.o.Log.Warn("what is stored could not be read to the end", zap.Error(err))
		}
		for _, d := range damages {
			detail := fmt.Sprintf("the store is damaged: %v. What was done there may be forgotten; docs/recovery.md says what to do", d)
			w.o.Log.Error("the store is damaged", zap.String(keyDetail, detail))
			w.sayOfStore(ctx, "damaged", detail, fmt.Sprintf("%s %d %d", d.Stream, d.Messages, d.First))
		}
		if len(damages) > 0 {
			w.damages.Store(&damages)
		}
	}
	return w.bus.LookAfterStore(ctx, func(ctx context.Context, detail string) {
		w.inv.forgetFaults() // a list whose account could not be stored
		w.sayOfStore(ctx, "full", detail, time.Now().UTC().Format(time.RFC3339Nano))
	})
}

// sayOfStore tells of the store, once for the same key.
func (w *Worker) sayOfStore(ctx context.Context, reason, detail, key string) {
	rec := events.Record{
		ActionID: policies.ActionID(actStore, 0, key, policies.Kind(reason)), Action: actStore, Reason: reason, Detail: detail,
		Trigger: actStore, Region: events.None, Instance: events.None,
	}
	if err := w.bus.PublishNoticed(ctx, rec); err != nil {
		w.o.Log.Warn("event not stored", zap.Error(err))
	}
}

// storeFaults are what is wrong with the store, in words.
func (w *Worker) storeFaults() (words []string) {
	if damages := w.damages.Load(); damages != nil {
		for _, d := range *damages {
			words = append(words, d.String())
		}
	}
	return words
}

// mayStore refuses to take what could not be stored, or acted by, before anything is
// done that takes time: whoever asks is told while he waits.
func (w *Worker) mayStore(ctx context.Context) error {
	err := w.bus.StoreFault()
	if err == nil {
		err = w.wall.ok(ctx)
	}
	if err != nil {
		return events.Refuse(503, "not stored: %v", err)
	}
	return nil
}
