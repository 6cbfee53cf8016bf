package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nightshift/civo"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

func newCheckCommand() *cobra.Command {
	var c checkFlags
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Find every fault in a policy file, and what is hardly meant",
		Long: `check reads a policy file (nightshift.yaml) and names every fault, each with line and column,
what was found, and what would be right. A file without a fault is then looked
over for a year ahead: edges that a change of the clock moves, windows that never
come, calendars that run out, holidays on a day that would run, policies that
contradict each other and who wins.

It asks nobody: no token is needed. With --inventory or --live it also knows the
fleet: selectors that match all or nothing (with the nearest tag that exists),
tags that cannot be read. With --live it knows the account, too: regions, sizes,
firewalls.

A finding is a fault (it cannot work as written), a warning (it works, and is
hardly what was meant) or a note (worth knowing). Findings that are alike are
shown once, with how many there are; --all shows each.

Exit codes: 0 good, warnings and notes allowed; 1 a fault, with --strict a
warning too, or something could not be read; 64 wrong usage.`,
		Example: `  nightshift check
  nightshift check nightshift.yaml --live
  nightshift check --daemon                           # what is in force
  nightshift check --inventory fleet.json --strict    # in CI
  nightshift check -o json | jq '.findings[] | select(.severity != "note")'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if c.daemon {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.MaximumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", c.output, "table", "json"); err != nil {
				return err
			}
			if c.daemon {
				if c.live || c.inventory != "" {
					return usagef("--daemon checks the policies in force with the daemon's own instances: leave --live and --inventory out")
				}
				return c.askDaemon(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			if c.live && c.inventory != "" {
				return usagef("--live and --inventory both say where the instances come from: give one")
			}
			file := configs.DefaultFile
			if len(args) > 0 {
				file = args[0]
			}
			return c.run(cmd.Context(), file, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.nats.add(cmd)
	cmd.Flags().BoolVar(&c.daemon, "daemon", false, "check the policies that the daemon has in force, in place of a FILE")
	cmd.Flags().BoolVar(&c.live, "live", false, "read the instances and what the account has over the API")
	cmd.Flags().StringVar(&c.inventory, "inventory", "", "read the instances from a file: JSON as printed by instances list -o json, or a fleet file of the simulator")
	cmd.Flags().StringVar(&c.at, "at", "now", `from when on a year is looked ahead: RFC 3339, or "2026-11-27 19:00" in the file's timezone`)
	cmd.Flags().BoolVar(&c.strict, "strict", false, "exit with 1 for a warning, too")
	cmd.Flags().BoolVar(&c.all, "all", false, "show each finding, also those that are alike")
	cmd.Flags().StringVarP(&c.output, "output", "o", "table", "table or json")
	cmd.Flags().StringVar(&c.over.APIURL, "api-url", "", "address of the API for --live, such as that of nightshift sim")
	return cmd
}

type checkFlags struct {
	live, strict, all     bool
	daemon                bool
	nats                  natsFlags
	inventory, at, output string
	over                  configs.Overrides
}

// checkOutput is what check prints; its JSON form is meant for programs.
type checkOutput struct {
	File      string         `json:"file"`
	Revision  string         `json:"revision,omitempty"`
	At        time.Time      `json:"at,omitzero"`
	Policies  int            `json:"policies"`
	Regions   []string       `json:"regions"`
	Instances *int           `json:"instances,omitempty"` // none: the fleet is not known
	Findings  []checkFinding `json:"findings"`

	unread bool // something could not be read
}

// checkFinding is a finding of lint, or a fault of the file with its place.
type checkFinding struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
	Path string `json:"path,omitempty"`
	policies.Finding
}

// askDaemon checks what is in force.
func (c *checkFlags) askDaemon(ctx context.Context, out, errOut io.Writer) error {
	var a worker.CheckAnswer
	if err := c.nats.with(ctx, func(ctx context.Context, bus *events.Bus) error {
		return bus.Ask(ctx, "check", worker.CheckRequest{All: c.all}, &a)
	}); err != nil {
		return err
	}
	var s worker.Status
	if err := c.nats.with(ctx, func(ctx context.Context, bus *events.Bus) error { return bus.Ask(ctx, "status", struct{}{}, &s) }); err != nil {
		return err
	}
	shown := checkOutput{File: "the daemon's policies", Revision: a.Revision, At: a.At, Policies: s.Policies, Regions: []string{}, Findings: []checkFinding{}, unread: len(a.Unread) > 0}
	for _, r := range s.Regions {
		shown.Regions = append(shown.Regions, r.Region)
	}
	if !shown.unread {
		shown.Instances = &a.Instances
	}
	for _, f := range a.Findings {
		shown.Findings = append(shown.Findings, checkFinding{Finding: f})
	}
	for _, r := range a.Unread {
		fmt.Fprintf(errOut, "nightshift: error: nothing is said about instances: region %s\n", r)
	}
	if a.Fault != "" {
		fmt.Fprintf(errOut, "nightshift: error: the policy file has changed and cannot be used:\n%s\n", a.Fault)
	}
	if err := shown.print(out, c); err != nil {
		return err
	}
	if shown.unread || a.Fault != "" || shown.count(policies.SevereFault) > 0 || c.strict && shown.count(policies.SevereWarning) > 0 {
		return errSilent
	}
	return nil
}

func (c *checkFlags) run(ctx context.Context, file string, out, errOut io.Writer) error {
	shown := checkOutput{File: file, Regions: []string{}, Findings: []checkFinding{}}
	cfg, err := configs.Load(file, os.Environ(), c.over)
	var faults configs.Faults
	if c.output == "json" && errors.As(err, &faults) {
		for _, f := range faults {
			shown.Findings = append(shown.Findings, checkFinding{f.File, f.Line, f.Col, f.Path,
				policies.Finding{Severity: policies.SevereFault, Rule: "file", Msg: f.Msg, Hint: f.Hint}})
		}
		return errors.Join(shown.print(out, c), errSilent)
	}
	if err != nil {
		return err
	}
	at, err := parseAt(c.at, cfg.Policies.Zone)
	if err != nil {
		return err
	}
	known := policies.Known{From: at}
	switch {
	case c.inventory != "":
		inv, err := readInventoryFile(ctx, c.inventory, cfg.Policies.Regions)
		if err != nil {
			return err
		}
		known.Inventory = inRegions(inv, cfg.Policies.Regions, "in "+c.inventory, errOut)
		known.Inventory = append([]policies.Instance{}, known.Inventory...) // known, though it may be empty
	case c.live:
		if err := c.readLive(ctx, cfg, &known, errOut); err != nil {
			return err
		}
		shown.unread = known.Inventory == nil
	}
	findings := policies.Lint(&cfg.Policies, known)
	if !c.all {
		findings = policies.Condense(findings)
	}
	for _, f := range findings {
		shown.Findings = append(shown.Findings, checkFinding{Finding: f})
	}
	shown.Revision, shown.At, shown.Policies, shown.Regions = cfg.Revision, at.UTC(), len(cfg.Policies.Policies), cfg.Policies.Regions
	if known.Inventory != nil {
		n := len(known.Inventory)
		shown.Instances = &n
	}
	if err := shown.print(out, c); err != nil {
		return err
	}
	if shown.unread || shown.count(policies.SevereFault) > 0 || c.strict && shown.count(policies.SevereWarning) > 0 {
		return errSilent
	}
	return nil
}

// readLive asks the API. The inventory stays nil when a region that there is
// cannot be read: half a fleet would make what is in the other half look missing.
func (c *checkFlags) readLive(ctx context.Context, cfg *configs.Config, known *policies.Known, errOut io.Writer) error {
	api, err := newAPI(cfg)
	if err != nil {
		return err
	}
	all, err := api.Regions(ctx)
	if err != nil {
		return err
	}
	account := &policies.Account{Sizes: make(map[string]policies.Size), Firewalls: make(map[string]bool)}
	for _, r := range all {
		account.Regions = append(account.Regions, strings.ToUpper(r.Code))
	}
	known.Account = account
	var there []string
	for _, region := range cfg.Policies.Regions {
		if contains(account.Regions, region) {
			there = append(there, region)
		}
	}
	wait := newProgress(errOut, "reading the account")
	defer wait.end()
	for _, region := range there {
		wait.say("reading what %s offers", region)
		if err := readCatalogue(ctx, api, region, account); err != nil {
			return err
		}
	}
	wait.say("reading the instances of %s", strings.Join(there, ", "))
	inv, faults := worker.ReadInventory(ctx, api, there)
	wait.end()
	for _, region := range there {
		if err := faults[region]; err != nil {
			fmt.Fprintf(errOut, "nightshift: error: region %s cannot be read, so nothing is said about instances: %v\n", region, err)
		}
	}
	if len(faults) == 0 {
		known.Inventory = append([]policies.Instance{}, inv...)
	}
	return nil
}

// readCatalogue adds what can be used in one region.
func readCatalogue(ctx context.Context, api *civo.Client, region string, account *policies.Account) error {
	sizes, err := api.Sizes(ctx, region)
	if err != nil {
		return err
	}
	for _, s := range sizes {
		account.Sizes[s.Name] = policies.Size{CPUCores: s.CPUCores, RAMMB: s.RAMMB, DiskGB: s.DiskGB}
	}
	firewalls, err := api.Firewalls(ctx, region)
	if err != nil {
		return err
	}
	for _, f := range firewalls {
		account.Firewalls[f.ID] = true
	}
	return nil
}

func (o *checkOutput) count(s policies.Severity) (n int) {
	for _, f := range o.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Lines of one rule and severity, and items of one finding, that are shown
// without --all.
const (
	mostOfRule = 10
	mostItems  = 12
)

func (o *checkOutput) print(w io.Writer, c *checkFlags) error {
	if c.output == "json" {
		return printJSON(w, o)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	lines := make(map[string]int)
	for i, f := range o.Findings {
		key := string(f.Severity) + " " + f.Rule
		if lines[key]++; lines[key] > mostOfRule && !c.all {
			if last := i+1 == len(o.Findings) || key != string(o.Findings[i+1].Severity)+" "+o.Findings[i+1].Rule; last {
				fmt.Fprintf(tw, "%s\t%s\t\tand %d others, which --all shows\n", f.Severity, f.Rule, lines[key]-mostOfRule)
			}
			continue
		}
		f.print(tw, c.all)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if len(o.Findings) > 0 {
		fmt.Fprintln(w)
	}
	var words []string
	if o.count(policies.SevereFault)+o.count(policies.SevereWarning) == 0 {
		words = append(words, "good")
	}
	for _, s := range []policies.Severity{policies.SevereFault, policies.SevereWarning, policies.SevereNote} {
		if n := o.count(s); n > 0 {
			words = append(words, count(n, string(s)))
		}
	}
	over := ""
	if o.Instances != nil {
		over = " over " + count(*o.Instances, "instance")
	}
	policyCount := count(o.Policies, "policy")
	if o.Policies != 1 {
		policyCount = fmt.Sprintf("%d policies", o.Policies)
	}
	_, err := fmt.Fprintf(w, "%s: %s, %s for %s%s (revision %s)\n", o.File, strings.Join(words, ", "), policyCount, strings.Join(o.Regions, ", "), over, o.Revision)
	return err
}

// print prints a finding as one line, its hint and its items below.
func (f *checkFinding) print(w io.Writer, all bool) {
	msg := f.Msg
	switch {
	case f.Instance != "" && f.More > 0:
		msg += fmt.Sprintf(" (%s and %d more)", f.Instance, f.More)
	case f.Instance != "":
		msg += " (" + f.Instance + ")"
	case f.More > 0:
		msg += fmt.Sprintf(" (and %d more like it)", f.More)
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Severity, f.Rule, cmp.Or(f.Policy, "-"), msg)
	if f.Hint != "" {
		fmt.Fprintf(w, "\t\t\t  %s\n", f.Hint)
	}
	for i, item := range f.Items {
		if i == mostItems && len(f.Items) > mostItems+1 && !all {
			fmt.Fprintf(w, "\t\t\t  and %d more, which --all shows\n", len(f.Items)-mostItems)
			break
		}
		fmt.Fprintf(w, "\t\t\t  %s\n", item)
	}
}

func contains(list []string, word string) bool {
	for _, x := range list {
		if strings.EqualFold(x, word) {
			return true
		}
	}
	return false
}
