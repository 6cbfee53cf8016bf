package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Options say where the bus is. The zero value of each field is the documented default.
type Options struct {
	URL      string // of an external NATS; empty: an embedded server
	Auth     Auth   // for the external NATS; Inbox for both
	DataDir  string // of the embedded server's store
	Listen   string // of the embedded server: host:port (port 0: a free one), or "none"; default 127.0.0.1:4222
	Users    string // of the embedded server: file with its users, without which it listens on loopback only
	Replicas int    // of streams on an external NATS; 0: 3 in a cluster, else 1
	// EventsSize bounds NS_EVT in bytes, on each node; default DefaultEventsSize.
	EventsSize int64
	Name       string // of the connection; default nightshift
	Memory     bool   // embedded server keeps nothing on disk: for tests
	Program    string // that is written beside the form of the store: "nightshift 1.2.3"
	Log        *zap.Logger
	// Dialer connects to the external NATS; default: TCP.
	Dialer nats.CustomDialer
}

// DefaultListen is where the embedded server answers.
const DefaultListen = "127.0.0.1:4222"

// Retention of the streams (design.md, "Stores").
const (
	keepIn  = 7 * 24 * time.Hour
	keepRun = 7 * 24 * time.Hour
	keepEvt = 30 * 24 * time.Hour
	keepDLQ = 30 * 24 * time.Hour
	// dedupWindow is for how long NS_IN knows the ids of messages.
	dedupWindow = time.Hour
	// maxEvents bounds NS_EVT by count: each distinct subject costs the server
	// about 600 bytes of memory.
	maxEvents = 500_000
	// DefaultEventsSize bounds NS_EVT in bytes: about 800,000 events. NATS takes no room
	// for it beforehand, but counts it as taken: the embedded server has no bound that
	// this could come up against (see noStoreBound), an external one may have.
	DefaultEventsSize = 1 << 30
	// MaxBody bounds what is taken from outside; larger messages are dead letters.
	MaxBody = 64 << 10
	// publishTimeout bounds a publish whose context has no deadline, as long as no
	// answer is late (patience).
	publishTimeout = 5 * time.Second
	// pingEvery finds a connection that is only half open: after two pings without
	// an answer it is made anew (the client's own default is two minutes).
	pingEvery = 10 * time.Second
)

// Bus is a connection to NATS with its streams. It is safe for concurrent use.
type Bus struct {
	nc             *nats.Conn
	js             jetstream.JetStream
	state          jetstream.KeyValue
	log            *zap.Logger
	embedded       *server.Server // nil when external
	unlock         func() error
	source         string
	inbox          string // beginning of the subjects on which answers come
	auth           Auth
	evt, run, tick group // what is on its way into NS_EVT, NS_RUN, and as ticks into NS_IN
	disk           disk  // of the embedded server
	users          users // likewise
	reckoning      reckoning
	waits          patience

	beatDenied atomic.Int64 // when a beat was last refused, in nanoseconds

	mu      sync.Mutex
	lastErr error                       // newest error that only the connection was told of
	streams map[string]jetstream.Stream // those looked up
	guarded map[*refusable]struct{}     // what permissions may refuse and is under way
}

// Open starts the embedded server on DataDir, or connects to URL, and makes sure
// that the streams are there: where its rights do not allow to create them, they
// must be. While an external NATS is away, or refuses the credentials, it goes on
// trying until ctx ends. A data directory in use by another process is an error
// that names it.
func Open(ctx context.Context, o Options) (*Bus, error) {
	b := &Bus{log: o.Log, unlock: func() error { return nil }, source: "nightshift", auth: o.Auth}
	if b.log == nil {
		b.log = zap.NewNop()
	}
	b.inbox = cmp.Or(o.Auth.Inbox, InboxOf(string(Worker)))
	opts := []nats.Option{
		nats.Name(cmp.Or(o.Name, "nightshift")), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second), nats.PingInterval(pingEvery),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("NATS is away", zap.Error(err))
			}
		}),
		nats.ReconnectErrHandler(b.onReconnectError),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			b.remember(nil)
			b.log.Info("NATS is back", zap.String("url", redact(nc.ConnectedUrl())))
		}),
	}
	if o.URL == "" {
		if !o.Memory {
			if err := checkDir(o.DataDir); err != nil {
				return nil, err
			}
		}
		inProcess, err := b.embed(o)
		if err != nil {
			return nil, err
		}
		opts = append(opts, inProcess...)
	} else {
		// Credentials that were refused may be the right ones a moment later: they
		// are being changed here or there.
		opts = append(opts, nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort())
		if o.Dialer != nil {
			opts = append(opts, nats.SetCustomDialer(o.Dialer))
		}
	}
	if err := b.connect(o.URL, opts); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if err := b.untilThere(ctx, redact(o.URL)); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if err := b.untilPrepared(ctx, o); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

// setUp makes sure that all is there, unless the store is a newer program's.
func (b *Bus) setUp(ctx context.Context, o Options) error {
	form, err := b.storedVersion(ctx)
	if err != nil {
		return err
	}
	if err := form.check("the store"); err != nil {
		return err
	}
	if err := b.prepare(ctx, o); err != nil {
		return err
	}
	if b.disk.dir != "" {
		if err := b.compareMarks(ctx, o.Program); err != nil {
			return err
		}
	}
	return b.writeVersion(ctx, form, o)
}

// OpenStore starts a server on the data directory of a store, for this process
// alone, and changes nothing of what it holds: no daemon may run on it.
func OpenStore(ctx context.Context, dir string, log *zap.Logger) (*Bus, error) {
	if _, err := os.Stat(filepath.Join(dir, "jetstream")); err != nil {
		return nil, fmt.Errorf("data directory %s holds no store: %w", dir, err)
	}
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	return openStore(ctx, dir, log)
}

func openStore(ctx context.Context, dir string, log *zap.Logger) (*Bus, error) {
	b := &Bus{log: log, unlock: func() error { return nil }, source: "nightshift", inbox: InboxOf(string(Worker))}
	opts, err := b.embed(Options{DataDir: dir, Listen: "none"})
	if err != nil {
		return nil, err
	}
	if err := b.connect("", append(opts, nats.Name("nightshift store"))); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if err := b.untilThere(ctx, dir); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

// Dial connects for the command line: nothing is set up, and when nobody
// answers that is an error at once.
func Dial(ctx context.Context, address string, auth Auth) (*Bus, error) {
	b := &Bus{log: zap.NewNop(), unlock: func() error { return nil }, source: "nightshift", auth: auth}
	b.inbox = cmp.Or(auth.Inbox, strings.TrimSuffix(nats.InboxPrefix, "."))
	if err := b.connect(address, []nats.Option{nats.Name("nightshift command line"), nats.Timeout(dialTimeout)}); err != nil {
		if errors.Is(err, errNoNATS) {
			err = fmt.Errorf("%w: %w", ErrNoDaemon, err)
		}
		return nil, errors.Join(err, b.stop())
	}
	return b, ctx.Err()
}

var errNoNATS = errors.New("no NATS answers")

// connect makes the connection, which shows who it is when it is not in-process.
func (b *Bus) connect(address string, opts []nats.Option) error {
	opts = append(opts, nats.ErrorHandler(b.onError), nats.CustomInboxPrefix(b.inbox), nats.PermissionErrOnSubscribe(true))
	var conn atomic.Pointer[nats.Conn]
	if b.embedded == nil {
		if err := checkURL(address); err != nil {
			return err
		}
		if err := b.auth.check(address); err != nil {
			return err
		}
		shown, err := b.auth.options(b.log, &conn)
		if err != nil {
			return err
		}
		opts = append(opts, shown...)
	}
	var err error
	if b.nc, err = nats.Connect(address, opts...); err != nil {
		err = b.auth.refusedBy(address, err)
		if answered := errors.Is(err, ErrRefused) || isTLS(err); answered {
			return fmt.Errorf("NATS at %s: %w", redact(address), err)
		}
		return fmt.Errorf("%w at %s: %w", errNoNATS, redact(address), err)
	}
	conn.Store(b.nc)
	b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(publishTimeout))
	return err
}

// embed starts the server of this process, and says how to connect to it.
func (b *Bus) embed(o Options) ([]nats.Option, error) {
	so := &server.Options{ServerName: "nightshift", NoSigs: true, JetStream: true, SyncAlways: true, MaxPayload: 1 << 20, NoLog: true, JetStreamMaxStore: noStoreBound}
	if err := b.listen(so, o); err != nil {
		return nil, err
	}
	if o.Memory {
		// By default all servers of a machine share one directory, and who ends
		// removes it from under who begins, which then never gets ready.
		dir, err := os.MkdirTemp("", "nightshift-memory-")
		if err != nil {
			return nil, fmt.Errorf("start the embedded NATS: %w", err)
		}
		so.StoreDir = dir
		b.unlock = func() error { return os.RemoveAll(dir) }
	} else {
		if o.DataDir == "" {
			return nil, errors.New("the embedded NATS needs a data directory")
		}
		unlock, err := lockDir(o.DataDir)
		if err != nil {
			return nil, err
		}
		b.unlock = unlock
		so.StoreDir = o.DataDir
		b.disk.dir = o.DataDir
		if b.disk.is, err = os.Stat(o.DataDir); err != nil {
			return nil, errors.Join(unwritable(o.DataDir, err), b.unlock())
		}
		if err := checkBlocks(o.DataDir); err != nil {
			return nil, errors.Join(err, b.unlock())
		}
	}
	b.users.rest = so.Clone() // the server writes into its own
	s, err := server.NewServer(so)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the embedded NATS: %w", err), b.unlock())
	}
	s.SetLoggerV2(serverLog{b.log.Named("nats").WithOptions(zap.AddCallerSkip(1)), b.hear}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, errors.Join(fmt.Errorf("the embedded NATS is not ready after 10 s; its store is %s", o.DataDir), b.unlock())
	}
	b.embedded = s
	if config := s.JetStreamConfig(); config != nil {
		b.disk.config = *config
		b.disk.config.StoreDir = o.DataDir // to which the server adds its own part
	}
	opts := []nats.Option{nats.InProcessServer(s)}
	if n := len(so.Users); n > 0 { // the last is this process
		opts = append(opts, nats.UserInfo(so.Users[n-1].Username, so.Users[n-1].Password))
	}
	return opts, nil
}

// listen says where the embedded server answers, and whom.
func (b *Bus) listen(so *server.Options, o Options) error {
	listen := cmp.Or(o.Listen, DefaultListen)
	if listen == "none" {
		so.DontListen = true
		return nil
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("nats.listen %q: want host:port, or none: %w", listen, err)
	}
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	if !loopback && o.Users == "" {
		return fmt.Errorf("nats.listen %q: without credentials NATS may listen on loopback only (127.0.0.1:4222); for other machines name its users in nats.users_file, or use an external NATS and nats.url", listen)
	}
	so.Host = host
	if so.Port, err = strconv.Atoi(port); err != nil || so.Port < 0 || so.Port > 65535 {
		return fmt.Errorf("nats.listen %q: %q is no port", listen, port)
	}
	if o.Users != "" {
		b.users = users{path: o.Users, self: newSelf()}
		if err := admit(so, o.Users, b.users.self); err != nil {
			return err
		}
		if !loopback && so.TLSConfig == nil {
			b.log.Warn("NATS answers other machines without TLS: passwords and commands can be read on the way; write a tls block into nats.users_file", zap.String("listen", listen))
		}
	}
	if so.Port == 0 {
		so.Port = server.RANDOM_PORT
	} else if ln, err := net.Listen("tcp", listen); err != nil {
		return fmt.Errorf("nats.listen %s is taken, perhaps by a daemon that runs already (nightshift status asks it); else choose another address, or none: %w", listen, err)
	} else if err := ln.Close(); err != nil {
		return err
	}
	return nil
}

// untilThere waits for a NATS with JetStream to answer.
func (b *Bus) untilThere(ctx context.Context, url string) error {
	var told time.Time
	for {
		ask, cancel := context.WithTimeout(ctx, publishTimeout)
		_, err := b.js.AccountInfo(ask)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("NATS at %s did not answer: %w", url, err)
		}
		if time.Since(told) > time.Minute {
			told = time.Now()
			b.log.Warn("waiting for NATS with JetStream", zap.String("url", url), zap.Error(b.explain(err)))
		}
		_ = sleep(ctx, time.Second)
	}
}

// untilPrepared waits for a cluster that answers and has no leader yet, or lacks
// the nodes that its streams need: it has just been started.
func (b *Bus) untilPrepared(ctx context.Context, o Options) error {
	var told time.Time
	for {
		err := b.setUp(ctx, o)
		if err == nil || b.embedded != nil || ctx.Err() != nil || !isTemporary(err) {
			return err
		}
		if time.Since(told) > time.Minute {
			told = time.Now()
			b.log.Warn("waiting for NATS to be whole", zap.Error(err))
		}
		_ = sleep(ctx, time.Second)
	}
}

// isTemporary reports whether NATS may answer otherwise in a moment.
func isTemporary(err error) bool {
	var denied *Denied
	var refusal *jetstream.APIError
	switch {
	case errors.As(err, &denied):
		return false
	case errors.As(err, &refusal):
		return refusal.Code == 503 || refusal.ErrorCode == errNoPeers
	}
	// A bucket that another node has just made is not there yet for the one that was asked.
	return errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrConnectionReconnecting) || errors.Is(err, nats.ErrDisconnected)
}

// errNoPeers is the server's answer while too few of its nodes are there.
const errNoPeers jetstream.ErrorCode = 10005

// Close ends the connection, then the embedded server, then frees its directory.
func (b *Bus) Close(ctx context.Context) error {
	closed := make(chan struct{})
	b.nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	if err := b.nc.Drain(); err == nil {
		select {
		case <-closed:
		case <-ctx.Done():
		}
	}
	return b.stop()
}

func (b *Bus) stop() error {
	if b.nc != nil {
		b.nc.Close()
	}
	if b.embedded != nil {
		b.embedded.Shutdown()
		b.embedded.WaitForShutdown()
	}
	return b.unlock()
}

// URL is where other programs reach this NATS, without credentials; empty when
// the embedded server answers this process only.
func (b *Bus) URL() string {
	if b.embedded == nil {
		return redact(b.nc.ConnectedUrl())
	}
	if addr, ok := b.embedded.Addr().(*net.TCPAddr); ok {
		return "nats://" + addr.String()
	}
	return ""
}

// State is the bucket of what is remembered.
func (b *Bus) State() jetstream.KeyValue { return b.state }

// stream looks a stream up once.
func (b *Bus) stream(ctx context.Context, name string) (jetstream.Stream, error) {
	b.mu.Lock()
	s := b.streams[name]
	b.mu.Unlock()
	if s != nil {
		return s, nil
	}
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", name, b.explain(err))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.streams == nil {
		b.streams = make(map[string]jetstream.Stream)
	}
	b.streams[name] = s
	return s, nil
}

// Conn is the connection.
func (b *Bus) Conn() *nats.Conn { return b.nc }

// Ready reports why the bus cannot be used, or nil.
func (b *Bus) Ready(ctx context.Context) error {
	if !b.nc.IsConnected() {
		return fmt.Errorf("NATS is %s", b.nc.Status())
	}
	if err := b.disk.err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := b.js.Stream(ctx, StreamEvt); err != nil {
		return fmt.Errorf("stream %s: %w", StreamEvt, b.explain(err))
	}
	return nil
}

func (b *Bus) onError(nc *nats.Conn, _ *nats.Subscription, err error) {
	if isRefusal(err) { // here, not with the attempt to connect
		b.onReconnectError(nc, err)
		return
	}
	b.remember(err)
	if d := deniedIn(err); d != nil {
		b.refuse(d)
		if d.Subject == beatSubject {
			b.beatDenied.Store(time.Now().UnixNano())
		}
	}
	b.log.Warn("NATS reports", zap.Error(err))
}

// onReconnectError is told of each attempt that fails; the log is, of the first
// and whenever it is another.
func (b *Bus) onReconnectError(nc *nats.Conn, err error) {
	err = b.auth.refusedBy(nc.Opts.Url, err)
	if last := b.remember(err); last != nil && last.Error() == err.Error() {
		return
	}
	if errors.Is(err, ErrRefused) {
		b.log.Error("NATS is away, will be tried again", zap.Error(err))
		return
	}
	b.log.Warn("NATS is away, will be tried again", zap.Error(err))
}

// remember keeps an error that only the connection was told of, and returns the
// one before.
func (b *Bus) remember(err error) (last error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, b.lastErr = b.lastErr, err
	return last
}

// explain adds what only the connection was told: a publish that permissions
// refuse looks like a timeout to its caller.
func (b *Bus) explain(err error) error {
	if fault := b.disk.err(); err != nil && fault != nil && !errors.Is(err, ErrStore) {
		return fmt.Errorf("%w (%w)", err, fault)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || b.lastErr == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
		return err
	}
	if d := deniedIn(b.lastErr); d != nil {
		return fmt.Errorf("%w (%w)", err, d)
	}
	return fmt.Errorf("%w (NATS said last: %w)", err, b.lastErr)
}
