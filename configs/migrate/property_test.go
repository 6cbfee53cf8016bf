package migrate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nightshift/configs"
	"nightshift/configs/migrate"
	"nightshift/policies"
	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

// wanted is what a policy file wants of an instance with one tag: the highest
// priority that wants something, and running beats stopped.
func wanted(t *rapid.T, text []byte, tag string) func(time.Time) schedule.State {
	cfg, err := configs.Parse("", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	inst := policies.Instance{ID: "i", Tags: []string{tag}}
	type level struct {
		schedule.Timetable
		priority int
	}
	var levels []level
	for _, p := range cfg.Policies.Policies {
		if !p.Select.Matches(inst) {
			continue
		}
		table := p.Schedule
		if p.FromTag != nil {
			_, value, _ := strings.Cut(tag, "=")
			if table, err = p.FromTag.Read(value); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
		}
		levels = append(levels, level{table, p.Priority})
	}
	return func(at time.Time) schedule.State {
		state, priority := schedule.Any, -1
		for _, l := range levels {
			if s := l.At(at); s != schedule.Any && (l.priority > priority || l.priority == priority && s == schedule.Running) {
				state, priority = s, l.priority
			}
		}
		return state
	}
}

// answer is what the other tool's reader says.
func answer(t *rapid.T, grammar string, spec any, edge foreign.Edge, at time.Time) any {
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return foreign.Answer(foreign.Question{Grammar: grammar, Spec: text, Edge: edge, At: at}).Result
}

func anInstant(t *rapid.T) time.Time {
	return time.Date(2027, 1, 1, 0, rapid.IntRange(0, 3*366*24*60).Draw(t, "minute"), 0, 0, time.UTC)
}

func clockTime(t *rapid.T, label string) string {
	return fmt.Sprintf("%02d:%02d", rapid.IntRange(0, 23).Draw(t, label), rapid.SampledFrom([]int{0, 1, 29, 30, 59}).Draw(t, label))
}

// TestScheduleOfInstanceScheduler: what is imported wants in each minute what
// Instance Scheduler's own reader says, whichever way it was written.
func TestScheduleOfInstanceScheduler(t *testing.T) {
	native := 0
	rapid.Check(t, func(t *rapid.T) {
		var periods []any
		var names []string
		for i := range rapid.IntRange(1, 3).Draw(t, "periods") {
			name := fmt.Sprintf("p%d", i)
			p := map[string]any{"name": name}
			if rapid.Bool().Draw(t, "begins") {
				p["begintime"] = clockTime(t, "begin")
			}
			if rapid.Bool().Draw(t, "ends") {
				p["endtime"] = clockTime(t, "end")
			}
			p["weekdays"] = []string{rapid.SampledFrom([]string{"mon-fri", "sat-mon", "*", "1", "mon/2", "wed", "L", "fri#1", "monL"}).Draw(t, "weekdays")}
			if rapid.IntRange(0, 3).Draw(t, "dated") == 0 {
				if rapid.Bool().Draw(t, "no weekdays") {
					delete(p, "weekdays")
				}
				p["monthdays"] = []string{rapid.SampledFrom([]string{"1-7", "L", "25-L", "1/5", "15W", "31"}).Draw(t, "monthdays")}
			}
			if rapid.IntRange(0, 3).Draw(t, "months") == 0 {
				p["months"] = []string{rapid.SampledFrom([]string{"jan", "nov-feb", "jan/3"}).Draw(t, "which months")}
			}
			names, periods = append(names, name), append(periods, p)
		}
		items := []any{map[string]any{"type": "schedule", "name": "s", "periods": names, "timezone": "UTC"}}
		for _, p := range periods {
			typed := map[string]any{"type": "period"}
			for k, v := range p.(map[string]any) {
				typed[k] = v
			}
			items = append(items, typed)
		}
		data, err := json.Marshal(map[string]any{"Items": items})
		if err != nil {
			t.Fatal(err)
		}
		r, err := migrate.InstanceScheduler(data, migrate.Options{File: "x"})
		spec := map[string]any{"timezone": "UTC", "periods": periods}
		if err != nil {
			at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
			if answer(t, foreign.InstanceScheduler, spec, foreign.EdgeValidate, at) == "ok" && !strings.Contains(err.Error(), "no window of it ever begins") {
				t.Fatalf("it is a good schedule, and was not carried over: %v\n%s", err, data)
			}
			return
		}
		if !strings.Contains(string(r.Text), "grammar:") {
			native++
		}
		ours := wanted(t, r.Text, "Schedule=s")
		for range 20 {
			at := anInstant(t)
			want := answer(t, foreign.InstanceScheduler, spec, foreign.EdgeState, at)
			if want == "error" { // it fails in a month without that day; nothing is wanted then
				want = "any"
			}
			if got := ours(at); string(got) != want {
				t.Fatalf("at %s: got %s, want %s\n%s\n%s", at.Format("Mon 2006-01-02 15:04"), got, want, data, r.Text)
			}
		}
	})
	if native == 0 {
		t.Error("nothing was written in our own windows")
	}
}

// TestSpecsOfDownscaler: downtime wins over uptime, periods are silent outside and
// where they overlap, force-uptime wins over all.
func TestSpecsOfDownscaler(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.SampledFrom([][]string{{"UTC"}, {"Asia/Tokyo"}, {"UTC", "Asia/Tokyo"}}).Draw(t, "zones")
		spec := func(label string) string {
			var parts []string
			for range rapid.IntRange(1, 2).Draw(t, label) {
				if rapid.IntRange(0, 4).Draw(t, label) == 0 {
					parts = append(parts, "2027-03-01T10:00:00+00:00-2027-03-05T12:29:59+00:00")
					continue
				}
				parts = append(parts, rapid.SampledFrom([]string{"Mon-Fri", "Fri-Mon", "Sat-Sat", "Mon-Sun"}).Draw(t, label)+" "+clockTime(t, label)+"-"+rapid.SampledFrom([]string{"24:00", clockTime(t, label)}).Draw(t, label)+" "+rapid.SampledFrom(zones).Draw(t, label))
			}
			return rapid.SampledFrom([]string{strings.Join(parts, ","), strings.Join(parts, ","), "always", "never"}).Draw(t, label)
		}
		notes := make(map[string]any)
		for _, k := range []string{"uptime", "downtime", "upscale-period", "downscale-period"} {
			if one := map[bool]int{true: 3, false: 1}[strings.HasSuffix(k, "period")]; rapid.IntRange(0, one).Draw(t, "lacks "+k) == 0 {
				notes["downscaler/"+k] = spec(k)
			}
		}
		force := ""
		if rapid.IntRange(0, 2).Draw(t, "forced") == 0 {
			force = spec("force")
		}
		space := map[string]any{"kind": "Namespace", "metadata": map[string]any{"name": "n", "annotations": map[string]any{}}}
		if force != "" {
			space["metadata"].(map[string]any)["annotations"].(map[string]any)["downscaler/force-uptime"] = force
		}
		// A second workload, so that there is always something to write.
		docs := []any{space, workload("a", notes), workload("z", map[string]any{"downscaler/uptime": "Mon-Fri 08:00-17:00 UTC"})}
		data, err := json.Marshal(docs)
		if err != nil {
			t.Fatal(err)
		}
		r, err := migrate.Downscaler(data, migrate.Options{File: "x"})
		var nothing *migrate.NothingError
		if errors.As(err, &nothing) && (force == "always" || strings.Contains(err.Error(), "always")) {
			return // all of it is up for good
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if !strings.Contains(string(r.Text), "downscaler=deployment/n/a") {
			if strings.Contains(string(r.Text), "deployment n/a: its periods") {
				return // refused with the reason
			}
		}
		value := func(k, otherwise string) string {
			if v, ok := notes["downscaler/"+k].(string); ok {
				return v
			}
			return otherwise
		}
		ours := wanted(t, r.Text, "downscaler=deployment/n/a")
		for range 60 {
			at := time.Date(2027, 2, 25, 0, rapid.IntRange(0, 10*24*60).Draw(t, "minute"), 30, 0, time.UTC) // the dates among the specs, too; half a minute past, for a range ends with the instant of its end there
			in := func(spec string) bool {
				return answer(t, foreign.KubeDownscaler, spec, foreign.EdgeWindow, at) == true
			}
			want := schedule.Stopped
			up, down := value("upscale-period", "never"), value("downscale-period", "never")
			switch {
			case force != "" && in(force):
				want = schedule.Running
			case up != "never" || down != "never":
				want = schedule.Any
				if in(up) != in(down) {
					want = map[bool]schedule.State{true: schedule.Running, false: schedule.Stopped}[in(up)]
				}
			case in(value("uptime", "always")) && !in(value("downtime", "never")):
				want = schedule.Running
			}
			got := ours(at)
			if got == schedule.Any && want == schedule.Running && !strings.Contains(string(r.Text), "downscaler=deployment/n/a") {
				continue // never down: it needs no policy
			}
			if got != want {
				t.Fatalf("at %s: got %s, want %s\n%s\n%s", at.Format("Mon 2006-01-02 15:04"), got, want, data, r.Text)
			}
		}
	})
}

func workload(name string, notes map[string]any) map[string]any {
	return map[string]any{"kind": "Deployment", "metadata": map[string]any{"name": name, "namespace": "n", "annotations": notes}}
}

// TestHoursOfCustodian: in each hour, a tagged and an untagged instance are started
// and stopped exactly when Custodian's two policies would do it.
func TestHoursOfCustodian(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		settings := map[string]any{"default_tz": rapid.SampledFrom([]string{"utc", "asia/tokyo"}).Draw(t, "zone"), "opt-out": true}
		for _, k := range []string{"weekends", "weekends-only"} {
			if rapid.Bool().Draw(t, k) {
				settings[k] = rapid.Bool().Draw(t, k+" is")
			}
		}
		filter := func(kind string) map[string]any {
			f := map[string]any{"type": kind, kind: rapid.IntRange(0, 23).Draw(t, kind)}
			for k, v := range settings {
				f[k] = v
			}
			return f
		}
		var list []any
		sides := make(map[foreign.Edge]map[string]any)
		for _, x := range []struct {
			kind, verb string
			side       foreign.Edge
		}{{"offhour", "stop", foreign.EdgeOff}, {"onhour", "start", foreign.EdgeOn}} {
			if len(list) == 1 && rapid.IntRange(0, 3).Draw(t, "alone") == 0 {
				continue
			}
			f := filter(x.kind)
			sides[x.side] = f
			list = append(list, map[string]any{"name": "p-" + x.verb, "resource": "ec2", "filters": []any{f}, "actions": []string{x.verb}})
		}
		data, err := json.Marshal(map[string]any{"policies": list})
		if err != nil {
			t.Fatal(err)
		}
		r, err := migrate.Custodian(data, migrate.Options{File: "x"})
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range []string{"maid_offhours=off=(m-f,20);on=[(m-h,6),(s,9)]", "other=x"} {
			spec, tagged := strings.CutPrefix(tag, "maid_offhours=")
			raw := json.RawMessage("null")
			if tagged {
				raw, _ = json.Marshal(spec)
			}
			ours := wanted(t, r.Text, tag)
			for range 10 {
				at := anInstant(t).Truncate(time.Hour)
				does := func(side foreign.Edge) bool {
					f, ok := sides[side]
					return ok && foreign.Answer(foreign.Question{Grammar: foreign.CustodianOffhours, Spec: raw, Policy: forJSON(f), Edge: side, At: at}).Result == true
				}
				got := ours(at)
				on, off := does(foreign.EdgeOn), does(foreign.EdgeOff)
				switch {
				case on && got != schedule.Running, off && !on && got != schedule.Stopped:
					t.Fatalf("%s at %s: Custodian starts %t, stops %t; got %s\n%s", tag, at.Format("Mon 15:04"), on, off, got, r.Text)
				case len(sides) == 1 && !on && !off && got != schedule.Any:
					t.Fatalf("%s at %s: Custodian does nothing; got %s\n%s", tag, at.Format("Mon 15:04"), got, r.Text)
				}
			}
		}
	})
}

// forJSON is a setting as JSON reads it: all numbers are floats.
func forJSON(m map[string]any) map[string]any {
	out := make(map[string]any)
	for k, v := range m {
		if n, ok := v.(int); ok {
			v = float64(n)
		}
		out[k] = v
	}
	return out
}

// TestSelectorsOfCustodian: a selector chooses exactly the instances whose tags
// pass the filters.
func TestSelectorsOfCustodian(t *testing.T) {
	for _, tt := range []struct {
		filter      string
		takes, lets []string // lists of tags, with blanks between
	}{
		{`{"tag:Env": "dev"}`, []string{"Env=dev"}, []string{"Env=prod", "Env", "env=dev", ""}},
		{`{"tag:Env": "absent"}`, []string{"", "Envy=x"}, []string{"Env", "Env=", "Env=x"}},
		{`{"tag:Env": "present"}`, []string{"Env", "Env=", "Env=x"}, []string{"", "Envy=x"}},
		{`{"tag:Env": "not-null"}`, []string{"Env=x"}, []string{"Env", "Env=", ""}},
		{`{"tag:Env": "empty"}`, []string{"", "Env", "Env="}, []string{"Env=x"}},
		{`{"type": "value", "key": "tag:Env", "op": "in", "value": ["a", "b"]}`, []string{"Env=a", "Env=b"}, []string{"Env=c", ""}},
		{`{"type": "value", "key": "tag:Env", "op": "ne", "value": "a"}`, []string{"Env=b", ""}, []string{"Env=a"}},
		{`{"type": "value", "key": "tag:Env", "op": "not-in", "value": ["a", "b"]}`, []string{"Env=c", ""}, []string{"Env=a", "Env=b"}},
		{`{"type": "value", "key": "tag:Env", "op": "glob", "value": "dev-*"}`, []string{"Env=dev-1"}, []string{"Env=prod"}},
		{`{"type": "value", "key": "tag:Env", "op": "contains", "value": "e*"}`, []string{"Env=de*v"}, []string{"Env=dev"}},
		{`{"tag:a*": "x"}`, []string{"a*=x"}, []string{"ab=x"}},
		{`{"not": [{"tag:Env": "dev"}]}`, []string{"Env=prod", ""}, []string{"Env=dev"}},
		{`{"not": [{"tag:Env": "absent"}]}`, []string{"Env", "Env=x"}, []string{""}},
		{`{"or": [{"tag:Env": "dev"}, {"tag:Env": "test"}, {"tag:Team": "present"}]}`, []string{"Env=dev", "Env=test", "Team=x"}, []string{"Env=prod"}},
		{`{"and": [{"or": [{"tag:A": "1"}, {"tag:A": "2"}]}, {"or": [{"tag:B": "1"}, {"tag:C*": "present"}]}]}`, []string{"A=1 B=1", "A=2 C*=9"}, []string{"A=1", "B=1", "A=1 CC=9"}},
	} {
		t.Run(tt.filter, func(t *testing.T) {
			data := `{"policies": [{"name": "p", "resource": "ec2", "actions": ["stop"], "filters": [{"type": "offhour", "default_tz": "utc", "offhour": 19}, ` + tt.filter + `]}]}`
			r, err := migrate.Custodian([]byte(data), migrate.Options{File: "x"})
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := configs.Parse("", r.Text)
			if err != nil {
				t.Fatal(err)
			}
			for want, all := range map[bool][]string{true: tt.takes, false: tt.lets} {
				for _, tags := range all {
					inst := policies.Instance{ID: "i", Tags: append(strings.Fields(tags), "maid_offhours=on")}
					if got := cfg.Policies.Policies[0].Select.Matches(inst); got != want {
						t.Errorf("an instance with %q: selected %t, want %t by %s", tags, got, want, cfg.Policies.Policies[0].Select)
					}
				}
			}
		})
	}
}

// TestWhatHasNoCounterpartIsRefused: each of these is written as a comment, or not
// at all, with a reason.
func TestWhatHasNoCounterpartIsRefused(t *testing.T) {
	const hour = `{"type": "offhour", "default_tz": "utc", "offhour": 19}`
	for _, tt := range []struct{ name, policy, reason string }{
		{"another filter", `"resource": "ec2", "actions": ["stop"], "filters": [` + hour + `, {"type": "metrics"}]`, "its filter metrics has no counterpart"},
		{"another key", `"resource": "ec2", "actions": ["stop"], "filters": [` + hour + `, {"InstanceType": "t2.micro"}]`, "its filter on InstanceType has no counterpart"},
		{"a state in which it does nothing", `"resource": "ec2", "actions": ["stop"], "filters": [` + hour + `, {"State.Name": "stopped"}]`, "its filter on State.Name has no counterpart"},
		{"a number", `"resource": "ec2", "actions": ["stop"], "filters": [` + hour + `, {"tag:Tier": 1}]`, "which is no text"},
		{"an or of several tags", `"resource": "ec2", "actions": ["stop"], "filters": [` + hour + `, {"or": [{"and": [{"tag:A": "1"}, {"tag:B": "1"}]}, {"tag:C": "1"}]}]`, "its or has parts"},
		{"a not of several tags", `"resource": "ec2", "actions": ["stop"], "filters": [` + hour + `, {"not": [{"tag:A": "1"}, {"tag:B": "1"}]}]`, "its not has parts"},
		{"hours inside or", `"resource": "ec2", "actions": ["stop"], "filters": [{"or": [` + hour + `]}]`, "it has no time filter"},
		{"two time filters", `"resource": "ec2", "actions": ["stop"], "filters": [` + hour + `, ` + hour + `]`, "it has 2 time filters"},
		{"the wrong verb", `"resource": "ec2", "actions": ["start"], "filters": [` + hour + `]`, "offhour with start is not what the filter is for"},
		{"a zone that is none", `"resource": "ec2", "actions": ["stop"], "filters": [{"type": "offhour", "default_tz": "mars", "offhour": 19}]`, "is no zone"},
		{"an hour that is none", `"resource": "ec2", "actions": ["stop"], "filters": [{"type": "offhour", "default_tz": "utc", "offhour": 24}]`, "is not from 0 to 23"},
		{"a tag with a blank", `"resource": "ec2", "actions": ["stop"], "filters": [{"type": "offhour", "default_tz": "utc", "offhour": 19, "tag": "off hours"}]`, "nightshift cannot read it"},
		{"events", `"resource": "ec2", "mode": {"type": "cloudtrail"}, "actions": ["stop"], "filters": [` + hour + `]`, "mode cloudtrail acts on events"},
		{"a query", `"resource": "ec2", "query": [{"tag:A": "b"}], "actions": ["stop"], "filters": [` + hour + `]`, "its query narrows"},
		{"a region", `"resource": "ec2", "region": "us-east-1", "actions": ["stop"], "filters": [` + hour + `]`, "region narrows"},
		{"no machines", `"resource": "rds", "actions": ["stop"], "filters": [` + hour + `]`, "it is about rds"},
		{"nothing that is done", `"resource": "ec2", "actions": ["notify"], "filters": [` + hour + `]`, "neither starts nor stops"},
		{"marks", `"resource": "ec2", "actions": ["stop"], "filters": [{"type": "marked-for-op", "op": "stop"}]`, "it waits for marks in the tag maid_status"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := migrate.Custodian([]byte(`{"policies": [{"name": "p", `+tt.policy+`}]}`), migrate.Options{File: "x"})
			var nothing *migrate.NothingError
			if !errors.As(err, &nothing) || !slices.ContainsFunc(nothing.Reasons, func(r string) bool { return strings.Contains(r, tt.reason) }) {
				t.Errorf("got %v, want the reason %q", err, tt.reason)
			}
		})
	}
}
