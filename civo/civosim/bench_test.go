package civosim_test

import (
	"fmt"
	"net/http"
	"runtime"
	"testing"

	"nightshift/civo/civosim"
)

func hundredThousand() []civosim.Machine {
	return []civosim.Machine{
		{Hostname: "dev-%d", Count: 60_000, Tags: []string{"env=dev", "team=a"}},
		{Hostname: "web-%d", Count: 40_000, Tags: []string{"env=web", "team=b"}, Size: "g3.large"},
	}
}

// sink is a client that throws away what it gets.
type sink struct {
	header http.Header
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }
func (s *sink) WriteHeader(int)             {}

func listRequest(tb testing.TB, query string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), "GET", "http://civo.test/v2/instances?region=LON1&"+query, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "bearer x")
	return req
}

// BenchmarkPage is a page of 1,000 out of 100,000: 10 ms at most is the goal.
func BenchmarkPage(b *testing.B) {
	sim := civosim.New(civosim.Options{Fleet: hundredThousand()})
	for _, query := range []string{"page=1", "page=100", "page=1&tags=env%3Dweb"} {
		b.Run(query, func(b *testing.B) {
			req := listRequest(b, "per_page=1000&"+query)
			b.ReportAllocs()
			for b.Loop() {
				sim.ServeHTTP(&sink{header: http.Header{}}, req)
			}
		})
	}
}

func BenchmarkStop(b *testing.B) {
	sim := civosim.New(civosim.Options{Fleet: hundredThousand()})
	all := sim.Instances()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		verb := [2]string{"stop", "start"}[i/len(all)%2]
		req, err := http.NewRequestWithContext(b.Context(), "PUT", "http://civo.test/v2/instances/"+all[i%len(all)].ID+"/"+verb+"?region=LON1", nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "bearer x")
		sim.ServeHTTP(&sink{header: http.Header{}}, req)
		i++
	}
}

func TestAHundredThousandInstances(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	sim := civosim.New(civosim.Options{Fleet: hundredThousand()})
	each := (heap() - before) / 100_000
	t.Logf("%d bytes an instance", each)
	if each > 1500 {
		t.Errorf("%d bytes an instance, want 1,500 at most", each)
	}

	// A page of everything is written piece by piece: what is allocated on the way
	// is garbage at once, and never a buffer of its size.
	all := &sink{header: http.Header{}}
	largest := &widest{sink: all}
	sim.ServeHTTP(largest, listRequest(t, "per_page=99999999"))
	t.Logf("%d bytes in pieces of at most %d", all.n, largest.most)
	if all.n < 50_000_000 || largest.most > 1<<17 {
		t.Errorf("got %d bytes in pieces of up to %d, want all of them in pieces of 128 KiB at most", all.n, largest.most)
	}
	if n := len(sim.Instances()); n != 100_000 {
		t.Errorf("got %d instances", n)
	}
}

// widest remembers the largest write.
type widest struct {
	*sink
	most int
}

func (w *widest) Write(p []byte) (int, error) {
	w.most = max(w.most, len(p))
	return w.sink.Write(p)
}

func ExampleSim() {
	sim := civosim.New(civosim.Options{Fleet: []civosim.Machine{{ID: "i-1", Hostname: "dev-1"}}})
	client := &http.Client{Transport: sim.Transport()}
	req, err := http.NewRequest("PUT", "http://civo.test/v2/instances/i-1/stop?region=LON1", nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "bearer any")
	resp, err := client.Do(req)
	if err != nil {
		panic(err)
	}
	_ = resp.Body.Close()
	for _, i := range sim.Instances() {
		fmt.Println(i.Hostname, i.Status)
	}
	for _, r := range sim.Requests() {
		fmt.Println(r.Op, r.Instance, r.Status, r.Effect)
	}
	// Output:
	// dev-1 SHUTOFF
	// stop i-1 200 true
}
