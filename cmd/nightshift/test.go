package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nightshift/configs"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

func newTestCommand() *cobra.Command {
	var pattern, output string
	cmd := &cobra.Command{
		Use:   "test [FILE]",
		Short: "Run the tests of a policy file",
		Long: `test runs the tests: of a policy file and of the files that it includes. Each
says what an instance should be at an instant, and by which policy:

  tests:
    - { instance: { name: dev-1, tags: [env=dev] }, at: "2026-12-25 10:00",
        want: stopped, by: dev-hours }

It asks the code that decides, and nobody else: no token, no daemon, no clock.
want is running, stopped, or any where nobody wants either; without by any
policy may be the one; by: keep and by: mark name the tags of an owner. A test that fails says who won instead, and why the
policy that should have won did not.

--run runs the tests whose line matches: it is "dev-1 at 2026-12-25 10:00 wants
stopped by dev-hours".

Exit codes: 0 all passed; 1 one failed, the file has a fault, or nothing was run,
because it has no tests or none matches; 64 wrong usage.`,
		Example: `  nightshift test nightshift.yaml
  nightshift test nightshift.yaml --run 2026-12-25
  nightshift test nightshift.yaml -o json | jq '.tests[] | select(.passed | not)'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "table", "json"); err != nil {
				return err
			}
			only, err := regexp.Compile(pattern)
			if err != nil {
				return usagef("--run: %v", err)
			}
			file := configs.DefaultFile
			if len(args) > 0 {
				file = args[0]
			}
			cfg, err := configs.Load(file, os.Environ(), configs.Overrides{})
			if err != nil {
				return err
			}
			ran := testOutput{File: file, Tests: []testResult{}}
			for _, t := range cfg.Tests {
				if r := newTestResult(cfg, t); only.MatchString(r.Name) {
					ran.add(r)
				}
			}
			if len(cfg.Tests) == 0 {
				return fmt.Errorf("%s has no tests: write some under tests:, or leave this step out", file)
			}
			if len(ran.Tests) == 0 {
				return fmt.Errorf("none of the %s of %s matches --run %q", count(len(cfg.Tests), "test"), file, pattern)
			}
			if err := ran.print(cmd.OutOrStdout(), output); err != nil {
				return err
			}
			if ran.Failed > 0 {
				return errSilent
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&pattern, "run", "", "run only the tests whose line matches this regular expression")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

// testOutput is what test prints; its JSON form is meant for programs.
type testOutput struct {
	File   string       `json:"file"`
	Passed int          `json:"passed"`
	Failed int          `json:"failed"`
	Tests  []testResult `json:"tests"`
}

type testResult struct {
	File   string    `json:"file"`
	Line   int       `json:"line"`
	Name   string    `json:"name"` // what --run matches
	At     time.Time `json:"at"`
	Want   testWant  `json:"want"`
	Got    testWant  `json:"got"`
	Passed bool      `json:"passed"`
	Why    string    `json:"why,omitempty"`        // what the winner comes from
	Differ []string  `json:"difference,omitempty"` // why it is not as wanted; lines for people
}

type testWant struct {
	State schedule.State `json:"state"`
	By    string         `json:"by,omitempty"` // none: nobody, or, where it is wanted, whoever
}

func (w testWant) String() string {
	state := string(w.State)
	if w.State == schedule.Any {
		state = "any"
	}
	if w.By != "" {
		return state + " by " + w.By
	}
	return state
}

// newTestResult runs a test.
func newTestResult(cfg *configs.Config, t configs.Test) testResult {
	e := policies.Explain(&cfg.Policies, t.Instance, policies.Facts{}, t.At)
	r := testResult{File: t.File, Line: t.Line, At: t.At, Want: testWant{t.Want, t.By}, Got: testWant{State: e.State()}}
	r.Name = fmt.Sprintf("%s at %s wants %s", firstOf(t.Instance.Hostname, t.Instance.ID, "an instance"), t.At.In(cfg.Policies.Zone).Format("2006-01-02 15:04"), r.Want)
	if e.Untouchable == "" && len(e.Wants) > 0 {
		r.Got.By, r.Why = bySource(e.Wants[0].Source), e.Wants[0].Why
	}
	r.Passed = r.Got.State == t.Want && (t.By == "" || bySource(t.By) == r.Got.By)
	if !r.Passed {
		r.Differ = testDifference(cfg, t, r, e)
	}
	return r
}

// bySource is how a test names a source: a policy, or keep or mark for what an
// owner's tag says.
func bySource(source string) string { return strings.TrimPrefix(source, "_") }

// testDifference says what came instead, and why the policy that should have won
// did not.
func testDifference(cfg *configs.Config, t configs.Test, r testResult, e policies.Explanation) []string {
	got := r.Got.String()
	switch {
	case e.Untouchable != "":
		got = "nothing: it is never touched, " + e.Untouchable
	case len(e.Wants) == 0:
		got = "any: nobody wants it running or stopped"
	default:
		got += ": " + r.Why
	}
	lines := []string{"wanted  " + r.Want.String(), "got     " + got}
	if e.Untouchable != "" {
		return lines
	}
	told := map[string]bool{r.Got.By: true}
	why := func(name, words string) {
		lines = append(lines, "        "+name+": "+words)
		told[name] = true
	}
	if t.By != "" && bySource(t.By) != r.Got.By {
		why(t.By, whyNot(cfg, t, e))
	}
	for _, a := range e.Wants { // who wanted what the test wants, and lost
		if !told[bySource(a.Source)] && a.State == t.Want && a.Loses != "" && t.Want != r.Got.State {
			why(bySource(a.Source), "wants "+string(a.State)+" ("+a.Why+"), but "+a.Loses)
		}
	}
	for _, m := range e.Mute {
		if p, ok := cfg.Policies.Policy(m.Policy); ok && p.Signal == nil && !told[m.Policy] { // no signal comes in a test
			why(m.Policy, m.Why)
		}
	}
	for _, f := range e.Faults {
		lines = append(lines, "        the tag "+f.Tag+" does nothing: "+f.Msg)
	}
	return lines
}

// whyNot says why the policy that a test names is not the winner.
func whyNot(cfg *configs.Config, t configs.Test, e policies.Explanation) string {
	if n := slices.IndexFunc(e.Wants, func(a policies.Argued) bool { return bySource(a.Source) == bySource(t.By) }); n >= 0 {
		a := e.Wants[n]
		return "wants " + string(a.State) + " (" + a.Why + "), but " + firstOf(a.Loses, "loses")
	}
	if n := slices.IndexFunc(e.Mute, func(m policies.Mute) bool { return m.Policy == t.By }); n >= 0 {
		return e.Mute[n].Why
	}
	if p, ok := cfg.Policies.Policy(t.By); ok {
		return "does not select it (" + p.Select.String() + ")"
	}
	var names []string
	for _, p := range cfg.Policies.Policies {
		names = append(names, p.Name)
	}
	if near := policies.Nearest(t.By, names); near != "" {
		return "there is no such policy; did you mean " + near + "?"
	}
	return "there is no such policy; there are " + strings.Join(names, ", ")
}

func (o *testOutput) add(r testResult) {
	o.Tests = append(o.Tests, r)
	if r.Passed {
		o.Passed++
	} else {
		o.Failed++
	}
}

func (o *testOutput) print(w io.Writer, form string) error {
	if form == "json" {
		return printJSON(w, o)
	}
	for _, r := range o.Tests {
		if r.Passed {
			fmt.Fprintf(w, "ok    %s:%d: %s\n", r.File, r.Line, r.Name)
			continue
		}
		fmt.Fprintf(w, "FAIL  %s:%d: %s\n", r.File, r.Line, r.Name)
		for _, line := range r.Differ {
			fmt.Fprintf(w, "        %s\n", line)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d passed, %d failed\n", o.Passed, o.Failed)
	return err
}
