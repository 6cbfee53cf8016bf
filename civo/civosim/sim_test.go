package civosim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
)

// tester sends requests to a simulator through its transport.
type tester struct {
	*testing.T
	sim    *civosim.Sim
	client *http.Client
	clock  *clock
}

// clock is a time that a test moves by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newTester(t *testing.T, o civosim.Options) *tester {
	t.Helper()
	c := &clock{time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC)}
	if o.Now == nil {
		o.Now = c.now
	}
	if o.Token == "" {
		o.Token = "12345"
	}
	sim := civosim.New(o)
	return &tester{t, sim, &http.Client{Transport: sim.Transport()}, c}
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// send sends a form, or JSON when the body begins with a brace.
func (t *tester) send(method, path, body string) reply {
	t.Helper()
	r, err := t.try(method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (t *tester) try(method, path, body string) (reply, error) {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://civo.test"+path, content)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "bearer 12345")
	switch {
	case strings.HasPrefix(body, "{"):
		req.Header.Set("Content-Type", "application/json")
	case body != "":
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return t.do(req)
}

func (t *tester) do(req *http.Request) (reply, error) {
	resp, err := t.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(data)}, err
}

// object reads the answer as a JSON object.
func (r reply) object(t *tester) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("got %d %q, want a JSON object: %v", r.status, r.body, err)
	}
	return v
}

// list reads the answer as a JSON array of objects.
func (r reply) list(t *tester) []map[string]any {
	t.Helper()
	var v []map[string]any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("got %d %q, want a JSON array: %v", r.status, r.body, err)
	}
	return v
}

// wait lets d go by.
func (t *tester) wait(d time.Duration) { t.clock.t = t.clock.t.Add(d) }

func (t *tester) status(region, id string) string {
	t.Helper()
	r := t.send("GET", "/v2/instances/"+id+"?region="+region, "")
	if r.status == http.StatusNotFound {
		return "not found"
	}
	return r.object(t)["status"].(string)
}

func (t *tester) wantStatus(region, id, want string) {
	t.Helper()
	if got := t.status(region, id); got != want {
		t.Errorf("status of %s: got %s, want %s", id, got, want)
	}
}

func (t *tester) accepted(r reply) {
	t.Helper()
	if r.status != http.StatusOK || r.object(t)["result"] != "success" {
		t.Errorf("got %d %s, want the result success", r.status, r.body)
	}
}

func (t *tester) refused(r reply, status int, code string) {
	t.Helper()
	v := r.object(t)
	if r.status != status || v["code"] != code {
		t.Errorf("got %d %s, want %d with code %s", r.status, r.body, status, code)
	}
	if _, ok := v["reason"].(string); !ok {
		t.Errorf("got %s, want a reason that is a text", r.body)
	}
}

func TestTheTenOperationsOfThePage(t *testing.T) {
	s := newTester(t, civosim.Options{Delay: 10 * time.Second})
	network := s.send("GET", "/v2/networks?region=LON1", "").list(s)[0]["id"].(string)
	image := s.send("GET", "/v2/disk_images?region=LON1", "").list(s)[0]["id"].(string)
	firewall := s.send("GET", "/v2/firewalls?region=LON1", "").list(s)[1]["id"].(string)

	made := s.send("POST", "/v2/instances", "hostname=server1.prod.example.com&size=g3.small&region=LON1&public_ip=true&template_id="+image+
		"&network_id="+network+"&initial_user=example&tags=first second").object(s)
	if made["status"] != "BUILDING" || made["public_ip"] != nil || made["initial_user"] != "example" {
		t.Errorf("got %v, want an instance that is BUILDING without an address", made)
	}
	path := "/v2/instances/" + made["id"].(string)
	id := made["id"].(string)
	settle := func(during, after string) {
		t.Helper()
		s.wantStatus("LON1", id, during)
		s.wait(10 * time.Second)
		s.wantStatus("lon1", id, after)
	}
	settle("BUILDING", "ACTIVE")

	items := s.send("GET", "/v2/instances?region=LON1&tags=first&per_page=5", "").object(s)["items"].([]any)
	if len(items) != 1 || items[0].(map[string]any)["id"] != id {
		t.Errorf("list by tag: got %v, want the one instance", items)
	}
	s.accepted(s.send("PUT", path+"/tags", "tags=linux&region=LON1"))
	for _, reboot := range []string{"reboots", "hard_reboots", "soft_reboots"} {
		s.accepted(s.send("POST", path+"/"+reboot+"?region=LON1", ""))
		settle("REBOOTING", "ACTIVE")
	}
	s.accepted(s.send("PUT", path+"/stop?region=LON1", ""))
	settle("STOPPING", "SHUTOFF")
	s.accepted(s.send("PUT", path+"/start?region=LON1", ""))
	settle("SHUTOFF", "ACTIVE")
	s.accepted(s.send("PUT", path+"/resize", "size=g3.medium&region=LON1"))
	settle("REBOOTING", "ACTIVE")
	s.accepted(s.send("PUT", path+"/firewall", "firewall_id="+firewall+"&region=LON1"))

	got := s.send("GET", path+"?region=LON1", "").object(s)
	for field, want := range map[string]any{
		"size": "g3.medium", "cpu_cores": 2.0, "ram_mb": 4096.0, "disk_gb": 50.0, "firewall_id": firewall,
		"region": "LON1", "source_type": "diskimage", "source_id": "ubuntu-focal", "template_id": image,
	} {
		if got[field] != want {
			t.Errorf("%s: got %v, want %v", field, got[field], want)
		}
	}
	if tags := got["tags"].([]any); len(tags) != 1 || tags[0] != "linux" {
		t.Errorf("tags: got %v, want [linux]", tags)
	}
	if ip, ok := got["public_ip"].(string); !ok || ip == "" {
		t.Errorf("public_ip: got %v, want an address", got["public_ip"])
	}

	s.accepted(s.send("PUT", path+"/tags", "region=LON1"))
	if tags := s.send("GET", path+"?region=LON1", "").object(s)["tags"].([]any); len(tags) != 0 {
		t.Errorf("tags after a retag without tags: got %v, want none", tags)
	}
	s.accepted(s.send("DELETE", path+"?region=LON1", ""))
	settle("DELETING", "not found")
}
