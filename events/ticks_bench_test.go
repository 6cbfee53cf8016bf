package events_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nightshift/events"
)

// ticksOf are n edges of one instant, decided about 500 together.
func ticksOf(n int, at time.Time) []events.Tick {
	ticks := make([]events.Tick, n)
	var ids []string
	for i := range ticks {
		ticks[i] = events.Tick{Policy: fmt.Sprintf("policy-%d", i), Planned: at, Hash: "8eb3d9125845", Trigger: fmt.Sprintf("t%d-%d", at.Unix(), i/500)}
		ids = append(ids, fmt.Sprintf("policy-%d@%d", i, at.Unix()))
	}
	for i := range ticks {
		from := i / 500 * 500
		if i == from {
			ticks[i].Edges = ids[from:min(from+500, n)]
		} else {
			ticks[i].Lead = ids[from]
		}
	}
	return ticks
}

// BenchmarkTicks stores 10,000 edges that are due in one second, each only where
// none is; bare publishes as many messages without a condition, as fast as the
// client can, and waits until all are stored.
func BenchmarkTicks(b *testing.B) {
	const n = 10_000
	start := time.Unix(1795806000, 0)
	b.Run("nightshift", func(b *testing.B) {
		bus := open(b, events.Options{DataDir: b.TempDir()})
		for i := 0; b.Loop(); i++ {
			stored, err := bus.PublishTicks(b.Context(), ticksOf(n, start.Add(time.Duration(i)*time.Minute)))
			if err != nil || !stored[0] || !stored[n-1] {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		bus := open(b, events.Options{DataDir: b.TempDir()})
		js, err := jetstream.New(bus.Conn(), jetstream.WithPublishAsyncMaxPending(n))
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; b.Loop(); i++ {
			for _, t := range ticksOf(n, start.Add(time.Duration(i)*time.Minute)) {
				body, err := json.Marshal(t)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := js.PublishAsync(fmt.Sprintf("nightshift.v1.tick.%s.%d", t.Policy, t.Planned.Unix()), body); err != nil {
					b.Fatal(err)
				}
			}
			<-js.PublishAsyncComplete()
		}
	})
}
