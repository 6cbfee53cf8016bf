package worker

import (
	"time"

	"nightshift/policies"
)

// Status is what a daemon says of itself: the answer of nightshift.v1.ctl.status.
type Status struct {
	Name     string    `json:"name,omitempty"` // of the replica: host and process
	Version  string    `json:"version"`
	Revision string    `json:"revision"`
	Mode     string    `json:"mode"`
	Ready    bool      `json:"ready"`
	NotReady []string  `json:"not_ready,omitempty"` // why not, in words
	Since    time.Time `json:"since"`               // start, machine time
	Now      time.Time `json:"now"`                 // plan time
	Policies int       `json:"policies"`
	// PolicyFault is why a newer policy file is not in force; empty: it is.
	PolicyFault string           `json:"policy_fault,omitempty"`
	Regions     []RegionStatus   `json:"regions"`
	Next        []UpcomingEdge   `json:"next"`
	Open        int              `json:"open"`             // actions without outcome
	Paused      []policies.Pause `json:"paused,omitempty"` // that hold now
	Timezone    string           `json:"timezone"`         // of the policy file
	// Replicas are the others that share the work and the API's rate.
	Replicas []ReplicaStatus `json:"replicas,omitempty"`
	// TokenRefused is set from when Civo refuses the token until it accepts one.
	TokenRefused bool `json:"token_refused,omitempty"`
	// Account is what the store belongs to, OtherAccount what the token's instances
	// belong to instead: every action is put off then.
	Account      []string `json:"account,omitempty"`
	OtherAccount []string `json:"other_account,omitempty"`
	// NoInstance is set while the token lists no instance, though there were some:
	// every action is put off then, too.
	NoInstance bool `json:"no_instance,omitempty"`
	// StoreFaults are what is stored and cannot be read.
	StoreFaults []string `json:"store_faults,omitempty"`
	// ClockFault is why nothing acts by this machine's clock; empty: it is plausible.
	ClockFault string `json:"clock_fault,omitempty"`
}

// ReplicaStatus is another replica, as it says of itself.
type ReplicaStatus struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Revision string `json:"revision"` // of its policy file
}

// RegionStatus says how a region was last read.
type RegionStatus struct {
	Region    string    `json:"region"`
	Instances int       `json:"instances"`
	ReadAt    time.Time `json:"read_at,omitzero"`  // of the last complete list
	Error     string    `json:"error,omitempty"`   // of the last attempt; empty when it went well
	Unknown   bool      `json:"unknown,omitempty"` // the account has no such region
}

// UpcomingEdge is an edge that lies ahead, for people.
type UpcomingEdge struct {
	Policy  string    `json:"policy"`
	Planned time.Time `json:"planned"`
	Want    string    `json:"want"`
}

// FindRequest asks for instances by id or host name: nightshift.v1.ctl.find.
type FindRequest struct {
	Name   string `json:"name"`             // an id, or a host name, exactly
	Region string `json:"region,omitempty"` // empty: all regions of the daemon
	// Complete asks for the host names that begin so, in Similar: the completion of the shell.
	Complete bool `json:"complete,omitempty"`
}

// FindAnswer lists every instance that goes by that name; callers act only
// when it is exactly one.
type FindAnswer struct {
	Found   []Found  `json:"found"`
	Unread  []string `json:"unread,omitempty"`  // regions that could not be listed: the answer may be incomplete
	Similar []string `json:"similar,omitempty"` // host names close to it, when none was found; or what completes it
}

// Found is one instance that goes by a name.
type Found struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	Region   string `json:"region"` // upper case
	Status   string `json:"status"`
}
