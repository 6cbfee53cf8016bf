package configs

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// top reads the whole file. Zone and schedules come first, whatever their place
// in the file: policies refer to them.
func (r *reader) top(n *yaml.Node) {
	set := &r.cfg.Policies
	set.Mode = policies.ModeAct
	set.Allow = slices.Clone(allowed)
	set.Limits = policies.Limits{PerRun: policies.DefaultPerRun, PerHour: policies.DefaultPerHour}
	set.Zone = time.UTC
	r.zone = time.UTC
	r.schedules = make(map[string]namedSchedule)
	r.calendars = make(map[string]namedCalendar)
	r.named = make(map[string]place)

	first := func(name string) *yaml.Node {
		if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == name {
					return n.Content[i+1]
				}
			}
		}
		return nil
	}
	if z := first("timezone"); z != nil {
		if zone, ok := r.readZone(z, "timezone"); ok {
			r.zone, set.Zone = zone, zone
		}
	}
	if s := first("schedules"); s != nil {
		r.readSchedules(s, "schedules")
	}
	if c := first("calendars"); c != nil {
		r.readCalendars(c, "calendars")
	}
	if o := first("owners"); o != nil {
		r.readOwners(o, "owners")
	}
	if t := first("notify"); t != nil {
		r.readNotify(t, "notify")
	}
	if a := first("allow"); a != nil {
		r.readAllow(a, "allow")
	}
	read := keys{
		"version": r.readVersion, "regions": r.texts(&set.Regions, checkRegion),
		"timezone": nil, "schedules": nil, "calendars": nil, "owners": nil, "allow": nil, "notify": nil, // read above
		"hold_for": r.duration(&set.HoldFor), "include": r.readIncludes, "tests": r.readTests, "policies": r.readPolicies,
		"mode":  func(n *yaml.Node, path string) { set.Mode = r.readMode(n, path) },
		"order": r.readOrders, "pace": r.readPace,
		"protect": func(n *yaml.Node, path string) { set.Protect = r.readSelector(n, path) },
		"floors":  r.readFloors,
		"limits": func(n *yaml.Node, path string) {
			r.mapping(n, path, &limitsShape, keys{"per_run": r.whole(&set.Limits.PerRun, anyCount), "per_hour": r.whole(&set.Limits.PerHour, anyCount), "share": r.share(&set.Limits.Share)})
		},
	}
	maps.Copy(read, r.settings())
	seen := r.mapping(n, "", &topShape, read)
	if seen == nil {
		return
	}
	r.readIncluded()
	r.checkFormer()
	r.checkSources()
	if seen["version"] == nil {
		r.fault(n, "version", "write version: 1", "the version is missing")
	}
	for i, region := range set.Regions {
		set.Regions[i] = strings.ToUpper(region)
	}
	if len(set.Regions) > 0 {
		r.cfg.testIn(set.Regions[0])
	}
	slices.Sort(set.Regions)
	if len(slices.Compact(slices.Clone(set.Regions))) != len(set.Regions) {
		r.fault(orTop(first("regions"), n), "regions", "", "a region stands twice")
	}
	if len(set.Policies) == 0 && len(r.faults) == 0 {
		r.fault(n, "policies", "such as policies: [ { name: dev-hours, select: { all: [env=dev] }, schedule: office } ]", "there are no policies")
	}
}

func (r *reader) readVersion(n *yaml.Node, path string) {
	if v, ok := r.text(n, path); ok && v != "1" {
		r.fault(n, path, "write version: 1", "version %q is not known", v)
	}
}

func orTop(n, top *yaml.Node) *yaml.Node {
	if n == nil {
		return top
	}
	return n
}

// settings are the keys for the daemon itself.
func (r *reader) settings() keys {
	c := r.cfg
	return keys{
		"nats": func(n *yaml.Node, path string) {
			r.mapping(n, path, &natsShape, keys{
				"url": r.str(&c.NATS.URL, checkNoUser), "creds": r.str(&c.NATS.Creds, nil), "listen": r.str(&c.NATS.Listen, checkListen), "replicas": r.whole(&c.NATS.Replicas, replicas),
				"nkey": r.str(&c.NATS.NKey, nil), "token_file": r.str(&c.NATS.TokenFile, nil), "inbox": r.str(&c.NATS.Inbox, checkInbox), "users_file": r.str(&c.NATS.UsersFile, nil),
				"events_size": r.size(&c.NATS.EventsSize),
				"tls": func(n *yaml.Node, path string) {
					r.mapping(n, path, &natsTLSShape, keys{"ca": r.str(&c.NATS.TLSCA, nil), "cert": r.str(&c.NATS.TLSCert, nil), "key": r.str(&c.NATS.TLSKey, nil)})
				},
			})
		},
		"civo": func(n *yaml.Node, path string) {
			r.mapping(n, path, &civoShape, keys{
				"api_url": r.str(&c.Civo.APIURL, checkAPIURL), "timeout": r.duration(&c.Civo.Timeout),
				"rate": func(n *yaml.Node, path string) {
					if s, ok := r.text(n, path); ok {
						rate, err := parseRate(s)
						if err != nil {
							r.fault(n, path, "write it as 5/s or 300/m", "%v", err)
						}
						c.Civo.Rate = rate
					}
				},
			})
		},
		"http": r.readHTTP, "webhooks": r.readWebhooks,
		"data_dir": r.str(&c.DataDir, checkFilled), "workers": r.whole(&c.Workers, workers),
		"verify": func(n *yaml.Node, path string) {
			r.mapping(n, path, &verifyShape, keys{"within": r.duration(&c.Verify.Within), "settle": r.duration(&c.Verify.Settle), "apart": r.duration(&c.Verify.Apart)})
		},
	}
}

func checkFilled(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("it is blank: leave the key out, or fill it")
	}
	return nil
}

func checkAPIURL(s string) error {
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("%q is not an address of the form https://host", s)
	}
	return nil
}

func checkListen(s string) error {
	if s == "none" {
		return nil
	}
	_, port, err := net.SplitHostPort(s)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > math.MaxUint16 {
		return fmt.Errorf("%q is neither host:port nor none", s)
	}
	return nil
}

// checkNoUser keeps passwords out of the file.
func checkNoUser(addresses string) error {
	for one := range strings.SplitSeq(addresses, ",") {
		if strings.Contains(one, "@") {
			return errors.New("a user, a password or a token does not belong in a file: set the variable NIGHTSHIFT_NATS_URL instead")
		}
	}
	return nil
}

var inboxPattern = regexp.MustCompile(inboxForm)

func checkInbox(s string) error {
	if !inboxPattern.MatchString(s) {
		return fmt.Errorf("%q is not the beginning of a subject, such as _INBOX.worker", s)
	}
	return nil
}

// maxRate is the most requests a second.
const maxRate = 1000

// rateForm is how rates are written.
var rateForm = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(/[sm])?$`)

// parseRate reads requests a second: 5/s, 300/m, or a number.
func parseRate(s string) (float64, error) {
	number, unit, _ := strings.Cut(s, "/")
	v, err := strconv.ParseFloat(number, 64)
	if unit == "m" {
		v /= 60
	}
	if err != nil || !rateForm.MatchString(s) || !(v > 0 && v <= maxRate) {
		return 0, fmt.Errorf("%q is not a rate above 0, at most %d/s", s, maxRate)
	}
	return v, nil
}

func (r *reader) readZone(n *yaml.Node, path string) (*time.Location, bool) {
	s, ok := r.text(n, path)
	if !ok {
		return nil, false
	}
	zone, err := schedule.LoadZone(s)
	if err != nil {
		r.scheduleError(n, path, err)
		return nil, false
	}
	return zone, true
}

func (r *reader) readMode(n *yaml.Node, path string) policies.Mode {
	switch s, ok := r.text(n, path); {
	case !ok:
	case !slices.Contains(modes, policies.Mode(s)):
		r.fault(n, path, "observe, ask or act", "%q is not a mode", s)
	default:
		return policies.Mode(s)
	}
	return policies.ModeAct
}

func (r *reader) readAllow(n *yaml.Node, path string) {
	var allow []policies.Verb
	r.each(n, path, func(c *yaml.Node, sub string) {
		s, ok := r.text(c, sub)
		switch {
		case !ok:
		case s == "hibernate":
			r.fault(c, sub, "", "hibernate: not in this version")
		case !slices.Contains(verbs, policies.Verb(s)):
			hint := "known are: start, stop, reboot, resize, retag, firewall, create, delete"
			r.fault(c, sub, hint, "%q is not an action", s)
		default:
			allow = append(allow, policies.Verb(s))
		}
	})
	r.cfg.Policies.Allow = allow
}

func (r *reader) readSchedules(n *yaml.Node, path string) {
	n = deref(n)
	if n.Kind != yaml.MappingNode {
		r.fault(n, path, "write it as name: { running: [\"Mon-Fri 08:00-19:00\"] }", "%s is not a mapping", describeNode(n))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		sub := join(path, kn.Value)
		if old, dup := r.schedules[kn.Value]; dup {
			r.fault(kn, sub, "", "the schedule stands twice, first %s", old.in(r.file))
			continue
		}
		if !nameForm.MatchString(kn.Value) {
			r.fault(kn, sub, "names are [a-z0-9-]", "%q is not a name", kn.Value)
		}
		if slices.Contains(uses, schedule.Use(kn.Value)) {
			r.fault(kn, sub, "choose another name", "%s is a word of except, and no name of a schedule", kn.Value)
		}
		// With a fault it is nil, and known, so that its users are not faulted too.
		r.schedules[kn.Value] = namedSchedule{r.readSchedule(vn, sub), place{r.file, kn.Line}}
	}
}

// readSchedule reads { running: […], stopped: […], timezone: …, only: true }.
func (r *reader) readSchedule(n *yaml.Node, path string) *schedule.Weekly {
	var running, stopped []*yaml.Node
	only := false
	zone := r.zone
	before := len(r.faults)
	lines := func(into *[]*yaml.Node) func(*yaml.Node, string) {
		return func(n *yaml.Node, path string) {
			r.each(n, path, func(c *yaml.Node, sub string) {
				if _, ok := r.text(c, sub); ok {
					*into = append(*into, c)
				}
			})
		}
	}
	if r.mapping(n, path, &scheduleShape, keys{
		"running": lines(&running), "stopped": lines(&stopped),
		"timezone": func(n *yaml.Node, path string) {
			if z, ok := r.readZone(n, path); ok {
				zone = z
			}
		},
		"only": func(n *yaml.Node, path string) { only = r.truth(n, path) },
	}) == nil {
		return nil
	}
	if len(running)+len(stopped) == 0 {
		if len(r.faults) == before {
			r.fault(n, path, `write running: ["Mon-Fri 08:00-19:00"] or stopped: [...]`, "the schedule has no windows")
		}
		return nil
	}
	for side, list := range map[string][]*yaml.Node{"running": running, "stopped": stopped} { // line by line, to point at the one that is wrong
		for i, c := range list {
			if _, err := schedule.ParseWeekly([]string{deref(c).Value}, nil, zone); err != nil {
				r.scheduleError(c, fmt.Sprintf("%s.%s[%d]", path, side, i), err)
			}
		}
	}
	if len(r.faults) > before {
		return nil
	}
	w, err := schedule.ParseWeekly(values(running), values(stopped), zone)
	if err != nil {
		r.scheduleError(&yaml.Node{Line: n.Line, Column: n.Column, Style: yaml.LiteralStyle}, path, err)
		return nil
	}
	if only {
		w = w.OneSided()
	}
	return w
}

func values(nodes []*yaml.Node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, deref(n).Value)
	}
	return out
}

func (r *reader) truth(n *yaml.Node, path string) bool {
	s, ok := r.text(n, path)
	if ok && s != "true" && s != "false" {
		r.fault(n, path, "true or false", "%q is neither", s)
	}
	return s == "true"
}

func (r *reader) readSelector(n *yaml.Node, path string) policies.Selector {
	var s policies.Selector
	globs := func(into *[]string) func(*yaml.Node, string) { return r.texts(into, policies.CheckGlob) }
	seen := r.mapping(n, path, &selectorShape, keys{
		"all": globs(&s.All), "any": globs(&s.Any), "none": globs(&s.None),
		"region": globs(&s.Region), "size": globs(&s.Size), "status": globs(&s.Status), "hostname": globs(&s.Hostname),
		"when": func(n *yaml.Node, path string) { s.When = r.readExpr(n, path) },
	})
	s.Within = r.scope
	if seen != nil && len(seen) == 0 {
		r.fault(n, path, `name a tag: { all: [env=dev] }; every instance is { all: ["*"] }`, "the selector has no key")
	}
	return s
}
