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

var drawnHours = &policies.FromTag{Tag: "nightshift.hours", Read: func(v string) (schedule.Timetable, error) {
	return schedule.ParseWeekly([]string{strings.ReplaceAll(v, "_", " ")}, nil, london)
}}

// drawSelector draws a selector of any form, so that the index is met by all.
func drawSelector(t *rapid.T, label string) policies.Selector {
	tag := func(name string) string {
		return rapid.SampledFrom([]string{"env=dev", "a", "b", "env=*", "*", "?"}).Draw(t, label+" "+name)
	}
	switch rapid.IntRange(0, 5).Draw(t, label+" form") {
	case 0:
		return policies.Selector{Any: []string{tag("any"), tag("other")}}
	case 1:
		return policies.Selector{Hostname: []string{rapid.SampledFrom([]string{"h0", "h*", "*", "h[01]"}).Draw(t, label+" host")}}
	case 2:
		return policies.Selector{When: rapid.SampledFrom(drawnExprs).Draw(t, label+" when")}
	case 3:
		return policies.Selector{All: []string{tag("all")}, Within: &policies.Selector{All: []string{tag("scope")}}}
	case 4:
		return policies.Selector{All: []string{tag("all")}, None: []string{rapid.SampledFrom([]string{"a", "b", "keep-on"}).Draw(t, label+" none")}}
	}
	return policies.Selector{All: []string{tag("all"), tag("too")}}
}

var drawnExprs = func() (all []*policies.Expr) {
	for _, text := range []string{`"a" in tags`, `"b" in tags && hostname != "h0"`, `!("a" in tags)`, `tags[1] == "b"`} {
		x, err := policies.ParseExpr(text)
		if err != nil {
			panic(err)
		}
		all = append(all, x)
	}
	return all
}()

// fleet draws a set of policies of every form, and an inventory that they are about.
func fleet(t *rapid.T) (*policies.Set, []policies.Instance) {
	windows := []string{"Mon-Fri 08:00-19:00", "Mon-Fri 08:00-12:00", "22:00-06:00", "Sat+Sun 10:00-12:00", "00:00-24:00"}
	specs := []string{"0 8 * * *", "0 19 * * MON-FRI", "0 12 * * *"}
	steps := []policies.Step{
		{Verb: policies.Start}, {Verb: policies.Stop}, {Verb: policies.Reboot}, {Verb: policies.Retag, Add: []string{"seen"}}, {Verb: policies.Retag, Remove: []string{"a"}},
		{Verb: policies.Resize, Ladder: []string{"g3.small", "g3.medium"}}, {Verb: policies.Firewall, Firewall: "shut"},
	}
	var ps []policies.Policy
	for i := range rapid.IntRange(1, 6).Draw(t, "policies") {
		label := fmt.Sprintf("p%d", i)
		p := policies.Policy{Name: label, Priority: rapid.IntRange(-1, 2).Draw(t, label+" priority"), Select: drawSelector(t, label)}
		switch rapid.IntRange(0, 4).Draw(t, label+" cause") {
		case 0, 1:
			w, err := schedule.ParseWeekly([]string{rapid.SampledFrom(windows).Draw(t, label+" window")}, nil, london)
			if err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, label+" one-sided") {
				w = w.OneSided()
			}
			p.Schedule = w
			p.Spread = time.Duration(rapid.IntRange(0, 2).Draw(t, label+" spread")) * time.Minute
			p.RespectStop, p.StopAgainAfter = policies.DefaultRespectStop, 3*time.Hour
			p.Enforce = rapid.SampledFrom([]policies.Enforce{policies.EnforceNot, policies.EnforceMend, policies.EnforceStrict}).Draw(t, label+" enforce")
		case 2:
			p.FromTag = drawnHours
		default:
			c, err := schedule.ParseCron(rapid.SampledFrom(specs).Draw(t, label+" spec"), london)
			if err != nil {
				t.Fatal(err)
			}
			p.Cron, p.Do = c, []policies.Step{rapid.SampledFrom(steps).Draw(t, label+" step")}
			p.Lasts = time.Duration(rapid.IntRange(0, 3).Draw(t, label+" lasts")) * time.Hour
		}
		ps = append(ps, p)
	}
	var inv []policies.Instance
	for i := range rapid.IntRange(1, 6).Draw(t, "instances") {
		var tags []string
		for _, tag := range []string{"env=dev", "a", "b", "protected", "nightshift.hours=08:00-19:00", "nightshift.hours=07:00-12:00", "nightshift.keep=running@2026-03-05T10:00", "nightshift.mark=stop@2026-03-05T12:00"} {
			if rapid.Bool().Draw(t, fmt.Sprintf("i%d %s", i, tag)) {
				tags = append(tags, tag)
			}
		}
		inv = append(inv, policies.Instance{ID: fmt.Sprintf("i%d", i), Hostname: fmt.Sprintf("h%d", i%3), Region: "LON1", Size: "g3.small", Status: rapid.SampledFrom([]string{"ACTIVE", "SHUTOFF", "BUILDING"}).Draw(t, fmt.Sprintf("i%d status", i)), Tags: tags})
	}
	s := set(ps...)
	if rapid.Bool().Draw(t, "owners") {
		owned(s)
	}
	return s, inv
}

// memories draws what is remembered about an inventory around an instant.
func memories(t *rapid.T, inv []policies.Instance, now time.Time) policies.Facts {
	hour := func(label string) time.Time {
		return now.Add(time.Duration(rapid.IntRange(-30, 6).Draw(t, label)) * time.Hour / 2)
	}
	f := policies.Facts{WatchedSince: at("2026-03-01 00:00"), Keeps: make(map[string]policies.Keep), Hands: make(map[string]policies.Hand), Impulses: make(policies.Impulses)}
	state := func(label string) schedule.State {
		return rapid.SampledFrom([]schedule.State{schedule.Running, schedule.Stopped}).Draw(t, label)
	}
	for _, i := range inv {
		switch rapid.IntRange(0, 7).Draw(t, i.ID+" memory") {
		case 0:
			f.Keeps[i.ID] = policies.Keep{State: rapid.SampledFrom([]schedule.State{schedule.Running, schedule.Stopped, schedule.Any}).Draw(t, i.ID+" kept"), Since: hour(i.ID + " since"), Until: hour(i.ID + " until")}
		case 1:
			f.Hands[i.ID] = policies.Hand{State: state(i.ID + " hand"), At: hour(i.ID + " hand at")}
		case 2:
			f.Impulses[i.ID] = []policies.Impulse{{State: state(i.ID + " command"), At: hour(i.ID + " command at")}}
		case 3:
			f.Pauses = append(f.Pauses, policies.Pause{Instance: i.ID, Since: hour(i.ID + " paused"), Until: hour(i.ID + " resumed")})
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "pause") == 0 {
		f.Pauses = append(f.Pauses, policies.Pause{Policy: "p0", Since: hour("p0 paused")})
	}
	return f
}

// drawTick draws an edge of a fleet and the trigger of all edges at that instant.
func drawTick(t *rapid.T, s *policies.Set, inv []policies.Instance, facts func(now time.Time) policies.Facts) (policies.Trigger, policies.Facts, bool) {
	from := at("2026-03-04 00:00").Add(time.Duration(rapid.IntRange(0, 7*24).Draw(t, "hours")) * time.Hour)
	f := facts(from)
	next := s.Agenda(inv, f, from).NextEdges(from, 1)
	if len(next) == 0 {
		return policies.Trigger{}, f, false
	}
	now := next[0].Planned
	edges := s.Agenda(inv, f, from).Edges(from, now)
	return policies.Trigger{ID: fmt.Sprintf("t%d", now.Unix()), At: now, Edges: edges}, f, true
}

// whole prints everything of a plan.
func whole(p policies.Plan) string {
	var b strings.Builder
	for _, a := range p.Actions {
		fmt.Fprintf(&b, "%+v\n", a)
	}
	for _, s := range p.Skips {
		fmt.Fprintf(&b, "skip %+v\n", s)
	}
	return b.String()
}

// shuffled is the same set and inventory in another order.
func shuffled(s *policies.Set, inv []policies.Instance, seed uint64) (*policies.Set, []policies.Instance) {
	r := rand.New(rand.NewPCG(1, seed))
	s2, inv2 := *s, slices.Clone(inv)
	s2.Policies = slices.Clone(s.Policies)
	r.Shuffle(len(inv2), func(i, j int) { inv2[i], inv2[j] = inv2[j], inv2[i] })
	r.Shuffle(len(s2.Policies), func(i, j int) { s2.Policies[i], s2.Policies[j] = s2.Policies[j], s2.Policies[i] })
	return &s2, inv2
}

func TestWhateverTheFleet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, inv := fleet(t)
		trig, facts, ok := drawTick(t, s, inv, func(now time.Time) policies.Facts { return memories(t, inv, now) })
		if !ok {
			return
		}
		plan := policies.Decide(s, inv, facts, trig, trig.At)
		oneWinnerPerInstanceAndKind(t, s, inv, trig, plan)
		nothingActsOnWhatIsExempt(t, s, inv, facts, plan)

		s2, inv2 := shuffled(s, inv, uint64(trig.At.Unix()))
		trig2 := trig
		trig2.Edges = slices.Clone(trig.Edges)
		slices.Reverse(trig2.Edges)
		if again := policies.Decide(s2, inv2, facts, trig2, trig.At); whole(again) != whole(plan) {
			t.Fatalf("in another order:\n%s\nwant:\n%s", whole(again), whole(plan))
		}

		if later := policies.Decide(s, inv, facts, trig, trig.At.Add(5*time.Second)); !slices.Equal(ids(later), ids(plan)) {
			t.Fatalf("the same trigger, planned 5 s later, has other action ids")
		}

		after := carriedOut(inv, plan)
		for _, a := range policies.Decide(s, after, facts, trig, trig.At).Actions {
			if !slices.Equal(byID(inv, a.Instance).Tags, byID(after, a.Instance).Tags) {
				continue // with other tags other policies may select it
			}
			if a.Kind != policies.KindReboot && a.Kind != policies.KindSize { // one more step up is a new plan: its id is the old one's, which is done
				t.Fatalf("after the plan was carried out %s %s is left to do", a.Verb, a.Instance)
			}
		}
	})
}

func ids(p policies.Plan) (ids []string) {
	for _, a := range p.Actions {
		ids = append(ids, a.ID)
	}
	slices.Sort(ids)
	return ids
}

func byID(inv []policies.Instance, id string) *policies.Instance {
	return &inv[slices.IndexFunc(inv, func(i policies.Instance) bool { return i.ID == id })]
}

// carriedOut is the inventory after a plan.
func carriedOut(inv []policies.Instance, plan policies.Plan) []policies.Instance {
	after := slices.Clone(inv)
	for _, a := range plan.Actions {
		i := byID(after, a.Instance)
		switch a.Verb {
		case policies.Start:
			i.Status = "ACTIVE"
		case policies.Stop:
			i.Status = "SHUTOFF"
		case policies.Resize:
			i.Size = a.Size
		case policies.Retag:
			i.Tags = a.Tags
		case policies.Firewall:
			i.FirewallID = a.Firewall
		}
	}
	return after
}

// oneWinnerPerInstanceAndKind: each instance that an edge concerns has exactly
// one answer about its power, each step of each policy that fires one answer of its
// own, at most one policy acts on a kind, and no two answers share an identity.
func oneWinnerPerInstanceAndKind(t *rapid.T, s *policies.Set, inv []policies.Instance, trig policies.Trigger, plan policies.Plan) {
	type key struct {
		instance string
		kind     policies.Kind
	}
	acts, answers, seen := make(map[key]string), make(map[key]int), make(map[string]bool)
	answer := func(a policies.Action) {
		if seen[a.ID] {
			t.Fatalf("two answers are %s: %s", a.ID, lines(plan))
		}
		seen[a.ID] = true
		answers[key{a.Instance, a.Kind}]++
	}
	for _, a := range plan.Actions {
		k := key{a.Instance, a.Kind}
		if other, taken := acts[k]; taken && other != a.Policy {
			t.Fatalf("%s and %s both act on the %s of %s", other, a.Policy, a.Kind, a.Instance)
		}
		acts[k] = a.Policy
		answer(a)
	}
	for _, skip := range plan.Skips {
		answer(skip.Action)
	}
	for _, i := range inv {
		want := make(map[policies.Kind]int)
		for _, e := range trig.Edges {
			p, ok := s.Policy(e.Policy)
			switch {
			case !ok || p.FromTag != nil: // concerns some
				continue
			case !p.Select.Matches(i):
				continue
			case p.IsLevel():
				want[policies.KindPower] = 1
			default:
				if k := policies.KindOf(p.Do[0].Verb); k == policies.KindPower {
					want[k] = 1
				} else {
					want[k]++
				}
			}
		}
		for k, n := range want {
			if answers[key{i.ID, k}] != n {
				t.Fatalf("%s has %d answers about its %s, want %d: %s", i.ID, answers[key{i.ID, k}], k, n, lines(plan))
			}
		}
		if answers[key{i.ID, policies.KindPower}] > 1 {
			t.Fatalf("%s has two answers about its power: %s", i.ID, lines(plan))
		}
	}
}

// nothingActsOnWhatIsExempt: protected, paused and, but for what keeps it so, kept
// instances never have an action.
func nothingActsOnWhatIsExempt(t *rapid.T, s *policies.Set, inv []policies.Instance, facts policies.Facts, plan policies.Plan) {
	for _, a := range plan.Actions {
		i := *byID(inv, a.Instance)
		if reason, _ := s.Untouchable(i); reason != "" {
			t.Fatalf("%s is %s and has %s", i.ID, reason, a.Verb)
		}
		for _, p := range facts.Pauses {
			holds := !a.Planned.Before(p.Since) && (p.Until.IsZero() || a.Planned.Before(p.Until))
			if holds && (p.Instance == i.ID || p.Policy != "" && p.Policy == a.Policy || p.Instance+p.Policy == "") {
				t.Fatalf("%s of %s is paused and has %s by %s", i.ID, a.Policy, a.Verb, a.Policy)
			}
		}
		k, ok := s.Kept(i, facts, a.Planned)
		if !ok || a.Kind != policies.KindPower && a.Kind != policies.KindReboot {
			continue
		}
		if want := map[policies.Verb]schedule.State{policies.Start: schedule.Running, policies.Stop: schedule.Stopped, policies.Reboot: schedule.Running}[a.Verb]; want != k.State {
			t.Fatalf("%s is kept %s and has %s by %s", i.ID, k.State, a.Verb, a.Policy)
		}
	}
}

func TestExplainNamesTheWinnerOfDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, inv := fleet(t)
		now := at("2026-03-04 00:00").Add(time.Duration(rapid.IntRange(0, 7*48).Draw(t, "half hours")) * 30 * time.Minute)
		facts := memories(t, inv, now)
		plan := policies.Decide(s, inv, facts, policies.Trigger{ID: "look", At: now}, now)
		answers := make(map[string]string) // "verb policy" by instance
		for _, a := range plan.Actions {
			answers[a.Instance] = string(a.Verb) + " " + a.Policy
		}
		for _, skip := range plan.Skips {
			verb := string(skip.Verb)
			if skip.Reason == policies.ReasonKept && skip.Policy == policies.KeepSource {
				verb = "keep"
			}
			answers[skip.Instance] = verb + " " + skip.Policy
		}
		for _, i := range inv {
			want := ""
			if e := policies.Explain(s, i, facts, now); len(e.Wants) > 0 {
				want = map[schedule.State]string{schedule.Running: "start ", schedule.Stopped: "stop ", schedule.Any: "keep "}[e.Wants[0].State] + e.Wants[0].Source
				for n, w := range e.Wants {
					if (n == 0) != (w.Loses == "") {
						t.Fatalf("place %d of the argument about %s: %+v", n, i.ID, w)
					}
				}
			}
			if answers[i.ID] != want {
				t.Fatalf("%s: explain says %q, the plan %q", i.ID, want, answers[i.ID])
			}
		}
	})
}

// A fleet without impulses, that does as it is told, is at the end as the levels
// want it: the fold of the edges is the state.
func TestTheFoldOfASimulationIsWhatTheLevelsWant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, inv := fleet(t)
		s.Owners = policies.Owners{}
		s.Policies = slices.DeleteFunc(s.Policies, func(p policies.Policy) bool { return !p.IsLevel() })
		if len(s.Policies) == 0 {
			return
		}
		from, to := at("2026-03-02 00:30"), at("2026-03-10 00:30") // more than a week: each level has had an edge
		after := slices.Clone(inv)
		touched := make(map[string]bool)
		for _, stage := range policies.Simulate(s, inv, policies.Facts{}, from, to) {
			after = carriedOut(after, stage.Plan)
			for _, a := range stage.Plan.Actions {
				touched[a.Instance] = true
			}
		}
		for _, i := range after {
			if reason, _ := s.Untouchable(i); reason != "" {
				if i.Status != byID(inv, i.ID).Status {
					t.Fatalf("protected %s has become %s", i.ID, i.Status)
				}
				continue
			}
			e := policies.Explain(s, i, policies.Facts{}, to)
			if e.State() == schedule.Any || e.Wants[0].Since.Before(from) { // nobody wants anything, or has wanted it since before
				continue
			}
			if want := map[schedule.State]string{schedule.Running: "ACTIVE", schedule.Stopped: "SHUTOFF"}[e.State()]; i.Status != want {
				t.Fatalf("%s is %s in the end, want %s (%s by %s since %s)", i.ID, i.Status, want, e.State(), e.Wants[0].Source, e.Wants[0].Since)
			}
		}
	})
}

// What the index finds is what the selectors select.
func TestTheIndexFindsWhatTheSelectorsSelect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, inv := fleet(t)
		for _, i := range inv {
			e := policies.Explain(s, i, policies.Facts{}, at("2026-03-04 12:00"))
			found := make(map[string]bool)
			for _, w := range e.Wants {
				found[w.Source] = true
			}
			for _, m := range e.Mute {
				found[m.Policy] = true
			}
			for _, p := range s.Policies {
				if found[p.Name] != p.Select.Matches(i) {
					t.Fatalf("%s selects %s: %v, the index says %v (%s)", p.Name, i.ID, p.Select.Matches(i), found[p.Name], p.Select)
				}
			}
		}
	})
}
