// Command nightshift keeps Civo instances in the state that their policies ask
// for. Each file here is one command: flags and output only.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"nightshift/civo"
	"nightshift/cmd/nightshift/chaos"
	"nightshift/configs"
	"nightshift/events"
)

// version is set when a release is built (-ldflags "-X main.version=1.2.3").
var version = "dev"

// buildTime is when a release was built, RFC 3339 (-X main.buildTime=...): no clock is right
// that says an earlier time.
var buildTime = ""

// Exit codes, documented in the help of the root command.
const (
	exitGood      = 0
	exitFailed    = 1
	exitSomething = 2 // plan --detailed-exitcode: something would be done
	exitUsage     = 64
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	cmd, err := newRootCommand().ExecuteContextC(ctx)
	return report(cmd.ErrOrStderr(), cmd, err)
}

// errSilent ends a command that has said everything already.
var errSilent = errors.New("failed")

// exitError ends a command with a code of its own and no message.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError is wrong usage: exit code 64.
type usageError struct {
	error
	called bool // the hint is how the command is called
}

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...), false} }

// report prints an error with its hint, and returns the exit code.
func report(w io.Writer, cmd *cobra.Command, err error) int {
	var code exitError
	var usage usageError
	err = asUsage(err)
	switch {
	case err == nil:
		return exitGood
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errSilent):
		return exitFailed
	}
	var faults configs.Faults
	if errors.As(err, &faults) {
		fmt.Fprintln(w, faults.Error())
		fmt.Fprintf(w, "nightshift: error: %s in the configuration\n", count(len(faults), "fault"))
		return exitFailed
	}
	fmt.Fprintf(w, "nightshift: error: %v\n", err)
	hint := hintOf(err)
	if errors.As(err, &usage) && usage.called {
		hint = usageHint(cmd)
	}
	if hint != "" {
		fmt.Fprintf(w, "nightshift: hint: %s\n", hint)
	}
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func hintOf(err error) string {
	var api *civo.Error
	var denied *events.Denied
	switch {
	case errors.As(err, &denied):
		return denied.Hint()
	case errors.As(err, &api):
		return api.Hint
	case errors.Is(err, civo.ErrNoToken):
		return "to try without an account: nightshift demo; or nightshift sim, and CIVO_TOKEN=12345 with --api-url http://127.0.0.1:8080"
	case errors.Is(err, chaos.ErrNothingToDo):
		return "name a tag, a region, a size or a host name in a selector, or leave --config out"
	case errors.Is(err, events.ErrNoDaemon):
		return "start one with nightshift run, or name its NATS with --nats-url"
	}
	return ""
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func countPolicies(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", n)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "nightshift",
		Short: "Keep Civo instances in the state that their policies ask for",
		Long: `Nightshift keeps Civo instances in the state that their policies ask for: dev
machines stopped at night and started in the morning, a web node rebooted when
an alert says so, an API node resized when load asks for it.

One daemon (nightshift run) reads one policy file. Times come from its own
calendar, alerts and commands over NATS; everything that it does or leaves
undone is an event on nightshift.v1.evt.>.

Environment:
  CIVO_TOKEN     the API token. Else a file with it is read, and read again when
                 it changes: CIVO_CREDENTIAL_FILE, CIVO_CONFIG, or the official
                 CLI's ~/.civo.json
  CIVO_REGION    region when the policy file names none
  CIVO_API_URL   address of the API, as civo.api_url in the file
  NIGHTSHIFT_*   any setting of the file: NIGHTSHIFT_NATS_URL, …
  NO_COLOR       no colour, as without a terminal

Exit codes: 0 good, 1 failed, 2 something would be done (plan
--detailed-exitcode) or done differently (diff), 64 wrong usage.`,
		Example: `  nightshift demo                            watch a day go by in a minute
  nightshift init                            write a first policy file that touches nothing
  nightshift check nightshift.yaml           find every fault in a policy file
  nightshift plan --config nightshift.yaml   what would be done now, and what comes next
  nightshift run --config nightshift.yaml    the daemon`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(flagFault)
	root.AddGroup(&cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "act", Title: "Act:"}, &cobra.Group{ID: "operate", Title: "Operate:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("look", newInitCommand(), newPlanCommand(), newDiffCommand(), newSimulateCommand(), newExplainCommand(), newWhenCommand(), newCheckCommand(), newTestCommand(), newStatusCommand(), newWatchCommand(), newHistoryCommand(), newRunsCommand())
	add("act", append(newActCommands(), newKeepCommand(), newPauseCommand(), newResumeCommand())...)
	add("act", newRunActCommands()...)
	defer speakPlainly(root)
	add("operate", newRunCommand(), newDemoCommand(), newSimCommand(), newChaosCommand(), newInstancesCommand(), newImportCommand(), newDeadCommand(), newSettleCommand(), newNATSCommand(), newBackupCommand(), newRestoreCommand(), newAccountCommand(), newSchemaCommand(), newVersionCommand())
	fitHelp(root)
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Long:    "version prints the version of this program; status prints that of the daemon.\n\nExit code: 0; 64 wrong usage.",
		Example: "  nightshift version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "nightshift", version)
			return err
		},
	}
}
