package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nightshift/policies"
)

// speakPlainly lets wrong usage of a command, and of all below it, be told in our
// words, and lets a command that only has others below it answer to a wrong one.
func speakPlainly(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		speakPlainly(c)
	}
	if !cmd.Runnable() {
		cmd.Annotations = map[string]string{onlyGroups: "yes"}
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	check := cmd.Args
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		err := check(cmd, given)
		var ours usageError
		if err == nil || errors.As(err, &ours) {
			return err
		}
		return usageError{errors.New(argumentWords(cmd, given)), true}
	}
}

// onlyGroups marks commands that do nothing by themselves.
const onlyGroups = "only groups"

// placeholder is a word of a usage line for which another is given: NAME, [FILE], or
// one of several.
var placeholder = regexp.MustCompile(`^\[?([A-Z]+(\[=[A-Z]+\])?|[a-z0-9-]+(\|[a-z0-9-]+)+)(\.\.\.)?\]?$`)

// argumentsOf are what a command is given, as its usage line calls it.
func argumentsOf(cmd *cobra.Command) (needed, optional []string) {
	words := strings.Fields(cmd.Use)
	for n, word := range words {
		switch {
		case !placeholder.MatchString(word), n > 0 && strings.HasPrefix(words[n-1], "--"):
		case strings.HasPrefix(word, "["):
			optional = append(optional, strings.Trim(word, "[]."))
		default:
			needed = append(needed, strings.TrimSuffix(word, "..."))
		}
	}
	return needed, optional
}

// argumentWords say what is wrong with the arguments of a command.
func argumentWords(cmd *cobra.Command, given []string) string {
	needed, optional := argumentsOf(cmd)
	name := cmd.Name()
	switch {
	case len(given) > 0 && cmd.HasAvailableSubCommands() && len(needed)+len(optional) == 0:
		return unknownCommand(cmd, given[0])
	case len(given) > 0 && len(cmd.ValidArgs) > 0 && !slices.Contains(cmd.ValidArgs, given[0]):
		return fmt.Sprintf("%s knows no %q; there are %s%s", name, given[0], strings.Join(cmd.ValidArgs, ", "), didYouMean(given[0], cmd.ValidArgs, ""))
	case len(given) == 0:
		return name + " needs " + andWords(needed)
	case len(given) < len(needed):
		return fmt.Sprintf("%s needs %s, and was given only %s", name, andWords(needed), quoted(given))
	case len(needed)+len(optional) == 0:
		return fmt.Sprintf("%s takes no argument, and was given %s", name, quoted(given))
	}
	return fmt.Sprintf("%s takes %s and no more, and was given %s", name, andWords(append(needed, optional...)), quoted(given))
}

func unknownCommand(cmd *cobra.Command, word string) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Sprintf("%s has no command %q%s", cmd.CommandPath(), word, didYouMean(word, names, ""))
}

// didYouMean offers what is spelt nearly like it.
func didYouMean(word string, words []string, before string) string {
	near := policies.Nearest(word, words)
	if near == "" {
		for _, w := range words { // what was begun
			if len(word) > 2 && strings.HasPrefix(w, word) {
				near = w
			}
		}
	}
	if near == "" {
		return ""
	}
	return "; did you mean " + before + near + "?"
}

func andWords(words []string) string { return joinLast(words, " and ") }

func joinLast(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + last + words[len(words)-1]
}

func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(out, " ")
}

// flagFault says what is wrong with a flag.
func flagFault(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var lacks *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if in := unknown.GetSpecifiedShortnames(); in != "" {
			return usageError{fmt.Errorf("%s has no flag -%s", cmd.CommandPath(), name), true}
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		return usageError{fmt.Errorf("%s has no flag --%s%s", cmd.CommandPath(), name, didYouMean(name, names, "--")), true}
	case errors.As(err, &lacks):
		kind, about := pflag.UnquoteUsage(lacks.GetFlag())
		return usageError{fmt.Errorf("--%s lacks its %s: %s", lacks.GetFlag().Name, firstOf(kind, "value"), about), true}
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return usageError{fmt.Errorf("--%s %q is %s", f.Name, invalid.GetValue(), noneOfItsKind(f.Value.Type())), true}
	}
	return usageError{err, true}
}

func noneOfItsKind(kind string) string {
	switch kind {
	case "duration":
		return "no duration: write it as 30s, 15m or 2h"
	case "int":
		return "no whole number"
	case "uint", "uint64":
		return "no whole number from 0 on"
	case "float64":
		return "no number"
	case "bool":
		return "neither true nor false"
	}
	return "no " + kind
}

// What cobra says about flags that belong together, which has no type.
var (
	oneOfGroup  = regexp.MustCompile(`^at least one of the flags in the group \[(.*)\] is required$`)
	onlyOneOf   = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.*)\] were all set$`)
	missingFlag = regexp.MustCompile(`^required flag\(s\) (.*) not set$`)
)

// asUsage tells cobra's own complaints about flags in our words.
func asUsage(err error) error {
	dashed := func(names string) []string {
		var out []string
		for _, n := range strings.FieldsFunc(names, func(r rune) bool { return r == ' ' || r == ',' || r == '"' }) {
			out = append(out, "--"+n)
		}
		return out
	}
	if err == nil {
		return nil
	}
	text := err.Error()
	if m := oneOfGroup.FindStringSubmatch(text); m != nil {
		return usageError{errors.New("name one of " + joinLast(dashed(m[1]), " and ")), true}
	}
	if m := onlyOneOf.FindStringSubmatch(text); m != nil {
		return usageError{errors.New(andWords(dashed(m[1])) + " do not go together: give one of them"), true}
	}
	if m := missingFlag.FindStringSubmatch(text); m != nil {
		return usageError{errors.New("this needs " + andWords(dashed(m[1]))), true}
	}
	return err
}

// usageHint says how a command is called, with an example, and where more stands.
func usageHint(cmd *cobra.Command) string {
	if cmd.Annotations[onlyGroups] != "" {
		return cmd.CommandPath() + " --help names the commands that there are"
	}
	hint := strings.TrimSuffix(cmd.UseLine(), " [flags]")
	for line := range strings.SplitSeq(cmd.Example, "\n") {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "   ") // without a comment
		if strings.HasPrefix(line, cmd.CommandPath()) && line != hint {
			hint += ", such as: " + line
			break
		}
	}
	return hint + "; see " + cmd.CommandPath() + " --help"
}
