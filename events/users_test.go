package events_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nightshift/events"
)

func grants(t *testing.T) []events.Grant {
	t.Helper()
	var all []events.Grant
	for _, x := range []struct {
		role  events.Role
		scope events.Scope
	}{{events.Commander, events.Scope{Who: "oncall"}}, {events.Observer, events.Scope{Who: "grafana"}}} {
		g, err := events.Permissions(x.role, x.scope)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

// TestTheEmbeddedServerListensElsewhereWithUsersOnly lets it answer on every
// address, and comes as each user and as nobody.
func TestTheEmbeddedServerListensElsewhereWithUsersOnly(t *testing.T) {
	t.Setenv(events.PasswordVariable("oncall"), "pw-of-oncall")
	t.Setenv(events.PasswordVariable("grafana"), "pw-of-grafana")
	log, logged := aLog(t)
	b := open(t, events.Options{Listen: "0.0.0.0:0", Users: file(t, "users.conf", []byte(events.ServerConfig(grants(t), nil))), Log: log})
	if !strings.Contains(contents(t, logged), "without TLS") {
		t.Error("the log does not say that nothing is encrypted")
	}
	_, at, err := net.SplitHostPort(strings.TrimPrefix(b.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	address := func(user string) string { return "nats://" + user + "127.0.0.1:" + at }
	for _, nobody := range []string{"", "oncall:wrong@", "nightshift:@"} {
		if _, err := events.Dial(t.Context(), address(nobody), events.Auth{}); !errors.Is(err, events.ErrRefused) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%q: got %v", nobody, err)
		}
	}
	if _, err := b.PublishCommand(t.Context(), events.Command{Who: "local", Region: "lon1", Instance: "i-1", Action: "stop"}); err != nil {
		t.Errorf("the daemon itself: %v", err)
	}
	if err := b.Conn().Publish(events.CommandSubject("oncall", "lon1", "i-1", "stop"), nil); err != nil { // as an empty answer of NATS
		t.Fatal(err)
	}
	if _, err := b.PublishCommand(t.Context(), events.Command{Who: "oncall", Region: "lon1", Instance: "i-1", Action: "start", ID: "last"}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	if err := b.ConsumeIn(ctx, 1, 1, func(_ context.Context, in *events.Incoming) {
		_ = in.Ack()
		if in.Command.Who == "oncall" && in.Command.ID != "last" {
			t.Errorf("an empty message became the command %+v", in.Command)
		}
		if in.Command.ID == "last" {
			stop()
		}
	}); err != nil {
		t.Error(err)
	}
	oncall, err := events.Dial(t.Context(), address("oncall:pw-of-oncall@"), events.Auth{Inbox: events.InboxOf("oncall")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = oncall.Close(context.Background()) }()
	if err := oncall.Ask(t.Context(), "do.oncall.lon1.i-1.stop", nil, nil); !errors.Is(err, events.ErrNoDaemon) {
		t.Errorf("got %v, want that it may ask, and nobody answers", err)
	}
	var denied *events.Denied
	if err := oncall.Ask(t.Context(), "do.boss.lon1.i-1.stop", nil, nil); !errors.As(err, &denied) {
		t.Errorf("got %v, want a refusal", err)
	}
	if strings.Contains(contents(t, logged), "pw-of-") {
		t.Error("the log has a password")
	}
}

func TestAUsersFileThatIsNotOneIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "is empty",
		"authorization { token: hunter2 }": "it names no users",
		"authorization { user: a, password: hunter2 }": "it names no users",
		"authorization { users = [] }":                 "it names no users",
		"port: 4333":                                   "only authorization and tls may stand there, not port",
		"no_auth_user: a":                              "not no_auth_user",
		"authorization { users = [ { user: a } ] }":    "",
		"authorization { users = [ { user: a, password: $NIGHTSHIFT_TEST_UNSET } ] }": "can not be found",
		"authorization { users = [ { user: a, password: 'hunter2' } ":                 "",
	} {
		_, err := events.Open(t.Context(), events.Options{DataDir: t.TempDir(), Listen: "0.0.0.0:0", Users: file(t, "u", []byte(text))})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nats.users_file") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	_, err := events.Open(t.Context(), events.Options{DataDir: t.TempDir(), Listen: "0.0.0.0:0", Users: "/none/users.conf"})
	if !errors.Is(err, os.ErrNotExist) && (err == nil || !strings.Contains(err.Error(), "/none/users.conf")) {
		t.Errorf("got %v", err)
	}
}

// TestAnAnswerIsNoCommand has NATS and the daemon send their answers to where
// commands are read: whoever may ask anything at all can do that.
func TestAnAnswerIsNoCommand(t *testing.T) {
	b := open(t, events.Options{Listen: "none"})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { // until stop
		served <- b.Serve(ctx, "1.2.3", []events.Endpoint{{Name: "fail", Handle: func(context.Context, events.Request) (any, error) { return nil, events.Refuse(400, "no") }}})
	}()
	for errors.Is(b.Ask(ctx, "fail", nil, nil), events.ErrNoDaemon) { // until it is up
	}
	for subject, body := range map[string]string{
		"$SRV.PING":                    "",
		"$SRV.INFO.nightshift":         "",
		"$JS.API.STREAM.INFO.NS_EVT":   "",
		"nightshift.v1.ctl.fail":       "", // an empty answer
		"nightshift.v1.sig.x.lon1.i-1": "", // stored, and acknowledged
	} {
		to := events.CommandSubject("oncall", "lon1", "i-1", "stop")
		if err := b.Conn().PublishMsg(&nats.Msg{Subject: subject, Reply: to, Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	failed := nats.NewMsg(events.CommandSubject("oncall", "lon1", "i-1", "stop")) // of somebody else's service
	failed.Header.Set("Nats-Service-Error", "no")
	if err := b.Conn().PublishMsg(failed); err != nil {
		t.Fatal(err)
	}
	// One signal, and the answers of all but the daemon itself, are stored before it.
	for n, seq := 0, uint64(0); seq <= 6; n++ {
		var err error
		if seq, err = b.PublishCommand(ctx, events.Command{Who: "oncall", Region: "lon1", Instance: "i-1", Action: "start", ID: fmt.Sprintf("ours-%d", n)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.PublishCommand(ctx, events.Command{Who: "oncall", Region: "lon1", Instance: "i-1", Action: "start", ID: "last"}); err != nil {
		t.Fatal(err)
	}
	commands := make(chan *events.Command, 100)
	consumed := make(chan error, 1)
	go func() { // until stop
		consumed <- b.ConsumeIn(ctx, 1, 1, func(_ context.Context, in *events.Incoming) {
			_ = in.Ack()
			if in.Command != nil {
				commands <- in.Command
			}
		})
	}()
	for c := range commands {
		if c.ID == "last" {
			break
		}
		if strings.HasPrefix(c.ID, "ours-") {
			continue
		}
		t.Errorf("an answer became the command %+v", c)
	}
	stop()
	if err := errors.Join(<-served, <-consumed); err != nil {
		t.Error(err)
	}
}

// TestUsersAreReadAgain: who is new comes in, who is gone is put out, the daemon stays,
// and a file with a fault changes nothing.
func TestUsersAreReadAgain(t *testing.T) {
	t.Setenv(events.PasswordVariable("oncall"), "pw-of-oncall")
	t.Setenv(events.PasswordVariable("grafana"), "pw-of-grafana")
	both := grants(t)
	path := file(t, "users.conf", []byte(events.ServerConfig(both[:1], nil)))
	b := open(t, events.Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Users: path})
	as := func(user string) (*events.Bus, error) {
		return events.Dial(t.Context(), strings.Replace(b.URL(), "nats://", "nats://"+user+":pw-of-"+user+"@", 1), events.Auth{Inbox: events.InboxOf(user)})
	}
	rewrite := func(text string) error {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return b.ReadUsers()
	}
	oncall, err := as("oncall")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = oncall.Close(context.Background()) }()
	if _, err := as("grafana"); !errors.Is(err, events.ErrRefused) {
		t.Errorf("one who is not in the file: %v", err)
	}
	if err := rewrite("authorization { users = ["); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file with a fault: %v", err)
	}
	if !oncall.Conn().IsConnected() {
		t.Error("a file with a fault put somebody out")
	}
	lost := make(chan struct{})
	oncall.Conn().SetDisconnectErrHandler(func(*nats.Conn, error) { close(lost) })
	if err := rewrite(events.ServerConfig(both[1:], nil)); err != nil {
		t.Fatal(err)
	}
	grafana, err := as("grafana")
	if err != nil {
		t.Fatalf("one who is in the file now: %v", err)
	}
	defer func() { _ = grafana.Close(context.Background()) }()
	select {
	case <-lost:
	case <-time.After(5 * time.Second):
		t.Error("one who is gone from the file was not put out")
	}
	if _, err := b.PublishCommand(t.Context(), events.Command{Who: "local", Region: "lon1", Instance: "i-1", Action: "stop"}); err != nil {
		t.Errorf("the daemon itself: %v", err)
	}
}
