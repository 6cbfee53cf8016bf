package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// ReasonRefused is the reason of a notice that something was asked for and refused.
const ReasonRefused = "refused"

// refused is a question that changes something, and its answer.
type refused struct {
	question, who, claim string
	action               string // a verb, or the question
	region, instance     string
	scope                struct {
		Who      string `json:"who"`
		Region   string `json:"region"`
		Instance string `json:"instance"`
	}
	err error
}

// inTrail is a refusal that the audit trail has already, as the outcome of a command.
type inTrail struct{ error }

func (e inTrail) Unwrap() error { return e.error }

// Bounds of the refusals that the audit trail has: somebody may ask for what is
// refused as often as they can.
const (
	refusalsOfOne = 10 // in a minute
	refusalsOfAll = 60
	refusalText   = 500 // bytes of what was answered
)

// refusals counts those of the present minute.
type refusals struct {
	mu    sync.Mutex
	since time.Time // machine time
	of    map[string]int
	all   int
	left  int // were not stored since the last that was
}

// take counts one more, and says whether it is to be stored, and how many before it
// were not.
func (r *refusals) take(who string, now time.Time) (left int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) >= time.Minute {
		r.since, r.of, r.all = now, make(map[string]int), 0
	}
	if r.of[who] >= refusalsOfOne || r.all >= refusalsOfAll {
		r.left++
		return 0, false
	}
	r.of[who]++
	r.all++
	left, r.left = r.left, 0
	return left, true
}

// noticeRefused leaves a refusal in the audit trail, under the instance where there
// is one: what is asked for in somebody's name and not done is nobody's secret. What
// could not be read just now (503) is no refusal.
func (w *Worker) noticeRefused(ctx context.Context, r refused) {
	var no *events.Refusal
	if !errors.As(r.err, &no) || no.Code >= 500 || errors.As(r.err, new(inTrail)) || !events.IsWho(r.who) {
		return
	}
	left, ok := w.refusals.take(r.who, time.Now())
	if !ok {
		return
	}
	if r.claim == "" {
		r.claim = r.scope.Who
	}
	if r.region == "" {
		r.region, r.instance = r.scope.Region, r.scope.Instance
	}
	about := asked{action: r.action, reason: ReasonRefused, who: r.who, claim: r.claim, detail: r.question + ": " + strings.ToValidUTF8(no.Msg[:min(len(no.Msg), refusalText)], "�")}
	if left > 0 {
		about.detail += fmt.Sprintf(" (%d refusals before it are not listed)", left)
	}
	if !events.IsCommand(r.action) && (r.question == "do" || r.question == "run") {
		about.action = "command"
	}
	if inst, known := w.lastSeen(r.region, r.instance); known { // else anybody could fill the stream with names
		about.inst = inst
	} else if r.region != "" && w.inv.Has(r.region) {
		about.inst = policies.Instance{Region: r.region}
	}
	w.o.Log.Warn("refused", zap.String("question", r.question), zap.String("who", r.who), zap.String(keyDetail, about.detail))
	w.noticeAsked(ctx, about)
}
