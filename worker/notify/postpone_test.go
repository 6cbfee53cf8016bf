package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/events"
)

// answering serves the control service's keep and find beside a test.
func (w *world) answering(kept *[]map[string]string, refusal error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	endpoint := func(name string, handle func(map[string]string) (any, error)) events.Endpoint {
		return events.Endpoint{Name: name, About: name, Handle: func(_ context.Context, r events.Request) (any, error) {
			var q map[string]string
			if err := json.Unmarshal(r.Body, &q); err != nil {
				return nil, err
			}
			return handle(q)
		}}
	}
	keep := endpoint("keep", func(q map[string]string) (any, error) { *kept = append(*kept, q); return map[string]string{}, refusal })
	keep.Subject = "*" // the name of who asks
	go func() {        // until stop
		done <- w.bus.Serve(ctx, "1.0.0", []events.Endpoint{
			keep,
			endpoint("find", func(map[string]string) (any, error) {
				return map[string]any{"found": []map[string]string{{"hostname": "dev-<1>"}}}, nil
			}),
		})
	}()
	w.stop = append(w.stop, func() { stop(); <-done })
	synctest.Wait()
}

func TestLinks(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var kept []map[string]string
		w.answering(&kept, nil)
		n := w.begin("a")
		at := time.Now().Add(15 * time.Minute)
		w.warnOf("1", at, "a")
		after(time.Second)
		var m Message
		if err := json.Unmarshal([]byte(w.h.bodies[pathOf("a")][0]), &m); err != nil {
			t.Fatal(err)
		}
		link, err := url.Parse(m.Instances[0].Postpone)
		if err != nil {
			t.Fatal(err)
		}
		ask := func(method string, q url.Values) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			n.Handler().ServeHTTP(rec, httptest.NewRequest(method, PostponePath+"?"+q.Encode(), nil))
			return rec
		}
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			rec := ask(method, link.Query())
			if want := method == http.MethodGet || method == http.MethodHead; (rec.Code == http.StatusOK) != want {
				t.Errorf("%s: %d", method, rec.Code)
			}
		}
		for _, name := range []string{"instance", "region", "until", "expires", "sig"} {
			for _, value := range []string{"", "1", "9999999999", link.Query().Get(name) + "0", "-1", strings.Repeat("9", 1000)} {
				q := link.Query()
				q.Set(name, value)
				if rec := ask(http.MethodPost, q); rec.Code != http.StatusForbidden {
					t.Errorf("%s=%s: %d", name, value, rec.Code)
				}
			}
		}
		if len(kept) != 0 {
			t.Fatalf("kept without a right: %v", kept)
		}
		rec := ask(http.MethodGet, link.Query())
		if body := rec.Body.String(); !strings.Contains(body, "Keep dev-&lt;1&gt; running?") || !strings.Contains(body, `<form method="post">`) {
			t.Errorf("the page is %s", body)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
			if got := rec.Header().Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		// A replica that was started later knows the same key.
		other := New(w.bus, Settings{}, Options{})
		rec = httptest.NewRecorder()
		other.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, link.RequestURI(), nil))
		want := map[string]string{"instance": "i-1", "region": "LON1", "state": "running", "until": at.Add(2 * time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)}
		if rec.Code != http.StatusOK || len(kept) != 1 {
			t.Fatalf("%d %s, kept %v", rec.Code, rec.Body, kept)
		}
		for k, v := range want {
			if kept[0][k] != v {
				t.Errorf("%s is %q, want %q", k, kept[0][k], v)
			}
		}
		after(29 * time.Minute)
		if rec := ask(http.MethodPost, link.Query()); rec.Code != http.StatusOK {
			t.Errorf("within the grace: %d", rec.Code)
		}
		after(2 * time.Minute)
		if rec := ask(http.MethodPost, link.Query()); rec.Code != http.StatusGone || len(kept) != 2 {
			t.Errorf("after the grace: %d", rec.Code)
		}
	})
}

func TestARefusalIsShown(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var kept []map[string]string
		n := w.begin()
		key, err := n.signingKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l := link{instance: "i-1", region: "lon1", until: time.Now().Add(time.Hour), expires: time.Now().Add(time.Hour)}
		ask := func() *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			n.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, l.path(key), nil))
			return rec
		}
		if rec := ask(); rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "nothing has changed") {
			t.Errorf("without a daemon: %d %s", rec.Code, rec.Body)
		}
		w.answering(&kept, events.Refuse(409, "dev-1 is never touched: it matches protect"))
		if rec := ask(); rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "it matches protect") {
			t.Errorf("refused: %d %s", rec.Code, rec.Body)
		}
	})
}
