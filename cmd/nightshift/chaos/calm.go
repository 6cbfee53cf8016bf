package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nightshift/events"
	"nightshift/policies"
)

// calmPatience is how long everything may take to come to rest: a plan waits half a
// minute for ticks that a crash has kept back; what was put off last waits for as
// long again as it had waited altogether, a minute at most.
// With replicas a call that nobody answers for is let alone until its deadline.
func (c *chaos) calmPatience() time.Duration {
	if c.nats != nil {
		return 2 * time.Minute
	}
	return min(2*time.Minute, max(36*time.Second, c.o.For))
}

// settle is how long all is well before a line is drawn: what came until then must
// end, whatever comes later, since edges come as fast as ever.
const settle = 2 * time.Second

// calm lets everything come to rest, and ends the daemons in order. It returns
// what did not rest, empty when all did.
func (c *chaos) calm(ctx context.Context) (restless string) {
	ctx, cancel := context.WithTimeout(ctx, c.calmPatience())
	defer cancel()
	if err := c.cloud.weather(ctx); err != nil {
		c.found("%v", err)
	}
	began := time.Now()
	repair := began.Add(time.Second)
	odd := make(map[string]int) // in how many looks an instance was neither on nor off
	left := &line{}
	var ready time.Time // since when a daemon is
	for sleep(ctx, 50*time.Millisecond) {
		if time.Now().After(repair) {
			repair = time.Now().Add(time.Second)
			c.repair(ctx, odd)
			c.approve(ctx)
		}
		if ready.IsZero() && c.outside.isReady(ctx) {
			ready = time.Now()
		}
		if ready.IsZero() || time.Since(ready) < settle {
			continue
		}
		if err := c.outside.do(ctx, left.look); err != nil {
			continue // NATS is on its way back
		}
		if left.isOver() {
			break
		}
	}
	c.rest = left.drawn
	took := time.Since(began)
	for _, r := range c.replicas {
		if err := r.conclude(); err != nil {
			c.found("%v", err)
		}
	}
	if ready.IsZero() {
		left.says = "no daemon was ready"
	}
	if !left.isOver() {
		restless = fmt.Sprintf("it did not come to rest within %s: %s", took.Round(time.Second), left.says)
	}
	return restless
}

// line is drawn through the streams: what was stored before it is to be done.
type line struct {
	drawn time.Time
	says  string            // what is left
	last  map[string]uint64 // the newest sequence of each stream when it was drawn
	done  map[string]bool   // consumers that are through with it
}

// isOver reports whether everything before the line is done.
func (l *line) isOver() bool { return !l.drawn.IsZero() && l.says == "" }

// look draws the line, and sees which consumers are through with it. Plans are made
// of what came in, so the line through them is drawn when that is done.
func (l *line) look(ctx context.Context, bus *events.Bus) error {
	js, err := jetstream.New(bus.Conn())
	if err != nil {
		return err
	}
	if l.last == nil {
		l.last, l.done = make(map[string]uint64), make(map[string]bool)
	}
	for _, name := range []string{events.StreamIn, events.StreamRun} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			return err
		}
		if _, ok := l.last[name]; !ok {
			l.last[name] = stream.CachedInfo().State.LastSeq
		}
		if l.drawn.IsZero() {
			l.drawn = time.Now()
		}
		l.says = ""
		consumers := stream.ListConsumers(ctx)
		for info := range consumers.Info() {
			left := info.NumPending + uint64(info.NumAckPending)
			if left == 0 || info.AckFloor.Stream >= l.last[name] {
				l.done[info.Name] = true
			}
			if info.Config.Durable != "" && !l.done[info.Name] {
				l.says = fmt.Sprintf("%d messages of %s are not done by %s, the oldest of them behind %d", left, name, info.Name, info.AckFloor.Stream)
			}
		}
		if err := consumers.Err(); err != nil || l.says != "" {
			return err
		}
	}
	return nil
}

// repair does what a person does about instances that are stuck: what is on its
// way arrives sooner than in three looks.
func (c *chaos) repair(ctx context.Context, odd map[string]int) {
	fleet, err := c.cloud.instances(ctx)
	if err != nil {
		return
	}
	for _, i := range fleet {
		if i.Status == policies.StatusActive || i.Status == policies.StatusShutoff {
			delete(odd, i.ID)
			continue
		}
		if odd[i.ID]++; odd[i.ID] > 2 {
			_ = c.setStatus(ctx, i.ID, policies.StatusActive)
			_ = c.lookAtFleet(ctx)
		}
	}
}
