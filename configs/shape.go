package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A shape is a mapping of the policy file: which keys it may have, and what each
// is. The shapes in reference.go are the one description of the file. The reader
// knows no other keys than theirs, the JSON Schema is made of them, and so is the
// page of all options.
type shape struct {
	name   string // in the schema
	the    string // what faults call it: the policy
	about  string // one sentence or more, in Markdown
	such   string // one that is right, as it is written in a file
	fields []field

	one   []string            // exactly one of these must be there
	some  bool                // at least one key must be there
	needs map[string][]string // what must be there too, where a key is
}

// A field is one key of a shape.
type field struct {
	name     string
	is       kind
	about    string   // in Markdown
	standard string   // the default, as it would be written; empty: none, or about says when which
	clock    clock    // of a duration
	example  string   // a value, as it is written in a file; those of one shape need not go together
	needed   bool     // the shape is not whole without it
	with     []string // it goes with one of these keys only
	variable bool     // of the environment: NIGHTSHIFT_ and the path in upper case

	refused string // the reader knows the key only to say this
	hint    string // and this
}

// clock is which of the two times a duration is in.
type clock string

const (
	planTime    clock = "plan"
	machineTime clock = "machine"
)

// notYet refuses keys that the language has and this version does not.
const notYet = "not in this version"

func later(names ...string) (fields []field) {
	for _, n := range names {
		fields = append(fields, field{name: n, refused: notYet})
	}
	return fields
}

func (s *shape) field(name string) *field {
	if i := slices.IndexFunc(s.fields, func(f field) bool { return f.name == name }); i >= 0 {
		return &s.fields[i]
	}
	return nil
}

// names are those of the keys that a file may have.
func (s *shape) names() (names []string) {
	for _, f := range s.fields {
		if f.refused == "" {
			names = append(names, f.name)
		}
	}
	return names
}

// node is a part of a JSON Schema.
type node map[string]any

// A kind is what a value may be.
type kind struct {
	words  string   // for people: "a list of globs"
	schema node     // for editors
	inside []inside // mappings in it
}

// inside is a shape in a kind, and what leads to it: "", "[]", ".<name>".
type inside struct {
	by    string
	shape *shape
}

// scalar is what the reader takes as a text: a tag may be a number, and stays as
// it is written.
func scalar() node { return node{"type": []string{"string", "number", "boolean"}} }

// text is any text, or one of a form. Numbers and booleans have no form: an editor
// sees their value, not how they are written.
func text(words, form string) kind {
	n := scalar()
	if form != "" {
		n["pattern"] = form
	}
	return kind{words: words, schema: n}
}

// bounds are the least and the most of a whole number.
type bounds struct{ least, most int }

func whole(b bounds) kind {
	words := fmt.Sprintf("a whole number, %d to %d", b.least, b.most)
	if b.most >= many {
		words = fmt.Sprintf("a whole number from %d", b.least)
	}
	return kind{words: words, schema: node{"type": "integer", "minimum": b.least, "maximum": b.most}}
}

func number() kind { return kind{words: "a number", schema: node{"type": "number"}} }

func truth() kind { return kind{words: "`true` or `false`", schema: node{"type": "boolean"}} }

func duration() kind {
	return kind{words: "a duration", schema: node{"type": "string", "pattern": durationForm.String()}}
}

// span is a duration that may be 0.
func span() kind {
	return kind{words: "a duration, or 0", schema: node{"type": []string{"string", "integer"}, "pattern": durationForm.String() + "|^0$", "minimum": 0, "maximum": 0}}
}

func oneOf(values ...any) kind {
	var words []string
	for _, v := range values {
		words = append(words, fmt.Sprintf("`%v`", v))
	}
	return kind{words: "one of " + strings.Join(words, ", "), schema: node{"enum": values}}
}

func list(of kind) kind {
	k := kind{words: "a list, each " + of.words, schema: node{"type": "array", "items": of.schema, "minItems": 1}}
	for _, in := range of.inside {
		k.inside = append(k.inside, inside{"[]" + in.by, in.shape})
	}
	return k
}

func a(s *shape) kind {
	return kind{words: fmt.Sprintf("a mapping ([%s](#%s))", strings.ReplaceAll(s.name, "-", " "), s.name), schema: node{"$ref": "#/$defs/" + s.name}, inside: []inside{{"", s}}}
}

// byName is a mapping from names that the file gives to values.
func byName(of kind) kind {
	k := kind{words: "names, each " + of.words, schema: node{"type": "object", "propertyNames": node{"pattern": nameForm.String()}, "additionalProperties": of.schema}}
	for _, in := range of.inside {
		k.inside = append(k.inside, inside{".<name>" + in.by, in.shape})
	}
	return k
}

// byType is a kind for a mapping, one for a list, and one for a scalar; a nil
// schema says that there is none.
func byType(words string, mapping, sequence, plain kind) kind {
	k := kind{words: words, schema: plain.schema, inside: slices.Concat(mapping.inside, sequence.inside)}
	if sequence.schema != nil {
		k.schema = node{"if": node{"type": "array"}, "then": sequence.schema, "else": k.schema}
	}
	k.schema = node{"if": node{"type": "object"}, "then": mapping.schema, "else": k.schema}
	return k
}

func listed[T ~string](values []T) string {
	var words []string
	for _, v := range values {
		words = append(words, string(v))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func count(n int) string { return strconv.Itoa(n) }
