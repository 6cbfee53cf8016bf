package policies_test

import (
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// Every parser: no panic, an error of the promised type, and what parses prints
// and parses back equal.

func FuzzParseExpr(f *testing.F) {
	for _, seed := range []string{`"batch" in tags && cpu_cores >= 4`, `tags.exists(t, t == "x")`, `cpus > 4`, "a\n.b(", `hostname.matches("[")`, `tags[0] == ""`, `((((`, `"\xff" in tags`, "\u00e9(1)", `size(`} {
		f.Add(seed)
	}
	inst := policies.Instance{ID: "a", Hostname: "h", Tags: []string{"batch", "x"}, CPUCores: 4}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := policies.ParseExpr(text)
		if err != nil {
			e, ok := errors.AsType[*policies.ExprError](err)
			if !ok || e.Line < 1 || e.Col < 1 || e.Msg == "" {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		again, err := policies.ParseExpr(x.String())
		if err != nil {
			t.Fatalf("%q prints as %q, which is refused: %v", text, x, err)
		}
		if x.Matches(inst) != again.Matches(inst) {
			t.Fatalf("%q and %q differ", text, again)
		}
		// The index asks only about instances with the tags that the text needs.
		s := &policies.Set{Policies: []policies.Policy{{Name: "p", Cron: mustCron("0 0 * * *"), Do: []policies.Step{{Verb: policies.Stop}}, Select: policies.Selector{When: x}}}}
		e := policies.Explain(s, inst, policies.Facts{}, at("2026-03-04 12:00"))
		if found := len(e.Wants)+len(e.Mute) == 1; found != x.Matches(inst) {
			t.Fatalf("%q matches: %v, the index finds it: %v", text, x.Matches(inst), found)
		}
	})
}

func mustCron(spec string) *schedule.Cron {
	c, err := schedule.ParseCron(spec, london)
	if err != nil {
		panic(err)
	}
	return c
}

func FuzzParseMatcher(f *testing.F) {
	for _, seed := range []string{`severity="critical"`, `env!=dev`, `team=~"web|api"`, `a!~"x.*"`, `a="\"\\\n"`, `a=~"("`, `a=`, `a = b`, "a=\"\n\"", `a=~a)|(b`} {
		f.Add(seed, "critical")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		m, err := policies.ParseMatcher(text)
		if err != nil {
			return
		}
		again, err := policies.ParseMatcher(m.String())
		if err != nil {
			t.Fatalf("%q prints as %q, which is refused: %v", text, m, err)
		}
		if again.Label != m.Label || again.Op != m.Op || again.Value != m.Value {
			t.Fatalf("%q prints as %q, which is %+v", text, m, again)
		}
		labels := map[string]string{m.Label: value}
		if m.Matches(labels) != again.Matches(labels) {
			t.Fatalf("%q and %q differ about %q", text, again, value)
		}
		if opposite, err := policies.ParseMatcher(m.Label + map[string]string{"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[m.Op] + strings.TrimPrefix(m.String(), m.Label+m.Op)); err != nil || opposite.Matches(labels) == m.Matches(labels) {
			t.Fatalf("%s and its opposite agree about %q (%v)", m, value, err)
		}
	})
}

func FuzzParseKeep(f *testing.F) {
	for _, seed := range []string{"running@2026-11-27T22:00", "stopped@2026-11-27", "asis", "asis@2026-03-29_01:30_Europe/London", "running@9999-12-31", "running@"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		k, err := policies.ParseKeep(value, london)
		if err != nil {
			if _, ok := errors.AsType[*schedule.Error](err); !ok {
				t.Fatalf("%q: %T", value, err)
			}
			return
		}
		word := map[schedule.State]string{schedule.Running: "running", schedule.Stopped: "stopped", schedule.Any: "asis"}[k.State]
		if !k.Until.IsZero() {
			word += "@" + k.Until.Format(time.RFC3339)
		}
		if again, err := policies.ParseKeep(word, london); err != nil || again.State != k.State || !again.Until.Equal(k.Until.Truncate(time.Second)) {
			t.Fatalf("%q is %q, which is %+v: %v", value, word, again, err)
		}
	})
}

func FuzzParseMark(f *testing.F) {
	for _, seed := range []string{"stop@2026-12-01", "start@2026-12-01T18:00", "stop@2026-12-01 18:00 UTC", "stop", "@", "stop@@"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		verb, when, err := policies.ParseMark(value, london)
		if err != nil {
			if _, ok := errors.AsType[*schedule.Error](err); !ok {
				t.Fatalf("%q: %T", value, err)
			}
			return
		}
		if verb != policies.Stop && verb != policies.Start || when.IsZero() {
			t.Fatalf("%q is %s at %s", value, verb, when)
		}
		if v, again, err := policies.ParseMark(string(verb)+"@"+when.Format(time.RFC3339), london); err != nil || v != verb || !again.Equal(when.Truncate(time.Second)) {
			t.Fatalf("%q is %s at %s: %v", value, v, again, err)
		}
	})
}

// FuzzSelector compares patterns with path.Match, where that knows no path, and the
// index with the selector.
func FuzzSelector(f *testing.F) {
	for _, seed := range [][2]string{{"env=*", "env=dev"}, {"a/*", "a/b/c"}, {"[a-c]x", "bx"}, {`a\*`, "a*"}, {"*", ""}, {"?", "/"}, {"a", "a"}, {"[", "x"}, {"nightshift.hours=*", "nightshift.hours=Mon-Fri_08:00-19:00"}, {"é*", "école"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, glob, text string) {
		if policies.CheckGlob(glob) != nil || strings.Contains(glob+text, "\x00") {
			return
		}
		inst := policies.Instance{ID: "i", Hostname: text, Size: text, Tags: []string{text}}
		want := glob == "*"
		if !want {
			ok, err := path.Match(strings.ReplaceAll(glob, "/", "\x00"), strings.ReplaceAll(text, "/", "\x00"))
			if err != nil {
				t.Fatalf("%q was not refused: %v", glob, err)
			}
			want = ok
		}
		for name, s := range map[string]policies.Selector{
			"all": {All: []string{glob}}, "any": {Any: []string{glob}}, "hostname": {Hostname: []string{glob}}, "size": {Size: []string{glob}},
			"scope": {All: []string{"*"}, Within: &policies.Selector{All: []string{glob}}},
		} {
			if err := s.Validate(); err != nil {
				t.Fatalf("%s %q: %v", name, glob, err)
			}
			if got := s.Matches(inst); got != want {
				t.Fatalf("%s %q matches %q: %v, want %v", name, glob, text, got, want)
			}
			set := &policies.Set{Policies: []policies.Policy{{Name: "p", Cron: mustCron("0 0 * * *"), Do: []policies.Step{{Verb: policies.Stop}}, Select: s}}}
			e := policies.Explain(set, inst, policies.Facts{}, at("2026-03-04 12:00"))
			if found := len(e.Wants)+len(e.Mute) == 1; found != want {
				t.Fatalf("%s %q on %q: the index finds it: %v, want %v", name, glob, text, found, want)
			}
		}
		if none := (policies.Selector{All: []string{"*"}, None: []string{glob}}); none.Matches(inst) == want {
			t.Fatalf("none %q lets %q pass: %v", glob, text, want)
		}
	})
}
