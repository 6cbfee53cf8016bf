package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/policies/schedule"
)

// Keys of ns_state that memory mirrors; behind each stands what it is about.
const (
	stateKeep     = "keep."     // <instance>
	statePause    = "pause."    // all, policy.<name>, instance.<id>
	stateHand     = "hand."     // <instance>
	stateCooldown = "cooldown." // <policy>.<instance>
	stateLoad     = "load."     // <policy>.<instance>
	stateApproval = "approved." // <region>.<trigger of the held run>
	stateTag      = "tag."      // <instance>.<hash of an owner's tag>
	stateSize     = "size."     // <policy>
)

// exceptionMemory is how long a keep or a pause that has ended is remembered
// (plan time), so that its end can be decided about after downtime.
const exceptionMemory = maxCatchUp

// memory is what the daemon remembers of instances and exceptions: a mirror of
// what is in ns_state, the impulses that stored plans hold, and what it has seen
// of each instance since it began to watch. It is safe for concurrent use.
type memory struct {
	bus      *events.Bus
	clock    Clock
	log      *zap.Logger
	verifyBy Verify

	began time.Time // machine time

	mu        sync.Mutex
	version   int // counts changes that an agenda depends on
	changed   chan struct{}
	keeps     map[string]policies.Keep
	pauses    map[string]policies.Pause // by key
	hands     map[string]policies.Hand
	cooldowns map[string]cooldown // by CooldownKey
	loads     map[string]policies.Load
	approvals map[string]approval // by <region>.<trigger>
	approved  chan struct{}       // closed, and made anew, with each approval
	impulses  policies.Impulses
	watched   map[string]time.Time // by region: plan time of its first reading
	firstSeen map[string]time.Time
	tagsSeen  map[string]time.Time
	tagsOf    map[string][]string   // by instance: its tags in tagsSeen
	stored    map[string]ownTag     // by key in ns_state: what tagsSeen is made of
	lessons   map[string]lesson     // by lessonKey: where impulses come from
	undone    map[string]time.Time  // by action id: came to nothing before its plan was known here; machine time
	held      map[string]events.Run // by approvalKey: runs that want nothing until they are approved
	stale     bool                  // a reading that changes what lies ahead is about to be known
	seen      map[string]sighting   // by instance
	sent      map[string]call       // by instance: our newest call
	lastKeep  time.Time             // Edge of the newest keep
	sizes     map[string]int        // by policy: how many instances it selected at its last run
	breakers  map[string]breaker    // by policy
	former    map[string]string     // names that policies had, with those that they have now
	counters  *counters             // has a lock of its own
}

// ownTag is an owner's tag and when it was first seen (plan time): a keep without
// an end lasts from then on, whatever restarts there are.
type ownTag struct {
	Tag string    `json:"tag"`
	At  time.Time `json:"at"`
}

func tagStateKey(instance, tag string) string {
	return stateTag + instance + "." + policies.ActionID(tag, 0, instance, policies.KindTags)
}

// lesson is the action that an impulse was learned from.
type lesson struct {
	id     string
	asked  time.Time          // machine time at which its run was made
	before []policies.Impulse // what it took the place of
	undone bool               // nothing was made of it
}

func lessonKey(policy, instance string) string { return policies.CooldownKey(policy, instance) }

// sighting is an instance in a state that it may stay in.
type sighting struct {
	status string
	tags   []string
	at     time.Time // machine time of the newest reading that shows it so
}

// call is a call of ours to an instance.
type call struct {
	verb policies.Verb
	at   time.Time // machine time
}

// cooldown is when a policy last acted on an instance.
type cooldown struct {
	policies.Cooldown
	Trigger string `json:"trigger"`
}

func newMemory(bus *events.Bus, clock Clock, verifyBy Verify, log *zap.Logger) *memory {
	return &memory{
		bus: bus, clock: clock, verifyBy: verifyBy, log: log, began: time.Now(), changed: make(chan struct{}, 1),
		keeps: make(map[string]policies.Keep), pauses: make(map[string]policies.Pause), hands: make(map[string]policies.Hand),
		cooldowns: make(map[string]cooldown), loads: make(map[string]policies.Load),
		approvals: make(map[string]approval), approved: make(chan struct{}), impulses: make(policies.Impulses),
		watched: make(map[string]time.Time), firstSeen: make(map[string]time.Time), tagsSeen: make(map[string]time.Time),
		tagsOf: make(map[string][]string), stored: make(map[string]ownTag), lessons: make(map[string]lesson), undone: make(map[string]time.Time), held: make(map[string]events.Run),
		seen: make(map[string]sighting), sent: make(map[string]call),
		sizes: make(map[string]int), breakers: make(map[string]breaker), counters: newCounters(bus),
	}
}

// mirror follows ns_state until ctx ends; loaded is closed when everything that
// is there has been taken up.
func (m *memory) mirror(ctx context.Context, loaded chan<- struct{}) error {
	for {
		err := m.mirrorOnce(ctx, &loaded)
		if ctx.Err() != nil {
			return nil
		}
		m.log.Warn("what is remembered cannot be followed, will be tried again", zap.Error(err))
		if sleepUntil(ctx, time.Now().Add(prepareRetry)) != nil {
			return nil
		}
	}
}

func (m *memory) mirrorOnce(ctx context.Context, loaded *chan<- struct{}) error {
	watcher, err := m.bus.State().WatchFiltered(ctx, []string{stateKeep + ">", statePause + ">", stateHand + ">", stateCooldown + ">", stateLoad + ">", stateApproval + ">", stateTag + ">", stateSize + ">", stateBreaker + ">"})
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return fmt.Errorf("the watcher of %s ended", events.Bucket)
			case entry != nil:
				m.take(entry)
			case *loaded != nil:
				close(*loaded)
				*loaded = nil
			}
		}
	}
}

// take takes up one entry of ns_state. What cannot be read is left out, and said.
func (m *memory) take(entry jetstream.KeyValueEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := entry.Operation() != jetstream.KeyValuePut
	var err error
	key := entry.Key()
	ahead := true // it changes what lies ahead
	switch {
	case strings.HasPrefix(key, stateKeep):
		err = takeInto(m.keeps, key[len(stateKeep):], gone, entry.Value())
		if k, ok := m.keeps[key[len(stateKeep):]]; ok && k.Edge.After(m.lastKeep) {
			m.lastKeep = k.Edge
		}
	case strings.HasPrefix(key, statePause):
		err = takeInto(m.pauses, key[len(statePause):], gone, entry.Value())
	case strings.HasPrefix(key, stateHand):
		err = takeInto(m.hands, key[len(stateHand):], gone, entry.Value())
	case strings.HasPrefix(key, stateCooldown):
		err = takeInto(m.cooldowns, m.policyAndInstance(key[len(stateCooldown):]), gone, entry.Value())
		ahead = false
	case strings.HasPrefix(key, stateLoad):
		err = takeInto(m.loads, m.policyAndInstance(key[len(stateLoad):]), gone, entry.Value())
		ahead = false
	case strings.HasPrefix(key, stateSize):
		err = takeInto(m.sizes, m.nameNow(key[len(stateSize):]), gone, entry.Value())
		ahead = false
	case strings.HasPrefix(key, stateBreaker):
		err = takeInto(m.breakers, m.nameNow(key[len(stateBreaker):]), gone, entry.Value())
		ahead = false
	case strings.HasPrefix(key, stateApproval):
		err = takeInto(m.approvals, key[len(stateApproval):], gone, entry.Value())
		m.learnHeld(key[len(stateApproval):])
		close(m.approved)
		m.approved = make(chan struct{})
		ahead = false
	}
	if strings.HasPrefix(key, stateTag) {
		err = m.takeTag(key, gone, entry.Value())
	}
	if err != nil {
		m.log.Warn("an entry of the store cannot be read, and is left out", zap.String("key", key), zap.Error(err))
	}
	if ahead {
		m.touch()
	}
}

// takeTag takes up when an owner's tag was first seen. Callers hold mu.
func (m *memory) takeTag(key string, gone bool, body []byte) error {
	instance, _, _ := strings.Cut(key[len(stateTag):], ".")
	old, known := m.stored[key]
	if err := takeInto(m.stored, key, gone, body); err != nil {
		return err
	}
	if gone && known {
		m.dropTag(instance, old.Tag)
	}
	if t, ok := m.stored[key]; ok {
		m.addTag(instance, t)
	}
	return nil
}

// addTag and dropTag keep what belongs together. Callers hold mu.
func (m *memory) addTag(instance string, t ownTag) {
	m.stored[tagStateKey(instance, t.Tag)] = t
	m.tagsSeen[policies.TagKey(instance, t.Tag)] = t.At
	if !slices.Contains(m.tagsOf[instance], t.Tag) {
		m.tagsOf[instance] = append(m.tagsOf[instance], t.Tag)
	}
}

func (m *memory) dropTag(instance, tag string) {
	delete(m.stored, tagStateKey(instance, tag))
	delete(m.tagsSeen, policies.TagKey(instance, tag))
	list := slices.DeleteFunc(slices.Clone(m.tagsOf[instance]), func(t string) bool { return t == tag })
	if m.tagsOf[instance] = list; len(list) == 0 {
		delete(m.tagsOf, instance)
	}
}

func takeInto[T any](into map[string]T, key string, gone bool, body []byte) error {
	if gone {
		delete(into, key)
		return nil
	}
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	into[key] = v
	return nil
}

// policyAndInstance turns <policy>.<instance> into a CooldownKey. Callers hold mu.
func (m *memory) policyAndInstance(key string) string {
	policy, instance, _ := strings.Cut(key, ".")
	return policies.CooldownKey(m.nameNow(policy), instance)
}

// touch says that an agenda made before is out of date. Callers hold mu.
func (m *memory) touch() {
	m.version++
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// store puts a value under a key and takes it up at once.
func (m *memory) store(ctx context.Context, key string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if _, err := m.bus.State().Put(ctx, key, body); err != nil {
		return fmt.Errorf("remember %s: %w", key, err)
	}
	return nil
}

// facts is a copy of what is remembered, for a decision.
func (m *memory) facts() policies.Facts {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := policies.Facts{
		Keeps: maps.Clone(m.keeps), Hands: maps.Clone(m.hands), FirstSeen: maps.Clone(m.firstSeen), TagsSeen: maps.Clone(m.tagsSeen),
		Loads: maps.Clone(m.loads), Impulses: make(policies.Impulses, len(m.impulses)),
	}
	for id, list := range m.impulses {
		f.Impulses[id] = slices.Clone(list)
	}
	m.addWhole(&f)
	return f
}

// addWhole adds what concerns all instances. Callers hold mu.
func (m *memory) addWhole(f *policies.Facts) {
	f.Sizes = maps.Clone(m.sizes)
	for _, key := range slices.Sorted(maps.Keys(m.pauses)) {
		f.Pauses = append(f.Pauses, m.pauses[key])
	}
	for _, at := range m.watched { // what all regions have been watched since
		if at.After(f.WatchedSince) {
			f.WatchedSince = at
		}
	}
}

// factsOf is the part of facts that is about one instance, all when id is empty:
// a copy of all for each command would cost more than all the rest of it.
func (m *memory) factsOf(set *policies.Set, id string) policies.Facts {
	if id == "" {
		return m.facts()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := policies.Facts{
		Keeps: only(m.keeps, id), Hands: only(m.hands, id), FirstSeen: only(m.firstSeen, id), TagsSeen: m.tagTimes(id),
		Loads: make(map[string]policies.Load), Impulses: make(policies.Impulses, 1),
	}
	for i := range set.Policies {
		key := policies.CooldownKey(set.Policies[i].Name, id)
		if l, ok := m.loads[key]; ok {
			f.Loads[key] = l
		}
	}
	if list, ok := m.impulses[id]; ok {
		f.Impulses[id] = slices.Clone(list)
	}
	m.addWhole(&f)
	return f
}

func only[T any](m map[string]T, id string) map[string]T {
	if v, ok := m[id]; ok {
		return map[string]T{id: v}
	}
	return nil
}

// tagTimes are when the owners' tags of an instance were first seen. Callers hold mu.
func (m *memory) tagTimes(id string) map[string]time.Time {
	var of map[string]time.Time
	for _, tag := range m.tagsOf[id] {
		if of == nil {
			of = make(map[string]time.Time)
		}
		of[policies.TagKey(id, tag)] = m.tagsSeen[policies.TagKey(id, tag)]
	}
	return of
}

// exceptions are the facts that can overrule an action on an instance.
func (m *memory) exceptions(inst policies.Instance) policies.Facts {
	m.mu.Lock()
	defer m.mu.Unlock()
	var f policies.Facts
	if k, ok := m.keeps[inst.ID]; ok {
		f.Keeps = map[string]policies.Keep{inst.ID: k}
	}
	for _, p := range m.pauses {
		f.Pauses = append(f.Pauses, p)
	}
	for _, tag := range inst.Tags {
		if t, ok := m.tagsSeen[policies.TagKey(inst.ID, tag)]; ok {
			if f.TagsSeen == nil {
				f.TagsSeen = make(map[string]time.Time)
			}
			f.TagsSeen[policies.TagKey(inst.ID, tag)] = t
		}
	}
	f.WatchedSince = m.watched[inst.Region]
	return f
}

// wantFacts are all facts that the wants of one instance depend on.
func (m *memory) wantFacts(inst policies.Instance) policies.Facts {
	f := m.exceptions(inst)
	m.mu.Lock()
	defer m.mu.Unlock()
	f.Impulses = policies.Impulses{inst.ID: slices.Clone(m.impulses[inst.ID])}
	if h, ok := m.hands[inst.ID]; ok {
		f.Hands = map[string]policies.Hand{inst.ID: h}
	}
	return f
}

// addSignalFacts adds what only signals ask for: when policies acted, but for
// what the trigger itself asked for. Only of policies that hear the signal.
func (m *memory) addSignalFacts(f *policies.Facts, set *policies.Set, s *policies.Signal, trigger string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	hearing := make(map[string]bool)
	for i := range set.Policies {
		if set.Policies[i].Signal.Hears(s) {
			hearing[set.Policies[i].Name] = true
		}
	}
	f.Cooldowns = make(map[string]policies.Cooldown)
	for key, c := range m.cooldowns {
		name, _, _ := strings.Cut(key, "/")
		if hearing[name] && c.Trigger != trigger {
			f.Cooldowns[key] = c.Cooldown
		}
	}
}

// putSizes remembers how many instances policies selected at their last run. What
// is not stored is asked about once more, at worst.
func (m *memory) putSizes(ctx context.Context, sizes map[string]int) {
	for policy, n := range sizes {
		m.mu.Lock()
		last, known := m.sizes[policy]
		m.mu.Unlock()
		if known && last == n {
			continue
		}
		if err := m.store(ctx, stateSize+policy, n); err != nil {
			m.log.Warn("how many instances a policy selects is not remembered", zap.String(keyPolicy, policy), zap.Error(err))
			continue
		}
		m.mu.Lock()
		m.sizes[policy] = n
		m.mu.Unlock()
	}
}

// learn takes up the impulses of a stored plan.
func (m *memory) learn(run events.Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.approvals[approvalKey(&run)]; run.Held != "" && !ok {
		m.held[approvalKey(&run)] = run // it wants nothing until it is approved
		return
	}
	m.learnAll(run)
}

// learnHeld takes up the impulses of a run that is approved now. Callers hold mu.
func (m *memory) learnHeld(key string) {
	if run, ok := m.held[key]; ok && m.approvals[key] != (approval{}) {
		delete(m.held, key)
		m.learnAll(run)
	}
}

// learnAll takes up impulses; twice, or later than newer ones, it changes nothing.
// Callers hold mu.
func (m *memory) learnAll(run events.Run) {
	for _, it := range run.Items {
		if it.Skip != "" && it.Skip != skipAlready || it.Kind != string(policies.KindPower) {
			continue
		}
		mode := policies.ModeAct
		if it.Observe {
			mode = policies.ModeObserve
		}
		if it.Level || strings.HasPrefix(it.Policy, "_") {
			continue
		}
		it.Policy = m.nameNow(it.Policy)
		key := lessonKey(it.Policy, it.Instance)
		if last := m.lessons[key]; mode == policies.ModeObserve || last.id == it.ID || run.StoredAt.Before(last.asked) {
			continue
		}
		before := slices.DeleteFunc(slices.Clone(m.impulses[it.Instance]), func(i policies.Impulse) bool { return i.Policy != it.Policy })
		m.lessons[key] = lesson{id: it.ID, asked: run.StoredAt, before: before}
		if _, undone := m.undone[it.ID]; undone { // another replica's was faster than its plan
			m.lessons[key] = lesson{id: it.ID, asked: run.StoredAt, undone: true}
			continue
		}
		due := it.Planned
		if !it.NotBefore.IsZero() {
			due = maxTime(due, m.clock.Plan(it.NotBefore))
		}
		m.impulses.Learn(policies.Action{
			Kind: policies.KindPower, Verb: policies.Verb(it.Action), Instance: it.Instance, Policy: it.Policy, Planned: it.Planned, Due: due,
			HoldsUntil: it.HoldsUntil, Mode: mode,
		}, it.Skip == "")
		if !it.HoldsUntil.IsZero() {
			m.touch()
		}
	}
}

// unlearn drops the want of an action that ended without having been done: nobody
// is to act upon it later. What it took the place of holds again.
func (m *memory) unlearn(id, policy, instance string) (known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	policy = m.nameNow(policy)
	key := lessonKey(policy, instance)
	last, ok := m.lessons[key]
	if !ok || last.id != id {
		return false
	}
	if last.undone {
		return true
	}
	list := slices.DeleteFunc(slices.Clone(m.impulses[instance]), func(i policies.Impulse) bool { return i.Policy == policy })
	if list = append(list, last.before...); len(list) == 0 {
		delete(m.impulses, instance)
	} else {
		m.impulses[instance] = list
	}
	last.before, last.undone = nil, true // it stays known, so that the run delivered again teaches nothing
	m.lessons[key] = last
	m.touch()
	return true
}

// unlearnOther is unlearn for an action of another replica, whose plan may not be
// known here yet.
func (m *memory) unlearnOther(id, policy, instance string) {
	if m.unlearn(id, policy, instance) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.undone[id] = time.Now()
}

// started takes up that a call is made for a want that looked as if it were so.
func (m *memory) started(id, policy, instance string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	policy = m.nameNow(policy)
	if m.lessons[lessonKey(policy, instance)].id != id {
		return
	}
	list := slices.Clone(m.impulses[instance])
	for i := range list {
		list[i].Started = list[i].Started || list[i].Policy == policy
	}
	m.impulses[instance] = list
}

// isUndone reports whether an outcome means that nothing was made of a want.
func isUndone(o events.Outcome, reason string) bool {
	return o == events.Expired || o == events.Failed || o == events.Skipped && reason != skipAlready
}

// needsReadings reports whether there are edges that only the inventory can tell:
// after a start they are not to wait for the next look.
func (m *memory) needsReadings(set *policies.Set) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(set.Owners.Keys)+len(m.keeps)+len(m.hands)+len(m.impulses) > 0 ||
		slices.ContainsFunc(set.Policies, func(p policies.Policy) bool { return p.FromTag != nil })
}

// called takes up that a call of ours to an instance is about to be sent.
func (m *memory) called(instance string, verb policies.Verb) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent[instance] = call{verb, time.Now()}
}

// observe takes up a complete reading: what is new, and what somebody else has
// done by hand.
func (m *memory) observe(ctx context.Context, set *policies.Set, r *Reading) {
	changes, tags := m.compare(set, r)
	for key, t := range tags {
		var err error
		if t.At.IsZero() {
			err = m.bus.State().Delete(ctx, key)
		} else {
			err = m.store(ctx, key, t)
		}
		if err != nil {
			m.log.Warn("when an owner's tag was first seen is not remembered", zap.String("key", key), zap.Error(err))
		}
	}
	for _, c := range changes {
		if m.isOurs(ctx, c) {
			m.forgetHand(ctx, c.inst.ID, c.reading.Began)
			continue
		}
		if err := m.noticeHand(ctx, c); err != nil {
			m.log.Warn("a change by hand is not remembered", zap.String(keyInstance, c.inst.ID), zap.Error(err))
		}
	}
}

// change is an instance in another state than before.
type change struct {
	inst    policies.Instance
	before  sighting
	reading *Reading
}

// shown is told that the newest reading is what everybody sees now: an agenda made
// before lacks what is new in it.
func (m *memory) shown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stale {
		m.stale = false
		m.touch()
	}
}

// compare also says which owners' tags are new, and which are gone: those have no time.
func (m *memory) compare(set *policies.Set, r *Reading) (changes []change, tags map[string]ownTag) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Plan(r.Began)
	_, known := m.watched[r.Region]
	if !known {
		m.watched[r.Region] = now
	}
	for _, inst := range r.Instances {
		before, old := m.seen[inst.ID]
		if !old && known {
			m.firstSeen[inst.ID] = now
		}
		tags = m.seeTags(set, inst, now, tags)
		m.stale = m.stale || !old || !slices.Equal(before.tags, inst.Tags)
		if isBusy(inst.Status) {
			before.tags = inst.Tags
			if !old {
				before.at = r.Began
			}
			m.seen[inst.ID] = before
			continue
		}
		if old && before.status != "" && before.status != inst.Status {
			changes = append(changes, change{inst, before, r})
		}
		m.stale = m.stale || before.status != inst.Status
		m.seen[inst.ID] = sighting{inst.Status, inst.Tags, r.Began}
	}
	m.stale = m.stale || !known
	m.forget(r)
	return changes, tags
}

// seeTags remembers when an owner's tag was first seen, as long as it is there, and
// adds to what is to be stored of it. Callers hold mu.
func (m *memory) seeTags(set *policies.Set, inst policies.Instance, now time.Time, into map[string]ownTag) map[string]ownTag {
	put := func(tag string, at time.Time) {
		if into == nil {
			into = make(map[string]ownTag)
		}
		into[tagStateKey(inst.ID, tag)] = ownTag{tag, at}
		m.stale = true
	}
	for _, tag := range m.tagsOf[inst.ID] {
		if !slices.Contains(inst.Tags, tag) {
			m.dropTag(inst.ID, tag)
			put(tag, time.Time{})
		}
	}
	if len(set.Owners.Keys) == 0 {
		return into
	}
	for _, tag := range inst.Tags {
		if !strings.HasPrefix(tag, set.OwnerPrefix()) {
			continue
		}
		if _, ok := m.tagsSeen[policies.TagKey(inst.ID, tag)]; !ok {
			m.addTag(inst.ID, ownTag{tag, now})
			put(tag, now)
		}
	}
	return into
}

// forget drops what was seen of instances that are gone. Callers hold mu.
func (m *memory) forget(r *Reading) {
	if len(m.seen) < 2*len(r.Instances)+1000 {
		return
	}
	for id, s := range m.seen {
		if _, ok := r.byID[id]; !ok && r.Began.Sub(s.at) > 24*time.Hour {
			delete(m.seen, id)
			delete(m.firstSeen, id)
			delete(m.sent, id)
		}
	}
}

// forgetRegion forgets what was seen in a region that is no longer looked after:
// what changes there meanwhile is nobody's hand when the region comes back.
func (m *memory) forgetRegion(region string, last *Reading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watched, strings.ToUpper(region))
	if last == nil {
		return
	}
	for id := range last.byID {
		delete(m.seen, id)
		delete(m.firstSeen, id)
	}
}

// isOurs reports whether a call of ours may have made the change: one that leads
// to it and was sent since the instance was last seen otherwise, or so short
// before that its effect may have come late.
func (m *memory) isOurs(ctx context.Context, c change) bool {
	since := c.before.at.Add(-m.verifyBy.Within)
	m.mu.Lock()
	own, ok := m.sent[c.inst.ID]
	m.mu.Unlock()
	if ok && own.at.After(since) && leadsTo(own.verb, c.inst.Status) {
		return true
	}
	rec, _, err := m.bus.LastStarted(ctx, strings.ToLower(c.reading.Region), c.inst.ID)
	if err != nil { // unknown: better not to hold it against anybody
		m.log.Warn("the ledger could not be read to see who changed an instance", zap.String(keyInstance, c.inst.ID), zap.Error(err))
		return true
	}
	return rec.ActionID != "" && rec.StoredAt.After(since) && leadsTo(policies.Verb(rec.Action), c.inst.Status)
}

func leadsTo(verb policies.Verb, status string) bool {
	switch verb {
	case policies.Start:
		return status == policies.StatusActive
	case policies.Stop:
		return status == policies.StatusShutoff
	}
	return true // a reboot or a resize passes through both
}

// noticeHand remembers a change that somebody else made, and says so.
func (m *memory) noticeHand(ctx context.Context, c change) error {
	h := storedHand{Hand: policies.Hand{State: schedule.Running, At: m.clock.Plan(c.reading.Began), From: m.clock.Plan(c.before.at)}, Region: strings.ToLower(c.reading.Region), Hostname: c.inst.Hostname, Before: c.before.status, After: c.inst.Status}
	if c.inst.Status == policies.StatusShutoff {
		h.State = schedule.Stopped
	}
	first, err := m.takeHand(ctx, c, &h)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.hands[c.inst.ID] = h.Hand
	m.touch()
	m.mu.Unlock()
	if !first {
		return nil
	}
	m.log.Info("changed by hand", zap.String(keyInstance, c.inst.ID), zap.String(keyHostname, c.inst.Hostname), zap.String("after", c.inst.Status))
	return m.bus.PublishNoticed(ctx, handNotice(c.inst.ID, h))
}

// takeHand remembers a hand unless another replica has seen the same: then it
// returns that one in h.
func (m *memory) takeHand(ctx context.Context, c change, h *storedHand) (first bool, err error) {
	body, err := json.Marshal(h)
	if err != nil {
		return false, err
	}
	key := stateHand + c.inst.ID
	var revision uint64
	entry, err := m.bus.State().Get(ctx, key)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, fmt.Errorf("read %s: %w", key, err)
	}
	if err == nil {
		revision = entry.Revision()
		var other storedHand
		if json.Unmarshal(entry.Value(), &other) == nil && other.State == h.State && other.At.After(m.clock.Plan(c.before.at)) {
			*h = other
			return false, nil
		}
	}
	if revision == 0 {
		_, err = m.bus.State().Create(ctx, key, body)
	} else {
		_, err = m.bus.State().Update(ctx, key, body, revision)
	}
	if errors.Is(err, jetstream.ErrKeyExists) || isWrongRevision(err) {
		return false, nil // another replica has just seen it, too
	}
	if err != nil {
		return false, fmt.Errorf("remember %s: %w", key, err)
	}
	return true, nil
}

// isWrongRevision reports whether a rival was faster to write a key: in a cluster
// it may still be on its way.
func isWrongRevision(err error) bool {
	var refusal *jetstream.APIError
	return errors.As(err, &refusal) && (refusal.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refusal.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// forgetHand ends a hand: the instance is as we made it.
func (m *memory) forgetHand(ctx context.Context, instance string, began time.Time) {
	m.mu.Lock()
	h, ok := m.hands[instance]
	if ok = ok && !h.At.After(m.clock.Plan(began)); ok { // else another replica has seen a later one
		delete(m.hands, instance)
	}
	m.mu.Unlock()
	if !ok {
		return
	}
	if err := m.bus.State().Delete(ctx, stateHand+instance); err != nil {
		m.log.Warn("a change by hand is not forgotten", zap.String(keyInstance, instance), zap.Error(err))
	}
}

// hear takes up the value of a load for each policy that waits for it to be high
// for a while, and stores when one begins or ends to be high.
func (m *memory) hear(ctx context.Context, set *policies.Set, s *policies.Signal, at time.Time) error {
	if s.Load == "" {
		return nil
	}
	for i := range set.Policies {
		p := &set.Policies[i]
		if !p.Signal.Hears(s) || !p.TracksLoad() || !set.MayTrigger(s, p.Name) {
			continue
		}
		key := policies.CooldownKey(p.Name, s.Instance)
		m.mu.Lock()
		old := m.loads[key]
		l, high := p.Signal.NextLoad(old, s.Value, at)
		if high {
			m.loads[key] = l
		} else {
			delete(m.loads, key)
		}
		m.mu.Unlock()
		stored := stateLoad + p.Name + "." + s.Instance
		switch {
		case high && !l.Since.Equal(old.Since):
			if err := m.store(ctx, stored, l); err != nil {
				return err
			}
		case !high && !old.Since.IsZero():
			if err := m.forgetState(ctx, stateLoad, p.Name, "."+s.Instance); err != nil {
				return fmt.Errorf("forget %s: %w", stored, err)
			}
		}
	}
	return nil
}

// isHigh reports whether a load is high that a policy waits for.
func (m *memory) isHigh(policy, instance string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.loads[policies.CooldownKey(policy, instance)]
	return ok
}

// reserve counts an instance among those that a policy acts on, unless a bound is
// reached: then it says which, and how many others there are.
func (m *memory) reserve(p *policies.Policy, instance, trigger string, bounds []bound) (c cooldown, b bound, others int, ok bool) {
	now := m.clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	acted := make(map[string]time.Time)
	for key, c := range m.cooldowns {
		if id, mine := strings.CutPrefix(key, p.Name+"/"); mine {
			acted[id] = c.At
		}
	}
	if b, others, over := exceeds(bounds, acted, instance, now); over {
		return c, b, others, false
	}
	key := policies.CooldownKey(p.Name, instance)
	c = m.cooldowns[key]
	if c.Trigger != trigger { // a later step of the same firing begins no other cool-down
		c = cooldown{c.Next(p, now), trigger}
		m.cooldowns[key] = c
	}
	return c, bound{}, others, true
}

// putKeep stores a keep. Its begin is an edge, so it is the next second, and one
// that no other keep has begun in.
func (m *memory) putKeep(ctx context.Context, instance string, k policies.Keep) (policies.Keep, error) {
	m.mu.Lock()
	k.Since = m.clock.Now()
	k.Edge = k.Since.Truncate(time.Second).Add(time.Second) // an edge lies ahead, and no two keeps have the same
	if !k.Edge.After(m.lastKeep) {
		k.Edge = m.lastKeep.Add(time.Second)
	}
	m.lastKeep = k.Edge
	m.mu.Unlock()
	if err := m.store(ctx, stateKeep+instance, k); err != nil {
		return k, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keeps[instance] = k
	m.touch()
	return k, nil
}

// endKeep lets a keep end now.
func (m *memory) endKeep(ctx context.Context, instance string) (policies.Keep, bool, error) {
	now := m.clock.Now()
	m.mu.Lock()
	k, ok := m.keeps[instance]
	m.mu.Unlock()
	if !ok || isOver(k.Until, now) {
		return k, false, nil
	}
	k.Until = now.Truncate(time.Second).Add(time.Second)
	if err := m.store(ctx, stateKeep+instance, k); err != nil {
		return k, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keeps[instance] = k
	m.touch()
	return k, true, nil
}

// prune forgets exceptions that ended so long ago that nobody asks.
func (m *memory) prune(ctx context.Context, set *policies.Set) {
	before := m.clock.Now().Add(-exceptionMemory)
	m.mu.Lock()
	var old []string
	for key, c := range m.cooldowns {
		policy, instance, _ := strings.Cut(key, "/")
		end := c.At
		if p, ok := set.Policy(policy); ok { // a firing within twice the span makes the next one longer
			end = end.Add(max(2*c.Span(p), p.AtMost.Within))
		}
		if end.Before(before) {
			old = append(old, stateCooldown+policy+"."+instance)
			for was, now := range m.former {
				if now == policy {
					old = append(old, stateCooldown+was+"."+instance)
				}
			}
		}
	}
	for key, l := range m.loads {
		if policy, instance, _ := strings.Cut(key, "/"); l.Last.Before(before) {
			old = append(old, stateLoad+policy+"."+instance)
		}
	}
	unseen := time.Now().Add(-exceptionMemory)
	for id, tags := range m.tagsOf { // of instances that are gone
		if s, ok := m.seen[id]; ok && s.at.After(unseen) || !ok && m.began.After(unseen) {
			continue
		}
		for _, tag := range tags {
			old = append(old, tagStateKey(id, tag))
		}
	}
	for key, run := range m.held {
		if time.Now().After(run.HeldUntil.Add(time.Hour)) {
			delete(m.held, key)
		}
	}
	for id, k := range m.keeps {
		if k.Until.Before(before) {
			old = append(old, stateKeep+id)
		}
	}
	for key, p := range m.pauses {
		if !p.Until.IsZero() && p.Until.Before(before) {
			old = append(old, statePause+key)
		}
	}
	for id, h := range m.hands {
		if h.At.Before(before) {
			old = append(old, stateHand+id)
		}
	}
	for key, a := range m.approvals {
		if a.At.Before(before) {
			old = append(old, stateApproval+key)
		}
	}
	for id, list := range m.impulses {
		list = slices.DeleteFunc(list, func(i policies.Impulse) bool { return i.At.Before(before) })
		if m.impulses[id] = list; len(list) == 0 {
			delete(m.impulses, id)
		}
	}
	for id, at := range m.undone {
		if time.Since(at) > time.Hour {
			delete(m.undone, id)
		}
	}
	for key, l := range m.lessons {
		if l.asked.Before(unseen) {
			delete(m.lessons, key)
		}
	}
	m.mu.Unlock()
	for _, key := range old {
		if err := m.bus.State().Delete(ctx, key); err != nil {
			m.log.Warn("an entry of the store is not forgotten", zap.String("key", key), zap.Error(err))
		}
	}
}
