package policies_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// changed prints a difference as lines of "kind at: before -> after; instead".
func changed(d policies.Difference) string {
	side := func(a *policies.Action) string {
		if a == nil {
			return "nothing"
		}
		return fmt.Sprintf("%s %s %s %s", a.Due.In(london).Format("Mon 15:04"), a.Policy, a.What(), a.Instance)
	}
	var out []string
	for _, c := range d.Changes {
		line := fmt.Sprintf("%s: %s -> %s", c.Kind, side(c.Before), side(c.After))
		if c.Instead != "" {
			line += "; " + c.Instead
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// TestDiffOfADay compares what two sets do on Wednesday 2026-03-04.
func TestDiffOfADay(t *testing.T) {
	office := func(name string, windows ...string) policies.Policy { return level(t, name, 0, windows...) }
	start, stop := policies.Step{Verb: policies.Start}, policies.Step{Verb: policies.Stop}
	with := func(s *policies.Set, f func(*policies.Set)) *policies.Set { f(s); return s }
	for _, tt := range []struct {
		name          string
		before, after *policies.Set
		inst          policies.Instance
		want          string
	}{
		{"a window that ends later moves the stop", set(office("office", "Mon-Fri 08:00-19:00")), set(office("office", "Mon-Fri 08:00-20:00")), instance("a", "SHUTOFF"),
			"moves: Wed 19:00 office stop a -> Wed 20:00 office stop a"},
		{"both ends may move", set(office("office", "08:00-19:00")), set(office("office", "07:00-18:30")), instance("a", "SHUTOFF"),
			"moves: Wed 08:00 office start a -> Wed 07:00 office start a\nmoves: Wed 19:00 office stop a -> Wed 18:30 office stop a"},
		{"a break at noon appears, and moves nothing", set(office("office", "08:00-19:00")), set(office("office", "08:00-12:00", "13:00-19:00")), instance("a", "SHUTOFF"),
			"appears: nothing -> Wed 12:00 office stop a\nappears: nothing -> Wed 13:00 office start a"},
		{"a new policy that keeps it on takes the stop away, and says so", set(office("office", "08:00-19:00")), set(office("office", "08:00-19:00"), level(t, "release", 5, "00:00-24:00")), instance("a", "ACTIVE"),
			"vanishes: Wed 19:00 office stop a -> nothing; outranked: policy release (priority 5) wants running"},
		{"protect takes it away", set(office("office", "08:00-19:00")), with(set(office("office", "08:00-19:00")), func(s *policies.Set) { s.Protect.All = []string{"env=dev"} }), instance("a", "ACTIVE"),
			"vanishes: Wed 19:00 office stop a -> nothing; protected: it matches protect (all env=dev)"},
		{"a region that is not named any more, too", set(office("office", "08:00-19:00")), with(set(office("office", "08:00-19:00")), func(s *policies.Set) { s.Regions = []string{"NYC1"} }), instance("a", "ACTIVE"),
			"vanishes: Wed 19:00 office stop a -> nothing; region LON1 is not named"},
		{"a policy that is gone leaves nothing in its place", set(office("office", "08:00-19:00"), office("other", "Sun 10:00-12:00")), set(office("other", "Sun 10:00-12:00")), instance("a", "SHUTOFF"),
			"vanishes: Wed 08:00 office start a -> nothing\nvanishes: Wed 19:00 office stop a -> nothing"},
		{"a renamed policy does the same for another reason", set(office("office", "08:00-19:00")), set(office("hours", "08:00-19:00")), instance("a", "ACTIVE"),
			"reason: Wed 19:00 office stop a -> Wed 19:00 hours stop a"},
		{"a start instead of a stop", set(impulse(t, "nap", 0, "0 12 * * *", 0, stop)), set(impulse(t, "nap", 0, "0 12 * * *", 0, start)), instance("a", "BUILDING"),
			"becomes: Wed 12:00 nap stop a -> Wed 12:00 nap start a"},
		{"what was only planned is done", with(set(office("office", "08:00-19:00")), func(s *policies.Set) { s.Mode = policies.ModeObserve }), set(office("office", "08:00-19:00")), instance("a", "ACTIVE"),
			"becomes: Wed 19:00 office stop (only planned) a -> Wed 19:00 office stop a"},
		{"what was done waits for approval", set(office("office", "08:00-19:00")), with(set(office("office", "08:00-19:00")), func(s *policies.Set) { s.Mode = policies.ModeAsk }), instance("a", "ACTIVE"),
			"becomes: Wed 19:00 office stop a -> Wed 19:00 office stop (waits for approval) a"},
		{"a stop half a day off is moved", set(impulse(t, "nap", 0, "0 6 * * *", 0, stop)), set(impulse(t, "nap", 0, "0 18 * * *", 0, stop)), instance("a", "BUILDING"),
			"moves: Wed 06:00 nap stop a -> Wed 18:00 nap stop a"},
		{"further off it is another one", set(impulse(t, "nap", 0, "0 6 * * *", 0, stop)), set(impulse(t, "nap", 0, "1 18 * * *", 0, stop)), instance("a", "BUILDING"),
			"vanishes: Wed 06:00 nap stop a -> nothing\nappears: nothing -> Wed 18:01 nap stop a"},
		{"of two the nearer has moved", set(impulse(t, "b", 0, "0 10 * * *", 0, policies.Step{Verb: policies.Reboot})), set(impulse(t, "b", 0, "0 6,11 * * *", 0, policies.Step{Verb: policies.Reboot})), instance("a", "ACTIVE"),
			"appears: nothing -> Wed 06:00 b reboot soft a\nmoves: Wed 10:00 b reboot soft a -> Wed 11:00 b reboot soft a"},
		{"what is enforced strictly is mended at the next look", set(office("office", "08:00-19:00")), set(func() policies.Policy {
			p := office("office", "08:00-19:00")
			p.Enforce = policies.EnforceStrict
			return p
		}()), instance("a", "ACTIVE"),
			"appears: nothing -> Wed 00:10 office stop a\nappears: nothing -> Wed 08:00 office start a; already: it is ACTIVE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := policies.Diff(tt.before, tt.after, []policies.Instance{tt.inst}, policies.Facts{}, at("2026-03-04 00:00"), at("2026-03-05 00:00"))
			if got := changed(d); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if d.Same() {
				t.Error("it says that nothing differs")
			}
		})
	}
}

func TestASpreadMovesEachInstanceByItsShare(t *testing.T) {
	office := level(t, "office", 0, "08:00-19:00")
	slow := office
	slow.Spread = 10 * time.Minute
	d := policies.Diff(set(office), set(slow), []policies.Instance{instance("a", "ACTIVE"), instance("b", "ACTIVE")}, policies.Facts{}, at("2026-03-04 12:00"), at("2026-03-05 00:00"))
	if n := d.Counts("office")[policies.Moves]; n != 2 || len(d.Changes) != 2 {
		t.Errorf("%d of %d changes move, want 2:\n%s", n, len(d.Changes), changed(d))
	}
}

func TestWhatNoSimulationShowsIsNamed(t *testing.T) {
	reboot := policies.Step{Verb: policies.Reboot}
	office := level(t, "office", 0, "08:00-19:00")
	before, after := set(office, onAlert("down", 0, reboot)), set(office, onAlert("down", 0, policies.Step{Verb: policies.Reboot, Hard: true}))
	after.Allow = append(after.Allow, policies.Delete)
	d := policies.Diff(before, after, []policies.Instance{instance("a", "ACTIVE")}, policies.Facts{}, at("2026-03-04 12:00"), at("2026-03-05 00:00"))
	if len(d.Changes) != 0 || d.Same() {
		t.Errorf("%d changes, same %v, want none and a difference", len(d.Changes), d.Same())
	}
	want := []policies.Reworded{{Name: "down", Before: "all env=dev; alert Down; reboot soft; cooldown 30m", After: "all env=dev; alert Down; reboot hard; cooldown 30m"}}
	if !slices.Equal(d.Waiting, want) {
		t.Errorf("waiting: got %v, want %v", d.Waiting, want)
	}
	if len(d.Settings) != 1 || d.Settings[0].Name != "allow" || !strings.Contains(d.Settings[0].After, "delete") {
		t.Errorf("settings: got %v, want allow", d.Settings)
	}
}

func TestWrittenDifferentlyAndDoingTheSameIsTheSame(t *testing.T) {
	d := policies.Diff(set(level(t, "office", 0, "08:00-19:00")), set(level(t, "office", 0, "Mon-Sun 08:00-12:00", "12:00-19:00")),
		[]policies.Instance{instance("a", "SHUTOFF")}, policies.Facts{}, at("2026-03-04 00:00"), at("2026-03-11 00:00"))
	if !d.Same() || len(d.Unseen) != 1 {
		t.Errorf("unseen %v, got\n%s", d.Unseen, changed(d))
	}
	quiet := level(t, "quiet", 0, "08:00-19:00")
	quiet.Select = policies.Selector{All: []string{"nobody"}}
	d = policies.Diff(set(level(t, "office", 0, "08:00-19:00")), set(level(t, "office", 0, "08:00-19:00"), quiet),
		[]policies.Instance{instance("a", "SHUTOFF")}, policies.Facts{}, at("2026-03-04 00:00"), at("2026-03-11 00:00"))
	if !d.Same() || !slices.Equal(d.Unseen, []string{"quiet"}) {
		t.Errorf("same %v, unseen %v, want a policy without a part in the difference", d.Same(), d.Unseen)
	}
}

func TestADifferenceSaysHowLongInstancesRun(t *testing.T) {
	d := policies.Diff(set(level(t, "office", 0, "08:00-19:00")), set(level(t, "office", 0, "08:00-20:00")),
		[]policies.Instance{instance("a", "SHUTOFF"), instance("b", "SHUTOFF")}, policies.Facts{}, at("2026-03-04 00:00"), at("2026-03-05 00:00"))
	if d.Before.Running != 22*time.Hour || d.After.Running != 24*time.Hour {
		t.Errorf("running %s and %s, want 22h and 24h", d.Before.Running, d.After.Running)
	}
}

// TestWhateverDiffers are the laws of Diff: of a set with itself it is empty, in
// any order of policies and instances; backwards it is the mirror image; and no
// action is lost between the two sides.
func TestWhateverDiffers(t *testing.T) {
	from, to := at("2026-03-04 00:00"), at("2026-03-08 00:00")
	rapid.Check(t, func(t *rapid.T) {
		before, inv := fleet(t)
		after, _ := fleet(t)
		same := *before
		same.Policies = slices.Clone(before.Policies)
		mixed := slices.Clone(inv)
		r := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
		r.Shuffle(len(same.Policies), func(i, j int) { same.Policies[i], same.Policies[j] = same.Policies[j], same.Policies[i] })
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if d := policies.Diff(before, &same, mixed, policies.Facts{}, from, to); !d.Same() || len(d.Unseen) > 0 || d.Before != d.After {
			t.Fatalf("a set differs from itself:\n%s", changed(d))
		}

		d, back := policies.Diff(before, after, inv, policies.Facts{}, from, to), policies.Diff(after, before, inv, policies.Facts{}, from, to)
		if mirrored, forth := mirror(back), changes(d); !slices.Equal(mirrored, forth) {
			t.Fatalf("backwards it is another difference:\n%s\n\n%s", strings.Join(forth, "\n"), strings.Join(mirrored, "\n"))
		}
		n := d.Counts("")
		if d.Before.Actions-n[policies.Vanishes] != d.After.Actions-n[policies.Appears] {
			t.Fatalf("%d actions less %d, %d less %d: some are lost", d.Before.Actions, n[policies.Vanishes], d.After.Actions, n[policies.Appears])
		}
		if again := policies.Diff(before, after, mixed, policies.Facts{}, from, to); changed(again) != changed(d) {
			t.Fatalf("instances in another order:\n%s\n\n%s", changed(again), changed(d))
		}
	})
}

func changes(d policies.Difference) []string {
	var out []string
	for _, c := range d.Changes {
		out = append(out, fmt.Sprint(c.Kind, " ", sideOf(c.Before), " ", sideOf(c.After)))
	}
	slices.Sort(out)
	return out
}

func mirror(d policies.Difference) []string {
	for i := range d.Changes {
		c := &d.Changes[i]
		c.Before, c.After = c.After, c.Before
		switch c.Kind {
		case policies.Appears:
			c.Kind = policies.Vanishes
		case policies.Vanishes:
			c.Kind = policies.Appears
		}
	}
	return changes(d)
}

func sideOf(a *policies.Action) string {
	if a == nil {
		return "-"
	}
	return fmt.Sprint(a.Instance, " ", a.Due.Unix(), " ", a.What(), " ", a.Policy)
}

func TestCourses(t *testing.T) {
	inv := []policies.Instance{instance("a", "ACTIVE"), instance("b", "BUILDING", "protected"), instance("c", "SHUTOFF", "protected")}
	from, to := at("2026-03-04 12:00"), at("2026-03-05 12:00")
	courses := policies.Courses(inv, policies.Simulate(set(level(t, "office", 0, "08:00-19:00")), inv, policies.Facts{}, from, to), from, to)
	for id, want := range map[string]string{"a": "running 7h stopped 13h running 4h", "b": "any 24h", "c": "stopped 24h"} {
		var got []string
		for _, s := range courses[id] {
			got = append(got, fmt.Sprintf("%s %gh", s.State, s.To.Sub(s.From).Hours()))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", id, got, want)
		}
	}
	if got := policies.Within(courses["a"], schedule.Running, at("2026-03-04 18:00"), at("2026-03-05 09:00")); got != 2*time.Hour {
		t.Errorf("running for %s from 18:00 to 09:00, want 2h", got)
	}
}

func TestAnInstanceMadeLaterThanWhatIsAskedCountsAsOld(t *testing.T) {
	inst := instance("a", "ACTIVE")
	inst.CreatedAt = at("2026-06-01 12:00")
	stages := policies.Simulate(set(level(t, "office", 0, "08:00-19:00")), []policies.Instance{inst}, policies.Facts{}, at("2026-03-04 12:00"), at("2026-03-04 20:00"))
	if len(stages) != 1 || !stages[0].Plan.Actions[0].Due.Equal(at("2026-03-04 19:00")) {
		t.Errorf("got %+v, want a stop at 19:00", stages)
	}
}

func TestAnActionCountsFromWhenItIsDue(t *testing.T) {
	inst := instance("a", "ACTIVE")
	inst.CreatedAt = at("2026-03-04 18:50") // not stopped within half an hour
	from, to := at("2026-03-04 19:00").Add(-time.Minute), at("2026-03-04 20:00")
	stages := policies.Simulate(set(level(t, "office", 0, "08:00-19:00")), []policies.Instance{inst}, policies.Facts{}, from, to)
	course := policies.Courses([]policies.Instance{inst}, stages, from, to)["a"]
	if len(course) != 2 || !course[1].From.Equal(at("2026-03-04 19:20")) {
		t.Errorf("got %v, want a stop at 19:20", course)
	}
}

func TestWhatARetagBringsUnderAnEnforcedLevelIsMendedAtTheNextLook(t *testing.T) {
	tagger := impulse(t, "tagger", 0, "0 21 * * *", 0, policies.Step{Verb: policies.Retag, Add: []string{"env=dev"}})
	tagger.Select = policies.Selector{All: []string{"*"}}
	office := level(t, "office", 0, "08:00-19:00")
	office.Enforce = policies.EnforceStrict
	inst := instance("a", "ACTIVE")
	inst.Tags = nil
	s := set(tagger, office)
	if got, want := timeline(s, inst, policies.Facts{}, "2026-03-04 20:00", "2026-03-04 23:00"), "21:00 retag a; 21:10 stop a"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
