package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
	"nightshift/worker"
)

func newKeepCommand() *cobra.Command {
	var n natsFlags
	var req worker.KeepRequest
	cmd := &cobra.Command{
		Use:   "keep NAME running|stopped|asis",
		Short: "Keep an instance in a state for a while, whatever policies want",
		Long: `keep overrules every policy and command on one instance until a time: running,
stopped, or asis (as it is: nobody starts or stops it). An instance that is not
in that state is brought there at once. The end of a keep is an edge: the
policies decide anew then, so an evening stop that it held up is made up for.

It is the same as the tag nightshift.keep=..., without touching tags, which
Terraform would undo. It is remembered over restarts, and shown by explain.
Protected instances are never touched, and so cannot be kept.

NAME is an id, or a host name that exactly one instance has. Without --until
and --for a keep lasts as long as owners.max of the policy file (12 h).

Exit codes: 0 kept or ended, 1 refused (with the reason), 64 wrong usage.`,
		Example: `  nightshift keep dev-1 running --until 22:00 --reason "demo for the board"
  nightshift keep dev-1 running --for 3h
  nightshift keep dev-2 stopped --until "2026-12-01 08:00"    # in the policy file's zone
  nightshift keep dev-1 --end                                 # let the policies decide again`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case req.End && len(args) != 1:
				return usagef("keep --end takes a NAME and no state: nightshift keep %s --end", firstOf(append(args, "NAME")...))
			case !req.End && len(args) != 2:
				return usageError{errors.New("keep takes a NAME and one of running, stopped and asis; with --end a NAME alone"), true}
			case !req.End && !slices.Contains(keepStates, args[1]):
				return usagef("%q is none of running, stopped and asis%s", args[1], didYouMean(args[1], keepStates, ""))
			case req.Until != "" && req.For != "":
				return usagef("a keep has either --until or --for")
			}
			return readFor(&req.For)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return keepStates, cobra.ShellCompDirectiveNoFileComp
			}
			return n.completeInstance(0)(cmd, args, begun)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !req.End {
				req.State = args[1]
			}
			req.Who = userName()
			return n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error {
				inst, err := find(ctx, bus, args[0], req.Region)
				if err != nil {
					return err
				}
				req.Instance, req.Region = inst.ID, inst.Region
				var answer worker.KeepAnswer
				if err := bus.Ask(ctx, "keep", req, &answer); err != nil {
					return err
				}
				return printKeep(cmd.OutOrStdout(), answer, req.Until)
			})
		},
	}
	n.add(cmd)
	cmd.Flags().StringVar(&req.Region, "region", "", "region of the instance, where its name alone is ambiguous")
	cmd.Flags().StringVar(&req.Until, "until", "", `until when: 22:00 (the next one), "2026-12-01 08:00" in the policy file's zone, or RFC 3339`)
	cmd.Flags().StringVar(&req.For, "for", "", "for how long, such as 3h or 2d")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for those who ask")
	cmd.Flags().BoolVar(&req.End, "end", false, "end the keep that there is")
	return cmd
}

// readFor reads what --for says, days included, and writes it as the daemon reads it.
func readFor(span *string) error {
	if *span == "" {
		return nil
	}
	d, err := configs.ParseDuration(*span)
	if err != nil {
		return usagef("--for %w; write it as 30m, 3h or 2d", err)
	}
	*span = d.String()
	return nil
}

// keepStates are what an instance can be kept in.
var keepStates = []string{"running", "stopped", "asis"}

// with asks the daemon something over a connection of its own.
func (n *natsFlags) with(ctx context.Context, ask func(context.Context, *events.Bus) error) (err error) {
	bus, err := n.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close(context.WithoutCancel(ctx))) }()
	return ask(ctx, bus)
}

// tomorrowWords say of a time of day that is over today that the next one is meant.
func tomorrowWords(asked string, now, until time.Time) string {
	if _, err := time.Parse("15:04", asked); err != nil || now.YearDay() == until.YearDay() {
		return ""
	}
	return " (tomorrow: it is past " + asked + " today)"
}

func printKeep(w io.Writer, a worker.KeepAnswer, asked string) error {
	zone := zoneOf(a.Timezone)
	if a.Ended {
		_, err := fmt.Fprintf(w, "%s is kept no longer; the policies decide. It is %s.\n", a.Hostname, a.Status)
		return err
	}
	state := schedule.State(a.State)
	now := ""
	switch {
	case a.State == "asis":
		state = schedule.Any
	case state == schedule.Running && a.Status != policies.StatusActive:
		now = " It is " + a.Status + " and " + willBe(a.Mode) + " started."
	case state == schedule.Stopped && a.Status != policies.StatusShutoff:
		now = " It is " + a.Status + " and " + willBe(a.Mode) + " stopped."
	}
	_, err := fmt.Fprintf(w, "%s is kept %s until %s%s; then the policies decide.%s\nTo end it earlier: nightshift keep %s --end\n",
		a.Hostname, keptWord(state), localTime(a.Until, zone), tomorrowWords(asked, a.Since.In(zone), a.Until.In(zone)), now, a.Hostname)
	return err
}

// willBe is what becomes of an instance that is not as it is kept.
func willBe(mode string) string {
	switch policies.Mode(mode) {
	case policies.ModeObserve:
		return "would be (the mode is observe)"
	case policies.ModeAsk:
		return "waits for nightshift approve to be"
	}
	return "will be"
}

// zoneOf is a zone that the daemon names; one that this program does not know is UTC.
func zoneOf(name string) *time.Location {
	zone, err := schedule.LoadZone(name)
	if err != nil {
		return time.UTC
	}
	return zone
}
