package civo

import (
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// Defaults of Options.
const (
	DefaultBaseURL = "https://api.civo.com"
	DefaultRate    = 5.0 // requests a second; no limit is documented
	DefaultTimeout = 30 * time.Second
	// DefaultRetries bound how often one call is tried again; the deadline of its
	// context may end it earlier.
	DefaultRetries = 4
	// maxBody bounds an answer: a page of a thousand instances is under 3 MB.
	maxBody = 32 << 20
)

// Options of a client. The zero value of each field is the documented default.
type Options struct {
	BaseURL string        // default DefaultBaseURL; https, or http for a simulator
	Version string        // User-Agent is nightshift/<version>; default dev
	Rate    float64       // requests a second, all calls together; default DefaultRate
	Timeout time.Duration // of one attempt; default DefaultTimeout
	Retries int           // of one call; default DefaultRetries
	// HTTPClient lends its Transport; default: keep-alive, proxy from the
	// environment, the system's certificates.
	HTTPClient *http.Client
	// RootCAs are trusted instead of the system's; not with HTTPClient.
	RootCAs *x509.CertPool
	// JSON sends bodies as JSON objects instead of forms.
	JSON bool
	// Tokens gives the token of each request; it wins over the token of New.
	Tokens TokenSource
	// Trace is told of each request when its answer has come, or will not.
	Trace func(Trace)
}

// Trace is one attempt of a request, for logs and metrics. It holds no secret.
type Trace struct {
	Op       string // "stop instance 4a07…"
	Method   string
	Path     string
	Region   string
	Instance string
	Attempt  int           // from 1
	Status   int           // 0: no answer
	Duration time.Duration // until the headers of the answer
	Err      error
}

// Client calls the API. It is safe for concurrent use and starts no goroutine of
// its own.
type Client struct {
	base    *url.URL
	tokens  TokenSource
	json    bool
	trace   func(Trace)
	agent   string
	http    *retryablehttp.Client
	limiter *limiter
}

// New makes a client. It asks nothing of the API yet.
func New(token string, o Options) (*Client, error) {
	if o.Tokens == nil {
		if err := checkToken(token); err != nil {
			return nil, err
		}
		o.Tokens = StaticToken(token)
	}
	base, err := url.Parse(strings.TrimRight(cmp.Or(o.BaseURL, DefaultBaseURL), "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("API address %q is not of the form https://host[:port]", o.BaseURL)
	}
	if o.Rate < 0 || o.Timeout < 0 || o.Retries < 0 {
		return nil, errors.New("rate, timeout and retries must not be negative")
	}
	var transport http.RoundTripper
	if o.HTTPClient != nil {
		transport = o.HTTPClient.Transport
	}
	if transport == nil {
		transport = &http.Transport{
			TLSClientConfig:       &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:     true,
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			MaxIdleConnsPerHost:   8,
			IdleConnTimeout:       90 * time.Second,
			DisableCompression:    true, // asked for and undone here, so that the size is bounded after it
			ResponseHeaderTimeout: cmp.Or(o.Timeout, DefaultTimeout),
		}
	}
	c := &Client{
		base: base, tokens: o.Tokens, agent: "nightshift/" + cmp.Or(o.Version, "dev"), json: o.JSON, trace: o.Trace,
		limiter: newLimiter(cmp.Or(o.Rate, DefaultRate)),
	}
	c.http = &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport:     attempt{c, transport, cmp.Or(o.Timeout, DefaultTimeout)},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RetryMax: cmp.Or(o.Retries, DefaultRetries), RetryWaitMin: retryMin, RetryWaitMax: retryMax,
		CheckRetry: checkRetry, Backoff: backoff, ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	return c, nil
}

// CloseIdleConnections closes connections that are kept alive for later calls.
func (c *Client) CloseIdleConnections() { c.http.HTTPClient.CloseIdleConnections() }

// call is one request: what for, and what goes where.
type call struct {
	op       string // for errors: "stop instance 4a07…"
	method   string
	path     string // below /v2
	region   string
	instance string
	query    url.Values
	form     url.Values // nil: no body
	json     bool       // send the form as JSON whatever the client's option says
	attempts int        // made so far
	unclear  bool       // one that was made again may have had an effect
}

// do sends a call and decodes the answer into out, unless out is nil.
func (c *Client) do(ctx context.Context, k call, out any) error {
	req, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	sent := callFrom(req.Context())
	resp, err := c.http.Do(req) //nolint:bodyclose // closed below
	if err != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		return sent.told(noAnswer(k, err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readBody(resp)
	if err != nil {
		return sent.told(noAnswer(k, fmt.Errorf("read the answer: %w", err)))
	}
	if resp.StatusCode >= 300 {
		e := parseError(k, resp, body)
		if !repeatable(k.method) && resp.StatusCode >= 500 && e.Code == "" {
			e.kind = ErrAmbiguous // a proxy gave up waiting, or the service failed half-way
		}
		return sent.told(e)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		e := &Error{Op: k.op, Instance: k.instance, Region: k.region, Status: resp.StatusCode, Reason: quote(resp.Header.Get("Content-Type"), body), Err: fmt.Errorf("decode the answer: %w", err), kind: ErrUnavailable}
		if !repeatable(k.method) {
			e.kind = ErrAmbiguous
		}
		return sent.told(e)
	}
	return nil
}

// errNotSent marks what failed before anything was sent.
var errNotSent = errors.New("not sent")

// noAnswer is the error of a request whose answer never came.
func noAnswer(k call, err error) *Error {
	e := &Error{Op: k.op, Instance: k.instance, Region: k.region, Err: unwrapURL(err), kind: ErrUnavailable}
	if !repeatable(k.method) && !neverSent(err) {
		e.kind = ErrAmbiguous
	}
	return e
}

// told is an error of a call with what its earlier attempts left open.
func (k *call) told(e *Error) error {
	e.Unclear = k.unclear
	return e
}

// unwrapURL drops the method and address that net/http puts before a cause.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (c *Client) request(ctx context.Context, k call) (*retryablehttp.Request, error) {
	u := *c.base
	u.Path += "/v2" + k.path
	query := url.Values{}
	for name, values := range k.query {
		query[name] = values
	}
	if k.region != "" {
		query.Set("region", k.region)
	}
	u.RawQuery = query.Encode()
	var body any
	contentType := "application/x-www-form-urlencoded"
	if k.form != nil {
		if k.region != "" {
			k.form.Set("region", k.region)
		}
		body = []byte(k.form.Encode())
		if c.json || k.json {
			contentType = "application/json"
			object := make(map[string]any, len(k.form))
			for name, values := range k.form {
				if list, ok := strings.CutSuffix(name, "[]"); ok {
					object[list] = values
				} else {
					object[name] = k.form.Get(name)
				}
			}
			encoded, err := json.Marshal(object)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k.op, err)
			}
			body = encoded
		}
	}
	req, err := retryablehttp.NewRequestWithContext(withCall(ctx, &k), k.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.op, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", c.agent)
	if k.form != nil {
		req.Header.Set("Content-Type", contentType)
	}
	return req, nil
}

func readBody(resp *http.Response) ([]byte, error) {
	r := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	}
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("longer than %d bytes", maxBody)
	}
	return body, err
}

// attempt is one attempt of a request: it waits for its turn, fetches the token,
// and ends the attempt, body included, after the timeout, so that a silent
// server costs an attempt and not the whole call.
type attempt struct {
	c       *Client
	next    http.RoundTripper
	timeout time.Duration
}

func (t attempt) RoundTrip(req *http.Request) (*http.Response, error) {
	k := callFrom(req.Context())
	if err := t.c.limiter.wait(req.Context(), req.Method != http.MethodGet); err != nil {
		return nil, errors.Join(errNotSent, fmt.Errorf("waited for the rate limit: %w", err))
	}
	token, err := t.c.tokens()
	if err != nil {
		return nil, errors.Join(errNotSent, err)
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "bearer "+token)
	began := time.Now()
	resp, err := t.send(req)
	k.attempts++
	if resp != nil && resp.StatusCode == http.StatusTooManyRequests {
		t.c.limiter.tooMany(retryAfter(resp.Header))
	}
	if t.c.trace != nil {
		tr := Trace{Op: k.op, Method: k.method, Path: req.URL.Path, Region: k.region, Instance: k.instance, Attempt: k.attempts, Duration: time.Since(began), Err: err}
		if resp != nil {
			tr.Status = resp.StatusCode
		}
		t.c.trace(tr)
	}
	return resp, err
}

// CloseIdleConnections lets http.Client reach the transport below.
func (t attempt) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

func (t attempt) send(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeoutCause(req.Context(), t.timeout, errAttempt)
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		if errors.Is(context.Cause(ctx), errAttempt) {
			err = errAttempt
		}
		cancel()
		return nil, err
	}
	resp.Body = cancelBody{resp.Body, cancel}
	return resp, nil
}

type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
