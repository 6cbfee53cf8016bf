package events

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// slowDisk is a store that takes 3 to 8 s for each write, or batch of writes, one
// after another. What it has been given it does, also when nobody waits any more; to
// refuse something costs it nothing.
type slowDisk struct {
	jetstream.JetStream
	turn chan struct{}

	mu     sync.Mutex
	rnd    *rand.Rand
	writes int
}

func (d *slowDisk) sync() {
	d.mu.Lock()
	d.writes++
	wait := 3*time.Second + time.Duration(d.rnd.Int64N(int64(5*time.Second)))
	d.mu.Unlock()
	time.Sleep(wait)
}

func (d *slowDisk) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	type answer struct {
		ack *jetstream.PubAck
		err error
	}
	answered := make(chan answer, 1)
	go func() { // until it is written
		d.turn <- struct{}{}
		ack, err := d.JetStream.PublishMsg(context.WithoutCancel(ctx), msg, opts...)
		if err == nil {
			d.sync()
		}
		<-d.turn
		answered <- answer{ack, err}
	}()
	select {
	case a := <-answered:
		return a.ack, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Options is asked for at the beginning of each batch, which has its turn then. Whoever
// comes next waits for the disk, if something was stored.
func (d *slowDisk) Options() jetstream.JetStreamOptions {
	d.turn <- struct{}{}
	before := d.stored()
	go func() { // until it is written
		time.Sleep(time.Millisecond)
		if d.stored() > before {
			d.sync()
		}
		<-d.turn
	}()
	return d.JetStream.Options()
}

func (d *slowDisk) stored() (n uint64) {
	for _, name := range []string{StreamRun, StreamEvt} {
		s, err := d.Stream(context.Background(), name)
		if err != nil {
			panic(err)
		}
		n += s.CachedInfo().State.LastSeq
	}
	return n
}

// TestASlowStoreIsSlowAndNotStuck has 40 runs carried out at once: everybody who is
// not answered in time asks again, and the store does in vain what it was asked for
// before. Each run takes three writes, of which each waits for those of all others
// that are under way.
func TestASlowStoreIsSlowAndNotStuck(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		b := openInside(t)
		disk := &slowDisk{JetStream: b.js, turn: make(chan struct{}, 1), rnd: rand.New(rand.NewPCG(1, 1))}
		b.js = disk
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		var faults int
		var mu sync.Mutex
		again := func(what func(ctx context.Context) error) {
			for ctx.Err() == nil {
				// as the daemon does: without a bound of its own
				err := what(context.WithoutCancel(ctx))
				if err == nil {
					return
				}
				mu.Lock()
				faults++
				mu.Unlock()
				_ = sleep(ctx, time.Second)
			}
		}
		const runs = 40
		var all sync.WaitGroup // ends with the test
		for n := range runs {
			all.Go(func() {
				rec := Record{ActionID: fmt.Sprintf("a%d", n), Action: "stop", Trigger: fmt.Sprintf("t%d", n), Region: "lon1", Instance: fmt.Sprintf("i-%d", n), Planned: began, Deadline: began.Add(time.Minute)}
				again(func(ctx context.Context) error {
					_, err := b.StoreRun(ctx, Run{Trigger: rec.Trigger, Region: rec.Region, Kind: "tick"})
					return err
				})
				again(func(ctx context.Context) error {
					_, seq, err := b.LastStarted(ctx, rec.Region, rec.Instance)
					if err == nil { // one that was not confirmed in time counts as a call of which nobody knows what became
						_, _, err = b.PublishStarted(ctx, rec, seq)
					}
					return err
				})
				again(func(ctx context.Context) error {
					rec := rec
					rec.Outcome = Done
					_, err := b.PublishOutcome(ctx, rec)
					return err
				})
			})
		}
		all.Wait()
		took := time.Since(began)
		t.Logf("%d runs took %s, %d writes, %d answers were too late", runs, took.Round(time.Second), disk.writes, faults)
		if ctx.Err() != nil || took > 10*time.Minute || faults > 3*runs {
			t.Errorf("%d runs took %s, %d writes and %d answers that were too late", runs, took.Round(time.Second), disk.writes, faults)
		}
		time.Sleep(time.Minute) // what is still to be written
	})
}
