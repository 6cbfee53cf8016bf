package configs

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
)

// everything is a policy file with every shape of the language in it.
const everything = `version: 1
regions: [LON1]
include: [more.yaml]
schedules: { office: { running: ["08:00-19:00"] } }
calendars: { closed: { dates: [2026-12-25] } }
policies:
  - { name: a, select: { all: [x] }, schedule: office, except: [ { calendar: closed, use: never } ], warn: { before: 15m, to: [pager] } }
  - { name: b, select: { all: [x] }, schedule: { from_tag: hours } }
  - { name: c, select: { all: [x] }, trigger: { signal: s }, do: [ { start: {} }, { retag: { add: [t] } } ], at_most: { instances: 1, within: 1h }, pick: { count: 1 } }
protect: { all: [protected] }
limits: { per_run: 1 }
order: [ { name: o, stages: [ { select: { all: [x] }, ready: { tcp: 1 } }, { select: { all: [y] } } ] } ]
pace: { at_once: 1 }
floors: [ { select: { all: [x] }, running: 1 } ]
owners: { keys: [keep] }
tests: [ { instance: { name: x }, at: 2026-12-25, want: any } ]
nats: { replicas: 1, tls: { ca: x } }
civo: { rate: 5 }
verify: { within: 1m }
http: { listen: none, url: "https://n.test" }
webhooks: { ci: { form: json, policies: [c], map: { signal: body.event } } }
notify: { pager: { webhook_file: /x }, chat: { webhook_env: CHAT, form: slack, about: [held] } }
`

// TestTheReaderAndTheTableKnowTheSameKeys reads every mapping that the language
// has, and compares the keys that it reads with those of the table.
func TestTheReaderAndTheTableKnowTheSameKeys(t *testing.T) {
	read := make(map[*shape]bool)
	r := newReader("f", func(string) ([]byte, error) { return []byte("scope: { all: [x] }\n"), nil }, func(p string) ([]string, error) { return []string{p}, nil })
	r.audit = func(s *shape, k keys) {
		read[s] = true
		for _, name := range s.names() {
			if _, ok := k[name]; !ok {
				t.Errorf("%s: nothing reads %s", s.name, name)
			}
		}
		for name := range k {
			if f := s.field(name); f == nil || f.refused != "" {
				t.Errorf("%s: the table does not have %s", s.name, name)
			}
		}
	}
	if _, err := r.config([]byte(everything)); err != nil {
		t.Fatal(err)
	}
	for _, top := range []*shape{&topShape, &includedShape} {
		top.walk(func(path string, s *shape) {
			if !read[s] {
				t.Errorf("%s (%s) is read by nothing", path, s.name)
			}
		})
	}
}

// TestEveryKeyIsDescribed holds the table to what the page promises.
func TestEveryKeyIsDescribed(t *testing.T) {
	shapes := make(map[string]*shape)
	for _, top := range []*shape{&topShape, &includedShape} {
		top.walk(func(path string, s *shape) {
			if old := shapes[s.name]; old != nil && old != s {
				t.Errorf("two shapes are called %s", s.name)
			}
			shapes[s.name] = s
		})
	}
	for _, s := range shapes {
		for _, f := range s.fields {
			if f.refused != "" {
				continue
			}
			if f.about == "" || f.example == "" || f.is.words == "" || f.is.schema == nil {
				t.Errorf("%s.%s lacks words, an example or a schema", s.name, f.name)
			}
			if spans := strings.Contains(f.is.words, "duration"); spans != (f.clock != "") {
				t.Errorf("%s.%s: a duration is in plan or machine time, nothing else is", s.name, f.name)
			}
			for _, with := range f.with {
				if s.field(with) == nil {
					t.Errorf("%s.%s goes with %s, which is not there", s.name, f.name, with)
				}
			}
		}
	}
}

// TestExamplesOfTheTableAreRead puts the example of every key into a file, and
// its default, too.
func TestExamplesOfTheTableAreRead(t *testing.T) {
	for _, f := range topShape.fields {
		examples(t, "", f, func(text string) string { return text })
	}
	cause := map[string]string{"do": "cron: \"@daily\"", "cron": "do: start", "lasts": "cron: \"@daily\", do: start", "spread": "cron: \"@daily\", do: start", "pick": "trigger: { signal: s }, do: start", "at_most": "trigger: { signal: s }, do: start", "cooldown": "trigger: { signal: s }, do: start", "trigger": "do: start", "schedule": ""}
	inPolicy := func(cause string) func(string) string {
		return func(text string) string {
			if cause != "" {
				text += ", " + cause
			}
			return "policies: [ { name: p, select: { all: [x] }, " + text + " } ]"
		}
	}
	for _, f := range policyShape.fields {
		switch c, ok := cause[f.name]; {
		case ok:
			examples(t, "", f, inPolicy(c))
		case f.name == "name":
			examples(t, "", f, func(text string) string {
				return "policies: [ { select: { all: [x] }, schedule: office, " + text + " } ]"
			})
		case f.name == "select":
			examples(t, "", f, func(text string) string { return "policies: [ { name: p, schedule: office, " + text + " } ]" })
		default:
			examples(t, "", f, inPolicy("schedule: office"))
		}
	}
	for _, f := range triggerShape.fields {
		with := map[string]string{"alert": "", "load": "above: 85", "signal": "", "above": "load: cpu", "clear_below": "load: cpu, above: 85", "labels": "alert: A", "matchers": "alert: A", "for": "alert: A"}[f.name]
		examples(t, "", f, func(text string) string {
			return inPolicy("do: start")("trigger: { " + strings.TrimSuffix(text+", "+with, ", ") + " }")
		})
	}
	for _, f := range stepShape.fields {
		with := ""
		if f.name == "after" || f.name == "if" {
			with = ", reboot: hard"
		}
		examples(t, "", f, func(text string) string { return inPolicy("trigger: { alert: A }")("do: [ { " + text + with + " } ]") })
	}
	for s, wrap := range map[*shape]string{
		&orderShape: "order: [ { KEY } ]", &stageShape: "order: [ { name: o, stages: [ { KEY }, { select: { all: [y] } } ] } ]",
		&readyShape: "order: [ { name: o, stages: [ { select: { all: [x] }, ready: { KEY } }, { select: { all: [y] } } ] } ]",
	} {
		with := map[string]string{"per": "name: o, stages: [ { select: { all: [x] } }, { select: { all: [y] } } ]", "name": "stages: [ { select: { all: [x] } }, { select: { all: [y] } } ]",
			"stages": "name: o", "ready": "select: { all: [x] }", "deadline": "select: { all: [x] }", "address": "tcp: 1"}
		for _, f := range s.fields {
			examples(t, s.name, f, func(text string) string {
				return strings.Replace(wrap, "KEY", strings.TrimSuffix(text+", "+with[f.name], ", "), 1)
			})
		}
	}
	webhook := map[string]string{"form": "policies: [web-down]", "policies": "form: json", "signature": "form: json, policies: [web-down], secret_env: S", "instance_label": "form: alertmanager, policies: [web-down]", "region_label": "form: alertmanager, policies: [web-down]"}
	for _, f := range webhookShape.fields {
		with := cmp.Or(webhook[f.name], "form: json, policies: [web-down]")
		examples(t, "webhook", f, func(text string) string { return "webhooks: { w: { " + text + ", " + with + " } }" })
	}
	for _, f := range mapShape.fields {
		with := map[string]string{"alert": "", "signal": "", "load": ", value: '1'", "value": ", load: '\"cpu\"'"}
		more, ok := with[f.name]
		if !ok {
			more = ", signal: '\"x\"'"
		}
		examples(t, "map", f, func(text string) string {
			return "webhooks: { w: { form: json, policies: [web-down], map: { " + text + more + " } } }"
		})
	}
	for s, wrap := range map[*shape]string{
		&httpShape: "http: { KEY }", &scheduleShape: "schedules: { s: { running: [\"06:00-07:00\"], KEY } }", &fromTagShape: "policies: [ { name: p, select: { all: [x] }, schedule: { from_tag: hours, grammar: c7n-offhours, KEY } } ]",
		&calendarShape: "calendars: { k: { KEY } }", &selectorShape: "protect: { KEY }", &limitsShape: "limits: { KEY }", &ownersShape: "owners: { KEY }",
		&natsShape: "nats: { KEY }", &civoShape: "civo: { KEY }", &verifyShape: "verify: { KEY }", &targetShape: "notify: { pager: { webhook_env: X, KEY } }",
		&testInstanceShape: "tests: [ { at: 2026-12-25, want: any, instance: { KEY } } ]",
		&paceShape:         "pace: { KEY }",
		&retagShape:        "policies: [ { name: p, select: { all: [x] }, cron: \"@daily\", do: { retag: { KEY } } } ]",
	} {
		for _, f := range s.fields {
			examples(t, s.name, f, func(text string) string {
				for _, own := range []string{"running: [\"06:00-07:00\"], ", "from_tag: hours, ", "grammar: c7n-offhours, "} {
					if strings.HasPrefix(text, own[:strings.Index(own, ":")+1]) {
						return strings.Replace(strings.Replace(wrap, own, "", 1), "KEY", text, 1)
					}
				}
				if strings.HasPrefix(text, "webhook") { // one of the three
					return strings.Replace(strings.Replace(wrap, "webhook_env: X, ", "", 1), "KEY", text, 1)
				}
				return strings.Replace(wrap, "KEY", text, 1)
			})
		}
	}
}

func examples(t *testing.T, where string, f field, in func(string) string) {
	t.Helper()
	for _, value := range []string{f.example, f.standard} {
		if value == "" || f.refused != "" {
			continue
		}
		text := in(f.name + ": " + value)
		for _, more := range []string{
			"version: 1", "regions: [LON1]", "schedules: { office: { running: [\"Mon-Fri 08:00-19:00\"] } }", "calendars: { holidays: { dates: [2026-12-25] } }",
			"allow: [start, stop, reboot, retag, firewall, resize]", "owners: { keys: [hours] }", "notify: { team-chat: { webhook_env: A }, oncall: { webhook_file: b } }",
			"policies: [ { name: dev, select: { all: [x] }, cron: \"@daily\", do: start }, { name: web-down, select: { all: [x] }, trigger: { alert: A }, do: start } ]",
		} {
			if !regexp.MustCompile(`(?m)^` + more[:strings.Index(more, ":")+1]).MatchString(text) {
				text += "\n" + more
			}
		}
		r := newReader("f", func(name string) ([]byte, error) {
			if strings.HasSuffix(name, ".ics") {
				return []byte("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:1\nDTSTART;VALUE=DATE:20261225\nEND:VEVENT\nEND:VCALENDAR\n"), nil
			}
			return []byte("version: 1\n"), nil
		}, func(p string) ([]string, error) { return []string{p}, nil })
		if _, err := r.config([]byte(text)); err != nil {
			t.Errorf("%s %s: %s: %v\n%s", where, f.name, value, err, text)
		}
	}
}

// TestVariablesAreThoseOfTheTable compares the variables of the environment with
// the keys that say that they have one.
func TestVariablesAreThoseOfTheTable(t *testing.T) {
	var told []string
	topShape.walk(func(path string, s *shape) {
		for _, f := range s.fields {
			if f.variable {
				told = append(told, variable(join(path, f.name)))
				if want := variable(s.variablePath(f.name)); want != told[len(told)-1] {
					t.Errorf("the page says %s, the path is %s", want, told[len(told)-1])
				}
			}
		}
	})
	known := keysOf(defaults().variables())
	slices.Sort(told)
	if fmt.Sprint(told) != fmt.Sprint(known) {
		t.Errorf("the table has %v\nthe reader has %v", told, known)
	}
}

func TestDefaultsAreWrittenAsPeopleWriteThem(t *testing.T) {
	for d, want := range map[time.Duration]string{30 * time.Second: "30s", 10 * time.Minute: "10m", time.Hour: "1h", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 100 * time.Hour: "100h", 61 * time.Second: "1m1s"} {
		if got := policies.SpanWords(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestDefaultsOfTheTableAreThoseOfTheReader reads a file without settings, and compares
// what it yields with the table.
func TestDefaultsOfTheTableAreThoseOfTheReader(t *testing.T) {
	text, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	bare := regexp.MustCompile(`(?m)^(allow|limits|mode|timezone):.*\n`).ReplaceAllString(string(text), "")
	bare = strings.ReplaceAll(bare, "do: { resize: [g3.small, g3.medium, g3.large] }", "do: { reboot: soft }")
	var lines []string
	for _, top := range []string{"timezone", "mode", "allow", "data_dir", "workers"} {
		lines = append(lines, top+": "+topShape.field(top).standard)
	}
	for _, s := range []*shape{&natsShape, &civoShape, &verifyShape, &limitsShape} {
		var in []string
		for _, f := range s.fields {
			if f.standard != "" {
				in = append(in, fmt.Sprintf("%s: %q", f.name, f.standard))
			}
		}
		lines = append(lines, s.name+": { "+strings.Join(in, ", ")+" }")
	}
	without, err := Parse("f", []byte(bare))
	if err != nil {
		t.Fatal(err)
	}
	with, err := Parse("f", []byte(bare+strings.Join(lines, "\n")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, want := fmt.Sprintf("%+v %+v %+v %s %d", without.NATS, without.Civo, without.Verify, without.DataDir, without.Workers), fmt.Sprintf("%+v %+v %+v %s %d", with.NATS, with.Civo, with.Verify, with.DataDir, with.Workers)
	got += fmt.Sprint(without.Policies.Mode, without.Policies.Allow, without.Policies.Limits, without.Policies.Zone)
	want += fmt.Sprint(with.Policies.Mode, with.Policies.Allow, with.Policies.Limits, with.Policies.Zone)
	if got != want {
		t.Errorf("without any setting: %s\nwith the defaults written out: %s", got, want)
	}
	dev, web := policyShape.field("respect_stop").standard, policyShape.field("cooldown").standard
	for i, p := range without.Policies.Policies {
		if p.IsLevel() && policies.SpanWords(p.RespectStop) != dev {
			t.Errorf("policy %s respects a stop for %s, the table says %s", p.Name, p.RespectStop, dev)
		}
		if p.Signal != nil && i == 6 && policies.SpanWords(p.Cooldown) != web {
			t.Errorf("policy %s cools down for %s, the table says %s", p.Name, p.Cooldown, web)
		}
	}
}
