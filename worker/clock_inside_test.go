package worker

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
)

func TestAClockIsBelievedOrNot(t *testing.T) {
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		server, newest, built time.Duration // from what the clock says
		synced                bool
		want                  string
	}{
		"all the same":                         {},
		"a little off":                         {server: 50 * time.Second, newest: 50 * time.Second},
		"ahead of the server":                  {server: -2 * time.Minute, newest: -2 * time.Minute, want: "2m0s ahead of the clock of NATS"},
		"behind the server, though synced":     {server: time.Hour, newest: time.Hour, synced: true, want: "1h0m0s behind the clock of NATS"},
		"no battery":                           {newest: 5 * time.Hour, want: "what was stored last is of 2026-03-04T17:00:00Z"},
		"stored by a clock that was ahead":     {newest: 5 * time.Hour, synced: true},
		"built later, though synced":           {built: time.Hour, synced: true, want: "this program was built at 2026-03-04T13:00:00Z"},
		"a long time after what was stored":    {newest: -30 * 24 * time.Hour, built: -365 * 24 * time.Hour},
		"no battery, before anything is there": {newest: -200 * 365 * 24 * time.Hour},
	} {
		built := time.Time{}
		if c.built != 0 {
			built = noon.Add(c.built)
		}
		err := implausible(noon, noon.Add(c.server), noon.Add(c.newest), built, func() bool { return c.synced })
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAJumpOfTheClockIsSaid(t *testing.T) {
	defer func() { // nats.go pools timers: those of one bubble must not reach the next
		runtime.GC()
		runtime.GC()
	}()
	synctest.Test(t, func(t *testing.T) {
		bus, err := events.Open(t.Context(), events.Options{Listen: "none", Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = bus.Close(context.WithoutCancel(t.Context())) }()
		c := newClockCheck(bus, Options{Synced: func() bool { return false }, Log: zap.NewNop()})
		if err := c.ok(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.wall = c.wall.Add(5 * time.Hour) // it said so a moment ago: it was set back since
		if _, err := bus.State().Put(t.Context(), "x", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.ok(t.Context()); err != nil {
			t.Errorf("after the jump: %v", err)
		}
		var said []string
		for rec, err := range bus.Records(t.Context(), "", time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			said = append(said, rec.Reason+": "+rec.Detail)
		}
		if len(said) != 1 || !strings.Contains(said[0], "jumped: the clock has jumped by -5h0m0s") {
			t.Errorf("said %q, want the jump", said)
		}
	})
}

func TestWhileTheClockIsComparedNobodyActsByWhatWasFoundBefore(t *testing.T) {
	defer func() { // nats.go pools timers: those of one bubble must not reach the next
		runtime.GC()
		runtime.GC()
	}()
	synctest.Test(t, func(t *testing.T) {
		server := time.Now
		slow := make(chan struct{})
		c := &clockCheck{clock: Clock{}, synced: func() bool { return true }, log: zap.NewNop()}
		c.times = func(ctx context.Context) (time.Time, time.Time, error) {
			select {
			case <-slow:
				return server(), time.Time{}, nil
			case <-ctx.Done():
				return time.Time{}, time.Time{}, ctx.Err()
			}
		}
		bus, err := events.Open(t.Context(), events.Options{Listen: "none", Memory: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = bus.Close(context.WithoutCancel(t.Context())) }()
		c.bus = bus
		server = func() time.Time { return time.Now().Add(time.Hour) } // so the clock is wrong

		answers := make(chan error, 3)
		ask := func(ctx context.Context) { go func() { answers <- c.ok(ctx) }() }
		first, leave := context.WithCancel(t.Context())
		ask(first)
		synctest.Wait()
		ask(t.Context())
		ask(t.Context())
		synctest.Wait()
		if n := len(answers); n != 0 {
			t.Fatalf("%d were answered before anything was compared: %v", n, <-answers)
		}
		leave() // the one that compares goes: that is no fault of the clock
		synctest.Wait()
		if err := <-answers; !errors.Is(err, context.Canceled) || len(answers) != 0 || c.fault() != nil {
			t.Errorf("whoever goes is answered with %v, %d others too, and the clock's fault is %v", err, len(answers), c.fault())
		}
		close(slow)
		synctest.Wait()
		for range 2 {
			if err := <-answers; err == nil || !strings.Contains(err.Error(), "1h0m0s behind the clock of NATS") {
				t.Errorf("answered with %v, want that the clock is wrong", err)
			}
		}
	})
}
