package events_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
)

// damagedStore is a store of fifty events, written and closed in order, in which one
// byte was changed since: at a part of its file. Without its index the server finds
// what is there by reading, as after a crash.
func damagedStore(t *testing.T, part float64, crashed bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	b, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
	if err != nil {
		t.Fatal(err)
	}
	rec := record(events.Done)
	for i := range 50 {
		rec.ActionID = fmt.Sprintf("c%d", i)
		if _, err := b.PublishOutcome(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if err := b.LookAfterStore(ended, func(context.Context, string) {}); err != nil { // as at the end of a daemon
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	msgs := filepath.Join(dir, "jetstream", "$G", "streams", events.StreamEvt, "msgs")
	block := filepath.Join(msgs, "1.blk")
	body, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(block, flipped(body, int(float64(len(body))*part)), 0o600); err != nil {
		t.Fatal(err)
	}
	if crashed {
		if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAMessageThatCannotBeReadIsFoundAndSaidInABackup(t *testing.T) {
	for part, want := range map[float64]string{0.001: "the first has sequence 1", 0.5: "the first has sequence 2", 0.999: "the first has sequence 50"} {
		b := open(t, events.Options{DataDir: damagedStore(t, part, false)})
		all, err := b.Damages(t.Context())
		if err != nil || len(all) != 1 || !strings.Contains(all[0].String(), "1 message of stream NS_EVT cannot be read, "+want) {
			t.Errorf("damage at %v: %v, %v, want %q", part, all, err, want)
		}
		path := filepath.Join(t.TempDir(), "x")
		m, err := b.Backup(t.Context(), path, "")
		if err != nil || len(m.Damages) != 1 || m.Damages[0] != all[0].String() {
			t.Errorf("a backup of a damaged store: %v, %v", m.Damages, err)
		}
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := events.Restore(t.Context(), path, dir, "", zap.NewNop()); err != nil {
			t.Fatal(err)
		}
		back := open(t, events.Options{DataDir: dir})
		n := 0
		for _, err := range back.Records(t.Context(), "", time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 49 {
			t.Errorf("damage at %v: %d events came back, want 49 of 50", part, n)
		}
	}
}

func TestAStoreThatHasLostItsEndBeginsAnew(t *testing.T) {
	for _, part := range []float64{0.001, 0.5, 0.999} {
		dir := damagedStore(t, part, true)
		b := open(t, events.Options{DataDir: dir})
		past, err := b.Past(t.Context())
		if err != nil || !strings.Contains(past.Why, "found damaged (NS_EVT ends at sequence ") || !strings.Contains(past.Why, " and had come to 50)") {
			t.Errorf("damage at %v: %+v, %v", part, past, err)
		}
		if all, err := b.Damages(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("what is left cannot be read: %v, %v", all, err)
		}
	}
}

func TestAStoreThatIsWholeDoesNotBeginAnew(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		b, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
		if err != nil {
			t.Fatal(err)
		}
		if past, err := b.Past(t.Context()); err != nil || !past.At.IsZero() {
			t.Errorf("it begins anew: %+v, %v", past, err)
		}
		if all, err := b.Damages(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("damages %v, %v", all, err)
		}
		rec := record(events.Done)
		for i := range 20 {
			rec.ActionID = fmt.Sprintf("c%d", i)
			if _, err := b.PublishOutcome(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			if _, err := b.State().Put(t.Context(), "keep.i-1", []byte("{}")); err != nil {
				t.Fatal(err)
			}
			if _, err := b.State().Put(t.Context(), "hand.i-1", []byte("{}")); err != nil {
				t.Fatal(err)
			}
			if err := b.State().Delete(t.Context(), "hand.i-1"); err != nil {
				t.Fatal(err)
			}
		}
		if all, err := b.Damages(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("damages %v, %v", all, err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
