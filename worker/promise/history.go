package promise

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

// History is what happened. All times are machine time unless they say plan time.
type History struct {
	Now     time.Time // until then
	Settled bool      // faults ended, and daemons have run, for so long that nothing may be open any more
	Started time.Time // of the first daemon
	Rest    time.Time // what came later need not have ended; zero: Now

	Events   []events.Record   // NS_EVT, oldest first
	Runs     []events.Run      // NS_RUN, oldest first
	Ticks    []events.Tick     // of NS_IN, oldest first
	Requests []civosim.Request // the ledger of the cloud, oldest first

	Files  []File  // policies in force, oldest first
	Keeps  []Keep  // by the command, oldest first; one that is ended early is there again with its new end
	Pauses []Pause // by the command, likewise
	Hands  []Hand  // what people did to instances
	Fleets []Fleet // oldest first, one after each change by hand; the last is the end
	// Approved is when held runs were approved, by "<region>.<trigger of the run>".
	Approved map[string]time.Time
	// Up is when daemons ran and had their bus. It bounds what is asked of a policy
	// that was edited later: nobody announces its edges any more.
	Up []Span

	// Plan is the plan time at a machine time; nil: they are the same.
	Plan func(machine time.Time) time.Time
	// Rate and Burst are what the account may be asked, all daemons together, and what
	// a daemon may ask at once when it begins; 0: not judged.
	Rate, Burst float64
	// Imposed is how long waits of our own may be that no event tells of, and that do
	// not count against a give-up time: for a place among the calls under way.
	Imposed time.Duration
	// Places is how many calls one daemon has under way at a time: what waits for one
	// waits for us, however long. 0: nothing waits.
	Places int
	// Apart is by how much the clocks of two daemons may differ.
	Apart time.Duration
}

// File is a policy file in force on one daemon.
type File struct {
	Daemon string
	From   time.Time
	Until  time.Time // zero: still. That the daemon was not running meanwhile ends nothing
	Set    *policies.Set
}

// Keep is one that the command asked for.
type Keep struct {
	Instance string
	policies.Keep
}

// Pause is one that the command asked for; its times are plan time.
type Pause = policies.Pause

// Hand is something that a person did to an instance.
type Hand struct {
	At       time.Time
	Instance string
	What     string // "stopped", "tags", …
}

// Span is a time of one daemon.
type Span struct {
	Daemon      string
	From, Until time.Time
}

// Fleet is what the instances were at an instant.
type Fleet struct {
	At        time.Time
	Instances []policies.Instance
}

// FleetOf is the fleet of a simulator.
func FleetOf(sim *civosim.Sim, at time.Time) Fleet {
	f := Fleet{At: at}
	for _, i := range sim.Instances() {
		f.Instances = append(f.Instances, policies.Instance{
			ID: i.ID, Hostname: i.Hostname, Region: strings.ToUpper(i.Region), Size: i.Size, Status: i.Status, Tags: i.Tags,
			FirewallID: i.FirewallID, NetworkID: i.NetworkID, CreatedAt: i.CreatedAt,
		})
	}
	return f
}

// Grace is how long a call may act on what was true before: a reading is at most
// a minute old, a call lasts half a minute, and storing takes a moment.
const Grace = 60*time.Second + callLasts + 10*time.Second

const (
	callLasts = 30 * time.Second // between started and its deadline
	// storeLasts is the time between the last look at the clock and a stored event.
	storeLasts = 10 * time.Second
)

// Breach is one promise that was broken.
type Breach struct {
	Rule     string // its name in Rules
	Instance string
	Action   string // id
	Says     string // in a sentence
	Shown    []string
}

func (b Breach) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s", b.Rule, b.Says)
	for _, line := range b.Shown {
		text.WriteString("\n    " + line)
	}
	return text.String()
}

// Check asks all rules, and returns what was broken in their order.
func Check(h *History) []Breach { return judge(h).breaches }

// Cases are how often each rule, by its name, had something to judge: a rule that
// never had, has shown nothing.
func Cases(h *History) map[string]int { return judge(h).cases }

func judge(h *History) *story {
	s := read(h)
	for _, r := range Rules {
		if r.AtEnd && !h.Settled {
			continue
		}
		s.rule = r.Name
		r.broken(s)
	}
	return s
}

// story is a history put in order for the rules.
type story struct {
	*History
	rule     string
	breaches []Breach
	cases    map[string]int // by rule

	byAction   map[string][]events.Record // oldest first
	byInstance map[string][]events.Record // those of actions on it
	started    []events.Record
	run        map[uint64]*events.Run
	item       map[string]planned // by action id: as stored
	requests   map[string][]civosim.Request
	names      map[string]string // of policies that were renamed: the one that all names of one are judged by
}

// planned is an action of a stored run.
type planned struct {
	events.Item
	run *events.Run
}

func read(h *History) *story {
	s := &story{
		History: h, cases: make(map[string]int), byAction: make(map[string][]events.Record), byInstance: make(map[string][]events.Record),
		run: make(map[uint64]*events.Run), item: make(map[string]planned), requests: make(map[string][]civosim.Request),
	}
	for _, rec := range h.Events {
		s.byAction[rec.ActionID] = append(s.byAction[rec.ActionID], rec)
		if rec.Instance != events.None {
			s.byInstance[rec.Instance] = append(s.byInstance[rec.Instance], rec)
		}
		if rec.Outcome == events.Started {
			s.started = append(s.started, rec)
		}
	}
	for i := range h.Runs {
		run := &h.Runs[i]
		s.run[run.Seq] = run
		for _, it := range run.Items {
			if _, ok := s.item[it.ID]; !ok {
				s.item[it.ID] = planned{it, run}
			}
		}
	}
	s.names = namesOf(h.Files)
	for _, r := range h.Requests {
		if r.Instance != "" && verbOf(r.Op) != "" {
			s.requests[r.Instance] = append(s.requests[r.Instance], r)
		}
	}
	return s
}

// namesOf follows was: what a policy did under a former name counts as its own.
func namesOf(files []File) map[string]string {
	names := make(map[string]string)
	for i := range files {
		for _, p := range files[i].Set.Policies {
			if p.Was == "" {
				continue
			}
			one, other := cmp.Or(names[p.Name], p.Name), cmp.Or(names[p.Was], p.Was)
			names[p.Name], names[p.Was] = one, one
			for name, of := range names {
				if of == other {
					names[name] = one
				}
			}
		}
	}
	return names
}

// named is the name by which a policy is judged.
func (s *story) named(policy string) string { return cmp.Or(s.names[policy], policy) }

// broken reports a breach of the rule that is asked.
func (s *story) broken(instance, action, says string, shown ...string) {
	s.breaches = append(s.breaches, Breach{s.rule, instance, action, says, shown})
}

// saw counts a case for the rule that is asked.
func (s *story) saw() { s.cases[s.rule]++ }

// sawKept counts as cases what the daemon says it left alone for such reasons.
func (s *story) sawKept(reasons ...policies.Reason) {
	for _, rec := range s.Events {
		if rec.Outcome == events.Skipped && slices.Contains(reasons, policies.Reason(rec.Reason)) {
			s.saw()
		}
	}
}

// isLate reports whether something came too late to have ended.
func (s *story) isLate(at time.Time) bool { return !s.Rest.IsZero() && at.After(s.Rest) }

// planAt is the plan time at a machine time.
func (s *story) planAt(t time.Time) time.Time {
	if s.Plan == nil {
		return t
	}
	return s.Plan(t)
}

// verbOf is the action that a request carries out, empty for one that changes no
// instance.
func verbOf(op string) policies.Verb {
	switch op {
	case "soft_reboot", "hard_reboot":
		return policies.Reboot
	case "stop", "start", "resize", "retag", "firewall", "create", "delete":
		return policies.Verb(op)
	}
	return ""
}

// outcome is how an action ended.
func (s *story) outcome(action string) (events.Record, bool) {
	for _, rec := range s.byAction[action] {
		if rec.Outcome.Ends() {
			return rec, true
		}
	}
	return events.Record{}, false
}

// sets are those in force on any daemon within a span, both ends included.
func (s *story) sets(from, to time.Time) (sets []*policies.Set) {
	for i := range s.Files {
		f := &s.Files[i]
		if !f.From.After(to) && (f.Until.IsZero() || !f.Until.Before(from)) && !slices.Contains(sets, f.Set) {
			sets = append(sets, f.Set)
		}
	}
	return sets
}

// looks are what an instance was within a span: as it was at its begin, and after
// each change.
func (s *story) looks(id string, from, to time.Time) (looks []policies.Instance) {
	for _, f := range s.Fleets {
		if f.At.After(to) {
			break
		}
		i := slices.IndexFunc(f.Instances, func(i policies.Instance) bool { return i.ID == id })
		if i < 0 {
			continue
		}
		if !f.At.After(from) {
			looks = looks[:0]
		}
		looks = append(looks, f.Instances[i])
	}
	return looks
}

// exceptions are the keeps and pauses that held on an instance all through a span,
// and the newest change by hand.
func (s *story) exceptions(id string, from, to time.Time) policies.Facts {
	from, to = s.planAt(from), s.planAt(to)
	facts := policies.Facts{Keeps: make(map[string]policies.Keep)}
	for _, k := range s.Keeps { // a newer keep takes the place of an older one
		if k.Instance == id && !k.Since.After(to) {
			delete(facts.Keeps, id)
			if !k.Since.After(from) && k.Until.After(to) {
				facts.Keeps[id] = k.Keep
			}
		}
	}
	newest := make(map[Pause]Pause) // by scope: here, too
	var scopes []Pause
	for _, p := range s.Pauses {
		scope := Pause{Policy: p.Policy, Instance: p.Instance}
		if p.Since.After(to) {
			continue
		}
		if _, ok := newest[scope]; !ok {
			scopes = append(scopes, scope)
		}
		newest[scope] = p
	}
	for _, scope := range scopes {
		if p := newest[scope]; p.Holds(from) && p.Holds(to) {
			facts.Pauses = append(facts.Pauses, p)
		}
	}
	for _, rec := range s.byInstance[id] { // what somebody did by hand ends a want that has no end of its own
		if rec.Reason != string(policies.ReasonHand) || rec.Outcome != events.Noticed || rec.Planned.After(to) {
			continue
		}
		hand := policies.Hand{State: schedule.Running, At: rec.Planned}
		if rec.After == policies.StatusShutoff {
			hand.State = schedule.Stopped
		}
		facts.Hands = map[string]policies.Hand{id: hand}
	}
	return facts
}

// line is an event as a breach shows it.
func line(rec events.Record) string {
	text := fmt.Sprintf("%s #%d %s %s %s", stamp(rec.StoredAt), rec.Seq, rec.Action, cmp.Or(rec.Hostname, rec.Instance), rec.Outcome)
	for _, more := range []string{rec.Reason, rec.Detail, rec.Error} {
		if more != "" {
			text += ", " + more
		}
	}
	return text + " (action " + rec.ActionID + " of " + rec.Trigger + ")"
}

func lines(recs []events.Record) (all []string) {
	for _, rec := range recs {
		all = append(all, line(rec))
	}
	return all
}

func requestLine(r civosim.Request) string {
	text := fmt.Sprintf("%s request %s %s: %d", stamp(r.Time), r.Op, r.Instance, r.Status)
	if r.Fault != "" {
		text += ", " + string(r.Fault)
	}
	if !r.Effect {
		text += ", without effect"
	}
	return text
}

func runLine(r *events.Run) string {
	return fmt.Sprintf("%s run #%d %s of %s, %d items, edges %s %s", stamp(r.StoredAt), r.Seq, r.Trigger, r.Region, len(r.Items), strings.Join(r.Edges, " "), r.Why)
}

// Line, RunLine and RequestLine show what happened as a breach does, for traces.
func Line(rec events.Record) string { return line(rec) }

// RunLine shows a stored plan.
func RunLine(r *events.Run) string { return runLine(r) }

// RequestLine shows a request to the cloud.
func RequestLine(r civosim.Request) string { return requestLine(r) }

// stamp has the milliseconds that tell one event from the next.
func stamp(t time.Time) string { return t.UTC().Format("Mon 02 15:04:05.000") }
