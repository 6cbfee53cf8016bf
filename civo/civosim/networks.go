package civosim

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

type network struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Label    string    `json:"label"`
	Default  bool      `json:"default"`
	CIDR     string    `json:"cidr"`
	Status   string    `json:"status"`
	firewall *firewall // the default one
}

type firewall struct {
	ID                string         `json:"id"`
	Name              string         `json:"name"`
	NetworkID         string         `json:"network_id"`
	RulesCount        int            `json:"rules_count"`
	InstanceCount     int            `json:"instance_count"`
	ClusterCount      int            `json:"cluster_count"`
	LoadbalancerCount int            `json:"loadbalancer_count"`
	Rules             []firewallRule `json:"rules"`
}

type firewallRule struct {
	ID         string   `json:"id"`
	FirewallID string   `json:"firewall_id"`
	Protocol   string   `json:"protocol"`
	StartPort  string   `json:"start_port"`
	EndPort    string   `json:"end_port"`
	Ports      string   `json:"ports,omitempty"`
	CIDR       []string `json:"cidr"`
	Direction  string   `json:"direction"`
	Action     string   `json:"action"`
	Label      string   `json:"label"`
}

// firewallNames are those that each default network has from the start.
var firewallNames = []string{"default-default", "restrictive-firewall"}

// newNetwork has a firewall that is open to all, as the default one is.
func (a *account) newNetwork(r *region, label string) *network {
	n := &network{ID: a.uuid(), Name: "cust-" + label + "-" + r.code, Label: label, CIDR: "10.0.0.0/8", Status: "Active"}
	n.firewall = a.newFirewall(r, n, label+"-default", true)
	r.networks = append(r.networks, n)
	a.usage.Networks++
	return n
}

func (a *account) newFirewall(r *region, n *network, name string, open bool) *firewall {
	fw := &firewall{ID: a.uuid(), Name: name, NetworkID: n.ID, Rules: []firewallRule{}}
	if open {
		for _, direction := range []string{"ingress", "egress"} {
			for _, protocol := range []string{"tcp", "udp"} {
				fw.Rules = append(fw.Rules, firewallRule{
					ID: a.uuid(), FirewallID: fw.ID, Protocol: protocol, StartPort: "1", EndPort: "65535", Ports: "1-65535",
					CIDR: []string{"0.0.0.0/0"}, Direction: direction, Action: "allow", Label: "All " + protocol,
				})
			}
		}
	}
	r.firewalls = append(r.firewalls, fw)
	a.usage.SecurityGroups++
	return fw
}

func (r *region) network(id string) *network {
	i := slices.IndexFunc(r.networks, func(n *network) bool { return n.ID == id })
	if i < 0 {
		return nil
	}
	return r.networks[i]
}

func (r *region) firewall(id string) *firewall {
	i := slices.IndexFunc(r.firewalls, func(fw *firewall) bool { return fw.ID == id })
	if i < 0 {
		return nil
	}
	return r.firewalls[i]
}

// pickFirewall finds a firewall for an instance of a network, by id or name.
// None means the default firewall, in the default network only.
func (s *Sim) pickFirewall(r *region, networkID, wanted string) (*firewall, answer, bool) {
	n := r.network(networkID)
	if wanted == "" {
		if n == nil || !n.Default {
			return nil, s.refuse("database_firewall_not_found", "a firewall is needed outside the default network"), false
		}
		return n.firewall, answer{}, true
	}
	fw := r.firewall(wanted)
	if fw == nil { // names are not unique over networks: that of the instance's own first
		for _, candidate := range r.firewalls {
			if candidate.Name == wanted && (fw == nil || candidate.NetworkID == networkID) {
				fw = candidate
			}
		}
	}
	switch {
	case fw == nil:
		return nil, s.refuse("database_firewall_not_found", "the firewall %s was not found", wanted), false
	case fw.NetworkID != networkID:
		return nil, s.refuse("database_firewall_mismatch", "the firewall %s is not of the network %s", fw.ID, networkID), false
	}
	return fw, answer{}, true
}

func (s *Sim) listNetworks(c *call) (answer, func()) { return ok(c.region.networks), nil }

func (s *Sim) noNetwork(id string) answer {
	return s.refuse("database_network_not_found", "the network %s was not found", id)
}

func (s *Sim) network(c *call) (answer, func()) {
	if n := c.region.network(c.id); n != nil {
		return ok(n), nil
	}
	return s.noNetwork(c.id), nil
}

func (s *Sim) listSubnets(c *call) (answer, func()) {
	if c.region.network(c.id) == nil {
		return s.noNetwork(c.id), nil
	}
	return ok([]struct{}{}), nil
}

func (s *Sim) createNetwork(c *call) (answer, func()) {
	label := c.params.text("label")
	if label == "" {
		return s.refuse("parameter_label_invalid", "the label is missing"), nil
	}
	if over := s.o.Quota.exceeded(s.usage, Quota{Networks: 1, SecurityGroups: 1}); over != "" {
		return s.refuse("quota_limit_reached", "%s", over), nil
	}
	draft := region{code: c.region.code}
	var scratch account
	scratch.ids = s.ids
	n := scratch.newNetwork(&draft, label)
	return okID(n.ID, "label", n.Label), func() {
		c.region.networks = append(c.region.networks, n)
		c.region.firewalls = append(c.region.firewalls, draft.firewalls...)
		s.usage.Networks++
		s.usage.SecurityGroups++
	}
}

func (s *Sim) updateNetwork(c *call) (answer, func()) {
	n, label := c.region.network(c.id), c.params.text("label")
	switch {
	case n == nil:
		return s.noNetwork(c.id), nil
	case label == "":
		return s.refuse("parameter_label_invalid", "the label is missing"), nil
	}
	return okID(n.ID, "label", label), func() { n.Label = label }
}

func (s *Sim) deleteNetwork(c *call) (answer, func()) {
	n := c.region.network(c.id)
	if n == nil {
		return s.noNetwork(c.id), nil
	}
	inUse := slices.ContainsFunc(c.region.instances, func(in *instance) bool { return in.rec.networkID == n.ID })
	if inUse || n.Default {
		return s.refuse("database_network_delete_with_instance", "the network %s is in use", n.ID), nil
	}
	return success, func() {
		c.region.networks = slices.DeleteFunc(c.region.networks, func(x *network) bool { return x == n })
		before := len(c.region.firewalls)
		c.region.firewalls = slices.DeleteFunc(c.region.firewalls, func(fw *firewall) bool { return fw.NetworkID == n.ID })
		s.usage.Networks--
		s.usage.SecurityGroups -= before - len(c.region.firewalls)
	}
}

// shownFirewalls are copies with their counts worked out.
func (r *region) shownFirewalls() []firewall {
	uses := make(map[string]int, len(r.firewalls))
	for _, in := range r.instances {
		uses[in.rec.firewallID]++
	}
	out := make([]firewall, 0, len(r.firewalls))
	for _, fw := range r.firewalls {
		shown := *fw
		shown.RulesCount, shown.InstanceCount = len(fw.Rules), uses[fw.ID]
		out = append(out, shown)
	}
	return out
}

func (s *Sim) listFirewalls(c *call) (answer, func()) { return ok(c.region.shownFirewalls()), nil }

func (s *Sim) noFirewall(id string) answer {
	return s.refuse("database_firewall_not_found", "the firewall %s was not found", id)
}

func (s *Sim) firewall(c *call) (answer, func()) {
	for _, fw := range c.region.shownFirewalls() {
		if fw.ID == c.id {
			return ok(fw), nil
		}
	}
	return s.noFirewall(c.id), nil
}

func (s *Sim) createFirewall(c *call) (answer, func()) {
	name, n := c.params.text("name"), c.region.networks[0]
	if id := c.params.text("network_id"); id != "" {
		if n = c.region.network(id); n == nil {
			return s.noNetwork(id), nil
		}
	}
	if name == "" {
		return s.refuse("parameter_name_invalid", "the name is missing"), nil
	}
	if slices.ContainsFunc(c.region.firewalls, func(fw *firewall) bool { return fw.Name == name && fw.NetworkID == n.ID }) {
		return s.refuse("database_firewall_duplicate_name", "there is a firewall %s already", name), nil
	}
	if over := s.o.Quota.exceeded(s.usage, Quota{SecurityGroups: 1}); over != "" {
		return s.refuse("quota_limit_reached", "%s", over), nil
	}
	var scratch account
	scratch.ids = s.ids
	fw := scratch.newFirewall(&region{}, n, name, c.params.text("create_rules") != "false")
	var rules []ruleParams
	if raw := c.params.raw["rules"]; raw != nil && json.Unmarshal(raw, &rules) == nil {
		for _, r := range rules {
			fw.Rules = append(fw.Rules, r.rule(s.uuid(), fw.ID))
		}
	}
	return okID(fw.ID, "name", fw.Name), func() {
		c.region.firewalls = append(c.region.firewalls, fw)
		s.usage.SecurityGroups++
	}
}

func (s *Sim) updateFirewall(c *call) (answer, func()) {
	fw, name := c.region.firewall(c.id), c.params.text("name")
	switch {
	case fw == nil:
		return s.noFirewall(c.id), nil
	case name == "":
		return s.refuse("parameter_name_invalid", "the name is missing"), nil
	}
	return success, func() { fw.Name = name }
}

func (s *Sim) deleteFirewall(c *call) (answer, func()) {
	fw := c.region.firewall(c.id)
	if fw == nil {
		return s.noFirewall(c.id), nil
	}
	inUse := slices.ContainsFunc(c.region.instances, func(in *instance) bool { return in.rec.firewallID == fw.ID })
	isDefault := slices.ContainsFunc(c.region.networks, func(n *network) bool { return n.firewall == fw })
	if inUse || isDefault {
		return s.refuse("database_firewall_deleted_failed", "the firewall %s is in use", fw.ID), nil
	}
	return success, func() {
		c.region.firewalls = slices.DeleteFunc(c.region.firewalls, func(x *firewall) bool { return x == fw })
		s.usage.SecurityGroups--
	}
}

// ruleParams are what a new rule is made of.
type ruleParams struct {
	Protocol  string   `json:"protocol"`
	StartPort string   `json:"start_port"`
	EndPort   string   `json:"end_port"`
	Ports     string   `json:"ports"` // "80" or "80-90": outranks start and end
	CIDR      []string `json:"cidr"`
	Direction string   `json:"direction"`
	Action    string   `json:"action"`
	Label     string   `json:"label"`
}

func (p ruleParams) rule(id, firewallID string) firewallRule {
	if p.Ports != "" {
		p.StartPort, p.EndPort, _ = strings.Cut(p.Ports, "-")
	}
	r := firewallRule{
		ID: id, FirewallID: firewallID, Protocol: cmp.Or(p.Protocol, "tcp"), StartPort: p.StartPort, EndPort: cmp.Or(p.EndPort, p.StartPort),
		CIDR: p.CIDR, Direction: cmp.Or(p.Direction, "ingress"), Action: cmp.Or(p.Action, "allow"), Label: p.Label,
	}
	if len(r.CIDR) == 0 {
		r.CIDR = []string{"0.0.0.0/0"}
	}
	return r
}

func (s *Sim) listRules(c *call) (answer, func()) {
	if fw := c.region.firewall(c.id); fw != nil {
		return ok(fw.Rules), nil
	}
	return s.noFirewall(c.id), nil
}

func (s *Sim) createRule(c *call) (answer, func()) {
	fw := c.region.firewall(c.id)
	if fw == nil {
		return s.noFirewall(c.id), nil
	}
	p := c.params
	rule := ruleParams{
		Protocol: p.text("protocol"), StartPort: p.text("start_port"), EndPort: p.text("end_port"), Ports: p.text("ports"), Direction: p.text("direction"),
		Action: p.text("action"), Label: p.text("label"), CIDR: splitList(p.text("cidr")),
	}.rule(s.uuid(), fw.ID)
	return ok(rule), func() { fw.Rules = append(slices.Clone(fw.Rules), rule) }
}

func (s *Sim) deleteRule(c *call) (answer, func()) {
	fw := c.region.firewall(c.id)
	if fw == nil {
		return s.noFirewall(c.id), nil
	}
	i := slices.IndexFunc(fw.Rules, func(r firewallRule) bool { return r.ID == c.sub })
	if i < 0 {
		return s.refuse("database_firewall_rule_not_found", "the rule %s was not found", c.sub), nil
	}
	return success, func() { fw.Rules = slices.Delete(slices.Clone(fw.Rules), i, i+1) }
}
