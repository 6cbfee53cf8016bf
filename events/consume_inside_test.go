package events

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
)

// inBubble lets time pass only when everybody waits.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	forget := func() { // nats.go pools timers: one from outside never rings in a bubble, one of a bubble must not reach the next
		runtime.GC()
		runtime.GC()
	}
	forget()
	defer forget()
	synctest.Test(t, test)
}

func openInside(t *testing.T) *Bus {
	t.Helper()
	b, err := Open(t.Context(), Options{Memory: true, Listen: "none"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// Who may publish must not stop what others ask for: a message that looks like an
// answer of NATS is a dead letter, and what comes behind it is handed over.
func TestWhatLooksLikeAnAnswerStopsNoConsumer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := openInside(t)
		const subject = "nightshift.v1.cmd.oncall.lon1.i-1.stop"
		for range 12 {
			for _, status := range []string{"404", "408", "400", "100", "409"} {
				msg := nats.NewMsg(subject)
				msg.Header.Set("Status", status)
				if _, err := b.js.PublishMsg(t.Context(), msg); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := b.PublishCommand(t.Context(), Command{Who: "oncall", Region: "lon1", Instance: "i-2", Action: "stop", Reason: "x"}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		taken := make(chan *Incoming, 100)
		ended := make(chan error, 1)
		go func() { // until stop
			ended <- b.ConsumeIn(ctx, 4, 4, func(_ context.Context, in *Incoming) {
				_ = in.Ack()
				taken <- in
			})
		}()
		begin := time.Now()
		select {
		case in := <-taken:
			if in.Command.Instance != "i-2" {
				t.Errorf("got a command for %s", in.Command.Instance)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("the command was handed over after %s", took)
			}
		case <-time.After(40 * time.Second):
			t.Error("the command is not handed over")
		}
		n := 0
		for range 100 {
			n = 0
			for _, err := range b.DeadLetters(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n == 60 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if n != 60 {
			t.Errorf("%d dead letters", n)
		}
		stop()
		<-ended
	})
}

// A message that is delivered again while it is still in work here has one handler:
// its keep-alives were lost while NATS was away.
func TestWhatIsInWorkIsNotBegunAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := openInside(t)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var begun atomic.Int32
		release := make(chan struct{})
		cfg := consumerConfig("again", prefix+"cmd.>")
		cfg.AckWait = 300 * time.Millisecond // as if keepAlive were lost
		ended := make(chan error, 1)
		go func() { // until stop
			ended <- b.consumeAs(ctx, StreamIn, cfg, 4, false, func(_ context.Context, d delivery) {
				begun.Add(1)
				<-release
				_ = d.Ack()
			})
		}()
		if _, err := b.PublishCommand(t.Context(), Command{Who: "oncall", Region: "lon1", Instance: "i-1", Action: "stop"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if n := begun.Load(); n != 1 {
			t.Errorf("%d handlers are at it", n)
		}
		close(release)
		time.Sleep(500 * time.Millisecond)
		c, err := b.js.Consumer(t.Context(), StreamIn, "again")
		if err != nil {
			t.Fatal(err)
		}
		if info, err := c.Info(t.Context()); err != nil || info.NumAckPending != 0 {
			t.Errorf("not acknowledged: %+v, %v", info, err)
		}
		stop()
		<-ended
	})
}

// A pull of ten minutes that the server has forgotten with the connection is made anew.
func TestPullIsMadeAnewAfterAReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := openInside(t)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		taken := make(chan string, 100)
		ended := make(chan error, 1)
		go func() { // until stop
			ended <- b.ConsumeIn(ctx, 4, 4, func(_ context.Context, in *Incoming) {
				_ = in.Ack()
				taken <- in.Command.Instance
			})
		}()
		send := func(instance string) {
			t.Helper()
			if _, err := b.PublishCommand(t.Context(), Command{Who: "oncall", Region: "lon1", Instance: instance, Action: "stop"}); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-taken:
				if got != instance {
					t.Errorf("got %s, not %s", got, instance)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s is not handed over", instance)
			}
		}
		send("i-0")
		for _, instance := range []string{"i-1", "i-2"} {
			id, err := b.nc.GetClientID()
			if err != nil {
				t.Fatal(err)
			}
			anew := b.nc.StatusChanged(nats.CONNECTED)
			if err := b.embedded.DisconnectClientByID(id); err != nil {
				t.Fatal(err)
			}
			<-anew
			send(instance)
		}
		stop()
		<-ended
	})
}

// Who ends while NATS is away does not wait for it.
func TestTheEndWaitsForNoConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, closed := range []bool{false, true} {
			b := openInside(t)
			if err := b.ensure(t.Context(), b.consumerStore(StreamIn, consumerConfig(durableCommands, prefix+"cmd.>"))); err != nil {
				t.Fatal(err)
			}
			p, err := b.puller(StreamIn, durableCommands, 4)
			if err != nil {
				t.Fatal(err)
			}
			if closed {
				b.nc.Close()
			}
			begin := time.Now()
			time.AfterFunc(50*time.Millisecond, p.drain)
			if msg, err := p.next(0); msg != nil || err == nil {
				t.Errorf("got %v, %v", msg, err)
			}
			if took := time.Since(begin); took > drainWait+time.Second {
				t.Errorf("closed %v: took %s", closed, took)
			}
			p.close()
		}
	})
}
