package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
	"nightshift/worker"
)

func newExplainCommand() *cobra.Command {
	var n natsFlags
	var f fileFlags
	var region, at, output, inventory string
	cmd := &cobra.Command{
		Use:   "explain INSTANCE",
		Short: "Say who wants what of an instance, who wins, and why",
		Long: `explain prints the whole argument about the power state of one instance: every
policy, keep, command and tag that has a say, the winner first, and by which rule
each of the others loses; then the policies that select the instance and are
silent, with the reason, and what comes next. It uses the code that decides.

The daemon is asked, for it remembers keeps, pauses, commands and what people
did by hand. With --config the policy file alone argues, about an instance read
from the API or from --inventory; nothing is remembered then.

INSTANCE is an id, or a host name that exactly one instance has.

Exit codes: 0; 1 no such instance, or the daemon does not answer; 64 wrong usage.`,
		Example: `  nightshift explain dev-1
  nightshift explain dev-1 --at "2026-12-25 10:00"
  nightshift explain dev-1 --at 22:00 -o json
  nightshift explain dev-1 --config nightshift.yaml --inventory fleet.json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: n.completeInstance(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			var answer worker.ExplainAnswer
			var err error
			switch {
			case f.path != "":
				answer, err = explainFromFile(cmd.Context(), &f, inventory, args[0], region, at)
			case inventory != "":
				return usagef("--inventory goes with --config")
			default:
				err = n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error {
					inst, err := find(ctx, bus, args[0], region)
					if err != nil {
						return err
					}
					return bus.Ask(ctx, "explain", worker.ExplainRequest{Instance: inst.ID, Region: inst.Region, At: at}, &answer)
				})
			}
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), answer)
			}
			return printExplanation(cmd.OutOrStdout(), answer)
		},
	}
	n.add(cmd)
	f.add(cmd)
	cmd.Flags().Lookup("config").DefValue = ""
	f.path = ""
	cmd.Flags().StringVar(&inventory, "inventory", "", "with --config: read the instances from a file instead of the API, as plan does")
	cmd.Flags().StringVar(&region, "region", "", "region of the instance, where its name alone is ambiguous")
	cmd.Flags().StringVar(&at, "at", "", `the instant: 22:00 (the next one), "2026-11-27 19:00" in the policy file's zone, or RFC 3339 (default now)`)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// explainFromFile argues without a daemon, and so without what one remembers.
func explainFromFile(ctx context.Context, f *fileFlags, inventory, name, region, at string) (worker.ExplainAnswer, error) {
	var none worker.ExplainAnswer
	cfg, err := f.load()
	if err != nil {
		return none, err
	}
	when, err := parseAt(firstOf(at, "now"), cfg.Policies.Zone)
	if err != nil {
		return none, err
	}
	inv, faults, err := inventoryOf(ctx, cfg, inventory, os.Stderr)
	if err != nil {
		return none, err
	}
	regions := cfg.Policies.Regions
	if region != "" {
		regions = []string{strings.ToUpper(region)}
	}
	inst, err := pickInstance(inv, faults, name, regions)
	if err != nil {
		return none, err
	}
	return worker.ExplainAnswer{Explanation: policies.Explain(&cfg.Policies, inst, policies.Facts{Fleet: [][]policies.Instance{inv}, Partial: len(faults) > 0}, when), Timezone: cfg.Policies.Zone.String()}, nil
}

func printExplanation(w io.Writer, e worker.ExplainAnswer) error {
	zone := zoneOf(e.Timezone)
	i := e.Instance
	fmt.Fprintf(w, "%s (%s in %s) is %s at %s.\n", i.Hostname, i.ID, i.Region, i.Status, localTime(e.At, zone))
	if len(i.Tags) > 0 {
		fmt.Fprintf(w, "Tags: %s\n", strings.Join(i.Tags, " "))
	}
	printSilence(w, e)
	switch {
	case e.Untouchable != "":
		fmt.Fprintf(w, "It is never touched: %s.\n", e.Untouchable)
	case len(e.Wants) == 0:
		fmt.Fprintln(w, "Nobody wants it running or stopped.")
	default:
		because := "because of " + sourceName(e.Wants[0].Source)
		if causeName(e.Wants[0].Source) != sourceName(e.Wants[0].Source) {
			because = "says " + e.Wants[0].Source
		}
		fmt.Fprintf(w, "It should be %s, %s.\n", keptWord(e.Wants[0].State), because)
	}
	if e.Hand != nil {
		fmt.Fprintf(w, "By hand: somebody %s it, seen at %s.\n", pastOf(e.Hand.State), localTime(e.Hand.At, zone))
	}
	if len(e.Wants) > 0 {
		fmt.Fprintln(w)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for n, a := range e.Wants {
		mark := "loses"
		switch {
		case n == 0 && e.Untouchable != "":
			mark = "would win"
		case n == 0:
			mark = "wins"
		case a.State == e.Wants[0].State:
			mark = "agrees"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", mark, sourceName(a.Source), keptWord(a.State), formWords(a, zone), a.Why)
		if mark == "loses" {
			fmt.Fprintf(tw, "\t\t\t\t- %s\n", a.Loses)
		}
	}
	for _, m := range e.Mute {
		fmt.Fprintf(tw, "silent\t%s\t\t\t%s\n", m.Policy, m.Why)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if e.Order != "" {
		fmt.Fprintf(w, "\nIn %s.\n", e.Order)
	}
	for _, r := range e.Rails {
		fmt.Fprintf(w, "Rail: %s.\n", r)
	}
	for _, t := range e.Faults {
		fmt.Fprintf(w, "The tag %s does nothing: %s\n", t.Tag, t.Msg)
	}
	if len(e.Next) > 0 {
		fmt.Fprintln(w, "\nNext:")
		tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		kept := len(e.Wants) > 0 && e.Wants[0].Source == policies.KeepSource
		for _, u := range e.Next {
			note := ""
			switch {
			case u.Policy == policies.KeepSource && u.Planned.Sub(e.At) <= time.Second:
				continue // it begins with the next whole second, and counts already
			case u.Policy == policies.KeepSource:
				kept = false
			case kept:
				note = "\twithout effect: it is kept then"
			}
			fmt.Fprintf(tw, "  %s\t%s%s\n", localTime(u.Planned, zone), edgeWords(u.Policy, u.Want), note)
		}
		return tw.Flush()
	}
	return nil
}

// printSilence says first of all that a pause holds, since it decides everything below.
func printSilence(w io.Writer, e worker.ExplainAnswer) {
	for _, p := range e.Pauses {
		what := "Everything"
		switch {
		case p.Instance != "":
			what = "It"
		case p.Policy != "":
			what = "Policy " + p.Policy
		}
		fmt.Fprintf(w, "%s is PAUSED%s\n", what, pausedUntil(p, zoneOf(e.Timezone)))
	}
}

func pastOf(s schedule.State) string {
	if s == schedule.Running {
		return "started"
	}
	return "stopped"
}

// sourceName is a source of wants as people call it.
func sourceName(source string) string {
	switch source {
	case policies.KeepSource:
		return "a keep"
	case policies.MarkSource:
		return "a mark"
	case policies.PauseSource:
		return "a pause"
	case policies.HandSource:
		return "a start by hand"
	case policies.CommandSource:
		return "a command"
	}
	return source
}

// causeName is what wanted something as people call it: policies, by name, or what
// is none.
func causeName(source string) string {
	if source == "" || sourceName(source) != source {
		return sourceName(source)
	}
	return "policy " + source
}

// formWords say since when a want holds, or when it fired: a schedule, or a keep, is in
// force for a while, and cron and triggers fire once.
func formWords(a policies.Argued, zone *time.Location) string {
	since := ""
	if !a.Since.IsZero() {
		since = " " + a.Since.In(zone).Format("Mon 02 Jan 15:04")
	}
	words := "in force"
	switch {
	case a.Source == policies.KeepSource:
		words = "kept"
	case a.Impulse:
		words = "fired"
	}
	if since != "" && !a.Impulse {
		words += " since"
	}
	words += since
	if a.Priority != 0 {
		words += fmt.Sprintf(", priority %d", a.Priority)
	}
	return words
}
