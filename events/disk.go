package events

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"
)

// The embedded server answers nothing when it cannot store a message, and gives a
// stream up for good at the first write that fails: also when there is room again.
// So its log is listened to, what is published fails at once from then on, and when
// the directory can be written again its JetStream is begun anew from the disk.

const (
	// diskLook is how often a store that could not be written is tried.
	diskLook = 2 * time.Second
	// probeSize is how much room there must be to begin again.
	probeSize = 1 << 20
	probeFile = "nightshift.probe"
	// noStoreBound lets the disk alone bound the store: the server's own bound is
	// three quarters of what was free when it started.
	noStoreBound = 1 << 60
)

// ErrStore says that the embedded server cannot store anything.
var ErrStore = errors.New("the store cannot be written")

// errOtherDir says that there is a directory, and not the store's: to begin anew in it
// would be to forget all that was done.
var errOtherDir = errors.New("it is another directory than at the start (is its disk mounted?): bring the former back, or start nightshift anew to go on in this one")

// disk is how the embedded server's store is doing.
type disk struct {
	dir    string // empty: there is none of our own
	config server.JetStreamConfig
	is     os.FileInfo // the directory as it was at the start
	marked string      // what the file of marks holds
	// lostLast is the last message of the bucket when it was gone at the start.
	lostLast uint64

	mu    sync.Mutex
	fault string // why it cannot be written; empty: it can
	since time.Time
	stops map[*func()]struct{} // what is to be made anew when the store is taken up
}

// whenTakenUp has something stopped when the store is taken up again, since what it
// waits for does not come any more, until forget is called.
func (d *disk) whenTakenUp(stop func()) (forget func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stops == nil {
		d.stops = make(map[*func()]struct{})
	}
	d.stops[&stop] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.stops, &stop)
	}
}

// givesUp reports whether a line of the server's log says that it stores no more.
func givesUp(line string) bool {
	for _, s := range []string{"critical write error", "Critical write error", "failed to store a msg", "permission denied while writing", "will be DISABLED"} {
		if strings.Contains(line, s) {
			return true
		}
	}
	return false
}

// hear is told of each error in the server's log. Whoever waits for an answer does
// so in vain then.
func (b *Bus) hear(line string) {
	d := &b.disk
	if d.dir == "" || !givesUp(line) {
		return
	}
	_, why, ok := strings.Cut(line, ": ")
	if !ok {
		why = line
	}
	b.storeFails(why)
}

// storeFails lets all that waits to be stored fail, and what comes.
func (b *Bus) storeFails(why string) {
	d := &b.disk
	d.mu.Lock()
	if d.fault == "" {
		d.fault, d.since = why, time.Now()
	}
	d.mu.Unlock()
	fault := d.err()
	b.mu.Lock()
	defer b.mu.Unlock()
	for r := range b.guarded {
		if strings.HasPrefix(r.subject, prefix) || strings.HasPrefix(r.subject, stateSubjects) {
			r.refuse(fault)
		}
	}
}

// err is why nothing can be stored, or nil.
func (d *disk) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault == "" {
		return nil
	}
	return fmt.Errorf("%w: %s; nothing is acknowledged until data directory %s has room and may be written, then it goes on by itself", ErrStore, d.fault, d.dir)
}

// StoreFault is why nothing can be stored, or nil: whoever is to answer that something
// is stored looks here before he does anything that takes time.
func (b *Bus) StoreFault() error { return b.disk.err() }

// look finds out that a disk is full or may not be written any more while nobody
// writes, and before a write is cut off in the middle.
func (d *disk) look(write bool) error {
	if free, ok := roomIn(d.dir); ok && free < probeSize {
		return fmt.Errorf("no space left on device: %d KB are free, less than 1 MB", free>>10)
	}
	if !write {
		return nil
	}
	return d.write(1)
}

// probe tries whether there is room in the directory and it can be written.
func (d *disk) probe() (err error) { return d.write(probeSize) }

// write writes a file of a size to the disk, and takes it away; one of a byte never
// gets there.
func (d *disk) write(size int) (err error) {
	if now, err := os.Stat(d.dir); err != nil {
		return err
	} else if d.is != nil && !os.SameFile(d.is, now) {
		return errOtherDir
	}
	path := filepath.Join(d.dir, probeFile)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(path)) }()
	if _, err := file.Write(make([]byte, size)); err != nil || size == 1 {
		return err
	}
	return file.Sync()
}

// OwnsStore reports whether the store is on this process's own disk.
func (b *Bus) OwnsStore() bool { return b.disk.dir != "" }

// DirWritable tries whether there is room in a data directory and it can be written.
func DirWritable(dir string) error {
	return (&disk{dir: dir}).probe()
}

// LookAfterStore watches over the embedded server's store until ctx ends: one that
// could not be written is taken up again when it can. told hears of it then.
func (b *Bus) LookAfterStore(ctx context.Context, told func(ctx context.Context, detail string)) error {
	if b.disk.dir == "" {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(diskLook)
	defer ticker.Stop()
	marked, said := time.Now(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			b.keepMarks(context.WithoutCancel(ctx))
			return nil
		case <-ticker.C:
		}
		if b.disk.err() == nil {
			due := time.Since(marked) >= marksEvery
			if err := b.disk.look(due); err != nil {
				b.storeFails(err.Error())
			} else if due {
				marked = time.Now()
				b.keepMarks(ctx)
			}
		}
		if b.disk.err() == nil {
			continue
		}
		switch detail, err := b.takeUpStore(); {
		case err != nil && time.Since(said) < time.Minute: // it has been said
		case err != nil:
			said = time.Now()
			b.log.Error("the store cannot be written: nothing is acknowledged, what comes in waits where it came from", zap.Error(err))
		default:
			told(ctx, detail)
			b.log.Warn("the store is written again", zap.String("detail", detail))
		}
	}
}

// takeUpStore begins JetStream anew from the disk when that can be written.
func (b *Bus) takeUpStore() (detail string, err error) {
	d := &b.disk
	if err := d.probe(); err != nil {
		return "", err
	}
	if err := b.embedded.ShutdownJetStream(); err != nil {
		return "", err
	}
	d.mu.Lock()
	fault, since := d.fault, d.since
	d.fault = ""
	d.mu.Unlock()
	config := d.config
	if err := b.embedded.EnableJetStream(&config); err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.fault, d.since = err.Error(), since
		return "", err
	}
	d.mu.Lock()
	stops := slices.Collect(maps.Keys(d.stops))
	d.mu.Unlock()
	for _, stop := range stops {
		(*stop)()
	}
	return fmt.Sprintf("the store could not be written from %s to %s: %s; nothing was acknowledged meanwhile that is not stored",
		since.UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339), fault), nil
}
