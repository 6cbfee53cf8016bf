package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"nightshift/events"
)

func TestMain(m *testing.M) {
	ats.Register() // the server's own clock, which must be made outside of any bubble
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

const secret = "https://hooks.example.com/services/T000/B000/hush-hush"

// hooks are the targets' servers: what each answers, and when it was asked.
type hooks struct {
	mu     sync.Mutex
	answer map[string]func(n int) (int, http.Header) // by path, of the n-th request, from 1
	at     map[string][]time.Time
	bodies map[string][]string
}

func (h *hooks) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	path := r.URL.Path
	h.at[path], h.bodies[path] = append(h.at[path], time.Now()), append(h.bodies[path], string(body))
	rec := httptest.NewRecorder()
	if f := h.answer[path]; f != nil {
		code, header := f(len(h.at[path]))
		if code == 0 {
			return nil, fmt.Errorf("dial tcp: lookup %s: no such host (%s)", r.URL.Hostname(), r.URL)
		}
		for k, v := range header {
			rec.Header()[k] = v
		}
		rec.WriteHeader(code)
		_, _ = rec.WriteString("no such hook " + r.URL.String())
	}
	return rec.Result(), nil
}

func (h *hooks) asked(path string) (spans []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, at := range h.at[path] {
		spans = append(spans, at.Sub(h.at[path][0]).Round(time.Second).String())
	}
	return spans
}

type world struct {
	t    *testing.T
	bus  *events.Bus
	h    *hooks
	logs *observer.ObservedLogs
	log  *zap.Logger
	stop []func()
}

// inBubble runs a test in a bubble with a bus and servers of webhooks.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	defer func() { // nats.go pools timers: those of one bubble must not reach the next
		runtime.GC()
		runtime.GC()
	}()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 27, 18, 45, 0, 0, time.UTC)))
		bus, err := events.Open(t.Context(), events.Options{Listen: "none", Memory: true, Name: "test"})
		if err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zapcore.DebugLevel)
		w := &world{t: t, bus: bus, logs: logs, log: zap.New(core), h: &hooks{answer: make(map[string]func(int) (int, http.Header)), at: make(map[string][]time.Time), bodies: make(map[string][]string)}}
		test(t, w)
		w.end()
		if err := bus.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func (w *world) end() {
	for _, stop := range w.stop {
		stop()
	}
	w.stop = nil
}

// begin starts a replica whose targets have webhooks of their own names.
func (w *world) begin(names ...string) *Notifier {
	s := Settings{PublicURL: "https://nightshift.example.com"}
	for _, name := range names {
		s.Targets = append(s.Targets, Target{Name: name, Form: FormJSON, About: []string{Held, Failed, Warn}, URL: func() (string, error) { return secret + "/" + name, nil }})
	}
	n := New(w.bus, s, Options{Log: w.log, Transport: w.h})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); n.Run(ctx) }() // until stop
	w.stop = append(w.stop, func() { stop(); <-done })
	synctest.Wait()
	return n
}

func pathOf(name string) string { return "/services/T000/B000/hush-hush/" + name }

// warnOf publishes a warning of a stop at an instant.
func (w *world) warnOf(id string, at time.Time, to ...string) {
	w.t.Helper()
	if err := w.bus.PublishNoticed(w.t.Context(), events.Record{
		ActionID: id, Action: events.ActionWarn, Reason: "will stop", Trigger: "warn", Policy: "dev-hours", Region: "_", Instance: "_", Planned: at, To: to,
		About: []events.Named{{Region: "lon1", Instance: "i-1", Hostname: "dev-1"}}, Count: 1, Postpone: at.Add(2 * time.Hour),
	}); err != nil {
		w.t.Fatal(err)
	}
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) wantAsked(name string, spans ...string) {
	w.t.Helper()
	if got := w.h.asked(pathOf(name)); fmt.Sprint(got) != fmt.Sprint(spans) {
		w.t.Errorf("%s was asked after %v, want %v", name, got, spans)
	}
}

func TestWhatIsNotTakenIsSentAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.h.answer[pathOf("a")] = func(n int) (int, http.Header) {
			switch n {
			case 1:
				return 500, nil
			case 2:
				return 429, http.Header{"Retry-After": {"90"}}
			}
			return 204, nil
		}
		w.begin("a", "b")
		w.warnOf("1", time.Now().Add(15*time.Minute), "a", "b")
		after(14 * time.Minute)
		w.wantAsked("a", "0s", "5s", "1m35s")
		w.wantAsked("b", "0s")
	})
}

// TestATargetThatIsDownHoldsUpNobody and is given up after an hour, with an event.
func TestATargetThatIsDownHoldsUpNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.h.answer[pathOf("a")] = func(int) (int, http.Header) { return 0, nil }
		w.begin("a", "b")
		for i := range 30 {
			w.warnOf(fmt.Sprint(i), time.Now().Add(5*time.Hour), "a", "b")
		}
		after(time.Second)
		if n := len(w.h.asked(pathOf("b"))); n != 30 {
			t.Errorf("b was told %d times at once, want 30", n)
		}
		after(2 * time.Hour)
		given := 0
		for rec, err := range w.bus.Records(w.t.Context(), "", time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			if rec.Reason == "not delivered" {
				given++
				if !strings.HasPrefix(rec.Detail, "a was not told: dev-hours stops 1 instance") || !strings.Contains(rec.Error, "no such host") {
					t.Errorf("the event says %q, %q", rec.Detail, rec.Error)
				}
			}
		}
		if given != 30 {
			t.Errorf("%d messages were given up, want 30", given)
		}
		asked := len(w.h.asked(pathOf("a")))
		after(2 * time.Hour)
		if n := len(w.h.asked(pathOf("a"))); n != asked || n > 30*20 {
			t.Errorf("a was asked %d times, then %d", asked, n)
		}
	})
}

// TestReplicasTellOnce over a restart, too.
func TestReplicasTellOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.begin("a")
		w.begin("a")
		for i := range 20 {
			w.warnOf(fmt.Sprint(i), time.Now().Add(15*time.Minute), "a")
		}
		after(time.Minute)
		w.end()
		w.warnOf("later", time.Now().Add(10*time.Minute), "a") // while nobody is there
		after(time.Minute)
		w.begin("a")
		after(time.Minute)
		if n := len(w.h.asked(pathOf("a"))); n != 21 {
			t.Errorf("told %d times, want 21", n)
		}
	})
}

func run(trigger, region string, held time.Time, ids ...string) events.Run {
	r := events.Run{Trigger: trigger, Kind: "tick", Region: region, Edges: []string{"dev-hours@1795806000"}, Planned: time.Unix(1795806000, 0).UTC(), StoredAt: time.Now()}
	if !held.IsZero() {
		r.Trigger, r.Held, r.HeldUntil = events.HeldID(trigger), "mode is ask", held
	}
	for _, id := range ids {
		r.Items = append(r.Items, events.Item{ID: id, Kind: "power", Action: "stop", Region: region, Instance: "i-" + id, Hostname: "host-" + id, Policy: "dev-hours"})
	}
	return r
}

func (w *world) store(r events.Run) {
	w.t.Helper()
	if _, err := w.bus.StoreRun(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) outcome(o events.Outcome, region, id, reason string) {
	w.t.Helper()
	rec := events.Record{ActionID: id, Action: "stop", Outcome: o, Reason: reason, Trigger: "t1795806000", Policy: "dev-hours", Region: region, Instance: "i-" + id}
	if _, err := w.bus.PublishOutcome(w.t.Context(), rec); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) titles(name string) (titles []string) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	for _, b := range w.h.bodies[pathOf(name)] {
		var m Message
		if err := json.Unmarshal([]byte(b), &m); err != nil {
			w.t.Fatal(err)
		}
		titles = append(titles, m.Title)
	}
	return titles
}

func (w *world) wantTitles(name string, want ...string) {
	w.t.Helper()
	if got := w.titles(name); strings.Join(got, "\n") != strings.Join(want, "\n") {
		w.t.Errorf("%s was told %q, want %q", name, got, want)
	}
}

func TestAHeldRunOfManyRegionsIsOneMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.begin("a")
		w.begin("a")
		for _, region := range []string{"lon1", "nyc1", "fra1"} {
			w.store(run("t1795806000", region, time.Now().Add(2*time.Hour), region+"-1", region+"-2"))
			if err := w.bus.PublishNoticed(t.Context(), events.Record{ActionID: "h" + region, Action: "run", Reason: "held", Trigger: "t1795806000", Policy: "dev-hours", Region: region, Instance: "_"}); err != nil {
				t.Fatal(err)
			}
		}
		after(time.Minute)
		w.wantTitles("a", "dev-hours@2026-11-27T19:00 waits for approval: 6 actions, mode is ask")
	})
}

// TestAFailedRunIsOneMessageWhenAllItsRegionsHaveEnded, and its held part, which
// may wait for long, holds it up no more than it is told of.
func TestAFailedRunIsOneMessageWhenAllItsRegionsHaveEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.begin("a")
		w.store(run("t1795806000", "lon1", time.Time{}, "1", "2", "3"))
		w.store(run("t1795806000", "nyc1", time.Time{}, "4", "5"))
		w.store(run("t1795806000", "nyc1", time.Now().Add(2*time.Hour), "6"))
		w.outcome(events.Failed, "lon1", "1", "capacity")
		w.outcome(events.Failed, "lon1", "2", "capacity")
		w.outcome(events.Done, "lon1", "3", "")
		w.outcome(events.Failed, "nyc1", "4", "quota")
		after(3 * time.Hour) // longer than a message is tried: the run has not ended
		w.wantTitles("a")
		w.outcome(events.Done, "nyc1", "5", "")
		after(time.Minute)
		w.wantTitles("a", "dev-hours@2026-11-27T19:00: 2 done, 3 failed: 2 capacity and 1 quota")
		w.outcome(events.Expired, "nyc1", "6", "")
		after(time.Minute)
		w.wantTitles("a", "dev-hours@2026-11-27T19:00: 2 done, 3 failed: 2 capacity and 1 quota", "dev-hours@2026-11-27T19:00: 2 done, 3 failed: 2 capacity and 1 quota, 1 expired")
	})
}

func TestATargetHearsOfWhatItAsksFor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		n := w.begin("a", "b")
		s, _ := n.current()
		s.Targets[0].About = []string{Failed}
		s.Targets[1].URL = func() (string, error) { return "", errors.New("not set") }
		n.Replace(s)
		synctest.Wait()
		w.store(run("t1795806000", "lon1", time.Now().Add(2*time.Hour), "1"))
		if err := w.bus.PublishNoticed(t.Context(), events.Record{ActionID: "h", Action: "run", Reason: "held", Trigger: "t1795806000", Region: "lon1", Instance: "_"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.bus.PublishOutcome(t.Context(), events.Record{ActionID: "s", Action: "notify", Outcome: events.Done, Trigger: "x", Policy: "web-down", Why: "alert A", Region: "lon1", Instance: "i-1", Hostname: "web-1", To: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.wantTitles("a", "web-down: web-1 needs somebody: alert A")
		w.wantTitles("b")
	})
}

// TestAWebhookIsNeverShown not in logs, events or what is stored, whatever goes wrong.
func TestAWebhookIsNeverShown(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.h.answer[pathOf("a")] = func(n int) (int, http.Header) { return []int{0, 404, 302}[n%3], http.Header{"Location": {secret}} }
		w.begin("a")
		w.warnOf("1", time.Now().Add(5*time.Hour), "a")
		after(2 * time.Hour)
		var all strings.Builder
		for _, e := range w.logs.All() {
			fmt.Fprintln(&all, e.Message, e.ContextMap())
		}
		for rec, err := range w.bus.Records(w.t.Context(), "", time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&all, "%+v\n", rec)
		}
		if !strings.Contains(all.String(), "answered 404: no such hook (secret)") || !strings.Contains(all.String(), "answered 302") {
			t.Errorf("the reasons are not told:\n%s", all.String())
		}
		for _, part := range []string{"hush", "hooks.example.com", "T000"} {
			if strings.Contains(all.String(), part) {
				t.Errorf("%s is shown:\n%s", part, all.String())
			}
		}
	})
}

func TestHush(t *testing.T) {
	for address, text := range map[string]string{
		secret: `Post "` + secret + `": x`,
		"https://user:hushhush@h.example.com/?token=hush-hush": "refused by h.example.com: hushhush hush-hush",
		"http://127.0.0.1:99/hook%2Fhush":                      "dial tcp 127.0.0.1:99: hook/hush hook%2Fhush",
	} {
		for _, err := range []error{errors.New(text), &url.Error{Op: "Post", URL: address, Err: errors.New(text)}} {
			if got := hush(err, address).Error(); strings.Contains(got, "hush") || strings.Contains(got, "example.com") {
				t.Errorf("%s", got)
			}
		}
	}
}
