package civosim_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"

	"nightshift/civo/civosim"
)

// ask sends a body under any header.
func (t *tester) ask(method, path string, header map[string]string, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://civo.test"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "bearer 12345")
	for key, v := range header {
		req.Header.Set(key, v)
	}
	r, err := t.do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

const machineID = "4a07ac84-70f8-11e5-8fe9-5cf9389be614"

func oneMachine(region string) []civosim.Machine {
	return []civosim.Machine{{ID: machineID, Hostname: "dev-1", Region: region, Tags: []string{"old"}}}
}

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parts(t *testing.T, fields map[string]string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for key, v := range fields {
		if err := w.WriteField(key, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func TestBodiesInEveryForm(t *testing.T) {
	multi, multiType := parts(t, map[string]string{"tags": "a b", "region": "LON1"})
	const form, jsonType = "application/x-www-form-urlencoded", "application/json"
	for _, tt := range []struct {
		name, kind, encoding, body string
		want                       []string
	}{
		{"a form", form, "", "tags=a+b&region=LON1", []string{"a", "b"}},
		{"a form with blanks as curl -d sends it", form, "", "tags=a b", []string{"a", "b"}},
		{"a form with the header of JSON", jsonType, "", "tags=a+b", []string{"a", "b"}},
		{"a form without a header", "", "", "tags=a+b", []string{"a", "b"}},
		{"JSON with a text", jsonType, "", `{"tags":"a b","region":"LON1"}`, []string{"a", "b"}},
		{"JSON with a list", jsonType, "", `{"tags":["a","b"]}`, []string{"a", "b"}},
		{"JSON with a header that has a charset", "application/json; charset=utf-8", "", `{"tags":"a b"}`, []string{"a", "b"}},
		{"JSON with the header of a form, as curl -d sends it", form, "", `{"tags":"a b"}`, []string{"a", "b"}},
		{"JSON without a header", "", "", ` {"tags":"a b"}`, []string{"a", "b"}},
		{"JSON with unknown fields", jsonType, "", `{"tags":"a b","colour":{"x":[1]}}`, []string{"a", "b"}},
		{"JSON that falsely says it is packed", jsonType, "gzip", `{"tags":"a b"}`, []string{"a", "b"}},
		{"JSON that is packed", jsonType, "gzip", packed(t, `{"tags":"a b"}`), []string{"a", "b"}},
		{"a packed body that does not say so", form, "", packed(t, "tags=a+b"), []string{"a", "b"}},
		{"multipart", multiType, "", multi, []string{"a", "b"}},
		{"runs of blanks and double tags", form, "", "tags=++a+++b+a++", []string{"a", "b"}},
		{"nothing", "", "", "", nil},
		{"only blanks", jsonType, "", " \n", nil},
		{"null", jsonType, "", "null", nil},
		{"an empty text", jsonType, "", `""`, nil},
		{"an empty object", jsonType, "", `{}`, nil},
		{"an empty list", jsonType, "", `[]`, nil},
		{"a null for the tags", jsonType, "", `{"tags":null}`, nil},
		{"only a region", jsonType, "", `{"region":"LON1"}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTester(t, civosim.Options{Fleet: oneMachine("LON1")})
			header := map[string]string{}
			if tt.kind != "" {
				header["Content-Type"] = tt.kind
			}
			if tt.encoding != "" {
				header["Content-Encoding"] = tt.encoding
			}
			s.accepted(s.ask("PUT", "/v2/instances/"+machineID+"/tags", header, tt.body))
			if got, _ := s.sim.Instance(machineID); !slices.Equal(got.Tags, tt.want) {
				t.Errorf("tags: got %q, want %q", got.Tags, tt.want)
			}
		})
	}
}

func TestBodiesThatCannotBeRead(t *testing.T) {
	for _, tt := range []struct {
		name, kind, body string
		status           int
	}{
		{"half an object", "application/json", `{"tags":"a`, 400},
		{"a bad escape", "application/x-www-form-urlencoded", "tags=%zz", 400},
		{"multipart without a boundary", "multipart/form-data", "x", 400},
		{"multipart that ends early", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"tags\"\r\n\r\na", 400},
		{"half a gzip", "", "\x1f\x8b\x08", 400},
		{"more than 1 MiB", "", "tags=" + strings.Repeat("a", 1<<20), 413},
		{"a bomb", "", packed(t, strings.Repeat("a", 8<<20)), 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTester(t, civosim.Options{Fleet: oneMachine("LON1")})
			header := map[string]string{}
			if tt.kind != "" {
				header["Content-Type"] = tt.kind
			}
			if r := s.ask("PUT", "/v2/instances/"+machineID+"/tags", header, tt.body); r.status != tt.status {
				t.Errorf("got %d %q, want %d", r.status, r.body, tt.status)
			}
			if got, _ := s.sim.Instance(machineID); !slices.Equal(got.Tags, []string{"old"}) {
				t.Errorf("tags: got %q, want them as they were", got.Tags)
			}
		})
	}
}

func TestNumbersAndTruthsAsTextOrNot(t *testing.T) {
	for _, body := range []string{
		`{"hostname":"a","size":"g3.small","template_id":"ubuntu-focal","count":2,"public_ip":false,"attached_volumes":null,"placement_rule":{}}`,
		`{"hostname":"a","size":"g3.small","template_id":"ubuntu-focal","count":"2","public_ip":"none"}`,
		`hostname=a&size=g3.small&template_id=ubuntu-focal&count=2&public_ip=false`,
	} {
		s := newTester(t, civosim.Options{})
		if r := s.send("POST", "/v2/instances", body); r.status != 200 {
			t.Fatalf("create with %s: got %d %s", body, r.status, r.body)
		}
		all := s.sim.Instances()
		if len(all) != 2 {
			t.Fatalf("create with %s: got %d instances, want 2", body, len(all))
		}
		if ip := s.send("GET", "/v2/instances/"+all[0].ID, "").object(s)["public_ip"]; ip != nil {
			t.Errorf("create with %s: got the address %v, want none", body, ip)
		}
	}
}

func TestTheBodyOutranksTheQuery(t *testing.T) {
	s := newTester(t, civosim.Options{Fleet: oneMachine("LON1")})
	s.accepted(s.send("PUT", "/v2/instances/"+machineID+"/tags?tags=query", "tags=body"))
	if got, _ := s.sim.Instance(machineID); !slices.Equal(got.Tags, []string{"body"}) {
		t.Errorf("tags: got %q, want those of the body", got.Tags)
	}
}

func TestParametersMayStandInTheQuery(t *testing.T) {
	s := newTester(t, civosim.Options{Fleet: oneMachine("NYC1")})
	s.accepted(s.send("PUT", "/v2/instances/"+machineID+"/tags?region=nyc1&tags=a+b", ""))
	s.accepted(s.send("PUT", "/v2/instances/"+machineID+"/resize?region=NYC1&size=g3.medium", ""))
	if got := s.send("GET", "/v2/instances/"+machineID+"?region=NYC1", "").object(s); got["size"] != "g3.medium" || fmt.Sprint(got["tags"]) != "[a b]" {
		t.Errorf("got size %v and tags %v, want g3.medium and [a b]", got["size"], got["tags"])
	}
}

func TestRegion(t *testing.T) {
	path := "/v2/instances/" + machineID
	for _, tt := range []struct {
		name, query, body string
		found             bool
	}{
		{"in the query", "?region=NYC1", "", true},
		{"in another case", "?region=nyc1", "", true},
		{"in a form", "", "region=NYC1", true},
		{"in JSON", "", `{"region":"nyc1"}`, true},
		{"the query outranks the body", "?region=NYC1", "region=LON1", true},
		{"another one", "?region=LON1", "", false},
		{"none: the default one", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTester(t, civosim.Options{Fleet: oneMachine("NYC1")})
			r := s.send("PUT", path+"/stop"+tt.query, tt.body)
			if tt.found {
				s.accepted(r)
				return
			}
			s.refused(r, 404, "database_instance_find")
			s.wantStatus("NYC1", machineID, "ACTIVE")
		})
	}
	t.Run("an unknown one", func(t *testing.T) {
		s := newTester(t, civosim.Options{})
		s.refused(s.send("GET", "/v2/instances?region=MOON1", ""), 404, "database_region_not_found")
	})
	t.Run("none, where one is asked for", func(t *testing.T) {
		s := newTester(t, civosim.Options{RequireRegion: true, Fleet: oneMachine("LON1")})
		s.refused(s.send("PUT", path+"/stop", ""), 404, "database_instance_find")
		if r := s.send("GET", "/v2/instances", ""); r.status != 200 {
			t.Errorf("list without a region: got %d, want 200", r.status)
		}
	})
	t.Run("of the fleet is added", func(t *testing.T) {
		s := newTester(t, civosim.Options{Fleet: oneMachine("phx1")})
		s.wantStatus("PHX1", machineID, "ACTIVE")
	})
}

func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		form         civosim.KeyRefusal
		status       int
		body         string
	}{
		{"the right one", "bearer 12345", "", 200, ""},
		{"the scheme in upper case", "Bearer 12345", "", 200, ""},
		{"the scheme in capitals", "BEARER 12345", "", 200, ""},
		{"a wrong one", "bearer 54321", "", 401, `{"result":"requires_authentication"}`},
		{"none", "", "", 401, `{"result":"requires_authentication"}`},
		{"another scheme", "basic 12345", "", 401, `{"result":"requires_authentication"}`},
		{"an empty one", "bearer ", "", 401, `{"result":"requires_authentication"}`},
		{"a wrong one, as Terraform sees it", "bearer x", civosim.AccountNotFound, 401, `"code":"database_account_not_found"`},
		{"a wrong one, as a denial", "bearer x", civosim.AccessDenied, 403, `"code":"authentication_access_denied"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTester(t, civosim.Options{RefuseKey: tt.form})
			r := s.ask("GET", "/v2/regions", map[string]string{"Authorization": tt.header}, "")
			if r.status != tt.status || !strings.Contains(r.body, tt.body) {
				t.Errorf("got %d %s, want %d %s", r.status, r.body, tt.status, tt.body)
			}
		})
	}
	t.Run("any, where none is named", func(t *testing.T) {
		sim := civosim.New(civosim.Options{})
		s := &tester{T: t, sim: sim, client: &http.Client{Transport: sim.Transport()}}
		if r := s.ask("GET", "/v2/regions", map[string]string{"Authorization": "bearer anything"}, ""); r.status != 200 {
			t.Errorf("got %d, want 200", r.status)
		}
	})
}

func TestPaths(t *testing.T) {
	s := newTester(t, civosim.Options{Fleet: oneMachine("LON1")})
	for _, tt := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/", 404, "text/plain"},
		{"GET", "/v2/databases", 404, "text/plain"},
		{"GET", "/v2/instances/a/b/c", 404, "text/plain"},
		{"PATCH", "/v2/instances", 405, "text/plain"},
		{"GET", "//v2/regions/", 200, "application/json"},
		{"GET", "/v2/instances/nobody?region=LON1", 404, "application/json"},
	} {
		r := s.send(tt.method, tt.path, "")
		if kind := r.header.Get("Content-Type"); r.status != tt.status || !strings.HasPrefix(kind, tt.kind) {
			t.Errorf("%s %s: got %d as %s, want %d as %s", tt.method, tt.path, r.status, kind, tt.status, tt.kind)
		}
	}
}

func TestPages(t *testing.T) {
	fleet := []civosim.Machine{{Hostname: "dev-%d", Count: 45, Tags: []string{"env=dev", "team=a"}}, {Hostname: "web-%d", Count: 5, Tags: []string{"env=web", "team=a"}}}
	for _, tt := range []struct {
		query                string
		page, perPage, pages int
		items                int
		first                string
	}{
		{query: "", page: 1, perPage: 20, pages: 3, items: 20, first: "dev-1"},
		{query: "&page=3", page: 3, perPage: 20, pages: 3, items: 10, first: "dev-41"},
		{query: "&page=4", page: 4, perPage: 20, pages: 3, items: 0},
		{query: "&page=99999999999&per_page=1000", page: 99999999999, perPage: 1000, pages: 1, items: 0},
		{query: "&page=2&per_page=49", page: 2, perPage: 49, pages: 2, items: 1, first: "web-5"},
		{query: "&per_page=99999999", page: 1, perPage: 99999999, pages: 1, items: 50, first: "dev-1"},
		{query: "&per_page=9223372036854775807&page=2", page: 2, perPage: 9223372036854775807, pages: 1, items: 0},
		{query: "&page=0&per_page=-1", page: 1, perPage: 20, pages: 3, items: 20, first: "dev-1"},
		{query: "&page=x&per_page=y", page: 1, perPage: 20, pages: 3, items: 20, first: "dev-1"},
		{query: "&tags=team%3Da+env%3Dweb", page: 1, perPage: 20, pages: 1, items: 5, first: "web-1"},
		{query: "&tags=nobody", page: 1, perPage: 20, pages: 1, items: 0},
	} {
		s := newTester(t, civosim.Options{Fleet: fleet})
		got := s.send("GET", "/v2/instances?region=LON1"+tt.query, "").object(s)
		items, ok := got["items"].([]any)
		if !ok {
			t.Fatalf("%q: items are %v, want a list", tt.query, got["items"])
		}
		if got["page"] != float64(tt.page) || got["per_page"] != float64(tt.perPage) || got["pages"] != float64(tt.pages) || len(items) != tt.items {
			t.Errorf("%q: got page %v, per_page %v, pages %v, %d items, want %d, %d, %d, %d", tt.query, got["page"], got["per_page"], got["pages"], len(items), tt.page, tt.perPage, tt.pages, tt.items)
		}
		if tt.items > 0 && items[0].(map[string]any)["hostname"] != tt.first {
			t.Errorf("%q: the first is %v, want %s", tt.query, items[0].(map[string]any)["hostname"], tt.first)
		}
	}
}

func TestEmptyListsAreNotNull(t *testing.T) {
	s := newTester(t, civosim.Options{})
	for _, path := range []string{"/v2/volumes", "/v2/webhooks", "/v2/charges", "/v2/networks/" + s.send("GET", "/v2/networks", "").list(s)[0]["id"].(string) + "/subnets", "/v2/disk_images?type=custom"} {
		if r := s.send("GET", path, ""); strings.TrimSpace(r.body) != "[]" {
			t.Errorf("%s: got %s, want []", path, r.body)
		}
	}
	for _, path := range []string{"/v2/instances", "/v2/ips", "/v2/actions", "/v2/kubernetes/clusters"} {
		if items, ok := s.send("GET", path, "").object(s)["items"].([]any); !ok || len(items) != 0 {
			t.Errorf("%s: got %v, want an empty list of items", path, items)
		}
	}
}
