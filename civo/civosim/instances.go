package civosim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (s *Sim) noInstance(id string) answer {
	return s.refuse("database_instance_find", "Failed to find the instance %s in the internal database", id)
}

// visible returns what a call sees of an instance, or nil when it did not exist
// at the time that a stale read sees.
func (c *call) visible(in *instance) *record {
	if c.stale && in.born.After(c.sees) {
		return nil
	}
	return in.as(c.sees)
}

// seen returns all that a call sees of its region, by age.
func (c *call) seen(match func(*record) bool) []*record {
	out := []*record{}
	take := func(in *instance) {
		if rec := c.visible(in); rec != nil && match(rec) {
			out = append(out, rec)
		}
	}
	if c.stale {
		for _, g := range c.region.gone {
			if g.at.After(c.sees) {
				take(g.in)
			}
		}
	}
	for _, in := range c.region.instances {
		take(in)
	}
	if c.stale {
		slices.SortFunc(out, func(a, b *record) int { return cmp.Compare(a.serial, b.serial) })
	}
	return out
}

// list answers with a page. Its records are rendered while it is written, a
// piece at a time, so that a page of everything costs no memory of its size.
func (s *Sim) list(c *call) (answer, func()) {
	tags := strings.Fields(c.params.text("tags"))
	all := c.seen(func(r *record) bool { return r.hasTags(tags) })
	page, perPage, pages, from, to := paging(c.params, len(all))
	items := all[from:to]
	return answer{status: http.StatusOK, kind: jsonType, write: func(w http.ResponseWriter) {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		buf.WriteString(`{"page":` + strconv.Itoa(page) + `,"per_page":` + strconv.Itoa(perPage) + `,"pages":` + strconv.Itoa(pages) + `,"items":[`)
		for i, r := range items {
			if i > 0 {
				buf.WriteByte(',')
			}
			_ = enc.Encode(r.show()) // our own type into memory
			if buf.Len() > 1<<16 {
				if _, err := w.Write(buf.Bytes()); err != nil {
					return // nobody reads any more
				}
				buf.Reset()
			}
		}
		buf.WriteString("]}")
		_, _ = w.Write(buf.Bytes())
	}}, nil
}

// paging reads page and per_page, and returns the page as a range [from, to).
// Anything that is not a positive number is the default.
func paging(p params, total int) (page, perPage, pages, from, to int) {
	page, perPage = positive(p.text("page"), 1), positive(p.text("per_page"), 20)
	pages = 1
	if total > 0 {
		pages = (total-1)/perPage + 1 // rounded up, without overflow
	}
	if page > pages {
		return page, perPage, pages, total, total
	}
	from = (page - 1) * perPage
	return page, perPage, pages, from, from + min(perPage, total-from)
}

func positive(text string, otherwise int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return otherwise
	}
	return n
}

func (s *Sim) get(c *call) (answer, func()) {
	in := s.all[c.id]
	if in == nil && c.stale {
		in = c.region.goneSince(c.sees, c.id)
	}
	if in != nil && in.region == c.region {
		if rec := c.visible(in); rec != nil {
			return ok(rec.show()), nil
		}
	}
	return s.noInstance(c.id), nil
}

// goneSince finds an instance that was removed after a time.
func (r *region) goneSince(at time.Time, id string) *instance {
	for _, g := range r.gone {
		if g.in.id == id && g.at.After(at) {
			return g.in
		}
	}
	return nil
}

// own finds the instance that a call acts on, and refuses when there is none or
// it may not be touched.
func (s *Sim) own(c *call) (*instance, answer, bool) {
	in := s.all[c.id]
	if in == nil || in.region != c.region {
		return nil, s.noInstance(c.id), false
	}
	if in.cluster {
		return nil, s.refuse("database_cannot_manage_cluster_instance", "the instance %s belongs to a Kubernetes cluster", c.id), false
	}
	return in, answer{}, true
}

// settled is own for an action that needs the instance at rest.
func (s *Sim) settled(c *call) (*instance, answer, bool) {
	in, a, found := s.own(c)
	if !found {
		return nil, a, false
	}
	if in.busy || in.rec.status != statusActive && in.rec.status != statusShutoff {
		return nil, s.wrongState(in), false
	}
	return in, answer{}, true
}

func (s *Sim) wrongState(in *instance) answer {
	return s.refuse("instance_state_must_be_active_or_shutoff", "the instance %s is %s: its state must be ACTIVE or SHUTOFF", in.id, in.rec.status)
}

func (s *Sim) stop(c *call) (answer, func()) {
	in, a, ok := s.settled(c)
	switch {
	case !ok:
		return a, nil
	case in.rec.status == statusShutoff:
		return s.repeated(in), nil
	}
	return success, func() { s.passTo(c, in, statusStopping, statusShutoff) }
}

func (s *Sim) start(c *call) (answer, func()) {
	in, a, ok := s.settled(c)
	switch {
	case !ok:
		return a, nil
	case in.rec.status == statusActive:
		return s.repeated(in), nil
	}
	return success, func() { s.passTo(c, in, s.o.StartStatus, statusActive) }
}

// repeated answers an action whose end was reached before.
func (s *Sim) repeated(in *instance) answer {
	if s.o.RefuseRepeats {
		return s.wrongState(in)
	}
	return success
}

func (s *Sim) reboot(c *call) (answer, func()) {
	in, a, ok := s.settled(c)
	switch {
	case !ok:
		return a, nil
	case in.rec.status == statusShutoff && s.o.RefuseRebootStopped:
		return s.wrongState(in), nil
	}
	return success, func() { s.passTo(c, in, statusRebooting, statusActive) }
}

func (s *Sim) resize(c *call) (answer, func()) {
	in, a, ok := s.settled(c)
	if !ok {
		return a, nil
	}
	name := c.params.text("size")
	if name == "" {
		return s.refuse("parameter_size_missing", "the size is missing"), nil
	}
	to, from := sizeNamed(name), in.rec.size
	switch {
	case to == nil:
		return s.refuse("database_size_not_found", "the size %s was not found", name), nil
	case to.CPUCores < from.CPUCores || to.RAMMB < from.RAMMB || to.DiskGB < from.DiskGB,
		to.CPUCores == from.CPUCores && to.RAMMB == from.RAMMB && to.DiskGB == from.DiskGB:
		return s.refuse(s.o.DownsizeCode, "an instance can only be resized upwards, and %s is not larger than %s", to.Name, from.Name), nil
	}
	var plus Quota
	plus.size(to, 1)
	plus.size(in.held, -1)
	if over := s.o.Quota.exceeded(s.usage, plus); over != "" {
		return s.refuse("quota_limit_reached", "%s", over), nil
	}
	after := statusActive
	if s.o.ResizeKeepsStopped {
		after = in.rec.status
	}
	return success, func() {
		s.usage.size(in.held, -1)
		in.held = to
		s.usage.size(in.held, 1)
		s.pass(c, in, s.o.ResizeStatus, func(at time.Time) {
			s.bill(in, at)
			in.change(at, func(r *record) { r.size = to; r.become(after) })
		})
	}
}

// delete needs no state: the instance goes whatever it does.
func (s *Sim) delete(c *call) (answer, func()) {
	in, a, ok := s.own(c)
	switch {
	case !ok:
		return a, nil
	case in.rec.status == statusDeleting:
		return s.wrongState(in), nil
	}
	return success, func() {
		s.pass(c, in, statusDeleting, func(at time.Time) { s.remove(in, at) })
	}
}

// retag replaces all tags; none clears them.
func (s *Sim) retag(c *call) (answer, func()) {
	in, a, found := s.own(c)
	if !found {
		return a, nil
	}
	tags := s.tagsOf(c.params.text("tags"))
	return success, s.changing(c, in, func(r *record) { r.tags = tags })
}

// changing is the effect of a change that needs no passage.
func (s *Sim) changing(c *call, in *instance, f func(*record)) func() {
	return func() { in.change(c.now, f) }
}

// setFirewall takes an id or, as the samples of the documentation do, a name.
func (s *Sim) setFirewall(c *call) (answer, func()) {
	in, a, found := s.own(c)
	if !found {
		return a, nil
	}
	wanted := c.params.text("firewall_id")
	if wanted == "" {
		wanted = c.params.text("name")
	}
	fw, a, found := s.pickFirewall(c.region, in.rec.networkID, wanted)
	if !found {
		return a, nil
	}
	after := *in.rec
	after.firewallID = fw.ID
	shown := after.show()
	shown.Result = "success"
	return ok(shown), s.changing(c, in, func(r *record) { r.firewallID = fw.ID })
}

// update changes what it is given and nothing else. An empty note counts only
// beside notes_delete, as the official client sends it.
func (s *Sim) update(c *call) (answer, func()) {
	in, a, found := s.own(c)
	if !found {
		return a, nil
	}
	hostname, renamed := c.params.find("hostname")
	if renamed && !validHostname(hostname) {
		return s.refuse("parameter_name_invalid", "%q is not a host name", hostname), nil
	}
	reverse, reversed := c.params.find("reverse_dns")
	notes := c.params.text("notes")
	noted := notes != "" || c.params.text("notes_delete") == "true"
	return success, s.changing(c, in, func(r *record) {
		if renamed {
			r.hostname = hostname
		}
		if reversed {
			r.reverseDNS = reverse
		}
		if noted {
			r.notes = notes
		}
	})
}
