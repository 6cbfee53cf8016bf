package civosim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
)

func TestTheAdminSide(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	state := func() civosim.State {
		t.Helper()
		var st civosim.State
		if err := json.Unmarshal([]byte(s.send("GET", "/sim/state?region=lon1", "").body), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	if st := state(); len(st.Instances) != 1 || st.Instances[0].ID != machineID || st.Usage.Instances != 1 || len(st.Regions) != 3 {
		t.Errorf("state: got %+v", st)
	}

	s.accepted(s.send("POST", "/sim/faults", `{"op":"stop","kind":"rate-limited","retry_after":"3s","count":2}`))
	if got := s.send("GET", "/sim/faults", "").body; !strings.Contains(got, `"retry_after":"3s"`) {
		t.Errorf("faults: got %s", got)
	}
	if r := s.act("stop"); r.status != 429 || r.header.Get("Retry-After") != "3" {
		t.Errorf("got %d, want the fault that was injected", r.status)
	}
	s.accepted(s.send("DELETE", "/sim/faults", ""))
	s.accepted(s.act("stop"))

	s.accepted(s.send("POST", "/sim/advance?by=10s", ""))
	s.wantStatus("LON1", machineID, "SHUTOFF")
	s.accepted(s.send("POST", "/sim/instances/"+machineID+"?status=MIGRATING&tags=a+b", ""))
	if i := state().Instances[0]; i.Status != "MIGRATING" || fmt.Sprint(i.Tags) != "[a b]" {
		t.Errorf("got %+v, want it MIGRATING with two tags", i)
	}
	var ledger []civosim.Request
	if err := json.Unmarshal([]byte(s.send("GET", "/sim/ledger?op=stop&n=1", "").body), &ledger); err != nil {
		t.Fatal(err)
	}
	if len(ledger) != 1 || !ledger[0].Effect || ledger[0].Op != "stop" {
		t.Errorf("ledger: got %+v, want the newest stop", ledger)
	}
	for after, want := range map[string]int{"0": 3, "1": 2, "3": 0, "9": 0, "1&n=1": 1} {
		var rest []civosim.Request
		if err := json.Unmarshal([]byte(s.send("GET", "/sim/ledger?after="+after, "").body), &rest); err != nil {
			t.Fatal(err)
		}
		if len(rest) != want {
			t.Errorf("%d requests after %s, want %d", len(rest), after, want)
		}
	}
	s.accepted(s.send("DELETE", "/sim/instances/"+machineID, ""))
	if st := state(); len(st.Instances) != 0 || st.Requests != 3 {
		t.Errorf("got %+v, want no instance, and three requests", st)
	}
	s.accepted(s.send("POST", "/sim/reset", ""))
	if st := state(); len(st.Instances) != 1 || st.Requests != 0 || !st.Now.Equal(s.clock.t) {
		t.Errorf("after the reset: got %+v", st)
	}
}

func TestWhatTheAdminSideRefuses(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/sim/nothing", "", 404},
		{"GET", "/sim/", "", 404},
		{"POST", "/sim/state", "", 404},
		{"DELETE", "/sim/instances", "", 404},
		{"DELETE", "/sim/instances/nobody", "", 404},
		{"POST", "/sim/instances/nobody?status=ACTIVE", "", 404},
		{"POST", "/sim/advance?by=soon", "", 400},
		{"POST", "/sim/advance?by=-1s", "", 400},
		{"POST", "/sim/faults", `{"kind":"flood"}`, 400},
		{"POST", "/sim/faults", `{"kind":"slow","delay":5}`, 400},
		{"POST", "/sim/faults", `{"kind":`, 400},
		{"POST", "/sim/faults", "", 400},
	} {
		if r := s.send(tt.method, tt.path, tt.body); r.status != tt.status {
			t.Errorf("%s %s %s: got %d %s, want %d", tt.method, tt.path, tt.body, r.status, r.body, tt.status)
		}
	}
	s.wantStatus("LON1", machineID, "ACTIVE")
}

func TestTheLedgerIsBounded(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{Ledger: 5})
	for i := range 12 {
		s.send("GET", fmt.Sprintf("/v2/regions?n=%d", i), "")
	}
	got := s.sim.Requests()
	if len(got) != 5 || got[0].Query != "n=7" || got[4].Query != "n=11" {
		t.Errorf("got %+v, want the newest five, oldest first", got)
	}
}

func TestTheLedgerHoldsNoSecrets(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	s.send("POST", "/v2/instances", "hostname=a&size=g3.small&template_id=ubuntu-focal&script=TOPSECRET&initial_password=TOPSECRET")
	s.send("POST", "/v2/sshkeys", `{"name":"k","public_key":"TOPSECRET"}`)
	s.send("POST", "/v2/webhooks", `{"URL":"https://example.com","Secret":"TOPSECRET"}`)
	s.send("GET", "/v2/regions?token=TOPSECRET", "")
	text := fmt.Sprintf("%+v", s.sim.Requests())
	if strings.Contains(text, "TOPSECRET") || strings.Contains(text, "12345") {
		t.Errorf("a secret is in the ledger: %s", text)
	}
	if !strings.Contains(text, "hostname=a") {
		t.Errorf("the ledger lacks what was asked: %s", text)
	}
	s.send("GET", "/v2/regions?long="+strings.Repeat("x", 5000), "")
	if all := s.sim.Requests(); len(all[len(all)-1].Query) > 256 {
		t.Errorf("a query of %d bytes was kept, want 256 at most", len(all[len(all)-1].Query))
	}
}

func TestAdvanceMovesTheClockForAll(t *testing.T) {
	s := one(t, "ACTIVE", civosim.Options{})
	s.accepted(s.act("stop"))
	s.sim.Advance(-time.Hour) // never back
	s.wantStatus("LON1", machineID, "STOPPING")
	s.sim.Advance(time.Hour)
	s.wantStatus("LON1", machineID, "SHUTOFF")
	if i, _ := s.sim.Instance(machineID); i.Busy {
		t.Error("it is busy, want it at rest")
	}
}
