package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

func newHistoryCommand() *cobra.Command {
	var n natsFlags
	var since, output string
	var notes bool
	cmd := &cobra.Command{
		Use:   "history INSTANCE",
		Short: "Say what happened to an instance, and by whom",
		Long: `history lists what was done with an instance and what was left undone, day by
day: one line for each action with how it ended, for whom, and why; and what
others changed, as far as it was seen, marked BY HAND.

INSTANCE is an id or a host name. Events of the last 30 days are kept, also those
of an instance that is gone; where several had the name, each has its own part.
--notes adds what happened on the way: calls, answers with no, waits.

Exit codes: 0; 1 nothing is known of such an instance; 64 wrong usage.`,
		Example: `  nightshift history dev-1
  nightshift history dev-1 --since friday --notes
  nightshift history dev-1 --since 2026-11-27 -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: n.completeInstance(0),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := oneOf("output", output, "table", "json", "cloudevents"); err != nil {
				return err
			}
			o := events.WatchOptions{Replay: true}
			if since != "" {
				if o.Since, err = parseSince(since); err != nil {
					return err
				}
			}
			ctx := cmd.Context()
			bus, err := n.dial(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, bus.Close(context.WithoutCancel(ctx))) }()
			if o.Query.Instances, err = instancesNamed(ctx, bus, args[0]); err != nil {
				return err
			}
			if output != "table" {
				return bus.Watch(ctx, o, eventPrinter(cmd.OutOrStdout(), output, hostNames(ctx, bus)))
			}
			var all []events.Record
			wait := newProgress(cmd.ErrOrStderr(), "reading the events of %s", args[0])
			err = bus.Watch(ctx, o, func(rec events.Record, _ time.Time, _ uint64) error {
				all = append(all, rec)
				return nil
			})
			wait.end()
			if err != nil {
				return err
			}
			if len(all) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "No events.")
				return err
			}
			return printHistory(cmd.OutOrStdout(), all, notes, time.Local)
		},
	}
	n.add(cmd)
	cmd.Flags().StringVar(&since, "since", "", "how far back: a span such as 72h or 3d, yesterday, friday, a day, or an instant (default all that is kept)")
	cmd.Flags().BoolVar(&notes, "notes", false, "also what happened on the way")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or cloudevents")
	return cmd
}

// instancesNamed are the ids of the instances that have or had a name, or the
// name itself when it is an id: from the daemon, where one answers, and from the
// events, which know of those that are gone.
func instancesNamed(ctx context.Context, bus *events.Bus, name string) ([]string, error) {
	var ids []string
	var answer worker.FindAnswer
	ask, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	askErr := bus.Ask(ask, "find", worker.FindRequest{Name: name}, &answer)
	for _, f := range answer.Found {
		if f.ID == name {
			return []string{name}, nil
		}
		ids = append(ids, f.ID)
	}
	err := bus.Watch(ctx, events.WatchOptions{Replay: true}, func(rec events.Record, _ time.Time, _ uint64) error {
		if rec.Instance != events.None && (rec.Instance == name || strings.EqualFold(rec.Hostname, name)) && !slices.Contains(ids, rec.Instance) {
			ids = append(ids, rec.Instance)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(ids) == 0 && askErr != nil && !errors.Is(askErr, events.ErrNoDaemon):
		return nil, askErr
	case len(ids) == 0 && len(answer.Similar) > 0:
		return nil, fmt.Errorf("no instance is or was called %q%s", name, alikeWords(name, answer.Similar))
	case len(ids) == 0:
		return nil, fmt.Errorf("no instance is called %q, and no event of the last 30 days is of one that was", name)
	}
	return ids, nil
}

// printHistory prints what happened, instance by instance and day by day.
func printHistory(w io.Writer, all []events.Record, notes bool, zone *time.Location) error {
	var order []string
	of := make(map[string][]events.Record)
	for _, rec := range all {
		key := rec.Region + "/" + rec.Instance
		if of[key] == nil {
			order = append(order, key)
		}
		of[key] = append(of[key], rec)
	}
	for i, key := range order {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := printInstanceHistory(w, of[key], notes, zone); err != nil {
			return err
		}
	}
	return nil
}

func printInstanceHistory(w io.Writer, all []events.Record, notes bool, zone *time.Location) error {
	first, host := all[0], ""
	for _, rec := range all {
		host = firstOf(rec.Hostname, host)
	}
	fmt.Fprintf(w, "%s  %s in %s\n", printable(firstOf(host, "(no name)")), first.Instance, strings.ToUpper(first.Region))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	day := ""
	for _, rec := range shown(all, notes) {
		if d := rec.StoredAt.In(zone).Format("Monday 2 January 2006"); d != day {
			day = d
			if err := tw.Flush(); err != nil {
				return err
			}
			fmt.Fprintf(w, "\n%s\n", day)
		}
		if _, err := fmt.Fprintf(tw, "  %s\t%s\n", rec.StoredAt.In(zone).Format("15:04:05"), historyLine(rec)); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// shown leaves of each action the outcome, or the newest note while there is none,
// and what somebody said of it later.
func shown(all []events.Record, notes bool) []events.Record {
	if notes {
		return all
	}
	newest := make(map[string]uint64)
	hasEnded := make(map[string]bool)
	for _, rec := range all {
		if ends := rec.Outcome.Ends(); ends || !hasEnded[rec.ActionID] {
			newest[rec.ActionID], hasEnded[rec.ActionID] = rec.Seq, ends
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(rec events.Record) bool { return newest[rec.ActionID] != rec.Seq && rec.Outcome != events.Settled })
}

// historyLine is one event in columns: what, how it ended, the change, for whom, why.
func historyLine(rec events.Record) string {
	what, end := rec.Action, string(rec.Outcome)
	switch {
	case isHand(rec):
		what, end = "BY HAND", strings.TrimSuffix(rec.Detail, " by somebody else")
	case rec.Reason != "":
		end += " (" + rec.Reason + ")"
	}
	change := ""
	if rec.Before != rec.After {
		change = strings.TrimSuffix(rec.Before+" -> "+rec.After, " -> ")
	}
	cause := ""
	switch {
	case rec.Policy != "" && rec.Outcome != events.Settled:
		cause = causeName(rec.Policy)
	case rec.Who != "":
		cause = "by " + publisher(rec.Who, rec.Claim)
	}
	var more []string
	if rec.Outcome == events.Settled {
		change, rec.Why = "", "" // as of the outcome
	}
	if !isHand(rec) {
		for _, s := range []string{rec.Why, rec.Detail, rec.Error} {
			if s != "" {
				more = append(more, s)
			}
		}
	}
	if d, err := time.ParseDuration(rec.Lateness); err == nil && rec.Outcome.Ends() && d >= time.Minute {
		more = append(more, d.Round(time.Second).String()+" after the planned time")
	}
	if rec.Attempt > 1 {
		more = append(more, fmt.Sprintf("%d calls", rec.Attempt))
	}
	columns := []string{what, end, change, cause, strings.Join(more, "; ")}
	for i := range columns {
		columns[i] = printable(columns[i])
	}
	return strings.TrimRight(strings.Join(columns, "\t"), "\t")
}

// isHand reports whether an event is a change that somebody else made.
func isHand(rec events.Record) bool {
	return rec.Outcome == events.Noticed && rec.Reason == string(policies.ReasonHand) && rec.After != ""
}
