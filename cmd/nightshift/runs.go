package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/worker"
)

func newRunsCommand() *cobra.Command {
	var n natsFlags
	var failed bool
	var limit int
	var since, output string
	cmd := &cobra.Command{
		Use:   "runs [RUN]",
		Short: "List what was carried out, is under way, or waits for approval",
		Long: `runs lists the newest runs of the last day: what each trigger (edges, a command, a
signal) asked for, and how its actions ended. runs RUN, or runs show RUN, lists every
action of one run with its reason. Runs are kept for 7 days.

A run that waits for approval (mode: ask, or larger than limits.per_run) is held; let
it go on with approve. A run is named by its trigger, or as dev-hours@2026-11-27T19:00,
with the time in the policy file's zone.

Exit codes: 0; 1 no such run or no daemon; 64 wrong usage.`,
		Example:           "  nightshift runs --since 72h --failed\n  nightshift runs show dev-hours@2026-11-27T19:00\n  nightshift runs -o json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: n.completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			if len(args) == 1 {
				for _, flag := range []string{"failed", "since", "limit"} {
					if cmd.Flags().Changed(flag) {
						return usagef("--%s chooses among runs, and does not go with one: %s", flag, args[0])
					}
				}
				return n.showRun(cmd, args[0], output)
			}
			if limit < 1 {
				return usagef("--limit %d: at least 1", limit)
			}
			req := worker.RunsRequest{Failed: failed, Limit: limit}
			if since != "" {
				var err error
				if req.Since, err = parseSince(since); err != nil {
					return err
				}
			}
			answer, err := n.runs(cmd.Context(), req)
			if err != nil {
				return err
			}
			if answer.More {
				fmt.Fprintf(cmd.ErrOrStderr(), "nightshift: only the newest %s; for older ones give --limit a larger number\n", count(len(answer.Runs), "run"))
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), answer.Runs)
			}
			return printRuns(cmd.OutOrStdout(), answer)
		},
	}
	n.add(cmd)
	cmd.Flags().BoolVar(&failed, "failed", false, "only those of which something failed, expired or is unknown")
	cmd.Flags().StringVar(&since, "since", "", "how far back: a span such as 72h, or an instant (default 24h)")
	cmd.Flags().IntVar(&limit, "limit", 50, "list so many at most, the newest")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.AddCommand(newRunsShowCommand())
	return cmd
}

func newRunsShowCommand() *cobra.Command {
	var n natsFlags
	var output string
	cmd := &cobra.Command{
		Use:               "show RUN",
		Short:             "List every action of a run, with how it ended and why",
		Long:              "show lists every action of one run: how it ended, and why.\n\nExit codes: 0; 1 no such run or no daemon; 64 wrong usage.",
		Example:           "  nightshift runs show dev-hours@2026-11-27T19:00\n  nightshift runs show t1764270000 -o json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: n.completeRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			return n.showRun(cmd, args[0], output)
		},
	}
	n.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func (n *natsFlags) showRun(cmd *cobra.Command, name, output string) error {
	answer, err := n.allOf(cmd.Context(), name)
	if err != nil {
		return err
	}
	if output == "json" {
		return printJSON(cmd.OutOrStdout(), answer.Runs)
	}
	for _, r := range answer.Runs {
		if err := printRun(cmd.OutOrStdout(), r, zoneOf(answer.Timezone)); err != nil {
			return err
		}
	}
	return nil
}

func (n *natsFlags) runs(ctx context.Context, req worker.RunsRequest) (answer worker.RunsAnswer, err error) {
	err = n.with(ctx, func(ctx context.Context, bus *events.Bus) error { return bus.Ask(ctx, "runs", req, &answer) })
	return answer, err
}

// allOf is a run with all of its actions, which come in pages. Where several go by
// the name, each has its own.
func (n *natsFlags) allOf(ctx context.Context, name string) (worker.RunsAnswer, error) {
	answer, err := n.runs(ctx, worker.RunsRequest{Run: name})
	if err != nil {
		return answer, err
	}
	for i := range answer.Runs {
		r := &answer.Runs[i]
		for len(r.Items) < r.ItemsInAll {
			page, err := n.runs(ctx, worker.RunsRequest{Run: r.Trigger, Skip: len(r.Items)})
			switch {
			case err != nil:
				return answer, err
			case len(page.Runs) != 1 || len(page.Runs[0].Items) == 0:
				return answer, nil // gone meanwhile
			}
			r.Items = append(r.Items, page.Runs[0].Items...)
		}
	}
	return answer, nil
}

func printRuns(w io.Writer, answer worker.RunsAnswer) error {
	if len(answer.Runs) == 0 {
		_, err := fmt.Fprintln(w, "No runs.")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "PLANNED\tRUN\tSTATE\tACTIONS")
	for _, r := range answer.Runs {
		name := r.Name
		if r.Who != "" && name != r.Trigger {
			name += " by " + publisher(r.Who, r.Claim)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", r.Planned.In(zoneOf(answer.Timezone)).Format("2006-01-02 15:04"), name, r.State, countWords(r))
	}
	return tw.Flush()
}

// underWay is what an action without an outcome counts as.
const underWay = "under way"

// countWords sums a run up: "34 done, 2 failed (quota), 1 skipped (protected)".
func countWords(r worker.RunInfo) string {
	var words []string
	for _, outcome := range slices.Sorted(maps.Keys(r.Counts)) {
		word := outcome
		if r.State == "held" && outcome == underWay {
			word = "waiting"
		}
		words = append(words, fmt.Sprintf("%d %s", r.Counts[outcome], word))
	}
	if len(words) == 0 {
		return "nothing to do: " + firstOf(r.Why, "no instance is concerned")
	}
	if r.State == "held" {
		words = append(words, r.Held)
	}
	return strings.Join(words, ", ")
}

func printRun(w io.Writer, r worker.RunInfo, zone *time.Location) error {
	name := r.Name
	if name != r.Trigger {
		name += " (" + r.Trigger + ")"
	}
	fmt.Fprintf(w, "%s, planned for %s: %s, %s.\n", name, localTime(r.Planned, zone), r.State, countWords(r))
	if r.State == "held" {
		fmt.Fprintf(w, "It waits until %s for: nightshift approve %s\n", localTime(r.HeldUntil, zone), r.Trigger)
	}
	if len(r.Items) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, it := range r.Items {
		outcome := firstOf(it.Outcome, underWay)
		if it.Outcome == "" && r.State == "held" {
			outcome = "waits for approval"
		}
		if it.Reason != "" {
			outcome += " (" + it.Reason + ")"
		}
		if it.Settled != "" {
			outcome += " (settled as " + it.Settled + ")"
		}
		detail := it.Detail
		if it.Outcome == "" && r.State != "held" {
			detail = noteWords(it.Note)
		}
		if it.Error != "" {
			detail = strings.TrimPrefix(detail+"; "+it.Error, "; ")
		}
		change := it.Before
		if it.After != "" && it.After != it.Before {
			change += " -> " + it.After
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", it.Action, firstOf(it.Hostname, it.Instance), strings.ToUpper(it.Region), outcome, change, detail)
	}
	return tw.Flush()
}

// noteWords say how far an action is that is under way.
func noteWords(note string) string {
	what, detail, _ := strings.Cut(note, ": ")
	switch events.Outcome(what) {
	case "":
		return "its turn has not come yet"
	case events.Started:
		return "Civo is asked"
	case events.Accepted:
		return "Civo has accepted it; it is looked at until it is so"
	case events.Waiting:
		return "waits: " + detail
	}
	return note
}

// newRunActCommands are those that act on a whole run.
func newRunActCommands() []*cobra.Command {
	one := func(use, endpoint, short, long, example, said string) *cobra.Command {
		var n natsFlags
		var wait bool
		var timeout time.Duration
		cmd := &cobra.Command{
			Use: use, Short: short, Long: long + "\n\nRUN is a trigger id, or such as dev-hours@2026-11-27T19:00 (see nightshift runs).\n\nExit codes: 0; 1 refused, no such run or no daemon; 64 wrong usage.", Example: example,
			Args: cobra.ExactArgs(1), ValidArgsFunction: n.completeRun,
			RunE: func(cmd *cobra.Command, args []string) error {
				req := worker.ApproveRequest{Run: args[0]}
				req.Who = userName()
				var a worker.ApproveAnswer
				if timeout <= 0 {
					return usagef("--timeout %s: above 0", timeout)
				}
				if err := n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error { return bus.Ask(ctx, endpoint, req, &a) }); err != nil {
					return err
				}
				if err := printAsked(cmd.OutOrStdout(), said, a, wait); err != nil || !wait || a.Actions == 0 || a.Held != "" {
					return err
				}
				return n.awaitRuns(cmd, a, timeout)
			},
		}
		n.add(cmd)
		cmd.Flags().BoolVar(&wait, "wait", false, "wait until every action has its outcome; exit code 1 where one failed, expired or is unknown")
		cmd.Flags().DurationVar(&timeout, "timeout", 15*time.Minute, "how long to wait")
		if endpoint == "retry" {
			_ = cmd.Flags().Bool("failed", false, "what failed, expired or is unknown, which is the default and all that retry asks for")
		}
		return cmd
	}
	return []*cobra.Command{
		one("approve RUN", "approve", "Let a held run go on",
			"approve lets a run go on that waits for approval: because of mode: ask, or because it\nis larger than limits.per_run. Every rail is checked again before each call, and what\nis too late by now is not done.",
			"  nightshift approve dev-hours@19:00", "%s goes on with %s"),
		one("retry RUN", "retry", "Ask again for what failed in a run",
			"retry asks again for every action of a run that failed, expired or is unknown, as one\nrun: held where it is larger than limits.per_run. Until that run has ended, asking\nagain adds nothing; of what failed in it, too, the next retry is another attempt.",
			"  nightshift retry dev-hours@19:00", "Of %s %s will be tried again"),
		one("undo RUN", "undo", "Undo what a run has done",
			"undo starts again what a run stopped, stops what it started, and puts tags and\nfirewalls back, as one run: held where it is larger than limits.per_run. A resize\nand a reboot have no opposite.",
			"  nightshift undo dev-hours@19:00", "Of %s %s will be undone"),
	}
}

// awaitRuns waits until all that an approval, a retry or an undo has set going has
// its outcome, and prints that.
func (n *natsFlags) awaitRuns(cmd *cobra.Command, a worker.ApproveAnswer, timeout time.Duration) error {
	names := a.Asked
	if len(names) == 0 {
		names = []string{a.Run.Trigger}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	wait := newProgress(cmd.ErrOrStderr(), "waiting for run %s", names[0])
	defer wait.end()
	failed := false
	for _, name := range names {
		for {
			answer, err := n.allOf(ctx, name)
			var no *events.Refusal
			switch stored := !errors.As(err, &no) || no.Code != 404; { // a command is a run once it is planned
			case ctx.Err() != nil:
				return fmt.Errorf("run %s has not ended within %s; it goes on: nightshift runs show %s", name, timeout, name)
			case err != nil && stored:
				return err
			}
			open := false
			for _, r := range answer.Runs {
				open = open || r.State != "ended"
				wait.say("%s: %s", name, countWords(r))
			}
			if err == nil && !open {
				for _, r := range answer.Runs {
					failed = failed || slices.ContainsFunc(r.Items, isFailure)
					wait.aside(func() { err = errors.Join(err, printRun(cmd.OutOrStdout(), r, zoneOf(answer.Timezone))) })
				}
				if err != nil {
					return err
				}
				break
			}
			sleep(ctx, 500*time.Millisecond)
		}
	}
	if failed {
		return errSilent
	}
	return nil
}

func isFailure(i worker.ItemInfo) bool { return slices.Contains(failures, events.Outcome(i.Outcome)) }

// printAsked says what an approval, a retry or an undo has set going, and how to see
// what becomes of it.
func printAsked(w io.Writer, said string, a worker.ApproveAnswer, waits bool) error {
	if a.Actions > 0 {
		fmt.Fprintf(w, said, a.Run.Name, count(a.Actions, "action"))
		if len(a.Asked) > 0 {
			fmt.Fprintf(w, ", as run %s", a.Asked[0])
		}
		if a.Again {
			fmt.Fprint(w, ", which was asked for already and has not ended")
		}
		fmt.Fprintln(w, ".")
		if !waits && a.Held == "" {
			fmt.Fprintf(w, "How it ends: nightshift runs show %s\n", firstOf(append(a.Asked, a.Run.Trigger)...))
		}
	}
	if a.Held != "" {
		fmt.Fprintf(w, "It is held: %s. Let it go on with: nightshift approve %s\n", a.Held, a.Asked[0])
	}
	for _, left := range a.Left {
		fmt.Fprintf(w, "left: %s\n", printable(left))
	}
	return nil
}
