package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"nightshift/civo"
	"nightshift/cmd/nightshift/chaos"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
	"nightshift/worker/console"
	"nightshift/worker/notify"
)

// fileFlags are those of every command that reads the policy file.
type fileFlags struct {
	path     string
	over     configs.Overrides
	rehearse bool // for nightshift chaos: see [chaos.Rehearse]
}

func (f *fileFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.path, "config", configs.DefaultFile, "the policy file")
	cmd.Flags().StringVar(&f.over.APIURL, "api-url", "", "address of the API, such as that of nightshift sim (default https://api.civo.com)")
}

func (f *fileFlags) load() (*configs.Config, error) {
	cfg, err := configs.Load(f.path, os.Environ(), f.over)
	if err != nil {
		return nil, err
	}
	cfg.Policies.Self = thisMachine()
	if f.rehearse {
		cfg.NATS.URL = f.over.NATSURL
		chaos.Rehearse(cfg)
	}
	return cfg, nil
}

// thisMachine is what the machine knows of itself; what it cannot tell is left out.
func thisMachine() policies.Machine {
	m := policies.Machine{}
	m.Hostname, _ = os.Hostname()
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && !ip.IP.IsLinkLocalUnicast() {
			m.Addresses = append(m.Addresses, ip.IP.String())
		}
	}
	return m
}

func newAPI(cfg *configs.Config) (*civo.Client, error) {
	tokens, err := civo.DefaultToken(os.Getenv)
	if err != nil {
		return nil, err
	}
	return civo.New("", civo.Options{Tokens: tokens, BaseURL: cfg.Civo.APIURL, Version: version, Rate: cfg.Civo.Rate, Timeout: cfg.Civo.Timeout})
}

func newRunCommand() *cobra.Command {
	var f fileFlags
	var form, planStart, planAt string
	var verbose, check bool
	var speed float64
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `run is the daemon: it announces the planned times of the policies, listens for
commands and signals, calls the Civo API, and publishes what happened.

By default it brings its own NATS JetStream server, which keeps everything in
--data-dir and answers on 127.0.0.1:4222. With nats.url in the policy file, or
--nats-url, it uses an external one.

An edit of the policy file takes effect within seconds, SIGHUP looks at once: the
next edges are those of the new file, and nothing is acted upon on the spot. A
file with a fault changes nothing; status and the log say where the fault is.
Other settings (nats, civo, http, data_dir, workers, verify) wait for the next
start.

With webhooks or http in the policy file it answers over HTTP, by default on
127.0.0.1:8422: /healthz, /readyz, /metrics, and POST /v1/hooks/<source>.

SIGTERM and Ctrl-C stop it in order: calls under way are given 20 s, what has
not begun is taken up at the next start. A second signal stops it at once.

With --check it does nothing but look whether it could run: configuration, data
directory and room in it, store, rights on NATS, token, regions, account, clock, and
addresses, a line each; also beside a daemon that runs.

Exit codes: 0 after an ordered stop, 1 when it could not start (such as with a store of
a newer nightshift, which is not touched); with --check 0 all is good, 1 something is
not; 64 wrong usage.`,
		Example: `  CIVO_TOKEN=... nightshift run --config nightshift.yaml --data-dir /var/lib/nightshift
  CIVO_TOKEN=12345 nightshift run --config nightshift.yaml --api-url http://127.0.0.1:8080   # nightshift sim`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			if events.HasUser(f.over.NATSURL) {
				return usagef("%s", userInFlag)
			}
			if form != "" && form != "console" && form != "json" {
				return usagef("--log-format %q is neither console nor json", form)
			}
			if check {
				return checkRun(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), &f, cfg)
			}
			clock, err := planClock(cfg.Civo.APIURL, planStart, planAt, speed)
			if err != nil {
				return err
			}
			return runDaemon(cmd.Context(), &f, cfg, newLogger(cmd.ErrOrStderr(), form, verbose), clock)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.over.DataDir, "data-dir", "", "store of the embedded NATS (default "+configs.DefaultDataDir+")")
	cmd.Flags().StringVar(&f.over.NATSURL, "nats-url", "", "an external NATS instead of the embedded one")
	cmd.Flags().StringVar(&f.over.NATSListen, "nats-listen", "", "where the embedded NATS answers: host:port (port 0: a free one), or none (default 127.0.0.1:4222)")
	cmd.Flags().StringVar(&f.over.HTTPListen, "http-listen", "", "where health and webhooks answer: host:port (port 0: a free one), or none (default "+configs.DefaultHTTPListen+" where the file has http or webhooks)")
	cmd.Flags().BoolVar(&check, "check", false, "look whether it could run, do nothing, and say so line by line")
	cmd.Flags().StringVar(&form, "log-format", "", "console or json (default: console on a terminal)")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log every call and tick, too")
	cmd.Flags().StringVar(&planStart, "plan-start", "", "plan time at the start, RFC 3339; against a simulator only")
	cmd.Flags().Float64Var(&speed, "plan-speed", 1, "how fast plan time runs; against a simulator only")
	cmd.Flags().StringVar(&planAt, "plan-at", "", "machine time at which plan time is that of --plan-start, RFC 3339 (default: now)")
	cmd.Flags().BoolVar(&f.rehearse, "rehearse", false, "take the policies of the file and none of its settings")
	for _, name := range []string{"plan-start", "plan-speed", "plan-at", "rehearse"} {
		_ = cmd.Flags().MarkHidden(name)
	}
	return cmd
}

// closeWithin bounds how long NATS is said good-bye to, after worker.DefaultGrace.
const closeWithin = 10 * time.Second

// runDaemon runs until ctx ends, and follows edits of the policy file.
func runDaemon(ctx context.Context, f *fileFlags, cfg *configs.Config, log *zap.Logger, clock worker.Clock) (err error) {
	api, err := newAPI(cfg)
	if err != nil {
		return err
	}
	awaited := &awaited{version: version, revision: cfg.Revision, mode: string(cfg.Policies.Mode)}
	web, webErr := newConsole(ctx, cfg, awaited, log)
	if webErr != nil && cfg.NATS.URL != "" { // else it is told first who has the data directory, if somebody has it
		return webErr
	}
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	g, running := errgroup.WithContext(serving)
	if web != nil {
		g.Go(func() error { return web.Run(running) }) // until running ends
	}
	bus, err := events.Open(running, events.Options{
		URL: cfg.NATS.URL, Auth: natsAuth(cfg.NATS), DataDir: cfg.DataDir, Listen: cfg.NATS.Listen, Users: cfg.NATS.UsersFile, Replicas: cfg.NATS.Replicas, EventsSize: int64(cfg.NATS.EventsSize), Program: thisProgram(), Log: log,
	})
	if err != nil {
		stopped := running.Err() != nil // while it waited for NATS
		stopServing()
		if webErr := g.Wait(); stopped {
			return webErr
		}
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
		defer cancel()
		err = errors.Join(err, bus.Close(closing))
		log.Info("stopped")
	}()
	if webErr != nil {
		return webErr
	}
	log.Info("starting", zap.String("version", version), zap.String("revision", cfg.Revision), zap.String("api", cfg.Civo.APIURL))
	w := worker.New(&cfg.Policies, api, bus, worker.Options{
		Log: log, Name: replicaName(), Version: version, Revision: cfg.Revision, Workers: cfg.Workers, Clock: clock, Built: builtAt(), Embedded: cfg.NATS.URL == "",
		Verify: worker.Verify{Within: cfg.Verify.Within, Settle: cfg.Verify.Settle, Apart: cfg.Verify.Apart, Poll: min(worker.DefaultPoll, cfg.Verify.Apart)},
	})
	told := notify.New(bus, notifySettings(cfg), notify.Options{Log: log, Now: clock.Now})
	awaited.isThere(w, told.Handler())
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer stop()
	follower.Go(func() { followFile(following, f, cfg, bus, w, web, told, log) }) // until the worker ends
	follower.Go(func() { told.Run(following) })                                   // likewise
	follower.Go(func() { tellSystemd(following, w.NotReady, log) })               // likewise
	g.Go(func() error { return w.Run(running) })                                  // until running ends
	return g.Wait()
}

// newConsole is the HTTP server, which has its address already; nil: none is wanted.
func newConsole(ctx context.Context, cfg *configs.Config, daemon *awaited, log *zap.Logger) (*console.Server, error) {
	if cfg.HTTP.Listen == "" || cfg.HTTP.Listen == "none" {
		return nil, nil //nolint:nilnil // none is wanted
	}
	web, err := console.New(daemon, console.Options{Listen: cfg.HTTP.Listen, Hooks: hooks(cfg), Pages: map[string]http.Handler{notify.PostponePath: http.HandlerFunc(daemon.postpone)}, Log: log})
	if err != nil {
		return nil, err
	}
	if err := web.Listen(ctx); err != nil {
		return nil, err
	}
	return web, nil
}

func hooks(cfg *configs.Config) (all []console.Hook) {
	for _, h := range cfg.Webhooks {
		hook := console.Hook{
			Source: h.Source, Form: h.Form, Signature: h.Signature, SecretFile: h.SecretFile, SecretEnv: h.SecretEnv,
			InstanceLabel: h.InstanceLabel, RegionLabel: h.RegionLabel, Map: h.Map,
		}
		for _, k := range h.InstanceIs {
			hook.InstanceIs = append(hook.InstanceIs, worker.InstanceKey(k))
		}
		all = append(all, hook)
	}
	return all
}

// builtAt is when this program was built, zero when it does not say.
func builtAt() time.Time {
	t, _ := time.Parse(time.RFC3339, buildTime)
	return t
}

// replicaName tells this process from other replicas.
func replicaName() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// notifySettings are who is told of what, and how.
func notifySettings(cfg *configs.Config) notify.Settings {
	s := notify.Settings{Zone: cfg.Policies.Zone, PublicURL: cfg.HTTP.URL}
	for _, t := range cfg.Notify {
		s.Targets = append(s.Targets, notify.Target{Name: t.Name, Form: t.Form, About: t.About, URL: func() (string, error) { return webhookOf(t) }})
	}
	return s
}

// webhookOf finds the address of a target, wherever it is kept. Its errors do not
// repeat it.
func webhookOf(t configs.Target) (string, error) {
	address, where := t.URL.Reveal(), "notify."+t.Name
	switch {
	case t.Env != "":
		address, where = os.Getenv(t.Env), "the variable "+t.Env
	case t.File != "":
		body, err := os.ReadFile(t.File)
		if err != nil {
			return "", fmt.Errorf("read the webhook of %s: %w", t.Name, err)
		}
		address, where = string(body), t.File
	}
	address = strings.TrimSpace(address)
	if address == "" {
		return "", fmt.Errorf("the webhook of %s is not set: %s is empty", t.Name, where)
	}
	if err := configs.CheckWebhook(address); err != nil {
		return "", fmt.Errorf("the webhook of %s, in %s: %w", t.Name, where, err)
	}
	return address, nil
}

// planClock is the clock of plan time. It may differ from the machine's against
// a simulator on this machine only.
func planClock(api, start, at string, speed float64) (worker.Clock, error) {
	if start == "" && speed == 1 {
		return worker.Clock{}, nil
	}
	u, err := url.Parse(api)
	if err != nil {
		return worker.Clock{}, fmt.Errorf("API address %q: %w", api, err)
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
		return worker.Clock{}, usagef("plan time may run fast against a simulator on this machine only, not against %s", api)
	}
	if speed <= 0 {
		return worker.Clock{}, usagef("--plan-speed must be above 0")
	}
	now := time.Now()
	plan := now
	if start != "" {
		if plan, err = time.Parse(time.RFC3339, start); err != nil {
			return worker.Clock{}, usagef("--plan-start: %v", err)
		}
	}
	if at != "" {
		if now, err = time.Parse(time.RFC3339, at); err != nil {
			return worker.Clock{}, usagef("--plan-at: %v", err)
		}
	}
	return worker.Fast(now, plan, speed), nil
}
