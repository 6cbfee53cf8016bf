package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
)

const (
	token = "t0ken-of-the-crash-tests"
	// patience bounds every wait on another process.
	patience = 2 * time.Minute
)

// scene is what a test begins with.
type scene struct {
	sim      civosim.Options
	fleet    string
	policies string // the file
}

// site is a cloud, a NATS, and a place for a daemon.
type site struct {
	t    *testing.T
	dir  string
	sim  *civosim.Sim
	api  string
	nats string // address
	file string // the policy file
	cfg  *configs.Config

	external bool
	lives    []*span   // of its daemons
	began    time.Time // machine time at which plan time was from
	from     time.Time
	speed    float64
}

// newSite sets a scene, at a plan time that runs from the first start of a daemon.
// The store is a copy of that of before, if there is one.
func newSite(t *testing.T, sc scene, external bool, from time.Time, before string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), external: external, from: from, speed: 1}
	var err error
	if sc.sim.Fleet, err = civosim.ParseFleet([]byte(sc.fleet)); err != nil {
		t.Fatal(err)
	}
	sc.sim.Token = token
	s.sim = civosim.New(sc.sim)
	api := httptest.NewServer(s.sim)
	t.Cleanup(api.Close)
	s.api = api.URL
	s.file = filepath.Join(s.dir, "nightshift.yaml")
	if err := os.WriteFile(s.file, []byte(sc.policies), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.cfg, err = configs.Load(s.file, nil, configs.Overrides{APIURL: s.api}); err != nil {
		t.Fatal(err)
	}
	if before != "" {
		if err := os.CopyFS(s.store(), os.DirFS(before)); err != nil {
			t.Fatal(err)
		}
	}
	if external {
		n, err := server.NewServer(&server.Options{ServerName: "far", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: s.store()})
		if err != nil {
			t.Fatal(err)
		}
		n.Start()
		t.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
		if !n.ReadyForConnections(patience) {
			t.Fatal("NATS is not ready")
		}
		s.nats = n.Addr().String()
		return s
	}
	s.nats = freeAddr()
	return s
}

var ports atomic.Int32 // that freeAddr has given away

// freeAddr is an address at which nobody listens until a child does, also while the
// child is dead. Its port is below those that the system gives to whoever asks for
// any, and where the machine has more than one loopback address (as Linux has) it is
// at one that belongs to this process: the tests of other packages run beside these.
func freeAddr() string {
	pid := os.Getpid()
	host := fmt.Sprintf("127.%d.%d.%d", 64+pid>>16&63, pid>>8&255, pid&255)
	if ln, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		host = "127.0.0.1"
	} else {
		_ = ln.Close()
	}
	for {
		addr := fmt.Sprintf("%s:%d", host, 10_000+(pid*97+int(ports.Add(1)))%20_000)
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue // somebody is there
		}
		if err := ln.Close(); err == nil {
			return addr
		}
	}
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// knownBefore is the store of a daemon that knew the policy at-noon before noon: one
// that comes to know it at noon, or later, would not act.
func knownBefore(t *testing.T, sc scene, external bool) (store string) {
	t.Helper()
	s := newSite(t, sc, external, noon.Add(-time.Hour), "")
	first := s.start("")
	s.knows("at-noon")
	first.kill()
	return s.store()
}

// inject lets the API fail from now on.
func (s *site) inject(faults ...string) {
	s.t.Helper()
	for _, text := range faults {
		fault, err := civosim.ParseFault(text)
		if err != nil {
			s.t.Fatal(err)
		}
		s.sim.Inject(fault)
	}
}

// store is the directory of NATS, whoever runs it.
func (s *site) store() string { return filepath.Join(s.dir, "store") }

// now is the plan time.
func (s *site) now() time.Time { return s.at(time.Now()) }

func (s *site) at(machine time.Time) time.Time {
	return s.from.Add(time.Duration(float64(machine.Sub(s.began)) * s.speed))
}

// span is a life of the daemon, in machine time.
type span struct{ from, until time.Time }

// start starts the daemon. crashAt is where it is to end itself; empty: nowhere.
func (s *site) start(crashAt string) *daemon {
	s.t.Helper()
	if s.began.IsZero() {
		s.began = time.Now() // plan time begins to run
	}
	args := []string{"run", "--log-format", "json", "--config", s.file, "--api-url", s.api, "--data-dir", s.store(),
		"--plan-start", s.from.Format(time.RFC3339Nano), "--plan-at", s.began.Format(time.RFC3339Nano), "--plan-speed", strconv.FormatFloat(s.speed, 'f', -1, 64)}
	if s.external {
		args = append(args, "--nats-url", "nats://"+s.nats)
	} else {
		args = append(args, "--nats-listen", s.nats)
	}
	d := &daemon{t: s.t, Cmd: exec.Command(binary, args...), more: make(chan struct{}, 1), done: make(chan struct{})}
	d.Env = []string{"GOGC=off", "PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "CIVO_TOKEN=" + token, "CRASH_AT=" + crashAt}
	d.Stdout, d.Stderr = d, d
	if err := d.Start(); err != nil {
		s.t.Fatal(err)
	}
	life := &span{from: time.Now()}
	s.lives = append(s.lives, life)
	go func() { d.err = d.Wait(); life.until = time.Now(); close(d.done) }() // until the process ends
	s.t.Cleanup(func() {
		d.kill()
		d.wantNoRace()
		if s.t.Failed() && d.output() != "" {
			s.t.Logf("daemon %d, CRASH_AT=%s:\n%s", d.Process.Pid, crashAt, d.output())
		}
	})
	return d
}

// comesBack starts a daemon after one was killed.
func (s *site) comesBack() *daemon {
	s.t.Helper()
	s.redeliver()
	return s.start("")
}

// bus is a connection as of a program of somebody else.
func (s *site) bus() *events.Bus {
	s.t.Helper()
	var bus *events.Bus
	s.until("NATS answers", func() (err error) {
		bus, err = events.Dial(s.t.Context(), "nats://"+s.nats, events.Auth{})
		return err
	})
	s.t.Cleanup(func() { bus.Conn().Close() })
	return bus
}

// knows waits until the daemon knows a policy, and returns since when (plan time):
// edges from then on count.
func (s *site) knows(policy string) time.Time {
	s.t.Helper()
	js, err := jetstream.New(s.bus().Conn())
	if err != nil {
		s.t.Fatal(err)
	}
	var known struct {
		Since time.Time `json:"since"`
	}
	s.until("policy "+policy+" is known", func() error {
		kv, err := js.KeyValue(s.t.Context(), events.Bucket)
		if err != nil {
			return err
		}
		entry, err := kv.Get(s.t.Context(), "policy."+policy)
		if err != nil {
			return err
		}
		return json.Unmarshal(entry.Value(), &known)
	})
	return known.Since
}

// redeliver lets the time pass after which an external NATS delivers again what
// was not acknowledged by a process that is no more: 30 s.
func (s *site) redeliver() {
	s.t.Helper()
	if !s.external {
		return // the daemon does so itself at its start
	}
	js, err := jetstream.New(s.bus().Conn())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range consumers {
		s.until("consumer "+c.name+" begins anew", func() error {
			_, err := js.ResetConsumer(s.t.Context(), c.stream, c.name)
			if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil
			}
			return err
		})
	}
}

var consumers = []struct{ stream, name string }{
	{events.StreamIn, "planner"}, {events.StreamIn, "planner-commands"}, {events.StreamIn, "planner-signals"}, {events.StreamRun, "runner"},
}

// until asks until there is no error.
func (s *site) until(what string, ask func() error) {
	s.t.Helper()
	ticker := time.NewTicker(150 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			s.t.Fatalf("not so within %s: %s: %v", patience, what, err)
		}
	}
}

// allEnded waits until nothing waits for the daemon any more, and is what is stored
// then. isCalm, which may be nil, says what else speaks against it, since a plan time;
// it is asked once more when all is read, which takes a while.
func (s *site) allEnded(isCalm func(since time.Time) error) (st story) {
	s.t.Helper()
	bus := s.bus()
	js, err := jetstream.New(bus.Conn())
	if err != nil {
		s.t.Fatal(err)
	}
	s.until("all has ended", func() error {
		if err := s.isIdle(js); err != nil {
			return err
		}
		since := s.now()
		if isCalm != nil {
			if err := isCalm(since); err != nil {
				return err
			}
		}
		if st, err = s.read(bus); err == nil && len(st.runs) == 0 {
			err = errors.New("no plan is stored")
		}
		if err == nil && isCalm != nil {
			err = isCalm(since)
		}
		return err
	})
	return st
}

// isIdle says what the daemon has not acknowledged yet.
func (s *site) isIdle(js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	for _, c := range consumers {
		consumer, err := js.Consumer(ctx, c.stream, c.name)
		if err != nil {
			return err
		}
		info, err := consumer.Info(ctx)
		if err != nil {
			return err
		}
		if n := int(info.NumPending) + info.NumAckPending; n > 0 {
			return fmt.Errorf("%d messages of %s wait for %s", n, c.stream, c.name)
		}
	}
	return nil
}
