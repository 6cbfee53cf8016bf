package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxAnswer bounds how much of a webhook's answer is quoted.
const maxAnswer = 120

// send posts a message once. Wait is what the target asks for before the next time.
func (t *teller) send(ctx context.Context, m *Message) (wait time.Duration, fault error) {
	address, err := t.target.URL()
	if err != nil {
		return 0, err
	}
	contentType, body, err := m.encode(t.target.Form)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the address of the webhook cannot be used") // the cause repeats it
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "nightshift")
	req.Header.Set("Idempotency-Key", m.ID)
	resp, err := t.n.client.Do(req)
	if err != nil {
		return 0, hush(err, address)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // so that the connection can be used again
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return 0, nil
	}
	return retryAfter(resp.Header), hush(fmt.Errorf("the webhook answered %d%s", resp.StatusCode, quote(answer)), address)
}

// quote is the beginning of an answer, if it is for people.
func quote(answer []byte) string {
	text := strings.Join(strings.Fields(string(answer)), " ")
	if text == "" || strings.HasPrefix(text, "<") || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return ": " + cut(text, maxAnswer)
}

// hidden stands where an address was.
const hidden = "(secret)"

// hush takes the address of a webhook, and every part of it that may be the secret,
// out of an error.
func hush(err error, address string) error {
	var inURL *url.Error
	if errors.As(err, &inURL) {
		err = inURL.Err // the rest is the method and the address
	}
	text := err.Error()
	parts := []string{address}
	if u, parseErr := url.Parse(address); parseErr == nil {
		parts = append(parts, u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery, u.Fragment, u.Host, u.Hostname())
		if u.User != nil {
			password, _ := u.User.Password()
			parts = append(parts, u.User.Username(), password)
		}
		parts = append(parts, strings.Split(u.Path, "/")...)
		for _, values := range u.Query() {
			parts = append(parts, values...)
		}
	}
	for _, p := range parts {
		if len(p) > 3 {
			text = strings.ReplaceAll(text, p, hidden)
		}
	}
	return errors.New(text)
}

// retryAfter reads the header in either form; 0 when there is none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s >= 0 {
		return time.Duration(min(s, 3600)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(0, time.Until(at)), time.Hour)
	}
	return 0
}
