package civo

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	retryMin = 500 * time.Millisecond
	retryMax = 10 * time.Second
)

// repeatable says whether a request may be sent again although it may have
// arrived: reads, and PUTs, which set a state. POST creates or reboots; DELETE
// is not repeated without a look, since a repeat of a delete that worked
// answers "not found".
func repeatable(method string) bool {
	return method == http.MethodGet || method == http.MethodPut
}

// Retry is the predicate by which requests are sent again: pure, over method,
// status (0: no answer) and error.
func Retry(method string, status int, err error) bool {
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && !isTimeoutOfAttempt(err) {
			return false
		}
		return repeatable(method) || neverSent(err)
	}
	switch status {
	case http.StatusTooManyRequests:
		return true // turned away: nothing was carried out
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return repeatable(method)
	}
	return false
}

// neverSent reports whether an error says that no connection was made.
func neverSent(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) || errors.Is(err, errNotSent)
}

// isTimeoutOfAttempt tells the timeout of one attempt from the caller's deadline.
func isTimeoutOfAttempt(err error) bool { return errors.Is(err, errAttempt) }

var errAttempt = errors.New("no answer within the timeout of one attempt")

// checkRetry applies Retry within the caller's deadline.
func checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, nil // the last answer is returned as it is
	}
	if errors.Is(err, errNotSent) {
		return false, nil // no turn before the deadline, or no token: nothing changes by itself
	}
	method, status := callFrom(ctx).method, 0
	if resp != nil {
		status = resp.StatusCode
	}
	if !Retry(method, status, err) {
		return false, nil
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= backoff(retryMin, retryMax, 0, resp) {
		return false, nil // the wait alone would pass the deadline
	}
	if status >= 500 || err != nil && !neverSent(err) {
		callFrom(ctx).unclear = true
	}
	return true, nil
}

// backoff doubles from least to most; Retry-After is kept.
func backoff(least, most time.Duration, attempt int, resp *http.Response) time.Duration {
	d := min(most, least<<min(attempt, 10))
	if resp != nil {
		d = max(d, retryAfter(resp.Header))
	}
	return d
}

var _ retryablehttp.CheckRetry = checkRetry
var _ retryablehttp.Backoff = backoff

// callKey carries the call to where retryablehttp asks with a context alone.
type callKey struct{}

func withCall(ctx context.Context, k *call) context.Context {
	return context.WithValue(ctx, callKey{}, k)
}

func callFrom(ctx context.Context) *call {
	k, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return &call{}
	}
	return k
}
