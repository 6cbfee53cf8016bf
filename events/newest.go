package events

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// newestMost bounds the subjects of one filter that are read: an action has a
// handful.
const newestMost = 256

// newest reads the newest message of each subject that a filter matches, in no
// order. It is jetstreamext.GetLastMsgsFor with a channel of a fitting size: that
// one takes half a megabyte for each question, and a ledger is asked often.
func (b *Bus) newest(ctx context.Context, stream, filter string) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		ask, err := json.Marshal(map[string]any{"multi_last": []string{filter}})
		if err != nil {
			yield(nil, err)
			return
		}
		answers := make(chan *nats.Msg, newestMost+1)
		inbox := b.nc.NewInbox()
		sub, err := b.nc.ChanSubscribe(inbox, answers)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = sub.Unsubscribe() }()
		if err := b.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, ask); err != nil {
			yield(nil, err)
			return
		}
		for {
			select {
			case answer := <-answers:
				msg, end, err := directAnswer(answer)
				if end {
					return
				}
				if !yield(msg, err) || err != nil {
					return
				}
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
	}
}

// directAnswer reads one of the messages that answer a direct get; end says that
// there is no more.
func directAnswer(m *nats.Msg) (msg *jetstream.RawStreamMsg, end bool, err error) {
	switch status := m.Header.Get("Status"); {
	case len(m.Data) > 0 || status == "":
	case status == "204" || status == "404":
		return nil, true, nil
	case status == "503":
		return nil, false, nats.ErrNoResponders
	default:
		return nil, false, fmt.Errorf("the server answers %s %s", status, m.Header.Get("Description"))
	}
	msg = &jetstream.RawStreamMsg{Subject: m.Header.Get(jetstream.SubjectHeader), Header: m.Header, Data: m.Data}
	if msg.Sequence, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64); err != nil {
		return nil, false, fmt.Errorf("the server's answer has no sequence: %w", err)
	}
	if msg.Time, err = time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer)); err != nil {
		return nil, false, fmt.Errorf("the server's answer has no time: %w", err)
	}
	return msg, false, nil
}
