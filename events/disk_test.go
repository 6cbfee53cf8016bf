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
	"syscall"
	"testing"
	"time"

	"nightshift/events"
)

// fullDir is set when this binary runs as the child of TestAFullDisk….
const fullDir = "NIGHTSHIFT_EVENTS_FULL_DIR"

// limitFiles lets no file of this process grow beyond a size: a disk that is full,
// without one.
func limitFiles(size uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: ^uint64(0)})
}

// fullChild fills the store until nothing goes in any more, makes room, and says
// how that went, line by line.
func fullChild(dir string) {
	if err := fill100(dir); err != nil {
		fmt.Println("fault:", err)
	}
}

func fill100(dir string) error {
	ctx := context.Background()
	b, err := events.Open(ctx, events.Options{DataDir: dir, Listen: "none"})
	if err != nil {
		return err
	}
	looking, stop := context.WithCancel(ctx)
	defer stop()
	told, looked := make(chan string, 1), make(chan error, 1)
	go func() { // until stop
		looked <- b.LookAfterStore(looking, func(_ context.Context, detail string) { told <- detail })
	}()
	if err := limitFiles(128 << 10); err != nil {
		return err
	}
	rec := record(events.Done)
	rec.Detail = strings.Repeat("x", 10000)
	for i := range 100 {
		rec.ActionID = fmt.Sprintf("c%d", i)
		if _, err := b.PublishOutcome(ctx, rec); err != nil {
			fmt.Println("acknowledged:", i)
			fmt.Println("refused:", err)
			break
		}
	}
	fmt.Println("not ready:", b.Ready(ctx))
	began := time.Now()
	rec.ActionID = "d0"
	_, err = b.PublishOutcome(ctx, rec)
	fmt.Println("is the store:", errors.Is(err, events.ErrStore), "at once:", time.Since(began) < time.Second)
	if err := limitFiles(^uint64(0)); err != nil {
		return err
	}
	fmt.Println("told:", <-told)
	fmt.Println("ready:", b.Ready(ctx))
	rec.ActionID = "e0"
	stored, err := b.PublishOutcome(ctx, rec)
	fmt.Println("stored again:", stored, err)
	if err := fillBucket(ctx, b); err != nil {
		return err
	}
	fmt.Println("bucket told:", <-told)
	_, err = b.State().Put(ctx, "keep.i-1", []byte("{}"))
	fmt.Println("bucket written again:", err)
	stop()
	return errors.Join(<-looked, b.Close(ctx))
}

// fillBucket finds the disk full with what is remembered, singly, and then with
// events that come together, and makes room.
func fillBucket(ctx context.Context, b *events.Bus) error {
	if err := limitFiles(64 << 10); err != nil {
		return err
	}
	began := time.Now()
	var err error
	for i := 0; i < 50 && err == nil; i++ {
		began = time.Now()
		_, err = b.State().Put(ctx, fmt.Sprintf("keep.i-%d", i), bytes.Repeat([]byte("x"), 5000))
	}
	fmt.Println("bucket refused:", errors.Is(err, events.ErrStore), "in time:", time.Since(began) < 3*time.Second)
	began = time.Now()
	refused := make(chan bool)
	for i := range 40 {
		go func() { // ends with the answer
			rec := record(events.Done)
			rec.ActionID = fmt.Sprintf("f%d", i)
			_, err := b.PublishOutcome(ctx, rec)
			refused <- errors.Is(err, events.ErrStore)
		}()
	}
	all := true
	for range 40 {
		all = <-refused && all
	}
	fmt.Println("together refused:", all, "in time:", time.Since(began) < 3*time.Second)
	return limitFiles(^uint64(0))
}

func TestAFullDiskIsSaidNothingIsAcknowledgedAndItGoesOnWhenThereIsRoom(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fullDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"refused: ", "not ready: the store cannot be written: ", "file too large; nothing is acknowledged until data directory " + dir + " has room",
		"is the store: true at once: true", "told: the store could not be written from ", "ready: <nil>", "stored again: true <nil>",
		"bucket refused: true in time: true", "together refused: true in time: true", "bucket told: the store could not be written from ", "bucket written again: <nil>",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the child does not say %q:\n%s", want, out)
		}
	}
	var n int
	if _, err := fmt.Sscanf(string(out[strings.Index(string(out), "acknowledged: "):]), "acknowledged: %d", &n); err != nil || n < 5 {
		t.Fatalf("%d were acknowledged, %v:\n%s", n, err, out)
	}
	b := open(t, events.Options{DataDir: dir})
	for i := range 100 {
		trail, err := b.Trail(t.Context(), "lon1", "i-1", fmt.Sprintf("c%d", i))
		if want := i < n; err != nil || (len(trail.Records) == 1) != want {
			t.Errorf("event %d of %d acknowledged is stored: %v, %v", i, n, !want, err)
		}
	}
	for id, want := range map[string]int{"d0": 0, "e0": 1} {
		if trail, err := b.Trail(t.Context(), "lon1", "i-1", id); err != nil || len(trail.Records) != want {
			t.Errorf("event %s is stored %d times, want %d, %v", id, len(trail.Records), want, err)
		}
	}
}

// A directory that is taken away is as good as a disk that is: whoever does not write
// just then must find out, too.
func TestADirectoryThatIsTakenAwayIsFoundAlsoWhileNobodyWritesAndTakenUpWhenItIsBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	b := open(t, events.Options{DataDir: dir})
	ctx, stop := context.WithCancel(t.Context())
	told, looked := make(chan string, 1), make(chan error, 1)
	go func() { // until stop
		looked <- b.LookAfterStore(ctx, func(_ context.Context, detail string) { told <- detail })
	}()
	defer func() { stop(); <-looked }()
	// What is left is the bare mount point: a store begun in it would have forgotten all.
	if err := errors.Join(os.Rename(dir, dir+".away"), os.MkdirAll(dir, 0o700), events.DirWritable(dir)); err != nil {
		t.Fatal(err)
	}
	patience := time.After(30 * time.Second)
	for b.StoreFault() == nil {
		select {
		case <-patience:
			t.Fatal("nobody has found out")
		case <-time.Tick(50 * time.Millisecond):
		}
	}
	if err := b.Ready(ctx); !errors.Is(err, events.ErrStore) || !strings.Contains(err.Error(), "another directory than at the start") {
		t.Errorf("it is ready: %v", err)
	}
	if _, err := b.PublishOutcome(ctx, record(events.Done)); !errors.Is(err, events.ErrStore) {
		t.Errorf("an event is answered with %v", err)
	}
	if _, err := b.State().Put(ctx, "keep.i-1", []byte("{}")); !errors.Is(err, events.ErrStore) {
		t.Errorf("what is to be remembered is answered with %v", err)
	}
	if len(told) > 0 {
		t.Errorf("it was taken up in another directory: %s", <-told)
	}
	if err := errors.Join(os.RemoveAll(dir), os.Rename(dir+".away", dir)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-told:
	case <-patience:
		t.Fatal("it is not taken up again")
	}
	if err := b.Ready(ctx); err != nil {
		t.Error(err)
	}
	if stored, err := b.PublishOutcome(ctx, record(events.Done)); err != nil || !stored {
		t.Errorf("an event is answered with %v, %v", stored, err)
	}
}

func TestADirectoryThatCannotBeUsedEndsTheStartWithWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{path, filepath.Join(path, "below")} {
		_, err := events.Open(t.Context(), events.Options{DataDir: dir, Listen: "none"})
		if !errors.Is(err, events.ErrStore) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "mounted writable") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
