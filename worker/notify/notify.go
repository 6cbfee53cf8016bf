package notify

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"nightshift/events"
)

// Target is who is told.
type Target struct {
	Name  string
	URL   func() (string, error) // the address, a secret; asked for at each message
	Form  string                 // slack, json or cloudevents
	About []string               // kinds that it is told of beside steps that name it
}

// Kinds of messages.
const (
	Held   = "held"
	Failed = "failed"
	Warn   = "warn"
	Step   = "notify"
)

// Settings are what may change while the daemon runs.
type Settings struct {
	Targets   []Target
	Zone      *time.Location // of the times in texts; default UTC
	PublicURL string         // of the daemon, for links; empty: there are none
}

// Options are what a Notifier needs besides the bus.
type Options struct {
	Log       *zap.Logger       // default: none
	Now       func() time.Time  // plan time; default: the machine's
	Transport http.RoundTripper // default: that of package http
}

// Machine times.
const (
	// GiveUp is how long after what it tells of a message is still sent.
	GiveUp     = time.Hour
	retryMin   = 5 * time.Second
	retryMax   = 5 * time.Minute
	sendWithin = 10 * time.Second
	// claimFor is how long a replica has to send what it has claimed.
	claimFor = 3 * sendWithin
	// gather is how long a message waits for the other regions of its run.
	gather = 2 * time.Second
	// lookAgain is between two looks at a run that has not ended.
	lookAgain = 10 * time.Second
	// atOnce bounds the messages that one target is sent at the same time.
	atOnce = 8
	// markedFor is how long it is remembered that a message was sent: longer than
	// any event is delivered again.
	markedFor  = 8 * 24 * time.Hour
	pruneEvery = time.Hour
)

// Keys of ns_state.
const (
	stateTold = "told."      // <target>.<hash of the message's id>
	stateKey  = "notify.key" // of the signatures of links
)

// Notifier sends messages. Its methods are safe for concurrent use.
type Notifier struct {
	bus    *events.Bus
	log    *zap.Logger
	now    func() time.Time
	client *http.Client

	mu       sync.Mutex
	settings Settings
	changed  chan struct{} // closed, and made anew, when the settings change
	key      []byte        // of links; nil until it is asked for
}

// New puts a notifier together and starts nothing.
func New(bus *events.Bus, s Settings, o Options) *Notifier {
	n := &Notifier{bus: bus, log: o.Log, now: o.Now, settings: s, changed: make(chan struct{})}
	if n.log == nil {
		n.log = zap.NewNop()
	}
	if n.now == nil {
		n.now = func() time.Time { return time.Now().UTC() }
	}
	n.client = &http.Client{
		Transport: o.Transport, Timeout: sendWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // what is meant for one host goes to no other
	}
	return n
}

// Replace puts other settings in force. Messages under way to targets that are
// still there are delivered again.
func (n *Notifier) Replace(s Settings) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settings = s
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Notifier) current() (Settings, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.settings, n.changed
}

// Run sends messages until ctx ends, and returns when every goroutine that it
// started has ended.
func (n *Notifier) Run(ctx context.Context) {
	for ctx.Err() == nil {
		s, changed := n.current()
		working, stop := context.WithCancel(ctx)
		var all sync.WaitGroup // each ends with working
		for _, t := range s.Targets {
			if _, err := t.URL(); err != nil {
				n.log.Error("a target cannot be told of anything", zap.String("target", t.Name), zap.Error(err))
			}
			tell := &teller{n: n, target: t, settings: s, watched: make(map[string]uint64)}
			all.Go(func() { tell.run(working) })
		}
		all.Go(func() { n.prune(working) })
		select {
		case <-ctx.Done():
		case <-changed:
		}
		stop()
		all.Wait()
	}
}

// teller tells one target.
type teller struct {
	n        *Notifier
	target   Target
	settings Settings

	mu      sync.Mutex
	watched map[string]uint64 // runs that have not ended: which event waits for it
}

func (t *teller) run(ctx context.Context) {
	subjects := []string{events.ToldStep}
	for _, kind := range t.target.About {
		switch kind {
		case Held:
			subjects = append(subjects, events.ToldHeld)
		case Failed:
			subjects = append(append(subjects, events.ToldLate), events.ToldFailed...)
		case Warn:
			subjects = append(subjects, events.ToldWarn)
		}
	}
	if err := t.n.bus.Listen(ctx, t.target.Name, subjects, atOnce, t.handle); err != nil {
		t.n.log.Error("a target is told of nothing any more", zap.String("target", t.target.Name), zap.Error(err))
	}
}

func (t *teller) handle(ctx context.Context, d *events.Told) {
	again, err := t.tell(ctx, d)
	switch {
	case err != nil && ctx.Err() == nil:
		t.n.log.Warn("message not made, will be tried again", zap.String("target", t.target.Name), zap.Error(err))
		err = d.Nak(lookAgain)
	case err != nil:
		err = d.Nak(0)
	case again > 0:
		err = d.Nak(again)
	default:
		err = d.Ack()
	}
	if err != nil {
		t.n.log.Debug("acknowledgement lost, it will be delivered again", zap.Error(err))
	}
}

// tell brings one event to the target, or says when to try again; 0: it is done with.
func (t *teller) tell(ctx context.Context, d *events.Told) (again time.Duration, err error) {
	if isAddressed(&d.Record) && !slices.Contains(d.Record.To, t.target.Name) {
		return 0, nil
	}
	m, again, err := t.compose(ctx, &d.Record)
	if err != nil || again > 0 || m == nil {
		return again, err
	}
	c, err := t.claim(ctx, m)
	if err != nil || c.done || c.wait > 0 {
		return c.wait, err
	}
	if tooLate := time.Now().After(m.since.Add(GiveUp)); tooLate {
		return 0, t.giveUp(ctx, m, c, errors.New("nobody was there to send it in time"))
	}
	wait, fault := t.send(ctx, m)
	if fault == nil {
		t.n.log.Info("told", zap.String("target", t.target.Name), zap.String("message", m.Kind), zap.String("title", m.Title))
		return 0, t.mark(context.WithoutCancel(ctx), c, mark{Sent: time.Now().UTC()})
	}
	wait = max(wait, min(retryMin<<min(c.tries, 10), retryMax))
	if time.Now().Add(wait).After(m.since.Add(GiveUp)) {
		return 0, t.giveUp(ctx, m, c, fault)
	}
	t.n.log.Warn("message not sent, will be tried again", zap.String("target", t.target.Name), zap.String("title", m.Title), zap.Duration("delay", wait), zap.Error(fault))
	return wait, t.mark(context.WithoutCancel(ctx), c, mark{Tries: c.tries + 1, Until: time.Now().Add(wait).UTC()})
}

// isAddressed reports whether an event names who is to be told.
func isAddressed(rec *events.Record) bool {
	return rec.Action == events.ActionWarn || rec.Action == events.ActionNotify && rec.Outcome == events.Done
}

// giveUp says that a message will not reach its target.
func (t *teller) giveUp(ctx context.Context, m *Message, c claim, fault error) error {
	t.n.log.Error("message given up", zap.String("target", t.target.Name), zap.String("title", m.Title), zap.Error(fault))
	rec := events.Record{
		ActionID: events.TokenOf("not delivered", t.target.Name, m.ID), Action: events.ActionNotify, Reason: "not delivered",
		Detail: t.target.Name + " was not told: " + m.Title, Error: fault.Error(), Trigger: m.trigger(), Policy: m.Policy,
		Region: events.None, Instance: events.None, Planned: m.At, To: []string{t.target.Name},
	}
	if err := t.n.bus.PublishNoticed(ctx, rec); err != nil {
		return fmt.Errorf("say that a message is given up: %w", err)
	}
	return t.mark(ctx, c, mark{Sent: time.Now().UTC()})
}

// mark is what ns_state has of a message to a target.
type mark struct {
	Sent  time.Time `json:"sent,omitzero"`  // it is done with
	Until time.Time `json:"until,omitzero"` // somebody is at it
	Tries int       `json:"tries,omitempty"`
}

// claim is the right to send a message, or why there is none.
type claim struct {
	key   string
	rev   uint64
	tries int
	done  bool
	wait  time.Duration
}

// claim takes a message for this process, unless it was sent, or another is at it.
func (t *teller) claim(ctx context.Context, m *Message) (claim, error) {
	c := claim{key: stateTold + t.target.Name + "." + events.TokenOf(m.ID)}
	own := mark{Until: time.Now().Add(claimFor).UTC()}
	entry, err := t.n.bus.State().Get(ctx, c.key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		body, err := json.Marshal(own)
		if err != nil {
			return c, err
		}
		c.rev, err = t.n.bus.State().Create(ctx, c.key, body)
		return t.contested(c, err)
	case err != nil:
		return c, fmt.Errorf("see whether a message was sent: %w", err)
	}
	var have mark
	if err := json.Unmarshal(entry.Value(), &have); err != nil {
		have = mark{} // not ours: better told twice than never
	}
	c.rev, c.tries, own.Tries = entry.Revision(), have.Tries, have.Tries
	switch wait := time.Until(have.Until); {
	case !have.Sent.IsZero():
		c.done = true
		return c, nil
	case wait > 0:
		c.wait = wait
		return c, nil
	}
	return t.contested(c, t.put(ctx, &c, own))
}

// contested turns the loss of a race into a wait.
func (t *teller) contested(c claim, err error) (claim, error) {
	var refused *jetstream.APIError
	if errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &refused) && (refused.ErrorCode == 10071 || refused.ErrorCode == 10164) {
		c.wait = time.Second
		return c, nil
	}
	if err != nil {
		err = fmt.Errorf("claim a message: %w", err)
	}
	return c, err
}

func (t *teller) put(ctx context.Context, c *claim, m mark) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.rev, err = t.n.bus.State().Update(ctx, c.key, body, c.rev)
	return err
}

// mark ends a claim.
func (t *teller) mark(ctx context.Context, c claim, m mark) error {
	if err := t.put(ctx, &c, m); err != nil {
		return fmt.Errorf("mark a message: %w", err)
	}
	return nil
}

// prune forgets what was sent so long ago that no event comes again.
func (n *Notifier) prune(ctx context.Context) {
	for {
		timer := time.NewTimer(pruneEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if err := n.pruneOnce(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("marks of old messages are not forgotten", zap.Error(err))
		}
	}
}

func (n *Notifier) pruneOnce(ctx context.Context) error {
	keys, err := n.bus.State().ListKeysFiltered(ctx, stateTold+">")
	if err != nil {
		return err
	}
	defer func() { _ = keys.Stop() }()
	var names []string
	for key := range keys.Keys() {
		names = append(names, key)
	}
	for _, key := range names {
		entry, err := n.bus.State().Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if time.Since(entry.Created()) > markedFor {
			if err := n.bus.State().Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// signingKey is the key of the signatures of links: random, the same for all
// replicas, made by the first that needs it.
func (n *Notifier) signingKey(ctx context.Context) ([]byte, error) {
	n.mu.Lock()
	key := n.key
	n.mu.Unlock()
	if key != nil {
		return key, nil
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	if _, err := n.bus.State().Create(ctx, stateKey, fresh); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return nil, fmt.Errorf("store the key of links: %w", err)
	}
	entry, err := n.bus.State().Get(ctx, stateKey)
	if err != nil {
		return nil, fmt.Errorf("read the key of links: %w", err)
	}
	if len(entry.Value()) < len(fresh) {
		return nil, fmt.Errorf("the key of links, %s in %s, is too short: delete it, and a new one is made", stateKey, events.Bucket)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.key = entry.Value()
	return n.key, nil
}
