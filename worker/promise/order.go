package promise

import (
	"fmt"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// first are the begins of the actions of a run, each with its first call, in order.
func (s *story) first() map[*events.Run][]events.Record {
	seen := make(map[string]bool)
	first := make(map[*events.Run][]events.Record)
	for _, rec := range s.started {
		if p, ok := s.item[rec.ActionID]; ok && !seen[rec.ActionID] {
			seen[rec.ActionID] = true
			first[p.run] = append(first[p.run], rec)
		}
	}
	return first
}

// endedBefore is how an action had ended when an event was stored.
func (s *story) endedBefore(action string, rec events.Record) (events.Record, bool) {
	end, ok := s.outcome(action)
	return end, ok && end.Seq < rec.Seq
}

// stagesInTurn goes by the stages as they are stored, after it has seen that they
// are those of the policy file.
func stagesInTurn(s *story) {
	for run, begins := range s.first() {
		s.stagesAsWritten(run)
		for n, rec := range begins {
			p := s.item[rec.ActionID]
			if p.Stage == nil {
				continue
			}
			for _, other := range run.Items {
				if other.Stage == nil || other.Skip != "" || other.Observe || !isBefore(other.Stage, p.Stage) {
					continue
				}
				s.saw()
				if _, ended := s.endedBefore(other.ID, rec); ended {
					continue
				}
				newest := run.StoredAt
				for _, b := range begins[:n] {
					if st := s.item[b.ActionID].Stage; st != nil && *st == *other.Stage {
						newest = b.StoredAt
					}
				}
				if rec.StoredAt.Add(s.Apart).Before(newest.Add(other.Stage.Deadline)) {
					s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s, turn %d of order %s, began while %s of %s, turn %d, had neither ended nor had its %s", rec.Action, host(rec), p.Stage.Turn, p.Stage.Order, other.Action, other.Hostname, other.Stage.Turn, other.Stage.Deadline),
						append(lines(s.byAction[other.ID]), line(rec))...)
					break
				}
			}
		}
	}
}

func isBefore(a, b *events.Stage) bool {
	return a.Order == b.Order && a.Group == b.Group && a.Action == b.Action && a.Turn < b.Turn
}

// stagesAsWritten sees whether what a run says of turns is what a policy file says
// that it may have been planned by.
func (s *story) stagesAsWritten(run *events.Run) {
	from := run.StoredAt.Add(-Grace)
	sets := s.sets(from, run.StoredAt)
	for _, it := range run.Items {
		if it.Stage == nil || len(sets) == 0 {
			continue
		}
		looks, isWritten := s.looks(it.Instance, from, run.StoredAt), false
		for _, set := range sets {
			for _, inst := range looks {
				place := set.PlaceOf(inst)
				isWritten = isWritten || place.Order != nil && place.Order.Name == it.Stage.Order && place.Group == it.Stage.Group && place.Turn(policies.Verb(it.Action)) == it.Stage.Turn
			}
		}
		if !isWritten && len(looks) > 0 {
			s.broken(it.Instance, it.ID, fmt.Sprintf("%s of %s was planned for turn %d of order %s, and no policy file says so", it.Action, it.Hostname, it.Stage.Turn, it.Stage.Order), runLine(run))
		}
	}
}

// isPaced reports whether a pace is for an action.
func isPaced(it events.Item) bool {
	switch policies.Kind(it.Kind) {
	case policies.KindPower, policies.KindReboot, policies.KindSize:
		return it.Skip == "" && !it.Observe
	}
	return false
}

// inPace lets a begin be late by what it takes to store it: who comes next is not
// told to wait for that.
func inPace(s *story) {
	for run, begins := range s.first() {
		var paced []events.Record
		for _, rec := range begins {
			if isPaced(s.item[rec.ActionID].Item) {
				paced = append(paced, rec)
			}
		}
		for n, rec := range paced {
			if n == 0 {
				continue
			}
			pace, ok := s.pace(run, rec)
			if !ok {
				continue
			}
			s.saw()
			if apart := rec.StoredAt.Sub(paced[n-1].StoredAt); apart < pace.Apart-storeLasts {
				s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%s of %s began %s after the one before it in its run, pace.apart is %s", rec.Action, host(rec), apart.Round(time.Millisecond), pace.Apart), line(paced[n-1]), line(rec))
			}
			underWay := 1
			for _, other := range paced[:n] {
				if _, ended := s.endedBefore(other.ActionID, rec); !ended {
					underWay++
				}
			}
			if pace.AtOnce > 0 && underWay > pace.AtOnce {
				s.broken(rec.Instance, rec.ActionID, fmt.Sprintf("%d actions of a run were under way, pace.at_once is %d", underWay, pace.AtOnce), lines(paced[:n+1])...)
			}
		}
	}
}

// pace is the easiest that a run may have gone by; ok is false when a file had none.
func (s *story) pace(run *events.Run, rec events.Record) (pace policies.Pace, ok bool) {
	for n, set := range s.sets(run.StoredAt.Add(-Grace), rec.StoredAt) {
		if set.Pace.IsZero() {
			return pace, false
		}
		if n == 0 {
			pace = set.Pace
			continue
		}
		pace.Apart = min(pace.Apart, set.Pace.Apart)
		if pace.AtOnce > 0 && (set.Pace.AtOnce == 0 || set.Pace.AtOnce > pace.AtOnce) {
			pace.AtOnce = set.Pace.AtOnce
		}
	}
	return pace, !pace.IsZero()
}
