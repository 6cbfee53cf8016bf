package policies

import (
	"fmt"
	"regexp"
	"strings"
)

// Matcher compares a label of a signal, in the form of Prometheus and
// Alertmanager: severity="critical", env!="dev", team=~"web|api", team!~"x.*".
// Expressions match the whole value; a label that is missing is empty.
type Matcher struct {
	Label string
	Op    string // = != =~ !~
	Value string
	re    *regexp.Regexp
}

var matcherForm = regexp.MustCompile(`^\s*([a-zA-Z_][a-zA-Z0-9_.-]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"\s]*))\s*$`)

var unquoteLabel = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\n`, "\n")

// ParseMatcher reads a matcher.
func ParseMatcher(text string) (Matcher, error) {
	m := matcherForm.FindStringSubmatch(text)
	if m == nil {
		return Matcher{}, fmt.Errorf(`%q is not a matcher: write label="value", with = != =~ or !~`, text)
	}
	x := Matcher{Label: m[1], Op: m[2], Value: m[4]}
	if m[3] != "" {
		x.Value = unquoteLabel.Replace(m[3])
	}
	if strings.HasSuffix(x.Op, "~") {
		if _, err := regexp.Compile(x.Value); err != nil { // a)|(b would be one inside of (?:…)
			return Matcher{}, fmt.Errorf("%q is not a regular expression: %w", x.Value, err)
		}
		x.re = regexp.MustCompile("^(?:" + x.Value + ")$")
	}
	return x, nil
}

// Matches reports whether labels have what the matcher asks for.
func (m Matcher) Matches(labels map[string]string) bool {
	v := labels[m.Label]
	switch m.Op {
	case "!=":
		return v != m.Value
	case "=~":
		return m.re.MatchString(v)
	case "!~":
		return !m.re.MatchString(v)
	}
	return v == m.Value
}

// String prints a matcher so that it parses back equal.
func (m Matcher) String() string {
	return m.Label + m.Op + `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(m.Value) + `"`
}
