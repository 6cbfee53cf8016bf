package console_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"nightshift/policies"
	"nightshift/worker"
	"nightshift/worker/console"
)

// taker is a daemon that takes everything, and looks at what it is given.
type taker struct{ t *testing.T }

func (k taker) TakeSignals(_ context.Context, _ string, _ []worker.InstanceKey, signals []worker.NamedSignal) ([]worker.Taken, error) {
	if len(signals) > policies.MaxMapped {
		k.t.Errorf("%d signals at once", len(signals))
	}
	for _, s := range signals {
		if s.Fault == "" && !utf8.ValidString(s.Alert+s.Load+s.Name+s.Instance+s.ID) {
			k.t.Errorf("not UTF-8: %+v", s)
		}
		if s.Value != nil && *s.Value != *s.Value {
			k.t.Error("a value is not a number")
		}
	}
	return make([]worker.Taken, len(signals)), nil
}

func (taker) NotReady(context.Context) []string { return nil }

func (taker) Status(context.Context) worker.Status { return worker.Status{} }

func (taker) Ended() []worker.Ended { return nil }

// fuzz delivers anything to a webhook: whatever it is, it is taken or refused with
// one of the answers that are documented.
func fuzz(f *testing.F, h console.Hook, kinds ...string) {
	f.Helper()
	h.Source, h.Signature = "x", console.SignatureNone
	f.Fuzz(func(t *testing.T, body, header string, kind uint8) {
		web, err := console.New(taker{t}, console.Options{Listen: "127.0.0.1:0", Hooks: []console.Hook{h}})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/hooks/x", strings.NewReader(body))
		r.Header.Set("Content-Type", kinds[int(kind)%len(kinds)])
		for _, line := range strings.Split(header, "\n") {
			name, value, _ := strings.Cut(line, ":")
			r.Header[http.CanonicalHeaderKey("Ce-"+name)] = []string{value}
		}
		w := httptest.NewRecorder()
		web.Handler().ServeHTTP(w, r)
		if !slices.Contains([]int{202, 413, 415, 422}, w.Code) {
			t.Errorf("answered with %d: %s", w.Code, w.Body)
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("the answer is not JSON: %s", w.Body)
		}
	})
}

func FuzzAlertmanager(f *testing.F) {
	f.Add(group(alert("firing", "InstanceDown", "web-1:9100", "f1")), "", uint8(0))
	f.Add(group(), "", uint8(0))
	f.Add(`{"version":"4","alerts":[{"labels":null}]}`, "", uint8(0))
	fuzz(f, console.Hook{Form: console.FormAlertmanager, InstanceLabel: "instance", RegionLabel: "region"}, "application/json")
}

func FuzzCloudEvents(f *testing.F) {
	event := `{"specversion":"1.0","id":"1","source":"/ci","type":"t","subject":"api-1","time":"2026-03-04T12:00:00Z","data":{"load":"cpu","value":93}}`
	f.Add(event, "", uint8(0))
	f.Add("["+event+","+event+"]", "", uint8(1))
	f.Add(`{"load":"cpu","value":93}`, "Specversion:1.0\nId:%2F1\nSource:s\nType:t\nTime:2026-03-04T12:00:00Z", uint8(2))
	fuzz(f, console.Hook{Form: console.FormCloudEvents}, "application/cloudevents+json", "application/cloudevents-batch+json", "application/json")
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"alert":"InstanceDown","instance":"web-1","startsAt":"2026-03-04T12:00:00Z","labels":{"a":"b"}}`, "", uint8(0))
	f.Add(`[{"load":"cpu","value":1e400},{"signal":"x"}]`, "", uint8(0))
	fuzz(f, console.Hook{Form: console.FormJSON}, "application/json")
}

func FuzzMapped(f *testing.F) {
	m, err := policies.ParseMapping(map[string]string{
		"each": "body.items", "alert": "item.name", "instance": `has(item.host) ? item.host : ""`, "value": "item.value", "labels": "item.labels",
		"starts_at": "item.at", "id": `headers["ce-id"]`, "status": "item.status",
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"items":[{"name":"InstanceDown","host":"web-1","value":7.5,"labels":{"a":1,"b":null},"at":1772625600,"status":"firing"}]}`, "Id:1", uint8(0))
	f.Add(`{"items":[{"name":9007199254740993,"host":{},"value":"x","labels":[],"at":1e300}]}`, "", uint8(0))
	fuzz(f, console.Hook{Form: console.FormJSON, Map: m}, "application/json")
}
