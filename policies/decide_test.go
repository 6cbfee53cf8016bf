package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

var london = mustZone("Europe/London")

func mustZone(name string) *time.Location {
	z, err := schedule.LoadZone(name)
	if err != nil {
		panic(err)
	}
	return z
}

func level(t testing.TB, name string, priority int, running ...string) policies.Policy {
	t.Helper()
	w, err := schedule.ParseWeekly(running, nil, london)
	if err != nil {
		t.Fatal(err)
	}
	return policies.Policy{Name: name, Priority: priority, Schedule: w, Select: policies.Selector{All: []string{"env=dev"}}}
}

func asleep(t testing.TB, name string, priority int, stopped ...string) policies.Policy {
	t.Helper()
	w, err := schedule.ParseWeekly(nil, stopped, london)
	if err != nil {
		t.Fatal(err)
	}
	return policies.Policy{Name: name, Priority: priority, Schedule: w, Select: policies.Selector{All: []string{"env=dev"}}}
}

func impulse(t testing.TB, name string, priority int, spec string, lasts time.Duration, steps ...policies.Step) policies.Policy {
	t.Helper()
	c, err := schedule.ParseCron(spec, london)
	if err != nil {
		t.Fatal(err)
	}
	return policies.Policy{Name: name, Priority: priority, Cron: c, Do: steps, Lasts: lasts, Select: policies.Selector{All: []string{"env=dev"}}}
}

func onAlert(name string, priority int, steps ...policies.Step) policies.Policy {
	return policies.Policy{Name: name, Priority: priority, Signal: &policies.SignalCause{Alert: "Down"}, Do: steps, Cooldown: 30 * time.Minute, Select: policies.Selector{All: []string{"env=dev"}}}
}

func set(p ...policies.Policy) *policies.Set {
	return &policies.Set{
		Policies: p, Protect: policies.Selector{All: []string{"protected"}}, Mode: policies.ModeAct, Regions: []string{"LON1"}, Zone: london,
		Allow: []policies.Verb{policies.Start, policies.Stop, policies.Reboot, policies.Resize, policies.Retag, policies.Firewall},
	}
}

func instance(id, status string, tags ...string) policies.Instance {
	return policies.Instance{ID: id, Hostname: id, Region: "LON1", Size: "g3.small", Status: status, Tags: append([]string{"env=dev"}, tags...), FirewallID: "open"}
}

func at(text string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04", text, london)
	if err != nil {
		panic(err)
	}
	return t
}

// tick is the trigger of all edges at one instant.
func tick(s *policies.Set, planned time.Time) policies.Trigger {
	edges := s.Edges(planned.Add(-time.Second), planned)
	return policies.Trigger{ID: fmt.Sprintf("t%d", planned.Unix()), At: planned, Edges: edges}
}

// lines prints a plan as "verb id" and "skip id reason".
func lines(p policies.Plan) string {
	var out []string
	for _, a := range p.Actions {
		words := []string{string(a.Verb), a.Instance}
		if a.Size != "" {
			words = append(words, a.Size)
		}
		out = append(out, strings.Join(words, " "))
	}
	for _, s := range p.Skips {
		out = append(out, strings.TrimSpace("skip "+s.Instance+" "+string(s.Reason)))
	}
	return strings.Join(out, "; ")
}

func TestWhoWinsAtAnEdge(t *testing.T) {
	start, stop := policies.Step{Verb: policies.Start}, policies.Step{Verb: policies.Stop}
	for _, tt := range []struct {
		name string
		set  *policies.Set
		at   string
		inst policies.Instance
		want string
	}{
		{"an evening edge stops", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), "2026-03-04 19:00", instance("a", "ACTIVE"), "stop a"},
		{"a morning edge starts", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), "2026-03-04 08:00", instance("a", "SHUTOFF"), "start a"},
		{"what is so already is skipped", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), "2026-03-04 19:00", instance("a", "SHUTOFF"), "skip a already"},
		{"an unknown status is busy, not already", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), "2026-03-04 19:00", instance("a", "MIGRATING"), "stop a"},
		{"what is protected is not touched", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), "2026-03-04 19:00", instance("a", "ACTIVE", "protected"), "skip a protected"},
		{"a cluster's node is not touched", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), "2026-03-04 19:00", instance("a", "ACTIVE", "civo-kubernetes:installed"), "skip a cluster node"},
		{"the higher priority wins", set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), level(t, "late", 5, "Mon-Fri 08:00-23:00")), "2026-03-04 19:00", instance("a", "ACTIVE"), "skip a outranked"},
		{"between equal levels running beats stopped", set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), level(t, "late", 0, "Mon-Fri 08:00-23:00")), "2026-03-04 19:00", instance("a", "ACTIVE"), "skip a outranked"},
		{"the end of the winner's want lets the other act", set(asleep(t, "off", -1, "00:00-24:00"), impulse(t, "batch", 0, "30 5 * * *", 3*time.Hour, start)), "2026-03-04 08:30", instance("a", "ACTIVE"), "stop a"},
		{"an impulse that came after the level began beats it", set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), impulse(t, "nap", 0, "0 12 * * *", 0, stop)), "2026-03-04 12:00", instance("a", "ACTIVE"), "stop a"},
		{"an impulse of lower priority does not", set(level(t, "office", 1, "Mon-Fri 08:00-19:00"), impulse(t, "nap", 0, "0 12 * * *", 0, stop)), "2026-03-04 12:00", instance("a", "ACTIVE"), "skip a outranked"},
		{"an edge ends an impulse without lasts", set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), impulse(t, "night", 0, "0 5 * * *", 0, start)), "2026-03-04 19:00", instance("a", "ACTIVE"), "stop a"},
		{"an impulse that lasts outlives an edge of lower priority", set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), impulse(t, "release", 1, "0 18 * * *", 3*time.Hour, start)), "2026-03-04 19:00", instance("a", "ACTIVE"), "skip a outranked"},
		{"a stop and a start of the same instant leave it running", set(impulse(t, "x", 0, "0 12 * * *", 0, stop), impulse(t, "y", 0, "0 12 * * *", 0, start)), "2026-03-04 12:00", instance("a", "SHUTOFF"), "start a"},
		{"a reboot by cron is dropped when it should be off", set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), impulse(t, "weekly", 0, "0 22 * * *", 0, policies.Step{Verb: policies.Reboot})), "2026-03-04 22:00", instance("a", "ACTIVE"), "skip a off on purpose"},
		{"a reboot of what is off is skipped", set(impulse(t, "weekly", 0, "0 22 * * *", 0, policies.Step{Verb: policies.Reboot})), "2026-03-04 22:00", instance("a", "SHUTOFF"), "skip a not active"},
		{"a power action beats a reboot at the same time", set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), impulse(t, "r", 0, "0 8 * * *", 0, policies.Step{Verb: policies.Reboot})), "2026-03-04 08:00", instance("a", "BUILDING"), "start a; skip a outranked"},
		{"one step up the ladder", set(impulse(t, "grow", 0, "0 12 * * *", 0, policies.Step{Verb: policies.Resize, Ladder: []string{"g3.xsmall", "g3.small", "g3.medium"}})), "2026-03-04 12:00", instance("a", "ACTIVE"), "resize a g3.medium"},
		{"the top of the ladder stays", set(impulse(t, "grow", 0, "0 12 * * *", 0, policies.Step{Verb: policies.Resize, Ladder: []string{"g3.xsmall", "g3.small"}})), "2026-03-04 12:00", instance("a", "ACTIVE"), "skip a top of ladder"},
		{"a size beside the ladder stays", set(impulse(t, "grow", 0, "0 12 * * *", 0, policies.Step{Verb: policies.Resize, Ladder: []string{"g4s.small", "g4s.medium"}})), "2026-03-04 12:00", instance("a", "ACTIVE"), "skip a off ladder"},
		{"a blank firewall is refused", set(impulse(t, "fw", 0, "0 12 * * *", 0, policies.Step{Verb: policies.Firewall})), "2026-03-04 12:00", instance("a", "ACTIVE"), "skip a invalid"},
		{"tags that are there already", set(impulse(t, "tag", 0, "0 12 * * *", 0, policies.Step{Verb: policies.Retag, Add: []string{"env=dev"}, Remove: []string{"x"}})), "2026-03-04 12:00", instance("a", "ACTIVE"), "skip a already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trig := tick(tt.set, at(tt.at))
			if len(trig.Edges) == 0 {
				t.Fatal("no edge at that time")
			}
			if got := lines(policies.Decide(tt.set, []policies.Instance{tt.inst}, policies.Facts{}, trig, at(tt.at))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSignals(t *testing.T) {
	reboot := policies.Step{Verb: policies.Reboot}
	fw := policies.Step{Verb: policies.Firewall, Firewall: "shut"}
	now := at("2026-03-04 12:00")
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	down := policies.Signal{Region: "LON1", Instance: "a", Alert: "Down"}
	for _, tt := range []struct {
		name   string
		set    *policies.Set
		signal policies.Signal
		inst   policies.Instance
		facts  policies.Facts
		now    time.Time
		want   string
	}{
		{"an alert reboots", set(onAlert("r", 0, reboot)), down, instance("a", "ACTIVE"), policies.Facts{}, now, "reboot a"},
		{"another alert does not", set(onAlert("r", 0, reboot)), policies.Signal{Region: "LON1", Instance: "a", Alert: "Up"}, instance("a", "ACTIVE"), policies.Facts{}, now, ""},
		{"a resolved alert does nothing", set(onAlert("r", 0, reboot)), policies.Signal{Region: "LON1", Instance: "a", Alert: "Down", Resolved: true}, instance("a", "ACTIVE"), policies.Facts{}, now, ""},
		{"nothing to what is off on purpose", set(office, onAlert("r", 0, reboot)), down, instance("a", "SHUTOFF"), policies.Facts{}, at("2026-03-04 22:00"), "skip a off on purpose"},
		{"nothing to what is not active", set(onAlert("r", 0, reboot)), down, instance("a", "SHUTOFF"), policies.Facts{}, now, "skip a not active"},
		{"a firewall is set all the same", set(office, onAlert("q", 0, fw)), down, instance("a", "SHUTOFF"), policies.Facts{}, at("2026-03-04 22:00"), "firewall a"},
		{"nothing within the cool-down", set(onAlert("r", 0, reboot)), down, instance("a", "ACTIVE"), policies.Facts{Cooldowns: map[string]policies.Cooldown{policies.CooldownKey("r", "a"): {At: now.Add(-29 * time.Minute)}}}, now, "skip a cooldown"},
		{"again after it", set(onAlert("r", 0, reboot)), down, instance("a", "ACTIVE"), policies.Facts{Cooldowns: map[string]policies.Cooldown{policies.CooldownKey("r", "a"): {At: now.Add(-30 * time.Minute)}}}, now, "reboot a"},
		{"nothing moments after an action of ours", set(onAlert("r", 0, reboot)), down, instance("a", "ACTIVE"), policies.Facts{LastActions: map[string]time.Time{"a": now.Add(-9 * time.Minute)}}, now, "skip a settling"},
		{"outside of select", set(policies.Policy{Name: "r", Signal: &policies.SignalCause{Alert: "Down"}, Do: []policies.Step{reboot}, Select: policies.Selector{All: []string{"role=web"}}}), down, instance("a", "ACTIVE"), policies.Facts{}, now, "skip a no match"},
		{"an instance that is gone", set(onAlert("r", 0, reboot)), policies.Signal{Region: "LON1", Instance: "z", Alert: "Down"}, instance("a", "ACTIVE"), policies.Facts{}, now, "skip z gone"},
		{"a start wakes what is off on purpose", set(office, onAlert("w", 0, policies.Step{Verb: policies.Start})), down, instance("a", "SHUTOFF"), policies.Facts{}, at("2026-03-04 22:00"), "start a"},
		{"but not what is protected", set(onAlert("w", 0, policies.Step{Verb: policies.Start})), down, instance("a", "SHUTOFF", "protected"), policies.Facts{}, now, "skip a protected"},
		{"two steps are both done", set(onAlert("q", 0, fw, policies.Step{Verb: policies.Retag, Add: []string{"quarantined"}})), down, instance("a", "ACTIVE"), policies.Facts{}, now, "firewall a; retag a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := policies.Decide(tt.set, []policies.Instance{tt.inst}, tt.facts, policies.Trigger{ID: "x", At: tt.now, Signal: &tt.signal}, tt.now)
			if got := lines(plan); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestALoadMustBeAbove(t *testing.T) {
	s := set(policies.Policy{Name: "grow", Signal: &policies.SignalCause{Load: "cpu", Above: 85}, Do: []policies.Step{{Verb: policies.Resize, Ladder: []string{"g3.small", "g3.medium"}}}, Select: policies.Selector{All: []string{"env=dev"}}})
	for value, want := range map[float64]string{85: "", 85.1: "resize a g3.medium"} {
		sig := &policies.Signal{Region: "LON1", Instance: "a", Load: "cpu", Value: value}
		if got := lines(policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, policies.Trigger{ID: "x", Signal: sig}, at("2026-03-04 12:00"))); got != want {
			t.Errorf("cpu %g: got %q, want %q", value, got, want)
		}
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		name string
		step policies.Step
		inst policies.Instance
		want string
	}{
		{"a command outranks every policy", policies.Step{Verb: policies.Stop}, instance("a", "ACTIVE"), "stop a"},
		{"but not protect", policies.Step{Verb: policies.Stop}, instance("a", "ACTIVE", "protected"), "skip a protected"},
		{"nor allow", policies.Step{Verb: policies.Delete}, instance("a", "ACTIVE"), "skip a not allowed"},
		{"what is so is skipped", policies.Step{Verb: policies.Stop}, instance("a", "SHUTOFF"), "skip a already"},
		{"a reboot of what is off", policies.Step{Verb: policies.Reboot}, instance("a", "SHUTOFF"), "skip a not active"},
		{"an instance that is gone", policies.Step{Verb: policies.Stop}, instance("b", "ACTIVE"), "skip a gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(level(t, "always", 1000, "00:00-24:00"))
			trig := policies.Trigger{ID: "x", At: at("2026-03-04 12:00"), Command: &policies.Command{Region: "lon1", Instance: "a", Step: tt.step}}
			if got := lines(policies.Decide(s, []policies.Instance{tt.inst}, policies.Facts{}, trig, trig.At)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestARunLargerThanAnyoneMeantIsHeldBackWhole(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	s.Limits.PerRun = 3
	for _, tt := range []struct {
		n       int
		at      string
		status  string
		actions int
	}{
		{3, "2026-03-04 19:00", "ACTIVE", 3},
		{4, "2026-03-04 19:00", "ACTIVE", 0},
		{4, "2026-03-04 08:00", "SHUTOFF", 4}, // starts by schedule are never held
	} {
		var inv []policies.Instance
		for i := range tt.n {
			inv = append(inv, instance(fmt.Sprintf("i%d", i), tt.status))
		}
		plan := policies.Decide(s, inv, policies.Facts{}, tick(s, at(tt.at)), at(tt.at))
		free := 0
		for _, a := range plan.Actions {
			if a.Hold == "" {
				free++
			}
		}
		if free != tt.actions || len(plan.Actions) != tt.n {
			t.Errorf("%d instances at %s: %d not held of %s", tt.n, tt.at, free, lines(plan))
		}
	}
}

func TestInModeAskEveryActionWaitsForApproval(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	s.Policies[0].Mode = policies.ModeAsk
	plan := policies.Decide(s, []policies.Instance{instance("i0", "ACTIVE")}, policies.Facts{}, tick(s, at("2026-03-04 19:00")), at("2026-03-04 19:00"))
	if len(plan.Actions) != 1 || plan.Actions[0].Hold != "mode is ask" {
		t.Errorf("got %+v", plan.Actions)
	}
}

func TestAnEdgeOfAPolicyThatChangedActsOnNothing(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	trig := tick(s, at("2026-03-04 19:00"))
	for _, changed := range []*policies.Set{set(level(t, "office", 0, "Mon-Fri 08:00-20:00")), set(level(t, "other", 0, "Mon-Fri 08:00-19:00"))} {
		if got := lines(policies.Decide(changed, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, trig, trig.At)); got != "skip  policy changed" {
			t.Errorf("got %q", got)
		}
	}
}

func TestMissedEdgesGoThroughOneDecision(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	now := at("2026-03-05 09:00") // away since yesterday noon: a stop and a start were missed
	trig := policies.Trigger{ID: "t", At: at("2026-03-05 08:00"), Edges: s.Edges(at("2026-03-04 12:00"), now)}
	if got := lines(policies.Decide(s, []policies.Instance{instance("a", "SHUTOFF")}, policies.Facts{}, trig, now)); got != "start a" {
		t.Errorf("got %q, want only the newest to act", got)
	}
}

func TestObserveModeIsInTheAction(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	s.Policies[0].Mode = policies.ModeObserve
	plan := policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, tick(s, at("2026-03-04 19:00")), at("2026-03-04 19:00"))
	if len(plan.Actions) != 1 || plan.Actions[0].Mode != policies.ModeObserve {
		t.Errorf("got %+v", plan.Actions)
	}
}

func TestGiveUpTimes(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), impulse(t, "c", 0, "0 5 * * *", 0, policies.Step{Verb: policies.Start}))
	office, cron := &s.Policies[0], &s.Policies[1]
	if _, until := office.GiveUp(policies.Edge{Planned: at("2026-03-04 08:00")}); !until.Equal(at("2026-03-04 19:00")) {
		t.Errorf("a start by schedule is good until %s, want the end of its window", until)
	}
	if after, _ := office.GiveUp(policies.Edge{Planned: at("2026-03-04 19:00")}); after != time.Hour {
		t.Errorf("a stop by schedule is good for %s, want 1h", after)
	}
	if after, _ := cron.GiveUp(policies.Edge{Planned: at("2026-03-04 05:00")}); after != 15*time.Minute {
		t.Errorf("a cron edge is good for %s, want 15m", after)
	}
}

func TestTheEndOfWhatLastsIsAnEdge(t *testing.T) {
	s := set(impulse(t, "batch", 0, "30 5 * * *", 3*time.Hour, policies.Step{Verb: policies.Start}))
	var got []string
	for _, e := range s.NextEdges(at("2026-03-04 00:00"), 3) {
		got = append(got, e.Planned.In(london).Format("15:04")+" "+e.Want)
	}
	if want := "05:30 start; 08:30 end of batch; 05:30 start"; strings.Join(got, "; ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, "; "), want)
	}
}

func TestSelectors(t *testing.T) {
	inst := policies.Instance{Hostname: "dev-1", Region: "LON1", Size: "g3.small", Status: "ACTIVE", Tags: []string{"env=dev", "nightshift.hours=Mon-Fri/x", "batch"}}
	for _, tt := range []struct {
		s    policies.Selector
		want bool
	}{
		{policies.Selector{}, false},
		{policies.Selector{All: []string{"*"}}, true},
		{policies.Selector{All: []string{"env=dev", "batch"}}, true},
		{policies.Selector{All: []string{"env=dev", "other"}}, false},
		{policies.Selector{All: []string{"env"}}, false},
		{policies.Selector{All: []string{"nightshift.hours=*"}}, true},
		{policies.Selector{Any: []string{"x", "batch"}}, true},
		{policies.Selector{Any: []string{"x"}}, false},
		{policies.Selector{None: []string{"env=*"}}, false},
		{policies.Selector{Region: []string{"nyc1", "lon1"}}, true},
		{policies.Selector{Size: []string{"g3.*"}, Hostname: []string{"web-*"}}, false},
		{policies.Selector{Status: []string{"active"}}, true},
	} {
		if got := tt.s.Matches(inst); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.s, got, tt.want)
		}
	}
	if !(policies.Selector{All: []string{"*"}}).Matches(policies.Instance{}) {
		t.Error(`all: ["*"] does not select an instance without tags`)
	}
}

func TestAHashSaysWhatAPolicyMeans(t *testing.T) {
	a, b := level(t, "office", 0, "Mon-Fri 08:00-19:00"), level(t, "office", 0, "Mon-Fri 08:00-19:00")
	if a.Hash() != b.Hash() {
		t.Error("the same policy has two hashes")
	}
	b.Priority = 1
	c := level(t, "office", 0, "Mon-Fri 08:00-18:00")
	if a.Hash() == b.Hash() || a.Hash() == c.Hash() {
		t.Error("a changed policy keeps its hash")
	}
}

func TestTheMachineThatNightshiftRunsOnIsNotTouched(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	s.Self = policies.Machine{Hostname: "ops-1.example.com", Addresses: []string{"192.168.1.5", "212.2.1.1"}}
	for _, tt := range []struct {
		name, hostname, private, public, want string
	}{
		{"its private address and its name", "ops-1", "192.168.1.5", "9.9.9.9", "skip a protected"},
		{"its public address, whatever the name", "other", "", "212.2.1.1", "skip a protected"},
		{"the private address alone, of another network", "dev-1", "192.168.1.5", "9.9.9.9", "stop a"},
		{"the name alone", "ops-1", "192.168.1.6", "9.9.9.9", "stop a"},
		{"without addresses", "ops-1", "", "", "stop a"},
	} {
		i := instance("a", "ACTIVE")
		i.Hostname, i.PrivateIP, i.PublicIP = tt.hostname, tt.private, tt.public
		if got := lines(policies.Decide(s, []policies.Instance{i}, policies.Facts{}, tick(s, at("2026-03-04 19:00")), at("2026-03-04 19:00"))); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
