package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// A slow store is waited for for minutes, and systemd or Kubernetes kills the daemon
// 45 s after it was told to end.
func TestWhatASlowStoreIsToKeepEndsSoonAfterTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, abort := context.WithCancelCause(t.Context())
		time.AfterFunc(DefaultGrace, func() { abort(ErrGraceOver) })
		told, cancel := context.WithCancel(t.Context())
		cancel()
		r := &runner{calls: calls, log: zap.NewNop()}
		began := time.Now()
		err := r.keep(told, func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(2 * time.Minute):
				return nil
			}
		})
		if took := time.Since(began); !errors.Is(err, ErrGraceOver) || took != DefaultGrace+lastWords {
			t.Errorf("it ended after %s: %v", took, err)
		}
		began = time.Now()
		if err := r.keep(told, func(ctx context.Context) error { return ctx.Err() }); err != nil || time.Since(began) != 0 {
			t.Errorf("after the grace period an answer is not stored: %v", err)
		}
	})
}
