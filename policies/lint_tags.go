package policies

import (
	"slices"
	"strings"
)

// tags finds what owners have written that does nothing, or something else.
func (l *lint) tags() {
	for n := range l.inv {
		inst := &l.inv[n]
		if !l.touch[n] {
			continue
		}
		tell := func(severity Severity, rule, policy, like, hint, format string, args ...any) {
			f := l.add(severity, rule, policy, hint, format, args...)
			f.Instance, f.like = inst.name(), like
		}
		for _, f := range l.set.TagFaults(*inst) {
			tell(SevereWarning, "tag", "", f.Tag, "", "the tag %s does nothing: %s", f.Tag, f.Msg)
		}
		for _, tag := range inst.Tags {
			if own := l.nearlyOurs(tag); own != "" {
				tell(SevereWarning, "tag", "", tag, "did you mean "+own+"?", "the tag %s does nothing", tag)
			}
			l.pastTag(tag, tell)
		}
		for i := range l.set.Policies {
			if p := &l.set.Policies[i]; p.FromTag != nil && p.Select.Matches(*inst) {
				l.followedTag(p, inst, tell)
			}
		}
	}
}

type teller func(severity Severity, rule, policy, like, hint, format string, args ...any)

// followedTag looks at the tag that a policy follows.
func (l *lint) followedTag(p *Policy, inst *Instance, tell teller) {
	var values []string
	for _, tag := range inst.Tags {
		if v, ok := p.FromTag.value(tag); ok {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	switch {
	case len(values) == 0:
		tell(SevereNote, "tag-missing", p.Name, "missing", "", "an instance that it selects has no tag %s: it wants nothing of it", p.FromTag.Tag)
		return
	case len(values) > 1:
		tell(SevereWarning, "tag", p.Name, "several", "leave one", "an instance has the tag %s more than once (%s): the first in order counts, %s", p.FromTag.Tag, strings.Join(values, ", "), values[0])
	}
	if p.FromTag.Warn == nil {
		return
	}
	for _, w := range p.FromTag.Warn(values[0]) {
		tell(SevereWarning, "tag-trap", p.Name, w.Text, w.Hint, "%s=%s: %s", p.FromTag.Tag, values[0], w.Text)
	}
}

// nearlyOurs is the owner's tag that one may have been meant to be.
func (l *lint) nearlyOurs(tag string) string {
	key, value, ok := strings.Cut(tag, "=")
	if !ok || strings.HasPrefix(tag, l.set.OwnerPrefix()) {
		return ""
	}
	for _, own := range l.set.Owners.Keys {
		if full := l.set.OwnerPrefix() + own; len(full) > 6 && letters(key, full) <= 2 {
			return full + "=" + value
		}
	}
	return ""
}

// pastTag finds keeps and marks whose time is over.
func (l *lint) pastTag(tag string, tell teller) {
	if value, ok := l.set.Owners.value(tag, OwnKeep); ok && l.set.Owners.Counts(OwnKeep) {
		if k, err := ParseKeep(value, l.set.zone()); err == nil && !k.Until.IsZero() && !k.Until.After(l.from) {
			tell(SevereNote, "tag", "", "past keep", "take the tag away", "the keep %s has ended", tag)
		}
	}
	if value, ok := l.set.Owners.value(tag, OwnMark); ok && l.set.Owners.Counts(OwnMark) {
		if _, at, err := ParseMark(value, l.set.zone()); err == nil && at.Before(l.from) {
			tell(SevereNote, "tag", "", "past mark", "take the tag away", "the mark %s is over", tag)
		}
	}
}
