package policies

import (
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
	if i := s.policyIndex(name); i >= 0 {
		return &s.Policies[i], true
	}
	return nil, false
}

func (s *Set) policyIndex(name string) int {
	return slices.IndexFunc(s.Policies, func(p Policy) bool { return p.Name == name })
}

// Validate is the last line of defence behind configs, which names lines.
func (s *Set) Validate() error {
	seen := make(map[string]bool)
	for i := range s.Policies {
		p := &s.Policies[i]
		causes := 0
		for _, set := range []bool{p.Schedule != nil, p.FromTag != nil, p.Cron != nil, p.Signal != nil} {
			if set {
				causes++
			}
		}
		switch {
		case seen[p.Name]:
			return fmt.Errorf("two policies are called %s", p.Name)
		case causes != 1:
			return fmt.Errorf("policy %s needs exactly one of schedule, cron and trigger", p.Name)
		case isPseudo(p.Name):
			return fmt.Errorf("policy %s: names do not begin with _", p.Name)
		case p.IsLevel() == (len(p.Do) > 0):
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

// Hash identifies a policy in its present form, with its schedule and calendars:
// the same text means the same, in every process. A field that is not set does not
// count, so that a newer version of the program finds the same hash.
func (p *Policy) Hash() string { return p.hashAs(p.Name) }

// WasHash is the hash that the policy had under its former name, if nothing else
// has changed.
func (p *Policy) WasHash() string { return p.hashAs(p.Was) }

func (p *Policy) hashAs(name string) string {
	var b strings.Builder
	put := func(key string, value any) {
		if v := fmt.Sprint(value); v != "" && v != "0" && v != "0s" && v != "false" && v != "[]" {
			fmt.Fprintf(&b, "|%s=%d:%s", key, len(v), v)
		}
	}
	put("name", name)
	put("select", p.Select)
	put("priority", p.Priority)
	put("mode", p.Mode)
	switch {
	case p.Schedule != nil:
		put("schedule", p.Schedule)
	case p.FromTag != nil:
		put("from_tag", p.FromTag.Tag+" "+p.FromTag.Grammar+" "+p.FromTag.Form)
	case p.Cron != nil:
		put("cron", p.Cron)
	case p.Signal != nil:
		c := p.Signal
		put("alert", c.Alert)
		put("load", c.Load)
		put("signal", c.Name)
		for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
			put("label "+k, c.Labels[k])
		}
		for _, m := range c.Matchers {
			put("matcher", m)
		}
		put("for", c.For)
		put("above", c.Above)
		put("clear_below", c.ClearBelow)
		put("at_most", p.AtMost.Instances)
		put("at_most within", p.AtMost.Within)
		if p.Pick != nil {
			put("pick", fmt.Sprint(p.Pick.Count, " ", p.Pick.AtMost))
		}
	}
	for _, step := range p.Do {
		put("do", step)
		put("after", step.After)
		put("if", step.IfFiring)
	}
	put("lasts", p.Lasts)
	put("spread", p.Spread)
	put("give_up_after", p.GiveUpAfter)
	put("cooldown", p.Cooldown)
	put("enforce", p.Enforce)
	put("stop_again_after", p.StopAgainAfter)
	put("respect_stop", p.RespectStop)
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
		return t.At, wantWord(t.To), ok
	case p.Cron != nil:
		at, ok = p.Cron.Next(after)
		if end, alive := p.endAfter(after); alive && (!ok || end.Before(at)) {
			return end, "end of " + p.Name, true
		}
		return at, stepNames(p.Do), ok
	}
	return time.Time{}, "", false
}

func wantWord(s schedule.State) string {
	if s == schedule.Any {
		return "no want"
	}
	return string(s)
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
	case Notify:
		return "notify " + strings.Join(s.To, ", ")
	}
	return string(s.Verb)
}

// GiveUp is how long an edge is good: for a span of machine time after it was
// due, or, when until is not zero, until that instant of plan time. A start by
// schedule is good until its window ends, a stop by schedule for an hour,
// all else for a quarter of an hour. Where each instance has hours of its own the
// longest that any may have is meant.
func (p *Policy) GiveUp(e Edge) (after time.Duration, until time.Time) {
	if p.FromTag != nil && p.GiveUpAfter == 0 {
		return 24 * time.Hour, time.Time{}
	}
	return p.giveUp(e.Planned, p.Schedule)
}

// giveUp is the same for an instance that follows a timetable; nil: none.
func (p *Policy) giveUp(planned time.Time, table schedule.Timetable) (after time.Duration, until time.Time) {
	switch {
	case p.GiveUpAfter > 0:
		return p.GiveUpAfter, time.Time{}
	case table == nil:
		return DefaultGiveUp, time.Time{}
	case table.At(planned) == schedule.Running:
		if end, ok := table.Next(planned); ok {
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
	case Notify:
		return KindNotify
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
