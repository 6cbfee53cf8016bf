package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
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

// Serve answers the control service "nightshift" until ctx ends.
func (b *Bus) Serve(ctx context.Context, version string, endpoints []Endpoint) error {
	service, err := micro.AddService(b.nc, micro.Config{Name: "nightshift", Version: semver(version), Description: "Nightshift control: " + version})
	if err != nil {
		return fmt.Errorf("begin the control service: %w", err)
	}
	var answers sync.WaitGroup // micro runs one goroutine per endpoint: long answers must not block the next
	defer answers.Wait()
	defer func() { _ = service.Stop() }()
	for _, e := range endpoints {
		opts := []micro.EndpointOpt{micro.WithEndpointSubject(ctlSubject(e.Name, e.Subject)), micro.WithEndpointMetadata(e.metadata())}
		if e.Everyone {
			opts = append(opts, micro.WithEndpointQueueGroupDisabled())
		}
		handler := micro.HandlerFunc(func(req micro.Request) {
			answers.Go(func() { b.answer(ctx, e, req) }) // until answerTimeout
		})
		if err := service.AddEndpoint(e.Name, handler, opts...); err != nil {
			return fmt.Errorf("begin the endpoint %s: %w", e.Name, err)
		}
	}
	<-ctx.Done()
	return nil
}

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

// answer answers one question, whatever it does to its handler.
func (b *Bus) answer(ctx context.Context, e Endpoint, req micro.Request) {
	if reply := req.Reply(); isOurs(reply) {
		b.log.Warn("a question wants its answer where no answer belongs, and gets none", zap.String("endpoint", e.Name), zap.String("reply", reply))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	ctx = WithTrace(ctx, req.Headers().Get(traceHeader))
	answer, err := e.handle(ctx, req)
	if err == nil {
		err = req.RespondJSON(answer)
		if err != nil { // such as larger than a message may be: whoever asked is not to wait in vain
			err = req.Error("413", oneLine("the answer cannot be sent, ask for less: "+err.Error()), nil)
		}
	} else {
		code := 500
		var no *Refusal
		if errors.As(err, &no) {
			code = no.Code
		}
		// Not req.Error: micro looks at what that keeps when the handler has returned,
		// which was long ago.
		err = req.Respond(nil, micro.WithHeaders(micro.Headers{micro.ErrorHeader: {oneLine(err.Error())}, micro.ErrorCodeHeader: {strconv.Itoa(code)}}))
	}
	if err != nil {
		b.log.Debug("answer not sent", zap.String("endpoint", e.Name), zap.Error(err))
	}
}

func (e *Endpoint) handle(ctx context.Context, req micro.Request) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("programming error in %s, please report it: %v", e.Name, p)
		}
	}()
	if len(req.Data()) > MaxBody {
		return nil, Refuse(400, "the body has %d bytes, at most %d are read", len(req.Data()), MaxBody)
	}
	r := Request{Body: req.Data()}
	if rest, ok := strings.CutPrefix(req.Subject(), ctlSubject(e.Name, "")+"."); ok {
		r.Tokens = strings.Split(rest, ".")
	}
	return e.Handle(ctx, r)
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

// Ask sends a question to the control service and reads the answer into out.
func (b *Bus) Ask(ctx context.Context, name string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	asking, end := b.guard(ctx, ctlSubject(name, ""))
	msg, err := b.nc.RequestMsgWithContext(asking, traced(ctx, &nats.Msg{Subject: ctlSubject(name, ""), Data: body}))
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
	ctx, cancel := bounded(ctx)
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
