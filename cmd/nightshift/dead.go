package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/worker"
)

func newDeadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Look after messages that could not be read",
		Long: `dead looks after dead letters: messages on the daemon's subjects that could not be
read, kept for 30 days with the reason, where they came from, and the payload.
They harm nothing; whoever sent them waits for something that will not happen.

The daemon is asked (nightshift.v1.ctl.dead, .dead-retry and .dead-drop), so no
rights on streams are needed.

Exit codes: those of the command; 64 wrong usage.`,
		Example: "  nightshift dead list\n  nightshift dead show 3\n  nightshift dead retry 3",
	}
	const codes = "\n\nExit codes: 0; 1 no such dead letter, refused, or no daemon; 64 wrong usage."
	cmd.AddCommand(newDeadListCommand(), newDeadShowCommand(),
		newDeadActCommand("retry", "Send the message again, as it came",
			"retry publishes the message of each dead letter again: same subject, same payload. That helps\nwhere the daemon is newer than the one that could not read it; else it comes back as another\ndead letter. A message of which only the beginning was kept cannot be sent again."+codes,
			func(n uint64, a worker.DeadActAnswer) string {
				return fmt.Sprintf("%d is sent again on %s, as %d of %s.\n", n, a.Subject, a.Seq, a.Stream)
			}),
		newDeadActCommand("drop", "Forget dead letters",
			"drop forgets dead letters for good. That it did is an event."+codes,
			func(n uint64, a worker.DeadActAnswer) string {
				return fmt.Sprintf("%d (%s) is dropped.\n", n, a.Subject)
			}))
	return cmd
}

func newDeadListCommand() *cobra.Command {
	var n natsFlags
	var output string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters with their reasons, newest first",
		Long:    "list lists dead letters with their reasons, newest first.\n\nExit codes: 0; 1 no daemon; 64 wrong usage.",
		Example: "  nightshift dead list\n  nightshift dead list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			letters := []worker.DeadInfo{}
			err := n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error {
				for req := (worker.DeadRequest{}); ; {
					var page worker.DeadAnswer
					if err := bus.Ask(ctx, "dead", req, &page); err != nil {
						return err
					}
					letters = append(letters, page.Letters...)
					if req.Before = page.More; page.More == 0 {
						return nil
					}
				}
			})
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), letters)
			}
			return printDead(cmd.OutOrStdout(), letters)
		},
	}
	n.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json; the payloads are cut, show has them whole")
	return cmd
}

func printDead(w io.Writer, letters []worker.DeadInfo) error {
	if len(letters) == 0 {
		_, err := fmt.Fprintln(w, "No dead letters.")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "N\tCAME\tSUBJECT\tBYTES\tREASON")
	for _, l := range letters {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%d\t%s\n", l.N, l.StoredAt.Local().Format("2006-01-02 15:04:05"), printable(l.Subject), l.Size, printable(l.Reason))
	}
	return tw.Flush()
}

func newDeadShowCommand() *cobra.Command {
	var n natsFlags
	var output string
	cmd := &cobra.Command{
		Use:   "show N",
		Short: "Show a dead letter: why, from where, and its payload",
		Long: `show prints why a message could not be read, from where it came, and what is kept
of its payload: all of it up to 64 KiB. -o payload prints the payload alone, byte
for byte.

Exit codes: 0; 1 no such dead letter, or no daemon; 64 wrong usage.`,
		Example: "  nightshift dead show 3\n  nightshift dead show 3 -o payload > message.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "text", "json", "payload"); err != nil {
				return err
			}
			number, err := deadNumber(args[0])
			if err != nil {
				return err
			}
			var answer worker.DeadAnswer
			if err := n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error {
				return bus.Ask(ctx, "dead", worker.DeadRequest{N: number}, &answer)
			}); err != nil {
				return err
			}
			l := answer.Letters[0]
			switch output {
			case "json":
				return printJSON(cmd.OutOrStdout(), l)
			case "payload":
				_, err := cmd.OutOrStdout().Write(l.Body())
				return err
			}
			return printDeadLetter(cmd.OutOrStdout(), l)
		},
	}
	n.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or payload")
	return cmd
}

func printDeadLetter(w io.Writer, l worker.DeadInfo) error {
	part := ""
	if l.Part > 0 {
		part = fmt.Sprintf(", signal %d of a batch", l.Part)
	}
	fmt.Fprintf(w, "reason   %s\nsubject  %s\nfrom     %s %d%s\ncame     %s\nsize     %s\n", printable(l.Reason), printable(l.Subject), l.Stream, l.Seq, part,
		l.StoredAt.Local().Format("Mon 2006-01-02 15:04:05 MST"), count(l.Size, "byte"))
	if l.ContentType != "" {
		fmt.Fprintf(w, "type     %s\n", printable(l.ContentType))
	}
	if l.Trace != "" {
		fmt.Fprintf(w, "trace    %s\n", printable(l.Trace))
	}
	switch {
	case l.Size == 0:
		return nil
	case !l.IsWhole():
		fmt.Fprintf(w, "\nThe first %d bytes:\n", len(l.Body()))
	default:
		fmt.Fprintln(w)
	}
	if len(l.Binary) > 0 {
		_, err := io.WriteString(w, hex.Dump(l.Binary))
		return err
	}
	lines := strings.Split(l.Payload, "\n")
	for i := range lines {
		lines[i] = printable(strings.ReplaceAll(lines[i], "\t", "    "))
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

func newDeadActCommand(verb, short, long string, said func(uint64, worker.DeadActAnswer) string) *cobra.Command {
	var n natsFlags
	cmd := &cobra.Command{
		Use: verb + " N...", Short: short, Long: long, Example: fmt.Sprintf("  nightshift dead %s 3\n  nightshift dead %s 3 4 5", verb, verb), Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			numbers := make([]uint64, len(args))
			for i, arg := range args {
				var err error
				if numbers[i], err = deadNumber(arg); err != nil {
					return err
				}
			}
			return n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error {
				for _, number := range numbers {
					var answer worker.DeadActAnswer
					ask, cancel := context.WithTimeout(ctx, 10*time.Second)
					err := bus.Ask(ask, "dead-"+verb, worker.DeadActRequest{N: number, Who: userName()}, &answer)
					cancel()
					if err != nil {
						return err
					}
					fmt.Fprint(cmd.OutOrStdout(), said(number, answer))
				}
				return nil
			})
		},
	}
	n.add(cmd)
	return cmd
}

func deadNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return 0, usagef("%q is no number of a dead letter; nightshift dead list has them", s)
	}
	return n, nil
}
