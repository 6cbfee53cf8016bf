package policies

import "time"

// Trigger is whatever makes the planner look. Exactly one of Edges, Command,
// Signal and Drift is set; a trigger with none of them is a look: what would be
// done now if every level and every living impulse were put into force.
type Trigger struct {
	ID      string    // see design.md: t<unix> for ticks, the sender's id or s<sequence> else
	Who     string    // publisher of a command, source of a signal; empty for ticks
	Claim   string    // name that whoever asked gives; nobody vouches for it
	At      time.Time // planned time of the newest edge; the source's time of a signal or command
	Edges   []Edge
	Command *Command
	Signal  *Signal
	Drift   bool // compare each level with what is, between edges
}

// Edge is a planned time at which a want of a policy begins or ends.
type Edge struct {
	Policy  string    `json:"policy"` // or one of KeepSource, MarkSource, PauseSource, HandSource
	Planned time.Time `json:"planned"`
	Hash    string    `json:"hash,omitempty"` // of the policy when the tick was stored; empty: do not compare
	// From is the first instant that the edge stands for. Policies that follow
	// tags, and the sources that are no policies, have edges that concern some
	// instances each; after downtime one edge stands for all of them. Zero: Planned.
	From time.Time `json:"from,omitzero"`
	// To is the last such instant, beside Planned itself, of an edge that was known
	// too late to be planned for its own time. Zero: Planned.
	To time.Time `json:"to,omitzero"`
}

// ID is the edge's identity: <policy>@<planned unix time>.
func (e Edge) ID() string { return edgeID(e.Policy, e.Planned) }

// Command is a request from outside to act on one instance, on all that a
// selector chooses, or on each of a list.
type Command struct {
	Region      string        // of the instance
	Instance    string        // id; empty with
	Select      *Selector     // which instances; or
	Each        []One         // which instance is to have which step
	Step        Step          // absolute: Ladder is not used
	Reason      string        // as the sender says; shown, never trusted
	NotBefore   time.Time     // plan time: due then; zero: at once
	GiveUpAfter time.Duration // 0: DefaultGiveUp
	DryRun      bool          // plan and report, do not act
}

// One is what a command with a list asks of one instance.
type One struct {
	Region   string
	Instance string // id
	N        int    // step of the action: of two for the same instance and kind the smaller is first
	Step     Step
}

// Signal is an alert or a load value from outside about one instance.
type Signal struct {
	Source   string
	Region   string            // empty with an empty Instance: any
	Instance string            // id; empty: the policy picks
	Alert    string            // alert name; or
	Load     string            // metric name; or
	Name     string            // of any other signal
	Value    float64           // of a load or other signal
	Labels   map[string]string // of an alert or other signal
	Resolved bool
	// Bound: it came by a webhook, so that its source may trigger what Set.Sources
	// lists, and nothing once it is no longer there.
	Bound bool
}

// Plan is what a trigger yields: what to do, and for everything else that was
// asked, why not. It is in a fixed order (region, host name, id, step).
type Plan struct {
	Actions []Action
	Skips   []Skip
	Sizes   map[string]int // how many instances each policy selects whose actions limits count; for Facts.Sizes
	Grown   map[string]int // the same, of those that are held for that: for Facts.Sizes when it is approved
}

// Action is one operation on one instance. It is absolute: carried out twice it
// changes nothing more, except for reboots.
type Action struct {
	ID       string // ActionID(trigger, step, instance, kind)
	Step     int    // position in the policy's do, from 0
	Kind     Kind
	Verb     Verb
	Region   string
	Instance string // id
	Hostname string

	Hard        bool     // reboot
	Size        string   // resize: the target size
	Tags        []string // retag: the whole new set, sorted
	Add, Remove []string // retag: what was asked, so that a later reading can be merged
	Firewall    string   // firewall: the target id
	To          []string // notify: names of targets

	Policy   string // that wins; empty for a command
	Why      string // in words: "outside Mon-Fri 08:00-19:00 Europe/London"
	Priority int
	Level    bool      // from a schedule (a start by schedule is not counted by limits)
	Planned  time.Time // of the want
	Due      time.Time // planned + spread, or what else puts it off: no call is made sooner
	// GiveUpAfter counts from Due in machine time; Until, when not zero, is the
	// end of the window in plan time and takes its place.
	GiveUpAfter time.Duration
	Until       time.Time
	Mode        Mode // observe: ends as planned
	// Hold is why the action waits for somebody's approval, in words; empty: it
	// does not. All that waits for the same reason is approved together.
	Hold string
	// HoldsUntil is when a power want by cron or signal ends; zero: at the next
	// edge that concerns the instance.
	HoldsUntil time.Time
	IfFiring   bool  // of a step: only while the alert or the load that asked for it goes on
	Place      Place // in an order; starts and stops only
	// Canary says which turn it has where a policy tries one instance first, in
	// words; empty: none.
	Canary string

	floors []int // those that count the instance, where the action takes it down
}

// Skip is an action that will not be carried out, with the reason.
type Skip struct {
	Action
	Reason Reason
	Detail string // in words: "tag protected", "policy night-shift (priority 10) wants running"
}

// Reason is why nothing is done. The same word stands in log, event, metric
// label and the output of plan.
type Reason string

// The reasons.
const (
	ReasonAlready       Reason = "already" // the instance is as wanted
	ReasonProtected     Reason = "protected"
	ReasonNotAllowed    Reason = "not allowed" // the verb is not in allow, or the source may not trigger the policy
	ReasonOutranked     Reason = "outranked"   // another policy wins
	ReasonCooldown      Reason = "cooldown"
	ReasonSettling      Reason = "settling"       // an action of ours was accepted moments ago
	ReasonOffOnPurpose  Reason = "off on purpose" // a signal about an instance that is meant to be off
	ReasonNotActive     Reason = "not active"     // a signal or reboot needs a running instance
	ReasonTopOfLadder   Reason = "top of ladder"
	ReasonOffLadder     Reason = "off ladder" // its size is not in the ladder
	ReasonOverLimit     Reason = "over limit"
	ReasonNotApproved   Reason = "not approved" // it was held, and nobody approved it in time
	ReasonChanged       Reason = "changed"      // what was planned no longer holds
	ReasonPolicyChanged Reason = "policy changed"
	ReasonGone          Reason = "gone" // no such instance in a full list of its region
	ReasonResolved      Reason = "resolved"
	ReasonAmbiguous     Reason = "ambiguous"
	ReasonNoMatch       Reason = "no match"     // nothing is selected
	ReasonCluster       Reason = "cluster node" // belongs to a Kubernetes cluster
	ReasonSmaller       Reason = "smaller"      // Civo resizes upwards only
	ReasonNoWant        Reason = "no want"      // nobody wants it running or stopped
	ReasonExpired       Reason = "expired"      // its give-up time has passed
	ReasonInvalid       Reason = "invalid"      // blank firewall, unknown size, …
	ReasonIDUsed        Reason = "id used"      // the id of a command was used for another one
	ReasonPaused        Reason = "paused"
	ReasonKept          Reason = "kept"     // the instance is kept in its state for a while
	ReasonHand          Reason = "hand"     // somebody did it by hand, and that is respected
	ReasonDrift         Reason = "drift"    // not as a level wants it, and not enforced
	ReasonFloor         Reason = "floor"    // too few would be running
	ReasonCanary        Reason = "canary"   // the instance that went first did not come to what was wanted
	ReasonFlapping      Reason = "flapping" // the cool-down has grown, because the alert comes again and again
)
