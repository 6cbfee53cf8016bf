package foreign_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

// ask is a question in short: spec as JSON, policy as JSON.
func ask(t testing.TB, grammar, spec, policy string, env map[string]any, edge foreign.Edge, at string) any {
	t.Helper()
	return askIn(t, "", grammar, spec, policy, env, edge, at)
}

// askIn asks with a default zone.
func askIn(t testing.TB, zone, grammar, spec, policy string, env map[string]any, edge foreign.Edge, at string) any {
	t.Helper()
	q := foreign.Question{ID: "x", Grammar: grammar, Spec: json.RawMessage(spec), DefaultTZ: zone, Env: env, Edge: edge}
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

// Whatever is asked is answered, with a result of the table and with a reason for
// each error.
func FuzzAnswer(f *testing.F) {
	for _, g := range []string{foreign.Native, foreign.CustodianOffhours, foreign.CustodianMark, foreign.KubeDownscaler, foreign.InstanceScheduler} {
		for _, spec := range []string{`"off=(m-f,19);on=(m-f,7);tz=pt"`, `"off=[(m,7),(t-f,8)];tz=abc5xyz"`, `"msg: stop@2026/06/15 1130 UTC+3"`, `"m: stop@15 June 2026 5pm -03"`, `"Mon-Fri 08:00-18:00 UTC"`, `"15:30 UTC"`,
			`{"timezone":"UTC","periods":[{"weekdays":["mon-fri/2"],"monthdays":["1-L/3","15W"]}]}`, `{"periods":[{"monthdays":["1/10"]}]}`, `{"running":["Mon-Fri 08:00-19:00"],"stopped":"22:00-06:00"}`,
			`"2026-01-01T00:00:00+00:00-2026-01-02T00:00:00+00:00"`, `"30 5 * * MON-FRI"`, `"running@2026-12-01"`} {
			for _, edge := range []string{"state", "validate", "off", "due", "window"} {
				f.Add(g, spec, `{"op":"stop","skew":1,"opt-out":true}`, "et", edge, int64(1_782_000_000))
			}
		}
	}
	f.Fuzz(func(t *testing.T, grammar, spec, policy, zone, edge string, at int64) {
		var settings map[string]any
		_ = json.Unmarshal([]byte(policy), &settings)     // none where it cannot be read
		instant := time.Unix(at%253_402_300_799, 0).UTC() // up to the year 9999, as in a line of JSON
		r := foreign.Answer(foreign.Question{Grammar: grammar, Spec: json.RawMessage(spec), Policy: settings, DefaultTZ: zone, Env: map[string]any{"TZ": zone}, Edge: foreign.Edge(edge), At: instant})
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

// One policy of Custodian without its counterpart wants something in the hours at
// which it acts, and nothing at all other times: it never starts what another
// policy would have to start.
func TestALonePolicyOfCustodianActsOnOneSide(t *testing.T) {
	set := foreign.Settings{"default_tz": "utc", "offhour": 19, "only": "stop", "skip-days": []any{"2027-01-05"}}
	for _, tt := range []struct {
		value, at string
		want      schedule.State
	}{
		{"", "2027-01-04T18:59:00Z", schedule.Any}, // a Monday
		{"", "2027-01-04T19:00:00Z", schedule.Stopped},
		{"", "2027-01-04T20:00:00Z", schedule.Any},
		{"", "2027-01-05T19:00:00Z", schedule.Any}, // skipped
		{"", "2027-01-06T07:00:00Z", schedule.Any}, // the onhour of a counterpart
		{"off=(m-f,21);on=(m-f,7)", "2027-01-04T21:30:00Z", schedule.Stopped},
		{"off=(m-f,21);on=(m-f,7)", "2027-01-04T07:30:00Z", schedule.Any},
		{"off=(m-f,21)", "2027-01-04T21:30:00Z", schedule.Stopped},
		{"off", "2027-01-04T19:00:00Z", schedule.Any},
	} {
		table, warnings, err := foreign.Read(foreign.CustodianOffhours, tt.value, set, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.At(at); got != tt.want {
			t.Errorf("%q at %s: got %s, want %s", tt.value, tt.at, got, tt.want)
		}
		for _, w := range warnings {
			if strings.HasPrefix(w.Text, "on is not in the tag") {
				t.Errorf("%q: warned of the side that it does not have: %s", tt.value, w.Text)
			}
		}
	}
	if _, _, err := foreign.Read(foreign.CustodianOffhours, "", foreign.Settings{"only": []any{"stop"}}, time.UTC); err == nil {
		t.Error("only: [stop] is good, want an error")
	}
}
