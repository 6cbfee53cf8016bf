package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nightshift/policies"
	"nightshift/policies/foreign"
	"nightshift/policies/schedule"
)

func newWhenCommand() *cobra.Command {
	var w whenFlags
	cmd := &cobra.Command{
		Use:   "when [SPEC]",
		Short: "Say what a window, cron line or tag means, and when it is next",
		Long: `when explains a spec: a window ("Mon-Fri 08:00-19:00", "22:00-06:00",
"Sun 22:00 - Fri 19:00", "Mon#1 09:00-12:00"), a cron line ("30 5 * * MON-FRI"), or the value
of a tag, and lists the next times at which something happens.

--tag KEY also says how the spec is written as a tag, which has no blanks and no
commas: --tag nightshift.hours, nightshift.schedule, nightshift.keep, nightshift.mark.

--grammar reads the spec as another tool does, its traps included, and warns of
them: c7n-offhours, kube-downscaler, aws-instance-scheduler.

--batch reads lines of JSON from standard input and writes one for each:
in  {"id","grammar","spec","default_tz","policy","env","edge","at"}
out {"id","result","reason"}
with edge on, off, window, state, validate or due, grammar native,
c7n-offhours, c7n-mark-for-op, kube-downscaler or aws-instance-scheduler, and
result true, false, "running", "stopped", "any", "ok" or "error".

Exit codes: 0; 1 when the spec cannot be read.`,
		Example: `  nightshift when "Mon-Fri 08:00-19:00" --timezone Europe/London
  nightshift when "30 5 * * MON-FRI" --at 2026-11-27 --next 3
  nightshift when --tag nightshift.hours "Mon-Fri 08:00-19:00, Sat 10:00-14:00 Europe/London"
  nightshift when --grammar c7n-offhours "off=(M-F,19);on=(M-F,7);tz=pt"
  nightshift when --batch < questions.jsonl`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if w.batch {
				if len(args) > 0 {
					return usagef("--batch reads standard input, and takes no SPEC")
				}
				return answerBatch(cmd.InOrStdin(), cmd.OutOrStdout())
			}
			if len(args) == 0 {
				return usagef("name a SPEC, such as \"Mon-Fri 08:00-19:00\", or --batch")
			}
			return w.explain(cmd.OutOrStdout(), args[0])
		},
	}
	cmd.Flags().StringVar(&w.timezone, "timezone", "UTC", "zone of a spec that names none")
	cmd.Flags().StringVar(&w.at, "at", "now", "from when on: RFC 3339, or 2026-11-27 19:00 in the spec's zone")
	cmd.Flags().IntVar(&w.next, "next", 5, "how many times to list")
	cmd.Flags().StringVar(&w.tag, "tag", "", "the key of a tag that the spec is for")
	cmd.Flags().StringVar(&w.grammar, "grammar", foreign.Native, "whose grammar: native, "+strings.Join(foreign.Grammars(), ", "))
	cmd.Flags().BoolVar(&w.batch, "batch", false, "answer lines of JSON from standard input")
	return cmd
}

type whenFlags struct {
	timezone, at, tag, grammar string
	next                       int
	batch                      bool
}

// answerBatch answers a line for a line. A line that cannot be read is answered
// with an error, too. What was asked so far is answered before it waits for more.
func answerBatch(in io.Reader, out io.Writer) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("read the questions: %w", errors.Join(err, w.Flush()))
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := enc.Encode(answerLine(line)); err != nil {
				return fmt.Errorf("write the answers: %w", err)
			}
		}
		if err == io.EOF || lines.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return fmt.Errorf("write the answers: %w", err)
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

func answerLine(line []byte) foreign.Result {
	var q foreign.Question
	if err := json.Unmarshal(line, &q); err != nil {
		var id struct{ ID string }    // a fault before the id hides it
		_ = json.Unmarshal(line, &id) // what is left of it is all that can be said
		return foreign.Result{ID: id.ID, Result: "error", Reason: "the line cannot be read: " + err.Error()}
	}
	return foreign.Answer(q)
}

func (w *whenFlags) explain(out io.Writer, spec string) error {
	zone, err := schedule.LoadZone(w.timezone)
	if err != nil {
		return err
	}
	switch {
	case strings.HasSuffix(w.tag, "."+policies.OwnKeep):
		return w.explainKeep(out, spec, zone)
	case strings.HasSuffix(w.tag, "."+policies.OwnMark):
		return w.explainMark(out, spec, zone)
	case strings.HasSuffix(w.tag, "."+policies.OwnSchedule) && scheduleName.MatchString(spec):
		_, err := fmt.Fprintf(out, "The hours of the schedule %s of the policy file.\nAs a tag: %s=%s\n", spec, w.tag, spec)
		return err
	case w.tag != "" && w.grammar == foreign.Native && isCron(spec):
		return fmt.Errorf("a tag holds hours, and %q is a cron spec; write it as cron: in a policy", spec)
	}
	if w.grammar == foreign.Native && isCron(spec) {
		return w.explainCron(out, spec, zone)
	}
	var table schedule.Timetable
	var warnings []foreign.Warning
	if w.grammar == foreign.Native {
		weekly, err := schedule.ParseWeekly([]string{spec}, nil, zone)
		if err != nil {
			return err
		}
		table = weekly
		fmt.Fprintf(out, "Running %s; stopped at all other times.\n", weekly.Windows(schedule.Running))
	} else {
		if table, warnings, err = foreign.Read(w.grammar, spec, nil, zone); err != nil {
			return err
		}
	}
	if w.tag != "" {
		if err := w.printTag(out, spec); err != nil {
			return err
		}
	}
	for _, x := range warnings {
		fmt.Fprintf(out, "Note: %s.", x.Text)
		if x.Hint != "" {
			fmt.Fprintf(out, " Better: %s.", x.Hint)
		}
		fmt.Fprintln(out)
	}
	at, err := parseAt(w.at, table.Zone())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "At %s: %s.\n", localTime(at, table.Zone()), stateSentence(table.At(at)))
	return w.list(out, func(t time.Time) (time.Time, string, bool) {
		n, ok := table.Next(t)
		return n.At, stateSentence(n.To), ok
	}, at, table.Zone())
}

func stateSentence(s schedule.State) string {
	if s == schedule.Any {
		return "no want"
	}
	return string(s)
}

var scheduleName = regexp.MustCompile(`^[a-z0-9-]+$`)

func isCron(spec string) bool {
	return strings.HasPrefix(spec, "@") || len(strings.Fields(spec)) == 5 && !strings.Contains(spec, ":")
}

func (w *whenFlags) explainCron(out io.Writer, spec string, zone *time.Location) error {
	cron, err := schedule.ParseCron(spec, zone)
	if err != nil {
		return err
	}
	at, err := parseAt(w.at, zone)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Cron %s.\n", cron)
	return w.list(out, func(t time.Time) (time.Time, string, bool) {
		n, ok := cron.Next(t)
		return n, "fires", ok
	}, at, zone)
}

// list prints the next times.
func (w *whenFlags) list(out io.Writer, next func(time.Time) (time.Time, string, bool), at time.Time, zone *time.Location) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for n := range w.next {
		t, what, ok := next(at)
		if !ok {
			if n == 0 {
				fmt.Fprintln(tw, "Nothing lies ahead.")
			}
			break
		}
		fmt.Fprintf(tw, "  %s\t%s\n", localTime(t, zone), what)
		at = t
	}
	return tw.Flush()
}

// printTag prints a spec as the tag that holds it.
func (w *whenFlags) printTag(out io.Writer, spec string) error {
	value := spec
	if w.grammar == foreign.Native {
		value = strings.Join(strings.FieldsFunc(spec, func(r rune) bool { return r == ',' || r == ';' }), ";")
		var parts []string
		for part := range strings.SplitSeq(value, ";") {
			parts = append(parts, strings.Join(strings.Fields(part), "_"))
		}
		value = strings.Join(parts, ";")
	}
	if err := policies.CheckGlob(value); err != nil {
		return fmt.Errorf("as a tag: %w", err)
	}
	_, err := fmt.Fprintf(out, "As a tag: %s=%s\n", w.tag, value)
	return err
}

func (w *whenFlags) explainKeep(out io.Writer, spec string, zone *time.Location) error {
	spec = strings.ReplaceAll(strings.TrimSpace(spec), " ", "_")
	k, err := policies.ParseKeep(spec, zone)
	if err != nil {
		return err
	}
	until := "for as long as owners.max lets it (12 h by default), from when it is first seen"
	if !k.Until.IsZero() {
		until = "until " + localTime(k.Until, zone) + ", at most owners.max (12 h by default) from when it is first seen"
	}
	_, err = fmt.Fprintf(out, "Kept %s %s. Then the policies decide anew.\nAs a tag: %s=%s\n", keptWord(k.State), until, w.tag, spec)
	return err
}

func keptWord(s schedule.State) string {
	if s == schedule.Any {
		return "as it is"
	}
	return string(s)
}

func (w *whenFlags) explainMark(out io.Writer, spec string, zone *time.Location) error {
	spec = strings.ReplaceAll(strings.TrimSpace(spec), " ", "_")
	verb, at, err := policies.ParseMark(spec, zone)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "One %s at %s.\nAs a tag: %s=%s\n", verb, localTime(at, zone), w.tag, spec)
	return err
}
