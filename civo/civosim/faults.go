package civosim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultKind is a way in which a request goes wrong.
type FaultKind string

const (
	RateLimited        FaultKind = "rate-limited"          // 429, with Retry-After when Fault.RetryAfter is set
	ServerError        FaultKind = "server-error"          // 500 {"status":500}
	HTML504            FaultKind = "html-504"              // 504 with the HTML page of a proxy
	HTML502            FaultKind = "html-502"              // 502 with the HTML page of a proxy
	CutBefore          FaultKind = "cut-before"            // the connection is cut, nothing was carried out
	CutAfter           FaultKind = "cut-after"             // carried out, then the connection is cut: the answer is lost
	Slow               FaultKind = "slow"                  // carried out, the answer comes after Fault.Delay
	BadJSON            FaultKind = "bad-json"              // carried out, answered with 200 and half an object
	EmptyBody          FaultKind = "empty-body"            // carried out, answered with 200 and nothing
	AcceptedButNotDone FaultKind = "accepted-but-not-done" // success is answered and nothing happens
	Stuck              FaultKind = "stuck"                 // accepted, and the passage never ends
	StaleRead          FaultKind = "stale-read"            // a get or list shows everything as it was Fault.Delay ago (default 1 min)
	Unauthorized       FaultKind = "unauthorized"          // as if the key were wrong
	Refused            FaultKind = "refused"               // an error of the API: Fault.Code, Reason, Status
)

// faultKinds in the order of the documentation.
var faultKinds = []FaultKind{
	RateLimited, ServerError, HTML504, HTML502, CutBefore, CutAfter, Slow, BadJSON, EmptyBody,
	AcceptedButNotDone, Stuck, StaleRead, Unauthorized, Refused,
}

// A Fault makes requests go wrong. Those that it concerns are named by Op,
// Region and Instance, where each that is empty means any.
type Fault struct {
	Op       string    `json:"op,omitempty"`       // as in Request.Op; "*" or "" means any
	Region   string    `json:"region,omitempty"`   // in any case
	Instance string    `json:"instance,omitempty"` // id
	Kind     FaultKind `json:"kind"`

	Count       int           `json:"count,omitempty"`       // how many requests; 0 means 1, a negative number all
	Probability float64       `json:"probability,omitempty"` // that a request is struck; 0 means 1
	After       bool          `json:"after,omitempty"`       // rate-limited, server-error, html-502, html-504: the request is carried out before that answer
	RetryAfter  time.Duration `json:"retry_after,omitempty"` // rate-limited: rounded up to seconds; 0 sends no header
	Delay       time.Duration `json:"delay,omitempty"`       // slow: until the answer, in the time of the machine. stale-read: age of what is shown
	Status      int           `json:"status,omitempty"`      // refused: HTTP status; 0 means that of the code
	Code        string        `json:"code,omitempty"`        // refused: default out_of_capacity
	Reason      string        `json:"reason,omitempty"`      // refused
}

// faultJSON is a Fault with its times as text.
type faultJSON struct {
	plainFault
	RetryAfter string `json:"retry_after,omitempty"`
	Delay      string `json:"delay,omitempty"`
}

type plainFault Fault // without the methods

// MarshalJSON writes times as text such as "1m30s".
func (f Fault) MarshalJSON() ([]byte, error) {
	j := faultJSON{plainFault: plainFault(f)}
	for _, t := range []struct {
		from time.Duration
		to   *string
	}{{f.RetryAfter, &j.RetryAfter}, {f.Delay, &j.Delay}} {
		if t.from != 0 {
			*t.to = t.from.String()
		}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses keys that it does not
// know.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var j faultJSON
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return err
	}
	read := Fault(j.plainFault)
	for _, t := range []struct {
		key, from string
		to        *time.Duration
	}{{"retry_after", j.RetryAfter, &read.RetryAfter}, {"delay", j.Delay, &read.Delay}} {
		if t.from == "" {
			continue
		}
		d, err := time.ParseDuration(t.from)
		if err != nil {
			return fmt.Errorf("%s %q is not a time such as 30s", t.key, t.from)
		}
		*t.to = d
	}
	*f = read
	return nil
}

// ParseFault reads a fault as it is written on a command line, an operation or *
// and a kind, then what else it has:
//
//	stop:rate-limited,count=3,retry_after=2s
//	*:server-error,probability=0.05,count=-1
//	create:refused,code=quota_limit_reached,region=LON1
//
// The keys are those of the JSON form.
func ParseFault(text string) (Fault, error) {
	head, rest, more := strings.Cut(text, ",")
	op, kind, ok := strings.Cut(head, ":")
	if !ok {
		return Fault{}, fmt.Errorf("fault %q: write it as OPERATION:KIND, such as stop:rate-limited,count=3", text)
	}
	fields := map[string]any{"op": op, "kind": kind}
	var pairs []string
	if more {
		pairs = strings.Split(rest, ",")
	}
	for _, pair := range pairs {
		key, v, ok := strings.Cut(pair, "=")
		if !ok {
			return Fault{}, fmt.Errorf("fault %q: %q is not KEY=VALUE", text, pair)
		}
		switch key {
		case "count", "status", "probability", "after":
			fields[key] = json.RawMessage(v)
		default:
			fields[key] = v
		}
	}
	var f Fault
	data, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, nil
}

// Check says what is wrong with a fault, or nil.
func (f Fault) Check() error {
	switch {
	case !slices.Contains(faultKinds, f.Kind):
		return fmt.Errorf("fault kind %q is not known: use one of %v", f.Kind, faultKinds)
	case f.Op != "" && f.Op != "*" && !knownOp(f.Op):
		return fmt.Errorf("fault operation %q is not known: use \"*\" or one of %v", f.Op, ops())
	case f.Probability < 0 || f.Probability > 1:
		return fmt.Errorf("fault probability %v is not between 0 and 1", f.Probability)
	case f.Delay < 0 || f.RetryAfter < 0:
		return fmt.Errorf("fault %s has a negative time: leave it out or give a positive one", f.Kind)
	}
	return nil
}

// Inject adds a fault. Of several that concern a request the oldest strikes. It
// panics when [Fault.Check] finds the fault wrong.
func (s *Sim) Inject(f Fault) {
	if err := f.Check(); err != nil {
		panic("civosim: " + err.Error())
	}
	if f.Count == 0 {
		f.Count = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Faults returns the faults that can still strike, with what is left of their counts.
func (s *Sim) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Fault, 0, len(s.faults))
	for _, f := range s.faults {
		out = append(out, *f)
	}
	return out
}

// ClearFaults takes all faults away.
func (s *Sim) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// strike picks the fault for a call, or nil, and counts it.
func (s *Sim) strike(c *call) *Fault {
	for i, f := range s.faults {
		if !f.concerns(c) || f.Probability > 0 && s.chance.Float64() >= f.Probability {
			continue
		}
		if f.Count > 0 {
			if f.Count--; f.Count == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		struck := *f
		return &struck
	}
	return nil
}

func (f *Fault) concerns(c *call) bool {
	return (f.Op == "" || f.Op == "*" || f.Op == c.op) &&
		(f.Instance == "" || f.Instance == c.instance) &&
		(f.Region == "" || c.region != nil && strings.EqualFold(f.Region, c.region.code))
}

// instead says what a fault answers in place of the API (replaced), and whether
// the request is carried out all the same. Other faults change what the call does
// or sees.
func (s *Sim) instead(f *Fault, c *call) (a answer, carriedOut, replaced bool) {
	if f == nil {
		return answer{}, true, false
	}
	switch f.Kind {
	case Stuck:
		c.stuck = true
	case AcceptedButNotDone:
		c.feigned = true
	case StaleRead:
		c.sees, c.stale = c.now.Add(-cmp.Or(f.Delay, time.Minute)), true
	case RateLimited:
		a = plain(http.StatusTooManyRequests, "Too Many Requests")
		if f.RetryAfter > 0 {
			seconds := int((f.RetryAfter + time.Second - 1) / time.Second)
			a.header = http.Header{"Retry-After": {strconv.Itoa(seconds)}}
		}
		return a, f.After, true
	case ServerError:
		return answer{status: 500, kind: jsonType, body: []byte(`{"status":500,"error":"Internal Server Error"}`)}, f.After, true
	case HTML504:
		return html(http.StatusGatewayTimeout), f.After, true
	case HTML502:
		return html(http.StatusBadGateway), f.After, true
	case CutBefore:
		return answer{}, false, true
	case CutAfter:
		return answer{}, true, true
	case BadJSON:
		return answer{status: 200, kind: jsonType, body: []byte(`{"result":"succ`)}, true, true
	case EmptyBody:
		return answer{status: 200, kind: jsonType}, true, true
	case Unauthorized:
		return s.badKey(), false, true
	case Refused:
		a = s.refuse(cmp.Or(f.Code, "out_of_capacity"), "%s", cmp.Or(f.Reason, "the simulator was told to refuse this"))
		if f.Status != 0 {
			a.status = f.Status
		}
		return a, false, true
	}
	return answer{}, true, false // slow: only the answer is held back
}
