package promise_test

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"nightshift/civo/civosim"
)

// fuse says at which operation of a daemon its process is killed.
type fuse int

const (
	atWrite       fuse = iota // to the bus, nothing of it arrives
	atHalfWrite               // the first half of it arrives
	afterWrite                // all of it arrives
	atRead                    // of the bus: the answer has been given, and is not heard
	beforeRequest             // to the cloud
	afterRequest              // carried out, the answer is not heard
	fuses
)

func (f fuse) String() string {
	return [...]string{"before a write to the bus", "in the middle of a write to the bus", "after a write to the bus", "before it reads an answer of the bus",
		"before a request to the cloud", "after a request to the cloud"}[f]
}

// wire is all that one process has to do with the world: a connection to the bus
// and requests to the cloud. When it is dead nothing leaves the process any more,
// whatever still runs of it, as if it had been killed.
type wire struct {
	bus  *server.Server
	sim  *civosim.Sim
	dead chan struct{} // closed

	mu      sync.Mutex
	away    bool // the bus cannot be reached
	backAt  time.Time
	killed  bool
	conns   []net.Conn
	fuse    fuse
	countTo int // operations of the fuse's kind until it blows; 0: none is lit
}

var errDead = errors.New("this process is dead")

func newWire(bus *server.Server, sim *civosim.Sim) *wire {
	return &wire{bus: bus, sim: sim, dead: make(chan struct{})}
}

// Dial connects as a nats.CustomDialer.
func (w *wire) Dial(string, string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away || w.killed {
		return nil, errors.New("connection refused")
	}
	conn, err := w.bus.InProcessConn()
	if err != nil {
		return nil, err
	}
	w.conns = append(w.conns, conn)
	return &tapped{conn, w}, nil
}

// light has the process killed at the nth operation of a kind from now on.
func (w *wire) light(f fuse, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fuse, w.countTo = f, n
}

// burns reports whether the fuse blows at an operation.
func (w *wire) burns(kinds ...fuse) (fuse, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.killed || w.countTo == 0 {
		return 0, false
	}
	for _, f := range kinds {
		if f == w.fuse {
			w.countTo--
			return f, w.countTo == 0
		}
	}
	return 0, false
}

func (w *wire) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.killed {
		return
	}
	w.killed = true
	w.hangUp()
	close(w.dead)
}

func (w *wire) isDead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.killed
}

// cut ends all connections and lets none be made until restore.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = true
	w.hangUp()
}

func (w *wire) restore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away, w.backAt = false, time.Now()
}

func (w *wire) isAway() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away
}

// isUnsettled reports whether the bus is away, or came back only just now.
func (w *wire) isUnsettled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away || time.Since(w.backAt) < rest
}

// hangUp is called with mu held.
func (w *wire) hangUp() {
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// tapped is a connection to the bus whose operations are counted.
type tapped struct {
	net.Conn
	wire *wire
}

func (t *tapped) Write(b []byte) (int, error) {
	f, blows := t.wire.burns(atWrite, atHalfWrite, afterWrite)
	if !blows {
		return t.Conn.Write(b)
	}
	switch f {
	case atHalfWrite:
		_, _ = t.Conn.Write(b[:len(b)/2])
	case afterWrite:
		_, _ = t.Conn.Write(b)
	}
	t.wire.kill()
	return 0, errDead
}

func (t *tapped) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if _, blows := t.wire.burns(atRead); blows {
		t.wire.kill()
		return 0, errDead
	}
	return n, err
}

// RoundTrip asks the cloud.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if _, blows := w.burns(beforeRequest); blows {
		w.kill()
	}
	if w.isDead() {
		return nil, errDead
	}
	resp, err := w.sim.Transport().RoundTrip(req)
	if _, blows := w.burns(afterRequest); blows {
		w.kill()
	}
	if w.isDead() {
		return nil, errDead
	}
	return resp, err
}
