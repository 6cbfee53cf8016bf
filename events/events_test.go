package events_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"nightshift/events"
)

// childDir is set when this binary runs as the child of a kill test.
const childDir = "NIGHTSHIFT_EVENTS_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	if dir := os.Getenv(fullDir); dir != "" {
		fullChild(dir)
		return
	}
	ats.Register() // the server's own clock, which must be made outside of any bubble
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

func open(t testing.TB, o events.Options) *events.Bus {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "none"
	}
	if o.DataDir == "" && o.URL == "" {
		o.DataDir = t.TempDir()
	}
	b, err := events.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

var planned = time.Date(2026, 3, 4, 19, 0, 0, 0, time.UTC)

func record(o events.Outcome) events.Record {
	return events.Record{ActionID: "a1", Action: "stop", Outcome: o, Trigger: "t1", Region: "lon1", Instance: "i-1", Hostname: "dev-1", Planned: planned}
}

func TestATickIsStoredOnceByHoweverManyPublishers(t *testing.T) {
	b := open(t, events.Options{})
	var stored atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			ok, err := b.PublishTick(t.Context(), events.Tick{Policy: "dev", Planned: planned, Trigger: "t1", Hash: "h"})
			if err != nil {
				t.Error(err)
			}
			if ok {
				stored.Add(1)
			}
		})
	}
	wg.Wait()
	if n := stored.Load(); n != 1 {
		t.Errorf("stored %d times, want once", n)
	}
	tick, ok, err := b.LoadTick(t.Context(), fmt.Sprintf("dev@%d", planned.Unix()))
	if err != nil || !ok || !tick.Planned.Equal(planned) {
		t.Errorf("read back %+v %v %v", tick, ok, err)
	}
	if _, ok, err := b.LoadTick(t.Context(), "dev@1"); ok || err != nil {
		t.Errorf("a tick that is not there: %v %v", ok, err)
	}
}

func TestOneCallIsInFlightPerInstance(t *testing.T) {
	b := open(t, events.Options{})
	if _, seq, err := b.LastStarted(t.Context(), "lon1", "i-1"); seq != 0 || err != nil {
		t.Fatalf("before the first: %d %v", seq, err)
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			rec := record(events.Started)
			rec.ActionID = fmt.Sprintf("a%d", n) // other actions, of other kinds, on the same instance
			rec.Action = []string{"stop", "reboot"}[n%2]
			_, ok, err := b.PublishStarted(t.Context(), rec, 0)
			if err != nil {
				t.Error(err)
			}
			if ok {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d calls were announced, want one", n)
	}
	last, seq, err := b.LastStarted(t.Context(), "lon1", "i-1")
	if err != nil || seq == 0 {
		t.Fatal(seq, err)
	}
	if _, ok, err := b.PublishStarted(t.Context(), last, seq); !ok || err != nil {
		t.Errorf("expecting what is there: %v %v", ok, err)
	}
	other := record(events.Started)
	other.Instance = "i-2"
	if _, ok, err := b.PublishStarted(t.Context(), other, 0); !ok || err != nil {
		t.Errorf("another instance is not concerned: %v %v", ok, err)
	}
}

func TestAnActionHasOneOutcome(t *testing.T) {
	b := open(t, events.Options{})
	if err := b.PublishNote(t.Context(), record(events.Accepted)); err != nil {
		t.Fatal(err)
	}
	outcomes := []events.Outcome{events.Done, events.Failed, events.Unknown, events.Superseded}
	var won atomic.Int32
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			stored, err := b.PublishOutcome(t.Context(), record(outcomes[n%len(outcomes)]))
			if err != nil {
				t.Error(err)
			}
			if stored {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d outcomes, want one", n)
	}
	trail, err := b.Trail(t.Context(), "lon1", "i-1", "a1")
	if err != nil || len(trail.Records) != 2 || trail.Records[0].Outcome != events.Accepted {
		t.Errorf("trail %+v, %v; want accepted and one outcome", trail, err)
	}
	if _, err := b.PublishOutcome(t.Context(), record(events.Started)); err == nil {
		t.Error("started was taken for an outcome")
	}
	if err := b.PublishNote(t.Context(), record(events.Done)); err == nil {
		t.Error("done was taken for a note")
	}
}

func TestTheAuditTrailCannotBeEdited(t *testing.T) {
	b := open(t, events.Options{Listen: "127.0.0.1:0"})
	if _, err := b.PublishOutcome(t.Context(), record(events.Done)); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, api := range []string{"$JS.API.STREAM.PURGE.NS_EVT", "$JS.API.STREAM.MSG.DELETE.NS_EVT"} {
		resp, err := nc.Request(api, []byte(`{"seq":1}`), 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(resp.Data, []byte("error")) {
			t.Errorf("%s was allowed: %s", api, resp.Data)
		}
	}
}

func TestEventsAreCloudEvents(t *testing.T) {
	b := open(t, events.Options{})
	got := make(chan *nats.Msg, 1)
	if _, err := b.Conn().ChanSubscribe(events.EvtAll, got); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PublishOutcome(t.Context(), record(events.Done)); err != nil {
		t.Fatal(err)
	}
	m := <-got
	if want := "nightshift.v1.evt.lon1.i-1.stop.done.a1"; m.Subject != want {
		t.Errorf("subject %s, want %s", m.Subject, want)
	}
	for _, part := range []string{`"specversion":"1.0"`, `"type":"nightshift.v1.done"`, `"source":"nightshift"`, `"id":"a1.done"`, `"datacontenttype":"application/json"`, `"action_id":"a1"`} {
		if !bytes.Contains(m.Data, []byte(part)) {
			t.Errorf("%s is not in %s", part, m.Data)
		}
	}
	if ct := m.Header.Get("content-type"); ct != "application/cloudevents+json" {
		t.Errorf("content-type %q", ct)
	}
}

func TestWhatCannotBeReadIsADeadLetterAndTheRestGoesOn(t *testing.T) {
	b := open(t, events.Options{})
	ctx, stop := context.WithCancel(t.Context())
	taken := make(chan *events.Incoming, 1)
	ended := make(chan error, 1)
	go func() { // until stop
		ended <- b.ConsumeIn(ctx, 4, 4, func(_ context.Context, in *events.Incoming) {
			if err := in.Ack(); err != nil {
				t.Error(err)
			}
			taken <- in
		})
	}()
	bad := map[string]string{ // subject and body, and what the reason says
		"nightshift.v1.cmd.local.lon1.i-1.explode\x00{}":                                     "none of start, stop",
		"nightshift.v1.cmd.local.lon1.i-1.stop\x00{":                                         "not a command",
		"nightshift.v1.cmd.local.lon1.i-1.stop\x00{\"dryrun\":true}":                         "unknown key",
		"nightshift.v1.cmd.local.lon1.i-1.stop\x00{}{}":                                      "something follows",
		"nightshift.v1.cmd.local.lon1.i-1.stop\x00{\"not_before\":\"9999-01-01T00:00:00Z\"}": "no time of this age",
		"nightshift.v1.cmd.local.lon1.i-1.stop\x00{\"give_up_after\":\"900000h\"}":           "longer than a command is kept",
		"nightshift.v1.sig.prom.lon1.i-1\x00[]":                                              "1 to 1000 signals",
		"nightshift.v1.sig.prom.lon1.i-1\x00{\"specversion\":\"0.3\"}":                       "specversion \"0.3\"",
		"nightshift.v1.cmd.LOCAL.lon1.i-1.stop\x00{}":                                        "cannot stand in a subject",
		"nightshift.v1.cmd.local.lon1.i-1\x00{}":                                             "is none of",
		"nightshift.v1.cmd.local.lon1.i-1.resize\x00{}":                                      "needs a size",
		"nightshift.v1.cmd.local.lon1.i-1.firewall\x00{}":                                    "blank would open",
		"nightshift.v1.cmd.local.lon1.i-1.retag\x00{\"add\":[\"a b\"]}":                      "has a blank",
		"nightshift.v1.cmd.local.lon1.i-1.stop\x00{\"give_up_after\":\"soon\"}":              "not a positive duration",
		"nightshift.v1.sig.prom.lon1.i-1\x00{}":                                              "exactly one of alert",
		"nightshift.v1.sig.prom.lon1.i-1\x00{\"load\":\"cpu\"}":                              "has a value",
		"nightshift.v1.sig.prom.lon1.i-1\x00{\"alert\":\"A\",\"status\":\"perhaps\"}":        "neither firing nor resolved",
		"nightshift.v1.tick.dev.notatime\x00{}":                                              "not a unix time",
		"nightshift.v1.tick.dev.1\x00{\"policy\":\"other\",\"trigger\":\"t1\"}":              "another tick",
		"nightshift.v1.cmd.local.lon1.i-1.start\x00" + strings.Repeat("x", 64<<10+1):         "bytes",
		"nightshift.v1.cmd.local.lon1.i-1.start\x00" + string([]byte{0xff, 0xfe, 0x00}):      "not a command",
	}
	for key := range bad {
		subject, body, _ := strings.Cut(key, "\x00")
		if err := b.Conn().Publish(subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.PublishCommand(t.Context(), events.Command{Who: "local", Region: "lon1", Instance: "i-1", Action: "stop", ID: "x"}); err != nil {
		t.Fatal(err)
	}
	if in := <-taken; in.Command == nil || in.Command.Action != "stop" || in.TriggerID() != "local-x" {
		t.Errorf("got %+v", in)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	reasons := make(map[string]string)
	for letter, err := range b.DeadLetters(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		reasons[letter.Subject+"\x00"+string(letter.Body())] = letter.Reason
	}
	if len(reasons) != len(bad) {
		t.Errorf("%d dead letters, want %d", len(reasons), len(bad))
	}
	for key, want := range bad {
		subject, body, _ := strings.Cut(key, "\x00")
		body = body[:min(len(body), events.MaxBody)]
		if got := reasons[subject+"\x00"+body]; !strings.Contains(got, want) {
			t.Errorf("%s: reason %q, want %q", subject, got, want)
		}
	}
}

func TestTriggerIDs(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	firing := &events.Incoming{Signal: &events.Signal{Source: "prom", Alert: "A", Fingerprint: "f", StartsAt: now}}
	resolved := &events.Incoming{Signal: &events.Signal{Source: "prom", Alert: "A", Fingerprint: "f", StartsAt: now, Status: "resolved"}}
	again := &events.Incoming{Signal: &events.Signal{Source: "prom", Alert: "A", Fingerprint: "f", StartsAt: now.In(time.FixedZone("x", 3600))}}
	later := &events.Incoming{Signal: &events.Signal{Source: "prom", Alert: "A", Fingerprint: "f", StartsAt: now.Add(time.Second)}}
	if firing.TriggerID() != again.TriggerID() || firing.TriggerID() == later.TriggerID() {
		t.Error("a firing is its fingerprint and its start")
	}
	if resolved.TriggerID() != events.ResolvedID(firing.TriggerID()) {
		t.Errorf("resolved is %s, want %s", resolved.TriggerID(), events.ResolvedID(firing.TriggerID()))
	}
	for id, want := range map[string]string{"abc-1": "local-abc-1", "Ab C": "", strings.Repeat("x", 200): ""} {
		got := (&events.Incoming{Command: &events.Command{Who: "local", ID: id}}).TriggerID()
		if want != "" && got != want || len(got) > 80 || strings.ContainsAny(got, " .ABC") || !strings.HasPrefix(got, "local-") {
			t.Errorf("id %q: got %q", id, got)
		}
	}
}

func TestAMessageIsDeliveredUntilItIsAcknowledged(t *testing.T) {
	b := open(t, events.Options{})
	ctx, stop := context.WithCancel(t.Context())
	var tries atomic.Int32
	done := make(chan struct{})
	ended := make(chan error, 1)
	go func() { // until stop
		ended <- b.ConsumeRuns(ctx, 2, func(_ context.Context, d *events.RunDelivery) {
			switch tries.Add(1) {
			case 1:
				panic("a mistake of ours")
			case 2:
				_ = d.Nak(0)
			default:
				_ = d.Ack()
				close(done)
			}
		})
	}()
	stored, err := b.StoreRun(t.Context(), events.Run{Trigger: "t1", Region: "lon1"})
	if err != nil || !stored {
		t.Fatal(stored, err)
	}
	if stored, err := b.StoreRun(t.Context(), events.Run{Trigger: "t1", Region: "lon1", Why: "another plan"}); err != nil || stored {
		t.Errorf("a second plan for the same trigger: %v %v", stored, err)
	}
	<-done
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAStoreIsKeptOverARestart(t *testing.T) {
	dir := t.TempDir()
	first, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.PublishOutcome(t.Context(), record(events.Done)); err != nil {
		t.Fatal(err)
	}
	if _, err := first.State().Put(t.Context(), "policy.dev", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := open(t, events.Options{DataDir: dir})
	if trail, err := second.Trail(t.Context(), "lon1", "i-1", "a1"); err != nil || len(trail.Records) != 1 {
		t.Errorf("trail %+v, %v", trail, err)
	}
	if entry, err := second.State().Get(t.Context(), "policy.dev"); err != nil || string(entry.Value()) != "x" {
		t.Errorf("state: %v", err)
	}
}

// child stores events as fast as it can and says after each that it is stored.
func child(dir string) {
	b, err := events.Open(context.Background(), events.Options{DataDir: dir, Listen: "none"})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	for n := 0; ; n++ {
		rec := record(events.Done)
		rec.ActionID = fmt.Sprintf("a%d", n)
		if _, err := b.PublishOutcome(context.Background(), rec); err != nil {
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

func startChild(t *testing.T, dir string) (*exec.Cmd, *bytes.Buffer, chan struct{}) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out := &bytes.Buffer{}
	hundred := make(chan struct{})
	cmd.Stdout = &countLines{w: out, left: 100, done: hundred}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out, hundred
}

// countLines closes done after so many lines.
type countLines struct {
	w    *bytes.Buffer
	left int
	done chan struct{}
}

func (c *countLines) Write(p []byte) (int, error) {
	for range bytes.Count(p, []byte("\n")) {
		if c.left--; c.left == 0 {
			close(c.done)
		}
	}
	return c.w.Write(p)
}

func TestAKillLosesNothingThatWasAcknowledgedAndADirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	cmd, out, hundred := startChild(t, dir)
	<-hundred
	_, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
	if want := fmt.Sprintf("in use by process %d", cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a second owner: %v, want %q", err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	said := strings.Fields(out.String())
	b := open(t, events.Options{DataDir: dir})
	for _, n := range said {
		if trail, err := b.Trail(t.Context(), "lon1", "i-1", "a"+n); err != nil || len(trail.Records) != 1 {
			t.Fatalf("event %s of %d was acknowledged and is lost: %v", n, len(said), err)
		}
	}
}

func TestAnOpenAddressIsRefused(t *testing.T) {
	for listen, want := range map[string]string{"0.0.0.0:4222": "loopback only", "nonsense": "want host:port", "127.0.0.1:99999": "no port"} {
		if _, err := events.Open(t.Context(), events.Options{DataDir: t.TempDir(), Listen: listen}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", listen, err, want)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	if _, err := events.Dial(t.Context(), "nats://user:pass@127.0.0.1:1", events.Auth{}); err == nil || strings.Contains(err.Error(), "pass") {
		t.Errorf("got %v, want an error without the password", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := events.Open(ctx, events.Options{URL: "nats://127.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("got %v", err)
	}
	b := open(t, events.Options{Listen: "127.0.0.1:0"})
	if err := b.Ask(t.Context(), "status", nil, &struct{}{}); !errors.Is(err, events.ErrNoDaemon) {
		t.Errorf("got %v, want ErrNoDaemon", err)
	}
}

func TestTheControlServiceAnswers(t *testing.T) {
	b := open(t, events.Options{Listen: "127.0.0.1:0"})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { // until stop
		ended <- b.Serve(ctx, "1.2.3", []events.Endpoint{
			{Name: "echo", Handle: func(_ context.Context, r events.Request) (any, error) { return string(r.Body), nil }},
			{Name: "fail", Handle: func(context.Context, events.Request) (any, error) { return nil, errors.New("no such thing") }},
			{Name: "panics", Handle: func(context.Context, events.Request) (any, error) { panic("a bug") }},
			{Name: "tokens", Subject: "*.*", Handle: func(_ context.Context, r events.Request) (any, error) { return r.Tokens, nil }},
		})
	}()
	client, err := events.Dial(t.Context(), b.URL(), events.Auth{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(context.Background()) }()
	var answer string
	for err = events.ErrNoDaemon; errors.Is(err, events.ErrNoDaemon) && t.Context().Err() == nil; { // until it is up
		err = client.Ask(t.Context(), "echo", "hello", &answer)
	}
	if err != nil || answer != `"hello"` {
		t.Errorf("got %q, %v", answer, err)
	}
	if err := client.Ask(t.Context(), "fail", nil, &answer); err == nil || err.Error() != "no such thing" {
		t.Errorf("got %v", err)
	}
	var refusal *events.Refusal
	if err := client.Ask(t.Context(), "panics", nil, &answer); !errors.As(err, &refusal) || refusal.Code != 500 || !strings.Contains(err.Error(), "programming error in panics") {
		t.Errorf("got %v", err)
	}
	var tokens []string
	if err := client.Ask(t.Context(), "tokens.a.b", nil, &tokens); err != nil || len(tokens) != 2 || tokens[1] != "b" {
		t.Errorf("got %v, %v", tokens, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWatchReplaysFromATime(t *testing.T) {
	b := open(t, events.Options{})
	for n := range 5 {
		rec := record(events.Done)
		rec.ActionID = fmt.Sprintf("a%d", n)
		if _, err := b.PublishOutcome(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	enough := errors.New("enough")
	var got []string
	err := b.Watch(t.Context(), events.WatchOptions{Since: time.Now().Add(-time.Hour)}, func(rec events.Record, stored time.Time, seq uint64) error {
		got = append(got, rec.ActionID)
		if stored.IsZero() || seq == 0 {
			t.Error("without time or sequence")
		}
		if len(got) == 5 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || strings.Join(got, " ") != "a0 a1 a2 a3 a4" {
		t.Errorf("got %v, %v", got, err)
	}
	at, err := b.StartedSince(t.Context(), time.Now().Add(-time.Hour))
	if err != nil || len(at) != 0 {
		t.Errorf("started: %v %v", at, err)
	}
}

func TestTheStoreIsForItsOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	open(t, events.Options{DataDir: dir})
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func BenchmarkPublishOutcome(b *testing.B) {
	bus, err := events.Open(b.Context(), events.Options{DataDir: b.TempDir(), Listen: "none"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = bus.Close(context.Background()) }()
	n := 0
	for b.Loop() {
		rec := record(events.Done)
		rec.ActionID = fmt.Sprintf("a%d", n)
		n++
		if _, err := bus.PublishOutcome(b.Context(), rec); err != nil {
			b.Fatal(err)
		}
	}
}
