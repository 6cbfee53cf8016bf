package events

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Manifest is what a backup says of itself: manifest.json in the file, which is a
// zip archive.
type Manifest struct {
	Format  int              `json:"format"` // of the file: 1
	Program string           `json:"program"`
	State   int              `json:"state_version"` // form of what is stored, see StateVersion
	Made    time.Time        `json:"made"`
	Account []string         `json:"account,omitempty"` // ids of the Civo account that the store belongs to
	Streams []ManifestStream `json:"streams"`
	// Damages are what could not be read when the backup was made: it is not in it.
	Damages []string `json:"damages,omitempty"`
}

// ManifestStream is a stream in a backup.
type ManifestStream struct {
	Name     string          `json:"name"`
	Messages uint64          `json:"messages"`
	FirstSeq uint64          `json:"first_seq"`
	LastSeq  uint64          `json:"last_seq"`
	Bytes    int64           `json:"bytes"`  // of its snapshot, which is compressed
	SHA256   string          `json:"sha256"` // likewise
	Config   json.RawMessage `json:"config"` // as NATS wants it back
	Snapshot json.RawMessage `json:"snapshot"`
}

const (
	backupFormat = 1
	manifestName = "manifest.json"
	// snapshotSuffix ends the name of a stream's snapshot in the file; it is in
	// NATS's own form.
	snapshotSuffix = ".snapshot"
	// snapshotPatience is how long one more piece of a snapshot may take.
	snapshotPatience = 30 * time.Second
	// maxManifest bounds what is read of a manifest.
	maxManifest = 1 << 20
)

// backupOrder is the order in which streams are copied while the daemon goes on:
// first what asks, last what says that it was done. So whatever a copy has as done
// or acknowledged, a later copy has the proof of: the other way round an edge could
// be missing without a trace.
var backupOrder = []string{bucketStream, StreamIn, StreamRun, StreamDLQ, StreamEvt}

// ErrExists says that there is something where a file or a store is to be made.
var ErrExists = errors.New("it is not empty")

// Backup writes everything that is stored into one file, while whoever uses it
// goes on. The file appears whole or not at all, readable by its owner only. What of
// the store cannot be read is named in the manifest.
func (b *Bus) Backup(ctx context.Context, path, program string) (m Manifest, err error) {
	form, err := b.storedVersion(ctx)
	if err != nil {
		return m, err
	}
	if err := form.check("the store"); err != nil {
		return m, err
	}
	if _, err := os.Lstat(path); err == nil {
		return m, fmt.Errorf("%s is there already: name another file, or remove it", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".nightshift-backup-*") // mode 0600
	if err != nil {
		return m, fmt.Errorf("write the backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	m = Manifest{Format: backupFormat, Program: program, State: form.Version, Made: time.Now().UTC().Truncate(time.Second)}
	err = b.writeBackup(ctx, file, &m)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return m, fmt.Errorf("write the backup: %w", err)
	}
	if err := putAt(file.Name(), path, os.Link); err != nil {
		return m, fmt.Errorf("write the backup: %w", err)
	}
	return m, nil
}

// putAt gives a file its name, unless there is something under it: a link, unlike a
// rename, replaces nothing. Where the file system has no links the name is taken by
// an empty file first, which the rename replaces.
func putAt(file, path string, link func(from, to string) error) error {
	err := link(file, path)
	if err == nil {
		return os.Remove(file)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	place, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(place.Close(), os.Rename(file, path)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (b *Bus) writeBackup(ctx context.Context, to io.Writer, m *Manifest) (err error) {
	archive := zip.NewWriter(to)
	for _, name := range backupOrder {
		if d, err := b.damage(ctx, name); err != nil { // NATS copies it without a word
			return err
		} else if d.Messages > 0 {
			m.Damages = append(m.Damages, d.String())
		}
		part, err := archive.CreateHeader(&zip.FileHeader{Name: name + snapshotSuffix, Method: zip.Store, Modified: m.Made}) // compressed by NATS
		if err != nil {
			return err
		}
		s, err := b.snapshot(ctx, name, part)
		if err != nil {
			return fmt.Errorf("copy stream %s: %w", name, err)
		}
		m.Streams = append(m.Streams, s)
	}
	if pinned, ok, err := b.Pinned(ctx); err != nil {
		return err
	} else if ok {
		m.Account = pinned.IDs
	}
	part, err := archive.CreateHeader(&zip.FileHeader{Name: manifestName, Method: zip.Deflate, Modified: m.Made})
	if err != nil {
		return err
	}
	enc := json.NewEncoder(part)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return err
	}
	return archive.Close()
}

// snapshotAnswer is NATS's answer to the question for a snapshot, and to that for
// its return.
type snapshotAnswer struct {
	Error   *jetstream.APIError   `json:"error"`
	Config  json.RawMessage       `json:"config"`
	State   jetstream.StreamState `json:"state"`
	Deliver string                `json:"deliver_subject"`
}

// snapshot copies a stream as NATS itself writes it: messages with their sequences
// and times, and the consumers with what they have acknowledged.
func (b *Bus) snapshot(ctx context.Context, name string, to io.Writer) (s ManifestStream, err error) {
	inbox := b.nc.NewInbox()
	chunks := make(chan *nats.Msg, 1024) // the server sends at most 8 MB ahead, in pieces of 128 KB
	sub, err := b.nc.ChanSubscribe(inbox, chunks)
	if err != nil {
		return s, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	ask, err := json.Marshal(map[string]any{"deliver_subject": inbox, "jsck": true})
	if err != nil {
		return s, err
	}
	var raw struct {
		snapshotAnswer
		State json.RawMessage `json:"state"`
	}
	if err := b.askJetStream(ctx, "$JS.API.STREAM.SNAPSHOT."+name, ask, &raw, func() *jetstream.APIError { return raw.Error }); err != nil {
		return s, err
	}
	if err := json.Unmarshal(raw.State, &raw.snapshotAnswer.State); err != nil {
		return s, err
	}
	state := raw.snapshotAnswer.State
	s = ManifestStream{Name: name, Messages: state.Msgs, FirstSeq: state.FirstSeq, LastSeq: state.LastSeq, Config: raw.Config, Snapshot: raw.State}
	sum := sha256.New()
	out := io.MultiWriter(to, sum)
	for {
		select {
		case chunk := <-chunks:
			if len(chunk.Data) == 0 {
				if status := chunk.Header.Get("Status"); status != "" && status != "204" {
					return s, fmt.Errorf("NATS ended it: %s %s", status, chunk.Header.Get("Description"))
				}
				s.SHA256 = hex.EncodeToString(sum.Sum(nil))
				return s, nil
			}
			if _, err := out.Write(chunk.Data); err != nil {
				return s, err
			}
			s.Bytes += int64(len(chunk.Data))
			if chunk.Reply != "" {
				if err := chunk.Respond(nil); err != nil {
					return s, err
				}
			}
		case <-time.After(snapshotPatience):
			return s, fmt.Errorf("NATS sent nothing more for %s", snapshotPatience)
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
	}
}

// askJetStream asks NATS itself.
func (b *Bus) askJetStream(ctx context.Context, subject string, body []byte, answer any, refusal func() *jetstream.APIError) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotPatience) // all messages are checked before the answer
	defer cancel()
	ctx, end := b.guard(ctx, subject)
	msg, err := b.nc.RequestWithContext(ctx, subject, body)
	if err = end(err); err != nil {
		return err
	}
	if err := json.Unmarshal(msg.Data, answer); err != nil {
		return fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	if no := refusal(); no != nil {
		return no
	}
	return nil
}

// ReadManifest reads what a backup says of itself, and checks nothing else of it.
func ReadManifest(path string) (m Manifest, err error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return m, notABackup(path, err)
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	return manifestOf(path, &archive.Reader)
}

func notABackup(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("read the backup: %w", err)
	}
	return fmt.Errorf("%s is not a backup, or is damaged: %w", path, err)
}

func manifestOf(path string, archive *zip.Reader) (m Manifest, err error) {
	file, err := archive.Open(manifestName)
	if err != nil {
		return m, notABackup(path, err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxManifest))
	if err != nil {
		return m, notABackup(path, err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, notABackup(path, err)
	}
	if m.Format != backupFormat {
		return m, fmt.Errorf("%w: %s is a backup of form %d (of %s), this nightshift knows %d", ErrNewer, path, m.Format, m.Program, backupFormat)
	}
	return m, stateVersion{m.State, m.Program}.check(path)
}

// CheckBackup reads a whole backup and compares it with its checksums.
func CheckBackup(path string) (m Manifest, err error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return m, notABackup(path, err)
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	if m, err = manifestOf(path, &archive.Reader); err != nil {
		return m, err
	}
	for _, name := range backupOrder {
		i := slices.IndexFunc(m.Streams, func(s ManifestStream) bool { return s.Name == name })
		if i < 0 {
			return m, fmt.Errorf("%s is damaged: stream %s is missing", path, name)
		}
		if err := eachChunk(&archive.Reader, m.Streams[i], func([]byte) error { return nil }); err != nil {
			return m, fmt.Errorf("%s is damaged: stream %s: %w", path, name, err)
		}
	}
	return m, nil
}

// restoreChunk is how much of a snapshot is sent at once.
const restoreChunk = 256 << 10

// eachChunk hands over the snapshot of a stream, and compares it with its checksum.
func eachChunk(archive *zip.Reader, s ManifestStream, hand func([]byte) error) error {
	file, err := archive.Open(s.Name + snapshotSuffix)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return chunks(file, s.SHA256, hand)
}

func chunks(from io.Reader, want string, hand func([]byte) error) error {
	sum := sha256.New()
	buf := make([]byte, restoreChunk)
	for {
		n, err := io.ReadFull(from, buf)
		if n > 0 {
			sum.Write(buf[:n])
			if err := hand(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			if got := hex.EncodeToString(sum.Sum(nil)); got != want {
				return fmt.Errorf("its checksum is %s, want %s", got, want)
			}
			return nil
		case err != nil:
			return err
		}
	}
}

// restoringFile stands in a data directory while a backup is read back into it.
const restoringFile = "nightshift.restoring"

// checkDir looks at a data directory before a server is started on it.
func checkDir(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, restoringFile)); err == nil {
		return fmt.Errorf("data directory %s holds part of a backup: its restore did not end; empty the directory and restore again", dir)
	}
	return checkDirVersion(dir)
}

// checkEmpty refuses a directory that holds anything. What a file system or an
// earlier lock leaves there does not count.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	for _, e := range entries {
		if e.Name() != "lost+found" && e.Name() != lockFile {
			return fmt.Errorf("data directory %s: %w (%s): a backup is restored into an empty one only; move it away first", dir, ErrExists, e.Name())
		}
	}
	return nil
}

// Restore reads a backup back into an empty data directory on which no daemon
// runs. The backup is checked whole before anything is written. What was asked for
// before, and every edge of before, is behind the store then: whether it was done
// between the backup and now nobody knows any more, so it is not done again.
func Restore(ctx context.Context, path, dir, program string, log *zap.Logger) (m Manifest, err error) {
	if m, err = CheckBackup(path); err != nil {
		return m, err
	}
	if err := checkDir(dir); err != nil {
		return m, err
	}
	unlock, err := lockDir(dir) // says who uses it, before it is said to be not empty
	if err != nil {
		return m, err
	}
	err = checkEmpty(dir)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, restoringFile), []byte("nightshift restore of "+path+"\n"), 0o600)
	}
	if err = errors.Join(err, unlock()); err != nil {
		return m, err
	}
	if err := restoreInto(ctx, path, dir, m, program, log); err != nil {
		return m, fmt.Errorf("restore %s into %s: %w; the directory holds part of it: empty it before you try again", path, dir, err)
	}
	return m, os.Remove(filepath.Join(dir, restoringFile))
}

func restoreInto(ctx context.Context, path, dir string, m Manifest, program string, log *zap.Logger) (err error) {
	archive, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	b, err := openStore(ctx, dir, log)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
		defer cancel()
		err = errors.Join(err, b.Close(closing))
	}()
	for _, s := range m.Streams {
		if !slices.Contains(backupOrder, s.Name) {
			continue
		}
		if err := b.restoreStream(ctx, &archive.Reader, s); err != nil {
			return fmt.Errorf("stream %s: %w", s.Name, err)
		}
	}
	_, err = b.BeginAnew(ctx, "restored from a backup of "+m.Made.Format(time.RFC3339), program)
	return err
}

func (b *Bus) restoreStream(ctx context.Context, archive *zip.Reader, s ManifestStream) error {
	ask, err := json.Marshal(map[string]any{"config": s.Config, "state": s.Snapshot})
	if err != nil {
		return err
	}
	var answer snapshotAnswer
	if err := b.askJetStream(ctx, "$JS.API.STREAM.RESTORE."+s.Name, ask, &answer, func() *jetstream.APIError { return answer.Error }); err != nil {
		return err
	}
	if !strings.HasPrefix(answer.Deliver, "$JS.") {
		return fmt.Errorf("the server wants the snapshot on %q", answer.Deliver)
	}
	send := func(piece []byte) error {
		var taken snapshotAnswer
		ask, cancel := context.WithTimeout(ctx, snapshotPatience)
		defer cancel()
		msg, err := b.nc.RequestWithContext(ask, answer.Deliver, piece)
		if err != nil {
			return err
		}
		if len(msg.Data) == 0 {
			return nil
		}
		if err := json.Unmarshal(msg.Data, &taken); err != nil {
			return err
		}
		if taken.Error != nil {
			return taken.Error
		}
		answer = taken
		return nil
	}
	if err := eachChunk(archive, s, send); err != nil {
		return err
	}
	if err := send(nil); err != nil { // the end, answered when all is in its place
		return err
	}
	if got := answer.State.LastSeq; got != s.LastSeq { // there may be fewer: what is too old is not kept
		return fmt.Errorf("it came back up to sequence %d, want %d", got, s.LastSeq)
	}
	return nil
}
