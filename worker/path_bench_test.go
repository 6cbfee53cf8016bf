package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nightshift/civo"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/worker"
)

// pathPool is how many commands are under way at once, each on an instance of its
// own, and how many calls a pool may make at once.
const pathPool = 128

const pathPolicies = `
version: 1
regions: [LON1]
policies:
  - name: never
    select: { all: [env=none] }
    cron: "0 0 1 1 *"
    do: stop
allow: [start, stop]
limits: { per_run: 1000000, per_hour: 1000000 }
`

// stubAPI answers at once, and its instances are at once what they are asked to be.
type stubAPI struct {
	mu    sync.Mutex
	items []map[string]any
	byID  map[string]map[string]any
}

func pathInstance(i int) string { return fmt.Sprintf("55555555-0000-4000-8000-%012d", i) }

func newStubAPI(n int) *stubAPI {
	s := &stubAPI{byID: make(map[string]map[string]any)}
	for i := range n {
		item := map[string]any{"id": pathInstance(i), "hostname": fmt.Sprintf("path-%d", i), "size": "g3.small", "status": "ACTIVE", "tags": []string{"env=path"}}
		s.items = append(s.items, item)
		s.byID[pathInstance(i)] = item
	}
	return s
}

func (s *stubAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		if strings.HasSuffix(r.URL.Path, "/regions") {
			_, _ = io.WriteString(w, `[{"code":"LON1"}]`)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"page": 1, "pages": 1, "items": s.items})
		return
	}
	parts := strings.Split(r.URL.Path, "/") // /v2/instances/<id>/<action>
	item := s.byID[parts[len(parts)-2]]
	switch action := parts[len(parts)-1]; action {
	case "resize":
		item["size"] = r.FormValue("size")
	default:
		item["status"] = map[string]string{"start": "ACTIVE", "stop": "SHUTOFF"}[action]
	}
	_, _ = io.WriteString(w, `{"result":"success"}`)
}

// BenchmarkPath takes commands in, calls the API, and stores outcomes: as the
// daemon does it, and the same path written bare, with one synced publish. Both
// have the same server, the same API, and as many commands under way at once. An
// operation begins with the publish of the command, and ends when a watcher of
// the event stream is given its outcome.
func BenchmarkPath(b *testing.B) {
	b.Run("nightshift", func(b *testing.B) { benchmarkPath(b, beginDaemon) })
	b.Run("bare", func(b *testing.B) { benchmarkPath(b, beginBare) })
}

func benchmarkPath(b *testing.B, begin func(b *testing.B, bus *events.Bus, url string) (end func())) {
	bus, err := events.Open(b.Context(), events.Options{Listen: "none", DataDir: b.TempDir(), Name: "path"})
	if err != nil {
		b.Fatal(err)
	}
	api := httptest.NewServer(newStubAPI(pathPool))
	end := begin(b, bus, api.URL)
	watching, endWatch := context.WithCancel(context.Background())
	ended := make([]chan struct{}, pathPool) // by instance
	for i := range ended {
		ended[i] = make(chan struct{}, 1)
	}
	var watch sync.WaitGroup
	watch.Go(func() { // until endWatch
		_ = bus.Watch(watching, events.WatchOptions{Since: time.Now().Add(-time.Minute), Filter: "nightshift.v1.evt.*.*.*.done.*"}, func(rec events.Record, _ time.Time, _ uint64) error {
			var i int
			_, _ = fmt.Sscanf(rec.Instance[strings.LastIndexByte(rec.Instance, '-')+1:], "%d", &i)
			ended[i] <- struct{}{}
			return nil
		})
	})
	round := func(instance, n int) {
		action := []string{"stop", "start"}[n%2]
		if _, err := bus.PublishCommand(b.Context(), events.Command{Who: "bench", Region: "lon1", Instance: pathInstance(instance), Action: action}); err != nil {
			b.Error(err)
			return
		}
		select {
		case <-ended[instance]:
		case <-time.After(30 * time.Second):
			b.Errorf("%s %s has no outcome after 30 s", action, pathInstance(instance))
		}
	}
	var clients sync.WaitGroup // each ends with its commands
	for i := range pathPool {
		clients.Go(func() { round(i, 0) }) // both warm
	}
	clients.Wait()

	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, pathPool)
	b.ResetTimer()
	for i := range pathPool {
		clients.Go(func() {
			for n := 1; left.Add(-1) >= 0 && !b.Failed(); n++ {
				began := time.Now()
				round(i, n)
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	clients.Wait()
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms-p99")
	end()
	endWatch()
	watch.Wait()
	api.Close()
	if err := bus.Close(context.Background()); err != nil {
		b.Error(err)
	}
}

func beginDaemon(b *testing.B, bus *events.Bus, url string) (end func()) {
	cfg, err := configs.Parse("path.yaml", []byte(pathPolicies))
	if err != nil {
		b.Fatal(err)
	}
	api, err := civo.New("secret", civo.Options{BaseURL: url, Rate: 1e6, HTTPClient: &http.Client{Transport: pathTransport()}})
	if err != nil {
		b.Fatal(err)
	}
	w := worker.New(&cfg.Policies, api, bus, worker.Options{Workers: pathPool, Embedded: true, Verify: worker.Verify{
		Within: time.Minute, Settle: time.Millisecond, Apart: time.Millisecond, Poll: time.Millisecond,
	}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }() // until end
	return func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
		api.CloseIdleConnections()
	}
}

func pathTransport() *http.Transport { return &http.Transport{MaxIdleConnsPerHost: 2 * pathPool} }

// beginBare is the path without anything that makes it safe: a consumer, an HTTP
// client, one publish, an acknowledgement.
func beginBare(b *testing.B, bus *events.Bus, url string) (end func()) {
	js, err := jetstream.New(bus.Conn())
	if err != nil {
		b.Fatal(err)
	}
	consumer, err := js.CreateOrUpdateConsumer(b.Context(), events.StreamIn, jetstream.ConsumerConfig{Durable: "bare", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1})
	if err != nil {
		b.Fatal(err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(pathPool))
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: pathTransport()}
	var handlers sync.WaitGroup // end with the consumer
	for range pathPool {
		handlers.Go(func() {
			for {
				msg, err := messages.Next()
				if err != nil {
					return
				}
				if err := carryOutBare(b.Context(), js, client, url, msg); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	return func() {
		messages.Stop()
		handlers.Wait()
		client.CloseIdleConnections()
	}
}

func carryOutBare(ctx context.Context, js jetstream.JetStream, client *http.Client, url string, msg jetstream.Msg) error {
	tok := strings.Split(msg.Subject(), ".") // nightshift.v1.cmd.<who>.<region>.<instance>.<action>
	region, instance, action := tok[4], tok[5], tok[6]
	var c events.Command
	if err := json.Unmarshal(msg.Data(), &c); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url+"/v2/instances/"+instance+"/"+action, strings.NewReader("region="+strings.ToUpper(region)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "bearer secret")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s %v", action, instance, resp.Status, err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	id := fmt.Sprintf("bare%d", meta.Sequence.Stream)
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "bare", "type": "nightshift.v1.done", "time": time.Now(), "subject": region + "/" + instance,
		"data": events.Record{ActionID: id, Action: action, Outcome: events.Done, Who: tok[3], Region: region, Instance: instance, Planned: meta.Timestamp},
	})
	if err != nil {
		return err
	}
	if _, err := js.PublishMsg(ctx, &nats.Msg{Subject: "nightshift.v1.evt." + region + "." + instance + "." + action + ".done." + id, Data: body}); err != nil {
		return err
	}
	return msg.Ack()
}
