package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/worker"
)

func newSettleCommand() *cobra.Command {
	var n natsFlags
	var as, reason, output string
	cmd := &cobra.Command{
		Use:   "settle [ACTION]",
		Short: "Say how an action ended of which nobody could tell",
		Long: `settle says how an action ended whose outcome is unknown: a reboot whose answer was
lost is never sent a second time, so somebody has to look. Without ACTION it lists
those that nobody has settled, with what is known: when the call was announced,
and how the instance was seen last.

The outcome stays unknown; a note is added (settled, with your reason), and the
action is no longer shown by runs --failed, nor asked for by retry. Said twice,
the newer counts. To have it done again, ask for it: nightshift reboot INSTANCE.

Exit codes: 0; 1 no such action, not unknown, or no daemon; 64 wrong usage.`,
		Example: `  nightshift settle
  nightshift settle 406c7c4ae46e2c1765370dde --reason "up since 12:03, says uptime"
  nightshift settle 406c7c4ae46e2c1765370dde --outcome failed --reason "uptime is 40 days"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			if len(args) == 0 {
				if as != "" || reason != "" {
					return usagef("name the action that is settled; nightshift settle lists those that are unknown")
				}
				return n.listUnsettled(cmd, output)
			}
			if err := oneOf("outcome", firstOf(as, "done"), "done", "failed"); err != nil {
				return err
			}
			if strings.TrimSpace(reason) == "" {
				if err := n.isUnsettled(cmd.Context(), args[0]); err != nil {
					return err
				}
				return usagef("say with --reason how you know, for those who read it later")
			}
			req := worker.SettleRequest{ActionID: args[0], As: as, Reason: reason, Who: userName()}
			var a worker.SettleAnswer
			if err := n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error { return bus.Ask(ctx, "settle", req, &a) }); err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), a)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s of %s, called at %s, is settled as %s.\n", a.Action, printable(firstOf(a.Hostname, a.Instance)), momentOf(a.CalledAt), a.Settled)
			return err
		},
	}
	n.add(cmd)
	cmd.Flags().StringVar(&as, "outcome", "", "how it ended: done (default) or failed")
	cmd.Flags().StringVar(&reason, "reason", "", "how you know")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func (n *natsFlags) listUnsettled(cmd *cobra.Command, output string) error {
	var a worker.UnsettledAnswer
	if err := n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error {
		return bus.Ask(ctx, "unsettled", worker.UnsettledRequest{}, &a)
	}); err != nil {
		return err
	}
	if output == "json" {
		return printJSON(cmd.OutOrStdout(), a.Actions)
	}
	return printUnsettled(cmd.OutOrStdout(), a.Actions)
}

// isUnsettled looks whether an action is one of those that nobody has settled, so
// that nobody is asked for a reason in vain.
func (n *natsFlags) isUnsettled(ctx context.Context, actionID string) error {
	var a worker.UnsettledAnswer
	if err := n.with(ctx, func(ctx context.Context, bus *events.Bus) error {
		return bus.Ask(ctx, "unsettled", worker.UnsettledRequest{}, &a)
	}); err != nil {
		return err
	}
	for _, u := range a.Actions {
		if u.ActionID == actionID {
			return nil
		}
	}
	return fmt.Errorf("no action %q is unknown and not settled yet; nightshift settle lists those that are", actionID)
}

func printUnsettled(w io.Writer, actions []worker.UnknownInfo) error {
	if len(actions) == 0 {
		_, err := fmt.Fprintln(w, "No action is unknown: there is nothing to settle.")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "ACTION\tWHAT\tINSTANCE\tREGION\tCALLED\tLAST SEEN\tFOR")
	for _, a := range actions {
		seen := "not since"
		if !a.SeenAt.IsZero() {
			seen = printable(a.LastSeen) + " at " + momentOf(a.SeenAt)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.ActionID, a.Action, printable(firstOf(a.Hostname, a.Instance)), strings.ToUpper(a.Region), momentOf(a.CalledAt), seen,
			printable(firstOf(a.Policy, a.Who)))
	}
	return tw.Flush()
}

func momentOf(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
