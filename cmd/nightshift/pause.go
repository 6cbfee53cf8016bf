package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

// pauseFlags say what a pause is about.
type pauseFlags struct {
	nats     natsFlags
	all      bool
	policy   string
	instance string
	region   string
}

func (f *pauseFlags) add(cmd *cobra.Command) {
	f.nats.add(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "everything: every policy, and commands too")
	cmd.Flags().StringVar(&f.policy, "policy", "", "one policy, by name")
	cmd.Flags().StringVar(&f.instance, "instance", "", "all policies on one instance: id or host name")
	cmd.Flags().StringVar(&f.region, "region", "", "region of the instance, where its name alone is ambiguous")
	_ = cmd.RegisterFlagCompletionFunc("instance", func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return f.nats.completeInstance(0)(cmd, nil, begun)
	})
	cmd.MarkFlagsOneRequired("all", "policy", "instance")
	cmd.MarkFlagsMutuallyExclusive("all", "policy", "instance")
}

// ask sends a request about the scope that the flags name.
func (f *pauseFlags) ask(ctx context.Context, endpoint string, req worker.PauseRequest) (answer worker.PauseAnswer, err error) {
	req.All, req.Policy = f.all, f.policy
	req.Who = userName()
	err = f.nats.with(ctx, func(ctx context.Context, bus *events.Bus) error {
		if f.instance != "" {
			inst, err := find(ctx, bus, f.instance, f.region)
			if err != nil {
				return err
			}
			req.Instance, req.Region = inst.ID, inst.Region
		}
		return bus.Ask(ctx, endpoint, req, &answer)
	})
	return answer, err
}

func newPauseCommand() *cobra.Command {
	var f pauseFlags
	var req worker.PauseRequest
	cmd := &cobra.Command{
		Use:   "pause --all | --policy NAME | --instance NAME",
		Short: "Let policies fall silent: all, one, or those of one instance",
		Long: `pause lets everything, one policy, or every policy on one instance fall silent. What
is asked for meanwhile is skipped with the reason "paused"; calls under way are
still settled. A pause is remembered over restarts and shown by status.

Its end is an edge, whether it comes by itself (--until, --for) or by resume: the
policies decide anew then, and a stop that was held up is made up for.

Exit codes: 0 paused, 1 refused or no daemon, 64 wrong usage.`,
		Example: `  nightshift pause --all --reason "incident 4711"
  nightshift pause --policy dev-hours --until "2026-12-01 08:00"
  nightshift pause --instance web-1 --for 2h --reason patching
  nightshift resume --all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if req.Until != "" && req.For != "" {
				return usagef("a pause has either --until or --for")
			}
			if err := readFor(&req.For); err != nil {
				return err
			}
			a, err := f.ask(cmd.Context(), "pause", req)
			if err != nil {
				return err
			}
			until := "until it is resumed"
			if !a.Until.IsZero() {
				zone := zoneOf(a.Timezone)
				until = "until " + localTime(a.Until, zone) + tomorrowWords(req.Until, a.Since.In(zone), a.Until.In(zone))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s paused %s.\n", scopeIs(a), until)
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&req.Until, "until", "", `until when: 22:00 (the next one), "2026-12-01 08:00" in the policy file's zone, or RFC 3339`)
	cmd.Flags().StringVar(&req.For, "for", "", "for how long, such as 3h or 2d")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for those who ask")
	return cmd
}

func newResumeCommand() *cobra.Command {
	var f pauseFlags
	cmd := &cobra.Command{
		Use:   "resume --all | --policy NAME | --instance NAME",
		Short: "End a pause",
		Long: `resume ends a pause. That is an edge: what the policies want now is put in force,
so a stop that was held up is made up for.

Exit codes: 0 resumed, 1 it was not paused or there is no daemon, 64 wrong usage.`,
		Example: "  nightshift resume --all\n  nightshift resume --policy dev-hours",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := f.ask(cmd.Context(), "resume", worker.PauseRequest{})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s paused no longer; the policies decide.\n", scopeIs(a))
			return err
		},
	}
	f.add(cmd)
	return cmd
}

func scopeIs(a worker.PauseAnswer) string {
	switch {
	case a.Hostname != "":
		return a.Hostname + " is"
	case a.Policy != "":
		return "Policy " + a.Policy + " is"
	}
	return "Everything is"
}

// printPauses prints the pauses that hold.
func printPauses(w io.Writer, s worker.Status, zone *time.Location) {
	for _, p := range s.Paused {
		line := "PAUSED: everything"
		switch {
		case p.Instance != "":
			line = "PAUSED: instance " + p.Instance
		case p.Policy != "":
			line = "PAUSED: policy " + p.Policy
		}
		fmt.Fprintln(w, line+pausedUntil(p, zone))
	}
}

// pausedUntil says of a pause until when it lasts, by whom it is, and why.
func pausedUntil(p policies.Pause, zone *time.Location) string {
	words := ""
	if !p.Until.IsZero() {
		words += " until " + localTime(p.Until, zone)
	}
	if p.Who != "" {
		words += ", by " + publisher(p.Who, p.Claim)
	}
	if p.Reason != "" {
		words += ": " + p.Reason
	}
	return printable(words)
}
