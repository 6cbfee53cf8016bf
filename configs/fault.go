package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one mistake in a file, or in a variable of the environment.
type Fault struct {
	File      string // or the name of the variable
	Line, Col int    // from 1; 0 where there is no line
	Path      string // policies[2].cron
	Msg       string // what is wrong
	Hint      string // what would be right; may be empty
}

func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Col)
	}
	b.WriteString(": ")
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Msg)
	if f.Hint != "" {
		b.WriteString("\n    " + f.Hint)
	}
	return b.String()
}

// Faults are all mistakes that were found, in order of their lines.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

func (f Faults) sorted() Faults {
	var files []string // in order of their first fault
	for _, one := range f {
		if !slices.Contains(files, one.File) {
			files = append(files, one.File)
		}
	}
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(slices.Index(files, a.File)-slices.Index(files, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return f
}

// nearest is the word closest to what was found, if one is close enough to be meant.
func nearest(found string, words []string) string {
	best, least := "", 3
	for _, w := range words {
		if d := distance(strings.ToLower(found), w); d < least && d < max(2, len(w)*2/3) {
			best, least = w, d
		}
	}
	return best
}

// distance counts the letters to add, drop, change or swap.
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
