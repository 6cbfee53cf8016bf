package console_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Civo's
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
	"nightshift/worker/console"
)

func TestMain(m *testing.M) {
	ats.Register() // the server's own clock, which lives as long as the process
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

const secret = "n0body-must-see-this"

const file = `version: 1
regions: [LON1, NYC1]
policies:
  - { name: web-down, select: { all: [role=web] }, trigger: { alert: InstanceDown }, do: { reboot: soft } }
  - { name: api-grows, select: { all: [role=api] }, trigger: { load: cpu, above: 85 }, do: { resize: [g3.small, g3.medium] } }
  - { name: ci, select: { all: [ci] }, trigger: { signal: ci.queued }, do: start, pick: { count: signal.value, at_most: 2 } }
  - { name: secret-door, select: { all: [role=web] }, trigger: { alert: Intrusion }, do: stop }
allow: [start, stop, reboot, resize]
`

const fleet = `instances:
  - { id: 33333333-0000-4000-8000-000000000001, hostname: web-1, region: LON1, size: g3.small, tags: [role=web] }
  - { id: 33333333-0000-4000-8000-000000000002, hostname: twin, region: LON1, size: g3.small, tags: [role=web] }
  - { id: 33333333-0000-4000-8000-000000000003, hostname: twin, region: NYC1, size: g3.small, tags: [role=web] }
  - { id: 33333333-0000-4000-8000-000000000004, hostname: dev-1, region: LON1, size: g3.small, tags: [env=dev] }
  - { id: 44444444-0000-4000-8000-000000000001, hostname: api-1, region: NYC1, size: g3.small, tags: [role=api] }
`

const (
	web1 = "33333333-0000-4000-8000-000000000001"
	api1 = "44444444-0000-4000-8000-000000000001"
)

// logText is what was logged. It is safe for concurrent use.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// place is a daemon with its bus, its cloud and its HTTP server.
type place struct {
	tb  testing.TB
	bus *events.Bus
	w   *worker.Worker
	web *console.Server
	log *logText
	sim *civosim.Sim

	private, public string // addresses of web-1
}

func newPlace(tb testing.TB, o events.Options) *place {
	tb.Helper()
	cfg, err := configs.Parse("test.yaml", []byte(file))
	if err != nil {
		tb.Fatal(err)
	}
	all := []string{"web-down", "api-grows", "ci"}
	set := &cfg.Policies
	set.Sources = map[string][]string{"alerts": all, "events": all, "json": all, "mapped": all, "github": all, "civo": all, "open": all}
	machines, err := civosim.ParseFleet([]byte(fleet))
	if err != nil {
		tb.Fatal(err)
	}
	p := &place{tb: tb, log: &logText{}}
	p.sim = civosim.New(civosim.Options{Token: "12345", Regions: set.Regions, Seed: 1, Fleet: machines, Delay: 50 * time.Millisecond})
	api, err := civo.New("12345", civo.Options{HTTPClient: &http.Client{Transport: p.sim.Transport()}, BaseURL: "http://civo.test", Rate: 1000})
	if err != nil {
		tb.Fatal(err)
	}
	web, err := api.Instance(tb.Context(), "LON1", web1)
	if err != nil {
		tb.Fatal(err)
	}
	p.private, p.public = web.PrivateIP, web.PublicIP
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(p.log), zap.DebugLevel))
	o.Listen, o.Name, o.Log = "none", "test", log
	if p.bus, err = events.Open(tb.Context(), o); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = p.bus.Close(closing)
	})
	p.w = worker.New(set, api, p.bus, worker.Options{Log: log, Embedded: true})
	tb.Setenv("TEST_SECRET", secret)
	keys := []worker.InstanceKey{worker.ByID, worker.ByHostname, worker.ByPrivateIP, worker.ByPublicIP}
	mapping, err := policies.ParseMapping(map[string]string{"each": "body.items", "alert": "item.name", "instance": `has(item.host) ? item.host : ""`, "id": "item.n"})
	if err != nil {
		tb.Fatal(err)
	}
	hooks := []console.Hook{
		{Source: "alerts", Form: console.FormAlertmanager, Signature: console.SignatureBearer, SecretEnv: "TEST_SECRET", InstanceLabel: "instance", RegionLabel: "region", InstanceIs: keys},
		{Source: "events", Form: console.FormCloudEvents, Signature: console.SignatureBearer, SecretEnv: "TEST_SECRET", InstanceIs: keys},
		{Source: "json", Form: console.FormJSON, Signature: console.SignatureBearer, SecretEnv: "TEST_SECRET", InstanceIs: keys},
		{Source: "mapped", Form: console.FormJSON, Signature: console.SignatureBearer, SecretEnv: "TEST_SECRET", InstanceIs: keys, Map: mapping},
		{Source: "github", Form: console.FormJSON, Signature: console.SignatureGitHub, SecretEnv: "TEST_SECRET", InstanceIs: keys},
		{Source: "civo", Form: console.FormJSON, Signature: console.SignatureCivo, SecretEnv: "TEST_SECRET", InstanceIs: keys},
		{Source: "open", Form: console.FormJSON, Signature: console.SignatureNone, InstanceIs: keys},
	}
	if p.web, err = console.New(p.w, console.Options{Listen: "127.0.0.1:0", Hooks: hooks, Log: log}); err != nil {
		tb.Fatal(err)
	}
	return p
}

func embedded(t testing.TB) *place { return newPlace(t, events.Options{Memory: true}) }

// run lets the daemon work until the test ends.
func (p *place) run() {
	p.tb.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.w.Run(ctx) }() // until stop
	p.tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			p.tb.Error(err)
		}
	})
	p.until(func() bool { return len(p.w.NotReady(p.tb.Context())) == 0 }, "the daemon is not ready")
}

// until asks again and again until it is so.
func (p *place) until(isSo func() bool, otherwise string) {
	p.tb.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for !isSo() {
		select {
		case <-ticker.C:
		case <-deadline:
			p.tb.Fatal(otherwise)
		}
	}
}

func (p *place) calls(op string) (n int) {
	for _, c := range p.sim.Requests() {
		if c.Op == op {
			n++
		}
	}
	return n
}

type reply struct {
	Code    int
	Stored  int
	Ignored int
	Refused int
	Note    string
	Error   string
	Signals []worker.Taken
	text    string
}

// post delivers a body; headers are pairs. The right bearer token is there unless
// they say otherwise.
func (p *place) post(source, body string, headers ...string) reply {
	p.tb.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/hooks/"+source, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+secret)
	for i := 0; i+1 < len(headers); i += 2 {
		switch {
		case headers[i] == "Host":
			r.Host = headers[i+1]
		case headers[i+1] == "":
			r.Header.Del(headers[i])
		default:
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	p.web.Handler().ServeHTTP(w, r)
	out := reply{Code: w.Code, text: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil && w.Code == http.StatusAccepted {
		p.tb.Fatalf("%v: %s", err, out.text)
	}
	return out
}

func alert(status, name, instance, fingerprint string) string {
	return fmt.Sprintf(`{"status":%q,"labels":{"alertname":%q,"instance":%q},"annotations":{},"startsAt":%q,"endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus","fingerprint":%q}`,
		status, name, instance, time.Now().UTC().Truncate(time.Hour).Add(time.Hour).Format(time.RFC3339), fingerprint)
}

func group(alerts ...string) string {
	return `{"version":"4","groupKey":"{}:{}","truncatedAlerts":0,"status":"firing","receiver":"nightshift","groupLabels":{},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://alertmanager","alerts":[` + strings.Join(alerts, ",") + `]}`
}

func (r reply) is(t *testing.T, code, stored, ignored, refused int) {
	t.Helper()
	if r.Code != code || r.Stored != stored || r.Ignored != ignored || r.Refused != refused {
		t.Errorf("got %d: %d stored, %d ignored, %d refused, want %d: %d, %d, %d\n%s", r.Code, r.Stored, r.Ignored, r.Refused, code, stored, ignored, refused, r.text)
	}
}

func TestAGroupOfAlertsIsOneSignalPerAlert(t *testing.T) {
	p := embedded(t)
	got := p.post("alerts", group(
		alert("firing", "InstanceDown", p.private+":9100", "f1"), alert("firing", "InstanceDown", "http://WEB-1:8080/healthz", "f2"),
		alert("firing", "InstanceDown", web1, "f3"), alert("firing", "InstanceDown", p.public, "f4"),
		alert("firing", "Watchdog", "", "f5"), alert("firing", "InstanceDown", "twin", "f6"), alert("firing", "InstanceDown", "dev-1", "f7"),
		alert("firing", "InstanceDown", "web-9:9100", "f8"), alert("firing", "Intrusion", "web-1", "f9"), alert("firing", "InstanceDown", "", "f10"),
		alert("pending", "InstanceDown", "web-1", "f11"), alert("resolved", "InstanceDown", "web-9", "f12"),
	))
	got.is(t, 202, 5, 1, 6)
	for i, want := range []string{
		"stored", "stored", "stored", "stored", "ignored", "refused ambiguous: 2 instances go by \"twin\"", "refused ambiguous: dev-1 (LON1",
		"refused ambiguous: no instance of LON1, NYC1 goes by \"web-9:9100\"", "refused not allowed: source alerts may not trigger policy secret-door",
		"refused ambiguous: the signal names no instance", "refused invalid: status \"pending\"", "stored",
	} {
		s := got.Signals[i]
		if line := strings.TrimSuffix(s.Result+" "+s.Reason+": "+s.Detail, " : "); !strings.HasPrefix(line, want) {
			t.Errorf("alert %d: %s, want %s", i+1, line, want)
		}
		if s.Result == "stored" && i < 4 && (s.Instance != web1 || s.Region != "LON1") {
			t.Errorf("alert %d is about %s in %s", i+1, s.Instance, s.Region)
		}
	}
	for _, want := range []string{"ambiguous", "not allowed", "invalid"} {
		if !p.hasRefusal(want) {
			t.Errorf("no event says %s", want)
		}
	}
}

func (p *place) hasRefusal(reason string) bool {
	for _, r := range p.records() {
		if r.Action == "plan" && r.Reason == reason && r.Who != "" && r.Detail != "" {
			return true
		}
	}
	return false
}

// records are all events that are stored.
func (p *place) records() (all []events.Record) {
	p.tb.Helper()
	ctx, stop := context.WithTimeout(p.tb.Context(), 300*time.Millisecond)
	defer stop()
	_ = p.bus.Watch(ctx, events.WatchOptions{Since: time.Now().Add(-time.Hour)}, func(r events.Record, _ time.Time, _ uint64) error { all = append(all, r); return nil })
	return all
}

func TestAnAlertRebootsOnceHoweverOftenItIsSent(t *testing.T) {
	p := embedded(t)
	p.run()
	body := group(strings.ReplaceAll(alert("firing", "InstanceDown", "web-1", "f1"), time.Now().UTC().Truncate(time.Hour).Add(time.Hour).Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339)))
	for range 3 {
		p.post("alerts", body).is(t, 202, 1, 0, 0)
	}
	p.until(func() bool { return p.calls("soft_reboot") > 0 }, "nothing was rebooted")
	p.post("alerts", body).is(t, 202, 1, 0, 0)
	runs := 0
	for run, err := range p.bus.Runs(t.Context(), time.Now().Add(-time.Hour)) {
		if err != nil {
			t.Fatal(err)
		}
		if run.Kind == "signal" {
			runs++
		}
	}
	if runs != 1 {
		t.Errorf("%d runs for one firing", runs)
	}
}

func TestOnlyWhoKnowsTheSecretIsHeard(t *testing.T) {
	p := embedded(t)
	body := `{"alert":"InstanceDown","instance":"web-1","id":"1"}`
	sign := func(by func() hash.Hash, key string) string {
		mac := hmac.New(by, []byte(key))
		mac.Write([]byte(body))
		return hex.EncodeToString(mac.Sum(nil))
	}
	for _, tt := range []struct {
		name, source string
		headers      []string
		code         int
	}{
		{"bearer", "json", nil, 202},
		{"bearer in lower case", "json", []string{"Authorization", "bearer " + secret}, 202},
		{"no header", "json", []string{"Authorization", ""}, 401},
		{"another secret", "json", []string{"Authorization", "Bearer wrong"}, 401},
		{"the beginning of the secret", "json", []string{"Authorization", "Bearer " + secret[:5]}, 401},
		{"an empty secret", "json", []string{"Authorization", "Bearer "}, 401},
		{"another scheme", "json", []string{"Authorization", "Basic " + secret}, 401},
		{"github", "github", []string{"X-Hub-Signature-256", "sha256=" + sign(sha256.New, secret)}, 202},
		{"github by another key", "github", []string{"X-Hub-Signature-256", "sha256=" + sign(sha256.New, "x")}, 401},
		{"github without sha256=", "github", []string{"X-Hub-Signature-256", sign(sha256.New, secret)}, 401},
		{"github with the bearer token only", "github", nil, 401},
		{"civo", "civo", []string{"X-Civo-Signature", sign(sha1.New, secret)}, 202},
		{"civo by another key", "civo", []string{"X-Civo-Signature", sign(sha1.New, "")}, 401},
		{"civo, nothing", "civo", []string{"X-Civo-Signature", ""}, 401},
		{"civo, no hex", "civo", []string{"X-Civo-Signature", "zz"}, 401},
		{"open", "open", []string{"Authorization", ""}, 202},
		{"open, through a name that a page may have", "open", []string{"Host", "evil.example.com:8422"}, 403},
		{"open, as a page can send it", "open", []string{"Content-Type", "text/plain"}, 415},
		{"unknown", "nobody", nil, 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := p.post(tt.source, body, tt.headers...)
			if got.Code != tt.code {
				t.Errorf("got %d, want %d: %s", got.Code, tt.code, got.text)
			}
			if tt.code == 401 && strings.TrimSpace(got.text) != `{"error":"Unauthorized"}` {
				t.Errorf("the answer says more than it should: %s", got.text)
			}
		})
	}
}

func TestASecretInAFileIsReadAnew(t *testing.T) {
	p := embedded(t)
	path := filepath.Join(t.TempDir(), "secret")
	h := console.Hook{Source: "json", Form: console.FormJSON, Signature: console.SignatureBearer, SecretFile: path}
	if err := p.web.Replace([]console.Hook{h}); err == nil {
		t.Error("a secret that is not there was taken")
	}
	for _, s := range []string{"first-secret\n", "second-secret"} {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.web.Replace([]console.Hook{h}); s == "first-secret\n" && err != nil {
			t.Fatal(err)
		}
		if got := p.post("json", `{"alert":"X"}`, "Authorization", "Bearer "+strings.TrimSpace(s)); got.Code != 202 {
			t.Errorf("%q: %d", s, got.Code)
		}
		if got := p.post("json", `{"alert":"X"}`); got.Code != 401 {
			t.Errorf("an old secret: %d", got.Code)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := p.post("json", `{"alert":"X"}`, "Authorization", "Bearer "); got.Code != 503 {
		t.Errorf("an empty secret: %d", got.Code)
	}
}

func TestAServerThatOthersReachHasNoWebhookWithoutASecret(t *testing.T) {
	open := []console.Hook{{Source: "open", Form: console.FormJSON, Signature: console.SignatureNone}}
	for listen, good := range map[string]bool{"127.0.0.1:0": true, "[::1]:0": true, "localhost:0": true, ":8422": false, "0.0.0.0:8422": false, "10.0.0.1:8422": false, "example.com:1": false} {
		if _, err := console.New(nil, console.Options{Listen: listen, Hooks: open}); (err == nil) != good {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestWhatCannotBeReadIsRefused(t *testing.T) {
	p := embedded(t)
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for _, tt := range []struct {
		name, source, body string
		headers            []string
		code               int
		says               string
	}{
		{"too large", "json", strings.Repeat(" ", console.MaxBody+1), nil, 413, "larger"},
		{"deep", "mapped", `{"items":` + deep + `}`, nil, 422, "nested deeper"},
		{"deep in what is not read", "alerts", strings.Replace(group(), `"commonLabels":{}`, `"commonLabels":`+deep, 1), nil, 422, "nested deeper"},
		{"brackets in a text are not levels", "json", `{"alert":"` + strings.Repeat("[{", 40) + `"}`, nil, 202, ""},
		{"no JSON", "json", "{", nil, 422, "JSON"},
		{"two values", "json", `{"alert":"a"}{}`, nil, 422, "follows"},
		{"not UTF-8", "json", "{\"alert\":\"\xff\"}", nil, 422, "UTF-8"},
		{"wrong types", "alerts", strings.Replace(group(), `"alerts":[]`, `"alerts":[7]`, 1), nil, 422, "form"},
		{"a foreign version", "alerts", strings.Replace(group(), `"4"`, `"5"`, 1), nil, 422, "version"},
		{"no version", "alerts", `{}`, nil, 422, "version"},
		{"a form as of the web", "json", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "JSON"},
		{"no kind", "json", "{}", []string{"Content-Type", ""}, 415, "JSON"},
		{"compressed", "json", "{}", []string{"Content-Encoding", "gzip"}, 415, "compressed"},
		{"an old event", "events", `{"specversion":"0.3","id":"1","source":"s","type":"t"}`, []string{"Content-Type", "application/cloudevents+json"}, 422, "specversion"},
		{"an event without id", "events", `{"specversion":"1.0","source":"s","type":"t"}`, []string{"Content-Type", "application/cloudevents+json"}, 422, "id"},
		{"an event to another form", "json", `{}`, []string{"Content-Type", "application/cloudevents+json"}, 415, "JSON"},
		{"no list where a list should be", "mapped", `{"items":7}`, nil, 422, "list"},
		{"a broken header", "events", `{}`, []string{"Ce-Specversion", "1.0", "Ce-Id", "%zz"}, 422, "header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := p.post(tt.source, tt.body, tt.headers...); got.Code != tt.code || !strings.Contains(got.Error, tt.says) {
				t.Errorf("got %d %s, want %d %s", got.Code, got.text, tt.code, tt.says)
			}
		})
	}
	r := httptest.NewRequest(http.MethodGet, "/v1/hooks/json", nil)
	w := httptest.NewRecorder()
	p.web.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}

func TestOneItemThatCannotBeReadDoesNotKeepTheOthersOut(t *testing.T) {
	p := embedded(t)
	got := p.post("mapped", `{"items":[{"name":"InstanceDown","host":"web-1","n":1},{"host":"web-1","n":2},{"name":"Other","n":3}]}`)
	got.is(t, 202, 1, 1, 1)
	if got.Signals[1].Reason != "invalid" || !strings.Contains(got.Signals[1].Detail, "alert: no such key: name") {
		t.Errorf("got %+v", got.Signals[1])
	}
	event := `{"specversion":"1.0","source":"/ci","type":"com.example.load","subject":"api-1","data":{"load":"cpu","value":93},"id":`
	for source, items := range map[string]string{
		"json":   `[{"load":"cpu","value":93,"instance":"api-1"},{"load":7},{"load":"cpu","value":94,"instance":"api-1"}]`,
		"events": `[` + event + `"b1"},` + event + `3},` + event + `"b2"}]`,
	} {
		kind := map[string]string{"json": "application/json", "events": "application/cloudevents-batch+json"}[source]
		got := p.post(source, items, "Content-Type", kind)
		got.is(t, 202, 2, 0, 1)
		if s := got.Signals[1]; s.Reason != "invalid" || !strings.Contains(s.Detail, "number") {
			t.Errorf("%s: got %+v", source, s)
		}
	}
}

func TestCloudEventsInThreeModes(t *testing.T) {
	p := embedded(t)
	event := func(id string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/ci","type":"com.example.load","subject":"api-1","time":"2026-03-04T12:00:00Z","datacontenttype":"application/json","data":{"load":"cpu","value":93}}`
	}
	structured := p.post("events", event("1"), "Content-Type", "application/cloudevents+json; charset=utf-8")
	structured.is(t, 202, 1, 0, 0)
	binary := p.post("events", `{"load":"cpu","value":93}`, "Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "%2Fci", "Ce-Type", "com.example.load", "Ce-Subject", "api-1")
	binary.is(t, 202, 1, 0, 0)
	if a, b := structured.Signals[0], binary.Signals[0]; a != b || a.Instance != api1 || a.Trigger == "" {
		t.Errorf("the same event in two modes: %+v, %+v", a, b)
	}
	p.post("events", "["+event("2")+","+event("3")+"]", "Content-Type", "application/cloudevents-batch+json").is(t, 202, 2, 0, 0)
	p.post("events", "[]", "Content-Type", "application/cloudevents-batch+json").is(t, 202, 0, 0, 0)
	picked := p.post("events", `{"value":2}`, "Ce-Specversion", "1.0", "Ce-Id", "q", "Ce-Source", "ci", "Ce-Type", "ci.queued")
	picked.is(t, 202, 1, 0, 0)
	if picked.Signals[0].Instance != "" {
		t.Errorf("got %+v, want a signal that names no instance", picked.Signals[0])
	}
}

func TestTheTraceOfADeliveryIsInEveryEventThatComesOfIt(t *testing.T) {
	p := embedded(t)
	p.run()
	trace := func(n int) string { return fmt.Sprintf("00-0af7651916cd43dd8448eb211c80319%d-b7ad6b7169203331-01", n) }
	event := func(id, trace string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"/ci","type":"x",` + trace + `"data":{"alert":"InstanceDown","instance":"twin"}}`
	}
	p.post("events", event("1", `"traceparent":"`+trace(1)+`","tracestate":"v=1",`), "Content-Type", "application/cloudevents+json", "Traceparent", trace(9)).is(t, 202, 0, 0, 1)
	p.post("events", event("2", ""), "Content-Type", "application/cloudevents+json", "Traceparent", trace(2)).is(t, 202, 0, 0, 1)
	p.post("events", `{"alert":"InstanceDown","instance":"twin"}`, "Ce-Specversion", "1.0", "Ce-Id", "3", "Ce-Source", "ci", "Ce-Type", "x", "Ce-Traceparent", trace(3)).is(t, 202, 0, 0, 1)
	p.post("json", `{"alert":"InstanceDown","instance":"twin","id":"4"}`, "Traceparent", trace(4)).is(t, 202, 0, 0, 1)
	p.post("json", `{"alert":"InstanceDown","instance":"web-1","id":"5"}`, "Traceparent", trace(5)).is(t, 202, 1, 0, 0)
	p.until(func() bool { return p.calls("soft_reboot") > 0 }, "nothing was rebooted")
	seen := make(map[string]int)
	for rec, err := range p.bus.Records(t.Context(), "", time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen[rec.Trace]++
		if rec.Trace == trace(1) && rec.TraceState != "v=1" {
			t.Errorf("the state of the trace is %q", rec.TraceState)
		}
	}
	for n := 1; n <= 5; n++ {
		if seen[trace(n)] == 0 {
			t.Errorf("no event has trace %d: %v", n, seen)
		}
	}
}

func TestADeliveryIsAnsweredWithSuccessOnlyAfterItIsStored(t *testing.T) {
	p := embedded(t)
	closing, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.bus.Close(closing); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"taken": `{"alert":"InstanceDown","instance":"web-1"}`, "refused": `{"alert":"InstanceDown","instance":"twin"}`} {
		if got := p.post("json", body); got.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d: %s", name, got.Code, got.text)
		}
	}
}

func TestARegionThatCannotBeReadDoesNotCountAsEmpty(t *testing.T) {
	p := embedded(t)
	p.sim.Inject(civosim.Fault{Op: "list", Region: "NYC1", Kind: civosim.Refused, Status: 400, Count: -1})
	if got := p.post("json", `{"alert":"InstanceDown","instance":"web-1"}`); got.Code != http.StatusServiceUnavailable {
		t.Errorf("a host name that another region may have, too: %d: %s", got.Code, got.text)
	}
	p.post("json", `{"alert":"InstanceDown","instance":"web-1","region":"lon1"}`).is(t, 202, 1, 0, 0)
	p.post("json", `{"alert":"InstanceDown","instance":"`+web1+`"}`).is(t, 202, 1, 0, 0)
	p.post("json", `{"alert":"InstanceDown","instance":"web-1","region":"MARS"}`).is(t, 202, 0, 0, 1)
}

func TestSecretsAreNowhereToBeSeen(t *testing.T) {
	p := embedded(t)
	p.run()
	answers := ""
	for _, source := range []string{"alerts", "events", "json", "mapped", "github", "civo", "open", "nobody"} {
		for _, auth := range []string{"Bearer " + secret, "Bearer x" + secret, "Basic " + secret, secret} {
			for _, body := range []string{"{", group(alert("firing", "InstanceDown", "twin", "f")), `{"alert":"InstanceDown","instance":"twin"}`, `{"items":[{}]}`} {
				answers += p.post(source, body, "Authorization", auth, "Ce-Id", "%zz").text
			}
		}
	}
	leaky := console.Hook{Source: "json", Form: console.FormJSON, Signature: console.SignatureBearer, SecretEnv: "TEST_SECRET"}
	m, err := policies.ParseMapping(map[string]string{"alert": `headers["authorization"]`})
	if err != nil {
		t.Fatal(err)
	}
	leaky.Map = m
	if err := p.web.Replace([]console.Hook{leaky}); err != nil {
		t.Fatal(err)
	}
	answers += p.post("json", `{}`).text
	status, err := json.Marshal(p.w.Status(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	told, err := json.Marshal(p.records())
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"an answer": answers, "the log": p.log.String(), "the status": string(status), "an event": string(told), "an error": fmt.Sprint(console.New(nil, console.Options{Listen: ":1", Hooks: []console.Hook{{Source: "x", Form: "x", Signature: "x", SecretEnv: "TEST_SECRET"}}}))} {
		if strings.Contains(text, secret) {
			t.Errorf("the secret is in %s", where)
		}
	}
	if p.log.String() == "" || len(told) < 10 {
		t.Error("nothing was logged or stored")
	}
}

func TestHealth(t *testing.T) {
	p := embedded(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := p.web.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.web.Run(ctx) }() // until stop
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		resp, err := client.Get("http://" + p.web.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("/healthz: %d", code)
	}
	if code, text := get("/readyz"); code != 503 || !strings.Contains(text, "not started yet") {
		t.Errorf("/readyz before the start: %d %s", code, text)
	}
	p.run()
	if code, _ := get("/readyz"); code != 200 {
		t.Errorf("/readyz: %d", code)
	}
	again, err := console.New(p.w, console.Options{Listen: p.web.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Listen(ctx); err == nil || !strings.Contains(err.Error(), "http.listen") {
		t.Errorf("an address that is taken: %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// BenchmarkWebhook is one alert delivered: authenticated, read, resolved in a fresh
// inventory, and stored on disk.
func BenchmarkWebhook(b *testing.B) {
	deliver := func(b *testing.B, one func(p *place, body string)) {
		p := newPlace(b, events.Options{DataDir: b.TempDir()})
		bodies := make([]string, 64)
		for i := range bodies {
			bodies[i] = group(alert("firing", "InstanceDown", p.private+":9100", fmt.Sprint("FINGERPRINT-", i)))
		}
		n := 0
		for b.Loop() {
			n++
			one(p, strings.Replace(bodies[n%len(bodies)], "FINGERPRINT", fmt.Sprint(n), 1))
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deliveries/s")
	}
	b.Run("nightshift", func(b *testing.B) {
		deliver(b, func(p *place, body string) {
			if got := p.post("alerts", body); got.Stored != 1 {
				b.Fatal(got.text)
			}
		})
	})
	b.Run("bare", func(b *testing.B) { // one synced publish of the body, and the same answer
		var bus *events.Bus
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				_, err = bus.Conn().RequestWithContext(r.Context(), "nightshift.v1.sig.alerts._._", body)
			}
			if err != nil {
				b.Error(err)
			}
			w.WriteHeader(http.StatusAccepted)
		})
		deliver(b, func(p *place, body string) {
			bus = p.bus
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/hooks/alerts", strings.NewReader(body)).WithContext(b.Context())); w.Code != http.StatusAccepted {
				b.Fatal(w.Code)
			}
		})
	})
}
