package main

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

func TestHelpTeaches(t *testing.T) {
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || !unicode.IsUpper([]rune(cmd.Short)[0]) {
			t.Errorf("%s: the short help %q is no sentence without its full stop", cmd.CommandPath(), cmd.Short)
		}
		if name := cmd.Name(); cmd.HasParent() && !strings.HasPrefix(cmd.Long, name+" ") {
			t.Errorf("%s: the long help does not begin with %q", cmd.CommandPath(), name)
		}
		if !strings.Contains(cmd.Long, "Exit code") {
			t.Errorf("%s: the long help names no exit codes", cmd.CommandPath())
		}
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: no example calls it: %q", cmd.CommandPath(), cmd.Example)
		}
		for _, c := range cmd.Commands() {
			look(c)
		}
	}
	look(newRootCommand())
}

func TestHelpFitsATerminal(t *testing.T) {
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		var out strings.Builder
		cmd.SetOut(&out)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if strings.Contains(cmd.Example, strings.TrimRight(line, "\n")) {
				continue // a command to be copied whole
			}
			if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > helpWidth {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), utf8.RuneCountInString(line), line)
			}
		}
		for _, c := range cmd.Commands() {
			look(c)
		}
	}
	look(newRootCommand())
}
