package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"
)

// CloudEvents' structured and batched modes in JSON.
const (
	eventContentType  = "application/cloudevents+json"
	batchContentType  = "application/cloudevents-batch+json"
	contentTypeHeader = "content-type" // as CloudEvents writes it
)

const (
	specVersion = "1.0"
	// typePrefix begins the type of each of our events; its end is the outcome or note.
	typePrefix = "nightshift.v1."
	// RecordSchema is the dataschema of our events: the $id of schemas/record.json.
	RecordSchema = "urn:nightshift:v1:record"
)

// cloudEvent is the envelope of every message on NS_EVT: CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion     string    `json:"specversion" jsonschema:"1.0"`
	ID              string    `json:"id" jsonschema:"The same for the same event published twice."`
	Source          string    `json:"source"`
	Type            string    `json:"type" jsonschema:"nightshift.v1. and the outcome or note."`
	Subject         string    `json:"subject,omitempty" jsonschema:"<region>/<instance>"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	DataSchema      string    `json:"dataschema,omitempty" jsonschema:"The $id of the schema of data."`
	Trace           string    `json:"traceparent,omitempty" jsonschema:"W3C trace context of the command or signal that asked for it."`
	TraceState      string    `json:"tracestate,omitempty" jsonschema:"What tracers added to it."`
	Data            Record    `json:"data"`
}

// encodeEvent wraps a record. Its id is the same for the same event published
// twice: there is one outcome of an action, but there may be several notes of
// the same kind, told apart by the time at which they were made.
func encodeEvent(rec Record, source string, now time.Time) (id string, body []byte, err error) {
	id = rec.ActionID + "." + string(rec.Outcome)
	if !rec.Outcome.Ends() {
		id += "." + shortHash(now.UTC().Format(time.RFC3339Nano), rec.Detail, rec.Error)
	}
	rec.Detail, rec.Error, rec.Why = withoutSecrets(rec.Detail), withoutSecrets(rec.Error), withoutSecrets(rec.Why)
	body, err = json.Marshal(cloudEvent{
		SpecVersion: specVersion, ID: id, Source: source, Type: typePrefix + string(rec.Outcome),
		Subject: rec.Region + "/" + rec.Instance, Time: now.UTC(), DataContentType: "application/json", DataSchema: RecordSchema, Trace: rec.Trace, TraceState: rec.TraceState, Data: rec,
	})
	return id, body, err
}

func decodeEvent(body []byte) (Record, error) {
	var ce cloudEvent
	if err := json.Unmarshal(body, &ce); err != nil {
		return Record{}, fmt.Errorf("read event: %w", err)
	}
	if ce.SpecVersion != specVersion {
		return Record{}, fmt.Errorf("read event: specversion is %q, want %s", ce.SpecVersion, specVersion)
	}
	ce.Data.Trace, ce.Data.TraceState = ce.Trace, ce.TraceState
	return ce.Data, nil
}

// foreignEvent is a CloudEvent that comes in, whatever its data.
type foreignEvent struct {
	SpecVersion     *string         `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Trace           string          `json:"traceparent"`
	TraceState      string          `json:"tracestate"`
	Data            json.RawMessage `json:"data"`
	DataBase64      []byte          `json:"data_base64"`
}

// parseSignal reads the body of a signal, or one element of a batch: our own JSON
// form, or a CloudEvent whose data is in that form.
func parseSignal(data []byte, isEvent bool) (s *Signal, trace Trace, err error) {
	s = &Signal{}
	var ce foreignEvent
	if err := json.Unmarshal(data, &ce); err != nil && (isEvent || ce.SpecVersion != nil) {
		return nil, trace, fmt.Errorf("the body is not a CloudEvent: %w", err)
	}
	if !isEvent && ce.SpecVersion == nil {
		if err := json.Unmarshal(data, s); err != nil {
			return nil, trace, fmt.Errorf("the body is not a signal: %w", err)
		}
		return s, trace, nil
	}
	if err := ce.check(); err != nil {
		return nil, trace, err
	}
	if body := ce.body(); len(body) > 0 {
		if err := json.Unmarshal(body, s); err != nil {
			return nil, trace, fmt.Errorf("the data of the CloudEvent is not a signal: %w", err)
		}
	}
	if countSet(s.Alert, s.Load, s.Name) == 0 {
		s.Name = ce.Type // such as ci.queued: what it is called says it all
	}
	if s.ID == "" && (s.Fingerprint == "" || s.StartsAt.IsZero()) { // a firing has an identity of its own, over all repeats
		s.ID = ce.ID + "@" + ce.Source
	}
	if s.At().IsZero() {
		s.Time = ce.Time
	}
	return s, Trace{ce.Trace, ce.TraceState}, nil
}

func (ce *foreignEvent) check() error {
	switch {
	case ce.SpecVersion == nil:
		return errors.New("the body is not a CloudEvent: specversion is missing")
	case *ce.SpecVersion != specVersion:
		return fmt.Errorf("the CloudEvent has specversion %q; %s is read", *ce.SpecVersion, specVersion)
	case ce.ID == "" || ce.Source == "" || ce.Type == "":
		return errors.New("a CloudEvent has an id, a source and a type")
	case len(ce.DataBase64) > 0 && len(ce.Data) > 0:
		return errors.New("the CloudEvent has both data and data_base64")
	}
	if ce.DataContentType != "" && !isJSON(ce.DataContentType) {
		return fmt.Errorf("the data of the CloudEvent is %q; JSON is read", ce.DataContentType)
	}
	return nil
}

func (ce *foreignEvent) body() []byte {
	if len(ce.DataBase64) > 0 {
		return ce.DataBase64
	}
	if bytes.Equal(ce.Data, []byte("null")) {
		return nil
	}
	return ce.Data
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json"))
}

// mediaType is a content-type without its parameters.
func mediaType(contentType string) string {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return kind
}
