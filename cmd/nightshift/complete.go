package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nightshift/events"
	"nightshift/worker"
)

// Completion asks the daemon; without one, or when it is slow, nothing is offered.
const completionPatience = 2 * time.Second

type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete asks the daemon for what completes a word.
func (n *natsFlags) complete(cmd *cobra.Command, endpoint string, req, answer any) bool {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	return n.with(ctx, func(ctx context.Context, bus *events.Bus) error { return bus.Ask(ctx, endpoint, req, answer) }) == nil
}

// completeInstance completes the argument at a place with host names.
func (n *natsFlags) completeInstance(place int) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		var answer worker.FindAnswer
		if len(args) == place {
			n.complete(cmd, "find", worker.FindRequest{Name: begun, Complete: true}, &answer)
		}
		return answer.Similar, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeRun completes the first argument with the runs of the last day, by trigger,
// and by name when that is begun.
func (n *natsFlags) completeRun(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	var answer worker.RunsAnswer
	if len(args) == 0 {
		n.complete(cmd, "runs", worker.RunsRequest{Limit: 30}, &answer)
	}
	var words []string
	for _, r := range answer.Runs {
		about := r.State + ", " + countWords(r)
		switch {
		case begun != "" && strings.HasPrefix(r.Name, begun) && !strings.Contains(r.Name, " "):
			words = append(words, cobra.CompletionWithDesc(r.Name, about))
		case strings.HasPrefix(r.Trigger, begun):
			words = append(words, cobra.CompletionWithDesc(r.Trigger, r.Name+": "+about))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
