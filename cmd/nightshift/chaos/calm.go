package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nightshift/events"
	"nightshift/policies"
)

// calmPatience is how long everything may take to come to rest: what was put off
// last waits for as long again as it had waited altogether, a minute at most.
// With replicas a call that nobody answers for is let alone until its deadline.
func (c *chaos) calmPatience() time.Duration {
	if c.nats != nil {
		return 2 * time.Minute
	}
	return min(2*time.Minute, max(25*time.Second, c.o.For))
}

// calm lets everything come to rest, and ends the daemons in order. It returns
// what did not rest, empty when all did.
func (c *chaos) calm(ctx context.Context) (restless string) {
	ctx, cancel := context.WithTimeout(ctx, c.calmPatience())
	defer cancel()
	if err := c.cloud.weather(ctx); err != nil {
		c.found("%v", err)
	}
	repair := time.Now().Add(2 * time.Second) // what is on its way arrives sooner
	restless = "nobody said how it goes"
	for sleep(ctx, 50*time.Millisecond) {
		if time.Now().After(repair) {
			repair = time.Now().Add(time.Second)
			c.repair(ctx)
			c.approve(ctx)
		}
		if restless = c.restless(ctx); restless == "" {
			break
		}
	}
	end := time.Now()
	for _, r := range c.replicas {
		if err := r.conclude(); err != nil {
			c.found("%v", err)
		}
	}
	if restless != "" {
		restless = fmt.Sprintf("it did not come to rest within %s: %s", end.Sub(repair).Round(time.Second), restless)
	}
	return restless
}

// repair does what a person does about instances that are stuck.
func (c *chaos) repair(ctx context.Context) {
	fleet, err := c.cloud.instances(ctx)
	if err != nil {
		return
	}
	for _, i := range fleet {
		if i.Status != policies.StatusActive && i.Status != policies.StatusShutoff {
			_ = c.setStatus(ctx, i.ID, policies.StatusActive)
			_ = c.lookAtFleet(ctx)
		}
	}
}

// restless says what is still to be done, as the streams know it. A moment in
// which the next edge is near does not count as rest.
func (c *chaos) restless(ctx context.Context) (says string) {
	err := c.outside.do(ctx, func(ctx context.Context, bus *events.Bus) error {
		js, err := jetstream.New(bus.Conn())
		if err != nil {
			return err
		}
		for _, s := range []string{events.StreamIn, events.StreamRun} {
			stream, err := js.Stream(ctx, s)
			if err != nil {
				return err
			}
			consumers := stream.ListConsumers(ctx)
			for info := range consumers.Info() {
				if n := info.NumPending + uint64(info.NumAckPending); n > 0 && info.Config.Durable != "" {
					says = fmt.Sprintf("%d messages of %s are not done by %s", n, s, info.Name)
				}
			}
			if err := consumers.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	now := c.clock.Now()
	switch next := c.set.Edges(now, c.clock.Plan(time.Now().Add(400*time.Millisecond))); {
	case err != nil:
		return err.Error()
	case says == "" && len(next) > 0:
		return "the next edge is near"
	}
	return says
}

