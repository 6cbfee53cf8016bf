package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// These tests drive the built binary as a user would: the simulator is one
// process, the daemon another, a plain NATS client a third.

const e2eToken = "s3cret-t0ken-of-the-test"

// patience bounds every wait on another process.
const patience = 2 * time.Minute

var built = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "nightshift-e2e-"); err != nil {
		return "", err
	}
	for target, pkg := range map[string]string{"nightshift": ".", "nats-server": "github.com/nats-io/nats-server/v2"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, target), pkg)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	return dir, nil
})

func binary(t *testing.T, name string) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// process is a child whose output is kept.
type process struct {
	*exec.Cmd
	mu   sync.Mutex
	out  bytes.Buffer
	more chan struct{} // written to after each piece of output
	done chan struct{} // closed when the process has ended
	err  error
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
	return p.out.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// start runs a program in the background; it is killed when the test ends.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(binary(t, name), args...), more: make(chan struct{}, 1), done: make(chan struct{})}
	p.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NO_COLOR=1"}, env...)
	p.Stdout, p.Stderr = p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.Wait(); close(p.done) }() // until the process ends
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s %s:\n%s", name, strings.Join(args, " "), p.output())
		}
		if strings.Contains(p.output(), e2eToken) && name != "sim" {
			t.Errorf("the token is in the output of %s", name)
		}
	})
	return p
}

// says waits until the output matches, and returns the first group.
func (p *process) says(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		if m := re.FindStringSubmatch(p.output()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-p.more:
		case <-p.done:
			if m := re.FindStringSubmatch(p.output()); m != nil {
				return m[len(m)-1]
			}
			t.Fatalf("the process ended (%v) without saying %q:\n%s", p.err, pattern, p.output())
		case <-deadline:
			t.Fatalf("the process does not say %q:\n%s", pattern, p.output())
		}
	}
}

// ends waits for the end of a process and returns its exit code.
func (p *process) ends(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("the process does not end:\n%s", p.output())
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

const e2eFleet = `instances:
  - { id: 11111111-0000-4000-8000-000000000001, hostname: dev-1, region: LON1, tags: [env=dev] }
  - { id: 11111111-0000-4000-8000-000000000002, hostname: dev-2, region: LON1, tags: [env=dev] }
  - { id: 22222222-0000-4000-8000-000000000001, hostname: dev-db, region: LON1, tags: [env=dev, protected] }
  - { id: 33333333-0000-4000-8000-000000000001, hostname: web-1, region: LON1, tags: [role=web] }
`

const e2ePolicies = `version: 1
regions: [LON1]
timezone: Europe/London
schedules:
  office: { running: ["Mon-Fri 08:00-19:00"] }
policies:
  - name: dev-hours
    select: { all: [env=dev] }
    schedule: office
  - name: web-down
    select: { all: [role=web] }
    trigger: { alert: InstanceDown }
    do: { reboot: soft }
protect: { all: [protected] }
verify: { within: 30s, settle: 1500ms, apart: 500ms }
civo: { rate: 50/s }
`

var ports atomic.Int32 // that freeAddr has given away

// freeAddr is an address at which nobody listens until a child does, also while the
// child is dead. Its port is below those that the system gives to whoever asks for
// any, and where the machine has more than one loopback address (as Linux has) it is
// at one that belongs to this process: the tests of other packages run beside these.
func freeAddr(*testing.T) string {
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

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// site is a simulator, a place for a daemon, and a NATS client.
type site struct {
	t        *testing.T
	dir      string
	api      string
	nats     string // address of NATS
	external bool
	config   string

	mu   sync.Mutex
	seen []seenEvent
	more chan struct{}
}

type seenEvent struct {
	subject string
	data    struct {
		ActionID, Action, Outcome, Reason, Hostname, Policy string
	}
}

func newSite(t *testing.T, external bool, delay string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), external: external, nats: freeAddr(t), more: make(chan struct{}, 1)}
	fleet := write(t, s.dir, "fleet.yaml", e2eFleet)
	s.config = write(t, s.dir, "nightshift.yaml", e2ePolicies)
	sim := start(t, nil, "nightshift", "sim", "--listen", "127.0.0.1:0", "--token", e2eToken, "--fleet", fleet, "--delay", delay)
	s.api = sim.says(t, `(http://[0-9.:]+)`)
	if external {
		host, port, _ := net.SplitHostPort(s.nats)
		start(t, nil, "nats-server", "-a", host, "-p", port, "-js", "-sd", filepath.Join(s.dir, "nats")).says(t, `Server is ready`)
	}
	return s
}

// daemon starts nightshift run at a plan time.
func (s *site) daemon(planStart string, args ...string) *process {
	s.t.Helper()
	args = append([]string{"run", "--config", s.config, "--api-url", s.api, "--data-dir", filepath.Join(s.dir, "data"), "--plan-start", planStart, "--plan-speed", "10"}, args...)
	if s.external {
		args = append(args, "--nats-url", "nats://"+s.nats)
	} else {
		args = append(args, "--nats-listen", s.nats)
	}
	p := start(s.t, []string{"CIVO_TOKEN=" + e2eToken}, "nightshift", args...)
	p.says(s.t, `"(ready)"`)
	return p
}

// listen collects all events with a plain NATS client, over restarts of the server.
func (s *site) listen() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect("nats://"+s.nats, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	if _, err := nc.Subscribe("nightshift.v1.evt.>", func(m *nats.Msg) {
		var e struct {
			Data json.RawMessage `json:"data"`
		}
		ev := seenEvent{subject: m.Subject}
		var data struct {
			ActionID string `json:"action_id"`
			Action   string `json:"action"`
			Outcome  string `json:"outcome"`
			Reason   string `json:"reason"`
			Hostname string `json:"hostname"`
			Policy   string `json:"policy"`
		}
		if json.Unmarshal(m.Data, &e) == nil && json.Unmarshal(e.Data, &data) == nil {
			ev.data.ActionID, ev.data.Action, ev.data.Outcome, ev.data.Reason, ev.data.Hostname, ev.data.Policy = data.ActionID, data.Action, data.Outcome, data.Reason, data.Hostname, data.Policy
		}
		s.mu.Lock()
		s.seen = append(s.seen, ev)
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
	}); err != nil {
		s.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		s.t.Fatal(err)
	}
	return nc
}

// hears waits for an event "action host outcome [reason]".
func (s *site) hears(want string) {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		var got []string
		for _, e := range s.seen {
			line := strings.TrimSpace(strings.Join([]string{e.data.Action, e.data.Hostname, e.data.Outcome, e.data.Reason}, " "))
			got = append(got, line)
			if line == want {
				s.mu.Unlock()
				return
			}
		}
		s.mu.Unlock()
		select {
		case <-s.more:
		case <-deadline:
			s.t.Fatalf("no event %q; there are:\n%s", want, strings.Join(got, "\n"))
		}
	}
}

// ledger reads all stored events as a user with a NATS client would, and
// returns for each action its outcomes.
func (s *site) ledger(nc *nats.Conn) map[string][]string {
	s.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	consumer, err := js.OrderedConsumer(ctx, "NS_EVT", jetstream.OrderedConsumerConfig{})
	if err != nil {
		s.t.Fatal(err)
	}
	info, err := js.Stream(ctx, "NS_EVT")
	if err != nil {
		s.t.Fatal(err)
	}
	outcomes := make(map[string][]string)
	for range info.CachedInfo().State.Msgs {
		m, err := consumer.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			s.t.Fatal(err)
		}
		tok := strings.Split(m.Subject(), ".") // nightshift.v1.evt.<region>.<instance>.<action>.<outcome>.<id>
		switch tok[6] {
		case "started", "accepted", "put-off", "waiting":
			outcomes[tok[7]] = append(outcomes[tok[7]], []string{}...)
		default:
			outcomes[tok[7]] = append(outcomes[tok[7]], tok[5]+" "+tok[4]+" "+tok[6])
		}
	}
	return outcomes
}

// calls counts the requests of an operation in the simulator's ledger.
func (s *site) calls(op string) int {
	s.t.Helper()
	var requests []struct {
		Op     string `json:"op"`
		Effect bool   `json:"effect"`
	}
	if err := json.Unmarshal(s.get("/sim/ledger"), &requests); err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for _, r := range requests {
		if r.Op == op {
			n++
		}
	}
	return n
}

func (s *site) get(path string) []byte {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.api+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "bearer "+e2eToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return body
}

func (s *site) wantStatus(host, want string) {
	s.t.Helper()
	var page struct {
		Items []struct{ Hostname, Status string }
	}
	if err := json.Unmarshal(s.get("/v2/instances?region=LON1"), &page); err != nil {
		s.t.Fatal(err)
	}
	for _, i := range page.Items {
		if i.Hostname == host && i.Status != want {
			s.t.Errorf("%s is %s, want %s", host, i.Status, want)
		}
	}
}

func bothServers(t *testing.T, test func(t *testing.T, external bool)) {
	for _, external := range []bool{false, true} {
		name := "embedded NATS"
		if external {
			name = "external NATS"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, external)
		})
	}
}

func TestAWeekdayEveningThroughTheBinary(t *testing.T) {
	t.Parallel()
	bothServers(t, func(t *testing.T, external bool) {
		s := newSite(t, external, "300ms")
		daemon := s.daemon("2026-03-04T18:59:30Z")
		nc := s.listen()
		s.hears("stop dev-1 done")
		s.hears("stop dev-2 done")
		s.hears("stop dev-db skipped protected")
		s.wantStatus("dev-1", "SHUTOFF")
		s.wantStatus("dev-2", "SHUTOFF")
		s.wantStatus("dev-db", "ACTIVE")

		// With any NATS client: a command acts, what cannot be read harms nobody.
		for subject, body := range map[string]string{
			"nightshift.v1.cmd.local.lon1.33333333-0000-4000-8000-000000000001.explode": `{}`,
			"nightshift.v1.cmd.local.lon1.33333333-0000-4000-8000-000000000001.start":   `{"reason": `,
			"nightshift.v1.cmd.nobody":                  `{}`,
			"nightshift.v1.sig.prom.lon1._":             `not json`,
			"nightshift.v1.tick.dev-hours.1":            strings.Repeat("x", 100_000),
			"nightshift.v1.run.lon1.t1":                 `{}`,
			"nightshift.v1.cmd.local.moon1.none-1.stop": `{}`,
		} {
			if err := nc.Publish(subject, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Publish("nightshift.v1.cmd.local.lon1.33333333-0000-4000-8000-000000000001.stop", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		s.hears("stop web-1 done")
		s.hears("stop  failed invalid") // the region that is none of the daemon's
		s.wantDeadLetters(nc, 6)

		if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := daemon.ends(t); code != 0 {
			t.Errorf("exit code %d after SIGTERM, want 0", code)
		}
	})
}

func (s *site) wantDeadLetters(nc *nats.Conn, want uint64) {
	s.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := js.Stream(s.t.Context(), "NS_DLQ")
	if err != nil {
		s.t.Fatal(err)
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		info, err := stream.Info(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if info.State.Msgs == want {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			s.t.Fatalf("%d dead letters, want %d", info.State.Msgs, want)
		}
	}
}

func TestAKillBetweenAcceptedAndOutcomeLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	bothServers(t, func(t *testing.T, external bool) {
		s := newSite(t, external, "2s")
		first := s.daemon("2026-03-04T18:59:30Z")
		s.listen()
		s.hears("stop dev-1 accepted")
		s.hears("stop dev-2 accepted")
		if err := first.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-first.done

		s.daemon("2026-03-04T19:02:00Z")
		nc := s.listen()
		s.hears("stop dev-1 done")
		s.hears("stop dev-2 done")
		s.hears("stop dev-db skipped protected")
		for id, outcomes := range s.ledger(nc) {
			if len(outcomes) != 1 {
				t.Errorf("action %s has %d outcomes: %v", id, len(outcomes), outcomes)
			}
		}
		if n := s.calls("stop"); n != 2 {
			t.Errorf("%d stop calls, want 2: one for each instance", n)
		}
	})
}

func TestASecondDaemonOnOneDirectoryIsRefusedAndNamesTheFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t, false, "1s")
	first := s.daemon("2026-03-04T12:00:00Z")
	second := start(t, []string{"CIVO_TOKEN=" + e2eToken}, "nightshift", "run", "--config", s.config, "--api-url", s.api, "--data-dir", filepath.Join(s.dir, "data"), "--nats-listen", "127.0.0.1:0")
	if code := second.ends(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if want := fmt.Sprintf("in use by process %d", first.Process.Pid); !strings.Contains(second.output(), want) {
		t.Errorf("got %q, want %q in it", second.output(), want)
	}
}

// Whoever ends what does not answer, as Kubernetes does, lets it wait.
func TestADaemonWaitsForANATSThatIsAwayAtItsStart(t *testing.T) {
	t.Parallel()
	s := newSite(t, false, "300ms")
	web := freeAddr(t)
	args := []string{"run", "--config", s.config, "--api-url", s.api, "--nats-url", "nats://" + s.nats}
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get("http://" + web + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}

	daemon := start(t, []string{"CIVO_TOKEN=" + e2eToken}, "nightshift", append(args, "--http-listen", web)...)
	daemon.says(t, `waiting for NATS`)
	if code, text := get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: %d %s", code, text)
	}
	if code, text := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "waiting for NATS") {
		t.Errorf("/readyz: %d %s", code, text)
	}
	if code, text := get("/metrics"); code != http.StatusOK || !strings.Contains(text, "\nnightshift_ready 0\n") {
		t.Errorf("/metrics: %d %s", code, text)
	}
	another := start(t, []string{"CIVO_TOKEN=" + e2eToken}, "nightshift", append(args, "--http-listen", web)...)
	another.says(t, `(http.listen .*address already in use)`)
	if code := another.ends(t); code != 1 {
		t.Errorf("with an address that is taken it ends with %d, want 1", code)
	}
	waiting := start(t, []string{"CIVO_TOKEN=" + e2eToken}, "nightshift", append(args, "--http-listen", "127.0.0.1:0")...)
	waiting.says(t, `waiting for NATS`)
	if err := waiting.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := waiting.ends(t); code != 0 {
		t.Errorf("ended in order while it waits it ends with %d, want 0", code)
	}

	host, port, _ := net.SplitHostPort(s.nats)
	start(t, nil, "nats-server", "-a", host, "-p", port, "-js", "-sd", filepath.Join(s.dir, "nats")).says(t, `Server is ready`)
	daemon.says(t, `"(ready)"`)
	if code, text := get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d %s", code, text)
	}
	if code, text := get("/metrics"); code != http.StatusOK || !strings.Contains(text, "\nnightshift_ready 1\n") {
		t.Errorf("/metrics: %d %s", code, text)
	}
}

func TestAWrongTokenAndAnUnknownRegionAreSaidAndTheDaemonStays(t *testing.T) {
	t.Parallel()
	s := newSite(t, false, "300ms")
	s.config = write(t, s.dir, "two.yaml", strings.Replace(e2ePolicies, "[LON1]", "[LON1, MOON1]", 1))
	s.daemon("2026-03-04T12:00:00Z").says(t, `region is unknown to Civo.*MOON1`)

	s2 := newSite(t, false, "300ms")
	daemon := start(t, []string{"CIVO_TOKEN=wrong-" + e2eToken}, "nightshift", "run", "--config", s2.config, "--api-url", s2.api,
		"--data-dir", filepath.Join(s2.dir, "data"), "--nats-listen", s2.nats)
	daemon.says(t, `"(ready)"`)
	nc := s2.listen()
	if err := nc.Publish("nightshift.v1.cmd.local.lon1.33333333-0000-4000-8000-000000000001.stop", nil); err != nil {
		t.Fatal(err)
	}
	daemon.says(t, `Civo refuses the token`)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "NS_EVT")
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetLastMsgForSubject(t.Context(), "nightshift.v1.evt._._.account.put-off.*")
	if err != nil || !strings.Contains(string(m.Data), "requires_authentication") {
		t.Errorf("the one loud event: %v", err)
	}
	if s2.calls("stop") != 0 {
		t.Error("a stop was carried out with a wrong token")
	}
}
