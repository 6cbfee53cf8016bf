package promise_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

// What follows is drawn from dice of its own, so that a seed that was found before it
// was there still is the same scenario in the rest.

// mores are further kinds of trouble, each with how many scenarios in ten have it.
var mores = []struct {
	name  string
	inTen int
	draw  func(*scenario)
}{
	{"a policy is renamed", 4, (*scenario).renames},
	{"a policy is taken out of the file", 3, (*scenario).removals},
	{"what is about to be touched is protected by an edit", 3, (*scenario).protects},
	{"the file is edited while a run is held", 4, (*scenario).heldMeanwhile},
	{"order and pace are edited in the middle of a run", 4, (*scenario).midRun},
	{"runs are retried and undone", 5, (*scenario).secondThoughts},
	{"owners keep by tag", 3, (*scenario).owners},
	{"commands that wait, or are tried out", 4, (*scenario).laterCommands},
	{"one region fails", 3, (*scenario).oneRegion},
	{"the key is refused, answers are empty", 3, (*scenario).badAnswers},
	{"an instance vanishes", 3, (*scenario).vanishing},
	{"the bus is away from all", 2, (*scenario).noBus},
	{"a clock jumps", 4, (*scenario).jumps},
	{"a daemon is behind with the file", 3, (*scenario).laggard},
}

func (s *scenario) more() {
	old := s.dice
	s.dice = rand.New(rand.NewPCG(s.seed, 11))
	for _, m := range mores {
		if s.dice.IntN(10) < m.inTen {
			m.draw(s)
		}
	}
	s.dice = old
}

// night takes the scenario to the hour in which the clocks of a zone change.
func (s *scenario) night() {
	dice := rand.New(rand.NewPCG(s.seed, 13))
	if dice.Float64() >= 0.25 {
		return
	}
	n := nights[dice.IntN(len(nights))]
	s.begin, s.v.zone = n.change.Add(-time.Duration(10+60*dice.IntN(2))*time.Minute), n.zone // so that it ends well behind an edge
	if dice.Float64() < 0.5 {
		s.v.windows = nightly
	}
}

// nights are changes of the clocks, each with the zone in which it happens.
var nights = []struct {
	zone   string
	change time.Time
}{
	{"Europe/London", time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)},
	{"Europe/London", time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)},
	{"America/New_York", time.Date(2026, 3, 8, 7, 0, 0, 0, time.UTC)},
	{"America/New_York", time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC)},
}

// nightly has windows that begin or end in the hour that is left out or read twice,
// one that lies in it, and one past midnight.
const nightly = `"23:40-00:20", "00:50-01:15", "01:30-01:50", "02:15-02:30", "02:50-03:30", "04:00-05:00", "06:00-07:00"`

// renames gives a policy another name, which carries on its history, and perhaps the
// old one again; half of them right after an alert, whose cool-down must go with it.
func (s *scenario) renames() {
	at, v := s.some(), s.v
	v.renamed = pick(s, "dev-hours", "web-down")
	s.edit(at, v.text())
	for n := range s.dice.IntN(3) {
		id := pick(s, webs...)
		for i, when := range []time.Duration{at - time.Duration(1+s.dice.IntN(15))*time.Minute, at + time.Duration(1+s.dice.IntN(15))*time.Minute} {
			sig := events.Signal{Source: "prometheus", Region: regionOf(id), Instance: id, Alert: "InstanceDown", Fingerprint: fmt.Sprintf("r%d-%d", n, i), StartsAt: s.begin.Add(when)}
			s.add(max(when, time.Second), "alert InstanceDown of "+id, func(w *world) { w.send(sig) })
		}
	}
	if s.chance(0.5) {
		v.back = true
		s.edit(at+time.Duration(1+s.dice.IntN(50))*time.Minute, v.text())
	}
}

func (s *scenario) removals() {
	at, v := s.some(), s.v
	v.without = pick(s, "dev-hours", "batch-stop", "web-down", "ci-on-demand")
	s.edit(at, v.text())
	if s.chance(0.6) {
		s.edit(at+time.Duration(1+s.dice.IntN(50))*time.Minute, s.v.text())
	}
}

// protects puts off what an edge wants, and protects it before the next attempt.
func (s *scenario) protects() {
	at, v := s.edge(), s.v
	v.protect = pick(s, "any: [protected, tier=app]", "any: [protected, env=dev]", "any: [protected, batch]")
	s.failing(at-5*time.Second, "start", "stop")
	s.edit(at+time.Duration(s.dice.IntN(60))*time.Second, v.text())
	s.edit(at+30*time.Minute, s.v.text())
}

// edge is an instant of the trouble at which the plain windows have an edge.
func (s *scenario) edge() time.Duration {
	at := s.begin.Add(s.some()).Truncate(time.Hour).Add(time.Hour).Sub(s.begin)
	if s.v.windows == windows[2] {
		at += 20 * time.Minute
	}
	return at
}

// heldMeanwhile holds runs, edits the file while they wait, and approves them then.
func (s *scenario) heldMeanwhile() {
	at := s.edge()
	hold := s.v
	if s.chance(0.5) {
		hold.mode = "ask"
	} else {
		hold.perRun = 1
	}
	s.edit(at-time.Duration(1+s.dice.IntN(8))*time.Minute, hold.text())
	then := hold
	switch s.dice.IntN(7) {
	case 0:
		then.mode, then.perRun = "observe", 50
	case 1:
		then.mode, then.perRun = "act", 50
	case 2:
		then.without = pick(s, "dev-hours", "batch-stop")
	case 3:
		then.protect = "any: [protected, tier=db]"
	case 4:
		then.floors = "floors: [ { select: { all: [env=dev] }, running: 5 } ]\n"
	case 5:
		then.windows = pick(s, windows...)
	case 6:
		then.perHour, then.order, then.pace, then.canary = 3, tiers, slowly, "    canary: 3m\n"
	}
	s.edit(at+time.Duration(20+s.dice.IntN(300))*time.Second, then.text())
	for range 1 + s.dice.IntN(3) {
		s.add(at+time.Duration(20+s.dice.IntN(900))*time.Second, "a person approves what is held", func(w *world) { w.approve() })
	}
	s.edit(at+time.Duration(25+s.dice.IntN(20))*time.Minute, s.v.text())
}

// midRun changes turns and pace while a run is carried out by them.
func (s *scenario) midRun() {
	at, slow := s.edge(), s.v
	slow.order, slow.pace = tiers, slowly
	s.edit(at-time.Duration(2+s.dice.IntN(5))*time.Minute, slow.text())
	for range 1 + s.dice.IntN(2) {
		v := s.v
		v.order = pick(s, "", tiers, backwards)
		v.pace = pick(s, "", slowly, "pace: { at_once: 2, apart: 1m }\n")
		v.canary = pick(s, "", "    canary: 2m\n")
		s.edit(at+time.Duration(5+s.dice.IntN(180))*time.Second, v.text())
	}
}

// backwards is another order, of the same name.
const backwards = `order:
  - name: tiers
    stages:
      - { select: { all: [tier=app] }, deadline: 1m }
      - { select: { all: [tier=db] }, deadline: 4m }
`

// secondThoughts asks for runs of the last hour again, or for their opposite.
func (s *scenario) secondThoughts() {
	for range 1 + s.times(1) {
		verb, nth := pick(s, "retry", "retry", "undo"), s.dice.IntN(100)
		ask := func(w *world) { w.askAgain(verb, nth) }
		at := s.some()
		s.add(at, "a person asks to "+verb+" a run", ask)
		if s.chance(0.3) {
			s.add(at+time.Duration(s.dice.IntN(30))*time.Second, "a person asks to "+verb+" it again", ask)
		}
	}
}

func (w *world) askAgain(verb string, nth int) {
	var triggers []string
	for run, err := range w.own.Runs(w.t.Context(), time.Now().Add(-time.Hour)) {
		if err != nil {
			w.t.Errorf("runs: %v", err)
			return
		}
		if len(run.Items) > 0 {
			triggers = append(triggers, run.Trigger)
		}
	}
	if len(triggers) == 0 {
		return
	}
	run := triggers[nth%len(triggers)]
	var answer any
	if err := w.own.Ask(w.t.Context(), verb, worker.ApproveRequest{Run: run}, &answer); err != nil {
		w.tell("%s %s is answered: %v", verb, run, err)
		return
	}
	w.tell("%s %s is asked for", verb, run)
}

// owners tag their instances to be kept, for a while or for as long as they may.
func (s *scenario) owners() {
	v := s.v
	v.owners = "owners: { keys: [keep], max: 1h }\n"
	s.file = v.text()
	s.v.owners = v.owners
	for range 1 + s.times(1) {
		at, id := s.some(), pick(s, "dev-2", "dev-3", "dev-5")
		until := s.begin.Add(at + time.Duration(5+s.dice.IntN(50))*time.Minute).UTC().Format("2006-01-02T15:04Z")
		tags := []string{"env=dev", "nightshift.keep=" + pick(s, "running@"+until, "stopped@"+until, "asis@"+until, "asis", "running@soon")}
		s.add(at, fmt.Sprintf("the owner of %s tags it %s", id, tags[1]), func(w *world) { w.tag(id, tags...) })
		if s.chance(0.5) {
			s.add(at+time.Duration(1+s.dice.IntN(40))*time.Minute, "the owner of "+id+" takes the tag away", func(w *world) { w.tag(id, "env=dev") })
		}
	}
}

func (w *world) tag(id string, tags ...string) {
	w.snapshot()
	w.sim.SetTags(id, tags...)
	w.hand(id, "tags")
}

// laterCommands are due later, may not be late, are a try only, or turn a machine
// into a larger one.
func (s *scenario) laterCommands() {
	for n := range 1 + s.times(1) {
		id := pick(s, instances...)
		at := s.some()
		c := events.Command{Who: "local", Region: regionOf(id), Instance: id, Action: pick(s, "stop", "start", "reboot"), ID: fmt.Sprintf("later%d", n)}
		switch s.dice.IntN(4) {
		case 0:
			c.NotBefore = s.begin.Add(at + time.Duration(1+s.dice.IntN(20))*time.Minute)
		case 1:
			c.GiveUpAfter = pick(s, "10s", "1m", "3h")
		case 2:
			c.DryRun = true
		case 3:
			c.Action, c.Size = "resize", pick(s, "g3.medium", "g3.large")
		}
		s.add(at, fmt.Sprintf("command %s %s, not before %s, good for %q, dry run %t", c.Action, id, c.NotBefore.Format("15:04"), c.GiveUpAfter, c.DryRun), func(w *world) { w.command(c) })
	}
}

// oneRegion fails while the other is well.
func (s *scenario) oneRegion() {
	at := pick(s, s.some(), s.edge()-10*time.Second)
	f := civosim.Fault{Op: pick(s, "*", "list"), Region: pick(s, "lon1", "nyc1"), Kind: pick(s, civosim.ServerError, civosim.HTML502, civosim.CutBefore), Count: -1}
	last := time.Duration(1+s.dice.IntN(40)) * time.Minute
	s.add(at, fmt.Sprintf("the cloud: %s on every %s of %s for %s", f.Kind, f.Op, f.Region, last), func(w *world) { w.sim.Inject(f) })
	s.add(at+last, "the cloud is well", func(w *world) { w.sim.ClearFaults() })
}

func (s *scenario) badAnswers() {
	at, last := pick(s, s.some(), s.edge()-10*time.Second), time.Duration(20+s.dice.IntN(600))*time.Second
	f := civosim.Fault{Op: pick(s, "*", "stop", "start", "list"), Kind: pick(s, civosim.Unauthorized, civosim.EmptyBody, civosim.HTML502, civosim.Refused), Count: -1, Probability: pick(s, 1, 0.4)}
	if f.Kind == civosim.Refused {
		f.Code = pick(s, "out_of_capacity", "region_unavailable", "quota_limit_reached")
	}
	f.After = f.Kind == civosim.HTML502 && s.chance(0.5)
	s.add(at, fmt.Sprintf("the cloud: %s %s on %s, probability %g, for %s", f.Kind, f.Code, f.Op, f.Probability, last), func(w *world) { w.sim.Inject(f) })
	s.add(at+last, "the cloud is well", func(w *world) { w.sim.ClearFaults() })
}

// vanishing is an instance that somebody deletes.
func (s *scenario) vanishing() {
	id, at := pick(s, "dev-1", "dev-6", "web-4", "night-2", "ci-1"), pick(s, s.some(), s.edge()+time.Duration(s.dice.IntN(30))*time.Second)
	s.add(at, "a person deletes "+id, func(w *world) {
		w.snapshot()
		w.sim.Remove(id)
		w.hand(id, "deleted")
	})
}

func (s *scenario) noBus() {
	if s.alone {
		return // its NATS is embedded
	}
	at, last := pick(s, s.some(), s.edge()-time.Duration(s.dice.IntN(60))*time.Second), time.Duration(5+s.dice.IntN(600))*time.Second
	s.add(at, fmt.Sprintf("the bus is away from all for %s", last), func(w *world) {
		for _, d := range w.daemon {
			if d.isUp() {
				d.wire.cut()
				d.down()
			}
		}
	})
	s.add(at+last, "the bus is back for all", func(w *world) {
		for _, d := range w.daemon {
			d.back()
		}
	})
}

// jumps sets the clock of a daemon wrong while it runs, or while it is down, and
// right again.
func (s *scenario) jumps() {
	for range 1 + s.times(0.3) {
		n, at := s.dice.IntN(len(s.offsets)), pick(s, s.some(), s.edge()-time.Duration(s.dice.IntN(120))*time.Second)
		by := pick(s, 2*time.Hour, -3*time.Hour, 5*time.Minute, -5*time.Minute, 40*24*time.Hour, -2000*time.Hour)
		last := time.Duration(10+s.dice.IntN(1500)) * time.Second
		s.add(at, fmt.Sprintf("the clock of daemon %c jumps by %s", 'a'+n, by), func(w *world) { w.daemon[n].jump(by) })
		s.add(at+last, fmt.Sprintf("the clock of daemon %c is right again", 'a'+n), func(w *world) { w.daemon[n].jump(0) })
	}
}

// laggard takes up an edit only long after the others.
func (s *scenario) laggard() {
	if len(s.offsets) < 2 {
		return
	}
	at, v := pick(s, s.some(), s.edge()-time.Duration(s.dice.IntN(300))*time.Second), s.v
	switch s.dice.IntN(3) {
	case 0:
		v.windows = pick(s, windows...)
	case 1:
		v.cron = "*/20 * * * *"
	case 2:
		v.without = "batch-stop"
	}
	file, late := v.text(), s.dice.IntN(len(s.offsets))
	s.add(at, "the policy file is edited, for all but one", func(w *world) { w.edit(file) })
	for i := range s.offsets {
		after := time.Duration(s.dice.IntN(5)) * time.Second
		if i == late {
			after = time.Duration(2+s.dice.IntN(30)) * time.Minute
		}
		s.add(at+after, "", func(w *world) { w.daemon[i].takeUp() })
	}
}
