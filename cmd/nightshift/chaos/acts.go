package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
	"nightshift/worker"
	"nightshift/worker/promise"
)

// acts are what was done from outside, as far as the verdict needs to know.
type acts struct {
	mu       sync.Mutex
	hands    []promise.Hand
	keeps    []promise.Keep
	pauses   []policies.Pause
	approved []approval
	fleets   []promise.Fleet // one after each change by hand
	sent     []sent          // what NATS acknowledged
	faulty   []span          // times at which the policy file had a fault
	found    []string        // breaches that were seen at once
}

type approval struct {
	trigger string
	at      time.Time
}

// sent is something that NATS said is stored, so that it must come to something.
type sent struct {
	what    string
	trigger string
	action  string // id of the action that a command asks for; empty: a signal
	seq     uint64 // in NS_IN
	at      time.Time
}

// found takes down a breach that shows without looking at what is stored.
func (c *chaos) found(format string, args ...any) {
	c.acts.mu.Lock()
	defer c.acts.mu.Unlock()
	c.acts.found = append(c.acts.found, fmt.Sprintf(format, args...))
}

// fileWasFaulty reports whether a daemon that was started then may have read a
// policy file with a fault.
func (a *acts) fileWasFaulty(started time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.faulty, func(s span) bool { return s.until.IsZero() || s.until.After(started) })
}

// actor is somebody, or something, that makes trouble.
type actor struct {
	name string
	act  func(ctx context.Context, rng *rand.Rand) error
}

// actors are all that there are.
func (c *chaos) actors() []actor {
	all := []actor{
		{"killer", c.kill}, {"weather", c.weather}, {"person", c.person}, {"commander", c.command},
		{"alarms", c.alarm}, {"operator", c.operate}, {"editor", c.edit},
	}
	if c.nats != nil {
		all = append(all, actor{"bus killer", c.killBus})
	}
	return all
}

func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(rng.Int64N(int64(most-least)))
}

// kill ends daemons: mostly without a word, at any moment, also while they start.
func (c *chaos) kill(ctx context.Context, rng *rand.Rand) error {
	for sleep(ctx, between(rng, 100*time.Millisecond, 4*time.Second)) {
		r := pick(rng, c.replicas)
		down := between(rng, 10*time.Millisecond, 800*time.Millisecond)
		switch n := rng.IntN(20); {
		case n < 14:
			if r.kill(down) {
				c.tally.count(func(t *Tally) { t.Kills++ })
			}
		case n < 16: // all at once
			for _, r := range c.replicas {
				if r.kill(down) {
					c.tally.count(func(t *Tally) { t.Kills++ })
				}
			}
		case n < 18:
			if err := r.stop(down); err != nil {
				c.found("%v", err)
			}
			c.tally.count(func(t *Tally) { t.Stops++ })
		case canFreeze:
			if r.freeze(ctx, between(rng, 300*time.Millisecond, 3*time.Second)) {
				c.tally.count(func(t *Tally) { t.Freezes++ })
			}
		}
	}
	return nil
}

// killBus takes NATS away.
func (c *chaos) killBus(ctx context.Context, rng *rand.Rand) error {
	for sleep(ctx, between(rng, 3*time.Second, 12*time.Second)) {
		if err := c.nats.cut(ctx, between(rng, 50*time.Millisecond, 3*time.Second)); err != nil {
			return err
		}
		c.tally.count(func(t *Tally) { t.BusKills++ })
	}
	return nil
}

// climate are the faults that can always strike.
func (c *chaos) climate() (faults []civosim.Fault) {
	add := func(kind civosim.FaultKind, share float64, f civosim.Fault) {
		if share <= 0 {
			return
		}
		f.Kind, f.Probability, f.Count = kind, min(share, 1), -1
		faults = append(faults, f)
	}
	errors, lost := c.o.Errors, c.o.Lost
	add(civosim.RateLimited, errors*0.3, civosim.Fault{RetryAfter: time.Second})
	add(civosim.ServerError, errors*0.25, civosim.Fault{})
	add(civosim.HTML502, errors*0.1, civosim.Fault{})
	add(civosim.HTML504, errors*0.1, civosim.Fault{})
	add(civosim.CutBefore, errors*0.25, civosim.Fault{})
	add(civosim.CutAfter, lost*0.6, civosim.Fault{})
	add(civosim.ServerError, lost*0.2, civosim.Fault{After: true})
	add(civosim.BadJSON, lost*0.1, civosim.Fault{})
	add(civosim.EmptyBody, lost*0.1, civosim.Fault{})
	if errors+lost > 0 {
		add(civosim.Slow, 0.03, civosim.Fault{Delay: 600 * time.Millisecond})
		// Younger than verify.settle, as it is to be set where reads lag.
		add(civosim.StaleRead, 0.03, civosim.Fault{Op: "list", Delay: 700 * time.Millisecond})
		for _, op := range []string{"stop", "start", "resize", "retag", "firewall"} {
			add(civosim.AcceptedButNotDone, 0.02, civosim.Fault{Op: op})
		}
	}
	return faults
}

// weather lets the API have its bad moments, and worse ones now and then.
func (c *chaos) weather(ctx context.Context, rng *rand.Rand) error {
	if err := c.cloud.weather(ctx, c.climate()...); err != nil {
		return err
	}
	if c.o.Errors+c.o.Lost == 0 {
		return nil
	}
	for sleep(ctx, between(rng, time.Second, 6*time.Second)) {
		region := pick(rng, c.set.Regions)
		worse := pick(rng, []civosim.Fault{
			{Kind: civosim.RateLimited, RetryAfter: time.Second, Count: 10},
			{Kind: civosim.ServerError, Count: 12},
			{Kind: civosim.CutBefore, Region: region, Count: 8},
			{Kind: civosim.HTML504, Region: region, Op: "list", Count: 6},
			{Kind: civosim.Slow, Delay: 2 * time.Second, Count: 3},
			{Kind: civosim.CutAfter, Op: "soft_reboot", Count: 1},
			{Kind: civosim.CutAfter, Op: "hard_reboot", Count: 1},
			{Kind: civosim.Stuck, Op: pick(rng, []string{"stop", "start", "soft_reboot"}), Count: 1},
			{Kind: civosim.Refused, Op: pick(rng, []string{"start", "resize"}), Code: "out_of_capacity", Count: 1},
		})
		// Before the climate: of several faults the oldest strikes.
		if err := c.cloud.weather(ctx, append([]civosim.Fault{worse}, c.climate()...)...); err != nil {
			return err
		}
	}
	return nil
}

// person changes instances without asking anybody.
func (c *chaos) person(ctx context.Context, rng *rand.Rand) error {
	for sleep(ctx, between(rng, 300*time.Millisecond, 2500*time.Millisecond)) {
		fleet, err := c.cloud.instances(ctx)
		if err != nil {
			return err
		}
		i := pick(rng, fleet)
		asking, cancel := context.WithTimeout(ctx, askPatience)
		switch n := rng.IntN(10); { // what the API refuses, or a fault strikes, is none of our business
		case n < 3:
			_ = c.cloud.person.Stop(asking, i.Region, i.ID)
		case n < 6:
			_ = c.cloud.person.Start(asking, i.Region, i.ID)
		case n < 7:
			_ = c.cloud.person.SoftReboot(asking, i.Region, i.ID)
		case n < 9:
			_ = c.cloud.person.Retag(asking, i.Region, i.ID, toggled(i.Tags, "by-hand"))
		default:
			err = c.migrate(ctx, i, between(rng, 200*time.Millisecond, 2*time.Second))
		}
		cancel()
		c.tally.count(func(t *Tally) { t.Hands++ })
		if err == nil {
			err = c.lookAtFleet(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lookAtFleet takes down how the instances are.
func (c *chaos) lookAtFleet(ctx context.Context) error {
	at := time.Now()
	all, err := c.cloud.instances(ctx)
	if err != nil {
		return err
	}
	f := promise.Fleet{At: at}
	for _, i := range all {
		f.Instances = append(f.Instances, seen(i))
	}
	c.acts.mu.Lock()
	defer c.acts.mu.Unlock()
	c.acts.fleets = append(c.acts.fleets, f)
	return nil
}

// seen is an instance of the simulator as policies see it.
func seen(i civosim.Instance) policies.Instance {
	return policies.Instance{
		ID: i.ID, Hostname: i.Hostname, Region: strings.ToUpper(i.Region), Size: i.Size, Status: i.Status, Tags: i.Tags,
		FirewallID: i.FirewallID, NetworkID: i.NetworkID, CreatedAt: i.CreatedAt, CPUCores: 8, RAMMB: 32768, DiskGB: 500,
	}
}

func toggled(tags []string, tag string) []string {
	if slices.Contains(tags, tag) {
		return slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return t == tag })
	}
	return append(slices.Clone(tags), tag)
}

// migrate gives an instance a status that nobody knows, for a while.
func (c *chaos) migrate(ctx context.Context, i civosim.Instance, d time.Duration) error {
	if i.Status != policies.StatusActive && i.Status != policies.StatusShutoff {
		return nil
	}
	if err := c.setStatus(ctx, i.ID, "MIGRATING"); err != nil {
		return err
	}
	sleep(ctx, d)
	return c.setStatus(context.WithoutCancel(ctx), i.ID, i.Status)
}

func (c *chaos) setStatus(ctx context.Context, id, status string) error {
	err := c.cloud.setStatus(ctx, id, status)
	c.acts.mu.Lock()
	defer c.acts.mu.Unlock()
	c.acts.hands = append(c.acts.hands, promise.Hand{At: time.Now(), Instance: id, What: status})
	return err
}

// publish sends a message as any program does that wants to be heard: again, with
// the same identity, until NATS says that it is stored, or it gives up.
func (c *chaos) publish(ctx context.Context, s sent, send func(context.Context, *events.Bus) (uint64, error)) {
	for tries := 0; tries < 8 && ctx.Err() == nil; tries++ {
		err := c.outside.do(ctx, func(ctx context.Context, bus *events.Bus) (err error) {
			s.seq, err = send(ctx, bus)
			return err
		})
		if err == nil {
			s.at = time.Now()
			c.acts.mu.Lock()
			c.acts.sent = append(c.acts.sent, s)
			c.acts.mu.Unlock()
			return
		}
		sleep(ctx, 150*time.Millisecond)
	}
}

// command asks for things by NATS.
func (c *chaos) command(ctx context.Context, rng *rand.Rand) error {
	firewalls := make(map[string][]string)
	for n := 1; sleep(ctx, between(rng, 100*time.Millisecond, 900*time.Millisecond)); n++ {
		fleet, err := c.cloud.instances(ctx)
		if err != nil {
			return err
		}
		i := pick(rng, fleet)
		cmd := events.Command{ID: "c" + strconv.Itoa(n), Who: events.DefaultWho, Region: strings.ToLower(i.Region), Instance: i.ID, Reason: "chaos"}
		switch n := rng.IntN(20); {
		case n < 6:
			cmd.Action = "stop"
		case n < 12:
			cmd.Action = "start"
		case n < 15:
			cmd.Action, cmd.Hard = "reboot", rng.IntN(3) == 0
		case n < 17:
			cmd.Action = "retag"
			if slices.Contains(i.Tags, "by-command") {
				cmd.Remove = []string{"by-command"}
			} else {
				cmd.Add = []string{"by-command"}
			}
		case n < 18:
			cmd.Action, cmd.Size = "resize", pick(rng, sizes)
		default:
			cmd.Action = "firewall"
			if firewalls[i.Region] == nil { // the API may have a bad moment: another time
				if firewalls[i.Region], err = c.cloud.firewalls(ctx, i.Region); err != nil || len(firewalls[i.Region]) == 0 {
					continue
				}
			}
			cmd.Firewall = pick(rng, firewalls[i.Region])
		}
		if rng.IntN(25) == 0 {
			cmd.DryRun = true
		}
		times := 1
		if rng.IntN(8) == 0 {
			times = 2 // the same command once more: it acts once
		}
		trigger := events.CommandTrigger(cmd.Who, cmd.ID)
		s := sent{what: cmd.Action + " " + i.Hostname, trigger: trigger, action: policies.ActionID(trigger, 0, i.ID, policies.KindOf(policies.Verb(cmd.Action)))}
		for range times {
			c.publish(ctx, s, func(ctx context.Context, bus *events.Bus) (uint64, error) { return bus.PublishCommand(ctx, cmd) })
		}
		c.tally.count(func(t *Tally) { t.Commands++ })
	}
	return nil
}

// alarm sends what the policies with a trigger listen for.
func (c *chaos) alarm(ctx context.Context, rng *rand.Rand) error {
	var listening []*policies.Policy
	for i := range c.set.Policies {
		if c.set.Policies[i].Signal != nil {
			listening = append(listening, &c.set.Policies[i])
		}
	}
	if len(listening) == 0 {
		return nil
	}
	var firing []events.Signal
	for n := 1; sleep(ctx, between(rng, 150*time.Millisecond, 1200*time.Millisecond)); n++ {
		fleet, err := c.cloud.instances(ctx)
		if err != nil {
			return err
		}
		sig := c.signalFor(rng, pick(rng, listening), fleet, n)
		if len(firing) > 0 && rng.IntN(3) == 0 { // again, or over
			sig = pick(rng, firing)
			if rng.IntN(2) == 0 {
				sig.Status = "resolved"
			}
		} else if sig.Alert != "" {
			firing = append(firing, sig)
		}
		if sig.Alert == "Intrusion" || len(firing) > 20 {
			firing = firing[1:]
		}
		c.publish(ctx, sent{what: "signal " + sig.Alert + sig.Load + sig.Name, trigger: sig.Trigger()}, func(ctx context.Context, bus *events.Bus) (uint64, error) { return bus.PublishSignal(ctx, sig) })
		c.tally.count(func(t *Tally) { t.Signals++ })
	}
	return nil
}

// signalFor is a signal that a policy listens for, mostly of an instance that it
// selects.
func (c *chaos) signalFor(rng *rand.Rand, p *policies.Policy, fleet []civosim.Instance, n int) events.Signal {
	cause := p.Signal
	sig := events.Signal{Source: "monitoring", Region: events.None, Instance: events.None}
	var chosen []civosim.Instance
	for _, i := range fleet {
		if p.Select.Matches(seen(i)) {
			chosen = append(chosen, i)
		}
	}
	if len(chosen) == 0 || rng.IntN(10) == 0 {
		chosen = fleet
	}
	i := pick(rng, chosen)
	if p.Pick == nil {
		sig.Region, sig.Instance = strings.ToLower(i.Region), i.ID
	}
	switch {
	case cause.Load != "":
		value := cause.Above + float64(rng.IntN(30)-10)
		sig.Load, sig.Value, sig.ID = cause.Load, &value, "l"+strconv.Itoa(n)
		return sig
	case cause.Alert != "":
		sig.Alert, sig.Fingerprint, sig.StartsAt = cause.Alert, fmt.Sprintf("%s-%d", i.Hostname, n), time.Now().UTC().Truncate(time.Millisecond)
	default:
		value := float64(1 + rng.IntN(4))
		sig.Name, sig.Value, sig.ID = cause.Name, &value, "s"+strconv.Itoa(n)
	}
	sig.Labels = make(map[string]string)
	for k, v := range cause.Labels {
		sig.Labels[k] = v
	}
	for _, m := range cause.Matchers {
		if m.Op == "=" || m.Op == "=~" {
			sig.Labels[m.Label], _, _ = strings.Cut(m.Value, "|")
		}
	}
	return sig
}

// operate keeps instances as they are, lets policies fall silent, and approves
// what waits for it.
func (c *chaos) operate(ctx context.Context, rng *rand.Rand) error {
	for sleep(ctx, between(rng, 500*time.Millisecond, 3*time.Second)) {
		fleet, err := c.cloud.instances(ctx)
		if err != nil {
			return err
		}
		i := pick(rng, fleet)
		span := fmt.Sprintf("%dm", 30+rng.IntN(150)) // plan time
		switch n := rng.IntN(10); {                  // a daemon that is down answers nothing: then nothing is kept
		case n < 4:
			c.keep(ctx, worker.KeepRequest{Instance: i.ID, Region: i.Region, State: pick(rng, []string{"running", "stopped", "asis"}), For: span, Who: "chaos"})
		case n < 6:
			c.pause(ctx, worker.PauseRequest{Instance: i.ID, Region: i.Region, For: span, Who: "chaos"})
		case n < 8:
			c.pause(ctx, worker.PauseRequest{Policy: pick(rng, c.set.Policies).Name, For: span, Who: "chaos"})
		case n < 9:
			c.pause(ctx, worker.PauseRequest{All: true, For: "20m", Who: "chaos"})
		}
		c.approve(ctx)
	}
	return nil
}

func (c *chaos) keep(ctx context.Context, req worker.KeepRequest) {
	var answer worker.KeepAnswer
	if c.outside.do(ctx, func(ctx context.Context, bus *events.Bus) error { return bus.Ask(ctx, "keep", req, &answer) }) != nil {
		return
	}
	c.tally.count(func(t *Tally) { t.Exceptions++ })
	c.acts.mu.Lock()
	defer c.acts.mu.Unlock()
	c.acts.keeps = append(c.acts.keeps, promise.Keep{Instance: answer.Instance, Keep: policies.Keep{State: stateOf(answer.State), Since: answer.Since, Until: answer.Until}})
}

func stateOf(word string) schedule.State {
	if word == "asis" {
		return schedule.Any
	}
	return schedule.State(word)
}

func (c *chaos) pause(ctx context.Context, req worker.PauseRequest) {
	var answer worker.PauseAnswer
	if c.outside.do(ctx, func(ctx context.Context, bus *events.Bus) error { return bus.Ask(ctx, "pause", req, &answer) }) != nil {
		return
	}
	c.tally.count(func(t *Tally) { t.Exceptions++ })
	c.acts.mu.Lock()
	defer c.acts.mu.Unlock()
	c.acts.pauses = append(c.acts.pauses, answer.Pause)
}

// approve lets held runs go on.
func (c *chaos) approve(ctx context.Context) {
	var runs worker.RunsAnswer
	if c.outside.do(ctx, func(ctx context.Context, bus *events.Bus) error {
		return bus.Ask(ctx, "runs", worker.RunsRequest{Since: time.Now().Add(-15 * time.Second)}, &runs)
	}) != nil {
		return
	}
	for _, r := range runs.Runs {
		if r.State != "held" {
			continue
		}
		at := time.Now()
		var answer worker.ApproveAnswer
		if c.outside.do(ctx, func(ctx context.Context, bus *events.Bus) error {
			return bus.Ask(ctx, "approve", worker.ApproveRequest{Run: r.Trigger, Who: "chaos"}, &answer)
		}) == nil {
			c.tally.count(func(t *Tally) { t.Approvals++ })
			c.acts.mu.Lock()
			c.acts.approved = append(c.acts.approved, approval{r.Trigger, at})
			c.acts.mu.Unlock()
		}
	}
}

// edit changes the policy file: a comment, a fault that is mended soon, a file
// that is gone for a moment.
func (c *chaos) edit(ctx context.Context, rng *rand.Rand) error {
	good, err := os.ReadFile(c.file)
	if err != nil {
		return err
	}
	defer func() { c.putFile(good, false) }()
	for n := 1; sleep(ctx, between(rng, 2*time.Second, 8*time.Second)); n++ {
		switch rng.IntN(3) {
		case 0:
			c.putFile(append(slices.Clone(good), fmt.Sprintf("\n# edit %d\n", n)...), false)
		case 1:
			c.putFile(append(slices.Clone(good), "\npolicies: [ {\n"...), true)
			sleep(ctx, between(rng, 100*time.Millisecond, 5*time.Second))
			c.putFile(good, false)
		case 2:
			c.markFaulty(true)
			_ = os.Remove(c.file)
			sleep(ctx, between(rng, 50*time.Millisecond, time.Second))
			c.putFile(good, false)
		}
		c.tally.count(func(t *Tally) { t.Edits++ })
	}
	return nil
}

// putFile writes the policy file as an editor does: another one, that takes its place.
func (c *chaos) putFile(text []byte, isFaulty bool) {
	if isFaulty {
		c.markFaulty(true)
	}
	err := os.WriteFile(c.file+"~", text, 0o600)
	if err == nil {
		err = os.Rename(c.file+"~", c.file)
	}
	if err != nil {
		c.found("the policy file could not be edited: %v", err)
		return
	}
	if !isFaulty {
		c.markFaulty(false)
	}
}

func (c *chaos) markFaulty(is bool) {
	c.acts.mu.Lock()
	defer c.acts.mu.Unlock()
	switch last := len(c.acts.faulty) - 1; {
	case is && (last < 0 || !c.acts.faulty[last].until.IsZero()):
		c.acts.faulty = append(c.acts.faulty, span{from: time.Now()})
	case !is && last >= 0 && c.acts.faulty[last].until.IsZero():
		c.acts.faulty[last].until = time.Now()
	}
}

// keepBooks reads the simulator's ledger before it drops anything.
func (c *chaos) keepBooks(ctx context.Context) {
	for sleep(ctx, time.Second) {
		if c.cloud.readLedger(ctx) != nil {
			continue // said when it is judged
		}
		requests := c.cloud.requests()
		struck := 0
		for _, r := range requests {
			if r.Fault != "" {
				struck++
			}
		}
		c.tally.count(func(t *Tally) { t.Requests, t.Faults = len(requests), struck })
	}
}
