package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// DeadRequest asks for dead letters: nightshift.v1.ctl.dead. They are asked for
// over the control service, and not read from NS_DLQ, so that who looks after
// them needs no rights on streams: to send one again is to publish on a subject
// that vouches for somebody else.
type DeadRequest struct {
	N      uint64 `json:"n,omitempty"`      // one of them, with its payload whole; 0: a list, newest first
	Before uint64 `json:"before,omitempty"` // a list of those with smaller numbers
}

// DeadAnswer lists dead letters.
type DeadAnswer struct {
	Letters []DeadInfo `json:"letters"`
	Total   int        `json:"total"`          // kept in all
	More    uint64     `json:"more,omitempty"` // ask again with before: More; 0: that was all
}

// DeadInfo is one dead letter. N is what it is called by.
type DeadInfo struct {
	N      uint64    `json:"n"`
	DeadAt time.Time `json:"dead_at"`
	events.DeadLetter
}

// Bounds of a list: what NATS carries in a message is about 1 MB.
const (
	deadPage    = 200
	deadExcerpt = 200 // bytes of a payload
)

func (w *Worker) dead(ctx context.Context, req DeadRequest) (DeadAnswer, error) {
	answer := DeadAnswer{Letters: []DeadInfo{}}
	if req.N != 0 {
		l, err := w.deadLetter(ctx, req.N)
		if err != nil {
			return answer, err
		}
		answer.Letters, answer.Total = append(answer.Letters, deadInfo(l)), 1
		return answer, nil
	}
	for l, err := range w.bus.DeadLetters(ctx) { // oldest first
		if err != nil {
			return answer, err
		}
		answer.Total++
		if req.Before != 0 && l.N >= req.Before {
			continue
		}
		l.Payload = strings.ToValidUTF8(l.Payload[:min(len(l.Payload), deadExcerpt)], "")
		l.Binary = l.Binary[:min(len(l.Binary), deadExcerpt)]
		if answer.Letters = append(answer.Letters, deadInfo(l)); len(answer.Letters) > deadPage {
			answer.Letters = answer.Letters[1:]
			answer.More = answer.Letters[0].N
		}
	}
	slices.Reverse(answer.Letters)
	return answer, nil
}

func deadInfo(l events.DeadLetter) DeadInfo {
	return DeadInfo{N: l.N, DeadAt: l.DeadAt.UTC(), DeadLetter: l}
}

func (w *Worker) deadLetter(ctx context.Context, n uint64) (events.DeadLetter, error) {
	l, err := w.bus.DeadLetter(ctx, n)
	if errors.Is(err, events.ErrNoDeadLetter) {
		return l, events.Refuse(404, "there is no dead letter %d; nightshift dead list has their numbers", n)
	}
	return l, err
}

// DeadActRequest asks to send a dead letter's message again, or to drop it:
// nightshift.v1.ctl.dead-retry.<who> and .dead-drop.<who>.
type DeadActRequest struct {
	N   uint64 `json:"n"`
	Who string `json:"who,omitempty"` // as the sender says
}

// DeadActAnswer says what was done.
type DeadActAnswer struct {
	Subject string `json:"subject"`
	Stream  string `json:"stream"`
	Seq     uint64 `json:"seq,omitempty"` // of a message that was sent again: in its stream
}

func (w *Worker) retryDead(ctx context.Context, who string, req DeadActRequest) (answer DeadActAnswer, err error) {
	l, err := w.deadLetter(ctx, req.N)
	if err != nil {
		return answer, err
	}
	if !l.IsWhole() {
		return answer, events.Refuse(409, "only the first %d of %d bytes of dead letter %d are kept, so it cannot be sent again", len(l.Body()), l.Size, l.N)
	}
	answer = DeadActAnswer{Subject: l.Subject, Stream: l.Stream}
	if answer.Seq, err = w.bus.RetryDead(ctx, l); err != nil {
		return answer, err
	}
	w.noticeDead(ctx, l, "sent again", who, req.Who)
	return answer, nil
}

func (w *Worker) dropDead(ctx context.Context, who string, req DeadActRequest) (answer DeadActAnswer, err error) {
	l, err := w.deadLetter(ctx, req.N)
	if err != nil {
		return answer, err
	}
	if err := w.bus.DropDead(ctx, l.N); err != nil {
		return answer, err
	}
	w.noticeDead(ctx, l, "dropped", who, req.Who)
	return DeadActAnswer{Subject: l.Subject, Stream: l.Stream}, nil
}

// noticeDead leaves in the audit trail what became of a dead letter.
func (w *Worker) noticeDead(ctx context.Context, l events.DeadLetter, what, who, claim string) {
	rec := events.Record{
		ActionID: policies.ActionID("dead "+what, int(l.N), events.None, "message"), Action: "message", Outcome: events.Noticed, Reason: what,
		Detail:  fmt.Sprintf("dead letter %d of %s on %s (%s) %s", l.N, l.StoredAt.Format(time.RFC3339), l.Subject, l.Reason, what),
		Trigger: fmt.Sprintf("s%d", l.Seq), Who: who, Claim: clip(claim), Region: events.None, Instance: events.None, Planned: w.o.Clock.Now(),
	}
	if err := w.bus.PublishNoticed(ctx, rec); err != nil && ctx.Err() == nil {
		w.o.Log.Warn("the notice about a dead letter is not stored", zap.Error(err))
	}
}
