package events

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The id of a command may be that of a message which is no command.
func TestIDOfASignalIsUsed(t *testing.T) {
	b := openInside(t)
	msg := nats.NewMsg("nightshift.v1.sig.ci.lon1.i-1")
	msg.Data = []byte(`{"signal":"ci.queued"}`)
	msg.Header.Set(jetstream.MsgIDHeader, "cmd."+CommandTrigger("oncall", "mine"))
	if _, err := b.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	_, err := b.PublishCommand(t.Context(), Command{ID: "mine", Who: "oncall", Region: "lon1", Instance: "i-1", Action: "stop"})
	if !errors.Is(err, ErrIDUsed) {
		t.Errorf("got %v", err)
	}
}
