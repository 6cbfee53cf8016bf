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

	"nightshift/events"
	"nightshift/policies"
)

// The starts and stops of a run may have an order (policies.Order), and all that
// shakes an instance a pace. Both are waits just before the call, behind the other
// rails: what is not to be done anyway ends without waiting.
//
// Stages that wait for each other are a line. A line is walked by one goroutine:
// it lets a stage begin, waits until that is reached or its deadline has passed,
// stores a notice that says which, and only then lets the next begin. So who takes
// the run up after a crash knows from the ledger how far it had come.

// stageReached is the reason of a notice about a stage that was reached in time.
const stageReached = "reached"

// stageOf is the stage in which an action has its turn.
func stageOf(a policies.Action) *events.Stage {
	if a.Place.Order == nil || a.Mode == policies.ModeObserve {
		return nil
	}
	spec := &a.Place.Order.Stages[a.Place.Stage]
	s := &events.Stage{Order: a.Place.Order.Name, Group: a.Place.Group, Action: string(a.Verb), Turn: a.Place.Turn(a.Verb), Of: len(a.Place.Order.Stages),
		Deadline: min(cmp.Or(spec.Deadline, policies.DefaultStageDeadline), events.MaxStageDeadline)}
	if a.Verb == policies.Start {
		s.TCP, s.HTTP, s.Private = spec.Ready.TCP, spec.Ready.HTTP, spec.Ready.Private
	}
	return s
}

// turns say when each action of a run may begin.
type turns struct {
	lines [][]*stage
	at    map[string]*member // by action id: those of lines
	pace  *pacer             // nil: none
	paced map[string]bool    // by action id: those that the pace is for

	begin  time.Time       // of the run; machine time
	alive  time.Time       // newest event of the run before it was taken up; zero: there was none
	idle   time.Duration   // how long nobody had worked on it until then
	called map[string]bool // by action id: a call was made before the run was taken up

	isCrowded bool // the run has more actions than may be under way at once

	once   sync.Once
	broken chan struct{} // closed when an action cannot be carried on
	fault  error         // why; to be read when broken is closed
}

// stage is one that waits for others, or is waited for.
type stage struct {
	events.Stage
	notice  string        // action id of the notice about it
	passed  time.Time     // when that was stored; zero: it is not over
	acts    bool          // something is to be done in it
	free    time.Time     // when a run that was taken up again let it begin, or would have at the latest
	turn    chan struct{} // closed when its actions may begin
	members []*member

	mu     sync.Mutex
	newest time.Time // when its newest action began, or will at the soonest, or its turn came
	kept   int       // actions that something of ours keeps from beginning: the deadline waits for them
}

// member is an action in a stage.
type member struct {
	stage *stage
	item  events.Item
	ended chan struct{}

	mu     sync.Mutex
	begun  bool
	wanted bool   // it has come to what was wanted
	over   bool   // nobody waits for it any more
	why    string // it is waited for
}

// turnsOf works out the order and pace of a run. Where the run was in work before,
// the ledger says how far it had come.
func (r *runner) turnsOf(ctx context.Context, d *events.RunDelivery, fresh bool) (*turns, error) {
	run := &d.Run
	t := &turns{at: make(map[string]*member), paced: make(map[string]bool), called: make(map[string]bool), begin: run.StoredAt, broken: make(chan struct{})}
	if run.Held != "" {
		if _, a, ok := r.memory.approval(run); ok {
			t.begin = r.clock.Machine(a.At)
		}
	}
	t.lines = linesOf(run)
	pace := r.set().Pace
	for _, it := range run.Items {
		if isPaced(it) {
			t.paced[it.ID] = true
		}
	}
	if !pace.IsZero() && len(t.paced) > 1 {
		t.pace = newPacer(pace)
	}
	for _, line := range t.lines {
		for _, s := range line {
			s.newest = t.begin
			for _, m := range s.members {
				t.at[m.item.ID] = m
				s.newest = maxTime(s.newest, m.item.NotBefore)
			}
		}
	}
	t.isCrowded = len(run.Items) > r.workers
	switch {
	case fresh:
	case len(t.lines) > 0 || t.pace != nil:
		if err := r.recall(ctx, run, t); err != nil {
			return nil, err
		}
	case t.isCrowded && time.Since(run.StoredAt) > recallAfter:
		if err := r.recallCrowd(ctx, d, t); err != nil {
			return nil, err
		}
	}
	for _, line := range t.lines {
		for _, s := range line {
			s.newest = maxTime(s.newest, r.since) // the deadline of what a crash cut off begins anew
		}
	}
	return t, nil
}

// recallAfter is the age of a run from which on it matters how long its actions had
// stood in line before it was taken up: no give-up time is that short.
const recallAfter = 10 * time.Second

// recallCrowd reads from the ledger how long a run was in work whose actions only
// wait for a place among the calls under way.
func (r *runner) recallCrowd(ctx context.Context, d *events.RunDelivery, t *turns) error {
	for rec, err := range r.bus.Records(ctx, events.RegionFilter(d.Run.Region), d.Run.StoredAt.Add(-time.Minute)) {
		if err != nil {
			return fmt.Errorf("read how far run %s had come: %w", d.Run.Trigger, err)
		}
		if rec.RunSeq != d.Seq {
			continue
		}
		if gap := rec.StoredAt.Sub(maxTime(t.alive, t.begin)); gap > aliveGap {
			t.idle += gap
		}
		t.alive = maxTime(t.alive, rec.StoredAt)
		if rec.Outcome == events.Started {
			t.called[rec.ActionID] = true
		}
	}
	return nil
}

// aliveGap is how long a run in work whose actions only wait for a place may say
// nothing: as long as a call, and a look before and after it, may take. Longer, and
// nobody was there: that counts against the give-up times.
const aliveGap = 2 * callTimeout

// isPaced reports whether a pace is for an action: it shakes its instance.
func isPaced(it events.Item) bool {
	switch policies.Kind(it.Kind) {
	case policies.KindPower, policies.KindReboot, policies.KindSize:
		return it.Skip == "" && !it.Observe
	}
	return false
}

// linesOf are the stages of a run that wait for each other. A stage in which
// nothing is to be done waits for nobody, but its instances, which are as wanted
// already, have to be ready before the next begins.
func linesOf(run *events.Run) (lines [][]*stage) {
	type key struct{ order, group, action string }
	var keys []key // in the order of the run
	byKey := make(map[key][]*stage)
	at := make(map[events.Stage]*stage)
	for _, it := range run.Items {
		if it.Stage == nil || !wins(it) {
			continue
		}
		s := at[*it.Stage]
		if s == nil {
			s = &stage{Stage: *it.Stage, turn: make(chan struct{}), notice: policies.ActionID(run.Trigger, it.Stage.Turn, run.Region, policies.Kind(it.Stage.Action+" "+it.Stage.Order+" "+it.Stage.Group))}
			at[*it.Stage] = s
			k := key{s.Order, s.Group, s.Action}
			if byKey[k] == nil {
				keys = append(keys, k)
			}
			byKey[k] = append(byKey[k], s)
		}
		s.members = append(s.members, &member{stage: s, item: it, ended: make(chan struct{})})
		s.acts = s.acts || it.Skip == ""
	}
	for _, k := range keys {
		line := byKey[k]
		slices.SortStableFunc(line, func(a, b *stage) int { return a.Turn - b.Turn })
		for len(line) > 0 && !line[len(line)-1].acts {
			line = line[:len(line)-1]
		}
		if len(line) > 1 {
			close(line[0].turn)
			lines = append(lines, line)
		}
	}
	return lines
}

// recall reads from the ledger how far a run had come.
func (r *runner) recall(ctx context.Context, run *events.Run, t *turns) error {
	see := func(recs []events.Record) {
		for _, rec := range recs {
			t.alive = maxTime(t.alive, rec.StoredAt)
		}
	}
	for _, it := range run.Items {
		m := t.at[it.ID]
		if m == nil && !t.paced[it.ID] {
			continue
		}
		trail, err := r.bus.Trail(ctx, it.Region, it.Instance, it.ID)
		if err != nil {
			return fmt.Errorf("read the ledger of action %s: %w", it.ID, err)
		}
		see(trail.Records)
		last, ok := lastCall(trail)
		if !ok {
			continue
		}
		t.called[it.ID] = true
		if m != nil {
			m.begun = true
			m.stage.newest = maxTime(m.stage.newest, last.StoredAt)
		}
		if t.pace != nil {
			_, isEnded := trail.Outcome()
			t.pace.recall(it.ID, last.StoredAt, !isEnded)
		}
	}
	for _, line := range t.lines {
		free := t.begin
		for _, s := range line {
			s.free = free
			free = maxTime(free, s.newest).Add(s.Deadline)
			trail, err := r.bus.Trail(ctx, run.Region, events.None, s.notice)
			if err != nil {
				return fmt.Errorf("read how far %s has come: %w", s.words(), err)
			}
			see(trail.Records)
			for _, rec := range trail.Records {
				s.passed, free = rec.StoredAt, rec.StoredAt
			}
		}
	}
	return nil
}

// waited is how long an action that has not begun had waited for its turn before
// its run was taken up: until its stage was free to begin, or would have been at
// the latest; for its place as long as the run showed that it was alive.
func (t *turns) waited(it events.Item) time.Duration {
	if t.alive.IsZero() || t.called[it.ID] {
		return 0
	}
	var until time.Time
	if t.pace != nil && t.paced[it.ID] || t.isCrowded {
		until = t.alive
	}
	if m := t.at[it.ID]; m != nil {
		until = maxTime(until, minTime(m.stage.free, time.Now()))
	}
	return max(0, until.Sub(maxTime(t.begin, it.NotBefore))-t.idle)
}

// began takes up that an action makes its first call.
func (t *turns) began(id string) {
	m := t.at[id]
	if m == nil {
		return
	}
	m.mu.Lock()
	again := m.begun
	m.begun = true
	m.mu.Unlock()
	if !again {
		m.stage.mu.Lock()
		m.stage.newest = maxTime(m.stage.newest, time.Now())
		m.stage.mu.Unlock()
	}
}

// keep says that something of ours keeps an action from beginning, a canary, a
// limit, a pace, until release is called.
func (t *turns) keep(id string) (release func()) {
	m := t.at[id]
	if m == nil {
		return func() {}
	}
	count := func(by int) {
		m.stage.mu.Lock()
		defer m.stage.mu.Unlock()
		m.stage.kept += by
		m.stage.newest = maxTime(m.stage.newest, time.Now())
	}
	count(1)
	return func() { count(-1) }
}

// end takes up how the carrying out of an action ended. Where it cannot be carried
// on, nobody waits any longer: the run is taken up anew as soon as the others have ended.
func (t *turns) end(a *attempt, err error) {
	if a.placed {
		t.pace.release()
	}
	if err != nil {
		t.breakOff(err)
		return
	}
	if m := t.at[a.item.ID]; m != nil {
		m.mu.Lock()
		m.wanted = a.end.outcome == events.Done || a.end.outcome == events.Skipped && a.end.reason == policies.ReasonAlready
		m.why = strings.TrimSpace(string(a.end.outcome) + " " + string(a.end.reason))
		m.mu.Unlock()
		close(m.ended)
	}
}

// breakOff ends all waiting: the run is taken up anew.
func (t *turns) breakOff(err error) {
	t.once.Do(func() {
		t.fault = err
		close(t.broken)
	})
}

// walk lets the stages of a line begin, one after another.
func (r *runner) walk(ctx context.Context, t *turns, run *events.Run, line []*stage) error {
	for i, s := range line {
		last := i == len(line)-1
		if !s.passed.IsZero() {
			if !last {
				line[i+1].open(s.passed)
			}
			continue
		}
		if last && !s.asks() {
			return nil
		}
		reached, err := r.reach(ctx, t, s)
		if err != nil {
			return err
		}
		if err := r.noticeStage(ctx, run, s, reached); err != nil {
			return err
		}
		if !last {
			line[i+1].open(time.Now())
		}
	}
	return nil
}

// open lets a stage begin that waits for another.
func (s *stage) open(at time.Time) {
	s.mu.Lock()
	s.newest = maxTime(s.newest, at)
	s.mu.Unlock()
	close(s.turn)
}

// asks reports whether instances are asked if they are ready.
func (s *stage) asks() bool { return s.TCP > 0 || s.HTTP != "" }

func (s *stage) due() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept > 0 {
		return time.Now().Add(s.Deadline)
	}
	return s.newest.Add(s.Deadline)
}

// reach waits until nobody of a stage is waited for any more, or its deadline has
// passed.
func (r *runner) reach(ctx context.Context, t *turns, s *stage) (reached bool, err error) {
	var followers sync.WaitGroup // each ends with following
	defer followers.Wait()
	following, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan struct{}, len(s.members))
	for _, m := range s.members {
		followers.Go(func() {
			if r.follow(following, m) {
				m.mu.Lock()
				m.over = true
				m.mu.Unlock()
				over <- struct{}{}
			}
		})
	}
	timer := time.NewTimer(time.Until(s.due()))
	defer timer.Stop()
	for left := len(s.members); left > 0; {
		select {
		case <-over:
			left--
		case <-timer.C:
			if wait := time.Until(s.due()); wait > 0 { // one more has begun meanwhile
				timer.Reset(wait)
				continue
			}
			return false, nil
		case <-t.broken:
			return false, t.fault
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	return true, nil
}

// follow returns true when the next stage need not wait for an action any more:
// it has come to nothing, or to what was wanted, and the instance is ready.
func (r *runner) follow(ctx context.Context, m *member) bool {
	if m.item.Skip != skipAlready {
		select {
		case <-m.ended:
		case <-ctx.Done():
			return false
		}
		if !m.isWanted() {
			return true
		}
	}
	if !m.stage.asks() {
		return true
	}
	pace := readyPoll
	for {
		err := r.askReady(ctx, &m.stage.Stage, m.item)
		if err == nil || errors.Is(err, errGone) {
			m.say("")
			return true
		}
		if ctx.Err() != nil {
			return false // the deadline has passed: what was said before stands
		}
		m.say("not ready: " + err.Error())
		if sleepUntil(ctx, time.Now().Add(pace)) != nil {
			return false
		}
		pace = min(time.Duration(float64(pace)*verifyGrowth), readyPollMax)
	}
}

func (m *member) isWanted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted
}

func (m *member) say(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.why = why
}

// stageNames is how many instances a notice about a stage names.
const stageNames = 5

// noticeStage stores that a stage is over, and how.
func (r *runner) noticeStage(ctx context.Context, run *events.Run, s *stage, reached bool) error {
	rec := events.Record{
		ActionID: s.notice, Action: events.ActionStage, Reason: stageReached, Trigger: run.Origin(), Who: run.Who, Policy: policiesOf(run.Edges),
		Region: run.Region, Instance: events.None, Planned: run.Planned,
	}
	n, but := s.sum()
	rec.Detail = fmt.Sprintf("%s: reached by %d of %d", s.words(), n, len(s.members))
	if !reached {
		rec.Reason = events.StageLate
		rec.Detail = fmt.Sprintf("%s: %d of %d when its deadline of %s had passed; what comes after it goes on", s.words(), n, len(s.members), policies.SpanWords(s.Deadline))
	}
	if but != "" {
		rec.Detail += "; " + but
	}
	if err := r.bus.PublishNoticed(ctx, rec); err != nil {
		return fmt.Errorf("say that a stage of run %s is over: %w", run.Trigger, err)
	}
	passed(stageNoticed, s.Action)
	fields := []zap.Field{zap.String(keyTrigger, run.Trigger), regionField(run.Region), zap.String(keyReason, rec.Reason), zap.String(keyDetail, rec.Detail)}
	if reached {
		r.log.Info("stage over", fields...)
	} else {
		r.log.Error("stage over", fields...)
	}
	return nil
}

// sum says how many of a stage are as wanted, and ready, and what is with the others.
func (s *stage) sum() (n int, but string) {
	var others []string
	for _, m := range s.members {
		m.mu.Lock()
		switch name := cmp.Or(m.item.Hostname, m.item.Instance); {
		case m.over && (m.wanted || m.item.Skip == skipAlready):
			n++
		case m.why != "":
			others = append(others, name+" "+m.why)
		default:
			others = append(others, name+" under way")
		}
		m.mu.Unlock()
	}
	if more := len(others) - stageNames; more > 0 {
		others = append(others[:stageNames], fmt.Sprintf("%d more", more))
	}
	return n, strings.Join(others, ", ")
}

// words say which stage it is.
func (s *stage) words() string {
	name := "order " + s.Order
	if s.Group != "" {
		name += " (" + s.Group + ")"
	}
	return fmt.Sprintf("%s, turn %d of %d to %s", name, s.Turn, s.Of, s.Action)
}

// inTurn waits until the stage of an action may begin.
func inTurn(ctx context.Context, l *look) (next, bool, error) {
	t := l.a.turns
	m := t.at[l.a.item.ID]
	if m == nil {
		return pass()
	}
	select {
	case <-m.stage.turn:
		return pass()
	default:
	}
	n := next{turn: func(ctx context.Context, overtaken <-chan struct{}) error {
		select {
		case <-m.stage.turn:
		case <-overtaken:
		case <-t.broken:
			return t.fault
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		return nil
	}}
	return n, true, l.noteTurn(ctx, "waits for its turn: "+m.stage.words())
}

// noteTurn notes why an action waits, once: also when its run is taken up again.
func (l *look) noteTurn(ctx context.Context, why string) error {
	if slices.ContainsFunc(l.trail.Records, func(rec events.Record) bool { return rec.Outcome == events.Waiting && rec.Detail == why }) {
		l.a.noted = why
	}
	return l.r.note(ctx, l.a, why, "")
}

// await waits for the turn of an action. The wait is ours, and does not count
// against its give-up time.
func (r *runner) await(ctx context.Context, a *attempt, turn func(context.Context, <-chan struct{}) error) error {
	defer a.turns.keep(a.item.ID)()
	began := time.Now()
	err := turn(ctx, a.life.overtaken)
	a.imposed += time.Since(began)
	return err
}
