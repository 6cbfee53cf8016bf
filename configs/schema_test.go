package configs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"

	"nightshift/configs"
)

func compiled(t testing.TB, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("s.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("s.json") // against the metaschema that it names
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// value is a document as an editor sees it: YAML 1.2, where only true, false,
// null and numbers are no strings. It is false for what JSON does not have.
func value(n *yaml.Node) (any, bool) {
	switch n.Kind {
	case yaml.DocumentNode:
		return value(n.Content[0])
	case yaml.AliasNode:
		return value(n.Alias)
	case yaml.MappingNode:
		m := make(map[string]any)
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, ok := value(n.Content[i+1])
			if _, dup := m[n.Content[i].Value]; dup || !ok || n.Content[i].Kind != yaml.ScalarNode {
				return nil, false
			}
			m[n.Content[i].Value] = v
		}
		return m, true
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, ok := value(c)
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	}
	switch n.Tag {
	case "!!null":
		return nil, true
	case "!!bool":
		return n.Value == "true", n.Value == "true" || n.Value == "false"
	case "!!int", "!!float":
		f, err := strconv.ParseFloat(n.Value, 64)
		return f, err == nil
	}
	return n.Value, true
}

// unquoted takes the quotes off numbers and booleans, which the reader does not
// mind and the schema does.
func unquoted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = unquoted(v[k])
		}
	case []any:
		for i := range v {
			v[i] = unquoted(v[i])
		}
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil && regexp.MustCompile(`^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$`).MatchString(v) {
			return f
		}
		if v == "true" || v == "false" {
			return v == "true"
		}
	}
	return v
}

// seen validates a text; ok is false when it is no document for an editor.
func seen(s *jsonschema.Schema, text []byte) (err error, ok bool) { //nolint:revive // the verdict comes first
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 {
		return nil, false
	}
	v, ok := value(&doc)
	if !ok {
		return nil, false
	}
	return s.Validate(v), true
}

// checkTaken holds the schema to its promise: it refuses nothing that the reader takes.
func checkTaken(t *testing.T, s *jsonschema.Schema, text []byte) {
	t.Helper()
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 {
		return
	}
	if v, ok := value(&doc); ok {
		if err := s.Validate(unquoted(v)); err != nil {
			t.Errorf("the reader takes what the schema refuses: %v\n%s", err, text)
		}
	}
}

func yamlBlocks(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{"example.yaml": string(configs.Example())}
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, p := range append(paths, "../README.md") {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
			if regexp.MustCompile(`(?m)^version:`).MatchString(m[1]) {
				out[fmt.Sprintf("%s %d", p, i)] = m[1]
			}
		}
	}
	return out
}

func TestTheSchemaTakesEveryGoodFile(t *testing.T) {
	s := compiled(t, configs.Schema())
	files := yamlBlocks(t)
	paths, err := filepath.Glob("../cmd/nightshift/testdata/script/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, p := range paths { // policy files of the scripts, where they are good
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split("\n"+string(text), "\n-- ")[1:] {
			if name, body, _ := strings.Cut(part, " --\n"); strings.HasSuffix(name, ".yaml") {
				if _, err := configs.Parse(name, []byte(body)); err == nil {
					files[p+" "+name] = body
				}
			}
		}
	}
	if len(files) < 6 {
		t.Errorf("only %d files", len(files))
	}
	for name, text := range files {
		if _, err := configs.Parse(name, []byte(text)); err != nil {
			t.Errorf("%s is not good: %v", name, err)
		} else if err, ok := seen(s, []byte(text)); err != nil || !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatAnEditorDoesNotSee compares the faults that the schema does not refuse
// with a list: each needs more than the form of a file.
func TestWhatAnEditorDoesNotSee(t *testing.T) {
	s := compiled(t, configs.Schema())
	paths, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	var unseen strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = configs.Parse(filepath.Base(path), text)
		var faults configs.Faults
		if !errors.As(err, &faults) {
			t.Fatalf("%s: %v", path, err)
		}
		verdict, ok := seen(s, text)
		if !ok {
			continue // no document, or keys that stand twice: every editor says so
		}
		places := make(map[string]bool)
		var invalid *jsonschema.ValidationError
		if errors.As(verdict, &invalid) {
			locate(invalid, places)
		}
		for _, f := range faults {
			if !marked(places, f.Path) {
				fmt.Fprintln(&unseen, strings.SplitN(f.String(), "\n", 2)[0])
			}
		}
	}
	golden(t, "testdata/unseen.txt", []byte(unseen.String()))
}

// locate collects the paths of what a schema refuses, as faults write them.
func locate(e *jsonschema.ValidationError, into map[string]bool) {
	if names, ok := e.ErrorKind.(*kind.PropertyNames); ok { // jsonschema gives no reliable place for it
		into["*."+names.Property] = true
		return
	}
	if len(e.Causes) == 0 {
		var b strings.Builder
		for _, part := range e.InstanceLocation {
			if _, err := strconv.Atoi(part); err == nil {
				b.WriteString("[" + part + "]")
			} else {
				b.WriteString("." + part)
			}
		}
		into[strings.TrimPrefix(b.String(), ".")] = true
	}
	for _, c := range e.Causes {
		locate(c, into)
	}
}

// marked reports whether an editor marks the value at a path, or the mapping that
// the key is in.
func marked(places map[string]bool, path string) bool {
	parent := path[:max(0, strings.LastIndexAny(path, ".["))]
	return places[path] || places[parent] || places["*"+path[len(parent):]]
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with -update and read it", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not up to date: read the difference, and write it with go test ./configs -update\ngot:\n%s", path, got)
	}
}

func TestThePageOfAllOptionsIsFresh(t *testing.T) {
	golden(t, "../docs/reference.md", configs.Reference())
}

func TestTheSchemaOfIncludedFiles(t *testing.T) {
	s := compiled(t, configs.IncludedSchema())
	for text, good := range map[string]bool{
		"scope: { all: [team=a] }\npolicies:\n  - { name: a, select: { all: [x] }, cron: \"@daily\", do: start }\n": true,
		"calendars: { c: { dates: [2026-12-25] } }\n":                                                               true,
		"version: 1\nschedules: { a: { running: [\"9-17\"] } }\n":                                                   false,
		"scope: {}\n":         false,
		"nats: {}\n":          false,
		"regions: [LON1]\n":   false,
		"policies: [ { } ]\n": false,
	} {
		if err, ok := seen(s, []byte(text)); !ok || (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestUnknownKeysAndWrongTypesAreRefused(t *testing.T) {
	s := compiled(t, configs.Schema())
	const file = "version: 1\nregions: [LON1]\npolicies:\n  - { name: a, select: { all: [x] }, %s }\n%s\n"
	for _, tt := range []struct{ policy, rest string }{
		{`cron: "@daily", do: start, sheduel: x`, ""},
		{`cron: "@daily", do: start, when_stopped: hibernate`, ""},
		{`cron: "@daily", do: start, lasts: 5`, ""},
		{`cron: "@daily", do: start, lasts: "1d-5m"`, ""},
		{`cron: "@daily", do: start, priority: high`, ""},
		{`cron: "@daily", do: start, priority: 1001`, ""},
		{`cron: "@daily", do: { reboot: soft, firewall: f }`, ""},
		{`cron: "@daily", do: [ start, { retag: { add: ["a*"] } } ]`, ""},
		{`cron: "@daily"`, ""},
		{`cron: "@every 1h", do: start`, ""},
		{`schedule: s, do: start`, ""},
		{`schedule: { from_tag: "a=b" }`, ""},
		{`schedule: { from_tag: a, settings: { onhour: 8 } }`, ""},
		{`schedule: { running: [] }`, ""},
		{`schedule: { timezone: UTC }`, ""},
		{`schedule: { running: ["08:00-09:00"], timezone: Local }`, ""},
		{`schedule: s, cooldown: 5m`, ""},
		{`schedule: s, enforce: always`, ""},
		{`trigger: { alert: A, load: cpu }, do: start`, ""},
		{`trigger: { load: cpu }, do: start`, ""},
		{`trigger: { signal: s, for: 5m }, do: start`, ""},
		{`trigger: { signal: s }, do: start, spread: 1m`, ""},
		{`trigger: { signal: s }, do: start, pick: { count: 0 }`, ""},
		{`cron: "@daily", do: start`, "civo: { token: abc }"},
		{`cron: "@daily", do: start`, "civo: { api_url: api.civo.com }"},
		{`cron: "@daily", do: start`, "civo: { rate: 2/h }"},
		{`cron: "@daily", do: start`, "workers: 0"},
		{`cron: "@daily", do: start`, "mode: off"},
		{`cron: "@daily", do: start`, "limits: { share: 1.5 }"},
		{`cron: "@daily", do: start`, "allow: [hibernate]"},
		{`cron: "@daily", do: start`, "owners: { keys: [hour] }"},
		{`cron: "@daily", do: start`, "schedules: { Office: { running: [\"08:00-09:00\"] } }"},
		{`cron: "@daily", do: start`, "tests: [ { at: \"2026-12-25 10:00\", want: stopped } ]"},
	} {
		text := fmt.Sprintf(file, tt.policy, tt.rest)
		err, ok := seen(s, []byte(text))
		if !ok || err == nil {
			t.Errorf("not refused: %s %s", tt.policy, tt.rest)
		}
		if _, err := configs.Parse("f", []byte(text)); err == nil {
			t.Errorf("the reader takes it: %s %s", tt.policy, tt.rest)
		}
	}
}
