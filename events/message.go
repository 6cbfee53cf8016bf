package events

import (
	"encoding/json"
	"strings"
	"time"
)

// Tick is the stored record of an edge.
// Subject: nightshift.v1.tick.<policy>.<unix>.
type Tick struct {
	Policy  string    `json:"policy"`
	Planned time.Time `json:"planned"` // UTC
	Hash    string    `json:"hash"`    // of the policy in the form that planned it
	Trigger string    `json:"trigger"` // id of the trigger that this tick is part of: t<unix of the newest edge>-<hash of edges>
	// Edges are the ids of all edges that were published together, this one too. Of
	// many only the newest lists them; the others have its id in Lead.
	Edges []string `json:"edges,omitempty"`
	Lead  string   `json:"lead,omitempty"`
	// Since is the first edge of the range that this one stands for, where there is
	// one. Missed says that the range will not run: it lies further back than its
	// give-up time.
	Missed int       `json:"missed,omitempty"` // number of edges in the range
	Since  time.Time `json:"since,omitzero"`
	// Upto ends that range, of an edge that was known too late to be planned for its
	// own time; else it ends at Planned.
	Upto time.Time `json:"upto,omitzero"`

	StoredAt time.Time `json:"-"` // set by [Bus.Ticks]: the server's time
}

// Command is a request to act on one instance.
// Subject: nightshift.v1.cmd.<who>.<region>.<instance>.<action>; who, region,
// instance and action are read from the subject, never from the body.
type Command struct {
	ID          string    `json:"id,omitempty" jsonschema:"The same id of the same who acts once."`
	Reason      string    `json:"reason,omitempty" jsonschema:"For the audit trail."`
	Claim       string    `json:"claim,omitempty" jsonschema:"Name of who asks, as they say; the subject has the name that is vouched for."`
	Size        string    `json:"size,omitempty" jsonschema:"For resize."`
	Add         []string  `json:"add,omitempty" jsonschema:"For retag: tags to add."`
	Remove      []string  `json:"remove,omitempty" jsonschema:"For retag: tags to take away."`
	Firewall    string    `json:"firewall,omitempty" jsonschema:"For firewall: an id."`
	Hard        bool      `json:"hard,omitempty" jsonschema:"For reboot: as by the power switch."`
	DryRun      bool      `json:"dry_run,omitempty" jsonschema:"Decide and report, do not act."`
	GiveUpAfter string    `json:"give_up_after,omitempty" jsonschema:"Do not begin later: a Go duration such as 15m, at most 168h."`
	NotBefore   time.Time `json:"not_before,omitzero" jsonschema:"Plan time: due then."`

	Who      string `json:"-"`
	Region   string `json:"-"` // lower case, as in the subject
	Instance string `json:"-"`
	Action   string `json:"-"`
}

// Signal is something that happened to one instance.
// Subject: nightshift.v1.sig.<source>.<region>.<instance>.
type Signal struct {
	ID          string            `json:"id,omitempty" jsonschema:"The same id of the same source counts once."`
	Alert       string            `json:"alert,omitempty" jsonschema:"Name of an alert. A signal has exactly one of alert, load and signal."`
	Status      string            `json:"status,omitempty" jsonschema:"Of an alert: firing (default) or resolved."`
	Labels      map[string]string `json:"labels,omitempty" jsonschema:"What policies match on."`
	Fingerprint string            `json:"fingerprint,omitempty" jsonschema:"With startsAt the identity of a firing: repeats count once."`
	StartsAt    time.Time         `json:"startsAt,omitzero" jsonschema:"Since when the alert fires, by the source's clock."`
	Load        string            `json:"load,omitempty" jsonschema:"Name of a metric, such as cpu; with its value."`
	Name        string            `json:"signal,omitempty" jsonschema:"Name of any other signal, such as ci.queued."`
	Value       *float64          `json:"value,omitempty" jsonschema:"Of a load, or of another signal."`
	Time        time.Time         `json:"time,omitzero" jsonschema:"When a load was measured, by the source's clock; else when it came in."`
	Webhook     bool              `json:"webhook,omitempty" jsonschema:"It came over HTTP: its source is bound to the policies that the file lists for it."`

	Source   string `json:"-"`
	Region   string `json:"-"`
	Instance string `json:"-"`
}

// Run is a stored plan: what a trigger yields in one region.
// Subject: nightshift.v1.run.<region>.<trigger id>.
type Run struct {
	Trigger  string          `json:"trigger"`
	Kind     string          `json:"kind"` // tick, command, signal
	Who      string          `json:"who,omitempty"`
	Claim    string          `json:"claim,omitempty"`       // name of who asks, as they say
	Region   string          `json:"region"`                // lower case; "_" for a trigger that touches nothing
	Edges    []string        `json:"edges,omitempty"`       // ticks that this plan has taken
	Asked    string          `json:"asked,omitempty"`       // of a command: hash of what it asks for ([Command.Asked])
	Regions  []string        `json:"regions,omitempty"`     // of a command for a selector: all regions that have a part of the plan
	Select   json.RawMessage `json:"select,omitempty"`      // the selector of such a command, as it was sent: what it no longer chooses is left alone
	Planned  time.Time       `json:"planned"`               // plan time of the trigger
	StoredAt time.Time       `json:"stored_at"`             // machine time
	Why      string          `json:"why,omitempty"`         // when there are no items: why not
	Trace    string          `json:"traceparent,omitempty"` // trace context of what asked for it
	State    string          `json:"tracestate,omitempty"`  // and what belongs to it
	// Held is why the run waits for approval, until HeldUntil (machine time) at the
	// latest; empty: it does not wait.
	Held      string    `json:"held,omitempty"`
	HeldUntil time.Time `json:"held_until,omitzero"`
	// Grown is how many instances policies select that are held because it is at least
	// twice as many as before: whoever approves the run approves that.
	Grown   map[string]int `json:"grown,omitempty"`
	Retries string         `json:"retries,omitempty"` // trigger of the run that it asks for again
	Undoes  string         `json:"undoes,omitempty"`  // trigger of the run that it undoes
	Items   []Item         `json:"items,omitempty"`
	// Parts is how many further messages the items are in, as stored; 0 in what is
	// given to a caller.
	Parts int `json:"parts,omitempty"`

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
	Revision   string    `json:"policy_revision,omitempty"` // hash of the policy in the form that decided
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
	Stage      *Stage    `json:"stage,omitempty"`  // that it has its turn in; nil: it waits for nobody
}

// Stage is some of the starts, or of the stops, of a run. It waits for the stages
// of the same order, group and action that have their turn before it.
type Stage struct {
	Order    string        `json:"order"`
	Group    string        `json:"group,omitempty"` // tag that the instances have in common
	Action   string        `json:"action"`          // start or stop
	Turn     int           `json:"turn"`            // from 1
	Of       int           `json:"of"`              // stages that the order has
	TCP      int           `json:"tcp,omitempty"`   // a started instance is ready when this port takes a connection, or
	HTTP     string        `json:"http,omitempty"`  // this port and path answer
	Private  bool          `json:"private,omitempty"`
	Deadline time.Duration `json:"deadline"` // nanoseconds of machine time
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
	Settled  Outcome = "settled"  // after an outcome that is unknown: somebody looked, and says how it ended
	Noticed  Outcome = "noticed"  // seen, and nothing done about it: drift, a change by hand, a tag that cannot be read
)

// Outcomes are all outcomes, and then all notes.
func Outcomes() []Outcome {
	return []Outcome{Done, Skipped, Planned, Superseded, Expired, Failed, Unknown, Started, Accepted, PutOff, Waiting, Settled, Noticed}
}

// Record is the data of an event of NS_EVT, inside a CloudEvent. Programs of
// others read it: a field is never taken away and never changes its type
// (schemas/record.json, and the test beside it). The tags describe the fields
// in that schema.
// Subject: nightshift.v1.evt.<region>.<instance>.<action>.<outcome>.<action id>.
type Record struct {
	ActionID string    `json:"action_id" jsonschema:"The same for every event of one action."`
	Action   string    `json:"action" jsonschema:"What is done: start, stop, reboot, resize, retag, firewall. For what is no action on an instance: plan, tick, run, power, tags, policies, account, message, and more to come."`
	Outcome  Outcome   `json:"outcome" jsonschema:"How the action ended, once; or a note of what happened on the way: started, accepted, put-off, waiting, noticed; or settled, which comes after unknown."`
	Reason   string    `json:"reason,omitempty" jsonschema:"Why, as a word that does not change: already, protected, cooldown, over limit, gone, ... New ones may come."`
	Detail   string    `json:"detail,omitempty" jsonschema:"Why, as a sentence for people."`
	Error    string    `json:"error,omitempty" jsonschema:"What the Civo API or the network said; never a secret."`
	Trigger  string    `json:"trigger" jsonschema:"What made the daemon look: id of a tick (t, its unix time, and a few letters for what was announced with it), command or signal."`
	Who      string    `json:"who,omitempty" jsonschema:"Publisher of the command, or source of the signal, as its subject says: a name that NATS vouches for where it has users, else local."`
	Claim    string    `json:"claim,omitempty" jsonschema:"Name that whoever asked gives; nobody vouches for it."`
	Policy   string    `json:"policy,omitempty" jsonschema:"Policy that wanted it; empty for a command."`
	Revision string    `json:"policy_revision,omitempty" jsonschema:"Hash of the policy in the form that decided: another form of it has another hash."`
	Why      string    `json:"why,omitempty" jsonschema:"What the policy or command wanted, for people."`
	Region   string    `json:"region" jsonschema:"Lower case; _ where there is none."`
	Instance string    `json:"instance" jsonschema:"Id; _ where there is none."`
	Hostname string    `json:"hostname,omitempty"`
	Planned  time.Time `json:"planned,omitzero" jsonschema:"Plan time of the trigger: when it was meant to be."`
	Lateness string    `json:"lateness,omitempty" jsonschema:"Of an outcome: how long after the planned time it came, as a Go duration such as 1m2.5s."`
	Before   string    `json:"before,omitempty" jsonschema:"State before: status, size and status, tags, or firewall, by action."`
	After    string    `json:"after,omitempty" jsonschema:"State after, as seen in the API."`
	Attempt  int       `json:"attempt,omitempty" jsonschema:"Number of the call to the API; of an outcome: how many calls were made."`
	Deadline time.Time `json:"deadline,omitzero" jsonschema:"Of a started: the call ends before."`
	CalledAt time.Time `json:"called_at,omitzero" jsonschema:"Of what is unknown: when its call was announced or accepted."`
	SeenAt   time.Time `json:"seen_at,omitzero" jsonschema:"Of what is unknown: when the instance was last seen as after says; missing: never since the call."`
	To       []string  `json:"to,omitempty" jsonschema:"Of a message: names of the targets."`
	About    []Named   `json:"about,omitempty" jsonschema:"Of a warning: the instances; of many only the first."`
	Count    int       `json:"count,omitempty" jsonschema:"Of a warning: how many instances."`
	Postpone time.Time `json:"postpone,omitzero" jsonschema:"Of a warning: until when one click may put it off (plan time)."`
	RunSeq   uint64    `json:"run,omitempty" jsonschema:"Sequence of the stored plan in NS_RUN."`

	// Trace is the W3C trace context of what asked for it: the traceparent
	// attribute of the event and header of its message. So is TraceState.
	Trace      string `json:"-"`
	TraceState string `json:"-"`

	StoredAt time.Time `json:"-"` // set when read: the server's time
	Seq      uint64    `json:"-"` // set when read: in NS_EVT
	event    string    // set by Watch: the whole CloudEvent
}

// CloudEvent is the whole event as it is stored, of a record that [Bus.Watch] read.
func (r *Record) CloudEvent() []byte { return []byte(r.event) }

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
	ActionStage  = "stage"  // a stage of an order is over; reason StageLate: not reached by its deadline
	ActionNotify = "notify" // a step of a trigger; a message that was not delivered
)

// StageLate is the reason of a notice of [ActionStage] that people are told of.
const StageLate = "deadline"

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
	case Started, Accepted, PutOff, Waiting, Settled, Noticed:
		return false
	}
	return true
}
