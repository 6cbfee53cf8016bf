package configs

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// errNoFiles answers where only a text is read.
var errNoFiles = errors.New("only the text itself is read here")

// readIncludes reads further files. Each may hold scope, schedules, calendars,
// policies and tests; the settings are those of the first file alone.
func (r *reader) readIncludes(n *yaml.Node, path string) {
	r.each(n, path, func(n *yaml.Node, sub string) {
		pattern, ok := r.text(n, sub)
		if !ok {
			return
		}
		names, err := r.glob(r.beside(pattern))
		if err != nil {
			r.fault(n, sub, "such as policies.d/*.yaml; paths count from the policy file", "%q cannot be included: %v", pattern, err)
			return
		}
		if len(names) == 0 {
			r.fault(n, sub, "paths count from the policy file, "+r.file, "%q is no file", pattern)
		}
		for _, name := range names {
			r.includes = append(r.includes, include{name, n})
		}
	})
}

// include is a further file, and where it is asked for.
type include struct {
	name string
	from *yaml.Node
}

// readIncluded reads the files that were asked for, in order; a fault in one
// names that file.
func (r *reader) readIncluded() {
	seen := map[string]bool{filepath.Clean(r.file): true}
	for _, inc := range r.includes {
		if seen[filepath.Clean(inc.name)] {
			continue
		}
		seen[filepath.Clean(inc.name)] = true
		data, err := r.files(inc.name)
		if err != nil {
			r.fault(inc.from, "include", "", "%s cannot be read: %v", inc.name, err)
			continue
		}
		r.read = append(r.read, data...)
		part := *r
		part.file, part.scope = inc.name, nil
		if top := part.document(data); top != nil {
			part.included(deref(top))
		}
		r.faults, r.read, r.former = part.faults, part.read, part.former
	}
}

func (r *reader) included(n *yaml.Node) {
	child := func(name string) *yaml.Node {
		for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				return n.Content[i+1]
			}
		}
		return nil
	}
	if s := child("scope"); s != nil {
		scope := r.readSelector(s, "scope")
		r.scope = &scope
	}
	if s := child("schedules"); s != nil {
		r.readSchedules(s, "schedules")
	}
	if c := child("calendars"); c != nil {
		r.readCalendars(c, "calendars")
	}
	r.mapping(n, "", &includedShape, keys{
		"scope": nil, "schedules": nil, "calendars": nil, // read above
		"version": r.readVersion, "policies": r.readPolicies, "tests": r.readTests,
	})
}

// Test is one of the file's own tests: what an instance should be at an instant.
type Test struct {
	File     string
	Line     int
	Instance policies.Instance
	At       time.Time
	Want     schedule.State // Any: nobody wants it running or stopped
	By       string         // the policy that should win; empty: whichever
}

func (r *reader) readTests(n *yaml.Node, path string) {
	r.each(n, path, func(n *yaml.Node, sub string) {
		t := Test{File: r.file, Line: n.Line}
		before := len(r.faults)
		seen := r.mapping(n, sub, &testShape, keys{
			"instance": func(n *yaml.Node, path string) { t.Instance = r.readTestInstance(n, path) },
			"at":       r.instant(&t.At),
			"want": func(n *yaml.Node, path string) {
				if s, ok := r.text(n, path); ok {
					if t.Want = schedule.State(s); !slices.Contains(states, t.Want) {
						r.fault(n, path, "running, stopped, or any where nobody wants either", "%q is none of them", s)
					}
				}
			},
			"by": r.str(&t.By, checkFilled),
		})
		r.misses(n, sub, &testShape, seen)
		if len(r.faults) == before {
			r.cfg.Tests = append(r.cfg.Tests, t)
		}
	})
}

func (r *reader) readTestInstance(n *yaml.Node, path string) policies.Instance {
	i := policies.Instance{Status: policies.StatusActive}
	text := func(into *string) func(*yaml.Node, string) { return r.str(into, nil) }
	r.mapping(n, path, &testInstanceShape, keys{
		"name": text(&i.Hostname), "id": text(&i.ID), "tags": r.texts(&i.Tags, nil),
		"region": text(&i.Region), "size": text(&i.Size), "status": text(&i.Status),
		"cpu_cores": r.whole(&i.CPUCores, anySize), "ram_mb": r.whole(&i.RAMMB, anySize), "disk_gb": r.whole(&i.DiskGB, anySize),
		"firewall_id": text(&i.FirewallID), "network_id": text(&i.NetworkID), "public_ip": text(&i.PublicIP), "private_ip": text(&i.PrivateIP),
		"created_at": r.instant(&i.CreatedAt),
	})
	if i.ID == "" {
		i.ID = i.Hostname
	}
	i.Region = strings.ToUpper(i.Region)
	return i
}

func (r *reader) instant(into *time.Time) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		if s, ok := r.text(n, path); ok {
			at, err := schedule.ParseInstant(s, r.zone)
			if err != nil {
				r.scheduleError(n, path, err)
			}
			*into = at
		}
	}
}

// testIn puts the instances of tests that name no region into one.
func (c *Config) testIn(region string) {
	for n := range c.Tests {
		if i := &c.Tests[n].Instance; i.Region == "" {
			i.Region = region
		}
	}
}
