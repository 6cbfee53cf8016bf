package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"nightshift/civo"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

// fileFlags are those of every command that reads the policy file.
type fileFlags struct {
	path string
	over configs.Overrides
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
	var form, planStart string
	var verbose bool
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
Other settings (nats, civo, data_dir, workers, verify) wait for the next start.

SIGTERM and Ctrl-C stop it in order: calls under way are given 20 s, what has
not begun is taken up at the next start. A second signal stops it at once.

Exit codes: 0 after an ordered stop, 1 when it could not start.`,
		Example: `  CIVO_TOKEN=... nightshift run --config nightshift.yaml --data-dir /var/lib/nightshift
  CIVO_TOKEN=12345 nightshift run --config nightshift.yaml --api-url http://127.0.0.1:8080   # nightshift sim`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load()
			if err != nil {
				return err
			}
			if form != "" && form != "console" && form != "json" {
				return usagef("--log-format %q is neither console nor json", form)
			}
			clock, err := planClock(cfg.Civo.APIURL, planStart, speed)
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
	cmd.Flags().StringVar(&form, "log-format", "", "console or json (default: console on a terminal)")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log every call and tick, too")
	cmd.Flags().StringVar(&planStart, "plan-start", "", "plan time at the start, RFC 3339; against a simulator only")
	cmd.Flags().Float64Var(&speed, "plan-speed", 1, "how fast plan time runs; against a simulator only")
	_ = cmd.Flags().MarkHidden("plan-start")
	_ = cmd.Flags().MarkHidden("plan-speed")
	return cmd
}

// runDaemon runs until ctx ends, and follows edits of the policy file.
func runDaemon(ctx context.Context, f *fileFlags, cfg *configs.Config, log *zap.Logger, clock worker.Clock) (err error) {
	api, err := newAPI(cfg)
	if err != nil {
		return err
	}
	bus, err := events.Open(ctx, events.Options{
		URL: cfg.NATS.URL, Creds: cfg.NATS.Creds, DataDir: cfg.DataDir, Listen: cfg.NATS.Listen, Replicas: cfg.NATS.Replicas, Log: log,
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while it waited for NATS
		}
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, bus.Close(closing))
		log.Info("stopped")
	}()
	log.Info("starting", zap.String("version", version), zap.String("revision", cfg.Revision), zap.String("api", cfg.Civo.APIURL))
	w := worker.New(&cfg.Policies, api, bus, worker.Options{
		Log: log, Name: replicaName(), Version: version, Revision: cfg.Revision, Workers: cfg.Workers, Clock: clock, Embedded: cfg.NATS.URL == "",
		Verify: worker.Verify{Within: cfg.Verify.Within, Settle: cfg.Verify.Settle, Apart: cfg.Verify.Apart, Poll: min(worker.DefaultPoll, cfg.Verify.Apart)},
	})
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer stop()
	follower.Go(func() { followFile(following, f, cfg, w, log) }) // until the worker ends
	return w.Run(ctx)
}

// replicaName tells this process from other replicas.
func replicaName() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// planClock is the clock of plan time. It may differ from the machine's against
// a simulator on this machine only.
func planClock(api, start string, speed float64) (worker.Clock, error) {
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
	return worker.Fast(now, plan, speed), nil
}
