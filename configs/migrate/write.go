package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// policy is one policy of ours, ready to be written.
type policy struct {
	name     string
	about    []string // comments: where it comes from, what differs
	sel      selector
	schedule string // as it stands after schedule:
	except   string // as it stands after except:; may be empty
	off      bool   // written as a comment
}

// selector is a selector of ours. The expressions of when are ANDed.
type selector struct {
	all, any, none, when []string
}

func (s selector) with(more selector) selector {
	return selector{
		slices.Concat(s.all, more.all), slices.Concat(s.any, more.any), slices.Concat(s.none, more.none), slices.Concat(s.when, more.when),
	}
}

// String is the selector in the file's form; the same text selects the same.
func (s selector) String() string {
	if len(s.all)+len(s.any)+len(s.when) == 0 {
		s.all = []string{"*"}
	}
	var parts []string
	for _, k := range []struct {
		name string
		tags []string
	}{{"all", s.all}, {"any", s.any}, {"none", s.none}} {
		if len(k.tags) > 0 {
			parts = append(parts, k.name+": "+flowList(k.tags))
		}
	}
	if len(s.when) > 0 {
		parts = append(parts, "when: "+scalar(strings.Join(s.when, " && ")))
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

func (p *policy) write(b *strings.Builder) {
	for _, line := range p.about {
		comment(b, "  ", line)
	}
	lines := []string{"- name: " + p.name, "  select: " + p.sel.String(), "  schedule: " + p.schedule}
	if p.except != "" {
		lines = append(lines, "  except: "+p.except)
	}
	indent := "  "
	if p.off {
		indent = "  # "
	}
	for _, line := range lines {
		b.WriteString(indent + line + "\n")
	}
	b.WriteString("\n")
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
	for i, word := range strings.Fields(text) {
		if i > 0 && len(line)+1+len(word) > commentWidth {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = lead + hang
		}
		line += word + " "
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
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

// names gives each policy a name of its own, in our form.
type names map[string]bool

var noName = regexp.MustCompile(`[^a-z0-9]+`)

func (n names) unique(s string) string {
	s = strings.Trim(noName.ReplaceAllString(strings.ToLower(s), "-"), "-")
	if s == "" {
		s = "policy"
	}
	const longest = 64
	s = strings.TrimRight(s[:min(len(s), longest-4)], "-")
	name := s
	for i := 2; n[name]; i++ {
		name = fmt.Sprintf("%s-%d", s, i)
	}
	n[name] = true
	return name
}
