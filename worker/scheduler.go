package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

const (
	// maxNap bounds the scheduler's sleep (machine time), so that a suspended
	// machine or a step of its clock is noticed.
	maxNap = 15 * time.Second
	// maxCatchUp bounds how far back missed edges are looked for (plan time): no
	// give-up time reaches further, and ticks are kept as long.
	maxCatchUp = 7 * 24 * time.Hour
	// maxAway bounds how far back edges are counted that were missed before that.
	maxAway = 366 * 24 * time.Hour
	// ticksOfTrigger bounds the edges that are decided about together: a tick names
	// all of them, and what comes in is read up to events.MaxBody. Of more than
	// edgesInEach only the last tick does.
	ticksOfTrigger = 500
	edgesInEach    = 10
	// statesAtOnce bounds the entries of the store that are written at a time: each is
	// synced by itself, and all of them must be within the patience of the first.
	statesAtOnce = 8
)

// statePolicy begins the keys of ns_state under which policyMemory is kept.
const statePolicy = "policy." // <name>

// policyMemory is what the store keeps of a policy.
type policyMemory struct {
	Hash  string    `json:"hash"`
	Since time.Time `json:"since"` // plan time at which the policy in this form was first known
	Last  time.Time `json:"last"`  // newest planned time that is stored or voided
}

// scheduler announces planned times as ticks. It has no timer per policy: it
// asks the calendar what lies between the newest edge that it knows to be
// stored and now, so that a late wake-up, a suspended machine and a restart are
// all the same case.
type scheduler struct {
	rules  *rules
	set    *policies.Set // of the rules, that memory and agenda belong to
	bus    *events.Bus
	inv    *Inventory
	recent *memory
	others *replicas
	clock  Clock
	log    *zap.Logger
	past   *events.Past
	check  *clockCheck
	memory map[string]policyMemory // by policy; nil until loaded
	late   lateEdges
	blind  blindness

	agenda  *policies.Agenda
	version int      // of recent, that the agenda was made of
	read    []string // regions whose instances are on it

	reassert bool                                 // replicas with another policy file may have written over what is remembered
	sinces   atomic.Pointer[map[string]time.Time] // by policy: Since of memory, for the planner
}

// noHash is the hash in ticks of sources that are no policies.
const noHash = "-"

// sources are those that have edges and are no policies.
var sources = []string{policies.KeepSource, policies.MarkSource, policies.PauseSource, policies.HandSource}

// run announces edges until ctx ends. What cannot be stored is tried again, by
// the rules for missed edges.
func (s *scheduler) run(ctx context.Context) error {
	wait := time.Duration(0)
	for {
		if err := s.sleep(ctx, wait); err != nil {
			return nil
		}
		if s.check.ok(ctx) != nil { // it has been said
			wait = clockPoll
			continue
		}
		now := s.clock.Now()
		err := s.fireTicks(ctx, now)
		if err == nil && s.reassert {
			err = s.rememberAll(ctx)
			s.reassert = err != nil
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			s.log.Warn("ticks not stored, will be tried again", zap.Error(err))
			wait = time.Second
			continue
		}
		wait = s.nap(now)
	}
}

// sleep waits, and no longer than until what lies ahead has changed.
func (s *scheduler) sleep(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.recent.changed:
	case <-s.others.agree:
		s.reassert = true
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// ahead is the agenda of a round: all of a round is about the same one. What became
// known in the middle of it would else be fired as due, and once more as late.
func (s *scheduler) ahead(now time.Time) *policies.Agenda {
	if s.agenda == nil {
		return s.lookAhead(now)
	}
	return s.agenda
}

// lookAhead makes the agenda as of the newest readings and of what is remembered.
func (s *scheduler) lookAhead(now time.Time) *policies.Agenda {
	s.recent.mu.Lock()
	version := s.recent.version
	s.recent.mu.Unlock()
	if s.agenda == nil || s.version != version {
		s.read = s.inv.read()
		s.agenda, s.version = s.set.Agenda(s.inv.known(), s.recent.facts(), now), version
	}
	return s.agenda
}

// nap is how long nothing can be due, in machine time.
func (s *scheduler) nap(now time.Time) time.Duration {
	next := s.lookAhead(now).NextEdges(now, 1)
	if len(next) == 0 {
		return maxNap
	}
	return max(0, min(maxNap, time.Until(s.clock.Machine(next[0].Planned))))
}

// load reads what is remembered of each policy. A policy that is new in this
// form begins now: no edge of before it was known may fire.
func (s *scheduler) load(ctx context.Context, set *policies.Set, now time.Time) error {
	s.set, s.memory, s.agenda, s.late = set, nil, nil, lateEdges{}
	memory := make(map[string]policyMemory)
	for i := range s.set.Policies {
		p := &s.set.Policies[i]
		m, err := s.known(ctx, p, now)
		if err != nil {
			return err
		}
		memory[p.Name] = s.leaveBehind(m)
	}
	for _, name := range sources {
		m, err := s.recall(ctx, name)
		if err != nil {
			return fmt.Errorf("read the memory of %s: %w", name, err)
		}
		if m.Hash == "" {
			m = policyMemory{Hash: noHash, Since: now, Last: now}
			if err := s.remember(ctx, name, m); err != nil {
				return err
			}
		}
		memory[name] = s.leaveBehind(m)
	}
	if err := s.forgetGone(ctx, memory); err != nil {
		return fmt.Errorf("forget policies that are gone: %w", err)
	}
	s.memory, s.blind = memory, newBlindness(memory)
	known := make(map[string]time.Time, len(memory))
	for name, m := range memory {
		known[name] = m.Since
	}
	s.sinces.Store(&known)
	return nil
}

// hasEdge reports whether a policy in the form of this replica has an edge, too,
// and was known before it.
func (s *scheduler) hasEdge(e policies.Edge) bool {
	known := s.sinces.Load()
	if known == nil {
		return false
	}
	since, ok := (*known)[e.Policy]
	if !ok || !e.Planned.After(since) {
		return false
	}
	own := s.rules.set().Agenda(s.inv.known(), s.recent.facts(), e.Planned).Edges(e.Planned.Add(-time.Second), e.Planned)
	return slices.ContainsFunc(own, func(o policies.Edge) bool { return o.Policy == e.Policy && o.Planned.Equal(e.Planned) })
}

// rememberAll writes what is remembered of each policy anew.
func (s *scheduler) rememberAll(ctx context.Context) error {
	for policy, m := range s.memory {
		if err := s.remember(ctx, policy, m); err != nil {
			return err
		}
	}
	return nil
}

// forgetGone forgets policies that the file no longer has: one that comes back
// begins anew, and the edges of the time between never fire.
func (s *scheduler) forgetGone(ctx context.Context, memory map[string]policyMemory) error {
	keys, err := s.bus.State().ListKeysFiltered(ctx, statePolicy+">")
	if err != nil {
		return err
	}
	defer func() { _ = keys.Stop() }()
	var gone []string
	for key := range keys.Keys() {
		if _, ok := memory[strings.TrimPrefix(key, statePolicy)]; !ok {
			gone = append(gone, key)
		}
	}
	for _, key := range gone {
		if err := s.bus.State().Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// known is what is remembered of a policy in its present form; a policy with
// another name that it was carries its history on.
func (s *scheduler) known(ctx context.Context, p *policies.Policy, now time.Time) (policyMemory, error) {
	m, err := s.recall(ctx, p.Name)
	if err != nil {
		return m, fmt.Errorf("read the memory of policy %s: %w", p.Name, err)
	}
	if m.Hash == p.Hash() {
		return m, nil
	}
	m = policyMemory{Hash: p.Hash(), Since: now, Last: now}
	if p.Was != "" {
		was, err := s.recall(ctx, p.Was)
		if err != nil {
			return m, fmt.Errorf("read the memory of policy %s: %w", p.Was, err)
		}
		if was.Hash == p.WasHash() {
			m.Since, m.Last = was.Since, was.Last
		}
	}
	return m, s.remember(ctx, p.Name, m)
}

func (s *scheduler) recall(ctx context.Context, policy string) (policyMemory, error) {
	var m policyMemory
	entry, err := s.bus.State().Get(ctx, statePolicy+policy)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(entry.Value(), &m); err != nil {
		s.log.Warn("what was remembered of a policy cannot be read: it begins anew", zap.String(keyPolicy, policy), zap.Error(err))
		return policyMemory{}, nil
	}
	return m, nil
}

func (s *scheduler) remember(ctx context.Context, policy string, m policyMemory) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := s.bus.State().Put(ctx, statePolicy+policy, body); err != nil {
		return fmt.Errorf("remember policy %s: %w", policy, err)
	}
	return nil
}

// due returns the edges that lie after what is stored and not after now, as the
// ticks of one trigger, of so many as ticksOfTrigger: the newest edge of each policy, and one tick for each
// range of older or expired ones, which will not run, however far back they lie.
func (s *scheduler) due(now time.Time) []events.Tick {
	limit := now.Add(-maxCatchUp)
	since := func(source string) time.Time { // each its own: one that has no edges must not have all others looked for again
		m, ok := s.memory[source]
		if !ok {
			return now
		}
		return maxTime(m.Last, limit)
	}
	agenda := s.ahead(now)
	byPolicy := make(map[string][]policies.Edge)
	var names []string // in order of their first edge
	for _, e := range agenda.EdgesSince(since, now) {
		if byPolicy[e.Policy] == nil {
			names = append(names, e.Policy)
		}
		byPolicy[e.Policy] = append(byPolicy[e.Policy], e)
	}

	var ticks []events.Tick
	away := make(map[string]events.Tick) // what lies before the limit
	for _, name := range slices.Sorted(maps.Keys(s.memory)) {
		if p, ok := s.set.Policy(name); ok && p.FromTag != nil {
			continue // the tags of then are not known: one that is new would have a past
		}
		if from := s.memory[name].Last; !from.IsZero() && from.Before(limit) {
			if n, first, last := agenda.CountEdges(name, maxTime(from, now.Add(-maxAway)), limit); n > 0 {
				t := tickOf(last)
				t.Missed, t.Since = n, first.Planned
				if away[name] = t; byPolicy[name] == nil {
					ticks = append(ticks, t)
				}
			}
		}
	}
	for _, name := range names {
		edges := byPolicy[name]
		missed, newest := edges[:len(edges)-1], edges[len(edges)-1]
		if s.isPerInstance(name) && !s.givenUp(newest, now) {
			newest.From = edges[0].Planned // each instance has edges of its own in it
			if older, ok := away[name]; ok {
				ticks = append(ticks, older)
			}
			ticks = append(ticks, tickOf(newest))
			continue
		}
		if s.givenUp(newest, now) {
			missed, newest = edges, policies.Edge{}
		}
		older, wasAway := away[name]
		switch {
		case len(missed) > 0:
			t := tickOf(missed[len(missed)-1])
			t.Missed, t.Since = len(missed), missed[0].Planned
			if wasAway {
				t.Missed, t.Since = t.Missed+older.Missed, older.Since
			}
			ticks = append(ticks, t)
		case wasAway:
			ticks = append(ticks, older)
		}
		if newest.Policy != "" {
			ticks = append(ticks, tickOf(newest))
		}
	}
	var newest time.Time
	for _, t := range ticks {
		newest = maxTime(newest, t.Planned)
	}
	for n := 0; n*ticksOfTrigger < len(ticks); n++ {
		together := ticks[n*ticksOfTrigger : min((n+1)*ticksOfTrigger, len(ticks))]
		ids := make([]string, len(together))
		lead := 0 // the newest: an older one may have been stored already, by a process that was killed then
		for i, t := range together {
			ids[i] = policies.Edge{Policy: t.Policy, Planned: t.Planned}.ID()
			if t.Planned.After(together[lead].Planned) {
				lead = i
			}
		}
		for i := range together {
			if together[i].Trigger = triggerOf(newest, ids); i == lead || len(ids) <= edgesInEach {
				together[i].Edges = ids
			} else {
				together[i].Lead = ids[lead]
			}
		}
	}
	return ticks
}

// triggerOf is the id of the trigger of edges that are announced together, the
// newest of which is planned for an instant. Other edges of that instant may be
// announced apart, by another replica or when they become known: as another trigger,
// or the first plan of two that are made at once would keep the other's from being
// stored.
func triggerOf(newest time.Time, edges []string) string {
	return "t" + strconv.FormatInt(newest.Unix(), 10) + "-" + events.TokenOf(slices.Sorted(slices.Values(edges))...)[:6]
}

// isPerInstance reports whether an edge of a source concerns some of its
// instances only, so that an older one is not overtaken by a newer one.
func (s *scheduler) isPerInstance(source string) bool {
	p, ok := s.set.Policy(source)
	return !ok || p.FromTag != nil || p.Signal != nil
}

// givenUp reports whether an edge lies too far back to be acted upon. Ends of
// exceptions are decided about for a day: each instance then has a give-up time
// of its own.
func (s *scheduler) givenUp(e policies.Edge, now time.Time) bool {
	p, ok := s.set.Policy(e.Policy)
	if !ok || p.Signal != nil {
		return now.After(e.Planned.Add(24 * time.Hour))
	}
	after, until := p.GiveUp(e)
	return now.After(s.notAfter(e.Planned, after, until))
}

// notAfter is the plan time after which a planned time is given up: until, or
// after in machine time.
func (s *scheduler) notAfter(planned time.Time, after time.Duration, until time.Time) time.Time {
	if !until.IsZero() {
		return until
	}
	return s.clock.Plan(s.clock.Machine(planned).Add(after))
}

func tickOf(e policies.Edge) events.Tick {
	t := events.Tick{Policy: e.Policy, Planned: e.Planned.UTC(), Hash: e.Hash}
	if !e.From.IsZero() {
		t.Since = e.From.UTC()
	}
	if !e.To.IsZero() {
		t.Upto = e.To.UTC()
	}
	if t.Hash == "" {
		t.Hash = noHash
	}
	return t
}
