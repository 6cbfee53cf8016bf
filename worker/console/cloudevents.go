package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"nightshift/worker"
)

// cloudEvent is what we read of a CloudEvent 1.0 in the JSON format.
type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     string          `json:"subject"`
	Time        time.Time       `json:"time"`
	Data        json.RawMessage `json:"data"`
	Trace       string          `json:"traceparent"`
	TraceState  string          `json:"tracestate"`
}

// check says what is wrong with an event: these attributes are required.
func (e *cloudEvent) check() error {
	switch {
	case e.SpecVersion != "1.0":
		return fmt.Errorf("specversion %.20q is not known, only 1.0 is", e.SpecVersion)
	case e.ID == "" || e.Source == "" || e.Type == "":
		return errors.New("an event has an id, a source and a type")
	}
	return nil
}

// cloudEvents reads events in the three modes of the HTTP binding: structured,
// batched, and binary, where the attributes are headers and the body is the data.
func (h *Hook) cloudEvents(kind string, header http.Header, body []byte) ([]worker.NamedSignal, error) {
	var texts []json.RawMessage
	switch kind {
	case kindEvents:
		if err := decode(body, &texts); err != nil {
			return nil, err
		}
		if err := checkCount(len(texts)); err != nil {
			return nil, err
		}
	case kindEvent:
		if err := checkDepth(body); err != nil {
			return nil, err
		}
		texts = []json.RawMessage{body}
	default:
		text, err := binaryEvent(header, body)
		if err != nil {
			return nil, err
		}
		texts = []json.RawMessage{text}
	}
	var signals []worker.NamedSignal
	for _, text := range texts {
		found, err := h.ofText(text, header)
		switch {
		case err != nil && kind == kindEvents: // the others of the batch count
			found = []worker.NamedSignal{{Fault: err.Error()}}
		case err != nil:
			return nil, err
		}
		signals = append(signals, found...)
	}
	return signals, checkCount(len(signals))
}

// ofText reads one event in the JSON format.
func (h *Hook) ofText(text []byte, header http.Header) ([]worker.NamedSignal, error) {
	var e cloudEvent
	if err := decode(text, &e); err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	signals, err := h.ofEvent(&e, text, header)
	for i := range signals {
		signals[i].Trace.Parent, signals[i].Trace.State = e.Trace, e.TraceState
	}
	return signals, err
}

// binaryEvent makes the JSON format of an event in binary mode.
func binaryEvent(header http.Header, body []byte) (json.RawMessage, error) {
	event := make(map[string]any)
	for k := range header {
		name, ok := strings.CutPrefix(strings.ToLower(k), "ce-")
		if !ok || name == "data" {
			continue
		}
		value, err := url.PathUnescape(header.Get(k)) // as the binding has it
		if err != nil {
			return nil, fmt.Errorf("the header %.40s cannot be read", k)
		}
		event[name] = value
	}
	if len(bytes.TrimSpace(body)) > 0 {
		var data any
		if err := decode(body, &data); err != nil {
			return nil, err
		}
		event["data"] = json.RawMessage(body)
	}
	return json.Marshal(event)
}

// ofEvent makes signals of an event. By itself its data is a signal in our own
// form, or else its type is the name of a signal; its subject names the instance
// where the data does not.
func (h *Hook) ofEvent(e *cloudEvent, text []byte, header http.Header) ([]worker.NamedSignal, error) {
	id := e.Source + " " + e.ID // together they are what tells events apart
	if h.Map != nil {
		var value any
		if err := decode(text, &value); err != nil {
			return nil, err
		}
		signals, err := mapped(h.Map, plain(value), header)
		for i := range signals {
			s := &signals[i]
			s.Time = e.Time
			if s.ID == "" && (s.Fingerprint == "" || s.StartsAt.IsZero()) {
				s.ID = id
				if len(signals) > 1 {
					s.ID += " " + s.Instance
				}
			}
		}
		return signals, err
	}
	var o own
	if len(e.Data) > 0 && bytes.HasPrefix(bytes.TrimSpace(e.Data), []byte("{")) {
		if err := json.Unmarshal(e.Data, &o); err != nil {
			o = own{} // data of another form: the type says what it is
		}
	}
	s := o.named()
	if s.Alert+s.Load+s.Name == "" {
		s.Name = e.Type
	}
	if s.ID == "" && (s.Fingerprint == "" || s.StartsAt.IsZero()) {
		s.ID = id
	}
	s.Instance = cmp.Or(s.Instance, e.Subject)
	if s.Time.IsZero() {
		s.Time = e.Time
	}
	return []worker.NamedSignal{s}, nil
}
