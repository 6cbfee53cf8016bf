package policies

import (
	"slices"
	"time"

	"nightshift/policies/schedule"
)

// Facts is what is remembered from before and cannot be read off the inventory.
// The zero Facts is a first start: nothing is known. All times are plan time.
type Facts struct {
	// Cooldowns: when a signal policy last acted on an instance, by CooldownKey.
	Cooldowns map[string]Cooldown
	// LastActions: when the last action of ours on an instance was accepted, by
	// instance id; signals do nothing within settle (10 min).
	LastActions map[string]time.Time
	// Keeps are those of the command keep, by instance id. Keeps that have ended
	// stay for a while, so that their end can be decided about.
	Keeps map[string]Keep
	// Pauses that hold or have ended a while ago.
	Pauses []Pause
	// Impulses are the power wants of commands, signals and cron policies that an
	// instance has had, oldest first, by instance id.
	Impulses Impulses
	// Hands are the newest changes that somebody else made, by instance id.
	Hands map[string]Hand
	// WatchedSince is when the daemon began to watch; what an instance did
	// before is unknown history. Zero: nothing has been watched.
	WatchedSince time.Time
	// FirstSeen is when an instance was first seen, for those that were not there
	// when watching began.
	FirstSeen map[string]time.Time
	// TagsSeen is when an owner's tag was first seen, by TagKey, for those that
	// were not there when watching began.
	TagsSeen map[string]time.Time
	// Loads are the loads that are high, by CooldownKey.
	Loads map[string]Load
	// Fleet is the last complete inventory, by region: what a share is a share of,
	// and what floors count. nil: the inventory that is decided about is all there is.
	Fleet [][]Instance
	// Partial says that a region was never read, so that Fleet may be too small.
	Partial bool
	// Sizes is how many instances a policy selected at its last run that limits count.
	Sizes map[string]int
	// Asked are the instances of what the trigger asked for in regions that were
	// decided about before, once for each action that limits count.
	Asked []string
}

// Cooldown is what is remembered of the last time that a signal policy acted on
// an instance.
type Cooldown struct {
	At     time.Time `json:"at"`
	Streak int       `json:"streak,omitempty"` // how often in a row it acted again soon after a cool-down
}

// CooldownKey is the key of Facts.Cooldowns and Facts.Loads.
func CooldownKey(policy, instance string) string { return policy + "/" + instance }

// TagKey is the key of Facts.TagsSeen.
func TagKey(instance, tag string) string { return instance + "/" + tag }

// Flapping: a firing so soon after a cool-down makes the next one twice as long,
// up to a bound.
const (
	maxStreak   = 6
	maxCooldown = 24 * time.Hour
)

// Span is how long a cool-down lasts: the policy's, doubled for each time that
// the policy acted again right after one.
func (c Cooldown) Span(p *Policy) time.Duration {
	if p.Cooldown >= maxCooldown {
		return p.Cooldown
	}
	return min(p.Cooldown<<min(c.Streak, maxStreak), maxCooldown)
}

// Next is what is remembered after the policy has acted at an instant.
func (c Cooldown) Next(p *Policy, at time.Time) Cooldown {
	if c.At.IsZero() || at.Sub(c.At) > 2*c.Span(p) {
		return Cooldown{At: at}
	}
	return Cooldown{At: at, Streak: min(c.Streak+1, maxStreak)}
}

// Load is a load that is high.
type Load struct {
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"` // time of the newest value
}

// NextLoad is what is remembered of a load after a value of it; high is false
// when there is nothing to remember. A value that is older than the newest
// changes nothing.
func (c *SignalCause) NextLoad(old Load, value float64, at time.Time) (l Load, high bool) {
	was := !old.Since.IsZero()
	switch {
	case was && at.Before(old.Last):
		return old, true
	case value > c.Above && !was:
		return Load{Since: at, Last: at}, true
	case !was:
		return Load{}, false
	case c.ClearBelow != 0 && value < c.ClearBelow, c.ClearBelow == 0 && value <= c.Above:
		return Load{}, false
	}
	return Load{Since: old.Since, Last: at}, true
}

// Keep is an instance that stays in a state until an instant, whatever policies
// and commands want.
type Keep struct {
	State  schedule.State `json:"state"` // Running, Stopped, or Any: as it is
	Since  time.Time      `json:"since"`
	Until  time.Time      `json:"until"`
	Edge   time.Time      `json:"edge,omitzero"`   // at which its begin is acted upon; zero: Since
	Who    string         `json:"who,omitempty"`   // that NATS vouches for
	Claim  string         `json:"claim,omitempty"` // as the sender says
	Reason string         `json:"reason,omitempty"`
	tag    string         // the owner's tag that says so
}

// begin is the edge at which a keep begins.
func (k Keep) begin() time.Time {
	if k.Edge.IsZero() {
		return k.Since
	}
	return k.Edge
}

// Pause silences all, one policy or one instance.
type Pause struct {
	Policy   string    `json:"policy,omitempty"`
	Instance string    `json:"instance,omitempty"` // id; with Policy empty too: everything
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until,omitzero"`  // zero: until it is resumed
	Who      string    `json:"who,omitempty"`   // that NATS vouches for
	Claim    string    `json:"claim,omitempty"` // as the sender says
	Reason   string    `json:"reason,omitempty"`
}

// Holds reports whether a pause holds at an instant.
func (p Pause) Holds(t time.Time) bool {
	return !t.Before(p.Since) && (p.Until.IsZero() || t.Before(p.Until))
}

// Impulse is a power want that came at an instant, from a policy or, when Policy
// is empty, from a command.
type Impulse struct {
	Policy  string
	State   schedule.State
	At      time.Time
	Until   time.Time // zero: until the next edge that concerns the instance
	Started bool      // a call was made for it: the instance was not so before
}

// Impulses are by instance id, oldest first.
type Impulses map[string][]Impulse

// Learn takes up what an action of a plan wants, when it is an impulse. Skipped
// as already so it counts too: then it started nothing.
func (m Impulses) Learn(a Action, started bool) {
	if a.Kind != KindPower || a.Level || isPseudo(a.Policy) || a.Mode == ModeObserve {
		return
	}
	imp := Impulse{Policy: a.Policy, State: stateFor(a.Verb), At: later(a.Planned, a.Due), Until: a.HoldsUntil, Started: started}
	list := slices.DeleteFunc(m[a.Instance], func(old Impulse) bool {
		if old.Policy != imp.Policy {
			return false
		}
		imp.Started = imp.Started || old.Started && old.State == imp.State && !old.Until.IsZero() && !imp.At.After(old.Until) // prolonged
		return true
	})
	m[a.Instance] = append(list, imp)
}

// Hand is a change of the power state that somebody else made.
type Hand struct {
	State schedule.State `json:"state"` // Running or Stopped: what it was changed to
	At    time.Time      `json:"at"`    // of the first reading that shows it
	// From is when it was last seen otherwise; zero: not known, then it was at At.
	From time.Time `json:"from,omitzero"`
}

// isAfter reports whether it counts as done after an edge. The reading that an edge
// is decided on shows what was done since the one before, ten minutes perhaps: that
// was before the edge, which so ends it.
func (h *Hand) isAfter(edge time.Time) bool {
	return h.At.After(edge) && (h.From.IsZero() || !h.From.Before(edge) || h.At.Sub(edge) > edgeFirst)
}

// during is what a timetable wanted when it was done.
func (h *Hand) during(table schedule.Timetable) schedule.State {
	if last, ok := table.Prev(h.At); ok && !h.From.IsZero() && !h.isAfter(last.At) {
		return table.At(last.At.Add(-time.Second))
	}
	return table.At(h.At)
}
