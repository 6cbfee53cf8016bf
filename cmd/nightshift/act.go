package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

// actFlags are those of every command that acts on one instance.
type actFlags struct {
	nats                   natsFlags
	region, reason, apiURL string
	tags                   []string // of many instances, in place of a name
	wait, dryRun, direct   bool
	timeout, giveUp        time.Duration
	notBefore              string
	zone                   *time.Location // of the policy file, where notBefore was read
}

const actHelp = `

NAME is an id, or a host name that exactly one instance has; with --select the
command is for all instances that have certain tags, and the answer is the plan,
held until it is approved when it is larger than limits.per_run or limits.share.
The command goes through the daemon, with its rails and audit trail; --wait
prints what happens and ends with the outcome. --direct asks the Civo API itself,
when there is no daemon: protect, allow, limits, floors and the audit trail are
bypassed then.

Exit codes: 0 accepted, or with --wait done, planned, or skipped because it is so
already; 1 any other outcome, none or several instances of that name; 64 wrong usage.`

func newActCommands() []*cobra.Command {
	one := func(verb policies.Verb, use, short, long, example string, args int, flags func(*cobra.Command), fill func(*events.Command, []string) error) *cobra.Command {
		var f actFlags
		cmd := &cobra.Command{Use: use, Short: short, Long: long + actHelp, Example: example, Args: func(cmd *cobra.Command, given []string) error {
			if len(f.tags) > 0 && len(given) == args {
				return usagef("--select chooses the instances: leave %q out", given[args-1])
			} else if len(f.tags) > 0 {
				return cobra.ExactArgs(args-1)(cmd, given)
			}
			return cobra.ExactArgs(args)(cmd, given)
		}}
		cmd.ValidArgsFunction = f.nats.completeInstance(args - 1)
		f.nats.add(cmd)
		cmd.Flags().StringVar(&f.region, "region", "", "region of the instance, where its name alone is ambiguous")
		cmd.Flags().StringSliceVar(&f.tags, "select", nil, "in place of NAME: all instances with these tags, separated by commas; globs are allowed")
		cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the audit trail")
		cmd.Flags().BoolVar(&f.wait, "wait", false, "wait for the outcome")
		cmd.Flags().DurationVar(&f.timeout, "timeout", 15*time.Minute, "how long to wait")
		cmd.Flags().DurationVar(&f.giveUp, "give-up-after", 0, "do not begin later than this, counted from when it is due (default 15m)")
		cmd.Flags().StringVar(&f.notBefore, "not-before", "", `do not begin sooner: 22:00 (the next one), "2026-12-01 08:00" in the zone of the policy file, or RFC 3339`)
		cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "let the daemon decide and report, but not act")
		cmd.Flags().BoolVar(&f.direct, "direct", false, "ask the Civo API itself; only when no daemon runs")
		cmd.Flags().StringVar(&f.apiURL, "api-url", "", "address of the API for --direct (default CIVO_API_URL, else https://api.civo.com)")
		if flags != nil {
			flags(cmd)
		}
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			c := events.Command{Action: string(verb), Who: f.nats.name(), Claim: userName(), Reason: f.reason, DryRun: f.dryRun}
			if f.giveUp > 0 {
				c.GiveUpAfter = f.giveUp.String()
			}
			if fill != nil {
				if err := fill(&c, args); err != nil {
					return err
				}
			}
			if f.direct && f.notBefore != "" {
				return usagef("--not-before is kept by the daemon: leave --direct out")
			}
			if len(f.tags) > 0 {
				if f.direct || f.wait {
					return usagef("--select goes through the daemon, as a run: see nightshift runs")
				}
				return f.actOnMany(cmd, c)
			}
			name := args[len(args)-1]
			if f.direct {
				return f.actDirectly(cmd, c, name)
			}
			return f.act(cmd, c, name)
		}
		return cmd
	}
	var hard bool
	var add, remove []string
	return []*cobra.Command{
		one(policies.Stop, "stop NAME", "Stop an instance", "stop shuts an instance down. Civo bills it as before: only delete ends charges.",
			"  nightshift stop dev-1 --wait\n  nightshift stop 4a07ac84-70f8-41e5-8fe9-5cf9389be614 --reason 'maintenance'", 1, nil, nil),
		one(policies.Start, "start NAME", "Start an instance", "start starts a stopped instance.", "  nightshift start dev-1 --wait", 1, nil, nil),
		one(policies.Reboot, "reboot NAME", "Reboot an instance", "reboot asks an instance's system to restart; --hard is the power switch. It is never sent twice.",
			"  nightshift reboot web-1 --wait\n  nightshift reboot web-1 --hard", 1,
			func(cmd *cobra.Command) { cmd.Flags().BoolVar(&hard, "hard", false, "as by the power switch") },
			func(c *events.Command, _ []string) error { c.Hard = hard; return nil }),
		one(policies.Resize, "resize SIZE NAME", "Resize an instance, upwards", "resize gives an instance a larger size. Civo cannot make it smaller again.",
			"  nightshift resize g3.medium api-1 --wait", 2, nil, func(c *events.Command, args []string) error {
				c.Size = args[0]
				return inOrder("resize", "SIZE", sizeName, args)
			}),
		one(policies.Retag, "retag NAME", "Add and remove tags of an instance", "retag changes the tags of an instance and keeps the others.",
			"  nightshift retag dev-1 --add keep-on --remove env=dev --wait", 1,
			func(cmd *cobra.Command) {
				cmd.Flags().StringSliceVar(&add, "add", nil, "tags to add, separated by commas")
				cmd.Flags().StringSliceVar(&remove, "remove", nil, "tags to remove, separated by commas")
			},
			func(c *events.Command, _ []string) error {
				if len(add)+len(remove) == 0 {
					return usagef("retag needs --add or --remove")
				}
				c.Add, c.Remove = add, remove
				return nil
			}),
		one(policies.Firewall, "firewall ID NAME", "Set the firewall of an instance", "firewall puts an instance behind another firewall of its network, by the firewall's id.",
			"  nightshift firewall 4c2e51ee-0a5c-4d0b-9c58-0c2f2f3c9a10 web-1 --wait", 2, nil,
			func(c *events.Command, args []string) error {
				if strings.TrimSpace(args[0]) == "" {
					return usagef("a blank firewall would open the default one")
				}
				c.Firewall = args[0]
				return inOrder("firewall", "ID", idForm, args)
			}),
	}
}

// What a size and an id look like.
var (
	sizeName = regexp.MustCompile(`^(an\.)?g[0-9]+[a-z]?\.[a-z0-9.]+$`)
	idForm   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// inOrder notices that what comes first was given last.
func inOrder(verb, first string, form *regexp.Regexp, args []string) error {
	if len(args) == 2 && form.MatchString(args[1]) && !form.MatchString(args[0]) {
		return usagef("%s takes the %s first, then the NAME: nightshift %[1]s %[3]s %[4]s", verb, first, args[1], args[0])
	}
	return nil
}

// act sends a command through the daemon.
func (f *actFlags) act(cmd *cobra.Command, c events.Command, name string) (err error) {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	bus, err := f.nats.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close(context.WithoutCancel(ctx))) }()
	inst, err := find(ctx, bus, name, f.region)
	if err != nil {
		return err
	}
	if err := f.readDue(ctx, cmd, bus, &c); err != nil {
		return err
	}
	c.Region, c.Instance, c.ID = strings.ToLower(inst.Region), inst.ID, newID()
	trigger := events.CommandTrigger(c.Who, c.ID)
	actionID := policies.ActionID(trigger, 0, c.Instance, policies.KindOf(policies.Verb(c.Action)))
	var answer worker.DoAnswer
	ask := func() error {
		if err := bus.Ask(ctx, strings.Join([]string{"do", c.Who, c.Region, c.Instance, c.Action}, "."), c, &answer); err != nil {
			return fmt.Errorf("%s %s: %w", c.Action, inst.Hostname, err)
		}
		return nil
	}
	if f.wait {
		return follow(ctx, bus, out, cmd.ErrOrStderr(), c, actionID, f.timeout, ask)
	}
	if err := ask(); err != nil {
		return err
	}
	note := ""
	if answer.Note != "" {
		note = " (" + answer.Note + ")"
	}
	_, err = fmt.Fprintf(out, "accepted: %s %s (%s in %s), action %s%s%s; follow it with: nightshift watch --instance %s\n", c.Action, inst.Hostname, inst.ID, inst.Region, answer.ActionID, f.dueWords(c), note, inst.ID)
	return err
}

// actOnMany sends a command for all that a selector chooses, as one run.
func (f *actFlags) actOnMany(cmd *cobra.Command, c events.Command) error {
	region := events.None // all that the daemon has
	if f.region != "" {
		region = strings.ToLower(f.region)
	}
	req := worker.RunRequest{
		Select: worker.SelectForm{All: f.tags}, Reason: c.Reason, Size: c.Size, Add: c.Add, Remove: c.Remove, Firewall: c.Firewall,
		Hard: c.Hard, GiveUpAfter: c.GiveUpAfter, DryRun: c.DryRun, Who: userName(),
	}
	var answer worker.RunAnswer
	if err := f.nats.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) error {
		if err := f.readDue(ctx, cmd, bus, &c); err != nil {
			return err
		}
		req.NotBefore = c.NotBefore
		return bus.Ask(ctx, strings.Join([]string{"run", c.Who, region, c.Action}, "."), req, &answer)
	}); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range answer.Actions {
		line := a.Action + "\t" + a.Hostname + "\t" + a.Region
		if a.Order != "" {
			line += "\t" + a.Order
		}
		fmt.Fprintln(tw, line)
	}
	for _, s := range answer.Skips {
		fmt.Fprintf(tw, "skip\t%s\t%s\t%s\n", s.Hostname, s.Region, reasonDetail(s.Reason, s.Detail))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if more := answer.ActionsInAll + answer.SkipsInAll - len(answer.Actions) - len(answer.Skips); more > 0 {
		fmt.Fprintf(out, "and %d more\n", more)
	}
	for _, r := range answer.Unread {
		fmt.Fprintf(cmd.ErrOrStderr(), "nightshift: not in the run: region %s\n", r)
	}
	if answer.Held != "" {
		_, err := fmt.Fprintf(out, "Run %s is held: %s. Let it go on with: nightshift approve %s\n", answer.Trigger, answer.Held, answer.Trigger)
		return err
	}
	_, err := fmt.Fprintf(out, "Run %s goes on with %s%s; see nightshift runs show %s\n", answer.Trigger, count(answer.ActionsInAll, "action"), f.dueWords(c), answer.Trigger)
	return err
}

// userName is who asks, as the machine calls them; only a claim.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// find resolves a name to exactly one instance, or says which there are.
func find(ctx context.Context, bus *events.Bus, name, region string) (worker.Found, error) {
	var answer worker.FindAnswer
	ctx, cancel := context.WithTimeout(ctx, 35*time.Second)
	defer cancel()
	if err := bus.Ask(ctx, "find", worker.FindRequest{Name: name, Region: region}, &answer); err != nil {
		return worker.Found{}, err
	}
	switch {
	case len(answer.Found) == 1 && (len(answer.Unread) == 0 || answer.Found[0].ID == name):
		return answer.Found[0], nil
	case len(answer.Found) == 0 && len(answer.Unread) > 0:
		return worker.Found{}, fmt.Errorf("no instance %q was found, but not all regions could be read: %s", name, strings.Join(answer.Unread, "; "))
	case len(answer.Found) == 0 && len(answer.Similar) > 0:
		return worker.Found{}, fmt.Errorf("no instance is called %q%s", name, alikeWords(name, answer.Similar))
	case len(answer.Found) == 0:
		return worker.Found{}, fmt.Errorf("no instance is called %q, in none of the daemon's regions", name)
	case len(answer.Found) == 1:
		return worker.Found{}, fmt.Errorf("one instance is called %q, but there may be more: %s; use its id %s", name, strings.Join(answer.Unread, "; "), answer.Found[0].ID)
	}
	return worker.Found{}, ambiguous(name, answer.Found)
}

// alikeWords say which host names are like one that no instance has.
func alikeWords(name string, alike []string) string {
	if len(alike) == 0 {
		return ""
	}
	if near := policies.Nearest(name, alike); near != "" {
		return "; did you mean " + near + "?"
	}
	return "; there are " + strings.Join(alike, ", ")
}

func ambiguous(name string, found []worker.Found) error {
	var lines []string
	for _, i := range found {
		lines = append(lines, fmt.Sprintf("  %s  %s  %s  %s", i.ID, i.Region, i.Hostname, i.Status))
	}
	return fmt.Errorf("%d instances are called %q; use an id:\n%s", len(found), name, strings.Join(lines, "\n"))
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// follow asks for one action and prints its events until its outcome. What is
// refused by a rail is stored, too, and has an outcome that says more.
func follow(ctx context.Context, bus *events.Bus, out, terminal io.Writer, c events.Command, actionID string, timeout time.Duration, ask func() error) error {
	expected, err := bus.Expect(ctx, events.ActionFilter(c.Region, c.Instance, actionID))
	if err != nil {
		return err
	}
	defer expected.Close()
	var no *events.Refusal
	if err := ask(); err != nil && (!errors.As(err, &no) || no.Code != worker.CodeNotDone) {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no outcome within %s; the action goes on, follow it with: nightshift watch --instance %s", timeout, c.Instance))
	defer cancel()
	wait := newProgress(terminal, "waiting for the outcome")
	defer wait.end()
	var end *events.Record
	found := errors.New("found")
	err = expected.Watch(ctx, func(rec events.Record, stored time.Time, _ uint64) error {
		wait.aside(func() { fmt.Fprintf(out, "%s  %s\n", stored.Local().Format("15:04:05"), eventLine(rec)) })
		if rec.Outcome.Ends() {
			end = &rec
			return found
		}
		return nil
	})
	switch {
	case end == nil && err == nil:
		return context.Cause(ctx)
	case end == nil:
		return err
	case end.Outcome == events.Done, end.Outcome == events.Planned, end.Outcome == events.Skipped && end.Reason == string(policies.ReasonAlready):
		return nil
	}
	return errSilent
}

// eventLine is one event for people, without its time.
func eventLine(rec events.Record) string {
	if isAsked(rec) {
		return askedLine(rec)
	}
	if rec.Outcome == events.Noticed && rec.Instance == events.None && rec.Reason != "" && rec.Detail != "" {
		return noticeLine(rec)
	}
	parts := []string{rec.Action}
	if about := firstOf(rec.Hostname, rec.Instance); about != events.None {
		parts = append(parts, about)
	}
	parts = append(parts, string(rec.Outcome))
	if rec.Reason != "" {
		parts = append(parts, "("+rec.Reason+")")
	}
	if rec.Before != "" && rec.After != "" && rec.Before != rec.After {
		parts = append(parts, rec.Before+" -> "+rec.After)
	}
	cause := firstOf(causeName(rec.Policy), publisher(rec.Who, rec.Claim))
	if rec.Outcome == events.Settled {
		cause = publisher(rec.Who, rec.Claim)
	}
	if cause != "" {
		parts = append(parts, "by "+cause)
	}
	line := strings.Join(parts, " ")
	for _, s := range []string{rec.Detail, rec.Error} {
		if s != "" {
			line += "; " + s
		}
	}
	return printable(line)
}

// publisher is who asked, as NATS vouches for it, with the name that they give.
func publisher(who, claim string) string {
	if who == "" || claim == "" || claim == who {
		return who
	}
	return who + " (says " + claim + ")"
}

// printable keeps what others wrote from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != ' ' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// actDirectly asks the API without a daemon.
func (f *actFlags) actDirectly(cmd *cobra.Command, c events.Command, name string) error {
	ctx := cmd.Context()
	if bus, err := f.nats.dial(ctx); err == nil {
		url := bus.URL()
		err := bus.Ask(ctx, "status", struct{}{}, &worker.Status{})
		_ = bus.Close(ctx)
		if err == nil {
			return fmt.Errorf("a daemon answers at %s: leave --direct out, so that it decides", url)
		}
	}
	api, regions, err := apiFromEnvironment(ctx, f.apiURL, f.region)
	if err != nil {
		return err
	}
	inst, err := findDirectly(ctx, api, regions, name)
	if err != nil {
		return err
	}
	if f.dryRun {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "would %s %s (%s in %s)\n", c.Action, inst.Hostname, inst.ID, inst.Region)
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "nightshift: without a daemon: protect, allow, limits, cool-downs and the audit trail are bypassed")
	if err := sendDirectly(ctx, api, c, inst); err != nil {
		return err
	}
	if !f.wait {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "accepted by Civo: %s %s (%s in %s)\n", c.Action, inst.Hostname, inst.ID, inst.Region)
		return err
	}
	return waitDirectly(ctx, cmd.OutOrStdout(), api, c, inst, f.timeout)
}

func sendDirectly(ctx context.Context, api *civo.Client, c events.Command, i policies.Instance) error {
	switch policies.Verb(c.Action) {
	case policies.Stop:
		return api.Stop(ctx, i.Region, i.ID)
	case policies.Start:
		return api.Start(ctx, i.Region, i.ID)
	case policies.Reboot:
		if c.Hard {
			return api.HardReboot(ctx, i.Region, i.ID)
		}
		return api.SoftReboot(ctx, i.Region, i.ID)
	case policies.Resize:
		return api.Resize(ctx, i.Region, i.ID, c.Size)
	case policies.Retag:
		return api.Retag(ctx, i.Region, i.ID, policies.Retagged(i.Tags, c.Add, c.Remove))
	}
	return api.SetFirewall(ctx, i.Region, i.ID, c.Firewall)
}

// rebootUnseen is when a reboot counts as done although only ACTIVE was seen.
const rebootUnseen = 20 * time.Second

// waitDirectly looks ever more rarely until the instance is as asked for.
func waitDirectly(ctx context.Context, out io.Writer, api *civo.Client, c events.Command, i policies.Instance, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last, began := "", time.Now()
	left := false // a reboot: a status other than ACTIVE was seen
	for pace := 200 * time.Millisecond; ; pace = min(2*pace, 2*time.Second) {
		now, err := api.Instance(ctx, i.Region, i.ID)
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("not so after %s: %w", timeout, context.Cause(ctx))
		}
		if err == nil {
			if now.Status != last {
				last = now.Status
				fmt.Fprintf(out, "%s  %s is %s\n", time.Now().Format("15:04:05"), i.Hostname, last)
			}
			left = left || now.Status != policies.StatusActive
			if settledDirectly(c, now, left || time.Since(began) > rebootUnseen) {
				return nil
			}
		}
		if !sleep(ctx, pace) {
			return fmt.Errorf("%s is %s after %s", i.Hostname, last, timeout)
		}
	}
}

func settledDirectly(c events.Command, i civo.Instance, rebooted bool) bool {
	switch policies.Verb(c.Action) {
	case policies.Stop:
		return i.Status == policies.StatusShutoff
	case policies.Start:
		return i.Status == policies.StatusActive
	case policies.Reboot:
		return rebooted && i.Status == policies.StatusActive
	case policies.Resize:
		return i.Size == c.Size && (i.Status == policies.StatusActive || i.Status == policies.StatusShutoff)
	case policies.Firewall:
		return i.FirewallID == c.Firewall
	}
	return true
}

// apiFromEnvironment is a client without a policy file, and the regions to look in.
func apiFromEnvironment(ctx context.Context, url, region string) (*civo.Client, []string, error) {
	tokens, err := civo.DefaultToken(os.Getenv)
	if err != nil {
		return nil, nil, err
	}
	api, err := civo.New("", civo.Options{Tokens: tokens, BaseURL: firstOf(url, env("CIVO_API_URL")), Version: version, Retries: 2})
	if err != nil {
		return nil, nil, err
	}
	if region = firstOf(region, env("CIVO_REGION")); region != "" {
		return api, []string{strings.ToUpper(region)}, nil
	}
	all, err := api.Regions(ctx)
	if err != nil {
		return nil, nil, err
	}
	var codes []string
	for _, r := range all {
		codes = append(codes, strings.ToUpper(r.Code))
	}
	return api, codes, nil
}

// findDirectly resolves a name to exactly one instance by listing.
func findDirectly(ctx context.Context, api *civo.Client, regions []string, name string) (policies.Instance, error) {
	inv, faults := worker.ReadInventory(ctx, api, regions)
	return pickInstance(inv, faults, name, regions)
}

// pickInstance resolves a name to exactly one instance of an inventory.
func pickInstance(inv []policies.Instance, faults map[string]error, name string, regions []string) (policies.Instance, error) {
	in := func(i policies.Instance) bool {
		return slices.ContainsFunc(regions, func(r string) bool { return strings.EqualFold(r, i.Region) })
	}
	var found []worker.Found
	var one policies.Instance
	for _, i := range inv {
		if (i.ID == name || strings.EqualFold(i.Hostname, name)) && in(i) {
			one = i
			found = append(found, worker.Found{ID: i.ID, Hostname: i.Hostname, Region: i.Region, Status: i.Status})
		}
	}
	for region, err := range faults {
		if len(found) != 1 || found[0].ID != name {
			return one, fmt.Errorf("region %s could not be read, so %q may be ambiguous: %w", region, name, err)
		}
	}
	switch len(found) {
	case 0:
		return one, fmt.Errorf("no instance is called %q in %s%s", name, strings.Join(regions, ", "), alikeWords(name, policies.Alike(inv, name, 5)))
	case 1:
		return one, nil
	}
	return one, ambiguous(name, found)
}
