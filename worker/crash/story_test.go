package crash

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker/promise"
)

// story is all that is stored, as a program of somebody else reads it.
type story struct {
	runs    []events.Run
	ticks   []events.Tick
	records []events.Record
}

func (s *site) read(bus *events.Bus) (st story, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	for run, err := range bus.Runs(ctx, time.Time{}) {
		if err != nil {
			return st, err
		}
		st.runs = append(st.runs, run)
	}
	for tick, err := range bus.Ticks(ctx, time.Time{}) {
		if err != nil {
			return st, err
		}
		st.ticks = append(st.ticks, tick)
	}
	for rec, err := range bus.Records(ctx, "", time.Time{}) {
		if err != nil {
			return st, err
		}
		st.records = append(st.records, rec)
	}
	return st, nil
}

// outcomes are those of each action, as "verb host outcome reason".
func (st *story) outcomes() map[string][]string {
	all := make(map[string][]string)
	for _, rec := range st.records {
		if rec.Outcome.Ends() {
			all[rec.ActionID] = append(all[rec.ActionID], strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", rec.Action, rec.Hostname, rec.Outcome, rec.Reason)), " "))
		}
	}
	return all
}

// counts are the outcomes, summed up.
func (st *story) counts() string {
	by := make(map[events.Outcome]int)
	for _, rec := range st.records {
		by[rec.Outcome]++
	}
	var words []string
	for _, o := range events.Outcomes() {
		if by[o] > 0 {
			words = append(words, fmt.Sprintf("%d %s", by[o], o))
		}
	}
	return strings.Join(words, ", ")
}

// isVoided reports whether an edge is in a range that was reported as missed.
func (st *story) isVoided(e policies.Edge) bool {
	return slices.ContainsFunc(st.ticks, func(t events.Tick) bool {
		return t.Policy == e.Policy && t.Missed > 0 && !e.Planned.Before(t.Since) && !e.Planned.After(t.Planned) &&
			slices.ContainsFunc(st.records, func(rec events.Record) bool {
				return rec.Action == "tick" && rec.Outcome == events.Expired && rec.Policy == t.Policy && rec.Planned.Equal(t.Planned)
			})
	})
}

// newest is what is stored of the newest actions of an instance.
func (st *story) newest(instance string) string {
	var ids []string
	for _, rec := range st.records {
		if rec.Instance == instance && !slices.Contains(ids, rec.ActionID) {
			ids = append(ids, rec.ActionID)
		}
	}
	var b strings.Builder
	for _, id := range ids[max(0, len(ids)-4):] {
		b.WriteString(st.trail(id))
	}
	return b.String()
}

// trail is all that is stored of an action.
func (st *story) trail(id string) string {
	var b strings.Builder
	for _, run := range st.runs {
		for _, it := range run.Items {
			if it.ID == id {
				fmt.Fprintf(&b, "\n  run %d %s of %s: %s %s, skip %q, not after %s", run.Seq, run.Trigger, run.StoredAt, it.Action, it.Hostname, it.Skip, it.NotAfter)
			}
		}
	}
	for _, rec := range st.records {
		if rec.ActionID == id {
			fmt.Fprintf(&b, "\n  %d %s %s %s; %s; %s", rec.Seq, rec.StoredAt.UTC().Format("15:04:05.000"), rec.Outcome, rec.Reason, rec.Detail, rec.Error)
		}
	}
	return b.String()
}

// isGivenUp reports whether the newest that was to be done with an instance's power has
// an outcome that says that it was not done: the give-up time of what is called when
// the daemon is killed may be over when the next one looks.
func (st *story) isGivenUp(instance string) bool {
	for _, rec := range slices.Backward(st.records) {
		if rec.Instance == instance && rec.Outcome.Ends() && (rec.Action == string(policies.Start) || rec.Action == string(policies.Stop)) {
			return rec.Outcome == events.Failed || rec.Outcome == events.Expired
		}
	}
	return false
}

// history is what happened, for the rules of package promise.
func (s *site) history(st *story, known time.Time, before promise.Fleet, plan func(time.Time) time.Time) *promise.History {
	h := &promise.History{
		Now: time.Now(), Settled: true, Started: s.lives[0].from, Events: st.records, Runs: st.runs, Ticks: st.ticks, Requests: s.sim.Requests(), Plan: plan,
		Files:  []promise.File{{Daemon: "it", From: known, Set: &s.cfg.Policies}},
		Fleets: []promise.Fleet{before, promise.FleetOf(s.sim, time.Now())},
		Apart:  20 * time.Millisecond,
	}
	for _, l := range s.lives {
		h.Up = append(h.Up, promise.Span{Daemon: "it", From: l.from, Until: cmp.Or(l.until, h.Now)})
	}
	return h
}
