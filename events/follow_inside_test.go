package events

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// farServer is a NATS of its own inside the bubble, which can go away.
type farServer struct {
	*server.Server

	mu    sync.Mutex
	away  bool
	conns []net.Conn
}

// Dial connects as a nats.CustomDialer.
func (f *farServer) Dial(string, string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, errors.New("connection refused")
	}
	conn, err := f.InProcessConn()
	if err == nil {
		f.conns = append(f.conns, conn)
	}
	return conn, err
}

// cut ends all connections and lets none be made until restore.
func (f *farServer) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = true
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.conns = nil
}

func (f *farServer) restore() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = false
}

func serveFar(t *testing.T) *farServer {
	t.Helper()
	s, err := server.NewServer(&server.Options{ServerName: "far", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return &farServer{Server: s}
}

// openFar is a bus with an external NATS inside the bubble.
func openFar(t *testing.T, far *farServer) *Bus {
	t.Helper()
	b, err := Open(t.Context(), Options{URL: "nats://127.0.0.1:4222", Memory: true, Dialer: far})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// say stores an event of an instance.
func say(t *testing.T, b *Bus, instance string) {
	t.Helper()
	rec := Record{ActionID: "a-" + instance, Action: "stop", Outcome: Accepted, Region: "lon1", Instance: instance}
	if err := b.PublishNote(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
}

// watched is what a watch has handed over so far.
type watched struct {
	mu   sync.Mutex
	list []string
	stop func() time.Duration // ends the watch, and says how long that took
}

func (w *watched) instances() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.list)
}

func (w *watched) want(t *testing.T, want ...string) {
	t.Helper()
	if got := w.instances(); !slices.Equal(got, want) {
		t.Errorf("handed over %q, want %q", got, want)
	}
}

func startWatch(t *testing.T, b *Bus) *watched {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watched{}
	ended := make(chan error, 1)
	go func() { // until stop
		ended <- b.Watch(ctx, WatchOptions{}, func(rec Record, _ time.Time, _ uint64) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.list = append(w.list, rec.Instance)
			return nil
		})
	}()
	w.stop = func() time.Duration {
		begin := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the watch ends with %v", err)
		}
		return time.Since(begin)
	}
	time.Sleep(time.Second)
	return w
}

// consumersOf are the names of the consumers that a stream has.
func consumersOf(t *testing.T, b *Bus, stream string) (names []string) {
	t.Helper()
	s, err := b.js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	for name := range s.ConsumerNames(t.Context()).Name() {
		names = append(names, name)
	}
	return names
}

func TestAWatchGoesOnWhereItsConsumerIsDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := openFar(t, serveFar(t))
		w := startWatch(t, b)
		for n := range 3 {
			for _, name := range consumersOf(t, b, StreamEvt) {
				if err := b.js.DeleteConsumer(t.Context(), StreamEvt, name); err != nil {
					t.Fatal(err)
				}
			}
			say(t, b, fmt.Sprint("i-", n)) // stored while there is no consumer
		}
		time.Sleep(5 * time.Second)
		w.want(t, "i-0", "i-1", "i-2")
		w.stop()
		time.Sleep(time.Second)
		if names := consumersOf(t, b, StreamEvt); len(names) != 0 {
			t.Errorf("the watch leaves %d consumers", len(names))
		}
	})
}

// What somebody else takes from the consumer of a watch is missing in its count.
func TestAWatchMissesNothingThatAnotherTakes(t *testing.T) {
	for _, isSilentAfter := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			b := openFar(t, serveFar(t))
			w := startWatch(t, b)
			say(t, b, "i-0")
			other, err := b.js.Consumer(t.Context(), StreamEvt, consumersOf(t, b, StreamEvt)[0])
			if err != nil {
				t.Fatal(err)
			}
			var taken []string
			taking := make(chan error, 1)
			go func() { // until a message comes
				for len(taken) == 0 {
					msg, err := other.Next()
					if err != nil {
						taking <- err
						return
					}
					taken = append(taken, msg.Subject())
				}
				taking <- nil
			}()
			time.Sleep(100 * time.Millisecond)
			want := []string{"i-0"}
			for n := 1; len(taking) == 0 && n < 10; n++ {
				want = append(want, fmt.Sprint("i-", n))
				say(t, b, want[n])
				synctest.Wait()
			}
			if err := <-taking; err != nil || len(taken) == 0 {
				t.Fatalf("nothing was taken: %v", err)
			}
			if !isSilentAfter {
				want = append(want, "i-x")
				say(t, b, "i-x")
			}
			time.Sleep(2 * pullHeartbeat)
			w.want(t, want...)
			w.stop()
		})
	}
}

func TestAWatchGoesOnAfterAnHourWithoutNATS(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		far := serveFar(t)
		b := openFar(t, far)
		direct := &farServer{Server: far.Server} // is not cut
		other := openFar(t, direct)
		say(t, b, "before")
		w := startWatch(t, b) // nothing is handed over before NATS goes
		far.cut()
		say(t, other, "i-0")
		time.Sleep(time.Hour)
		say(t, other, "i-1")
		far.restore()
		time.Sleep(10 * time.Second)
		w.want(t, "i-0", "i-1")
		if names := consumersOf(t, other, StreamEvt); len(names) != 1 {
			t.Errorf("%d consumers were made when NATS was back", len(names))
		}
		far.cut()
		time.Sleep(time.Minute)
		say(t, other, "i-2")
		if took := w.stop(); took != 0 {
			t.Errorf("the end of a watch while NATS is away took %s", took)
		}
		far.restore()
		time.Sleep(10 * time.Second)
	})
}

func TestWhatLooksLikeAnAnswerIsMissingInNoWatch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := openFar(t, serveFar(t))
		w := startWatch(t, b)
		runs := make(chan Run, 10)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.WatchRuns(ctx, time.Now(), func(r Run) { runs <- r }) }() // until stop
		time.Sleep(time.Second)
		for range 300 { // more than are asked for at a time
			for _, subject := range []string{prefix + "evt.lon1.i-9.stop.accepted.a", runSubject("lon1", "forged")} {
				msg := nats.NewMsg(subject)
				msg.Header.Set("Status", []string{"404", "408", "400", "503", "100", "409"}[len(subject)%6])
				msg.Header.Set("Nats-Last-Consumer", "12345")
				if _, err := b.js.PublishMsg(t.Context(), msg); err != nil {
					t.Fatal(err)
				}
			}
		}
		begin := time.Now()
		say(t, b, "i-1")
		if _, err := b.StoreRun(t.Context(), Run{Region: "lon1", Trigger: "mine"}); err != nil {
			t.Fatal(err)
		}
		select {
		case r := <-runs:
			if r.Trigger != "mine" {
				t.Errorf("got plan %q", r.Trigger)
			}
		case <-time.After(time.Minute):
			t.Error("the plan is not handed over")
		}
		w.want(t, "i-1")
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it was handed over after %s", took)
		}
		w.stop()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Whoever may publish must not make a watch hand over what is not stored.
func TestWhatWasNeverStoredIsNotHandedOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := openFar(t, serveFar(t))
		say(t, b, "i-1")
		if _, err := b.js.CreateConsumer(t.Context(), StreamEvt, jetstream.ConsumerConfig{Name: "mine", AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Minute}); err != nil {
			t.Fatal(err)
		}
		p, err := b.puller(StreamEvt, "mine", 4)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		p.ordered = &place{stream: StreamEvt, consumer: "mine"}
		if err := b.nc.PublishRequest(p.sub.Subject, "x", []byte("forged")); err != nil { // the server itself refuses $JS.ACK there
			t.Fatal(err)
		}
		if m, err := p.next(time.Second); err != nil || m.meta.Sequence.Stream != 1 {
			t.Errorf("got %+v, %v", m, err)
		}
	})
}

func TestAReplayEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := openFar(t, serveFar(t))
		for want := range 3 {
			n := 0
			begin := time.Now()
			err := b.Watch(t.Context(), WatchOptions{Replay: true}, func(Record, time.Time, uint64) error { n++; return nil })
			if err != nil || n != want {
				t.Errorf("%d events were replayed (%v), want %d", n, err, want)
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("the replay took %s", took)
			}
			say(t, b, fmt.Sprint("i-", want))
		}
		stop := errors.New("enough")
		if err := b.Watch(t.Context(), WatchOptions{Replay: true}, func(Record, time.Time, uint64) error { return stop }); err != stop {
			t.Errorf("got %v, want what the handler said", err)
		}
	})
}
