package policies

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// statuses that the API is known to give.
var statuses = []string{StatusActive, StatusShutoff, "BUILDING", "REBOOTING", "DELETING", "FAILED", "HIBERNATED"}

// selectors finds those that match all, nothing, or what changes under them.
func (l *lint) selectors() {
	l.touch = make([]bool, len(l.inv))
	for n := range l.inv {
		reason, _ := l.set.Untouchable(l.inv[n])
		l.touch[n] = reason == ""
	}
	l.selected = make([][]int, len(l.set.Policies))
	index := newIndex(l.set)
	var matched []int
	for n := range l.inv {
		matched = index.match(&l.inv[n], matched[:0])
		for _, i := range matched {
			l.selected[i] = append(l.selected[i], n)
		}
	}
	words := newFleetWords(l.inv)
	for i := range l.set.Policies {
		p := &l.set.Policies[i]
		l.selectsRegion(p)
		l.selectsStatus(p)
		if !l.known {
			continue
		}
		switch here := l.selected[i]; {
		case len(here) == 0:
			msg, hint := words.missing(p.Select)
			l.add(SevereWarning, "selects-nothing", p.Name, hint, "%s", msg)
			continue
		case !slices.ContainsFunc(here, func(n int) bool { return l.touch[n] }):
			l.add(SevereWarning, "protects-nothing", p.Name, "", "nothing is left of what it selects: all %s are protected, or nodes of clusters", counted(len(here), "instance"))
		case len(here) == len(l.inv) && p.Signal == nil: // a trigger is bounded by it, no more
			l.selectsAll(p)
		}
		l.unusedPatterns(p, words)
	}
	l.orders(words)
	l.floors(words)
	if l.known && !l.set.Protect.IsZero() && !slices.ContainsFunc(l.inv, l.set.Protect.Matches) {
		msg, hint := words.missing(l.set.Protect)
		l.add(SevereWarning, "protects-nothing", "", hint, "protect protects nothing: %s", msg)
	}
}

// allMeant is from how many instances on a selector that matches them all is odd.
const allMeant = 5

func (l *lint) selectsAll(p *Policy) {
	switch {
	case slices.Contains(p.Select.All, "*") || slices.Contains(p.Select.Any, "*"):
		l.add(SevereNote, "selects-all", p.Name, "", "it selects every instance (%d), as it is written", len(l.inv))
	case len(l.inv) >= allMeant:
		l.add(SevereWarning, "selects-all", p.Name, `if that is meant, write all: ["*"]`, "it selects every instance (%d): %s", len(l.inv), p.Select)
	}
}

// selectsRegion finds regions that the file does not read.
func (l *lint) selectsRegion(p *Policy) {
	for _, s := range p.Select.scopes() {
		for _, glob := range s.Region {
			if !slices.ContainsFunc(l.set.Regions, func(r string) bool { return match(strings.ToUpper(glob), r) }) {
				l.add(SevereWarning, "region", p.Name, "add it to regions", "it selects region %s, which is not one of regions (%s)", glob, strings.Join(l.set.Regions, ", "))
			}
		}
	}
}

// selectsStatus finds a schedule that loses sight of what it has stopped.
func (l *lint) selectsStatus(p *Policy) {
	for _, s := range p.Select.scopes() {
		for _, glob := range s.Status {
			if !slices.ContainsFunc(statuses, func(known string) bool { return match(strings.ToUpper(glob), known) }) {
				l.add(SevereWarning, "selects-status", p.Name, "statuses are "+strings.Join(statuses, ", "), "no instance has the status %s", glob)
			}
		}
		sees := func(status string) bool {
			return oneOf(s.Status, status, strings.ToUpper)
		}
		switch {
		case !p.IsLevel() || sees(StatusActive) && sees(StatusShutoff):
		case sees(StatusActive):
			l.add(SevereWarning, "selects-status", p.Name, "leave status out", "it selects by status %s: what it has stopped it no longer selects, and never starts", strings.Join(s.Status, ", "))
		case sees(StatusShutoff):
			l.add(SevereWarning, "selects-status", p.Name, "leave status out", "it selects by status %s: what it has started it no longer selects, and never stops", strings.Join(s.Status, ", "))
		}
	}
}

// scopes are a selector and those that it lies within.
func (s Selector) scopes() (list []Selector) {
	for at := &s; at != nil; at = at.Within {
		list = append(list, *at)
	}
	return list
}

// unusedPatterns finds alternatives that match nothing, where something like them
// exists: they are rather slips.
func (l *lint) unusedPatterns(p *Policy, words *fleetWords) {
	for _, s := range p.Select.scopes() {
		for _, k := range []struct {
			name  string
			globs []string
		}{{"any", s.Any}, {"none", s.None}} {
			for _, g := range k.globs {
				if g == "*" || words.tags.has(g, nil) {
					continue
				}
				if near := words.tags.slip(g); near != "" {
					l.add(SevereWarning, "selects-nothing", p.Name, "did you mean "+near+"?", "%s: %s matches nothing; there is %s", k.name, g, words.tags.counted(near))
				}
			}
		}
	}
}

// fleetWords are the tags, names and the like that a fleet has, with how many
// instances have each.
type fleetWords struct {
	inv                                   []Instance
	tags, regions, sizes, statuses, hosts wordCount
}

type wordCount map[string]int

func newFleetWords(inv []Instance) *fleetWords {
	w := &fleetWords{inv, wordCount{}, wordCount{}, wordCount{}, wordCount{}, wordCount{}}
	for _, i := range inv {
		w.regions[strings.ToUpper(i.Region)]++
		w.sizes[i.Size]++
		w.statuses[i.Status]++
		w.hosts[i.Hostname]++
		for _, t := range i.Tags {
			w.tags[t]++
		}
	}
	return w
}

func (c wordCount) has(glob string, fold func(string) string) bool {
	if fold != nil {
		glob = fold(glob)
	}
	if !strings.ContainsAny(glob, `*?[\`) {
		return c[glob] > 0
	}
	for word := range c {
		if match(glob, word) {
			return true
		}
	}
	return false
}

func (c wordCount) counted(word string) string {
	return fmt.Sprintf("%s (%s)", word, counted(c[word], "instance"))
}

// nearest is the word that may be meant by one that is not there: one like it,
// else one with the same key.
func (c wordCount) nearest(glob string) string {
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`*?[]\`, r) {
			return -1
		}
		return r
	}, glob)
	if near := Nearest(plain, mapKeys(c)); near != "" {
		return near
	}
	key, _, ok := strings.Cut(glob, "=")
	if !ok {
		return ""
	}
	keys := make(map[string]bool)
	for word := range c {
		if k, _, ok := strings.Cut(word, "="); ok {
			keys[k] = true
		}
	}
	if !keys[key] {
		if key = Nearest(key, mapKeys(keys)); key == "" {
			return ""
		}
	}
	best := ""
	for word, n := range c {
		if strings.HasPrefix(word, key+"=") && (best == "" || n > c[best] || n == c[best] && word < best) {
			best = word
		}
	}
	return best
}

// slip is a word that differs from one by a slip of the hand.
func (c wordCount) slip(word string) string {
	if near := Nearest(word, mapKeys(c)); near != "" && letters(near, word) <= 2 {
		return near
	}
	return ""
}

// missing says why a selector selects nothing, and what it may have meant.
func (w *fleetWords) missing(s Selector) (msg, hint string) {
	if len(w.inv) == 0 {
		return "there are no instances", ""
	}
	absent := func(name string, words wordCount, globs []string, fold func(string) string) bool {
		if len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool { return words.has(g, fold) }) {
			return false
		}
		msg = fmt.Sprintf("%s%s matches nothing", name, strings.Join(globs, ", "))
		for _, g := range globs {
			if near := words.nearest(g); near != "" {
				msg, hint = msg+"; there is "+words.counted(near), "did you mean "+near+"?"
				return true
			}
		}
		if len(words) <= 6 {
			msg += "; there is " + strings.Join(slices.Sorted(maps.Keys(words)), ", ")
		}
		return true
	}
	for _, g := range s.All {
		if g != "*" && absent("", w.tags, []string{g}, nil) {
			return msg, hint
		}
	}
	if !slices.Contains(s.Any, "*") && absent("any: ", w.tags, s.Any, nil) || absent("region ", w.regions, s.Region, strings.ToUpper) || absent("size ", w.sizes, s.Size, nil) ||
		absent("status ", w.statuses, s.Status, strings.ToUpper) || absent("hostname ", w.hosts, s.Hostname, nil) {
		return msg, hint
	}
	if s.When != nil {
		for _, g := range s.When.tags { // that it needs, by "tag" in tags
			if absent("when: ", w.tags, []string{g}, nil) {
				return msg, hint
			}
		}
	}
	return w.together(s)
}

// together says why a selector selects nothing whose parts each match something.
func (w *fleetWords) together(s Selector) (msg, hint string) {
	open := s
	open.None = nil
	if n := w.count(open); n > 0 {
		return fmt.Sprintf("none: %s takes all %s away that it would select", strings.Join(s.None, ", "), counted(n, "instance")), ""
	}
	if s.Within != nil {
		free := s
		free.Within = nil
		if n := w.count(free); n > 0 {
			return fmt.Sprintf("the scope of its file (%s) leaves it none of %s", s.Within, counted(n, "instance")), ""
		}
	}
	if s.When != nil {
		free := s
		free.When = nil
		if n := w.count(free); n > 0 || free.IsZero() {
			for _, i := range w.inv {
				if _, err := s.When.Eval(i); err != nil {
					return err.Error(), ""
				}
			}
			return fmt.Sprintf("when %s is true of no instance", s.When), ""
		}
	}
	return fmt.Sprintf("each part of it matches something, all together match no instance (%s)", s), ""
}

func (w *fleetWords) count(s Selector) (n int) {
	for _, i := range w.inv {
		if s.Matches(i) {
			n++
		}
	}
	return n
}

// Nearest is the word closest to one that is not there, if it is close enough
// to be meant.
func Nearest(word string, words []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, w := range words {
		if d := len(w) - len(word); d >= least || -d >= least || w == word {
			continue
		}
		if d := letters(word, w); d < least || d == least && best != "" && w < best {
			best, least = w, d
		}
	}
	return best
}

// letters is how many letters must be added, dropped, changed or swapped with the
// next to make one word of the other, whatever their case.
func letters(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	var older []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, next[j]+1, row[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], older[j-1]+1)
			}
		}
		older, row = row, next
	}
	return row[len(b)]
}

func mapKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func joinNames(set map[string]bool) string { return strings.Join(mapKeys(set), ", ") }

func joinWords(a, b string) string { return strings.TrimSpace(a + " " + b) }

// name is what people call an instance.
func (i Instance) name() string { return cmp.Or(i.Hostname, i.ID) }
