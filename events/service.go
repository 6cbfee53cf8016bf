package events

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"
)

// serviceName is what the control service is called.
const serviceName = "nightshift"

// serviceBacklog is how many questions wait while answers are begun: each is
// answered by a goroutine of its own.
const serviceBacklog = 4096

// service answers as the micro convention of NATS says, so that nats service info
// and its like know it. It is not the package micro, which answers $SRV.INFO to
// whatever subject the question names: with the daemon's rights, so that who may
// only watch could have it written over what the daemon remembers, or published
// as an event.
type service struct {
	bus      *Bus
	identity micro.ServiceIdentity
	about    string
	started  time.Time
	by       map[*nats.Subscription]func(context.Context, *nats.Msg)
	inbox    chan *nats.Msg

	mu        sync.Mutex
	endpoints []*micro.EndpointStats
	metadata  []map[string]string
}

func (b *Bus) newService(version string) *service {
	return &service{
		bus: b, identity: micro.ServiceIdentity{Name: serviceName, ID: nuid.Next(), Version: semver(version), Metadata: map[string]string{}},
		about: "Nightshift control: " + version, started: time.Now().UTC(),
		by: make(map[*nats.Subscription]func(context.Context, *nats.Msg)), inbox: make(chan *nats.Msg, serviceBacklog),
	}
}

// Serve answers the control service "nightshift" until ctx ends.
func (b *Bus) Serve(ctx context.Context, version string, endpoints []Endpoint) error {
	return b.ServeThen(ctx, version, endpoints, func() {})
}

// ServeThen is Serve, and calls begun once questions are heard.
func (b *Bus) ServeThen(ctx context.Context, version string, endpoints []Endpoint, begun func()) error {
	s := b.newService(version)
	defer s.stop()
	for _, e := range endpoints {
		if err := s.add(e); err != nil {
			return fmt.Errorf("begin the endpoint %s: %w", e.Name, err)
		}
	}
	if err := s.addVerbs(); err != nil {
		return fmt.Errorf("begin the control service: %w", err)
	}
	flushing, cancel := context.WithTimeout(ctx, publishTimeout)
	_ = b.nc.FlushWithContext(flushing) // where NATS is away they are heard when it is back
	cancel()
	begun()
	var answers sync.WaitGroup // each until answerTimeout
	defer answers.Wait()
	for {
		select {
		case msg := <-s.inbox:
			answers.Go(func() { s.by[msg.Sub](ctx, msg) })
		case <-ctx.Done():
			return nil
		}
	}
}

// stop ends to listen.
func (s *service) stop() {
	for sub := range s.by {
		_ = sub.Unsubscribe()
	}
}

// add begins to listen to the questions of an endpoint: one of the replicas hears
// each, or every one.
func (s *service) add(e Endpoint) error {
	subject, group := ctlSubject(e.Name, e.Subject), micro.DefaultQueueGroup
	if e.Everyone {
		group = ""
	}
	stats := &micro.EndpointStats{Name: e.Name, Subject: subject, QueueGroup: group}
	s.endpoints = append(s.endpoints, stats)
	s.metadata = append(s.metadata, e.metadata())
	return s.hear(subject, group, func(ctx context.Context, msg *nats.Msg) {
		began := time.Now()
		err := s.bus.answer(ctx, e, msg)
		s.mu.Lock()
		defer s.mu.Unlock()
		stats.NumRequests++
		stats.ProcessingTime += time.Since(began)
		stats.AverageProcessingTime = stats.ProcessingTime / time.Duration(stats.NumRequests)
		if err != nil {
			stats.NumErrors++
			stats.LastError = oneLine(err.Error())
		}
	})
}

func (s *service) hear(subject, group string, answer func(context.Context, *nats.Msg)) error {
	var sub *nats.Subscription
	var err error
	if group == "" {
		sub, err = s.bus.nc.ChanSubscribe(subject, s.inbox)
	} else {
		sub, err = s.bus.nc.ChanQueueSubscribe(subject, group, s.inbox)
	}
	if err == nil {
		s.by[sub] = answer
	}
	return err
}

// addVerbs begins to listen to the questions that tools ask every service.
func (s *service) addVerbs() error {
	for verb, answer := range map[string]func() any{"PING": s.ping, "INFO": s.info, "STATS": s.stats} {
		subject := "$SRV." + verb
		for _, subject := range []string{subject, subject + "." + serviceName, subject + "." + serviceName + "." + s.identity.ID} {
			if err := s.hear(subject, "", func(_ context.Context, msg *nats.Msg) { s.answerVerb(msg, answer()) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *service) answerVerb(msg *nats.Msg, answer any) {
	body, err := json.Marshal(answer)
	if err == nil {
		err = s.bus.respond(msg, &nats.Msg{Data: body})
	}
	if err != nil {
		s.bus.log.Debug("answer not sent", zap.String("subject", msg.Subject), zap.Error(err))
	}
}

func (s *service) ping() any {
	return micro.Ping{ServiceIdentity: s.identity, Type: micro.PingResponseType}
}

func (s *service) info() any {
	info := micro.Info{ServiceIdentity: s.identity, Type: micro.InfoResponseType, Description: s.about}
	for i, e := range s.endpoints {
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{Name: e.Name, Subject: e.Subject, QueueGroup: e.QueueGroup, Metadata: s.metadata[i]})
	}
	return info
}

func (s *service) stats() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := micro.Stats{ServiceIdentity: s.identity, Type: micro.StatsResponseType, Started: s.started}
	for _, e := range s.endpoints {
		now := *e
		stats.Endpoints = append(stats.Endpoints, &now)
	}
	return stats
}

// respond answers a question, but for one that wants its answer where no answer
// belongs.
func (b *Bus) respond(to, answer *nats.Msg) error {
	switch {
	case to.Reply == "":
		return nil
	case isOurs(to.Reply):
		b.log.Warn("a question wants its answer where no answer belongs, and gets none", zap.String("subject", to.Subject), zap.String("reply", to.Reply))
		return nil
	}
	answer.Subject = to.Reply
	return b.nc.PublishMsg(answer)
}

// refusalOf is an error in the form of the convention.
func refusalOf(code, text string) *nats.Msg {
	return &nats.Msg{Header: nats.Header{micro.ErrorHeader: {oneLine(text)}, micro.ErrorCodeHeader: {code}}}
}

// tokensBehind are the tokens of a subject behind an endpoint's name.
func tokensBehind(subject, name string) []string {
	rest, ok := strings.CutPrefix(subject, ctlSubject(name, "")+".")
	if !ok {
		return nil
	}
	return strings.Split(rest, ".")
}
