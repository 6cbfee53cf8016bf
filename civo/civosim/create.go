package civosim

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var hostLabel = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

func validHostname(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if !hostLabel.MatchString(label) {
			return false
		}
	}
	return true
}

// maxCount is how many instances one request may ask for: more is a mistake.
const maxCount = 10_000

// create makes one or several equal instances. The answer shows the first.
func (s *Sim) create(c *call) (answer, func()) {
	draft, count, a, good := s.draft(c)
	if !good {
		return a, nil
	}
	plus := Quota{Instances: count, CPUCores: count * draft.size.CPUCores, RAMMB: count * draft.size.RAMMB, DiskGB: count * draft.size.DiskGB}
	if draft.public {
		plus.PublicIPs = count
	}
	if over := s.o.Quota.exceeded(s.usage, plus); over != "" {
		return s.refuse("quota_limit_reached", "%s", over), nil
	}
	made := make([]*record, count)
	for i := range made {
		rec := draft
		s.serial++
		rec.id, rec.serial = s.uuid(), s.serial
		made[i] = &rec
	}
	c.instance = made[0].id
	return ok(made[0].show()), func() {
		for _, rec := range made {
			in := &instance{id: rec.id, serial: rec.serial, region: c.region, rec: rec, born: c.now, held: rec.size, since: c.now}
			s.add(in)
			if rec.reserved != nil {
				c.region.ip(rec.reserved.ID).assigned = rec.id
			}
			s.passTo(c, in, "", statusActive)
		}
	}
}

// draft checks what a create asks for and returns the record to be.
func (s *Sim) draft(c *call) (rec record, count int, a answer, good bool) {
	p, r := c.params, c.region
	rec = record{
		region: r, status: statusBuilding, account: s.id, created: c.now,
		hostname: p.text("hostname"), size: sizeNamed(p.text("size")), tags: s.tagsOf(p.text("tags")),
		script: p.text("script"), reverseDNS: p.text("reverse_dns"), public: wantsAddress(p.text("public_ip")),
	}
	count = 1
	refuse := func(code, reason string, args ...any) (record, int, answer, bool) {
		return record{}, 0, s.refuse(code, reason, args...), false
	}
	if text := p.text("count"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxCount {
			return refuse("parameter_value_missing", "count %q is not a number from 1 to %d", text, maxCount)
		}
		count = max(n, 1)
	}
	switch {
	case !validHostname(rec.hostname):
		return refuse("parameter_name_invalid", "%q is not a host name", rec.hostname)
	case p.text("size") == "":
		return refuse("parameter_size_missing", "the size is missing")
	case rec.size == nil:
		return refuse("database_size_not_found", "the size %s was not found", p.text("size"))
	}

	network := r.networks[0] // the samples of the documentation name none
	if id := p.text("network_id"); id != "" {
		if network = r.network(id); network == nil {
			return refuse("database_network_not_found", "the network %s was not found", id)
		}
	}
	rec.networkID = network.ID

	image := cmp.Or(p.text("template_id"), p.text("source_id"))
	if image == "" {
		return refuse("parameter_image_and_volume_id_missing", "the disk image is missing")
	}
	if rec.image = imageNamed(image); rec.image == nil {
		return refuse("database_disk_image_not_found", "the disk image %s was not found", image)
	}
	rec.user = cmp.Or(p.text("initial_user"), rec.image.InitialUser, "civo")

	if id := p.text("ssh_key_id"); id != "" {
		key := s.keyNamed(id)
		if key == nil {
			return refuse("database_ssh_key_not_found", "the SSH key %s was not found", id)
		}
		rec.keyID, rec.key = key.ID, key.PublicKey
	}
	rec.password = rec.keyID == ""

	if wanted := p.text("reserved_ipv4"); wanted != "" {
		ip := r.ipNamed(wanted)
		switch {
		case ip == nil:
			return refuse("database_ip_not_found", "the reserved address %s was not found", wanted)
		case ip.assigned != "":
			return refuse("database_ip_in_use", "the reserved address %s is assigned to %s", ip.ID, ip.assigned)
		case count > 1:
			return refuse("database_instance_build_multiple_with_existing_public_ip", "one reserved address cannot be that of %d instances", count)
		}
		shown := *ip
		rec.reserved, rec.public = &shown, false // it is counted already
	}

	fw, a, good := s.pickFirewall(r, network.ID, p.text("firewall_id"))
	if !good {
		return record{}, 0, a, false
	}
	rec.firewallID = fw.ID
	return rec, count, answer{}, true
}

// wantsAddress reads public_ip: "none" and "false" mean none; "create", "true"
// and nothing mean one.
func wantsAddress(text string) bool {
	return !strings.EqualFold(text, "none") && !strings.EqualFold(text, "false")
}

// enlist makes the instances of a fleet.
func (s *Sim) enlist(fleet []Machine) {
	now := s.o.Now()
	for _, m := range fleet {
		m.Tags = slices.Clone(m.Tags)
		for n := 1; n <= max(m.Count, 1); n++ {
			s.enlistOne(m, n, now)
		}
	}
}

func (s *Sim) enlistOne(m Machine, n int, now time.Time) {
	r := s.regions[0]
	if m.Region != "" {
		r = s.regionNamed(m.Region)
	}
	s.serial++
	rec := &record{
		id: m.ID, serial: s.serial, region: r, hostname: strings.ReplaceAll(m.Hostname, "%d", strconv.Itoa(n)),
		size: sizeNamed(cmp.Or(m.Size, defaultSize)), status: cmp.Or(m.Status, statusActive), image: imageNamed(cmp.Or(m.Image, images[0].Name)),
		networkID: r.networks[0].ID, firewallID: r.networks[0].firewall.ID, tags: m.Tags, notes: m.Notes,
		public: !m.Private, addressed: m.Status != statusBuilding, password: true, account: s.id, created: m.Created,
	}
	made := s.uuid() // drawn for each, so that an id that is given does not shift the others
	if rec.id == "" {
		rec.id = made
	}
	if rec.hostname == "" {
		rec.hostname = "instance-" + strconv.FormatUint(rec.serial, 10)
	}
	charged := rec.created
	if rec.created.IsZero() { // the fleet was there before the simulator
		charged, rec.created = now, now.Add(-24*time.Hour)
	}
	switch {
	case rec.size == nil:
		panic("civosim: the fleet names a size that does not exist: " + m.Size)
	case rec.image == nil:
		panic("civosim: the fleet names an image that does not exist: " + m.Image)
	case s.all[rec.id] != nil:
		panic("civosim: the fleet has an id twice: " + rec.id)
	}
	rec.user = cmp.Or(rec.image.InitialUser, "civo")
	if m.Firewall != "" {
		fw, _, ok := s.pickFirewall(r, rec.networkID, m.Firewall)
		if !ok {
			panic("civosim: the fleet names a firewall that does not exist: " + m.Firewall)
		}
		rec.firewallID = fw.ID
	}
	s.add(&instance{id: rec.id, serial: rec.serial, region: r, rec: rec, held: rec.size, since: charged, cluster: m.Cluster})
}
