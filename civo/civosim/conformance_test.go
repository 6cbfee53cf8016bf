package civosim_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"nightshift/civo/civosim"
)

var liveCreate = flag.Bool("live.create", false, "with NIGHTSHIFT_LIVE=1: also create, change and delete instances on the real API (this costs money)")

// script is a file of testdata/conformance: what one operation answers, and what
// comes of it. The README there explains the form.
type script struct {
	Operation string `yaml:"operation"`
	Source    string `yaml:"source"`
	Cases     []struct {
		Name      string     `yaml:"name"`
		Needs     string     `yaml:"needs"`     // "" | instance | creation
		Status    string     `yaml:"status"`    // of the instance before
		Simulator *sample    `yaml:"simulator"` // for the simulator only
		Request   request    `yaml:"request"`
		Answer    answerForm `yaml:"answer"`
		During    []string   `yaml:"during"` // statuses that may show until then
		Then      any        `yaml:"then"`   // what the instance looks like in the end
		Gone      bool       `yaml:"gone"`   // it is not found in the end
	} `yaml:"cases"`
}

// sample is the instance that a sample of the documentation names.
type sample struct {
	ID     string `yaml:"id"`
	Region string `yaml:"region"`
}

type request struct {
	Method string            `yaml:"method"`
	Path   string            `yaml:"path"`
	Header map[string]string `yaml:"header"`
	Form   string            `yaml:"form"` // as curl -d sends it
	JSON   string            `yaml:"json"`
}

type answerForm struct {
	Status int               `yaml:"status"`
	Header map[string]string `yaml:"header"`
	Body   any               `yaml:"body"`
	Text   string            `yaml:"text"` // part of a body that is not JSON
}

// place is an API that the suite runs against.
type place struct {
	url, token, region string
	sim                *civosim.Sim // nil: a real one, or one that is treated as if it were
	creates            bool         // cases that need an instance are run
	pause              time.Duration
	vars               map[string]string
	instance           string // that the cases of a file act on
}

func TestConformance(t *testing.T) {
	files, err := filepath.Glob("testdata/conformance/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d files and %v", len(files), err)
	}
	live := os.Getenv("NIGHTSHIFT_LIVE") == "1" && os.Getenv("CIVO_TOKEN") != ""
	for _, file := range files {
		s := readScript(t, file)
		t.Run("simulator/"+s.Operation, func(t *testing.T) { s.run(t, simulatedPlace(t, nil)) })
		t.Run("socket/"+s.Operation, func(t *testing.T) { s.run(t, strangePlace(t)) })
		if live {
			t.Run("live/"+s.Operation, func(t *testing.T) { s.run(t, livePlace(t)) })
		}
	}
}

func readScript(t *testing.T, file string) *script {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	s := &script{}
	if err := dec.Decode(s); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if s.Operation == "" || s.Source == "" || len(s.Cases) == 0 {
		t.Fatalf("%s lacks its operation, source or cases", file)
	}
	return s
}

// simulatedPlace serves a simulator over HTTP, with a sample's instance if any.
func simulatedPlace(t *testing.T, s *sample) *place {
	t.Helper()
	o := civosim.Options{Token: "12345", Delay: 5 * time.Second}
	if s != nil && s.ID != "" {
		o.Fleet = []civosim.Machine{{ID: s.ID, Hostname: "test", Region: s.Region, Size: "g3.xsmall", Tags: []string{"first", "second"}}}
	}
	sim := civosim.New(o)
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	p := &place{url: server.URL, token: "12345", region: "LON1", sim: sim, creates: true}
	if s != nil {
		p.region, p.instance = cmp.Or(s.Region, "LON1"), s.ID
	}
	p.explore(t)
	return p
}

// strangePlace is a simulator that is treated like the real API: all that the
// suite knows of it comes over the wire, and it has a clock of its own.
func strangePlace(t *testing.T) *place {
	t.Helper()
	server := httptest.NewServer(civosim.New(civosim.Options{Token: "12345", Delay: 3 * time.Millisecond}))
	t.Cleanup(server.Close)
	p := &place{url: server.URL, token: "12345", region: "LON1", creates: true, pause: time.Millisecond}
	p.explore(t)
	return p
}

// livePlace is whatever CIVO_TOKEN opens at CIVO_API_URL.
func livePlace(t *testing.T) *place {
	t.Helper()
	p := &place{
		url: cmp.Or(os.Getenv("CIVO_API_URL"), "https://api.civo.com"), token: os.Getenv("CIVO_TOKEN"),
		region: cmp.Or(os.Getenv("CIVO_REGION"), "LON1"), creates: *liveCreate, pause: 5 * time.Second,
	}
	p.explore(t)
	return p
}

// explore finds what requests refer to.
func (p *place) explore(t *testing.T) {
	t.Helper()
	p.vars = map[string]string{
		"region": p.region, "other_region": "NYC1", "size": "g3.xsmall", "larger": "g3.small",
		"unique": fmt.Sprintf("nightshift-conformance-%08x", rand.Uint32()), "nobody": "00000000-0000-4000-8000-000000000000",
	}
	for _, n := range p.rows(t, "networks") {
		if n["default"] == true {
			p.vars["network"] = fmt.Sprint(n["id"])
		}
	}
	for _, fw := range p.rows(t, "firewalls") {
		if fw["network_id"] == p.vars["network"] {
			p.vars["firewall"], p.vars["firewall_name"] = fmt.Sprint(fw["id"]), fmt.Sprint(fw["name"])
		}
	}
	for _, m := range p.rows(t, "disk_images") {
		if strings.HasPrefix(fmt.Sprint(m["name"]), "ubuntu-") && p.vars["image"] == "" {
			p.vars["image"], p.vars["image_name"] = fmt.Sprint(m["id"]), fmt.Sprint(m["name"])
		}
	}
}

func (p *place) rows(t *testing.T, what string) []map[string]any {
	t.Helper()
	status, _, body := p.send(t, request{Method: "GET", Path: "/v2/" + what + "?region=" + p.region})
	var rows []map[string]any
	if err := json.Unmarshal(body, &rows); err != nil || status != 200 {
		t.Fatalf("%s of %s: got %d and %v", what, p.url, status, err)
	}
	return rows
}

func (p *place) send(t *testing.T, r request) (int, http.Header, []byte) {
	t.Helper()
	body, kind := p.fill(r.Form), "application/x-www-form-urlencoded"
	if r.JSON != "" {
		body, kind = p.fill(r.JSON), "application/json"
	}
	// A cleanup also sends requests, when the context of the test is over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, p.url+p.fill(r.Path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "bearer "+p.token)
	if body != "" {
		req.Header.Set("Content-Type", kind)
	}
	for key, v := range r.Header {
		req.Header.Set(key, p.fill(v))
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true} // as the official client
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.Path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, data
}

// fill puts the values of ${names} into a text.
func (p *place) fill(text string) string {
	return os.Expand(text, func(name string) string {
		if name == "id" {
			return p.instance
		}
		if v, ok := p.vars[name]; ok {
			return v
		}
		return "${" + name + "}"
	})
}

func (s *script) run(t *testing.T, p *place) {
	for _, c := range s.Cases {
		at := p
		switch {
		case c.Simulator != nil && p.sim == nil, (c.Needs != "" || c.Request.Method != "GET") && !p.creates:
			continue // not for this place: it is run against the simulator
		case c.Simulator != nil:
			at = simulatedPlace(t, c.Simulator)
		case c.Needs == "instance":
			p.prepare(t, cmp.Or(c.Status, "ACTIVE"))
		}
		t.Run(c.Name, func(t *testing.T) {
			status, header, body := at.send(t, c.Request)
			if status != c.Answer.Status {
				t.Fatalf("got %d %s, want %d", status, body, c.Answer.Status)
			}
			for key, want := range c.Answer.Header {
				if got := header.Get(key); !strings.HasPrefix(got, want) {
					t.Errorf("%s: got %q, want %q", key, got, want)
				}
			}
			if !strings.Contains(string(body), at.fill(c.Answer.Text)) {
				t.Errorf("got %s, want %q in it", body, c.Answer.Text)
			}
			if c.Answer.Body != nil {
				at.wantJSON(t, body, c.Answer.Body)
			}
			path, _, _ := strings.Cut(c.Request.Path, "?")
			if c.Request.Method == "POST" && path == "/v2/instances" && status == 200 {
				at.adopt(t, body)
			}
			at.follow(t, c.During, c.Then, c.Gone)
		})
	}
}

// prepare sees to it that there is an instance, in a status.
func (p *place) prepare(t *testing.T, status string) {
	t.Helper()
	if p.instance == "" || p.status(t) == "not found" {
		code, _, body := p.send(t, request{Method: "POST", Path: "/v2/instances", Form: "hostname=${unique}&size=${size}&region=${region}&network_id=${network}&template_id=${image}&tags=nightshift-conformance"})
		if code != 200 {
			t.Fatalf("create an instance to act on: got %d %s", code, body)
		}
		p.adopt(t, body)
		p.await(t, "ACTIVE")
	}
	switch now := p.status(t); {
	case now == status:
		return
	case p.sim != nil:
		p.sim.SetStatus(p.instance, status)
	case status == "SHUTOFF":
		p.send(t, request{Method: "PUT", Path: "/v2/instances/${id}/stop?region=${region}"})
	case status == "ACTIVE":
		p.send(t, request{Method: "PUT", Path: "/v2/instances/${id}/start?region=${region}"})
	}
	p.await(t, status)
}

// adopt makes a new instance the one that is acted on, and deletes it in the end.
func (p *place) adopt(t *testing.T, body []byte) {
	t.Helper()
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &made); err != nil || made.ID == "" {
		t.Fatalf("got %s, want an instance with an id", body)
	}
	p.instance = made.ID
	if p.sim == nil {
		t.Cleanup(func() {
			p.send(t, request{Method: "DELETE", Path: "/v2/instances/" + made.ID + "?region=${region}"})
		})
	}
}

func (p *place) look(t *testing.T) (int, []byte) {
	t.Helper()
	status, _, body := p.send(t, request{Method: "GET", Path: "/v2/instances/${id}?region=${region}"})
	return status, body
}

func (p *place) status(t *testing.T) string {
	t.Helper()
	code, body := p.look(t)
	if code == http.StatusNotFound {
		return "not found"
	}
	var v struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("got %d %s", code, body)
	}
	return v.Status
}

func (p *place) await(t *testing.T, status string) {
	t.Helper()
	p.until(t, "status "+status, func() bool { return p.status(t) == status })
}

// until looks again and again, a second of the simulator's clock apart, or a
// pause of the real one.
func (p *place) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tries := 60
	if p.sim == nil {
		tries = 240 // twenty minutes of the real API
	}
	for range tries {
		if done() {
			return
		}
		if p.sim != nil {
			p.sim.Advance(time.Second)
			continue
		}
		tick := time.NewTimer(p.pause)
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	_, body := p.look(t)
	t.Fatalf("%s was never seen; the last look: %s", what, body)
}

// follow sees what comes of a request: first only statuses of during, then the
// end.
func (p *place) follow(t *testing.T, during []string, then any, gone bool) {
	t.Helper()
	if then == nil && !gone {
		return
	}
	if p.sim != nil && len(during) > 0 && !slices.Contains(during, p.status(t)) {
		t.Errorf("right after: got %s, want one of %v", p.status(t), during)
	}
	var wrong error
	p.until(t, fmt.Sprintf("the end %v", then), func() bool {
		now := p.status(t)
		if gone {
			return now == "not found"
		}
		_, body := p.look(t)
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		if wrong = p.match("instance", v, then); wrong == nil {
			return true
		}
		if len(during) > 0 && !slices.Contains(during, now) && now != endStatus(then) {
			t.Fatalf("on the way: got %s, want one of %v", now, during)
		}
		return false
	})
}

func endStatus(then any) string {
	m, _ := then.(map[string]any)
	text, _ := m["status"].(string)
	return text
}

func (p *place) wantJSON(t *testing.T, body []byte, want any) {
	t.Helper()
	var got any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("got %s, want JSON: %v", body, err)
	}
	if err := p.match("body", got, want); err != nil {
		t.Errorf("%v in %s", err, body)
	}
}

// match compares an answer with a pattern: a mapping names the fields that must
// be there, a list has as many elements, <…> is a kind of value, /…/ a regular
// expression, and anything else stands for itself.
func (p *place) match(path string, got, want any) error {
	switch want := want.(type) {
	case map[string]any:
		if each, ok := want["<each>"]; ok {
			return p.matchEach(path, got, each)
		}
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: got %v, want an object", path, got)
		}
		for key, v := range want {
			value, there := object[key]
			if v == "<absent>" {
				if there {
					return fmt.Errorf("%s.%s: got %v, want it absent", path, key, value)
				}
				continue
			}
			if !there {
				return fmt.Errorf("%s.%s is missing", path, key)
			}
			if err := p.match(path+"."+key, value, v); err != nil {
				return err
			}
		}
		return nil
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return fmt.Errorf("%s: got %v, want %d elements", path, got, len(want))
		}
		for i := range want {
			if err := p.match(fmt.Sprintf("%s[%d]", path, i), list[i], want[i]); err != nil {
				return err
			}
		}
		return nil
	case string:
		return p.matchText(path, got, p.fill(want))
	case int:
		if got != float64(want) {
			return fmt.Errorf("%s: got %v, want %d", path, got, want)
		}
		return nil
	}
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", path, got, want)
	}
	return nil
}

func (p *place) matchEach(path string, got, want any) error {
	list, ok := got.([]any)
	if !ok || len(list) == 0 {
		return fmt.Errorf("%s: got %v, want a list that is not empty", path, got)
	}
	for i, v := range list {
		if err := p.match(fmt.Sprintf("%s[%d]", path, i), v, want); err != nil {
			return err
		}
	}
	return nil
}

// kinds are the values that <…> stands for.
var kinds = map[string]func(any) bool{
	"<any>":          func(any) bool { return true },
	"<text>":         func(v any) bool { _, ok := v.(string); return ok },
	"<some text>":    func(v any) bool { s, _ := v.(string); return s != "" },
	"<text or null>": func(v any) bool { _, ok := v.(string); return ok || v == nil },
	"<null>":         func(v any) bool { return v == nil },
	"<bool>":         func(v any) bool { _, ok := v.(bool); return ok },
	"<list>":         func(v any) bool { _, ok := v.([]any); return ok },
	"<object>":       func(v any) bool { _, ok := v.(map[string]any); return ok },
	"<integer>":      func(v any) bool { n, ok := v.(float64); return ok && n == float64(int64(n)) },
	"<integer or null>": func(v any) bool {
		n, ok := v.(float64)
		return v == nil || ok && n == float64(int64(n))
	},
	"<uuid>": func(v any) bool {
		s, _ := v.(string)
		return regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(s)
	},
	"<time>": func(v any) bool {
		s, _ := v.(string)
		_, err := time.Parse(time.RFC3339, s)
		return err == nil
	},
	"<base64>": func(v any) bool {
		s, _ := v.(string)
		_, err := base64.StdEncoding.DecodeString(s)
		return err == nil && s != ""
	},
}

func (p *place) matchText(path string, got any, want string) error {
	text, isText := got.(string)
	switch {
	case kinds[want] != nil:
		if !kinds[want](got) {
			return fmt.Errorf("%s: got %v, want %s", path, got, want)
		}
	case len(want) > 2 && strings.HasPrefix(want, "/") && strings.HasSuffix(want, "/"):
		re, err := regexp.Compile(want[1 : len(want)-1])
		if err != nil {
			return fmt.Errorf("%s: the pattern %s: %w", path, want, err)
		}
		if !isText || !re.MatchString(text) {
			return fmt.Errorf("%s: got %v, want %s", path, got, want)
		}
	case !isText || text != want:
		return fmt.Errorf("%s: got %v, want %q", path, got, want)
	}
	return nil
}
