package events

import (
	"context"
	"regexp"

	"github.com/nats-io/nats.go"
)

// traceHeader is the name of W3C's trace context, as a NATS header (which are
// case-sensitive), an HTTP header and a CloudEvents extension attribute.
const traceHeader = "traceparent"

var traceForm = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

const (
	noTrace  = "00000000000000000000000000000000"
	noParent = "0000000000000000"
)

// stateHeader is the name of what tracers add to the trace context for each other.
const stateHeader = "tracestate"

// stateForm bounds it by what W3C asks of its readers: 512 characters that print.
var stateForm = regexp.MustCompile(`^[ -~]{1,512}$`)

// A Trace is W3C's trace context: the traceparent, and the tracestate that belongs
// to it. Zero is none.
type Trace struct{ Parent, State string }

type traceKey struct{}

// WithTrace gives a context the trace context of what is being handled. What is
// stored with that context (commands, signals, plans, events) carries it on. One
// that is not of W3C's form is left out: a bad trace must not cost the message.
func WithTrace(ctx context.Context, t Trace) context.Context {
	if !isTrace(t.Parent) {
		return ctx
	}
	if !stateForm.MatchString(t.State) {
		t.State = ""
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf is the trace context of what is being handled.
func TraceOf(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}

func isTrace(s string) bool {
	return traceForm.MatchString(s) && s[:2] != "ff" && s[3:35] != noTrace && s[36:52] != noParent
}

func headerTrace(h nats.Header) Trace { return Trace{h.Get(traceHeader), h.Get(stateHeader)} }

// traceIn takes up the trace context of a message.
func traceIn(ctx context.Context, h nats.Header) context.Context {
	return WithTrace(ctx, headerTrace(h))
}

// traced adds the trace context to a message.
func traced(ctx context.Context, msg *nats.Msg) *nats.Msg {
	t := TraceOf(ctx)
	if t.Parent == "" {
		return msg
	}
	if msg.Header == nil {
		msg.Header = nats.Header{}
	}
	msg.Header.Set(traceHeader, t.Parent)
	if t.State != "" {
		msg.Header.Set(stateHeader, t.State)
	}
	return msg
}
