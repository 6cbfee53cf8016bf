package civosim_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/civo/civosim"
)

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  civosim.Fault
		status int    // 0: the connection is cut
		body   string // part of the answer
		effect bool
	}{
		{"429", civosim.Fault{Kind: civosim.RateLimited}, 429, "Too Many", false},
		{"429 after the effect", civosim.Fault{Kind: civosim.RateLimited, After: true}, 429, "Too Many", true},
		{"500", civosim.Fault{Kind: civosim.ServerError}, 500, `"status":500`, false},
		{"500 after the effect", civosim.Fault{Kind: civosim.ServerError, After: true}, 500, `"status":500`, true},
		{"504", civosim.Fault{Kind: civosim.HTML504}, 504, "<html>", false},
		{"502", civosim.Fault{Kind: civosim.HTML502}, 502, "502 Bad Gateway", false},
		{"cut before", civosim.Fault{Kind: civosim.CutBefore}, 0, "", false},
		{"cut after", civosim.Fault{Kind: civosim.CutAfter}, 0, "", true},
		{"half an object", civosim.Fault{Kind: civosim.BadJSON}, 200, `{"result":"succ`, true},
		{"an empty body", civosim.Fault{Kind: civosim.EmptyBody}, 200, "", true},
		{"accepted, not done", civosim.Fault{Kind: civosim.AcceptedButNotDone}, 200, "success", false},
		{"unauthorized", civosim.Fault{Kind: civosim.Unauthorized}, 401, "requires_authentication", false},
		{"refused", civosim.Fault{Kind: civosim.Refused}, 409, "out_of_capacity", false},
		{"refused with a code", civosim.Fault{Kind: civosim.Refused, Code: "region_unavailable", Status: 503, Reason: "down"}, 503, `"reason":"down"`, false},
		{"slow", civosim.Fault{Kind: civosim.Slow, Delay: time.Nanosecond}, 200, "success", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := one(t, "ACTIVE", civosim.Options{})
			tt.fault.Op = "stop"
			s.sim.Inject(tt.fault)
			r, err := s.try("PUT", "/v2/instances/"+machineID+"/stop?region=lon1", "")
			if tt.status == 0 {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("got %v and %v, want a connection that is cut", r, err)
				}
			} else if err != nil || r.status != tt.status || !strings.Contains(r.body, tt.body) {
				t.Errorf("got %d %q and %v, want %d with %q", r.status, r.body, err, tt.status, tt.body)
			}
			want := civosim.Request{
				Time: s.clock.t, Method: "PUT", Path: "/v2/instances/" + machineID + "/stop", Op: "stop", Region: "LON1", Instance: machineID,
				Status: tt.status, Effect: tt.effect, Fault: tt.fault.Kind, Query: "region=lon1",
			}
			if got := s.sim.Requests(); len(got) != 1 || got[0] != want {
				t.Errorf("ledger: got %+v, want %+v", got, want)
			}
			status := map[bool]string{true: "STOPPING", false: "ACTIVE"}[tt.effect]
			s.wantStatus("LON1", machineID, status) // and the fault struck once only
		})
	}
}

func TestRetryAfterIsInWholeSeconds(t *testing.T) {
	for after, want := range map[time.Duration]string{0: "", time.Second: "1", 1500 * time.Millisecond: "2"} {
		s := one(t, "ACTIVE", civosim.Options{})
		s.sim.Inject(civosim.Fault{Kind: civosim.RateLimited, RetryAfter: after})
		if got := s.act("stop").header.Get("Retry-After"); got != want {
			t.Errorf("Retry-After for %v: got %q, want %q", after, got, want)
		}
	}
}

func TestTheRateOfTheAccount(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{Rate: 2})
	ask := func(want int) reply {
		t.Helper()
		r := s.send("GET", "/v2/quota", "")
		if r.status != want {
			t.Errorf("got %d, want %d", r.status, want)
		}
		return r
	}
	ask(200)
	ask(200)
	if got := ask(429).header.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After: got %q, want 1", got)
	}
	s.wait(500 * time.Millisecond)
	ask(200)
	ask(429)
	s.wait(time.Hour) // no more than the burst is saved up
	ask(200)
	ask(200)
	ask(429)
	if last := s.sim.Requests()[7]; last.Fault != civosim.RateLimited || last.Status != 429 {
		t.Errorf("ledger: got %+v, want it rate-limited", last)
	}
	slow := one(t, "ACTIVE", civosim.Options{Rate: 0.1})
	slow.accepted(slow.act("stop"))
	if r := slow.act("stop"); r.status != 429 || r.header.Get("Retry-After") != "10" {
		t.Errorf("got %d and %q, want 429 and 10", r.status, r.header.Get("Retry-After"))
	}
}

func TestWhomAFaultConcerns(t *testing.T) {
	stop, other := "/v2/instances/"+machineID+"/stop", "/v2/instances/"+machineID+"/soft_reboots"
	for _, tt := range []struct {
		name         string
		fault        civosim.Fault
		method, path string
		struck       bool
	}{
		{"any", civosim.Fault{}, "PUT", stop, true},
		{"any by a star", civosim.Fault{Op: "*"}, "PUT", stop, true},
		{"the operation", civosim.Fault{Op: "soft_reboot"}, "POST", other, true},
		{"another operation", civosim.Fault{Op: "soft_reboot"}, "PUT", stop, false},
		{"the region in any case", civosim.Fault{Region: "lon1"}, "PUT", stop, true},
		{"another region", civosim.Fault{Region: "NYC1"}, "PUT", stop, false},
		{"the instance", civosim.Fault{Instance: machineID}, "PUT", stop, true},
		{"another instance", civosim.Fault{Instance: "x"}, "PUT", stop, false},
		{"what has no region", civosim.Fault{Region: "LON1"}, "GET", "/v2/quota", false},
	} {
		s := one(t, "ACTIVE", civosim.Options{})
		tt.fault.Kind = civosim.ServerError
		s.sim.Inject(tt.fault)
		if r := s.send(tt.method, tt.path, ""); (r.status == 500) != tt.struck {
			t.Errorf("%s: got %d, want struck: %t", tt.name, r.status, tt.struck)
		}
		if left := len(s.sim.Faults()); (left == 0) != tt.struck {
			t.Errorf("%s: %d faults are left, want one only where none struck", tt.name, left)
		}
	}
}

func TestHowOftenAFaultStrikes(t *testing.T) {
	strikes := func(f civosim.Fault, seed uint64) (n int) {
		s := one(t, "ACTIVE", civosim.Options{Seed: seed})
		f.Kind = civosim.ServerError
		s.sim.Inject(f)
		for range 100 {
			if s.send("GET", "/v2/quota", "").status == 500 {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct{ count, want int }{{0, 1}, {1, 1}, {7, 7}, {-1, 100}} {
		if got := strikes(civosim.Fault{Count: tt.count}, 1); got != tt.want {
			t.Errorf("count %d: struck %d of 100, want %d", tt.count, got, tt.want)
		}
	}
	first := strikes(civosim.Fault{Count: -1, Probability: 0.3}, 7)
	if first < 10 || first > 50 {
		t.Errorf("probability 0.3: struck %d of 100", first)
	}
	if again := strikes(civosim.Fault{Count: -1, Probability: 0.3}, 7); again != first {
		t.Errorf("the same seed struck %d and %d times, want the same", first, again)
	}

	s := one(t, "ACTIVE", civosim.Options{})
	s.sim.Inject(civosim.Fault{Kind: civosim.ServerError, Count: -1})
	s.sim.ClearFaults()
	s.accepted(s.act("stop"))
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	for _, f := range []civosim.Fault{
		{}, {Kind: "flood"}, {Kind: civosim.Slow, Op: "explode"}, {Kind: civosim.Slow, Probability: 1.5}, {Kind: civosim.Slow, Delay: -1},
	} {
		if f.Check() == nil {
			t.Errorf("%+v passed, want an error", f)
		}
	}
}

func TestFaultsAsJSON(t *testing.T) {
	f := civosim.Fault{Op: "stop", Region: "LON1", Kind: civosim.RateLimited, Count: -1, Probability: 0.5, RetryAfter: 90 * time.Second, Delay: time.Second}
	data, err := json.Marshal(f)
	if err != nil || !strings.Contains(string(data), `"retry_after":"1m30s"`) {
		t.Fatalf("got %s and %v, want times as text", data, err)
	}
	var back civosim.Fault
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, f) {
		t.Errorf("got %+v and %v, want %+v", back, err, f)
	}
	for _, bad := range []string{`{"kind":"slow","delay":"soon"}`, `{"kind":"slow","color":1}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was read, want an error", bad)
		}
	}
}

func TestFaultsOnACommandLine(t *testing.T) {
	for text, want := range map[string]civosim.Fault{
		"stop:rate-limited,count=3,retry_after=2s":            {Op: "stop", Kind: civosim.RateLimited, Count: 3, RetryAfter: 2 * time.Second},
		"*:server-error,probability=0.05,count=-1,after=true": {Op: "*", Kind: civosim.ServerError, Probability: 0.05, Count: -1, After: true},
		"create:refused,code=quota_limit_reached,region=LON1": {Op: "create", Kind: civosim.Refused, Code: "quota_limit_reached", Region: "LON1"},
		"list:stale-read,delay=1m30s":                         {Op: "list", Kind: civosim.StaleRead, Delay: 90 * time.Second},
	} {
		if got, err := civosim.ParseFault(text); err != nil || got != want {
			t.Errorf("%s: got %+v and %v, want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "stop", "stop:flood", "explode:slow", "stop:slow,delay", "stop:slow,delay=soon", "stop:slow,count=many", "stop:slow,count=", "stop:slow,color=red", "stop:slow,"} {
		if got, err := civosim.ParseFault(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("stop:rate-limited,count=3,retry_after=2s")
	f.Add("*:server-error,probability=0.05,count=-1")
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := civosim.ParseFault(text)
		if err != nil {
			return
		}
		civosim.New(civosim.Options{}).Inject(fault) // what was read can be injected
		data, err := json.Marshal(fault)
		if err != nil {
			t.Fatal(err)
		}
		var back civosim.Fault
		if err := json.Unmarshal(data, &back); err != nil || back != fault {
			t.Errorf("got %+v and %v, want %+v", back, err, fault)
		}
	})
}

func TestWhatIsStuckStaysSo(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	s.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Stuck})
	s.accepted(s.act("stop"))
	s.wait(1000 * time.Hour)
	s.wantStatus("LON1", machineID, "STOPPING")
	s.sim.SetStatus(machineID, "ACTIVE")
	s.accepted(s.act("stop"))
}

func TestStaleReadsShowWhatWas(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	s.wait(time.Hour)
	s.accepted(s.act("stop"))
	made := s.send("POST", "/v2/instances", "hostname=new&size=g3.small&template_id=ubuntu-focal").object(s)["id"].(string)
	s.wait(delay)
	s.accepted(s.act("delete"))
	s.wait(delay)
	s.wantStatus("LON1", machineID, "not found")

	hostnames := func() (names []string) {
		for _, i := range s.send("GET", "/v2/instances", "").object(s)["items"].([]any) {
			names = append(names, i.(map[string]any)["hostname"].(string)+" "+i.(map[string]any)["status"].(string))
		}
		return names
	}
	for _, tt := range []struct {
		age       time.Duration
		one, made string
		list      []string
	}{
		{0, "ACTIVE", "not found", []string{"dev-1 ACTIVE"}}, // a minute, by default
		{15 * time.Second, "STOPPING", "BUILDING", []string{"dev-1 STOPPING", "new BUILDING"}},
		{5 * time.Second, "DELETING", "ACTIVE", []string{"dev-1 DELETING", "new ACTIVE"}},
	} {
		s.sim.Inject(civosim.Fault{Kind: civosim.StaleRead, Delay: tt.age, Count: 3})
		s.wantStatus("LON1", machineID, tt.one)
		s.wantStatus("LON1", made, tt.made)
		if got := hostnames(); !reflect.DeepEqual(got, tt.list) {
			t.Errorf("%v ago: got %v, want %v", tt.age, got, tt.list)
		}
	}
	if got := hostnames(); !reflect.DeepEqual(got, []string{"new ACTIVE"}) {
		t.Errorf("now: got %v, want only the new one", got)
	}
}

func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := civosim.New(civosim.Options{Delay: 20 * time.Second, Fleet: oneMachine("LON1")})
		s := &tester{T: t, sim: sim, client: &http.Client{Transport: sim.Transport()}}
		s.accepted(s.act("stop"))
		time.Sleep(20*time.Second - 1)
		s.wantStatus("LON1", machineID, "STOPPING")
		time.Sleep(time.Nanosecond)
		s.wantStatus("LON1", machineID, "SHUTOFF")

		sim.Inject(civosim.Fault{Kind: civosim.Slow, Delay: time.Minute})
		began := time.Now()
		s.accepted(s.act("start"))
		if took := time.Since(began); took != time.Minute {
			t.Errorf("a slow answer took %v, want a minute", took)
		}

		sim.Inject(civosim.Fault{Kind: civosim.Slow, Delay: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "PUT", "http://civo.test/v2/instances/"+machineID+"/stop", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "bearer 12345")
		began = time.Now()
		if _, err := s.do(req); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v, want the deadline after a second", err, time.Since(began))
		}
		s.wantStatus("LON1", machineID, "STOPPING") // it was carried out all the same
	})
}

func TestOverARealConnection(t *testing.T) {
	sim := civosim.New(civosim.Options{Token: "12345", Fleet: oneMachine("LON1")})
	server := httptest.NewServer(sim)
	defer server.Close()
	client := server.Client()
	client.Transport.(*http.Transport).DisableKeepAlives = true // as the official client does
	call := func() (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), "PUT", server.URL+"/v2/instances/"+machineID+"/tags", strings.NewReader(`{"tags":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "bearer 12345")
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer func() { _ = resp.Body.Close() }()
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, err
	}
	for range 20 {
		if status, err := call(); status != 200 || err != nil {
			t.Fatalf("got %d and %v, want 200", status, err)
		}
	}
	sim.Inject(civosim.Fault{Kind: civosim.CutAfter})
	if status, err := call(); err == nil {
		t.Errorf("got %d, want an error of the connection", status)
	}
	if last := sim.Requests()[20]; !last.Effect || last.Status != 0 {
		t.Errorf("ledger: got %+v, want an effect without an answer", last)
	}
}
