package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/worker"
)

func newAccountCommand() *cobra.Command {
	var n natsFlags
	var output string
	cmd := &cobra.Command{
		Use:   "account",
		Short: "Show, or accept, the Civo account that the store belongs to",
		Long: `account shows which Civo account the daemon's store belongs to, and which one the
instances belong to that the token lists now. The first list with instances decides;
with a token of another account every action is put off until the token is the right
one again, or the other account is accepted. So it is with a token that lists no
instance at all, where there were some.

Exit codes: 0 they are the same, or nothing is known yet; 1 they differ, or no daemon;
64 wrong usage.`,
		Example: "  nightshift account\n  nightshift account accept",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			var a worker.AccountAnswer
			if err := n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error {
				return bus.Ask(ctx, "account", struct{}{}, &a)
			}); err != nil {
				return err
			}
			err := error(nil)
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), a)
			} else {
				err = printAccount(cmd.OutOrStdout(), a)
			}
			if err == nil && len(a.Pinned) > 0 && len(a.Seen) > 0 && strings.Join(a.Seen, " ") != strings.Join(a.Pinned, " ") {
				return exitError(exitFailed)
			}
			return err
		},
	}
	n.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.AddCommand(newAccountAcceptCommand())
	return cmd
}

func newAccountAcceptCommand() *cobra.Command {
	var n natsFlags
	cmd := &cobra.Command{
		Use:   "accept [ACCOUNT]",
		Short: "Let the store belong to the account of the token from now on",
		Long: `accept says that the account of the token is meant: the daemon acts in it from now
on. With ACCOUNT only when the token is of that one. What waits is taken up again where
its time is not over; actions on instances of the old account end as gone. That it was
accepted, and by whom, is an event. Where the token lists no instance it says that they
are all gone indeed.

Exit codes: 0 accepted, or it was so; 1 refused (with the reason), or no daemon; 64
wrong usage.`,
		Example: "  nightshift account accept\n  nightshift account accept 73993076-f1dc-4b53-88d8-158d97d7be92",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := worker.AccountRequest{Who: userName(), Account: strings.Join(args, "")}
			var a worker.AccountAnswer
			if err := n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error {
				return bus.Ask(ctx, "account-accept", req, &a)
			}); err != nil {
				return err
			}
			said := "Nothing to accept: the store belongs to the account of the token already."
			switch {
			case a.Accepted:
				said = "Accepted: the daemon acts in this account from now on."
			case a.Empty:
				said = "Nothing to accept: that the account has no instance any more was accepted before."
			}
			fmt.Fprintln(cmd.OutOrStdout(), said)
			return printAccount(cmd.OutOrStdout(), a)
		},
	}
	n.add(cmd)
	return cmd
}

func printAccount(w io.Writer, a worker.AccountAnswer) error {
	pinned, seen := strings.Join(a.Pinned, ", "), strings.Join(a.Seen, ", ")
	switch {
	case pinned == "":
		pinned = "no account yet"
	case a.Who != "":
		pinned += fmt.Sprintf(" since %s, accepted by %s", a.Since.Local().Format("2006-01-02 15:04"), publisher(a.Who, a.Claim))
	default:
		pinned += " since " + a.Since.Local().Format("2006-01-02 15:04")
	}
	switch {
	case seen == "" && len(a.Unread) > 0:
		seen = "not known: no region could be listed"
	case a.Empty && seen == "":
		seen = "lists no instance, which was accepted"
	case seen == "" && len(a.Pinned) > 0:
		seen = "not known: it lists no instance; when they are all gone indeed: nightshift account accept"
	case seen == "":
		seen = "not known: it lists no instance"
	}
	fmt.Fprintf(w, "store  %s\ntoken  %s\n", pinned, seen)
	for _, u := range a.Unread {
		fmt.Fprintf(w, "not read: %s\n", u)
	}
	return nil
}
