package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// stripFlags say how the plot of simulate looks.
type stripFlags struct {
	by    string
	ascii bool
	width int
}

func (s *stripFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.by, "by", "instance", "a strip for each instance or policy; none: no plot")
	cmd.Flags().BoolVar(&s.ascii, "ascii", false, "plot with plain characters (default: when the locale is not UTF-8)")
	cmd.Flags().IntVar(&s.width, "width", 0, "columns for the plot (default: those of the terminal, else 100)")
}

func (s *stripFlags) check(cmd *cobra.Command) error {
	if err := oneOf("by", s.by, "instance", "policy", "none"); err != nil {
		return err
	}
	if !cmd.Flags().Changed("ascii") {
		s.ascii = !isUTF8(firstOf(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")))
	}
	if s.width == 0 {
		s.width = columns(cmd.OutOrStdout())
	}
	if s.width < 40 {
		return usagef("--width %d is too narrow for a plot: 40 at least", s.width)
	}
	return nil
}

func isUTF8(locale string) bool {
	locale = strings.ToLower(locale)
	return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
}

func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n >= 40 {
			return n
		}
	}
	return 100
}

// strip is a row of the plot: how much of each cell is spent running, from 0 to 1;
// NaN where that is not known, below 0 outside of the time that is looked at.
type strip struct {
	label string
	cells []float64
}

// cell is what one character stands for.
type cell struct{ from, to time.Time }

// days are the midnights from which on the days of the plot last, in its zone.
func (s *simulated) days() []time.Time {
	var days []time.Time
	y, m, d := s.from.In(s.set.Zone).Date()
	for n := 0; ; n++ {
		day := time.Date(y, m, d+n, 0, 0, 0, 0, s.set.Zone)
		if !day.Before(s.to) {
			return days
		}
		days = append(days, day)
	}
}

// Rows of a plot: more are not looked at.
const (
	mostStrips = 24
	mostLabel  = 28
)

func (s *simulated) plot(w io.Writer, f *stripFlags) error {
	courses := policies.Courses(s.instances, s.stages, s.from, s.to)
	moving, still := s.movers(courses)
	days := s.days()
	perRow := len(days)
	if perRow > 8 { // a week that begins in the middle of a day touches eight
		perRow = 7
	}
	hours := hoursPerCell(f.width-s.widestLabel(f.by, moving)-2, perRow)
	drawn := 0
	for len(days) > 0 {
		n := min(perRow, len(days))
		cells := cellsOf(days[:n], hours)
		var rows []strip
		if f.by == "policy" {
			rows = s.policyStrips(courses, cells)
		} else {
			rows = s.instanceStrips(f, courses, moving, cells)
		}
		if len(rows) > 0 {
			label := 0
			for _, r := range rows {
				label = max(label, min(mostLabel, utf8.RuneCountInString(r.label)))
			}
			drawn++
			if drawn > 1 {
				fmt.Fprintln(w)
			}
			draw(w, f, rows, days[:n], hours, label)
		}
		days = days[n:]
	}
	if drawn > 0 {
		marks := "█ running, · stopped, lower: part of the time"
		if f.ascii {
			marks = "# running, . stopped, + half of the time or more, - less"
		}
		if f.by == "policy" {
			marks = strings.Replace(strings.Replace(marks, "running", "all run", 1), "of the time", "of the instances and time", 1)
		}
		fmt.Fprintf(w, "%s; a character is %s, days are those of %s\n", marks, policies.SpanWords(time.Duration(hours)*time.Hour), s.set.Zone)
	}
	if f.by == "instance" {
		for _, l := range still {
			fmt.Fprintln(w, l)
		}
	}
	return nil
}

// movers are the instances whose state changes; the others are told in words.
func (s *simulated) movers(courses map[string][]policies.Span) (moving []policies.Instance, still []string) {
	quiet := make(map[schedule.State][]string)
	for _, i := range sortedInstances(s.instances) {
		if spans := courses[i.ID]; len(spans) > 1 {
			moving = append(moving, i)
		} else {
			quiet[spans[0].State] = append(quiet[spans[0].State], i.Hostname)
		}
	}
	for _, q := range []struct {
		state schedule.State
		words string
	}{{schedule.Running, "running all the time"}, {schedule.Stopped, "stopped all the time"}, {schedule.Any, "busy, and nothing is done to it"}} {
		if hosts := quiet[q.state]; len(hosts) > 0 {
			still = append(still, q.words+": "+names(hosts))
		}
	}
	return moving, still
}

// widestLabel is how wide a label may become.
func (s *simulated) widestLabel(by string, moving []policies.Instance) int {
	widest := 0
	if by == "policy" {
		for i := range s.set.Policies {
			widest = max(widest, len(s.set.Policies[i].Name+" (100)"))
		}
	} else {
		for _, i := range moving {
			widest = max(widest, utf8.RuneCountInString(i.Hostname+" +100"))
		}
	}
	return min(widest, mostLabel)
}

// hasCalendar tells the policies that something happens by without a signal.
func hasCalendar(p *policies.Policy) bool { return p.Signal == nil }

// instanceStrips are those of instances that move; those that look alike share a strip.
func (s *simulated) instanceStrips(f *stripFlags, courses map[string][]policies.Span, moving []policies.Instance, cells []cell) []strip {
	var rows []strip
	var more []int             // by row: how many look like it
	at := make(map[string]int) // by look
	for _, i := range moving {
		row, key := strip{label: i.Hostname}, ""
		for _, c := range cells {
			share := s.share(courses[i.ID], c)
			row.cells, key = append(row.cells, share), key+f.block(share)
		}
		if n, ok := at[key]; ok {
			more[n]++
			continue
		}
		at[key] = len(rows)
		rows, more = append(rows, row), append(more, 0)
	}
	for n := range rows {
		if k := more[n]; k > 0 {
			rows[n].label = fmt.Sprintf("%s +%d", rows[n].label, k)
		}
	}
	return rows
}

// policyStrips say how many of the instances that a policy selects run.
func (s *simulated) policyStrips(courses map[string][]policies.Span, cells []cell) []strip {
	var rows []strip
	for n := range s.set.Policies {
		p := &s.set.Policies[n]
		if !hasCalendar(p) {
			continue
		}
		selected := slices.DeleteFunc(slices.Clone(s.instances), func(i policies.Instance) bool { return !p.Select.Matches(i) })
		row := strip{label: fmt.Sprintf("%s (%d)", p.Name, len(selected))}
		for _, c := range cells {
			sum, known := 0.0, 0
			outside := false
			for _, i := range selected {
				switch share := s.share(courses[i.ID], c); {
				case share < 0:
					outside = true
				case !math.IsNaN(share):
					sum += share
					known++
				}
			}
			switch {
			case outside:
				sum = -1
			case known == 0:
				sum = math.NaN()
			default:
				sum /= float64(known)
			}
			row.cells = append(row.cells, sum)
		}
		if len(selected) == 0 {
			row.cells = nil
		}
		rows = append(rows, row)
	}
	return rows
}

// share is how much of a cell an instance spends running.
func (s *simulated) share(course []policies.Span, c cell) float64 {
	if c.from.Before(s.from) {
		c.from = s.from
	}
	if c.to.After(s.to) {
		c.to = s.to
	}
	if !c.from.Before(c.to) {
		return -1
	}
	running, stopped := policies.Within(course, schedule.Running, c.from, c.to), policies.Within(course, schedule.Stopped, c.from, c.to)
	if running+stopped == 0 {
		return math.NaN()
	}
	return float64(running) / float64(running+stopped)
}

// blur is what does not show: a spread of minutes would put a rim to each edge.
const blur = 0.05

// hoursPerCell is the finest grid that fits.
func hoursPerCell(width, days int) int {
	for _, h := range []int{1, 2, 3, 4, 6, 8, 12} {
		if days*(24/h+1) <= width {
			return h
		}
	}
	return 24
}

// cellsOf are so many hours of the wall clock each. An hour that the clock leaves
// out has no length, and is drawn as the one before.
func cellsOf(days []time.Time, hours int) []cell {
	var cells []cell
	for _, day := range days {
		y, m, d := day.Date()
		for h := 0; h < 24; h += hours {
			c := cell{time.Date(y, m, d, h, 0, 0, 0, day.Location()), time.Date(y, m, d, h+hours, 0, 0, 0, day.Location())}
			if !c.from.Before(c.to) && len(cells) > 0 {
				c = cells[len(cells)-1]
			}
			cells = append(cells, c)
		}
	}
	return cells
}

func draw(w io.Writer, f *stripFlags, rows []strip, days []time.Time, hours, label int) {
	perDay := 24 / hours
	var head strings.Builder
	for _, d := range days {
		text := ""
		for _, layout := range []string{"Mon 2 Jan", "Mon 2", "Mon"} {
			if text = d.Format(layout); len(text) <= perDay {
				break
			}
			text = ""
		}
		fmt.Fprintf(&head, " %-*s", perDay, text)
	}
	fmt.Fprintln(w, strings.TrimRight(strings.Repeat(" ", label+1)+head.String(), " "))
	edge := "│"
	if f.ascii {
		edge = "|"
	}
	for n, row := range rows {
		if n == mostStrips {
			fmt.Fprintf(w, "and %s more; --by policy shows them together\n", count(len(rows)-n, "strip"))
			break
		}
		line := padded(row.label, label) + " "
		if row.cells == nil {
			fmt.Fprintln(w, line+edge+" selects none of the instances")
			continue
		}
		for i, share := range row.cells {
			if i%perDay == 0 {
				line += edge
			}
			line += f.block(share)
		}
		fmt.Fprintln(w, line+edge)
	}
}

func padded(s string, width int) string {
	if n := utf8.RuneCountInString(s); n <= width {
		return s + strings.Repeat(" ", width-n)
	}
	return string([]rune(s)[:width-1]) + "~"
}

// block draws a share.
func (f *stripFlags) block(share float64) string {
	if share >= 0 && share < blur {
		share = 0
	}
	if share > 1-blur {
		share = 1
	}
	switch {
	case math.IsNaN(share):
		return "?"
	case share < 0:
		return " "
	case f.ascii && share == 0:
		return "."
	case f.ascii && share == 1:
		return "#"
	case f.ascii && share >= 0.5:
		return "+"
	case f.ascii:
		return "-"
	case share == 0:
		return "·"
	case share == 1:
		return "█"
	}
	blocks := []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇"}
	return blocks[min(6, int(share*8))]
}
