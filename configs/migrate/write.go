package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"nightshift/configs"
)

// Options are what the other tool's file does not say.
type Options struct {
	File string // its name, for the comments
	Tag  string // the key of the tag that instances carry; empty: the other tool's default
	Zone string // the zone where the file names none; empty: UTC

	Regions []string // of Civo, to be written into the file
}

// Result is a policy file of ours.
type Result struct {
	Text []byte
	Done int // policies that were carried over
	Left int // policies that were written as comments, to be completed by hand
}

// NothingError is a file of which nothing can be carried over.
type NothingError struct {
	File    string
	Reasons []string
}

func (e *NothingError) Error() string {
	s := "nothing in " + e.File + " can be carried over"
	for _, r := range e.Reasons {
		s += "\n  - " + r
	}
	return s
}

// file is a policy file in the making.
type file struct {
	tool, from string
	regions    []string
	notes      []string // what differs everywhere
	left       []string // what has no place in the file, with the reason
	schedules  []entry
	calendars  []entry
	policies   []*policy
	names      names
}

// entry is a schedule or a calendar: one line of a mapping.
type entry struct {
	name, text string
	about      []string
}

// policy is one policy of ours, ready to be written.
type policy struct {
	name     string
	about    []string // comments: where it comes from, what differs
	why      []string // why it is written as a comment; empty: it is not
	sel      selector
	schedule string // as it stands after schedule:
	except   string // as it stands after except:; may be empty
	enforce  string
	priority int
}

func newFile(tool string, o Options) *file {
	return &file{tool: tool, from: cmp.Or(o.File, "the file"), regions: o.Regions, names: make(names)}
}

func (f *file) leave(format string, args ...any) {
	f.left = append(f.left, fmt.Sprintf(format, args...))
}

func (f *file) calendar(name, text string) string {
	for _, c := range f.calendars {
		if c.text == text {
			return c.name
		}
	}
	name = f.names.unique(name)
	f.calendars = append(f.calendars, entry{name: name, text: text})
	return name
}

// result writes the file, once it is sure that it can be read: a policy that the
// reader would refuse becomes a comment with the reader's reason.
func (f *file) result() (Result, error) {
	if _, err := configs.Parse("", f.text([]*policy{{name: "a", schedule: "{ running: [\"00:00-24:00\"] }"}})); err != nil {
		return Result{}, errors.New(reason(err)) // not of a policy: a region
	}
	text := f.text(f.policies)
	if _, err := configs.Parse("", text); err != nil {
		for _, p := range f.policies {
			if len(p.why) > 0 {
				continue
			}
			if _, err := configs.Parse("", f.text([]*policy{p})); err != nil {
				p.why = append(p.why, "nightshift cannot read it: "+reason(err))
			}
		}
		text = f.text(f.policies)
	}
	r := Result{Text: text}
	var reasons []string
	for _, p := range f.policies {
		if len(p.why) == 0 {
			r.Done++
			continue
		}
		r.Left++
		reasons = append(reasons, p.name+": "+strings.Join(p.why, "; "))
	}
	if r.Done == 0 {
		return Result{}, &NothingError{f.from, append(reasons, f.left...)}
	}
	if _, err := configs.Parse("", text); err != nil {
		return Result{}, fmt.Errorf("%s: what was written cannot be read: %w", f.from, err)
	}
	return r, nil
}

// reason is the first fault that a reader names, in one line.
func reason(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	if _, after, ok := strings.Cut(line, ": "); ok {
		line = after // the place in a file that nobody sees
	}
	return line
}

func (f *file) text(policies []*policy) []byte {
	var b strings.Builder
	comment(&b, "", "Written by nightshift import "+f.tool+" from "+f.from+".")
	b.WriteString("#\n")
	comment(&b, "", "In mode observe nightshift plans and publishes events, and touches nothing. Read the comments, compare what nightshift plan says of this file with what the other tool does, then write mode: act.")
	if len(f.notes) > 0 {
		b.WriteString("#\n")
		comment(&b, "", "What differs everywhere:")
		for _, n := range f.notes {
			comment(&b, "", "- "+n)
		}
	}
	if len(f.left) > 0 {
		b.WriteString("#\n")
		comment(&b, "", "Not carried over:")
		for _, l := range f.left {
			comment(&b, "", "- "+l)
		}
	}
	b.WriteString("version: 1\n")
	if len(f.regions) > 0 {
		b.WriteString("regions: " + flowList(f.regions) + "\n")
	} else {
		b.WriteString("# regions: [LON1]   # without it the variable CIVO_REGION counts\n")
	}
	b.WriteString("mode: observe\n")
	mapping(&b, "schedules", f.schedules)
	mapping(&b, "calendars", f.calendars)
	b.WriteString("\npolicies:\n")
	for i, p := range policies {
		if i > 0 {
			b.WriteString("\n")
		}
		p.write(&b)
	}
	return []byte(b.String())
}

func mapping(b *strings.Builder, key string, entries []entry) {
	if len(entries) == 0 {
		return
	}
	b.WriteString("\n" + key + ":\n")
	for _, e := range entries {
		for _, line := range e.about {
			comment(b, "  ", line)
		}
		b.WriteString("  " + scalar(e.name) + ": " + e.text + "\n")
	}
}

func (p *policy) write(b *strings.Builder) {
	for _, line := range p.about {
		comment(b, "  ", line)
	}
	for _, line := range p.why {
		comment(b, "  ", "Not carried over: "+line+".")
	}
	lines := []string{"- name: " + scalar(p.name), "  select: " + p.sel.String()}
	if p.schedule != "" {
		lines = append(lines, "  schedule: "+p.schedule)
	}
	for _, k := range []struct{ key, value string }{{"except", p.except}, {"enforce", p.enforce}} {
		if k.value != "" {
			lines = append(lines, "  "+k.key+": "+k.value)
		}
	}
	if p.priority != 0 {
		lines = append(lines, "  priority: "+strconv.Itoa(p.priority))
	}
	indent := "  "
	if len(p.why) > 0 {
		indent = "  # "
	}
	for _, line := range lines {
		b.WriteString(indent + line + "\n")
	}
}

// commentWidth is where the lines of a comment end.
const commentWidth = 118

// comment writes a text as a comment, broken into lines. A text that begins with
// a dash is an item of a list.
func comment(b *strings.Builder, indent, text string) {
	lead := indent + "# "
	line := lead
	hang := ""
	if strings.HasPrefix(text, "- ") {
		hang = "  "
	}
	for i, word := range strings.Fields(printable(text)) {
		if i > 0 && len(line)+len(word) > commentWidth {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = lead + hang
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// printable is a text without what YAML refuses even in a comment.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// plainForm is what needs no quotes in a list or mapping in one line, in any YAML.
var plainForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./=-]*$`)

// spelled are words that some YAML takes for something else than a text.
var spelled = []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}

// scalar is a text as YAML, in quotes where it needs them.
func scalar(s string) string {
	if plainForm.MatchString(s) && !slices.Contains(spelled, strings.ToLower(s)) {
		return s
	}
	return strconv.Quote(s)
}

func flowList(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = scalar(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// flow is a value in one line.
func flow(v any) string {
	switch v := v.(type) {
	case string:
		return scalar(v)
	case []string:
		return flowList(v)
	case []any:
		items := make([]string, len(v))
		for i, x := range v {
			items[i] = flow(x)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		var pairs []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			pairs = append(pairs, scalar(k)+": "+flow(v[k]))
		}
		return "{ " + strings.Join(pairs, ", ") + " }"
	}
	return fmt.Sprint(v) // numbers and booleans
}

// names gives each policy a name of its own, in our form.
type names map[string]bool

var noName = regexp.MustCompile(`[^a-z0-9]+`)

// slug is a text in the form of our names.
func slug(s string) string {
	s = strings.Trim(noName.ReplaceAllString(strings.ToLower(s), "-"), "-")
	const longest = 56 // leaves room for a number
	s = strings.TrimRight(s[:min(len(s), longest)], "-")
	return cmp.Or(s, "policy")
}

func (n names) unique(s string) string {
	s = slug(s)
	name := s
	for i := 2; n[name]; i++ {
		name = fmt.Sprintf("%s-%d", s, i)
	}
	n[name] = true
	return name
}
