package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"nightshift/worker"
)

// Bounds of what is taken from outside.
const (
	MaxBody      = 1 << 20
	maxDepth     = 32 // levels of JSON
	maxAtOnce    = 32 // deliveries being read: what they hold in memory is bounded
	maxHeader    = 16 << 10
	readHeader   = 5 * time.Second
	readAll      = 15 * time.Second
	takeWithin   = 20 * time.Second // one delivery is stored, or refused
	writeAll     = readAll + takeWithin + 5*time.Second
	idle         = 2 * time.Minute
	endWithin    = 5 * time.Second
	retrySeconds = "5"
)

// Daemon is what the server asks of the daemon.
type Daemon interface {
	TakeSignals(ctx context.Context, source string, by []worker.InstanceKey, signals []worker.NamedSignal) ([]worker.Taken, error)
	NotReady(ctx context.Context) []string
	Status(ctx context.Context) worker.Status
	Ended() []worker.Ended
}

// Options are what a Server needs besides the daemon.
type Options struct {
	Listen string // host:port; port 0 is a free one
	Hooks  []Hook
	Pages  map[string]http.Handler // further ones, by pattern
	Log    *zap.Logger             // default: none
}

// Server answers over HTTP. It is safe for concurrent use.
type Server struct {
	daemon   Daemon
	log      *zap.Logger
	listen   string
	hooks    atomic.Pointer[map[string]*hook]
	listener net.Listener
	handler  http.Handler
	slots    chan struct{}
}

// New checks the options and starts nothing. A secret that cannot be read is an
// error.
func New(daemon Daemon, o Options) (*Server, error) {
	s := &Server{daemon: daemon, log: o.Log, listen: o.Listen, slots: make(chan struct{}, maxAtOnce)}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	hooks, err := s.check(o.Hooks)
	if err != nil {
		return nil, err
	}
	s.hooks.Store(&hooks)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", metricsHandler(daemon, s.log))
	mux.HandleFunc("POST /v1/hooks/{source}", s.deliver)
	for pattern, page := range o.Pages {
		mux.Handle(pattern, page)
	}
	s.handler = mux
	return s, nil
}

// Replace puts other webhooks in force; on an error the old ones stay.
func (s *Server) Replace(hooks []Hook) error {
	checked, err := s.check(hooks)
	if err == nil {
		s.hooks.Store(&checked)
	}
	return err
}

func (s *Server) check(hooks []Hook) (map[string]*hook, error) {
	out := make(map[string]*hook, len(hooks))
	var faults []error
	for _, h := range hooks {
		checked, err := newHook(h)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("webhook %s: %w", h.Source, err))
		case h.Signature == SignatureNone && !isLoopback(s.listen):
			faults = append(faults, fmt.Errorf("webhook %s has no secret, and %s is reached from beyond this machine", h.Source, s.listen))
		}
		out[h.Source] = checked
	}
	return out, errors.Join(faults...)
}

// Listen takes the address. It is done before Run, so that an address that is
// taken keeps the daemon from starting.
func (s *Server) Listen(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("http.listen %s: %w; name another address, or none", s.listen, err)
	}
	s.listener = ln
	return nil
}

// Addr is where the server answers, after Listen.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close lets go of the address when Run was not called.
func (s *Server) Close() error { return s.listener.Close() }

// Run answers until ctx ends and the deliveries under way have been answered, or
// the time for that is over.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: readHeader, ReadTimeout: readAll, WriteTimeout: writeAll, IdleTimeout: idle,
		MaxHeaderBytes: maxHeader, ErrorLog: log.New(io.Discard, "", 0), // what clients do wrong is theirs to see
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	ended := make(chan struct{})
	defer func() { <-ended }()
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
		defer cancel()
		if srv.Shutdown(closing) != nil {
			_ = srv.Close()
		}
	})
	s.log.Info("answering over HTTP", zap.String("listen", s.Addr()))
	err := srv.Serve(s.listener)
	if stop() { // it ended by itself
		close(ended)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("HTTP server: %w", err)
}

// Handler is what the server answers with.
func (s *Server) Handler() http.Handler { return s.handler }

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readHeader)
	defer cancel()
	if why := s.daemon.NotReady(ctx); len(why) > 0 {
		http.Error(w, strings.Join(why, "\n"), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ready")
}

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err == nil && isLocal(host)
}

// isLocal reports whether a host is this machine, seen from itself.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, code int, format string, args ...any) {
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retrySeconds)
	}
	answer(w, code, map[string]string{"error": cmp.Or(fmt.Sprintf(format, args...), http.StatusText(code))})
}
