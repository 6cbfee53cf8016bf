package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// StateVersion is the form in which this program keeps what it stores. It grows
// when an older program would misread, or lose, what a newer one has written; a
// field more that may be passed over does not count. Form 0 is that of before
// forms were written down, and is the same as 1. In form 2 a plan may be in parts
// (Run.Parts) or follow what is held of it (Run.Lead): an older program reads such a
// plan as empty.
const StateVersion = 2

const (
	// versionKey of ns_state says in which form the store is.
	versionKey = "version"
	// versionFile says the same beside an embedded server's store, where it can be
	// read before a server touches anything.
	versionFile = "nightshift.version"
)

// ErrNewer says that a store was written by a newer nightshift, in a form that
// this one does not know. Nothing was touched.
var ErrNewer = errors.New("the store was written by a newer nightshift")

// stateVersion is what is kept under versionKey.
type stateVersion struct {
	Version int    `json:"version"`
	By      string `json:"by,omitempty"` // program that wrote it
}

// check refuses a form that is newer than this program.
func (v stateVersion) check(where string) error {
	if v.Version <= StateVersion {
		return nil
	}
	return fmt.Errorf("%w: %s has form %d%s, this nightshift knows up to %d: run that version or a newer one; nothing was changed", ErrNewer, where, v.Version, v.by(), StateVersion)
}

func (v stateVersion) by() string {
	if v.By == "" {
		return ""
	}
	return " (of " + v.By + ")"
}

// checkDirVersion looks at a data directory before a server is started on it.
func checkDirVersion(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, versionFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unwritable(dir, err)
	}
	number, by, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	n, err := strconv.Atoi(number)
	if err != nil { // it only says earlier what the store says itself
		return nil
	}
	return stateVersion{n, by}.check("data directory " + dir)
}

// storedVersion is the form that the store says, 0 when it says none or is empty.
func (b *Bus) storedVersion(ctx context.Context) (v stateVersion, err error) {
	_, _, err = b.recall(ctx, versionKey, &v)
	return v, err
}

// writeVersion says that the store is in the form of this program.
func (b *Bus) writeVersion(ctx context.Context, old stateVersion, o Options) error {
	if old.Version < StateVersion {
		body, err := json.Marshal(stateVersion{StateVersion, o.Program})
		if err != nil {
			return err
		}
		if _, err := b.state.Put(ctx, versionKey, body); err != nil {
			return fmt.Errorf("write the form of the store: %w", b.explain(err))
		}
	}
	if b.embedded == nil || o.Memory {
		return nil
	}
	path := filepath.Join(o.DataDir, versionFile)
	text := strings.TrimSpace(strconv.Itoa(StateVersion)+" "+o.Program) + "\n"
	if is, err := os.ReadFile(path); err == nil && string(is) == text {
		return nil
	}
	return writeWhole(path, []byte(text))
}

// writeWhole writes a file so that it is whole or as it was before.
func writeWhole(path string, text []byte) error {
	temp := path + ".new"
	if err := os.WriteFile(temp, text, 0o600); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("%w: %w; make room, or let this user write in %s", ErrStore, err, filepath.Dir(path))
	}
	return os.Rename(temp, path)
}
