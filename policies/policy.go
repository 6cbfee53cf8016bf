package policies

import (
	"slices"
	"time"

	"nightshift/policies/schedule"
)

// Mode says what becomes of a plan.
type Mode string

// The modes.
const (
	ModeObserve Mode = "observe" // plans and events only: each action ends as planned
	ModeAsk     Mode = "ask"     // every run waits for approval
	ModeAct     Mode = "act"
)

// Verb is what an action does to an instance. It is the <action> token of
// subjects, the word in a policy's do and allow, and the name of the command.
type Verb string

// The verbs. Create and Delete are done by hand only in this version.
const (
	Start    Verb = "start"
	Stop     Verb = "stop"
	Reboot   Verb = "reboot"
	Resize   Verb = "resize"
	Retag    Verb = "retag"
	Firewall Verb = "firewall"
	Create   Verb = "create"
	Delete   Verb = "delete"
	Notify   Verb = "notify" // a step only: people are told, and nothing is touched
)

// Kind is the aspect of an instance that an action changes. Per instance and
// kind only one policy wins; stop and start are both of kind power.
type Kind string

// The kinds.
const (
	KindPower    Kind = "power"
	KindReboot   Kind = "reboot"
	KindSize     Kind = "size"
	KindTags     Kind = "tags"
	KindFirewall Kind = "firewall"
	KindCreate   Kind = "create"
	KindDelete   Kind = "delete"
	KindNotify   Kind = "notify"
)

// Set is everything that a policy file says about instances: what Decide needs
// besides the inventory and the facts. It is read-only once made.
type Set struct {
	Policies []Policy
	Protect  Selector // matches: never touched
	Self     Machine  // never touched either
	Allow    []Verb   // a verb that is not listed is skipped as "not allowed"
	Limits   Limits
	Orders   []Order // of starts and stops within one run
	Pace     Pace    // of each run
	Floors   []Floor
	Owners   Owners
	Mode     Mode
	HoldFor  time.Duration  // how long a held run waits for approval, machine time; 0: DefaultHoldFor
	Regions  []string       // upper case, as the file writes them
	Zone     *time.Location // default zone; UTC when the file names none
	// Sources are the names of the policies that each source of signals may
	// trigger. A source that is not in it may trigger all, unless the signal is bound.
	Sources map[string][]string
}

// MayTrigger reports whether the source of a signal may trigger a policy.
func (s *Set) MayTrigger(sig *Signal, policy string) bool {
	may, bound := s.Sources[sig.Source]
	return !bound && !sig.Bound || slices.Contains(may, policy)
}

// Owners says what the owner of an instance may decide by its tags. The zero
// Owners lets no tag count.
type Owners struct {
	Prefix string        // of the tags; empty: DefaultPrefix
	Keys   []string      // which count: keep, hours, schedule, mark
	Max    time.Duration // how far ahead a keep may reach, plan time; 0: DefaultKeep
}

// Defaults of the policy file (language.md).
const (
	DefaultPerRun      = 50
	DefaultPerHour     = 200
	DefaultCooldown    = 30 * time.Minute
	DefaultGiveUp      = 15 * time.Minute // all but schedule edges
	DefaultStopGiveUp  = time.Hour        // a stop by schedule
	DefaultPrefix      = "nightshift."    // of owners' tags
	DefaultKeep        = 12 * time.Hour   // how far a keep reaches
	DefaultRespectStop = 24 * time.Hour   // of what somebody stopped by hand in the on time
	DefaultHoldFor     = 2 * time.Hour    // a held run waits for approval
	DefaultAtMost      = 2                // instances that one policy reboots or resizes by trigger ...
	DefaultAtMostIn    = 30 * time.Minute // ... within
)

// NewFor is how long after it was first seen an instance counts as new: no
// policy stops, reboots or resizes it sooner (plan time).
const NewFor = 30 * time.Minute

// Enforce says what becomes of drift: a level that is not as wanted between two edges.
type Enforce string

// The ways to enforce a level.
const (
	EnforceNot    Enforce = ""       // drift is reported
	EnforceMend   Enforce = "true"   // and mended, unless somebody did it by hand
	EnforceStrict Enforce = "strict" // that too
)

// Policy is a selector, a cause and what it wants. Exactly one of Schedule,
// FromTag, Cron and Signal is set.
type Policy struct {
	Name     string
	Was      string // a former name, whose history this one carries on
	Select   Selector
	Priority int  // higher wins; default 0
	Mode     Mode // empty: the set's

	Schedule schedule.Timetable // a level: running or stopped for as long as the window lasts
	FromTag  *FromTag           // a level too: the timetable that the instance carries in a tag
	Cron     *schedule.Cron     // an impulse at each planned time
	Signal   *SignalCause       // an impulse at each signal that matches

	Do          []Step        // what a cron or a signal wants; empty for a level
	Lasts       time.Duration // of a power want by cron or signal; 0: until the next edge that concerns the instance
	Spread      time.Duration // edges of a level or cron are due within, each instance at its own time (plan time)
	GiveUpAfter time.Duration // 0: the default for its cause

	Enforce        Enforce       // levels only
	StopAgainAfter time.Duration // levels only: what was started by hand in the off time is stopped after it; 0: at the next edge
	RespectStop    time.Duration // levels only: what was stopped by hand in the on time is not started within; 0: it is

	Cooldown time.Duration // signals only; per policy and instance, plan time
	AtMost   AtMost        // signals only
	Pick     *Pick         // signals only: which instances, when the signal names none

	// Canary is how long the first instance of a run stays as it was brought before
	// the others' turn comes (plan time); 0: all at once. Not part of the hash.
	Canary time.Duration

	Warn *Warn // of a stop that comes; nil: nobody is warned. Not part of the hash: it moves no edge
}

// Warn says who hears of a stop before it comes.
type Warn struct {
	Before time.Duration // plan time
	To     []string      // names of targets
}

// AtMost bounds how many instances a policy touches by trigger. Forty alerts at
// once are the network, not the machines. The zero AtMost bounds nothing.
type AtMost struct {
	Instances int
	Within    time.Duration // plan time
}

// Pick chooses so many of the instances that a policy selects.
type Pick struct {
	Count  int // 0: the value of the signal
	AtMost int // 0: no bound
}

// FromTag is a level that each instance carries in a tag of its own:
// <Tag>=<value>. Read makes a timetable of the value; it is pure, and the same
// value means the same.
type FromTag struct {
	Tag     string
	Grammar string                                         // empty: ours
	Form    string                                         // everything else that Read depends on, as text for the policy's hash
	Read    func(value string) (schedule.Timetable, error) `json:"-"`
	Warn    func(value string) []TagWarning                `json:"-"` // what behaves otherwise than it looks; nil: nothing does
}

// TagWarning is something in a tag's value that behaves otherwise than it looks.
type TagWarning struct{ Text, Hint string }

// Step is one thing that a policy does. Fields beyond Verb belong to one verb each.
type Step struct {
	Verb     Verb
	Hard     bool     // reboot
	Ladder   []string // resize: sizes from small to large; one step up, never down
	Size     string   // resize to exactly this size (commands)
	Add      []string // retag
	Remove   []string // retag
	Firewall string   // firewall: an id, never blank
	To       []string // notify: names of targets

	After    time.Duration // of a trigger: due so long after the signal (plan time)
	IfFiring bool          // only while the alert fires still, or the load is high still
}

// SignalCause says which signals from outside concern a policy: exactly one of
// Alert, Load and Name is set.
type SignalCause struct {
	Alert      string            // alert name (Prometheus alertname); or
	Load       string            // a load metric such as "cpu"; or
	Name       string            // any other signal, such as "ci.queued"
	Labels     map[string]string // all must be equal; not with load
	Matchers   []Matcher         // all must match; not with load
	For        time.Duration     // an alert fires, or a load is high, for so long first (plan time)
	Above      float64           // load: high when the value is greater ...
	ClearBelow float64           // ... until it is less than this; 0: until it is not greater than Above
}

// IsLevel reports whether a policy wants a state for as long as a window lasts.
func (p *Policy) IsLevel() bool { return p.Schedule != nil || p.FromTag != nil }
