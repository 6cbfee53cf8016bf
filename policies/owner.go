package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// Keys of owners' tags.
const (
	OwnKeep     = "keep"
	OwnHours    = "hours"
	OwnSchedule = "schedule"
	OwnMark     = "mark"
	// OwnHibernate is the owner's consent to hibernation, which this version does not do.
	OwnHibernate = "hibernate"
)

// OwnerKeys are those that owners.keys may list.
var OwnerKeys = []string{OwnKeep, OwnHours, OwnSchedule, OwnMark}

// OwnerPrefix is what owners' tags begin with.
func (s *Set) OwnerPrefix() string { return s.Owners.prefix() }

func (o Owners) prefix() string { return cmp.Or(o.Prefix, DefaultPrefix) }

// MaxKeep is how far ahead a keep reaches that names no end.
func (o Owners) MaxKeep() time.Duration { return cmp.Or(o.Max, DefaultKeep) }

// Counts reports whether owners' tags of a key count.
func (o Owners) Counts(key string) bool { return slices.Contains(o.Keys, key) }

// tag is what a tag says under a key that counts.
func (o Owners) value(tag, key string) (string, bool) {
	rest, ok := strings.CutPrefix(tag, o.prefix())
	if !ok || !strings.HasPrefix(rest, key) {
		return "", false
	}
	return strings.CutPrefix(rest[len(key):], "=")
}

// ParseKeep reads the value of a keep tag: running@2026-11-27T22:00, stopped@…,
// asis, asis@…; an instant without a zone is in the one given. Until is zero when
// none is named. An error is a [*schedule.Error].
func ParseKeep(value string, zone *time.Location) (Keep, error) {
	word, until, timed := strings.Cut(value, "@")
	var k Keep
	switch word {
	case "running":
		k.State = schedule.Running
	case "stopped":
		k.State = schedule.Stopped
	case "asis":
		k.State = schedule.Any
	default:
		return k, &schedule.Error{Text: value, Msg: fmt.Sprintf("%q is none of running, stopped and asis", word), Hint: "write it as running@2026-11-27T22:00"}
	}
	if !timed {
		return k, nil
	}
	t, err := schedule.ParseInstant(until, zone)
	k.Until = t
	return k, err
}

// mark is one start or stop at a time.
type mark struct {
	verb Verb
	at   time.Time
	tag  string
}

// ParseMark reads the value of a mark tag: stop@2026-12-01, start@2026-12-01T08:00.
// A date alone is its midnight. An error is a [*schedule.Error].
func ParseMark(value string, zone *time.Location) (Verb, time.Time, error) {
	word, when, _ := strings.Cut(value, "@")
	if word != string(Stop) && word != string(Start) {
		return "", time.Time{}, &schedule.Error{Text: value, Msg: fmt.Sprintf("%q is neither start nor stop", word), Hint: "write it as stop@2026-12-01T18:00"}
	}
	t, err := schedule.ParseInstant(when, zone)
	return Verb(word), t, err
}

// keep is what an instance is kept in at an instant: by command, else by its
// owner's tag.
func (s *Set) keep(inst *Instance, facts *Facts, t time.Time) (best Keep, ok bool) {
	for _, k := range s.keeps(inst, facts, t) {
		if !t.Before(k.Since) && t.Before(k.Until) && (!ok || k.beats(&best)) {
			best, ok = k, true
		}
	}
	return best, ok
}

// beats reports whether a keep goes before another of the same instance, in
// whatever order its tags are: that of the command, then running, then as it is.
func (k *Keep) beats(o *Keep) bool {
	rank := func(k *Keep) int {
		return slices.Index([]schedule.State{schedule.Running, schedule.Any, schedule.Stopped}, k.State)
	}
	switch {
	case (k.tag == "") != (o.tag == ""):
		return k.tag == ""
	case k.State != o.State:
		return rank(k) < rank(o)
	}
	return k.Until.After(o.Until)
}

// keeps are all that an instance has, those that have ended too. A keep by tag
// begins when the tag was first seen and reaches no further than owners.max.
func (s *Set) keeps(inst *Instance, facts *Facts, now time.Time) (keeps []Keep) {
	if len(facts.Keeps) > 0 {
		if k, ok := facts.Keeps[inst.ID]; ok {
			keeps = append(keeps, k)
		}
	}
	if !s.Owners.Counts(OwnKeep) {
		return keeps
	}
	for _, tag := range inst.Tags {
		value, ok := s.Owners.value(tag, OwnKeep)
		if !ok {
			continue
		}
		k, err := ParseKeep(value, s.zone())
		if err != nil {
			continue // see TagFaults
		}
		k.tag = tag
		seen, known := facts.tagSeen(inst.ID, tag)
		switch {
		case known:
			k.Since = seen
		case !k.Until.IsZero(): // nobody watched: it may have been there for as long as owners go
			seen = k.Until.Add(-s.Owners.MaxKeep())
		default:
			seen = now
		}
		if most := seen.Add(s.Owners.MaxKeep()); k.Until.IsZero() || k.Until.After(most) {
			k.Until = most
		}
		keeps = append(keeps, k)
	}
	return keeps
}

// tagSeen is when an owner's tag was first seen; known is false when nobody
// has watched yet.
func (f *Facts) tagSeen(instance, tag string) (at time.Time, known bool) {
	if t, ok := f.TagsSeen[TagKey(instance, tag)]; ok {
		return t, true
	}
	return f.WatchedSince, !f.WatchedSince.IsZero()
}

// marks are the starts and stops that an instance's owner has set.
func (s *Set) marks(inst *Instance) (marks []mark) {
	if !s.Owners.Counts(OwnMark) {
		return nil
	}
	for _, tag := range inst.Tags {
		if value, ok := s.Owners.value(tag, OwnMark); ok {
			if verb, at, err := ParseMark(value, s.zone()); err == nil {
				marks = append(marks, mark{verb, at, tag})
			}
		}
	}
	return marks
}

func (s *Set) zone() *time.Location {
	if s.Zone == nil {
		return time.UTC
	}
	return s.Zone
}

// TagFault is an owner's tag that does nothing, with the reason.
type TagFault struct {
	Tag string `json:"tag"`
	Msg string `json:"msg"` // what is wrong and what would be right
}

// TagFaults are the tags of an instance that were meant for us and do nothing:
// values that cannot be read, keys that are unknown or do not count.
func (s *Set) TagFaults(inst Instance) (faults []TagFault) {
	fault := func(tag, format string, args ...any) {
		faults = append(faults, TagFault{tag, fmt.Sprintf(format, args...)})
	}
	for _, tag := range inst.Tags {
		if rest, ok := strings.CutPrefix(tag, s.Owners.prefix()); ok {
			key, value, _ := strings.Cut(rest, "=")
			var err error
			switch {
			case key == OwnHibernate:
				continue
			case !slices.Contains(OwnerKeys, key):
				fault(tag, "the key %q is none of %s", key, strings.Join(OwnerKeys, ", "))
				continue
			case !s.Owners.Counts(key):
				fault(tag, "it does not count: owners.keys does not list %s", key)
				continue
			case key == OwnKeep:
				_, err = ParseKeep(value, s.zone())
			case key == OwnMark:
				_, _, err = ParseMark(value, s.zone())
			}
			if err != nil {
				fault(tag, "%v", err)
				continue
			}
		}
		for i := range s.Policies {
			f := s.Policies[i].FromTag
			if f == nil || !s.Policies[i].Select.Matches(inst) {
				continue
			}
			if value, ok := f.value(tag); ok {
				if _, err := f.Read(value); err != nil {
					fault(tag, "policy %s cannot follow it: %v", s.Policies[i].Name, err)
				}
			}
		}
	}
	return faults
}

// value is what a tag says, if it is the one that is followed.
func (f *FromTag) value(tag string) (string, bool) {
	rest, ok := strings.CutPrefix(tag, f.Tag)
	if !ok {
		return "", false
	}
	if rest == "" && f.Grammar != "" {
		return "", true // other tools have tags without a value
	}
	return strings.CutPrefix(rest, "=")
}

// of is the value that an instance carries; of several tags the first in order.
func (f *FromTag) of(inst *Instance) (value string, ok bool) {
	for _, tag := range inst.Tags {
		if v, found := f.value(tag); found && (!ok || v < value) {
			value, ok = v, true
		}
	}
	return value, ok
}
