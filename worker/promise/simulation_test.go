package promise_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/worker/promise"
)

var (
	first   = flag.Uint64("first", 1, "the first seed of TestSimulation")
	seeds   = flag.Int("seeds", 0, "how many seeds TestSimulation tries; 0: a few")
	trouble = flag.Duration("trouble", 2*time.Hour, "how long things go wrong in TestSimulation, in virtual time")
	trace   = flag.Bool("trace", false, "TestSimulation prints what happened, also where nothing was broken")
)

func TestSimulation(t *testing.T) {
	t.Parallel() // beside the planted bugs, which other processes look for
	tried := cmp.Or(*seeds, fewSeeds)
	cases := make(map[string]int)
	for n := range uint64(tried) {
		seed := *first + n
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			for rule, n := range promise.Cases(simulate(t, seed)) {
				cases[rule] += n
			}
		})
	}
	if tried < enoughSeeds || t.Failed() {
		return
	}
	for _, rule := range promise.Rules {
		if cases[rule.Name] == 0 && rule.Name != "no blank firewall" { // the scenario asks for no firewall
			t.Errorf("rule %q had nothing to judge in %d seeds: nothing is shown of it", rule.Name, tried)
		}
		t.Logf("%6d cases of %q", cases[rule.Name], rule.Name)
	}
}

// enoughSeeds are as many as have a case for every rule.
const enoughSeeds = 24

// simulate lets a scenario happen, asks each virtual hour what was broken, and
// returns what happened.
func simulate(t *testing.T, seed uint64) *promise.History {
	began := time.Now()
	defer func() { // nats.go pools timers: those of one bubble must not reach the next
		runtime.GC()
		runtime.GC()
	}()
	plan := newScenario(seed, *trouble)
	var w *world
	var breaches []promise.Breach
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(plan.begin))
		w = newWorld(t, plan)
		defer w.close()
		breaches = w.live()
	})
	if len(breaches) > 0 {
		t.Errorf("seed %d breaks a promise:\n  %s\nreplay it with: go test ./worker/promise -run TestSimulation -seeds=1 -first=%d -trouble=%s -trace",
			seed, strings.Join(says(breaches), "\n  "), seed, *trouble)
	}
	if len(breaches) > 0 || *trace {
		t.Logf("what happened in seed %d (%d daemons):\n%s", seed, len(plan.offsets), strings.Join(w.trace(), "\n"))
	}
	t.Logf("%d events, %d requests in %s", len(w.past.Events), len(w.past.Requests), time.Since(began).Round(time.Millisecond))
	return &w.past
}

func says(breaches []promise.Breach) (all []string) {
	for _, b := range breaches {
		all = append(all, b.String())
	}
	return all
}

// live is the scenario from begin to end.
func (w *world) live() []promise.Breach {
	for _, d := range w.daemon {
		d.start()
	}
	w.until(w.began.Add(30 * time.Second)) // the file is known
	hour := w.began.Add(time.Hour)
	for _, s := range w.plan.steps {
		at := w.began.Add(s.at)
		for ; !hour.After(at); hour = hour.Add(time.Hour) {
			w.until(hour)
			if breaches := w.check(); len(breaches) > 0 {
				return breaches
			}
		}
		w.until(at)
		if s.what != "" {
			w.tell("%s", s.what)
		}
		s.do(w)
	}
	w.until(w.began.Add(w.plan.trouble))
	w.tell("all is well again")
	w.sim.ClearFaults()
	for _, d := range w.daemon {
		d.jump(0)
		d.back()
		d.again()
		d.takeUp()
	}
	for range 3 {
		w.until(time.Now().Add(calm / 3))
		if breaches := w.check(); len(breaches) > 0 {
			return breaches
		}
	}
	w.past.Settled = true
	return w.check()
}

func (w *world) check() []promise.Breach {
	synctest.Wait()
	w.note()
	return promise.Check(&w.past)
}

// trace is what happened, in order.
func (w *world) trace() []string {
	lines := slices.Clone(w.steps)
	for _, rec := range w.past.Events {
		lines = append(lines, rec.StoredAt.UTC().Format("Mon 02 15:04:05.000")+" "+promise.Line(rec)[len("Mon 02 15:04:05.000 "):])
	}
	for _, run := range w.past.Runs {
		var items strings.Builder
		for _, it := range run.Items {
			fmt.Fprintf(&items, "; %s %s %s", it.Action, it.Instance, strings.Trim(it.Policy+" "+it.Skip, " "))
		}
		lines = append(lines, promise.RunLine(&run)+items.String())
	}
	for _, r := range w.past.Requests {
		if r.Op != "list" && r.Instance != "" {
			lines = append(lines, promise.RequestLine(r))
		}
	}
	day := func(line string) string { return line[4:6] + line[7:19] }
	slices.SortStableFunc(lines, func(a, b string) int { return cmp.Compare(day(a), day(b)) })
	return lines
}

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
