package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"nightshift/events"
)

// endpoints are those of the control service that the worker answers.
func (w *Worker) endpoints(p *planner) []events.Endpoint {
	do := endpoint("do", "Act on one instance: do.<who>.<region>.<instance>.<action>. It is stored, then answered.", func(context.Context, events.Command) (DoAnswer, error) { return DoAnswer{}, nil })
	do.Subject, do.Handle = "*.*.*.*", func(ctx context.Context, r events.Request) (any, error) { return w.do(ctx, p, r) }
	status := endpoint("status", "How the daemon is doing. Every replica answers.", func(ctx context.Context, _ struct{}) (Status, error) { return w.Status(ctx), nil })
	status.Everyone = true
	return []events.Endpoint{
		status, do,
		endpoint("plan", "Say what would be done now if all that is wanted were put into force.", w.plan),
		endpoint("run", "Act on all instances that a selector chooses, as one run; the answer is the plan.", func(ctx context.Context, req RunRequest) (RunAnswer, error) { return w.runOn(ctx, p, req) }),
		endpoint("check", "Look a year ahead over the policies in force, with the instances as they are.", w.check),
		endpoint("find", "Find instances by id or host name.", w.find),
		endpoint("inventory", "List the daemon's instances, page by page, with what is remembered of them.", w.inventory),
		endpoint("explain", "Say who wants what of an instance, who wins, and why.", w.explain),
		endpoint("keep", "Keep an instance in a state for a while, whatever policies want.", w.keep),
		endpoint("pause", "Let everything, a policy, or the policies of an instance fall silent.", w.pause),
		endpoint("resume", "End a pause.", w.resume),
		endpoint("runs", "List runs, or one with its actions.", w.runs),
		endpoint("approve", "Let a held run go on.", w.approveRun),
		endpoint("retry", "Ask again for what failed in a run, as one run.", func(ctx context.Context, req ApproveRequest) (ApproveAnswer, error) { return w.retryRun(ctx, p, req) }),
		endpoint("undo", "Ask for the opposite of what a run has done, as one run.", func(ctx context.Context, req ApproveRequest) (ApproveAnswer, error) { return w.undoRun(ctx, p, req) }),
		endpoint("unsettled", "List the actions whose outcome is unknown and that nobody has settled.", w.unsettled),
		endpoint("settle", "Say how an action ended whose outcome is unknown.", w.settle),
		endpoint("dead", "List the messages that could not be read, or one with its payload.", w.dead),
		endpoint("dead-retry", "Send the message of a dead letter again, as it came.", w.retryDead),
		endpoint("dead-drop", "Forget a dead letter.", w.dropDead),
		endpoint("account", "Say which account the store belongs to, and which the token.", func(ctx context.Context, _ struct{}) (AccountAnswer, error) { return w.accountNow(ctx) }),
		endpoint("account-accept", "Let the store belong to the account of the token from now on.", w.acceptAccount),
	}
}

// endpoint is a question with a form for what is asked and one for the answer.
func endpoint[Q, A any](name, about string, handle func(context.Context, Q) (A, error)) events.Endpoint {
	return events.Endpoint{
		Name: name, About: about, Schemas: map[string]string{"request": schemaOf[Q](), "answer": schemaOf[A]()},
		Handle: func(ctx context.Context, r events.Request) (any, error) {
			var q Q
			if err := decode(r.Body, &q); err != nil {
				return nil, events.Refuse(400, "%s: the request cannot be read: %v; nats service info nightshift shows its schema", name, err)
			}
			return handle(ctx, q)
		},
	}
}

// decode reads a request strictly: a key that is misspelt must not be ignored. An
// empty body asks for nothing in particular.
func decode(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("something follows the request")
	}
	return nil
}

// schemaOf describes a form as JSON Schema.
func schemaOf[T any]() string {
	schema, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[time.Time](): {Type: "string", Format: "date-time"},
		reflect.TypeFor[[]byte]():    {Type: "string", ContentEncoding: "base64"},
	}})
	if err != nil {
		panic(fmt.Sprintf("schema of %s: %v", reflect.TypeFor[T](), err)) // a form that JSON cannot hold
	}
	text, err := json.Marshal(schema)
	if err != nil {
		panic(err)
	}
	return string(text)
}
