package civosim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const defaultSize = "g3.small"

// maxFleet is how many instances a fleet file may ask for in all.
const maxFleet = 1_000_000

// Machine is an instance at the start, or Count equal ones. Its zero value is
// one running g3.small in the default region.
type Machine struct {
	ID       string    // "" = a UUID by the seed; only where Count is at most 1
	Hostname string    // "%d" becomes the number of the instance, from 1; "" = made up
	Count    int       // 0 = 1
	Region   string    // "" = the default region; in any case
	Size     string    // "" = g3.small
	Status   string    // "" = ACTIVE; any text, as the API may show any
	Tags     []string  // without blanks in a tag
	Image    string    // name or id; "" = ubuntu-focal
	Firewall string    // name or id; "" = the default firewall
	Notes    string    //
	Private  bool      // without a public address
	Cluster  bool      // a node of a Kubernetes cluster: the API refuses to act on it
	Created  time.Time // zero = a day before the start
}

// ParseFleet reads a fleet file: YAML, checked strictly, all faults at once, each
// with its line.
//
//	instances:
//	  - hostname: dev-%d      # %d is the number, from 1; needed where count is more than 1
//	    count: 5000           # default 1
//	    region: LON1          # default: the first region; one that is new is added
//	    size: g3.small        # default
//	    tags: [env=dev]       # or "env=dev team=a"
//	    status: ACTIVE        # default
//	    id: 4a07ac84-…        # default: made up from the seed
//	    image: ubuntu-focal   # default
//	    firewall: restrictive-firewall   # default: the open one of the network
//	    notes: text
//	    private: true         # without a public address
//	    cluster: true         # node of a Kubernetes cluster: actions are refused
//	    created: 2026-03-01T00:00:00Z    # default: a day before the simulator starts
func ParseFleet(data []byte) ([]Machine, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("fleet file: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	p := &fleetParser{ids: make(map[string]int)}
	machines := p.document(&doc)
	return machines, errors.Join(p.faults...)
}

// fleetParser walks the node tree and gathers what is wrong.
type fleetParser struct {
	faults []error
	ids    map[string]int // line of each id
	total  int
}

func (p *fleetParser) fault(n *yaml.Node, format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf("fleet file line %d, column %d: %s", n.Line, n.Column, fmt.Sprintf(format, args...)))
}

func (p *fleetParser) document(doc *yaml.Node) []Machine {
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil // an empty file is an empty fleet
	}
	var machines []Machine
	p.mapping(doc.Content[0], []string{"instances"}, func(_ string, list *yaml.Node) {
		if list.Tag == "!!null" {
			return
		}
		if list.Kind != yaml.SequenceNode {
			p.fault(list, "instances must be a list")
			return
		}
		for _, item := range list.Content {
			machines = append(machines, p.machine(resolve(item)))
		}
	})
	return machines
}

// resolve follows an alias (*name) to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// mapping visits the keys of a mapping and refuses those that are not allowed or
// come twice.
func (p *fleetParser) mapping(n *yaml.Node, allowed []string, visit func(key string, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.fault(n, "a mapping with the keys %s is needed", strings.Join(allowed, ", "))
		return
	}
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		switch {
		case !slices.Contains(allowed, key.Value):
			p.fault(key, "unknown key %q: use %s", key.Value, strings.Join(allowed, ", "))
		case slices.Contains(seen, key.Value):
			p.fault(key, "key %q is there twice", key.Value)
		default:
			seen = append(seen, key.Value)
			visit(key.Value, value)
		}
	}
}

var machineKeys = []string{"id", "hostname", "count", "region", "size", "status", "tags", "image", "firewall", "notes", "private", "cluster", "created"}

func (p *fleetParser) machine(n *yaml.Node) Machine {
	var m Machine
	p.mapping(n, machineKeys, func(key string, v *yaml.Node) {
		switch key {
		case "id":
			m.ID = p.text(key, v)
			if first, twice := p.ids[m.ID]; twice {
				p.fault(v, "id %s is also that of line %d", m.ID, first)
			}
			p.ids[m.ID] = v.Line
		case "hostname":
			m.Hostname = p.text(key, v)
			if name := strings.ReplaceAll(m.Hostname, "%d", "1"); !validHostname(name) {
				p.fault(v, "hostname %q is not a host name", m.Hostname)
			}
		case "count":
			n, err := strconv.Atoi(v.Value)
			if err != nil || n < 1 || n > maxFleet {
				p.fault(v, "count %q is not a number from 1 to %d", v.Value, maxFleet)
			}
			m.Count = n
		case "region":
			m.Region = p.text(key, v)
		case "size":
			if m.Size = p.text(key, v); sizeNamed(m.Size) == nil {
				p.fault(v, "size %q does not exist: use one such as %s", m.Size, defaultSize)
			}
		case "status":
			m.Status = p.text(key, v)
		case "tags":
			m.Tags = p.tags(v)
		case "image":
			if m.Image = p.text(key, v); imageNamed(m.Image) == nil {
				p.fault(v, "image %q does not exist: use one such as %s", m.Image, images[0].Name)
			}
		case "firewall":
			if m.Firewall = p.text(key, v); !slices.Contains(firewallNames, m.Firewall) {
				p.fault(v, "firewall %q does not exist: use one of %v", m.Firewall, firewallNames)
			}
		case "notes":
			m.Notes = p.text(key, v)
		case "private":
			m.Private = p.truth(key, v)
		case "cluster":
			m.Cluster = p.truth(key, v)
		case "created":
			at, err := time.Parse(time.RFC3339, v.Value)
			if err != nil {
				p.fault(v, "created %q is not a time such as 2026-03-01T00:00:00Z", v.Value)
			}
			m.Created = at
		}
	})
	switch {
	case m.Count > 1 && m.ID != "":
		p.fault(n, "id %s cannot be that of %d instances: leave id or count out", m.ID, m.Count)
	case m.Count > 1 && m.Hostname != "" && !strings.Contains(m.Hostname, "%d"):
		p.fault(n, "hostname %q of %d instances: put %%d where the number belongs", m.Hostname, m.Count)
	}
	if before := p.total; before <= maxFleet {
		if p.total += max(m.Count, 1); p.total > maxFleet {
			p.fault(n, "the fleet has more than %d instances", maxFleet)
		}
	}
	return m
}

func (p *fleetParser) text(key string, v *yaml.Node) string {
	if v.Kind != yaml.ScalarNode || v.Tag == "!!null" || v.Value == "" {
		p.fault(v, "%s must be a text", key)
		return ""
	}
	return v.Value
}

func (p *fleetParser) truth(key string, v *yaml.Node) bool {
	if v.Value != "true" && v.Value != "false" {
		p.fault(v, "%s must be true or false", key)
	}
	return v.Value == "true"
}

func (p *fleetParser) tags(v *yaml.Node) []string {
	if v.Kind == yaml.ScalarNode && v.Tag != "!!null" {
		return strings.Fields(v.Value)
	}
	if v.Kind != yaml.SequenceNode {
		p.fault(v, "tags must be a list, or a text with spaces between the tags")
		return nil
	}
	var tags []string
	for _, t := range v.Content {
		t = resolve(t)
		if t.Kind != yaml.ScalarNode || t.Value == "" || len(strings.Fields(t.Value)) != 1 {
			p.fault(t, "tag %q: a tag is a text without blanks", t.Value)
			continue
		}
		tags = append(tags, t.Value)
	}
	return tags
}
