package civosim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// Transport returns a RoundTripper that calls the simulator directly, on the
// caller's goroutine: no socket, no goroutine, so it works in a synctest bubble.
// A connection that the simulator cuts is io.ErrUnexpectedEOF.
func (s *Sim) Transport() http.RoundTripper { return transport{s} }

type transport struct{ sim *Sim }

func (t transport) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }()
	}
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &recorder{header: make(http.Header)}
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			resp, err = nil, fmt.Errorf("civosim cut the connection: %w", io.ErrUnexpectedEOF)
		default:
			panic(p)
		}
	}()
	r := req.Clone(ctx)
	r.Body, r.RequestURI, r.RemoteAddr = http.NoBody, req.URL.RequestURI(), "192.0.2.1:1"
	if req.Body != nil {
		r.Body = req.Body
	}
	t.sim.ServeHTTP(w, r)
	if err := ctx.Err(); err != nil { // it ended while a slow answer was under way
		return nil, err
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.header,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: req,
	}, nil
}

// recorder is a ResponseWriter that keeps what is written.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}
func (w *recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}
