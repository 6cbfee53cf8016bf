package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Streams are read by NATS's direct get, and its answers are read here: the client
// takes a stored message without a body for an answer of the server when whoever
// published it wrote a header Status, so that anybody who may publish could end a
// reading where he likes. What is stored comes with its sequence, which the server
// adds behind all headers that the message has; what only the server says has none.

// newestMost bounds the subjects of one filter that are read: an action has a
// handful.
const newestMost = 256

// directAsk is the question of a direct get.
type directAsk struct {
	Batch  int        `json:"batch,omitempty"`
	Seq    uint64     `json:"seq,omitempty"`
	Since  *time.Time `json:"start_time,omitempty"`
	Filter string     `json:"next_by_subj,omitempty"`
	Last   string     `json:"last_by_subj,omitempty"`
	Newest []string   `json:"multi_last,omitempty"`
}

// most is how many messages answer it.
func (a *directAsk) most() int {
	switch {
	case a.Last != "":
		return 1
	case a.Newest != nil:
		return newestMost
	}
	return a.Batch
}

// direct reads messages of a stream; left is how many more there are, where it is
// asked for a batch: the server also ends one that has become large.
func (b *Bus) direct(ctx context.Context, stream string, ask directAsk) (msgs []*jetstream.RawStreamMsg, left uint64, err error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, 0, err
	}
	answers := make(chan *nats.Msg, ask.most()+1)
	inbox := b.nc.NewInbox()
	sub, err := b.nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, body); err != nil {
		return nil, 0, err
	}
	for {
		select {
		case answer := <-answers:
			msg, end, err := directAnswer(answer)
			switch {
			case err != nil:
				return nil, 0, err
			case end:
				left, _ = strconv.ParseUint(answer.Header.Get("Nats-Num-Pending"), 10, 64)
				return msgs, left, nil
			}
			if msgs = append(msgs, msg); ask.Last != "" {
				return msgs, 0, nil
			}
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// newest reads the newest message of each subject that a filter matches, in no
// order. It is jetstreamext.GetLastMsgsFor with a channel of a fitting size: that
// one takes half a megabyte for each question, and a ledger is asked often.
func (b *Bus) newest(ctx context.Context, stream, filter string) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		msgs, _, err := b.direct(ctx, stream, directAsk{Newest: []string{filter}})
		for _, msg := range msgs {
			if !yield(msg, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// newestOf reads the newest message that a subject or filter has, or fails with
// jetstream.ErrMsgNotFound.
func (b *Bus) newestOf(ctx context.Context, stream, filter string) (*jetstream.RawStreamMsg, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	msg, err := s.GetLastMsgForSubject(ctx, filter)
	if err == nil && len(msg.Header[jetstream.SequenceHeader]) < 2 {
		return msg, nil
	}
	if ctx.Err() != nil {
		return nil, err
	}
	msgs, _, err := b.direct(ctx, stream, directAsk{Last: filter}) // it may look like an answer of the server
	if err == nil && len(msgs) == 0 {
		err = jetstream.ErrMsgNotFound
	}
	if err != nil {
		return nil, err
	}
	return msgs[0], nil
}

// directAnswer reads one of the messages that answer a direct get; end says that
// there is no more.
func directAnswer(m *nats.Msg) (msg *jetstream.RawStreamMsg, end bool, err error) {
	if len(m.Header[jetstream.SequenceHeader]) == 0 {
		switch status := m.Header.Get("Status"); status {
		case "204", "404":
			return nil, true, nil
		case "503":
			return nil, false, nats.ErrNoResponders
		case "":
			return nil, false, errors.New("the server's answer has no sequence")
		default:
			return nil, false, fmt.Errorf("the server answers %s %s", status, m.Header.Get("Description"))
		}
	}
	msg = &jetstream.RawStreamMsg{Subject: added(m.Header, jetstream.SubjectHeader), Header: m.Header, Data: m.Data}
	if msg.Sequence, err = strconv.ParseUint(added(m.Header, jetstream.SequenceHeader), 10, 64); err != nil {
		return nil, false, fmt.Errorf("the server's answer has no sequence: %w", err)
	}
	if msg.Time, err = time.Parse(time.RFC3339Nano, added(m.Header, jetstream.TimeStampHeaer)); err != nil {
		return nil, false, fmt.Errorf("the server's answer has no time: %w", err)
	}
	return msg, false, nil
}

// added is a header as the server has added it, behind what the message may have
// under the same name.
func added(h nats.Header, name string) string {
	if all := h[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}
