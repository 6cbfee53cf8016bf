package events

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// BenchmarkConfirm is what it costs to have NATS confirm that a run is still here, which
// is asked every 5 s for each run in work, beside only saying so.
func BenchmarkConfirm(b *testing.B) {
	s, err := server.NewServer(&server.Options{ServerName: "far", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	bus, err := Open(b.Context(), Options{URL: "nats://127.0.0.1:4222", Dialer: &farServer{Server: s}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = bus.Close(context.Background()) }()
	if _, err := bus.StoreRun(b.Context(), Run{Region: "lon1", Trigger: "t1"}); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	taken, done := make(chan *RunDelivery, 1), make(chan error, 1)
	go func() { // until stop
		done <- bus.ConsumeRuns(ctx, 1, func(ctx context.Context, d *RunDelivery) { taken <- d; <-ctx.Done() })
	}()
	d := <-taken
	b.Run("said", func(b *testing.B) {
		for b.Loop() {
			if err := d.msg.InProgress(); err != nil {
				b.Fatal(err)
			}
		}
		if err := bus.nc.FlushTimeout(time.Minute); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("confirmed", func(b *testing.B) {
		for b.Loop() {
			if !bus.confirms(ctx, d.delivery) {
				b.Fatal("not confirmed")
			}
		}
	})
	stop()
	<-done
}
