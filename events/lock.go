package events

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// lockFile names who uses a data directory.
const lockFile = "nightshift.lock"

// lockDir takes a store directory for this process alone: two servers on one
// directory both start, and lose data. The operating system frees the lock when
// the process ends, however it ends.
func lockDir(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unwritable(dir, err)
	}
	path := filepath.Join(dir, lockFile)
	lock := flock.New(path, flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, unwritable(dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("data directory %s is in use by %s: stop that one, or use another directory", dir, holderOf(path))
	}
	text := fmt.Sprintf("process %d since %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		_ = lock.Unlock()
		return nil, unwritable(dir, err)
	}
	return lock.Unlock, nil
}

// unwritable says of a data directory that it cannot be used, and what to do.
func unwritable(dir string, err error) error {
	return fmt.Errorf("%w: %w; data directory %s must have room, be mounted writable and belong to this user (docs/recovery.md)", ErrStore, err, dir)
}

// holderOf is who holds a lock, as it wrote itself.
func holderOf(path string) string {
	if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
		return strings.TrimSpace(string(text))
	}
	return "another process"
}
