package crash

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
	"nightshift/worker/promise"
)

var (
	kills    = flag.Int("kills", 15, "of TestRandomKills: how often each daemon is killed; from 1,000 on over a month of plan time")
	killSeed = flag.Uint64("kill-seed", 1, "of TestRandomKills: of the moments and of what comes in meanwhile")
)

const killsFile = `version: 1
regions: [LON1, NYC1]
timezone: Europe/London
schedules:
  office:  { running: ["Mon-Fri 08:00-19:00"] }
  nightly: { stopped: ["22:00-06:00"], timezone: America/New_York }
policies:
  - { name: dev-hours, select: { all: [env=dev] }, schedule: office }
  - { name: ny-nights, select: { all: [sleeps] }, schedule: nightly }
  - { name: batch-start, select: { all: [batch] }, cron: "30 5 * * *", do: start, lasts: 3h }
  - { name: weekly-reboot, select: { all: [role=web] }, cron: "0 3 * * *", do: { reboot: soft } }
  - { name: grows, select: { all: [role=api] }, cron: "0 1 * * *", do: { resize: [g3.xsmall, g3.small, g3.medium, g3.large] } }
  - { name: marks, select: { all: [role=web] }, cron: "0 1 * * *", do: { retag: { add: [night] } } }
  - { name: unmarks, select: { all: [role=web] }, cron: "0 13 * * *", do: { retag: { remove: [night] } } }
  - { name: nobody, select: { all: [no=such] }, cron: "0 12 * * *", do: stop }
  - { name: web-down, select: { all: [role=down] }, trigger: { alert: InstanceDown }, do: { reboot: soft }, cooldown: 1m }
protect: { all: [protected] }
allow: [start, stop, reboot, retag, firewall, resize]
limits: { per_run: 1000, per_hour: 100000 }
verify: { within: 20s, settle: 600ms, apart: 200ms }
civo: { rate: 100/s }
`

const killsFleet = `instances:
  - { hostname: "dev-%d", count: 4, region: LON1, tags: [env=dev] }
  - { hostname: dev-db, region: LON1, tags: [env=dev, protected] }
  - { hostname: "ny-%d", count: 2, region: NYC1, tags: [sleeps] }
  - { hostname: "batch-%d", count: 2, region: NYC1, tags: [batch], status: SHUTOFF }
  - { hostname: "web-%d", count: 2, region: LON1, tags: [role=web] }
  - { hostname: api-1, region: LON1, tags: [role=api], size: g3.xsmall }
  - { hostname: "down-%d", count: 3, region: LON1, tags: [role=down] }
  - { hostname: "asked-%d", count: 3, region: NYC1, tags: [role=asked] }
`

func killsScene() scene {
	return scene{
		sim:      civosim.Options{Regions: []string{"LON1", "NYC1"}, Delay: 300 * time.Millisecond, Jitter: 0.5, Lag: 50 * time.Millisecond, Seed: *killSeed},
		fleet:    killsFleet,
		policies: killsFile,
	}
}

// pause is about how long a daemon lives, its start left aside.
const pause = time.Second

func TestRandomKills(t *testing.T) {
	for _, external := range []bool{false, true} {
		t.Run(fmt.Sprintf("external=%t", external), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, killsScene(), external, time.Date(2026, 3, 2, 0, 30, 0, 0, time.UTC), "")
			s.inject("*:server-error,probability=0.02,count=-1", "soft_reboot:cut-after,probability=0.1,count=-1", "stop:cut-after,probability=0.05,count=-1")
			rng := rand.New(rand.NewPCG(*killSeed, 0))
			days := max(3, 30**kills/1000)
			s.speed = float64(days*24*3600) / (float64(*kills) * pause.Seconds())

			first := s.start("")
			since := s.knows("web-down")                                              // all are known since then
			known := s.began.Add(time.Duration(float64(since.Sub(s.from)) / s.speed)) // in machine time
			before := promise.FleetOf(s.sim, known)
			first.kill()
			outside := s.world(rand.New(rand.NewPCG(*killSeed, 1)))
			for range *kills {
				d := s.comesBack()
				if rng.IntN(5) > 0 { // else it may die while it starts
					d.says(`"ready"`)
				}
				d.diesAfter(time.Duration(rng.Int64N(int64(2 * pause))))
				d.forget()
			}
			accepted := outside()
			s.sim.ClearFaults()
			last := s.caughtUp(since)
			last.kill()
			fast, slow := *s, time.Now()
			plan := func(machine time.Time) time.Time { // as the daemons were told
				if machine.Before(slow) {
					return fast.at(machine)
				}
				return s.at(machine)
			}
			s.from, s.began, s.speed = s.at(slow), slow, max(1, s.speed/20) // so that there are moments at which nothing is to be done
			s.comesBack()
			var end time.Time
			st := s.allEnded(func(since time.Time) error {
				end = s.now()
				if near := s.cfg.Policies.Edges(s.before(since, 5*time.Second), s.before(end, -3*time.Second)); len(near) > 0 {
					return fmt.Errorf("edge %s has just been, or comes", near[0].ID())
				}
				return nil
			})
			s.checkFleet(&st, end) // at once: the next edge comes
			history := s.history(&st, known, before, plan)
			t.Logf("%d kills over %s of plan time: %d runs, %d commands and alerts, %s", *kills, end.Sub(since).Round(time.Hour), len(st.runs), len(accepted), st.counts())
			s.check(&st, since, end, accepted)
			for _, breach := range promise.Check(history) {
				t.Error(breach)
			}
		})
	}
}

// before is the plan time a span of machine time before another.
func (s *site) before(plan time.Time, d time.Duration) time.Time {
	return plan.Add(-time.Duration(s.speed * float64(d)))
}

// caughtUp starts a daemon and waits until every edge is stored that came more
// than a moment ago.
func (s *site) caughtUp(since time.Time) *daemon {
	s.t.Helper()
	d := s.comesBack()
	bus := s.bus()
	s.until("edges are caught up", func() error {
		upTo := s.before(s.now(), 2*time.Second)
		st, err := s.read(bus)
		if err == nil {
			err = s.edgesAre(&st, since, upTo)
		}
		return err
	})
	return d
}

// edgesAre says which edges have neither a plan nor an event that says why not.
func (s *site) edgesAre(st *story, after, upTo time.Time) error {
	taken := make(map[string]bool)
	for _, run := range st.runs {
		for _, e := range run.Edges {
			taken[e] = true
		}
	}
	var lost []string
	for _, e := range s.cfg.Policies.Edges(after, upTo) {
		if !taken[e.ID()] && !st.isVoided(e) {
			lost = append(lost, fmt.Sprintf("%s (%s)", e.ID(), e.Planned))
		}
	}
	if len(lost) > 0 {
		return fmt.Errorf("edges without a plan, and without an event that says why: %s", strings.Join(lost, ", "))
	}
	return nil
}

// world sends commands and alerts until it is told to end, each with an id of its
// own, again and again until NATS says that it is stored. It returns their triggers.
func (s *site) world(rng *rand.Rand) (end func() []string) {
	ctx, stop := context.WithCancel(s.t.Context())
	var accepted []string
	var running sync.WaitGroup
	all := s.sim.Instances()
	running.Go(func() { // until stop
		next := time.NewTimer(0)
		defer next.Stop()
		for n := 0; ; {
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
			wait := 50 * time.Millisecond // until NATS may be there again
			if trigger := s.sendOne(ctx, n, all, rng); trigger != "" {
				accepted = append(accepted, trigger)
				n++
				wait += time.Duration(rng.Int64N(int64(time.Second)))
			}
			next.Reset(wait)
		}
	})
	return func() []string { stop(); running.Wait(); return accepted }
}

func (s *site) sendOne(ctx context.Context, n int, all []civosim.Instance, rng *rand.Rand) (trigger string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	bus, err := events.Dial(ctx, "nats://"+s.nats, events.Auth{})
	if err != nil {
		return ""
	}
	defer bus.Conn().Close()
	of := func(role string) civosim.Instance {
		own := slices.DeleteFunc(slices.Clone(all), func(i civosim.Instance) bool { return !slices.Contains(i.Tags, "role="+role) })
		return own[n/2%len(own)]
	}
	if n%2 == 0 {
		i := of("down")
		sig := events.Signal{Source: "prometheus", Region: strings.ToLower(i.Region), Instance: i.ID, Alert: "InstanceDown", ID: fmt.Sprintf("alert-%d", n)}
		_, err = bus.PublishSignal(ctx, sig)
		trigger = sig.Trigger()
	} else {
		i := of("asked")
		c := events.Command{Who: "oncall", Region: strings.ToLower(i.Region), Instance: i.ID, Action: []string{"reboot", "stop", "start"}[n/2%3], ID: fmt.Sprintf("command-%d", n)}
		_, err = bus.PublishCommand(ctx, c)
		trigger = events.CommandTrigger(c.Who, c.ID)
	}
	if err != nil {
		return ""
	}
	return trigger
}

// check says what of the promise was not kept.
func (s *site) check(st *story, since, end time.Time, accepted []string) {
	s.t.Helper()
	all := st.outcomes()
	for id, outcomes := range all {
		if len(outcomes) != 1 {
			s.t.Errorf("action %s has %d outcomes: %q%s", id, len(outcomes), outcomes, st.trail(id))
		}
	}
	triggers := make(map[string]bool)
	for _, run := range st.runs {
		triggers[run.Trigger] = true
		for _, it := range run.Items {
			if len(all[it.ID]) == 0 {
				s.t.Errorf("%s %s of run %s has no outcome%s", it.Action, it.Hostname, run.Trigger, st.trail(it.ID))
			}
		}
	}
	for _, trigger := range accepted {
		if !triggers[trigger] {
			s.t.Errorf("what came in as %s is lost", trigger)
		}
	}
	if err := s.edgesAre(st, since, end); err != nil {
		s.t.Error(err)
	}
	for _, rec := range st.records {
		if rec.Outcome == events.Noticed && rec.Reason == string(policies.ReasonHand) {
			s.t.Errorf("nobody touched %s by hand at %s: %s", rec.Hostname, rec.StoredAt, rec.Detail)
		}
	}
	s.checkReboots(st)
}

// checkReboots looks in the simulator's own ledger whether any reboot was carried
// out twice. Since one call is in flight per instance, a request belongs to the
// newest call that was announced before it.
func (s *site) checkReboots(st *story) {
	s.t.Helper()
	effects := make(map[string]int) // by action id
	for _, r := range s.sim.Requests() {
		if r.Op != "soft_reboot" || !r.Effect {
			continue
		}
		var call events.Record
		for _, rec := range st.records {
			if rec.Outcome == events.Started && rec.Instance == r.Instance && rec.StoredAt.Before(r.Time) {
				call = rec
			}
		}
		if call.Action != "reboot" {
			s.t.Errorf("a reboot of %s at %s that no action announced", r.Instance, r.Time)
		}
		effects[call.ActionID]++
	}
	for id, n := range effects {
		if n > 1 {
			s.t.Errorf("%d reboots for one action %s%s", n, id, st.trail(id))
		}
	}
}

// checkFleet looks whether the instances of schedules are as they want them.
func (s *site) checkFleet(st *story, at time.Time) {
	s.t.Helper()
	api, err := civo.New(token, civo.Options{BaseURL: s.api})
	if err != nil {
		s.t.Fatal(err)
	}
	inv, faults := worker.ReadInventory(s.t.Context(), api, s.cfg.Policies.Regions)
	for _, err := range faults {
		s.t.Fatal(err)
	}
	plan := policies.Decide(&s.cfg.Policies, inv, policies.Facts{}, policies.Trigger{ID: "look", At: at}, at)
	for _, a := range plan.Actions {
		if a.Level && !st.isGivenUp(a.Instance) {
			s.t.Errorf("%s should be changed: %s (%s)%s", a.Hostname, a.Verb, a.Policy, st.newest(a.Instance))
		}
	}
}
