package migrate_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nightshift/configs"
	"nightshift/configs/migrate"
	"nightshift/policies"
)

var update = flag.Bool("update", false, "write the golden files anew")

// readers are the tools by the name of their folder in testdata.
var readers = map[string]func([]byte, migrate.Options) (migrate.Result, error){
	"c7n":  migrate.Custodian,
	"kube": migrate.Downscaler,
	"aws":  migrate.InstanceScheduler,
}

// TestGolden compares whole files. What is written can be read, and observes.
func TestGolden(t *testing.T) {
	for tool, read := range readers {
		files, err := filepath.Glob("testdata/" + tool + "/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, ".golden") {
				continue
			}
			t.Run(tool+"/"+filepath.Base(path), func(t *testing.T) {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				got := imported(t, read, data, filepath.Base(path))
				if *update {
					if err := os.WriteFile(path+".golden", got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path + ".golden")
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("got:\n%s\nwant:\n%s", got, want)
				}
			})
		}
	}
}

// imported is the file that is written, or the text of the error.
func imported(t *testing.T, read func([]byte, migrate.Options) (migrate.Result, error), data []byte, name string) []byte {
	t.Helper()
	r, err := read(data, migrate.Options{File: name})
	if err != nil {
		return []byte(err.Error() + "\n")
	}
	again, err := read(data, migrate.Options{File: name})
	if err != nil || !bytes.Equal(r.Text, again.Text) {
		t.Errorf("the second time it is another file, or an error: %v", err)
	}
	cfg, err := configs.Parse(name, r.Text)
	if err != nil {
		t.Fatalf("%v\n%s", err, r.Text)
	}
	if cfg.Policies.Mode != policies.ModeObserve {
		t.Errorf("mode is %s, want observe", cfg.Policies.Mode)
	}
	if len(cfg.Policies.Policies) != r.Done {
		t.Errorf("%d policies, and %d are said to be carried over", len(cfg.Policies.Policies), r.Done)
	}
	return r.Text
}
