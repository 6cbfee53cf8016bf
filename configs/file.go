package configs

import (
	"fmt"
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
	set.Allow = []policies.Verb{policies.Start, policies.Stop, policies.Reboot, policies.Retag, policies.Firewall}
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
	if a := first("allow"); a != nil {
		r.readAllow(a, "allow")
	}
	version := ""
	done := func(*yaml.Node, string) {}
	keys := []key{
		{name: "version", read: func(n *yaml.Node, path string) {
			if version, _ = r.text(n, path); version != "1" {
				r.fault(n, path, "write version: 1", "version %q is not known", version)
			}
		}},
		{name: "regions", read: r.texts(&set.Regions, checkRegion)},
		{name: "timezone", read: done}, {name: "schedules", read: done}, {name: "calendars", read: done}, {name: "owners", read: done}, {name: "allow", read: done},
		{name: "include", read: r.readIncludes},
		{name: "tests", read: r.readTests},
		{name: "mode", read: func(n *yaml.Node, path string) { set.Mode = r.readMode(n, path) }},
		{name: "policies", read: r.readPolicies},
		{name: "protect", read: func(n *yaml.Node, path string) { set.Protect = r.readSelector(n, path) }},
		{name: "limits", read: func(n *yaml.Node, path string) {
			r.mapping(n, path, append([]key{{name: "per_run", read: r.whole(&set.Limits.PerRun, 1, 1_000_000)}, {name: "per_hour", read: r.whole(&set.Limits.PerHour, 1, 1_000_000)}}, later("share")...))
		}},
	}
	keys = append(keys, r.settings()...)
	keys = append(keys, later("order", "floors", "notify", "http", "prices", "hold_for", "webhooks")...)
	if !r.mapping(n, "", keys) {
		return
	}
	r.readIncluded()
	if version == "" && first("version") == nil {
		r.fault(n, "version", "write version: 1", "the version is missing")
	}
	for i, region := range set.Regions {
		set.Regions[i] = strings.ToUpper(region)
	}
	slices.Sort(set.Regions)
	if len(slices.Compact(slices.Clone(set.Regions))) != len(set.Regions) {
		r.fault(orTop(first("regions"), n), "regions", "", "a region stands twice")
	}
	if len(set.Policies) == 0 && len(r.faults) == 0 {
		r.fault(n, "policies", "", "there are no policies")
	}
}

func orTop(n, top *yaml.Node) *yaml.Node {
	if n == nil {
		return top
	}
	return n
}

// settings are the keys for the daemon itself.
func (r *reader) settings() []key {
	c := r.cfg
	return []key{
		{name: "nats", read: func(n *yaml.Node, path string) {
			r.mapping(n, path, []key{{name: "url", read: r.str(&c.NATS.URL)}, {name: "creds", read: r.str(&c.NATS.Creds)}, {name: "listen", read: r.str(&c.NATS.Listen)}, {name: "replicas", read: r.whole(&c.NATS.Replicas, 1, 5)}})
		}},
		{name: "civo", read: func(n *yaml.Node, path string) {
			r.mapping(n, path, []key{
				{name: "api_url", read: r.str(&c.Civo.APIURL)},
				{name: "rate", read: func(n *yaml.Node, path string) {
					if s, ok := r.text(n, path); ok {
						rate, err := parseRate(s)
						if err != nil {
							r.fault(n, path, "write it as 5/s", "%v", err)
						}
						c.Civo.Rate = rate
					}
				}},
				{name: "timeout", read: r.duration(&c.Civo.Timeout)},
				{name: "token", read: func(n *yaml.Node, path string) {
					r.fault(n, path, "set the variable CIVO_TOKEN", "the token does not belong in a file")
				}},
			})
		}},
		{name: "data_dir", read: r.str(&c.DataDir)},
		{name: "workers", read: r.whole(&c.Workers, 1, 1000)},
		{name: "verify", read: func(n *yaml.Node, path string) {
			r.mapping(n, path, []key{{name: "within", read: r.duration(&c.Verify.Within)}, {name: "settle", read: r.duration(&c.Verify.Settle)}, {name: "apart", read: r.duration(&c.Verify.Apart)}})
		}},
	}
}

// parseRate reads requests a second: 5/s, 300/m, or a number.
func parseRate(s string) (float64, error) {
	number, unit, _ := strings.Cut(s, "/")
	v, err := strconv.ParseFloat(number, 64)
	switch unit {
	case "", "s":
	case "m":
		v /= 60
	default:
		err = fmt.Errorf("%q", unit)
	}
	if err != nil || !(v > 0 && v <= 1000) {
		return 0, fmt.Errorf("%q is not a rate above 0", s)
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
	case !slices.Contains([]policies.Mode{policies.ModeAct, policies.ModeAsk, policies.ModeObserve}, policies.Mode(s)):
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
			r.fault(kn, sub, "", "the key stands twice, first in line %d", old.line)
			continue
		}
		if !nameForm.MatchString(kn.Value) {
			r.fault(kn, sub, "names are [a-z0-9-]", "%q is not a name", kn.Value)
		}
		if w := r.readSchedule(vn, sub); w != nil {
			r.schedules[kn.Value] = namedSchedule{w, kn.Line}
		} else {
			r.schedules[kn.Value] = namedSchedule{nil, kn.Line} // known, so that its users are not faulted too
		}
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
	ok := r.mapping(n, path, []key{
		{name: "running", read: lines(&running)},
		{name: "stopped", read: lines(&stopped)},
		{name: "timezone", read: func(n *yaml.Node, path string) {
			if z, ok := r.readZone(n, path); ok {
				zone = z
			}
		}},
		{name: "only", read: func(n *yaml.Node, path string) { only = r.truth(n, path) }},
	})
	if !ok {
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
	before := len(r.faults)
	ok := r.mapping(n, path, []key{
		{name: "all", read: r.texts(&s.All, policies.CheckGlob)}, {name: "any", read: r.texts(&s.Any, policies.CheckGlob)}, {name: "none", read: r.texts(&s.None, policies.CheckGlob)},
		{name: "region", read: r.texts(&s.Region, policies.CheckGlob)}, {name: "size", read: r.texts(&s.Size, policies.CheckGlob)},
		{name: "status", read: r.texts(&s.Status, policies.CheckGlob)}, {name: "hostname", read: r.texts(&s.Hostname, policies.CheckGlob)},
		{name: "when", read: func(n *yaml.Node, path string) { s.When = r.readExpr(n, path) }},
	})
	s.Within = r.scope
	if ok && s.IsZero() && len(r.faults) == before {
		r.fault(n, path, `name a tag: { all: [env=dev] }; every instance is { all: ["*"] }`, "the selector has no key")
	}
	return s
}
