package promise_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
	"nightshift/worker/promise"
)

const evening = `
version: 1
regions: [LON1]
timezone: UTC
policies:
  - name: dev-hours
    select: { all: [env=dev] }
    schedule: { running: ["Mon-Fri 08:00-19:00"] }
  - name: web-down
    select: { all: [role=web] }
    trigger: { alert: InstanceDown }
    do: { reboot: soft }
    cooldown: 30m
    at_most: { instances: 1, within: 30m }
  - name: night-watch
    select: { all: [env=dev] }
    trigger: { alert: InstanceDown }
    do: { reboot: soft }
protect: { all: [protected] }
limits: { per_run: 3, per_hour: 4 }
floors: [ { select: { all: [role=web] }, running: 1 } ]
`

const (
	dev, web, web2, db = "dev", "web", "web-2", "db"
)

// nineteen is a Wednesday evening at which dev is stopped.
var nineteen = time.Date(2026, 3, 4, 19, 0, 0, 0, time.UTC)

// book is a history in which everything went well, and the means to spoil it.
type book struct {
	promise.History
	seq uint64
}

func parse(t *testing.T, text string) *policies.Set {
	t.Helper()
	cfg, err := configs.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &cfg.Policies
}

// good is an evening: the edge of 19:00 stops dev, an alert of 20:00 reboots web.
func good(t *testing.T) *book {
	b := &book{}
	set := parse(t, evening)
	began := nineteen.Add(-2 * time.Hour)
	b.Started, b.Now, b.Settled = began, nineteen.Add(3*time.Hour), true
	b.Files = []promise.File{{Daemon: "a", From: began, Set: set}}
	b.Up = []promise.Span{{Daemon: "a", From: began}}
	b.fleet(began, policies.StatusActive)
	p, _ := set.Policy("dev-hours")
	edge := "dev-hours@" + "1772650800"
	b.Ticks = []events.Tick{{Policy: "dev-hours", Planned: nineteen, Hash: p.Hash(), Trigger: "t1772650800", Edges: []string{edge}}}
	run := b.run(nineteen, "t1772650800", "tick", edge)
	b.plan(run, item("stop", dev, "dev-hours", nineteen, true))
	b.carryOut(run, 0, nineteen.Add(time.Second))
	alert := nineteen.Add(time.Hour)
	run = b.run(alert, "prometheus-1", "signal")
	b.plan(run, item("reboot", web, "web-down", alert, false))
	b.carryOut(run, 0, alert.Add(time.Second))
	b.fleet(b.Now, policies.StatusShutoff)
	return b
}

// fleet is how the instances are at an instant; only dev changes.
func (b *book) fleet(at time.Time, ofDev string) {
	b.Fleets = append(b.Fleets, promise.Fleet{At: at, Instances: []policies.Instance{
		{ID: dev, Hostname: dev, Region: "LON1", Status: ofDev, Tags: []string{"env=dev"}},
		{ID: web, Hostname: web, Region: "LON1", Status: policies.StatusActive, Tags: []string{"role=web"}},
		{ID: web2, Hostname: web2, Region: "LON1", Status: policies.StatusActive, Tags: []string{"role=web"}},
		{ID: db, Hostname: db, Region: "LON1", Status: policies.StatusActive, Tags: []string{"protected"}},
	}})
}

func (b *book) run(at time.Time, trigger, kind string, edges ...string) *events.Run {
	b.Runs = append(b.Runs, events.Run{Trigger: trigger, Kind: kind, Region: "lon1", Edges: edges, Planned: at, StoredAt: at, Seq: uint64(len(b.Runs) + 1)})
	return &b.Runs[len(b.Runs)-1]
}

func item(verb, instance, policy string, at time.Time, level bool) events.Item {
	return events.Item{Action: verb, Kind: string(policies.KindOf(policies.Verb(verb))), Region: "lon1", Instance: instance, Hostname: instance, Policy: policy, Level: level,
		Planned: at, NotAfter: at.Add(15 * time.Minute)}
}

func (b *book) plan(run *events.Run, items ...events.Item) {
	for _, it := range items {
		it.ID = policies.ActionID(run.Trigger, len(run.Items), it.Instance, policies.Kind(it.Kind))
		run.Items = append(run.Items, it)
	}
}

func (b *book) event(run *events.Run, n int, o events.Outcome, at time.Time) *events.Record {
	b.seq++
	it := run.Items[n]
	rec := events.Record{ActionID: it.ID, Action: it.Action, Outcome: o, Trigger: run.Origin(), Policy: it.Policy, Region: it.Region, Instance: it.Instance, Hostname: it.Hostname,
		Planned: it.Planned, RunSeq: run.Seq, StoredAt: at, Seq: b.seq}
	if o == events.Started {
		rec.Deadline = at.Add(30 * time.Second)
	}
	b.Events = append(b.Events, rec)
	return &b.Events[len(b.Events)-1]
}

func (b *book) request(op, instance string, at time.Time) {
	b.Requests = append(b.Requests, civosim.Request{Time: at, Op: op, Instance: instance, Status: 200, Effect: true})
}

// carryOut is a call that is accepted and then done.
func (b *book) carryOut(run *events.Run, n int, at time.Time) {
	op := run.Items[n].Action
	if op == "reboot" {
		op = "soft_reboot"
	}
	b.event(run, n, events.Started, at)
	b.request(op, run.Items[n].Instance, at.Add(time.Second))
	b.event(run, n, events.Accepted, at.Add(2*time.Second))
	b.event(run, n, events.Done, at.Add(30*time.Second))
}

// act is one more run of one action that is carried out.
func (b *book) act(trigger, kind string, it events.Item, at time.Time) *events.Run {
	run := b.run(at, trigger, kind)
	b.plan(run, it)
	b.carryOut(run, 0, at.Add(time.Second))
	return run
}

// both is a run of two stops by one policy, one right after the other.
func (b *book) both() {
	at := nineteen.Add(30 * time.Minute)
	run := b.run(at, "t3", "tick")
	b.plan(run, item("stop", web, "dev-hours", at, true), item("stop", web2, "dev-hours", at, true))
	b.event(run, 0, events.Started, at.Add(time.Second))
	b.event(run, 1, events.Started, at.Add(2*time.Second))
}

// grow lets there be more instances of dev-hours.
func (b *book) grow(n int) {
	for f := range b.Fleets {
		if b.Fleets[f].At.Before(b.Started) {
			b.Fleets[f].Instances = slices.Clone(b.Fleets[f].Instances)
			continue
		}
		for i := range n {
			b.Fleets[f].Instances = append(b.Fleets[f].Instances, policies.Instance{ID: fmt.Sprint("i-", i), Region: "LON1", Status: policies.StatusShutoff, Tags: []string{"env=dev"}})
		}
	}
	if b.Fleets[0].At.Before(b.Started) {
		more := b.Fleets[1]
		more.At = nineteen.Add(-time.Hour)
		b.Fleets = slices.Insert(b.Fleets, 1, more)
	}
}

// limit changes the policy file.
func (b *book) limit(change func(*policies.Set)) {
	set := *b.Files[0].Set
	set.Policies = slices.Clone(set.Policies)
	change(&set)
	b.Files[0].Set = &set
}

func TestAHistoryInWhichAllWentWellBreaksNothing(t *testing.T) {
	b := good(t)
	for _, breach := range promise.Check(&b.History) {
		t.Error(breach)
	}
}

func TestEachRuleIsFoundBroken(t *testing.T) {
	spoils := map[string]func(b *book){
		"one outcome": func(b *book) { b.event(&b.Runs[0], 0, events.Failed, b.Now) },
		"one plan": func(b *book) {
			b.Runs = append(b.Runs, events.Run{Trigger: "t1772650801", Region: "lon1", Edges: b.Runs[0].Edges, Planned: nineteen, StoredAt: nineteen, Seq: 9})
			b.Runs[len(b.Runs)-1].Why = ""
		},
		"planned before called":   func(b *book) { b.Runs[1].StoredAt = b.Now },
		"announced before called": func(b *book) { b.request("stop", web, nineteen) },
		"one call in flight": func(b *book) {
			run := b.run(nineteen, "local-1", "command")
			b.plan(run, item("retag", dev, "", nineteen, false))
			b.Events = slices.Insert(b.Events, 1, *b.event(run, 0, events.Started, nineteen.Add(2*time.Second)))
			b.Events = b.Events[:len(b.Events)-1]
			b.event(run, 0, events.Failed, nineteen.Add(time.Hour))
		},
		"in order": func(b *book) {
			older := b.run(nineteen, "local-1", "command")
			b.plan(older, item("stop", web, "", nineteen, false))
			newer := b.run(nineteen, "local-2", "command")
			b.plan(newer, item("stop", web, "", nineteen, false))
			b.carryOut(newer, 0, nineteen.Add(2*time.Minute))
			b.carryOut(older, 0, nineteen.Add(4*time.Minute))
		},
		"never twice": func(b *book) {
			b.event(&b.Runs[1], 0, events.Started, nineteen.Add(70*time.Minute))
			b.request("soft_reboot", web, nineteen.Add(70*time.Minute))
			b.Runs[1].Items[0].NotAfter = b.Now
		},
		"not before it is due":       func(b *book) { b.Runs[0].Items[0].NotBefore = nineteen.Add(10 * time.Second) },
		"not after its give-up time": func(b *book) { b.Runs[0].Items[0].NotAfter = nineteen.Add(-10 * time.Second) },
		"not what is only watched":   func(b *book) { b.Runs[0].Items[0].Observe = true },
		"not while held":             func(b *book) { b.Runs[1].Held = "too many" },
		"not on the protected":       func(b *book) { b.act("local-1", "command", item("stop", db, "", nineteen, false), nineteen) },
		"not against an exception": func(b *book) {
			b.Keeps = []promise.Keep{{Instance: dev, Keep: policies.Keep{State: schedule.Running, Since: nineteen.Add(-time.Hour), Until: nineteen.Add(time.Hour)}}}
		},
		"only what is allowed": func(b *book) { b.act("local-1", "command", item("resize", web, "", nineteen, false), nineteen) },
		"still selected":       func(b *book) { b.limit(func(set *policies.Set) { set.Policies = set.Policies[1:] }) },
		"off on purpose": func(b *book) {
			b.act("prometheus-2", "signal", item("reboot", dev, "night-watch", nineteen.Add(time.Hour), false), nineteen.Add(time.Hour))
		},
		"cool-down": func(b *book) {
			at := nineteen.Add(80 * time.Minute)
			b.act("prometheus-2", "signal", item("reboot", web, "web-down", at, false), at)
		},
		"limits": func(b *book) {
			at := nineteen.Add(70 * time.Minute)
			b.act("prometheus-2", "signal", item("reboot", web2, "web-down", at, false), at)
		},
		"share": func(b *book) {
			b.grow(6)
			b.limit(func(set *policies.Set) { set.Limits.PerRun, set.Limits.Share = 50, 0.2 })
			run := b.run(nineteen, "local-1", "command")
			b.plan(run, item("retag", web, "", nineteen, false), item("retag", web2, "", nineteen, false), item("retag", dev, "", nineteen, false))
			for n := range 3 {
				b.event(run, n, events.Failed, nineteen)
			}
		},
		"growth": func(b *book) {
			b.Fleets[0].At = b.Started.Add(-24 * time.Hour)
			b.Files[0].From = b.Fleets[0].At
			early := b.run(b.Started.Add(-22*time.Hour), "t1", "tick")
			b.plan(early, item("stop", dev, "dev-hours", nineteen, true))
			b.event(early, 0, events.Failed, nineteen.Add(-23*time.Hour))
			b.Runs[0], b.Runs[2] = b.Runs[2], b.Runs[0]
			b.grow(5)
		},
		"canary": func(b *book) {
			b.limit(func(set *policies.Set) { set.Policies[0].Canary = 10 * time.Minute })
			b.both()
		},
		"breaker": func(b *book) {
			run := b.run(nineteen, "local-1", "command")
			for n := range 5 {
				it := item("retag", fmt.Sprint("i-", n), "dev-hours", nineteen, false)
				b.plan(run, it)
				b.event(run, n, events.Failed, nineteen.Add(10*time.Minute+time.Duration(n)*time.Second))
			}
			b.act("t2", "tick", item("stop", web, "dev-hours", nineteen, false), nineteen.Add(20*time.Minute))
		},
		"order": func(b *book) {
			b.both()
			run := &b.Runs[len(b.Runs)-1]
			for n := range run.Items {
				run.Items[n].Stage = &events.Stage{Order: "shop", Action: "stop", Turn: n + 1, Of: 2, Deadline: 10 * time.Minute}
			}
		},
		"pace": func(b *book) {
			b.limit(func(set *policies.Set) { set.Pace = policies.Pace{AtOnce: 1, Apart: time.Minute} })
			b.both()
		},
		"floors": func(b *book) {
			at := nineteen.Add(2 * time.Hour)
			b.act("local-1", "command", item("stop", web2, "", at, false), at)
			b.act("local-2", "command", item("stop", web, "", at, false), at.Add(time.Minute))
		},
		"rate": func(b *book) {
			b.Rate = 0.1
			for range 4 {
				b.request("list", "", nineteen.Add(2*time.Hour))
			}
		},
		"no blank firewall": func(b *book) { b.act("local-1", "command", item("firewall", web, "", nineteen, false), nineteen) },
		"edges are known":   func(b *book) { b.Files[0].From = nineteen.Add(time.Second) },
		"edges are announced": func(b *book) {
			b.Ticks, b.Runs[0].Edges = nil, nil
		},
		"edges are decided":      func(b *book) { b.Runs[0].Edges = nil },
		"nothing is lost":        func(b *book) { b.Events = b.Events[:len(b.Events)-1] },
		"the fleet is as wanted": func(b *book) { b.Fleets = nil; b.fleet(b.Started, policies.StatusActive) },
	}
	for _, rule := range promise.Rules {
		t.Run(rule.Name, func(t *testing.T) {
			spoil, ok := spoils[rule.Name]
			if !ok {
				t.Fatal("no history breaks this rule: write one")
			}
			b := good(t)
			spoil(b)
			breaches := promise.Check(&b.History)
			if !slices.ContainsFunc(breaches, func(br promise.Breach) bool { return br.Rule == rule.Name }) {
				t.Errorf("not found; found is %v", breaches)
			}
			for _, br := range breaches {
				t.Log(br)
			}
		})
	}
}

func TestLimitsPerRunAndPerHourAreFoundBroken(t *testing.T) {
	b := good(t)
	run := b.run(nineteen, "local-1", "command")
	for range 4 {
		b.plan(run, item("retag", web, "", nineteen, false))
	}
	for n := range 4 {
		b.carryOut(run, n, nineteen.Add(time.Duration(n)*time.Minute))
	}
	slices.SortStableFunc(b.Events, func(x, y events.Record) int { return x.StoredAt.Compare(y.StoredAt) })
	var says []string
	for _, br := range promise.Check(&b.History) {
		says = append(says, br.Says)
	}
	for _, want := range []string{"the plan of local-1 has 4 actions, limits.per_run allows 3, and it is not held", "5 actions began within an hour, limits.per_hour allows 4"} {
		if !slices.Contains(says, want) {
			t.Errorf("not found: %s\n got: %q", want, says)
		}
	}
}

func TestARebootRightAfterOneThatCameToNothingIsNotItsSecond(t *testing.T) {
	b := good(t)
	at := nineteen.Add(2 * time.Hour)
	lost := b.run(at, "local-1", "command")
	b.plan(lost, item("reboot", web2, "", at, false))
	b.event(lost, 0, events.Started, at)
	b.Requests = append(b.Requests, civosim.Request{Time: at.Add(time.Second), Op: "soft_reboot", Instance: web2, Fault: "cut-before"})
	b.event(lost, 0, events.Unknown, at.Add(4*time.Second))
	next := b.run(at, "local-2", "command")
	b.plan(next, item("reboot", web2, "", at, false))
	b.event(next, 0, events.Started, at.Add(4*time.Second+5*time.Millisecond))
	b.request("hard_reboot", web2, at.Add(4*time.Second+10*time.Millisecond))
	b.event(next, 0, events.Done, at.Add(30*time.Second))
	b.Apart = 20 * time.Millisecond
	for _, breach := range promise.Check(&b.History) {
		if breach.Rule == "never twice" {
			t.Error(breach)
		}
	}
}

func TestARebootRightAfterAnothersIsNotSentTwice(t *testing.T) {
	b := good(t)
	at := nineteen.Add(2 * time.Hour)
	first := b.run(at, "prometheus-2", "signal")
	b.plan(first, item("reboot", web2, "web-down", at, false))
	b.event(first, 0, events.Started, at)
	b.request("soft_reboot", web2, at)
	b.event(first, 0, events.Accepted, at)
	next := b.run(at, "local-1", "command")
	b.plan(next, item("reboot", web2, "", at, false))
	b.event(next, 0, events.Started, at.Add(time.Second))
	b.event(next, 0, events.PutOff, at.Add(time.Second)) // turned away: it is on its way
	b.event(next, 0, events.Started, at.Add(30*time.Second))
	b.request("soft_reboot", web2, at.Add(30*time.Second))
	b.event(next, 0, events.Done, at.Add(time.Minute))
	b.Apart = 4 * time.Second
	for _, breach := range promise.Check(&b.History) {
		if breach.Rule == "never twice" {
			t.Error(breach)
		}
	}
}

func TestWhatWasTrueAMomentBeforeTheCallIsNoBreach(t *testing.T) {
	b := good(t)
	b.Keeps = []promise.Keep{{Instance: dev, Keep: policies.Keep{State: schedule.Running, Since: nineteen.Add(-time.Second), Until: nineteen.Add(time.Hour)}}}
	for _, breach := range promise.Check(&b.History) {
		if breach.Rule == "not against an exception" {
			t.Error(breach)
		}
	}
}

func TestAFleetThatAPersonChangedIsNoBreach(t *testing.T) {
	b := good(t)
	b.Hands = []promise.Hand{{At: nineteen.Add(2 * time.Hour), Instance: dev, What: "started"}}
	b.Fleets = nil
	b.fleet(b.Started, policies.StatusActive)
	for _, breach := range promise.Check(&b.History) {
		t.Error(breach)
	}
}

func TestWhatSomebodyStartedByHandIsNotOffOnPurpose(t *testing.T) {
	b := good(t)
	b.act("local-1", "command", item("stop", web2, "", nineteen, false), nineteen)
	at := nineteen.Add(2 * time.Hour)
	alert := item("reboot", web2, "web-down", at, false)
	spoilt := *b
	spoilt.act("prometheus-2", "signal", alert, at)
	isFound := func(b *book) bool {
		return slices.ContainsFunc(promise.Check(&b.History), func(br promise.Breach) bool { return br.Rule == "off on purpose" })
	}
	if !isFound(&spoilt) {
		t.Fatal("a reboot of what a command stopped is not found")
	}
	b.Events = append(b.Events, events.Record{Action: "power", Outcome: events.Noticed, Reason: string(policies.ReasonHand), Instance: web2, After: policies.StatusActive, Planned: at.Add(-time.Hour)})
	b.act("prometheus-2", "signal", alert, at)
	if isFound(b) {
		t.Error("a reboot of what somebody started by hand since is taken for one of what is off on purpose")
	}
}

func TestACoolDownIsCarriedOverByARename(t *testing.T) {
	at := nineteen.Add(80 * time.Minute)
	for name, was := range map[string]string{"a former name": "web-down", "no former name": ""} {
		t.Run(name, func(t *testing.T) {
			b := good(t)
			old := b.Files[0].Set
			b.limit(func(set *policies.Set) { set.Policies[1].Name, set.Policies[1].Was = "web-fails", was })
			renamed := b.Files[0].Set
			between := nineteen.Add(70 * time.Minute)
			b.Files = []promise.File{{Daemon: "a", From: b.Started, Until: between, Set: old}, {Daemon: "a", From: between, Set: renamed}}
			b.act("prometheus-2", "signal", item("reboot", web, "web-fails", at, false), at)
			isFound := slices.ContainsFunc(promise.Check(&b.History), func(br promise.Breach) bool { return br.Rule == "cool-down" })
			if isFound != (was != "") {
				t.Errorf("found broken is %t", isFound)
			}
		})
	}
}

func TestWhatAFileSaysObserveOfIsNotCalled(t *testing.T) {
	b := good(t)
	b.limit(func(set *policies.Set) { set.Policies[1].Mode = policies.ModeObserve })
	var says []string
	for _, br := range promise.Check(&b.History) {
		says = append(says, br.Says)
	}
	if want := "reboot of web by policy web-down began, and the policy file says observe"; !slices.Equal(says, []string{want}) {
		t.Errorf("found is %q, want %q", says, want)
	}
}
