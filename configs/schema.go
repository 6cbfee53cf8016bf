package configs

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Schema is a JSON Schema (draft 2020-12) of the policy file, for editors. It
// refuses nothing that the reader takes, except numbers and booleans in quotes. It
// cannot see everything that the reader refuses: whether a name exists,
// whether a cron spec fires (testdata/unseen.txt has examples).
func Schema() []byte { return schemaOf(&topShape) }

// IncludedSchema is the same for files that include names.
func IncludedSchema() []byte { return schemaOf(&includedShape) }

func schemaOf(s *shape) []byte {
	root := s.schema()
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Nightshift: " + strings.ReplaceAll(s.name, "-", " ")
	defs := make(map[string]node)
	s.walk(func(_ string, in *shape) {
		if in != s {
			defs[in.name] = in.schema()
		}
	})
	root["$defs"] = defs
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		panic(err) // the table holds plain values
	}
	return text.Bytes()
}

// walk visits a shape and all in it, in the order of the page, each path once.
func (s *shape) walk(visit func(path string, in *shape)) { s.walkFrom("", visit) }

func (s *shape) walkFrom(path string, visit func(string, *shape)) {
	visit(path, s)
	for _, f := range s.fields {
		for _, in := range f.is.inside {
			in.shape.walkFrom(join(path, f.name)+in.by, visit)
		}
	}
}

func (s *shape) schema() node {
	properties := make(map[string]node)
	var needed []string
	for i := range s.fields {
		if f := &s.fields[i]; f.refused == "" {
			properties[f.name] = f.schema()
			if f.needed {
				needed = append(needed, f.name)
			}
		}
	}
	n := node{"type": "object", "description": plain(s.about), "properties": properties, "additionalProperties": false}
	if len(needed) > 0 {
		n["required"] = needed
	}
	if s.some {
		n["minProperties"] = 1
	}
	if len(s.one) > 0 {
		n["oneOf"] = present(s.one)
	}
	n.depend(s)
	switch s { // what one key of two must be there
	case &topShape:
		n["anyOf"] = present([]string{"policies", "include"})
	case &scheduleShape:
		n["anyOf"] = present([]string{"running", "stopped"})
	}
	return n
}

// depend says which keys go together.
func (n node) depend(s *shape) {
	required, schemas := maps.Clone(s.needs), make(map[string]node)
	if required == nil {
		required = make(map[string][]string)
	}
	for _, f := range s.fields {
		switch len(f.with) {
		case 0:
		case 1:
			required[f.name] = append(slices.Clone(required[f.name]), f.with...)
		default:
			schemas[f.name] = node{"anyOf": present(f.with)}
		}
	}
	if len(required) > 0 {
		n["dependentRequired"] = required
	}
	if len(schemas) > 0 {
		n["dependentSchemas"] = schemas
	}
}

func present(names []string) (nodes []node) {
	for _, name := range names {
		nodes = append(nodes, node{"required": []string{name}})
	}
	return nodes
}

func (f *field) schema() node {
	n := maps.Clone(f.is.schema)
	about := plain(f.about)
	if f.clock != "" {
		about += " In " + string(f.clock) + " time."
	}
	if f.standard != "" {
		about += " Default: " + f.standard + "."
	}
	n["description"] = about
	return n
}

var inCode = regexp.MustCompile("`([^`]*)`")

// plain is Markdown for readers that show it as it is.
func plain(s string) string { return inCode.ReplaceAllString(s, "$1") }
