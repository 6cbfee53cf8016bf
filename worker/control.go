package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"nightshift/events"
)

// endpoints are those of the control service that the worker answers.
func (w *Worker) endpoints(p *planner) []events.Endpoint {
	do := endpoint("do", "Act on one instance: do.<who>.<region>.<instance>.<action>. It is stored, then answered.", func(context.Context, events.Command) (DoAnswer, error) { return DoAnswer{}, nil })
	do.Subject, do.Handle = "*.*.*.*", func(ctx context.Context, r events.Request) (any, error) { return w.do(ctx, p, r) }
	run := endpoint("run", "Act on all instances that a selector chooses, as one run: run.<who>.<region>.<action>, _ for all regions; the answer is the plan.", func(context.Context, RunRequest) (RunAnswer, error) { return RunAnswer{}, nil })
	run.Subject, run.Handle = "*.*.*", func(ctx context.Context, r events.Request) (any, error) { return w.runOn(ctx, p, r) }
	status := endpoint("status", "How the daemon is doing. Every replica answers.", func(ctx context.Context, _ struct{}) (Status, error) { return w.Status(ctx), nil })
	status.Everyone = true
	return []events.Endpoint{
		status, do, run,
		endpoint("plan", "Say what would be done now if all that is wanted were put into force.", w.plan),
		endpoint("check", "Look a year ahead over the policies in force, with the instances as they are.", w.check),
		endpoint("find", "Find instances by id or host name.", w.find),
		endpoint("inventory", "List the daemon's instances, page by page, with what is remembered of them.", w.inventory),
		endpoint("explain", "Say who wants what of an instance, who wins, and why.", w.explain),
		vouched(w, "keep", "Keep an instance in a state for a while, whatever policies want.", w.keep),
		vouched(w, "pause", "Let everything, a policy, or the policies of an instance fall silent.", w.pause),
		vouched(w, "resume", "End a pause.", w.resume),
		endpoint("runs", "List runs, or one with its actions.", w.runs),
		vouched(w, "approve", "Let a held run go on.", w.approveRun),
		vouched(w, "retry", "Ask again for what failed in a run, as one run.", func(ctx context.Context, who string, req ApproveRequest) (ApproveAnswer, error) {
			return w.retryRun(ctx, p, who, req)
		}),
		vouched(w, "undo", "Ask for the opposite of what a run has done, as one run.", func(ctx context.Context, who string, req ApproveRequest) (ApproveAnswer, error) {
			return w.undoRun(ctx, p, who, req)
		}),
		endpoint("unsettled", "List the actions whose outcome is unknown and that nobody has settled.", w.unsettled),
		vouched(w, "settle", "Say how an action ended whose outcome is unknown.", w.settle),
		endpoint("dead", "List the messages that could not be read, or one with its payload.", w.dead),
		vouched(w, "dead-retry", "Send the message of a dead letter again, as it came.", w.retryDead),
		vouched(w, "dead-drop", "Forget a dead letter.", w.dropDead),
		endpoint("account", "Say which account the store belongs to, and which the token.", func(ctx context.Context, _ struct{}) (AccountAnswer, error) { return w.accountNow(ctx) }),
		vouched(w, "account-accept", "Let the store belong to the account of the token from now on.", w.acceptAccount),
	}
}

// endpoint is a question with a form for what is asked and one for the answer.
func endpoint[Q, A any](name, about string, handle func(context.Context, Q) (A, error)) events.Endpoint {
	return events.Endpoint{
		Name: name, About: about, Schemas: map[string]string{"request": schemaOf[Q](), "answer": schemaOf[A]()},
		Handle: func(ctx context.Context, r events.Request) (any, error) {
			var q Q
			if err := decode(r.Body, &q); err != nil {
				return nil, unreadable(name, err)
			}
			return handle(ctx, q)
		},
	}
}

// vouched is an endpoint for what changes something: its subject ends with the name
// of who asks, <name>.<who>, for which the permissions of NATS vouch.
func vouched[Q, A any](w *Worker, name, about string, handle func(ctx context.Context, who string, q Q) (A, error)) events.Endpoint {
	e := endpoint(name, about+" The subject is "+name+".<who>.", func(context.Context, Q) (a A, err error) { return a, nil })
	e.Subject = "*"
	e.Handle = func(ctx context.Context, r events.Request) (_ any, err error) {
		var who string
		defer func() {
			about := refused{question: name, who: who, action: name, err: err}
			_ = json.Unmarshal(r.Body, &about.scope) // of what cannot be read nothing is known
			w.noticeRefused(ctx, about)
		}()
		if len(r.Tokens) != 1 || !events.IsWho(r.Tokens[0]) {
			return nil, events.Refuse(400, "the subject is %s.<who>, a name of a-z, 0-9 and -", name)
		}
		who = r.Tokens[0]
		var q Q
		if err := decode(r.Body, &q); err != nil {
			return nil, unreadable(name, err)
		}
		return handle(ctx, who, q)
	}
	return e
}

func unreadable(name string, err error) error {
	return events.Refuse(400, "%s: the request cannot be read: %v; nats service info nightshift shows its schema", name, err)
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
		if key, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return fmt.Errorf("unknown key %s", key)
		}
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
