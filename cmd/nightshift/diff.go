package main

import (
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

func newDiffCommand() *cobra.Command {
	var over configs.Overrides
	var inv inventoryFlags
	var span spanFlags
	var output string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what a changed policy file would do differently over a week",
		Long: `diff lets the same time go by twice with the code that acts, under the old policy
file and under the new one, over the same instances, and shows what differs:
actions that appear or vanish, move to another time, become another action, or
are asked for by another policy. Of what vanishes it says what the new file makes
of it ("protected", "outranked: …"). It touches nothing.

A policy that waits for an alert, a load or another signal has no times that
could be compared: when one differs it is shown as text, and so are settings such
as allow, protect and limits. Policies that are only written differently, and do
the same, are no difference.

-o markdown is meant for a comment on a pull request.

Exit codes: 0 nothing would be done differently; 2 something would, or a policy
that waits for signals or a setting differs; 1 a file has a fault, or a region
could not be read; 64 wrong usage.`,
		Example: `  git show main:nightshift.yaml > old.yaml
  nightshift diff old.yaml nightshift.yaml                                # against your account
  nightshift diff old.yaml nightshift.yaml --inventory fleet.json         # saved: nightshift instances list -o json
  nightshift diff old.yaml nightshift.yaml --daemon --for 14d             # the daemon's, with its keeps and pauses
  nightshift diff old.yaml nightshift.yaml --inventory fleet.json -o markdown > comment.md
  nightshift diff old.yaml nightshift.yaml --mode act                     # what if both acted, though they observe?`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "table", "json", "markdown"); err != nil {
				return err
			}
			var cfgs [2]*configs.Config
			for n, path := range args {
				f := fileFlags{path: path, over: over}
				var err error
				if cfgs[n], err = f.load(); err != nil {
					return err
				}
				if err := span.apply(&cfgs[n].Policies); err != nil {
					return err
				}
			}
			before, after := &cfgs[0].Policies, &cfgs[1].Policies
			fleet, err := inv.read(cmd.Context(), cfgs[1], bothRegions(before, after), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			from, to, err := span.span(fleet.now, after.Zone)
			if err != nil {
				return err
			}
			d := difference{policies.Diff(before, after, fleet.instances, fleet.facts, from, to), after.Zone, args}
			switch output {
			case "json":
				err = d.printJSON(cmd.OutOrStdout())
			case "markdown":
				err = d.printMarkdown(cmd.OutOrStdout())
			default:
				err = d.print(cmd.OutOrStdout())
			}
			switch {
			case err != nil:
				return err
			case len(fleet.faults) > 0:
				reportUnread(cmd.ErrOrStderr(), fleet.faults, "comparison")
				return errSilent
			case !d.Same():
				return exitError(exitSomething)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&over.APIURL, "api-url", "", "address of the API, such as that of nightshift sim (default https://api.civo.com)")
	inv.add(cmd)
	span.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or markdown")
	return cmd
}

func bothRegions(before, after *policies.Set) []string {
	all := slices.Concat(before.Regions, after.Regions)
	slices.Sort(all)
	return slices.Compact(all)
}

// difference is printed for people in the zone of the new file.
type difference struct {
	policies.Difference
	zone  *time.Location
	files []string
}

// diffJSON is meant for programs.
type diffJSON struct {
	Same     bool           `json:"same"`
	From     time.Time      `json:"from"`
	To       time.Time      `json:"to"`
	Before   diffTotals     `json:"before"`
	After    diffTotals     `json:"after"`
	Summary  map[string]int `json:"summary"` // changes by kind
	Policies []diffPolicy   `json:"policies"`
	Changes  []diffChange   `json:"changes"`
	Waiting  []diffText     `json:"waiting"`  // policies that wait for signals and differ
	Settings []diffText     `json:"settings"` // that differ
	Unseen   []string       `json:"unseen"`   // policies that differ and do the same
}

type diffTotals struct {
	Instances    int     `json:"instances"`
	Actions      int     `json:"actions"`
	RunningHours float64 `json:"running_hours"`
}

type diffPolicy struct {
	Policy string         `json:"policy"`
	Counts map[string]int `json:"counts"`
}

type diffChange struct {
	Change   string         `json:"change"` // appears, vanishes, moves, becomes or reason
	Region   string         `json:"region"`
	Instance string         `json:"instance"`
	Hostname string         `json:"hostname"`
	Before   *simulatedItem `json:"before,omitempty"`
	After    *simulatedItem `json:"after,omitempty"`
	Instead  string         `json:"instead,omitempty"` // what the other file says about it then
}

type diffText struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

func countsByName(counts map[policies.ChangeKind]int) map[string]int {
	out := make(map[string]int)
	for _, k := range policies.ChangeKinds() {
		out[string(k)] = counts[k]
	}
	return out
}

func (d *difference) printJSON(w io.Writer) error {
	totals := func(t policies.Totals) diffTotals {
		return diffTotals{t.Instances, t.Actions, float64(t.Running.Round(time.Minute)/time.Minute) / 60}
	}
	texts := func(list []policies.Reworded) []diffText {
		out := []diffText{}
		for _, r := range list {
			out = append(out, diffText(r))
		}
		return out
	}
	out := diffJSON{Same: d.Same(), From: d.From.UTC(), To: d.To.UTC(), Before: totals(d.Before), After: totals(d.After), Summary: countsByName(d.Counts("")),
		Policies: []diffPolicy{}, Changes: []diffChange{}, Waiting: texts(d.Waiting), Settings: texts(d.Settings), Unseen: append([]string{}, d.Unseen...)}
	for _, p := range d.Policies() {
		out.Policies = append(out.Policies, diffPolicy{p, countsByName(d.Counts(p))})
	}
	side := func(a *policies.Action) *simulatedItem {
		if a == nil {
			return nil
		}
		item := itemOf(a)
		return &item
	}
	for i := range d.Changes {
		c := &d.Changes[i]
		region, id, hostname := c.Instance()
		out.Changes = append(out.Changes, diffChange{string(c.Kind), region, id, hostname, side(c.Before), side(c.After), c.Instead})
	}
	return printJSON(w, out)
}

// sentence is the whole difference in one line.
func (d *difference) sentence() string {
	if len(d.Changes) == 0 {
		return fmt.Sprintf("No action differs from %s to %s: %s on %s either way.", localTime(d.From, d.zone), localTime(d.To, d.zone), count(d.After.Actions, "action"), count(d.After.Instances, "instance"))
	}
	counts := d.Counts("")
	var parts []string
	for _, k := range policies.ChangeKinds() {
		if n := counts[k]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kindWords[k]))
		}
	}
	return fmt.Sprintf("From %s to %s: %s before, %d after; %s.", localTime(d.From, d.zone), localTime(d.To, d.zone), count(d.Before.Actions, "action"), d.After.Actions, strings.Join(parts, ", "))
}

var kindWords = map[policies.ChangeKind]string{
	policies.Appears: "new", policies.Vanishes: "gone", policies.Moves: "at another time", policies.Becomes: "different", policies.Reasons: "asked for by another policy",
}

// kindMarks stand before a line, as in other differences.
var kindMarks = map[policies.ChangeKind]string{policies.Appears: "+", policies.Vanishes: "-", policies.Moves: ">", policies.Becomes: "!", policies.Reasons: "~"}

// running says how long all instances together run, where that differs.
func (d *difference) running() string {
	if d.Before.Running == d.After.Running {
		return ""
	}
	hours := func(t time.Duration) string {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", t.Hours()), ".0")
	}
	return fmt.Sprintf("All instances together run for %s h instead of %s h.", hours(d.After.Running), hours(d.Before.Running))
}

// diffLine is a change that some instances have in common.
type diffLine struct {
	day, clock, mark, what, policy, note string
	hosts                                []string
}

// lines are the changes in order of time; what is the same but for the instance
// is one line.
func (d *difference) lines() []diffLine {
	var lines []diffLine
	first := 0 // of the lines of the present day
	for i := range d.Changes {
		l := d.line(&d.Changes[i])
		if len(lines) > 0 && lines[len(lines)-1].day != l.day {
			first = len(lines)
		}
		_, _, host := d.Changes[i].Instance()
		at := slices.IndexFunc(lines[first:], func(o diffLine) bool {
			return o.clock == l.clock && o.mark == l.mark && o.what == l.what && o.policy == l.policy && o.note == l.note
		})
		if at < 0 {
			at = len(lines) - first
			lines = append(lines, l)
		}
		lines[first+at].hosts = append(lines[first+at].hosts, host)
	}
	return lines
}

func (d *difference) line(c *policies.Change) diffLine {
	at := c.At().In(d.zone)
	l := diffLine{day: at.Format("Mon 2006-01-02 MST"), clock: at.Format("15:04"), mark: kindMarks[c.Kind], policy: sourceName(c.Policy()), note: c.Instead}
	switch {
	case c.Before == nil:
		l.what = c.After.What()
		if l.note == "" {
			l.note = c.After.Why
		} else {
			l.note = c.After.Why + " (before: " + l.note + ")"
		}
		return l
	case c.After == nil:
		l.what = c.Before.What()
		l.note = "now: " + firstOf(l.note, "nothing asks for it then")
		return l
	}
	l.what = c.After.What()
	l.note = c.After.Why
	switch c.Kind {
	case policies.Moves:
		if c.Before.Planned.Equal(c.After.Planned) {
			l.note = "spread or put off in another way"
			break
		}
		l.clock = d.clockOf(c.Before.Planned, at) + " -> " + d.clockOf(c.After.Planned, at)
	case policies.Becomes:
		l.what = c.Before.What() + " -> " + c.After.What()
	}
	if c.Before.Policy != c.After.Policy {
		l.policy = sourceName(c.Before.Policy) + " -> " + sourceName(c.After.Policy)
	}
	return l
}

// clockOf is a time of day, with the weekday where it is another day.
func (d *difference) clockOf(t, day time.Time) string {
	t = t.In(d.zone)
	if t.YearDay() != day.YearDay() {
		return t.Format("Mon 15:04")
	}
	return t.Format("15:04")
}

func (d *difference) print(w io.Writer) error {
	fmt.Fprintln(w, d.sentence())
	if r := d.running(); r != "" {
		fmt.Fprintln(w, r)
	}
	lines := d.lines()
	for i := 0; i < len(lines); {
		fmt.Fprintf(w, "\n%s\n", lines[i].day)
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for day := lines[i].day; i < len(lines) && lines[i].day == day; i++ {
			l := lines[i]
			fmt.Fprintf(tw, "%s %s\t%s\t%s\t%s\t%s\n", l.mark, l.clock, l.what, names(l.hosts), l.policy, l.note)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	if len(d.Changes) > 0 {
		fmt.Fprintln(w)
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(tw, "by policy\t+ new\t- gone\t> moved\t! different\t~ other policy\t\n")
		for _, p := range d.Policies() {
			n := d.Counts(p)
			fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t\n", sourceName(p), n[policies.Appears], n[policies.Vanishes], n[policies.Moves], n[policies.Becomes], n[policies.Reasons])
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	d.printTexts(w, "Settings that differ:", d.Settings)
	d.printTexts(w, "Policies that wait for signals, and differ (no times to compare):", d.Waiting)
	if len(d.Unseen) > 0 {
		fmt.Fprintf(w, "\nWritten differently, without a part in this: %s\n", strings.Join(d.Unseen, ", "))
	}
	return nil
}

func (d *difference) printTexts(w io.Writer, title string, list []policies.Reworded) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, r := range list {
		if r.Before != "" {
			fmt.Fprintf(w, "- %s: %s\n", r.Name, r.Before)
		}
		if r.After != "" {
			fmt.Fprintf(w, "+ %s: %s\n", r.Name, r.After)
		}
	}
}

// mostMarkdown bounds the lines of a comment: a platform cuts longer ones off.
const mostMarkdown = 200

// printMarkdown writes a comment for a review: what matters first, all lines folded.
func (d *difference) printMarkdown(w io.Writer) error {
	var b strings.Builder
	title := "Nightshift: the same is done"
	switch {
	case len(d.Changes) > 0:
		title = "Nightshift: something is done differently"
	case !d.Same():
		title = "Nightshift: no action differs, settings or triggers do"
	}
	fmt.Fprintf(&b, "### %s\n\n`%s` → `%s` on %s. %s\n", title, code(d.files[0]), code(d.files[1]), count(d.After.Instances, "instance"), d.sentence())
	if r := d.running(); r != "" {
		fmt.Fprintf(&b, "%s\n", r)
	}
	if len(d.Changes) > 0 {
		b.WriteString("\n| policy | new | gone | moved | different | other policy |\n|---|--:|--:|--:|--:|--:|\n")
		for _, p := range d.Policies() {
			n := d.Counts(p)
			fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d |\n", cellText(sourceName(p)), n[policies.Appears], n[policies.Vanishes], n[policies.Moves], n[policies.Becomes], n[policies.Reasons])
		}
		rows := d.recurring()
		fmt.Fprintf(&b, "\n<details><summary>%s</summary>\n\n| | days | time | action | instances | policy | why |\n|---|---|---|---|---|---|---|\n", count(len(rows), "line"))
		for n, r := range rows {
			if n == mostMarkdown {
				fmt.Fprintf(&b, "| | | | and %d more | | | |\n", len(rows)-n)
				break
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", r.mark, daysText(r.days), arrow(r.clock), arrow(cellText(r.what)), cellText(names(r.hosts)), arrow(cellText(r.policy)), cellText(r.note))
		}
		b.WriteString("\n</details>\n")
	}
	texts := func(title string, list []policies.Reworded) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n**%s**\n\n| | before | after |\n|---|---|---|\n", title)
		for _, r := range list {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cellText(r.Name), cellText(firstOf(r.Before, "–")), cellText(firstOf(r.After, "–")))
		}
	}
	texts("Settings that differ", d.Settings)
	texts("Policies that wait for signals, and differ (no times to compare)", d.Waiting)
	if len(d.Unseen) > 0 {
		fmt.Fprintf(&b, "\nWritten differently, without a part in this: %s.\n", cellText(strings.Join(d.Unseen, ", ")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// recurringLine is a line that comes on some days alike.
type recurringLine struct {
	diffLine
	days []string
}

// recurring are the lines with those of several days put together.
func (d *difference) recurring() []recurringLine {
	var rows []recurringLine
	for _, l := range d.lines() {
		l.note, _, _ = strings.Cut(l.note, " until ") // of an impulse: another instant each day
		at := slices.IndexFunc(rows, func(r recurringLine) bool {
			return r.clock == l.clock && r.mark == l.mark && r.what == l.what && r.policy == l.policy && r.note == l.note && slices.Equal(r.hosts, l.hosts)
		})
		if at < 0 {
			at = len(rows)
			rows = append(rows, recurringLine{diffLine: l})
		}
		rows[at].days = append(rows[at].days, l.day)
	}
	return rows
}

// daysText lists days; of many the first and the last.
func daysText(days []string) string {
	if len(days) > 3 {
		return fmt.Sprintf("%s … %s (%d days)", days[0], days[len(days)-1], len(days))
	}
	return strings.Join(days, ", ")
}

// arrow is an arrow as Markdown shows it, also where > was escaped.
func arrow(s string) string {
	return strings.NewReplacer("-&gt;", "→", "->", "→").Replace(s)
}

// cellText is text in a cell of a Markdown table. Host names and tags are other
// people's words: they must not become links, mentions or HTML.
func cellText(s string) string {
	return markdown.Replace(strings.Join(strings.Fields(s), " "))
}

var markdown = strings.NewReplacer("|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "@", "&#64;", "#", "&#35;", `\`, `\\`, "&", "&amp;")

// code is text between backticks.
func code(s string) string { return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "`", "'") }
