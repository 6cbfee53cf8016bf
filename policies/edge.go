package policies

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

func edgeID(policy string, planned time.Time) string {
	return policy + "@" + strconv.FormatInt(planned.Unix(), 10)
}

// Policy returns the policy with a name.
func (s *Set) Policy(name string) (*Policy, bool) {
	for i := range s.Policies {
		if s.Policies[i].Name == name {
			return &s.Policies[i], true
		}
	}
	return nil, false
}

// Validate is the last line of defence behind configs, which names lines.
func (s *Set) Validate() error {
	seen := make(map[string]bool)
	for i := range s.Policies {
		p := &s.Policies[i]
		causes := 0
		for _, set := range []bool{p.Schedule != nil, p.Cron != nil, p.Signal != nil} {
			if set {
				causes++
			}
		}
		switch {
		case seen[p.Name]:
			return fmt.Errorf("two policies are called %s", p.Name)
		case causes != 1:
			return fmt.Errorf("policy %s needs exactly one of schedule, cron and trigger", p.Name)
		case (p.Schedule == nil) == (len(p.Do) == 0):
			return fmt.Errorf("policy %s: a schedule has no do, every other policy has one", p.Name)
		}
		seen[p.Name] = true
		if err := p.Select.Validate(); err != nil {
			return fmt.Errorf("policy %s: %w", p.Name, err)
		}
	}
	if len(s.Regions) == 0 {
		return errors.New("no region is named")
	}
	return nil
}

// Hash identifies a policy in its present form, with its schedule: the same text
// means the same, in every process.
func (p *Policy) Hash() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s|%s|%d|%s|", p.Name, p.Select, p.Priority, p.Mode)
	switch {
	case p.Schedule != nil:
		b.WriteString(p.Schedule.String())
	case p.Cron != nil:
		b.WriteString(p.Cron.String())
	case p.Signal != nil:
		fmt.Fprintf(&b, "%s|%s|%g", p.Signal.Alert, p.Signal.Load, p.Signal.Above)
		for _, k := range slices.Sorted(maps.Keys(p.Signal.Labels)) {
			fmt.Fprintf(&b, "|%s=%s", k, p.Signal.Labels[k])
		}
	}
	fmt.Fprintf(&b, "|%v|%s|%s|%s", p.Do, p.Lasts, p.GiveUpAfter, p.Cooldown)
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:6])
}

// power is the step by which a policy wants start or stop, if it has one.
func (p *Policy) power() (Step, bool) {
	for _, s := range p.Do {
		if KindOf(s.Verb) == KindPower {
			return s, true
		}
	}
	return Step{}, false
}

// next is the first edge of a policy strictly after an instant.
func (p *Policy) next(after time.Time) (at time.Time, want string, ok bool) {
	switch {
	case p.Schedule != nil:
		t, ok := p.Schedule.Next(after)
		if t.To == schedule.Any {
			return t.At, "no want", ok
		}
		return t.At, string(t.To), ok
	case p.Cron != nil:
		at, ok = p.Cron.Next(after)
		if end, alive := p.endAfter(after); alive && (!ok || end.Before(at)) {
			return end, "end of " + p.Name, true
		}
		return at, stepNames(p.Do), ok
	}
	return time.Time{}, "", false
}

// endAfter is when the newest power want of a cron policy ends, if that lies
// after an instant.
func (p *Policy) endAfter(after time.Time) (time.Time, bool) {
	if _, ok := p.power(); !ok || p.Lasts == 0 {
		return time.Time{}, false
	}
	fired, ok := p.Cron.Prev(after)
	end := fired.Add(p.Lasts)
	return end, ok && end.After(after)
}

func stepNames(steps []Step) string {
	var names []string
	for _, s := range steps {
		names = append(names, s.String())
	}
	return strings.Join(names, ", ")
}

// String prints a step as people say it.
func (s Step) String() string {
	switch s.Verb {
	case Reboot:
		if s.Hard {
			return "reboot hard"
		}
		return "reboot soft"
	case Resize:
		if s.Size != "" {
			return "resize to " + s.Size
		}
		return "resize up " + strings.Join(s.Ladder, " ")
	case Retag:
		var words []string
		for _, t := range s.Add {
			words = append(words, "+"+t)
		}
		for _, t := range s.Remove {
			words = append(words, "-"+t)
		}
		return "retag " + strings.Join(words, " ")
	case Firewall:
		return "firewall " + s.Firewall
	}
	return string(s.Verb)
}

// Edges are those of all schedule and cron policies in (after, upTo], in order
// of time and name.
func (s *Set) Edges(after, upTo time.Time) []Edge {
	var edges []Edge
	for i := range s.Policies {
		p := &s.Policies[i]
		hash := ""
		for t := after; ; {
			at, _, ok := p.next(t)
			if !ok || at.After(upTo) {
				break
			}
			if hash == "" {
				hash = p.Hash()
			}
			edges = append(edges, Edge{Policy: p.Name, Planned: at.UTC(), Hash: hash})
			t = at
		}
	}
	slices.SortFunc(edges, func(a, b Edge) int {
		return cmp.Or(a.Planned.Compare(b.Planned), cmp.Compare(a.Policy, b.Policy))
	})
	return edges
}

// UpcomingEdge is an edge with what it is about, for people.
type UpcomingEdge struct {
	Edge
	Want string // running, stopped, start, reboot soft, …
}

// NextEdges are the first n edges strictly after an instant, in order.
func (s *Set) NextEdges(after time.Time, n int) []UpcomingEdge {
	type cursor struct {
		p    *Policy
		at   time.Time
		want string
	}
	var ahead []cursor
	advance := func(p *Policy, t time.Time) {
		if at, want, ok := p.next(t); ok {
			ahead = append(ahead, cursor{p, at, want})
		}
	}
	for i := range s.Policies {
		advance(&s.Policies[i], after)
	}
	var out []UpcomingEdge
	for len(out) < n && len(ahead) > 0 {
		first := 0
		for i, c := range ahead {
			if d := c.at.Compare(ahead[first].at); d < 0 || d == 0 && c.p.Name < ahead[first].p.Name {
				first = i
			}
		}
		c := ahead[first]
		ahead = slices.Delete(ahead, first, first+1)
		out = append(out, UpcomingEdge{Edge{c.p.Name, c.at.UTC(), c.p.Hash()}, c.want})
		advance(c.p, c.at)
	}
	return out
}

// GiveUp is how long an edge is good: for a span of machine time after it was
// due, or, when until is not zero, until that instant of plan time. A start by
// schedule is good until its window ends, a stop by schedule for an hour,
// all else for a quarter of an hour.
func (p *Policy) GiveUp(e Edge) (after time.Duration, until time.Time) {
	switch {
	case p.GiveUpAfter > 0:
		return p.GiveUpAfter, time.Time{}
	case p.Schedule == nil:
		return DefaultGiveUp, time.Time{}
	case p.Schedule.At(e.Planned) == schedule.Running:
		if end, ok := p.Schedule.Next(e.Planned); ok {
			return 0, end.At
		}
		return 24 * time.Hour, time.Time{}
	}
	return DefaultStopGiveUp, time.Time{}
}

// KindOf is the aspect of an instance that a verb changes.
func KindOf(v Verb) Kind {
	switch v {
	case Start, Stop:
		return KindPower
	case Reboot:
		return KindReboot
	case Resize:
		return KindSize
	case Retag:
		return KindTags
	case Firewall:
		return KindFirewall
	case Create:
		return KindCreate
	case Delete:
		return KindDelete
	}
	return Kind(v)
}

// ActionID is the identity of an action: the same for the same trigger, step,
// instance and kind, whoever works it out and however often.
func ActionID(trigger string, step int, instance string, kind Kind) string {
	text := make([]byte, 0, 256) // stays on the stack: a tick may have 100,000 of these
	text = strconv.AppendInt(text, int64(len(trigger)), 10)
	text = append(append(text, ':'), trigger...)
	text = strconv.AppendInt(append(text, '|'), int64(step), 10)
	text = strconv.AppendInt(append(text, '|'), int64(len(instance)), 10)
	text = append(append(text, ':'), instance...)
	text = append(append(text, '|'), kind...)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}
