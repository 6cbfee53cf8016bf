package civosim

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// call is one request to the API, understood.
type call struct {
	op       string
	id, sub  string  // the ids in the path
	instance string  // id of the instance that is concerned, for the ledger and the faults
	region   *region // nil for what belongs to the account
	params   params
	now      time.Time // at which it arrives
	sees     time.Time // what reads show: earlier than now by the lag
	stuck    bool      // what it begins never ends
	feigned  bool      // it is answered as if it were carried out
	stale    bool      // it sees what was, also of what is no more
}

// A route is one operation. Its handler checks a call and returns the answer and
// what the call changes (nil for nothing), so that a fault can give the one
// without the other. It runs with the lock held.
type route struct {
	method  string
	path    string // ":id" and ":sub" stand for anything
	op      string
	account bool // belongs to the account, not to a region
	handle  func(*Sim, *call) (answer, func())
}

var routes = []route{
	{"POST", "/v2/instances", "create", false, (*Sim).create},
	{"GET", "/v2/instances", "list", false, (*Sim).list},
	{"GET", "/v2/instances/:id", "get", false, (*Sim).get},
	{"PUT", "/v2/instances/:id", "update", false, (*Sim).update},
	{"DELETE", "/v2/instances/:id", "delete", false, (*Sim).delete},
	{"PUT", "/v2/instances/:id/tags", "retag", false, (*Sim).retag},
	{"POST", "/v2/instances/:id/reboots", "hard_reboot", false, (*Sim).reboot},
	{"POST", "/v2/instances/:id/hard_reboots", "hard_reboot", false, (*Sim).reboot},
	{"POST", "/v2/instances/:id/soft_reboots", "soft_reboot", false, (*Sim).reboot},
	{"PUT", "/v2/instances/:id/stop", "stop", false, (*Sim).stop},
	{"PUT", "/v2/instances/:id/start", "start", false, (*Sim).start},
	{"PUT", "/v2/instances/:id/resize", "resize", false, (*Sim).resize},
	{"PUT", "/v2/instances/:id/firewall", "firewall", false, (*Sim).setFirewall},

	{"GET", "/v2/ping", "ping", true, (*Sim).ping},
	{"GET", "/v2/accounts", "accounts", true, (*Sim).listAccounts},
	{"GET", "/v2/quota", "quota", true, (*Sim).quota},
	{"GET", "/v2/regions", "regions", true, (*Sim).listRegions},
	{"GET", "/v2/charges", "charges", true, (*Sim).listCharges},
	{"GET", "/v2/actions", "actions", true, (*Sim).listActions},
	{"GET", "/v2/sizes", "sizes", false, (*Sim).listSizes},
	{"GET", "/v2/disk_images", "disk_images", false, (*Sim).listImages},
	{"GET", "/v2/disk_images/:id", "disk_image", false, (*Sim).image},

	{"GET", "/v2/networks", "networks", false, (*Sim).listNetworks},
	{"POST", "/v2/networks", "network_create", false, (*Sim).createNetwork},
	{"GET", "/v2/networks/:id", "network", false, (*Sim).network},
	{"PUT", "/v2/networks/:id", "network_update", false, (*Sim).updateNetwork},
	{"DELETE", "/v2/networks/:id", "network_delete", false, (*Sim).deleteNetwork},
	{"GET", "/v2/networks/:id/subnets", "subnets", false, (*Sim).listSubnets},

	{"GET", "/v2/firewalls", "firewalls", false, (*Sim).listFirewalls},
	{"POST", "/v2/firewalls", "firewall_create", false, (*Sim).createFirewall},
	{"GET", "/v2/firewalls/:id", "firewall_get", false, (*Sim).firewall},
	{"PUT", "/v2/firewalls/:id", "firewall_update", false, (*Sim).updateFirewall},
	{"DELETE", "/v2/firewalls/:id", "firewall_delete", false, (*Sim).deleteFirewall},
	{"GET", "/v2/firewalls/:id/rules", "firewall_rules", false, (*Sim).listRules},
	{"POST", "/v2/firewalls/:id/rules", "firewall_rule_create", false, (*Sim).createRule},
	{"DELETE", "/v2/firewalls/:id/rules/:sub", "firewall_rule_delete", false, (*Sim).deleteRule},

	{"GET", "/v2/sshkeys", "sshkeys", true, (*Sim).listKeys},
	{"POST", "/v2/sshkeys", "sshkey_create", true, (*Sim).createKey},
	{"GET", "/v2/sshkeys/:id", "sshkey", true, (*Sim).key},
	{"PUT", "/v2/sshkeys/:id", "sshkey_update", true, (*Sim).updateKey},
	{"DELETE", "/v2/sshkeys/:id", "sshkey_delete", true, (*Sim).deleteKey},

	{"GET", "/v2/volumetypes", "volumetypes", false, (*Sim).listVolumeTypes},
	{"GET", "/v2/volumes", "volumes", false, (*Sim).listVolumes},
	{"POST", "/v2/volumes", "volume_create", false, (*Sim).createVolume},
	{"GET", "/v2/volumes/:id", "volume", false, (*Sim).volume},
	{"PUT", "/v2/volumes/:id/attach", "volume_attach", false, (*Sim).attachVolume},
	{"PUT", "/v2/volumes/:id/detach", "volume_detach", false, (*Sim).detachVolume},
	{"PUT", "/v2/volumes/:id/resize", "volume_resize", false, (*Sim).resizeVolume},
	{"DELETE", "/v2/volumes/:id", "volume_delete", false, (*Sim).deleteVolume},

	{"GET", "/v2/ips", "ips", false, (*Sim).listIPs},
	{"POST", "/v2/ips", "ip_create", false, (*Sim).createIP},
	{"GET", "/v2/ips/:id", "ip", false, (*Sim).ip},
	{"PUT", "/v2/ips/:id", "ip_update", false, (*Sim).updateIP},
	{"PUT", "/v2/ips/:id/actions", "ip_action", false, (*Sim).actOnIP},
	{"POST", "/v2/ips/:id/actions", "ip_action", false, (*Sim).actOnIP},
	{"DELETE", "/v2/ips/:id", "ip_delete", false, (*Sim).deleteIP},

	{"GET", "/v2/kubernetes/clusters", "clusters", false, (*Sim).listClusters},

	{"GET", "/v2/webhooks", "webhooks", true, (*Sim).listWebhooks},
	{"POST", "/v2/webhooks", "webhook_create", true, (*Sim).createWebhook},
	{"PUT", "/v2/webhooks/:id", "webhook_update", true, (*Sim).updateWebhook},
	{"DELETE", "/v2/webhooks/:id", "webhook_delete", true, (*Sim).deleteWebhook},
}

// ops are the names of the operations, as the ledger and the faults use them.
var ops = sync.OnceValue(func() []string {
	var names []string
	for _, r := range routes {
		if !slices.Contains(names, r.op) {
			names = append(names, r.op)
		}
	}
	return names
})

func knownOp(op string) bool { return slices.Contains(ops(), op) }

// find returns the route of a request and the ids in its path. Empty parts of a
// path do not count, so that a base address may end in a slash or not. When only
// the method is wrong, r is nil and known is true.
func find(method, path string) (r *route, id, sub string, known bool) {
	parts := strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
	for i := range routes {
		id, sub, ok := routes[i].match(parts)
		if !ok {
			continue
		}
		if routes[i].method == method {
			return &routes[i], id, sub, true
		}
		known = true
	}
	return nil, "", "", known
}

func (r *route) match(parts []string) (id, sub string, ok bool) {
	rest := r.path[1:]
	for _, part := range parts {
		want, after, _ := strings.Cut(rest, "/")
		switch want {
		case ":id":
			id = part
		case ":sub":
			sub = part
		case part:
		default:
			return "", "", false
		}
		rest = after
	}
	return id, sub, rest == ""
}

// ServeHTTP answers as the API does; "/" says what this is.
//
// Under /sim/ the simulator is seen and driven, without a key:
//
//	GET    /sim/state?region=LON1    instances, usage of the quota, clock
//	GET    /sim/ledger?op=stop&n=20  the newest requests, oldest first
//	GET    /sim/ledger?after=800     those after the first 800, oldest first
//	GET    /sim/faults               faults that can still strike
//	POST   /sim/faults               a [Fault] as JSON; times are text such as "30s"
//	DELETE /sim/faults               no faults any more
//	POST   /sim/advance?by=1h        moves the clock
//	POST   /sim/instances/ID?status=MIGRATING   sets a status (and tags=a+b) behind the client's back
//	DELETE /sim/instances/ID         lets an instance vanish
//	POST   /sim/reset                everything as at the start
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.Trim(r.URL.Path, "/") == "":
		send(w, plain(http.StatusNotFound, "nightshift simulator of the Civo API: see /v2/regions with a bearer token, and /sim/state"))
	case strings.HasPrefix(r.URL.Path, "/sim/"):
		s.serveAdmin(w, r)
	default:
		s.serveAPI(w, r)
	}
}

func (s *Sim) serveAPI(w http.ResponseWriter, r *http.Request) {
	rt, id, sub, knownPath := find(r.Method, r.URL.Path)
	entry := Request{Method: r.Method, Path: r.URL.Path, UserAgent: r.UserAgent()}
	if rt != nil {
		entry.Op = rt.op
	}
	if !s.authorized(r) {
		s.finish(w, entry, s.badKey())
		return
	}
	if rt == nil {
		if knownPath {
			s.finish(w, entry, plain(http.StatusMethodNotAllowed, "405 method not allowed"))
		} else {
			s.finish(w, entry, plain(http.StatusNotFound, "404 page not found"))
		}
		return
	}
	p, err := readParams(r)
	entry.Query, entry.Body = masked(p.query), masked(p.body)
	if err != nil {
		status := http.StatusBadRequest
		if errors.Is(err, errTooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		s.finish(w, entry, plain(status, err.Error()))
		return
	}
	c := &call{op: rt.op, id: id, sub: sub, params: p}
	if strings.HasPrefix(rt.path, "/v2/instances/:id") {
		c.instance = c.id
	}
	a, fault := s.carryOut(c, rt, &entry)
	if fault != nil && fault.Kind == Slow {
		wait(r, fault.Delay)
	}
	if fault != nil && (fault.Kind == CutBefore || fault.Kind == CutAfter) {
		panic(http.ErrAbortHandler) // net/http then cuts the connection
	}
	send(w, a)
}

// carryOut does what a call asks for, or what a fault makes of it, and writes it
// down: one step under the lock, so a request is wholly before or after another.
func (s *Sim) carryOut(c *call, rt *route, entry *Request) (answer, *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.now = s.look()
	c.sees = c.now.Add(-s.o.Lag)
	a, found := s.locate(c, rt)
	fault := s.throttle(c.now)
	if fault == nil {
		fault = s.strike(c)
	}
	instead, carriedOut, replaced := s.instead(fault, c)
	if found && carriedOut {
		var apply func()
		a, apply = rt.handle(s, c)
		if apply != nil && !c.feigned {
			apply()
			entry.Effect = true
			s.audit(c)
		}
	}
	if replaced {
		a = instead
	}
	if fault != nil {
		entry.Fault = fault.Kind
	}
	if c.region != nil {
		entry.Region = c.region.code
	}
	entry.Instance = c.instance
	s.note(*entry, c.now, a)
	return a, fault
}

// throttle takes a request out of what Options.Rate allows, or refuses it until
// the next may come.
func (s *Sim) throttle(now time.Time) *Fault {
	if s.o.Rate <= 0 {
		return nil
	}
	burst := max(s.o.Rate, 1)
	if s.tokensAt.IsZero() {
		s.tokens = burst
	} else {
		s.tokens = min(burst, s.tokens+s.o.Rate*now.Sub(s.tokensAt).Seconds())
	}
	s.tokensAt = now
	if s.tokens < 1 {
		return &Fault{Kind: RateLimited, RetryAfter: max(1, time.Duration((1-s.tokens)/s.o.Rate*float64(time.Second)))}
	}
	s.tokens--
	return nil
}

// locate finds the region of a call.
func (s *Sim) locate(c *call, rt *route) (answer, bool) {
	if rt.account {
		return answer{}, true
	}
	code := c.params.regionCode()
	switch {
	case code == "" && c.id != "" && s.o.RequireRegion:
		return s.noInstance(c.id), false
	case code == "":
		c.region = s.regions[0]
		return answer{}, true
	}
	if c.region = s.regionNamed(code); c.region == nil {
		return s.refuse("database_region_not_found", "the region %s was not found", code), false
	}
	return answer{}, true
}

// authorized checks the bearer token; the scheme may be in any case.
func (s *Sim) authorized(r *http.Request) bool {
	scheme, key, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	key = strings.TrimSpace(key)
	return strings.EqualFold(scheme, "bearer") && key != "" && (s.o.Token == "" || key == s.o.Token)
}

// finish answers a request that never reached an operation.
func (s *Sim) finish(w http.ResponseWriter, entry Request, a answer) {
	s.mu.Lock()
	s.note(entry, s.look(), a)
	s.mu.Unlock()
	send(w, a)
}

func (s *Sim) note(entry Request, now time.Time, a answer) {
	entry.Time, entry.Status = now, a.status
	s.ledgerN++
	s.ledger.add(entry)
}

func send(w http.ResponseWriter, a answer) {
	h := w.Header()
	for key, v := range a.header {
		h[key] = v
	}
	h.Set("Content-Type", a.kind)
	if a.write != nil {
		a.write(w)
		return
	}
	h.Set("Content-Length", fmt.Sprint(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a client that has gone away is not our fault
}

// wait holds an answer back until d is over or nobody waits for it any more.
func wait(r *http.Request, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}
