package events

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// UsedBy is who uses a data directory, as it says itself; empty: nobody. Nothing is
// changed.
func UsedBy(dir string) (who string, err error) {
	path := filepath.Join(dir, lockFile)
	if _, err := os.Stat(path); err != nil {
		return "", nil // nobody has ever used it
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	ok, err := lock.TryRLock()
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	if ok {
		return "", lock.Unlock()
	}
	return holderOf(path), nil
}

// Form is the form that the store has, or an error where it is a newer program's.
func (b *Bus) Form(ctx context.Context) (int, error) {
	v, err := b.storedVersion(ctx)
	if err != nil {
		return 0, err
	}
	return v.Version, v.check("the store")
}

// MissingRights are what this user may not do that the daemon must: each is tried with
// a message that the server is to refuse, so nothing is stored.
func (b *Bus) MissingRights(ctx context.Context) (denied []*Denied, err error) {
	for _, subject := range []string{prefix + "tick.rights.0", CommandSubject("rights", None, None, "stop"), SignalSubject("rights", None, None), runSubject(None, "rights"),
		prefix + "evt._._.rights.noticed.rights", prefix + "dlq.rights", "$KV." + Bucket + ".rights"} {
		var no *Denied
		err := b.tryPublish(ctx, subject)
		if errors.As(err, &no) {
			denied = append(denied, no)
		} else if err != nil {
			return denied, fmt.Errorf("try to publish on %s: %w", subject, err)
		}
	}
	for _, last := range []struct {
		try     func(context.Context, string) error
		subject string
	}{{b.tryTell, beatSubject}, {b.trySubscribe, beatSubject}, {b.trySubscribe, prefix + "ctl.>"}} {
		var no *Denied
		if err := last.try(ctx, last.subject); errors.As(err, &no) {
			denied = append(denied, no)
		} else if err != nil {
			return denied, fmt.Errorf("try what the rights are on %s: %w", last.subject, err)
		}
	}
	return denied, nil
}

// tryTell publishes nothing on a subject that no stream has.
func (b *Bus) tryTell(ctx context.Context, subject string) error {
	ctx, end := b.guard(ctx, subject)
	err := b.nc.Publish(subject, nil)
	if err == nil {
		flush, cancel := b.bounded(ctx)
		err = b.nc.FlushWithContext(flush)
		cancel()
	}
	if err == nil {
		err = sleep(ctx, subscribeWait)
	}
	return end(err)
}

func (b *Bus) tryPublish(ctx context.Context, subject string) error {
	msg := nats.NewMsg(subject)
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(math.MaxInt64, 10)) // which no message ever has
	_, err := b.publish(ctx, msg)
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) {
		return nil // it came to the stream
	}
	return err
}

// subscribeWait is how long a refusal may take after a round trip.
const subscribeWait = 100 * time.Millisecond

func (b *Bus) trySubscribe(ctx context.Context, subject string) error {
	sub, err := b.nc.SubscribeSync(subject)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	ask, cancel := b.bounded(ctx)
	defer cancel()
	if err := b.nc.FlushWithContext(ask); err != nil {
		return err
	}
	_, err = sub.NextMsg(subscribeWait)
	if d := deniedIn(err); d != nil {
		return d
	}
	return nil
}

// Summary is what is stored, in a line for people.
func (b *Bus) Summary(ctx context.Context) (string, error) {
	var words []string
	for _, name := range allStreams {
		info, err := b.info(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			words = append(words, name+" not there yet")
			continue
		}
		if err != nil {
			return "", err
		}
		words = append(words, fmt.Sprintf("%s %d", name, info.State.Msgs))
	}
	return strings.Join(words, ", "), nil
}
