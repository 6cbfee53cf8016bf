package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"nightshift/worker"
)

// awaited is the daemon as it is seen over HTTP: there from the start, while the
// worker is not until NATS is reached. So whoever asks whether the process lives
// has his answer, and does not end one that waits for NATS.
type awaited struct {
	version, revision, mode string // to be told meanwhile
	daemon                  atomic.Pointer[reached]
}

// reached is what there is once NATS is reached.
type reached struct {
	*worker.Worker
	postpone http.Handler
}

var errNATSAwaited = errors.New("waiting for NATS: the daemon has not reached it since its start")

// isThere puts the worker in its place.
func (a *awaited) isThere(w *worker.Worker, postpone http.Handler) {
	a.daemon.Store(&reached{w, postpone})
}

// TakeSignals takes none before they can be stored.
func (a *awaited) TakeSignals(ctx context.Context, source string, by []worker.InstanceKey, signals []worker.NamedSignal) ([]worker.Taken, error) {
	if d := a.daemon.Load(); d != nil {
		return d.TakeSignals(ctx, source, by, signals)
	}
	return nil, errNATSAwaited
}

// NotReady says why the daemon is not ready.
func (a *awaited) NotReady(ctx context.Context) []string {
	if d := a.daemon.Load(); d != nil {
		return d.NotReady(ctx)
	}
	return []string{errNATSAwaited.Error()}
}

// Status says what is known without NATS.
func (a *awaited) Status(ctx context.Context) worker.Status {
	if d := a.daemon.Load(); d != nil {
		return d.Status(ctx)
	}
	return worker.Status{Version: a.version, Revision: a.revision, Mode: a.mode, NotReady: []string{errNATSAwaited.Error()}}
}

// Ended is what has ended so far.
func (a *awaited) Ended() []worker.Ended {
	if d := a.daemon.Load(); d != nil {
		return d.Ended()
	}
	return nil
}

// postpone answers the links of warnings.
func (a *awaited) postpone(w http.ResponseWriter, r *http.Request) {
	if d := a.daemon.Load(); d != nil {
		d.postpone.ServeHTTP(w, r)
		return
	}
	http.Error(w, errNATSAwaited.Error(), http.StatusServiceUnavailable)
}
