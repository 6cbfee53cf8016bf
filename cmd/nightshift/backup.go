package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"nightshift/configs"
	"nightshift/events"
)

// thisProgram is what is written beside what this program stores.
func thisProgram() string { return "nightshift " + version }

func newBackupCommand() *cobra.Command {
	var n natsFlags
	var dataDir, output string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write all that is stored into one file",
		Long: `backup writes all that the daemon has stored into one file: ticks, commands, plans,
events, dead letters, and what is remembered (pauses, keeps, the last edge of
each policy, the account). The daemon goes on meanwhile: it is asked over its NATS.
Where no daemon runs, name its directory with --data-dir.

The file appears whole or not at all, and is readable by its owner only. It is a zip
archive with a manifest.json: version, time, account, and of each stream how many
messages it has and a checksum. Everything is read once before it is copied; what
cannot be read, because the store is damaged, is named, and is not in the backup.

The policy file and credentials are not in it. See docs/recovery.md.

Exit codes: 0 written; 1 failed, and nothing is written; 64 wrong usage.`,
		Example: `  nightshift backup nightshift-$(date +%F).backup
  nightshift backup before-the-upgrade.backup --data-dir /var/lib/nightshift   # no daemon runs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			var m events.Manifest
			write := func(ctx context.Context, bus *events.Bus) (err error) {
				wait := newProgress(cmd.ErrOrStderr(), "reading the store into %s", args[0])
				defer wait.end()
				m, err = bus.Backup(ctx, args[0], thisProgram())
				return err
			}
			var err error
			if dataDir != "" {
				err = withStore(cmd.Context(), dataDir, newLogger(cmd.ErrOrStderr(), "", false), write)
			} else {
				err = n.with(cmd.Context(), write)
			}
			if err != nil {
				return err
			}
			return printManifest(cmd.OutOrStdout(), args[0], m, output)
		},
	}
	n.add(cmd)
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "read the store of the embedded NATS from here; no daemon may run on it")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json: the manifest")
	return cmd
}

// withStore opens a data directory on which no daemon runs.
func withStore(ctx context.Context, dir string, log *zap.Logger, do func(context.Context, *events.Bus) error) (err error) {
	bus, err := events.OpenStore(ctx, dir, log)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, bus.Close(closing))
	}()
	return do(ctx, bus)
}

func newRestoreCommand() *cobra.Command {
	var dataDir, output string
	var check bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Read a backup back into an empty data directory",
		Long: `restore reads a backup back into an empty data directory on which no daemon runs.
All checksums are compared before anything is written. Sequences and times are
those of before, so the ledger stands as it stood.

What was done since the backup is not in it. So nothing that was asked for before the
restore and not begun is done any more, and no edge of before fires: each such command
and run ends as expired, and one event says why. What differs from what policies
want is drift, until the next edges. Calls under way at the backup are looked after.

With --check the backup is checked and nothing is written.

Exit codes: 0 restored, or good; 1 failed; 64 wrong usage.`,
		Example: `  nightshift restore nightshift-2026-11-24.backup --data-dir /var/lib/nightshift
  nightshift restore --check nightshift-2026-11-24.backup`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			var m events.Manifest
			wait := newProgress(cmd.ErrOrStderr(), "reading %s", args[0])
			if check {
				m, err = events.CheckBackup(args[0])
			} else {
				m, err = events.Restore(cmd.Context(), args[0], dataDirOr(dataDir), thisProgram(), newLogger(cmd.ErrOrStderr(), "", false))
			}
			wait.end()
			if err != nil {
				return err
			}
			return printManifest(cmd.OutOrStdout(), args[0], m, output)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "where to: a directory that is empty or not there yet (default NIGHTSHIFT_DATA_DIR, else "+configs.DefaultDataDir+")")
	cmd.Flags().BoolVar(&check, "check", false, "check the backup, write nothing")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json: the manifest")
	return cmd
}

func dataDirOr(flag string) string {
	return firstOf(flag, env("NIGHTSHIFT_DATA_DIR"), configs.DefaultDataDir)
}

func printManifest(w io.Writer, path string, m events.Manifest, output string) error {
	if output == "json" {
		return printJSON(w, m)
	}
	account := "no account yet"
	if len(m.Account) > 0 {
		account = "account " + strings.Join(m.Account, ", ")
	}
	fmt.Fprintf(w, "%s: made %s by %s, %s\n", path, m.Made.Format(time.RFC3339), m.Program, account)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, s := range m.Streams {
		fmt.Fprintf(tw, "  %s\t%d messages\tup to %d\t%d bytes\t\n", s.Name, s.Messages, s.LastSeq, s.Bytes)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, d := range m.Damages {
		fmt.Fprintf(w, "DAMAGED: %s, and is not in it; docs/recovery.md says what to do\n", d)
	}
	return nil
}
