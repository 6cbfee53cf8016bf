package policies_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nightshift/policies"
)

// numbered are n instances i0, i1, … that run, with a tag.
func numbered(n int, tag string) (inv []policies.Instance) {
	for i := range n {
		inv = append(inv, instance(fmt.Sprintf("%s%02d", tag, i), "ACTIVE", tag))
	}
	return inv
}

// holds is why each action of a plan is held, the same once.
func holds(plan policies.Plan) (why []string) {
	for _, a := range plan.Actions {
		if !slices.Contains(why, a.Hold) {
			why = append(why, a.Hold)
		}
	}
	return why
}

func TestAShareIsRoundedDownAtLeastOneAndOfFiveOrMore(t *testing.T) {
	for _, tt := range []struct {
		share float64
		of    int
		most  int
		bound bool
	}{
		{0, 100, 0, false},
		{0.5, 4, 0, false},
		{0.5, 5, 2, true},
		{0.1, 5, 1, true},
		{0.29, 100, 29, true},
		{0.3, 10, 3, true},
		{1, 7, 7, true},
	} {
		if most, bound := (policies.Limits{Share: tt.share}).Allowed(tt.of); most != tt.most || bound != tt.bound {
			t.Errorf("%g of %d: got %d %t, want %d %t", tt.share, tt.of, most, bound, tt.most, tt.bound)
		}
	}
}

func TestARunThatTouchesMoreThanAShareOfTheFleetIsHeld(t *testing.T) {
	office := selecting(level(t, "office", 0, "Mon-Fri 08:00-19:00"), tagged("dev"))
	for _, tt := range []struct {
		name       string
		dev, other int
		share      float64
		facts      policies.Facts
		at, want   string
	}{
		{"half of ten is held from the sixth on", 6, 4, 0.5, policies.Facts{}, "2026-03-04 19:00", "6 instances are more than limits.share (0.5) allows of a fleet of 10: 5"},
		{"five of ten go", 5, 5, 0.5, policies.Facts{}, "2026-03-04 19:00", ""},
		{"three of four go: few instances have no share", 3, 1, 0.5, policies.Facts{}, "2026-03-04 19:00", ""},
		{"without a share all go", 9, 1, 0, policies.Facts{}, "2026-03-04 19:00", ""},
		{"the fleet is all regions", 6, 4, 0.5, policies.Facts{Fleet: [][]policies.Instance{numbered(6, "dev"), numbered(14, "x")}}, "2026-03-04 19:00", ""},
		{"what was asked for in another region counts", 5, 5, 0.5, policies.Facts{Asked: []string{"elsewhere"}}, "2026-03-04 19:00", "6 instances are more than limits.share (0.5) allows of a fleet of 10: 5"},
		{"one instance of it is always allowed", 1, 9, 0.5, policies.Facts{Partial: true}, "2026-03-04 19:00", ""},
		{"a fleet that is not known whole", 2, 8, 0.5, policies.Facts{Partial: true}, "2026-03-04 19:00", "limits.share is 0.5, and how large the fleet is is not known: a region was never read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(office)
			s.Limits.Share = tt.share
			inv := append(numbered(tt.dev, "dev"), numbered(tt.other, "x")...)
			plan := policies.Decide(s, inv, tt.facts, tick(s, at(tt.at)), at(tt.at))
			if got := holds(plan); len(plan.Actions) != tt.dev || len(got) != 1 || got[0] != tt.want {
				t.Errorf("%d actions, held %q; want %d, %q", len(plan.Actions), got, tt.dev, tt.want)
			}
			look := policies.Decide(s, inv, tt.facts, policies.Trigger{ID: "look", At: at(tt.at)}, at(tt.at))
			if got := holds(look); len(got) != 1 || got[0] != tt.want {
				t.Errorf("a look says %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStartsByScheduleAreNeverHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, inv := fleet(t)
		s.Limits = policies.Limits{PerRun: 1, Share: 0.1}
		trig, facts, ok := drawTick(t, s, inv, func(now time.Time) policies.Facts { return memories(t, inv, now) })
		if !ok {
			return
		}
		facts.Sizes = map[string]int{"p0": 1, "p1": 1, "p2": 1}
		for _, a := range policies.Decide(s, inv, facts, trig, trig.At).Actions {
			if a.Level && a.Verb == policies.Start && (a.Hold != "" && a.Hold != "mode is ask" || a.Canary != "") {
				t.Fatalf("a start by schedule waits: %s", a.Waits())
			}
		}
	})
}

func TestATriggeredPolicyActsOnAShareOfWhatItSelectsInAnHour(t *testing.T) {
	p := onAlert("quarantine", 0, policies.Step{Verb: policies.Firewall, Firewall: "shut"})
	p.Select = tagged("web")
	s := set(p)
	s.Limits.Share = 0.5
	inv := numbered(6, "web")
	now := at("2026-03-04 12:00")
	acted := make(map[string]policies.Cooldown)
	var got []string
	for n := range inv {
		sig := down(inv[n].ID)
		plan := policies.Decide(s, inv[n:n+1], policies.Facts{Cooldowns: acted, Fleet: [][]policies.Instance{inv}}, policies.Trigger{ID: "s", At: now, Signal: &sig}, now)
		got = append(got, holds(plan)...)
		acted[policies.CooldownKey(p.Name, inv[n].ID)] = policies.Cooldown{At: now}
		now = now.Add(10 * time.Minute)
	}
	want := []string{"", "", "",
		"4 instances within 1h are more than limits.share (0.5) allows of the 6 that policy quarantine selects: 3",
		"5 instances within 1h are more than limits.share (0.5) allows of the 6 that policy quarantine selects: 3",
		"6 instances within 1h are more than limits.share (0.5) allows of the 6 that policy quarantine selects: 3"}
	if !slices.Equal(got, want) {
		t.Errorf("held:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAPolicyWhoseMatchesHaveDoubledIsAskedAboutOnce(t *testing.T) {
	office := selecting(level(t, "office", 0, "Mon-Fri 08:00-19:00"), tagged("dev"))
	for _, tt := range []struct {
		now, before int
		held        bool
	}{
		{6, 3, true}, {6, 4, false}, {4, 1, false}, {5, 2, true}, {9, 0, true}, {6, 6, false}, {6, -1, false},
	} {
		s := set(office)
		facts := policies.Facts{}
		if tt.before >= 0 {
			facts.Sizes = map[string]int{"office": tt.before}
		}
		when := at("2026-03-04 19:00")
		plan := policies.Decide(s, numbered(tt.now, "dev"), facts, tick(s, when), when)
		if held := plan.Actions[0].Hold != ""; held != tt.held {
			t.Errorf("%d matches after %d: held %t, want %t", tt.now, tt.before, held, tt.held)
		}
		said, other := plan.Sizes, plan.Grown
		if tt.held {
			said, other = other, said
		}
		if _, both := other["office"]; said["office"] != tt.now || both {
			t.Errorf("%d matches: the plan says %v, and to be approved %v", tt.now, plan.Sizes, plan.Grown)
		}
		facts.Sizes = said
		if plan = policies.Decide(s, numbered(tt.now, "dev"), facts, tick(s, when), when); plan.Actions[0].Hold != "" {
			t.Errorf("%d matches: asked twice: %s", tt.now, plan.Actions[0].Hold)
		}
	}
}

func TestSimulateAsksOnceAboutGrowth(t *testing.T) {
	s := set(selecting(level(t, "office", 0, "Mon-Fri 08:00-19:00"), tagged("dev")))
	held := 0
	for _, stage := range policies.Simulate(s, numbered(8, "dev"), policies.Facts{Sizes: map[string]int{"office": 2}}, at("2026-03-02 12:00"), at("2026-03-06 23:00")) {
		for _, a := range stage.Plan.Actions {
			if a.Hold != "" {
				held++
			}
		}
	}
	if held != 8 {
		t.Errorf("%d actions are held in a week, want the 8 of the first evening", held)
	}
}

func TestFloorsLetTheFirstGoAndKeepTheOthers(t *testing.T) {
	reboot := impulse(t, "patch", 0, "0 19 * * *", 0, policies.Step{Verb: policies.Reboot})
	off := func(inv []policies.Instance, n int) []policies.Instance {
		for i := range n {
			inv[i].Status = "SHUTOFF"
		}
		return inv
	}
	for _, tt := range []struct {
		name string
		set  *policies.Set
		inv  []policies.Instance
		want string
	}{
		{"a schedule that would stop four", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), numbered(4, "web"), "stop web00; stop web01; skip web02 floor; skip web03 floor"},
		{"two are off already", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), off(numbered(4, "web"), 2), "skip web00 already; skip web01 already; skip web02 floor; skip web03 floor"},
		{"a reboot each, while there is one to spare", set(reboot), numbered(3, "web"), "reboot web00; reboot web01; reboot web02"},
		{"a reboot with none to spare", set(reboot), numbered(2, "web"), "skip web00 floor; skip web01 floor"},
		{"what no floor counts", set(level(t, "office", 0, "Mon-Fri 08:00-19:00")), numbered(2, "db"), "stop db00; stop db01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.set.Floors = []policies.Floor{{Select: tagged("web"), Running: 2}}
			when := at("2026-03-04 19:00")
			plan := policies.Decide(tt.set, tt.inv, policies.Facts{}, tick(tt.set, when), when)
			if got := lines(plan); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestNoPlanGoesUnderAFloor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, inv := fleet(t)
		for n := range rapid.IntRange(1, 3).Draw(t, "floors") {
			s.Floors = append(s.Floors, policies.Floor{Select: drawSelector(t, fmt.Sprint("floor", n)), Running: rapid.IntRange(1, 4).Draw(t, "running")})
		}
		trig, facts, ok := drawTick(t, s, inv, func(now time.Time) policies.Facts { return memories(t, inv, now) })
		if !ok {
			return
		}
		plan := policies.Decide(s, inv, facts, trig, trig.At)
		down := make(map[string]bool)
		for _, a := range plan.Actions {
			if a.Verb == policies.Stop && a.Mode != policies.ModeObserve {
				down[a.Instance] = true
			}
		}
		for _, f := range s.Floors {
			before := f.Up(inv)
			after := before
			for _, i := range inv {
				if down[i.ID] && i.Status == policies.StatusActive && f.Select.Matches(i) {
					after--
				}
			}
			if after < min(before, f.Running) {
				t.Fatalf("%s: %d were running, %d are left\n%s", f.Words(), before, after, whole(plan))
			}
		}
	})
}

func TestTheFirstOfEachRegionIsTheCanary(t *testing.T) {
	p := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	p.Canary = 10 * time.Minute
	s := set(p)
	inv := numbered(3, "dev")
	far := instance("far", "ACTIVE", "dev")
	far.Region = "NYC1"
	inv = append(inv, far)
	when := at("2026-03-04 19:00")
	var got []string
	for _, a := range policies.Decide(s, inv, policies.Facts{}, tick(s, when), when).Actions {
		got = append(got, a.Instance+": "+a.Waits())
	}
	want := []string{"dev00: goes first, as the canary", "dev01: after " + inv[0].Hostname + ", when that has stayed so for 10m", "dev02: after " + inv[0].Hostname + ", when that has stayed so for 10m", "far: "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExplainNamesTheRails(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"))
	s.Limits.Share, s.Floors = 0.5, []policies.Floor{{Select: tagged("web"), Running: 2}}
	inv := append(numbered(6, "db"), numbered(2, "web")...)
	facts := policies.Facts{Fleet: [][]policies.Instance{inv}}
	for id, want := range map[int]string{
		0: "stop waits for approval: 6 instances are more than limits.share (0.5) allows of a fleet of 8: 4",
		7: "no stop: at least 2 of all web stay running, and 2 are; floor: at least 2 of all web stay running; 2 of the fleet are running",
	} {
		if got := strings.Join(policies.Explain(s, inv[id], facts, at("2026-03-04 20:00")).Rails, "; "); got != want {
			t.Errorf("%s: got %q, want %q", inv[id].ID, got, want)
		}
	}
}
