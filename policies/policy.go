package policies

import (
	"time"

	"nightshift/policies/schedule"
)

// Mode says what becomes of a plan.
type Mode string

// The modes. ModeAsk (every run waits for approval) is not in this version.
const (
	ModeObserve Mode = "observe" // plans and events only: each action ends as planned
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
)

// Set is everything that a policy file says about instances: what Decide needs
// besides the inventory and the facts. It is read-only once made.
type Set struct {
	Policies []Policy
	Protect  Selector // matches: never touched
	Self     Machine  // never touched either
	Allow    []Verb   // a verb that is not listed is skipped as "not allowed"
	Limits   Limits
	Mode     Mode
	Regions  []string       // upper case, as the file writes them
	Zone     *time.Location // default zone; UTC when the file names none
}

// Limits hold a run back that is larger than anyone meant.
type Limits struct {
	PerRun  int // actions of one run; 0 means DefaultPerRun
	PerHour int // actions started in any hour, over all runs; 0 means DefaultPerHour
}

// Defaults of the policy file (language.md).
const (
	DefaultPerRun     = 50
	DefaultPerHour    = 200
	DefaultCooldown   = 30 * time.Minute
	DefaultGiveUp     = 15 * time.Minute // all but schedule edges
	DefaultStopGiveUp = time.Hour        // a stop by schedule
)

// Policy is a selector, a cause and what it wants. Exactly one of Schedule,
// Cron and Signal is set.
type Policy struct {
	Name     string
	Select   Selector
	Priority int  // higher wins; default 0
	Mode     Mode // empty: the set's

	Schedule *schedule.Weekly // a level: running or stopped for as long as the window lasts
	Cron     *schedule.Cron   // an impulse at each planned time
	Signal   *SignalCause     // an impulse at each signal that matches

	Do          []Step        // what a cron or a signal wants; empty for a schedule
	Lasts       time.Duration // of a power want by cron or signal; 0: until the next edge that concerns the instance
	GiveUpAfter time.Duration // 0: the default for its cause
	Cooldown    time.Duration // signals only; per policy and instance, plan time
}

// Step is one thing that a policy does. Fields beyond Verb belong to one verb each.
type Step struct {
	Verb     Verb
	Hard     bool     // reboot
	Ladder   []string // resize: sizes from small to large; one step up, never down
	Size     string   // resize to exactly this size (commands)
	Add      []string // retag
	Remove   []string // retag
	Firewall string   // firewall: an id, never blank
}

// SignalCause says which signals from outside concern a policy.
type SignalCause struct {
	Alert  string            // alert name (Prometheus alertname); or
	Load   string            // a load metric such as "cpu"
	Labels map[string]string // all must be equal; alert only
	Above  float64           // load: acts when the value is greater
}
