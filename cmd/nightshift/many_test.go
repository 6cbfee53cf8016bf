package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"nightshift/civo/civosim"
	"nightshift/worker/promise"
)

// manyFor is how long the storm of TestManyReplicasLoseAndDoubleNothing lasts.
var manyFor = flag.Duration("many.for", 0, "how long replicas and NATS nodes are killed; 0: the short form")

// crowd is some replicas on a NATS of three nodes, all of them processes of their
// own, and a simulator.
type crowd struct {
	t       *testing.T
	dir     string
	api     string
	config  string
	began   time.Time // when plan time stood at manyStart
	speed   int
	clients []string // addresses of the NATS nodes
	routes  []string
	borders []*border // in front of the routes; empty: none
	asFound promise.Fleet
	nodes   []*process
	workers [3]*process

	nc *nats.Conn
	js jetstream.JetStream
}

const (
	manyPulses = 8
	manyWebs   = 24
	manyProbes = 6

	manyWait = 3 * time.Second // from when a command is sent around an upgrade until it is due
)

var manyStart = time.Date(2026, 3, 4, 12, 0, 30, 0, time.UTC)

const manyPolicies = `version: 1
regions: [LON1]
timezone: UTC
policies:
  - { name: pulse-stop, select: { all: [role=pulse] }, cron: "*/2 * * * *", do: stop }
  - { name: pulse-start, select: { all: [role=pulse] }, cron: "1-59/2 * * * *", do: start }
  - name: web-down
    select: { all: [role=web] }
    trigger: { alert: InstanceDown }
    do: { reboot: soft }
    cooldown: 1s
    at_most: { instances: 1000, within: 1m }
limits: { per_run: 1000, per_hour: 100000 }
verify: { within: 30s, settle: 1500ms, apart: 500ms }
civo: { rate: 100/s }
`

func instanceID(kind, n int) string { return fmt.Sprintf("%08d-0000-4000-8000-%012d", kind, n) }

func newMany(t *testing.T, nodes, speed int) *crowd {
	t.Helper()
	m := layMany(t, nodes, speed)
	m.begin()
	return m
}

// layMany is what newMany starts, with nothing started.
func layMany(t *testing.T, nodes, speed int) *crowd {
	t.Helper()
	m := &crowd{t: t, dir: t.TempDir(), speed: speed, nodes: make([]*process, nodes)}
	for range nodes {
		m.clients, m.routes = append(m.clients, freeAddr(t)), append(m.routes, freeAddr(t))
	}
	return m
}

// begin starts all but the replicas.
func (m *crowd) begin() {
	t := m.t
	t.Helper()
	var fleet strings.Builder
	fleet.WriteString("instances:\n")
	for kind, g := range []struct {
		role string
		n    int
	}{{"pulse", manyPulses}, {"web", manyWebs}, {"probe", manyProbes}} {
		for i := range g.n {
			fmt.Fprintf(&fleet, "  - { id: %s, hostname: %s-%d, region: LON1, tags: [role=%s] }\n", instanceID(kind+1, i), g.role, i, g.role)
		}
	}
	m.config = write(t, m.dir, "nightshift.yaml", manyPolicies)
	sim := start(t, nil, "nightshift", "sim", "--listen", "127.0.0.1:0", "--token", e2eToken, "--fleet", write(t, m.dir, "fleet.yaml", fleet.String()), "--delay", "200ms")
	m.api = sim.says(t, `(http://[0-9.:]+)`)
	for i := range m.nodes {
		m.node(i)
	}
	for _, n := range m.nodes {
		n.says(t, `Server is ready`)
	}
	var err error
	if m.nc, err = nats.Connect(m.url(), nats.DontRandomize(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.nc.Close)
	if m.js, err = jetstream.New(m.nc); err != nil {
		t.Fatal(err)
	}
	m.began = time.Now()
	m.asFound = m.fleet()
}

func (m *crowd) url() string { return "nats://" + strings.Join(m.clients, ",nats://") }

// node starts a NATS node, on its directory of before.
func (m *crowd) node(i int) {
	m.t.Helper()
	host, port, _ := net.SplitHostPort(m.clients[i])
	args := []string{"-n", "n" + strconv.Itoa(i), "-a", host, "-p", port, "-js", "-sd", filepath.Join(m.dir, "nats-"+strconv.Itoa(i))}
	if len(m.nodes) > 1 {
		routes := m.routes
		if len(m.borders) > 0 {
			routes = m.crossings()
			args = append(args, "--cluster_advertise", routes[i])
		}
		args = append(args, "--cluster_name", "many", "--cluster", "nats://"+m.routes[i], "--routes", "nats://"+strings.Join(routes, ",nats://"))
	}
	m.nodes[i] = start(m.t, nil, "nats-server", args...)
}

// plan is plan time, which all replicas share.
func (m *crowd) plan(at time.Time) time.Time {
	return manyStart.Add(time.Duration(float64(at.Sub(m.began)) * float64(m.speed)))
}

// worker starts a replica.
func (m *crowd) worker(i int) *process {
	m.t.Helper()
	return m.workerAt(i, m.url())
}

// workerAt starts a replica that knows one address of NATS.
func (m *crowd) workerAt(i int, url string) *process {
	m.t.Helper()
	m.workers[i] = start(m.t, []string{"CIVO_TOKEN=" + e2eToken}, "nightshift", "run", "--config", m.config, "--api-url", m.api, "--nats-url", url,
		"--plan-start", manyStart.Format(time.RFC3339Nano), "--plan-at", m.began.Format(time.RFC3339Nano), "--plan-speed", strconv.Itoa(m.speed))
	return m.workers[i]
}

func kill(t *testing.T, all ...*process) {
	t.Helper()
	for _, p := range all {
		_ = p.Process.Signal(syscall.SIGKILL)
	}
	for _, p := range all {
		<-p.done
	}
}

// send stores a message on NS_IN, however long that takes, and returns when it did.
func (m *crowd) send(ctx context.Context, subject, id string, body any) bool {
	data, err := json.Marshal(body)
	if err != nil {
		m.t.Error(err)
		return false
	}
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := m.js.PublishMsg(try, &nats.Msg{Subject: subject, Data: data}, jetstream.WithMsgID(id))
		cancel()
		if err == nil {
			return true
		}
		pause(ctx, 200*time.Millisecond)
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// storm sends probes (each sets a tag of its own) and alerts until ctx ends, and
// returns the ids of what was stored.
func (m *crowd) storm(ctx, patient context.Context) (sent []string) {
	var mu sync.Mutex
	var all sync.WaitGroup // each ends with patient
	keep := func(id string) { mu.Lock(); sent = append(sent, id); mu.Unlock() }
	for n := 0; ctx.Err() == nil; n++ {
		all.Go(func() {
			id := "p" + strconv.Itoa(n)
			if m.send(patient, "nightshift.v1.cmd.local.lon1."+instanceID(3, n%manyProbes)+".retag", id, map[string]any{"id": id, "add": []string{"seen=" + id}}) {
				keep("local-" + id)
			}
		})
		if n%2 == 0 {
			all.Go(func() {
				id := "a" + strconv.Itoa(n)
				if m.send(patient, "nightshift.v1.sig.prom.lon1."+instanceID(2, n/2%manyWebs), id, map[string]any{"id": id, "alert": "InstanceDown"}) {
					keep("prom-" + id)
				}
			})
		}
		pause(ctx, 250*time.Millisecond)
	}
	all.Wait()
	return sent
}

// stored is what a stream has, oldest first. NATS may be away meanwhile.
func (m *crowd) stored(stream string) []storedMsg {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	for {
		all, err := m.readStream(ctx, stream)
		if err == nil {
			return all
		}
		if ctx.Err() != nil {
			m.t.Fatalf("read %s: %v", stream, err)
		}
		pause(ctx, 500*time.Millisecond)
	}
}

func (m *crowd) readStream(ctx context.Context, stream string) (all []storedMsg, err error) {
	for next := uint64(1); ; {
		msgs, err := jetstreamext.GetBatch(ctx, m.js, stream, 500, jetstreamext.GetBatchSeq(next))
		if err != nil {
			return nil, err
		}
		n := 0
		for msg, err := range msgs {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				return all, nil
			}
			if err != nil {
				return nil, err
			}
			n, next = n+1, msg.Sequence+1
			all = append(all, storedMsg{msg.Subject, strings.Split(msg.Subject, "."), msg.Data, msg.Sequence, msg.Time})
		}
		if n < 500 {
			return all, nil
		}
	}
}

type storedMsg struct {
	subject string
	tok     []string
	data    []byte
	seq     uint64
	at      time.Time
}

// manyEvent is an event of the ledger.
type manyEvent struct {
	ActionID string    `json:"action_id"`
	Action   string    `json:"action"`
	Outcome  string    `json:"outcome"`
	Reason   string    `json:"reason"`
	Detail   string    `json:"detail"`
	Error    string    `json:"error"`
	Trigger  string    `json:"trigger"`
	Policy   string    `json:"policy"`
	Instance string    `json:"instance"`
	Deadline time.Time `json:"deadline"`
	Planned  time.Time `json:"planned"`
	Lateness string    `json:"lateness"`

	at time.Time
}

func (e *manyEvent) ends() bool {
	return slices.Contains([]string{"done", "skipped", "planned", "superseded", "expired", "failed", "unknown"}, e.Outcome)
}

func (m *crowd) events() (all []manyEvent) {
	m.t.Helper()
	for _, s := range m.stored("NS_EVT") {
		var ce struct{ Data manyEvent }
		if err := json.Unmarshal(s.data, &ce); err != nil {
			m.t.Fatal(err)
		}
		ce.Data.at = s.at
		all = append(all, ce.Data)
	}
	return all
}

type manyRun struct {
	Trigger string
	Edges   []string
	Items   []struct{ ID, Instance, Action string }
}

type manyTick struct {
	Policy  string
	Planned time.Time
	Since   time.Time
	Missed  int
	Trigger string
}

// open is what came in until a time, or is in a stored plan, and has no outcome yet.
func (m *crowd) open(sent []string, began, until time.Time) (words []string) {
	ended, came, expired := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	var begun []string
	for _, e := range m.events() {
		if e.Outcome == "noticed" {
			continue // is about nothing that was asked for
		}
		came[e.Trigger] = true
		if e.Action == "tick" && e.ends() {
			expired[e.Policy+"@"+strconv.FormatInt(e.Planned.Unix(), 10)] = true
		}
		begun = append(begun, e.ActionID)
		ended[e.ActionID] = ended[e.ActionID] || e.ends()
	}
	for _, s := range m.stored("NS_RUN") {
		var run manyRun
		if err := json.Unmarshal(s.data, &run); err != nil {
			m.t.Fatal(err)
		}
		came[run.Trigger] = true
		for _, e := range run.Edges {
			came[e] = true
		}
		for _, it := range run.Items {
			begun = append(begun, it.ID)
		}
	}
	for _, id := range begun {
		if !ended[id] {
			words = append(words, "action "+id)
		}
	}
	for _, id := range sent {
		if !came[id] {
			words = append(words, "trigger "+id)
		}
	}
	ticks := make(map[string]bool)
	var missed []manyTick
	for _, s := range m.stored("NS_IN") {
		if s.tok[2] != "tick" || strings.HasPrefix(s.tok[3], "_") {
			continue
		}
		if ticks[s.subject] {
			m.t.Errorf("%s is stored twice", s.subject)
		}
		ticks[s.subject] = true
		var tick manyTick
		if err := json.Unmarshal(s.data, &tick); err != nil {
			m.t.Fatal(err)
		}
		if tick.Missed > 0 {
			missed = append(missed, tick)
		}
		if id := s.tok[3] + "@" + s.tok[4]; s.at.Before(until) && !came[id] && (tick.Missed == 0 || !expired[id]) {
			words = append(words, "edge "+id)
		}
	}
	for at := m.plan(began.Add(time.Second)).Truncate(time.Minute).Add(time.Minute); at.Before(m.plan(until)); at = at.Add(time.Minute) {
		policy := "pulse-start"
		if at.Minute()%2 == 0 {
			policy = "pulse-stop"
		}
		if !ticks["nightshift.v1.tick."+policy+"."+strconv.FormatInt(at.Unix(), 10)] && !slices.ContainsFunc(missed, func(r manyTick) bool {
			return r.Policy == policy && !at.Before(r.Since) && !at.After(r.Planned)
		}) {
			words = append(words, "edge of "+policy+" at "+at.Format(time.TimeOnly)+", which is not stored")
		}
	}
	return words
}

// check is what must hold, whatever was killed.
func (m *crowd) check(sent []string, calm time.Time) {
	t := m.t
	t.Helper()
	evts := m.events()
	outcomes := make(map[string][]string)
	byTrigger := make(map[string]int)
	starts := make(map[string]int)      // by action
	reboots := make(map[string]int)     // actions that announced a call, by instance
	inFlight := make(map[string]string) // by instance: action
	until := make(map[string]time.Time) // by instance
	answered := make(map[string]bool)   // actions of which the newest call has an answer
	for _, e := range evts {
		byTrigger[e.Trigger]++
		switch {
		case e.ends():
			outcomes[e.ActionID] = append(outcomes[e.ActionID], e.Outcome)
		case e.Outcome == "started":
			if other := inFlight[e.Instance]; other != "" && other != e.ActionID && e.at.Before(until[e.Instance]) {
				t.Errorf("two calls at once to instance %s: actions %s and %s", e.Instance, other, e.ActionID)
			}
			if inFlight[e.Instance] == e.ActionID && !answered[e.ActionID] && e.Action == "reboot" {
				t.Errorf("reboot %s of %s was sent again without an answer to the first", e.ActionID, e.Instance)
			}
			if starts[e.ActionID]++; starts[e.ActionID] == 1 && e.Action == "reboot" {
				reboots[e.Instance]++
			}
			inFlight[e.Instance], until[e.Instance], answered[e.ActionID] = e.ActionID, e.Deadline, false
		}
		if e.Outcome != "started" && e.Outcome != "waiting" {
			answered[e.ActionID] = true
			if inFlight[e.Instance] == e.ActionID {
				inFlight[e.Instance] = ""
			}
		}
	}
	for id, all := range outcomes {
		if len(all) != 1 {
			t.Errorf("action %s has %d outcomes: %v", id, len(all), all)
		}
	}
	items, runs := 0, make(map[string]bool)
	for _, s := range m.stored("NS_RUN") {
		if s.at.After(calm) {
			continue
		}
		if runs[s.subject] {
			t.Errorf("%s is stored twice", s.subject)
		}
		runs[s.subject] = true
		var run manyRun
		if err := json.Unmarshal(s.data, &run); err != nil {
			t.Fatal(err)
		}
		for _, it := range run.Items {
			items++
			if len(outcomes[it.ID]) == 0 {
				t.Errorf("%s of %s by run %s has no outcome", it.Action, it.Instance, run.Trigger)
			}
		}
	}
	for _, id := range sent {
		if byTrigger[id] == 0 {
			t.Errorf("nothing came of %s", id)
		}
	}

	// What the API saw.
	calls := make(map[string]int)
	for _, r := range m.requests() {
		if strings.HasSuffix(r.Op, "reboot") && r.Effect {
			calls[r.Instance]++
		}
	}
	for id, n := range calls {
		if n > reboots[id] {
			t.Errorf("instance %s was rebooted %d times by %d actions", id, n, reboots[id])
		}
	}
	tags := make(map[string]bool)
	for _, inst := range m.instances() {
		for _, tag := range inst.Tags {
			tags[tag] = true
		}
	}
	for _, e := range evts {
		if e.Action == "retag" && e.Outcome == "done" && !tags["seen="+strings.TrimPrefix(e.Trigger, "local-")] {
			t.Errorf("the tag of %s is not there, although its action is done", e.Trigger)
		}
	}
	var counts []string
	tally := make(map[string]int)
	for _, all := range outcomes {
		for _, o := range all {
			tally[o]++
		}
	}
	for o, n := range tally {
		counts = append(counts, fmt.Sprintf("%d %s", n, o))
	}
	slices.Sort(counts)
	t.Logf("%d commands and alerts, %d actions in stored plans, outcomes: %s", len(sent), items, strings.Join(counts, ", "))
}

func (m *crowd) requests() (all []civosim.Request) {
	m.t.Helper()
	for {
		var more []civosim.Request
		m.read("/sim/ledger?n=5000&after="+strconv.Itoa(len(all)), &more)
		if all = append(all, more...); len(more) < 5000 {
			return all
		}
	}
}

type simInstance struct {
	ID, Hostname, Status string
	Tags                 []string
}

func (m *crowd) instances() []simInstance {
	m.t.Helper()
	var page struct{ Items []simInstance }
	m.read("/v2/instances?region=LON1&per_page=1000", &page)
	return page.Items
}

func (m *crowd) read(path string, into any) {
	m.t.Helper()
	s := site{t: m.t, api: m.api}
	if err := json.Unmarshal(s.get(path), into); err != nil {
		m.t.Fatal(err)
	}
}

// slowest is how long the probes that were stored in a span took until they were
// done: the longest of them.
func (m *crowd) slowest(from, to time.Time) (longest time.Duration, n int) {
	at := make(map[string]time.Time)
	for _, s := range m.stored("NS_IN") {
		if s.tok[2] == "cmd" && !s.at.Before(from) && s.at.Before(to) {
			var c struct{ ID string }
			_ = json.Unmarshal(s.data, &c)
			at["local-"+c.ID] = s.at
		}
	}
	for _, e := range m.events() {
		if stored, ok := at[e.Trigger]; ok && e.ends() {
			n++
			longest = max(longest, e.at.Sub(stored))
		}
	}
	return longest, n
}

// TestManyReplicasLoseAndDoubleNothing kills replicas and NATS nodes while edges,
// commands and alerts come. It prints how long commands took around each kill:
// that is the time to recover, as somebody sees it who waits for an answer.
func TestManyReplicasLoseAndDoubleNothing(t *testing.T) {
	m := newMany(t, 3, 20) // a minute of plan time takes 3 s
	for i := range 3 {
		m.worker(i)
	}
	for i := range 3 {
		m.workers[i].says(t, `"(ready)"`)
	}
	m.wantReplicas(3)
	patient, end := context.WithTimeout(t.Context(), 2*patience+*manyFor)
	defer end()
	raining, stopRain := context.WithCancel(patient)
	began := time.Now()
	var sent []string
	var rain sync.WaitGroup
	rain.Go(func() { sent = m.storm(raining, patient) })

	type blow struct {
		what string
		at   time.Time
	}
	var blows []blow
	strike := func(what string, do func()) {
		blows = append(blows, blow{what, time.Now()})
		do()
	}
	replica := func(i int) {
		strike("a replica", func() { kill(t, m.workers[i]); pause(patient, time.Second); m.worker(i) })
	}
	node := func(i int) {
		strike("a NATS node", func() { kill(t, m.nodes[i]); pause(patient, time.Second); m.node(i) })
	}
	everything := func() {
		strike("all of NATS", func() {
			kill(t, m.nodes[:]...)
			pause(patient, time.Second)
			for i := range 3 {
				m.node(i)
			}
		})
	}
	var kills atomic.Int32
	if *manyFor == 0 {
		pause(patient, 2*time.Second)
		replica(0)
		pause(patient, 2*time.Second)
		node(1)
		pause(patient, 3*time.Second)
		everything()
		pause(patient, 3*time.Second)
		replica(1)
		pause(patient, time.Second)
		kills.Store(6)
	} else {
		for time.Since(began) < *manyFor {
			switch n := rand.IntN(10); {
			case n < 5:
				replica(rand.IntN(3))
				kills.Add(1)
			case n < 9:
				node(rand.IntN(3))
				kills.Add(1)
			default:
				everything()
				kills.Add(3)
			}
			pause(patient, time.Duration(2+rand.IntN(20))*time.Second)
		}
	}
	stopRain()
	rain.Wait()
	ended := time.Now()
	calm := m.untilDone(patient, sent, began, ended)
	m.check(sent, calm)
	m.judge(ended)
	t.Logf("%d kills in %s; the last outcome came %s after the storm", kills.Load(), ended.Sub(began).Round(time.Second), calm.Sub(ended).Round(time.Second))
	longest := make(map[string]time.Duration)
	for i, b := range blows {
		to := ended
		if i+1 < len(blows) {
			to = blows[i+1].at
		}
		d, n := m.slowest(b.at.Add(-time.Second), to)
		longest[b.what] = max(longest[b.what], d)
		t.Logf("around the death of %s the slowest of %d commands took %s", b.what, n, d.Round(10*time.Millisecond))
	}
	for _, what := range []string{"a replica", "a NATS node", "all of NATS"} {
		t.Logf("recovery %s: %s", cmp.Or(what, "?"), longest[what].Round(100*time.Millisecond))
	}
}

// wantReplicas fails unless every stream is kept so many times.
func (m *crowd) wantReplicas(want int) {
	m.t.Helper()
	for _, name := range []string{"NS_IN", "NS_RUN", "NS_EVT", "NS_DLQ", "KV_ns_state"} {
		s, err := m.js.Stream(m.t.Context(), name)
		if err != nil {
			m.t.Fatal(err)
		}
		if got := s.CachedInfo().Config.Replicas; got != want {
			m.t.Errorf("stream %s is kept %d times, want %d", name, got, want)
		}
	}
}

// TestARollingUpgradeOverEdgesIsLateForNone replaces a replica by a new one, as a
// Deployment with maxSurge does, each time around an edge: the new one is ready,
// then the old one is told to end.
func TestARollingUpgradeOverEdgesIsLateForNone(t *testing.T) {
	t.Parallel()
	m := newMany(t, 1, 10) // a minute of plan time takes 6 s
	old := m.worker(0)
	old.says(t, `"(ready)"`)
	from := m.plan(time.Now())
	edge := time.Time{}
	for round, around := range []time.Duration{-200 * time.Millisecond, 0, 50 * time.Millisecond, 300 * time.Millisecond} {
		next := m.worker(round % 2)
		next.says(t, `"(ready)"`)
		upcoming := m.machine(m.plan(time.Now()).Truncate(time.Minute).Add(time.Minute))
		if !upcoming.After(edge) { // a command of the round before would be superseded by this one's
			upcoming = m.machine(m.plan(edge).Add(time.Minute))
		}
		edge = upcoming
		pause(t.Context(), time.Until(edge.Add(around+2*time.Second-manyWait)))
		for n := range manyProbes { // wait in the hands of both, and are due when the old one has gone
			id := fmt.Sprintf("w%d-%d", round, n)
			due := m.plan(edge.Add(around + 2*time.Second))
			if !m.send(t.Context(), "nightshift.v1.cmd.local.lon1."+instanceID(3, n)+".retag", id, map[string]any{"id": id, "add": []string{"seen=" + id}, "not_before": due}) {
				t.Fatal("not sent")
			}
		}
		pause(t.Context(), time.Until(edge.Add(around)))
		if err := old.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := old.ends(t); code != 0 {
			t.Errorf("the old replica ended with %d", code)
		}
		old = next
	}
	to := m.plan(time.Now())
	pause(t.Context(), 8*time.Second) // until the last edge is done, too

	begun := make(map[string]int) // calls announced, by edge and instance
	late, waited := time.Duration(0), 0
	evts := m.events()
	for _, e := range evts {
		if e.Outcome == "started" && strings.HasPrefix(e.Trigger, "local-w") {
			waited++
			late = max(late, e.at.Sub(m.machine(e.Planned).Add(manyWait)))
		}
		if e.Outcome == "started" && strings.HasPrefix(e.Policy, "pulse-") {
			begun[e.Policy+"@"+strconv.FormatInt(e.Planned.Unix(), 10)+" "+e.Instance]++
			late = max(late, e.at.Sub(m.machine(e.Planned)))
		}
		if e.Outcome == "put-off" && strings.HasPrefix(e.Policy, "pulse-") && strings.HasPrefix(e.Error, "not sent") { // taken back: the replica was told to end
			begun[e.Policy+"@"+strconv.FormatInt(e.Planned.Unix(), 10)+" "+e.Instance]--
		}
	}
	edges := 0
	for at := from.Truncate(time.Minute).Add(time.Minute); at.Before(to); at = at.Add(time.Minute) {
		policy := "pulse-start"
		if at.Minute()%2 == 0 {
			policy = "pulse-stop"
		}
		if edges++; edges == 1 && policy == "pulse-start" {
			continue // they run already
		}
		for i := range manyPulses {
			if n := begun[policy+"@"+strconv.FormatInt(at.Unix(), 10)+" "+instanceID(1, i)]; n != 1 {
				t.Errorf("the edge of %s at %s called %d times for pulse-%d, want once:%s", policy, at.Format(time.TimeOnly), n, i, trailOf(evts, instanceID(1, i)))
			}
		}
	}
	if waited != 4*manyProbes {
		t.Errorf("%d commands that waited have been called, want %d", waited, 4*manyProbes)
	}
	if late > 10*time.Second { // what is not handed back takes 15 s
		t.Errorf("a call began %s after its edge", late)
	}
	t.Logf("%d edges over 4 upgrades, the latest call began %s after its edge", edges, late.Round(time.Millisecond))
}

// trailOf is what is stored about an instance.
func trailOf(all []manyEvent, instance string) string {
	var b strings.Builder
	for _, e := range all {
		if e.Instance == instance {
			fmt.Fprintf(&b, "\n  %s %s of %s: %s %s; %s; %s", e.at.UTC().Format("15:04:05.000"), e.Action, e.Planned.Format(time.TimeOnly), e.Outcome, e.Reason, e.Detail, e.Error)
		}
	}
	return b.String()
}

// machine is when it is a plan time.
func (m *crowd) machine(plan time.Time) time.Time {
	return m.began.Add(plan.Sub(manyStart) / time.Duration(m.speed))
}
