package configs

import (
	"errors"
	"path/filepath"
	"slices"
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
		r.faults, r.read = part.faults, part.read
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
	done := func(*yaml.Node, string) {}
	r.mapping(n, "", []key{
		{name: "scope", read: done}, {name: "schedules", read: done}, {name: "calendars", read: done},
		{name: "version", read: func(n *yaml.Node, path string) {
			if v, ok := r.text(n, path); ok && v != "1" {
				r.fault(n, path, "write version: 1", "version %q is not known", v)
			}
		}},
		{name: "policies", read: r.readPolicies},
		{name: "tests", read: r.readTests},
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
		var given []string
		remember := func(name string, read func(*yaml.Node, string)) key {
			return key{name: name, read: func(n *yaml.Node, path string) { given = append(given, name); read(n, path) }}
		}
		before := len(r.faults)
		r.mapping(n, sub, []key{
			remember("instance", func(n *yaml.Node, path string) { t.Instance = r.readTestInstance(n, path) }),
			remember("at", func(n *yaml.Node, path string) {
				if s, ok := r.text(n, path); ok {
					at, err := schedule.ParseInstant(s, r.zone)
					if err != nil {
						r.scheduleError(n, path, err)
					}
					t.At = at
				}
			}),
			remember("want", func(n *yaml.Node, path string) {
				if s, ok := r.text(n, path); ok {
					if t.Want = schedule.State(s); !slices.Contains([]schedule.State{schedule.Running, schedule.Stopped, schedule.Any}, t.Want) {
						r.fault(n, path, "running, stopped, or any where nobody wants either", "%q is none of them", s)
					}
				}
			}),
			remember("by", r.str(&t.By)),
		})
		for _, name := range []string{"instance", "at", "want"} {
			if !slices.Contains(given, name) && len(r.faults) == before {
				r.fault(n, sub, `such as { instance: { name: dev-1, tags: [env=dev] }, at: "2026-12-25 10:00", want: stopped, by: dev-hours }`, "the test has no %s", name)
			}
		}
		if len(r.faults) == before {
			r.cfg.Tests = append(r.cfg.Tests, t)
		}
	})
}

func (r *reader) readTestInstance(n *yaml.Node, path string) policies.Instance {
	i := policies.Instance{Status: policies.StatusActive}
	r.mapping(n, path, []key{
		{name: "name", read: r.str(&i.Hostname)}, {name: "id", read: r.str(&i.ID)}, {name: "tags", read: r.texts(&i.Tags, nil)},
		{name: "region", read: r.str(&i.Region)}, {name: "size", read: r.str(&i.Size)}, {name: "status", read: r.str(&i.Status)},
		{name: "cpu_cores", read: r.whole(&i.CPUCores, 0, 1_000_000)}, {name: "ram_mb", read: r.whole(&i.RAMMB, 0, 1<<40)}, {name: "disk_gb", read: r.whole(&i.DiskGB, 0, 1<<40)},
	})
	if i.ID == "" {
		i.ID = i.Hostname
	}
	if i.Region == "" && len(r.cfg.Policies.Regions) > 0 {
		i.Region = r.cfg.Policies.Regions[0]
	}
	return i
}
