package console

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Civo's signature; as an HMAC it still holds
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"nightshift/policies"
	"nightshift/worker"
)

// The forms of a delivery.
const (
	FormAlertmanager = "alertmanager"
	FormCloudEvents  = "cloudevents"
	FormJSON         = "json"
)

// How a delivery shows that it knows the secret.
const (
	SignatureBearer = "bearer"
	SignatureGitHub = "github"
	SignatureCivo   = "civo"
	SignatureNone   = "none"
)

// Hook is a source of signals over HTTP.
type Hook struct {
	Source                     string
	Form                       string
	Signature                  string
	SecretFile, SecretEnv      string // one of the two, unless Signature is none
	InstanceLabel, RegionLabel string // of Alertmanager
	InstanceIs                 []worker.InstanceKey
	Map                        *policies.Mapping // of JSON and CloudEvents; nil: our own form
}

const (
	maxSecret = 4 << 10
	// warnEvery keeps somebody who guesses from filling the log.
	warnEvery = time.Minute
)

type hook struct {
	Hook
	warned atomic.Int64 // when a wrong secret was last logged, unix nanoseconds
}

func newHook(h Hook) (*hook, error) {
	if !slices.Contains([]string{FormAlertmanager, FormCloudEvents, FormJSON}, h.Form) {
		return nil, fmt.Errorf("form %q is not known", h.Form)
	}
	switch h.Signature {
	case SignatureNone:
	case SignatureBearer, SignatureGitHub, SignatureCivo:
		if _, err := h.secret(); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("signature %q is not known", h.Signature)
	}
	return &hook{Hook: h}, nil
}

// secret reads the secret. Errors say where it should be, and nothing of it.
func (h *Hook) secret() ([]byte, error) {
	if h.SecretEnv != "" {
		s := strings.TrimSpace(os.Getenv(h.SecretEnv))
		if s == "" {
			return nil, fmt.Errorf("the variable %s, which should hold the secret, is empty or not set", h.SecretEnv)
		}
		return []byte(s), nil
	}
	f, err := os.Open(h.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("read the secret: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch text = bytes.TrimSpace(text); {
	case err != nil:
		return nil, fmt.Errorf("read the secret: %w", err)
	case len(text) == 0 || len(text) > maxSecret:
		return nil, fmt.Errorf("the secret in %s is empty, or larger than %d bytes", h.SecretFile, maxSecret)
	}
	return text, nil
}

var errWrongSecret = errors.New("the delivery does not know the secret")

// knows reports whether a delivery knows the secret; what is compared has the same
// length whatever was sent.
func (h *Hook) knows(header http.Header, body, secret []byte) error {
	var isRight bool
	switch h.Signature {
	case SignatureBearer:
		scheme, given, _ := strings.Cut(header.Get("Authorization"), " ")
		got, want := sha256.Sum256([]byte(strings.TrimSpace(given))), sha256.Sum256(secret)
		isRight = subtle.ConstantTimeCompare(got[:], want[:]) == 1 && strings.EqualFold(scheme, "Bearer")
	case SignatureGitHub:
		given, ok := strings.CutPrefix(header.Get("X-Hub-Signature-256"), "sha256=")
		isRight = ok && isSigned(sha256.New, given, body, secret)
	case SignatureCivo:
		isRight = isSigned(sha1.New, header.Get("X-Civo-Signature"), body, secret)
	}
	if !isRight {
		return errWrongSecret
	}
	return nil
}

func isSigned(by func() hash.Hash, given string, body, secret []byte) bool {
	mac := hmac.New(by, secret)
	mac.Write(body)
	got, err := hex.DecodeString(strings.TrimSpace(given))
	return err == nil && hmac.Equal(got, mac.Sum(nil))
}

// result is the answer to a delivery.
type result struct {
	Stored  int            `json:"stored"`
	Ignored int            `json:"ignored"`
	Refused int            `json:"refused"`
	Note    string         `json:"note,omitempty"`
	Signals []worker.Taken `json:"signals"`
}

// maxTold bounds how many signals an answer tells of one by one.
const maxTold = 100

// deliver takes what a source sends.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request) {
	h := (*s.hooks.Load())[r.PathValue("source")]
	if h == nil {
		refuse(w, http.StatusNotFound, "there is no such webhook")
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		refuse(w, http.StatusServiceUnavailable, "too many deliveries at once")
		return
	}
	if host, err := hostOf(r.Host); h.Signature == SignatureNone && (err != nil || !isLocal(host)) {
		refuse(w, http.StatusForbidden, "a webhook without a secret is for this machine only")
		return
	}
	kind, ok := kindOf(h.Form, r.Header)
	if !ok {
		refuse(w, http.StatusUnsupportedMediaType, "the body must be JSON (Content-Type: application/json), not compressed")
		return
	}
	body, err := s.read(w, r, h)
	switch large := new(http.MaxBytesError); {
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", MaxBody)
		return
	case errors.Is(err, errWrongSecret):
		s.warn(h, r)
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "")
		return
	case errors.Is(err, errNoSecret):
		s.log.Error("a webhook has no secret to compare with", zap.String("source", h.Source), zap.Error(err))
		refuse(w, http.StatusServiceUnavailable, "the webhook is out of order; the daemon's log says why")
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "the body could not be read")
		return
	}
	signals, note, err := h.signals(kind, r.Header, body)
	if err != nil {
		s.log.Warn("delivery not read", zap.String("source", h.Source), zap.Error(err))
		refuse(w, http.StatusUnprocessableEntity, "%v", err)
		return
	}
	for i := range signals {
		if t := &signals[i].Trace; t.Parent == "" {
			t.Parent, t.State = r.Header.Get("traceparent"), r.Header.Get("tracestate")
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), takeWithin)
	defer cancel()
	taken, err := s.daemon.TakeSignals(ctx, h.Source, h.InstanceIs, signals)
	if err != nil {
		s.log.Warn("delivery not stored", zap.String("source", h.Source), zap.Error(err))
		refuse(w, http.StatusServiceUnavailable, "not stored, send it again: %v", err)
		return
	}
	if note != "" {
		s.log.Warn("delivery not whole", zap.String("source", h.Source), zap.String("detail", note))
	}
	s.tell(w, taken, note)
}

func (s *Server) tell(w http.ResponseWriter, taken []worker.Taken, note string) {
	out := result{Note: note, Signals: []worker.Taken{}}
	for _, t := range taken {
		switch t.Result {
		case worker.Stored:
			out.Stored++
		case worker.Ignored:
			out.Ignored++
		case worker.Refused:
			out.Refused++
		}
	}
	out.Signals = append(out.Signals, taken[:min(len(taken), maxTold)]...)
	answer(w, http.StatusAccepted, out)
}

var errNoSecret = errors.New("the secret cannot be read")

// read reads the body, after the sender has shown that it knows the secret where
// that can be seen before.
func (s *Server) read(w http.ResponseWriter, r *http.Request, h *hook) ([]byte, error) {
	if r.ContentLength > MaxBody {
		return nil, &http.MaxBytesError{Limit: MaxBody}
	}
	var secret []byte
	if h.Signature != SignatureNone {
		var err error
		if secret, err = h.secret(); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoSecret, err)
		}
	}
	if h.Signature == SignatureBearer {
		if err := h.knows(r.Header, nil, secret); err != nil {
			return nil, err
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		return nil, err
	}
	if h.Signature == SignatureGitHub || h.Signature == SignatureCivo {
		return body, h.knows(r.Header, body, secret)
	}
	return body, nil
}

func (s *Server) warn(h *hook, r *http.Request) {
	now := time.Now().UnixNano()
	if last := h.warned.Load(); now-last > int64(warnEvery) && h.warned.CompareAndSwap(last, now) {
		s.log.Warn("delivery with a wrong secret; more of them within a minute are not logged", zap.String("source", h.Source), zap.String("from", r.RemoteAddr))
	}
}

func hostOf(hostport string) (string, error) {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host, nil
	}
	return strings.Trim(hostport, "[]"), nil
}

// kinds of bodies.
const (
	kindPlain  = "application/json"
	kindEvent  = "application/cloudevents+json"
	kindEvents = "application/cloudevents-batch+json"
)

// kindOf is the kind of a body that a form can have.
func kindOf(form string, header http.Header) (string, bool) {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || header.Get("Content-Encoding") != "" {
		return "", false
	}
	switch {
	case form == FormCloudEvents && (kind == kindEvent || kind == kindEvents):
		return kind, true
	case kind == kindPlain, strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json") && !strings.Contains(kind, "cloudevents"):
		return kindPlain, true
	}
	return "", false
}

// signals reads a body. A note says what of it is missing.
func (h *Hook) signals(kind string, header http.Header, body []byte) (signals []worker.NamedSignal, note string, err error) {
	switch h.Form {
	case FormAlertmanager:
		return h.alerts(body)
	case FormCloudEvents:
		signals, err = h.cloudEvents(kind, header, body)
	default:
		signals, err = h.json(header, body)
	}
	return signals, "", err
}
