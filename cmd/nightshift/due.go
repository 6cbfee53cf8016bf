package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/worker"
)

// readDue reads --not-before as the daemon's policy file means it: by its clock and
// in its zone, which may be others than those of this machine. What waits for the
// outcome waits so much longer.
func (f *actFlags) readDue(ctx context.Context, cmd *cobra.Command, bus *events.Bus, c *events.Command) error {
	if f.notBefore == "" {
		return nil
	}
	var s worker.Status
	if err := bus.Ask(ctx, "status", struct{}{}, &s); err != nil {
		return err
	}
	f.zone = zoneOf(s.Timezone)
	var err error
	if clock, bad := time.Parse("15:04", f.notBefore); bad == nil {
		c.NotBefore = nextClock(s.Now.In(f.zone), clock.Hour(), clock.Minute())
	} else if c.NotBefore, err = parseAt(f.notBefore, f.zone); err != nil {
		return err
	}
	if !c.NotBefore.After(s.Now) {
		return usagef("--not-before %s lies in the past: it is %s", localTime(c.NotBefore, f.zone), localTime(s.Now, f.zone))
	}
	c.NotBefore = c.NotBefore.UTC()
	if !cmd.Flags().Changed("timeout") {
		f.timeout += c.NotBefore.Sub(s.Now)
	}
	return nil
}

// dueWords says when what is accepted begins.
func (f *actFlags) dueWords(c events.Command) string {
	if c.NotBefore.IsZero() {
		return ""
	}
	return ", not before " + localTime(c.NotBefore, f.zone)
}
