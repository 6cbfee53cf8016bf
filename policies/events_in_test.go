package policies_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// The rules of language.md, "Events that come in" and "Rails, in numbers", as far as
// they are decisions.

func down(instance string) policies.Signal {
	return policies.Signal{Region: "LON1", Instance: instance, Alert: "Down"}
}

func hear(s *policies.Set, inv []policies.Instance, facts policies.Facts, sig policies.Signal, when string) policies.Plan {
	return policies.Decide(s, inv, facts, policies.Trigger{ID: "x", At: at(when), Signal: &sig}, at(when))
}

func TestSignalsThatRebootResizeOrStopDoNothingOnWhatIsOffBusyOrSettling(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	steps := map[string]policies.Step{
		"reboot": {Verb: policies.Reboot}, "resize": {Verb: policies.Resize, Ladder: []string{"g3.small", "g3.medium"}}, "stop": {Verb: policies.Stop},
		"start": {Verb: policies.Start}, "retag": {Verb: policies.Retag, Add: []string{"x"}}, "firewall": {Verb: policies.Firewall, Firewall: "shut"},
	}
	recent := policies.Facts{LastActions: map[string]time.Time{"a": at("2026-03-04 11:51")}}
	settled := policies.Facts{LastActions: map[string]time.Time{"a": at("2026-03-04 11:50")}}
	for _, tt := range []struct {
		name, at, status string
		facts            policies.Facts
		does             string // of reboot, resize and stop; %s: the verb
		others           string // of retag and firewall
	}{
		{"running and meant to", "2026-03-04 12:00", "ACTIVE", policies.Facts{}, "done", "done"},
		{"off on purpose", "2026-03-04 22:00", "ACTIVE", policies.Facts{}, "off on purpose", "done"},
		{"not active", "2026-03-04 12:00", "BUILDING", policies.Facts{}, "not active", "done"},
		{"an action of ours nine minutes ago", "2026-03-04 12:00", "ACTIVE", recent, "settling", "done"},
		{"an action of ours ten minutes ago", "2026-03-04 12:00", "ACTIVE", settled, "done", "done"},
		{"off on purpose goes before not active", "2026-03-04 22:00", "SHUTOFF", policies.Facts{}, "off on purpose", "done"},
	} {
		for verb, step := range steps {
			t.Run(tt.name+": "+verb, func(t *testing.T) {
				plan := hear(set(office, onAlert("p", 0, step)), []policies.Instance{instance("a", tt.status)}, tt.facts, down("a"), tt.at)
				got := "done"
				if len(plan.Skips) > 0 {
					got = string(plan.Skips[0].Reason)
				}
				want := tt.does
				switch verb {
				case "start": // bound only by protect, pause and keep
					if want = "done"; tt.status == "ACTIVE" {
						want = "already"
					}
				case "retag", "firewall":
					want = tt.others
				}
				if got != want || len(plan.Actions)+len(plan.Skips) != 1 {
					t.Errorf("got %q (%s), want %q", got, lines(plan), want)
				}
			})
		}
	}
	plan := hear(set(office, onAlert("p", 0, steps["reboot"])), []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, down("a"), "2026-03-04 22:00")
	if plan.Skips[0].Detail != "office" {
		t.Errorf("off on purpose of %q, want office", plan.Skips[0].Detail)
	}
}

func TestASignalThatStartsIsBoundOnlyByProtectPauseAndKeep(t *testing.T) {
	closed := asleep(t, "closed", 1000, "00:00-24:00")
	wake := onAlert("wake", 0, policies.Step{Verb: policies.Start})
	wake.AtMost = policies.AtMost{Instances: 1, Within: time.Hour}
	busy := policies.Facts{
		LastActions: map[string]time.Time{"a": at("2026-03-04 11:59")},
		Cooldowns:   map[string]policies.Cooldown{policies.CooldownKey("wake", "a"): {At: at("2026-03-04 11:59")}, policies.CooldownKey("wake", "b"): {At: at("2026-03-04 11:59")}},
		Impulses:    policies.Impulses{"a": {{State: schedule.Stopped, At: at("2026-03-04 11:00")}}},
		Hands:       map[string]policies.Hand{"a": {State: schedule.Stopped, At: at("2026-03-04 11:00")}},
	}
	with := func(f func(*policies.Facts)) policies.Facts { x := busy; f(&x); return x }
	for _, tt := range []struct {
		name  string
		inst  policies.Instance
		facts policies.Facts
		want  string
	}{
		{"not by priority, cool-down, settle, at_most, a command or a hand", instance("a", "SHUTOFF"), busy, "start a"},
		{"by protect", instance("a", "SHUTOFF", "protected"), busy, "skip a protected"},
		{"by a pause of the policy", instance("a", "SHUTOFF"), with(func(f *policies.Facts) { f.Pauses = []policies.Pause{{Policy: "wake", Since: at("2026-03-04 09:00")}} }), "skip a paused"},
		{"by a pause of the instance", instance("a", "SHUTOFF"), with(func(f *policies.Facts) { f.Pauses = []policies.Pause{{Instance: "a", Since: at("2026-03-04 09:00")}} }), "skip a paused"},
		{"by a keep stopped", instance("a", "SHUTOFF"), with(func(f *policies.Facts) {
			f.Keeps = map[string]policies.Keep{"a": {State: schedule.Stopped, Until: at("2026-03-04 13:00")}}
		}), "skip a kept"},
		{"by a keep as it is", instance("a", "SHUTOFF"), with(func(f *policies.Facts) {
			f.Keeps = map[string]policies.Keep{"a": {State: schedule.Any, Until: at("2026-03-04 13:00")}}
		}), "skip a kept"},
		{"not by a keep that has ended", instance("a", "SHUTOFF"), with(func(f *policies.Facts) {
			f.Keeps = map[string]policies.Keep{"a": {State: schedule.Stopped, Until: at("2026-03-04 12:00")}}
		}), "start a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lines(hear(set(closed, wake), []policies.Instance{tt.inst}, tt.facts, down("a"), "2026-03-04 12:00")); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatAKeepLetsBeDone(t *testing.T) {
	s := set()
	for _, tt := range []struct {
		state               schedule.State
		start, stop, reboot bool // is it kept from
	}{
		{schedule.Running, false, true, false},
		{schedule.Stopped, true, false, true},
		{schedule.Any, true, true, true},
	} {
		facts := policies.Facts{Keeps: map[string]policies.Keep{"a": {State: tt.state, Since: at("2026-03-04 09:00"), Until: at("2026-03-04 13:00")}}}
		for verb, want := range map[policies.Verb]bool{policies.Start: tt.start, policies.Stop: tt.stop, policies.Reboot: tt.reboot, policies.Resize: tt.reboot, policies.Retag: false, policies.Firewall: false} {
			reason, _ := s.Overrules(instance("a", "ACTIVE"), facts, verb, "", at("2026-03-04 12:00"))
			if (reason == policies.ReasonKept) != want {
				t.Errorf("kept %s: %s gives %q", tt.state, verb, reason)
			}
			if reason, _ := s.Overrules(instance("a", "ACTIVE"), facts, verb, policies.KeepSource, at("2026-03-04 12:00")); reason != "" {
				t.Errorf("a keep keeps itself from %s", verb)
			}
			for _, when := range []string{"2026-03-04 08:59", "2026-03-04 13:00"} {
				if reason, _ := s.Overrules(instance("a", "ACTIVE"), facts, verb, "", at(when)); reason != "" {
					t.Errorf("a keep of 09:00 to 13:00 holds at %s", when)
				}
			}
		}
	}
}

func TestForCountsFromStartsAt(t *testing.T) {
	p := onAlert("p", 0, policies.Step{Verb: policies.Reboot}, policies.Step{Verb: policies.Reboot, Hard: true, After: 5 * time.Minute, IfFiring: true})
	p.Signal.For = 5 * time.Minute
	plan := hear(set(p), []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, down("a"), "2026-03-04 12:00")
	if len(plan.Actions) != 2 || !plan.Actions[0].Due.Equal(at("2026-03-04 12:05")) || !plan.Actions[1].Due.Equal(at("2026-03-04 12:10")) {
		t.Fatalf("got %+v", plan.Actions)
	}
	if plan.Actions[0].IfFiring || !plan.Actions[1].IfFiring || !plan.Actions[1].Hard || !plan.Actions[0].Planned.Equal(at("2026-03-04 12:00")) {
		t.Errorf("got %+v", plan.Actions)
	}
	grow := policies.Policy{Name: "grow", Signal: &policies.SignalCause{Load: "cpu", Above: 85, For: 10 * time.Minute}, Do: []policies.Step{{Verb: policies.Resize, Ladder: []string{"g3.small", "g3.medium"}}}, Select: policies.Selector{All: []string{"env=dev"}}}
	load := policies.Signal{Region: "LON1", Instance: "a", Load: "cpu", Value: 90}
	for since, want := range map[string]string{"2026-03-04 11:50": "resize a g3.medium", "2026-03-04 11:51": "", "": ""} {
		facts := policies.Facts{}
		if since != "" {
			facts.Loads = map[string]policies.Load{policies.CooldownKey("grow", "a"): {Since: at(since), Last: at("2026-03-04 12:00")}}
		}
		if got := lines(hear(set(grow), []policies.Instance{instance("a", "ACTIVE")}, facts, load, "2026-03-04 12:00")); got != want {
			t.Errorf("high since %q: got %q, want %q", since, got, want)
		}
	}
}

func TestALoadIsHighUntilItIsClear(t *testing.T) {
	t0 := at("2026-03-04 12:00")
	minute := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Minute) }
	with, without := &policies.SignalCause{Load: "cpu", Above: 85, ClearBelow: 60}, &policies.SignalCause{Load: "cpu", Above: 85}
	high := policies.Load{Since: t0, Last: minute(1)}
	for _, tt := range []struct {
		name  string
		cause *policies.SignalCause
		old   policies.Load
		value float64
		at    int
		want  policies.Load
		high  bool
	}{
		{"it begins above", with, policies.Load{}, 86, 2, policies.Load{Since: minute(2), Last: minute(2)}, true},
		{"not at the bound", with, policies.Load{}, 85, 2, policies.Load{}, false},
		{"it goes on above", with, high, 90, 2, policies.Load{Since: t0, Last: minute(2)}, true},
		{"it goes on between", with, high, 60, 2, policies.Load{Since: t0, Last: minute(2)}, true},
		{"it ends below clear_below", with, high, 59, 2, policies.Load{}, false},
		{"without clear_below at the bound", without, high, 85, 2, policies.Load{}, false},
		{"and goes on above it", without, high, 85.5, 2, policies.Load{Since: t0, Last: minute(2)}, true},
		{"an older value changes nothing", with, high, 10, 0, high, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, isHigh := tt.cause.NextLoad(tt.old, tt.value, minute(tt.at)); got != tt.want || isHigh != tt.high {
				t.Errorf("got %+v, %v; want %+v, %v", got, isHigh, tt.want, tt.high)
			}
		})
	}
}

func TestASignalIsHeardByItsKindItsLabelsAndItsMatchers(t *testing.T) {
	matcher := func(text string) policies.Matcher {
		m, err := policies.ParseMatcher(text)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	crit := map[string]string{"severity": "critical", "team": "web"}
	for _, tt := range []struct {
		name  string
		cause policies.SignalCause
		sig   policies.Signal
		want  bool
	}{
		{"the alert", policies.SignalCause{Alert: "Down"}, policies.Signal{Alert: "Down"}, true},
		{"another alert", policies.SignalCause{Alert: "Down"}, policies.Signal{Alert: "Up"}, false},
		{"a load of that name is no alert", policies.SignalCause{Alert: "cpu"}, policies.Signal{Load: "cpu"}, false},
		{"a signal", policies.SignalCause{Name: "ci.queued"}, policies.Signal{Name: "ci.queued"}, true},
		{"labels are all equal", policies.SignalCause{Alert: "Down", Labels: crit}, policies.Signal{Alert: "Down", Labels: crit}, true},
		{"one is not", policies.SignalCause{Alert: "Down", Labels: crit}, policies.Signal{Alert: "Down", Labels: map[string]string{"severity": "critical"}}, false},
		{"all matchers match", policies.SignalCause{Alert: "Down", Matchers: []policies.Matcher{matcher(`team=~"web|api"`), matcher(`severity!=low`)}}, policies.Signal{Alert: "Down", Labels: crit}, true},
		{"one does not", policies.SignalCause{Alert: "Down", Matchers: []policies.Matcher{matcher(`team=~"web|api"`), matcher(`severity!~"crit.*"`)}}, policies.Signal{Alert: "Down", Labels: crit}, false},
		{"an expression matches the whole", policies.SignalCause{Alert: "Down", Matchers: []policies.Matcher{matcher(`team=~"we"`)}}, policies.Signal{Alert: "Down", Labels: crit}, false},
		{"a label that is missing is empty", policies.SignalCause{Alert: "Down", Matchers: []policies.Matcher{matcher(`env=""`)}}, policies.Signal{Alert: "Down", Labels: crit}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.cause.Hears(&tt.sig); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if (*policies.SignalCause)(nil).Hears(&policies.Signal{}) {
		t.Error("a policy without a trigger hears")
	}
}

func TestAtMostHoldsFortyAlertsAtOnce(t *testing.T) {
	p := onAlert("p", 0, policies.Step{Verb: policies.Reboot})
	p.AtMost = policies.AtMost{Instances: 2, Within: 30 * time.Minute}
	touched := func(ids ...string) policies.Facts {
		f := policies.Facts{Cooldowns: make(map[string]policies.Cooldown)}
		for _, id := range ids {
			f.Cooldowns[id] = policies.Cooldown{At: at("2026-03-04 11:31")}
		}
		return f
	}
	for _, tt := range []struct {
		name  string
		facts policies.Facts
		at    string
		want  string
	}{
		{"one other", touched("p/b"), "2026-03-04 12:00", "reboot a"},
		{"two others", touched("p/b", "p/c"), "2026-03-04 12:00", "skip a over limit"},
		{"two others a while ago", touched("p/b", "p/c"), "2026-03-04 12:01", "reboot a"},
		{"others of another policy", touched("q/b", "q/c", "pp/d"), "2026-03-04 12:00", "reboot a"},
		{"itself does not count", touched("p/b", "q/a"), "2026-03-04 12:00", "reboot a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lines(hear(set(p), []policies.Instance{instance("a", "ACTIVE")}, tt.facts, down("a"), tt.at)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFlappingBacksOff(t *testing.T) {
	p := onAlert("p", 0, policies.Step{Verb: policies.Reboot}) // cool-down 30m
	t0 := at("2026-03-04 00:00")
	c := policies.Cooldown{}.Next(&p, t0)
	var spans []string
	for range 8 {
		spans = append(spans, c.Span(&p).String())
		c = c.Next(&p, c.At.Add(c.Span(&p)))
	}
	if got, want := strings.Join(spans, " "), "30m0s 1h0m0s 2h0m0s 4h0m0s 8h0m0s 16h0m0s 24h0m0s 24h0m0s"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if calm := c.Next(&p, c.At.Add(2*c.Span(&p)+time.Second)); calm.Streak != 0 {
		t.Errorf("after a calm while the streak is %d", calm.Streak)
	}
	if again := (policies.Cooldown{At: t0}).Next(&p, t0.Add(time.Hour)); again.Streak != 1 {
		t.Errorf("right after a cool-down the streak is %d", again.Streak)
	}
	day := p
	day.Cooldown = 48 * time.Hour
	if got := (policies.Cooldown{Streak: 3}).Span(&day); got != 48*time.Hour {
		t.Errorf("a cool-down longer than a day becomes %s", got)
	}
	facts := policies.Facts{Cooldowns: map[string]policies.Cooldown{"p/a": {At: at("2026-03-04 11:01"), Streak: 1}}}
	for when, want := range map[string]string{"2026-03-04 12:00": "skip a flapping", "2026-03-04 12:01": "reboot a"} {
		if got := lines(hear(set(p), []policies.Instance{instance("a", "ACTIVE")}, facts, down("a"), when)); got != want {
			t.Errorf("at %s: %q, want %q", when, got, want)
		}
	}
}

func TestASignalWithoutAnInstancePicks(t *testing.T) {
	ci := func(count, atMost int) *policies.Set {
		return set(policies.Policy{Name: "ci", Signal: &policies.SignalCause{Name: "ci.queued"}, Do: []policies.Step{{Verb: policies.Start}}, Lasts: 30 * time.Minute,
			Pick: &policies.Pick{Count: count, AtMost: atMost}, Select: policies.Selector{All: []string{"env=dev"}}})
	}
	inv := []policies.Instance{instance("d", "SHUTOFF"), instance("c", "SHUTOFF"), instance("e", "ACTIVE"), instance("a", "BUILDING"), instance("p", "SHUTOFF", "protected")}
	nyc := instance("n", "SHUTOFF")
	nyc.Region = "NYC1"
	nyc2 := nyc
	nyc2.Tags = []string{"other"}
	inv = append(inv, nyc, policies.Instance{ID: "o", Region: "LON1", Status: "SHUTOFF"})
	held := policies.Facts{Impulses: policies.Impulses{"d": {{Policy: "ci", State: schedule.Running, At: at("2026-03-04 11:50"), Until: at("2026-03-04 12:20"), Started: true}}}}
	ended := policies.Facts{Impulses: policies.Impulses{"d": {{Policy: "ci", State: schedule.Running, At: at("2026-03-04 11:20"), Until: at("2026-03-04 11:50"), Started: true}}}}
	for _, tt := range []struct {
		name   string
		set    *policies.Set
		value  float64
		region string
		facts  policies.Facts
		want   string
	}{
		{"what runs counts first", ci(0, 8), 1, "", policies.Facts{}, "skip e already"},
		{"then what is off, in order, before what is busy", ci(0, 8), 3, "", policies.Facts{}, "start c; start d; skip e already"},
		{"in the region that the signal names", ci(0, 8), 9, "nyc1", policies.Facts{}, "start n"},
		{"no more than there are; never what is protected", ci(0, 8), 9, "LON1", policies.Facts{}, "start a; start c; start d; skip e already"},
		{"no more than at_most", ci(0, 2), 9, "", policies.Facts{}, "start c; skip e already"},
		{"a part counts whole", ci(0, 8), 1.2, "", policies.Facts{}, "start c; skip e already"},
		{"nothing for nothing", ci(0, 8), 0, "", policies.Facts{}, ""},
		{"nor for less", ci(0, 8), -3, "", policies.Facts{}, ""},
		{"nor for what is no number", ci(0, 8), math.NaN(), "", policies.Facts{}, ""},
		{"all for infinitely many", ci(0, 0), math.Inf(1), "LON1", policies.Facts{}, "start a; start c; start d; skip e already"},
		{"a count of its own", ci(2, 0), 9, "", policies.Facts{}, "start c; skip e already"},
		{"what it keeps so itself goes before others, and is prolonged", ci(0, 8), 1, "", held, "start d"},
		{"not what it has kept so", ci(0, 8), 1, "", ended, "skip e already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := hear(tt.set, inv, tt.facts, policies.Signal{Name: "ci.queued", Value: tt.value, Region: tt.region}, "2026-03-04 12:00")
			if got := lines(plan); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for _, a := range plan.Actions {
				if !a.HoldsUntil.Equal(at("2026-03-04 12:30")) {
					t.Errorf("%s holds until %s", a.Instance, a.HoldsUntil)
				}
			}
		})
	}
	closed := level(t, "closed", 0, "Mon-Fri 08:00-19:00")
	closed.Select.All = []string{"closed"}
	shed := set(closed, policies.Policy{Name: "shed", Signal: &policies.SignalCause{Name: "shed"}, Do: []policies.Step{{Verb: policies.Stop}}, Pick: &policies.Pick{Count: 1}, Select: policies.Selector{All: []string{"env=dev"}}})
	two := []policies.Instance{instance("b", "SHUTOFF", "closed"), instance("a", "ACTIVE")}
	if got := lines(hear(shed, two, policies.Facts{}, policies.Signal{Name: "shed"}, "2026-03-04 22:00")); got != "skip b off on purpose" {
		t.Errorf("what is off on purpose counts as off: %q", got)
	}
	noPick := set(onAlert("r", 0, policies.Step{Verb: policies.Reboot}))
	if got := lines(hear(noPick, inv, policies.Facts{}, policies.Signal{Alert: "Down"}, "2026-03-04 12:00")); got != "skip  ambiguous" {
		t.Errorf("without pick: %q", got)
	}
}

func TestEachFurtherSignalProlongsAndTheEndStopsWhatItStarted(t *testing.T) {
	m := make(policies.Impulses)
	act := func(when string, started bool) {
		m.Learn(policies.Action{Kind: policies.KindPower, Verb: policies.Start, Instance: "a", Policy: "ci", Planned: at(when), HoldsUntil: at(when).Add(30 * time.Minute)}, started)
	}
	act("2026-03-04 12:00", true)
	act("2026-03-04 12:20", false)
	if got := m["a"]; len(got) != 1 || !got[0].Started || !got[0].Until.Equal(at("2026-03-04 12:50")) || !got[0].At.Equal(at("2026-03-04 12:20")) {
		t.Fatalf("prolonged: %+v", got)
	}
	act("2026-03-04 13:00", false) // after its end: somebody else has started it since
	if got := m["a"]; len(got) != 1 || got[0].Started {
		t.Errorf("after its end: %+v", got)
	}
	m.Learn(policies.Action{Kind: policies.KindPower, Verb: policies.Stop, Instance: "a", Planned: at("2026-03-04 13:05")}, true)
	if got := m["a"]; len(got) != 2 || got[1].Policy != "" || got[1].State != schedule.Stopped {
		t.Errorf("a command beside it: %+v", got)
	}
	for name, a := range map[string]policies.Action{
		"a level": {Kind: policies.KindPower, Verb: policies.Stop, Instance: "b", Level: true}, "a mark": {Kind: policies.KindPower, Verb: policies.Stop, Instance: "b", Policy: policies.MarkSource},
		"what is observed": {Kind: policies.KindPower, Verb: policies.Stop, Instance: "b", Mode: policies.ModeObserve}, "a reboot": {Kind: policies.KindReboot, Verb: policies.Reboot, Instance: "b"},
	} {
		if m.Learn(a, true); len(m["b"]) != 0 {
			t.Errorf("%s is learnt as an impulse", name)
		}
	}
}

func TestPerRunCountsOverAllKindsAndNotTheStartsBySchedule(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	many := func(status string) (inv []policies.Instance) {
		for n := range 4 {
			inv = append(inv, instance(fmt.Sprint(n), status))
		}
		return inv
	}
	retag := impulse(t, "tag", 0, "0 8 * * *", 0, policies.Step{Verb: policies.Retag, Add: []string{"x"}})
	for _, tt := range []struct {
		name   string
		set    *policies.Set
		perRun int
		at     string
		status string
		acts   int
		held   int
	}{
		{"four stops of at most four", set(office), 4, "2026-03-04 19:00", "ACTIVE", 4, 0},
		{"four stops of at most three", set(office), 3, "2026-03-04 19:00", "ACTIVE", 4, 4},
		{"four starts by schedule", set(office), 3, "2026-03-04 08:00", "SHUTOFF", 4, 0},
		{"four starts by cron", set(impulse(t, "c", 0, "0 8 * * *", 0, policies.Step{Verb: policies.Start})), 3, "2026-03-04 08:00", "SHUTOFF", 4, 4},
		{"the starts by schedule go on beside four retags", set(office, retag), 3, "2026-03-04 08:00", "SHUTOFF", 8, 4},
		{"the default is 50", set(office), 0, "2026-03-04 19:00", "ACTIVE", 4, 0},
		{"what is observed does not count", func() *policies.Set { s := set(office); s.Mode = policies.ModeObserve; return s }(), 3, "2026-03-04 19:00", "ACTIVE", 4, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.set.Limits.PerRun = tt.perRun
			plan := policies.Decide(tt.set, many(tt.status), policies.Facts{}, tick(tt.set, at(tt.at)), at(tt.at))
			held := 0
			for _, a := range plan.Actions {
				if a.Hold != "" {
					held++
				}
				if a.Hold != "" && a.Level && a.Verb == policies.Start {
					t.Errorf("a start by schedule is held: %s", a.Hold)
				}
			}
			if len(plan.Actions) != tt.acts || held != tt.held {
				t.Errorf("%d actions, %d held; want %d, %d", len(plan.Actions), held, tt.acts, tt.held)
			}
		})
	}
	s := set(office)
	s.Limits.PerRun = 3
	if plan := policies.Decide(s, many("ACTIVE"), policies.Facts{}, policies.Trigger{ID: "look"}, at("2026-03-04 20:00")); len(plan.Actions) != 4 || plan.Actions[0].Hold == "" {
		t.Errorf("a look does not say that the run would be held: %s", lines(plan))
	}
}

func TestAMissingOrEmptySelectorIsAnError(t *testing.T) {
	for _, s := range []policies.Selector{{}, {All: []string{}}, {All: []string{""}}, {Hostname: []string{"a b"}}, {Any: []string{"a,b"}}, {Size: []string{"g3.["}}} {
		p := level(t, "office", 0, "08:00-19:00")
		p.Select = s
		if err := set(p).Validate(); err == nil || !strings.Contains(err.Error(), "policy office") {
			t.Errorf("%+v: %v", s, err)
		}
	}
	good := set(level(t, "office", 0, "08:00-19:00"))
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, f := range map[string]func(s *policies.Set){
		"two of a name": func(s *policies.Set) { s.Policies = append(s.Policies, s.Policies[0]) },
		"no cause":      func(s *policies.Set) { s.Policies[0].Schedule = nil },
		"two causes":    func(s *policies.Set) { s.Policies[0].Signal = &policies.SignalCause{Alert: "x"} },
		"a do":          func(s *policies.Set) { s.Policies[0].Do = []policies.Step{{Verb: policies.Stop}} },
		"our names":     func(s *policies.Set) { s.Policies[0].Name = "_keep" },
		"no region":     func(s *policies.Set) { s.Regions = nil },
	} {
		s := set(level(t, "office", 0, "08:00-19:00"))
		if f(s); s.Validate() == nil {
			t.Errorf("%s is valid", name)
		}
	}
}

func TestASourceTriggersOnlyThePoliciesThatItMay(t *testing.T) {
	s := set(onAlert("mine", 0, policies.Step{Verb: policies.Retag, Add: []string{"x"}}), onAlert("theirs", 0, policies.Step{Verb: policies.Reboot}))
	s.Sources = map[string][]string{"hook": {"mine"}, "nothing": {}}
	inv := []policies.Instance{instance("a", "ACTIVE")}
	for _, tt := range []struct {
		name, source string
		bound        bool
		want         string // policies that act; else the reason
	}{
		{"a source of NATS may trigger all", "prometheus", false, "mine theirs"},
		{"a webhook may trigger what it lists", "hook", true, "mine"},
		{"so may a message over NATS in its name", "hook", false, "mine"},
		{"a webhook that lists nothing", "nothing", true, "not allowed"},
		{"a webhook that is out of the file", "gone", true, "not allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sig := down("a")
			sig.Source, sig.Bound = tt.source, tt.bound
			plan := hear(s, inv, policies.Facts{}, sig, "2026-03-04 12:00")
			var got []string
			for _, a := range plan.Actions {
				got = append(got, a.Policy)
			}
			for _, k := range plan.Skips {
				got = append(got, string(k.Reason))
			}
			slices.Sort(got)
			if words := strings.Join(got, " "); words != tt.want {
				t.Errorf("got %q, want %q", words, tt.want)
			}
		})
	}
}
