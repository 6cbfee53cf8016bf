package policies_test

import (
	"fmt"
	"testing"
	"time"

	"nightshift/policies"
)

// crowd is a fleet of which each policy selects an equal part, in a way of selecting.
func crowd(b testing.TB, instances, many int, selects func(i int) policies.Selector) (*policies.Set, []policies.Instance) {
	var ps []policies.Policy
	for i := range many {
		p := level(b, fmt.Sprintf("p%d", i), i%3, "Mon-Fri 08:00-19:00")
		p.Select = selects(i)
		ps = append(ps, p)
	}
	s := set(ps...)
	s.Limits.PerRun = instances
	inv := make([]policies.Instance, instances)
	for i := range inv {
		inv[i] = instance(fmt.Sprintf("%08d-0000-4000-8000-000000000000", i), "ACTIVE", fmt.Sprintf("team=%d", i%many), fmt.Sprintf("owner=%d", i%1000))
		inv[i].Hostname = fmt.Sprintf("host-%d-%d", i%many, i)
	}
	return s, inv
}

func team(i int) policies.Selector {
	return policies.Selector{All: []string{fmt.Sprintf("team=%d", i)}, None: []string{"keep-on"}}
}

func decideAll(b *testing.B, s *policies.Set, inv []policies.Instance, facts policies.Facts) {
	now := at("2026-03-04 19:00")
	trig := tick(s, now)
	b.ReportAllocs()
	for b.Loop() {
		if plan := policies.Decide(s, inv, facts, trig, now); len(plan.Actions) != len(inv) {
			b.Fatalf("%d actions", len(plan.Actions))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(inv)), "ns/instance")
}

// BenchmarkDecide is linear in the instances, and hardly feels the policies.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		for _, many := range []int{10, 100, 1_000} {
			b.Run(fmt.Sprintf("instances=%d/policies=%d", n, many), func(b *testing.B) {
				s, inv := crowd(b, n, many, team)
				decideAll(b, s, inv, policies.Facts{})
			})
		}
	}
}

// BenchmarkDecideSelects is the same by ways of selecting.
func BenchmarkDecideSelects(b *testing.B) {
	when := make([]*policies.Expr, 1000)
	for i := range when {
		x, err := policies.ParseExpr(fmt.Sprintf(`"team=%d" in tags`, i))
		if err != nil {
			b.Fatal(err)
		}
		when[i] = x
	}
	for _, way := range []struct {
		name    string
		selects func(i int) policies.Selector
	}{
		{"common tag first", func(i int) policies.Selector {
			return policies.Selector{All: []string{"env=dev", fmt.Sprintf("team=%d", i)}}
		}},
		{"any", func(i int) policies.Selector {
			return policies.Selector{Any: []string{fmt.Sprintf("team=%d", i), fmt.Sprintf("group=%d", i)}}
		}},
		{"glob", func(i int) policies.Selector {
			return policies.Selector{All: []string{fmt.Sprintf("team=%d*", i), "env=*"}}
		}},
		{"hostname", func(i int) policies.Selector {
			return policies.Selector{Hostname: []string{fmt.Sprintf("host-%d-*", i), fmt.Sprintf("h%d", i)}}
		}},
		{"when", func(i int) policies.Selector { return policies.Selector{When: when[i]} }},
	} {
		for _, many := range []int{10, 100, 1_000} {
			b.Run(fmt.Sprintf("%s/policies=%d", way.name, many), func(b *testing.B) {
				n := 10_000
				if way.name == "when" { // each must be asked: linear in the policies
					n = 1_000
				}
				s, inv := crowd(b, n, many, way.selects)
				decideAll(b, s, inv, policies.Facts{})
			})
		}
	}
}

// BenchmarkDecideFacts is what owners' tags, spread and memory add.
func BenchmarkDecideFacts(b *testing.B) {
	for _, way := range []string{"plain", "owners", "spread", "hands and impulses", "reboots"} {
		b.Run(way, func(b *testing.B) {
			s, inv := crowd(b, 10_000, 100, team)
			var facts policies.Facts
			switch way {
			case "owners":
				owned(s)
			case "spread":
				for i := range s.Policies {
					s.Policies[i].Spread = 10 * time.Minute
				}
			case "hands and impulses":
				facts.Hands, facts.Impulses = make(map[string]policies.Hand), make(policies.Impulses)
				for i := range inv {
					facts.Hands[inv[i].ID] = policies.Hand{State: "running", At: at("2026-03-04 12:00")}
					facts.Impulses[inv[i].ID] = []policies.Impulse{{State: "running", At: at("2026-03-04 12:00")}}
				}
			case "reboots":
				s.Policies = append(s.Policies, impulse(b, "reboot", 0, "0 19 * * *", 0, policies.Step{Verb: policies.Reboot}))
			}
			decideAll(b, s, inv, facts)
		})
	}
}
