package promise

import (
	"fmt"
	"slices"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// canaryFirst follows the calls of each policy in each run: one instance begins,
// and no other does until that one is done and has stayed so. One that came to
// nothing without being to blame hands its part on to the next.
func canaryFirst(s *story) {
	for run, begins := range s.first() {
		first := make(map[string]events.Record) // by policy: who goes first
		proven := make(map[string]bool)
		for _, rec := range begins {
			stay, ok := s.canary(run, rec)
			if p := s.item[rec.ActionID]; !ok || !counts(p.Item) || proven[rec.Policy] {
				continue
			}
			f, known := first[rec.Policy]
			if !known {
				first[rec.Policy] = rec
				continue
			}
			if f.Instance == rec.Instance {
				continue
			}
			s.saw()
			end, ended := s.endedBefore(f.ActionID, rec)
			why := ""
			switch {
			case !ended:
				why = "is under way"
			case end.Outcome == events.Failed || end.Outcome == events.Unknown || end.Outcome == events.Expired:
				why = "ended as " + string(end.Outcome)
			case end.Outcome != events.Done:
				first[rec.Policy] = rec
				continue
			case s.planAt(rec.StoredAt).Before(s.planAt(end.StoredAt.Add(-s.Apart)).Add(stay)):
				why = fmt.Sprintf("has not been done for %s", stay)
			default:
				proven[rec.Policy] = true
				continue
			}
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s by policy %s began, and %s, which goes first, %s", rec.Action, host(rec), rec.Policy, host(f), why), append(lines(s.byAction[f.ActionID]), line(rec))...)
		}
	}
	s.sawKept(policies.ReasonCanary)
}

// canary is the shortest time for which an action's policy wanted to see the first
// stay so, while the run could be taken up; ok is false where a file had none.
func (s *story) canary(run *events.Run, rec events.Record) (stay time.Duration, ok bool) {
	for _, set := range s.sets(run.StoredAt.Add(-Grace), rec.StoredAt) {
		p, known := set.Policy(rec.Policy)
		if !known || p.Canary == 0 {
			return 0, false
		}
		if stay == 0 || p.Canary < stay {
			stay = p.Canary
		}
	}
	return stay, stay > 0
}

const (
	// breakAfter is on how many instances in a row calls fail before a policy falls
	// silent, and breakFor for how long it does, at least (docs/rails.md).
	breakAfter = 5
	breakFor   = 30 * time.Minute
	// trialLasts is how long others wait for the one that is tried.
	trialLasts = 10 * time.Minute
)

// silence is what a policy's failures have come to.
type silence struct {
	failed []events.Record // on different instances, since one was done
	well   time.Time       // when one was done last
	since  time.Time       // when it fell silent; zero: it did not
	trial  events.Record   // newest call since it might act again
}

// silentAfterFailures counts only failures that whoever saw them had the time to
// count, and that lie well apart from what was done: daemons count them one after
// another, after they are stored.
func silentAfterFailures(s *story) {
	all := make(map[string]*silence)
	for _, rec := range s.Events {
		p, ok := s.item[rec.ActionID]
		if !ok || p.Policy == "" || isPseudo(p.Policy) || p.Kind == string(policies.KindNotify) {
			continue
		}
		b := all[s.named(p.Policy)]
		if b == nil {
			b = &silence{}
			all[s.named(p.Policy)] = b
		}
		switch {
		case rec.Outcome == events.Started:
			s.whileSilent(b, p, rec)
		case rec.Outcome == events.Done && (b.since.IsZero() || s.planAt(rec.StoredAt).After(s.planAt(b.since).Add(breakFor))):
			*b = silence{well: rec.StoredAt}
		case rec.Outcome == events.Done && rec.StoredAt.Before(b.since.Add(Grace)):
			*b = silence{well: rec.StoredAt} // it may have been counted before the last failure
		case rec.Outcome == events.Failed && policies.Reason(rec.Reason) != policies.ReasonGone && b.since.IsZero():
			isKnown := slices.ContainsFunc(b.failed, func(f events.Record) bool { return f.Instance == rec.Instance })
			if isKnown || s.diedAfter(rec) || rec.StoredAt.Before(b.well.Add(Grace)) {
				continue
			}
			if b.failed = append(b.failed, rec); len(b.failed) == breakAfter {
				b.since = rec.StoredAt
				s.saw()
			}
		}
	}
}

// whileSilent judges a call of a policy that may have fallen silent.
func (s *story) whileSilent(b *silence, p planned, rec events.Record) {
	if b.since.IsZero() || !rec.StoredAt.After(b.since.Add(Grace)) || s.isResumed(p.Policy, b.since, rec.StoredAt) {
		return
	}
	if s.planAt(rec.StoredAt.Add(s.Apart)).Before(s.planAt(b.since).Add(breakFor)) {
		s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began, and policy %s has failed on %d instances in a row", rec.Action, host(rec), p.Policy, breakAfter), append(lines(b.failed), line(rec))...)
		return
	}
	if _, ended := s.endedBefore(b.trial.ActionID, rec); b.trial.ActionID != "" && b.trial.ActionID != rec.ActionID && !ended && rec.StoredAt.Before(b.trial.StoredAt.Add(trialLasts)) {
		s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began while policy %s, which had failed, tries another", rec.Action, host(rec), p.Policy), line(b.trial), line(rec))
	}
	b.trial = rec
}

// diedAfter reports whether a daemon ended, or lost its bus, so soon after an event
// that it need not have drawn the consequences.
func (s *story) diedAfter(rec events.Record) bool {
	return slices.ContainsFunc(s.Up, func(u Span) bool {
		return !u.Until.IsZero() && !u.Until.Before(rec.StoredAt.Add(-storeLasts)) && u.Until.Before(rec.StoredAt.Add(Grace))
	})
}

// isResumed reports whether somebody ended the pause of a policy early.
func (s *story) isResumed(policy string, from, to time.Time) bool {
	return slices.ContainsFunc(s.Pauses, func(p Pause) bool {
		return s.named(p.Policy) == s.named(policy) && p.Until.After(s.planAt(from)) && p.Until.Before(s.planAt(from).Add(breakFor)) && !p.Until.After(s.planAt(to))
	})
}
