package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Endpoint is one question that the control service answers, on
// nightshift.v1.ctl.<Name>. An error of Handle is the answer, too.
type Endpoint struct {
	Name   string
	Handle func(ctx context.Context, body []byte) (any, error)
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
	group := service.AddGroup(prefix + "ctl")
	for _, e := range endpoints {
		handler := micro.HandlerFunc(func(req micro.Request) {
			answers.Go(func() { // until answerTimeout
				ctx, cancel := context.WithTimeout(ctx, answerTimeout)
				defer cancel()
				answer, err := e.Handle(ctx, req.Data())
				if err == nil {
					err = req.RespondJSON(answer)
				} else {
					err = req.Error("400", err.Error(), nil)
				}
				if err != nil {
					b.log.Debug("answer not sent")
				}
			})
		})
		if err := group.AddEndpoint(e.Name, handler); err != nil {
			return fmt.Errorf("begin the endpoint %s: %w", e.Name, err)
		}
	}
	<-ctx.Done()
	return nil
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
	msg, err := b.nc.RequestWithContext(ctx, prefix+"ctl."+name, body)
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w at %s", ErrNoDaemon, b.nc.ConnectedUrlRedacted())
	}
	if err != nil {
		return fmt.Errorf("ask the daemon (%s): %w", name, b.explain(err))
	}
	if desc := msg.Header.Get(micro.ErrorHeader); desc != "" {
		return errors.New(desc)
	}
	return json.Unmarshal(msg.Data, out)
}
