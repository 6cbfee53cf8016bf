package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// The rules of language.md, "Edges", as far as they are decisions.

func TestAnEdgeIsIdentifiedByItsPolicyAndPlannedTime(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	e := s.Edges(at("2026-03-04 18:00"), at("2026-03-04 20:00"))[0]
	if e.ID() != "office@1772650800" || e.Hash != s.Policies[0].Hash() {
		t.Errorf("got %s with hash %s", e.ID(), e.Hash)
	}
}

func TestAllEdgesOfOneInstantGoThroughOneDecision(t *testing.T) {
	s := set(level(t, "office", 0, "08:00-19:00"), level(t, "late", 1, "19:00-23:00"), impulse(t, "nightly", 0, "0 19 * * *", 0, policies.Step{Verb: policies.Stop}))
	trig := tick(s, at("2026-03-04 19:00"))
	if len(trig.Edges) != 3 {
		t.Fatalf("edges %v", trig.Edges)
	}
	plan := policies.Decide(s, []policies.Instance{instance("a", "SHUTOFF")}, policies.Facts{}, trig, trig.At)
	if got := lines(plan); got != "start a" || plan.Actions[0].Policy != "late" {
		t.Errorf("got %q, want only the winner to act", got)
	}
}

func TestAllMissedEdgesGoThroughOneDecision(t *testing.T) {
	stop, start := policies.Step{Verb: policies.Stop}, policies.Step{Verb: policies.Start}
	for _, tt := range []struct {
		name       string
		set        *policies.Set
		from, upTo string
		facts      policies.Facts
		status     string
		want       string
	}{
		{"down over a stop and a start of one schedule", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), "2026-03-04 18:00", "2026-03-05 08:05", policies.Facts{}, "ACTIVE", "skip a already"},
		{"down over a stop of one policy and a start of another", set(impulse(t, "x", 0, "0 19 * * *", 0, stop), impulse(t, "y", 0, "30 19 * * *", 0, start)), "2026-03-04 18:50", "2026-03-04 19:50", policies.Facts{}, "SHUTOFF", "start a"},
		{"down over a start and then a stop", set(impulse(t, "x", 0, "30 19 * * *", 0, stop), impulse(t, "y", 0, "0 19 * * *", 0, start)), "2026-03-04 18:50", "2026-03-04 19:50", policies.Facts{}, "ACTIVE", "stop a"},
		{"down over an edge of less priority after one of more", set(impulse(t, "x", 1, "0 19 * * *", 0, stop), impulse(t, "y", 0, "30 19 * * *", 0, start)), "2026-03-04 18:50", "2026-03-04 19:50", policies.Facts{}, "ACTIVE", "stop a"},
		{"down over a keep and its end", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), "2026-03-04 18:50", "2026-03-04 22:10",
			policies.Facts{Keeps: map[string]policies.Keep{"a": {State: schedule.Running, Since: at("2026-03-04 18:00"), Until: at("2026-03-04 22:00")}}}, "ACTIVE", "stop a"},
		{"down over a keep whose end is yet to come", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), "2026-03-04 18:50", "2026-03-04 21:10",
			policies.Facts{Keeps: map[string]policies.Keep{"a": {State: schedule.Running, Since: at("2026-03-04 18:00"), Until: at("2026-03-04 22:00")}}}, "ACTIVE", "skip a kept"},
		{"down over what lasted from begin to end", set(level(t, "off", -1, "12:00-13:00"), impulse(t, "batch", 0, "30 5 * * *", 3*time.Hour, start)), "2026-03-04 05:00", "2026-03-04 09:00", policies.Facts{}, "SHUTOFF", "skip a outranked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inv := []policies.Instance{instance("a", tt.status)}
			edges := tt.set.Agenda(inv, tt.facts, at(tt.from)).Edges(at(tt.from), at(tt.upTo))
			trig := policies.Trigger{ID: "x", At: edges[len(edges)-1].Planned, Edges: edges}
			if got := lines(policies.Decide(tt.set, inv, tt.facts, trig, at(tt.upTo))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnEdgeOfAReplicaWhoseClockIsAheadIsDecidedAsOfItsPlannedTime(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	trig := tick(s, at("2026-03-04 19:00"))
	if got := lines(policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, trig, trig.At.Add(-2*time.Second))); got != "stop a" {
		t.Errorf("got %q", got)
	}
}

func TestOnlyTheWinnerActsAndOnlyWhenItIsNew(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), level(t, "always", 1, "00:00-24:00"))
	plan := policies.Decide(s, []policies.Instance{instance("a", "SHUTOFF")}, policies.Facts{}, tick(s, at("2026-03-04 08:00")), at("2026-03-04 08:00"))
	if got := lines(plan); got != "skip a outranked" || plan.Skips[0].Verb != policies.Start || plan.Skips[0].Detail != "policy always (priority 1) wants running" {
		t.Errorf("an edge of the loser: %q %v; somebody stopped it, which is drift and not this edge's business", got, plan.Skips)
	}
	plan = policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, tick(s, at("2026-03-04 19:00")), at("2026-03-04 19:00"))
	if plan.Skips[0].Verb != policies.Stop || plan.Skips[0].Policy != "office" {
		t.Errorf("what the loser wanted is not said: %+v", plan.Skips[0])
	}
}

func TestTheReloadSaysTheNextEdgeAndNothingActsOnTheSpot(t *testing.T) {
	edited := set(level(t, "office", 0, "Mon-Fri 08:00-18:00"))
	now := at("2026-03-04 18:30")
	if next := edited.NextEdges(now, 1); len(next) != 1 || !next[0].Planned.Equal(at("2026-03-05 08:00")) || next[0].Want != "running" {
		t.Errorf("next %v", next)
	}
	if got := lines(drift(edited, instance("a", "ACTIVE"), policies.Facts{WatchedSince: at("2026-03-01 00:00")}, "2026-03-04 18:30")); got != "skip a drift" {
		t.Errorf("a state that differs is drift: %q", got)
	}
}

func TestAPolicyRenamedFiveMinutesAfterItsEdgeDoesNotActAgain(t *testing.T) {
	old, renamed := level(t, "dev-hours", 0, "Mon-Fri 08:00-19:00"), level(t, "office-hours", 0, "Mon-Fri 08:00-19:00")
	renamed.Was = "dev-hours"
	trig := tick(set(old), at("2026-03-04 19:00"))
	plan := policies.Decide(set(renamed), []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, trig, at("2026-03-04 19:05"))
	if got := lines(plan); got != "skip  policy changed" || plan.Skips[0].Policy != "dev-hours" {
		t.Errorf("the edge of the old name: %q", got)
	}
	if edges := set(renamed).Edges(at("2026-03-04 19:05"), at("2026-03-05 08:00")); len(edges) != 1 || edges[0].Policy != "office-hours" || !edges[0].Planned.Equal(at("2026-03-05 08:00")) {
		t.Errorf("the next edge of the new name: %v", edges)
	}
	renamed.Priority = 1
	if renamed.WasHash() == old.Hash() {
		t.Error("a policy that was renamed and changed takes the history over")
	}
}

func TestGiveUpCountsFromTheDueTime(t *testing.T) {
	start, stop := policies.Step{Verb: policies.Start}, policies.Step{Verb: policies.Stop}
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	with := func(p policies.Policy, f func(*policies.Policy)) policies.Policy { f(&p); return p }
	for _, tt := range []struct {
		name   string
		set    *policies.Set
		at     string
		status string
		after  time.Duration
		until  string
	}{
		{"a start by schedule until its window ends", set(office), "2026-03-04 08:00", "SHUTOFF", 0, "2026-03-04 19:00"},
		{"a stop by schedule an hour", set(office), "2026-03-04 19:00", "ACTIVE", time.Hour, ""},
		{"a start by cron a quarter of an hour", set(impulse(t, "c", 0, "0 8 * * *", 0, start)), "2026-03-04 08:00", "SHUTOFF", 15 * time.Minute, ""},
		{"a stop by cron too", set(impulse(t, "c", 0, "0 8 * * *", 0, stop)), "2026-03-04 08:00", "ACTIVE", 15 * time.Minute, ""},
		{"what the policy says, of a start", set(with(office, func(p *policies.Policy) { p.GiveUpAfter = 5 * time.Minute })), "2026-03-04 08:00", "SHUTOFF", 5 * time.Minute, ""},
		{"and of a stop", set(with(office, func(p *policies.Policy) { p.GiveUpAfter = 5 * time.Minute })), "2026-03-04 19:00", "ACTIVE", 5 * time.Minute, ""},
		{"of hours in a tag the same", set(policies.Policy{Name: "own", FromTag: drawnHours, Select: policies.Selector{All: []string{"env=dev"}}}), "2026-03-04 08:00", "SHUTOFF", 0, "2026-03-04 19:00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inst := instance("a", tt.status, "nightshift.hours=08:00-19:00")
			tt.set.Policies[0].Spread = 10 * time.Minute
			now := at(tt.at)
			trig := policies.Trigger{ID: "x", At: now, Edges: tt.set.Agenda([]policies.Instance{inst}, policies.Facts{}, now.Add(-time.Second)).Edges(now.Add(-time.Second), now)}
			plan := policies.Decide(tt.set, []policies.Instance{inst}, policies.Facts{}, trig, now)
			if len(plan.Actions) != 1 {
				t.Fatalf("got %s", lines(plan))
			}
			a := plan.Actions[0]
			if !a.Planned.Equal(now) || a.Due.Before(now) || !a.Due.Before(now.Add(10*time.Minute)) || a.Due.Equal(now) {
				t.Errorf("planned %s, due %s", a.Planned, a.Due)
			}
			if want := tt.until; want == "" && !a.Until.IsZero() || want != "" && !a.Until.Equal(at(want)) || want == "" && a.GiveUpAfter != tt.after {
				t.Errorf("good for %s, until %s; want %s, %s", a.GiveUpAfter, a.Until, tt.after, tt.until)
			}
		})
	}
	own := policies.Policy{Name: "own", FromTag: drawnHours}
	if after, until := own.GiveUp(policies.Edge{Planned: at("2026-03-04 08:00")}); after != 24*time.Hour || !until.IsZero() {
		t.Errorf("the longest that hours in tags may be good for is %s, %s", after, until)
	}
	always := level(t, "always", 0, "00:00-24:00")
	if after, until := always.GiveUp(policies.Edge{Planned: at("2026-03-04 08:00")}); after != 24*time.Hour || !until.IsZero() {
		t.Errorf("of a window without end: %s, %s", after, until)
	}
}

// Approval itself is not pure. What is: yesterday's stop, approved in
// the morning, is over. Its time has passed before then, and at the morning's edge
// another winner has been decided about the same instance and kind.
func TestAHeldStopApprovedTheNextMorningDoesNotStop(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	s.Mode = policies.ModeAsk
	evening := policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, tick(s, at("2026-03-04 19:00")), at("2026-03-04 19:00"))
	held := evening.Actions[0]
	if held.Hold == "" {
		t.Fatal("it is not held")
	}
	approved := at("2026-03-05 09:00")
	if end := held.Due.Add(held.GiveUpAfter); !end.Before(approved) {
		t.Errorf("the stop of yesterday is good until %s", end)
	}
	morning := policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, tick(s, at("2026-03-05 08:00")), at("2026-03-05 08:00"))
	if got := lines(morning); got != "skip a already" {
		t.Fatalf("in the morning: %q", got)
	}
	if newer := morning.Skips[0]; newer.Kind != held.Kind || newer.Instance != held.Instance || !newer.Planned.After(held.Planned) || newer.ID == held.ID {
		t.Errorf("the winner of the morning, which needs no call, is no newer decision about the same: %+v", newer)
	}
	if got := want(s, instance("a", "ACTIVE"), policies.Facts{}, "2026-03-05 09:00"); got != "running by office" {
		t.Errorf("what is wanted when it is approved: %s", got)
	}
}

func TestDriftIsOfWhatWins(t *testing.T) {
	watched := policies.Facts{WatchedSince: at("2026-03-01 00:00")}
	strict := func(p policies.Policy) policies.Policy { p.Enforce = policies.EnforceStrict; return p }
	for _, tt := range []struct {
		name  string
		set   *policies.Set
		inst  policies.Instance
		facts policies.Facts
		want  string
	}{
		{"a loser that enforces mends nothing", set(strict(level(t, "office", 0, "Mon-Fri 08:00-19:00")), level(t, "always", 1, "00:00-24:00")), instance("a", "ACTIVE"), watched, ""},
		{"a winner that does not enforce reports", set(strict(level(t, "office", 0, "Mon-Fri 08:00-19:00")), level(t, "always", 1, "00:00-24:00")), instance("a", "SHUTOFF"), watched, "skip a drift"},
		{"a keep is reported, not mended", set(strict(level(t, "office", 0, "Mon-Fri 08:00-19:00"))), instance("a", "SHUTOFF"),
			policies.Facts{WatchedSince: at("2026-03-01 00:00"), Keeps: map[string]policies.Keep{"a": {State: schedule.Running, Since: at("2026-03-04 20:00"), Until: at("2026-03-05 02:00")}}}, "skip a drift"},
		{"kept as it is there is none", set(strict(level(t, "office", 0, "Mon-Fri 08:00-19:00"))), instance("a", "ACTIVE"),
			policies.Facts{WatchedSince: at("2026-03-01 00:00"), Keeps: map[string]policies.Keep{"a": {State: schedule.Any, Since: at("2026-03-04 20:00"), Until: at("2026-03-05 02:00")}}}, ""},
		{"the paused see none", set(strict(level(t, "office", 0, "Mon-Fri 08:00-19:00"))), instance("a", "ACTIVE"),
			policies.Facts{WatchedSince: at("2026-03-01 00:00"), Pauses: []policies.Pause{{Since: at("2026-03-04 20:00")}}}, ""},
		{"an impulse is no level", set(strict(level(t, "office", 0, "Mon-Fri 08:00-19:00")), impulse(t, "nap", 0, "0 21 * * *", 0, policies.Step{Verb: policies.Stop})), instance("a", "ACTIVE"), watched, ""},
		{"it is mended back to running too", set(strict(level(t, "always", 0, "00:00-24:00"))), instance("a", "SHUTOFF"), watched, "start a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lines(drift(tt.set, tt.inst, tt.facts, "2026-03-04 22:00")); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	p := drift(set(strict(level(t, "office", 0, "Mon-Fri 08:00-19:00"))), instance("a", "ACTIVE"), watched, "2026-03-04 22:00").Actions[0]
	if !p.Planned.Equal(at("2026-03-04 22:00")) || p.GiveUpAfter != 15*time.Minute || !p.Level || p.Why != "outside Mon-Fri 08:00-19:00 Europe/London, but it is ACTIVE" {
		t.Errorf("a mend is planned for when it was seen: %+v", p)
	}
}

func TestDriftIsReportedOnceForEachEdgeAndMendedWhenAMachineIsNoLongerNew(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	skip := drift(set(office), instance("a", "ACTIVE"), policies.Facts{}, "2026-03-04 22:00").Skips[0]
	if !skip.Planned.Equal(at("2026-03-04 19:00")) {
		t.Errorf("it is reported as of %s, want the edge that it differs from", skip.Planned)
	}
	office.Enforce = policies.EnforceStrict
	inst := instance("a", "ACTIVE")
	inst.CreatedAt = at("2026-03-04 21:50")
	if a := drift(set(office), inst, policies.Facts{}, "2026-03-04 22:00").Actions[0]; !a.Due.Equal(at("2026-03-04 22:20")) {
		t.Errorf("a new machine is stopped at %s", a.Due)
	}
}

func TestAHandIsNotMendedUntilTheNextEdge(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.Enforce = policies.EnforceMend
	s := set(office)
	facts := func(state schedule.State, when string) policies.Facts {
		return policies.Facts{WatchedSince: at("2026-03-01 00:00"), Hands: map[string]policies.Hand{"a": {State: state, At: at(when)}}}
	}
	unseen := facts(schedule.Running, "2026-03-03 20:00")
	unseen.FirstSeen = map[string]time.Time{"a": at("2026-03-04 20:00")}
	for _, tt := range []struct {
		name, at, status string
		facts            policies.Facts
		want             string
	}{
		{"a start by hand in the off time", "2026-03-04 22:00", "ACTIVE", facts(schedule.Running, "2026-03-04 20:00"), "skip a hand"},
		{"at the very edge", "2026-03-04 22:00", "ACTIVE", facts(schedule.Running, "2026-03-04 19:00"), "skip a hand"},
		{"of before the edge", "2026-03-04 22:00", "ACTIVE", facts(schedule.Running, "2026-03-04 18:59"), "stop a"},
		{"a hand that wanted what the level wants explains nothing", "2026-03-04 22:00", "ACTIVE", facts(schedule.Stopped, "2026-03-04 20:00"), "stop a"},
		{"a stop by hand in the on time", "2026-03-04 12:00", "SHUTOFF", facts(schedule.Stopped, "2026-03-04 10:00"), "skip a hand"},
		{"of an instance that was not there at the edge nothing is known", "2026-03-04 22:00", "ACTIVE", unseen, "skip a hand"},
		{"watching began right at the edge", "2026-03-04 22:00", "ACTIVE", policies.Facts{WatchedSince: at("2026-03-04 19:00")}, "skip a hand"},
		{"watching never began", "2026-03-04 22:00", "ACTIVE", policies.Facts{}, "skip a hand"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lines(drift(s, instance("a", tt.status), tt.facts, tt.at)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := lines(policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, facts(schedule.Running, "2026-03-04 05:00"), tick(s, at("2026-03-04 19:00")), at("2026-03-04 19:00"))); got != "stop a" {
		t.Errorf("the next edge decides: %q", got)
	}
}

func TestAStopByHandIsRespectedOnlyWhere(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.RespectStop = 24 * time.Hour
	oneSided := office
	oneSided.Schedule = oneSided.Schedule.(*schedule.Weekly).OneSided()
	edge := at("2026-03-04 08:00")
	for _, tt := range []struct {
		name, status string
		policy       policies.Policy
		hand         policies.Hand
		want         string
	}{
		{"it lasts still", "SHUTOFF", office, policies.Hand{State: schedule.Stopped, At: at("2026-03-03 08:01")}, "skip a hand"},
		{"no longer when it is over to the minute", "SHUTOFF", office, policies.Hand{State: schedule.Stopped, At: at("2026-03-03 08:00")}, "start a"},
		{"it is down still, or it would be started twice", "ACTIVE", office, policies.Hand{State: schedule.Stopped, At: at("2026-03-03 15:00")}, "skip a already"},
		{"nobody is starting it already", "BUILDING", office, policies.Hand{State: schedule.Stopped, At: at("2026-03-03 15:00")}, "start a"},
		{"the policy wanted it to run", "SHUTOFF", oneSided, policies.Hand{State: schedule.Stopped, At: at("2026-03-03 20:00")}, "start a"},
		{"it was a stop", "SHUTOFF", office, policies.Hand{State: schedule.Running, At: at("2026-03-03 15:00")}, "start a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(tt.policy)
			facts := policies.Facts{Hands: map[string]policies.Hand{"a": tt.hand}}
			if got := lines(policies.Decide(s, []policies.Instance{instance("a", tt.status)}, facts, tick(s, edge), edge)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnEditedPolicyDoesNotActBecauseAnotherOnesMissedEdgeCameWithIt(t *testing.T) {
	// Down from 18:50 to 19:50; office was edited in the meantime, so its edge of 19:00
	// is skipped. The edge of batch is no reason to act for office.
	office := level(t, "office", 1, "Mon-Fri 08:00-19:00")
	s := set(office, impulse(t, "batch", 0, "45 19 * * *", 0, policies.Step{Verb: policies.Start}))
	edges := s.Edges(at("2026-03-04 18:50"), at("2026-03-04 19:50"))
	edges[0].Hash = "of before"
	plan := policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, policies.Trigger{ID: "x", At: edges[1].Planned, Edges: edges}, at("2026-03-04 19:50"))
	if got := lines(plan); got != "skip  policy changed; skip a outranked" {
		t.Errorf("got %q", got)
	}
}

func TestWhatAnEdgeIsPutDownTo(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	ci := func(name string, verb policies.Verb) policies.Policy {
		return policies.Policy{Name: name, Signal: &policies.SignalCause{Name: name}, Do: []policies.Step{{Verb: verb}}, Lasts: time.Hour, Select: policies.Selector{All: []string{"env=dev"}}}
	}
	signalled := func(policy string, state schedule.State) policies.Impulse {
		return policies.Impulse{Policy: policy, State: state, At: at("2026-03-04 19:00"), Until: at("2026-03-04 20:00"), Started: true}
	}
	keep := func(state schedule.State) policies.Facts {
		return policies.Facts{Keeps: map[string]policies.Keep{"a": {State: state, Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00")}}}
	}
	for _, tt := range []struct {
		name       string
		set        *policies.Set
		inst       policies.Instance
		facts      policies.Facts
		from, upTo string
		want       string // verb or reason, source, planned, why
	}{
		{"its own edge", set(office), instance("a", "ACTIVE"), policies.Facts{}, "2026-03-04 18:59", "2026-03-04 19:00", "stop office 19:00 outside Mon-Fri 08:00-19:00 Europe/London"},
		{"the end of a keep", set(office), instance("a", "ACTIVE"), keep(schedule.Running), "2026-03-04 19:59", "2026-03-04 20:00", "stop office 20:00 outside Mon-Fri 08:00-19:00 Europe/London, after a keep"},
		{"the end of a keep in the same state, under which somebody started it", set(office), instance("a", "ACTIVE"), keep(schedule.Stopped), "2026-03-04 19:59", "2026-03-04 20:00", "stop office 20:00 outside Mon-Fri 08:00-19:00 Europe/London, after a keep"},
		{"a keep whose begin was missed, and an edge after it", set(office), instance("a", "SHUTOFF"), keep(schedule.Running), "2026-03-04 17:59", "2026-03-04 19:00", "start _keep 19:00 kept running until Wed 2026-03-04 20:00 GMT"},
		{"the newer of two marks, whichever stands first", owned(set(office)), instance("a", "SHUTOFF", "nightshift.mark=start@2026-03-04T20:00", "nightshift.mark=stop@2026-03-04T19:30"), policies.Facts{}, "2026-03-04 19:29", "2026-03-04 20:00",
			"start _mark 20:00 the tag nightshift.mark=start@2026-03-04T20:00"},
		{"the end of its own signal, not of another that ends then", set(ci("ci", policies.Start), ci("wake", policies.Start)), instance("a", "ACTIVE"),
			policies.Facts{Impulses: policies.Impulses{"a": {signalled("wake", schedule.Running)}, "b": {signalled("ci", schedule.Running)}}}, "2026-03-04 19:59", "2026-03-04 20:00", "stop wake 20:00 end of wake, which started it"},
		{"the end of what a signal stopped starts and stops nothing", set(ci("nap", policies.Stop)), instance("a", "ACTIVE"),
			policies.Facts{Impulses: policies.Impulses{"a": {signalled("nap", schedule.Stopped)}}}, "2026-03-04 19:59", "2026-03-04 20:00", "no want nap 20:00 "},
		{"the end of another instance's pause is nothing to it", set(office), instance("a", "ACTIVE"),
			policies.Facts{Pauses: []policies.Pause{{Instance: "b", Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00")}}}, "2026-03-04 19:59", "2026-03-04 20:00", ""},
		{"nor that of a policy that does not select it", set(office), instance("a", "ACTIVE"),
			policies.Facts{Pauses: []policies.Pause{{Policy: "other", Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00")}}}, "2026-03-04 19:59", "2026-03-04 20:00", ""},
		{"nor, to one that no policy plans anything for, the end of a pause of everything", set(ci("ci", policies.Start)), instance("a", "ACTIVE"),
			policies.Facts{Pauses: []policies.Pause{{Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00")}}}, "2026-03-04 19:59", "2026-03-04 20:00", ""},
		{"the end of a pause of a policy that does", set(office), instance("a", "ACTIVE"),
			policies.Facts{Pauses: []policies.Pause{{Policy: "office", Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00")}}}, "2026-03-04 19:59", "2026-03-04 20:00",
			"stop office 20:00 outside Mon-Fri 08:00-19:00 Europe/London, after a pause"},
		{"the end of what lasts does not do its other steps again", set(impulse(t, "batch", 0, "0 17 * * *", 3*time.Hour, policies.Step{Verb: policies.Start}, policies.Step{Verb: policies.Retag, Add: []string{"x"}})), instance("a", "ACTIVE"),
			policies.Facts{}, "2026-03-04 19:59", "2026-03-04 20:00", "no want batch 20:00 "},
		{"what was started for an earlier time is not stopped at this end", set(impulse(t, "batch", 0, "0 17 * * *", 3*time.Hour, policies.Step{Verb: policies.Start})), instance("a", "ACTIVE"),
			policies.Facts{Impulses: policies.Impulses{"a": {{Policy: "batch", State: schedule.Running, At: at("2026-03-02 17:00"), Until: at("2026-03-02 20:00"), Started: true}}}}, "2026-03-04 19:59", "2026-03-04 20:00", "no want batch 20:00 "},
		{"nor what was started more than a week ago, which is not remembered for sure", set(impulse(t, "batch", 0, "0 20 1 * *", 8*24*time.Hour, policies.Step{Verb: policies.Start})), instance("a", "ACTIVE"),
			policies.Facts{Impulses: policies.Impulses{"a": {{Policy: "batch", State: schedule.Running, At: at("2026-03-01 20:00"), Until: at("2026-03-09 20:00"), Started: true}}}}, "2026-03-09 19:59", "2026-03-09 20:00", "no want batch 20:00 "},
		{"what was started for this time is", set(impulse(t, "batch", 0, "0 17 * * *", 3*time.Hour, policies.Step{Verb: policies.Start})), instance("a", "ACTIVE"),
			policies.Facts{Impulses: policies.Impulses{"a": {{Policy: "batch", State: schedule.Running, At: at("2026-03-04 17:00"), Until: at("2026-03-04 20:00"), Started: true}}}}, "2026-03-04 19:59", "2026-03-04 20:00", "stop batch 20:00 end of batch, which started it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inv := []policies.Instance{tt.inst, {ID: "b", Region: "LON1", Tags: []string{"env=dev", "protected"}}}
			edges := tt.set.Agenda(inv, tt.facts, at(tt.from)).Edges(at(tt.from), at(tt.upTo))
			plan := policies.Decide(tt.set, inv, tt.facts, policies.Trigger{ID: "x", At: at(tt.upTo), Edges: edges}, at(tt.upTo))
			var got []string
			for _, a := range plan.Actions {
				got = append(got, fmt.Sprintf("%s %s %s %s", a.Verb, a.Policy, a.Planned.In(london).Format("15:04"), a.Why))
			}
			for _, s := range plan.Skips {
				if s.Instance == "a" {
					got = append(got, fmt.Sprintf("%s %s %s %s", s.Reason, s.Policy, s.Planned.In(london).Format("15:04"), s.Why))
				}
			}
			if strings.Join(got, "; ") != tt.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), tt.want)
			}
		})
	}
}

func TestStopAgainAfterAppliesInTheOffTimeOnly(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		hand  policies.Hand
		want  string
	}{
		{"started in the off time", 3 * time.Hour, policies.Hand{State: schedule.Running, At: at("2026-03-04 20:10")}, "_hand 23:10"},
		{"started in the on time", 3 * time.Hour, policies.Hand{State: schedule.Running, At: at("2026-03-04 18:10")}, ""},
		{"stopped", 3 * time.Hour, policies.Hand{State: schedule.Stopped, At: at("2026-03-04 20:10")}, ""},
		{"without stop_again_after", 0, policies.Hand{State: schedule.Running, At: at("2026-03-04 20:10")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			office, second := level(t, "office", 0, "Mon-Fri 08:00-19:00"), level(t, "second", -1, "Mon-Fri 08:00-19:00")
			office.StopAgainAfter, second.StopAgainAfter = tt.after, 2*tt.after // the soonest counts
			inst := instance("a", "ACTIVE")
			facts := policies.Facts{Hands: map[string]policies.Hand{"a": tt.hand}}
			var got []string
			for _, e := range set(office, second).Agenda([]policies.Instance{inst}, facts, at("2026-03-04 19:30")).Edges(at("2026-03-04 19:30"), at("2026-03-05 07:00")) {
				got = append(got, e.Policy+e.Planned.In(london).Format(" 15:04"))
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

func TestWhatWasStoppedByHandIsStartedAllTheSameBy(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.RespectStop = 24 * time.Hour
	facts := policies.Facts{Hands: map[string]policies.Hand{"a": {State: schedule.Stopped, At: at("2026-03-03 15:00")}}}
	edge := at("2026-03-04 08:00")
	for _, tt := range []struct {
		name, want string
		set        *policies.Set
		trig       func(*policies.Set) policies.Trigger
	}{
		{"a cron policy", "start a", set(impulse(t, "c", 0, "0 8 * * *", 0, policies.Step{Verb: policies.Start})), func(s *policies.Set) policies.Trigger { return tick(s, edge) }},
		{"a command", "start a", set(office), func(s *policies.Set) policies.Trigger {
			return policies.Trigger{ID: "x", At: edge, Command: &policies.Command{Region: "LON1", Instance: "a", Step: policies.Step{Verb: policies.Start}}}
		}},
		{"a schedule that does not respect it", "start a", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), func(s *policies.Set) policies.Trigger { return tick(s, edge) }},
		{"but not this one", "skip a hand", set(office), func(s *policies.Set) policies.Trigger { return tick(s, edge) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lines(policies.Decide(tt.set, []policies.Instance{instance("a", "SHUTOFF")}, facts, tt.trig(tt.set), edge)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	plan := policies.Decide(set(office), []policies.Instance{instance("a", "SHUTOFF")}, facts, tick(set(office), edge), edge)
	if want := "stopped by hand at Tue 2026-03-03 15:00 GMT, which holds for 24h (respect_stop)"; plan.Skips[0].Detail != want {
		t.Errorf("got %q, want %q", plan.Skips[0].Detail, want)
	}
}

func TestTheAgendaKnowsTheHoursInTags(t *testing.T) {
	s := set(policies.Policy{Name: "own", FromTag: drawnHours, Select: policies.Selector{All: []string{"nightshift.hours=*"}}}, level(t, "office", 0, "08:00-19:00"))
	inv := []policies.Instance{instance("a", "ACTIVE", "nightshift.hours=08:00-19:00"), instance("b", "ACTIVE", "nightshift.hours=07:00-19:00"), instance("c", "ACTIVE", "nightshift.hours=19:00-21:00"), instance("d", "ACTIVE", "nightshift.hours=nonsense")}
	agenda := s.Agenda(inv, policies.Facts{}, at("2026-03-04 06:00"))
	var got []string
	for _, e := range agenda.NextEdges(at("2026-03-04 06:00"), 6) {
		got = append(got, e.Planned.In(london).Format("15:04 ")+e.Policy+" "+e.Want)
	}
	if want := "07:00 own running; 08:00 office running; 08:00 own running; 19:00 office stopped; 19:00 own running or stopped; 21:00 own stopped"; strings.Join(got, "; ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), want)
	}
	edges := agenda.Edges(at("2026-03-04 07:00"), at("2026-03-04 19:00"))
	if len(edges) != 4 { // (after, upTo]
		t.Errorf("edges %v", edges)
	}
	trig := policies.Trigger{ID: "x", At: at("2026-03-04 07:00"), Edges: agenda.Edges(at("2026-03-04 06:59"), at("2026-03-04 07:00"))}
	if got := lines(policies.Decide(s, inv, policies.Facts{}, trig, trig.At)); got != "skip b already" {
		t.Errorf("an edge of hours in tags concerns others than those that have it: %q", got)
	}
}

func TestAnEdgeThatStandsForSeveralIsPutDownToTheNewest(t *testing.T) {
	s := owned(set())
	for _, tags := range [][]string{{"nightshift.mark=start@2026-03-04T20:00", "nightshift.mark=stop@2026-03-04T19:30"}, {"nightshift.mark=stop@2026-03-04T19:30", "nightshift.mark=start@2026-03-04T20:00"}} {
		edge := policies.Edge{Policy: policies.MarkSource, From: at("2026-03-04 19:30"), Planned: at("2026-03-04 20:00")}
		plan := policies.Decide(s, []policies.Instance{instance("a", "SHUTOFF", tags...)}, policies.Facts{}, policies.Trigger{ID: "x", At: edge.Planned, Edges: []policies.Edge{edge}}, at("2026-03-04 20:10"))
		if got := lines(plan); got != "start a" || !plan.Actions[0].Planned.Equal(edge.Planned) {
			t.Errorf("%v: %q %+v", tags, got, plan)
		}
	}
}

func TestTheAgendaHasEachEdgeOnce(t *testing.T) {
	s := set(impulse(t, "batch", 0, "0 17 * * *", 3*time.Hour, policies.Step{Verb: policies.Start}))
	keep := policies.Keep{State: schedule.Running, Since: at("2026-03-04 19:00"), Until: at("2026-03-04 20:00")}
	facts := policies.Facts{
		Keeps:    map[string]policies.Keep{"a": keep, "b": keep},
		Impulses: policies.Impulses{"a": {{Policy: "batch", State: schedule.Running, At: at("2026-03-04 17:00"), Until: at("2026-03-04 20:00"), Started: true}}},
	}
	agenda := s.Agenda([]policies.Instance{instance("a", "ACTIVE"), instance("b", "ACTIVE")}, facts, at("2026-03-04 18:00"))
	var got []string
	for _, e := range agenda.Edges(at("2026-03-04 19:00"), at("2026-03-04 20:00")) { // what lies at 19:00 is over
		got = append(got, e.Policy+e.Planned.In(london).Format(" 15:04"))
	}
	if want := "_keep 20:00, batch 20:00"; strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
}

func TestOfTwoStepsOfAKindThePriorityThenTheLaterTimeThenTheNameDecides(t *testing.T) {
	fw := func(name string, priority int, spec string) policies.Policy {
		return impulse(t, name, priority, spec, 0, policies.Step{Verb: policies.Firewall, Firewall: name})
	}
	for _, tt := range []struct {
		name string
		set  *policies.Set
		want string
	}{
		{"the priority", set(fw("a", 0, "30 12 * * *"), fw("b", 1, "0 12 * * *")), "b"},
		{"the later time", set(fw("b", 0, "30 12 * * *"), fw("a", 0, "0 12 * * *")), "b"},
		{"the first name", set(fw("b", 0, "0 12 * * *"), fw("a", 0, "0 12 * * *")), "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			edges := tt.set.Edges(at("2026-03-04 11:00"), at("2026-03-04 12:40"))
			plan := policies.Decide(tt.set, []policies.Instance{instance("i", "ACTIVE")}, policies.Facts{}, policies.Trigger{ID: "x", At: edges[1].Planned, Edges: edges}, at("2026-03-04 12:40"))
			if got := lines(plan); got != "firewall i; skip i outranked" || plan.Actions[0].Firewall != tt.want || plan.Skips[0].Detail != "policy "+tt.want+" decides about its firewall" {
				t.Errorf("got %q %+v", got, plan)
			}
		})
	}
}

func TestSpreadPutsOffEveryStepOfACronAndNothingInALook(t *testing.T) {
	p := impulse(t, "c", 0, "0 12 * * *", 0, policies.Step{Verb: policies.Stop}, policies.Step{Verb: policies.Retag, Add: []string{"x"}})
	p.Spread = time.Hour
	s, noon := set(p), at("2026-03-04 12:00")
	plan := policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, tick(s, noon), noon)
	if len(plan.Actions) != 2 || !plan.Actions[0].Due.After(noon) || !plan.Actions[0].Due.Equal(plan.Actions[1].Due) {
		t.Errorf("got %+v", plan.Actions)
	}
	plan = policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, policies.Trigger{ID: "look"}, noon)
	if len(plan.Actions) != 1 || !plan.Actions[0].Due.Equal(noon) {
		t.Errorf("a look shows %+v", plan.Actions)
	}
}

func TestWhatIsObservedChangesNothingInASimulation(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	s.Mode = policies.ModeObserve
	if got, want := timeline(s, instance("a", "ACTIVE"), policies.Facts{}, "2026-03-04 18:00", "2026-03-05 20:00"), "19:00 stop a; 08:00 skip a already; 19:00 stop a"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestACommandRebootsWhatIsMeantToBeOff(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	trig := policies.Trigger{ID: "x", At: at("2026-03-04 22:00"), Command: &policies.Command{Region: "LON1", Instance: "a", Step: policies.Step{Verb: policies.Reboot}}}
	if got := lines(policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, trig, trig.At)); got != "reboot a" {
		t.Errorf("got %q", got)
	}
}

func TestTheStartsOfANewInstanceAreNotPutOff(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	inst := instance("a", "SHUTOFF")
	inst.CreatedAt = at("2026-03-04 07:50")
	plan := policies.Decide(s, []policies.Instance{inst}, policies.Facts{}, tick(s, at("2026-03-04 08:00")), at("2026-03-04 08:00"))
	if len(plan.Actions) != 1 || !plan.Actions[0].Due.Equal(at("2026-03-04 08:00")) {
		t.Errorf("got %+v", plan)
	}
	kept := policies.Facts{Keeps: map[string]policies.Keep{"a": {State: schedule.Stopped, Since: at("2026-03-04 08:00"), Until: at("2026-03-04 09:00")}}}
	inst.Status = "ACTIVE"
	edges := s.Agenda([]policies.Instance{inst}, kept, at("2026-03-04 07:59")).Edges(at("2026-03-04 07:59"), at("2026-03-04 08:00"))
	plan = policies.Decide(s, []policies.Instance{inst}, kept, policies.Trigger{ID: "x", At: at("2026-03-04 08:00"), Edges: edges}, at("2026-03-04 08:00"))
	if len(plan.Actions) != 1 || plan.Actions[0].Verb != policies.Stop || !plan.Actions[0].Due.Equal(at("2026-03-04 08:00")) {
		t.Errorf("what somebody asks for by a keep is done now: %+v", plan)
	}
}

func TestTheSameTriggerGivesTheSameActionIDs(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	inv := []policies.Instance{instance("a", "ACTIVE"), instance("b", "ACTIVE")}
	trig := tick(s, at("2026-03-04 19:00"))
	first := policies.Decide(s, inv, policies.Facts{}, trig, trig.At)
	again := policies.Decide(s, inv, policies.Facts{}, trig, trig.At.Add(time.Minute))
	other := trig
	other.ID = "another"
	third := policies.Decide(s, inv, policies.Facts{}, other, trig.At)
	for n := range inv {
		if first.Actions[n].ID != again.Actions[n].ID || first.Actions[n].ID == third.Actions[n].ID || first.Actions[0].ID == first.Actions[1].ID && n > 0 {
			t.Errorf("%s: %s, %s, %s", inv[n].ID, first.Actions[n].ID, again.Actions[n].ID, third.Actions[n].ID)
		}
	}
	seen := make(map[string]string)
	for _, x := range []struct {
		trigger, instance string
		step              int
		kind              policies.Kind
	}{{"t1", "a", 0, "power"}, {"t", "1a", 0, "power"}, {"t1", "a", 1, "power"}, {"t1", "a", 0, "tags"}, {"t1|0", "a", 0, "power"}, {"t1", "a|p", 0, "ower"}} {
		id := policies.ActionID(x.trigger, x.step, x.instance, x.kind)
		if other, taken := seen[id]; taken {
			t.Errorf("%+v has the identity of %s", x, other)
		}
		seen[id] = fmt.Sprintf("%+v", x)
	}
}
