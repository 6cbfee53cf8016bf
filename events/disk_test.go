package events_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
	stop()
	return errors.Join(<-looked, b.Close(ctx))
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
