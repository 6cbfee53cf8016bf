package worker_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"nightshift/civo/civosim"
	"nightshift/events"
)

// farServer is a NATS of its own inside the bubble, which can go away.
type farServer struct {
	server *server.Server

	mu     sync.Mutex
	away   bool
	conns  []net.Conn
	text   []byte // for onWrite
	writes func()
}

// Dial connects as a nats.CustomDialer.
func (f *farServer) Dial(string, string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, errors.New("connection refused")
	}
	conn, err := f.server.InProcessConn()
	if err != nil {
		return nil, err
	}
	f.conns = append(f.conns, conn)
	return watchedConn{conn, f}, nil
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

// withFarServer is inBubble with an external NATS.
func withFarServer(t *testing.T, at string, file string, test func(t *testing.T, w *world, far *farServer)) {
	t.Helper()
	withFarFleet(t, at, file, fleet, test)
}

// withFarFleet is the same with another fleet.
func withFarFleet(t *testing.T, at, file, fleet string, test func(t *testing.T, w *world, far *farServer)) {
	t.Helper()
	forget := func() { // as in inBubble
		runtime.GC()
		runtime.GC()
	}
	forget() // also timers that the client has from outside of a bubble: inside they would never ring
	defer forget()
	synctest.Test(t, func(t *testing.T) {
		goTo(t, at)
		s, err := server.NewServer(&server.Options{ServerName: "far", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("the server is not ready")
		}
		far := &farServer{server: s}
		w := &world{t: t}
		w.set = w.parse(file)
		machines, err := civosim.ParseFleet([]byte(fleet))
		if err != nil {
			t.Fatal(err)
		}
		w.sim = civosim.New(civosim.Options{Token: "secret", Regions: w.set.Regions, Delay: 20 * time.Second, Seed: 1, Fleet: machines})
		if w.bus, err = events.Open(t.Context(), events.Options{URL: "nats://127.0.0.1:4222", Memory: true, Dialer: far}); err != nil {
			t.Fatal(err)
		}
		w.begin()
		synctest.Wait()
		test(t, w, far)
		for rec, err := range w.bus.Records(t.Context(), "", time.Time{}) {
			if err != nil {
				t.Error(err)
				break
			}
			w.all = append(w.all, rec)
		}
		w.end()
		if err := w.bus.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		s.Shutdown()
		s.WaitForShutdown()
	})
}

func TestTheEdgesOfAnHourWithoutNATSAreCaughtUp(t *testing.T) {
	var w *world
	withFarServer(t, "2026-03-04 18:30", office, func(t *testing.T, in *world, far *farServer) {
		w = in
		w.after(10 * time.Minute)
		far.cut()
		w.after(time.Hour) // the hours end at 19:00
		w.wantStatus(dev1, "ACTIVE")
		if s := w.w.Status(t.Context()); s.Ready {
			t.Error("the daemon says that it is ready without NATS")
		}
		far.restore()
		w.after(10 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantStatus(dev2, "SHUTOFF")
		if s := w.w.Status(t.Context()); !s.Ready {
			t.Errorf("the daemon is not ready again: %v", s.NotReady)
		}
		if n := w.calls("stop"); n != 2 {
			t.Errorf("%d stops were sent, want 2", n)
		}
	})
	w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
}

func TestACommandOnItsWayWhenNATSGoesIsCarriedOutOnce(t *testing.T) {
	var w *world
	withFarServer(t, "2026-03-04 12:00", office, func(t *testing.T, in *world, far *farServer) {
		w = in
		w.command(events.Command{Instance: web1, Action: "reboot", ID: "once"})
		w.after(time.Millisecond) // it is being planned, called or verified
		far.cut()
		w.after(time.Hour)
		far.restore()
		w.after(time.Hour)
		if n := w.calls("soft_reboot"); n != 1 {
			t.Errorf("%d reboots were sent, want 1", n)
		}
	})
	w.wantOutcomes("reboot web-1 done")
}
