package civosim

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

const defaultLedger = 100_000

// A Request is an entry of the ledger: what came in, and what it did.
type Request struct {
	Time     time.Time `json:"time"` // on the simulator's clock
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Op       string    `json:"op"`                 // "create", "list", "get", "update", "retag", "soft_reboot", "hard_reboot", "stop", "start", "resize", "firewall", "delete"; neighbours: "regions", "quota", …; "" for an unknown path
	Region   string    `json:"region,omitempty"`   // that was acted in, upper case; "" when there was none
	Instance string    `json:"instance,omitempty"` // id in the path; of a create the first new id
	Status   int       `json:"status"`             // HTTP status; 0 when the connection was cut
	Effect   bool      `json:"effect"`             // whether it changed state
	Fault    FaultKind `json:"fault,omitempty"`    // that struck it

	Query     string `json:"query,omitempty"` // secrets masked, at most 256 bytes
	Body      string `json:"body,omitempty"`  // as a form, whatever it was; secrets masked, at most 256 bytes
	UserAgent string `json:"user_agent,omitempty"`
}

// Requests returns the ledger, oldest first. It holds the newest
// [Options.Ledger] requests; those to /sim/ and / are not in it.
func (s *Sim) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.all()
}

// numbered is the ledger, and how many requests there were since the start.
func (s *Sim) numbered() ([]Request, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.all(), s.ledgerN
}

// secrets are the parameters whose values are never kept.
var secrets = []string{"script", "user_script", "initial_password", "public_key", "secret", "password", "token", "access_token", "api_key", "apikey"}

const maxLogged = 256

func masked(v url.Values) string {
	if len(v) == 0 {
		return ""
	}
	shown := make(url.Values, len(v))
	for key, values := range v {
		if slices.Contains(secrets, strings.ToLower(key)) {
			values = []string{"***"}
		}
		shown[key] = values
	}
	text := shown.Encode()
	if len(text) > maxLogged {
		text = text[:maxLogged]
	}
	return text
}
