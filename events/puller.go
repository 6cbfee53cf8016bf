package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What is taken from a consumer is asked for and read here: the client takes a stored
// message without a body for an answer of the server when whoever published it wrote a
// header Status, and hands it to nobody, so that a dozen of them stopped a consumer
// for good. What is stored comes with a subject to acknowledge it on, and what the
// server says without.

// puller asks a consumer for messages, always for a few more than are taken. Only
// stop and drain may be called meanwhile.
type puller struct {
	nc        *nats.Conn
	subject   string // on which is asked
	question  pullQuestion
	sub       *nats.Subscription
	msgs      chan *nats.Msg
	connected chan nats.Status // anew
	ended     chan struct{}    // closed when nothing comes any more
	end       func()           // closes it
	draining  atomic.Bool
	coming    int    // of what was asked for and has not been taken
	ordered   *place // not nil: the consumer remembers nothing, so all ends when a message may be missing
}

type pullQuestion struct {
	Expires   time.Duration `json:"expires"`
	Batch     int           `json:"batch"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
}

var errPullEnded = errors.New("no more is asked for")

func (b *Bus) puller(stream, durable string, most int) (*puller, error) {
	p := &puller{nc: b.nc, subject: "$JS.API.CONSUMER.MSG.NEXT." + stream + "." + durable, question: pullQuestion{Batch: most}, msgs: make(chan *nats.Msg, 2*most+100), ended: make(chan struct{})}
	p.question.Expires, p.question.Heartbeat = b.patience()
	var err error
	if p.sub, err = b.nc.ChanSubscribe(b.nc.NewInbox(), p.msgs); err != nil {
		return nil, err
	}
	p.end = sync.OnceFunc(func() { close(p.ended) })
	p.sub.SetClosedHandler(func(string) { p.end() })
	p.connected = b.nc.StatusChanged(nats.CONNECTED)
	return p, nil
}

// drain ends the asking, and returns when nothing comes any more: what is on its way
// still does, where NATS is there.
func (p *puller) drain() {
	p.draining.Store(true)
	defer p.end()
	if !p.nc.IsConnected() || p.sub.Drain() != nil { // where NATS is away nothing is on its way, and the client would wait for it
		return
	}
	late := time.NewTimer(drainWait)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
	}
}

func (p *puller) stop() {
	_ = p.sub.Unsubscribe()
	p.end() // also where the connection is closed
}

// close stops for good.
func (p *puller) close() {
	p.stop()
	p.nc.RemoveStatusListener(p.connected)
}

// ask asks for more when half of it has been taken.
func (p *puller) ask() error {
	if 2*p.coming >= p.question.Batch || p.draining.Load() {
		return nil
	}
	q := p.question
	q.Batch -= p.coming
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	p.coming = p.question.Batch
	return p.nc.PublishRequest(p.subject, p.sub.Subject, body)
}

// next waits for a message, with most at the longest so long.
func (p *puller) next(most time.Duration) (*pulled, error) {
	var over <-chan time.Time
	if most > 0 {
		over = time.After(most)
	}
	silence := 2 * p.question.Heartbeat
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	for {
		if err := p.ask(); err != nil {
			return nil, err
		}
		select {
		case m := <-p.msgs:
			quiet.Reset(silence)
			msg, err := p.take(m)
			if msg != nil || err != nil {
				return msg, err
			}
		case <-p.ended:
			select {
			case m := <-p.msgs:
				if msg, _ := p.take(m); msg != nil {
					return msg, nil
				}
			default:
				return nil, errPullEnded
			}
		case <-p.connected: // what was asked for is forgotten there
			if p.ordered != nil {
				return nil, errors.New("NATS was away")
			}
			p.coming = 0
			quiet.Reset(silence)
		case <-quiet.C:
			if p.nc.IsConnected() {
				return nil, jetstream.ErrNoHeartbeat
			}
			if p.nc.IsClosed() {
				return nil, nats.ErrConnectionClosed
			}
			quiet.Reset(silence)
		case <-over:
			return nil, nats.ErrTimeout
		}
	}
}

// take reads what came: a message, or what the server says of a question.
func (p *puller) take(m *nats.Msg) (*pulled, error) {
	if m.Reply != "" {
		msg := &pulled{nc: p.nc, msg: m}
		if p.ordered != nil {
			if ours, err := p.ordered.follows(msg); !ours {
				return nil, err
			}
		}
		p.coming = max(0, p.coming-1)
		return msg, nil
	}
	status, words := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case p.ordered != nil && p.ordered.isBroken(m.Header):
		return nil, fmt.Errorf("NATS answers %s %s", status, words)
	case status == "400" || status == "409" && strings.Contains(strings.ToLower(words), "consumer deleted"):
		return nil, fmt.Errorf("NATS answers %s %s", status, words)
	case status == "409" && strings.Contains(strings.ToLower(words), "leadership change"):
		p.coming = 0
	case status == "408" || status == "409":
		if left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages")); err == nil { // will not come
			p.coming = max(0, p.coming-left)
		}
	}
	return nil, nil // a heartbeat; or nobody was there, which their lack shows
}

// pulled is a message of a consumer.
type pulled struct {
	nc   *nats.Conn
	msg  *nats.Msg
	meta *nats.MsgMetadata // where it was taken in order
}

func (m *pulled) say(what string) error { return m.nc.Publish(m.msg.Reply, []byte(what)) }

func (m *pulled) Subject() string      { return m.msg.Subject }
func (m *pulled) Data() []byte         { return m.msg.Data }
func (m *pulled) Headers() nats.Header { return m.msg.Header }

// Ack takes the message from the consumer.
func (m *pulled) Ack() error { return m.say("+ACK") }

// InProgress lets it stay with who has it.
func (m *pulled) InProgress() error { return m.say("+WPI") }

// Nak asks for it again, after a delay.
func (m *pulled) Nak(delay time.Duration) error {
	if delay <= 0 {
		return m.say("-NAK")
	}
	return m.say(fmt.Sprintf(`-NAK {"delay": %d}`, delay.Nanoseconds()))
}

// Term ends it, with the reason.
func (m *pulled) Term(reason string) error { return m.say("+TERM " + reason) }
