package policies

import "time"

// Instance is what a decision needs to know of a Civo instance.
type Instance struct {
	ID         string    `json:"id"`
	Hostname   string    `json:"hostname"`
	Region     string    `json:"region"` // upper case
	Size       string    `json:"size"`
	Status     string    `json:"status"` // as the API spells it; an unknown status means busy
	Tags       []string  `json:"tags"`
	FirewallID string    `json:"firewall_id,omitempty"`
	NetworkID  string    `json:"network_id,omitempty"`
	PublicIP   string    `json:"public_ip,omitempty"`
	PrivateIP  string    `json:"private_ip,omitempty"`
	CPUCores   int       `json:"cpu_cores,omitempty"`
	RAMMB      int       `json:"ram_mb,omitempty"`
	DiskGB     int       `json:"disk_gb,omitempty"`
	CreatedAt  time.Time `json:"created_at,omitzero"` // plan time; zero when the API does not say
}

// Statuses that decisions know. Every other one means busy: wait.
const (
	StatusActive  = "ACTIVE"
	StatusShutoff = "SHUTOFF"
)
