package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/worker"
)

// printed is what a command prints.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out strings.Builder
	root := newRootCommand()
	root.SetOut(&out)
	root.SetArgs(args)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// roleServer is a NATS whose users are those that nightshift nats permissions
// prints, each with the password "pw".
func roleServer(t *testing.T, prints ...string) *server.Server {
	t.Helper()
	so := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	for _, user := range []string{"worker", "provisioner", "oncall", "chief", "grafana", "auditor"} {
		t.Setenv(events.PasswordVariable(user), "pw")
	}
	for _, args := range prints {
		var read server.Options
		block := printed(t, append([]string{"nats", "permissions"}, strings.Fields(args)...)...)
		if err := read.ProcessConfigString(block); err != nil {
			t.Fatalf("%v\n%s", err, block)
		}
		so.Users = append(so.Users, read.Users...)
	}
	s, err := server.NewServer(so)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func addressFor(s *server.Server, user string) string {
	return strings.Replace(s.ClientURL(), "nats://", "nats://"+user+":pw@", 1)
}

func dialAs(t *testing.T, s *server.Server, user string) *events.Bus {
	t.Helper()
	return dialUnder(t, s, user, user)
}

// dialUnder connects as a user who gives themselves a name.
func dialUnder(t *testing.T, s *server.Server, user, name string) *events.Bus {
	t.Helper()
	bus, err := events.Dial(t.Context(), addressFor(s, user), events.Auth{Inbox: events.InboxOf(user), Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close(context.Background()) })
	return bus
}

const roleFile = `version: 1
regions: [LON1, NYC1]
policies:
  - { name: dev-hours, select: { all: [env=dev] }, schedule: { running: ["Mon-Fri 08:00-19:00"] } }
`

const (
	roleDev1 = "11111111-0000-4000-8000-000000000001"
	roleDev2 = "11111111-0000-4000-8000-000000000002"
)

const roleFleet = `instances:
  - { id: 11111111-0000-4000-8000-000000000001, hostname: dev-1, region: LON1, tags: [env=dev] }
  - { id: 11111111-0000-4000-8000-000000000002, hostname: dev-2, region: LON1, tags: [env=dev] }
  - { id: 33333333-0000-4000-8000-000000000001, hostname: web-1, region: NYC1, tags: [role=web] }
`

// TestEachRoleCanDoItsWorkAndNoMore runs the daemon and all who talk to it with
// exactly the rights that are printed for them.
func TestEachRoleCanDoItsWorkAndNoMore(t *testing.T) {
	s := roleServer(t, "worker provisioner observer=grafana", "observer=auditor --history", "commander=oncall --region LON1 --action start,stop --publish", "commander=chief --manage")
	ctx := t.Context()
	core, logs := observer.New(zap.WarnLevel)
	open := func() (*events.Bus, error) {
		return events.Open(ctx, events.Options{URL: addressFor(s, "worker"), Log: zap.New(core)})
	}

	// The worker may not set up, and says who may.
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "stream NS_IN is missing") || !strings.Contains(err.Error(), "nightshift nats setup") || !strings.Contains(err.Error(), "publish on $JS.API.STREAM.") {
		t.Fatalf("got %v", err)
	}
	provisioner := dialAs(t, s, "provisioner")
	if gaps, err := provisioner.Gaps(ctx, events.Options{}); err != nil || len(gaps) != 9 {
		t.Fatalf("got %v, %v, want 9 that are missing", gaps, err)
	}
	if gaps, err := provisioner.SetUp(ctx, events.Options{}); err != nil || len(gaps) != 9 {
		t.Fatalf("got %v, %v, want 9 that were made", gaps, err)
	}
	if gaps, err := provisioner.Gaps(ctx, events.Options{}); err != nil || len(gaps) != 0 {
		t.Fatalf("got %v, %v, want none", gaps, err)
	}

	// The daemon, a minute before its evening edge.
	logs.TakeAll()
	bus, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bus.Close(context.Background()) }()
	machines, err := civosim.ParseFleet([]byte(roleFleet))
	if err != nil {
		t.Fatal(err)
	}
	sim := httptest.NewServer(civosim.New(civosim.Options{Token: "12345", Regions: []string{"LON1", "NYC1"}, Fleet: machines, Delay: 50 * time.Millisecond, Seed: 1}))
	defer sim.Close()
	cfg, err := configs.Parse("test.yaml", []byte(roleFile))
	if err != nil {
		t.Fatal(err)
	}
	api, err := civo.New("12345", civo.Options{BaseURL: sim.URL, Rate: 100})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan events.Record, 1000)
	watching, endWatch := context.WithCancel(ctx)
	watched := make(chan error, 1)
	grafana := dialAs(t, s, "grafana")
	go func() { // until endWatch
		watched <- grafana.Watch(watching, events.WatchOptions{}, func(rec events.Record, _ time.Time, _ uint64) error { seen <- rec; return nil })
	}()
	until := func(action, instance string, outcome events.Outcome) {
		t.Helper()
		deadline := time.After(patience)
		for {
			select {
			case rec := <-seen:
				if rec.Action == action && rec.Instance == instance && rec.Outcome == outcome {
					return
				}
			case <-deadline:
				t.Fatalf("no %s %s of %s; the daemon's log: %v", action, outcome, instance, logs.All())
			}
		}
	}
	w := worker.New(&cfg.Policies, api, bus, worker.Options{
		Log: zap.New(core), Clock: worker.Fast(time.Now(), time.Date(2026, 3, 4, 18, 58, 0, 0, time.UTC), 60), Grace: time.Second,
		Verify: worker.Verify{Within: 15 * time.Second, Settle: 500 * time.Millisecond, Apart: 200 * time.Millisecond, Poll: 100 * time.Millisecond},
	})
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- w.Run(running) }() // until stop
	until("stop", roleDev2, events.Done)

	// Everybody does what they may.
	oncall, chief, auditor := dialAs(t, s, "oncall"), dialAs(t, s, "chief"), dialAs(t, s, "auditor")
	var did worker.DoAnswer
	if err := oncall.Ask(ctx, "do.oncall.lon1."+roleDev1+".start", events.Command{}, &did); err != nil || did.ActionID == "" {
		t.Fatalf("got %+v, %v", did, err)
	}
	until("start", roleDev1, events.Done)
	if _, err := oncall.PublishCommand(ctx, events.Command{Who: "oncall", Region: "lon1", Instance: roleDev1, Action: "stop"}); err != nil {
		t.Fatal(err)
	}
	until("stop", roleDev1, events.Done)
	for _, q := range []struct {
		name string
		in   any
	}{
		{"status", nil}, {"find", worker.FindRequest{Name: "dev-1"}}, {"plan", nil}, {"inventory", nil}, {"runs", worker.RunsRequest{}},
		{"keep", map[string]any{"instance": roleDev1, "region": "LON1", "state": "running", "for": "1h"}},
		{"pause", worker.PauseRequest{All: true}}, {"resume", worker.PauseRequest{All: true}},
		{"run.chief._.stop", worker.RunRequest{Select: worker.SelectForm{All: []string{"role=web"}}}},
	} {
		var answer any
		if err := chief.Ask(ctx, q.name, q.in, &answer); err != nil {
			t.Errorf("chief asks %s: %v", q.name, err)
		}
	}
	if err := oncall.Conn().Publish("nightshift.v1.cmd.oncall.lon1."+roleDev1+".stop", []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"dead-retry", "dead-drop"} { // sent again, it is a dead letter again
		var dead worker.DeadAnswer
		for len(dead.Letters) == 0 && !t.Failed() {
			if err := grafana.Ask(ctx, "dead", worker.DeadRequest{}, &dead); err != nil {
				t.Fatalf("observer asks dead: %v", err)
			}
		}
		var answer any
		if err := chief.Ask(ctx, q, worker.DeadActRequest{N: dead.Letters[0].N}, &answer); err != nil {
			t.Errorf("chief asks %s: %v", q, err)
		}
	}
	info, err := grafana.Conn().Request("$SRV.INFO.nightshift", nil, patience)
	if err != nil || !strings.Contains(string(info.Data), "nightshift.v1.ctl.status") {
		t.Errorf("got %v", err)
	}
	stored := 0
	for _, err := range auditor.Records(ctx, "", time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		stored++
	}
	if stored == 0 {
		t.Error("the auditor sees no event")
	}

	var run worker.RunAnswer
	if err := oncall.Ask(ctx, "run.oncall.lon1.stop", worker.RunRequest{Select: worker.SelectForm{All: []string{"*"}}, DryRun: true}, &run); err != nil || run.ActionsInAll+run.SkipsInAll != 2 {
		t.Errorf("a commander's run in its region: got %+v, %v, want the two of LON1", run, err)
	}

	// And nothing else.
	forged := dialUnder(t, s, "chief", "oncall")
	ask := func(b *events.Bus, name string) func() error {
		return func() error { return b.Ask(ctx, name, nil, &did) }
	}
	for _, tt := range []struct {
		name    string
		do      func() error
		subject string
	}{
		{"a commander in another's name", ask(oncall, "do.chief.lon1."+roleDev1+".start"), "nightshift.v1.ctl.do.chief.lon1." + roleDev1 + ".start"},
		{"a commander in another region", ask(oncall, "do.oncall.nyc1."+roleDev1+".start"), "nightshift.v1.ctl.do.oncall.nyc1." + roleDev1 + ".start"},
		{"a commander with another action", ask(oncall, "do.oncall.lon1."+roleDev1+".reboot"), "nightshift.v1.ctl.do.oncall.lon1." + roleDev1 + ".reboot"},
		{"a commander's run in another's name", ask(oncall, "run.chief.lon1.stop"), "nightshift.v1.ctl.run.chief.lon1.stop"},
		{"a commander's run in another region", ask(oncall, "run.oncall.nyc1.stop"), "nightshift.v1.ctl.run.oncall.nyc1.stop"},
		{"a commander's run in all regions", ask(oncall, "run.oncall._.stop"), "nightshift.v1.ctl.run.oncall._.stop"},
		{"a commander's run with another action", ask(oncall, "run.oncall.lon1.reboot"), "nightshift.v1.ctl.run.oncall.lon1.reboot"},
		{"a chief pauses in another's name", ask(forged, "pause"), "nightshift.v1.ctl.pause.oncall"},
		{"a chief approves in another's name", ask(forged, "approve"), "nightshift.v1.ctl.approve.oncall"},
		{"a commander who publishes in another's name", func() error {
			_, err := oncall.PublishCommand(ctx, events.Command{Who: "chief", Region: "lon1", Instance: roleDev1, Action: "stop"})
			return err
		}, "nightshift.v1.cmd.chief.lon1." + roleDev1 + ".stop"},
		{"a commander who may only ask publishes", func() error {
			_, err := chief.PublishCommand(ctx, events.Command{Who: "chief", Region: "lon1", Instance: roleDev1, Action: "stop"})
			return err
		}, "nightshift.v1.cmd.chief.lon1." + roleDev1 + ".stop"},
		{"a commander pauses", ask(oncall, "pause"), "nightshift.v1.ctl.pause.oncall"},
		{"an observer acts", ask(grafana, "do.grafana.lon1."+roleDev1+".start"), "nightshift.v1.ctl.do.grafana.lon1." + roleDev1 + ".start"},
		{"an observer keeps", ask(grafana, "keep"), "nightshift.v1.ctl.keep.grafana"},
		{"an observer writes history", func() error {
			return grafana.PublishNote(ctx, events.Record{Region: "lon1", Instance: "i", Action: "stop", Outcome: events.Accepted, ActionID: "a"})
		}, "nightshift.v1.evt.lon1.i.stop.accepted.a"},
		{"an observer reads the past", func() error {
			return grafana.Watch(ctx, events.WatchOptions{Since: time.Now().Add(-time.Hour)}, nil)
		}, "$JS.API.CONSUMER.CREATE.NS_EVT."},
		{"the provisioner acts", ask(provisioner, "status"), "nightshift.v1.ctl.status"},
		{"a worker creates", func() error { _, err := bus.SetUp(ctx, events.Options{Replicas: 3}); return err }, "$JS.API.STREAM.UPDATE.NS_IN"},
	} {
		begun := time.Now()
		err := tt.do()
		var denied *events.Denied
		if !errors.As(err, &denied) || !strings.HasPrefix(denied.Subject, tt.subject) {
			t.Errorf("%s: got %v, want that %s is refused", tt.name, err, tt.subject)
		}
		if took := time.Since(begun); took > 4*time.Second { // what is not noticed takes 5 s
			t.Errorf("%s: the refusal took %s", tt.name, took)
		}
	}
	if err := oncall.Conn().PublishRequest("nightshift.v1.ctl.status", "_INBOX.chief.x", nil); err != nil {
		t.Error(err)
	}

	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	endWatch()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	for _, entry := range logs.All() {
		for _, f := range entry.Context {
			text := f.String
			if err, ok := f.Interface.(error); ok {
				text = err.Error()
			}
			if strings.Contains(strings.ToLower(text), "permissions violation") && !strings.Contains(text, "STREAM.UPDATE.NS_IN") {
				t.Errorf("the worker lacks a right: %s: %s", entry.Message, text)
			}
		}
	}
}
