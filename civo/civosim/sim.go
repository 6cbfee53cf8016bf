package civosim

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a simulator. The zero value is a Civo with three regions, no
// instances, a generous quota and no delays.
type Options struct {
	Token   string   // bearer token that is asked for; "" accepts any that is not empty
	Regions []string // region codes; default LON1, NYC1, FRA1. The first is the default region. Regions of the fleet are added

	Delay  time.Duration            // how long each passage takes, in the time of Now; 0 means done at the next look
	Delays map[string]time.Duration // the same for one operation ("create", "stop", "start", "soft_reboot", "hard_reboot", "resize", "delete"); outranks Delay
	Jitter float64                  // 0 to 1: each delay is lengthened by a random part of up to this fraction of it
	Lag    time.Duration            // how long reads go on showing an instance as it was before a change; 10 min at most
	Rate   float64                  // requests a second that the account may send, with a burst of as many; beyond it 429 with Retry-After. 0 = any

	Now   func() time.Time // default time.Now
	Seed  uint64           // of ids, jitter and the chances of faults
	Fleet []Machine        // instances at start
	Quota Quota            // limits of the account; a zero field is the generous default

	QuotaLag      time.Duration  // how long the quota usage outlives a deleted instance
	RefuseKey     KeyRefusal     // how a wrong or missing key is answered; default RequiresAuthentication
	Statuses      map[string]int // HTTP status of an error code, where it should differ from ours: most are not documented
	Ledger        int            // requests that the ledger keeps; default 100,000
	StartStatus   string         // status while an instance starts; default "": SHUTOFF goes on showing
	ResizeStatus  string         // status during a resize; default REBOOTING, the other known one is BUILDING
	DownsizeCode  string         // error code of a resize that is not upwards: not documented; default parameter_value_missing
	RequireRegion bool           // a get or action without region answers "instance not found" (civo/cli#137); default: the default region

	RefuseRepeats       bool // stop of a stopped and start of a running instance are errors; default: success without effect
	RefuseRebootStopped bool // reboot of a stopped instance is an error; default: it comes up
	ResizeKeepsStopped  bool // a stopped instance is stopped again after a resize; default: it runs
	KeepDuplicateTags   bool // equal tags of one request stay double; default: one of each
}

// KeyRefusal is a way to say that a key is not good. All three were seen.
type KeyRefusal string

const (
	RequiresAuthentication KeyRefusal = ""                             // 401 {"result":"requires_authentication"}
	AccountNotFound        KeyRefusal = "database_account_not_found"   // 401, with code and reason
	AccessDenied           KeyRefusal = "authentication_access_denied" // 403, with code and reason
)

// A Sim is a simulated Civo account. Make one with [New].
type Sim struct {
	o Options

	mu sync.Mutex // guards all below; never held while an answer is written
	*account
}

// account is everything that a reset makes anew.
type account struct {
	id, user string
	offset   time.Duration // by which the clock was advanced
	regions  []*region
	all      map[string]*instance // by id, over all regions
	serial   uint64               // of instances, in the order of their creation
	usage    Quota                // what counts against the quota
	keys     []*sshKey
	hooks    []*webhook
	billed   []segment // hours of what exists no more
	actions  ring[auditAction]
	actionID int

	tokens   float64   // requests that may come at once, see Options.Rate
	tokensAt time.Time // when they were counted

	due     dueHeap
	dueID   uint64
	ids     *rand.Rand
	chance  *rand.Rand // jitter and probabilities: does not disturb the ids
	faults  []*Fault
	ledger  ring[Request]
	ledgerN uint64 // requests since the start
}

// New returns a simulator with the fleet of o. It panics when the fleet names a
// size that does not exist or an id twice, which [ParseFleet] never lets through.
func New(o Options) *Sim {
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Regions) == 0 {
		o.Regions = []string{"LON1", "NYC1", "FRA1"}
	}
	o.Ledger = cmp.Or(max(o.Ledger, 0), defaultLedger)
	o.ResizeStatus = cmp.Or(o.ResizeStatus, statusRebooting)
	o.DownsizeCode = cmp.Or(o.DownsizeCode, "parameter_value_missing")
	o.Quota = o.Quota.orDefaults()
	o.Lag = min(o.Lag, pastReach)
	s := &Sim{o: o}
	s.Reset()
	return s
}

// Reset makes everything as it was after New, the clock, the ledger and the
// faults included.
func (s *Sim) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &account{
		all:     make(map[string]*instance),
		ids:     rand.New(rand.NewPCG(s.o.Seed, 1)),
		chance:  rand.New(rand.NewPCG(s.o.Seed, 2)),
		ledger:  ring[Request]{max: s.o.Ledger},
		actions: ring[auditAction]{max: maxActions},
	}
	s.account = a
	a.id, a.user = a.uuid(), a.uuid()
	codes := make([]string, 0, len(s.o.Regions))
	for _, code := range s.o.Regions {
		if code = strings.ToUpper(code); !slices.Contains(codes, code) {
			codes = append(codes, code)
		}
	}
	for _, m := range s.o.Fleet {
		if code := strings.ToUpper(m.Region); code != "" && !slices.Contains(codes, code) {
			codes = append(codes, code)
		}
	}
	for _, code := range codes {
		a.regions = append(a.regions, a.newRegion(code))
	}
	a.keys = []*sshKey{{ID: a.uuid(), Name: "demo", Fingerprint: "SHA256:simulated", PublicKey: "ssh-ed25519 AAAA simulated", CreatedAt: stamp(s.o.Now())}}
	s.enlist(s.o.Fleet)
}

// Advance moves the clock of the simulator on by d, and with it every passage
// that is under way.
func (s *Sim) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += max(d, 0)
	s.look()
}

// look brings the state up to the present and returns that.
func (s *Sim) look() time.Time {
	now := s.o.Now().Add(s.offset)
	s.settle(now)
	return now
}

// Instance is a snapshot of one instance, as it is and not as a lagging read
// shows it.
type Instance struct {
	ID         string    `json:"id"`
	Hostname   string    `json:"hostname"`
	Region     string    `json:"region"`
	Size       string    `json:"size"`
	Status     string    `json:"status"`
	Busy       bool      `json:"busy"` // a passage is under way
	Tags       []string  `json:"tags"`
	FirewallID string    `json:"firewall_id"`
	NetworkID  string    `json:"network_id"`
	CreatedAt  time.Time `json:"created_at"`
}

// Instances returns all instances, by region in their order, then by age.
func (s *Sim) Instances() []Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	out := make([]Instance, 0, len(s.all))
	for _, r := range s.regions {
		for _, in := range r.instances {
			out = append(out, in.snapshot())
		}
	}
	return out
}

// Instance returns one instance, and whether there is one with that id.
func (s *Sim) Instance(id string) (Instance, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.look()
	in, ok := s.all[id]
	if !ok {
		return Instance{}, false
	}
	return in.snapshot(), true
}

// SetStatus puts an instance into any status, as an operator or a fault would,
// and reports whether it exists. A passage that was under way ends there: the
// instance keeps that status until something changes it.
func (s *Sim) SetStatus(id, status string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.look()
	in, ok := s.all[id]
	if ok {
		in.interrupt()
		in.change(now, func(r *record) { r.become(status) })
	}
	return ok
}

// SetTags replaces the tags of an instance behind the client's back, and reports
// whether it exists.
func (s *Sim) SetTags(id string, tags ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.look()
	in, ok := s.all[id]
	if ok {
		in.change(now, func(r *record) { r.tags = slices.Clone(tags) })
	}
	return ok
}

// Remove lets an instance vanish at once, and reports whether it existed.
func (s *Sim) Remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.look()
	in, ok := s.all[id]
	if ok {
		s.remove(in, now)
	}
	return ok
}

var _ http.Handler = (*Sim)(nil)
