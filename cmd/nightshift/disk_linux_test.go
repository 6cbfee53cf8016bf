package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// startLimited is start for a program none of whose files may grow beyond 64 KB: a
// disk that is full, for which nobody must be root.
func startLimited(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{more: make(chan struct{}, 1), done: make(chan struct{})}
	p.Cmd = exec.Command("sh", append([]string{"-c", `ulimit -S -f 128; exec "$0" "$@"`, binary(t, name)}, args...)...)
	p.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NO_COLOR=1"}, env...)
	p.Stdout, p.Stderr = p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.err = p.Wait(); close(p.done) }() // until the process ends
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s:\n%s", name, p.output())
		}
	})
	return p
}

// makeRoom lifts the limit of a running process.
func makeRoom(t *testing.T, pid int) {
	t.Helper()
	none := syscall.Rlimit{Cur: ^uint64(0), Max: ^uint64(0)}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&none)), 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
}

func TestAFullDiskMakesTheDaemonNotReadyUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	s := newSite(t, false, "300ms")
	daemon := startLimited(t, []string{"CIVO_TOKEN=" + e2eToken}, "nightshift", "run", "--config", s.config, "--api-url", s.api, "--data-dir", filepath.Join(s.dir, "data"), "--nats-listen", s.nats,
		"--plan-start", "2026-03-04T12:00:00Z", "--plan-speed", "1")
	daemon.says(t, `"(ready)"`)
	nc, err := nats.Connect("nats://" + s.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	for ; acknowledged < 50; acknowledged++ {
		body := []byte(`{"signal": "ci.queued", "labels": {"x": "` + strings.Repeat("x", 9000) + `"}}`)
		if _, err := js.Publish(t.Context(), "nightshift.v1.sig.ci._._", body); err != nil {
			break
		}
	}
	daemon.says(t, `critical write error`)
	ask := func(args ...string) (out string, code int) {
		cmd := exec.Command(binary(t, "nightshift"), args...)
		cmd.Env = append(os.Environ(), "NIGHTSHIFT_NATS_URL=nats://"+s.nats)
		text, _ := cmd.CombinedOutput()
		return string(text), cmd.ProcessState.ExitCode()
	}
	out, code := ask("status", "--ready")
	if code != 1 || !strings.Contains(out, "the store cannot be written: ") || !strings.Contains(out, "file too large") {
		t.Errorf("ready says %q, exit code %d, want the full disk and 1", out, code)
	}
	if out, code := ask("stop", "dev-1"); code != 1 || !strings.Contains(out, "the store cannot be written") {
		t.Errorf("a command is answered with %q, exit code %d, want the full disk and 1", out, code)
	}
	if n := s.calls("stop"); n != 0 {
		t.Errorf("%d stop calls, want none: nothing could be stored", n)
	}

	makeRoom(t, daemon.Process.Pid)
	daemon.says(t, `(the store is written again)`)
	if err := waitReady(s.nats); err != nil {
		t.Fatal(err)
	}
	if out, code := ask("stop", "dev-1", "--wait"); code != 0 || !strings.Contains(out, "done") {
		t.Errorf("a command is answered with %q, exit code %d, want done", out, code)
	}
	in, err := js.Stream(t.Context(), "NS_IN")
	if err != nil {
		t.Fatal(err)
	}
	if got := int(in.CachedInfo().State.Msgs); got < acknowledged {
		t.Errorf("%d messages are stored of %d that were acknowledged", got, acknowledged)
	}
}
