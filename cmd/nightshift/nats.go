package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nightshift/configs"
	"nightshift/events"
)

// natsFlags say where the daemon is asked, and as whom.
type natsFlags struct {
	url, who string
	auth     events.Auth
}

func (n *natsFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&n.url, "nats-url", "", "NATS of the daemon (default NIGHTSHIFT_NATS_URL, else nats://127.0.0.1:4222); its other flags: nightshift help nats")
	n.addProofs(f)
}

// addProofs adds what shows a NATS who asks. These flags are the same in every command,
// so their help is in one place: that of nightshift nats.
func (n *natsFlags) addProofs(f *pflag.FlagSet) {
	f.StringVar(&n.auth.Creds, "nats-creds", "", "file with credentials for it (default NIGHTSHIFT_NATS_CREDS)")
	f.StringVar(&n.auth.NKey, "nats-nkey", "", "or file with the seed of an NKey (default NIGHTSHIFT_NATS_NKEY)")
	f.StringVar(&n.auth.TokenFile, "nats-token-file", "", "or file with a token (default NIGHTSHIFT_NATS_TOKEN_FILE)")
	f.StringVar(&n.auth.CA, "nats-ca", "", "file with the certificates that its own is signed by (default NIGHTSHIFT_NATS_TLS_CA)")
	f.StringVar(&n.auth.Cert, "nats-cert", "", "file with a client certificate for it (default NIGHTSHIFT_NATS_TLS_CERT)")
	f.StringVar(&n.auth.Key, "nats-key", "", "file with the key of the client certificate (default NIGHTSHIFT_NATS_TLS_KEY)")
	f.StringVar(&n.who, "as", "", "as whom, where its permissions vouch for it (default NIGHTSHIFT_NATS_WHO, else the user of the credentials)")
	for _, name := range natsProofs {
		_ = f.SetAnnotation(name, toldElsewhere, []string{"nats"})
	}
}

var natsProofs = []string{"nats-creds", "nats-nkey", "nats-token-file", "nats-ca", "nats-cert", "nats-key", "as"}

// natsFlagsHelp lists the flags that the help of the other commands leaves out.
func natsFlagsHelp() string {
	var n natsFlags
	f := pflag.NewFlagSet("nats", pflag.ContinueOnError)
	n.addProofs(f)
	return strings.TrimRight(f.FlagUsagesWrapped(helpWidth), "\n")
}

// userInFlag refuses what anybody on the machine could read.
const userInFlag = "--nats-url holds a user, a password or a token, which all users of this machine could read: set NIGHTSHIFT_NATS_URL instead"

func (n *natsFlags) address() string {
	return cmp.Or(n.url, env("NIGHTSHIFT_NATS_URL"), "nats://"+events.DefaultListen)
}

// resolve adds what the environment says. A proof in a flag leaves out those of
// the environment.
func (n *natsFlags) resolve() events.Auth {
	a := n.auth
	if a.Creds == "" && a.NKey == "" && a.TokenFile == "" && !events.HasUser(n.address()) {
		a.Creds, a.NKey = env("NIGHTSHIFT_NATS_CREDS"), env("NIGHTSHIFT_NATS_NKEY")
		a.Token, a.TokenFile = env("NIGHTSHIFT_NATS_TOKEN"), env("NIGHTSHIFT_NATS_TOKEN_FILE")
	}
	a.CA = cmp.Or(a.CA, env("NIGHTSHIFT_NATS_TLS_CA"))
	a.Cert = cmp.Or(a.Cert, env("NIGHTSHIFT_NATS_TLS_CERT"))
	a.Key = cmp.Or(a.Key, env("NIGHTSHIFT_NATS_TLS_KEY"))
	a.Inbox = env("NIGHTSHIFT_NATS_INBOX")
	return a
}

// name is the publisher of what the command line asks for.
func (n *natsFlags) name() string {
	a := n.resolve()
	return cmp.Or(n.who, env("NIGHTSHIFT_NATS_WHO"), a.Who(n.address()), events.DefaultWho)
}

func (n *natsFlags) dial(ctx context.Context) (*events.Bus, error) {
	if events.HasUser(n.url) {
		return nil, usagef("%s", userInFlag)
	}
	a := n.resolve()
	if a.Name = n.name(); a.Inbox == "" && a.Name != events.DefaultWho {
		a.Inbox = events.InboxOf(a.Name)
	}
	return events.Dial(ctx, n.address(), a)
}

func firstOf(values ...string) string { return cmp.Or(values...) }

// natsAuth is how the daemon shows who it is.
func natsAuth(c configs.NATS) events.Auth {
	return events.Auth{Creds: c.Creds, NKey: c.NKey, Token: c.Token, TokenFile: c.TokenFile, CA: c.TLSCA, Cert: c.TLSCert, Key: c.TLSKey, Inbox: c.Inbox}
}

func newNATSCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nats",
		Short: "Set up NATS, and print the permissions that it needs",
		Long: `nats is for those who run a NATS of their own; the daemon brings one along, which
needs neither. setup makes the streams that the daemon needs, or compares them;
permissions prints the least rights of each role. docs/nats-security.md has the
way from an open server to one with a user for everybody.

Each command that asks the daemon has --nats-url and these flags, which its own
help leaves out:

` + natsFlagsHelp() + `

Exit codes: those of the command; 64 wrong usage.`,
		Example: `  nightshift nats setup --check
  nightshift nats permissions worker observer`,
	}
	cmd.AddCommand(newNATSSetupCommand(), newNATSPermissionsCommand())
	return cmd
}

func newNATSSetupCommand() *cobra.Command {
	var n natsFlags
	var check bool
	var replicas int
	var size, output string
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Make the streams, the bucket and the consumers on an external NATS",
		Long: `setup makes what the daemon needs on a NATS with JetStream: the streams NS_IN,
NS_RUN, NS_EVT and NS_DLQ, the bucket ns_state, and the consumers
` + strings.Join(events.Consumers(), ", ") + `.
What is there is brought up to date. The daemon does the same at its start when
its rights allow it; after setup it needs only those that nightshift nats
permissions worker prints.

With --check nothing is changed: it prints what is missing or differs.

Exit codes: 0 all is as it should be; 1 failed; 2 with --check, something is
missing or differs; 64 wrong usage.`,
		Example: `  NIGHTSHIFT_NATS_URL=nats://nats.example.com:4222 nightshift nats setup --nats-creds provisioner.creds
  nightshift nats setup --check -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			if text := env("NIGHTSHIFT_NATS_REPLICAS"); text != "" && !cmd.Flags().Changed("replicas") {
				var err error
				if replicas, err = strconv.Atoi(text); err != nil {
					return usagef("NIGHTSHIFT_NATS_REPLICAS %q is not a whole number", text)
				}
			}
			if replicas < 0 || replicas > 5 {
				return usagef("--replicas %d: 1 to 5, or 0 for 3 in a cluster, else 1", replicas)
			}
			o := events.Options{Replicas: replicas}
			if text := firstOf(size, env("NIGHTSHIFT_NATS_EVENTS_SIZE")); text != "" {
				bound, err := configs.ParseSize(text)
				if err != nil {
					return usagef("--events-size (NIGHTSHIFT_NATS_EVENTS_SIZE): %v", err)
				}
				o.EventsSize = int64(bound)
			}
			if n.who == "" && env("NIGHTSHIFT_NATS_WHO") == "" && n.name() == events.DefaultWho {
				n.who = string(events.Provisioner)
			}
			var gaps []events.Gap
			err := n.with(cmd.Context(), func(ctx context.Context, bus *events.Bus) (err error) {
				if check {
					gaps, err = bus.Gaps(ctx, o)
				} else {
					gaps, err = bus.SetUp(ctx, o)
				}
				return err
			})
			if perr := printGaps(cmd.OutOrStdout(), gaps, output == "json", err == nil); perr != nil {
				return perr
			}
			if err == nil && check && len(gaps) > 0 {
				return exitError(exitSomething)
			}
			return err
		},
	}
	n.add(cmd)
	cmd.Flags().BoolVar(&check, "check", false, "change nothing, print what is missing or differs")
	cmd.Flags().IntVar(&replicas, "replicas", 0, "of the streams (default NIGHTSHIFT_NATS_REPLICAS, else 3 in a cluster and 1 on a single server)")
	cmd.Flags().StringVar(&size, "events-size", "", "what stored events may take, as in nats.events_size (default NIGHTSHIFT_NATS_EVENTS_SIZE, else "+configs.DefaultEventsSize+")")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printGaps(w io.Writer, gaps []events.Gap, asJSON, whole bool) error {
	if asJSON {
		if gaps == nil {
			gaps = []events.Gap{}
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(gaps)
	}
	for _, g := range gaps {
		done := ""
		switch {
		case g.Mended && g.Missing:
			done = ": made"
		case g.Mended:
			done = ": brought up to date"
		}
		fmt.Fprintf(w, "%s%s\n", g, done)
	}
	if whole && len(gaps) == 0 {
		fmt.Fprintln(w, "all is as it should be")
	}
	return nil
}

func newNATSPermissionsCommand() *cobra.Command {
	var scope events.Scope
	var keys []string
	var output string
	cmd := &cobra.Command{
		Use:   "permissions ROLE[=NAME]...",
		Short: "Print the least rights of a role, as a NATS server's configuration",
		Long: `permissions prints what a user of NATS must be allowed, and no more, as the block
"authorization" of a NATS server's configuration. The same block is what
nats.users_file of the embedded NATS holds.

  worker       the daemon
  commander    sends commands to the daemon under its name, for the regions and
               actions given (default all), to one instance or to all that a
               selector chooses, and may ask it; with --manage also decides
               about runs, and keeps and pauses, also under its name, which is
               bound to no region or action
  observer     watches events as they come, and may ask the daemon and its
               service; with --history it reads the stored events, too
  provisioner  runs nightshift nats setup and nightshift backup

NAME is the user, as which commands are recorded; a commander has one, the others
have the name of their role by default. --region and --action are for all
commanders that are named. Passwords come from the environment of the server;
with --nkey NAME=KEY it is the public key of an NKey instead.

--publish and --history allow what NATS itself answers, and NATS sends its answer
to whatever subject the user names, unchecked: see docs/nats-security.md before
you give them to somebody whom you would not trust with the streams.

Exit codes: 0; 64 wrong usage.`,
		Example: `  nightshift nats permissions commander --who oncall --region lon1 --action start --action stop
  nightshift nats permissions worker provisioner observer=grafana commander=oncall > users.conf
  nightshift nats permissions worker -o json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "conf", "json"); err != nil {
				return err
			}
			grants, err := grantsOf(args, scope)
			if err != nil {
				return err
			}
			public, err := keysOf(keys, grants)
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetEscapeHTML(false) // a subject ends with >
				enc.SetIndent("", "  ")
				return enc.Encode(grants)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), events.ServerConfig(grants, public))
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&scope.Who, "who", "", "the user, in place of ROLE=NAME")
	f.StringSliceVar(&scope.Regions, "region", nil, "commander: of which regions (default all)")
	f.StringSliceVar(&scope.Actions, "action", nil, "commander: which actions of start, stop, reboot, resize, retag, firewall (default all)")
	f.BoolVar(&scope.Manage, "manage", false, "commander: also approve, retry, undo, keep, pause, resume, settle, dead retry and drop, and account accept")
	f.BoolVar(&scope.Publish, "publish", false, "commander: also by plain publish, which NATS answers itself")
	f.BoolVar(&scope.History, "history", false, "observer: also stored events, which NATS answers for itself")
	f.StringSliceVar(&keys, "nkey", nil, "NAME=KEY: the public key of an NKey in place of a password")
	f.StringVarP(&output, "output", "o", "conf", "conf or json")
	return cmd
}

func grantsOf(args []string, scope events.Scope) ([]events.Grant, error) {
	if scope.Who != "" && len(args) > 1 {
		return nil, usagef("--who is for one role: write ROLE=NAME where there are several")
	}
	var grants []events.Grant
	taken := make(map[string]bool)
	for _, arg := range args {
		role, name, named := strings.Cut(arg, "=")
		s := scope
		if named {
			s.Who = name
		}
		if events.Role(role) == events.Commander && s.Who == "" {
			return nil, usagef("a commander has a name: commander=oncall, or --who oncall")
		}
		g, err := events.Permissions(events.Role(role), s)
		if err != nil {
			return nil, usageError{error: err}
		}
		if taken[g.User] {
			return nil, usagef("two users are called %s: name one of them, as in observer=grafana", g.User)
		}
		taken[g.User] = true
		grants = append(grants, g)
	}
	return grants, nil
}

// keysOf reads NAME=KEY pairs; with one user the name may be left out.
func keysOf(pairs []string, grants []events.Grant) (map[string]string, error) {
	keys := make(map[string]string)
	for _, pair := range pairs {
		name, key, ok := strings.Cut(pair, "=")
		if !ok && len(grants) == 1 {
			name, key = grants[0].User, pair
		}
		if !slices.ContainsFunc(grants, func(g events.Grant) bool { return g.User == name }) {
			return nil, usagef("--nkey is NAME=KEY, with the name of a user that is printed")
		}
		if !events.IsUserKey(key) {
			return nil, usagef("--nkey: that of %s is not the public key of a user, which begins with U", name) // not quoted: it may be the seed
		}
		keys[name] = key
	}
	return keys, nil
}
