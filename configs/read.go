package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// maxFile bounds a policy file.
const maxFile = 1 << 20

// reader walks the nodes of one file and collects faults.
type reader struct {
	file   string
	faults Faults
	cfg    *Config

	zone      *time.Location
	schedules map[string]namedSchedule
	calendars map[string]namedCalendar
	named     map[string]place   // policies by name
	former    []former           // names that policies had
	scope     *policies.Selector // of the included file that is being read
	includes  []include

	files func(name string) ([]byte, error)
	glob  func(pattern string) ([]string, error)
	read  []byte // texts of all files beside the first: they make the revision, too

	audit func(*shape, keys) // is told of every mapping and of what reads it; for a test
}

type place struct {
	file string
	line int
}

// in says where that is, for a fault in a file.
func (p place) in(file string) string {
	if p.file == file {
		return fmt.Sprintf("in line %d", p.line)
	}
	return fmt.Sprintf("in line %d of %s", p.line, p.file)
}

type namedSchedule struct {
	weekly *schedule.Weekly
	place
}

// keys say how each key of a shape is read. A nil one is read elsewhere, before or
// after the others.
type keys map[string]func(n *yaml.Node, path string)

func (r *reader) fault(n *yaml.Node, path, hint, format string, args ...any) {
	r.faults = append(r.faults, Fault{File: r.file, Line: max(1, n.Line), Col: max(1, n.Column), Path: path, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// document reads the text into one tree.
func (r *reader) document(data []byte) *yaml.Node {
	top := &yaml.Node{Line: 1, Column: 1}
	switch {
	case len(data) > maxFile:
		r.fault(top, "", "", "the file is larger than %d bytes", maxFile)
		return nil
	case !utf8.Valid(data):
		r.fault(top, "", "save it as UTF-8", "the file is not UTF-8")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		r.fault(top, "", "begin with: version: 1", "the file is empty")
		return nil
	}
	if err == nil {
		if err = dec.Decode(&more); errors.Is(err, io.EOF) {
			return doc.Content[0]
		} else if err == nil {
			r.fault(&more, "", "one file holds one document", "a second document begins here")
			return nil
		}
	}
	line, msg := yamlError(err)
	line, hint := yamlHint(string(data), line, msg)
	r.fault(&yaml.Node{Line: line, Column: 1}, "", hint, "not YAML: %s", msg)
	return nil
}

var noBlank = regexp.MustCompile(`^\s*(- )?[A-Za-z_-]+:[^\s/]`)

// yamlHint says what is likely meant where a file is no YAML. The parser names the
// line where it gave up or where the block began; the tab is looked for.
func yamlHint(text string, line int, msg string) (int, string) {
	lines := strings.Split(text, "\n")
	given := ""
	if line <= len(lines) {
		given = lines[line-1]
	}
	switch {
	case strings.Contains(msg, "tab character"):
		for n := line; n <= len(lines); n++ {
			if blank := strings.TrimLeft(lines[n-1], " "); strings.HasPrefix(blank, "\t") {
				return n, "indent with blanks, not with tabs"
			}
		}
		return line, "indent with blanks, not with tabs"
	case strings.Contains(msg, "cannot start any token"):
		return line, "indent with blanks, not with tabs; quote a value that begins with @, % or `"
	case strings.Contains(msg, "expected ':'") && noBlank.MatchString(given):
		return line, "a blank belongs after the colon: key: value"
	case strings.Contains(msg, "mapping values are not allowed"), strings.Contains(msg, "expected '-'"), strings.Contains(msg, "expected key"):
		return line, "look at the indentation, in the lines below, too: the keys of one mapping stand below each other, each item of a list begins with -"
	case strings.Contains(msg, "unexpected end of stream"):
		return line, "what is opened in this line or below, a quote or a bracket, is not closed"
	case strings.Contains(msg, "expected ',' or"):
		return line, "a list [a, b] or mapping { key: value } is not closed, or lacks a comma, in this line or below"
	}
	return line, ""
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func yamlError(err error) (line int, msg string) {
	m := yamlLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if m == nil {
		return 1, err.Error()
	}
	line, _ = strconv.Atoi(m[1])
	return max(1, line), m[2]
}

// mapping reads the keys of a mapping, and returns those that it has; nil: it is
// no mapping. Every fault of a key is found; none keeps the others from being read.
func (r *reader) mapping(n *yaml.Node, path string, s *shape, read keys) map[string]*yaml.Node {
	if r.audit != nil {
		r.audit(s, read)
	}
	n = deref(n)
	if n.Kind != yaml.MappingNode {
		hint := "write it as key: value"
		if s == &selectorShape && n.Kind == yaml.ScalarNode && n.Value != "" {
			hint = "write it as { all: [" + n.Value + "] }"
		}
		r.fault(n, path, hint, "%s is not a mapping", describeNode(n))
		return nil
	}
	seen, lines := make(map[string]*yaml.Node), make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		name := deref(kn).Value
		sub := join(path, name)
		if kn.Tag == "!!merge" {
			r.fault(kn, path, "write the keys out", "merge keys (<<) are not read")
			continue
		}
		if line, dup := lines[name]; dup {
			r.fault(kn, sub, "", "the key stands twice, first in line %d", line)
			continue
		}
		seen[name], lines[name] = vn, kn.Line
		f := s.field(name)
		switch {
		case f == nil:
			r.unknownKey(kn, sub, s, name)
		case f.refused != "":
			at := kn
			if f.hint != "" { // the value is what is wrong
				at = vn
			}
			r.fault(at, sub, f.hint, "%s", f.refused)
		case read[name] != nil:
			read[name](vn, sub)
		}
	}
	return seen
}

func (r *reader) unknownKey(kn *yaml.Node, path string, s *shape, name string) {
	hint := "known are: " + strings.Join(slices.Sorted(slices.Values(s.names())), ", ")
	var all []string
	for _, f := range s.fields {
		all = append(all, f.name)
	}
	switch near := nearest(name, all); {
	case s == &includedShape && topShape.field(name) != nil:
		hint = "it stands in the first file only; an included one has: " + strings.Join(slices.Sorted(slices.Values(s.names())), ", ")
	case s == &topShape && includedShape.field(name) != nil:
		hint = "it stands in included files only"
	case s.field("running") != nil && (name == "on" || name == "off"):
		hint = "did you mean " + map[string]string{"on": "running", "off": "stopped"}[name] + "?"
	case near != "":
		hint = "did you mean " + near + "?"
	}
	r.fault(kn, path, hint, "unknown key %q", name)
}

// misses finds what a mapping lacks that its shape needs.
func (r *reader) misses(n *yaml.Node, path string, s *shape, seen map[string]*yaml.Node) {
	if seen == nil {
		return
	}
	hint := ""
	if s.such != "" {
		hint = "such as " + s.such
	}
	for _, f := range s.fields {
		if f.needed && seen[f.name] == nil {
			r.fault(n, path, hint, "%s has no %s", s.the, f.name)
		}
	}
	if s.some && len(seen) == 0 {
		r.fault(n, path, hint, "%s has no key", s.the)
	}
	if len(s.one) > 0 && len(s.given(s.one, seen)) != 1 {
		most := len(s.one) - 1
		r.fault(n, path, hint, "%s has exactly one of %s and %s", s.the, strings.Join(s.one[:most], ", "), s.one[most])
	}
}

// strays finds keys that do not go with the others.
func (r *reader) strays(path string, s *shape, seen map[string]*yaml.Node) {
	for _, f := range s.fields {
		if len(f.with) > 0 && seen[f.name] != nil && len(s.given(f.with, seen)) == 0 {
			r.fault(seen[f.name], join(path, f.name), f.hint, "%s goes with %s only", f.name, strings.Join(f.with, " or "))
		}
	}
}

// given are those of some keys that a mapping has.
func (s *shape) given(names []string, seen map[string]*yaml.Node) (given []string) {
	for _, name := range names {
		if seen[name] != nil {
			given = append(given, name)
		}
	}
	return given
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// deref follows aliases; yaml bounds their expansion because nothing is copied.
func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func describeNode(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "nothing"
		}
		return strconv.Quote(n.Value)
	}
	return "this"
}

// text reads a scalar as it is written.
func (r *reader) text(n *yaml.Node, path string) (string, bool) {
	n = deref(n)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.fault(n, path, "", "%s is not a text", describeNode(n))
		return "", false
	}
	return n.Value, true
}

// str reads a text that passes a check; nil: any.
func (r *reader) str(into *string, check func(string) error) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		s, ok := r.text(n, path)
		if !ok {
			return
		}
		if check != nil {
			if err := check(s); err != nil {
				r.fault(n, path, "", "%v", err)
			}
		}
		*into = s
	}
}

// whole reads a whole number between two bounds.
func (r *reader) whole(into *int, b bounds) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		s, ok := r.text(n, path)
		if !ok {
			return
		}
		v, err := strconv.Atoi(s)
		if err != nil || v < b.least || v > b.most {
			r.fault(n, path, fmt.Sprintf("a whole number from %d to %d", b.least, b.most), "%q does not fit", s)
			return
		}
		*into = v
	}
}

func (r *reader) duration(into *time.Duration) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		s, ok := r.text(n, path)
		if !ok {
			return
		}
		d, err := ParseDuration(s)
		if err != nil {
			r.fault(n, path, "write it as 30s, 15m, 1h30m or 2d", "%v", err)
			return
		}
		*into = d
	}
}

// durationForm is how durations are written.
var durationForm = regexp.MustCompile(`^([0-9]{1,4}d)?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*$`)

// ParseDuration reads a positive span: Go's form, and d for days of 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	if !durationForm.MatchString(s) {
		return 0, fmt.Errorf("%q is not a duration", s)
	}
	days, rest, ok := strings.Cut(s, "d")
	var d time.Duration
	if ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 3650 {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		d = time.Duration(n) * 24 * time.Hour
	} else {
		rest = s
	}
	if rest != "" || !ok {
		r, err := time.ParseDuration(rest)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		d += r
	}
	if d <= 0 {
		return 0, fmt.Errorf("%q is not a positive duration", s)
	}
	return d, nil
}

// each reads a list, item by item.
func (r *reader) each(n *yaml.Node, path string, item func(n *yaml.Node, path string)) {
	n = deref(n)
	if n.Kind != yaml.SequenceNode {
		r.fault(n, path, "write it as [a, b]", "%s is not a list", describeNode(n))
		return
	}
	if len(n.Content) == 0 {
		r.fault(n, path, "leave the key out, or fill the list", "the list is empty")
	}
	for i, c := range n.Content {
		item(c, fmt.Sprintf("%s[%d]", path, i))
	}
}

func (r *reader) texts(into *[]string, check func(string) error) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		r.each(n, path, func(c *yaml.Node, sub string) {
			s, ok := r.text(c, sub)
			if !ok {
				return
			}
			if check != nil {
				if err := check(s); err != nil {
					r.fault(c, sub, "", "%v", err)
					return
				}
			}
			*into = append(*into, s)
		})
	}
}

// scheduleError points into a scalar: at the column where the spec is wrong.
func (r *reader) scheduleError(n *yaml.Node, path string, err error) {
	n = deref(n)
	var e *schedule.Error
	if !errors.As(err, &e) {
		r.fault(n, path, "", "%v", err)
		return
	}
	at := *n
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		at.Column += utf8.RuneCountInString(e.Text[:min(e.Pos, len(e.Text))])
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			at.Column++
		}
	}
	bare := schedule.Error{Text: e.Text, Msg: e.Msg} // the hint has a line of its own
	r.fault(&at, path, e.Hint, "%s", bare.Error())
}

var nameForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

func checkRegion(s string) error {
	if !regionForm.MatchString(s) {
		return fmt.Errorf("%q is not the code of a region, such as LON1", s)
	}
	return nil
}

var regionForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)

// verbs of allow.
var verbs = []policies.Verb{policies.Start, policies.Stop, policies.Reboot, policies.Resize, policies.Retag, policies.Firewall, policies.Create, policies.Delete}
