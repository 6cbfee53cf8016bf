package migrate

import (
	"slices"
	"strconv"
	"strings"
)

// selector is a selector of ours. All lists of any must have a match each.
type selector struct {
	all, none []string
	any       [][]string
}

func (s selector) with(more selector) selector {
	return selector{slices.Concat(s.all, more.all), slices.Concat(s.none, more.none), slices.Concat(s.any, more.any)}
}

// tagged selects the instances that have a tag, with a value or without.
func tagged(key string) selector {
	return selector{any: [][]string{hasTag(key)}}
}

// untagged selects those that do not have it.
func untagged(key string) selector { return selector{none: hasTag(key)} }

func hasTag(key string) []string { return []string{literal(key), literal(key) + "=*"} }

// tagIs selects the instances whose tag has one of the values.
func tagIs(key string, values ...string) selector {
	var list []string
	for _, v := range values {
		if v == "" {
			list = append(list, literal(key))
		}
		list = append(list, literal(key)+"="+literal(v))
	}
	if len(list) == 1 {
		return selector{all: list}
	}
	return selector{any: [][]string{list}}
}

var globMeta = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// literal is a text as a pattern that matches nothing else.
func literal(s string) string { return globMeta.Replace(s) }

// negated is the opposite of a selector, where that is a selector.
func (s selector) negated() (selector, bool) {
	switch {
	case len(s.all) == 1 && len(s.any)+len(s.none) == 0:
		return selector{none: s.all}, true
	case len(s.any) == 1 && len(s.all)+len(s.none) == 0:
		return selector{none: s.any[0]}, true
	case len(s.none) > 0 && len(s.all)+len(s.any) == 0:
		return selector{any: [][]string{s.none}}, true
	}
	return selector{}, false
}

// either selects what one of the selectors does, where that is a selector.
func either(list []selector) (selector, bool) {
	var union []string
	for _, s := range list {
		switch {
		case len(s.all) == 1 && len(s.any)+len(s.none) == 0:
			union = append(union, s.all[0])
		case len(s.any) == 1 && len(s.all)+len(s.none) == 0:
			union = append(union, s.any[0]...)
		default:
			return selector{}, false
		}
	}
	return selector{any: [][]string{union}}, len(union) > 0
}

// String is the selector in the file's form; the same text selects the same.
func (s selector) String() string {
	if len(s.all)+len(s.any) == 0 {
		s.all = []string{"*"}
	}
	var parts []string
	put := func(name string, tags []string) {
		if len(tags) > 0 {
			parts = append(parts, name+": "+flowList(tags))
		}
	}
	put("all", s.all)
	if len(s.any) > 0 {
		put("any", s.any[0])
	}
	put("none", s.none)
	if len(s.any) > 1 { // one any is all that a selector has
		var when []string
		for _, list := range s.any[1:] {
			when = append(when, exists(list))
		}
		parts = append(parts, "when: "+strconv.Quote(strings.Join(when, " && ")))
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// exists is a list of patterns as a CEL expression.
func exists(globs []string) string {
	var terms []string
	for _, g := range globs {
		prefix, isPrefix := strings.CutSuffix(g, "*")
		switch wild := strings.ContainsAny(prefix, `*?[\`); {
		case wild:
			terms = append(terms, "t.matches("+strconv.Quote("^"+expression(g)+"$")+")")
		case isPrefix:
			terms = append(terms, "t.startsWith("+strconv.Quote(prefix)+")")
		default:
			terms = append(terms, "t == "+strconv.Quote(g))
		}
	}
	return "tags.exists(t, " + strings.Join(terms, " || ") + ")"
}

// expression is a pattern as a regular expression.
func expression(glob string) string {
	var b strings.Builder
	escaped := false
	for _, r := range glob {
		switch {
		case !escaped && r == '\\':
			escaped = true
			continue
		case !escaped && r == '*':
			b.WriteString(".*")
		case !escaped && r == '?':
			b.WriteString(".")
		case strings.ContainsRune(`\.+*?()|[]{}^$`, r):
			b.WriteString(`\` + string(r))
		default:
			b.WriteRune(r)
		}
		escaped = false
	}
	return b.String()
}
