package civosim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// splitList splits at commas and spaces.
func splitList(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
}

func (s *Sim) ping(*call) (answer, func()) { return ok(map[string]string{"result": "pong"}), nil }

func (s *Sim) listAccounts(*call) (answer, func()) {
	return ok(map[string]any{"page": 1, "per_page": 20, "pages": 1, "items": []any{
		map[string]string{"id": s.id, "label": "simulated", "email_address": "simulated@example.com"},
	}}), nil
}

// listClusters has none: the official command line asks for them before it shows
// volumes.
func (s *Sim) listClusters(c *call) (answer, func()) {
	page, perPage, pages, _, _ := paging(c.params, 0)
	return ok(map[string]any{"page": page, "per_page": perPage, "pages": pages, "items": []any{}}), nil
}

// without returns a list that lacks one element.
func without[T comparable](list []T, x T) []T {
	return slices.DeleteFunc(list, func(y T) bool { return y == x })
}

type sshKey struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	PublicKey   string `json:"public_key"`
	CreatedAt   string `json:"created_at"`
}

func (s *Sim) keyNamed(idOrName string) *sshKey {
	for _, k := range s.keys {
		if k.ID == idOrName || k.Name == idOrName {
			return k
		}
	}
	return nil
}

func (s *Sim) noKey(id string) answer {
	return s.refuse("database_ssh_key_not_found", "the SSH key %s was not found", id)
}

func (s *Sim) listKeys(*call) (answer, func()) { return ok(s.keys), nil }

func (s *Sim) key(c *call) (answer, func()) {
	if k := s.keyNamed(c.id); k != nil {
		return ok(k), nil
	}
	return s.noKey(c.id), nil
}

func (s *Sim) createKey(c *call) (answer, func()) {
	k := &sshKey{ID: s.uuid(), Name: c.params.text("name"), PublicKey: c.params.text("public_key"), CreatedAt: stamp(c.now)}
	switch {
	case k.Name == "":
		return s.refuse("parameter_name_invalid", "the name is missing"), nil
	case k.PublicKey == "":
		return s.refuse("parameter_value_missing", "the public key is missing"), nil
	}
	k.Fingerprint = "SHA256:" + k.ID[:8]
	return okID(k.ID, "name", k.Name), func() { s.keys = append(s.keys, k) }
}

func (s *Sim) updateKey(c *call) (answer, func()) {
	k, name := s.keyNamed(c.id), c.params.text("name")
	switch {
	case k == nil:
		return s.noKey(c.id), nil
	case name == "":
		return s.refuse("parameter_name_invalid", "the name is missing"), nil
	}
	renamed := *k
	renamed.Name = name
	return ok(renamed), func() { k.Name = name }
}

func (s *Sim) deleteKey(c *call) (answer, func()) {
	k := s.keyNamed(c.id)
	if k == nil {
		return s.noKey(c.id), nil
	}
	return success, func() { s.keys = without(s.keys, k) }
}

type volume struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	InstanceID string `json:"instance_id"`
	ClusterID  string `json:"cluster_id"`
	NetworkID  string `json:"network_id"`
	Status     string `json:"status"`
	SizeGB     int    `json:"size_gb"`
	Bootable   bool   `json:"bootable"`
	Mountpoint string `json:"mountpoint"`
	VolumeType string `json:"volume_type"`
	CreatedAt  string `json:"created_at"`
	since      time.Time
}

func (r *region) volume(id string) *volume {
	for _, v := range r.volumes {
		if v.ID == id {
			return v
		}
	}
	return nil
}

func (s *Sim) noVolume(id string) answer {
	return s.refuse("database_volume_not_found", "the volume %s was not found", id)
}

func (s *Sim) listVolumeTypes(*call) (answer, func()) {
	return ok([]map[string]any{{"name": "ms-xfs-2-replicas", "description": "standard", "enabled": true, "labels": []string{"bootable"}, "default": true}}), nil
}

func (s *Sim) listVolumes(c *call) (answer, func()) {
	out := []*volume{}
	for _, v := range c.region.volumes {
		if id := c.params.text("network_id"); id == "" || id == v.NetworkID {
			out = append(out, v)
		}
	}
	return ok(out), nil
}

func (s *Sim) volume(c *call) (answer, func()) {
	if v := c.region.volume(c.id); v != nil {
		return ok(v), nil
	}
	return s.noVolume(c.id), nil
}

func (s *Sim) createVolume(c *call) (answer, func()) {
	size, err := strconv.Atoi(c.params.text("size_gb"))
	v := &volume{
		ID: s.uuid(), Name: c.params.text("name"), NetworkID: cmp.Or(c.params.text("network_id"), c.region.networks[0].ID), Status: "available",
		SizeGB: size, VolumeType: "ms-xfs-2-replicas", CreatedAt: stamp(c.now), since: c.now,
	}
	switch {
	case v.Name == "":
		return s.refuse("parameter_name_invalid", "the name is missing"), nil
	case err != nil || size < 1:
		return s.refuse("parameter_value_missing", "size_gb %q is not a size in GB", c.params.text("size_gb")), nil
	case c.region.network(v.NetworkID) == nil:
		return s.noNetwork(v.NetworkID), nil
	}
	if over := s.o.Quota.exceeded(s.usage, Quota{Volumes: 1, DiskGB: size}); over != "" {
		return s.refuse("quota_limit_reached", "%s", over), nil
	}
	return okID(v.ID, "name", v.Name), func() {
		c.region.volumes = append(c.region.volumes, v)
		s.usage.Volumes++
		s.usage.DiskGB += v.SizeGB
	}
}

func (s *Sim) attachVolume(c *call) (answer, func()) {
	v, id := c.region.volume(c.id), c.params.text("instance_id")
	in := s.all[id]
	switch {
	case v == nil:
		return s.noVolume(c.id), nil
	case in == nil || in.region != c.region:
		return s.noInstance(id), nil
	case v.InstanceID != "":
		return s.refuse("database_volume_already_attached", "the volume %s is attached to %s", v.ID, v.InstanceID), nil
	}
	return success, func() {
		v.InstanceID, v.Status, v.Mountpoint = id, "attached", "/dev/vdb"
		in.change(c.now, func(r *record) { r.volumes = append(slices.Clone(r.volumes), v.ID) })
	}
}

func (s *Sim) detachVolume(c *call) (answer, func()) {
	v := c.region.volume(c.id)
	switch {
	case v == nil:
		return s.noVolume(c.id), nil
	case v.InstanceID == "":
		return success, nil
	}
	return success, func() {
		if in := s.all[v.InstanceID]; in != nil {
			in.change(c.now, func(r *record) { r.volumes = without(slices.Clone(r.volumes), v.ID) })
		}
		v.InstanceID, v.Status, v.Mountpoint = "", "available", ""
	}
}

func (s *Sim) resizeVolume(c *call) (answer, func()) {
	v := c.region.volume(c.id)
	size, err := strconv.Atoi(c.params.text("size_gb"))
	switch {
	case v == nil:
		return s.noVolume(c.id), nil
	case err != nil || size <= v.SizeGB:
		return s.refuse("parameter_value_missing", "size_gb %q is not a larger size in GB", c.params.text("size_gb")), nil
	}
	if over := s.o.Quota.exceeded(s.usage, Quota{DiskGB: size - v.SizeGB}); over != "" {
		return s.refuse("quota_limit_reached", "%s", over), nil
	}
	return success, func() {
		s.usage.DiskGB += size - v.SizeGB
		s.billVolume(c.region, v, c.now)
		v.SizeGB = size
	}
}

func (s *Sim) deleteVolume(c *call) (answer, func()) {
	v := c.region.volume(c.id)
	switch {
	case v == nil:
		return s.noVolume(c.id), nil
	case v.InstanceID != "":
		return s.refuse("database_volume_still_attached_cannot_delete", "the volume %s is attached to %s", v.ID, v.InstanceID), nil
	}
	return success, func() {
		c.region.volumes = without(c.region.volumes, v)
		s.usage.Volumes--
		s.usage.DiskGB -= v.SizeGB
		s.billVolume(c.region, v, c.now)
	}
}

type reservedIP struct {
	ID       string
	Name     string
	IP       string
	assigned string // id of an instance
}

type ipJSON struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	IP         string      `json:"ip"`
	AssignedTo *assignedTo `json:"assigned_to"`
}

type assignedTo struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Name string `json:"name"`
}

func (s *Sim) showIP(ip *reservedIP) ipJSON {
	j := ipJSON{ID: ip.ID, Name: ip.Name, IP: ip.IP}
	if in := s.all[ip.assigned]; in != nil {
		j.AssignedTo = &assignedTo{ID: in.id, Type: "instance", Name: in.rec.hostname}
	}
	return j
}

func (r *region) ip(id string) *reservedIP {
	for _, ip := range r.ips {
		if ip.ID == id {
			return ip
		}
	}
	return nil
}

// ipNamed finds an address by id, name or itself.
func (r *region) ipNamed(text string) *reservedIP {
	for _, ip := range r.ips {
		if ip.ID == text || ip.Name == text || ip.IP == text {
			return ip
		}
	}
	return nil
}

func (s *Sim) noIP(id string) answer {
	return s.refuse("database_ip_not_found", "the reserved address %s was not found", id)
}

func (s *Sim) listIPs(c *call) (answer, func()) {
	page, perPage, pages, from, to := paging(c.params, len(c.region.ips))
	items := []ipJSON{}
	for _, ip := range c.region.ips[from:to] {
		items = append(items, s.showIP(ip))
	}
	return ok(map[string]any{"page": page, "per_page": perPage, "pages": pages, "items": items}), nil
}

func (s *Sim) ip(c *call) (answer, func()) {
	if ip := c.region.ip(c.id); ip != nil {
		return ok(s.showIP(ip)), nil
	}
	return s.noIP(c.id), nil
}

func (s *Sim) createIP(c *call) (answer, func()) {
	if over := s.o.Quota.exceeded(s.usage, Quota{PublicIPs: 1}); over != "" {
		return s.refuse("quota_limit_reached", "%s", over), nil
	}
	s.serial++ // addresses and instances share the numbers, so that no address is given twice
	ip := &reservedIP{ID: s.uuid(), IP: (&record{serial: s.serial, public: true}).publicIP()}
	ip.Name = cmp.Or(c.params.text("name"), ip.IP)
	return ok(s.showIP(ip)), func() {
		c.region.ips = append(c.region.ips, ip)
		s.usage.PublicIPs++
	}
}

func (s *Sim) updateIP(c *call) (answer, func()) {
	ip, name := c.region.ip(c.id), c.params.text("name")
	switch {
	case ip == nil:
		return s.noIP(c.id), nil
	case name == "":
		return s.refuse("parameter_name_invalid", "the name is missing"), nil
	}
	shown := s.showIP(ip)
	shown.Name = name
	return ok(shown), func() {
		ip.Name = name
		if in := s.all[ip.assigned]; in != nil {
			renamed := *ip
			in.change(c.now, func(r *record) { r.reserved = &renamed })
		}
	}
}

func (s *Sim) deleteIP(c *call) (answer, func()) {
	ip := c.region.ip(c.id)
	switch {
	case ip == nil:
		return s.noIP(c.id), nil
	case ip.assigned != "":
		return s.refuse("database_ip_in_use", "the reserved address %s is assigned to %s", ip.ID, ip.assigned), nil
	}
	return success, func() {
		c.region.ips = without(c.region.ips, ip)
		s.usage.PublicIPs--
	}
}

// actOnIP assigns an address to an instance or takes it away. The official
// client names the instance in an object assigned_to.
func (s *Sim) actOnIP(c *call) (answer, func()) {
	ip := c.region.ip(c.id)
	if ip == nil {
		return s.noIP(c.id), nil
	}
	var to assignedTo
	if raw := c.params.raw["assigned_to"]; raw != nil {
		_ = json.Unmarshal(raw, &to) // another form counts as none
	}
	to.ID = cmp.Or(to.ID, c.params.text("assign_to_id"), c.params.text("assigned_to[id]"))
	switch action := c.params.text("action"); action {
	case "assign":
		in := s.all[to.ID]
		if in == nil || in.region != c.region {
			return s.noInstance(to.ID), nil
		}
		return success, func() {
			s.releaseIP(c, ip)
			if other := in.rec.reserved; other != nil {
				s.releaseIP(c, c.region.ip(other.ID))
			}
			ip.assigned = in.id
			shown := *ip
			in.change(c.now, func(r *record) { r.reserved = &shown })
		}
	case "unassign":
		if ip.assigned == "" {
			return success, nil
		}
		return success, func() { s.releaseIP(c, ip) }
	default:
		return s.refuse("parameter_value_missing", "action %q is not assign or unassign", action), nil
	}
}

func (s *Sim) releaseIP(c *call, ip *reservedIP) {
	if in := s.all[ip.assigned]; in != nil {
		in.change(c.now, func(r *record) { r.reserved = nil })
	}
	ip.assigned = ""
}

type webhook struct {
	ID                string   `json:"id"`
	Events            []string `json:"events"`
	URL               string   `json:"url"`
	Secret            string   `json:"secret"`
	Disabled          bool     `json:"disabled"`
	Failures          int      `json:"failures"`
	LastFailureReason string   `json:"last_failure_reason"`
}

func (s *Sim) listWebhooks(*call) (answer, func()) {
	if s.hooks == nil {
		return ok([]*webhook{}), nil
	}
	return ok(s.hooks), nil
}

// fill takes over what a request gives.
func (h *webhook) fill(p params) {
	if text, given := p.find("events"); given {
		h.Events = splitList(text)
	}
	h.URL = cmp.Or(p.text("url"), h.URL)
	h.Secret = cmp.Or(p.text("secret"), h.Secret)
	if len(h.Events) == 0 {
		h.Events = []string{"*"}
	}
}

func (s *Sim) createWebhook(c *call) (answer, func()) {
	h := &webhook{ID: s.uuid()}
	h.fill(c.params)
	if h.URL == "" {
		return s.refuse("parameter_value_missing", "the url is missing"), nil
	}
	h.Secret = cmp.Or(h.Secret, strings.ReplaceAll(s.uuid(), "-", ""))
	return ok(h), func() { s.hooks = append(s.hooks, h) }
}

func (s *Sim) webhook(id string) *webhook {
	for _, h := range s.hooks {
		if h.ID == id {
			return h
		}
	}
	return nil
}

func (s *Sim) noWebhook(id string) answer {
	return s.refuse("database_webhook_not_found", "the webhook %s was not found", id)
}

func (s *Sim) updateWebhook(c *call) (answer, func()) {
	h := s.webhook(c.id)
	if h == nil {
		return s.noWebhook(c.id), nil
	}
	changed := *h
	changed.fill(c.params)
	return ok(changed), func() { *h = changed }
}

func (s *Sim) deleteWebhook(c *call) (answer, func()) {
	h := s.webhook(c.id)
	if h == nil {
		return s.noWebhook(c.id), nil
	}
	return success, func() { s.hooks = without(s.hooks, h) }
}

const maxActions = 10_000

// auditAction is an entry of /v2/actions: who did what.
type auditAction struct {
	ID          int    `json:"id"`
	CreatedAt   string `json:"created_at"`
	UpdatedAt   string `json:"updated_at"`
	AccountID   string `json:"account_id"`
	UserID      string `json:"user_id"`
	Type        string `json:"type"`
	Details     string `json:"details"`
	RelatedID   string `json:"related_id"`
	RelatedType string `json:"related_type"`
	Debug       bool   `json:"debug"`
}

// audit writes down an effect of a call, with names in the style of the one that
// is known, "cluster-create".
func (s *Sim) audit(c *call) {
	kind, verb, id := "instance", strings.ReplaceAll(c.op, "_", "-"), c.instance
	if id == "" {
		id = c.id
		kind, verb, _ = strings.Cut(verb, "-")
	}
	s.actionID++
	s.actions.add(auditAction{
		ID: s.actionID, CreatedAt: stamp(c.now), UpdatedAt: stamp(c.now), AccountID: s.id, UserID: s.user,
		Type: kind + "-" + verb, Details: fmt.Sprintf("%s %s", kind, id), RelatedID: id, RelatedType: kind,
	})
}

func (s *Sim) listActions(c *call) (answer, func()) {
	all := s.actions.all()
	p := c.params
	all = slices.DeleteFunc(all, func(a auditAction) bool {
		differs := func(key, value string) bool { want := p.text(key); return want != "" && want != value }
		return differs("resource_id", a.RelatedID) || differs("related_id", a.RelatedID) ||
			differs("resource_type", a.RelatedType) || differs("action_type", a.Type) || differs("user_id", a.UserID)
	})
	slices.Reverse(all) // newest first
	page, perPage, pages, from, to := paging(p, len(all))
	return ok(map[string]any{"page": page, "per_page": perPage, "pages": pages, "items": append([]auditAction{}, all[from:to]...)}), nil
}
