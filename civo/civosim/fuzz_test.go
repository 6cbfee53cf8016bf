package civosim_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"nightshift/civo/civosim"
)

// FuzzRequest sends anything anywhere: nothing panics, every answer has a status
// and, where it says that it is JSON, is JSON; an error has a code and a reason
// that are texts, since the official client crashes on anything else; and the
// fleet stays whole but for what a request may do.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, path, query, kind, body string }{
		{"PUT", "/v2/instances/" + machineID + "/tags", "", "application/x-www-form-urlencoded", "tags=a+b&region=LON1"},
		{"PUT", "/v2/instances/" + machineID + "/tags", "region=lon1", "application/json", `{"tags":["a","b"],"region":"LON1"}`},
		{"PUT", "/v2/instances/" + machineID + "/resize", "", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"size\"\r\n\r\ng3.large\r\n--x--\r\n"},
		{"POST", "/v2/instances", "", "", "hostname=a&size=g3.small&template_id=ubuntu-focal&count=3&public_ip=none"},
		{"POST", "/v2/instances", "", "application/json", `{"hostname":"a","size":"g3.small","template_id":"ubuntu-focal","count":1e3,"attached_volumes":null}`},
		{"GET", "/v2/instances", "page=-1&per_page=99999999&tags=a+b", "", ""},
		{"GET", "/v2/charges", "from=2026-01-01T00:00:00 01:00&to=x", "", ""},
		{"PUT", "/v2/ips/x/actions", "", "application/json", `{"action":"assign","assigned_to":null}`},
		{"POST", "/v2/firewalls", "", "application/json", `{"name":"f","rules":[{"cidr":null}]}`},
		{"POST", "/sim/faults", "", "", `{"kind":"slow","delay":"1ms"}`},
		{"PUT", "/v2/instances/" + machineID + "/stop", "", "", "\x1f\x8b\x08\x00"},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.kind, seed.body)
	}
	f.Fuzz(func(t *testing.T, method, path, query, kind, body string) {
		req, err := http.NewRequest(method, "http://civo.test/", strings.NewReader(body))
		if err != nil {
			return
		}
		req.URL.Path, req.URL.RawQuery = path, query
		req.Header.Set("Authorization", "bearer x")
		req.Header.Set("Content-Type", kind)
		sim := civosim.New(civosim.Options{Fleet: oneMachine("LON1")})
		w := &answered{header: http.Header{}}
		sim.ServeHTTP(w, req)
		if w.status < 200 || w.status > 599 {
			t.Errorf("status %d", w.status)
		}
		if !strings.HasPrefix(w.header.Get("Content-Type"), "application/json") {
			return
		}
		var v any
		if err := json.Unmarshal([]byte(w.body.String()), &v); err != nil {
			t.Fatalf("%d %q: %v", w.status, w.body.String(), err)
		}
		if object, ok := v.(map[string]any); ok && w.status >= 400 {
			code, hasCode := object["code"].(string)
			reason, hasReason := object["reason"].(string)
			if !hasCode || !hasReason || code == "" || reason == "" {
				t.Errorf("%d %s: want a code and a reason", w.status, w.body.String())
			}
		}
		if n := len(sim.Instances()); n > 10_001 {
			t.Errorf("%d instances", n)
		}
	})
}

// answered is what a request got.
type answered struct {
	header http.Header
	status int
	body   strings.Builder
}

func (a *answered) Header() http.Header { return a.header }
func (a *answered) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}
func (a *answered) Write(p []byte) (int, error) { a.WriteHeader(200); return a.body.Write(p) }
