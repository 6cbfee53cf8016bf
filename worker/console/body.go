package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"nightshift/policies"
	"nightshift/worker"
)

// checkDepth refuses JSON that is nested deeper than anybody means, before
// anything is made of it.
func checkDepth(body []byte) error {
	if !utf8.Valid(body) {
		return errors.New("the body is not UTF-8")
	}
	depth, inText := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("the body is nested deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// decode reads one JSON value and no more; whole numbers stay so.
func decode(body []byte, into any) error {
	if err := checkDepth(body); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("the body is not JSON of this form: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON in the body")
	}
	return nil
}

// plain makes int64 and float64 of the numbers in a value.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case map[string]any:
		for k, x := range v {
			v[k] = plain(x)
		}
	case []any:
		for i, x := range v {
			v[i] = plain(x)
		}
	}
	return v
}

// own is a signal in our own form: that of NATS, and which instance it is about.
type own struct {
	ID          string            `json:"id"`
	Alert       string            `json:"alert"`
	Load        string            `json:"load"`
	Signal      string            `json:"signal"`
	Status      string            `json:"status"`
	Value       *float64          `json:"value"`
	Labels      map[string]string `json:"labels"`
	Fingerprint string            `json:"fingerprint"`
	StartsAt    time.Time         `json:"startsAt"`
	Time        time.Time         `json:"time"`
	Instance    string            `json:"instance"`
	Region      string            `json:"region"`
}

func (o *own) named() worker.NamedSignal {
	return worker.NamedSignal{
		Alert: o.Alert, Load: o.Load, Name: o.Signal, Status: o.Status, Value: o.Value, Labels: o.Labels, ID: o.ID,
		Fingerprint: o.Fingerprint, StartsAt: o.StartsAt, Time: o.Time, Instance: o.Instance, Region: o.Region,
	}
}

// json reads JSON by the map of the webhook, or in our own form: one signal, or a
// list of them, of which one that cannot be read does not keep the others out.
func (h *Hook) json(header http.Header, body []byte) ([]worker.NamedSignal, error) {
	if h.Map != nil {
		var value any
		if err := decode(body, &value); err != nil {
			return nil, err
		}
		return mapped(h.Map, plain(value), header)
	}
	if text := bytes.TrimSpace(body); len(text) == 0 || text[0] != '[' {
		var one own
		if err := decode(body, &one); err != nil {
			return nil, err
		}
		return []worker.NamedSignal{one.named()}, nil
	}
	var several []json.RawMessage
	if err := decode(body, &several); err != nil {
		return nil, err
	}
	if err := checkCount(len(several)); err != nil {
		return nil, err
	}
	signals := make([]worker.NamedSignal, len(several))
	for i, text := range several {
		var one own
		if err := decode(text, &one); err != nil {
			signals[i].Fault = err.Error()
			continue
		}
		signals[i] = one.named()
	}
	return signals, nil
}

func checkCount(n int) error {
	if n > policies.MaxMapped {
		return fmt.Errorf("%d signals at once, at most %d are taken", n, policies.MaxMapped)
	}
	return nil
}

// secretHeaders are never shown to an expression: what it yields is stored.
var secretHeaders = []string{"authorization", "proxy-authorization", "cookie", "x-hub-signature", "x-hub-signature-256", "x-civo-signature"}

func mapped(m *policies.Mapping, body any, header http.Header) ([]worker.NamedSignal, error) {
	headers := make(map[string]string, len(header))
	for k := range header {
		headers[strings.ToLower(k)] = header.Get(k)
	}
	for _, k := range secretHeaders {
		delete(headers, k)
	}
	found, err := m.Signals(body, headers)
	if err != nil {
		return nil, err
	}
	signals := make([]worker.NamedSignal, len(found))
	for i, s := range found {
		signals[i] = worker.NamedSignal{
			Alert: s.Alert, Load: s.Load, Name: s.Signal, Status: s.Status, Value: s.Value, Labels: s.Labels, ID: s.ID,
			Fingerprint: s.Fingerprint, StartsAt: s.StartsAt, Instance: s.Instance, Region: s.Region,
		}
		if s.Fault != nil {
			signals[i].Fault = s.Fault.Error()
		}
	}
	return signals, nil
}
