package worker

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"nightshift/policies"
)

// entry is one of ns_state as anyone who may write there could have written it.
type entry struct {
	jetstream.KeyValueEntry
	key  string
	body []byte
	op   jetstream.KeyValueOp
}

func (e entry) Key() string                     { return e.key }
func (e entry) Value() []byte                   { return e.body }
func (e entry) Operation() jetstream.KeyValueOp { return e.op }

// FuzzState: whatever stands in the bucket, what cannot be read is left out and the rest
// is decided by.
func FuzzState(f *testing.F) {
	for _, key := range []string{stateKeep, statePause, stateHand, stateCooldown, stateLoad, stateApproval, stateTag, stateSize, stateBreaker} {
		f.Add(key+"i-1", []byte(`{"until":"2026-01-01T00:00:00Z"}`), false)
		f.Add(key+"dev-hours.i-1", []byte(`{}`), false)
		f.Add(key, []byte(`null`), false)
		f.Add(key+"..", []byte(`7`), true)
		f.Add(key+"x.i-1", []byte(`{"tag":"a","at":"0001-01-01T00:00:00Z","state":"stopped","value":1e308}`), false)
	}
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, key string, body []byte, gone bool) {
		m := newMemory(nil, Clock{}, Verify{}, zap.NewNop())
		m.rename(&policies.Set{})
		m.take(entry{key: key, body: body})
		_ = m.facts()
		_ = m.paused(now)
		if gone {
			m.take(entry{key: key, op: jetstream.KeyValueDelete})
			if strings.HasPrefix(key, stateKeep) && len(m.keeps) > 0 || strings.HasPrefix(key, statePause) && len(m.pauses) > 0 {
				t.Fatalf("%s is gone and remembered", key)
			}
		}
		_ = m.facts()
	})
}
