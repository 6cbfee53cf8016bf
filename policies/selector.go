package policies

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Selector chooses instances. Its keys are ANDed; the values of Region, Size,
// Status and Hostname are ORed. Tags and values may be globs (* ? [a-z]); a
// glob matches a whole tag. The zero Selector selects nothing.
type Selector struct {
	All, Any, None                 []string // tags
	Region, Size, Status, Hostname []string
	When                           *Expr     // a CEL expression over the instance
	Within                         *Selector // the scope of an included file: what it does not select, nothing here does
}

// IsZero reports whether a selector has no key.
func (s Selector) IsZero() bool { return s.isZero() }

func (s *Selector) isZero() bool {
	return len(s.All)+len(s.Any)+len(s.None)+len(s.Region)+len(s.Size)+len(s.Status)+len(s.Hostname) == 0 && s.When == nil
}

// Validate says what is wrong with a selector.
func (s Selector) Validate() error {
	if s.IsZero() {
		return errors.New(`a selector needs at least one key; to select every instance write all: ["*"]`)
	}
	for _, list := range [][]string{s.All, s.Any, s.None, s.Region, s.Size, s.Status, s.Hostname} {
		for _, g := range list {
			if err := CheckGlob(g); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckGlob says what is wrong with one pattern of a selector.
func CheckGlob(g string) error {
	switch {
	case g == "":
		return errors.New("a pattern is empty")
	case strings.ContainsAny(g, " \t\n,"):
		return fmt.Errorf("%q has a blank or a comma, which Civo's tags cannot hold", g)
	}
	if _, err := path.Match(escaped(g), "x"); err != nil {
		return fmt.Errorf("%q is not a pattern: a [ is not closed", g)
	}
	return nil
}

// Matches reports whether an instance is selected.
func (s Selector) Matches(i Instance) bool { return s.matches(&i) }

func (s *Selector) matches(i *Instance) bool {
	return !s.isZero() && s.matchesPlain(i) && (s.Within == nil || s.Within.matches(i)) && (s.When == nil || s.When.matches(i))
}

// matchesPlain is all but the expression and the scope.
func (s *Selector) matchesPlain(i *Instance) bool {
	return every(s.All, i.Tags) && (len(s.Any) == 0 || some(s.Any, i.Tags)) && !some(s.None, i.Tags) &&
		oneOf(s.Region, i.Region, strings.ToUpper) && oneOf(s.Size, i.Size, nil) &&
		oneOf(s.Status, i.Status, strings.ToUpper) && oneOf(s.Hostname, i.Hostname, nil)
}

// mayMatch reports whether all but an expression that cannot be evaluated selects
// an instance. Where that protects, it has to be taken for a match.
func (s *Selector) mayMatch(i *Instance) bool {
	if s.When == nil || !s.matchesPlain(i) || s.Within != nil && !s.Within.matches(i) && !s.Within.mayMatch(i) {
		return false
	}
	_, err := s.When.eval(i)
	return err != nil
}

// every reports whether each pattern matches some tag. "*" matches an instance
// without tags, too: it stands for every instance.
func every(globs, tags []string) bool {
	for _, g := range globs {
		if g != "*" && !anyTag(g, tags) {
			return false
		}
	}
	return true
}

func anyTag(glob string, tags []string) bool {
	for _, t := range tags {
		if match(glob, t) {
			return true
		}
	}
	return false
}

func some(globs, tags []string) bool {
	for _, g := range globs {
		if g == "*" || anyTag(g, tags) {
			return true
		}
	}
	return false
}

func oneOf(globs []string, value string, fold func(string) string) bool {
	if len(globs) == 0 {
		return true
	}
	if fold != nil {
		value = fold(value)
	}
	for _, g := range globs {
		if fold != nil {
			g = fold(g)
		}
		if match(g, value) {
			return true
		}
	}
	return false
}

// wildcards are the bytes that make a pattern of a text.
const wildcards = `*?[\`

func match(glob, s string) bool {
	head, wild := literal(glob)
	switch {
	case !wild:
		return glob == s
	case !strings.HasPrefix(s, head):
		return false
	case len(glob) == len(head)+1 && glob[len(head)] == '*': // the most common form
		return true
	}
	ok, _ := path.Match(escaped(glob), strings.ReplaceAll(s, "/", slash))
	return ok
}

// slash stands for / while matching: path.Match would not let * pass it, and a
// tag is one word.
const slash = "\x00"

func escaped(glob string) string { return strings.ReplaceAll(glob, "/", slash) }

// String prints a selector for people.
func (s Selector) String() string {
	var parts []string
	for _, k := range []struct {
		name   string
		values []string
	}{{"all", s.All}, {"any", s.Any}, {"none", s.None}, {"region", s.Region}, {"size", s.Size}, {"status", s.Status}, {"hostname", s.Hostname}} {
		if len(k.values) > 0 {
			parts = append(parts, k.name+" "+strings.Join(k.values, " "))
		}
	}
	if s.When != nil {
		parts = append(parts, "when "+s.When.String())
	}
	if s.Within != nil {
		parts = append(parts, "within ("+s.Within.String()+")")
	}
	return strings.Join(parts, ", ")
}

// IsClusterNode reports whether an instance belongs to a Kubernetes cluster, by
// the tags that Civo gives to nodes. Nodes are never touched.
func IsClusterNode(i Instance) bool { return isClusterNode(i.Tags) }

func isClusterNode(tags []string) bool {
	return slices.ContainsFunc(tags, func(t string) bool {
		return strings.HasPrefix(t, "civo-kubernetes") || strings.HasPrefix(t, "kubernetes:")
	})
}
