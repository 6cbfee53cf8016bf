package policies_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"nightshift/policies"
)

// shop is a set with an order of three stages.
func shop(t testing.TB, per string) *policies.Set {
	t.Helper()
	s := set(selecting(level(t, "shop-hours", 0, "Mon-Fri 08:00-19:00"), tagged("shop")))
	s.Protect = policies.Selector{}
	s.Orders = []policies.Order{
		{Name: "shop", Per: per, Stages: []policies.OrderStage{
			{Select: tagged("role=db"), Ready: policies.Ready{TCP: 5432}}, {Select: tagged("role=app"), Ready: policies.Ready{HTTP: ":8080/healthz", Private: true}}, {Select: tagged("role=web")},
		}},
		{Name: "other", Stages: []policies.OrderStage{{Select: tagged("lab")}, {Select: tagged("role=web")}}},
	}
	return s
}

func machine(host string, tags ...string) policies.Instance {
	return policies.Instance{ID: "i-" + host, Hostname: host, Region: "LON1", Size: "g3.small", Status: policies.StatusActive, Tags: tags}
}

func TestAnInstanceHasItsPlaceInTheFirstStageThatSelectsIt(t *testing.T) {
	for _, tt := range []struct {
		per, tags   string
		start, stop string
	}{
		{"", "shop role=db", "order shop, turn 1 of 3", "order shop, turn 3 of 3"},
		{"", "shop role=web project=a", "order shop, turn 3 of 3", "order shop, turn 1 of 3"},
		{"project", "shop role=app project=a", "order shop (project=a), turn 2 of 3", "order shop (project=a), turn 2 of 3"},
		{"project", "shop role=app projects=a", "order shop (no project), turn 2 of 3", "order shop (no project), turn 2 of 3"},
		{"project", "shop role=app project=b project=a", "order shop (project=a), turn 2 of 3", "order shop (project=a), turn 2 of 3"},
		{"", "shop role=db role=app", "order shop, turn 1 of 3", "order shop, turn 3 of 3"},
		{"", "lab role=web", "order shop, turn 3 of 3", "order shop, turn 1 of 3"},
		{"", "lab", "order other, turn 1 of 2", "order other, turn 2 of 2"},
		{"", "shop", "", ""},
	} {
		p := shop(t, tt.per).PlaceOf(machine("x", strings.Fields(tt.tags)...))
		if start, stop := p.Words(policies.Start), p.Words(policies.Stop); start != tt.start || stop != tt.stop {
			t.Errorf("%s per %q: got %q and %q, want %q and %q", tt.tags, tt.per, start, stop, tt.start, tt.stop)
		}
		if words := p.Words(policies.Retag); words != "" {
			t.Errorf("%s: a retag waits for its turn: %s", tt.tags, words)
		}
	}
}

func TestAPlanSaysWhenEachHasItsTurn(t *testing.T) {
	s := shop(t, "project")
	inv := []policies.Instance{machine("db", "shop", "role=db", "project=a"), machine("web", "shop", "role=web", "project=a"), machine("free", "shop")}
	for _, tt := range []struct{ at, status, want string }{
		{"2026-03-02 20:00", policies.StatusActive, "stop db 3, stop free 0, stop web 1"},
		{"2026-03-02 12:00", policies.StatusShutoff, "start db 1, start free 0, start web 3"},
	} {
		for i := range inv {
			inv[i].Status = tt.status
		}
		var got []string
		for _, a := range policies.Decide(s, inv, policies.Facts{}, policies.Trigger{ID: "look", At: at(tt.at)}, at(tt.at)).Actions {
			got = append(got, fmt.Sprintf("%s %s %d", a.Verb, a.Hostname, a.Place.Turn(a.Verb)))
		}
		if list := strings.Join(got, ", "); list != tt.want {
			t.Errorf("at %s: got %s, want %s", tt.at, list, tt.want)
		}
	}
}

func TestExplainSaysWhereAnInstanceStandsInItsOrder(t *testing.T) {
	for tags, want := range map[string]string{
		"shop role=db project=a": "order shop (project=a), stage 1 of 3: it starts first and stops last; started it is ready when port 5432 answers",
		"shop role=app":          "order shop (no project), stage 2 of 3: it starts after stage 1 and stops after stage 3; started it is ready when :8080/healthz at its private address answers",
		"shop role=web":          "order shop (no project), stage 3 of 3: it starts last and stops first",
		"shop":                   "",
	} {
		if got := policies.Explain(shop(t, "project"), machine("x", strings.Fields(tags)...), policies.Facts{}, at("2026-03-02 12:00")).Order; got != want {
			t.Errorf("%s: got %q, want %q", tags, got, want)
		}
	}
}

// TestTurnsOfStopsAreTheReverseOfThoseOfStarts also holds the order of tags to be
// of no account.
func TestTurnsOfStopsAreTheReverseOfThoseOfStarts(t *testing.T) {
	sets := map[string]*policies.Set{"": shop(t, ""), "project": shop(t, "project")}
	rapid.Check(t, func(t *rapid.T) {
		s := sets[rapid.SampledFrom([]string{"", "project"}).Draw(t, "per")]
		tags := rapid.Permutation([]string{"shop", "role=db", "role=app", "role=web", "project=a", "project=b", "lab"}).Draw(t, "tags")
		tags = tags[:rapid.IntRange(0, len(tags)).Draw(t, "n")]
		p := s.PlaceOf(machine("x", tags...))
		if other := s.PlaceOf(machine("x", slices.Sorted(slices.Values(tags))...)); other != p {
			t.Fatalf("%v: %+v in another order of the tags: %+v", tags, p, other)
		}
		if p.Order == nil {
			if p.Turn(policies.Start) != 0 || p.Turn(policies.Stop) != 0 {
				t.Fatalf("%v: who is in no order has a turn", tags)
			}
			return
		}
		if start, stop := p.Turn(policies.Start), p.Turn(policies.Stop); start+stop != len(p.Order.Stages)+1 || start < 1 || stop < 1 {
			t.Fatalf("%v: starts in turn %d, stops in %d", tags, start, stop)
		}
	})
}

func TestLintFindsOrdersThatDoNotWaitAsTheySeem(t *testing.T) {
	s := shop(t, "project")
	if got := findings(s, policies.Known{}); got != "note order: order other, stage 1 has no ready: the next one starts when the API says ACTIVE, whatever runs on the instance | such as ready: { tcp: 5432 }\n" {
		t.Errorf("the file alone: %s", got)
	}
	far := machine("far", "shop", "role=web", "project=a")
	far.Region = "NYC1"
	got := findings(s, policies.Known{Inventory: []policies.Instance{
		machine("db", "shop", "role=db", "project=a"), far, machine("web", "shop", "role=web"), machine("web2", "shop", "role=web"), machine("two", "shop", "role=db", "project=a", "project=b"), machine("free"),
	}})
	want := `warning order: two is in one group of order shop only: it has the tags project=a project=b, and the first counts
warning order: order shop, stage 2 selects nothing: role=app matches nothing; there is role=web (3 instances) | did you mean role=web?
warning order: 2 instances of order shop have no tag project: together they are a group of their own | web | web2
warning order: order shop (project=a) has instances in LON1 and NYC1: in each region they wait for each other, and no region waits for another
warning order: order other, stage 1 selects nothing: lab matches nothing; there is project=a, project=b, role=db, role=web, shop
warning order (+2): far is in stage 3 of order shop; stage 2 of order other selects it, too, and does not count
note order: order other, stage 1 has no ready: the next one starts when the API says ACTIVE, whatever runs on the instance | such as ready: { tcp: 5432 }
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
