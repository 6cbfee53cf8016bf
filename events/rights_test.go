package events_test

import (
	"path/filepath"
	"strings"
	"testing"

	"nightshift/events"
)

func TestRightsAreTriedAndNothingIsStored(t *testing.T) {
	users := []events.Grant{}
	for _, role := range []events.Role{events.Worker, events.Observer, events.Provisioner} {
		g, err := events.Permissions(role, events.Scope{})
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, g)
		t.Setenv(events.PasswordVariable(g.User), "pw-of-"+g.User)
	}
	b := open(t, events.Options{Listen: "127.0.0.1:0", Users: file(t, "users.conf", []byte(events.ServerConfig(users, nil)))})
	before, err := b.Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	as := func(user string) *events.Bus {
		bus, err := events.Dial(t.Context(), strings.Replace(b.URL(), "nats://", "nats://"+user+":pw-of-"+user+"@", 1), events.Auth{Inbox: events.InboxOf(user)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = bus.Close(t.Context()) })
		return bus
	}
	if denied, err := as("worker").MissingRights(t.Context()); err != nil || len(denied) > 0 {
		t.Errorf("the daemon lacks %v, %v", denied, err)
	}
	denied, err := as("observer").MissingRights(t.Context())
	if err != nil || len(denied) != 10 {
		t.Errorf("an observer lacks %v, %v, want all ten", denied, err)
	}
	beats := 0
	for _, d := range denied {
		if d.Subject == "nightshift.v1.beat" {
			beats++
		}
	}
	if beats != 2 {
		t.Errorf("an observer lacks %v, want to tell and to hear which replicas live among them", denied)
	}
	if after, err := b.Summary(t.Context()); err != nil || after != before {
		t.Errorf("stored: %s, %v, before %s", after, err, before)
	}
	if _, err := as("provisioner").Backup(t.Context(), filepath.Join(t.TempDir(), "x"), ""); err != nil {
		t.Errorf("a backup by a provisioner: %v", err)
	}
	if _, err := as("observer").Backup(t.Context(), filepath.Join(t.TempDir(), "y"), ""); err == nil || !strings.Contains(err.Error(), "publish") {
		t.Errorf("a backup by an observer: %v, want what it may not do", err)
	}
}
