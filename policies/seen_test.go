package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// Each test here is named after what a user saw, or would have seen.

func TestTheWinnerChangedWhenAPolicyWasRenamed(t *testing.T) {
	// Two levels want running, one since 08:00 and one since 10:00; a stop of 09:00 that
	// lasts came before the second. Which name comes first must not matter.
	for _, names := range [][2]string{{"a-early", "b-late"}, {"b-early", "a-late"}} {
		s := set(level(t, names[0], 0, "08:00-19:00"), level(t, names[1], 0, "10:00-19:00"), impulse(t, "nap", 0, "0 9 * * *", 3*time.Hour, policies.Step{Verb: policies.Stop}))
		if got := want(s, instance("a", "ACTIVE"), policies.Facts{}, "2026-03-04 11:00"); got != "running by "+names[1] {
			t.Errorf("with %v: %s", names, got)
		}
	}
}

func TestAKeepWithHalfSecondsNeverEnded(t *testing.T) {
	half := 500 * time.Millisecond
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.StopAgainAfter = time.Hour
	ci := policies.Policy{Name: "ci", Signal: &policies.SignalCause{Name: "ci.queued"}, Do: []policies.Step{{Verb: policies.Start}}, Lasts: 30 * time.Minute, Select: policies.Selector{All: []string{"env=dev"}}}
	for _, tt := range []struct {
		name  string
		set   *policies.Set
		inst  policies.Instance
		facts policies.Facts
	}{
		{"a keep", set(office), instance("a", "ACTIVE"), policies.Facts{Keeps: map[string]policies.Keep{"a": {State: schedule.Running, Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00").Add(half)}}}},
		{"a keep by tag", owned(set(office)), instance("a", "ACTIVE", "nightshift.keep=running"), policies.Facts{WatchedSince: at("2026-03-01 00:00"), TagsSeen: map[string]time.Time{policies.TagKey("a", "nightshift.keep=running"): at("2026-03-04 08:00").Add(half)}}},
		{"a pause", set(office), instance("a", "ACTIVE"), policies.Facts{Pauses: []policies.Pause{{Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00").Add(half)}}}},
		{"a start by hand", set(office), instance("a", "ACTIVE"), policies.Facts{Hands: map[string]policies.Hand{"a": {State: schedule.Running, At: at("2026-03-04 19:00").Add(half)}}}},
		{"what a signal started", set(ci), instance("a", "ACTIVE"), policies.Facts{Impulses: policies.Impulses{"a": {{Policy: "ci", State: schedule.Running, At: at("2026-03-04 19:30").Add(half), Until: at("2026-03-04 20:00").Add(half), Started: true}}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from := at("2026-03-04 19:30")
			edges := tt.set.Agenda([]policies.Instance{tt.inst}, tt.facts, from).Edges(from, at("2026-03-04 21:00"))
			if len(edges) != 1 || !edges[0].Planned.Equal(at("2026-03-04 20:00").Add(time.Second)) {
				t.Fatalf("edges %v, want one at 20:00:01", edges)
			}
			plan := policies.Decide(tt.set, []policies.Instance{tt.inst}, tt.facts, policies.Trigger{ID: "x", At: edges[0].Planned, Edges: edges}, edges[0].Planned)
			if got := lines(plan); got != "stop a" {
				t.Errorf("at its end: %q, want stop a", got)
			}
		})
	}
}

func TestAStopAfterAHandStartWasForgottenWhenAnotherEdgeCameAfterIt(t *testing.T) {
	office := level(t, "office", 1, "Mon-Fri 08:00-19:00")
	office.StopAgainAfter = 3 * time.Hour
	s := set(office, impulse(t, "batch", 0, "30 23 * * *", 0, policies.Step{Verb: policies.Start}))
	facts := policies.Facts{Hands: map[string]policies.Hand{"a": {State: schedule.Running, At: at("2026-03-04 20:10")}}}
	inst := instance("a", "ACTIVE")
	now := at("2026-03-04 23:40") // away from 23:00
	edges := s.Agenda([]policies.Instance{inst}, facts, now).Edges(at("2026-03-04 23:00"), now)
	plan := policies.Decide(s, []policies.Instance{inst}, facts, policies.Trigger{ID: "x", At: edges[len(edges)-1].Planned, Edges: edges}, now)
	if got := lines(plan); got != "stop a" {
		t.Fatalf("got %q, want stop a", got)
	}
	if a := plan.Actions[0]; !a.Planned.Equal(at("2026-03-04 23:10")) || !strings.Contains(a.Why, "after a start by hand") {
		t.Errorf("planned %s, %s", a.Planned, a.Why)
	}
}

func TestTwoRetagsOfOneInstanceHadOneOutcome(t *testing.T) {
	// The skip of the loser had the identity of the winner's action: its outcome stood, and no call was made.
	s := set(
		impulse(t, "tag-a", 0, "0 12 * * *", 0, policies.Step{Verb: policies.Retag, Add: []string{"a"}}),
		impulse(t, "tag-b", 1, "0 12 * * *", 0, policies.Step{Verb: policies.Retag, Add: []string{"b"}}))
	plan := policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, tick(s, at("2026-03-04 12:00")), at("2026-03-04 12:00"))
	if got := lines(plan); got != "retag a; skip a outranked" {
		t.Fatalf("got %q", got)
	}
	if plan.Actions[0].Policy != "tag-b" || plan.Actions[0].ID == plan.Skips[0].ID {
		t.Errorf("action %s %s, skip %s %s", plan.Actions[0].Policy, plan.Actions[0].ID, plan.Skips[0].Policy, plan.Skips[0].ID)
	}
	if plan.Actions[0].ID != policies.ActionID("t1772625600", 0, "a", policies.KindTags) {
		t.Error("the winner's identity is not that of trigger, step, instance and kind")
	}
}

func TestAPausedPolicyKeptTheOthersFromActing(t *testing.T) {
	paused := policies.Facts{Pauses: []policies.Pause{{Policy: "high", Since: at("2026-03-04 09:00")}}}
	now := at("2026-03-04 12:00")
	byCron := set(
		impulse(t, "high", 1, "0 12 * * *", 0, policies.Step{Verb: policies.Firewall, Firewall: "x"}),
		impulse(t, "low", 0, "0 12 * * *", 0, policies.Step{Verb: policies.Firewall, Firewall: "y"}))
	plan := policies.Decide(byCron, []policies.Instance{instance("a", "ACTIVE")}, paused, tick(byCron, now), now)
	if got := lines(plan); got != "firewall a; skip a paused" || plan.Actions[0].Policy != "low" {
		t.Errorf("at an edge: %q", got)
	}
	bySignal := set(onAlert("high", 1, policies.Step{Verb: policies.Stop}), onAlert("low", 0, policies.Step{Verb: policies.Stop}))
	plan = policies.Decide(bySignal, []policies.Instance{instance("a", "ACTIVE")}, paused, policies.Trigger{ID: "x", At: now, Signal: &policies.Signal{Region: "LON1", Instance: "a", Alert: "Down"}}, now)
	if got := lines(plan); got != "stop a" || plan.Actions[0].Policy != "low" {
		t.Errorf("at a signal: %q", got)
	}
	all := policies.Facts{Pauses: []policies.Pause{{Since: at("2026-03-04 09:00")}}}
	if got := lines(policies.Decide(byCron, []policies.Instance{instance("a", "ACTIVE")}, all, tick(byCron, now), now)); got != "skip a paused; skip a paused" {
		t.Errorf("with everything paused: %q", got)
	}
}

func TestASignalStoppedWhatACommandHadJustStarted(t *testing.T) {
	now := at("2026-03-04 12:00")
	s := set(onAlert("idle", 9, policies.Step{Verb: policies.Stop}))
	facts := policies.Facts{Impulses: policies.Impulses{"a": {{State: schedule.Running, At: at("2026-03-04 11:00")}}}}
	trig := policies.Trigger{ID: "x", At: now, Signal: &policies.Signal{Region: "LON1", Instance: "a", Alert: "Down"}}
	plan := policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, facts, trig, now)
	if got := lines(plan); got != "skip a outranked" || plan.Skips[0].Detail != "a command wants running" {
		t.Errorf("got %q (%v), want the command to outrank it", got, plan.Skips)
	}
}

func TestOfAStopAndAStartByOneSignalTheNameDecided(t *testing.T) {
	now := at("2026-03-04 12:00")
	s := set(onAlert("a-stop", 0, policies.Step{Verb: policies.Stop}), onAlert("b-start", 0, policies.Step{Verb: policies.Start}))
	trig := policies.Trigger{ID: "x", At: now, Signal: &policies.Signal{Region: "LON1", Instance: "a", Alert: "Down"}}
	if got := lines(policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, trig, now)); got != "skip a already" {
		t.Errorf("got %q, want it to be left running", got)
	}
}

func TestTwoPoliciesThatPickStartedOneInstanceTwice(t *testing.T) {
	now := at("2026-03-04 12:00")
	pick := func(name string, priority, count int, verb policies.Verb) policies.Policy {
		return policies.Policy{Name: name, Priority: priority, Signal: &policies.SignalCause{Name: "q"}, Do: []policies.Step{{Verb: verb}}, Pick: &policies.Pick{Count: count}, Select: policies.Selector{All: []string{"env=dev"}}}
	}
	trig := policies.Trigger{ID: "x", At: now, Signal: &policies.Signal{Name: "q"}}
	inv := []policies.Instance{instance("a", "SHUTOFF"), instance("b", "SHUTOFF"), instance("c", "SHUTOFF")}
	for _, tt := range []struct {
		name string
		set  *policies.Set
		want string
	}{
		{"what the first has started counts for the second", set(pick("one", 0, 1, policies.Start), pick("two", 0, 2, policies.Start)), "start a; start b"},
		{"and is not stopped by it", set(pick("one", 1, 1, policies.Start), pick("two", 0, 3, policies.Stop)), "start a; skip b already; skip c already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lines(policies.Decide(tt.set, inv, policies.Facts{}, trig, now)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAMendOfAWholeFleetWasNotLimited(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.Enforce = policies.EnforceMend
	s := set(office)
	s.Limits.PerRun = 3
	var inv []policies.Instance
	for n := range 4 {
		inv = append(inv, instance(fmt.Sprint(n), "ACTIVE"))
	}
	now := at("2026-03-04 22:00")
	plan := policies.Decide(s, inv, policies.Facts{WatchedSince: at("2026-03-01 00:00")}, policies.Trigger{ID: "d", At: now, Drift: true}, now)
	for _, a := range plan.Actions {
		if a.Hold != "4 actions are more than limits.per_run (3)" {
			t.Errorf("%s of %s is held for %q", a.Verb, a.Instance, a.Hold)
		}
	}
	if len(plan.Actions) != 4 {
		t.Errorf("got %s", lines(plan))
	}
}

func TestAMendDidNotWaitForTheSpread(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.Enforce, office.Spread = policies.EnforceStrict, 40*time.Minute
	s := set(office)
	s.Limits.PerRun = 1000
	edge := at("2026-03-04 19:00")
	watched := policies.Facts{WatchedSince: at("2026-03-01 00:00")}
	early, late := 0, 0
	for n := range 100 {
		inst := instance(fmt.Sprint(n), "ACTIVE")
		due := policies.Decide(s, []policies.Instance{inst}, watched, tick(s, edge), edge).Actions[0].Due
		mended := len(drift(s, inst, watched, "2026-03-04 19:20").Actions) > 0
		if mended != !due.After(at("2026-03-04 19:20")) {
			t.Errorf("%s is due at %s and mended at 19:20: %v", inst.ID, due, mended)
		}
		if mended {
			early++
		} else {
			late++
		}
	}
	if early == 0 || late == 0 {
		t.Errorf("%d early, %d late", early, late)
	}
}

func TestWhatCouldNotBeEvaluatedWasNotProtected(t *testing.T) {
	x, err := policies.ParseExpr(`tags[5] == "precious"`)
	if err != nil {
		t.Fatal(err)
	}
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	s.Protect = policies.Selector{When: x}
	edge := at("2026-03-04 19:00")
	plan := policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, tick(s, edge), edge)
	if got := lines(plan); got != "skip a protected" || !strings.Contains(plan.Skips[0].Detail, "cannot be told") {
		t.Errorf("got %q %v", got, plan.Skips)
	}
	s.Protect.All = []string{"role=db"} // what the rest of the selector excludes needs no expression
	if got := lines(policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, tick(s, edge), edge)); got != "stop a" {
		t.Errorf("beside the rest of the selector: %q", got)
	}
}

func TestTheEndOfASignalKeptTheMorningFromStarting(t *testing.T) {
	// ci started a machine for half an hour; the stop at its end was remembered as a
	// want for stopped without an end, which outranked a morning of lower priority.
	morning := level(t, "morning", -1, "08:00-09:00")
	morning.Schedule = morning.Schedule.(*schedule.Weekly).OneSided()
	ci := policies.Policy{Name: "ci", Signal: &policies.SignalCause{Name: "ci.queued"}, Do: []policies.Step{{Verb: policies.Start}}, Lasts: 30 * time.Minute, Select: policies.Selector{All: []string{"env=dev"}}}
	facts := policies.Facts{Impulses: policies.Impulses{"a": {{Policy: "ci", State: schedule.Running, At: at("2026-03-04 05:00"), Until: at("2026-03-04 05:30"), Started: true}}}}
	if got, want := timeline(set(morning, ci), instance("a", "ACTIVE"), facts, "2026-03-04 05:10", "2026-03-04 08:30"), "05:30 stop a; 08:00 start a"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTheOrderOfMissedEdgesChangedWhoWasConcerned(t *testing.T) {
	hours := policies.FromTag{Tag: "nightshift.hours", Read: func(v string) (schedule.Timetable, error) {
		return schedule.ParseWeekly([]string{strings.ReplaceAll(v, "_", " ")}, nil, london)
	}}
	s := set(policies.Policy{Name: "own", FromTag: &hours, Select: policies.Selector{All: []string{"nightshift.hours=*"}}})
	inv := []policies.Instance{instance("a", "SHUTOFF", "nightshift.hours=07:00-19:00"), instance("b", "SHUTOFF", "nightshift.hours=09:00-19:00")}
	edges := s.Agenda(inv, policies.Facts{}, at("2026-03-04 06:00")).Edges(at("2026-03-04 06:00"), at("2026-03-04 10:00"))
	for range 2 {
		edges[0], edges[1] = edges[1], edges[0]
		plan := policies.Decide(s, inv, policies.Facts{}, policies.Trigger{ID: "x", At: at("2026-03-04 09:00"), Edges: edges}, at("2026-03-04 10:00"))
		if got := lines(plan); got != "start a; start b" {
			t.Errorf("edges %v: %s", edges, got)
		}
	}
}

func TestOfTwoKeepTagsTheOrderDecided(t *testing.T) {
	s := owned(set(level(t, "office", 0, "Mon-Fri 08:00-19:00")))
	up, down, asis := "nightshift.keep=running@2026-03-04T23:00", "nightshift.keep=stopped@2026-03-04T23:30", "nightshift.keep=asis@2026-03-04T23:30"
	for _, tt := range []struct{ tags, want string }{
		{up + " " + down, "running by _keep"}, {down + " " + up, "running by _keep"},
		{down + " " + asis, "any by _keep"}, {asis + " " + down, "any by _keep"},
	} {
		if got := want(s, instance("a", "ACTIVE", strings.Fields(tt.tags)...), policies.Facts{}, "2026-03-04 20:00"); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.tags, got, tt.want)
		}
	}
	byCommand := policies.Facts{Keeps: map[string]policies.Keep{"a": {State: schedule.Stopped, Until: at("2026-03-04 22:00")}}}
	if got := want(s, instance("a", "ACTIVE", up), byCommand, "2026-03-04 20:00"); got != "stopped by _keep" {
		t.Errorf("the keep by command goes first: got %s", got)
	}
}

func TestTheNextEdgesCalledABeginAnEnd(t *testing.T) {
	s := owned(set(level(t, "office", 0, "Mon-Fri 08:00-23:00")))
	facts := policies.Facts{Keeps: map[string]policies.Keep{"a": {State: schedule.Running, Since: at("2026-03-04 18:00"), Until: at("2026-03-04 20:00")}}}
	var got []string
	for _, e := range s.Agenda([]policies.Instance{instance("a", "ACTIVE", "nightshift.mark=stop@2026-03-04T21:00")}, facts, at("2026-03-04 17:00")).NextEdges(at("2026-03-04 17:00"), 4) {
		got = append(got, e.Planned.In(london).Format("15:04 ")+e.Want)
	}
	if want := "18:00 begin of a keep; 20:00 end of a keep; 21:00 stop; 23:00 stopped"; strings.Join(got, "; ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), want)
	}
}

func TestOffOnPurposeNamedASourceThatNobodyKnows(t *testing.T) {
	now := at("2026-03-04 12:00")
	s := set(onAlert("r", 0, policies.Step{Verb: policies.Reboot}))
	facts := policies.Facts{Impulses: policies.Impulses{"a": {{State: schedule.Stopped, At: at("2026-03-04 11:00")}}}}
	plan := policies.Decide(s, []policies.Instance{instance("a", "ACTIVE")}, facts, policies.Trigger{ID: "x", At: now, Signal: &policies.Signal{Region: "LON1", Instance: "a", Alert: "Down"}}, now)
	if got := lines(plan); got != "skip a off on purpose" || plan.Skips[0].Detail != "a command" {
		t.Errorf("got %q (%s)", got, plan.Skips[0].Detail)
	}
}

func TestAnExpressionThatBreaksOutOfItsGroupIsRefused(t *testing.T) {
	if m, err := policies.ParseMatcher(`team=~"a)|(b"`); err == nil {
		t.Errorf("%s was read", m)
	}
}

func TestABrandNewMachineWasRebootedWhileItCameUp(t *testing.T) {
	noon := at("2026-03-04 12:00")
	reboot := policies.Step{Verb: policies.Reboot}
	grow := policies.Step{Verb: policies.Resize, Ladder: []string{"g3.small", "g3.medium"}}
	tag := policies.Step{Verb: policies.Retag, Add: []string{"x"}}
	inst := instance("a", "ACTIVE")
	inst.CreatedAt = noon.Add(-10 * time.Minute)
	for _, s := range []*policies.Set{set(impulse(t, "c", 0, "0 12 * * *", 0, reboot, grow, tag)), set(onAlert("c", 0, reboot, grow, tag))} {
		trig := tick(s, noon)
		if len(trig.Edges) == 0 {
			trig = policies.Trigger{ID: "x", At: noon, Signal: &policies.Signal{Region: "LON1", Instance: "a", Alert: "Down"}}
		}
		plan := policies.Decide(s, []policies.Instance{inst}, policies.Facts{}, trig, noon)
		for _, a := range plan.Actions {
			want := noon
			if a.Verb != policies.Retag {
				want = noon.Add(20 * time.Minute)
			}
			if !a.Due.Equal(want) {
				t.Errorf("%s is due at %s, want %s", a.Verb, a.Due, want)
			}
		}
		if len(plan.Actions) != 3 {
			t.Errorf("got %s", lines(plan))
		}
	}
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	office.Enforce = policies.EnforceMend
	inst.Status = "SHUTOFF"
	plan := drift(set(office), inst, policies.Facts{WatchedSince: at("2026-03-01 00:00")}, "2026-03-04 12:00")
	if len(plan.Actions) != 1 || !plan.Actions[0].Due.Equal(noon) {
		t.Errorf("a new machine that should run need not wait: %+v", plan)
	}
}
