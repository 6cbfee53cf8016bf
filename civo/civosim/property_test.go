package civosim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nightshift/civo/civosim"
)

// form is how one of several clients writes its parameters.
type form string

// The clients: curl -d, the official client, and one that puts all in the query.
var forms = []form{"form", "json", "query"}

// world is what the property test believes of the simulator, told only by the
// answers that its clients got.
type world struct {
	sim     *civosim.Sim
	client  *http.Client
	now     time.Time
	known   map[string]*belief
	ids     []string // that were ever seen, in order
	regions []string
	limit   civosim.Quota
}

// belief is what must be true of one instance when all passages are over.
type belief struct {
	region, size, status string
	tags                 []string
	busyUntil            time.Time
	gone                 bool
}

const propertyDelay = 7 * time.Second

// sizesInOrder are of growing dimensions; cores are what the quota counts.
var (
	sizesInOrder = []string{"g3.xsmall", "g3.small", "g3.medium", "g3.large"}
	coresOf      = map[string]int{"g3.xsmall": 1, "g3.small": 1, "g3.medium": 2, "g3.large": 4}
)

func newWorld() *world {
	w := &world{now: time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC), known: map[string]*belief{}, regions: []string{"LON1", "NYC1"}, limit: civosim.Quota{Instances: 12, CPUCores: 20}}
	w.sim = civosim.New(civosim.Options{
		Regions: w.regions, Delay: propertyDelay, Now: func() time.Time { return w.now }, Quota: w.limit,
		Fleet: []civosim.Machine{{Hostname: "dev-%d", Count: 3, Region: "LON1"}, {Hostname: "web-%d", Count: 2, Region: "NYC1", Status: "SHUTOFF"}},
	})
	w.client = &http.Client{Transport: w.sim.Transport()}
	for _, i := range w.sim.Instances() {
		w.learn(i.ID, &belief{region: i.Region, size: i.Size, status: i.Status})
	}
	return w
}

func (w *world) learn(id string, b *belief) {
	w.known[id] = b
	w.ids = append(w.ids, id)
}

// send is one request of a client; a connection that was cut has status 0.
func (w *world) send(t *rapid.T, f form, method, path, region string, p url.Values) (int, map[string]any) {
	p.Set("region", region)
	target, body, kind := "http://civo.test"+path, "", ""
	switch {
	case f == "query" || method == "GET" || method == "DELETE":
		target += "?" + p.Encode()
	case f == "json":
		flat := map[string]string{}
		for key := range p {
			flat[key] = p.Get(key)
		}
		data, err := json.Marshal(flat)
		if err != nil {
			t.Fatal(err)
		}
		body, kind = string(data), "application/json"
	default:
		body, kind = p.Encode(), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "bearer x")
	req.Header.Set("Content-Type", kind)
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var v map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil && resp.StatusCode == 200 {
		return resp.StatusCode, nil // an answer that a fault spoiled
	}
	return resp.StatusCode, v
}

// pick draws an instance that was ever seen, and the region to look for it in:
// now and then the wrong one.
func (w *world) pick(t *rapid.T) (id string, b *belief, region string) {
	id = rapid.SampledFrom(w.ids).Draw(t, "id")
	b = w.known[id]
	region = b.region
	if rapid.IntRange(0, 9).Draw(t, "astray") == 0 {
		region = w.regions[(slices.Index(w.regions, region)+1)%len(w.regions)]
	}
	if rapid.Bool().Draw(t, "small") {
		region = strings.ToLower(region)
	}
	return id, b, region
}

// act sends an action and, when the ledger says that it had an effect, believes
// in it. It checks that an answer without a fault tells the truth.
func (w *world) act(t *rapid.T, op, method, path string, p url.Values, allowed func(b *belief) bool, effect func(b *belief)) {
	id, b, region := w.pick(t)
	f := rapid.SampledFrom(forms).Draw(t, "client")
	status, _ := w.send(t, f, method, strings.ReplaceAll(path, ":id", id), region, p)
	last := w.last()
	right := strings.EqualFold(region, b.region)
	switch {
	case last.Op != op || last.Instance != id:
		t.Fatalf("the ledger says %+v, want %s of %s", last, op, id)
	case last.Fault == "" && status == 200 && (!right || !allowed(b)):
		t.Fatalf("%s of %s in %s was accepted, believed %+v", op, id, region, b)
	case last.Fault == "" && status != 200 && right && allowed(b) && status != 403:
		t.Fatalf("%s of %s in %s was refused with %d, believed %+v", op, id, region, status, b)
	case last.Effect && (!right || !allowed(b)):
		t.Fatalf("%s of %s in %s had an effect, believed %+v", op, id, region, b)
	case last.Effect:
		effect(b)
	}
}

func (w *world) last() civosim.Request {
	all := w.sim.Requests()
	return all[len(all)-1]
}

func (w *world) rested(b *belief) bool { return !w.now.Before(b.busyUntil) }

// passes is the effect of an action that ends in a status.
func (w *world) passes(status string) func(*belief) {
	return func(b *belief) {
		if b.status == status && (status == "SHUTOFF") {
			return
		}
		b.status, b.busyUntil = status, w.now.Add(propertyDelay)
	}
}

func (w *world) create(t *rapid.T) {
	region := rapid.SampledFrom(w.regions).Draw(t, "region")
	size := rapid.SampledFrom(sizesInOrder).Draw(t, "size")
	count := rapid.IntRange(1, 3).Draw(t, "count")
	before := map[string]bool{}
	for _, i := range w.sim.Instances() {
		before[i.ID] = true
	}
	instances, cores := w.usage()
	f := rapid.SampledFrom(forms).Draw(t, "client")
	status, v := w.send(t, f, "POST", "/v2/instances", region, url.Values{
		"hostname": {"new"}, "size": {size}, "template_id": {"ubuntu-focal"}, "count": {fmt.Sprint(count)}, "tags": {"b a  b"},
	})
	last := w.last()
	fits := instances+count <= w.limit.Instances && cores+count*coresOf[size] <= w.limit.CPUCores
	if last.Effect && !fits || last.Fault == "" && (status == 200) != fits {
		t.Fatalf("create of %d %s beside %d instances and %d cores: got %d %v", count, size, instances, cores, status, v)
	}
	made := 0
	for _, i := range w.sim.Instances() {
		if !before[i.ID] {
			made++
			w.learn(i.ID, &belief{region: region, size: size, status: "ACTIVE", tags: []string{"b", "a"}, busyUntil: w.now.Add(propertyDelay)})
		}
	}
	if want := map[bool]int{true: count}[last.Effect]; made != want {
		t.Fatalf("create of %d had the effect %t and made %d", count, last.Effect, made)
	}
}

// usage is what the quota must show: an instance counts until it is gone, with
// the size that it grows to.
func (w *world) usage() (instances, cores int) {
	for _, b := range w.known {
		if !b.gone || !w.rested(b) {
			instances++
			cores += coresOf[b.size]
		}
	}
	return instances, cores
}

// check compares the simulator with what is believed.
func (w *world) check(t *rapid.T) {
	there := map[string]bool{}
	for _, i := range w.sim.Instances() {
		there[i.ID] = true
		b := w.known[i.ID]
		if b == nil {
			t.Fatalf("%s was never made", i.ID)
		}
		if i.Region != b.region || !slices.Equal(i.Tags, b.tags) || i.Busy == w.rested(b) {
			t.Fatalf("got %+v, believed %+v at %v", i, b, w.now)
		}
		if w.rested(b) && (i.Status != b.status || i.Size != b.size) {
			t.Fatalf("at rest: got %+v, believed %+v", i, b)
		}
	}
	for id, b := range w.known {
		if want := !b.gone || !w.rested(b); there[id] != want {
			t.Fatalf("%s is there: %t, want %t (%+v)", id, there[id], want, b)
		}
	}
	w.sim.ClearFaults()
	_, q := w.send(t, "query", "GET", "/v2/quota", "", url.Values{})
	if instances, cores := w.usage(); q["instance_count_usage"] != float64(instances) || q["cpu_core_usage"] != float64(cores) {
		t.Fatalf("quota says %v instances and %v cores, want %d and %d", q["instance_count_usage"], q["cpu_core_usage"], instances, cores)
	}
	var listed []string
	for _, region := range w.regions {
		_, page := w.send(t, "query", "GET", "/v2/instances", region, url.Values{"per_page": {"1000"}})
		for _, item := range page["items"].([]any) {
			listed = append(listed, item.(map[string]any)["id"].(string))
		}
	}
	if len(listed) != len(there) {
		t.Fatalf("the lists have %d instances, want %d", len(listed), len(there))
	}
}

func TestAnyOperationsOfSeveralClients(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		reachable := func(b *belief) bool { return !b.gone || !w.rested(b) } // also while it is being deleted
		living := func(b *belief) bool { return !b.gone }
		rested := func(b *belief) bool { return !b.gone && w.rested(b) }
		larger := func(size string) func(*belief) bool {
			return func(b *belief) bool {
				return rested(b) && slices.Index(sizesInOrder, size) > slices.Index(sizesInOrder, b.size)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": w.check,
			"stop": func(t *rapid.T) {
				w.act(t, "stop", "PUT", "/v2/instances/:id/stop", url.Values{}, rested, w.passes("SHUTOFF"))
			},
			"start": func(t *rapid.T) {
				w.act(t, "start", "PUT", "/v2/instances/:id/start", url.Values{}, rested, w.passes("ACTIVE"))
			},
			"reboot": func(t *rapid.T) {
				kind := rapid.SampledFrom([]string{"soft", "hard"}).Draw(t, "kind")
				w.act(t, kind+"_reboot", "POST", "/v2/instances/:id/"+kind+"_reboots", url.Values{}, rested, w.passes("ACTIVE"))
			},
			"resize": func(t *rapid.T) {
				size := rapid.SampledFrom(sizesInOrder).Draw(t, "size")
				w.act(t, "resize", "PUT", "/v2/instances/:id/resize", url.Values{"size": {size}}, larger(size), func(b *belief) {
					b.size = size
					w.passes("ACTIVE")(b)
				})
			},
			"retag": func(t *rapid.T) {
				tags := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "env=dev"}), 0, 3, rapid.ID[string]).Draw(t, "tags")
				w.act(t, "retag", "PUT", "/v2/instances/:id/tags", url.Values{"tags": {strings.Join(tags, " ")}}, reachable, func(b *belief) { b.tags = tags })
			},
			"delete": func(t *rapid.T) {
				w.act(t, "delete", "DELETE", "/v2/instances/:id", url.Values{}, living, func(b *belief) {
					b.gone, b.busyUntil = true, w.now.Add(propertyDelay)
				})
			},
			"create": w.create,
			"time":   func(t *rapid.T) { w.now = w.now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "s")) * time.Second) },
			"fault": func(t *rapid.T) {
				kinds := []civosim.FaultKind{civosim.RateLimited, civosim.ServerError, civosim.CutBefore, civosim.CutAfter, civosim.BadJSON, civosim.AcceptedButNotDone, civosim.Refused}
				w.sim.Inject(civosim.Fault{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")})
				w.stormy(t)
			},
		})
		w.replay(t)
	})
}

// stormy acts at once, since every check takes the faults away.
func (w *world) stormy(t *rapid.T) {
	if rapid.Bool().Draw(t, "create") {
		w.create(t)
		return
	}
	w.act(t, "stop", "PUT", "/v2/instances/:id/stop", url.Values{}, func(b *belief) bool { return !b.gone && w.rested(b) }, w.passes("SHUTOFF"))
}

// replay works the end out of the ledger alone: what had an effect, in order,
// makes the same state.
func (w *world) replay(t *rapid.T) {
	w.now = w.now.Add(time.Hour)
	status := map[string]string{}
	for _, r := range w.sim.Requests() {
		if !r.Effect {
			continue
		}
		switch r.Op {
		case "stop":
			status[r.Instance] = "SHUTOFF"
		case "create", "start", "soft_reboot", "hard_reboot", "resize":
			status[r.Instance] = "ACTIVE"
		case "delete":
			status[r.Instance] = "gone"
		}
	}
	for id, want := range status {
		got := "gone"
		if i, ok := w.sim.Instance(id); ok {
			got = i.Status
		}
		if got != want {
			t.Fatalf("%s is %s, and by the ledger %s", id, got, want)
		}
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	sim := civosim.New(civosim.Options{Fleet: []civosim.Machine{{Hostname: "dev-%d", Count: 20}}, Quota: civosim.Quota{Instances: 60}})
	ids := sim.Instances()
	call := func(method, path, body string) {
		req, err := http.NewRequest(method, "http://civo.test"+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Authorization", "bearer x")
		resp, err := (&http.Client{Transport: sim.Transport()}).Do(req)
		if err != nil {
			return // a cut
		}
		_ = resp.Body.Close()
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() { // ends by itself
			for i := range 60 {
				id := ids[(i*7+n)%len(ids)].ID
				switch (i + n) % 8 {
				case 0:
					call("GET", "/v2/instances?per_page=100&region=LON1", "")
				case 1:
					call("POST", "/v2/instances", "hostname=a&size=g3.small&template_id=ubuntu-focal")
				case 2:
					call("DELETE", "/v2/instances/"+id, "")
				case 3:
					sim.Inject(civosim.Fault{Kind: civosim.CutAfter})
				case 4:
					call("POST", "/v2/ips", "")
				case 5:
					sim.SetTags(id, "a")
				default:
					call("PUT", "/v2/instances/"+id+"/stop", "")
				}
			}
		})
	}
	wg.Wait()
	effects := map[string]int{}
	for _, r := range sim.Requests() {
		if r.Effect {
			effects[r.Op]++
		}
	}
	if got, want := len(sim.Instances()), 20+effects["create"]-effects["delete"]; got != want || got > 60 {
		t.Errorf("got %d instances, want %d by the ledger and 60 at most", got, want)
	}
}

func TestTheSameRequestsMakeTheSameAnswers(t *testing.T) {
	run := func() ([]civosim.Instance, []civosim.Request) {
		s := newTester(t, civosim.Options{Seed: 9, Delay: delay, Jitter: 0.5, Fleet: []civosim.Machine{{Hostname: "dev-%d", Count: 5}}})
		s.sim.Inject(civosim.Fault{Kind: civosim.ServerError, Count: -1, Probability: 0.3})
		for _, i := range s.sim.Instances() {
			s.send("PUT", "/v2/instances/"+i.ID+"/stop", "")
			s.wait(3 * time.Second)
			s.send("POST", "/v2/instances", "hostname=a&size=g3.small&template_id=ubuntu-focal")
		}
		return s.sim.Instances(), s.sim.Requests()
	}
	instances, ledger := run()
	again, ledgerAgain := run()
	if !reflect.DeepEqual(instances, again) || !reflect.DeepEqual(ledger, ledgerAgain) {
		t.Errorf("two runs with one seed differ:\n%v\n%v", instances, again)
	}
}
