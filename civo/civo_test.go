package civo_test

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"nightshift/civo"
	"nightshift/civo/civosim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "t0ken-that-must-not-show"

func client(t testing.TB, url string, o civo.Options) *civo.Client {
	t.Helper()
	o.BaseURL = url
	if o.Rate == 0 {
		o.Rate = 10_000
	}
	c, err := civo.New(token, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// inSim runs a test in a bubble, against the simulator without sockets.
func inSim(t *testing.T, o civosim.Options, test func(t *testing.T, c *civo.Client, sim *civosim.Sim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o.Regions == nil {
			o.Regions = []string{"LON1", "NYC1"}
		}
		sim := civosim.New(o)
		test(t, client(t, "http://civo.test", civo.Options{HTTPClient: &http.Client{Transport: sim.Transport()}}), sim)
	})
}

var one = []civosim.Machine{{ID: "11111111-0000-4000-8000-000000000001", Hostname: "a", Region: "LON1", Tags: []string{"x", "y"}}}

const id1 = "11111111-0000-4000-8000-000000000001"

// TestThePagesSamplesDecode reads the JSON samples of civo.com/api/instances,
// verbatim, with the client's types.
func TestThePagesSamplesDecode(t *testing.T) {
	paths, err := filepath.Glob("testdata/page/*.json")
	if err != nil || len(paths) < 9 {
		t.Fatalf("%d samples, %v", len(paths), err)
	}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
		c := client(t, server.URL, civo.Options{HTTPClient: server.Client()})
		var got civo.Instance
		switch name := strings.TrimSuffix(filepath.Base(path), ".json"); name {
		case "list-instances":
			var list []civo.Instance
			if list, err = c.ListInstances(t.Context(), "LON1"); err == nil && len(list) == 1 {
				got = list[0]
			}
		case "create-an-instance":
			got, err = c.Create(t.Context(), "LON1", civo.CreateOptions{Hostname: "test", Size: "g3.small", NetworkID: "n", TemplateID: "t"})
		case "retrieving-an-instance":
			got, err = c.Instance(t.Context(), "LON1", "779d651a-8e10-4019-9cc0-448451d16157")
		case "setting-the-firewall-for-an-instance":
			err = c.SetFirewall(t.Context(), "LON1", "i", "f")
		case "retagging-an-instance":
			err = c.Retag(t.Context(), "LON1", "i", []string{"a"})
		case "upgrading-resizing-an-instance":
			err = c.Resize(t.Context(), "LON1", "i", "g3.large")
		case "rebooting-an-instance":
			err = errors.Join(c.HardReboot(t.Context(), "LON1", "i"), c.SoftReboot(t.Context(), "LON1", "i"))
		case "deleting-an-instance":
			err = c.Delete(t.Context(), "LON1", "i")
		default:
			err = errors.Join(c.Stop(t.Context(), "LON1", "i"), c.Start(t.Context(), "LON1", "i"))
		}
		server.Close()
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if got.ID != "" && (got.ID != "779d651a-8e10-4019-9cc0-448451d16157" || got.RAMMB != 2048 || !slices.Equal(got.Tags, []string{"first", "second"}) || got.InitialPassword.Reveal() != "foobar") {
			t.Errorf("%s: decoded as %+v", path, got)
		}
	}
}

// TestWhatIsSent compares each operation's request with the page: method, path,
// the region in the query and the body, form fields, headers.
func TestWhatIsSent(t *testing.T) {
	var got *http.Request
	var form url.Values
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ = url.ParseQuery(string(body))
		got = r
		_, _ = w.Write([]byte(`{"result":"success","items":[],"pages":1}`))
	}))
	defer server.Close()
	c := client(t, server.URL+"/", civo.Options{HTTPClient: server.Client(), Version: "1.2.3"})
	for _, tt := range []struct {
		name, want, form string
		call             func() error
	}{
		{"list", "GET /v2/instances?page=1&per_page=7&region=LON1&tags=a+b", "", func() error {
			for _, err := range c.Instances(t.Context(), "LON1", civo.ListOptions{Tags: []string{"a", "b"}, PerPage: 7}) {
				return err
			}
			return nil
		}},
		{"get", "GET /v2/instances/i?region=LON1", "", func() error { _, err := c.Instance(t.Context(), "LON1", "i"); return err }},
		{"retag", "PUT /v2/instances/i/tags?region=LON1", "region=LON1&tags=a+b", func() error { return c.Retag(t.Context(), "LON1", "i", []string{"a", "b"}) }},
		{"untag", "PUT /v2/instances/i/tags?region=LON1", "region=LON1&tags=", func() error { return c.Retag(t.Context(), "LON1", "i", nil) }},
		{"hard reboot", "POST /v2/instances/i/hard_reboots?region=LON1", "", func() error { return c.HardReboot(t.Context(), "LON1", "i") }},
		{"soft reboot", "POST /v2/instances/i/soft_reboots?region=LON1", "", func() error { return c.SoftReboot(t.Context(), "LON1", "i") }},
		{"stop", "PUT /v2/instances/i/stop?region=LON1", "", func() error { return c.Stop(t.Context(), "LON1", "i") }},
		{"start", "PUT /v2/instances/i/start?region=LON1", "", func() error { return c.Start(t.Context(), "LON1", "i") }},
		{"resize", "PUT /v2/instances/i/resize?region=LON1", "region=LON1&size=g3.large", func() error { return c.Resize(t.Context(), "LON1", "i", "g3.large") }},
		{"firewall", "PUT /v2/instances/i/firewall?region=LON1", "firewall_id=f&region=LON1", func() error { return c.SetFirewall(t.Context(), "LON1", "i", "f") }},
		{"delete", "DELETE /v2/instances/i?region=LON1", "", func() error { return c.Delete(t.Context(), "LON1", "i") }},
		{"create", "POST /v2/instances?region=LON1", "hostname=h&network_id=n&region=LON1&size=g3.small&tags=a+b&template_id=t", func() error {
			_, err := c.Create(t.Context(), "LON1", civo.CreateOptions{Hostname: "h", Size: "g3.small", NetworkID: "n", TemplateID: "t", Tags: []string{"a", "b"}})
			return err
		}},
	} {
		if err := tt.call(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if line := got.Method + " " + got.URL.RequestURI(); line != tt.want || form.Encode() != tt.form {
			t.Errorf("%s: sent %s with %q, want %s with %q", tt.name, line, form.Encode(), tt.want, tt.form)
		}
		if got.Header.Get("Authorization") != "bearer "+token || got.UserAgent() != "nightshift/1.2.3" {
			t.Errorf("%s: headers %v", tt.name, got.Header)
		}
	}
}

func TestErrorsSayWhatTheyAre(t *testing.T) {
	for _, tt := range []struct {
		name        string
		status      int
		contentType string
		body        string
		kind        error
		text        string
	}{
		{"not found", 404, "", `{"code":"database_instance_find","reason":"Failed to find the instance"}`, civo.ErrNotFound, "Failed to find the instance (database_instance_find), HTTP 404"},
		{"bad key", 401, "", `{"result":"requires_authentication"}`, civo.ErrUnauthorized, "requires_authentication"},
		{"bad key, the provider's form", 404, "", `{"code":"database_account_not_found","reason":"x"}`, civo.ErrUnauthorized, "x"},
		{"forbidden", 403, "", `{}`, civo.ErrForbidden, "forbidden"},
		{"quota", 403, "", `{"code":"quota_limit_reached","reason":"8 CPU cores"}`, civo.ErrQuota, "8 CPU cores"},
		{"capacity", 500, "", `{"code":"out_of_capacity","reason":"full"}`, civo.ErrCapacity, "full"},
		{"busy", 400, "", `{"code":"instance_state_must_be_active_or_shutoff","reason":"x"}`, civo.ErrBusy, "x"},
		{"parameters", 400, "", `{"code":"parameter_size_missing","reason":"x"}`, civo.ErrInvalid, "x"},
		{"back end", 500, "", `{"code":"openstack_instance_stop","reason":"x"}`, civo.ErrUnavailable, "x"},
		{"numeric status", 500, "", `{"status":500}`, civo.ErrUnavailable, "HTTP 500"},
		{"null reason", 400, "", `{"code":null,"reason":null,"details":null}`, civo.ErrInvalid, "HTTP 400"},
		{"numbers where texts belong", 400, "", `{"code":1,"reason":{},"details":[]}`, civo.ErrInvalid, "HTTP 400"},
		{"a proxy's page", 504, "text/html", "<html><h1>504</h1></html>", civo.ErrUnavailable, "a web page, HTTP 504"},
		{"plain text", 404, "text/plain", "404 page not found", civo.ErrNotFound, `"404 page not found"`},
		{"nothing", 502, "", "", civo.ErrUnavailable, "empty answer, HTTP 502"},
		{"a redirect", 302, "", "", civo.ErrInvalid, "HTTP 302"},
		{"success that is no JSON", 200, "", "<html>", civo.ErrUnavailable, "decode the answer"},
		{"a list without items", 200, "", "{}", civo.ErrUnavailable, "has no items"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if tt.contentType != "" {
					w.Header().Set("Content-Type", tt.contentType)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond) // too short for a second attempt
			defer cancel()
			_, err := client(t, server.URL, civo.Options{HTTPClient: server.Client()}).ListInstances(ctx, "LON1")
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), token) {
				t.Errorf("got %v, want %v with %q", err, tt.kind, tt.text)
			}
			var e *civo.Error
			if !errors.As(err, &e) || e.Region != "LON1" || e.Op != "list instances" {
				t.Errorf("got %#v", e)
			}
		})
	}
}

func TestWhatMayBeSentAgain(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	for _, tt := range []struct {
		method string
		status int
		err    error
		want   bool
	}{
		{"GET", 500, nil, true}, {"GET", 503, nil, true}, {"GET", 429, nil, true}, {"GET", 404, nil, false}, {"GET", 0, io.ErrUnexpectedEOF, true},
		{"PUT", 500, nil, true}, {"PUT", 504, nil, true}, {"PUT", 400, nil, false}, {"PUT", 0, io.ErrUnexpectedEOF, true},
		{"POST", 500, nil, false}, {"POST", 504, nil, false}, {"POST", 429, nil, true}, {"POST", 0, io.ErrUnexpectedEOF, false}, {"POST", 0, dial, true},
		{"DELETE", 500, nil, false}, {"DELETE", 429, nil, true}, {"DELETE", 0, io.ErrUnexpectedEOF, false}, {"DELETE", 0, dial, true},
		{"GET", 0, context.Canceled, false}, {"GET", 0, context.DeadlineExceeded, false},
	} {
		if got := civo.Retry(tt.method, tt.status, tt.err); got != tt.want {
			t.Errorf("%s %d %v: got %v, want %v", tt.method, tt.status, tt.err, got, tt.want)
		}
	}
}

func TestAnActIsNeverSentTwiceWhenItsAnswerIsLost(t *testing.T) {
	for _, kind := range []civosim.FaultKind{civosim.CutAfter, civosim.CutBefore, civosim.HTML504, civosim.ServerError} {
		t.Run(string(kind), func(t *testing.T) {
			inSim(t, civosim.Options{Fleet: one}, func(t *testing.T, c *civo.Client, sim *civosim.Sim) {
				for op, call := range map[string]func() error{
					"soft_reboot": func() error { return c.SoftReboot(t.Context(), "LON1", id1) },
					"create": func() error {
						nets, _ := c.Networks(t.Context(), "LON1")
						images, _ := c.DiskImages(t.Context(), "LON1")
						_, err := c.Create(t.Context(), "LON1", civo.CreateOptions{Hostname: "n", Size: "g3.small", NetworkID: nets[0].ID, TemplateID: images[0].ID})
						return err
					},
				} {
					sim.Inject(civosim.Fault{Op: op, Kind: kind, Count: 1})
					if err := call(); !errors.Is(err, civo.ErrAmbiguous) || civo.NotSent(err) {
						t.Errorf("%s: got %v, want ambiguous", op, err)
					}
					n := 0
					for _, r := range sim.Requests() {
						if r.Op == op {
							n++
						}
					}
					if n != 1 {
						t.Errorf("%s was sent %d times", op, n)
					}
				}
			})
		})
	}
}

func TestA429IsWaitedForAsLongAsItSays(t *testing.T) {
	inSim(t, civosim.Options{Fleet: one}, func(t *testing.T, c *civo.Client, sim *civosim.Sim) {
		sim.Inject(civosim.Fault{Op: "soft_reboot", Kind: civosim.RateLimited, RetryAfter: 7 * time.Second, Count: 2})
		began := time.Now()
		if err := c.SoftReboot(t.Context(), "LON1", id1); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < 14*time.Second || waited > 16*time.Second {
			t.Errorf("waited %s, want 2 × 7 s", waited)
		}
		sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.RateLimited, RetryAfter: time.Minute, Count: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began = time.Now()
		var e *civo.Error
		if err := c.Stop(ctx, "LON1", id1); !errors.Is(err, civo.ErrRateLimited) || !errors.As(err, &e) || e.RetryAfter != time.Minute {
			t.Errorf("got %v, want rate limited with its minute", err)
		}
		if time.Since(began) > time.Second {
			t.Error("a wait was begun that could not end before the deadline")
		}
	})
}

func TestACallThatIsTurnedAwayTellsOfAnAttemptBeforeThatMayHaveBeenCarriedOut(t *testing.T) {
	inSim(t, civosim.Options{Fleet: one}, func(t *testing.T, c *civo.Client, sim *civosim.Sim) {
		for _, first := range []civosim.FaultKind{civosim.CutAfter, civosim.ServerError, civosim.RateLimited} {
			sim.ClearFaults()
			sim.Inject(civosim.Fault{Op: "stop", Kind: first, Count: 1})
			sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.RateLimited, RetryAfter: time.Minute, Count: 1})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			err := c.Stop(ctx, "LON1", id1)
			cancel()
			var e *civo.Error
			if !errors.Is(err, civo.ErrRateLimited) || !errors.As(err, &e) || e.Unclear != (first != civosim.RateLimited) {
				t.Errorf("after %v: %v, unclear %t", first, err, e != nil && e.Unclear)
			}
			time.Sleep(2 * time.Minute) // until the client may ask again
		}
	})
}

func TestASilentServerCostsAnAttemptNotTheCall(t *testing.T) {
	inSim(t, civosim.Options{Fleet: one}, func(t *testing.T, _ *civo.Client, sim *civosim.Sim) {
		var calls atomic.Int32
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			if calls.Add(1) == 1 {
				<-r.Context().Done() // says nothing
				return nil, r.Context().Err()
			}
			return sim.Transport().RoundTrip(r)
		})
		c := client(t, "http://civo.test", civo.Options{HTTPClient: &http.Client{Transport: transport}, Timeout: 3 * time.Second})
		began := time.Now()
		if err := c.Stop(t.Context(), "LON1", id1); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheRateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := civosim.New(civosim.Options{Fleet: one})
		c := client(t, "http://civo.test", civo.Options{HTTPClient: &http.Client{Transport: sim.Transport()}, Rate: 5})
		began := time.Now()
		for range 25 {
			if _, err := c.Instance(t.Context(), "LON1", id1); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 4*time.Second || took > 5*time.Second {
			t.Errorf("25 requests at 5/s took %s, want 4 s after a burst of 5", took)
		}
	})
}

// TestAListBearsASetThatChangesBetweenPages moves instances from one page to
// another while they are read: none is lost, none is seen twice.
func TestAListBearsASetThatChangesBetweenPages(t *testing.T) {
	for _, size := range []int{9, 10} { // with 9 the number of pages stays the same
		t.Run(strconv.Itoa(size), func(t *testing.T) { listWhileOneIsDeleted(t, size) })
	}
}

func listWhileOneIsDeleted(t *testing.T, size int) {
	all := make([]string, size)
	for i := range all {
		all[i] = fmt.Sprintf("i%d", i)
	}
	reads := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		if reads++; reads == 2 { // the first instance is deleted: all others move up by one
			all = all[1:]
		}
		var items []map[string]string
		for _, id := range all[min(len(all), 3*(page-1)):min(len(all), 3*page)] {
			items = append(items, map[string]string{"id": id})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"page": page, "pages": (len(all) + 2) / 3, "items": items})
	}))
	defer server.Close()
	var got []string
	for i, err := range client(t, server.URL, civo.Options{HTTPClient: server.Client()}).Instances(t.Context(), "LON1", civo.ListOptions{PerPage: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, i.ID)
	}
	slices.Sort(got)
	if want := []string{"i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9"}[:size]; !slices.Equal(got, want) {
		t.Errorf("got %v, want each once", got)
	}
}

func TestSecretsPrintAsRedacted(t *testing.T) {
	var i civo.Instance
	if err := json.Unmarshal([]byte(`{"id":"x","initial_password":"hunter2","civostatsd_token":"hunter3","cpu_cores":"2","created_at":"","tags":null}`), &i); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(i), fmt.Sprintf("%+v", i), fmt.Sprintf("%#v", i), string(body)} {
		if strings.Contains(text, "hunter") {
			t.Errorf("a secret is in %s", text)
		}
	}
	if i.InitialPassword.Reveal() != "hunter2" || i.CPUCores != 2 {
		t.Errorf("got %+v", i)
	}
}

func TestWhatIsRefusedBeforeSending(t *testing.T) {
	c := client(t, "http://127.0.0.1:1", civo.Options{})
	for name, err := range map[string]error{
		"a blank firewall":  c.SetFirewall(t.Context(), "LON1", "i", " "),
		"no id":             c.Stop(t.Context(), "LON1", ""),
		"no region":         c.Stop(t.Context(), "", "i"),
		"no size":           c.Resize(t.Context(), "LON1", "i", ""),
		"a tag with blanks": c.Retag(t.Context(), "LON1", "i", []string{"a b"}),
	} {
		if !errors.Is(err, civo.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, bad := range []struct {
		token string
		o     civo.Options
	}{{"", civo.Options{}}, {"a b", civo.Options{}}, {"x", civo.Options{BaseURL: "ftp://x"}}, {"x", civo.Options{BaseURL: "::"}}, {"x", civo.Options{Rate: -1}}} {
		if _, err := civo.New(bad.token, bad.o); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestNothingListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = client(t, "http://"+addr, civo.Options{}).HardReboot(ctx, "LON1", "i")
	if !errors.Is(err, civo.ErrUnavailable) || !civo.NotSent(err) {
		t.Errorf("got %v, want unavailable and certainly not sent", err)
	}
}

func FuzzInstance(f *testing.F) {
	f.Add([]byte(`{"id":"x","cpu_cores":"2","created_at":"2026-01-01T00:00:00Z","tags":["a"],"public_ip":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var i civo.Instance
		if json.Unmarshal(data, &i) != nil {
			return
		}
		again, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		var j civo.Instance
		if err := json.Unmarshal(again, &j); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	for _, s := range []string{`{"code":"x","reason":"y"}`, `{"status":500}`, `<html>`, ``, `null`, `[]`, `{"code":[1]}`} {
		f.Add(400, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 300 || status > 999 || status == 429 {
			return
		}
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body))), Request: r}, nil
		})
		err := client(t, "http://civo.test", civo.Options{HTTPClient: &http.Client{Transport: transport}}).Delete(t.Context(), "LON1", "i")
		var e *civo.Error
		if !errors.As(err, &e) || e.Error() == "" || e.Status != status {
			t.Fatalf("%d %q: %v", status, body, err)
		}
	})
}

func BenchmarkCall(b *testing.B) {
	sim := civosim.New(civosim.Options{Fleet: one})
	b.Run("nightshift", func(b *testing.B) {
		c := client(b, "http://civo.test", civo.Options{HTTPClient: &http.Client{Transport: sim.Transport()}, Rate: 1e9})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Instance(b.Context(), "LON1", id1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		c := &http.Client{Transport: sim.Transport()}
		b.ReportAllocs()
		for b.Loop() {
			req, _ := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://civo.test/v2/instances/"+id1+"?region=LON1", nil)
			req.Header.Set("Authorization", "bearer "+token)
			resp, err := c.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			var i civo.Instance
			if err := json.NewDecoder(resp.Body).Decode(&i); err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	})
}

func TestATokenFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".civo.json")
	save := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		stamp := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC).Add(age)
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	source := civo.TokenFile(path)
	if _, err := source(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	for n, tt := range []struct{ text, want, fault string }{
		{`{"apikeys":{"a":"one","b":"two"},"meta":{"current_apikey":"b"}}`, "two", ""},
		{"plain-token\n", "plain-token", ""},
		{`{"apikeys":{"a":"one"},"meta":{"current_apikey":"b"}}`, "", "no key under the name"},
		{`{"apikeys":{"a":"s3cret"},`, "", "not the official CLI's JSON"},
		{`{"apikeys":{"a":"one"}}`, "", "no current_apikey"},
		{"", "", "no API token"},
	} {
		save(tt.text, time.Duration(n)*time.Minute)
		got, err := source()
		if got != tt.want || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: got %q, %v", tt.text, got, err)
		}
	}
}

func TestATokenIsRotatedWithoutARestart(t *testing.T) {
	inSim(t, civosim.Options{Fleet: one, Token: "new"}, func(t *testing.T, _ *civo.Client, sim *civosim.Sim) {
		now := "old"
		c, err := civo.New("", civo.Options{BaseURL: "http://civo.test", HTTPClient: &http.Client{Transport: sim.Transport()}, Tokens: func() (string, error) { return now, nil }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Instance(t.Context(), "LON1", id1); !errors.Is(err, civo.ErrUnauthorized) {
			t.Errorf("with the old token: %v", err)
		}
		now = "new"
		if _, err := c.Instance(t.Context(), "LON1", id1); err != nil {
			t.Errorf("with the new one: %v", err)
		}
	})
}

func TestWhereTheTokenIsLookedFor(t *testing.T) {
	home, other := t.TempDir(), filepath.Join(t.TempDir(), "t")
	if err := os.WriteFile(other, []byte("from-file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": home, "CIVO_TOKEN": "env", "CIVO_CREDENTIAL_FILE": other}, "env"},
		{map[string]string{"HOME": home, "CIVO_CREDENTIAL_FILE": other}, "from-file"},
		{map[string]string{"HOME": home, "CIVO_CONFIG": other}, "from-file"},
		{map[string]string{"HOME": home}, ""},
	} {
		source, err := civo.DefaultToken(func(name string) string { return tt.env[name] })
		if tt.want == "" {
			if err == nil || !strings.Contains(err.Error(), "CIVO_TOKEN") {
				t.Errorf("%v: got %v", tt.env, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := source(); got != tt.want || err != nil {
			t.Errorf("%v: got %q, %v", tt.env, got, err)
		}
	}
}

func TestTheRateHalvesOnA429AndGrowsBackSlowly(t *testing.T) {
	inSim(t, civosim.Options{Fleet: one}, func(t *testing.T, _ *civo.Client, sim *civosim.Sim) {
		c := client(t, "http://civo.test", civo.Options{HTTPClient: &http.Client{Transport: sim.Transport()}, Rate: 8})
		sim.Inject(civosim.Fault{Op: "get", Kind: civosim.RateLimited, RetryAfter: 3 * time.Second, Count: 1})
		began := time.Now()
		if _, err := c.Instance(t.Context(), "LON1", id1); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < 3*time.Second {
			t.Errorf("waited %s, want the Retry-After of 3 s", waited)
		}
		s := c.RateState()
		if s.Rate < 4 || s.Rate > 4.5 || s.Configured != 8 || s.Refused != 1 || s.Passed != 2 {
			t.Errorf("after a 429: %+v", s)
		}
		time.Sleep(time.Hour) // of the bubble
		if _, err := c.Instance(t.Context(), "LON1", id1); err != nil {
			t.Fatal(err)
		}
		if s := c.RateState(); s.Rate != 8 {
			t.Errorf("an hour later the rate is %g, want 8 again", s.Rate)
		}
	})
}

func TestActionsGoBeforeReads(t *testing.T) {
	inSim(t, civosim.Options{Fleet: one}, func(t *testing.T, _ *civo.Client, sim *civosim.Sim) {
		c := client(t, "http://civo.test", civo.Options{HTTPClient: &http.Client{Transport: sim.Transport()}, Rate: 1})
		done := make(chan struct{})
		for range 10 {
			go func() { // until its read has come
				_, _ = c.Instance(t.Context(), "LON1", id1)
				done <- struct{}{}
			}()
		}
		synctest.Wait()
		began := time.Now()
		if err := c.Retag(t.Context(), "LON1", id1, []string{"a"}); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > 2*time.Second {
			t.Errorf("an action waited %s behind reads", waited)
		}
		for range 10 {
			<-done
		}
	})
}

func TestOneListServesAllThatWait(t *testing.T) {
	var fleet []civosim.Machine
	for i := range 50 {
		fleet = append(fleet, civosim.Machine{ID: fmt.Sprintf("11111111-0000-4000-8000-%012d", i), Hostname: "a", Region: "LON1"})
	}
	inSim(t, civosim.Options{Fleet: fleet, Delay: 10 * time.Second}, func(t *testing.T, c *civo.Client, sim *civosim.Sim) {
		w := civo.NewWaiter(c, 2*time.Second)
		ended := make(chan error)
		for _, m := range fleet {
			if err := c.Stop(t.Context(), "LON1", m.ID); err != nil {
				t.Fatal(err)
			}
			go func() { // until the instance is off
				_, err := w.Wait(t.Context(), "LON1", m.ID, func(i civo.Instance) bool { return i.Status == civo.StatusShutoff })
				ended <- err
			}()
		}
		for range fleet {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		lists := 0
		for _, r := range sim.Requests() {
			if r.Op == "list" {
				lists++
			}
		}
		if lists > 8 {
			t.Errorf("%d lists for 50 waiters over 10 s at one in 2 s", lists)
		}
		sim.Remove(fleet[0].ID)
		if _, err := w.Wait(t.Context(), "LON1", fleet[0].ID, func(civo.Instance) bool { return true }); !errors.Is(err, civo.ErrGone) {
			t.Errorf("of one that is gone: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := w.Wait(ctx, "LON1", fleet[1].ID, func(i civo.Instance) bool { return i.Status == "NEVER" }); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "SHUTOFF") {
			t.Errorf("never reached: %v", err)
		}
	})
}

func TestALostCreateIsSettledByItsTag(t *testing.T) {
	for kind, exists := range map[civosim.FaultKind]bool{civosim.CutAfter: true, civosim.CutBefore: false} {
		inSim(t, civosim.Options{}, func(t *testing.T, c *civo.Client, sim *civosim.Sim) {
			nets, err := c.Networks(t.Context(), "LON1")
			if err != nil {
				t.Fatal(err)
			}
			images, err := c.DiskImages(t.Context(), "LON1")
			if err != nil {
				t.Fatal(err)
			}
			sim.Inject(civosim.Fault{Op: "create", Kind: kind})
			_, err = c.Create(t.Context(), "LON1", civo.CreateOptions{Hostname: "n", Size: "g3.small", NetworkID: nets[0].ID, TemplateID: images[0].ID, Tags: []string{"attempt-1"}})
			if !errors.Is(err, civo.ErrAmbiguous) {
				t.Fatalf("%s: %v", kind, err)
			}
			i, ok, err := c.SettleCreate(t.Context(), "LON1", "attempt-1")
			if err != nil || ok != exists || ok && i.Hostname != "n" {
				t.Errorf("%s: %+v %v %v", kind, i, ok, err)
			}
		})
	}
}

func TestTheNeighbours(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		inSim(t, civosim.Options{Fleet: one}, func(t *testing.T, _ *civo.Client, sim *civosim.Sim) {
			var traced []civo.Trace
			c := client(t, "http://civo.test", civo.Options{HTTPClient: &http.Client{Transport: sim.Transport()}, JSON: asJSON, Trace: func(tr civo.Trace) { traced = append(traced, tr) }})
			must := func(what string, err error) {
				t.Helper()
				if err != nil {
					t.Errorf("json %v, %s: %v", asJSON, what, err)
				}
			}
			_, err := c.SSHKeys(t.Context())
			must("keys", err)
			_, err = c.Quota(t.Context())
			must("quota", err)
			_, err = c.Sizes(t.Context(), "LON1")
			must("sizes", err)
			_, err = c.Volumes(t.Context(), "LON1")
			must("volumes", err)
			if err := c.AttachVolume(t.Context(), "LON1", "no-such", id1); err == nil {
				t.Error("a volume that is not there was attached")
			}
			if err := c.DetachVolume(t.Context(), "LON1", "no-such"); err == nil {
				t.Error("a volume that is not there was detached")
			}
			for _, err := range c.ReservedIPs(t.Context(), "LON1") {
				must("addresses", err)
			}
			if err := c.AssignIP(t.Context(), "LON1", "no-such", id1); err == nil {
				t.Error("an address that is not there was assigned")
			}
			notes, name := "kept for the audit", "b.example.com"
			must("update", c.Update(t.Context(), "LON1", id1, civo.Update{Notes: &notes}))
			must("update", c.Update(t.Context(), "LON1", id1, civo.Update{Hostname: &name}))
			must("update of nothing", c.Update(t.Context(), "LON1", id1, civo.Update{}))
			i, err := c.Instance(t.Context(), "LON1", id1)
			must("get", err)
			if i.Notes != notes || i.Hostname != name || !slices.Equal(i.Tags, []string{"x", "y"}) {
				t.Errorf("json %v: after two updates: %q %q %v", asJSON, i.Notes, i.Hostname, i.Tags)
			}
			empty := ""
			must("update", c.Update(t.Context(), "LON1", id1, civo.Update{Notes: &empty}))
			if i, _ = c.Instance(t.Context(), "LON1", id1); i.Notes != "" {
				t.Errorf("notes %q, want none", i.Notes)
			}
			must("retag", c.Retag(t.Context(), "LON1", id1, []string{"a", "b"}))
			must("stop", c.Stop(t.Context(), "LON1", id1))
			for _, err := range c.Actions(t.Context(), id1) {
				must("actions", err)
			}
			time.Sleep(3 * time.Hour) // of the bubble
			charges, err := c.Charges(t.Context(), time.Now().Add(-24*time.Hour), time.Now())
			must("charges", err)
			if len(charges) == 0 || charges[0].NumHours == 0 {
				t.Errorf("json %v: a stopped instance costs like a running one, charges are %+v", asJSON, charges)
			}
			if _, err := c.Charges(t.Context(), time.Now().Add(-40*24*time.Hour), time.Now()); !errors.Is(err, civo.ErrInvalid) {
				t.Errorf("charges of 40 days: %v", err)
			}
			h, err := c.CreateWebhook(t.Context(), "https://example.com/hook", []string{"instance.stopped", "instance.started"}, "hook-secret")
			must("webhook", err)
			if len(h.Events) != 2 || strings.Contains(fmt.Sprintf("%+v", h), "hook-secret") {
				t.Errorf("json %v: webhook %+v", asJSON, h)
			}
			all, err := c.Webhooks(t.Context())
			must("webhooks", err)
			if len(all) != 1 {
				t.Errorf("%d webhooks", len(all))
			}
			must("delete webhook", c.DeleteWebhook(t.Context(), h.ID))
			if len(traced) < 15 || traced[0].Status != 200 || traced[0].Attempt != 1 {
				t.Errorf("traced %+v", traced)
			}
		})
	}
}

func TestTheSignatureOfAWebhook(t *testing.T) {
	body := []byte(`{"event":"instance.stopped","resourceID":"x"}`)
	// echo -n BODY | openssl dgst -sha1 -hmac secret
	const signature = "b7367ac4354b3090bd707b66843be315913e4c66"
	if err := civo.VerifyWebhook("secret", body, signature); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another body":   civo.VerifyWebhook("secret", append(body, ' '), signature),
		"another secret": civo.VerifyWebhook("other", body, signature),
		"no signature":   civo.VerifyWebhook("secret", body, ""),
		"no hex":         civo.VerifyWebhook("secret", body, "zz"),
		"no secret":      civo.VerifyWebhook("", body, signature),
	} {
		if !errors.Is(err, civo.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkList lists 100,000 instances over one connection; retained is what
// stays of them beside the decoded fields.
func BenchmarkList(b *testing.B) {
	server := httptest.NewServer(civosim.New(civosim.Options{Fleet: []civosim.Machine{{Hostname: "dev-%d", Region: "LON1", Count: 100_000, Tags: []string{"env=dev", "team=a"}}}}))
	defer server.Close()
	var conns atomic.Int32
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	c := client(b, server.URL, civo.Options{})
	var list []civo.Instance
	var before, after runtime.MemStats
	for b.Loop() {
		list = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		var err error
		if list, err = c.ListInstances(b.Context(), "LON1"); err != nil || len(list) != 100_000 {
			b.Fatal(len(list), err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
	}
	fields := 0
	for _, i := range list {
		fields += int(unsafe.Sizeof(i)) + len(i.ID) + len(i.Name) + len(i.Hostname) + len(i.AccountID) + len(i.Region) + len(i.Size) + len(i.FirewallID) + len(i.SourceType) +
			len(i.SourceID) + len(i.TemplateID) + len(i.NetworkID) + len(i.InitialUser) + len(i.InitialPassword) + len(i.SSHKey) + len(i.SSHKeyID) + len(i.UserScript) + len(i.Script) +
			len(i.Status) + len(i.CivostatsdToken) + len(i.PublicIP) + len(i.PrivateIP) + len(i.Notes) + len(i.ReverseDNS)
		for _, t := range i.Tags {
			fields += len(t) + int(unsafe.Sizeof(t))
		}
	}
	b.ReportMetric(float64(int(after.HeapAlloc)-int(before.HeapAlloc)-fields)/float64(len(list)), "retained-B/instance")
	b.ReportMetric(float64(conns.Load()), "connections")
}

func TestADeleteWhoseAnswerIsLostIsLookedAt(t *testing.T) {
	for _, tt := range []struct {
		kind  civosim.FaultKind
		calls int
	}{{civosim.CutAfter, 1}, {civosim.CutBefore, 2}, {civosim.HTML504, 2}} {
		inSim(t, civosim.Options{Fleet: one, Delay: time.Minute}, func(t *testing.T, c *civo.Client, sim *civosim.Sim) {
			sim.Inject(civosim.Fault{Op: "delete", Kind: tt.kind})
			if err := c.Delete(t.Context(), "LON1", id1); err != nil {
				t.Errorf("%s: %v", tt.kind, err)
			}
			n := 0
			for _, r := range sim.Requests() {
				if r.Op == "delete" {
					n++
				}
			}
			if n != tt.calls {
				t.Errorf("%s: %d deletes were sent, want %d", tt.kind, n, tt.calls)
			}
			time.Sleep(time.Hour) // of the bubble
			if left := sim.Instances(); len(left) != 0 {
				t.Errorf("%s: still there: %+v", tt.kind, left)
			}
		})
	}
}

func TestACertificateOfOnesOwnAndGzip(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte(`[{"code":"LON1"}]`))
		_ = z.Close()
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the refused handshake below
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if _, err := client(t, server.URL, civo.Options{}).Regions(ctx); err == nil {
		t.Error("a certificate that nobody knows was trusted")
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := client(t, server.URL, civo.Options{RootCAs: roots})
	all, err := c.Regions(t.Context())
	if err != nil || len(all) != 1 || all[0].Code != "LON1" {
		t.Errorf("got %v, %v", all, err)
	}
	c.CloseIdleConnections()
}

func TestAnAnswerWithoutEndIsCutOff(t *testing.T) {
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(endless{}), Request: r}, nil
	})
	_, err := client(t, "http://civo.test", civo.Options{HTTPClient: &http.Client{Transport: transport}}).Regions(t.Context())
	if err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestVolumesAndAddressesComeAndGo attaches a volume and assigns an address that
// somebody made, and takes them away again.
func TestVolumesAndAddressesComeAndGo(t *testing.T) {
	inSim(t, civosim.Options{Fleet: one}, func(t *testing.T, c *civo.Client, sim *civosim.Sim) {
		post := func(path, form string) string {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://civo.test/v2"+path+"?region=LON1", strings.NewReader(form))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "bearer "+token)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := sim.Transport().RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			var made struct{ ID string }
			if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.ID == "" {
				t.Fatalf("POST %s: %v %v", path, resp.StatusCode, err)
			}
			return made.ID
		}
		nets, err := c.Networks(t.Context(), "LON1")
		if err != nil {
			t.Fatal(err)
		}
		volume := post("/volumes", "name=data&size_gb=10&network_id="+nets[0].ID)
		ip := post("/ips", "name=front")
		attached := func() string {
			t.Helper()
			all, err := c.Volumes(t.Context(), "LON1")
			if err != nil || len(all) != 1 || all[0].ID != volume || all[0].SizeGB != 10 {
				t.Fatalf("volumes %+v, %v", all, err)
			}
			return all[0].InstanceID
		}
		assigned := func() string {
			t.Helper()
			for a, err := range c.ReservedIPs(t.Context(), "LON1") {
				if err != nil || a.ID != ip || a.IP == "" {
					t.Fatalf("address %+v, %v", a, err)
				}
				return a.AssignedTo.ID
			}
			t.Fatal("no address")
			return ""
		}
		if err := errors.Join(c.AttachVolume(t.Context(), "LON1", volume, id1), c.AssignIP(t.Context(), "LON1", ip, id1)); err != nil {
			t.Fatal(err)
		}
		if attached() != id1 || assigned() != id1 {
			t.Errorf("volume at %q, address at %q, want both at the instance", attached(), assigned())
		}
		if err := errors.Join(c.DetachVolume(t.Context(), "LON1", volume), c.UnassignIP(t.Context(), "LON1", ip)); err != nil {
			t.Fatal(err)
		}
		if attached() != "" || assigned() != "" {
			t.Errorf("volume at %q, address at %q, want neither", attached(), assigned())
		}
	})
}
