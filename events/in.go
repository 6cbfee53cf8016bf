package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// ErrTooLarge says that a message would be a dead letter.
var ErrTooLarge = errors.New("the signal is too large")

// commandActions are the actions that a command may name.
var commandActions = map[string]bool{"start": true, "stop": true, "reboot": true, "resize": true, "retag": true, "firewall": true}

// IsCommand reports whether a command may name an action.
func IsCommand(action string) bool { return commandActions[action] }

// PublishTick stores a tick unless one is there: then stored is false, and that
// one stands. The first replica wins.
func (b *Bus) PublishTick(ctx context.Context, t Tick) (stored bool, err error) {
	if err := checkTokens([]string{"policy"}, t.Policy); err != nil {
		return false, err
	}
	body, err := json.Marshal(t)
	if err != nil {
		return false, err
	}
	msg := &nats.Msg{Subject: tickSubject(t.Policy, t.Planned), Data: body}
	return b.storeOnce(ctx, StreamIn, msg, nil, func(data []byte) error {
		_, err := parseMessage(msg.Subject, "", data)
		return err
	})
}

// PublishTicks stores ticks as PublishTick does, those that wait for the disk
// together with one sync. Stored says it of each.
func (b *Bus) PublishTicks(ctx context.Context, ticks []Tick) (stored []bool, err error) {
	stored = make([]bool, len(ticks))
	g, storing := errgroup.WithContext(ctx) // ends with this call
	g.SetLimit(groupMost)
	for i, t := range ticks {
		g.Go(func() error {
			var err error
			if stored[i], err = b.PublishTick(storing, t); err != nil {
				return fmt.Errorf("store tick of policy %s: %w", t.Policy, err)
			}
			return nil
		})
	}
	return stored, g.Wait()
}

// storeOnce stores a message, and with it what belongs to it, unless its subject
// has one that can be read. One that cannot be read is a dead letter: it must not
// keep the place of what is meant.
func (b *Bus) storeOnce(ctx context.Context, stream string, msg *nats.Msg, with []*nats.Msg, check func(data []byte) error) (stored bool, err error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	if b.waits.isSlow() { // perhaps it was stored after all when its answer was not waited for any longer, and is refused together with others
		if there, err := b.newestOf(ctx, stream, msg.Subject); err == nil && check(there.Data) == nil {
			return false, nil
		}
	}
	for {
		if _, stored, err = b.publishExpecting(ctx, msg, 0, "", with...); stored || err != nil {
			return stored, err
		}
		there, err := b.newestOf(ctx, stream, msg.Subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			// A rival's is on its way, and may yet come to nothing; or the node that
			// answered lags behind.
			if err := sleep(ctx, trailRetry); err != nil {
				return false, fmt.Errorf("read %s: %w", msg.Subject, err)
			}
			continue
		case err != nil:
			return false, fmt.Errorf("read %s: %w", msg.Subject, b.explain(err))
		case check(there.Data) == nil:
			return false, nil
		}
		_, stored, err = b.publishExpecting(ctx, msg, there.Sequence, "", with...)
		return stored, err
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// LoadTick reads the tick of an edge, "<policy>@<unix>".
func (b *Bus) LoadTick(ctx context.Context, edgeID string) (Tick, bool, error) {
	var t Tick
	if err := checkEdge(edgeID); err != nil {
		return t, false, err
	}
	policy, unix, _ := cutLast(edgeID, '@')
	n, err := strconv.ParseInt(unix, 10, 64)
	if err != nil {
		return t, false, err
	}
	subject := tickSubject(policy, time.Unix(n, 0))
	found, err := b.load(ctx, StreamIn, subject, func(data []byte) error {
		elements, err := parseMessage(subject, "", data)
		if err == nil {
			t = *elements[0].in.Tick
		}
		return err
	})
	return t, found, err
}

// load reads the newest message of a subject. One that cannot be read is as good
// as none: it is a dead letter, and storeOnce replaces it.
func (b *Bus) load(ctx context.Context, stream, subject string, read func(data []byte) error) (bool, error) {
	ask, cancel := b.bounded(ctx)
	defer cancel()
	msg, err := b.newestOf(ask, stream, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", subject, b.explain(err))
	}
	if err := read(msg.Data); err != nil {
		b.log.Warn("a stored message cannot be read", zap.String("subject", subject), zap.Uint64("seq", msg.Sequence), zap.Error(err))
		return false, nil
	}
	return true, nil
}

// lagPatience is how long a node of NATS may lag behind another.
const lagPatience = 10 * time.Second

// loadStored is load for who knows that the message was stored: in a cluster the
// node that answers may lag behind the one that said so.
func (b *Bus) loadStored(ctx context.Context, stream, subject string, read func(data []byte) error) (found bool, err error) {
	for deadline := time.Now().Add(lagPatience); ; {
		found, err = b.load(ctx, stream, subject, read)
		if found || err != nil || b.embedded != nil || time.Now().After(deadline) {
			return found, err
		}
		if err := sleep(ctx, 10*trailRetry); err != nil {
			return false, err
		}
	}
}

// ErrIDUsed says that the id of a command was used for another one within the hour.
var ErrIDUsed = errors.New("the id is used for another command")

// PublishCommand stores a command and returns its sequence. With an ID, the same
// command published twice within an hour is stored once, and another one of that
// ID is refused.
func (b *Bus) PublishCommand(ctx context.Context, c Command) (seq uint64, err error) {
	if err := c.CheckSubject(); err != nil {
		return 0, err
	}
	if err := c.Check(); err != nil {
		return 0, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	msg := nats.NewMsg(CommandSubject(c.Who, c.Region, c.Instance, c.Action))
	msg.Data = body
	if c.ID != "" {
		msg.Header.Set(jetstream.MsgIDHeader, "cmd."+CommandTrigger(c.Who, c.ID))
	}
	ack, err := b.publish(ctx, traced(ctx, msg))
	if err != nil {
		return 0, err
	}
	if ack.Duplicate {
		return ack.Sequence, b.isSame(ctx, &c, ack.Sequence)
	}
	return ack.Sequence, nil
}

// isSame compares a command with that which has its id.
func (b *Bus) isSame(ctx context.Context, c *Command, seq uint64) error {
	s, err := b.stream(ctx, StreamIn)
	if err != nil {
		return err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	msg, err := s.GetMsg(ctx, seq)
	if err != nil {
		return fmt.Errorf("a command with the id %s is stored already; read it: %w", c.ID, b.explain(err))
	}
	elements, err := parseMessage(msg.Subject, "", msg.Data)
	if err != nil || elements[0].in == nil || elements[0].in.Command == nil || elements[0].in.Command.Asked() != c.Asked() {
		return fmt.Errorf("%w: id %s, stored at %s on %s", ErrIDUsed, c.ID, msg.Time.UTC().Format(time.RFC3339), msg.Subject)
	}
	return nil
}

// Asked is a hash of what a command asks for: the same for the same command of the
// same publisher sent twice. Reason and claim say why, not what.
func (c *Command) Asked() string {
	what := *c
	what.ID, what.Reason, what.Claim, what.NotBefore = "", "", "", c.NotBefore.UTC()
	body, err := json.Marshal(what)
	if err != nil {
		panic(err) // text, numbers and a time of this age
	}
	return shortHash(c.Who, c.Region, c.Instance, c.Action, string(body))
}

// PublishSignal stores a signal and returns its sequence. What has an identity
// (Signal.Trigger) and is published again within an hour is stored once.
func (b *Bus) PublishSignal(ctx context.Context, s Signal) (seq uint64, err error) {
	if err := checkTokens([]string{"source", "region", "instance"}, s.Source, s.Region, s.Instance); err != nil {
		return 0, err
	}
	if err := s.Check(); err != nil {
		return 0, err
	}
	body, err := json.Marshal(s)
	if err != nil {
		return 0, err
	}
	if len(body) > MaxBody {
		return 0, fmt.Errorf("%w: it has %d bytes, at most %d are read", ErrTooLarge, len(body), MaxBody)
	}
	msg := nats.NewMsg(SignalSubject(s.Source, s.Region, s.Instance))
	msg.Data = body
	if id := s.Trigger(); id != "" {
		msg.Header.Set(jetstream.MsgIDHeader, "sig."+id+"."+s.Instance)
	}
	ack, err := b.publish(ctx, traced(ctx, msg))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func (b *Bus) publish(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	if err := b.disk.err(); err != nil { // the server would not answer
		return nil, fmt.Errorf("publish on %s: %w", msg.Subject, err)
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	ctx, end := b.guard(ctx, msg.Subject)
	ack, err := b.js.PublishMsg(ctx, msg)
	if err = end(err); err != nil {
		return nil, fmt.Errorf("publish on %s: %w", msg.Subject, err)
	}
	return ack, nil
}

// publishExpecting publishes on the condition that the newest message of the
// subject, or of the filter when it is not empty, has a sequence. ok is false
// when the server refuses because it has another. What it is published with is
// stored before it, all or nothing.
func (b *Bus) publishExpecting(ctx context.Context, msg *nats.Msg, last uint64, filter string, with ...*nats.Msg) (seq uint64, ok bool, err error) {
	if msg.Header == nil {
		msg.Header = make(nats.Header)
	}
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(last, 10))
	if filter != "" {
		msg.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, filter)
	}
	if len(with) == 0 {
		seq, err = b.put(ctx, msg)
	} else {
		seq, err = b.commit(ctx, append(slices.Clip(with), msg))
	}
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) && (refusal.ErrorCode == errWrongLast || refusal.ErrorCode == errRivalInFlight) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return seq, true, nil
}

// The server's answers to an expectation that does not hold: another message is
// there, or, on replicated streams, on its way.
const (
	errWrongLast     jetstream.ErrorCode = 10071
	errRivalInFlight jetstream.ErrorCode = 10164
)

// Incoming is a message of NS_IN, or one element of a batch of signals. Exactly
// one of Tick, Command and Signal is set.
type Incoming struct {
	delivery
	Tick    *Tick
	Command *Command
	Signal  *Signal
}

// TriggerID identifies what came in, the same for the same thing sent twice: the
// tick's trigger, the sender's id of a command or signal, an alert's
// fingerprint and start, else the stream sequence.
func (in *Incoming) TriggerID() string {
	switch {
	case in.Tick != nil:
		return in.Tick.Trigger
	case in.Command != nil:
		if in.Command.ID != "" {
			return CommandTrigger(in.Command.Who, in.Command.ID)
		}
	case in.Signal != nil:
		if id := in.Signal.Trigger(); id != "" {
			return id
		}
	}
	id := "s" + strconv.FormatUint(in.Seq, 10)
	if in.Part > 0 {
		id += "-" + strconv.Itoa(in.Part)
	}
	return id
}

// Trigger is the trigger id of a signal that has an identity of its own, the same
// for the same thing sent twice; else empty.
func (s *Signal) Trigger() string {
	switch {
	case s.ID != "":
		return suffixed(CommandTrigger(s.Source, s.ID), s)
	case s.Fingerprint != "" && !s.StartsAt.IsZero():
		return suffixed(s.Source+"-"+shortHash(s.Fingerprint, s.StartsAt.UTC().Format(time.RFC3339Nano)), s)
	}
	return ""
}

func suffixed(id string, s *Signal) string {
	if s.Resolved() {
		return ResolvedID(id)
	}
	return id
}

// CommandTrigger is the trigger id of a command with an id: what its sender can
// look for in the events.
func CommandTrigger(who, id string) string {
	if t := who + "-" + id; isToken(t) && len(t) <= maxToken-len(ResolvedID("")) {
		return t
	}
	return shortToken(who) + "-" + shortHash(who, id)
}

// shortToken leaves room for a hash behind it.
func shortToken(s string) string { return s[:min(len(s), 40)] }

// CheckSubject says what of a command cannot stand in its subject.
func (c *Command) CheckSubject() error {
	return checkTokens([]string{"who", "region", "instance", "action"}, c.Who, c.Region, c.Instance, c.Action)
}

// Check says what is wrong with a command.
func (c *Command) Check() error {
	if !commandActions[c.Action] {
		return fmt.Errorf("action %q is none of start, stop, reboot, resize, retag, firewall", c.Action)
	}
	if c.Instance == None || c.Region == None {
		return errors.New("a command names an instance and its region")
	}
	if c.GiveUpAfter != "" {
		if d, err := time.ParseDuration(c.GiveUpAfter); err != nil || d <= 0 {
			return fmt.Errorf("give_up_after %q is not a positive duration such as 15m", c.GiveUpAfter)
		} else if d > keepIn {
			return fmt.Errorf("give_up_after %q is longer than a command is kept (%s)", c.GiveUpAfter, keepIn)
		}
	}
	if !isPlausible(c.NotBefore) {
		return fmt.Errorf("not_before %s is no time of this age", c.NotBefore.Format(time.RFC3339))
	}
	switch {
	case c.Action == "resize" && c.Size == "":
		return errors.New(`resize needs a size, such as {"size": "g3.medium"}`)
	case c.Action == "retag" && len(c.Add)+len(c.Remove) == 0:
		return errors.New(`retag needs tags to add or remove, such as {"add": ["team=a"]}`)
	case c.Action == "firewall" && c.Firewall == "":
		return errors.New(`firewall needs an id, such as {"firewall": "4c2e51ee-…"}; blank would open the default firewall`)
	}
	for _, t := range append(append([]string(nil), c.Add...), c.Remove...) {
		if err := checkTag(t); err != nil {
			return err
		}
	}
	return nil
}

func checkTag(t string) error {
	if t == "" {
		return errors.New("a tag is empty")
	}
	for _, r := range t {
		if r <= ' ' || r == ',' || r == 0x7f {
			return fmt.Errorf("tag %q has a blank, a comma or a control character, which Civo's tags cannot hold", t)
		}
	}
	return nil
}

// Check says what is wrong with a signal's body.
func (s *Signal) Check() error {
	switch {
	case countSet(s.Alert, s.Load, s.Name) != 1:
		return errors.New("a signal has exactly one of alert (its name), load (the metric's name) and signal (any other name)")
	case s.Load != "" && s.Value == nil:
		return errors.New("a load has a value")
	case s.Value != nil && (*s.Value != *s.Value):
		return errors.New("the value is a number")
	case s.Status != "" && s.Status != "firing" && s.Status != "resolved":
		return fmt.Errorf("status %q is neither firing nor resolved", s.Status)
	case !isPlausible(s.StartsAt) || !isPlausible(s.Time):
		return fmt.Errorf("the signal's time %s is no time of this age", s.At().Format(time.RFC3339))
	}
	return nil
}

// isPlausible refuses times that are not meant, and with which nothing can be
// reckoned: a plan of the year 10000 could not even be written down.
func isPlausible(t time.Time) bool {
	return t.IsZero() || t.Year() >= 2000 && t.Year() < 2200
}

func countSet(texts ...string) (n int) {
	for _, t := range texts {
		if t != "" {
			n++
		}
	}
	return n
}

// maxBatch bounds the elements of a batch: each may become a dead letter.
const maxBatch = 1000

// element is one part of a message, or all of it: what it says, or why it cannot
// be read.
type element struct {
	in    *Incoming
	trace Trace  // of a CloudEvent
	raw   []byte // of a batch: this element alone
	part  int    // 1, 2, … in a batch; 0: the message is not a batch
	err   error
}

// parseMessage reads a message of NS_IN, which on a signal's subject may be a
// batch. It fails when nothing of it can be read.
func parseMessage(subject, contentType string, data []byte) ([]element, error) {
	sub, err := parseInSubject(subject)
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBody {
		return nil, fmt.Errorf("the body has %d bytes, at most %d are read", len(data), MaxBody)
	}
	if sub.kind != "sig" {
		in, err := parseIncoming(sub, data)
		return []element{{in: in}}, err
	}
	kind := mediaType(contentType)
	isBatch := bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("["))
	switch {
	case kind == batchContentType && !isBatch:
		return nil, errors.New("the body is not a batch of CloudEvents: it is no JSON array")
	case !isBatch:
		e := parseElement(sub, data, kind == eventContentType)
		return []element{e}, e.err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return nil, fmt.Errorf("the body is not a batch of signals: %w", err)
	}
	if len(parts) == 0 || len(parts) > maxBatch {
		return nil, fmt.Errorf("a batch has 1 to %d signals, this one %d", maxBatch, len(parts))
	}
	elements := make([]element, len(parts))
	for i, raw := range parts {
		elements[i] = parseElement(sub, raw, kind == batchContentType)
		elements[i].raw, elements[i].part = raw, i+1
	}
	return elements, nil
}

// parseElement reads one signal.
func parseElement(sub inSubject, data []byte, isEvent bool) element {
	s, trace, err := parseSignal(data, isEvent)
	if err != nil {
		return element{err: err}
	}
	s.Source, s.Region, s.Instance = sub.who, sub.region, sub.instance
	return element{in: &Incoming{Signal: s}, trace: trace, err: s.Check()}
}

// parseIncoming reads a tick or a command, or says why it cannot be read.
func parseIncoming(sub inSubject, data []byte) (*Incoming, error) {
	if sub.kind == "tick" {
		t := &Tick{}
		if err := json.Unmarshal(data, t); err != nil {
			return nil, fmt.Errorf("the body is not a tick: %w", err)
		}
		if t.Policy != sub.policy || t.Planned.Unix() != sub.planned.Unix() || !isToken(t.Trigger) || t.Hash == "" {
			return nil, errors.New("the body is of another tick than the subject says, or lacks its trigger or hash")
		}
		for _, id := range t.Edges { // they make subjects
			if err := checkEdge(id); err != nil {
				return nil, err
			}
		}
		if t.Lead != "" {
			if err := checkEdge(t.Lead); err != nil {
				return nil, err
			}
		}
		return &Incoming{Tick: t}, nil
	}
	if len(data) == 0 {
		data = []byte("{}") // a stop needs no more than its subject
	}
	c := &Command{}
	// Strictly: a misspelt dry_run must not act, and neither must the answer to
	// somebody else's question.
	if err := unmarshalStrictly(data, c); err != nil {
		return nil, fmt.Errorf("the body is not a command: %w", err)
	}
	c.Who, c.Region, c.Instance, c.Action = sub.who, sub.region, sub.instance, sub.action
	return &Incoming{Command: c}, c.Check()
}

func checkEdge(id string) error {
	policy, unix, ok := cutLast(id, '@')
	n, err := strconv.ParseInt(unix, 10, 64)
	if !ok || err != nil || strconv.FormatInt(n, 10) != unix {
		return fmt.Errorf("%q is not the id of an edge", id)
	}
	return checkTokens([]string{"policy"}, policy)
}

// ConsumeIn hands everything that comes in to handle, at most n messages at once,
// until ctx ends and the running handlers have returned. The handler acknowledges
// before it returns; while it runs the message is kept from being delivered
// again. The signals of a batch are handed over one after another; when one of
// them is handed back, all are delivered again. What cannot be read is a dead
// letter. The context carries the message's trace context.
//
// Ticks, commands and signals have a consumer each, so that a storm of signals
// keeps no command waiting; most bounds the signals in hand.
func (b *Bus) ConsumeIn(ctx context.Context, n, most int, handle func(context.Context, *Incoming)) error {
	var all sync.WaitGroup // each ends with ctx
	for _, c := range []struct {
		durable, filter string
		n               int
	}{
		{durablePlanner, prefix + "tick.>", n},
		{durableCommands, prefix + "cmd.>", n},
		{durableSignals, prefix + "sig.>", most},
	} {
		all.Go(func() { _ = b.consumeKind(ctx, c.durable, c.filter, c.n, handle) })
	}
	all.Wait()
	return nil
}

func (b *Bus) consumeKind(ctx context.Context, durable, filter string, n int, handle func(context.Context, *Incoming)) error {
	return b.consume(ctx, StreamIn, durable, filter, n, func(ctx context.Context, d delivery) {
		headers := d.msg.Headers()
		ctx = traceIn(ctx, headers)
		elements, err := parseMessage(d.Subject, headers.Get(contentTypeHeader), d.msg.Data())
		if err == nil && isAnswer(headers) {
			err = errors.New("it is the answer to a question of somebody who had it sent here")
		}
		if err == nil && elements[0].in != nil && elements[0].in.Command != nil && len(d.msg.Data()) == 0 && b.nc.AuthRequired() {
			// Some answers of NATS are empty, and nothing tells them from a command.
			err = errors.New("where NATS has users a command needs a body, {} at least: an empty one may be the answer to a question of somebody who had it sent here")
		}
		if err != nil {
			b.bury(ctx, d, err.Error())
			return
		}
		if elements[0].part == 0 {
			elements[0].in.delivery = d
			handle(WithTrace(ctx, elements[0].trace), elements[0].in)
			return
		}
		b.handleBatch(ctx, d, elements, handle)
	})
}

// handleBatch hands over the signals of a batch, each with an identity of its
// own, and acknowledges the message when all of them are.
func (b *Bus) handleBatch(ctx context.Context, d delivery, elements []element, handle func(context.Context, *Incoming)) {
	whole := &answers{}
	for _, e := range elements {
		if ctx.Err() != nil { // the rest when it is delivered again
			whole.back(0)
			break
		}
		d := d
		d.Part, d.of = e.part, whole
		if e.err != nil {
			if err := b.putAway(ctx, d, e.raw, e.err.Error()); err != nil {
				b.log.Warn("dead letter not stored, will be tried again", zap.String("subject", d.Subject), zap.Error(err))
				whole.back(deadRetry)
			} else {
				whole.taken++
			}
			continue
		}
		e.in.delivery = d
		handle(WithTrace(ctx, e.trace), e.in)
	}
	var err error
	switch {
	case whole.handedBack:
		err = d.Nak(whole.delay)
	case whole.taken == len(elements):
		err = d.Ack()
	}
	if err != nil {
		b.log.Debug("acknowledgement lost, it will be delivered again", zap.Error(err))
	}
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
