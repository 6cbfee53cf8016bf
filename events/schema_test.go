package events

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write schemas/*.json anew; what is published may gain fields, and lose none")

// generate derives the schemas from the types that are written and read. Fields
// that are not in them are allowed: newer versions have more.
func generate(t *testing.T) map[string]*jsonschema.Schema {
	t.Helper()
	var words, types []any
	for _, o := range Outcomes() {
		words, types = append(words, string(o)), append(types, typePrefix+string(o))
	}
	options := &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[time.Time](): {Type: "string", Format: "date-time"},
		reflect.TypeFor[Outcome]():   {Type: "string", Enum: words},
		reflect.TypeFor[[]byte]():    {Type: "string", ContentEncoding: "base64"},
	}}
	event := schemaOf[cloudEvent](t, options, "event", "An event of Nightshift", "A message of NS_EVT, on nightshift.v1.evt.<region>.<instance>.<action>.<outcome>.<action id>: CloudEvents 1.0 in structured mode.")
	event.Properties["specversion"].Enum = []any{specVersion}
	event.Properties["type"].Enum = types
	event.Properties["data"] = &jsonschema.Schema{Ref: RecordSchema}
	return map[string]*jsonschema.Schema{
		"event":       event,
		"record":      schemaOf[Record](t, options, "record", "What an event of Nightshift says", "How an action ended, or what happened on the way. Fields may be added; none is taken away or changes its type within v1."),
		"command":     schemaOf[Command](t, options, "command", "A request to act on one instance", "Body of nightshift.v1.cmd.<who>.<region>.<instance>.<action>; it may be empty. A field that is not known is refused."),
		"signal":      schemaOf[Signal](t, options, "signal", "Something that happened to one instance", "Body of nightshift.v1.sig.<source>.<region>.<instance>, data of a CloudEvent there, or element of a batch."),
		"dead-letter": schemaOf[DeadLetter](t, options, "dead-letter", "A message that could not be read", "Body of nightshift.v1.dlq.<stream>.<sequence>."),
	}
}

func schemaOf[T any](t *testing.T, options *jsonschema.ForOptions, name, title, about string) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.For[T](options)
	if err != nil {
		t.Fatal(err)
	}
	s.Schema, s.ID, s.Title, s.Description = "https://json-schema.org/draft/2020-12/schema", "urn:nightshift:v1:"+name, title, about
	if name != "command" {
		s.AdditionalProperties = nil
	}
	for field, p := range s.Properties { // each field has a schema of its own, to be described
		c := *p
		if slices.Contains(c.Types, "null") { // what is empty is left out, never null
			c.Types = slices.DeleteFunc(slices.Clone(c.Types), func(k string) bool { return k == "null" })
			if len(c.Types) == 1 {
				c.Type, c.Types = c.Types[0], nil
			}
		}
		s.Properties[field] = &c
	}
	return s
}

func TestPublishedFieldsNeverDisappearOrChangeTheirType(t *testing.T) {
	for name, s := range generate(t) {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false) // <region> reads better
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		text := out.Bytes()
		path := filepath.Join("schemas", name+".json")
		golden, err := os.ReadFile(path)
		if err != nil && !*update {
			t.Fatalf("%v; write it with go test ./events -run %s -update", err, t.Name())
		}
		if err == nil {
			wantAllFields(t, name, golden, s)
		}
		if bytes.Equal(text, golden) {
			continue
		}
		if !*update || t.Failed() {
			t.Errorf("%s is not what the type says; if fields were only added: go test ./events -run %s -update", path, t.Name())
			continue
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// wantAllFields compares with what was published: -update cannot get round it.
func wantAllFields(t *testing.T, name string, golden []byte, now *jsonschema.Schema) {
	t.Helper()
	var was jsonschema.Schema
	if err := json.Unmarshal(golden, &was); err != nil {
		t.Fatal(err)
	}
	for field, p := range was.Properties {
		q := now.Properties[field]
		switch {
		case q == nil:
			t.Errorf("%s: the field %s is published, and is gone", name, field)
		case kindOf(q) != kindOf(p) || q.Format != p.Format:
			t.Errorf("%s: the field %s is published as %s %s, and is %s %s now", name, field, kindOf(p), p.Format, kindOf(q), q.Format)
		default:
			for _, value := range p.Enum {
				if !slices.Contains(q.Enum, value) {
					t.Errorf("%s: %s may be %v as published, and no more", name, field, value)
				}
			}
		}
	}
	for _, field := range was.Required { // readers count on it
		if isRead := name == "command" || name == "signal"; !isRead && !slices.Contains(now.Required, field) {
			t.Errorf("%s: the field %s is always there as published, and no more", name, field)
		}
	}
	for _, field := range now.Required { // writers do not know of it
		if isRead := name == "command" || name == "signal"; isRead && !slices.Contains(was.Required, field) {
			t.Errorf("%s: the field %s has become required", name, field)
		}
	}
}

func kindOf(s *jsonschema.Schema) string {
	types := slices.Clone(s.Types)
	slices.Sort(types)
	return cmp.Or(s.Ref, s.Type, jsonText(types))
}

func jsonText(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// check validates a document against a schema as it is kept.
func check(t *testing.T, name string, document []byte) error {
	t.Helper()
	c := validator.NewCompiler()
	for _, n := range SchemaNames() {
		text, err := Schema(n)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := validator.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("urn:nightshift:v1:"+n, doc); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("urn:nightshift:v1:" + name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestEventsAreAsTheirSchemaSays(t *testing.T) {
	now := time.Date(2026, 11, 27, 19, 0, 2, 0, time.UTC)
	for _, o := range Outcomes() {
		for _, rec := range []Record{
			{ActionID: "a", Action: "stop", Outcome: o, Trigger: "t1", Region: "lon1", Instance: "i-1"},
			{
				ActionID: "a", Action: "stop", Outcome: o, Reason: "already", Detail: "d", Error: "e", Trigger: "t1", Who: "oncall", Policy: "p", Revision: "0a1b", Why: "w",
				Region: "lon1", Instance: "i-1", Hostname: "dev-1", Planned: now, Lateness: "2s", Before: "ACTIVE", After: "SHUTOFF", Attempt: 2, Deadline: now, RunSeq: 7, Trace: someTrace,
			},
		} {
			_, body, err := encodeEvent(rec, "nightshift", now)
			if err != nil {
				t.Fatal(err)
			}
			if err := check(t, "event", body); err != nil {
				t.Errorf("%s: %v", body, err)
			}
			back, err := decodeEvent(body)
			if err != nil || back != rec {
				t.Errorf("%+v came back as %+v, %v", rec, back, err)
			}
		}
	}
	if check(t, "event", []byte(`{"specversion":"1.0","id":"a","source":"s","type":"nightshift.v1.done","time":"2026-11-27T19:00:02Z","datacontenttype":"application/json","data":{"action_id":"a","action":"stop","outcome":"perhaps","trigger":"t","region":"lon1","instance":"i"}}`)) == nil {
		t.Error("the schema lets an outcome pass that there is not")
	}
	if check(t, "command", []byte(`{"dryrun":true}`)) == nil || check(t, "command", []byte(`{"dry_run":true,"add":["a"]}`)) != nil {
		t.Error("the schema of commands is not as they are read")
	}
	if err := check(t, "signal", []byte(`{"alert":"A","labels":{"a":"b"},"startsAt":"2026-11-27T18:04:00Z","value":1.5,"annotations":{}}`)); err != nil {
		t.Error(err)
	}
	all, err := Schemas()
	if err != nil || !json.Valid(all) {
		t.Error(err)
	}
}

const someTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// oldEvent is an event as the first version stored it.
const oldEvent = `{"specversion":"1.0","id":"a1.done","source":"nightshift","type":"nightshift.v1.done","subject":"lon1/i-1","time":"2026-03-04T19:00:30Z","datacontenttype":"application/json","data":{"action_id":"a1","action":"stop","outcome":"done","trigger":"t1","region":"lon1","instance":"i-1","hostname":"dev-1","planned":"2026-03-04T19:00:00Z","lateness":"30s","before":"ACTIVE","after":"SHUTOFF","run":3}}`

func TestAnEventOfTheFirstVersionIsRead(t *testing.T) {
	rec, err := decodeEvent([]byte(oldEvent))
	if err != nil || rec.Outcome != Done || rec.RunSeq != 3 || rec.Revision != "" || rec.Trace != "" {
		t.Errorf("%+v %v", rec, err)
	}
	if err := check(t, "event", []byte(oldEvent)); err != nil {
		t.Error(err)
	}
}

func TestTheExampleOfThePageIsAnEvent(t *testing.T) {
	page, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(page, []byte("```json\n"))
	example, _, _ := bytes.Cut(rest, []byte("```"))
	if err := check(t, "event", example); err != nil {
		t.Error(err)
	}
	for field := range generate(t)["record"].Properties {
		if !bytes.Contains(page, []byte("`"+field+"`")) {
			t.Errorf("the page does not tell of the field %s", field)
		}
	}
	for _, o := range Outcomes() {
		if !bytes.Contains(page, []byte("| `"+string(o)+"` |")) {
			t.Errorf("the page does not tell of the outcome or note %s", o)
		}
	}
}
