package civo

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is an answer of the API that is not a success, or no answer at all.
type Error struct {
	Op         string // "stop instance 4a07…"
	Instance   string // id, where there is one
	Region     string
	Status     int    // HTTP status, 0 when no answer came
	Code       string // Civo's own code, such as "quota_limit_reached"
	Reason     string // Civo's sentence, or the beginning of a body that is not Civo's
	Hint       string // what the caller can do; empty when nothing
	RetryAfter time.Duration
	// Unclear says that an attempt before the last, within the same call, may have
	// been carried out: what is seen afterwards may be its effect.
	Unclear bool
	Err     error // cause when no answer came

	kind error
}

// Kinds of errors, for errors.Is.
var (
	ErrNotFound     = errors.New("not found")
	ErrUnauthorized = errors.New("unauthorized")
	ErrForbidden    = errors.New("forbidden")
	ErrQuota        = errors.New("quota reached")
	ErrCapacity     = errors.New("no capacity in the region")
	ErrBusy         = errors.New("busy: not in a state for this action")
	ErrRateLimited  = errors.New("rate limited")
	ErrInvalid      = errors.New("invalid request")
	ErrUnavailable  = errors.New("unavailable")
	// ErrAmbiguous: the request may have been carried out, and a repeat would do harm.
	ErrAmbiguous = errors.New("the answer is lost, the request may have been carried out")
)

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Region != "" {
		b.WriteString(" in " + e.Region)
	}
	b.WriteString(": ")
	switch {
	case e.Code != "" && e.Reason != "":
		fmt.Fprintf(&b, "%s (%s)", e.Reason, e.Code)
	case e.Code != "" || e.Reason != "":
		b.WriteString(e.Code + e.Reason)
	case e.kind != nil:
		b.WriteString(e.kind.Error())
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, ", HTTP %d", e.Status)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause, if no answer came.
func (e *Error) Unwrap() error { return e.Err }

// Is lets callers ask for a kind.
func (e *Error) Is(target error) bool { return e.kind != nil && e.kind == target }

// NotSent reports whether the request of a failed call certainly did not reach
// the API, so that it can be repeated whatever it was.
func NotSent(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.Unclear && e.Status == 0 && e.kind == ErrUnavailable && neverSent(e.Err)
}

// codes are Civo's own error codes and what they mean to a caller (civo-api,
// "Errors"; the HTTP status is documented for none of them, so the code decides).
var codes = map[string]error{
	"database_instance_find":                    ErrNotFound,
	"database_instance_not_found":               ErrNotFound,
	"database_region_not_found":                 ErrNotFound,
	"database_size_not_found":                   ErrInvalid,
	"database_disk_image_not_found":             ErrInvalid,
	"database_template_not_found":               ErrInvalid,
	"database_image_id_invalid":                 ErrInvalid,
	"database_network_not_found":                ErrInvalid,
	"database_firewall_not_found":               ErrInvalid,
	"database_firewall_mismatch":                ErrInvalid,
	"database_ssh_key_not_found":                ErrInvalid,
	"instance_state_must_be_active_or_shutoff":  ErrBusy,
	"database_instance_already_in_rescue_state": ErrBusy,
	"database_cannot_manage_cluster_instance":   ErrForbidden,
	"quota_limit_reached":                       ErrQuota,
	"database_quota_lock_failed":                ErrUnavailable,
	"out_of_capacity":                           ErrCapacity,
	"region_unavailable":                        ErrUnavailable,
	"account_not_enabled_inc_card":              ErrForbidden,
	"account_not_enabled_without_card":          ErrForbidden,
	"database_account_access_denied":            ErrForbidden,
	"database_account_not_found":                ErrUnauthorized,
	"authentication_failed":                     ErrUnauthorized,
	"authentication_invalid_key":                ErrUnauthorized,
	"authentication_access_denied":              ErrUnauthorized,
	"requires_authentication":                   ErrUnauthorized,
}

// maxReason bounds how much of a body that is not Civo's own form is quoted.
const maxReason = 200

// parseError reads an answer that is not a success. It never fails: what cannot
// be read is quoted.
func parseError(c call, resp *http.Response, body []byte) *Error {
	e := &Error{Op: c.op, Instance: c.instance, Region: c.region, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	var form struct {
		Code    any    `json:"code"`
		Reason  any    `json:"reason"`
		Details any    `json:"details"`
		Result  string `json:"result"`
	}
	switch err := json.Unmarshal(body, &form); {
	case err == nil:
		e.Code, _ = form.Code.(string)
		e.Reason, _ = form.Reason.(string)
		if details, ok := form.Details.(string); ok && details != "" {
			e.Reason = strings.TrimSpace(e.Reason + " " + details)
		}
		if form.Result == "requires_authentication" {
			e.Code = form.Result
		}
	case len(strings.TrimSpace(string(body))) == 0:
		e.Reason = "empty answer"
	default:
		e.Reason = quote(resp.Header.Get("Content-Type"), body)
	}
	e.kind = kindOf(resp.StatusCode, e.Code)
	e.Hint = hintOf(e.kind)
	if e.Code == "database_region_not_found" {
		e.Hint = "the account has no such region: look at regions in the policy file, --region and CIVO_REGION"
	}
	return e
}

func quote(contentType string, body []byte) string {
	text := strings.Join(strings.Fields(string(body[:min(len(body), 4*maxReason)])), " ")
	if strings.Contains(contentType, "html") || strings.HasPrefix(text, "<") {
		return "not an answer of the API but a web page"
	}
	if len(text) > maxReason {
		text = text[:maxReason] + "…"
	}
	return strconv.Quote(text)
}

func kindOf(status int, code string) error {
	if kind, ok := codes[code]; ok {
		return kind
	}
	switch {
	case strings.HasSuffix(code, "_lock_failed"), strings.HasPrefix(code, "openstack_"), code == "database_connection_failed":
		return ErrUnavailable
	case strings.HasPrefix(code, "authentication_"):
		return ErrUnauthorized
	case strings.HasPrefix(code, "parameter_"):
		return ErrInvalid
	}
	switch status {
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusTooManyRequests:
		return ErrRateLimited
	case http.StatusRequestTimeout:
		return ErrUnavailable
	}
	if status >= 500 {
		return ErrUnavailable
	}
	return ErrInvalid
}

func hintOf(kind error) string {
	switch kind {
	case ErrUnauthorized:
		return "check CIVO_TOKEN: the API does not accept it"
	case ErrForbidden:
		return "the account may not do this"
	case ErrQuota:
		return "the account's quota is reached; stopped instances count, too"
	case ErrNotFound:
		return "check the id and the region: the right id in a wrong region is not found either"
	}
	return ""
}

// retryAfter reads the header in either form; 0 when there is none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if s, err := strconv.Atoi(v); err == nil && s >= 0 {
		return time.Duration(min(s, 3600)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, min(time.Until(t), time.Hour))
	}
	return 0
}
