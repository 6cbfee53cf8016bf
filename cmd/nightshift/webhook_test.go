package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Civo's
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	hookSecret = "hush-hush-of-the-test"
	web1ID     = "33333333-0000-4000-8000-000000000001"
)

// hooked is a daemon whose policy file has webhooks, and what is said about it.
func hooked(t *testing.T, file string) (s *site, base string) {
	t.Helper()
	s = newSite(t, false, "200ms")
	write(t, s.dir, "alerts.secret", hookSecret+"\n")
	s.config = write(t, s.dir, "nightshift.yaml", file+"verify: { within: 30s, settle: 1500ms, apart: 500ms }\n")
	p := start(t, []string{"CIVO_TOKEN=" + e2eToken, "GRAFANA_SECRET=" + hookSecret, "CIVO_HOOK_SECRET=" + hookSecret}, "nightshift", "run", "-v", "--config", s.config,
		"--api-url", s.api, "--data-dir", filepath.Join(s.dir, "data"), "--nats-listen", s.nats, "--http-listen", "127.0.0.1:0", "--log-format", "json")
	base = "http://" + p.says(t, `"answering over HTTP","listen":"([0-9.:]+)"`)
	p.says(t, `"(ready)"`)
	s.listen()
	t.Cleanup(func() {
		if strings.Contains(p.output(), hookSecret) {
			t.Error("the secret of a webhook is in the log")
		}
	})
	return s, base
}

func deliver(t *testing.T, url, body string, headers map[string]string) (code int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for k, v := range headers {
		r.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// hookExample is a policy file of the page about webhooks.
func hookExample(t *testing.T, with string) string {
	t.Helper()
	for _, b := range blocks(pages(t)["../../docs/webhooks.md"], "yaml") {
		if strings.HasPrefix(b, "version:") && strings.Contains(b, with) {
			return b
		}
	}
	t.Fatalf("docs/webhooks.md has no policy file with %q", with)
	return ""
}

// The body is what Grafana 11 sends, shortened.
const grafanaBody = `{"receiver":"nightshift","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"InstanceDown","grafana_folder":"nodes","instance":"web-1"},
"annotations":{"summary":"down"},"startsAt":"%s","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"c6eadffa33fcdf37","silenceURL":"",
"dashboardURL":"","panelURL":"","values":{"B":0}}],"groupLabels":{"alertname":"InstanceDown"},"commonLabels":{},"commonAnnotations":{},"externalURL":"",
"version":"1","groupKey":"{}","truncatedAlerts":0,"orgId":1,"title":"[FIRING:1]","state":"alerting","message":""}`

func TestGrafanasWebhookAsThePageShowsIt(t *testing.T) {
	s, base := hooked(t, hookExample(t, "grafana:"))
	body := fmt.Sprintf(grafanaBody, time.Now().UTC().Format(time.RFC3339))
	if code, text := deliver(t, base+"/v1/hooks/grafana", body, map[string]string{"Authorization": "Bearer wrong"}); code != 401 {
		t.Errorf("a wrong secret: %d %s", code, text)
	}
	code, text := deliver(t, base+"/v1/hooks/grafana", body, map[string]string{"Authorization": "Bearer " + hookSecret})
	if code != 202 || !strings.Contains(text, `"stored":1`) {
		t.Fatalf("%d %s", code, text)
	}
	s.hears("reboot web-1 done")
}

func TestCivosOwnWebhookAsThePageShowsIt(t *testing.T) {
	file := hookExample(t, "signature: civo")
	s, base := hooked(t, strings.Replace(file, "do: { firewall: 4c2e51ee-0a5c-4d0b-9c58-0c2f2f3c9a10 }", "do: { reboot: soft }", 1))
	body := `{"event":"instance.created","resourceID":"` + web1ID + `"}`
	mac := hmac.New(sha1.New, []byte(hookSecret))
	mac.Write([]byte(body))
	headers := map[string]string{"X-Civo-Signature": hex.EncodeToString(mac.Sum(nil)), "X-Civo-Event": "0b5cf0a6-5a57-4f39-8f2f-63c6b2b7c1de"}
	for range 2 { // Civo tries again under the same id
		if code, text := deliver(t, base+"/v1/hooks/civo", body, headers); code != 202 || !strings.Contains(text, `"trigger":"civo-0b5cf0a6-5a57-4f39-8f2f-63c6b2b7c1de"`) {
			t.Fatalf("%d %s", code, text)
		}
	}
	s.hears("reboot web-1 done")
	if code, _ := deliver(t, base+"/v1/hooks/civo", body+" ", headers); code != 401 {
		t.Errorf("a changed body: %d", code)
	}
	if code, text := deliver(t, base+"/v1/hooks/civo", body, nil); code != 401 {
		t.Errorf("no signature: %d %s", code, text)
	}
}

// realThings says whether to try the real Prometheus and Alertmanager, and where
// they are.
func realThings(t *testing.T) (prometheus, alertmanager string) {
	t.Helper()
	if os.Getenv("TEST_PROMETHEUS") == "" {
		t.Skip("TEST_PROMETHEUS=1 tries a real Prometheus and Alertmanager (.ci/run does); on Debian: apt-get install prometheus prometheus-alertmanager")
	}
	find := func(names ...string) string {
		for _, n := range names {
			if path, err := exec.LookPath(n); err == nil {
				return path
			}
		}
		t.Fatalf("none of %v is in PATH; on Debian: apt-get install prometheus prometheus-alertmanager", names)
		return ""
	}
	return find("prometheus"), find("prometheus-alertmanager", "alertmanager")
}

// program starts something of somebody else's; it is killed when the test ends.
func program(t *testing.T, path string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", path, out.String())
		}
	})
}

// TestARealPrometheusFiresARuleAndTheMachineIsRebooted: a target goes away,
// Prometheus fires, Alertmanager delivers, the machine is rebooted; the target is
// back, and what was resolved is delivered, too.
func TestARealPrometheusFiresARuleAndTheMachineIsRebooted(t *testing.T) {
	prometheus, alertmanager := realThings(t)
	s, base := hooked(t, strings.Replace(hookExample(t, "form: alertmanager"), ", for: 5m", "", 1)+"http: {}\n")

	target := httptest.NewUnstartedServer(http.NotFoundHandler())
	addr := target.Listener.Addr().String()
	_ = target.Listener.Close() // nobody answers: the machine is down

	am, prom := freeAddr(t), freeAddr(t)
	config := write(t, s.dir, "alertmanager.yml", fmt.Sprintf(`
route: { receiver: nightshift, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }
receivers:
  - name: nightshift
    webhook_configs:
      - url: %s/v1/hooks/alerts
        max_alerts: 0
        http_config: { authorization: { credentials_file: %s } }
`, base, filepath.Join(s.dir, "alerts.secret")))
	program(t, alertmanager, "--config.file="+config, "--storage.path="+filepath.Join(s.dir, "am"), "--web.listen-address="+am, "--cluster.listen-address=")
	write(t, s.dir, "rules.yml", `
groups:
  - name: nodes
    rules:
      - { alert: InstanceDown, expr: up == 0, labels: { severity: critical } }
`)
	config = write(t, s.dir, "prometheus.yml", fmt.Sprintf(`
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [rules.yml]
alerting: { alertmanagers: [ { static_configs: [ { targets: ["%s"] } ] } ] }
scrape_configs:
  - job_name: nodes
    static_configs: [ { targets: ["%s"] } ]
    relabel_configs: [ { target_label: instance, replacement: "web-1:9100" } ]
`, am, addr))
	program(t, prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(s.dir, "tsdb"), "--web.listen-address="+prom)

	s.hears("reboot web-1 done")
	up := metricsAt(t, addr)
	defer up.Close()
	s.resolved(t)
}

// metricsAt answers for the machine again.
func metricsAt(t *testing.T, addr string) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "node_is_up 1\n") }))
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	srv.Listener = ln
	srv.Start()
	return srv
}

// resolved waits until the daemon has stored that the alert is over.
func (s *site) resolved(t *testing.T) {
	t.Helper()
	if err := waitFor(func() bool {
		out, err := exec.Command(binary(t, "nightshift"), "runs", "--nats-url", "nats://"+s.nats, "-o", "json").Output()
		return err == nil && json.Valid(out) && strings.Contains(string(out), "-resolved")
	}, "no run says that the alert is resolved"); err != nil {
		t.Fatal(err)
	}
}
