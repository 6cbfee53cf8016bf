package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"
)

// Endpoint is one question that the control service answers, on
// nightshift.v1.ctl.<Name>, or on <Name>.<Subject> where it has one. An error of
// Handle is the answer, too.
type Endpoint struct {
	Name     string
	Subject  string            // further tokens, such as *.*: what stands there is in Request.Tokens
	About    string            // what it does, for nats service info
	Schemas  map[string]string // JSON Schemas of request and answer, by these names
	Everyone bool              // each replica answers, not one of them
	Handle   func(ctx context.Context, r Request) (any, error)
}

// Request is a question to the control service.
type Request struct {
	Tokens []string // of the subject, behind the endpoint's name
	Body   []byte
}

// Refusal is an answer that is no: what was asked for was understood, and is not
// done. Any other error means that the question could not be answered.
type Refusal struct {
	Code int // as in HTTP: 400 malformed, 404 no such thing, 409 not done, 503 cannot be read now
	Msg  string
}

func (r *Refusal) Error() string { return r.Msg }

// Refuse makes a refusal.
func Refuse(code int, format string, args ...any) error {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// answerTimeout bounds one answer.
const answerTimeout = 30 * time.Second

func ctlSubject(name, more string) string {
	if more == "" {
		return prefix + "ctl." + name
	}
	return prefix + "ctl." + name + "." + more
}

func (e *Endpoint) metadata() map[string]string {
	m := map[string]string{"about": e.About}
	for name, schema := range e.Schemas {
		m["schema."+name] = schema
	}
	return m
}

// answer answers one question, whatever it does to its handler, and returns the
// error that was answered.
func (b *Bus) answer(ctx context.Context, e Endpoint, msg *nats.Msg) error {
	if isOurs(msg.Reply) {
		return b.respond(msg, nil) // nothing is done for it either
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, fault := e.handle(traceIn(ctx, msg.Header), msg)
	var body []byte
	if fault == nil {
		body, fault = json.Marshal(answer)
	}
	err := b.respond(msg, answerOf(body, fault))
	if err != nil && fault == nil { // such as larger than a message may be: whoever asked is not to wait in vain
		fault = err
		err = b.respond(msg, refusalOf("413", "the answer cannot be sent, ask for less: "+err.Error()))
	}
	if err != nil {
		b.log.Debug("answer not sent", zap.String("endpoint", e.Name), zap.Error(err))
	}
	return fault
}

func answerOf(body []byte, fault error) *nats.Msg {
	if fault == nil {
		return &nats.Msg{Data: body}
	}
	code := 500
	var no *Refusal
	if errors.As(fault, &no) {
		code = no.Code
	}
	return refusalOf(strconv.Itoa(code), fault.Error())
}

func (e *Endpoint) handle(ctx context.Context, msg *nats.Msg) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("programming error in %s, please report it: %v", e.Name, p)
		}
	}()
	if len(msg.Data) > MaxBody {
		return nil, Refuse(400, "the body has %d bytes, at most %d are read", len(msg.Data), MaxBody)
	}
	return e.Handle(ctx, Request{Body: msg.Data, Tokens: tokensBehind(msg.Subject, e.Name)})
}

// oneLine makes a text fit for a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// semver is a version as micro demands it: builds without one are 0.0.0.
func semver(v string) string {
	if !semverForm.MatchString(v) {
		return "0.0.0"
	}
	return v
}

var semverForm = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// ErrNoDaemon says that nobody answers the control service.
var ErrNoDaemon = errors.New("no nightshift daemon answers")

// question is the subject of one. What changes something is asked for under the
// name of the connection.
func (b *Bus) question(name string) string {
	if slices.Contains(managing, name) {
		return ctlSubject(name, cmp.Or(b.auth.Name, DefaultWho))
	}
	return ctlSubject(name, "")
}

// RunQuestion is the subject on which a command for all that a selector chooses is
// asked for, within a region (lower case) or, with [None], in all of them: rights
// bound it as they bound a command for one instance.
func RunQuestion(who, region, action string) string {
	return ctlSubject("run", who+"."+region+"."+action)
}

// Ask sends a question to the control service, whatever follows the name in its
// subject included, and reads the answer into out.
func (b *Bus) Ask(ctx context.Context, name string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	subject := b.question(name)
	asking, end := b.guard(ctx, subject)
	msg, err := b.nc.RequestMsgWithContext(asking, traced(ctx, &nats.Msg{Subject: subject, Data: body}))
	if err = end(err); err != nil {
		return b.unanswered(name, err)
	}
	return readAnswer(msg, out)
}

// replicaPatience is how long AskAll waits for one more answer after another.
const replicaPatience = 300 * time.Millisecond

// AskAll sends a question to every replica, and returns the answers in the order
// in which they came.
func AskAll[A any](ctx context.Context, b *Bus, name string) (answers []A, err error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	ctx, end := b.guard(ctx, ctlSubject(name, ""))
	defer func() { err = end(err) }()
	inbox, err := b.nc.SubscribeSync(b.nc.NewInbox())
	if err != nil {
		return nil, err
	}
	defer func() { _ = inbox.Unsubscribe() }()
	if err := b.nc.PublishRequest(ctlSubject(name, ""), inbox.Subject, nil); err != nil {
		return nil, err
	}
	for {
		msg, err := inbox.NextMsgWithContext(ctx)
		if len(answers) > 0 && errors.Is(err, context.DeadlineExceeded) {
			return answers, nil
		}
		if err != nil {
			return nil, b.unanswered(name, err)
		}
		var a A
		if err := readAnswer(msg, &a); err != nil {
			return nil, err
		}
		if answers = append(answers, a); len(answers) == 1 {
			var endSoon context.CancelFunc
			ctx, endSoon = context.WithTimeout(ctx, replicaPatience)
			defer endSoon()
		}
	}
}

func (b *Bus) unanswered(name string, err error) error {
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w at %s", ErrNoDaemon, redact(b.nc.ConnectedUrl()))
	}
	return fmt.Errorf("ask the daemon (%s): %w", name, err)
}

func readAnswer(msg *nats.Msg, out any) error {
	if msg.Header.Get("Status") == "503" { // nobody is there; only a plain request is told so by the client
		return ErrNoDaemon
	}
	if desc := msg.Header.Get(micro.ErrorHeader); desc != "" {
		code, _ := strconv.Atoi(msg.Header.Get(micro.ErrorCodeHeader))
		return &Refusal{code, desc}
	}
	return json.Unmarshal(msg.Data, out)
}
