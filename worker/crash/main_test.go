package crash

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
)

var binary string // the daemon, built with the tag crashpoints

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// The cases hardly work, they wait: for a planned time, for a state.
		if err := f.Value.Set(strconv.Itoa(6 * runtime.GOMAXPROCS(0))); err != nil {
			panic(err)
		}
	}
	os.Exit(withBinary(m))
}

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "nightshift-crash-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "nightshift")
	args := []string{"build", "-tags", "crashpoints", "-o", binary}
	env := os.Environ()
	if isRaced {
		args = append(args, "-race")
	} else { // as it is released (Dockerfile); that also starts and links sooner
		args, env = append(args, "-ldflags", "-s -w"), append(env, "CGO_ENABLED=0")
	}
	build := exec.Command("go", append(args, "nightshift/cmd/nightshift")...)
	build.Env = env
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the daemon: %v\n%s", err, out)
		return 1
	}
	if stores, err := inMemory(); err == nil {
		defer func() { _ = os.RemoveAll(stores) }()
		if err := os.Setenv("TMPDIR", stores); err != nil {
			panic(err)
		}
	}
	return m.Run()
}
