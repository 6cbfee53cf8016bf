package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
)

const (
	token = "t0ken-of-the-crash-tests"
	// patience bounds every wait on another process.
	patience = 2 * time.Minute
)

var binary string // the daemon, built with the tag crashpoints

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// The cases hardly work, they wait: for a planned time, for a state.
		if err := f.Value.Set(strconv.Itoa(6 * runtime.GOMAXPROCS(0))); err != nil {
			panic(err)
		}
	}
	os.Exit(withBinary(m))
}

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "nightshift-crash-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "nightshift")
	args := []string{"build", "-tags", "crashpoints", "-o", binary}
	env := os.Environ()
	if isRaced {
		args = append(args, "-race")
	} else { // as it is released (Dockerfile); that also starts and links sooner
		args, env = append(args, "-ldflags", "-s -w"), append(env, "CGO_ENABLED=0")
	}
	build := exec.Command("go", append(args, "nightshift/cmd/nightshift")...)
	build.Env = env
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the daemon: %v\n%s", err, out)
		return 1
	}
	if stores, err := inMemory(); err == nil {
		defer func() { _ = os.RemoveAll(stores) }()
		if err := os.Setenv("TMPDIR", stores); err != nil {
			panic(err)
		}
	}
	return m.Run()
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

// newSite has a cloud with a fleet. The store is a copy of that of before, if there
// is one.
func newSite(t *testing.T, external bool, sim civosim.Options, fleet, policies, before string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), external: external, speed: 1}
	var err error
	if sim.Fleet, err = civosim.ParseFleet([]byte(fleet)); err != nil {
		t.Fatal(err)
	}
	sim.Token = token
	s.sim = civosim.New(sim)
	api := httptest.NewServer(s.sim)
	t.Cleanup(api.Close)
	s.api = api.URL
	s.file = filepath.Join(s.dir, "nightshift.yaml")
	if err := os.WriteFile(s.file, []byte(policies), 0o600); err != nil {
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

// freeAddr is an address at which nobody listens until a child does. It is below
// the ports that the system gives to whoever asks for any: a test beside this one
// could be given it meanwhile.
func freeAddr() string {
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+(os.Getpid()*97+int(ports.Add(1)))%20_000)
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue // somebody is there
		}
		if err := ln.Close(); err == nil {
			return addr
		}
	}
}

// store is the directory of NATS, whoever runs it.
func (s *site) store() string { return filepath.Join(s.dir, "store") }

// now is the plan time.
func (s *site) now() time.Time { return s.at(time.Now()) }

func (s *site) at(machine time.Time) time.Time {
	return s.from.Add(time.Duration(float64(machine.Sub(s.began)) * s.speed))
}

// daemon is a running process.
type daemon struct {
	*exec.Cmd
	t    *testing.T
	mu   sync.Mutex
	out  bytes.Buffer
	more chan struct{} // written to after each piece of output
	done chan struct{} // closed when it has ended
	err  error
}

func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case d.more <- struct{}{}:
	default:
	}
	return d.out.Write(b)
}

func (d *daemon) output() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
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

// wantNoRace fails when the detector has said something: what is killed has no
// exit code of its own.
func (d *daemon) wantNoRace() {
	d.t.Helper()
	if _, report, ok := strings.Cut(d.output(), "WARNING: DATA RACE"); ok {
		d.t.Errorf("a data race in the daemon:%s", report)
	}
}

// forget drops what it said.
func (d *daemon) forget() {
	d.wantNoRace()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out.Reset()
}

func (d *daemon) kill() {
	_ = d.Process.Kill()
	<-d.done
}

// diesAfter returns when it is dead: killed after a while, if nothing else ended it.
func (d *daemon) diesAfter(life time.Duration) {
	strike := time.AfterFunc(life, func() { _ = d.Process.Kill() })
	defer strike.Stop()
	<-d.done
}

// says waits for a text in the log, and reports whether it came before the
// process ended.
func (d *daemon) says(text string) bool {
	d.t.Helper()
	re := regexp.MustCompile(text)
	deadline := time.After(patience)
	for {
		if re.MatchString(d.output()) {
			return true
		}
		select {
		case <-d.more:
		case <-d.done:
			return re.MatchString(d.output())
		case <-deadline:
			d.t.Fatalf("the daemon does not say %q", text)
		}
	}
}

// crashes waits until the process has ended itself at its crash point.
func (d *daemon) crashes() {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Fatal("the daemon did not come to its crash point")
	}
	var exit *exec.ExitError
	if !errors.As(d.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		d.t.Fatalf("the daemon ended, and not at its crash point: %v", d.err)
	}
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

// firewallID is the id of the restrictive firewall of every simulator with seed 1.
func firewallID(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(civosim.New(civosim.Options{Regions: []string{"LON1"}, Seed: 1}))
	defer server.Close()
	api, err := civo.New("any", civo.Options{BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	all, err := api.Firewalls(t.Context(), "LON1")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.Name == "restrictive-firewall" {
			return f.ID
		}
	}
	t.Fatal("there is no firewall")
	return ""
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
		if _, err := js.ResetConsumer(s.t.Context(), c.stream, c.name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
			s.t.Fatalf("reset consumer %s: %v", c.name, err)
		}
	}
}

var consumers = []struct{ stream, name string }{
	{events.StreamIn, "planner"}, {events.StreamIn, "planner-commands"}, {events.StreamIn, "planner-signals"}, {events.StreamRun, "runner"},
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

// story is all that is stored, as a program of somebody else reads it.
type story struct {
	runs    []events.Run
	ticks   []events.Tick
	records []events.Record
}

func (s *site) read(bus *events.Bus) (st story, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	for run, err := range bus.Runs(ctx, time.Time{}) {
		if err != nil {
			return st, err
		}
		st.runs = append(st.runs, run)
	}
	for tick, err := range bus.Ticks(ctx, time.Time{}) {
		if err != nil {
			return st, err
		}
		st.ticks = append(st.ticks, tick)
	}
	for rec, err := range bus.Records(ctx, "", time.Time{}) {
		if err != nil {
			return st, err
		}
		st.records = append(st.records, rec)
	}
	return st, nil
}

// outcomes are those of each action, as "verb host outcome reason".
func (st *story) outcomes() map[string][]string {
	all := make(map[string][]string)
	for _, rec := range st.records {
		if rec.Outcome.Ends() {
			all[rec.ActionID] = append(all[rec.ActionID], strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", rec.Action, rec.Hostname, rec.Outcome, rec.Reason)), " "))
		}
	}
	return all
}
