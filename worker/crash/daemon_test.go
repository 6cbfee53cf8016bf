package crash

import (
	"bytes"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// daemon is a running process.
type daemon struct {
	*exec.Cmd
	t    *testing.T
	mu   sync.Mutex
	out  bytes.Buffer
	more chan struct{} // written to after each piece of output
	done chan struct{} // closed when it has ended
	err  error
}

func (d *daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case d.more <- struct{}{}:
	default:
	}
	return d.out.Write(b)
}

func (d *daemon) output() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
}

// wantNoRace fails when the detector has said something: what is killed has no
// exit code of its own.
func (d *daemon) wantNoRace() {
	d.t.Helper()
	if _, report, ok := strings.Cut(d.output(), "WARNING: DATA RACE"); ok {
		d.t.Errorf("a data race in the daemon:%s", report)
	}
}

// forget drops what it said.
func (d *daemon) forget() {
	d.wantNoRace()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out.Reset()
}

func (d *daemon) kill() {
	_ = d.Process.Kill()
	<-d.done
}

// diesAfter returns when it is dead: killed after a while, if nothing else ended it.
func (d *daemon) diesAfter(life time.Duration) {
	strike := time.AfterFunc(life, func() { _ = d.Process.Kill() })
	defer strike.Stop()
	<-d.done
}

// says waits for a text in the log, and reports whether it came before the
// process ended.
func (d *daemon) says(text string) bool {
	d.t.Helper()
	re := regexp.MustCompile(text)
	deadline := time.After(patience)
	for {
		if re.MatchString(d.output()) {
			return true
		}
		select {
		case <-d.more:
		case <-d.done:
			return re.MatchString(d.output())
		case <-deadline:
			d.t.Fatalf("the daemon does not say %q", text)
		}
	}
}

// crashes waits until the process has ended itself at its crash point.
func (d *daemon) crashes() {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Fatal("the daemon did not come to its crash point")
	}
	var exit *exec.ExitError
	if !errors.As(d.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		d.t.Fatalf("the daemon ended, and not at its crash point: %v", d.err)
	}
}
