package events_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"nightshift/events"
)

var everyFile = flag.Bool("everyfile", false, "change a byte of each file of the store, not only of those that hold messages")

// filledStore is a store with something in each stream, closed in order.
func filledStore(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	b, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		rec := record(events.Done)
		rec.ActionID = fmt.Sprintf("c%d", i)
		if _, err := b.PublishOutcome(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		c := events.Command{Who: "local", Region: "lon1", Instance: "i-1", Action: "stop", ID: fmt.Sprintf("c%d", i)}
		if _, err := b.PublishCommand(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, err := b.State().Put(t.Context(), fmt.Sprintf("keep.i-%d", i), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	if err := errors.Join(b.LookAfterStore(ended, func(context.Context, string) {}), b.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	return dir
}

// seqPart stands for a high byte of the sequence of the first message in a block.
const seqPart = -1

// TestAByteThatChangesAnywhereInTheStoreIsNeverPassedOver flips a byte of each file
// of the store, at its beginning, in the middle and at its end: it either refuses to
// open and says where and what to do, or all is there, or what is missing is said.
func TestAByteThatChangesAnywhereInTheStoreIsNeverPassedOver(t *testing.T) {
	whole := filledStore(t)
	var files []string
	if err := filepath.WalkDir(whole, func(path string, d fs.DirEntry, err error) error {
		if info, e := d.Info(); err == nil && e == nil && info.Mode().IsRegular() && info.Size() > 0 && d.Name() != "nightshift.lock" && (*everyFile || strings.HasSuffix(path, ".blk")) {
			rel, _ := filepath.Rel(whole, path)
			files = append(files, rel)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, part := range []float64{0, seqPart, 0.5, 0.999} {
			t.Run(fmt.Sprintf("%s at %v", strings.ReplaceAll(file, string(filepath.Separator), "|"), part), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "data")
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, file)
				body, err := os.ReadFile(path)
				if err == nil {
					at := int(float64(len(body)) * part)
					if part == seqPart {
						at = min(9, len(body)-1)
					}
					err = os.WriteFile(path, flipped(body, at), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				what := lossOf(t, dir)
				t.Log(what)
				if strings.HasPrefix(what, "refused") { // what the error advises
					if err := os.RemoveAll(filepath.Dir(filepath.Dir(path))); err != nil {
						t.Fatal(err)
					}
					if what = lossOf(t, dir); !strings.Contains(what, `past "found damaged`) {
						t.Errorf("without the stream: %s", what)
					}
				}
			})
		}
	}
}

// lossOf opens a store and says what came of it; that something is missing and
// nobody says so is a fault of the test.
func lossOf(t *testing.T, dir string) string {
	b, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
	if err != nil {
		if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "docs/recovery.md") {
			t.Errorf("it does not open and says neither where nor what to do: %v", err)
		}
		return "refused: " + err.Error()
	}
	defer func() { _ = b.Close(context.WithoutCancel(t.Context())) }()
	n := 0
	for _, err := range b.Records(t.Context(), "", time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	keeps := 0
	for i := range 20 {
		if _, err := b.State().Get(t.Context(), fmt.Sprintf("keep.i-%d", i)); err == nil {
			keeps++
		}
	}
	past, err := b.Past(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	damages, err := b.Damages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	summary, err := b.Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	what := fmt.Sprintf("%d of 20 events, %d of 20 keeps; %s; damages %v; past %q", n, keeps, summary, damages, past.Why)
	isWhole := n == 20 && keeps == 20 && strings.Contains(summary, "NS_IN 20")
	if !isWhole && len(damages) == 0 && past.At.IsZero() {
		t.Errorf("something is lost and nobody says so: %s", what)
	}
	return what
}

// The checksum of a message is what tells a sequence that is far away from one that
// was damaged.
func TestABlockWhoseSequencesLieFarApartIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	b, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FAR", Subjects: []string{"far.>"}, FirstSeq: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*nats.Msg{{Subject: "far.a", Data: []byte("x")}, {Subject: "far.b", Header: nats.Header{"A": {"b"}}}} {
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	open(t, events.Options{DataDir: dir})
}
