package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// contentType is CloudEvents' structured mode in JSON.
const contentType = "application/cloudevents+json"

// cloudEvent is the envelope of every message on NS_EVT: CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
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
	body, err = json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: id, Source: source, Type: "nightshift.v1." + string(rec.Outcome),
		Subject: rec.Region + "/" + rec.Instance, Time: now.UTC(), DataContentType: "application/json", Data: rec,
	})
	return id, body, err
}

func decodeEvent(body []byte) (Record, error) {
	var ce cloudEvent
	if err := json.Unmarshal(body, &ce); err != nil {
		return Record{}, fmt.Errorf("read event: %w", err)
	}
	if ce.SpecVersion != "1.0" {
		return Record{}, fmt.Errorf("read event: specversion is %q, want 1.0", ce.SpecVersion)
	}
	return ce.Data, nil
}
