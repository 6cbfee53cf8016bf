package events

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestABackupIsWrittenWhereTheFileSystemHasNoLinks(t *testing.T) {
	dir := t.TempDir()
	noLinks := func(string, string) error { return &os.LinkError{Op: "link", Err: syscall.EPERM} }
	for name, link := range map[string]func(string, string) error{"links": os.Link, "no links": noLinks} {
		file, path := filepath.Join(dir, "temp"), filepath.Join(dir, name)
		for n, want := range []error{nil, fs.ErrExist} {
			if err := os.WriteFile(file, []byte("whole"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := putAt(file, path, link); !errors.Is(err, want) {
				t.Errorf("%s, time %d: %v, want %v", name, n, err, want)
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != "whole" {
				t.Errorf("%s, time %d: it holds %q, %v", name, n, text, err)
			}
			if _, err := os.Stat(file); (err == nil) != (n == 1) {
				t.Errorf("%s, time %d: the temporary file: %v", name, n, err)
			}
		}
	}
}
