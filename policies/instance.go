package policies

import "time"

// Instance is what a decision needs to know of a Civo instance.
type Instance struct {
	ID         string
	Hostname   string
	Region     string // upper case
	Size       string
	Status     string // as the API spells it; an unknown status means busy
	Tags       []string
	FirewallID string
	NetworkID  string
	PublicIP   string
	PrivateIP  string
	CPUCores   int
	RAMMB      int
	DiskGB     int
	CreatedAt  time.Time // zero when the API does not say
}

// Statuses that decisions know. Every other one means busy: wait.
const (
	StatusActive  = "ACTIVE"
	StatusShutoff = "SHUTOFF"
)
