package civosim

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Statuses that the simulator itself gives. SetStatus takes any other.
const (
	statusBuilding  = "BUILDING"
	statusActive    = "ACTIVE"
	statusStopping  = "STOPPING"
	statusShutoff   = "SHUTOFF"
	statusRebooting = "REBOOTING"
	statusDeleting  = "DELETING"
)

// instance is one life of a machine. Its record is never written to, only
// replaced, so a list can be rendered after the lock is given back.
type instance struct {
	id     string
	serial uint64
	region *region
	rec    *record
	past   []version // older records, oldest first

	born    time.Time // zero for those of the fleet: they always were
	busy    bool      // a passage is under way
	passage uint64    // number of the newest passage; an older one has no effect any more
	held    *size     // what it counts for in the quota
	since   time.Time // when the hours of the present size began
	cluster bool      // a node of a Kubernetes cluster
}

// record is what an instance is at one time. It does not change.
type record struct {
	id, hostname   string
	serial         uint64
	region         *region
	status         string
	size           *size
	image          *diskImage
	networkID      string
	firewallID     string
	user           string
	keyID, key     string
	password       bool // the API made one up
	script         string
	tags           []string
	notes          string
	reverseDNS     string
	public         bool // wants a public address
	addressed      bool // was ACTIVE once: has its addresses
	reserved       *reservedIP
	volumes        []string
	account        string
	created        time.Time
	bandwidthLimit int
}

// version is a record that was true until a time.
type version struct {
	until time.Time
	rec   *record
}

// How far back a stale read can look, in time and in changes of an instance.
const (
	maxPast   = 8
	pastReach = 10 * time.Minute
)

func (r *record) become(status string) {
	r.status = status
	if status == statusActive {
		r.addressed = true
	}
}

// change gives the instance a new record that differs by f.
func (in *instance) change(at time.Time, f func(*record)) {
	next := *in.rec
	f(&next)
	old := slices.IndexFunc(in.past, func(v version) bool { return at.Sub(v.until) <= pastReach })
	if old < 0 {
		old = len(in.past)
	}
	in.past = append(in.past[min(max(old, len(in.past)+1-maxPast), len(in.past)):], version{at, in.rec})
	in.rec = &next
}

// as returns the record that was true at a time, or the oldest that is known.
func (in *instance) as(of time.Time) *record {
	for _, v := range in.past {
		if of.Before(v.until) {
			return v.rec
		}
	}
	return in.rec
}

// interrupt ends the passage that is under way, wherever it stands.
func (in *instance) interrupt() { in.busy, in.passage = false, in.passage+1 }

func (in *instance) snapshot() Instance {
	r := in.rec
	return Instance{
		ID: r.id, Hostname: r.hostname, Region: r.region.code, Size: r.size.Name, Status: r.status, Busy: in.busy,
		Tags: slices.Clone(r.tags), FirewallID: r.firewallID, NetworkID: r.networkID, CreatedAt: r.created,
	}
}

// instanceJSON is an instance as the API shows it, in both vocabularies: that of
// the documentation and that of the official client.
type instanceJSON struct {
	ID              string       `json:"id"`
	Name            string       `json:"name"`
	Hostname        string       `json:"hostname"`
	AccountID       string       `json:"account_id"`
	Size            string       `json:"size"`
	FirewallID      string       `json:"firewall_id"`
	SourceType      string       `json:"source_type"`
	SourceID        string       `json:"source_id"`
	TemplateID      string       `json:"template_id"`
	NetworkID       string       `json:"network_id"`
	InitialUser     string       `json:"initial_user"`
	InitialPassword string       `json:"initial_password"`
	SSHKey          string       `json:"ssh_key"`
	SSHKeyID        string       `json:"ssh_key_id"`
	Tags            []string     `json:"tags"`
	UserScript      string       `json:"user_script,omitempty"`
	Script          string       `json:"script,omitempty"`
	Status          string       `json:"status"`
	CivostatsdToken string       `json:"civostatsd_token"`
	CivostatsdStats string       `json:"civostatsd_stats"`
	PublicIP        *string      `json:"public_ip"`
	PrivateIP       *string      `json:"private_ip"`
	IPv6            *string      `json:"ipv6"`
	NamespaceID     *string      `json:"namespace_id"`
	Notes           string       `json:"notes"`
	ReverseDNS      string       `json:"reverse_dns"`
	CPUCores        int          `json:"cpu_cores"`
	GPUCount        int          `json:"gpu_count"`
	RAMMB           int          `json:"ram_mb"`
	DiskGB          int          `json:"disk_gb"`
	Region          string       `json:"region"`
	CreatedAt       string       `json:"created_at"`
	ReservedIPID    string       `json:"reserved_ip_id,omitempty"`
	ReservedIPName  string       `json:"reserved_ip_name,omitempty"`
	ReservedIP      string       `json:"reserved_ip,omitempty"`
	AttachedVolumes []attachedID `json:"attached_volumes,omitempty"`
	BandwidthLimit  int          `json:"network_bandwidth_limit,omitempty"`
	Result          string       `json:"result,omitempty"` // beside the instance in the answer of firewall
}

type attachedID struct {
	ID string `json:"id"`
}

// show renders the record. What is made up (addresses, password, token) is
// derived from the instance's id and number, so that it need not be kept.
func (r *record) show() instanceJSON {
	secret := fnv.New128a()
	secret.Write([]byte(r.id))
	sum := secret.Sum(nil)
	j := instanceJSON{
		ID: r.id, Name: r.hostname + "-" + hex.EncodeToString(sum[:4]), Hostname: r.hostname, AccountID: r.account,
		Size: r.size.Name, FirewallID: r.firewallID, SourceType: "diskimage", SourceID: r.image.Name, TemplateID: r.image.ID,
		NetworkID: r.networkID, InitialUser: r.user, SSHKey: r.key, SSHKeyID: r.keyID, Tags: r.tags,
		Status: r.status, CivostatsdToken: uuidFrom([16]byte(sum)), Notes: r.notes, ReverseDNS: r.reverseDNS,
		CPUCores: r.size.CPUCores, GPUCount: r.size.GPUCount, RAMMB: r.size.RAMMB, DiskGB: r.size.DiskGB,
		Region: r.region.code, CreatedAt: stamp(r.created), BandwidthLimit: r.bandwidthLimit,
	}
	if j.Tags == nil {
		j.Tags = []string{}
	}
	if r.password {
		j.InitialPassword = hex.EncodeToString(sum[6:14])
	}
	if r.script != "" {
		j.UserScript = base64.StdEncoding.EncodeToString([]byte(r.script))
		j.Script = j.UserScript
	}
	if r.addressed {
		private := r.privateIP()
		j.PrivateIP = &private
		if public := r.publicIP(); public != "" {
			j.PublicIP = &public
		}
	}
	if r.reserved != nil {
		j.ReservedIPID, j.ReservedIPName, j.ReservedIP = r.reserved.ID, r.reserved.Name, r.reserved.IP
	}
	for _, id := range r.volumes {
		j.AttachedVolumes = append(j.AttachedVolumes, attachedID{id})
	}
	return j
}

func (r *record) privateIP() string {
	n := r.serial + 2 // .0 is the network, .1 its gateway
	return fmt.Sprintf("10.%d.%d.%d", byte(n>>16), byte(n>>8), byte(n))
}

// publicIP is from 198.18.0.0/15, which RFC 2544 sets aside for tests.
func (r *record) publicIP() string {
	switch {
	case r.reserved != nil:
		return r.reserved.IP
	case !r.public:
		return ""
	}
	n := r.serial + 2
	return fmt.Sprintf("198.%d.%d.%d", 18+byte(n>>16)&1, byte(n>>8), byte(n))
}

func (r *record) hasTags(tags []string) bool {
	for _, t := range tags {
		if !slices.Contains(r.tags, t) {
			return false
		}
	}
	return true
}

// tagsOf splits a space separated list.
func (s *Sim) tagsOf(text string) []string {
	var tags []string
	for _, t := range strings.Fields(text) {
		if s.o.KeepDuplicateTags || !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	return tags
}

func (a *account) uuid() string { return randomUUID(a.ids) }

func randomUUID(from *rand.Rand) string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], from.Uint64())
	binary.LittleEndian.PutUint64(b[8:], from.Uint64())
	return uuidFrom(b)
}

func uuidFrom(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, variant 1
	text := make([]byte, 36)
	hex.Encode(text, b[:4])
	hex.Encode(text[9:], b[4:6])
	hex.Encode(text[14:], b[6:8])
	hex.Encode(text[19:], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text)
}

// stamp is a time as the API writes it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
