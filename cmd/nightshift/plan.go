package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"nightshift/configs"
	"nightshift/policies"
)

func newPlanCommand() *cobra.Command {
	var f fileFlags
	var n natsFlags
	var inventory, at, output string
	var detailed, daemon bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what would be done, without doing it, and what comes next",
		Long: `plan compares what the schedules and cron policies want at an instant with what
is, and shows what would be done and what would be left alone, each with the
reason. It uses the code that acts, reads the instances, and changes nothing.

The daemon acts at edges: a difference that plan shows after an edge has passed,
because somebody changed the instance by hand or the policy is new, is left
alone until the next one. The next edges are listed at the end.

It reads the policy file (--config) and remembers nothing. With --daemon the daemon
is asked instead, which adds what it remembers: keeps, pauses, commands, and what
people did by hand; the first line says then that it is the daemon that speaks.

Exit codes: 0; with --detailed-exitcode 2 when something would be done; 1 when
a region could not be read (the others are shown; without any there is no plan).`,
		Example: `  nightshift plan --config nightshift.yaml
  nightshift plan --at "2026-11-27 19:00"                          # in the file's timezone
  nightshift plan --inventory fleet.json --at 2026-03-02T20:00:00Z # without the API
  nightshift plan --daemon                                         # by the policies in force
  nightshift plan -o json | jq '.actions[].hostname'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "table", "json", "yaml"); err != nil {
				return err
			}
			if daemon {
				if inventory != "" || cmd.Flags().Changed("config") || cmd.Flags().Changed("api-url") {
					return usagef("--daemon plans with the policies in force and the daemon's own instances: leave --config, --api-url and --inventory out")
				}
				shown, zone, unread, err := planOfDaemon(cmd.Context(), &n, at)
				if err != nil {
					return err
				}
				return shown.printWith(cmd.OutOrStdout(), cmd.ErrOrStderr(), output, zone, unread, detailed)
			}
			cfg, err := f.load()
			if err != nil {
				return err
			}
			when, err := parseAt(at, cfg.Policies.Zone)
			if err != nil {
				return err
			}
			inv, faults, err := inventoryOf(cmd.Context(), cfg, inventory, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if inventory == "" && len(faults) > 0 && len(faults) == len(cfg.Policies.Regions) {
				reportUnread(cmd.ErrOrStderr(), faults, "plan")
				return errors.New("no region could be read, so there is no plan")
			}
			shown := newPlanOutput(cfg, inv, when)
			if err := shown.print(cmd.OutOrStdout(), output, cfg.Policies.Zone); err != nil {
				return err
			}
			reportUnread(cmd.ErrOrStderr(), faults, "plan")
			switch {
			case len(faults) > 0:
				return errSilent
			case detailed && len(shown.Actions) > 0:
				return exitError(exitSomething)
			}
			return nil
		},
	}
	f.add(cmd)
	n.add(cmd)
	cmd.Flags().BoolVar(&daemon, "daemon", false, "ask the daemon, which plans with the policies in force and all that it remembers")
	cmd.Flags().StringVar(&inventory, "inventory", "", inventoryHelp)
	cmd.Flags().StringVar(&at, "at", "now", `the instant: RFC 3339, or "2026-11-27 19:00" in the file's timezone`)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when something would be done")
	return cmd
}

func oneOf(flag, value string, allowed ...string) error {
	if !slices.Contains(allowed, value) {
		return usagef("--%s %q is none of %s", flag, value, strings.Join(allowed, ", "))
	}
	return nil
}

// parseAt reads an instant.
func parseAt(s string, zone *time.Location) (time.Time, error) {
	if s == "now" {
		return time.Now(), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	if clock, err := time.Parse("15:04", s); err == nil {
		return nextClock(time.Now().In(zone), clock.Hour(), clock.Minute()), nil
	}
	return time.Time{}, usagef(`%q is not an instant: write 2026-11-27T19:00:00Z, or "2026-11-27 19:00" in %s, or 19:00 for the next one`, s, zone)
}

// nextClock is the next time at which the clock of now's zone shows a time of day.
func nextClock(now time.Time, hour, minute int) time.Time {
	t := time.Date(now.Year(), now.Month(), now.Day(), hour, minute, 0, 0, now.Location())
	if !t.After(now) {
		t = time.Date(now.Year(), now.Month(), now.Day()+1, hour, minute, 0, 0, now.Location())
	}
	return t
}

// planOutput is what plan prints; its JSON form is meant for programs.
type planOutput struct {
	At      time.Time    `json:"at" yaml:"at"`
	Actions []planLine   `json:"actions" yaml:"actions"`
	Skips   []planLine   `json:"skips" yaml:"skips"`
	Next    []planNextUp `json:"next" yaml:"next"`
	other   int          // instances that no policy wants anything of
	total   int
	actions int // also those that are not listed
	skips   int
	by      string // who plans; empty: the policy file
	more    int    // lines that the daemon left out
}

type planLine struct {
	Action   string `json:"action" yaml:"action"`
	Region   string `json:"region" yaml:"region"`
	Instance string `json:"instance" yaml:"instance"`
	Hostname string `json:"hostname" yaml:"hostname"`
	Policy   string `json:"policy" yaml:"policy"`
	Why      string `json:"why,omitempty" yaml:"why,omitempty"`
	Order    string `json:"order,omitempty" yaml:"order,omitempty"`   // its turn in one
	Hold     string `json:"hold,omitempty" yaml:"hold,omitempty"`     // why it waits for approval
	Canary   string `json:"canary,omitempty" yaml:"canary,omitempty"` // which turn it has, where one goes first
	Reason   string `json:"reason,omitempty" yaml:"reason,omitempty"`
	Detail   string `json:"detail,omitempty" yaml:"detail,omitempty"`
}

type planNextUp struct {
	Planned time.Time `json:"planned" yaml:"planned"`
	Policy  string    `json:"policy" yaml:"policy"`
	Want    string    `json:"want" yaml:"want"`
}

func newPlanOutput(cfg *configs.Config, inv []policies.Instance, at time.Time) planOutput {
	plan := policies.Decide(&cfg.Policies, inv, policies.Facts{}, policies.Trigger{ID: "look", At: at}, at)
	out := planOutput{At: at.UTC(), Actions: []planLine{}, Skips: []planLine{}, Next: []planNextUp{}, total: len(inv), other: len(inv) - len(plan.Actions) - len(plan.Skips)}
	line := func(a policies.Action) planLine {
		return planLine{Action: string(a.Verb), Region: a.Region, Instance: a.Instance, Hostname: a.Hostname, Policy: a.Policy, Why: a.Why, Order: a.Place.Words(a.Verb), Hold: a.Hold, Canary: a.Canary}
	}
	for _, a := range plan.Actions {
		out.Actions = append(out.Actions, line(a))
	}
	for _, s := range plan.Skips {
		l := line(s.Action)
		l.Reason, l.Detail = string(s.Reason), s.Detail
		out.Skips = append(out.Skips, l)
	}
	out.actions, out.skips = len(out.Actions), len(out.Skips)
	for _, e := range cfg.Policies.Agenda(inv, policies.Facts{}, at).NextEdges(at, 8) { // those of tags, too
		out.Next = append(out.Next, planNextUp{e.Planned, e.Policy, e.Want})
	}
	return out
}

func (p planOutput) print(w io.Writer, form string, zone *time.Location) error {
	switch form {
	case "json":
		return printJSON(w, p)
	case "yaml":
		return yaml.NewEncoder(w).Encode(p)
	}
	fmt.Fprintf(w, "%s %s, %s: %s to do, %d to leave alone, %d that no policy wants anything of.\n\n",
		firstOf(p.by, "At"), localTime(p.At, zone), count(p.total, "instance"), count(p.actions, "action"), p.skips, p.other)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range p.Actions {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", l.Action, l.Hostname, l.Region, causeName(l.Policy), waiting(waiting(l.Why, l.Order), l.Canary))
	}
	for _, l := range p.Skips {
		fmt.Fprintf(tw, "skip\t%s\t%s\t%s\t%s\n", l.Hostname, l.Region, causeName(l.Policy), reasonDetail(l.Reason, l.Detail))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if p.more > 0 {
		fmt.Fprintf(w, "and %d more\n", p.more)
	}
	if len(p.Actions)+len(p.Skips) > 0 {
		fmt.Fprintln(w)
	}
	if held, all := holdsOf(p.Actions); len(held) > 0 {
		for _, h := range held {
			fmt.Fprintf(w, "%s would wait for approval: %s\n", count(all[h], "action"), h)
		}
		fmt.Fprintln(w)
	}
	if len(p.Next) == 0 {
		fmt.Fprintln(w, "No edge lies ahead.")
		return nil
	}
	fmt.Fprintln(w, "Next edges:")
	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, n := range p.Next {
		fmt.Fprintf(tw, "  %s\t%s\t%s\n", localTime(n.Planned, zone), sourceName(n.Policy), n.Want)
	}
	return tw.Flush()
}

// holdsOf are the reasons for which actions wait for approval, and how many do.
func holdsOf(actions []planLine) (held []string, of map[string]int) {
	of = make(map[string]int)
	for _, l := range actions {
		if l.Hold != "" {
			if of[l.Hold] == 0 {
				held = append(held, l.Hold)
			}
			of[l.Hold]++
		}
	}
	return held, of
}

// waiting adds to why something is done what it waits for.
func waiting(why, waits string) string {
	if waits == "" {
		return why
	}
	return why + "; " + waits
}

func reasonDetail(reason, detail string) string {
	if detail == "" {
		return reason
	}
	return reason + ": " + detail
}

// localTime prints an instant in the zone of the policy file, with its name.
func localTime(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("Mon 2006-01-02 15:04 MST")
}
