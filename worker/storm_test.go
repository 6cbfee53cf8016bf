package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nightshift/civo"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/worker"
)

const stormPolicies = `
version: 1
regions: [LON1]
policies:
  - name: path-grows
    select: { all: [env=path] }
    trigger: { load: cpu, above: 85 }
    do: { resize: [g3.small, g3.medium] }
    cooldown: 24h
  - name: path-down
    select: { all: [env=path] }
    trigger: { alert: InstanceDown }
    do: start
allow: [start, stop, resize]
limits: { per_run: 1000, per_hour: 1000 }
`

// stormOf is a storm of n signals: loads that change all the time, most of them
// high, and one firing that is repeated for each instance.
func stormOf(tb testing.TB, js jetstream.JetStream, n, instances int) {
	tb.Helper()
	startsAt := time.Now()
	for i := range n {
		id := pathInstance(i % instances)
		value := float64(80 + i%20)
		s := events.Signal{Load: "cpu", Value: &value}
		if i%10 == 0 {
			id = pathInstance(i / 10 % instances)
			s = events.Signal{Alert: "InstanceDown", Fingerprint: id, StartsAt: startsAt}
		}
		body, err := json.Marshal(s)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: events.SignalSubject("prometheus", "lon1", id), Data: body}, jetstream.WithStallWait(time.Minute)); err != nil {
			tb.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

// storm runs a daemon through n signals, and returns how long that took, the
// longest that a command took meanwhile, and the most memory that was in use.
func storm(tb testing.TB, o events.Options, n int) (took, slowest time.Duration, most uint64) {
	tb.Helper()
	const instances = 50
	bus, err := events.Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	stub := newStubAPI(instances + 1)
	api := httptest.NewServer(stub)
	cfg, err := configs.Parse("storm.yaml", []byte(stormPolicies))
	if err != nil {
		tb.Fatal(err)
	}
	client, err := civo.New("secret", civo.Options{BaseURL: api.URL, Rate: 1e6, HTTPClient: &http.Client{Transport: pathTransport()}})
	if err != nil {
		tb.Fatal(err)
	}
	js, err := jetstream.New(bus.Conn(), jetstream.WithPublishAsyncMaxPending(100))
	if err != nil {
		tb.Fatal(err)
	}
	w := worker.New(&cfg.Policies, client, bus, worker.Options{Embedded: true, Verify: worker.Verify{Within: time.Minute, Settle: time.Millisecond, Apart: time.Millisecond, Poll: 5 * time.Millisecond}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	outcomes := make(chan events.Record, 1)
	var running sync.WaitGroup
	running.Go(func() { done <- w.Run(ctx) }) // until stop
	running.Go(func() {                       // until stop
		_ = bus.Watch(ctx, events.WatchOptions{Since: time.Now().Add(-time.Minute), Filter: events.InstanceFilter("lon1", pathInstance(instances))}, func(rec events.Record, _ time.Time, _ uint64) error {
			if isOutcome(rec.Outcome) {
				outcomes <- rec
			}
			return nil
		})
	})

	began := time.Now()
	published := make(chan struct{})
	running.Go(func() { // until all are published
		defer close(published)
		stormOf(tb, js, n, instances)
	})
	for round := 0; ; round++ {
		sent := time.Now()
		c := events.Command{Who: "ops", Region: "lon1", Instance: pathInstance(instances), Action: []string{"stop", "start"}[round%2], ID: fmt.Sprintf("round-%d", round)}
		if _, err := bus.PublishCommand(tb.Context(), c); err != nil {
			tb.Fatal(err)
		}
		if rec := <-outcomes; rec.Outcome != events.Done {
			tb.Fatalf("%s ended as %s %s %s", c.Action, rec.Outcome, rec.Reason, rec.Error)
		}
		slowest = max(slowest, time.Since(sent))
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
		select {
		case <-published:
			if stormLeft(tb, js) == 0 {
				took = time.Since(began)
				stormHas(tb, js, n, instances)
				stop()
				if err := <-done; err != nil {
					tb.Error(err)
				}
				running.Wait()
				client.CloseIdleConnections()
				api.Close()
				if err := bus.Close(context.Background()); err != nil {
					tb.Error(err)
				}
				return took, slowest, most
			}
		default:
		}
	}
}

// stormLeft is the number of signals that are not acknowledged.
func stormLeft(tb testing.TB, js jetstream.JetStream) int {
	tb.Helper()
	consumer, err := js.Consumer(tb.Context(), events.StreamIn, "planner-signals")
	if err != nil {
		tb.Fatal(err)
	}
	info, err := consumer.Info(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return int(info.NumPending) + info.NumAckPending
}

// stormHas checks what a storm has left behind.
func stormHas(tb testing.TB, js jetstream.JetStream, n, instances int) {
	tb.Helper()
	count := func(stream, filter, begin string) (sum int) {
		s, err := js.Stream(tb.Context(), stream)
		if err != nil {
			tb.Fatal(err)
		}
		info, err := s.Info(tb.Context(), jetstream.WithSubjectFilter(filter))
		if err != nil {
			tb.Fatal(err)
		}
		for subject, n := range info.State.Subjects {
			if strings.HasPrefix(subject, begin) {
				sum += int(n)
			}
		}
		return sum
	}
	if got := count(events.StreamEvt, "nightshift.v1.evt.*.*.resize.started.*", ""); got != 2 {
		tb.Errorf("%d resizes began, want 2: at_most allows no more", got)
	}
	if got := count(events.StreamRun, "nightshift.v1.run.>", "nightshift.v1.run.lon1.prometheus-"); got != instances {
		tb.Errorf("%d plans for %d firings that were repeated %d times each", got, instances, n/10/instances)
	}
	if got := count(events.StreamRun, "nightshift.v1.run.>", ""); got > n/4 {
		tb.Errorf("%d signals made %d plans: loads that waited were not superseded", n, got)
	}
}

func TestAStormOfSignalsIsCoalescedAndKeepsNoCommandWaiting(t *testing.T) {
	const n = 100_000
	took, slowest, most := storm(t, events.Options{Listen: "none", Memory: true, Name: "storm"}, n)
	t.Logf("%d signals in %s, the slowest command %s, %d MB in use", n, took.Round(time.Millisecond), slowest.Round(time.Millisecond), most>>20)
	if most > 512<<20 {
		t.Errorf("%d MB in use", most>>20)
	}
}

func BenchmarkStorm(b *testing.B) {
	for range b.N {
		took, slowest, most := storm(b, events.Options{Listen: "none", DataDir: b.TempDir(), Name: "storm"}, 100_000)
		b.ReportMetric(100_000/took.Seconds(), "signals/s")
		b.ReportMetric(float64(slowest.Milliseconds()), "ms-slowest-command")
		b.ReportMetric(float64(most>>20), "MB-heap")
	}
}
