package migrate_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"nightshift/configs"
	"nightshift/configs/migrate"
)

// fuzz feeds a reader: it never panics, and what it writes can be read, is the
// same the second time, and is in mode observe.
func fuzz(f *testing.F, tool string) {
	files, err := filepath.Glob("testdata/" + tool + "/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	read := readers[tool]
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := read(data, migrate.Options{File: "x"})
		if err != nil {
			var faults configs.Faults
			if errors.As(err, &faults) {
				t.Fatalf("it wrote what cannot be read: %v", err)
			}
			return
		}
		cfg, err := configs.Parse("", r.Text)
		if err != nil {
			t.Fatalf("%v\n%s", err, r.Text)
		}
		if len(cfg.Policies.Policies) != r.Done || cfg.Policies.Mode != "observe" {
			t.Fatalf("%d policies in mode %s, want %d in observe\n%s", len(cfg.Policies.Policies), cfg.Policies.Mode, r.Done, r.Text)
		}
		if again, err := read(data, migrate.Options{File: "x"}); err != nil || !bytes.Equal(again.Text, r.Text) {
			t.Fatalf("the second time it is another file: %v", err)
		}
	})
}

func FuzzCustodian(f *testing.F)         { fuzz(f, "c7n") }
func FuzzInstanceScheduler(f *testing.F) { fuzz(f, "aws") }
func FuzzDownscaler(f *testing.F)        { fuzz(f, "kube") }
