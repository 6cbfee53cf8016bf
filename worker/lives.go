package worker

import (
	"sync"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// lives knows which action is the newest of its kind on each instance, so that
// a newer winner overtakes an older one that has not ended. Runs are ordered by
// their sequence in the stream.
type lives struct {
	mu     sync.Mutex
	newest map[lifeKey]*life
	byID   map[string]*life
	held   map[lifeKey]int    // by how many held runs
	alone  bool               // nobody else takes runs up
	asked  map[lifeKey]uint64 // run of the newest command
	later  map[lifeKey]*life  // newest command that waits for its due time
	fresh  map[string]bool    // runs that this process has just stored, by region and trigger: nobody has taken them up
}

type lifeKey struct{ region, instance, kind string }

// life is an action on its way to an outcome.
type life struct {
	id        string
	key       lifeKey
	run       uint64
	overtaken chan struct{} // closed when a newer run wants something of the same instance and kind
	elsewhere bool          // known from its stored plan only; it may have its outcome
	since     time.Time     // when it began to count: when its plan was stored, or it was due
	delayed   bool          // see isDelayed
	waits     bool          // for its due time, until which it overtakes nothing
}

func newLives(alone bool) *lives {
	return &lives{alone: alone, newest: make(map[lifeKey]*life), byID: make(map[string]*life), asked: make(map[lifeKey]uint64), later: make(map[lifeKey]*life), held: make(map[lifeKey]int), fresh: make(map[string]bool)}
}

// hold says that the items of a run wait for approval, by is 1, or no longer, -1.
func (l *lives) hold(items []events.Item, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range items {
		key := lifeKey{it.Region, it.Instance, it.Kind}
		if l.held[key] += by; l.held[key] <= 0 {
			delete(l.held, key)
		}
	}
}

// isHeld reports whether something of a kind waits for approval on an instance.
func (l *lives) isHeld(region, instance, kind string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[lifeKey{region, instance, kind}] > 0
}

// stored takes up that this process has stored a run.
func (l *lives) stored(run *events.Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alone {
		l.fresh[run.Region+"."+run.Trigger] = true
	}
}

// take reports, once, whether this process has stored a run itself.
func (l *lives) take(run *events.Run) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := run.Region + "." + run.Trigger
	fresh := l.fresh[key]
	delete(l.fresh, key)
	return fresh
}

// isDelayed reports whether an action is a command's that is due at a time of its own.
// Until then it overtakes nothing, and from then on all that was wanted before: who
// says "start at 20:00" in the afternoon does not mean the stop at 19:00.
func isDelayed(it events.Item) bool { return it.Policy == "" && !it.NotBefore.IsZero() }

// countsSince is when an action of a plan begins to count.
func countsSince(stored time.Time, it events.Item) time.Time {
	if isDelayed(it) {
		return maxTime(stored, it.NotBefore)
	}
	return stored
}

// isAfter reports whether an action counts later than another: that of the newer
// run, or where one is a command's with a due time, which came later.
func (n *life) isAfter(old *life) bool {
	if n.delayed || old.delayed {
		return n.since.After(old.since)
	}
	return n.run > old.run
}

// ask takes up that a command asks for something: it takes the place of an older one
// that is not due yet, and reports whether a newer one has done so with it.
func (l *lives) ask(n *life) (replaced bool) {
	if n.run < l.asked[n.key] {
		return true
	}
	l.asked[n.key] = n.run
	if old := l.later[n.key]; old != nil && old.run < n.run {
		close(old.overtaken)
		delete(l.later, n.key)
	}
	return false
}

// due takes up that the time has come for a delayed action.
func (l *lives) due(n *life) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !n.waits {
		return
	}
	n.waits = false
	if l.later[n.key] != n {
		return // replaced
	}
	delete(l.later, n.key)
	if old := l.newest[n.key]; old != nil {
		close(old.overtaken)
	}
	l.newest[n.key] = n
}

// open takes up an action of a run that was stored at a time. Only what won a decision counts: a skip for
// any reason but "already" neither overtakes nor is overtaken.
func (l *lives) open(run uint64, stored time.Time, it events.Item) *life {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.byID[it.ID]; n != nil && n.run == run {
		return n
	}
	n := &life{id: it.ID, key: lifeKey{it.Region, it.Instance, it.Kind}, run: run, overtaken: make(chan struct{}), since: countsSince(stored, it), delayed: isDelayed(it)}
	l.byID[it.ID] = n
	if !wins(it) || isGivenUp(it) {
		return n
	}
	replaced := it.Policy == "" && l.ask(n) && n.delayed
	if replaced {
		close(n.overtaken)
		return n
	}
	if n.waits = n.delayed && time.Now().Before(it.NotBefore); n.waits {
		l.later[n.key] = n
		return n
	}
	switch old := l.newest[n.key]; {
	case old == nil || old.run == run:
		l.newest[n.key] = n
	case n.isAfter(old):
		close(old.overtaken)
		l.newest[n.key] = n
	default:
		close(n.overtaken)
	}
	return n
}

// planned takes up a stored plan that another replica may carry out, or that was
// carried out before this process began: it overtakes what is older here.
func (l *lives) planned(run *events.Run) {
	if run.Seq == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range run.Items {
		it := &run.Items[i]
		if !wins(*it) {
			continue
		}
		if it.Policy == "" {
			l.ask(&life{key: lifeKey{it.Region, it.Instance, it.Kind}, run: run.Seq})
		}
		if isGivenUp(*it) || isDelayed(*it) && time.Now().Before(it.NotBefore) {
			continue
		}
		n := &life{id: it.ID, key: lifeKey{it.Region, it.Instance, it.Kind}, run: run.Seq, elsewhere: true, overtaken: make(chan struct{}), since: countsSince(run.StoredAt, *it), delayed: isDelayed(*it)}
		switch old := l.newest[n.key]; {
		case old == nil:
			l.newest[n.key] = n
		case n.isAfter(old):
			close(old.overtaken)
			l.newest[n.key] = n
		}
	}
}

// handOver takes up that a run was handed back, and may be another replica's now.
func (l *lives) handOver(run *events.Run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alone {
		return // it comes back
	}
	for i := range run.Items {
		if n := l.byID[run.Items[i].ID]; n != nil {
			n.elsewhere = true
			delete(l.byID, n.id)
		}
	}
}

// elsewhere is the action of another replica that was asked last to bring an
// instance to a state of a kind; empty: none, or it is known to have ended.
func (l *lives) elsewhere(region, instance, kind string) (id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.newest[lifeKey{region, instance, kind}]; n != nil && n.elsewhere {
		return n.id
	}
	return ""
}

// endedElsewhere takes up that an action of another replica has its outcome.
func (l *lives) endedElsewhere(region, instance, kind, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.newest[lifeKey{region, instance, kind}]; n != nil && n.id == id {
		n.elsewhere = false
	}
}

// end forgets an action that has its outcome. Its run stays known as the newest
// for that instance and kind: an older one delivered again must not undo it.
func (l *lives) end(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byID, id)
}

// isOpen reports whether a run is about to bring an instance to a state of a kind.
func (l *lives) isOpen(region, instance, kind string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.newest[lifeKey{region, instance, kind}]
	return n != nil && l.byID[n.id] == n
}

// count is the number of actions without an outcome.
func (l *lives) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byID)
}

func (n *life) isOvertaken() bool {
	select {
	case <-n.overtaken:
		return true
	default:
		return false
	}
}

// isGivenUp reports whether an action can only expire. An older trigger's may come
// after a newer one's, when a restart plans both: it does not end what is still to
// be done.
func isGivenUp(it events.Item) bool { return !it.NotAfter.IsZero() && time.Now().After(it.NotAfter) }

// wins reports whether an action overtakes older ones: a message does not.
func wins(it events.Item) bool {
	return it.Kind != string(policies.KindNotify) && !it.Observe && (it.Skip == "" || it.Skip == skipAlready)
}
