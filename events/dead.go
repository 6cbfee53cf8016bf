package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// DeadLetter is a message that could not be read, as NS_DLQ keeps it.
// Subject: nightshift.v1.dlq.<stream>.<sequence>, and a further .<part> for one
// signal of a batch.
type DeadLetter struct {
	Subject  string    `json:"subject" jsonschema:"On which it came."`
	Stream   string    `json:"stream" jsonschema:"From which stream: NS_IN or NS_RUN."`
	Seq      uint64    `json:"seq" jsonschema:"Its sequence there."`
	Part     int       `json:"part,omitempty" jsonschema:"Which signal of a batch: 1, 2, ...; absent: the whole message."`
	StoredAt time.Time `json:"stored_at" jsonschema:"When it came in."`
	Reason   string    `json:"reason" jsonschema:"Why it could not be read."`
	// Payload is the body when it is text, Binary when it is not: whole up to
	// MaxBody, else its beginning.
	Payload     string `json:"payload,omitempty" jsonschema:"The body when it is text: whole up to 64 KiB, else its beginning."`
	Binary      []byte `json:"payload_base64,omitempty" jsonschema:"The body when it is not text."`
	Size        int    `json:"size" jsonschema:"Of the whole body, bytes."`
	ContentType string `json:"content_type,omitempty" jsonschema:"Of the message, where it named one."`
	Trace       string `json:"traceparent,omitempty"`
	TraceState  string `json:"tracestate,omitempty"`

	N      uint64    `json:"-"` // set when read: its sequence in NS_DLQ, by which it is called
	DeadAt time.Time `json:"-"` // set when read: the server's
}

// ErrNoDeadLetter says that no dead letter has a number: it was dropped, retried,
// or is older than 30 days.
var ErrNoDeadLetter = errors.New("there is no such dead letter")

// Body is what is kept of the message.
func (l *DeadLetter) Body() []byte {
	if len(l.Binary) > 0 {
		return l.Binary
	}
	return []byte(l.Payload)
}

// IsWhole reports whether all of the message is kept, so that it can be sent again.
func (l *DeadLetter) IsWhole() bool { return len(l.Body()) == l.Size }

// bury stores a message as a dead letter, and ends its delivery only then.
func (b *Bus) bury(ctx context.Context, d delivery, reason string) {
	if err := b.putAway(ctx, d, d.msg.Data(), reason); err != nil {
		b.log.Warn("dead letter not stored, will be tried again", zap.String("subject", d.Subject), zap.Error(err))
		_ = d.Nak(deadRetry)
		return
	}
	if err := d.msg.Term(oneLine(reason)); err != nil {
		b.log.Debug("acknowledgement lost, it will be delivered again", zap.Error(err))
	}
}

// putAway stores a message, or a part of one, as a dead letter, and then its
// outcome.
func (b *Bus) putAway(ctx context.Context, d delivery, data []byte, reason string) error {
	if err := b.store(ctx, d, data, reason); err != nil {
		return err
	}
	rec, ok := deadOutcome(d, reason)
	if !ok {
		return nil
	}
	_, err := b.PublishOutcome(traceIn(context.WithoutCancel(ctx), d.msg.Headers()), rec)
	return err
}

// deadOutcome is how what a dead letter asked for ended, where its subject says
// what that was. It has an identity of its own, and not that which its body may
// claim: the same command, sent again and well written, must act. A tick has none:
// the good one takes the place of the bad, and has an outcome.
func deadOutcome(d delivery, reason string) (rec Record, ok bool) {
	sub, err := parseInSubject(d.Subject)
	if err != nil || sub.kind == "tick" || sub.instance == None {
		return rec, false
	}
	in := Incoming{delivery: d, Command: &Command{}}
	rec = Record{
		ActionID: shortHash("dead", d.Subject, strconv.FormatUint(d.Seq, 10), strconv.Itoa(d.Part)), Action: sub.action, Outcome: Failed, Reason: "invalid",
		Detail: "it cannot be read, and is kept as a dead letter (nightshift dead list): " + reason, Trigger: in.TriggerID(), Who: sub.who,
		Region: sub.region, Instance: sub.instance, Planned: d.StoredAt.UTC(),
	}
	if sub.kind == "sig" {
		rec.Action = "plan"
	}
	return rec, true
}

// store keeps a message, or a part of one, as a dead letter. One that is there
// already was stored by an earlier delivery.
func (b *Bus) store(ctx context.Context, d delivery, data []byte, reason string) error {
	ctx = context.WithoutCancel(ctx) // what is in hand when the consumer ends is still put away
	letter := newDeadLetter(d, data, reason)
	body, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	subject := prefix + "dlq." + letter.Stream + "." + strconv.FormatUint(d.Seq, 10)
	if d.Part > 0 {
		subject += "." + strconv.Itoa(d.Part)
	}
	if _, _, err = b.publishExpecting(ctx, &nats.Msg{Subject: subject, Data: body}, 0, ""); err != nil {
		return err
	}
	b.log.Warn("message cannot be read, kept as a dead letter", zap.String("subject", d.Subject), zap.Uint64("seq", d.Seq), zap.Int("part", d.Part), zap.String("reason", reason))
	return nil
}

func newDeadLetter(d delivery, data []byte, reason string) DeadLetter {
	letter := DeadLetter{Subject: d.Subject, Stream: StreamIn, Seq: d.Seq, Part: d.Part, StoredAt: d.StoredAt.UTC(), Reason: reason, Size: len(data)}
	if strings.HasPrefix(d.Subject, prefix+"run.") {
		letter.Stream = StreamRun
	}
	letter.Trace, letter.TraceState = d.msg.Headers().Get(traceHeader), d.msg.Headers().Get(stateHeader)
	if d.Part == 0 { // that of a batch is not that of its parts
		letter.ContentType = mediaType(d.msg.Headers().Get(contentTypeHeader))
	}
	kept := data[:min(len(data), MaxBody)]
	if isText(kept) {
		letter.Payload = string(kept)
	} else {
		letter.Binary = kept
	}
	return letter
}

// isText reports whether a body reads the same as a JSON string, at no great cost.
func isText(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	for _, r := range string(data) {
		if unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' {
			return false
		}
	}
	return true
}

// DeadLetters are those kept, oldest first. One that cannot be read, which is not
// ours, is passed over.
func (b *Bus) DeadLetters(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for msg, err := range b.scan(ctx, StreamDLQ, prefix+"dlq.>", time.Time{}) {
			letter, readErr := readDeadLetter(msg)
			if err == nil && readErr != nil {
				continue
			}
			if !yield(letter, err) || err != nil {
				return
			}
		}
	}
}

func readDeadLetter(msg *jetstream.RawStreamMsg) (letter DeadLetter, err error) {
	if msg == nil {
		return letter, ErrNoDeadLetter
	}
	if err := json.Unmarshal(msg.Data, &letter); err != nil {
		return letter, fmt.Errorf("read dead letter %d: %w", msg.Sequence, err)
	}
	letter.N, letter.DeadAt = msg.Sequence, msg.Time
	return letter, nil
}

// DeadLetter reads one by its number, or fails with ErrNoDeadLetter.
func (b *Bus) DeadLetter(ctx context.Context, n uint64) (DeadLetter, error) {
	s, err := b.stream(ctx, StreamDLQ)
	if err != nil {
		return DeadLetter{}, err
	}
	ask, cancel := b.bounded(ctx)
	defer cancel()
	msg, err := s.GetMsg(ask, n)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, fmt.Errorf("dead letter %d: %w", n, ErrNoDeadLetter)
	}
	if err != nil {
		return DeadLetter{}, fmt.Errorf("read dead letter %d: %w", n, b.explain(err))
	}
	return readDeadLetter(msg)
}

// DropDead forgets a dead letter.
func (b *Bus) DropDead(ctx context.Context, n uint64) error {
	s, err := b.stream(ctx, StreamDLQ)
	if err != nil {
		return err
	}
	ask, cancel := b.bounded(ctx)
	defer cancel()
	if err = s.DeleteMsg(ask, n); err == nil {
		return nil
	}
	if _, gone := b.DeadLetter(ctx, n); errors.Is(gone, ErrNoDeadLetter) { // the server has one code for several failures
		return gone
	}
	return fmt.Errorf("drop dead letter %d: %w", n, b.explain(err))
}

// RetryDead publishes the message of a dead letter once more, as it came, and
// forgets the letter. Asked for twice it is published once. It returns the
// message's new sequence in its stream.
func (b *Bus) RetryDead(ctx context.Context, l DeadLetter) (seq uint64, err error) {
	if !l.IsWhole() {
		return 0, fmt.Errorf("dead letter %d: only %d of %d bytes are kept, so it cannot be sent again", l.N, len(l.Body()), l.Size)
	}
	if err := checkRetry(l.Subject); err != nil {
		return 0, fmt.Errorf("dead letter %d: %w", l.N, err)
	}
	msg := nats.NewMsg(l.Subject)
	msg.Data = l.Body()
	msg.Header.Set(jetstream.MsgIDHeader, "retry-"+strconv.FormatUint(l.N, 10)+"-"+strconv.FormatInt(l.DeadAt.UnixNano(), 36))
	if l.ContentType != "" {
		msg.Header.Set(contentTypeHeader, l.ContentType)
	}
	ack, err := b.publish(ctx, traced(WithTrace(ctx, Trace{l.Trace, l.TraceState}), msg))
	if err != nil {
		return 0, fmt.Errorf("send dead letter %d again: %w", l.N, err)
	}
	if err := b.DropDead(ctx, l.N); err != nil && !errors.Is(err, ErrNoDeadLetter) {
		return ack.Sequence, fmt.Errorf("sent again as %d of %s, but the dead letter is still there: %w", ack.Sequence, ack.Stream, err)
	}
	return ack.Sequence, nil
}

// checkRetry lets only subjects pass that dead letters come from: what stands in
// NS_DLQ must not make the daemon publish anywhere else.
func checkRetry(subject string) error {
	for _, kind := range []string{"tick.", "cmd.", "sig.", "run."} {
		if rest, ok := strings.CutPrefix(subject, prefix+kind); ok {
			for token := range strings.SplitSeq(rest, ".") {
				if token == "" || strings.ContainsAny(token, "*> \t\r\n\x00") {
					return fmt.Errorf("subject %q is none that a message can be sent on", subject)
				}
			}
			return nil
		}
	}
	return fmt.Errorf("subject %q is none of the daemon's", subject)
}
