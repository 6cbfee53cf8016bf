package civosim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serveAdmin is the side on which the simulator itself is seen and driven. The
// routes are in the documentation of ServeHTTP.
func (s *Sim) serveAdmin(w http.ResponseWriter, r *http.Request) {
	parts := strings.FieldsFunc(strings.TrimPrefix(r.URL.Path, "/sim/"), func(c rune) bool { return c == '/' })
	what, id := "", ""
	if len(parts) > 0 {
		what = parts[0]
	}
	if len(parts) == 2 {
		id = parts[1]
	}
	if len(parts) > 2 || (id != "") != (what == "instances") {
		what = ""
	}
	switch r.Method + " " + what {
	case "GET state":
		send(w, ok(s.state(r.URL.Query().Get("region"))))
	case "GET ledger":
		send(w, ok(s.newest(r)))
	case "GET faults":
		send(w, ok(s.Faults()))
	case "POST faults":
		s.adminInject(w, r)
	case "DELETE faults":
		s.ClearFaults()
		send(w, success)
	case "POST advance":
		s.adminAdvance(w, r)
	case "POST instances":
		s.adminChange(w, r, id)
	case "DELETE instances":
		sendIf(w, s.Remove(id), id)
	case "POST reset":
		s.Reset()
		send(w, success)
	default:
		send(w, plain(http.StatusNotFound, "there are: GET /sim/state, GET /sim/ledger, GET, POST and DELETE /sim/faults, POST /sim/advance?by=1h, POST and DELETE /sim/instances/ID, POST /sim/reset"))
	}
}

// State is what GET /sim/state shows.
type State struct {
	Now       time.Time  `json:"now"`
	Regions   []string   `json:"regions"`
	Instances []Instance `json:"instances"`
	Usage     Quota      `json:"usage"`
	Requests  uint64     `json:"requests"` // since the start, those too that the ledger has dropped
}

func (s *Sim) state(code string) State {
	instances := slices.DeleteFunc(s.Instances(), func(i Instance) bool { return code != "" && !strings.EqualFold(code, i.Region) })
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{Now: s.look(), Instances: instances, Usage: s.usage, Requests: s.ledgerN}
	for _, r := range s.regions {
		st.Regions = append(st.Regions, r.code)
	}
	return st
}

// newest are the last n entries of the ledger (default 1,000) with an operation
// or any; with after the first n that came after so many since the start, for who
// follows the ledger without missing what it drops.
func (s *Sim) newest(r *http.Request) []Request {
	op, n := r.URL.Query().Get("op"), positive(r.URL.Query().Get("n"), 1000)
	all, number := s.numbered()
	after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	if following := err == nil; following {
		dropped := number - uint64(len(all))
		all = all[min(uint64(len(all)), max(after, dropped)-dropped):]
		all = all[:min(n, len(all))]
	}
	if op != "" {
		all = slices.DeleteFunc(all, func(e Request) bool { return e.Op != op })
	}
	return all[max(0, len(all)-n):]
}

func (s *Sim) adminInject(w http.ResponseWriter, r *http.Request) {
	var f Fault
	data, err := readBody(r.Body)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		send(w, plain(http.StatusBadRequest, err.Error()))
		return
	}
	s.Inject(f)
	send(w, success)
}

func (s *Sim) adminAdvance(w http.ResponseWriter, r *http.Request) {
	by, err := time.ParseDuration(r.FormValue("by"))
	if err != nil || by < 0 {
		send(w, plain(http.StatusBadRequest, fmt.Sprintf("by %q is not a time such as 90s or 12h", r.FormValue("by"))))
		return
	}
	s.Advance(by)
	send(w, success)
}

func (s *Sim) adminChange(w http.ResponseWriter, r *http.Request, id string) {
	if err := r.ParseForm(); err != nil {
		send(w, plain(http.StatusBadRequest, err.Error()))
		return
	}
	there := true
	if status := r.Form.Get("status"); status != "" {
		there = s.SetStatus(id, status)
	}
	if tags, given := r.Form["tags"]; given {
		there = s.SetTags(id, strings.Fields(strings.Join(tags, " "))...)
	}
	_, exists := s.Instance(id)
	sendIf(w, there && exists, id)
}

func sendIf(w http.ResponseWriter, there bool, id string) {
	if !there {
		send(w, plain(http.StatusNotFound, "there is no instance "+id))
		return
	}
	send(w, success)
}
