package events

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// carry hands stored plans to a handler that works until it is told to end, and says
// which of its messages is here.
func carry(t *testing.T, b *Bus) (taken chan *RunDelivery, ended chan error, stop func()) {
	t.Helper()
	taken, ended = make(chan *RunDelivery, 10), make(chan error, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { // until stop
		done <- b.ConsumeRuns(ctx, 4, func(ctx context.Context, d *RunDelivery) {
			taken <- d
			<-ctx.Done()
			ended <- context.Cause(ctx)
			if errors.Is(context.Cause(ctx), ErrLetGo) {
				time.Sleep(20 * time.Second) // a call under way
			}
			_ = d.Nak(0)
		})
	}()
	time.Sleep(time.Second)
	return taken, ended, func() { cancel(); <-done }
}

func storeOne(t *testing.T, b *Bus) {
	t.Helper()
	if stored, err := b.StoreRun(t.Context(), Run{Region: "lon1", Trigger: "t1"}); err != nil || !stored {
		t.Fatalf("got %v, %v", stored, err)
	}
	time.Sleep(time.Second)
}

func TestARunInWorkStaysWithWhoeverIsConfirmed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		far := serveFar(t)
		b, other := openFar(t, far), openFar(t, &farServer{Server: far.Server})
		taken, ended, stop := carry(t, b)
		storeOne(t, b)
		d := <-taken
		elsewhere, _, stopOther := carry(t, other)
		for range 20 { // away for less than it takes
			time.Sleep(7 * time.Minute)
			far.cut()
			time.Sleep(5 * time.Second)
			far.restore()
		}
		time.Sleep(time.Minute)
		if !d.IsOurs() || len(elsewhere)+len(taken)+len(ended) > 0 {
			t.Errorf("ours: %v, elsewhere %d, again %d, ended %d", d.IsOurs(), len(elsewhere), len(taken), len(ended))
		}
		stop()
		time.Sleep(time.Second)
		if len(elsewhere) != 1 {
			t.Error("at the end it was not handed back")
		}
		stopOther()
	})
}

func TestARunIsLetGoBeforeAnotherIsGivenIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		far := serveFar(t)
		b, other := openFar(t, far), openFar(t, &farServer{Server: far.Server})
		taken, ended, stop := carry(t, b)
		storeOne(t, b)
		d := <-taken
		elsewhere, endedElsewhere, stopOther := carry(t, other)
		far.cut()
		var was atomic.Bool
		go func() {
			e := <-elsewhere
			was.Store(d.IsOurs())
			elsewhere <- e
		}()
		time.Sleep(ackWait + time.Second)
		if len(elsewhere) != 1 || was.Load() {
			t.Errorf("%d elsewhere, and ours until then: %v", len(elsewhere), was.Load())
		}
		if err := <-ended; !errors.Is(err, ErrLetGo) {
			t.Errorf("the handler is told %v", err)
		}
		far.restore()
		time.Sleep(time.Minute) // it hands back what it has let go of
		if d.IsOurs() {
			t.Error("it came back to who let it go")
		}
		if len(taken)+len(endedElsewhere) > 0 {
			t.Error("what was let go was taken from who has it")
		}
		stop()
		stopOther()
	})
}

// Where there is nobody else it comes back, and begins anew when what was under way has
// ended.
func TestARunThatWasLetGoComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		far := serveFar(t)
		b := openFar(t, far)
		taken, _, stop := carry(t, b)
		storeOne(t, b)
		first := <-taken
		far.cut()
		time.Sleep(ackWait)
		far.restore()
		time.Sleep(10 * time.Second) // the call is under way still
		if len(taken) != 0 {
			t.Error("two are at it here")
		}
		begin := time.Now()
		second := <-taken
		if took := time.Since(begin); took > ackWait {
			t.Errorf("it came back after %s more", took)
		}
		if first.IsOurs() || !second.IsOurs() {
			t.Errorf("the first is ours: %v, the second: %v", first.IsOurs(), second.IsOurs())
		}
		stop()
	})
}
