package foreign_test

import (
	"encoding/json"
	"testing"
	"time"

	"nightshift/policies/foreign"
)

// ask is a question in short: spec as JSON, policy as JSON.
func ask(t testing.TB, grammar, spec, policy string, env map[string]any, edge foreign.Edge, at string) any {
	t.Helper()
	q := foreign.Question{ID: "x", Grammar: grammar, Spec: json.RawMessage(spec), Env: env, Edge: edge}
	if policy != "" {
		if err := json.Unmarshal([]byte(policy), &q.Policy); err != nil {
			t.Fatal(err)
		}
	}
	if at != "" {
		var err error
		if q.At, err = time.Parse(time.RFC3339, at); err != nil {
			t.Fatal(err)
		}
	}
	return foreign.Answer(q).Result
}

func TestWhatCannotBeAskedIsAnError(t *testing.T) {
	for _, tt := range []struct{ grammar, spec, policy, edge string }{
		{"klingon", `"x"`, ``, "state"},
		{foreign.CustodianOffhours, `4`, ``, "off"},
		{foreign.CustodianOffhours, `"tz=et"`, `{"onhour":"eight"}`, "on"},
		{foreign.CustodianOffhours, `"tz=et"`, ``, "window"},
		{foreign.CustodianMark, `"x: stop@2026/06/15"`, `{"skew":"one"}`, "due"},
		{foreign.KubeDownscaler, `"always"`, ``, "due"},
		{foreign.InstanceScheduler, `"x"`, ``, "state"},
	} {
		if got := ask(t, tt.grammar, tt.spec, tt.policy, nil, foreign.Edge(tt.edge), "2026-06-15T12:00:00Z"); got != "error" {
			t.Errorf("%s %s: got %v", tt.grammar, tt.spec, got)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, g := range []string{foreign.Native, foreign.CustodianOffhours, foreign.CustodianMark, foreign.KubeDownscaler, foreign.InstanceScheduler} {
		for _, spec := range []string{`"off=(m-f,19);on=(m-f,7);tz=pt"`, `"msg: stop@2026/06/15 1130 UTC"`, `"Mon-Fri 08:00-18:00 UTC"`, `{"timezone":"UTC","periods":[{"weekdays":["mon-fri/2"],"monthdays":["1-L/3","15W"]}]}`, `"2026-01-01T00:00:00+00:00-2026-01-02T00:00:00+00:00"`} {
			f.Add(g, spec, "state")
			f.Add(g, spec, "validate")
			f.Add(g, spec, "off")
		}
	}
	at := time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, grammar, spec, edge string) {
		r := foreign.Answer(foreign.Question{Grammar: grammar, Spec: json.RawMessage(spec), Edge: foreign.Edge(edge), At: at})
		switch r.Result {
		case true, false, "running", "stopped", "any", "ok":
		case "error":
			if r.Reason == "" {
				t.Error("an error without a reason")
			}
		default:
			t.Errorf("the result is %v", r.Result)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add(foreign.CustodianOffhours, "off=(m-f,19);on=(m-f,7);tz=pt")
	f.Add(foreign.KubeDownscaler, "Mon-Fri_08:00-18:00_UTC")
	at := time.Date(2026, 2, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, grammar, value string) {
		table, _, err := foreign.Read(grammar, value, nil, time.UTC)
		if err == nil && table.At(at) == "" {
			t.Errorf("%q has no state", value)
		}
	})
}
