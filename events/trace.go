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

type traceKey struct{}

// WithTrace gives a context the trace context of what is being handled. What is
// stored with that context (commands, signals, plans, events) carries it on. One
// that is not of W3C's form is left out: a bad trace must not cost the message.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	if !isTrace(traceparent) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// TraceOf is the traceparent of what is being handled, empty when there is none.
func TraceOf(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}

func isTrace(s string) bool {
	return traceForm.MatchString(s) && s[:2] != "ff" && s[3:35] != noTrace && s[36:52] != noParent
}

// traced adds the trace context to a message.
func traced(ctx context.Context, msg *nats.Msg) *nats.Msg {
	if t := TraceOf(ctx); t != "" {
		if msg.Header == nil {
			msg.Header = nats.Header{}
		}
		msg.Header.Set(traceHeader, t)
	}
	return msg
}
