package events_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
)

// oldStore unpacks a store as a program of before wrote it: store-0 from before forms
// were written down, store-1 of form 1. Its clock stood in 2099, so that nothing in it is ever too old to be kept.
func oldStore(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Clean(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var body []byte
			if body, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, body, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// content is what a directory holds, file by file.
func content(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%s %x\n", path, sha256.Sum256(body))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// wantOldStore looks for what is in testdata/store-0.tar.gz.
func wantOldStore(t *testing.T, b *events.Bus) {
	t.Helper()
	const web1 = "33333333-0000-4000-8000-000000000001"
	trail, err := b.Trail(t.Context(), "lon1", web1, "9d233ac342736600be4ee05a")
	if end, ok := trail.Outcome(); err != nil || !ok || end.Outcome != events.Done || end.Action != "reboot" || end.Hostname != "web-1" {
		t.Errorf("the reboot of before: %+v, %v", trail, err)
	}
	started, seq, err := b.LastStarted(t.Context(), "lon1", web1)
	if err != nil || started.ActionID != "9d233ac342736600be4ee05a" || seq == 0 {
		t.Errorf("the last call to web-1: %+v at %d, %v", started, seq, err)
	}
	kinds := make(map[string]int)
	for run, err := range b.Runs(t.Context(), time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		kinds[run.Kind]++
		if run.Held != "" {
			kinds["held"]++
		}
	}
	if kinds["tick"] == 0 || kinds["command"] == 0 || kinds["held"] == 0 {
		t.Errorf("runs of before: %v, want ticks, commands and a held one", kinds)
	}
	keys, err := b.State().Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"keep.11111111-0000-4000-8000-000000000002", "pause.policy.dev-hours", "pause.instance." + web1, "policy.dev-hours"} {
		if !slices.Contains(keys, want) {
			t.Errorf("%s is not remembered any more, only %v", want, keys)
		}
	}
}

func TestAStoreOfAnOlderProgramIsReadAndItsFormWritten(t *testing.T) {
	dir := oldStore(t, "store-0.tar.gz")
	b := open(t, events.Options{DataDir: dir, Program: "nightshift 9"})
	wantOldStore(t, b)
	entry, err := b.State().Get(t.Context(), "version")
	if want := fmt.Sprintf(`{"version":%d,"by":"nightshift 9"}`, events.StateVersion); err != nil || string(entry.Value()) != want {
		t.Errorf("the form of the store is %v, %v, want %s", entry, err, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, "nightshift.version"))
	if want := fmt.Sprintf("%d nightshift 9\n", events.StateVersion); err != nil || string(text) != want {
		t.Errorf("the form beside the store is %q, %v, want %q", text, err, want)
	}
}

func TestAStoreOfForm1IsRead(t *testing.T) {
	b := open(t, events.Options{DataDir: oldStore(t, "store-1.tar.gz"), Program: "nightshift 9"})
	wantOldStore(t, b)
	if pin, ok, err := b.Pinned(t.Context()); !ok || err != nil || !slices.Equal(pin.IDs, []string{"acc-1"}) {
		t.Errorf("the account of before: %+v, %v, %v", pin, ok, err)
	}
	want := largeRun(2500) // stored in parts
	got, ok, err := b.LoadRun(t.Context(), want.Region, want.Trigger)
	if !ok || err != nil {
		t.Fatalf("the large plan of before: %v, %v", ok, err)
	}
	sameItems(t, "the large plan of before", got, want)
	if form, err := b.Form(t.Context()); err != nil || form != events.StateVersion {
		t.Errorf("its form is %d now, %v", form, err)
	}
}

func TestAStoreOfANewerProgramIsRefusedAndNotTouched(t *testing.T) {
	dir := oldStore(t, "store-0.tar.gz")
	if err := os.WriteFile(filepath.Join(dir, "nightshift.version"), []byte("9 nightshift 7.0.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := content(t, dir)
	_, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
	if !errors.Is(err, events.ErrNewer) || !strings.Contains(err.Error(), "form 9 (of nightshift 7.0.0)") {
		t.Errorf("a newer store: %v", err)
	}
	if after := content(t, dir); after != before {
		t.Errorf("it was touched:\n%s\nbefore:\n%s", after, before)
	}
}

func TestANewerStoreIsKnownByWhatIsStoredToo(t *testing.T) {
	dir := t.TempDir()
	b, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.State().Put(t.Context(), "version", []byte(`{"version":9}`)); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"}); !errors.Is(err, events.ErrNewer) {
		t.Errorf("a newer store: %v", err)
	}
}

// fill stores a bit of everything, and returns the sequence of a call under way.
func fill(t *testing.T, b *events.Bus) (started uint64) {
	t.Helper()
	if _, err := b.PublishTick(t.Context(), events.Tick{Policy: "dev-hours", Planned: planned, Hash: "h", Trigger: "t1", Edges: []string{"dev-hours@1772650800"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StoreRun(t.Context(), events.Run{Trigger: "t1", Kind: "tick", Region: "lon1", Planned: planned, StoredAt: planned}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		rec := record(events.Done)
		rec.ActionID = fmt.Sprintf("b%d", i)
		if _, err := b.PublishOutcome(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	seq, ok, err := b.PublishStarted(t.Context(), record(events.Started), 0)
	if err != nil || !ok {
		t.Fatalf("started: %v, %v", ok, err)
	}
	if _, err := b.State().Put(t.Context(), "keep.i-1", []byte(`{"state":"running"}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PinAccount(t.Context(), events.Pin{IDs: []string{"acc-1"}, Since: planned}); err != nil {
		t.Fatal(err)
	}
	return seq
}

func backup(t *testing.T, b *events.Bus) (path string, m events.Manifest) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ns.backup")
	m, err := b.Backup(t.Context(), path, "nightshift 9")
	if err != nil {
		t.Fatal(err)
	}
	return path, m
}

func TestABackupOfARunningStoreComesBackWithItsSequences(t *testing.T) {
	b := open(t, events.Options{})
	seq := fill(t, b)
	path, made := backup(t, b)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v, want mode 0600", info, err)
	}
	if rest, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(rest) > 0 {
		t.Errorf("left behind: %v, %v", rest, err)
	}
	if !slices.Equal(made.Account, []string{"acc-1"}) || len(made.Streams) != 5 || made.Streams[4].Name != events.StreamEvt || made.Streams[4].Messages != 21 || made.Streams[4].LastSeq != 21 {
		t.Errorf("manifest %+v", made)
	}
	read, err := events.CheckBackup(path)
	if err != nil {
		t.Fatal(err)
	}
	one, _ := json.Marshal(made)
	two, _ := json.Marshal(read)
	if len(one) == 0 || !json.Valid(two) || read.Program != "nightshift 9" || !read.Made.Equal(made.Made) {
		t.Errorf("the manifest read back is %s, want %s", two, one)
	}

	dir := filepath.Join(t.TempDir(), "new")
	if _, err := events.Restore(t.Context(), path, dir, "nightshift 9", zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	back := open(t, events.Options{DataDir: dir})
	rec, at, err := back.LastStarted(t.Context(), "lon1", "i-1")
	if err != nil || at != seq || rec.ActionID != "a1" || time.Since(rec.StoredAt) > time.Hour {
		t.Errorf("the call under way came back as %+v at %d, %v; want sequence %d", rec, at, err, seq)
	}
	other := record(events.Started)
	other.ActionID = "a2"
	if _, ok, err := back.PublishStarted(t.Context(), other, seq-1); ok || err != nil {
		t.Errorf("a call with an old expectation is let through: %v, %v", ok, err)
	}
	if at, ok, err := back.PublishStarted(t.Context(), other, seq); !ok || err != nil || at != seq+1 {
		t.Errorf("the next call: %d, %v, %v; want sequence %d", at, ok, err, seq+1)
	}
	if stored, err := back.PublishTick(t.Context(), events.Tick{Policy: "dev-hours", Planned: planned, Hash: "h", Trigger: "t1"}); stored || err != nil {
		t.Errorf("a tick of before is stored twice: %v, %v", stored, err)
	}
	past, err := back.Past(t.Context())
	if err != nil || past.In != 1 || past.Run != 1 || !strings.Contains(past.Why, "restored from a backup of ") || time.Since(past.At) > time.Hour {
		t.Errorf("what lies behind the store: %+v, %v", past, err)
	}
	if pin, ok, err := back.Pinned(t.Context()); !ok || err != nil || !slices.Equal(pin.IDs, []string{"acc-1"}) {
		t.Errorf("the account: %+v, %v, %v", pin, ok, err)
	}
}

func TestAStoreOfAnOlderProgramIsBackedUpWithoutADaemonAndRestored(t *testing.T) {
	dir := oldStore(t, "store-0.tar.gz")
	b, err := events.OpenStore(t.Context(), dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	path, m := backup(t, b)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m.State != 0 {
		t.Errorf("the store has form %d, want 0", m.State)
	}
	to := t.TempDir()
	if _, err := events.Restore(t.Context(), path, to, "", zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	wantOldStore(t, open(t, events.Options{DataDir: to}))
}

func TestADamagedBackupIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	b := open(t, events.Options{})
	fill(t, b)
	path, _ := backup(t, b)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"cut":       whole[:len(whole)/2],
		"a bit":     flipped(whole, len(whole)/3),
		"empty":     {},
		"no backup": []byte("hello"),
	} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "new")
		if _, err := events.Restore(t.Context(), bad, dir, "", zap.NewNop()); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the directory was made", name)
		}
	}
}

func flipped(data []byte, at int) []byte {
	out := slices.Clone(data)
	out[at] ^= 0x10
	return out
}

func TestARestoreGoesIntoAnEmptyDirectoryOnly(t *testing.T) {
	dir := t.TempDir()
	b := open(t, events.Options{DataDir: dir})
	fill(t, b)
	path, _ := backup(t, b)
	if _, err := events.Restore(t.Context(), path, dir, "", zap.NewNop()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Errorf("into the directory of a running daemon: %v", err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := events.Restore(t.Context(), path, full, "", zap.NewNop()); !errors.Is(err, events.ErrExists) {
		t.Errorf("into a directory with a file: %v", err)
	}
	if _, err := b.Backup(t.Context(), path, ""); err == nil {
		t.Error("a backup is written over")
	}
}

func TestADirectoryWhoseRestoreDidNotEndIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "nightshift.restoring"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"}); err == nil || !strings.Contains(err.Error(), "its restore did not end") {
		t.Errorf("half a restore: %v", err)
	}
}
