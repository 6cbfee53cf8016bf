package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrTooLarge says that a message would be a dead letter.
var ErrTooLarge = errors.New("the signal is too large")

// commandActions are the actions that a command may name.
var commandActions = map[string]bool{"start": true, "stop": true, "reboot": true, "resize": true, "retag": true, "firewall": true}

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
	_, stored, err = b.publishExpecting(ctx, &nats.Msg{Subject: tickSubject(t.Policy, t.Planned), Data: body}, 0, "")
	return stored, err
}

// LoadTick reads the tick of an edge, "<policy>@<unix>".
func (b *Bus) LoadTick(ctx context.Context, edgeID string) (Tick, bool, error) {
	var t Tick
	policy, unix, ok := cutLast(edgeID, '@')
	n, err := strconv.ParseInt(unix, 10, 64)
	if !ok || err != nil {
		return t, false, fmt.Errorf("%q is not the id of an edge", edgeID)
	}
	found, err := b.load(ctx, StreamIn, tickSubject(policy, time.Unix(n, 0)), &t)
	return t, found, err
}

// load reads the newest message of a subject.
func (b *Bus) load(ctx context.Context, stream, subject string, into any) (bool, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return false, err
	}
	msg, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", subject, b.explain(err))
	}
	if err := json.Unmarshal(msg.Data, into); err != nil {
		return false, fmt.Errorf("read %s: %w", subject, err)
	}
	return true, nil
}

// PublishCommand stores a command and returns its sequence. With an ID, the
// same command published twice is stored once.
func (b *Bus) PublishCommand(ctx context.Context, c Command) (seq uint64, err error) {
	if err := checkTokens([]string{"who", "region", "instance", "action"}, c.Who, c.Region, c.Instance, c.Action); err != nil {
		return 0, err
	}
	if err := c.Check(); err != nil {
		return 0, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	msg := &nats.Msg{Subject: CommandSubject(c.Who, c.Region, c.Instance, c.Action), Data: body}
	ack, err := b.publish(ctx, msg)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
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
	var opts []jetstream.PublishOpt
	if id := s.Trigger(); id != "" {
		opts = append(opts, jetstream.WithMsgID("sig."+id+"."+s.Instance))
	}
	ack, err := b.publish(ctx, &nats.Msg{Subject: SignalSubject(s.Source, s.Region, s.Instance), Data: body}, opts...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func (b *Bus) publish(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, msg, opts...)
	if err != nil {
		return nil, fmt.Errorf("publish on %s: %w", msg.Subject, b.explain(err))
	}
	return ack, nil
}

// publishExpecting publishes on the condition that the newest message of the
// subject, or of the filter when it is not empty, has a sequence. ok is false
// when the server refuses because it has another.
func (b *Bus) publishExpecting(ctx context.Context, msg *nats.Msg, last uint64, filter string) (seq uint64, ok bool, err error) {
	expect := jetstream.WithExpectLastSequencePerSubject(last)
	if filter != "" {
		expect = jetstream.WithExpectLastSequenceForSubject(last, filter)
	}
	ack, err := b.publish(ctx, msg, expect)
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) && (refusal.ErrorCode == errWrongLast || refusal.ErrorCode == errRivalInFlight) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return ack.Sequence, true, nil
}

// The server's answers to an expectation that does not hold: another message is
// there, or, on replicated streams, on its way.
const (
	errWrongLast     jetstream.ErrorCode = 10071
	errRivalInFlight jetstream.ErrorCode = 10164
)

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, publishTimeout)
}

// Incoming is a message of NS_IN. Exactly one of Tick, Command and Signal is set.
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
	return "s" + strconv.FormatUint(in.Seq, 10)
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
		}
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
	}
	return nil
}

func countSet(texts ...string) (n int) {
	for _, t := range texts {
		if t != "" {
			n++
		}
	}
	return n
}

// parseIncoming reads a message of NS_IN, or says why it cannot be read.
func parseIncoming(subject string, data []byte) (*Incoming, error) {
	sub, err := parseInSubject(subject)
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBody {
		return nil, fmt.Errorf("the body has %d bytes, at most %d are read", len(data), MaxBody)
	}
	if len(data) == 0 && sub.kind == "cmd" {
		data = []byte("{}") // a stop needs no more than its subject
	}
	in := &Incoming{}
	switch sub.kind {
	case "tick":
		in.Tick = &Tick{}
		if err := json.Unmarshal(data, in.Tick); err != nil {
			return nil, fmt.Errorf("the body is not a tick: %w", err)
		}
		if in.Tick.Policy != sub.policy || in.Tick.Planned.Unix() != sub.planned.Unix() || !isToken(in.Tick.Trigger) || in.Tick.Hash == "" {
			return nil, errors.New("the body is of another tick than the subject says, or lacks its trigger or hash")
		}
	case "cmd":
		in.Command = &Command{}
		if err := json.Unmarshal(data, in.Command); err != nil {
			return nil, fmt.Errorf("the body is not a command: %w", err)
		}
		c := in.Command
		c.Who, c.Region, c.Instance, c.Action = sub.who, sub.region, sub.instance, sub.action
		return in, c.Check()
	default:
		in.Signal = &Signal{}
		if err := json.Unmarshal(data, in.Signal); err != nil {
			return nil, fmt.Errorf("the body is not a signal: %w", err)
		}
		s := in.Signal
		s.Source, s.Region, s.Instance = sub.who, sub.region, sub.instance
		return in, s.Check()
	}
	return in, nil
}

// ConsumeIn hands everything that comes in to handle, at most n at once, until
// ctx ends and the running handlers have returned. The handler acknowledges;
// while it runs the message is kept from being delivered again. What cannot be
// read is a dead letter.
func (b *Bus) ConsumeIn(ctx context.Context, n int, handle func(context.Context, *Incoming)) error {
	return b.consume(ctx, StreamIn, "planner", n, func(ctx context.Context, d delivery) {
		in, err := parseIncoming(d.Subject, d.msg.Data())
		if err != nil {
			b.bury(ctx, d, err.Error())
			return
		}
		in.delivery = d
		handle(ctx, in)
	})
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
