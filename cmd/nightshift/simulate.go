package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nightshift/configs"
	"nightshift/policies"
)

// spanFlags say which time is looked at, and in which mode.
type spanFlags struct {
	at, length, mode string
}

func (s *spanFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.at, "at", "now", `where the time begins: RFC 3339, or "2026-11-27 19:00" in the file's timezone`)
	cmd.Flags().StringVar(&s.length, "for", "7d", "how long a time, such as 12h, 7d or 1d12h")
	cmd.Flags().StringVar(&s.mode, "mode", "", "act, ask or observe, whatever the file says: what would be if it acted? (default: as the file says)")
}

// longestSpan bounds what is simulated: longer is a mistake, and would take long.
const longestSpan = 400 * 24 * time.Hour

// span is the time from now on, or from where the flag says; now is zero where
// nobody has said it. A day of "7d" is as long as the zone's clock makes it.
func (s *spanFlags) span(now time.Time, zone *time.Location) (from, to time.Time, err error) {
	if from = now; s.at != "now" || now.IsZero() { // the daemon's plan time may run fast
		if from, err = parseAt(s.at, zone); err != nil {
			return from, to, err
		}
	}
	from = from.Truncate(time.Second)
	length, err := configs.ParseDuration(s.length)
	if err != nil {
		return from, to, usagef("--for %q: %v", s.length, err)
	}
	if length <= 0 || length > longestSpan {
		return from, to, usagef("--for %s is not between a second and %s", s.length, "400d")
	}
	if !strings.Contains(s.length, "d") {
		return from, from.Add(length), nil
	}
	return from, from.In(zone).AddDate(0, 0, int(length/(24*time.Hour))).Add(length % (24 * time.Hour)), nil
}

// apply lets a set act or only observe.
func (s *spanFlags) apply(set *policies.Set) error {
	if s.mode == "" {
		return nil
	}
	if err := oneOf("mode", s.mode, string(policies.ModeAct), string(policies.ModeAsk), string(policies.ModeObserve)); err != nil {
		return err
	}
	set.Mode = policies.Mode(s.mode)
	for i := range set.Policies {
		set.Policies[i].Mode = ""
	}
	return nil
}

func newSimulateCommand() *cobra.Command {
	var f fileFlags
	var inv inventoryFlags
	var span spanFlags
	var strip stripFlags
	var output string
	var skips bool
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Show what would happen over a week: a plot, and a timeline",
		Long: `simulate lets a time go by with the code that acts, over a fleet that does as it
is told: nobody changes anything by hand, no alert fires and no command comes;
what waits for approval is approved at once. It touches nothing.

The plot has a strip for each instance: a block where it runs, a dot where it is
stopped, a lower block where it runs for part of the time that one character
stands for. Instances that run alike share a strip. --by policy has a strip for
each policy: how many of the instances that it selects run. In the timeline
below, everything of one instant stands together.

Under mode: observe nothing is carried out, so the fleet stays as it is; with
--mode act you see what would be if the same file acted.

Exit codes: 0; 1 when the file has a fault or a region could not be read (the
others are shown); 64 wrong usage.`,
		Example: `  nightshift simulate --config nightshift.yaml
  nightshift simulate --for 24h --at "2026-11-27 12:00"            # in the file's timezone
  nightshift simulate --inventory fleet.json --by policy --for 14d  # without the API
  nightshift simulate --daemon                                     # with its keeps and pauses
  nightshift simulate -o json | jq -r '.stages[] | .at as $t | .actions[] | [$t, .action, .hostname] | @tsv'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			if err := strip.check(cmd); err != nil {
				return err
			}
			cfg, err := f.load()
			if err != nil {
				return err
			}
			set := &cfg.Policies
			if err := span.apply(set); err != nil {
				return err
			}
			fleet, err := inv.read(cmd.Context(), cfg, set.Regions, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			from, to, err := span.span(fleet.now, set.Zone)
			if err != nil {
				return err
			}
			wait := newProgress(cmd.ErrOrStderr(), "simulating from %s to %s", from.In(set.Zone).Format(time.DateOnly), to.In(set.Zone).Format(time.DateOnly))
			s := simulated{set: set, instances: fleet.instances, from: from, to: to, stages: policies.Simulate(set, fleet.instances, fleet.facts, from, to)}
			wait.end()
			if output == "json" {
				err = s.printJSON(cmd.OutOrStdout())
			} else {
				err = s.print(cmd.OutOrStdout(), &strip, skips)
			}
			if err != nil {
				return err
			}
			if len(fleet.faults) > 0 {
				reportUnread(cmd.ErrOrStderr(), fleet.faults, "simulation")
				return errSilent
			}
			return nil
		},
	}
	f.add(cmd)
	inv.add(cmd)
	span.add(cmd)
	strip.add(cmd)
	cmd.Flags().BoolVar(&skips, "skips", false, "list what is left alone, too, with the reasons")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

type simulated struct {
	set       *policies.Set
	instances []policies.Instance
	from, to  time.Time
	stages    []policies.Stage
}

func (s *simulated) counts() (actions, skips int) {
	for _, stage := range s.stages {
		actions += len(stage.Plan.Actions)
		skips += len(stage.Plan.Skips)
	}
	return actions, skips
}

// simulatedJSON is meant for programs.
type simulatedJSON struct {
	From      time.Time      `json:"from"`
	To        time.Time      `json:"to"`
	Mode      policies.Mode  `json:"mode"`
	Instances []courseJSON   `json:"instances"`
	Stages    []simulatedRow `json:"stages"`
}

type courseJSON struct {
	Instance string          `json:"instance"`
	Hostname string          `json:"hostname"`
	Region   string          `json:"region"`
	Spans    []policies.Span `json:"spans"`
}

type simulatedRow struct {
	At      time.Time       `json:"at"`
	Actions []simulatedItem `json:"actions"`
	Skips   []simulatedItem `json:"skips"`
}

type simulatedItem struct {
	Action   string        `json:"action"` // in words: "resize to g3.large"
	Instance string        `json:"instance"`
	Hostname string        `json:"hostname"`
	Region   string        `json:"region"`
	Policy   string        `json:"policy"`
	Due      time.Time     `json:"due"` // later than at by the policy's spread
	Mode     policies.Mode `json:"mode,omitempty"`
	Why      string        `json:"why,omitempty"`
	Order    string        `json:"order,omitempty"`  // its turn in one
	Hold     string        `json:"hold,omitempty"`   // why it waits for approval
	Canary   string        `json:"canary,omitempty"` // which turn it has, where one goes first
	Reason   string        `json:"reason,omitempty"` // of a skip
	Detail   string        `json:"detail,omitempty"`
}

func itemOf(a *policies.Action) simulatedItem {
	return simulatedItem{Action: a.What(), Instance: a.Instance, Hostname: a.Hostname, Region: a.Region, Policy: a.Policy, Due: a.Due.UTC(), Mode: a.Mode, Why: a.Why,
		Order: a.Place.Words(a.Verb), Hold: a.Hold, Canary: a.Canary}
}

func (s *simulated) printJSON(w io.Writer) error {
	out := simulatedJSON{From: s.from.UTC(), To: s.to.UTC(), Mode: s.set.Mode, Instances: []courseJSON{}, Stages: []simulatedRow{}}
	courses := policies.Courses(s.instances, s.stages, s.from.UTC(), s.to.UTC())
	for _, i := range sortedInstances(s.instances) {
		out.Instances = append(out.Instances, courseJSON{i.ID, i.Hostname, i.Region, courses[i.ID]})
	}
	for _, stage := range s.stages {
		row := simulatedRow{At: stage.At.UTC(), Actions: []simulatedItem{}, Skips: []simulatedItem{}}
		for i := range stage.Plan.Actions {
			row.Actions = append(row.Actions, itemOf(&stage.Plan.Actions[i]))
		}
		for i := range stage.Plan.Skips {
			k := &stage.Plan.Skips[i]
			item := itemOf(&k.Action)
			item.Reason, item.Detail = string(k.Reason), k.Detail
			row.Skips = append(row.Skips, item)
		}
		out.Stages = append(out.Stages, row)
	}
	return printJSON(w, out)
}

func sortedInstances(list []policies.Instance) []policies.Instance {
	return slices.SortedFunc(slices.Values(list), func(a, b policies.Instance) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.Region, b.Region), cmp.Compare(a.ID, b.ID))
	})
}

func (s *simulated) print(w io.Writer, strip *stripFlags, skips bool) error {
	zone := s.set.Zone
	actions, skipped := s.counts()
	fmt.Fprintf(w, "From %s to %s, %s, mode %s: %s, %d left alone.\n", localTime(s.from, zone), localTime(s.to, zone), count(len(s.instances), "instance"), s.set.Mode, count(actions, "action"), skipped)
	if s.set.Mode == policies.ModeObserve {
		fmt.Fprintln(w, "Nothing is carried out under mode: observe; --mode act shows what would be.")
	}
	if strip.by != "none" && len(s.instances) > 0 {
		fmt.Fprintln(w)
		if err := s.plot(w, strip); err != nil {
			return err
		}
	}
	return s.timeline(w, zone, skips)
}

// timeline prints what happens, day by day, what is of one instant together.
func (s *simulated) timeline(w io.Writer, zone *time.Location, skips bool) error {
	day := ""
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, stage := range s.stages {
		lines := s.linesOf(stage, skips)
		if len(lines) == 0 {
			continue
		}
		if d := stage.At.In(zone).Format("Mon 2006-01-02 MST"); d != day {
			if err := tw.Flush(); err != nil {
				return err
			}
			day = d
			fmt.Fprintf(w, "\n%s\n", day)
		}
		clock := stage.At.In(zone).Format("15:04")
		for _, l := range lines {
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\n", clock, l.what, names(l.hosts), l.policy, l.why)
			clock = ""
		}
	}
	return tw.Flush()
}

// simulatedLine is what happens alike to some instances.
type simulatedLine struct {
	what, policy, why string
	hosts             []string
}

func (s *simulated) linesOf(stage policies.Stage, skips bool) []simulatedLine {
	var lines []simulatedLine
	add := func(what, policy, why, host string) {
		for i := range lines {
			if lines[i].what == what && lines[i].policy == policy && lines[i].why == why {
				lines[i].hosts = append(lines[i].hosts, host)
				return
			}
		}
		lines = append(lines, simulatedLine{what, policy, why, []string{host}})
	}
	actions := slices.Clone(stage.Plan.Actions)
	slices.SortStableFunc(actions, func(a, b policies.Action) int { return a.Place.Turn(a.Verb) - b.Place.Turn(b.Verb) })
	for i := range actions {
		a := &actions[i]
		why := a.Why
		if len(stage.Edges) == 0 {
			why = "enforced: " + why
		}
		if p, ok := s.set.Policy(a.Policy); ok && p.Spread > 0 {
			why += ", within " + policies.SpanWords(p.Spread)
		}
		why = waiting(why, a.Place.Words(a.Verb))
		switch {
		case a.Hold == "":
			why = waiting(why, a.Canary)
		case s.set.ModeOf(a.Policy) != policies.ModeAsk:
			why = waiting(why, a.Hold)
		}
		add(a.What(), sourceName(a.Policy), why, a.Hostname)
	}
	if skips {
		for _, k := range stage.Plan.Skips {
			add("skip", sourceName(k.Policy), reasonDetail(string(k.Reason), k.Detail), k.Hostname)
		}
	}
	return lines
}

// mostNames are listed; of more the number is said.
const mostNames = 5

func names(hosts []string) string {
	if len(hosts) <= mostNames {
		return strings.Join(hosts, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(hosts[:mostNames-1], " "), len(hosts)-mostNames+1)
}
