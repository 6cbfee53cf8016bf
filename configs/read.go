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
	scope     *policies.Selector // of the included file that is being read
	includes  []include

	files func(name string) ([]byte, error)
	glob  func(pattern string) ([]string, error)
	read  []byte // texts of all files beside the first: they make the revision, too
}

type place struct {
	file string
	line int
}

type namedSchedule struct {
	weekly *schedule.Weekly
	line   int
}

// key is one key of a mapping: how to read it, or that it comes later.
type key struct {
	name  string
	read  func(n *yaml.Node, path string)
	later bool
}

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
	r.fault(&yaml.Node{Line: line, Column: 1}, "", "", "not YAML: %s", msg)
	return nil
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

// mapping reads the keys of a mapping. Every fault of a key is found; none
// keeps the others from being read.
func (r *reader) mapping(n *yaml.Node, path string, keys []key) bool {
	n = deref(n)
	if n.Kind != yaml.MappingNode {
		r.fault(n, path, "write it as key: value", "%s is not a mapping", describeNode(n))
		return false
	}
	seen := make(map[string]int)
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		name := kn.Value
		sub := join(path, name)
		if kn.Tag == "!!merge" {
			r.fault(kn, path, "write the keys out", "merge keys (<<) are not read")
			continue
		}
		if line, dup := seen[name]; dup {
			r.fault(kn, sub, "", "the key stands twice, first in line %d", line)
			continue
		}
		seen[name] = kn.Line
		at := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
		switch {
		case at < 0:
			hint := "known are: " + strings.Join(slices.Sorted(slices.Values(present(keys))), ", ")
			if near := nearest(name, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			r.fault(kn, sub, hint, "unknown key %q", name)
		case keys[at].later:
			r.fault(kn, sub, "", "not in this version")
		default:
			keys[at].read(vn, sub)
		}
	}
	return true
}

func present(keys []key) []string {
	var names []string
	for _, k := range keys {
		if !k.later {
			names = append(names, k.name)
		}
	}
	return names
}

func later(names ...string) []key {
	keys := make([]key, len(names))
	for i, n := range names {
		keys[i] = key{name: n, later: true}
	}
	return keys
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

func (r *reader) str(into *string) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if s, ok := r.text(n, path); ok {
			*into = s
		}
	}
}

// whole reads a whole number between two bounds.
func (r *reader) whole(into *int, least, most int) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		s, ok := r.text(n, path)
		if !ok {
			return
		}
		v, err := strconv.Atoi(s)
		if err != nil || v < least || v > most {
			r.fault(n, path, fmt.Sprintf("a whole number from %d to %d", least, most), "%q does not fit", s)
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

// ParseDuration reads a positive span: Go's form, and d for days of 24 hours.
func ParseDuration(s string) (time.Duration, error) {
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
	msg := e.Msg
	if e.Text != "" {
		msg = fmt.Sprintf("%q: %s", e.Text, e.Msg)
	}
	r.fault(&at, path, e.Hint, "%s", msg)
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
