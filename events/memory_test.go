package events_test

import (
	"path/filepath"
	"testing"

	"nightshift/events"
)

func TestAServerInMemoryHasADirectoryOfItsOwnAndLeavesNone(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var all []*events.Bus
	for range 2 {
		b, err := events.Open(t.Context(), events.Options{Memory: true, Listen: "none"})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	if there, _ := filepath.Glob(filepath.Join(dir, "*")); len(there) != 2 {
		t.Errorf("two servers have the directories %q", there)
	}
	for _, b := range all {
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
		t.Errorf("they leave %q", left)
	}
}
