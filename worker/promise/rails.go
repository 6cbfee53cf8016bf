package promise

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

func notBeforeDue(s *story) {
	for _, rec := range s.started {
		p, ok := s.item[rec.ActionID]
		if !ok || !p.NotBefore.After(p.run.StoredAt) {
			continue
		}
		s.saw()
		if rec.StoredAt.Add(s.Apart).Before(p.NotBefore) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began at %s and is due at %s", rec.Action, host(rec), stamp(rec.StoredAt), stamp(p.NotBefore)), line(rec))
		}
	}
}

func notAfterGiveUp(s *story) {
	for _, rec := range s.started {
		s.saw()
		p, ok := s.item[rec.ActionID]
		if ok && !p.NotAfter.IsZero() && rec.StoredAt.After(p.NotAfter.Add(max(s.Imposed, s.inLine(p.run, rec.StoredAt))+s.imposedOn(rec)+s.Apart+storeLasts)) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began at %s, its give-up time was %s", rec.Action, host(rec), stamp(rec.StoredAt), stamp(p.NotAfter)), lines(s.byAction[rec.ActionID])...)
		}
	}
}

// inLine is how long an action of a run with more actions than places among the
// calls under way may have stood in line until an instant: all the time since the
// run was stored, but for what is longer than restarts that follow each other and
// was nobody's.
func (s *story) inLine(run *events.Run, until time.Time) time.Duration {
	if s.Places == 0 || len(run.Items) <= s.Places || len(s.Up) == 0 {
		return 0
	}
	stood, at := until.Sub(run.StoredAt), run.StoredAt // of which somebody was there until at
	for _, u := range slices.SortedFunc(slices.Values(s.Up), func(a, b Span) int { return a.From.Compare(b.From) }) {
		if u.From.After(until) {
			break
		}
		if down := u.From.Sub(at); down > restartsWithin {
			stood -= down
		}
		if u.Until.IsZero() {
			break
		}
		if u.Until.After(at) {
			at = u.Until
		}
	}
	return stood
}

// restartsWithin is how soon a daemon that ended runs again, where it is only
// restarted.
const restartsWithin = time.Minute

// ours begin the details of notes about waits that we impose, and that do not count
// against a give-up time.
var ours = []string{"waits for its turn", "waits by pace", "limits.per_hour", "floors:"}

// imposedOn is how long an action had been kept waiting by order, pace, canary or a
// limit when a call began: from each note that says so to the next event.
func (s *story) imposedOn(started events.Record) (sum time.Duration) {
	var since time.Time
	for _, rec := range s.byAction[started.ActionID] {
		if !since.IsZero() {
			sum += rec.StoredAt.Sub(since)
			since = time.Time{}
		}
		if rec.Seq >= started.Seq {
			break
		}
		isOurs := strings.HasSuffix(rec.Detail, ", which goes first") || strings.Contains(rec.Detail, " failed of late") ||
			slices.ContainsFunc(ours, func(o string) bool { return strings.HasPrefix(rec.Detail, o) })
		if rec.Outcome == events.Waiting && isOurs {
			since = rec.StoredAt
		}
	}
	return sum
}

func notWatched(s *story) {
	for _, p := range s.item {
		if p.Observe || p.Skip != "" {
			s.saw()
		}
	}
	for _, rec := range s.started {
		p, ok := s.item[rec.ActionID]
		if s.forEachMoment(rec, func(set *policies.Set, _ policies.Instance) bool {
			return set.ModeOf(rec.Policy) == policies.ModeObserve
		}) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s by %s began, and the policy file says observe", rec.Action, host(rec), source(rec.Policy)), line(rec))
		}
		switch {
		case !ok:
		case p.Observe:
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began, and was planned to be watched only", rec.Action, host(rec)), line(rec), runLine(p.run))
		case p.Skip != "" && p.Skip != string(policies.ReasonAlready): // what looked already so may be otherwise when its turn comes
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began, and was planned to be skipped: %s", rec.Action, host(rec), p.Skip), line(rec), runLine(p.run))
		}
	}
}

func notHeld(s *story) {
	for i := range s.Runs {
		if s.Runs[i].Held != "" {
			s.saw()
		}
	}
	for _, rec := range s.started {
		p, ok := s.item[rec.ActionID]
		if !ok || p.run.Held == "" {
			continue
		}
		at, approved := s.Approved[p.run.Region+"."+p.run.Trigger]
		if !approved || rec.StoredAt.Add(s.Apart).Before(at) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began without approval; it was held: %s", rec.Action, host(rec), p.run.Held), line(rec), runLine(p.run))
		}
	}
}

// forEachMoment reports whether f holds for every policy file and every look of
// the instance that the call may have gone by.
func (s *story) forEachMoment(rec events.Record, f func(set *policies.Set, inst policies.Instance) bool) bool {
	from := rec.StoredAt.Add(-Grace)
	sets, looks := s.sets(from, rec.StoredAt), s.looks(rec.Instance, from, rec.StoredAt)
	for _, set := range sets {
		for _, inst := range looks {
			if !f(set, inst) {
				return false
			}
		}
	}
	return len(sets) > 0 && len(looks) > 0
}

func notProtected(s *story) {
	s.sawKept(policies.ReasonProtected)
	for _, rec := range s.started {
		why := ""
		if s.forEachMoment(rec, func(set *policies.Set, inst policies.Instance) bool {
			reason, detail := set.Untouchable(inst)
			why = detail
			return reason != ""
		}) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began, which is never to be touched: %s", rec.Action, host(rec), why), line(rec))
		}
	}
}

func notExcepted(s *story) {
	s.sawKept(policies.ReasonPaused, policies.ReasonKept)
	for _, rec := range s.started {
		facts := s.exceptions(rec.Instance, rec.StoredAt.Add(-Grace), rec.StoredAt.Add(s.Apart))
		why := ""
		if s.forEachMoment(rec, func(set *policies.Set, inst policies.Instance) bool {
			reason, detail := set.Overrules(inst, facts, policies.Verb(rec.Action), rec.Policy, s.planAt(rec.StoredAt))
			early, _ := set.Overrules(inst, facts, policies.Verb(rec.Action), rec.Policy, s.planAt(rec.StoredAt.Add(-Grace)))
			why = detail
			return reason != "" && early != ""
		}) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s by %s began against an exception: %s", rec.Action, host(rec), source(rec.Policy), why), line(rec))
		}
	}
}

func onlyAllowed(s *story) {
	s.sawKept(policies.ReasonNotAllowed)
	for _, rec := range s.started {
		if s.forEachMoment(rec, func(set *policies.Set, _ policies.Instance) bool {
			return !slices.Contains(set.Allow, policies.Verb(rec.Action))
		}) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began, which allow does not list", rec.Action, host(rec)), line(rec))
		}
	}
}

// stillSelected lets a policy that was renamed act for what its former name planned.
func stillSelected(s *story) {
	s.sawKept(policies.ReasonPolicyChanged, policies.ReasonChanged)
	for _, rec := range s.started {
		if rec.Policy == "" || isPseudo(rec.Policy) {
			continue
		}
		why := ""
		if s.forEachMoment(rec, func(set *policies.Set, inst policies.Instance) bool {
			n := slices.IndexFunc(set.Policies, func(p policies.Policy) bool { return s.named(p.Name) == s.named(rec.Policy) })
			if n < 0 {
				why = "is gone from the policy file"
				return true
			}
			why = "does not select it"
			return !set.Policies[n].Select.Matches(inst)
		}) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began by policy %s, which %s", rec.Action, host(rec), rec.Policy, why), line(rec))
		}
	}
}

// bySignal reports whether a signal's policy touches what runs.
func (s *story) bySignal(rec events.Record) bool {
	p, ok := s.item[rec.ActionID]
	return ok && p.run.Kind == "signal" && rec.Policy != "" && rec.Action != string(policies.Start)
}

func offOnPurpose(s *story) {
	s.sawKept(policies.ReasonOffOnPurpose)
	for _, rec := range s.started {
		if !s.bySignal(rec) || rec.Action != string(policies.Reboot) && rec.Action != string(policies.Resize) && rec.Action != string(policies.Stop) {
			continue
		}
		who := ""
		if s.forEachMoment(rec, func(set *policies.Set, inst policies.Instance) bool {
			for _, at := range []time.Time{rec.StoredAt.Add(-Grace), rec.StoredAt} {
				facts := s.exceptions(rec.Instance, at, at)
				facts.Impulses = s.impulses(rec.Instance, at, rec.ActionID)
				win, ok := set.Winner(inst, facts, s.planAt(at))
				if !ok || win.State != schedule.Stopped {
					return false
				}
				who = win.Source
			}
			return true
		}) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("policy %s began a %s of %s, which is off on purpose (%s)", rec.Policy, rec.Action, host(rec), who), line(rec))
		}
	}
}

// impulses are the power wants of cron, triggers and commands that an instance had
// had at an instant, but for those that came to nothing, and that of one action.
func (s *story) impulses(id string, at time.Time, but string) policies.Impulses {
	impulses := make(policies.Impulses)
	for i := range s.Runs {
		run := &s.Runs[i]
		if run.StoredAt.After(at) {
			continue
		}
		if run.Held != "" {
			if approved, ok := s.Approved[run.Region+"."+run.Trigger]; !ok || approved.After(at) {
				continue
			}
		}
		for _, it := range run.Items {
			if it.Instance != id || it.ID == but || it.Kind != string(policies.KindPower) || it.Skip != "" && it.Skip != string(policies.ReasonAlready) {
				continue
			}
			if end, ok := s.outcome(it.ID); ok && !end.StoredAt.After(at) && isUndone(end) {
				continue
			}
			mode := policies.ModeAct
			if it.Observe {
				mode = policies.ModeObserve
			}
			due := it.Planned
			if !it.NotBefore.IsZero() && s.planAt(it.NotBefore).After(due) {
				due = s.planAt(it.NotBefore)
			}
			impulses.Learn(policies.Action{
				Kind: policies.KindPower, Verb: policies.Verb(it.Action), Instance: id, Policy: it.Policy, Level: it.Level, Planned: it.Planned, Due: due,
				HoldsUntil: it.HoldsUntil, Mode: mode,
			}, it.Skip == "")
		}
	}
	return impulses
}

// isUndone reports whether an action ended without having made what it wanted.
func isUndone(end events.Record) bool {
	switch end.Outcome {
	case events.Done, events.Superseded, events.Unknown:
		return false
	case events.Skipped:
		return end.Reason != string(policies.ReasonAlready)
	}
	return true
}

// cooledDown asks of calls that reached the cloud: one that was announced, and cut
// short before it was sent, begins no cool-down that anybody could miss.
func cooledDown(s *story) {
	s.sawKept(policies.ReasonCooldown)
	last := make(map[string]events.Record)
	for _, rec := range s.started {
		if !s.bySignal(rec) {
			continue
		}
		key := policies.CooldownKey(s.named(rec.Policy), rec.Instance)
		if before, ok := last[key]; ok && before.Trigger != rec.Trigger && s.forEachMoment(rec, func(set *policies.Set, _ policies.Instance) bool {
			p, known := set.Policy(rec.Policy)
			return known && s.planAt(rec.StoredAt.Add(Grace)).Before(s.planAt(before.StoredAt).Add(p.Cooldown))
		}) {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("policy %s acted on %s again within its cool-down", rec.Policy, host(rec)), line(before), line(rec))
		}
		if s.reached(rec) {
			last[key] = rec
		}
	}
}

// reached reports whether the cloud was asked during a call.
func (s *story) reached(started events.Record) bool {
	end := s.endOf(started)
	for _, r := range s.requests[started.Instance] {
		if verbOf(r.Op) == policies.Verb(started.Action) && !r.Time.Before(started.StoredAt) && !r.Time.After(end) && r.Effect {
			return true
		}
	}
	return false
}

func withinLimits(s *story) {
	s.sawKept(policies.ReasonOverLimit)
	s.perRun()
	s.perHour()
	s.atMost()
}

// most is the greatest of a limit over the files that may have been gone by.
func (s *story) most(at time.Time, limit func(*policies.Set) int) int {
	n := 0
	for _, set := range s.sets(at.Add(-Grace), at) {
		n = max(n, limit(set))
	}
	return n
}

func (s *story) perRun() {
	for i := range s.Runs {
		run := &s.Runs[i]
		if run.Held != "" {
			continue
		}
		n := 0
		for _, it := range run.Items {
			if counts(it) {
				n++
			}
		}
		most := s.most(run.StoredAt, func(set *policies.Set) int { return cmp.Or(set.Limits.PerRun, policies.DefaultPerRun) })
		if most > 0 && n > most {
			s.broken("", "", fmt.Sprintf("the plan of %s has %d actions, limits.per_run allows %d, and it is not held", run.Trigger, n, most), runLine(run))
		}
	}
}

func isLevelStart(it events.Item) bool { return it.Level && it.Action == string(policies.Start) }

func (s *story) perHour() {
	first := 0
	for n, rec := range s.started {
		for !s.started[first].StoredAt.After(rec.StoredAt.Add(-time.Hour + s.Apart)) {
			first++
		}
		if p, ok := s.item[rec.ActionID]; !ok || isLevelStart(p.Item) {
			continue
		}
		most := s.most(rec.StoredAt, func(set *policies.Set) int { return cmp.Or(set.Limits.PerHour, policies.DefaultPerHour) })
		if most > 0 && n-first+1 > most {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%d actions began within an hour, limits.per_hour allows %d", n-first+1, most), lines(s.started[first:n+1])...)
		}
	}
}

func (s *story) atMost() {
	for n, rec := range s.started {
		if !s.bySignal(rec) {
			continue
		}
		shown := []string{line(rec)}
		touched := map[string]bool{rec.Instance: true}
		over := s.forEachMoment(rec, func(set *policies.Set, _ policies.Instance) bool {
			p, known := set.Policy(rec.Policy)
			if !known || p.AtMost.Instances <= 0 {
				return false
			}
			for _, other := range s.started[:n] {
				if s.bySignal(other) && s.named(other.Policy) == s.named(rec.Policy) && !touched[other.Instance] && s.reached(other) &&
					s.planAt(rec.StoredAt.Add(Grace)).Before(s.planAt(other.StoredAt).Add(p.AtMost.Within)) {
					touched[other.Instance] = true
					shown = append(shown, line(other))
				}
			}
			return len(touched) > p.AtMost.Instances
		})
		if over {
			s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("policy %s acted on %d instances, more than its at_most allows", rec.Policy, len(touched)), shown...)
		}
	}
}

// withinRate fills a bucket as the account's may be, and once more for each daemon
// that begins, or finds its bus again.
func withinRate(s *story) {
	if s.Rate <= 0 {
		return
	}
	burst := max(s.Burst, 1)
	tokens, begun := burst, 0
	var at time.Time
	for _, r := range s.Requests {
		if !at.IsZero() {
			tokens = max(tokens, min(burst, tokens+s.Rate*r.Time.Sub(at).Seconds()))
		}
		for ; begun < len(s.Up) && !s.Up[begun].From.After(r.Time); begun++ {
			tokens += burst // a process that begins knows nothing of what those before it asked
		}
		at = r.Time
		tokens--
		if tokens < burst/2 {
			s.saw()
		}
		if tokens < -0.01 { // what is lost in sums of fractions
			s.broken("", "", fmt.Sprintf("the API was asked faster than %g times a second", s.Rate), requestLine(r))
			tokens = 0
		}
	}
}

func noBlankFirewall(s *story) {
	for id, requests := range s.requests {
		for _, r := range requests {
			if r.Op != "firewall" {
				continue
			}
			s.saw()
			if !hasFirewall(r.Body) {
				s.broken(id, "", "a firewall was asked for without a name, which opens the default one", requestLine(r))
			}
		}
	}
}
