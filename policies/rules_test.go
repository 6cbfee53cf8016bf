package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// want is the state that wins on an instance at an instant, and who wants it.
func want(s *policies.Set, inst policies.Instance, facts policies.Facts, when string) string {
	e := policies.Explain(s, inst, facts, at(when))
	if len(e.Wants) == 0 {
		return "nothing"
	}
	return string(e.Wants[0].State) + " by " + e.Wants[0].Source
}

// The rules of language.md, "Who wins", in their order.
func TestWhoWins(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	start, stop := policies.Step{Verb: policies.Start}, policies.Step{Verb: policies.Stop}
	noon, night := "2026-03-04 12:00", "2026-03-04 22:00"
	keep := func(state schedule.State, until string) policies.Facts {
		return policies.Facts{Keeps: map[string]policies.Keep{"a": {State: state, Since: at("2026-03-04 07:00"), Until: at(until)}}}
	}
	command := func(state schedule.State, when string) policies.Facts {
		return policies.Facts{Impulses: policies.Impulses{"a": {{State: state, At: at(when)}}}}
	}
	pause := func(p policies.Pause) policies.Facts {
		p.Since = at("2026-03-04 09:00")
		return policies.Facts{Pauses: []policies.Pause{p}}
	}
	for _, tt := range []struct {
		name  string
		set   *policies.Set
		facts policies.Facts
		at    string
		want  string
	}{
		{"1 protect: nobody", set(office), policies.Facts{}, noon, "running by office"}, // the want is there; that nothing acts on it is tested below
		{"2 pause of all: everybody is silent", set(office), pause(policies.Pause{}), noon, "nothing"},
		{"2 pause of a policy: it is silent", set(office, level(t, "late", -1, "10:00-11:00")), pause(policies.Pause{Policy: "office"}), noon, "stopped by late"},
		{"2 pause of an instance: all are silent on it", set(office), pause(policies.Pause{Instance: "a"}), noon, "nothing"},
		{"2 pause of another instance: nothing changes", set(office), pause(policies.Pause{Instance: "b"}), noon, "running by office"},
		{"2 pause of all: a keep is silent, too", set(office), policies.Facts{Keeps: keep(schedule.Stopped, "2026-03-05 00:00").Keeps, Pauses: []policies.Pause{{Since: at("2026-03-04 09:00")}}}, noon, "nothing"},
		{"2 a pause that has ended silences nobody", set(office), policies.Facts{Pauses: []policies.Pause{{Since: at("2026-03-04 09:00"), Until: at("2026-03-04 10:00")}}}, noon, "running by office"},
		{"3 keep before the highest priority", set(level(t, "office", 1000, "Mon-Fri 08:00-19:00")), keep(schedule.Stopped, "2026-03-04 13:00"), noon, "stopped by _keep"},
		{"3 keep before a command", set(office), policies.Facts{Keeps: keep(schedule.Running, "2026-03-04 23:00").Keeps, Impulses: command(schedule.Stopped, "2026-03-04 21:00").Impulses}, night, "running by _keep"},
		{"3 keep as it is", set(office), keep(schedule.Any, "2026-03-04 23:00"), night, "any by _keep"},
		{"3 a keep ends by itself", set(office), keep(schedule.Running, "2026-03-04 21:00"), night, "stopped by office"},
		{"4 a command before every policy", set(level(t, "office", 1000, "Mon-Fri 08:00-19:00")), command(schedule.Stopped, "2026-03-04 11:00"), noon, "stopped by _command"},
		{"4 a command holds to the next edge", set(office), command(schedule.Stopped, "2026-03-04 07:00"), noon, "running by office"},
		{"5 the highest priority", set(office, asleep(t, "closed", 1, "00:00-24:00")), policies.Facts{}, noon, "stopped by closed"},
		{"6 an impulse that came after the level began", set(office, impulse(t, "nap", 0, "0 11 * * *", 0, stop)), policies.Facts{}, noon, "stopped by nap"},
		{"6 an impulse that came before does not", set(office, impulse(t, "nap", 0, "0 7 * * *", 8*time.Hour, stop)), policies.Facts{}, noon, "running by office"},
		{"6 running beats stopped between levels", set(office, asleep(t, "closed", 0, "00:00-24:00")), policies.Facts{}, noon, "running by office"},
		{"7 the later of two impulses", set(impulse(t, "up", 0, "0 10 * * *", 9*time.Hour, start), impulse(t, "down", 0, "0 11 * * *", 9*time.Hour, stop)), policies.Facts{}, noon, "stopped by down"},
		{"7 of the same time running", set(impulse(t, "up", 0, "0 11 * * *", 9*time.Hour, start), impulse(t, "down", 0, "0 11 * * *", 9*time.Hour, stop)), policies.Facts{}, noon, "running by up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := want(tt.set, instance("a", "ACTIVE"), tt.facts, tt.at); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	e := policies.Explain(set(office), instance("a", "ACTIVE", "protected"), policies.Facts{}, at(noon))
	if e.Untouchable == "" || e.State() != schedule.Any {
		t.Errorf("protect does not silence everybody: %+v", e)
	}
}

// The end of an exception is an edge: the winner is worked out anew and acted
// upon, with that end as the planned time.
func TestTheEndOfAnExceptionIsAnEdge(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	seen := at("2026-03-04 17:00")
	for _, tt := range []struct {
		name  string
		set   *policies.Set
		inst  policies.Instance
		facts policies.Facts
		want  string
	}{
		{"keep until 22:00 over a 19:00 edge stops at 22:00", set(office), instance("a", "ACTIVE"),
			policies.Facts{Keeps: map[string]policies.Keep{"a": {State: schedule.Running, Since: at("2026-03-04 18:00"), Until: at("2026-03-04 22:00")}}},
			"18:00 skip a already; 19:00 skip a kept; 22:00 stop a"},
		{"a keep by tag does the same", owned(set(office)), instance("a", "ACTIVE", "nightshift.keep=running@2026-03-04T22:00"),
			policies.Facts{TagsSeen: map[string]time.Time{policies.TagKey("a", "nightshift.keep=running@2026-03-04T22:00"): seen}, WatchedSince: at("2026-03-01 00:00")},
			"19:00 skip a kept; 22:00 stop a"},
		{"a keep that begins acts", set(office), instance("a", "ACTIVE"),
			policies.Facts{Keeps: map[string]policies.Keep{"a": {State: schedule.Stopped, Since: at("2026-03-04 18:00"), Until: at("2026-03-04 18:30")}}},
			"18:00 stop a; 18:30 start a; 19:00 stop a"},
		{"kept as it is nothing is done until its end", set(office), instance("a", "ACTIVE"),
			policies.Facts{Keeps: map[string]policies.Keep{"a": {State: schedule.Any, Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00")}}},
			"18:00 skip a kept; 19:00 skip a kept; 20:00 stop a"},
		{"a pause over an edge acts at its end", set(office), instance("a", "ACTIVE"),
			policies.Facts{Pauses: []policies.Pause{{Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00"), Reason: "release"}}},
			"19:00 skip a paused; 20:00 stop a"},
		{"a mark stops once", owned(set(level(t, "office", 0, "06:00-23:00"))), instance("a", "ACTIVE", "nightshift.mark=stop@2026-03-04T18:15"),
			policies.Facts{}, "18:15 stop a; 23:00 skip a already"},
		{"what lasts stops what it started", set(policies.Policy{Name: "ci", Signal: &policies.SignalCause{Name: "ci.queued"}, Do: []policies.Step{{Verb: policies.Start}}, Lasts: 30 * time.Minute, Select: policies.Selector{All: []string{"env=dev"}}}),
			instance("a", "ACTIVE"), policies.Facts{Impulses: policies.Impulses{"a": {{Policy: "ci", State: schedule.Running, At: at("2026-03-04 18:00"), Until: at("2026-03-04 18:30"), Started: true}}}},
			"18:30 stop a"},
		{"and leaves what ran before", set(policies.Policy{Name: "ci", Signal: &policies.SignalCause{Name: "ci.queued"}, Do: []policies.Step{{Verb: policies.Start}}, Lasts: 30 * time.Minute, Select: policies.Selector{All: []string{"env=dev"}}}),
			instance("a", "ACTIVE"), policies.Facts{Impulses: policies.Impulses{"a": {{Policy: "ci", State: schedule.Running, At: at("2026-03-04 18:00"), Until: at("2026-03-04 18:30")}}}},
			"18:30 skip a no want"},
		{"a machine started by hand in the off time is stopped again after stop_again_after", set(func() policies.Policy { p := office; p.StopAgainAfter = 3 * time.Hour; return p }()), instance("a", "ACTIVE"),
			policies.Facts{Hands: map[string]policies.Hand{"a": {State: schedule.Running, At: at("2026-03-04 19:30")}}},
			"19:00 stop a; 22:30 skip a already"}, // the simulation's fleet has nobody who starts it again: see below
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := timeline(tt.set, tt.inst, tt.facts, "2026-03-04 17:30", "2026-03-04 23:30"); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func owned(s *policies.Set) *policies.Set {
	s.Owners.Keys = policies.OwnerKeys
	return s
}

// timeline is what is decided at each edge between two instants.
func timeline(s *policies.Set, inst policies.Instance, facts policies.Facts, from, to string) string {
	var out []string
	for _, stage := range policies.Simulate(s, []policies.Instance{inst}, facts, at(from), at(to)) {
		if l := lines(stage.Plan); l != "" {
			out = append(out, stage.At.In(london).Format("15:04 ")+l)
		}
	}
	return strings.Join(out, "; ")
}

func TestAHandStartIsStoppedAgain(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.StopAgainAfter = 3 * time.Hour
	s := set(office)
	facts := policies.Facts{Hands: map[string]policies.Hand{"a": {State: schedule.Running, At: at("2026-03-04 20:10")}}}
	inst := instance("a", "ACTIVE")
	edges := s.Agenda([]policies.Instance{inst}, facts, at("2026-03-04 21:00")).Edges(at("2026-03-04 21:00"), at("2026-03-05 01:00"))
	if len(edges) != 1 || edges[0].Policy != policies.HandSource || !edges[0].Planned.Equal(at("2026-03-04 23:10")) {
		t.Fatalf("edges %v", edges)
	}
	plan := policies.Decide(s, []policies.Instance{inst}, facts, policies.Trigger{ID: "x", At: edges[0].Planned, Edges: edges}, edges[0].Planned)
	if got := lines(plan); got != "stop a" {
		t.Errorf("got %s", got)
	}
	if why := plan.Actions[0].Why; !strings.Contains(why, "after a start by hand") {
		t.Errorf("why: %s", why)
	}
}

func TestWhatWasStoppedByHandInTheOnTimeStaysSoForRespectStop(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.RespectStop = 24 * time.Hour
	s := set(office)
	for _, tt := range []struct{ name, hand, edge, want string }{
		{"within a day", "2026-03-03 15:00", "2026-03-04 08:00", "skip a hand"},
		{"after it", "2026-03-03 15:00", "2026-03-05 08:00", "start a"},
		{"in the off time it means nothing", "2026-03-03 20:00", "2026-03-04 08:00", "start a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts := policies.Facts{Hands: map[string]policies.Hand{"a": {State: schedule.Stopped, At: at(tt.hand)}}}
			if got := lines(policies.Decide(s, []policies.Instance{instance("a", "SHUTOFF")}, facts, tick(s, at(tt.edge)), at(tt.edge))); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestDrift(t *testing.T) {
	policy := func(e policies.Enforce) *policies.Set {
		p := level(t, "office", 0, "Mon-Fri 08:00-19:00")
		p.Enforce = e
		return set(p)
	}
	watched := policies.Facts{WatchedSince: at("2026-03-01 00:00")}
	hand := policies.Facts{WatchedSince: at("2026-03-01 00:00"), Hands: map[string]policies.Hand{"a": {State: schedule.Running, At: at("2026-03-04 20:00")}}}
	old := policies.Facts{WatchedSince: at("2026-03-01 00:00"), Hands: map[string]policies.Hand{"a": {State: schedule.Running, At: at("2026-03-03 20:00")}}}
	commanded := policies.Facts{WatchedSince: at("2026-03-01 00:00"), Impulses: policies.Impulses{"a": {{State: schedule.Running, At: at("2026-03-04 20:00")}}}}
	for _, tt := range []struct {
		name  string
		set   *policies.Set
		inst  policies.Instance
		facts policies.Facts
		want  string
	}{
		{"is reported always", policy(policies.EnforceNot), instance("a", "ACTIVE"), watched, "skip a drift"},
		{"is mended where it is enforced", policy(policies.EnforceMend), instance("a", "ACTIVE"), watched, "stop a"},
		{"but not against a hand", policy(policies.EnforceMend), instance("a", "ACTIVE"), hand, "skip a hand"},
		{"a hand of before the edge is over", policy(policies.EnforceMend), instance("a", "ACTIVE"), old, "stop a"},
		{"unknown history counts as a hand", policy(policies.EnforceMend), instance("a", "ACTIVE"), policies.Facts{WatchedSince: at("2026-03-04 21:00")}, "skip a hand"},
		{"strict mends that, too", policy(policies.EnforceStrict), instance("a", "ACTIVE"), hand, "stop a"},
		{"never undoes a living impulse", policy(policies.EnforceStrict), instance("a", "ACTIVE"), commanded, ""},
		{"what is as wanted is no drift", policy(policies.EnforceStrict), instance("a", "SHUTOFF"), watched, ""},
		{"what is busy is no drift", policy(policies.EnforceStrict), instance("a", "REBOOTING"), watched, ""},
		{"what is protected is left alone", policy(policies.EnforceStrict), instance("a", "ACTIVE", "protected"), watched, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := at("2026-03-04 22:00")
			if got := lines(policies.Decide(tt.set, []policies.Instance{tt.inst}, tt.facts, policies.Trigger{ID: "d", At: now, Drift: true}, now)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Timelines that read like the sentence.

func TestDownFrom1850To1950WithAStopOfOnePolicyAndAStartOfAnotherInBetween(t *testing.T) {
	s := set(impulse(t, "evening", 0, "0 19 * * *", 0, policies.Step{Verb: policies.Stop}), impulse(t, "batch", 0, "30 19 * * *", 0, policies.Step{Verb: policies.Start}))
	edges := s.Edges(at("2026-03-04 18:50"), at("2026-03-04 19:50"))
	trig := policies.Trigger{ID: "x", At: edges[len(edges)-1].Planned, Edges: edges}
	plan := policies.Decide(s, []policies.Instance{instance("a", "SHUTOFF"), instance("b", "ACTIVE")}, policies.Facts{}, trig, at("2026-03-04 19:50"))
	if got, want := lines(plan), "start a; skip b already"; got != want {
		t.Errorf("got %q, want %q: all missed edges go through one decision, and the later wins", got, want)
	}
}

func TestAWindowEditedAfterItsEdgeActsOnNothing(t *testing.T) {
	before, after := set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), set(level(t, "office", 0, "Mon-Fri 08:00-18:00"))
	now := at("2026-03-04 18:30") // edited now: 18:00 has passed
	if next := after.NextEdges(now, 1)[0]; !next.Planned.Equal(at("2026-03-05 08:00")) {
		t.Errorf("the next edge is %s", next.Planned)
	}
	trig := tick(before, at("2026-03-04 19:00")) // was stored by the older form
	if got := lines(policies.Decide(after, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, trig, trig.At)); got != "skip  policy changed" {
		t.Errorf("got %q", got)
	}
	drift := policies.Trigger{ID: "d", At: now, Drift: true}
	if got := lines(policies.Decide(after, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, drift, now)); got != "skip a drift" {
		t.Errorf("a state that differs is %q, want drift", got)
	}
}

func TestACronStartBeforeAnOfficeWindowWithEnforce(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.Enforce = policies.EnforceStrict
	s := set(office, impulse(t, "early", 0, "30 5 * * *", 0, policies.Step{Verb: policies.Start}))
	if got, want := timeline(s, instance("a", "SHUTOFF"), policies.Facts{}, "2026-03-04 05:00", "2026-03-04 20:00"), "05:30 start a; 08:00 skip a already; 19:00 stop a"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	now := at("2026-03-04 06:30") // the level wants stopped, the impulse lives: nothing is mended
	if got := lines(policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{WatchedSince: at("2026-03-01 00:00")}, policies.Trigger{ID: "d", At: now, Drift: true}, now)); got != "" {
		t.Errorf("drift undid a living impulse: %s", got)
	}
}

func TestAPolicyRenamedFiveMinutesAfterItsEdgeCarriesItsHistoryOn(t *testing.T) {
	old := level(t, "dev-hours", 0, "Mon-Fri 08:00-19:00")
	renamed := old
	renamed.Name, renamed.Was = "office-hours", "dev-hours"
	if renamed.WasHash() != old.Hash() {
		t.Error("the renamed policy does not recognise its history")
	}
	if renamed.Hash() == old.Hash() {
		t.Error("the name does not count in the hash")
	}
	other := level(t, "office-hours", 0, "Mon-Fri 08:00-18:00")
	other.Was = "dev-hours"
	if other.WasHash() == old.Hash() {
		t.Error("another policy under a new name takes the history over")
	}
}

func TestSpreadIsWithinItsSpanAndTheSameForAll(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.Spread = 10 * time.Minute
	s := set(office)
	var inv []policies.Instance
	for n := range 200 {
		inv = append(inv, instance(fmt.Sprintf("i%03d", n), "ACTIVE"))
	}
	edge := at("2026-03-04 19:00")
	s.Limits.PerRun = 1000
	first := policies.Decide(s, inv, policies.Facts{}, tick(s, edge), edge)
	again := policies.Decide(s, inv, policies.Facts{}, tick(s, edge), edge)
	early := 0
	for i, a := range first.Actions {
		wait := a.Due.Sub(edge)
		if wait < 0 || wait >= 10*time.Minute {
			t.Errorf("%s is due %s after the edge", a.Instance, wait)
		}
		if wait < 5*time.Minute {
			early++
		}
		if !again.Actions[i].Due.Equal(a.Due) {
			t.Errorf("%s is due at another time when asked again", a.Instance)
		}
	}
	if early < 60 || early > 140 {
		t.Errorf("%d of 200 are due in the first half", early)
	}
}

func TestANewInstanceIsNotStoppedWithinHalfAnHour(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	edge := at("2026-03-04 19:00")
	inst := instance("a", "ACTIVE")
	inst.CreatedAt = at("2026-03-04 18:45")
	plan := policies.Decide(s, []policies.Instance{inst}, policies.Facts{}, tick(s, edge), edge)
	if len(plan.Actions) != 1 || !plan.Actions[0].Due.Equal(at("2026-03-04 19:15")) {
		t.Errorf("plan %+v", plan)
	}
	inst.CreatedAt = time.Time{} // the API does not say: what counts is when it was first seen
	facts := policies.Facts{FirstSeen: map[string]time.Time{"a": at("2026-03-04 18:50")}}
	plan = policies.Decide(s, []policies.Instance{inst}, facts, tick(s, edge), edge)
	if len(plan.Actions) != 1 || !plan.Actions[0].Due.Equal(at("2026-03-04 19:20")) {
		t.Errorf("plan %+v", plan)
	}
}
