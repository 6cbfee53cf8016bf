package events

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// DeadLetter is a message that could not be read, as NS_DLQ keeps it.
// Subject: nightshift.v1.dlq.<stream>.<sequence>.
type DeadLetter struct {
	Subject  string    `json:"subject"` // on which it came
	Stream   string    `json:"stream"`
	Seq      uint64    `json:"seq"`
	StoredAt time.Time `json:"stored_at"`
	Reason   string    `json:"reason"`
	Payload  string    `json:"payload"` // its beginning, when it is text
	Size     int       `json:"size"`    // of the whole body, bytes
}

// maxDeadPayload bounds what is kept of a dead letter's body.
const maxDeadPayload = 8 << 10

// bury stores a message as a dead letter, and ends its delivery only then.
func (b *Bus) bury(ctx context.Context, d delivery, reason string) {
	ctx = context.WithoutCancel(ctx) // what is in hand when the consumer ends is still put away
	stream := StreamIn
	if strings.HasPrefix(d.Subject, prefix+"run.") {
		stream = StreamRun
	}
	data := d.msg.Data()
	letter := DeadLetter{Subject: d.Subject, Stream: stream, Seq: d.Seq, StoredAt: d.StoredAt.UTC(), Reason: reason, Size: len(data)}
	if text := data[:min(len(data), maxDeadPayload)]; utf8.Valid(text) {
		letter.Payload = string(text)
	}
	body, err := json.Marshal(letter)
	if err == nil {
		subject := prefix + "dlq." + stream + "." + strconv.FormatUint(d.Seq, 10)
		_, _, err = b.publishExpecting(ctx, &nats.Msg{Subject: subject, Data: body}, 0, "") // there already: buried before
	}
	if err != nil {
		b.log.Warn("dead letter not stored, will be tried again", zap.String("subject", d.Subject), zap.Error(err))
		_ = d.Nak(deadRetry)
		return
	}
	b.log.Warn("message cannot be read, kept as a dead letter", zap.String("subject", d.Subject), zap.Uint64("seq", d.Seq), zap.String("reason", reason))
	if err := d.msg.TermWithReason(reason); err != nil {
		b.log.Debug("acknowledgement lost, it will be delivered again", zap.Error(err))
	}
}

// DeadLetters are those kept, oldest first.
func (b *Bus) DeadLetters(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for msg, err := range b.scan(ctx, StreamDLQ, prefix+"dlq.>", time.Time{}) {
			var letter DeadLetter
			if err == nil {
				if err = json.Unmarshal(msg.Data, &letter); err != nil {
					err = fmt.Errorf("read dead letter %d: %w", msg.Sequence, err)
				}
			}
			if !yield(letter, err) || err != nil {
				return
			}
		}
	}
}
