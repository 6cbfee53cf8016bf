package promise_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
	"nightshift/worker/promise"
)

const fleet = `instances:
  - { id: dev-1, hostname: dev-1, region: LON1, tags: [env=dev, tier=db] }
  - { id: dev-2, hostname: dev-2, region: LON1, tags: [env=dev, tier=app] }
  - { id: dev-3, hostname: dev-3, region: NYC1, tags: [env=dev, tier=db] }
  - { id: dev-4, hostname: dev-4, region: NYC1, tags: [env=dev, tier=app, role=web], status: SHUTOFF }
  - { id: dev-5, hostname: dev-5, region: LON1, tags: [env=dev, tier=app] }
  - { id: dev-6, hostname: dev-6, region: NYC1, tags: [env=dev] }
  - { id: dev-7, hostname: dev-7, region: NYC1, tags: [env=dev] }
  - { id: dev-db, hostname: dev-db, region: LON1, tags: [env=dev, protected] }
  - { id: web-1, hostname: web-1, region: LON1, tags: [role=web] }
  - { id: web-2, hostname: web-2, region: NYC1, tags: [role=web] }
  - { id: web-3, hostname: web-3, region: LON1, tags: [role=web] }
  - { id: web-4, hostname: web-4, region: NYC1, tags: [role=web] }
  - { id: api-1, hostname: api-1, region: LON1, tags: [role=api] }
  - { id: ci-1, hostname: ci-1, region: LON1, tags: [ci-runner], status: SHUTOFF }
  - { id: night-1, hostname: night-1, region: NYC1, tags: [batch] }
  - { id: night-2, hostname: night-2, region: LON1, tags: [batch] }
`

var (
	instances = []string{"dev-1", "dev-2", "dev-3", "dev-4", "dev-5", "dev-6", "dev-7", "dev-db", "web-1", "web-2", "web-3", "web-4", "api-1", "ci-1", "night-1", "night-2"}
	webs      = []string{"web-1", "web-2", "web-3", "web-4"}
)

func regionOf(instance string) string {
	switch instance {
	case "dev-3", "dev-4", "dev-6", "dev-7", "web-2", "web-4", "night-1":
		return "nyc1"
	}
	return "lon1"
}

// variant is what an edit of the policy file changes.
type variant struct {
	windows  string // of dev-hours
	extra    string // keys of dev-hours
	allow    string
	mode     string
	perRun   int
	perHour  int
	cooldown string
	cron     string
	more     string // policies
	floors   string
	canary   string // of dev-hours
	atMost   string // of web-down
	order    string
	pace     string
	share    float64
	renamed  string // a policy that has another name; its other name is renamedTo
	back     bool   // it had, and has its own again
	without  string // a policy that the file lacks
	protect  string // a selector; empty: the tag protected
	zone     string
	owners   string
}

var windows = []string{
	`"00:00-01:00", "02:00-03:00", "04:00-05:00", "06:00-07:00", "08:00-09:00", "10:00-11:00", "12:00-13:00", "14:00-15:00", "16:00-17:00", "18:00-19:00", "20:00-21:00", "22:00-23:00"`,
	`"01:00-02:30", "04:00-05:30", "07:00-08:30", "10:00-11:30", "13:00-14:30", "16:00-17:30", "19:00-20:30", "22:00-23:30"`,
	`"00:20-02:20", "03:20-05:20", "06:20-08:20", "09:20-11:20", "12:20-14:20", "15:20-17:20", "18:20-20:20", "21:20-23:20"`,
}

// text leaves out the policies that do what allow does not list: with them the file
// would be refused.
func (v variant) text() string {
	webDown, apiGrows := "", ""
	if strings.Contains(v.allow, "reboot") {
		webDown = fmt.Sprintf(`%s    select: { all: [role=web] }
    trigger: { alert: InstanceDown }
    do: { reboot: soft }
    cooldown: %s
%s`, v.name("web-down"), v.cooldown, v.atMost)
	}
	if strings.Contains(v.allow, "resize") {
		apiGrows = `  - name: api-grows
    select: { all: [role=api] }
    trigger: { load: cpu, above: 85 }
    do: { resize: [g3.small, g3.medium, g3.large] }
    cooldown: 2h
`
	}
	share := ""
	if v.share > 0 {
		share = fmt.Sprintf(", share: %g", v.share)
	}
	var written strings.Builder
	for _, p := range []struct{ name, text string }{
		{"dev-hours", fmt.Sprintf(`%s    select: { all: [env=dev], none: [keep-on] }
    schedule: { running: [%s] }
%s%s`, v.name("dev-hours"), v.windows, v.extra, v.canary)},
		{"batch-start", fmt.Sprintf(`  - name: batch-start
    select: { all: [batch] }
    cron: "%s"
    do: start
    lasts: 20m
`, v.cron)},
		{"batch-stop", `  - name: batch-stop
    select: { all: [batch] }
    cron: "45 * * * *"
    do: stop
`},
		{"web-down", webDown},
		{"api-grows", apiGrows},
		{"ci-on-demand", `  - name: ci-on-demand
    select: { all: [ci-runner] }
    trigger: { signal: ci.queued }
    do: start
    lasts: 20m
    cooldown: 1s
`},
		{"nightly", v.more},
	} {
		if p.name != v.without {
			written.WriteString(p.text)
		}
	}
	return fmt.Sprintf(`
version: 1
regions: [LON1, NYC1]
timezone: %s
mode: %s
hold_for: 30m
policies:
%sprotect: { %s }
allow: [%s]
limits: { per_run: %d, per_hour: %d%s }
%s%s%s%s`, cmp.Or(v.zone, "Europe/London"), v.mode, written.String(), cmp.Or(v.protect, "all: [protected]"), v.allow, v.perRun, v.perHour, share, v.floors, v.order, v.pace, v.owners)
}

// name is how a policy begins that may be renamed.
func (v variant) name(policy string) string {
	switch {
	case v.renamed != policy:
		return "  - name: " + policy + "\n"
	case v.back:
		return "  - name: " + policy + "\n    was: " + renamedTo + "\n"
	}
	return "  - name: " + renamedTo + "\n    was: " + policy + "\n"
}

const renamedTo = "renamed"

const (
	allVerbs = "start, stop, reboot, retag, firewall, resize"
	tiers    = `order:
  - name: tiers
    stages:
      - { select: { all: [tier=db] }, deadline: 3m }
      - { select: { all: [tier=app] }, deadline: 2m }
`
	slowly  = "pace: { at_once: 1, apart: 20s }\n"
	webUp   = "floors: [ { select: { all: [role=web] }, running: 4 } ]\n"
	devUp   = "floors: [ { select: { all: [env=dev] }, running: 2 } ]\n"
	oneWeb  = "floors: [ { select: { all: [role=web] }, running: 1 } ]\n"
	manyWeb = "    at_most: { instances: 5, within: 30m }\n"
)

func plain() variant {
	return variant{windows: windows[0], allow: allVerbs, mode: "act", perRun: 50, perHour: 1000, cooldown: "30m", cron: "5 * * * *"}
}

// step is something that happens to the world.
type step struct {
	at   time.Duration // after the begin
	what string
	do   func(w *world)
}

// scenario is everything that happens, worked out of a seed before it begins.
type scenario struct {
	seed    uint64
	begin   time.Time
	trouble time.Duration // how long things go wrong
	offsets []time.Duration
	apart   time.Duration
	alone   bool // the one daemon knows that it is the only one
	rate    float64
	file    string
	steps   []step

	dice *rand.Rand
	v    variant
}

// calm is how long nothing goes wrong at the end: until what was asked for in trouble
// is over, each pause and the longest give-up time of what nothing keeps back any more.
const calm = 80 * time.Minute

// begins are days with nothing to them, and days on which the clocks change.
var begins = []time.Time{
	time.Date(2026, 3, 4, 6, 50, 0, 0, time.UTC),
	time.Date(2026, 3, 28, 22, 50, 0, 0, time.UTC),
	time.Date(2026, 10, 24, 21, 50, 0, 0, time.UTC),
	time.Date(2026, 12, 31, 19, 50, 0, 0, time.UTC),
}

func newScenario(seed uint64, trouble time.Duration) *scenario {
	s := &scenario{seed: seed, trouble: trouble, dice: rand.New(rand.NewPCG(seed, 7)), v: plain()}
	s.begin = begins[s.dice.IntN(len(begins))]
	s.v.windows = pick(s, windows...)
	s.rails()
	outage := s.chance(0.3)
	if outage { // all that a policy stops after ten minutes fail together, and it goes on trying
		s.begin, s.v.windows = pick(s, begins[:3]...), windows[0]
		s.v.share, s.v.floors = 0, ""
		s.v.extra, s.v.canary, s.v.order, s.v.pace = "    enforce: true\n", "", "", ""
	}
	s.night()
	s.file = s.v.text()
	s.rate = pick(s, 10.0, 10, 2)
	for range 1 + s.dice.IntN(3) {
		offset := time.Duration(0)
		if s.chance(0.3) {
			offset = time.Duration(s.dice.IntN(5000)-2500) * time.Millisecond
		}
		s.offsets = append(s.offsets, offset)
		s.apart = max(s.apart, offset.Abs()*2)
	}
	s.alone = len(s.offsets) == 1 && s.chance(0.5)
	s.people()
	s.signals()
	s.collisions()
	s.crowds()
	if outage {
		s.outage()
	}
	s.edits()
	s.faults()
	s.kills()
	s.more()
	slices.SortStableFunc(s.steps, func(a, b step) int { return int(a.at - b.at) })
	for i := range s.steps { // calm is counted from there, and is to end well behind an edge
		s.steps[i].at = min(s.steps[i].at, s.trouble)
	}
	return s
}

func (s *scenario) chance(p float64) bool { return s.dice.Float64() < p }

func pick[T any](s *scenario, of ...T) T { return of[s.dice.IntN(len(of))] }

// some is an instant of the trouble; half of them lie around an edge of the file,
// where most happens.
func (s *scenario) some() time.Duration {
	at := time.Duration(s.dice.Int64N(int64(s.trouble)))
	if s.chance(0.5) {
		begin := s.begin.Add(at).Truncate(30 * time.Minute).Sub(s.begin)
		at = begin + time.Duration(s.dice.IntN(90_000)-15_000)*time.Millisecond
	}
	return max(at, time.Second)
}

func (s *scenario) add(at time.Duration, what string, do func(w *world)) {
	s.steps = append(s.steps, step{at, what, do})
}

// times is a number of things that depends on how long the trouble lasts.
func (s *scenario) times(perHour float64) int {
	return int(perHour*s.trouble.Hours()*3*s.dice.Float64() + 0.5)
}

// people send commands, keep and pause, approve, and change things by hand.
func (s *scenario) people() {
	for n := range s.times(3) {
		c := events.Command{Who: "local", Instance: pick(s, instances...), Action: pick(s, "stop", "start", "reboot", "retag"), ID: fmt.Sprintf("c%d", n)}
		c.Region = regionOf(c.Instance)
		if c.Action == "retag" {
			c.Instance, c.Add = pick(s, webs...), []string{fmt.Sprintf("note=%d", n)}
			c.Region = regionOf(c.Instance)
		}
		if c.Action == "reboot" {
			c.Hard = s.chance(0.5)
		}
		send := func(w *world) { w.command(c) }
		at := s.some()
		s.add(at, fmt.Sprintf("command %s %s", c.Action, c.Instance), send)
		if s.chance(0.2) {
			s.add(at+time.Duration(s.dice.IntN(40_000))*time.Millisecond, fmt.Sprintf("the same command %s %s again", c.Action, c.Instance), send)
		}
	}
	for range s.times(0.5) {
		id := pick(s, instances[:4]...)
		state := pick(s, "running", "stopped", "asis")
		span := pick(s, "10m", "45m", "1h")
		at := s.some()
		s.ask(at, "keep", worker.KeepRequest{Instance: id, Region: regionOf(id), State: state, For: span}, fmt.Sprintf("keep %s %s for %s", id, state, span))
		if s.chance(0.3) {
			s.ask(at+20*time.Minute, "keep", worker.KeepRequest{Instance: id, Region: regionOf(id), End: true}, "end the keep of "+id)
		}
	}
	for range s.times(0.3) {
		req := worker.PauseRequest{For: pick(s, "5m", "40m", "")}
		what := "everything"
		switch s.dice.IntN(3) {
		case 0:
			req.All = true
		case 1:
			req.Policy = pick(s, "dev-hours", "web-down", "batch-start")
			what = req.Policy
		case 2:
			req.Instance = pick(s, instances[:4]...)
			req.Region = regionOf(req.Instance)
			what = req.Instance
		}
		at := s.some()
		s.ask(at, "pause", req, "pause "+what+" for "+req.For)
		if req.For == "" || s.chance(0.3) {
			end := req
			end.For = ""
			s.ask(at+time.Duration(1+s.dice.IntN(45))*time.Minute, "resume", end, "resume "+what)
		}
	}
	for range s.times(1) {
		id, status := pick(s, instances...), pick(s, "ACTIVE", "SHUTOFF")
		s.add(s.some(), fmt.Sprintf("a person makes %s %s", id, status), func(w *world) {
			w.snapshot()
			w.sim.SetStatus(id, status)
			w.hand(id, status)
		})
	}
	for range s.times(0.3) {
		id := pick(s, "dev-1", "dev-2", "dev-3")
		tags := pick(s, []string{"env=dev"}, []string{"env=dev", "tier=db", "protected"}, []string{"env=dev", "tier=app", "keep-on"})
		s.add(s.some(), fmt.Sprintf("a person tags %s %s", id, strings.Join(tags, " ")), func(w *world) {
			w.snapshot()
			w.sim.SetTags(id, tags...)
			w.hand(id, "tags "+strings.Join(tags, " "))
		})
	}
}

func (w *world) hand(id, what string) {
	w.past.Hands = append(w.past.Hands, promise.Hand{At: time.Now(), Instance: id, What: what})
	w.snapshot()
}

// ask puts a question to whichever daemon answers; that none does is no fault.
func (s *scenario) ask(at time.Duration, name string, req any, what string) {
	s.add(at, what, func(w *world) {
		var answer any
		if err := w.own.Ask(w.t.Context(), name, req, &answer); err != nil {
			w.tell("%s is answered: %v", name, err)
		}
		w.noteState()
	})
}

func (s *scenario) signals() {
	for n := range s.times(2) {
		id := pick(s, append(webs, "dev-4")...)
		sig := events.Signal{Source: "prometheus", Region: regionOf(id), Instance: id, Alert: "InstanceDown", Fingerprint: fmt.Sprintf("f%d", n)}
		at := s.some()
		sig.StartsAt = s.begin.Add(at)
		s.add(at, "alert InstanceDown of "+id, func(w *world) { w.send(sig) })
		if s.chance(0.3) {
			s.add(at+30*time.Second, "the same alert again", func(w *world) { w.send(sig) })
		}
		if s.chance(0.3) {
			over := sig
			over.Status = "resolved"
			s.add(at+time.Duration(s.dice.IntN(300))*time.Second, "the alert of "+id+" is resolved", func(w *world) { w.send(over) })
		}
	}
	for n := range s.times(0.7) {
		value := pick(s, 92.0, 50.0)
		sig := events.Signal{Source: "prometheus", Region: "lon1", Instance: "api-1", Load: "cpu", Value: &value, ID: fmt.Sprintf("l%d", n)}
		s.add(s.some(), fmt.Sprintf("load of api-1 is %g", value), func(w *world) { w.send(sig) })
	}
	for n := range s.times(1) {
		sig := events.Signal{Source: "ci", Region: "lon1", Instance: "ci-1", Name: "ci.queued", ID: fmt.Sprintf("q%d", n)}
		s.add(s.some(), "a job of ci-1 is queued", func(w *world) { w.send(sig) })
	}
}

// collisions are things that go wrong only together.
func (s *scenario) collisions() {
	command := func(at time.Duration, id, action, instance string) {
		c := events.Command{Who: "local", Instance: instance, Region: regionOf(instance), Action: action, ID: id}
		if action == "retag" {
			c.Add = []string{"at=" + id}
		}
		s.add(at, "command "+action+" "+instance, func(w *world) { w.command(c) })
	}
	alert := func(at time.Duration, id, instance string) {
		sig := events.Signal{Source: "prometheus", Region: regionOf(instance), Instance: instance, Alert: "InstanceDown", Fingerprint: id, StartsAt: s.begin.Add(at)}
		s.add(at, "alert InstanceDown of "+instance, func(w *world) { w.send(sig) })
	}
	for n := range s.times(1) { // two that want the same instance at the same instant
		at, instance := s.some(), pick(s, webs...)
		command(at, fmt.Sprintf("x%d", n), "retag", instance)
		command(at, fmt.Sprintf("y%d", n), pick(s, "stop", "start", "reboot"), instance)
	}
	for n := range s.times(0.7) { // a reboot whose answer is lost
		at, f := s.some(), civosim.Fault{Op: pick(s, "soft_reboot", "*"), Kind: pick(s, civosim.CutAfter, civosim.CutBefore)}
		s.add(at, "the cloud: the answer to the next "+f.Op+" is lost, "+string(f.Kind), func(w *world) { w.sim.Inject(f) })
		command(at+time.Millisecond, fmt.Sprintf("z%d", n), "reboot", pick(s, "web-1", "web-2", "api-1"))
	}
	for n := range s.times(0.7) { // somebody starts what is off on purpose, and it is missed
		at := s.some()
		s.add(at, "a person makes dev-4 ACTIVE", func(w *world) {
			w.snapshot()
			w.sim.SetStatus("dev-4", "ACTIVE")
			w.hand("dev-4", "ACTIVE")
		})
		alert(at+time.Duration(2+s.dice.IntN(12))*time.Minute, fmt.Sprintf("o%d", n), "dev-4")
	}
	for range s.times(0.4) { // a pause of what is put off
		at := s.begin.Add(s.some()).Truncate(time.Hour).Add(time.Hour).Sub(s.begin)
		if s.v.windows == windows[2] {
			at += 20 * time.Minute
		}
		if at > s.trouble {
			continue
		}
		s.failing(at-5*time.Second, "start", "stop")
		s.ask(at+10*time.Second, "pause", worker.PauseRequest{All: true, For: "40m"}, "pause everything for 40m")
	}
	for n := range s.times(0.3) { // a file that does not allow what is put off
		at, narrow := s.some(), s.v
		narrow.allow = "start, stop, reboot"
		s.failing(at, "retag")
		command(at+time.Second, fmt.Sprintf("w%d", n), "retag", pick(s, webs...))
		s.edit(at+10*time.Second, narrow.text())
		command(at+10*time.Minute, fmt.Sprintf("v%d", n), "retag", pick(s, webs...))
		s.edit(at+25*time.Minute, s.v.text())
	}
}

// failing lets the cloud answer such requests with an error for a while.
func (s *scenario) failing(at time.Duration, ops ...string) {
	s.add(at, "the cloud: server-error on every "+strings.Join(ops, " and ")+" for 4m", func(w *world) {
		for _, op := range ops {
			w.sim.Inject(civosim.Fault{Op: op, Kind: civosim.ServerError, Count: -1})
		}
	})
	s.add(at+4*time.Minute, "the cloud is well", func(w *world) { w.sim.ClearFaults() })
}

// edits change the file, which the daemons take up one after another.
func (s *scenario) edits() {
	for range s.times(0.4) {
		switch s.dice.IntN(8) {
		case 0, 1:
			s.v.windows = pick(s, windows...)
		case 2:
			s.v.extra = pick(s, "", "    enforce: true\n", "    spread: 2m\n", "    priority: 5\n")
		case 3:
			s.v.allow = pick(s, allVerbs, "start, stop, retag", "start, stop, reboot")
		case 4:
			s.v.mode = pick(s, "act", "observe", "act", "ask")
		case 5:
			s.v.perRun = pick(s, 50, 1, 2)
			s.v.cooldown = pick(s, "10m", "30m", "1h")
		case 6:
			s.v.cron = pick(s, "5 * * * *", "35 * * * *", "*/20 * * * *")
			s.v.more = pick(s, "", "  - name: nightly\n    select: { all: [batch] }\n    schedule: { stopped: [\"00:00-04:00\"] }\n")
		case 7:
			s.rails()
		}
		s.edit(s.some(), s.v.text())
	}
}

// rails are those that a file may have or lack.
func (s *scenario) rails() {
	s.v.canary = pick(s, "", "", "    canary: 3m\n")
	s.v.order = pick(s, "", tiers)
	s.v.pace = pick(s, "", "", slowly)
	s.v.share = pick(s, 0, 0, 0.25)
	s.v.atMost = pick(s, "", manyWeb, manyWeb)
	s.v.floors = pick(s, "", oneWeb, devUp, webUp, webUp)
}

// crowds are things that happen to many at once.
func (s *scenario) crowds() {
	for n := range s.times(0.4) { // what many are started for, and the network fails
		at := s.some()
		for i, id := range webs {
			sig := events.Signal{Source: "prometheus", Region: regionOf(id), Instance: id, Alert: "InstanceDown", Fingerprint: fmt.Sprintf("n%d-%s", n, id), StartsAt: s.begin.Add(at)}
			s.add(at+time.Duration(i)*pick(s, 0, time.Second, time.Minute), "alert InstanceDown of "+id, func(w *world) { w.send(sig) })
		}
	}
	for n := range s.times(0.4) { // somebody stops all of them
		at := s.some()
		for i, id := range webs {
			c := events.Command{Who: "local", Instance: id, Region: regionOf(id), Action: "stop", ID: fmt.Sprintf("a%d-%d", n, i)}
			s.add(at+time.Duration(i)*pick(s, 0, 200*time.Millisecond), "command stop "+id, func(w *world) { w.command(c) })
			back := c
			back.Action, back.ID = "start", fmt.Sprintf("b%d-%d", n, i)
			s.add(at+20*time.Minute, "command start "+id, func(w *world) { w.command(back) })
		}
	}
	if s.chance(0.4) { // somebody gives many the tag of a policy
		at := s.some()
		s.add(at, "a person gives all webs the tag batch", func(w *world) { w.tagWebs("role=web", "batch") })
		s.add(at+time.Duration(40+s.dice.IntN(40))*time.Minute, "a person takes the tag batch away", func(w *world) { w.tagWebs("role=web") })
	}
	for range s.times(0.7) { // somebody approves whatever is held
		s.add(s.some(), "a person approves what is held", func(w *world) { w.approve() })
	}
}

// outage is an hour in which the cloud says yes to every start and stop, and does
// nothing. It is told so again and again, since other faults that end take it along.
func (s *scenario) outage() {
	for at := 5 * time.Minute; at < 70*time.Minute; at += 2 * time.Minute {
		s.add(at, "", func(w *world) {
			for _, op := range []string{"stop", "start"} {
				w.sim.Inject(civosim.Fault{Op: op, Kind: civosim.AcceptedButNotDone, Count: -1})
			}
		})
	}
	s.add(5*time.Minute, "the cloud: no start and no stop is done for an hour", func(*world) {})
	s.add(70*time.Minute, "the cloud is well", func(w *world) { w.sim.ClearFaults() })
}

func (w *world) command(c events.Command) {
	if _, err := w.own.PublishCommand(w.t.Context(), c); err != nil {
		w.t.Errorf("command: %v", err)
	}
}

func (w *world) send(sig events.Signal) {
	if _, err := w.own.PublishSignal(w.t.Context(), sig); err != nil {
		w.t.Errorf("signal: %v", err)
	}
}

func (w *world) tagWebs(tags ...string) {
	w.snapshot()
	for _, id := range webs {
		w.sim.SetTags(id, tags...)
		w.hand(id, "tags "+strings.Join(tags, " "))
	}
}

func (w *world) approve() {
	for run, err := range w.own.Runs(w.t.Context(), time.Now().Add(-time.Hour)) {
		if err != nil {
			w.t.Errorf("runs: %v", err)
			return
		}
		if run.Held != "" && run.HeldUntil.After(time.Now()) {
			var answer any
			if err := w.own.Ask(w.t.Context(), "approve", worker.ApproveRequest{Run: run.Trigger}, &answer); err != nil {
				w.tell("approve is answered: %v", err)
			}
		}
	}
	w.noteState()
}

func (s *scenario) edit(at time.Duration, file string) {
	s.add(at, "the policy file is edited", func(w *world) { w.edit(file) })
	late := time.Duration(0)
	for i := range s.offsets {
		s.add(at+late, "", func(w *world) { w.daemon[i].takeUp() })
		late += time.Duration(s.dice.IntN(20_000)) * time.Millisecond
	}
}

// takeUp puts the newest file in force on a daemon.
func (d *daemon) takeUp() {
	if !d.isUp() {
		return
	}
	<-d.ready
	if d.worker == nil || d.w.past.Files[d.file].Set == d.w.set {
		return
	}
	d.w.tell("daemon %s takes up the file", d.name)
	d.reads(d.w.set)
	bounded, cancel := contextFor(5 * time.Second)
	defer cancel()
	d.worker.Replace(bounded, d.w.set, "")
}

// faults strike requests to the cloud for a while, or once.
func (s *scenario) faults() {
	for range s.times(1) {
		at, last := s.some(), time.Duration(1+s.dice.IntN(25))*time.Minute
		f := civosim.Fault{
			Op: pick(s, "*", "list", "stop", "start", "soft_reboot"), Count: -1, Probability: pick(s, 0.1, 0.3, 0.7),
			Kind: pick(s, civosim.RateLimited, civosim.ServerError, civosim.HTML504, civosim.CutBefore, civosim.CutAfter, civosim.Slow, civosim.BadJSON, civosim.StaleRead),
		}
		f.After = s.chance(0.3) && (f.Kind == civosim.ServerError || f.Kind == civosim.HTML504)
		switch f.Kind {
		case civosim.RateLimited:
			f.RetryAfter = pick(s, 0, 2*time.Second, 40*time.Second)
		case civosim.Slow:
			f.Delay = pick(s, 2*time.Second, 20*time.Second, 45*time.Second)
		case civosim.StaleRead:
			f.Op, f.Delay = "list", pick(s, 5*time.Second, time.Minute)
		}
		s.add(at, fmt.Sprintf("the cloud: %s on %s, probability %g, for %s", f.Kind, f.Op, f.Probability, last), func(w *world) { w.sim.Inject(f) })
		s.add(at+last, "the cloud is well", func(w *world) { w.sim.ClearFaults() })
	}
	for range s.times(0.5) {
		f := civosim.Fault{Op: pick(s, "stop", "start", "soft_reboot", "*"), Kind: pick(s, civosim.AcceptedButNotDone, civosim.CutAfter, civosim.CutBefore, civosim.Stuck, civosim.Refused)}
		s.add(s.some(), fmt.Sprintf("the cloud: the next %s is %s", f.Op, f.Kind), func(w *world) { w.sim.Inject(f) })
	}
}

// kills end daemons without warning or in order, and cut their bus.
func (s *scenario) kills() {
	for range s.times(1.5) {
		n, at := s.dice.IntN(len(s.offsets)), s.some()
		down := time.Duration(s.dice.IntN(120)) * time.Second
		if s.chance(0.2) {
			down = time.Duration(s.dice.IntN(100)) * time.Minute
		}
		f, count := fuse(s.dice.IntN(int(fuses))), 1+s.dice.IntN(40)
		if f == beforeRequest || f == afterRequest {
			count = 1 + s.dice.IntN(6)
		}
		wait := time.Duration(1+s.dice.IntN(60)) * time.Second
		s.add(at, fmt.Sprintf("daemon %c is to be killed %s, number %d", 'a'+n, f, count), func(w *world) {
			if d := w.daemon[n]; d.isUp() {
				d.wire.light(f, count)
			}
		})
		s.add(at+wait, "", func(w *world) {
			if d := w.daemon[n]; d.isUp() { // the fuse has not blown
				d.wire.kill()
			}
			w.daemon[n].isUp()
		})
		s.add(at+wait+down, fmt.Sprintf("daemon %c is started", 'a'+n), func(w *world) { w.daemon[n].again() })
	}
	for range s.times(0.3) {
		n, at := s.dice.IntN(len(s.offsets)), s.some()
		s.add(at, fmt.Sprintf("daemon %c is restarted", 'a'+n), func(w *world) {
			w.daemon[n].isUp()
			w.daemon[n].end()
			w.daemon[n].again()
		})
	}
	if s.alone {
		return // its NATS is embedded
	}
	for range s.times(0.4) {
		n, at := s.dice.IntN(len(s.offsets)), s.some()
		last := time.Duration(1+s.dice.IntN(100)) * time.Second
		if s.chance(0.2) {
			last *= 20
		}
		s.add(at, fmt.Sprintf("the bus is away from daemon %c for %s", 'a'+n, last), func(w *world) {
			if d := w.daemon[n]; d.isUp() {
				d.wire.cut()
				d.down()
			}
		})
		s.add(at+last, fmt.Sprintf("the bus is back for daemon %c", 'a'+n), func(w *world) { w.daemon[n].back() })
	}
}

// again starts a daemon that is not running.
func (d *daemon) again() {
	if !d.isUp() {
		d.start()
	}
}

func (d *daemon) back() {
	if !d.isUp() || !d.wire.isAway() {
		return
	}
	d.wire.restore()
	d.begins()
}
