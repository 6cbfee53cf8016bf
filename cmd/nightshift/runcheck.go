package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"go.uber.org/zap"

	"nightshift/civo"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/worker"
)

// runCheck looks whether the daemon could run, line by line.
type runCheck struct {
	w      *tabwriter.Writer
	cfg    *configs.Config
	faults int
	usedBy string // the daemon that uses the data directory now
	pin    events.Pin
}

// checkPatience bounds each look.
const checkPatience = 20 * time.Second

func checkRun(ctx context.Context, w, terminal io.Writer, f *fileFlags, cfg *configs.Config) error {
	c := &runCheck{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), cfg: cfg}
	p := cfg.Policies
	c.say("configuration", nil, "%s: %s for %s, mode %s, revision %s", f.path, countPolicies(len(p.Policies)), strings.Join(p.Regions, ", "), p.Mode, cfg.Revision)
	wait := newProgress(terminal, "looking at NATS and the store")
	if cfg.NATS.URL == "" {
		c.dataDir(ctx)
	} else {
		c.external(ctx)
	}
	wait.say("asking %s", cfg.Civo.APIURL)
	c.cloud(ctx)
	c.addresses(ctx)
	wait.end()
	if err := c.w.Flush(); err != nil {
		return err
	}
	if c.faults > 0 {
		return exitError(exitFailed)
	}
	return nil
}

// say prints a line: a fault where there is one.
func (c *runCheck) say(what string, fault error, good string, args ...any) {
	if fault == nil {
		fmt.Fprintf(c.w, "good\t%s\t%s\n", what, fmt.Sprintf(good, args...))
		return
	}
	c.faults++
	fmt.Fprintf(c.w, "FAULT\t%s\t%v\n", what, fault)
	if hint := hintOf(fault); hint != "" {
		fmt.Fprintf(c.w, "\t\t%s\n", hint)
	}
}

// dataDir looks at the directory of the embedded NATS, and at what is stored there:
// by way of the daemon where one runs, else by opening it.
func (c *runCheck) dataDir(ctx context.Context) {
	dir := c.cfg.DataDir
	by, err := events.UsedBy(dir)
	if err != nil {
		c.say("data directory", err, "")
		return
	}
	where := dir
	for ; where != filepath.Dir(where); where = filepath.Dir(where) {
		if _, err := os.Stat(where); err == nil {
			break
		}
	}
	used := "no daemon uses it"
	switch c.usedBy = by; {
	case by != "":
		used = "a daemon uses it, " + by
	case where != dir:
		used = "it is not there yet, and is made at the start"
	}
	c.say("data directory", events.DirWritable(where), "%s can be written, %s free; %s", dir, freeIn(where), used)
	switch _, err := os.Stat(filepath.Join(dir, "jetstream")); {
	case by != "" && c.cfg.NATS.Listen == "none":
		c.say("store", nil, "not looked at: the daemon that uses it answers nobody (nats.listen: none)")
	case by != "":
		c.dial(ctx, "nats://"+c.cfg.NATS.Listen, (&natsFlags{url: "nats://" + c.cfg.NATS.Listen}).resolve(), func(ctx context.Context, bus *events.Bus) { c.store(ctx, bus); c.clock(ctx, bus) })
	case err != nil:
		c.say("store", nil, "there is none yet: nothing was ever stored here")
	default:
		ctx, cancel := context.WithTimeout(ctx, 3*checkPatience)
		defer cancel()
		if err := withStore(ctx, dir, zap.NewNop(), func(ctx context.Context, bus *events.Bus) error { c.store(ctx, bus); c.clock(ctx, bus); return nil }); err != nil {
			c.say("store", err, "")
		}
	}
}

// store looks at what is stored.
func (c *runCheck) store(ctx context.Context, bus *events.Bus) {
	form, err := bus.Form(ctx)
	if err != nil {
		c.say("store", err, "")
		return
	}
	if pin, ok, err := bus.Pinned(ctx); err != nil {
		c.say("store", err, "")
		return
	} else if ok {
		c.pin = pin
	}
	held, err := bus.Summary(ctx)
	if err == nil && !strings.Contains(held, "not there yet") {
		err = damageIn(ctx, bus)
	}
	c.say("store", err, "form %d, messages: %s", form, held)
}

func damageIn(ctx context.Context, bus *events.Bus) error {
	damages, err := bus.Damages(ctx)
	if err != nil || len(damages) == 0 {
		return err
	}
	var words []string
	for _, d := range damages {
		words = append(words, d.String())
	}
	return errors.New(strings.Join(words, "; ") + "; docs/recovery.md says what to do")
}

// external looks at a NATS that others run.
func (c *runCheck) external(ctx context.Context) {
	n := c.cfg.NATS
	c.dial(ctx, n.URL, natsAuth(n), func(ctx context.Context, bus *events.Bus) {
		c.store(ctx, bus)
		gaps, err := bus.Gaps(ctx, events.Options{Replicas: n.Replicas, EventsSize: int64(n.EventsSize)})
		words := "all streams and consumers are as they should be"
		if len(gaps) > 0 {
			words = fmt.Sprintf("%d are made or changed at the start, where the rights allow it, else by nightshift nats setup: %v", len(gaps), gaps)
		}
		c.say("streams", err, "%s", words)
		denied, err := bus.MissingRights(ctx)
		for _, d := range denied {
			err = errors.Join(err, d)
		}
		c.say("rights", err, "the daemon may publish and hear what it must")
		c.clock(ctx, bus)
	})
}

func (c *runCheck) dial(ctx context.Context, url string, auth events.Auth, look func(context.Context, *events.Bus)) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if auth.Inbox == "" && c.cfg.NATS.URL != "" {
		auth.Inbox = events.InboxOf(string(events.Worker)) // as the daemon does
	}
	bus, err := events.Dial(ctx, url, auth)
	if err != nil {
		c.say("NATS", err, "")
		return
	}
	defer func() { _ = bus.Close(context.WithoutCancel(ctx)) }()
	c.say("NATS", nil, "%s answers", bus.URL())
	look(ctx, bus)
}

func (c *runCheck) clock(ctx context.Context, bus *events.Bus) {
	err := worker.CheckClock(ctx, bus, builtAt())
	c.say("clock", err, "it is plausible: it says %s", time.Now().UTC().Format(time.RFC3339))
}

// cloud looks at the token, the regions, and whose account it is.
func (c *runCheck) cloud(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	api, err := newAPI(c.cfg)
	var known []civo.Region
	if err == nil {
		known, err = api.Regions(ctx)
	}
	c.say("token", err, "%s accepts it", c.cfg.Civo.APIURL)
	if err != nil {
		return
	}
	var seen []string
	listed := 0 // regions without a fault
	for _, region := range c.cfg.Policies.Regions {
		if !slices.ContainsFunc(known, func(r civo.Region) bool { return strings.EqualFold(r.Code, region) }) {
			c.say("region "+region, errors.New("the account does not know it"), "")
			continue
		}
		list, err := api.ListInstances(ctx, region)
		c.say("region "+region, err, "%s", count(len(list), "instance"))
		if err == nil {
			listed++
		}
		for _, id := range worker.Accounts(list) {
			if !slices.Contains(seen, id) {
				seen = append(seen, id)
			}
		}
	}
	slices.Sort(seen)
	var other error
	words := strings.Join(seen, ", ")
	switch regions := c.cfg.Policies.Regions; {
	case len(seen) == 0 && len(c.pin.IDs) > 0 && !c.pin.Empty && listed == len(regions):
		other = &worker.EmptyAccountError{Regions: regions, Pinned: c.pin.IDs}
	case len(seen) == 0:
		words = "not known: no instance is listed"
	case len(c.pin.IDs) > 0 && slices.ContainsFunc(seen, func(id string) bool { return !slices.Contains(c.pin.IDs, id) }):
		other = &worker.OtherAccountError{Region: strings.Join(regions, ", "), Is: seen, Pinned: c.pin.IDs}
	case len(c.pin.IDs) == 0:
		words += ", to which the store belongs from the start on"
	}
	c.say("account", other, "%s", words)
}

// addresses looks whether those that the daemon answers on are free.
func (c *runCheck) addresses(ctx context.Context) {
	listen := map[string]string{"http": c.cfg.HTTP.Listen}
	if c.cfg.NATS.URL == "" {
		listen["nats.listen"] = firstOf(c.cfg.NATS.Listen, events.DefaultListen)
	}
	for _, what := range []string{"nats.listen", "http"} {
		address := listen[what]
		if address == "" || address == "none" {
			continue
		}
		if c.usedBy != "" {
			c.say(what, nil, "%s is that of the daemon that runs", address)
			continue
		}
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", address)
		if err == nil {
			err = ln.Close()
		}
		c.say(what, err, "%s is free", address)
	}
}
