package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nightshift/cmd/nightshift/chaos"
	"nightshift/events"
)

// chaosLine is how often it is told how a chaos goes where a line cannot be updated.
const chaosLine = 5 * time.Second

// chaosShown bounds the breaches that are told; all are kept in a file.
const chaosShown = 12

func newChaosCommand() *cobra.Command {
	o := chaos.Options{}
	var errorShare, lostShare float64
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Let everything go wrong, and see whether the promise holds",
		Long: `chaos runs the daemon against the simulator of the Civo API, each as a process of
its own, and lets go wrong what can: the daemon is killed and frozen at any
moment, NATS is taken away, the API answers 429 and 5xx, slowly, not at all, with
what was true before, or says yes and does nothing; people and alerts ask for
things, and change instances by hand; the policy file is edited, also badly. Plan
time runs fast, a day in a minute. Nothing is sent anywhere else.

Then all is well again, and when nothing is under way any more it reads what was
stored and what the simulator was asked to do: whether each action has one
outcome, each planned time its plan, whether nothing was lost, done twice, or done
against a rail, and whether the fleet is as the policies want it.

With --config it does so with your policies: a fleet is invented from the tags
that they name, nobody is notified, and the file is copied before it is edited.
Ctrl-C ends the storm early; what was until then is judged.

Exit codes: 0 when the promise held, 1 when it was broken; then each breach is
told, where everything is kept, and the command that does it again.`,
		Example: `  nightshift chaos --for 10m
  nightshift chaos --for 1h --seed 7 --config nightshift.yaml
  nightshift chaos --for 10m --replicas 3 --errors 0.3 --lost 0.1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.For < time.Second {
				return usagef("--for %s is too short: give it a second at least", o.For)
			}
			if errorShare < 0 || lostShare < 0 || errorShare+lostShare > 0.9 {
				return usagef("--errors and --lost are shares such as 0.1, 0.9 at most together")
			}
			if o.Replicas < 1 || o.Replicas > 9 {
				return usagef("--replicas %d is not from 1 to 9", o.Replicas)
			}
			if o.Seed == 0 {
				o.Seed = uint64(time.Now().UnixNano()) % 1_000_000
			}
			o.Errors, o.Lost = errorShare, lostShare
			told := &chaosProgress{w: cmd.OutOrStdout(), line: isTerminal(cmd.OutOrStdout())}
			o.Progress = told.tell
			fmt.Fprintf(cmd.OutOrStdout(), "chaos for %s, seed %d: %s\n", o.For, o.Seed, told.parts(o))
			v, err := chaos.Run(cmd.Context(), o)
			told.clear()
			if err != nil {
				return err
			}
			return concludeChaos(cmd.OutOrStdout(), o, v)
		},
	}
	cmd.Flags().DurationVar(&o.For, "for", time.Minute, "how long things go wrong; to calm down takes a little longer")
	cmd.Flags().Uint64Var(&o.Seed, "seed", 0, "of what happens (default: another one each time)")
	cmd.Flags().StringVar(&o.Config, "config", "", "your policy file (default: one that is made for this)")
	cmd.Flags().IntVar(&o.Replicas, "replicas", 1, "daemons; more than one share a NATS of their own, which is killed, too")
	cmd.Flags().Float64Var(&errorShare, "errors", 0.1, "share of the API's answers that are errors, or never come")
	cmd.Flags().Float64Var(&lostShare, "lost", 0.05, "share of requests that are carried out and their answer is lost")
	cmd.AddCommand(newLeashedCommand(), newBusCommand())
	return cmd
}

// newLeashedCommand runs another command as a process of a chaos: it ends with its
// parent, and leaves Ctrl-C to it.
func newLeashedCommand() *cobra.Command {
	return &cobra.Command{
		Use: chaos.Leashed, Hidden: true, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			signal.Ignore(os.Interrupt)
			go func() { // until the process ends
				_, _ = io.Copy(io.Discard, cmd.InOrStdin())
				os.Exit(exitFailed)
			}()
			root := newRootCommand()
			root.SetArgs(args)
			return root.ExecuteContext(cmd.Context())
		},
	}
}

// newBusCommand is a NATS in a process of its own.
func newBusCommand() *cobra.Command {
	var dir, listen string
	cmd := &cobra.Command{
		Use: chaos.BusCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			bus, err := events.Open(cmd.Context(), events.Options{DataDir: dir, Listen: listen, Log: newLogger(cmd.ErrOrStderr(), "json", false)})
			if err != nil {
				return err
			}
			<-cmd.Context().Done()
			return bus.Close(context.WithoutCancel(cmd.Context()))
		},
	}
	cmd.Flags().StringVar(&dir, "data-dir", "", "")
	cmd.Flags().StringVar(&listen, "nats-listen", "", "")
	return cmd
}

// chaosProgress tells how it goes: in one line on a terminal, else in one now and then.
type chaosProgress struct {
	w     io.Writer
	line  bool
	told  time.Duration
	width int
}

func (p *chaosProgress) parts(o chaos.Options) string {
	if o.Replicas > 1 {
		return fmt.Sprintf("%d replicas, their NATS, the simulator", o.Replicas)
	}
	return "a daemon with its NATS, the simulator"
}

func (p *chaosProgress) tell(g chaos.Progress) {
	ended := 0
	for _, n := range g.Outcomes {
		ended += n
	}
	text := fmt.Sprintf("%4s %-7s it is %s, kills %d, actions %d and %d under way, requests %d, struck %d",
		g.Elapsed.Truncate(time.Second), g.Phase, g.Plan.Format("Mon 15:04"), g.Kills+g.BusKills, ended, g.Under, g.Requests, g.Faults)
	switch {
	case p.line:
		p.clear()
		fmt.Fprint(p.w, "\r"+text)
		p.width = len(text)
	case g.Elapsed-p.told >= chaosLine:
		p.told = g.Elapsed
		fmt.Fprintln(p.w, text)
	}
}

func (p *chaosProgress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.w, "\r"+strings.Repeat(" ", p.width)+"\r")
		p.width = 0
	}
}

// concludeChaos tells what became of the promise; the last line is the summary.
func concludeChaos(w io.Writer, o chaos.Options, v *chaos.Verdict) error {
	for _, name := range v.Unmatched {
		fmt.Fprintf(w, "policy %s was not tried: no tags can be read off its selector\n", name)
	}
	for n, b := range v.Breaches {
		if n == chaosShown {
			fmt.Fprintf(w, "and %d more, in breaches.txt\n", len(v.Breaches)-n)
			break
		}
		fmt.Fprintf(w, "BROKEN: %s\n", b)
	}
	t := v.Tally
	sum := strings.Join([]string{
		many(t.Kills+t.BusKills, "kill"), many(t.Requests, "request") + ", " + grouped(t.Faults) + " of them struck",
		fmt.Sprintf("%.1f days of plan time", v.Days), many(v.Edges, "edge"), many(t.Commands, "command"), many(t.Signals, "signal"), many(t.Hands, "change") + " by hand", many(t.Approvals, "approval"),
		many(v.Actions, "action") + " (" + outcomeCounts(t.Outcomes) + ")", grouped(v.Doubled) + " doubled", grouped(v.Lost) + " lost",
		"ready again in " + v.Ready.Round(10*time.Millisecond).String(), fmt.Sprintf("seed %d", v.Seed),
	}, ", ")
	if len(v.Breaches) == 0 {
		fmt.Fprintln(w, "promise held: "+sum)
		return nil
	}
	fmt.Fprintf(w, "breaches, events, plans, requests, logs and the store are in %s\nagain: %s\n", v.Dir, chaosAgain(o))
	fmt.Fprintf(w, "promise broken %s: %s\n", times(len(v.Breaches)), sum)
	return errSilent
}

// outcomeCounts says how many actions ended how.
func outcomeCounts(counts map[events.Outcome]int) string {
	var words []string
	for _, o := range events.Outcomes() {
		if o.Ends() && counts[o] > 0 {
			words = append(words, grouped(counts[o])+" "+string(o))
		}
	}
	return strings.Join(words, ", ")
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return grouped(n) + " times"
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}

// grouped is a number as people read it: 12,345.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// chaosAgain is the command that does the same.
func chaosAgain(o chaos.Options) string {
	again := fmt.Sprintf("nightshift chaos --for %s --seed %d", o.For, o.Seed)
	if o.Config != "" {
		again += " --config " + o.Config
	}
	if o.Replicas > 1 {
		again += fmt.Sprintf(" --replicas %d", o.Replicas)
	}
	return again + fmt.Sprintf(" --errors %g --lost %g", o.Errors, o.Lost)
}
