package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"nightshift/events"
	"nightshift/worker"
)

// planOfDaemon is what the daemon would do, with all that it remembers: keeps,
// pauses, commands, and what people did by hand.
func planOfDaemon(ctx context.Context, n *natsFlags, at string) (shown planOutput, zone *time.Location, unread []string, err error) {
	if at == "now" {
		at = ""
	}
	var a worker.PlanAnswer
	if err = n.with(ctx, func(ctx context.Context, bus *events.Bus) error {
		return bus.Ask(ctx, "plan", worker.PlanRequest{At: at}, &a)
	}); err != nil {
		return shown, nil, nil, err
	}
	if a.Instances == 0 && len(a.Unread) > 0 {
		return shown, nil, nil, fmt.Errorf("no region could be read, so there is no plan: %w", errors.New(a.Unread[0]))
	}
	shown = planOutput{At: a.At.UTC(), Actions: []planLine{}, Skips: []planLine{}, Next: []planNextUp{}, by: "The daemon, at", total: a.Instances, actions: a.ActionsInAll, skips: a.SkipsInAll,
		more: a.ActionsInAll + a.SkipsInAll - len(a.Actions) - len(a.Skips)}
	shown.other = a.Instances - a.ActionsInAll - a.SkipsInAll
	for _, l := range a.Actions {
		shown.Actions = append(shown.Actions, planLine(l))
	}
	for _, l := range a.Skips {
		shown.Skips = append(shown.Skips, planLine(l))
	}
	for _, e := range a.Next {
		shown.Next = append(shown.Next, planNextUp{e.Planned, e.Policy, e.Want})
	}
	return shown, zoneOf(a.Timezone), a.Unread, nil
}

// printWith prints the daemon's plan, and returns as the exit codes of plan say.
func (p planOutput) printWith(w, errs io.Writer, form string, zone *time.Location, unread []string, detailed bool) error {
	if err := p.print(w, form, zone); err != nil {
		return err
	}
	for _, r := range unread {
		fmt.Fprintf(errs, "nightshift: error: not in the plan: region %s\n", r)
	}
	switch {
	case len(unread) > 0:
		return errSilent
	case detailed && len(p.Actions) > 0:
		return exitError(exitSomething)
	}
	return nil
}
