package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// NATS checks on which subjects a user publishes, and not which subject a user
// names for the answer: whoever may ask anything can have the answer sent to a
// subject on which only the one who answers may publish. So the roles of
// [Permissions] may ask no more than they must, the daemon answers to inboxes
// only, and what comes in as a command is read so strictly that no answer is one.

// isOurs reports whether an answer on a subject would be taken for anything else.
func isOurs(subject string) bool {
	return strings.HasPrefix(subject, prefix) || strings.HasPrefix(subject, "$")
}

// isAnswer reports whether a message has what only answers of NATS and of its
// services have.
func isAnswer(h nats.Header) bool {
	for _, name := range []string{"Status", micro.ErrorHeader, micro.ErrorCodeHeader, "Nats-Subject", "Nats-Stream"} {
		if h.Get(name) != "" {
			return true
		}
	}
	return false
}

// unmarshalStrictly refuses keys that are not known, and anything behind the value.
func unmarshalStrictly(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return fmt.Errorf("unknown key %s", key)
		}
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows it")
	}
	return nil
}
