package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Options say where the bus is. The zero value of each field is the documented default.
type Options struct {
	URL      string // of an external NATS; empty: an embedded server
	Creds    string // file with credentials for the external NATS
	DataDir  string // of the embedded server's store
	Listen   string // of the embedded server: host:port (port 0: a free one), or "none"; default 127.0.0.1:4222
	Replicas int    // of streams on an external NATS; 0: 3 in a cluster, else 1
	Name     string // of the connection; default nightshift
	Memory   bool   // embedded server keeps nothing on disk: for tests
	Log      *zap.Logger
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
	// maxEvents bounds NS_EVT by count: each distinct subject costs the server
	// about 600 bytes of memory.
	maxEvents = 500_000
	// MaxBody bounds what is taken from outside; larger messages are dead letters.
	MaxBody = 64 << 10
	// publishTimeout bounds a publish whose context has no deadline.
	publishTimeout = 5 * time.Second
	// pingEvery finds a connection that is only half open: after two pings without
	// an answer it is made anew (the client's own default is two minutes).
	pingEvery = 10 * time.Second
)

// Bus is a connection to NATS with its streams. It is safe for concurrent use.
type Bus struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	state    jetstream.KeyValue
	log      *zap.Logger
	embedded *server.Server // nil when external
	unlock   func() error
	source   string
	evt, run group // what is on its way into NS_EVT and NS_RUN

	mu      sync.Mutex
	lastErr error                       // newest error that only the connection was told of
	streams map[string]jetstream.Stream // those looked up
}

// Open starts the embedded server on DataDir, or connects to URL, and makes sure
// that the streams are there. While an external NATS is away it goes on trying
// until ctx ends. A data directory in use by another process is an error that
// names it.
func Open(ctx context.Context, o Options) (*Bus, error) {
	b := &Bus{log: o.Log, unlock: func() error { return nil }}
	if b.log == nil {
		b.log = zap.NewNop()
	}
	o.Name = cmp.Or(o.Name, "nightshift")
	b.source = "nightshift"
	opts := []nats.Option{nats.Name(o.Name), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second), nats.PingInterval(pingEvery), nats.ErrorHandler(b.onError),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("NATS is away", zap.Error(err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { b.log.Info("NATS is back", zap.String("url", nc.ConnectedUrlRedacted())) })}
	url := o.URL
	if err := checkURL(url); err != nil {
		return nil, err
	}
	if url == "" {
		if err := b.embed(o); err != nil {
			return nil, err
		}
		opts = append(opts, nats.InProcessServer(b.embedded))
	} else {
		opts = append(opts, nats.RetryOnFailedConnect(true))
		if o.Dialer != nil {
			opts = append(opts, nats.SetCustomDialer(o.Dialer))
		}
		if o.Creds != "" {
			opts = append(opts, nats.UserCredentials(o.Creds))
		}
	}
	var err error
	if b.nc, err = nats.Connect(url, opts...); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to NATS at %s: %w", redact(url), err), b.stop())
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(publishTimeout)); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if err := b.untilThere(ctx, redact(url)); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if err := b.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, nil
}

// Dial connects for the command line: nothing is set up, and when nobody
// answers that is an error at once.
func Dial(ctx context.Context, url, creds string) (*Bus, error) {
	b := &Bus{log: zap.NewNop(), unlock: func() error { return nil }, source: "nightshift"}
	if err := checkURL(url); err != nil {
		return nil, err
	}
	opts := []nats.Option{nats.Name("nightshift command line"), nats.Timeout(3 * time.Second), nats.ErrorHandler(b.onError)}
	if creds != "" {
		opts = append(opts, nats.UserCredentials(creds))
	}
	var err error
	if b.nc, err = nats.Connect(url, opts...); err != nil {
		return nil, fmt.Errorf("no NATS answers at %s: %w", redact(url), err)
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(publishTimeout)); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	return b, ctx.Err()
}

// embed starts the server of this process.
func (b *Bus) embed(o Options) error {
	so := &server.Options{ServerName: "nightshift", NoSigs: true, JetStream: true, SyncAlways: true, MaxPayload: 1 << 20, NoLog: true}
	listen := cmp.Or(o.Listen, DefaultListen)
	if listen == "none" {
		so.DontListen = true
	} else {
		host, port, err := net.SplitHostPort(listen)
		if err != nil {
			return fmt.Errorf("nats.listen %q: want host:port, or none: %w", listen, err)
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("nats.listen %q: without credentials NATS may listen on loopback only (127.0.0.1:4222); for other machines use an external NATS and nats.url", listen)
		}
		so.Host = host
		if so.Port, err = strconv.Atoi(port); err != nil || so.Port < 0 || so.Port > 65535 {
			return fmt.Errorf("nats.listen %q: %q is no port", listen, port)
		}
		if so.Port == 0 {
			so.Port = server.RANDOM_PORT
		} else if ln, err := net.Listen("tcp", listen); err != nil {
			return fmt.Errorf("nats.listen %s is taken: choose another, or none: %w", listen, err)
		} else if err := ln.Close(); err != nil {
			return err
		}
	}
	if !o.Memory {
		if o.DataDir == "" {
			return errors.New("the embedded NATS needs a data directory")
		}
		unlock, err := lockDir(o.DataDir)
		if err != nil {
			return err
		}
		b.unlock = unlock
		so.StoreDir = o.DataDir
	}
	s, err := server.NewServer(so)
	if err != nil {
		return errors.Join(fmt.Errorf("start the embedded NATS: %w", err), b.unlock())
	}
	s.SetLoggerV2(serverLog{b.log.Named("nats").WithOptions(zap.AddCallerSkip(1))}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		s.Shutdown()
		s.WaitForShutdown()
		return errors.Join(fmt.Errorf("the embedded NATS is not ready after 10 s; its store is %s", o.DataDir), b.unlock())
	}
	b.embedded = s
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
		timer := time.NewTimer(time.Second)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// setUp creates the streams and the bucket, or brings them up to date.
func (b *Bus) setUp(ctx context.Context, o Options) error {
	storage := jetstream.FileStorage
	if o.Memory {
		storage = jetstream.MemoryStorage
	}
	replicas := o.Replicas
	if replicas == 0 {
		replicas = 1
		if b.embedded == nil && b.nc.ConnectedClusterName() != "" {
			replicas = 3
		}
	}
	if b.embedded == nil && replicas == 1 {
		b.log.Warn("streams are kept once: a lost disk of the NATS server loses what is planned and the audit trail")
	}
	for _, c := range []jetstream.StreamConfig{
		{Name: StreamIn, Subjects: []string{prefix + "tick.>", prefix + "cmd.>", prefix + "sig.>"}, MaxAge: keepIn, Description: "ticks, commands, signals"},
		{Name: StreamRun, Subjects: []string{prefix + "run.>"}, MaxAge: keepRun, Description: "stored plans"},
		{Name: StreamEvt, Subjects: []string{EvtAll}, MaxAge: keepEvt, MaxMsgs: maxEvents, DenyDelete: true, DenyPurge: true, Description: "ledger and audit trail"},
		{Name: StreamDLQ, Subjects: []string{prefix + "dlq.>"}, MaxAge: keepDLQ, Description: "what could not be read"},
	} {
		c.Storage, c.Replicas, c.AllowDirect, c.Retention = storage, replicas, true, jetstream.LimitsPolicy
		c.AllowAtomicPublish = c.Name != StreamDLQ
		if c.Name == StreamIn {
			c.Duplicates = time.Hour
		}
		if _, err := b.js.CreateOrUpdateStream(ctx, c); err != nil {
			return fmt.Errorf("set up stream %s: %w", c.Name, b.explain(err))
		}
	}
	kv, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: Bucket, Storage: storage, Replicas: replicas, History: 1, Description: "what nightshift remembers"})
	if err != nil {
		return fmt.Errorf("set up bucket %s: %w", Bucket, b.explain(err))
	}
	b.state = kv
	return nil
}

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
		return b.nc.ConnectedUrlRedacted()
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
	ctx, cancel := bounded(ctx)
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
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := b.js.Stream(ctx, StreamEvt); err != nil {
		return fmt.Errorf("stream %s: %w", StreamEvt, b.explain(err))
	}
	return nil
}

func (b *Bus) onError(_ *nats.Conn, _ *nats.Subscription, err error) {
	b.mu.Lock()
	b.lastErr = err
	b.mu.Unlock()
	b.log.Warn("NATS reports", zap.Error(err))
}

// explain adds what only the connection was told: a publish that permissions
// refuse looks like a timeout to its caller.
func (b *Bus) explain(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || b.lastErr == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) {
		return err
	}
	return fmt.Errorf("%w (NATS said last: %v)", err, b.lastErr)
}
