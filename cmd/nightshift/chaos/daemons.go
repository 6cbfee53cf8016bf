package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	restartAfter = 300 * time.Millisecond // a supervisor such as systemd waits, too
	stopPatience = 40 * time.Second       // calls under way are given 20 s, what they ask for as long
)

// bus is an external NATS, in a process of its own.
type bus struct {
	mu      sync.Mutex // guards process
	c       *chaos
	address string
	process *process
}

// BusCommand is the hidden command that is a NATS of its own.
const BusCommand = "bus"

// beginBus starts NATS where there are several replicas; one brings its own.
func (c *chaos) beginBus(ctx context.Context) error {
	address, err := freePort()
	if err != nil {
		return err
	}
	c.outside = &outside{c: c, url: "nats://" + address}
	if c.o.Replicas == 1 {
		return nil
	}
	c.nats = &bus{c: c, address: address}
	return c.nats.start()
}

func (b *bus) start() (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.process, err = b.c.launch.start("nats", []string{"chaos", BusCommand, "--data-dir", filepath.Join(b.c.dir, "nats"), "--nats-listen", b.address}, func(string) {})
	return err
}

// cut takes NATS away for a while.
func (b *bus) cut(ctx context.Context, down time.Duration) error {
	b.mu.Lock()
	b.process.kill()
	b.mu.Unlock()
	sleep(ctx, down)
	return b.start()
}

func (b *bus) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process != nil {
		b.process.kill()
	}
}

// replica is a daemon that is started again whenever it ends.
type replica struct {
	c    *chaos
	name string

	mu      sync.Mutex
	process *process
	down    time.Duration // before it is started again
	over    bool          // it is not started again
	done    chan struct{} // closed when it is not
	up      []span
}

// span is a time in which a daemon ran.
type span struct{ from, until time.Time }

func (c *chaos) beginDaemons(ctx context.Context) error {
	for n := range c.o.Replicas {
		r := &replica{c: c, name: fmt.Sprintf("daemon-%d", n+1), done: make(chan struct{})}
		c.replicas = append(c.replicas, r)
		go r.run(ctx) // until it is ended
	}
	waiting, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for !c.outside.isReady(waiting) {
		if !sleep(waiting, 20*time.Millisecond) {
			return fmt.Errorf("the daemon is not ready after %s:\n%s", startPatience, lastLines(filepath.Join(c.dir, "daemon-1.log"), 5))
		}
	}
	return nil
}

// run starts the daemon, and again when it has ended, as a supervisor does.
func (r *replica) run(ctx context.Context) {
	defer close(r.done)
	for {
		p, err := r.start()
		if err != nil {
			r.c.found("the daemon could not be started: %v", err)
			return
		}
		if p == nil {
			return
		}
		<-p.ended
		r.mu.Lock()
		r.up = append(r.up, span{p.started, time.Now()})
		killed, down, over := p.killed, r.down, r.over
		r.down = restartAfter
		r.mu.Unlock()
		if over {
			return
		}
		if !killed && !r.c.acts.fileWasFaulty(p.started) {
			r.c.found("%s ended by itself with exit code %d:\n%s", r.name, p.cmd.ProcessState.ExitCode(), lastLines(filepath.Join(r.c.dir, r.name+".log"), 12))
		}
		if !sleep(ctx, down) {
			return
		}
	}
}

// start starts the daemon unless it is over.
func (r *replica) start() (*process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil, nil
	}
	c := r.c
	args := []string{
		"run", "--rehearse", "--config", c.file, "--api-url", c.cloud.url, "--log-format", "json", "--data-dir", filepath.Join(c.dir, r.name),
		"--plan-start", c.plan.Format(time.RFC3339), "--plan-at", c.machine.UTC().Format(time.RFC3339), "--plan-speed", strconv.Itoa(speed),
	}
	address := strings.TrimPrefix(c.outside.url, "nats://")
	if c.nats != nil {
		args = append(args, "--nats-url", c.outside.url)
	} else {
		args = append(args, "--nats-listen", address)
	}
	began := time.Now()
	p, err := c.launch.start(r.name, args, func(line string) { r.heard(line, began) })
	r.process = p
	return p, err
}

// heard looks at what the daemon says.
func (r *replica) heard(line string, began time.Time) {
	if strings.Contains(line, r.c.token) {
		r.c.found("%s wrote the API token into its log", r.name)
	}
	var said struct {
		Msg string `json:"msg"`
	}
	if json.Unmarshal([]byte(line), &said) != nil {
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			r.c.found("%s has a programming error: %s", r.name, line)
		}
		return
	}
	switch said.Msg {
	case "ready":
		r.c.tally.ready(time.Since(began))
	case "panic in an action":
		r.c.found("%s has a programming error: %s", r.name, line)
	}
}

// kill ends the daemon without a word; it is started again after down.
func (r *replica) kill(down time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil || !r.process.isAlive() {
		return false
	}
	r.down = down
	r.process.kill()
	return true
}

// stop ends the daemon in order; it is started again after down.
func (r *replica) stop(down time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil || !r.process.isAlive() {
		return nil
	}
	r.down = down
	inTime := r.process.started
	code, err := r.process.stop(stopPatience)
	if err != nil {
		return err
	}
	if code != 0 && !r.c.acts.fileWasFaulty(inTime) && time.Since(inTime) > time.Second { // sooner nobody listens for signals yet
		return fmt.Errorf("%s ended with exit code %d when it was asked to end in order:\n%s", r.name, code, lastLines(filepath.Join(r.c.dir, r.name+".log"), 12))
	}
	return nil
}

// freeze lets the daemon stand still for a while.
func (r *replica) freeze(ctx context.Context, d time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil || !r.process.isAlive() {
		return false
	}
	r.process.freeze()
	sleep(ctx, d)
	r.process.thaw()
	return true
}

// end ends the daemon for good.
func (r *replica) end() {
	r.mu.Lock()
	r.over = true
	if r.process != nil {
		r.process.kill()
	}
	r.mu.Unlock()
	<-r.done
}

// conclude ends the daemon in order and for good.
func (r *replica) conclude() error {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	if err := r.stop(0); err != nil {
		return err
	}
	<-r.done
	return nil
}

// spans are the times in which the daemon ran.
func (r *replica) spans() []span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
