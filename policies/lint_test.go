package policies_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// findings are what Lint says, condensed, a line each: severity rule policy
// (instance+more): message | hint | items.
func findings(s *policies.Set, known policies.Known) string {
	if known.From.IsZero() {
		known.From = at("2026-03-02 12:00")
	}
	var b strings.Builder
	for _, f := range policies.Condense(policies.Lint(s, known)) {
		fmt.Fprintf(&b, "%s %s", f.Severity, f.Rule)
		if f.Policy != "" {
			fmt.Fprintf(&b, " %s", f.Policy)
		}
		if f.Instance != "" || f.More > 0 {
			fmt.Fprintf(&b, " (%s+%d)", f.Instance, f.More)
		}
		fmt.Fprintf(&b, ": %s", f.Msg)
		for _, more := range append([]string{f.Hint}, f.Items...) {
			if more != "" {
				fmt.Fprintf(&b, " | %s", more)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func calendar(t testing.TB, dates ...string) *schedule.Calendar {
	t.Helper()
	c, err := schedule.ParseDates(dates)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func except(p policies.Policy, rules ...schedule.Exception) policies.Policy {
	p.Schedule = p.Schedule.(*schedule.Weekly).Except(rules)
	return p
}

func selecting(p policies.Policy, s policies.Selector) policies.Policy {
	p.Select = s
	return p
}

func tagged(tags ...string) policies.Selector { return policies.Selector{All: tags} }

// A set without anything odd, so that each test shows its own finding alone.
func TestLintIsSilentAboutAnOrdinaryFile(t *testing.T) {
	web := instance("w", policies.StatusActive)
	web.Tags = []string{"role=web", "protected"}
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	reboot := onAlert("down", 0, policies.Step{Verb: policies.Reboot})
	if got := findings(set(office, reboot), policies.Known{Inventory: []policies.Instance{instance("a", policies.StatusActive), web}}); got != "" {
		t.Errorf("got %s", got)
	}
}

// One case for each thing that is found in the file alone.
func TestLintOfTheFileAlone(t *testing.T) {
	start, stop, reboot := policies.Step{Verb: policies.Start}, policies.Step{Verb: policies.Stop}, policies.Step{Verb: policies.Reboot}
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	half, err := schedule.ParseWeekly([]string{"Mon-Fri 08:00-13:00"}, nil, london)
	if err != nil {
		t.Fatal(err)
	}
	only := level(t, "only", 0, "2024-12-24..2024-12-31 08:00-19:00")
	only.Schedule = only.Schedule.(*schedule.Weekly).OneSided()
	forbidden := set(office, onAlert("down", 0, reboot))
	forbidden.Allow = []policies.Verb{policies.Start}
	owners := func(keys ...string) *policies.Set {
		s := set(office)
		s.Owners.Keys = keys
		return s
	}
	signal := func(p policies.Policy, change func(p *policies.Policy)) policies.Policy {
		c := *p.Signal
		p.Signal = &c
		change(&p)
		return p
	}
	for _, tt := range []struct {
		name string
		set  *policies.Set
		want string
	}{
		{"an edge in the gap happens at the first instant after it", set(level(t, "a", 0, "01:30-05:00")), `
			note dst-gap a: there is no 01:30 on Sun 2026-03-29, when the clock of Europe/London jumps ahead: its edge is at 02:00 BST, the first instant after the gap
			note dst-overlap a: 01:30 comes twice on Sun 2026-10-25, when the clock of Europe/London goes back: its edge is at the first reading, 01:30 BST`},
		{"a cron in the gap, too; those alike are counted", set(impulse(t, "a", 0, "*/20 1 * * *", 0, reboot)), `
			note dst-gap a (+2): there is no 01:00 on Sun 2026-03-29, when the clock of Europe/London jumps ahead: its edge is at 02:00 BST, the first instant after the gap
			note dst-overlap a (+2): 01:00 comes twice on Sun 2026-10-25, when the clock of Europe/London goes back: its edge is at the first reading, 01:00 BST`},
		{"a cron for every hour follows elapsed time", set(impulse(t, "a", 0, "30 * * * *", 0, reboot)), ""},
		{"a window in the gap is empty", set(asleep(t, "a", 0, "Sun 01:10-01:40")), `
			warning dst-gap a: the window Sun 01:10-01:40 lies where the clock of Europe/London jumps ahead on Sun 2026-03-29: it is empty on that day
			note dst-overlap a (+1): 01:10 comes twice on Sun 2026-10-25, when the clock of Europe/London goes back: its edge is at the first reading, 01:10 BST`},
		{"a window of the past", set(level(t, "a", 0, "Mon-Fri 08:00-19:00; 2024-12-24..2024-12-31 08:00-22:00")), `
			warning window a: the window 2024-12-24..2024-12-31 08:00-22:00 is past: its last day was Tue 2024-12-31 | take it out, or give it a date to come`},
		{"a window of 29 February comes in 2028", set(level(t, "a", 0, "Mon-Fri 08:00-19:00; Feb 29 08:00-22:00")), `
			note window a: the window Feb 29 08:00-22:00 does not come within the year; its next day is Tue 2028-02-29`},
		{"a cron of 29 February", set(impulse(t, "a", 0, "0 8 29 2 *", 0, stop)), `
			warning no-edge a: cron 0 8 29 2 * Europe/London does not fire within the year: next at Tue 2028-02-29 08:00 GMT`},
		{"a schedule that never changes", set(asleep(t, "a", 0, "00:00-24:00")), `
			note no-edge a: the schedule wants stopped all through the year ahead: it has no edge of its own, and acts only when another want ends`},
		{"a schedule that has no voice again", set(only), `
			warning window only: the window 2024-12-24..2024-12-31 08:00-19:00 is past: its last day was Tue 2024-12-31 | take it out, or give it a date to come
			warning no-edge only: the schedule has no voice at any time of the year ahead`},
		{"holidays on a start day, with what the day does", set(except(office, schedule.Exception{Calendar: calendar(t, "12-25 Christmas", "12-26 Boxing Day"), Name: "holidays", Use: schedule.UseSchedule, Schedule: half, As: "half-day"})), `
			note holiday office: 1 day of the calendar holidays on a day that would run: then it is as half-day: running Mon-Fri 08:00-13:00 | Fri 2026-12-25 Christmas`},
		{"a calendar that has run out", set(except(office, schedule.Exception{Calendar: calendar(t, "2025-12-25"), Name: "holidays", Use: schedule.UseNever})), `
			warning calendar office: the calendar holidays has run out: its last day was Thu 2025-12-25 | add the days of the year to come`},
		{"a calendar that begins later", set(except(office, schedule.Exception{Calendar: calendar(t, "2027-12-27"), Name: "holidays", Use: schedule.UseNever})), `
			warning calendar office: the calendar holidays holds no day in the year ahead`},
		{"a calendar that will run out", set(except(office, schedule.Exception{Calendar: calendar(t, "2026-12-25"), Name: "holidays", Use: schedule.UseNever})), `
			note calendar office: the calendar holidays ends on Fri 2026-12-25 | add the days of the year to come in time
			note holiday office: 1 day of the calendar holidays on a day that would run: then it is stopped all day | Fri 2026-12-25`},
		{"a calendar that goes on for longer", set(except(office, schedule.Exception{Calendar: calendar(t, "2026-12-25", "2027-12-24"), Name: "holidays", Use: schedule.UseNever})), `
			note holiday office: 1 day of the calendar holidays on a day that would run: then it is stopped all day | Fri 2026-12-25`},
		{"an exception behind another", set(except(office, schedule.Exception{Calendar: calendar(t, "12-24", "12-25"), Name: "closed", Use: schedule.UseNever}, schedule.Exception{Calendar: calendar(t, "12-25"), Name: "holidays", Use: schedule.UseAlways})), `
			warning exception office: the exception for holidays never applies: all its days are decided by closed before it | the first that matches wins: put it before the others, or take it out
			note holiday office: 2 days of the calendar closed on a day that would run: then it is stopped all day | Thu 2026-12-24 | Fri 2026-12-25`},
		{"an exception that changes nothing", set(except(office, schedule.Exception{Calendar: calendar(t, "2026-12-26"), Name: "closed", Use: schedule.UseNever})), `
			warning exception office: the exception for closed changes nothing: on each of its 1 day in the year ahead the schedule is so anyway (stopped all day)
			note calendar office: the calendar closed ends on Sat 2026-12-26 | add the days of the year to come in time`},
		{"what allow does not list", forbidden, `
			fault not-allowed office: stop is not in allow | add stop to allow
			fault not-allowed down: reboot is not in allow | add reboot to allow`},
		{"keys of owners that nothing follows", owners(policies.OwnHours), `
			warning owners: owners.keys lists hours, but no policy follows the tag nightshift.hours | add a policy with schedule: { from_tag: nightshift.hours }`},
		{"lasts that is too short", set(impulse(t, "a", 0, "0 8 * * *", 5*time.Minute, start)), `
			warning lasts a: lasts 5m is shorter than an instance may take to get there (10m)`},
		{"lasts that never ends", set(impulse(t, "a", 0, "0 8 * * *", 24*time.Hour+23*time.Hour, start)), `
			warning lasts a: lasts 47h never ends: cron 0 8 * * * Europe/London comes again after 25h | a schedule says that better`},
		{"lasts beyond the next", set(impulse(t, "a", 0, "0 8 * * MON-FRI", 30*time.Hour, start)), `
			note lasts a: lasts 30h reaches beyond the next planned time, 24h later: the want is prolonged then`},
		{"lasts longer than is remembered", set(signal(onAlert("a", 0, start), func(p *policies.Policy) { p.Lasts = 8 * 24 * time.Hour })), `
			warning lasts a: lasts 192h is too long for its end to stop what it started: that is remembered for 168h`},
		{"a spread beyond the next edge", set(func() policies.Policy {
			p := level(t, "a", 0, "Mon-Fri 08:00-09:00")
			p.Spread = 2 * time.Hour
			return p
		}()), `
			warning spread a: spread 2h reaches beyond the next edge: the two closest lie 1h apart | make it shorter than the shortest window`},
		{"a cooldown shorter than for", set(signal(onAlert("a", 0, start), func(p *policies.Policy) { p.Signal.For, p.Cooldown = time.Hour, 30*time.Minute })), `
			warning cooldown a: cooldown 30m is shorter than for 1h: it is over before the same can be found again | make it longer than for`},
		{"a cooldown that settling hides", set(signal(onAlert("a", 0, reboot), func(p *policies.Policy) { p.Cooldown = 5 * time.Minute })), `
			note cooldown a: cooldown 5m means nothing: signals leave an instance alone for 10m after each action`},
		{"clear_below without for", set(signal(onAlert("a", 0, start), func(p *policies.Policy) {
			*p.Signal = policies.SignalCause{Load: "cpu", Above: 85, ClearBelow: 60}
		})), `
			warning load a: clear_below does nothing: without for, and without a step that asks still-firing, each value counts by itself | add for, such as for: 10m`},
		{"a region that is not read", set(selecting(office, policies.Selector{All: []string{"env=dev"}, Region: []string{"FRA1"}})), `
			warning region office: it selects region FRA1, which is not one of regions (LON1) | add it to regions`},
		{"a schedule that loses sight of what it stops", set(selecting(office, policies.Selector{Status: []string{"active"}})), `
			warning selects-status office: it selects by status active: what it has stopped it no longer selects, and never starts | leave status out`},
		{"a status that there is not", set(selecting(onAlert("a", 0, start), policies.Selector{Status: []string{"RUNNING"}})), `
			warning selects-status a: no instance has the status RUNNING | statuses are ACTIVE, SHUTOFF, BUILDING, REBOOTING, DELETING, FAILED, HIBERNATED`},
	} {
		t.Run(tt.name, func(t *testing.T) { compareLines(t, findings(tt.set, policies.Known{}), tt.want) })
	}
}

func compareLines(t *testing.T, got, want string) {
	t.Helper()
	var lines []string
	for line := range strings.SplitSeq(want, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line+"\n")
		}
	}
	if want = strings.Join(lines, ""); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func matching(t testing.TB, p policies.Policy, text string) policies.Policy {
	t.Helper()
	m, err := policies.ParseMatcher(text)
	if err != nil {
		t.Fatal(err)
	}
	c := *p.Signal
	c.Matchers = []policies.Matcher{m}
	p.Signal = &c
	return p
}

// Who wins, and how loud that is said: between equals nobody has decided.
func TestLintOfPoliciesThatContradictEachOther(t *testing.T) {
	start, stop, reboot := policies.Step{Verb: policies.Start}, policies.Step{Verb: policies.Stop}, policies.Step{Verb: policies.Reboot}
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	labelled := func(p policies.Policy, severity string) policies.Policy {
		c := *p.Signal
		c.Labels = map[string]string{"severity": severity}
		p.Signal = &c
		return p
	}
	hard := policies.Step{Verb: policies.Reboot, Hard: true}
	for _, tt := range []struct {
		name string
		set  *policies.Set
		want string
	}{
		{"two levels that are equal", set(office, level(t, "late", 0, "Mon-Fri 08:00-20:00")), `
			warning conflict office: it wants stopped while late wants running (first Mon 2026-03-02 19:00 GMT, 261 hours in the year ahead): late wins, between equals running beats stopped | give one of them a priority, or keep their selectors apart`},
		{"by priority, and so never shadowed in turn", set(office, level(t, "late", 1, "Mon-Fri 08:00-20:00")), `
			note conflict office: it wants stopped while late wants running (first Mon 2026-03-02 19:00 GMT, 261 hours in the year ahead): late wins, priority 0 is less than 1`},
		{"one that never has its way", set(asleep(t, "closed", 1, "00:00-24:00"), selecting(level(t, "open", 0, "Sat 10:00-11:00; Sun 00:00-24:00"), tagged("env=dev"))), `
			note conflict open: it wants running while closed wants stopped (first Sat 2026-03-07 10:00 GMT, 1300 hours in the year ahead): closed wins, priority 0 is less than 1
			note no-edge closed: the schedule wants stopped all through the year ahead: it has no edge of its own, and acts only when another want ends`},
		{"one that is always beaten", set(asleep(t, "closed", 1, "00:00-24:00"), impulse(t, "open", 0, "0 8 * * *", time.Hour, start)), `
			warning shadowed open: it never has its way in the year ahead: when it wants something, it is beaten by closed
			note conflict open: it wants running while closed wants stopped (first Tue 2026-03-03 08:00 GMT, 365 hours in the year ahead): closed wins, priority 0 is less than 1
			note no-edge closed: the schedule wants stopped all through the year ahead: it has no edge of its own, and acts only when another want ends`},
		{"an impulse that comes after the level is meant", set(office, impulse(t, "nap", 0, "0 12 * * MON-FRI", time.Hour, stop)), `
			note conflict office: it wants running while nap wants stopped (first Mon 2026-03-02 12:00 GMT, 261 hours in the year ahead): nap wins, it fired after this came into force`},
		{"two impulses of one instant", set(impulse(t, "a", 0, "0 12 * * *", time.Hour, stop), impulse(t, "b", 0, "0 12 * * *", time.Hour, start)), `
			warning conflict a: it wants stopped while b wants running (first Mon 2026-03-02 12:00 GMT, 365 hours in the year ahead): b wins, between equals running beats stopped | give one of them a priority, or keep their selectors apart
			warning shadowed a: it never has its way in the year ahead: when it wants something, it is beaten by b`},
		{"sizes and the like, when both fire", set(
			impulse(t, "a", 0, "0 12 * * *", 0, policies.Step{Verb: policies.Retag, Add: []string{"x"}}), impulse(t, "b", 2, "0 */6 * * *", 0, policies.Step{Verb: policies.Retag, Remove: []string{"x"}})), `
			note conflict a: it wants retag +x while b wants retag -x (first Mon 2026-03-02 12:00 GMT): b wins, priority 0 is less than 2`},
		{"what comes every minute is not looked at for a year", set(impulse(t, "a", 1, "* * * * *", time.Hour, stop), impulse(t, "b", 0, "0 */12 * * *", time.Hour, start)), `
			warning shadowed b: it never has its way until Tue 2026-03-03 21:19 GMT: when it wants something, it is beaten by a
			warning lasts a: lasts 1h never ends: cron * * * * * Europe/London comes again after 1m | a schedule says that better
			note conflict b: it wants running while a wants stopped (first Mon 2026-03-02 12:00 GMT, 3 hours until Tue 2026-03-03 21:19 GMT): a wins, priority 0 is less than 1`},
		{"the same signal", set(onAlert("b", 0, reboot), onAlert("a", 0, hard)), `
			warning conflict b: it wants reboot soft while a wants reboot hard (at the same signal): a wins, between equals the first name wins | give one of them a priority, or keep their selectors apart`},
		{"the same alert with other labels is another signal", set(labelled(onAlert("b", 0, reboot), "page"), labelled(onAlert("a", 0, hard), "info")), ""},
		{"matchers that no signal can satisfy with the other's labels", set(matching(t, onAlert("b", 0, reboot), `severity!="page"`), labelled(onAlert("a", 0, hard), "page")), ""},
		{"nor the other way round", set(labelled(onAlert("b", 0, reboot), "page"), matching(t, onAlert("a", 0, hard), `severity!="page"`)), ""},
		{"matchers that can", set(matching(t, onAlert("b", 0, reboot), `severity=~"p.*"`), labelled(onAlert("a", 0, hard), "page")), `
			warning conflict b: it wants reboot soft while a wants reboot hard (at the same signal): a wins, between equals the first name wins | give one of them a priority, or keep their selectors apart`},
		{"what lasts ends, and begins again", set(office, impulse(t, "nap", 1, "0 12 * * MON-FRI", 30*time.Minute, stop)), `
			note conflict office: it wants running while nap wants stopped (first Mon 2026-03-02 12:00 GMT, 131 hours in the year ahead): nap wins, priority 0 is less than 1`},
		{"a reboot that never happens", set(office, impulse(t, "boot", 0, "0 3 * * *", 0, reboot)), `
			warning reboot-while-off boot: it never reboots: at each of its planned times office wants the instance stopped`},
		{"a reboot that sometimes happens", set(office, impulse(t, "boot", 0, "0 3,12 * * *", 0, reboot)), ""},
		{"selectors that nothing has in common", set(office, selecting(level(t, "late", 0, "Mon-Fri 08:00-20:00"), tagged("role=web"))), ""},
		{"a selector that holds another", set(office, selecting(level(t, "late", 0, "Mon-Fri 08:00-20:00"), tagged("*"))), `
			warning conflict office: it wants stopped while late wants running (first Mon 2026-03-02 19:00 GMT, 261 hours in the year ahead): late wins, between equals running beats stopped | give one of them a priority, or keep their selectors apart`},
	} {
		t.Run(tt.name, func(t *testing.T) { compareLines(t, findings(tt.set, policies.Known{}), tt.want) })
	}
}

func TestLintSaysWhatExplainSays(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), level(t, "late", 0, "Mon-Fri 10:00-22:00"), impulse(t, "nap", 0, "0 12 * * MON-FRI", 30*time.Minute, policies.Step{Verb: policies.Stop}))
	got := findings(s, policies.Known{Inventory: []policies.Instance{instance("a", policies.StatusActive)}})
	for when, words := range map[string]string{"2026-03-02 20:00": "office: it wants stopped while late wants running", "2026-03-03 09:00": "late: it wants stopped while office wants running", "2026-03-02 12:10": "office: it wants running while nap wants stopped"} {
		e := policies.Explain(s, instance("a", policies.StatusActive), policies.Facts{}, at(when))
		if winner := e.Wants[0]; !strings.Contains(got, winner.Source+" wins, ") || !strings.Contains(strings.ReplaceAll(got, " (a+0)", ""), words) {
			t.Errorf("at %s %s wins, and lint says\n%s", when, winner.Source, got)
		}
	}
}

// One case for each thing that shows only when the fleet is known.
func TestLintOfAFleet(t *testing.T) {
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	with := func(id string, tags ...string) policies.Instance {
		i := instance(id, policies.StatusActive)
		i.Tags = tags
		return i
	}
	guard := with("guard", "protected")
	unmatched := func(s policies.Selector) *policies.Set { return set(selecting(office, s)) }
	own := set(office)
	own.Owners.Keys = []string{policies.OwnKeep, policies.OwnMark, policies.OwnHours}
	own.Policies = append(own.Policies, policies.Policy{Name: "own", Select: tagged("own"), FromTag: &policies.FromTag{
		Tag: "nightshift.hours", Read: func(value string) (schedule.Timetable, error) {
			if value == "bad" {
				return nil, errors.New("no windows")
			}
			return schedule.ParseWeekly([]string{value}, nil, london)
		},
		Warn: func(value string) []policies.TagWarning {
			if strings.HasPrefix(value, "22:00") {
				return []policies.TagWarning{{Text: "never matches", Hint: "write two"}}
			}
			return nil
		},
	}})
	dev, prod := with("dev-1", "env=dev"), with("prod-1", "env=prod", "batch")
	fleet := []policies.Instance{dev, with("dev-2", "env=dev"), prod, guard}
	expr, err := policies.ParseExpr(`tags[3] == "x"`)
	if err != nil {
		t.Fatal(err)
	}
	var all []policies.Instance
	for n := range 6 {
		all = append(all, with(fmt.Sprintf("dev-%d", n), "env=dev", "protecte"))
	}
	for _, tt := range []struct {
		name string
		set  *policies.Set
		inv  []policies.Instance
		want string
	}{
		{"a tag with a slip", unmatched(tagged("env=dve")), fleet, `
			warning selects-nothing office: env=dve matches nothing; there is env=dev (2 instances) | did you mean env=dev?`},
		{"a tag with another value", unmatched(tagged("env=staging")), fleet, `
			warning selects-nothing office: env=staging matches nothing; there is env=dev (2 instances) | did you mean env=dev?`},
		{"a glob", unmatched(tagged("evn=d*")), fleet, `
			warning selects-nothing office: evn=d* matches nothing; there is env=dev (2 instances) | did you mean env=dev?`},
		{"a tag like no other", unmatched(tagged("quarantined")), fleet, `
			warning selects-nothing office: quarantined matches nothing; there is batch, env=dev, env=prod, protected`},
		{"a host name", unmatched(policies.Selector{Hostname: []string{"dve-1"}}), fleet, `
			warning selects-nothing office: hostname dve-1 matches nothing; there is dev-1 (1 instance) | did you mean dev-1?`},
		{"a tag in an expression", unmatched(policies.Selector{When: expression(t, `"env=dve" in tags && cpu_cores >= 1`)}), fleet, `
			warning selects-nothing office: when: env=dve matches nothing; there is env=dev (2 instances) | did you mean env=dev?`},
		{"parts that never come together", unmatched(tagged("env=dev", "batch")), fleet, `
			warning selects-nothing office: each part of it matches something, all together match no instance (all env=dev batch)`},
		{"none takes all away", unmatched(policies.Selector{All: []string{"env=prod"}, None: []string{"batch"}}), fleet, `
			warning selects-nothing office: none: batch takes all 1 instance away that it would select`},
		{"a scope that leaves none", unmatched(policies.Selector{All: []string{"env=dev"}, Within: &policies.Selector{All: []string{"env=prod"}}}), fleet, `
			warning selects-nothing office: the scope of its file (all env=prod) leaves it none of 2 instances`},
		{"an expression that fails", unmatched(policies.Selector{When: expr}), fleet, `
			warning selects-nothing office: when "tags[3] == \"x\"" on instance dev-1: index out of bounds: 3`},
		{"an opt-out with a slip", unmatched(policies.Selector{All: []string{"env=dev"}, None: []string{"bacth"}}), fleet, `
			warning selects-nothing office: none: bacth matches nothing; there is batch (1 instance) | did you mean batch?`},
		{"an opt-out that nobody uses now", unmatched(policies.Selector{All: []string{"env=dev"}, None: []string{"keep-on"}}), fleet, ""},
		{"all, unmeant", unmatched(tagged("env=dev")), append(slices.Clone(all), with("x", "env=dev", "protected")), `
			warning selects-all office: it selects every instance (7): all env=dev | if that is meant, write all: ["*"]`},
		{"all, as written", unmatched(tagged("*")), fleet, `
			note selects-all office: it selects every instance (4), as it is written`},
		{"a trigger is bounded by its selector, and may say all", set(office, selecting(onAlert("intrusion", 0, policies.Step{Verb: policies.Reboot}), tagged("*"))), fleet, ""},
		{"tags of what is protected are nobody's business", own, []policies.Instance{dev, with("d", "own", "nightshift.hours=Mon-Fri_08:00-19:00"), with("k", "protected", "nightshift.keep=runing")}, ""},
		{"protect that protects nothing", set(office), append(slices.Clone(all), prod), `
			warning protects-nothing: protect protects nothing: protected matches nothing; there is protecte (6 instances) | did you mean protecte?`},
		{"protect that leaves nothing", unmatched(tagged("protected")), fleet, `
			warning protects-nothing office: nothing is left of what it selects: all 1 instance are protected, or nodes of clusters`},
		{"no instances at all", set(office), []policies.Instance{}, `
			warning selects-nothing office: there are no instances
			warning protects-nothing: protect protects nothing: there are no instances`},
		{"tags that do nothing, grouped", own, []policies.Instance{
			with("a", "env=dev", "nightshift.keep=runing"), with("b", "env=dev", "nightshift.keep=runing"), with("c", "nightshift.keeep=running"),
			with("d", "own", "nightshift.hours=bad"), with("e", "own"), with("f", "own", "nightshift.hours=22:00-06:00", "nightshift.hours=23:00-06:00"),
			with("g", "nightshift.keep=running@2026-02-01", "nightshift.mark=stop@2026-02-01"), with("h", "night-shift.keep=running"), guard,
		}, `
			warning tag (a+1): the tag nightshift.keep=runing does nothing: "runing": "runing" is none of running, stopped and asis; write it as running@2026-11-27T22:00
			warning tag (c+0): the tag nightshift.keeep=running does nothing: the key "keeep" is none of keep, hours, schedule, mark
			warning tag (d+0): the tag nightshift.hours=bad does nothing: policy own cannot follow it: no windows
			warning tag (h+0): the tag night-shift.keep=running does nothing | did you mean nightshift.keep=running?
			warning tag own (f+0): an instance has the tag nightshift.hours more than once (22:00-06:00, 23:00-06:00): the first in order counts, 22:00-06:00 | leave one
			warning tag-trap own (f+0): nightshift.hours=22:00-06:00: never matches | write two
			note tag (g+0): the keep nightshift.keep=running@2026-02-01 has ended | take the tag away
			note tag (g+0): the mark nightshift.mark=stop@2026-02-01 is over | take the tag away
			note tag-missing own (e+0): an instance that it selects has no tag nightshift.hours: it wants nothing of it`},
		{"a contradiction is counted by instance, over hours in tags", own, []policies.Instance{
			with("a", "env=dev", "own", "nightshift.hours=Mon-Fri_08:00-20:00"), with("b", "env=dev", "own", "nightshift.hours=Mon-Fri_08:00-20:00"), with("c", "env=dev", "own", "nightshift.hours=Mon-Fri_08:00-19:00"), guard,
		}, `
			warning conflict office (a+1): it wants stopped while own wants running (first Mon 2026-03-02 19:00 GMT, 261 hours in the year ahead): own wins, between equals running beats stopped | give one of them a priority, or keep their selectors apart`},
	} {
		t.Run(tt.name, func(t *testing.T) { compareLines(t, findings(tt.set, policies.Known{Inventory: tt.inv}), tt.want) })
	}
}

func TestLintOfAnAccount(t *testing.T) {
	grow := onAlert("grow", 0, policies.Step{Verb: policies.Resize, Ladder: []string{"g3.small", "c3.small", "g3.medium", "g3.lagre"}})
	quarantine := selecting(onAlert("quarantine", 0, policies.Step{Verb: policies.Firewall, Firewall: "gone"}), tagged("x"))
	s := set(grow, quarantine)
	s.Regions = []string{"LON1", "MARS1"}
	account := &policies.Account{Regions: []string{"NYC1", "LON1"}, Firewalls: map[string]bool{"open": true}, Sizes: map[string]policies.Size{
		"g3.small": {CPUCores: 1, RAMMB: 2048, DiskGB: 25}, "c3.small": {CPUCores: 2, RAMMB: 4096, DiskGB: 20}, "g3.medium": {CPUCores: 2, RAMMB: 4096, DiskGB: 50}, "g3.large": {CPUCores: 4, RAMMB: 8192, DiskGB: 100},
	}}
	compareLines(t, findings(s, policies.Known{Account: account}), `
		fault region: the account has no region MARS1 | it has LON1, NYC1
		fault ladder grow: the ladder goes down from g3.small (1 cores, 2048 MB, 25 GB disk) to c3.small (2 cores, 4096 MB, 20 GB disk) | Civo resizes upwards only: order the sizes from small to large
		fault ladder grow: the account has no size g3.lagre | did you mean g3.large?
		fault firewall quarantine: no region of the file has a firewall gone | a policy names a firewall by its id`)
}

// TestAFleetOfTenThousandIsAFewLines is also a bound: many kinds of instances,
// with the same fault on each.
func TestAFleetOfTenThousandIsAFewLines(t *testing.T) {
	s := set(level(t, "office", 0, "Mon-Fri 08:00-19:00"), level(t, "late", 0, "Mon-Fri 08:00-20:00"))
	s.Owners.Keys = []string{policies.OwnKeep}
	var inv []policies.Instance
	for n := range 10_000 {
		inv = append(inv, instance(fmt.Sprintf("i-%05d", n), policies.StatusActive, "nightshift.keep=yes"))
	}
	inv = append(inv, instance("guard", policies.StatusActive, "protected"))
	got := findings(s, policies.Known{Inventory: inv})
	if n := strings.Count(got, "\n"); n > 5 || !strings.Contains(got, "warning tag (i-00000+9999)") || !strings.Contains(got, "(i-00000+9999): it wants stopped") {
		t.Errorf("%d lines:\n%s", n, got)
	}
}

func TestEachFindingHasARuleThatIsListed(t *testing.T) {
	names := make(map[string]bool)
	for _, r := range policies.LintRules {
		if names[r.Name] || r.About == "" {
			t.Errorf("%+v", r)
		}
		names[r.Name] = true
	}
}

func BenchmarkLint(b *testing.B) {
	var all []policies.Policy
	for n := range 100 {
		p := level(b, fmt.Sprintf("p%02d", n), n%3, fmt.Sprintf("Mon-Fri %02d:00-%02d:30", n%12, 12+n%11))
		p.Select = tagged(fmt.Sprintf("team=%d", n/4))
		all = append(all, p)
	}
	s := set(all...)
	var inv []policies.Instance
	for n := range 10_000 {
		inv = append(inv, instance(fmt.Sprintf("i-%05d", n), policies.StatusActive, fmt.Sprintf("team=%d", n%25), fmt.Sprintf("team=%d", n%24)))
	}
	for b.Loop() {
		policies.Lint(s, policies.Known{From: at("2026-03-02 12:00"), Inventory: inv})
	}
}

func expression(t *testing.T, text string) *policies.Expr {
	t.Helper()
	x, err := policies.ParseExpr(text)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
