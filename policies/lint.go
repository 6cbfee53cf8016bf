package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	SevereFault   Severity = "fault"   // it cannot work as it is written
	SevereWarning Severity = "warning" // it works, and is hardly what was meant
	SevereNote    Severity = "note"    // it works as written; worth knowing
)

var severities = []Severity{SevereFault, SevereWarning, SevereNote}

// Finding is something that Lint has found.
type Finding struct {
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"` // one of LintRules
	Policy   string   `json:"policy,omitempty"`
	Instance string   `json:"instance,omitempty"` // its host name
	Msg      string   `json:"msg"`
	Hint     string   `json:"hint,omitempty"`  // what would be right
	Items    []string `json:"items,omitempty"` // what it is about, where that is a list
	More     int      `json:"more,omitempty"`  // how many like it there are besides

	like string // what is the same text here is alike
}

// Rule is one thing that Lint looks for.
type Rule struct{ Name, About string }

// LintRules are all rules, in the order in which findings are listed.
var LintRules = []Rule{
	{"not-allowed", "an action that allow does not list"},
	{"region", "a region that the account lacks, or that a selector names and the file does not read"},
	{"ladder", "a ladder that goes down, or names a size that the account lacks"},
	{"firewall", "a firewall that the account lacks"},
	{"selects-nothing", "a selector that no instance matches"},
	{"selects-all", "a selector that every instance matches"},
	{"selects-status", "a schedule that selects by the status that it changes, or a status that there is not"},
	{"protects-nothing", "protect that no instance matches, or that leaves a policy nothing"},
	{"conflict", "policies that want different things of an instance at the same time, and who wins"},
	{"shadowed", "a policy that never wins"},
	{"reboot-while-off", "a reboot that is only planned when the instance is off on purpose"},
	{"window", "a window that does not come within the year"},
	{"no-edge", "a schedule or cron that does nothing within the year"},
	{"calendar", "a calendar that has run out, or soon will"},
	{"exception", "an exception that never applies, or changes nothing"},
	{"lasts", "lasts that is longer or shorter than makes sense"},
	{"spread", "a spread that reaches beyond the next edge"},
	{"cooldown", "a cooldown that is shorter than what it follows"},
	{"load", "a clear_below that nothing asks for"},
	{"order", "an order that does not wait for what it seems to, or for nothing"},
	{"floor", "a floor that counts nothing, or no more than it keeps running"},
	{"owners", "keys of owners that nothing follows"},
	{"tag", "a tag that cannot be read, is nearly ours, or is past its time"},
	{"tag-trap", "a tag in another tool's grammar that means something else than it looks"},
	{"tag-missing", "instances that follow a tag and have none"},
	{"holiday", "days of a calendar on which the schedule would otherwise run"},
	{"dst-gap", "an edge at a wall time that the clock skips"},
	{"dst-overlap", "an edge at a wall time that the clock shows twice"},
	{"incomplete", "what was too much to look through"},
}

// Known is what is known beside the policy file when it is looked over.
type Known struct {
	From      time.Time  // a year is looked ahead from here
	Inventory []Instance // nil: the fleet is not known, and rules about it rest
	Account   *Account   // nil: what the account has is not known
}

// Account is what an account can use.
type Account struct {
	Regions   []string
	Sizes     map[string]Size
	Firewalls map[string]bool // by id
}

// Size is how large an instance is.
type Size struct{ CPUCores, RAMMB, DiskGB int }

// Lint looks a year ahead for what is hardly meant: it knows the file alone, or
// the fleet and the account too. Findings are in the order of their severity, of
// LintRules, and of the policies in the file; Condense makes a short list of them.
func Lint(set *Set, known Known) []Finding {
	l := &lint{set: set, from: known.From, to: known.From.AddDate(1, 0, 0), inv: known.Inventory, known: known.Inventory != nil, account: known.Account,
		tables: make([][]tagTable, len(set.Policies)), lines: make(map[int]*future), byValue: make(map[tagValue]*future)}
	l.allowed()
	l.accountHas()
	l.selectors()
	l.sortOut()
	for i := range set.Policies {
		l.times(&set.Policies[i])
		l.spans(&set.Policies[i])
	}
	l.owners()
	l.tags()
	l.conflicts()
	rule := func(f Finding) int {
		return slices.IndexFunc(LintRules, func(r Rule) bool { return r.Name == f.Rule })
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		return cmp.Or(slices.Index(severities, a.Severity)-slices.Index(severities, b.Severity), rule(a)-rule(b), set.policyIndex(a.Policy)-set.policyIndex(b.Policy))
	})
	return l.findings
}

// Condense keeps the first of the findings that are alike, and counts the others,
// so that ten thousand instances with the same fault are one line.
func Condense(findings []Finding) (short []Finding) {
	at := make(map[string]int)
	for _, f := range findings {
		key := string(f.Severity) + "|" + f.Rule + "|" + f.Policy + "|" + cmp.Or(f.like, f.Msg)
		if i, ok := at[key]; ok {
			short[i].More += 1 + f.More
			continue
		}
		at[key] = len(short)
		short = append(short, f)
	}
	return short
}

type lint struct {
	set      *Set
	from, to time.Time
	inv      []Instance
	known    bool // the fleet is
	account  *Account
	findings []Finding

	kinds    []*alike        // of instances that may be touched
	tables   [][]tagTable    // by policy that follows tags
	selected [][]int         // by policy: instances that it selects, as indices into inv
	touch    []bool          // by instance: it may be touched
	lines    map[int]*future // by policy
	byValue  map[tagValue]*future
}

// tagTable is a timetable that instances carry in a tag.
type tagTable struct {
	value string
	table schedule.Timetable
}

func (l *lint) add(severity Severity, rule, policy, hint, format string, args ...any) *Finding {
	l.findings = append(l.findings, Finding{Severity: severity, Rule: rule, Policy: policy, Hint: hint, Msg: fmt.Sprintf(format, args...)})
	return &l.findings[len(l.findings)-1]
}

// allowed finds what could never be done.
func (l *lint) allowed() {
	refused := func(verbs ...Verb) (list []string) {
		for _, v := range verbs {
			if word := string(v); !slices.Contains(l.set.Allow, v) && !slices.Contains(list, word) {
				list = append(list, word)
			}
		}
		return list
	}
	for i := range l.set.Policies {
		p := &l.set.Policies[i]
		verbs := []Verb{Start, Stop}
		if !p.IsLevel() {
			verbs = nil
			for _, s := range p.Do {
				if s.Verb != Notify {
					verbs = append(verbs, s.Verb)
				}
			}
		}
		for _, v := range refused(verbs...) {
			l.add(SevereFault, "not-allowed", p.Name, "add "+v+" to allow", "%s is not in allow", v)
		}
	}
	for _, key := range []string{OwnKeep, OwnMark} {
		if l.set.Owners.Counts(key) {
			for _, v := range refused(Start, Stop) {
				l.add(SevereWarning, "not-allowed", "", "add "+v+" to allow", "owners.keys lists %s, but %s is not in allow", key, v)
			}
		}
	}
}

// accountHas finds what the account lacks.
func (l *lint) accountHas() {
	if l.account == nil {
		return
	}
	for _, region := range l.set.Regions {
		if !slices.ContainsFunc(l.account.Regions, func(r string) bool { return strings.EqualFold(r, region) }) {
			l.add(SevereFault, "region", "", "it has "+strings.Join(slices.Sorted(slices.Values(l.account.Regions)), ", "), "the account has no region %s", region)
		}
	}
	for i := range l.set.Policies {
		p := &l.set.Policies[i]
		for _, s := range p.Do {
			l.ladder(p, s)
			if s.Firewall != "" && l.account.Firewalls != nil && !l.account.Firewalls[s.Firewall] {
				l.add(SevereFault, "firewall", p.Name, "a policy names a firewall by its id", "no region of the file has a firewall %s", s.Firewall)
			}
		}
	}
}

// ladder finds steps that Civo would refuse: to less of anything.
func (l *lint) ladder(p *Policy, s Step) {
	for i, name := range s.Ladder {
		size, ok := l.account.Sizes[name]
		if !ok {
			hint := ""
			if near := Nearest(name, mapKeys(l.account.Sizes)); near != "" {
				hint = "did you mean " + near + "?"
			}
			l.add(SevereFault, "ladder", p.Name, hint, "the account has no size %s", name)
			continue
		}
		if i == 0 {
			continue
		}
		before, ok := l.account.Sizes[s.Ladder[i-1]]
		if ok && (size.CPUCores < before.CPUCores || size.RAMMB < before.RAMMB || size.DiskGB < before.DiskGB) {
			l.add(SevereFault, "ladder", p.Name, "Civo resizes upwards only: order the sizes from small to large",
				"the ladder goes down from %s (%s) to %s (%s)", s.Ladder[i-1], before, name, size)
		}
	}
}

// String says how large a size is.
func (s Size) String() string {
	return fmt.Sprintf("%d cores, %d MB, %d GB disk", s.CPUCores, s.RAMMB, s.DiskGB)
}

// owners finds keys that are listed and do nothing.
func (l *lint) owners() {
	for _, key := range []string{OwnHours, OwnSchedule} {
		tag := l.set.OwnerPrefix() + key
		if l.set.Owners.Counts(key) && !slices.ContainsFunc(l.set.Policies, func(p Policy) bool { return p.FromTag != nil && p.FromTag.Tag == tag }) {
			l.add(SevereWarning, "owners", "", "add a policy with schedule: { from_tag: "+tag+" }", "owners.keys lists %s, but no policy follows the tag %s", key, tag)
		}
	}
}
