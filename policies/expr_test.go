package policies_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
)

func mustExpr(t testing.TB, text string) *policies.Expr {
	t.Helper()
	x, err := policies.ParseExpr(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return x
}

func TestAnExpressionSelects(t *testing.T) {
	inst := policies.Instance{
		ID: "id-1", Hostname: "web-1", Region: "LON1", Size: "g3.small", Status: "ACTIVE", Tags: []string{"env=dev", "batch"}, FirewallID: "fw", NetworkID: "net",
		PublicIP: "212.2.1.1", PrivateIP: "192.168.1.5", CPUCores: 4, RAMMB: 8192, DiskGB: 50, CreatedAt: at("2026-03-01 00:00"),
	}
	for _, tt := range []struct {
		text string
		want bool
	}{
		{`"batch" in tags && cpu_cores >= 4`, true},
		{`"batch" in tags && cpu_cores > 4`, false},
		{`"env" in tags`, false}, // a whole tag, not a part
		{`tags.exists(t, t.startsWith("env="))`, true},
		{`tags.all(t, t != "prod")`, true},
		{`size(tags) == 2`, true}, // the function, beside the field
		{`tags.size() == 2`, true},
		{`hostname.matches("^web-[0-9]+$")`, true},
		{`hostname.endsWith("-2") || status == "ACTIVE"`, true},
		{`id == "id-1" && region == "LON1" && size == "g3.small" && firewall_id == "fw" && network_id == "net"`, true},
		{`public_ip == "212.2.1.1" && private_ip.startsWith("192.168.")`, true},
		{`ram_mb / 1024 == 8 && disk_gb < 100`, true},
		{`created_at < timestamp("2026-03-02T00:00:00Z")`, true},
		{`created_at.getFullYear() == 2026`, true},
		{`region in ["LON1", "NYC1"]`, true},
		{`!("protected" in tags)`, true},
		{`tags[7] == "x"`, false},                 // beyond the end: matches nothing
		{`false && tags[7] == "x" || true`, true}, // as CEL says
	} {
		x, err := policies.ParseExpr(tt.text)
		if err != nil {
			if tt.want {
				t.Errorf("%s: %v", tt.text, err)
			}
			continue
		}
		if got := x.Matches(inst); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.text, got, tt.want)
		}
		if x.String() != tt.text {
			t.Errorf("prints as %s, want %s", x, tt.text)
		}
	}
	if !mustExpr(t, `tags.size() == 0 && cpu_cores == 0 && hostname == ""`).Matches(policies.Instance{}) {
		t.Error("an instance of which nothing is known has empty fields")
	}
}

func TestAMistakeInAnExpressionIsFoundWhenItIsRead(t *testing.T) {
	for _, tt := range []struct {
		text, msg, unknown string
		line, col          int
	}{
		{`cpus > 4`, `an instance has no "cpus"`, "cpus", 1, 1},
		{`"a" in tag`, `an instance has no "tag"`, "tag", 1, 8},
		{"status == \"ACTIVE\" &&\n  owner == \"x\"", `an instance has no "owner"`, "owner", 2, 3},
		{`instance.tags == []`, `an instance has no "instance"`, "instance", 1, 1},
		{`cpu_cores > "4"`, "no matching overload", "", 1, 11},
		{`4 in tags`, "no matching overload", "", 1, 3},
		{`tags == "a"`, "no matching overload", "", 1, 6},
		{`cpu_cores`, "yields int, not true or false", "", 1, 1},
		{`tags`, "yields list(string), not true or false", "", 1, 1},
		{`tags.map(t, t)`, "yields list(string), not true or false", "", 1, 1},
		{`dyn(tags)[0]`, "yields dyn, not true or false", "", 1, 1},
		{`hostname.matches("(")`, "missing closing )", "", 1, 1},
		{``, "the expression is empty", "", 1, 1},
		{"\n", "the expression is empty", "", 1, 1},
		{`status ==`, "mismatched input", "", 1, 10},
		{`status = "ACTIVE"`, "token recognition error", "", 1, 8},
		{`hostname.starts_with("a")`, `there is no function "starts_with"`, "", 1, 21},
		{`lower(hostname) == "a"`, `there is no function "lower"`, "", 1, 6},
	} {
		t.Run(tt.text, func(t *testing.T) {
			x, err := policies.ParseExpr(tt.text)
			if err == nil {
				t.Fatalf("%s was read", x)
			}
			e, ok := errors.AsType[*policies.ExprError](err)
			if !ok {
				t.Fatalf("%T", err)
			}
			if !strings.Contains(e.Msg, tt.msg) || e.Unknown != tt.unknown || e.Line != tt.line || e.Col != tt.col {
				t.Errorf("%d:%d %q (unknown %q), want %d:%d %q (%q)", e.Line, e.Col, e.Msg, e.Unknown, tt.line, tt.col, tt.msg, tt.unknown)
			}
		})
	}
	for _, f := range policies.ExprFields {
		if _, err := policies.ParseExpr(f + " == " + f); err != nil {
			t.Errorf("field %s: %v", f, err)
		}
	}
}

// A hostile expression is cut off by its cost, long before it holds a plan up,
// and then matches nothing.
func TestTheCostOfAnExpressionIsBounded(t *testing.T) {
	var tags []string
	for n := range 60 {
		tags = append(tags, fmt.Sprintf("tag-%02d", n))
	}
	inst := policies.Instance{ID: "a", Tags: tags}
	for _, text := range []string{
		`tags.all(a, tags.all(b, tags.all(c, tags.all(d, a + b + c + d != "x"))))`,
		`tags.map(a, tags.map(b, tags.map(c, tags.map(d, a)))).size() >= 0`,
		`tags.exists(a, tags.exists(b, tags.exists(c, (a + b + c).matches("^(x+x+)+y$"))))`,
		`tags.filter(a, tags.filter(b, tags.filter(c, tags.filter(d, d > a).size() > 0).size() > 0).size() > 0).size() > 0`,
	} {
		x := mustExpr(t, text)
		began := time.Now()
		got, err := x.Eval(inst)
		if err == nil || !strings.Contains(err.Error(), "cost limit") {
			t.Errorf("%s: %v, %v: want its cost to end it", text, got, err)
		}
		if took := time.Since(began); took > 5*time.Second { // milliseconds, on a machine that is not busy
			t.Errorf("%s held the plan up for %s", text, took)
		}
		if x.Matches(inst) {
			t.Errorf("%s matches", text)
		}
	}
	if got, err := mustExpr(t, `tags.exists(a, tags.exists(b, a == "tag-59" && b == "tag-59"))`).Eval(inst); !got || err != nil {
		t.Errorf("an honest expression over 60 tags twice: %v, %v", got, err)
	}
}

func TestAnExpressionIsAskedOnlyAboutInstancesThatHaveItsTags(t *testing.T) {
	// Found through the index or not, the same is selected.
	texts := []string{
		`"batch" in tags`, `"batch" in tags && cpu_cores >= 4`, `cpu_cores >= 4 && ("batch" in tags && "env=dev" in tags)`,
		`"batch" in tags || cpu_cores >= 4`, `!("batch" in tags)`, `("batch" in tags) == false`, `"a*" in tags`, `"b" in ["b"]`, `"batch" in tags ? cpu_cores > 1 : true`,
	}
	insts := []policies.Instance{
		{ID: "a", Status: "ACTIVE"}, {ID: "b", Status: "ACTIVE", Tags: []string{"batch"}}, {ID: "c", Status: "ACTIVE", Tags: []string{"batch", "env=dev"}, CPUCores: 4},
		{ID: "d", Status: "ACTIVE", Tags: []string{"a*"}, CPUCores: 8}, {ID: "e", Status: "ACTIVE", Tags: []string{"abc"}},
	}
	for _, text := range texts {
		p := asleep(t, "off", 0, "00:00-24:00")
		p.Select = policies.Selector{When: mustExpr(t, text)}
		plan := policies.Decide(set(p), insts, policies.Facts{}, policies.Trigger{ID: "look"}, at("2026-03-04 12:00"))
		var got, want []string
		for _, a := range plan.Actions {
			got = append(got, a.Instance)
		}
		for _, i := range insts {
			if p.Select.When.Matches(i) {
				want = append(want, i.ID)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
