package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is that of the terminals that people have.
const helpWidth = 80

// fitHelp lets the help of a command and of all below it fit a terminal.
func fitHelp(root *cobra.Command) {
	t := strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", helpWidth))
	t = strings.ReplaceAll(t, "{{if .Runnable}}", `{{if and .Runnable (not (index .Annotations "`+onlyGroups+`"))}}`)
	root.SetUsageTemplate(strings.ReplaceAll(t, "for more information about a command", "for more about a command"))
	usage := root.UsageFunc()
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		defer withoutElsewhere(cmd)()
		return usage(cmd)
	})
	var fit func(*cobra.Command)
	fit = func(cmd *cobra.Command) {
		cmd.Long = reflow(cmd.Long)
		for _, c := range cmd.Commands() {
			fit(c)
		}
	}
	fit(root)
}

// toldElsewhere marks flags whose help is that of another command, whose name it has.
const toldElsewhere = "told elsewhere"

// withoutElsewhere hides the flags of a command that are told elsewhere, until they are
// put back: completion offers them, and what is misspelt is compared with them.
func withoutElsewhere(cmd *cobra.Command) (putBack func()) {
	var hidden []*pflag.Flag
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if len(f.Annotations[toldElsewhere]) > 0 && !f.Hidden {
			f.Hidden = true
			hidden = append(hidden, f)
		}
	})
	return func() {
		for _, f := range hidden {
			f.Hidden = false
		}
	}
}

// reflow breaks the lines of prose anew. What is indented stands as it is.
func reflow(text string) string {
	var out []string
	var words []string // of the paragraph
	flush := func() {
		line := ""
		for _, w := range words {
			switch {
			case line == "":
				line = w
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > helpWidth:
				out = append(out, line)
				line = w
			default:
				line += " " + w
			}
		}
		if line != "" {
			out = append(out, line)
		}
		words = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || strings.HasPrefix(line, " ") {
			flush()
			out = append(out, line)
			continue
		}
		words = append(words, strings.Fields(line)...)
	}
	flush()
	return strings.Join(out, "\n")
}
