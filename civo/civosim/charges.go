package civosim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// segment is a span of hours that are charged at one rate. Whether an instance
// was running in it makes no difference: Civo charges a stopped one the same.
type segment struct {
	code, label, region string
	from, to            time.Time
	sizeGB              int // of a volume
}

// maxBilled bounds what is remembered of what exists no more.
const maxBilled = 100_000

func (s *Sim) keepBilled(g segment) {
	if len(s.billed) >= maxBilled {
		s.billed = append(s.billed[:0:0], s.billed[maxBilled/10:]...)
	}
	s.billed = append(s.billed, g)
}

// bill ends the span of an instance's present size.
func (s *Sim) bill(in *instance, at time.Time) {
	s.keepBilled(in.hours(at))
	in.since = at
}

func (in *instance) hours(until time.Time) segment {
	return segment{code: "instance-" + in.rec.size.Name, label: in.rec.hostname, region: in.region.code, from: in.since, to: until}
}

func (s *Sim) billVolume(r *region, v *volume, at time.Time) {
	s.keepBilled(v.hours(r, at))
	v.since = at
}

func (v *volume) hours(r *region, until time.Time) segment {
	return segment{code: "volume", label: v.Name, region: r.code, from: v.since, to: until, sizeGB: v.SizeGB}
}

type chargeJSON struct {
	ProductID string `json:"product_id"`
	Code      string `json:"code"`
	Label     string `json:"label"`
	From      string `json:"from"`
	To        string `json:"to"`
	NumHours  int    `json:"num_hours"`
	SizeGB    *int   `json:"size_gb"`
	Region    string `json:"region"`
}

// within is the part of a segment in [from, to), each started hour in full.
func (g segment) within(from, to time.Time) (chargeJSON, bool) {
	if g.from.After(from) {
		from = g.from
	}
	if g.to.Before(to) {
		to = g.to
	}
	if !from.Before(to) {
		return chargeJSON{}, false
	}
	j := chargeJSON{
		ProductID: g.code, Code: g.code, Label: g.label, From: stamp(from), To: stamp(to),
		NumHours: int((to.Sub(from) + time.Hour - 1) / time.Hour), Region: g.region,
	}
	if g.sizeGB > 0 {
		j.SizeGB = &g.sizeGB
	}
	return j, true
}

// listCharges covers at most 31 days; without times, the current month.
func (s *Sim) listCharges(c *call) (answer, func()) {
	now := c.now.UTC()
	from, to := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), now
	for _, side := range []struct {
		key string
		at  *time.Time
	}{{"from", &from}, {"to", &to}} {
		if text := c.params.text(side.key); text != "" {
			at, err := readTime(text)
			if err != nil {
				return s.refuse("parameter_time_value", "%s %q is not a time such as 2026-03-01T00:00:00Z", side.key, text), nil
			}
			*side.at = at
		}
	}
	switch {
	case to.Before(from):
		return s.refuse("parameter_date_range", "the end of the range lies before its beginning"), nil
	case to.Sub(from) > 31*24*time.Hour:
		return s.refuse("parameter_date_range_too_long", "a range covers 31 days at most"), nil
	}
	if to.After(now) {
		to = now
	}
	all := slices.Clone(s.billed)
	for _, r := range s.regions {
		for _, in := range r.instances {
			all = append(all, in.hours(to))
		}
		for _, v := range r.volumes {
			all = append(all, v.hours(r, to))
		}
	}
	return answer{status: http.StatusOK, kind: jsonType, write: func(w http.ResponseWriter) {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		comma := byte('[')
		for _, g := range all {
			j, some := g.within(from, to)
			if !some {
				continue
			}
			buf.WriteByte(comma)
			comma = ','
			_ = enc.Encode(j) // our own type into memory
			if buf.Len() > 1<<16 {
				if _, err := w.Write(buf.Bytes()); err != nil {
					return // nobody reads any more
				}
				buf.Reset()
			}
		}
		if comma == '[' {
			buf.WriteByte('[')
		}
		buf.WriteByte(']')
		_, _ = w.Write(buf.Bytes())
	}}, nil
}

// readTime reads RFC 3339, also where the plus of a zone came as a space: the
// official client does not escape it.
func readTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, strings.ReplaceAll(text, " ", "+"))
	return at.UTC(), err
}
