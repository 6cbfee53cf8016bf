package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// A store that is damaged looks well: the server leaves out what it cannot read
// without a word, and after a crash it drops everything behind it and gives the
// sequences away again. So how far each stream had come is written beside the store,
// and compared at the next start; and what a stream says to hold is read, and counted.

// marksFile says how far each stream had come.
const marksFile = "nightshift.marks"

// marksEvery is how often it is written; only when it has changed.
const marksEvery = 10 * time.Second

// marks are the last sequences of streams by name, and under lastKept that of the
// bucket when its message was there and stays until another takes its place: it is
// the one that the server leaves out and counts no more when it is damaged.
type marks map[string]uint64

const lastKept = "KV_" + Bucket + " last"

func readMarks(dir string) (m marks, err error) {
	text, err := os.ReadFile(filepath.Join(dir, marksFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if json.Unmarshal(text, &m) != nil { // it is no more than a comparison
		return nil, nil
	}
	return m, nil
}

// marksNow are those of the streams as they are.
func (b *Bus) marksNow(ctx context.Context) (marks, error) {
	m := make(marks, len(allStreams))
	for _, name := range allStreams {
		info, err := b.info(ctx, name)
		if err != nil {
			return nil, err
		}
		m[name] = info.State.LastSeq
	}
	kept, err := b.isKept(ctx, m["KV_"+Bucket])
	if kept {
		m[lastKept] = m["KV_"+Bucket]
	}
	return m, err
}

// isKept reports whether the bucket has a message of a sequence that does not end by
// itself.
func (b *Bus) isKept(ctx context.Context, seq uint64) (bool, error) {
	s, err := b.stream(ctx, "KV_"+Bucket)
	if err != nil || seq == 0 {
		return false, err
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	msg, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the last message of bucket %s: %w", Bucket, b.explain(err))
	}
	return msg.Header.Get(jetstream.MsgTTLHeader) == "", nil
}

// keepMarks writes how far the streams have come. It has no part in the patience with a
// slow disk: who looks after the store, or ends, would wait for it.
func (b *Bus) keepMarks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	now, err := b.marksNow(ctx)
	if err == nil {
		err = b.writeMarks(now)
	}
	if err != nil && ctx.Err() == nil {
		b.log.Debug("how far the streams have come is not written", zap.Error(err))
	}
}

func (b *Bus) writeMarks(m marks) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if path := filepath.Join(b.disk.dir, marksFile); string(text) != b.disk.marked {
		if err := writeWhole(path, text); err != nil {
			return err
		}
		b.disk.marked = string(text)
	}
	return nil
}

// compareMarks looks whether the store has lost what it held when it was last looked
// at. It begins anew then: an action whose events are lost must not be done twice.
func (b *Bus) compareMarks(ctx context.Context, program string) error {
	before, err := readMarks(b.disk.dir)
	if err != nil {
		return err
	}
	now, err := b.marksNow(ctx)
	if err != nil {
		return err
	}
	if last := before[lastKept]; last > 0 && last == now["KV_"+Bucket] && now[lastKept] == 0 {
		b.disk.lostLast = last
	}
	var lost []string
	for _, name := range allStreams {
		if before[name] > now[name] {
			lost = append(lost, fmt.Sprintf("%s ends at sequence %d and had come to %d", name, now[name], before[name]))
		}
	}
	if len(lost) > 0 {
		why := "found damaged (" + strings.Join(lost, "; ") + ")"
		b.log.Error("the store has lost messages: nothing that was asked for before is done any more; docs/recovery.md says what to do", zap.Strings("lost", lost))
		if _, err := b.BeginAnew(ctx, why, program); err != nil {
			return err
		}
		if now, err = b.marksNow(ctx); err != nil {
			return err
		}
	}
	return b.writeMarks(now)
}

// Damage is what a stream holds and nobody can read.
type Damage struct {
	Stream   string
	Messages int    // how many
	First    uint64 // sequence of the first, 0 where that is not known
}

func (d Damage) String() string {
	s := fmt.Sprintf("%d messages of stream %s cannot be read", d.Messages, d.Stream)
	if d.Messages == 1 {
		s = "1 message of stream " + d.Stream + " cannot be read"
	}
	if d.First > 0 {
		s += fmt.Sprintf(", the first has sequence %d", d.First)
	}
	return s
}

// Damages reads all that is stored and says what cannot be read.
func (b *Bus) Damages(ctx context.Context) (all []Damage, err error) {
	for _, name := range allStreams {
		d, err := b.damage(ctx, name)
		if err != nil {
			return all, err
		}
		if name == "KV_"+Bucket && b.disk.lostLast > 0 {
			d = Damage{Stream: name, Messages: d.Messages + 1, First: cmp.Or(d.First, b.disk.lostLast)}
		}
		if d.Messages > 0 {
			all = append(all, d)
		}
	}
	return all, nil
}

// damageTries is how often a stream is read again that has changed meanwhile.
const damageTries = 5

// damage reads one stream. In those that nothing is ever taken out of but what is
// too old a sequence that is missing is one that cannot be read; in the others only
// the number tells.
func (b *Bus) damage(ctx context.Context, name string) (d Damage, err error) {
	whole := slices.Contains([]string{StreamIn, StreamRun, StreamEvt}, name)
	for range damageTries {
		before, err := b.info(ctx, name)
		if err != nil {
			return d, err
		}
		d = Damage{Stream: name}
		read, next := uint64(0), before.State.FirstSeq
		for msg, err := range b.scanFrom(ctx, name, directAsk{Filter: ">", Seq: max(next, 1)}) {
			if err != nil {
				return d, err
			}
			if msg.Sequence > before.State.LastSeq {
				break
			}
			if whole && d.First == 0 && msg.Sequence > next {
				d.First = next
			}
			read, next = read+1, msg.Sequence+1
		}
		if whole && d.First == 0 && next <= before.State.LastSeq {
			d.First = next // the last is gone
		}
		after, err := b.info(ctx, name)
		if err != nil {
			return d, err
		}
		d.Messages = int(before.State.Msgs - min(read, before.State.Msgs))
		if whole && before.State.Msgs > 0 {
			d.Messages = int(before.State.LastSeq + 1 - before.State.FirstSeq - read)
		}
		if d.Messages == 0 {
			return Damage{}, nil
		}
		if after.State.FirstSeq == before.State.FirstSeq && (whole || after.State.LastSeq == before.State.LastSeq) {
			return d, nil
		}
	}
	return Damage{}, nil // it changes faster than it can be read
}
