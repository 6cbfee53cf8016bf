package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/worker"
)

func env(name string) string { return os.Getenv(name) }

func newStatusCommand() *cobra.Command {
	var n natsFlags
	var ready bool
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Ask the daemon how it is doing",
		Long: `status asks the daemon, and every replica of it, for its state: regions and when
they were read, actions under way, pauses, and the next edges.

With --ready it is a health check: nothing but a line, exit code 0 when the
daemon is ready and 1 when it is not or does not answer. A token that Civo refuses
and a region that it does not know are named there; a restart would mend neither,
so that daemon counts as ready.

Exit codes: 0; 1 no daemon answers, or with --ready it is not ready; 64 wrong usage.`,
		Example: "  nightshift status\n  nightshift status --ready",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
			defer cancel()
			var replicas []worker.Status
			err := n.with(ctx, func(ctx context.Context, bus *events.Bus) (err error) {
				replicas, err = events.AskAll[worker.Status](ctx, bus, "status")
				return err
			})
			if err != nil {
				return err
			}
			slices.SortFunc(replicas, func(a, b worker.Status) int { return strings.Compare(a.Name, b.Name) })
			if ready {
				return printReady(cmd.OutOrStdout(), replicas)
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), replicas)
			}
			printDifferent(cmd.OutOrStdout(), replicas)
			for i, s := range replicas {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if len(replicas) > 1 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: ", s.Name)
				}
				printStatus(cmd.OutOrStdout(), s)
			}
			return nil
		},
	}
	n.add(cmd)
	cmd.Flags().BoolVar(&ready, "ready", false, "only say whether the daemon is ready, by exit code, too")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// printDifferent says which replicas have another policy file, or another version.
func printDifferent(w io.Writer, replicas []worker.Status) {
	for _, about := range []struct {
		what string
		of   func(worker.Status) string
	}{
		{"POLICY FILES", func(s worker.Status) string { return "revision " + s.Revision }},
		{"VERSIONS", func(s worker.Status) string { return "version " + s.Version }},
	} {
		by := make(map[string][]string)
		for _, s := range replicas {
			by[about.of(s)] = append(by[about.of(s)], s.Name)
		}
		if len(by) < 2 {
			continue
		}
		fmt.Fprintf(w, "THE REPLICAS HAVE DIFFERENT %s:\n", about.what)
		for _, of := range slices.Sorted(maps.Keys(by)) {
			fmt.Fprintf(w, "  %s: %s\n", of, strings.Join(by[of], ", "))
		}
	}
}

// printReady is good when every replica that answers is ready.
func printReady(w io.Writer, replicas []worker.Status) error {
	for _, s := range replicas {
		if !s.Ready {
			return fmt.Errorf("%s is not ready: %s", s.Name, strings.Join(s.NotReady, "; "))
		}
	}
	_, err := fmt.Fprintln(w, strings.Join(append([]string{"ready"}, butWords(replicas)...), ", but "))
	return err
}

// butWords are why a daemon that is ready cannot do all that it should: what a
// restart would not mend, so that it counts as ready.
func butWords(replicas []worker.Status) (words []string) {
	for _, s := range replicas {
		if s.TokenRefused {
			words = append(words, "Civo refuses the token: every action is put off")
		}
		for _, r := range s.Regions {
			if r.Unknown {
				words = append(words, "region "+r.Region+" is unknown to Civo")
			}
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

func printStatus(w io.Writer, s worker.Status) {
	state := "ready"
	if !s.Ready {
		state = "NOT READY: " + strings.Join(s.NotReady, "; ")
	}
	fmt.Fprintf(w, "nightshift %s, %s, mode %s, %s, revision %s\n", s.Version, state, s.Mode, countPolicies(s.Policies), s.Revision)
	if s.TokenRefused {
		fmt.Fprintln(w, "CIVO REFUSES THE TOKEN: every action is put off until it is accepted again")
	}
	if len(s.OtherAccount) > 0 {
		fmt.Fprintf(w, "THE TOKEN IS OF ANOTHER ACCOUNT (%s; the store belongs to %s): every action is put off until it is the right one again, or nightshift account accept\n", strings.Join(s.OtherAccount, ", "), strings.Join(s.Account, ", "))
	}
	if s.NoInstance {
		fmt.Fprintf(w, "THE TOKEN LISTS NO INSTANCE ANY MORE (the store belongs to %s): every action is put off until it lists one, or nightshift account accept\n", strings.Join(s.Account, ", "))
	}
	for _, fault := range s.StoreFaults {
		fmt.Fprintf(w, "THE STORE IS DAMAGED: %s; docs/recovery.md says what to do\n", fault)
	}
	if s.PolicyFault != "" {
		fmt.Fprintf(w, "THE POLICY FILE HAS CHANGED AND CANNOT BE USED, revision %s stays in force:\n%s\n", s.Revision, s.PolicyFault)
	}
	zone := zoneOf(s.Timezone)
	fmt.Fprintf(w, "up since %s; plan time %s; %s under way\n", s.Since.In(zone).Format("2006-01-02 15:04 MST"), s.Now.In(zone).Format("2006-01-02 15:04 MST"), count(s.Open, "action"))
	printPauses(w, s, zone)
	for _, r := range s.Regions {
		switch {
		case r.Unknown:
			fmt.Fprintf(w, "  %s  UNKNOWN TO CIVO: its instances cannot be looked after\n", r.Region)
		case r.Error != "":
			fmt.Fprintf(w, "  %s  not read: %s\n", r.Region, r.Error)
		case r.ReadAt.IsZero():
			fmt.Fprintf(w, "  %s  not read yet: nothing has asked for it\n", r.Region)
		default:
			fmt.Fprintf(w, "  %s  %s, read %s\n", r.Region, count(r.Instances, "instance"), r.ReadAt.In(zone).Format("15:04:05 MST"))
		}
	}
	for _, e := range s.Next {
		fmt.Fprintf(w, "next  %s  %s\n", localTime(e.Planned, zone), nextWords(e))
	}
}

// nextWords are an edge in words: "dev-hours stopped", "end of a keep".
func nextWords(e worker.UpcomingEdge) string {
	return strings.ReplaceAll(edgeWords(e.Policy, e.Want), "\t", " ")
}

// edgeWords are whose edge it is and what is wanted from then on, in two columns; of
// an exception its end alone, which names it.
func edgeWords(source, want string) string {
	if sourceName(source) != source && (strings.HasPrefix(want, "end of ") || strings.HasPrefix(want, "begin of ")) {
		return want
	}
	return sourceName(source) + "\t" + want
}
