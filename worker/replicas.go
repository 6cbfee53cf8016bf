package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"nightshift/civo"
	"nightshift/events"
	"nightshift/policies"
)

// Machine times of replicas.
const (
	beatEvery = 2 * time.Second
	// deadAfter is how long a replica is believed to live that is not heard: so long
	// its part of the API's rate lies idle when it dies.
	deadAfter = 3*beatEvery + beatEvery/2
	// joinFor is how long a replica that has just begun does not know who else lives.
	joinFor = time.Second
	// differFor is how long replicas may have different policy files until that is
	// reported: an edit reaches them one after another.
	differFor = time.Minute
	// handBackFor is how long what was planned by another revision of a policy is
	// handed back, so that a replica that has this revision takes it.
	handBackFor = time.Minute
	// handBackAgain is the wait before it is given to a replica again.
	handBackAgain = time.Second
)

// errOtherRevision says that another replica may have the revision of a policy
// that planned this, and this one has not.
var errOtherRevision = errors.New("planned by a revision of the policy that this replica has not; handed back to those that may have it")

// replicas knows which other replicas live. From it follow this one's part of the
// API's rate, and whether another policy file is at work. With an embedded NATS
// there is nobody else, and nothing is asked or told.
type replicas struct {
	bus   *events.Bus
	api   *civo.Client
	rules *rules
	log   *zap.Logger
	alone bool // no others can be
	me    events.Beat
	agree chan struct{} // one place: all policy files are the same again

	mu      sync.Mutex
	others  map[string]*replica // by id
	joined  time.Time           // zero: not yet
	heard   time.Time           // when this one last heard itself: NATS carries what is said
	differs time.Time           // since when policy files differ; zero: they do not
	told    bool                // that they do
}

type replica struct {
	beat  events.Beat
	heard time.Time
}

func newReplicas(bus *events.Bus, api *civo.Client, rules *rules, o Options) *replicas {
	return &replicas{
		bus: bus, api: api, rules: rules, log: o.Log, alone: o.Embedded, me: events.Beat{ID: newID(), Name: o.Name, Version: o.Version},
		agree: make(chan struct{}, 1), others: make(map[string]*replica),
	}
}

// run tells the others of this replica, and hears them, until ctx ends.
func (r *replicas) run(ctx context.Context) error {
	if r.alone {
		return nil
	}
	hearing, stop := context.WithCancel(ctx)
	var ear sync.WaitGroup
	defer ear.Wait()
	defer stop()
	ear.Go(func() { // until stop
		if err := r.bus.HearBeats(hearing, r.hear); err != nil && hearing.Err() == nil {
			r.log.Warn("the other replicas are not heard: each takes all of civo.rate", zap.Error(err))
		}
	})
	r.mu.Lock()
	r.joined = time.Now()
	r.mu.Unlock()
	hello := true
	for {
		hello = !r.say(func(b *events.Beat) { b.Hello = hello }) && hello
		r.look(ctx, time.Now())
		if sleepUntil(ctx, time.Now().Add(beatEvery)) != nil {
			return nil
		}
	}
}

// leave tells the others that this replica makes no more calls.
func (r *replicas) leave() {
	if !r.alone {
		r.say(func(b *events.Beat) { b.Leaving = true })
	}
}

// say tells the others how this replica stands, and reports whether it could.
func (r *replicas) say(more func(*events.Beat)) bool {
	beat, rate, in := r.me, r.api.RateState(), r.rules.p.Load()
	beat.Revision, beat.Since = in.name, in.since.UTC().Truncate(time.Second)
	beat.Refused, beat.ClosedUntil = rate.Refused, rate.ClosedUntil
	more(&beat)
	err := r.bus.Beat(beat)
	if err != nil {
		r.log.Debug("the other replicas are not told", zap.Error(err))
	}
	return err == nil
}

// hear takes up what a replica says.
func (r *replicas) hear(beat events.Beat) {
	now := time.Now()
	if beat.ID == r.me.ID {
		r.mu.Lock()
		r.heard = now
		r.mu.Unlock()
		return
	}
	if beat.Hello {
		r.say(func(*events.Beat) {})
	}
	r.mu.Lock()
	old, known := r.others[beat.ID]
	if beat.Leaving {
		delete(r.others, beat.ID)
	} else {
		r.others[beat.ID] = &replica{beat, now}
	}
	n := 1 + len(r.others)
	r.mu.Unlock()
	switch {
	case !known && !beat.Leaving:
		r.log.Info("a replica has come", zap.String("replica", beat.Name), zap.String("revision", beat.Revision), zap.Int("replicas", n))
	case known && beat.Leaving:
		r.log.Info("a replica has left", zap.String("replica", beat.Name), zap.Int("replicas", n))
	}
	if known && beat.Refused > old.beat.Refused {
		r.api.Slow(beat.ClosedUntil)
	}
	if known == beat.Leaving { // another number than before
		r.api.Share(n)
	}
}

// look forgets who is not heard any more, and reports files that differ. While
// NATS is away nobody is forgotten: they may be calling the API all the same.
func (r *replicas) look(ctx context.Context, now time.Time) {
	if !r.bus.IsConnected() {
		return
	}
	r.mu.Lock()
	if now.Sub(r.heard) > beatEvery+beatEvery/2 { // NATS is not yet, or no longer, able to carry it
		for _, o := range r.others {
			o.heard = maxTime(o.heard, now.Add(-beatEvery))
		}
	}
	gone := false
	for id, o := range r.others {
		if now.Sub(o.heard) > deadAfter {
			delete(r.others, id)
			gone = true
			r.log.Warn("a replica is not heard any more", zap.String("replica", o.beat.Name), zap.Int("replicas", 1+len(r.others)))
		}
	}
	n := 1 + len(r.others)
	r.mu.Unlock()
	if gone {
		r.api.Share(n)
	}
	r.compare(ctx, now)
}

// compare reports, once, policy files that have differed for a while, and says
// when they do no more.
func (r *replicas) compare(ctx context.Context, now time.Time) {
	words, id := r.differing()
	r.mu.Lock()
	before, told := r.differs, r.told
	switch {
	case words == "":
		r.differs, r.told = time.Time{}, false
	case before.IsZero():
		r.differs = now
	}
	due := words != "" && !told && !before.IsZero() && now.Sub(before) >= differFor
	r.mu.Unlock()
	switch {
	case words == "" && !before.IsZero():
		select { // what the other revision has written over is written again
		case r.agree <- struct{}{}:
		default:
		}
		if told {
			r.log.Info("the replicas have the same policy file again", zap.String("revision", r.rules.p.Load().name))
		}
	case due:
		rec := events.Record{
			ActionID: policies.ActionID(id, 0, events.None, actPolicies), Action: actPolicies, Reason: "revisions differ",
			Detail: "replicas have different policy files: " + words, Trigger: actPolicies, Region: events.None, Instance: events.None, Planned: now.UTC(),
		}
		if err := r.bus.PublishNoticed(ctx, rec); err != nil {
			if ctx.Err() == nil {
				r.log.Warn("the notice about different policy files is not stored, will be tried again", zap.Error(err))
			}
			return
		}
		r.log.Warn("replicas have different policy files", zap.String("revisions", words))
		r.mu.Lock()
		r.told = true
		r.mu.Unlock()
	}
}

// differing says which replica has which policy file; empty: all have the same.
// The id is the same on all of them, and another when it happens again.
func (r *replicas) differing() (words, id string) {
	in := r.rules.p.Load()
	by := map[string][]string{in.name: {r.me.Name}}
	newest := in.since
	for _, o := range r.living() {
		by[o.Revision] = append(by[o.Revision], o.Name)
		newest = maxTime(newest, o.Since)
	}
	if len(by) == 1 {
		return "", ""
	}
	var revisions, parts []string
	for revision, names := range by {
		slices.Sort(names)
		revisions = append(revisions, revision)
		parts = append(parts, fmt.Sprintf("%s on %s", cmp.Or(revision, "none"), strings.Join(names, ", ")))
	}
	slices.Sort(revisions)
	slices.Sort(parts)
	return strings.Join(parts, "; "), fmt.Sprintf("revisions %s %d", strings.Join(revisions, " "), newest.Unix())
}

// living are the other replicas, by name.
func (r *replicas) living() []events.Beat {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []events.Beat
	for _, o := range r.others {
		all = append(all, o.beat)
	}
	slices.SortFunc(all, func(a, b events.Beat) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return all
}

// mayHaveAnother reports whether a policy file other than this one's may be at
// work in another replica.
func (r *replicas) mayHaveAnother() bool {
	if r.alone {
		return false
	}
	mine := r.rules.p.Load().name
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.joined.IsZero() || time.Since(r.joined) < joinFor {
		return true
	}
	for _, o := range r.others {
		if o.beat.Revision != mine {
			return true
		}
	}
	return false
}

// isOthers reports whether a run is to be carried out by a replica that has the
// policies in the form that planned it, if there is one.
func (r *replicas) isOthers(run *events.Run, stored time.Time) bool {
	if r.alone || time.Since(stored) > handBackFor {
		return false
	}
	differs := slices.ContainsFunc(run.Items, func(it events.Item) bool {
		return it.Revision != "" && (it.Skip == "" || it.Skip == skipAlready) && r.rules.hash(it.Policy) != it.Revision
	})
	return differs && r.mayHaveAnother()
}
