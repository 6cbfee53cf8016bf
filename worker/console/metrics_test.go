package console_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"nightshift/events"
	"nightshift/worker"
	"nightshift/worker/console"
)

func (p *place) scrape() string {
	p.tb.Helper()
	w := httptest.NewRecorder()
	p.web.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/metrics", nil))
	if w.Code != http.StatusOK {
		p.tb.Fatalf("GET /metrics: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// ask asks the daemon over NATS.
func (p *place) ask(endpoint, body string) {
	p.tb.Helper()
	msg, err := p.bus.Conn().RequestWithContext(p.tb.Context(), "nightshift.v1.ctl."+endpoint, []byte(body))
	if err != nil || msg.Header.Get("Nats-Service-Error") != "" {
		p.tb.Fatalf("%s %s: %v %v", endpoint, body, err, msg)
	}
}

func TestMetricsSayWhatStatusSays(t *testing.T) {
	p := embedded(t)
	if text := p.scrape(); !strings.Contains(text, "\nnightshift_ready 0\n") {
		t.Errorf("before it runs:\n%s", text)
	}
	p.run()
	p.ask("pause.local", `{"policy": "ci", "reason": "a release"}`)
	p.ask("pause.local", `{"region": "lon1", "instance": "`+web1+`"}`)
	if _, err := p.bus.PublishCommand(t.Context(), events.Command{Who: "local", Region: "lon1", Instance: "33333333-0000-4000-8000-000000000004", Action: "reboot", DryRun: true}); err != nil {
		t.Fatal(err)
	}
	p.until(func() bool { return len(p.w.Ended()) > 0 }, "the command has no outcome")
	text := p.scrape()
	for _, want := range []string{
		"nightshift_ready 1",
		`nightshift_paused{instance="",policy="ci",scope="policy"} 1`,
		`nightshift_paused{instance="` + web1 + `",policy="",scope="instance"} 1`,
		`nightshift_actions_total{action="reboot",outcome="planned",policy="",reason=""} 1`,
		`nightshift_policy_info{mode="act",revision=""} 1`,
		"nightshift_policies 4",
		"nightshift_policy_file_fault 0",
		"nightshift_token_refused 0",
		"nightshift_other_account 0",
		"nightshift_policies_differ 0",
		"nightshift_store_damaged 0",
		"nightshift_clock_fault 0",
		"nightshift_actions_open 0",
		`nightshift_region_instances{region="LON1"} 3`,
		`nightshift_region_fault{region="LON1"} 0`,
		"go_goroutines ",
		"process_resident_memory_bytes ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(text, secret) || strings.Contains(text, "a release") {
		t.Error("a metric has what no metric should")
	}
	p.ask("resume.local", `{"policy": "ci"}`)
	p.until(func() bool { return !strings.Contains(p.scrape(), `policy="ci",scope="policy"`) }, "a pause that ended is a metric still")
	if t.Failed() {
		t.Logf("%s", text)
	}
}

func TestMetricsSayWhatIsWrong(t *testing.T) {
	p := embedded(t)
	p.w.Refuse(t.Context(), errors.New("nightshift.yaml:3: what is this"))
	if text := p.scrape(); !strings.Contains(text, "\nnightshift_policy_file_fault 1\n") || strings.Contains(text, "what is this") {
		t.Errorf("%s", text)
	}
}

// TestMetricsAreAsPrometheusWantsThem: names, units and help are as its linter, and
// its own promtool where there is one, ask for.
func TestMetricsAreAsPrometheusWantsThem(t *testing.T) {
	p := embedded(t)
	p.run()
	text := p.scrape()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	if os.Getenv("TEST_PROMETHEUS") == "" {
		return // promtool has the same rules; .ci/run asks it, too
	}
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics (on Debian: apt-get install prometheus): %v\n%s", err, out)
	}
}

// TestTheDocumentationHasEveryMetric, and no other.
func TestTheDocumentationHasEveryMetric(t *testing.T) {
	page, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	told, said := make(map[string]bool), make(map[string]bool)
	for _, m := range regexp.MustCompile(`desc\("([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		told["nightshift_"+m[1]] = true
	}
	for _, m := range regexp.MustCompile("`(nightshift_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
		said[m[1]] = true
	}
	if !maps.Equal(told, said) {
		t.Errorf("docs/operating.md has %v, the program %v", slices.Sorted(maps.Keys(said)), slices.Sorted(maps.Keys(told)))
	}
}

// among is a daemon that hears another replica with a policy file.
type among struct {
	taker
	revision string
}

func (a among) Status(context.Context) worker.Status {
	return worker.Status{Revision: "one", Replicas: []worker.ReplicaStatus{{Name: "second", Revision: a.revision}}}
}

func TestThatReplicasHaveDifferentPolicyFilesIsAMetric(t *testing.T) {
	for revision, want := range map[string]string{"one": "\nnightshift_policies_differ 0\n", "two": "\nnightshift_policies_differ 1\n"} {
		web, err := console.New(among{taker{t}, revision}, console.Options{Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		web.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/metrics", nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the other has revision %s: want %q in %s", revision, want, w.Body)
		}
	}
}
