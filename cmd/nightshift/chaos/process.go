package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// process is a part that runs as a process of its own: this program with other
// arguments.
type process struct {
	name    string
	cmd     *exec.Cmd
	leash   io.Closer     // its standard input: closed, also by our own death, it ends
	started time.Time     // when it was begun
	ended   chan struct{} // closed when it has ended
	killed  bool          // by us; guarded by whoever holds the process
	frozen  bool
}

// launcher starts processes.
type launcher struct {
	program string // path of this program
	dir     string // for their logs
	env     []string
}

// Leashed is the hidden command behind which every process of a chaos runs: it
// ends with its parent, and leaves Ctrl-C to it.
const Leashed = "leashed"

// start runs the program with arguments. Each line of its output goes to the log
// NAME.log and to line.
func (l *launcher) start(name string, args []string, line func(string)) (*process, error) {
	log, err := os.OpenFile(filepath.Join(l.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, ended: make(chan struct{}), started: time.Now()}
	// Under its own name whatever the file is called: a test binary looks at it.
	p.cmd = &exec.Cmd{Path: l.program, Args: append([]string{"nightshift", "chaos", Leashed}, args...), Env: l.env, Dir: l.dir}
	if p.leash, err = p.cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	go func() { // until the process ends
		defer close(p.ended)
		_ = follow(out, log, line)
		_ = p.cmd.Wait()
		_ = log.Close()
	}()
	return p, nil
}

// follow copies what a process says to its log, line by line.
func follow(from io.Reader, log io.Writer, line func(string)) error {
	lines := bufio.NewReader(from)
	for {
		text, err := lines.ReadString('\n')
		if text != "" {
			if _, err := io.WriteString(log, text); err != nil {
				return err
			}
			line(strings.TrimSuffix(text, "\n"))
		}
		if err != nil {
			return err
		}
	}
}

// kill ends a process without a word to it.
func (p *process) kill() {
	p.killed = true
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop asks a process to end and returns its exit code, or that it had to be killed.
func (p *process) stop(patience time.Duration) (code int, err error) {
	p.killed = true
	if err := p.cmd.Process.Signal(terminate); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-timer.C:
		p.kill()
		return 0, fmt.Errorf("%s did not end within %s of being asked to", p.name, patience)
	}
}

func (p *process) isAlive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// lastLines are the newest lines of a log, for a breach.
func lastLines(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// heard waits for a line of a process.
type heard struct {
	mu   sync.Mutex
	want func(string) (string, bool)
	got  chan string
}

func hear(want func(string) (string, bool)) *heard {
	return &heard{want: want, got: make(chan string, 1)}
}

func (h *heard) line(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.want == nil {
		return
	}
	if found, ok := h.want(text); ok {
		h.want = nil
		h.got <- found
	}
}

func (h *heard) wait(ctx context.Context, p *process) (string, error) {
	timer := time.NewTimer(startPatience)
	defer timer.Stop()
	select {
	case found := <-h.got:
		return found, nil
	case <-p.ended:
		return "", fmt.Errorf("%s ended at once", p.name)
	case <-timer.C:
		return "", fmt.Errorf("%s is not there after %s", p.name, startPatience)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// startPatience is how long a part may take to begin, on a machine that is busy.
const startPatience = 30 * time.Second

// environment is what processes get: nothing of ours that could change what a
// daemon does, but for the region of a policy file that names none.
func environment(token, home string) []string {
	env := []string{"CIVO_TOKEN=" + token, "HOME=" + home, "NO_COLOR=1", "TZ=UTC"}
	for _, keep := range []string{"PATH", "TMPDIR", "TEMP", "SYSTEMROOT", "GOCOVERDIR", "CIVO_REGION"} {
		if v, ok := os.LookupEnv(keep); ok {
			env = append(env, keep+"="+v)
		}
	}
	return slices.Clip(env)
}
