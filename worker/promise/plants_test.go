package promise_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// plant is a bug put into the daemon's source by the compiler's overlay, so that
// the shipped program knows nothing of it. What stands in file as old is replaced;
// planted(name) in it is true in the run that is to find this bug.
type plant struct {
	name string
	rule string // that must be found broken
	from uint64 // the first seed that is tried, which was the one that found it when this was written
	puts []put
}

type put struct{ file, old, new string }

var plants = []plant{
	{"started without its expectation", "one call in flight", 1, []put{{"events/ledger.go",
		"	return b.publishRecord(ctx, rec, expect, startedFilter(rec.Region, rec.Instance))\n", `
	if planted("started without its expectation") {
		msg, err := b.message(ctx, rec)
		if err != nil {
			return 0, false, err
		}
		seq, err = b.put(ctx, msg)
		return seq, err == nil, err
	}
	return b.publishRecord(ctx, rec, expect, startedFilter(rec.Region, rec.Instance))
`}}},
	{"started left out", "announced before called", 1, []put{{"events/ledger.go",
		"	rec.Outcome = Started\n", `
	if planted("started left out") {
		return expect + 1, true, nil
	}
	rec.Outcome = Started
`}}},
	{"acknowledged early", "nothing is lost", 1, []put{{"worker/runner.go",
		"	passed(runTaken, \"\")\n", `
	passed(runTaken, "")
	if planted("acknowledged early") {
		_ = d.Ack()
	}
`}}},
	{"give-up time ignored", "not after its give-up time", 15, []put{{"worker/act.go",
		"	if !time.Now().Add(-a.imposed).After(a.item.NotAfter) {\n", `
	if planted("give-up time ignored") || !time.Now().Add(-a.imposed).After(a.item.NotAfter) {
`}}},
	{"last edge forgotten", "edges are announced", 3, []put{{"worker/scheduler.go",
		"	if m.Hash == p.Hash() {\n", `
	if m.Hash == p.Hash() && !planted("last edge forgotten") {
`}}},
	{"planned anew", "one plan", 1, []put{
		{"worker/planner.go", "				if stored { // perhaps by another replica, or the answer was lost\n", `
				if stored && !planted("planned anew") {
`},
		{"events/in.go", "		if _, stored, err = b.publishExpecting(ctx, msg, 0, \"\", with...); stored || err != nil {\n", `
		if planted("planned anew") && stream == StreamRun {
			_, err = b.put(ctx, msg)
			return err == nil, err
		}
		if _, stored, err = b.publishExpecting(ctx, msg, 0, "", with...); stored || err != nil {
`}}},
	{"off on purpose ignored", "off on purpose", 1, []put{{"policies/signal.go",
		"	if !ok || win.State != schedule.Stopped {\n", `
	if !ok || win.State != schedule.Stopped || planted("off on purpose ignored") {
`}, {"worker/purpose.go",
		"	case ok && win.State == schedule.Stopped && win.Source != it.Policy:", `
	case planted("off on purpose ignored"):
	case ok && win.State == schedule.Stopped && win.Source != it.Policy:`}}},
	{"reboot sent again", "never twice", 1, []put{{"worker/act.go",
		"func repeatable(it events.Item) bool { return it.Kind != string(policies.KindReboot) }\n", `
func repeatable(it events.Item) bool { return it.Kind != string(policies.KindReboot) || planted("reboot sent again") }
`}}},
	{"pause ignored before the call", "not against an exception", 3, []put{{"worker/rails.go",
		"	reason, detail := r.set().Overrules(", `
	if planted("pause ignored before the call") {
		return pass()
	}
	reason, detail := r.set().Overrules(`}, {"worker/asksfor.go", // who is paused has no want, either
		"	case !ok && !isEndOfWant(it):\n", `
	case !ok && planted("pause ignored before the call"):
	case !ok && !isEndOfWant(it):
`}}},
}

// editPlants are bugs in how an edit of the file, and a clock, are taken.
var editPlants = []plant{
	{"what was planned before an edit is carried out", "still selected", 70, []put{{"worker/asksfor.go",
		"	it, set := l.a.item, l.r.set()\n	switch {\n	case it.Policy == \"\":\n", `
	it, set := l.a.item, l.r.set()
	switch {
	case planted("what was planned before an edit is carried out"):
		return pass()
	case it.Policy == "":
`}}},
	{"observe comes too late", "not what is only watched", 63, []put{{"worker/rails.go",
		"	case mode == policies.ModeObserve:\n", `
	case planted("observe comes too late"):
	case mode == policies.ModeObserve:
`}}},
	{"a wrong clock is believed", "edges are known", 1, []put{{"worker/clock.go",
		"	if c.clock.IsFast() {\n		return nil\n	}\n	for {\n", `
	if c.clock.IsFast() || planted("a wrong clock is believed") {
		return nil
	}
	for {
`}}},
}

// railPlants are bugs in the rails.
var railPlants = []plant{
	{"allow ignored", "only what is allowed", 1, []put{{"worker/rails.go",
		"	if slices.Contains(l.r.set().Allow, policies.Verb(l.a.item.Action)) {\n", `
	if planted("allow ignored") || slices.Contains(l.r.set().Allow, policies.Verb(l.a.item.Action)) {
`}, {"policies/decide.go",
		"	if !slices.Contains(d.set.Allow, a.Verb) {\n", `
	if !slices.Contains(d.set.Allow, a.Verb) && !planted("allow ignored") {
`}}},
	{"share forgotten", "share", 4, []put{{"policies/rails.go",
		"d.set.Limits.Allowed(n); bound &&", "d.set.Limits.Allowed(n); !planted(\"share forgotten\") && bound &&"}, {"policies/rails.go",
		"			if !bound {\n				continue\n", "			if !bound || planted(\"share forgotten\") {\n				continue\n"}, {"worker/rails.go",
		"		if ok {\n			all = append", "		if ok && !planted(\"share forgotten\") {\n			all = append"}, {"worker/rails.go",
		"limits.Allowed(n); bound &&", "limits.Allowed(n); !planted(\"share forgotten\") && bound &&"}}},
	{"growth forgotten", "growth", 3, []put{{"policies/rails.go",
		"known && n >= FewInstances && n >= growth*last {", "known && !planted(\"growth forgotten\") && n >= FewInstances && n >= growth*last {"}}},
	{"canary let go alone with the others", "canary", 7, []put{{"worker/canary.go",
		"	var all map[string]*canary\n	for _, it", `	var all map[string]*canary
	if planted("canary let go alone with the others") {
		return nil
	}
	for _, it`}}},
	{"failures not counted", "breaker", 2, []put{{"worker/breaker.go",
		"it events.Item, v verdict) {\n	if !breaks(it) {\n", `it events.Item, v verdict) {
	if !breaks(it) || planted("failures not counted") {
`}}},
	{"turn not awaited", "order", 1, []put{{"worker/order.go",
		"	m := t.at[l.a.item.ID]\n	if m == nil {\n		return pass()", `
	m := t.at[l.a.item.ID]
	if m == nil || planted("turn not awaited") {
		return pass()`}}},
	{"pace not kept", "pace", 8, []put{{"worker/pace.go",
		"	if t.pace == nil || !t.paced[a.item.ID] || a.placed {", "	if planted(\"pace not kept\") || t.pace == nil || !t.paced[a.item.ID] || a.placed {"}}},
	{"floors counted by each alone", "floors", 10, []put{{"worker/floors.go",
		"			for id, e := range c.Down {\n", `
			if planted("floors counted by each alone") {
				c.Down = nil
			}
			for id, e := range c.Down {
`}}},
	{"rate not shared", "rate", 6, []put{{"civo/limiter.go",
		"	most := l.configured / float64(max(1, n))\n", `
	if planted("rate not shared") {
		n = 1
	}
	most := l.configured / float64(max(1, n))
`}}},
}

// withinSeeds bounds how many seeds it may take to find a planted bug.
const withinSeeds = 20

func TestTheSimulationFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	binary := buildPlanted(t)
	for _, p := range slices.Concat(plants, railPlants, editPlants) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(binary, "-test.run=^TestSimulation$", "-test.failfast", fmt.Sprint("-first=", p.from), fmt.Sprint("-seeds=", withinSeeds))
			cmd.Env = append(os.Environ(), "NIGHTSHIFT_PLANT="+p.name, "GOMAXPROCS=1")
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("not found within %d seeds", withinSeeds)
			}
			_, found, _ := strings.Cut(string(out), " breaks a promise:\n")
			if !strings.Contains(found, "  "+p.rule+": ") {
				t.Fatalf("it was not found as a breach of %q:\n%.4000s", p.rule, out)
			}
			_, seed, _ := strings.Cut(string(out), ": seed ")
			seed, _, _ = strings.Cut(seed, " ")
			t.Logf("found by seed %s", seed)
		})
	}
}

// buildPlanted builds the tests of this package with all bugs in them, asleep.
func buildPlanted(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sources := make(map[string]string) // by file
	for _, p := range slices.Concat(plants, railPlants, editPlants) {
		for _, put := range p.puts {
			text, ok := sources[put.file]
			if !ok {
				body, err := os.ReadFile(filepath.Join(root, put.file))
				if err != nil {
					t.Fatal(err)
				}
				text = string(body)
			}
			if strings.Count(text, put.old) != 1 {
				t.Fatalf("the bug %q is to be planted in %s where it says\n%s\nand it says so %d times: look where it belongs now", p.name, put.file, put.old, strings.Count(text, put.old))
			}
			sources[put.file] = strings.Replace(text, put.old, put.new, 1)
		}
	}
	for _, pkg := range []string{"civo", "events", "worker", "policies"} {
		sources[pkg+"/planted.go"] = "package " + pkg + "\n\nimport \"os\"\n\nfunc planted(bug string) bool { return os.Getenv(\"NIGHTSHIFT_PLANT\") == bug }\n"
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = make(map[string]string)
	for file, text := range sources {
		copied := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, file)] = copied
	}
	body, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "planted.test")
	if err := os.WriteFile(list, body, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "test", "-c", "-overlay", list, "-o", binary, "./worker/promise")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with the planted bugs: %v\n%s", err, out)
	}
	return binary
}
