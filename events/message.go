package events

import (
	"strings"
	"time"
)

// Tick is the stored record of an edge.
// Subject: nightshift.v1.tick.<policy>.<unix>.
type Tick struct {
	Policy  string    `json:"policy"`
	Planned time.Time `json:"planned"` // UTC
	Hash    string    `json:"hash"`    // of the policy in the form that planned it
	Trigger string    `json:"trigger"` // id of the trigger that this tick is part of: t<unix of the newest edge>
	Edges   []string  `json:"edges"`   // ids of all edges that were published together, this one too
	// Since is the first edge of the range that this one stands for, where there is
	// one. Missed says that the range will not run: it lies further back than its
	// give-up time.
	Missed int       `json:"missed,omitempty"` // number of edges in the range
	Since  time.Time `json:"since,omitzero"`
}

// Command is a request to act on one instance.
// Subject: nightshift.v1.cmd.<who>.<region>.<instance>.<action>; who, region,
// instance and action are read from the subject, never from the body.
type Command struct {
	ID          string    `json:"id,omitempty"` // the same id of the same who acts once
	Reason      string    `json:"reason,omitempty"`
	Size        string    `json:"size,omitempty"`     // resize
	Add         []string  `json:"add,omitempty"`      // retag
	Remove      []string  `json:"remove,omitempty"`   // retag
	Firewall    string    `json:"firewall,omitempty"` // firewall: an id
	Hard        bool      `json:"hard,omitempty"`     // reboot
	DryRun      bool      `json:"dry_run,omitempty"`
	GiveUpAfter string    `json:"give_up_after,omitempty"` // a duration such as "15m"
	NotBefore   time.Time `json:"not_before,omitzero"`     // plan time: due then

	Who      string `json:"-"`
	Region   string `json:"-"` // lower case, as in the subject
	Instance string `json:"-"`
	Action   string `json:"-"`
}

// Signal is something that happened to one instance.
// Subject: nightshift.v1.sig.<source>.<region>.<instance>.
type Signal struct {
	ID          string            `json:"id,omitempty"`
	Alert       string            `json:"alert,omitempty"`       // alert name; exactly one of Alert, Load and Signal
	Status      string            `json:"status,omitempty"`      // firing (default) or resolved
	Labels      map[string]string `json:"labels,omitempty"`      // of the alert
	Fingerprint string            `json:"fingerprint,omitempty"` // with StartsAt the identity of a firing
	StartsAt    time.Time         `json:"startsAt,omitzero"`
	Load        string            `json:"load,omitempty"`   // metric name
	Name        string            `json:"signal,omitempty"` // of any other signal, such as ci.queued
	Value       *float64          `json:"value,omitempty"`  // of a load, or of another signal
	Time        time.Time         `json:"time,omitzero"`    // the source's time of a load; else the server's

	Source   string `json:"-"`
	Region   string `json:"-"`
	Instance string `json:"-"`
}

// Run is a stored plan: what a trigger yields in one region.
// Subject: nightshift.v1.run.<region>.<trigger id>.
type Run struct {
	Trigger  string    `json:"trigger"`
	Kind     string    `json:"kind"` // tick, command, signal
	Who      string    `json:"who,omitempty"`
	Region   string    `json:"region"`          // lower case; "_" for a trigger that touches nothing
	Edges    []string  `json:"edges,omitempty"` // ticks that this plan has taken
	Planned  time.Time `json:"planned"`         // plan time of the trigger
	StoredAt time.Time `json:"stored_at"`       // machine time
	Why      string    `json:"why,omitempty"`   // when there are no items: why not
	// Held is why the run waits for approval, until HeldUntil (machine time) at the
	// latest; empty: it does not wait.
	Held      string    `json:"held,omitempty"`
	HeldUntil time.Time `json:"held_until,omitzero"`
	Items     []Item    `json:"items,omitempty"`

	Seq uint64 `json:"-"` // set when read: in NS_RUN
}

// heldSuffix ends the trigger id of the part of a plan that waits for approval.
const heldSuffix = "-held"

// HeldID is the trigger id of the part of a plan that waits for approval.
func HeldID(trigger string) string { return trigger + heldSuffix }

// Origin is the trigger that a run comes from: for the held part of a plan, too.
func (r *Run) Origin() string { return strings.TrimSuffix(r.Trigger, heldSuffix) }

// Item is an action of a run, or a skip when Skip says a reason.
type Item struct {
	ID         string    `json:"id"` // action id
	Step       int       `json:"step"`
	Kind       string    `json:"kind"`
	Action     string    `json:"action"` // the verb
	Region     string    `json:"region"` // lower case
	Instance   string    `json:"instance"`
	Hostname   string    `json:"hostname,omitempty"`
	Hard       bool      `json:"hard,omitempty"`
	Size       string    `json:"size,omitempty"`
	Tags       []string  `json:"tags,omitempty"`
	Add        []string  `json:"add,omitempty"`
	Remove     []string  `json:"remove,omitempty"`
	Firewall   string    `json:"firewall,omitempty"`
	To         []string  `json:"to,omitempty"` // notify: names of targets
	Policy     string    `json:"policy,omitempty"`
	Why        string    `json:"why,omitempty"`
	Priority   int       `json:"priority,omitempty"`
	Level      bool      `json:"level,omitempty"`
	Planned    time.Time `json:"planned"`
	NotBefore  time.Time `json:"not_before,omitzero"`  // machine time: no call begins sooner
	NotAfter   time.Time `json:"not_after"`            // machine time: no call begins later
	HoldsUntil time.Time `json:"holds_until,omitzero"` // plan time: end of a power want by cron or signal
	IfFiring   bool      `json:"if_firing,omitempty"`  // only while what asked for it goes on
	Observe    bool      `json:"observe,omitempty"`    // ends as planned, no call
	Skip       string    `json:"skip,omitempty"`       // reason
	Detail     string    `json:"detail,omitempty"`
	SeenAt     time.Time `json:"seen_at,omitzero"` // machine time of the reading that the plan was made on
	Status     string    `json:"status,omitempty"` // of the instance in that reading
}

// Outcome is how an action ended, once. Note is what happened on the way.
// Both are the last but one token of a subject of NS_EVT.
type Outcome string

// The outcomes (design.md, table of words).
const (
	Done       Outcome = "done"
	Skipped    Outcome = "skipped"
	Planned    Outcome = "planned"
	Superseded Outcome = "superseded"
	Expired    Outcome = "expired"
	Failed     Outcome = "failed"
	Unknown    Outcome = "unknown"
)

// Notes are no outcomes: the action is not ended by them.
const (
	Started  Outcome = "started"  // the lock: a call may be under way until its deadline
	Accepted Outcome = "accepted" // the API said yes; the verifier settles it
	PutOff   Outcome = "put-off"  // a call was answered with no, or not sent: it has ended, and is tried again
	Waiting  Outcome = "waiting"  // before a call: why it has not begun yet
	Noticed  Outcome = "noticed"  // seen, and nothing done about it: drift, a change by hand, a tag that cannot be read
)

// Record is the data of an event of NS_EVT, inside a CloudEvent.
// Subject: nightshift.v1.evt.<region>.<instance>.<action>.<outcome>.<action id>.
type Record struct {
	ActionID string    `json:"action_id"`
	Action   string    `json:"action"`
	Outcome  Outcome   `json:"outcome"`
	Reason   string    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Error    string    `json:"error,omitempty"`
	Trigger  string    `json:"trigger"`
	Who      string    `json:"who,omitempty"`
	Policy   string    `json:"policy,omitempty"`
	Why      string    `json:"why,omitempty"`
	Region   string    `json:"region"`
	Instance string    `json:"instance"`
	Hostname string    `json:"hostname,omitempty"`
	Planned  time.Time `json:"planned,omitzero"`
	Lateness string    `json:"lateness,omitempty"` // outcome or call after its due time, a duration
	Before   string    `json:"before,omitempty"`   // status, size, … before
	After    string    `json:"after,omitempty"`    // … and after, as verified
	Attempt  int       `json:"attempt,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"` // of a started: the call ends before
	To       []string  `json:"to,omitempty"`      // of a message: names of the targets
	About    []Named   `json:"about,omitempty"`   // of a warning: the instances; of many only the first
	Count    int       `json:"count,omitempty"`   // of a warning: how many instances
	Postpone time.Time `json:"postpone,omitzero"` // of a warning: until when one click may put it off (plan time)
	RunSeq   uint64    `json:"run,omitempty"`     // sequence of the stored plan in NS_RUN: orders what wants the same

	StoredAt time.Time `json:"-"` // set when read: the server's time
	Seq      uint64    `json:"-"` // set when read: in NS_EVT
}

// Named is an instance that an event is about beside that of its subject.
type Named struct {
	Region   string `json:"region"` // lower case
	Instance string `json:"instance"`
	Hostname string `json:"hostname,omitempty"`
}

// Actions of notices that people are told of.
const (
	ActionRun    = "run"    // a run is held
	ActionWarn   = "warn"   // a stop comes
	ActionNotify = "notify" // a step of a trigger; a message that was not delivered
)

// At is the source's own time of a signal, zero when it names none.
func (s *Signal) At() time.Time {
	if !s.StartsAt.IsZero() {
		return s.StartsAt
	}
	return s.Time
}

// Resolved reports whether a signal says that an alert is over.
func (s *Signal) Resolved() bool { return s.Status == "resolved" }

// ResolvedID is the trigger id of the signal which says that the alert behind
// another trigger is over.
func ResolvedID(trigger string) string { return trigger + "-resolved" }

// Ends reports whether an outcome ends its action; notes do not.
func (o Outcome) Ends() bool {
	switch o {
	case Started, Accepted, PutOff, Waiting, Noticed:
		return false
	}
	return true
}
