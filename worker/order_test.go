package worker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

const shopOrder = `
version: 1
regions: [LON1]
timezone: Europe/London
policies:
  - name: shop-hours
    select: { all: [shop] }
    schedule: { running: ["Mon-Fri 08:00-19:00"] }
    give_up_after: 15m
protect: { all: [protected] }
order:
  - name: shop
    per: tag:project
    stages:
      - { select: { all: [role=db] } READY }
      - { select: { all: [role=app] } }
      - { select: { all: [role=web] } }
`

// shop is the policy file, with what is asked of databases.
func shop(ready string) string { return strings.Replace(shopOrder, " READY", ready, 1) }

const shopFleet = `instances:
  - { id: 00000000-0000-4000-8000-0000000000a1, hostname: a-db, tags: [shop, project=a, role=db], status: STATUS }
  - { id: 00000000-0000-4000-8000-0000000000a2, hostname: a-app, tags: [shop, project=a, role=app], status: STATUS }
  - { id: 00000000-0000-4000-8000-0000000000a3, hostname: a-web, tags: [shop, project=a, role=web], status: STATUS }
  - { id: 00000000-0000-4000-8000-0000000000b1, hostname: b-db, tags: [shop, project=b, role=db], status: STATUS }
  - { id: 00000000-0000-4000-8000-0000000000b2, hostname: b-app, tags: [shop, project=b, role=app], status: STATUS }
  - { id: 00000000-0000-4000-8000-0000000000c1, hostname: c-free, tags: [shop], status: STATUS }
`

const (
	aDB, aApp, aWeb = "00000000-0000-4000-8000-0000000000a1", "00000000-0000-4000-8000-0000000000a2", "00000000-0000-4000-8000-0000000000a3"
	bDB             = "00000000-0000-4000-8000-0000000000b1"
)

func shopIs(status string) string { return strings.ReplaceAll(shopFleet, "STATUS", status) }

// acts are the calls of an operation as "host +seconds after a time", in order.
func (w *world) acts(op string, since time.Time) (list []string) {
	names := make(map[string]string)
	for _, i := range w.sim.Instances() {
		names[i.ID] = i.Hostname
	}
	for _, r := range w.sim.Requests() {
		if r.Op == op && !r.Time.Before(since) {
			list = append(list, fmt.Sprintf("%s +%d", names[r.Instance], int(r.Time.Sub(since).Seconds())))
		}
	}
	return list
}

// at is when a call was made to an instance, in seconds after a time; -1: it was not.
func (w *world) at(op, host string, since time.Time) int {
	w.t.Helper()
	for _, s := range w.acts(op, since) {
		var name string
		var n int
		if _, err := fmt.Sscanf(s, "%s +%d", &name, &n); err == nil && name == host {
			return n
		}
	}
	return -1
}

// stages are what was said of stages, in order.
func (w *world) stages() (list []string) {
	for _, r := range w.records(events.Noticed) {
		if r.Action == "stage" {
			list = append(list, r.Reason+": "+r.Detail)
		}
	}
	return list
}

func london(t *testing.T, at string) time.Time {
	t.Helper()
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	when, err := time.ParseInLocation("2006-01-02 15:04", at, zone)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestInstancesStartInOrderAndStopInReverse(t *testing.T) {
	inBubbleWith(t, "2026-03-04 07:59", shop(""), shopIs("SHUTOFF"), func(t *testing.T, w *world) {
		morning, evening := london(t, "2026-03-04 08:00"), london(t, "2026-03-04 19:00")
		w.after(10 * time.Minute)
		for _, host := range []string{"a-db", "b-db", "c-free"} {
			if n := w.at("start", host, morning); n < 0 || n > 2 {
				t.Errorf("%s waited for somebody: %q", host, w.acts("start", morning))
			}
		}
		for _, pair := range [][2]string{{"a-db", "a-app"}, {"a-app", "a-web"}, {"b-db", "b-app"}} {
			if first, then := w.at("start", pair[0], morning), w.at("start", pair[1], morning); first < 0 || then < first+20 { // it takes the simulator 20 s
				t.Errorf("%s was started before %s was seen running: %q", pair[1], pair[0], w.acts("start", morning))
			}
		}
		want := []string{
			"reached: order shop (project=a), turn 1 of 3 to start: reached by 1 of 1", "reached: order shop (project=a), turn 2 of 3 to start: reached by 1 of 1",
			"reached: order shop (project=b), turn 1 of 3 to start: reached by 1 of 1",
		}
		if got := w.stages(); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Errorf("the notices are %q", got)
		}
		w.after(11 * time.Hour)
		for _, pair := range [][2]string{{"a-web", "a-app"}, {"a-app", "a-db"}, {"b-app", "b-db"}} {
			if first, then := w.at("stop", pair[0], evening), w.at("stop", pair[1], evening); first < 0 || then < first+20 {
				t.Errorf("%s was stopped before %s was seen stopped: %q", pair[1], pair[0], w.acts("stop", evening))
			}
		}
		for _, o := range w.outcomes() {
			if !strings.HasSuffix(o, " done") {
				t.Errorf("an outcome is %s", o)
			}
		}
	})
}

func TestWhatFailsIsProtectedOrPutOffDoesNotBlockTheOthers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  civosim.Fault
		within [2]int // seconds from 08:00 until the app is called
		notice string
	}{
		{"refused", civosim.Fault{Op: "start", Instance: aDB, Kind: civosim.Refused, Code: "quota_limit_reached", Count: -1}, [2]int{0, 60},
			"reached: order shop (project=a), turn 1 of 3 to start: reached by 0 of 1; a-db failed quota"},
		{"never seen running", civosim.Fault{Op: "start", Instance: aDB, Kind: civosim.AcceptedButNotDone, Count: -1}, [2]int{600, 700},
			"deadline: order shop (project=a), turn 1 of 3 to start: 0 of 1 when its deadline of 10m had passed; what comes after it goes on; a-db under way"},
		{"refused by a server in trouble until the deadline", civosim.Fault{Op: "start", Instance: aDB, Kind: civosim.ServerError, Count: -1}, [2]int{600, 640},
			"deadline: order shop (project=a), turn 1 of 3 to start: 0 of 1 when its deadline of 10m had passed; what comes after it goes on; a-db under way"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubbleWith(t, "2026-03-04 07:59", shop(""), shopIs("SHUTOFF"), func(t *testing.T, w *world) {
				w.sim.Inject(tt.fault)
				morning := london(t, "2026-03-04 08:00")
				w.after(30 * time.Minute)
				if n := w.at("start", "a-app", morning); n < tt.within[0] || n > tt.within[1] {
					t.Errorf("a-app was started after %d s, want %v", n, tt.within)
				}
				if n := w.at("start", "a-web", morning); n < 0 {
					t.Error("a-web was never started")
				}
				if n := w.at("start", "b-app", morning); n < 0 || n > 60 {
					t.Errorf("b-app waited for another project: %d s", n)
				}
				if got := w.stages(); !slices.Contains(got, tt.notice) {
					t.Errorf("the notices are %q, want %q among them", got, tt.notice)
				}
			})
		})
	}
}

func TestWhatIsNotStartedIsNotWaitedFor(t *testing.T) {
	for name, change := range map[string]func(w *world, fleet string) string{
		"protected":    func(_ *world, f string) string { return strings.Replace(f, "role=db", "role=db, protected", 1) },
		"kept stopped": func(_ *world, f string) string { return f },
		"already up": func(_ *world, f string) string {
			return strings.Replace(f, "role=db], status: SHUTOFF", "role=db], status: ACTIVE", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleWith(t, "2026-03-04 07:55", shop(""), change(nil, shopIs("SHUTOFF")), func(t *testing.T, w *world) {
				if name == "kept stopped" {
					var kept any
					w.ask("keep", worker.KeepRequest{Instance: aDB, Region: "LON1", State: "stopped", Until: "10:00"}, &kept)
				}
				morning := london(t, "2026-03-04 08:00")
				w.after(15 * time.Minute)
				if n := w.at("start", "a-app", morning); n < 0 || n > 10 {
					t.Errorf("a-app was started after %d s", n)
				}
				if n := w.at("start", "a-db", morning); n >= 0 {
					t.Error("a-db was started")
				}
			})
		})
	}
}

// network is what answers to the daemon's questions: ports by address.
type network struct {
	mu    sync.Mutex
	asked map[string]int
	open  map[string]bool // by port
	page  string          // status line of any page; empty: no page is served
}

func (n *network) dial(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, port, _ := net.SplitHostPort(address)
	n.asked[address]++
	if !n.open[port] {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	page := n.page
	go func() { // ends with the connection
		defer theirs.Close()
		if req, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
			fmt.Fprintf(theirs, "HTTP/1.1 %s\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\nX-Path: %s\r\n\r\n", page, req.URL.Path)
		}
	}()
	return ours, nil
}

func (n *network) set(port, page string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[port], n.page = true, page
}

func TestAStageIsReachedWhenItsInstancesAreReady(t *testing.T) {
	for _, tt := range []struct{ name, ready, port, before, after string }{
		{"tcp", ", ready: { tcp: 5432 }", "5432", "", ""},
		{"http", `, ready: { http: ":8080/healthz" }`, "8080", "503 Service Unavailable", "200 OK"},
		{"a redirection is an answer, and is not followed", `, ready: { http: ":8080/healthz", address: private }`, "8080", "404 Not Found", "302 Found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubbleWith(t, "2026-03-04 07:50", shop(tt.ready), shopIs("SHUTOFF"), func(t *testing.T, w *world) {
				n := &network{asked: make(map[string]int), open: make(map[string]bool)}
				w.end()
				w.o.Dial = n.dial
				w.begin()
				if tt.before != "" {
					n.set(tt.port, tt.before)
				}
				w.after(15 * time.Minute) // 08:05
				morning := london(t, "2026-03-04 08:00")
				if at := w.at("start", "a-app", morning); at >= 0 {
					t.Errorf("a-app was started after %d s, before a-db was ready", at)
				}
				n.set(tt.port, tt.after)
				w.after(time.Minute)
				if at := w.at("start", "a-app", morning); at < 300 || at > 315 {
					t.Errorf("a-app was started after %d s: %q", at, w.stages())
				}
				w.after(5 * time.Minute)
				if at := w.at("start", "a-web", morning); at < 320 {
					t.Errorf("a-web was started after %d s", at)
				}
				n.mu.Lock()
				defer n.mu.Unlock()
				if len(n.asked) != 2 { // the databases of two projects
					t.Errorf("asked were %v", n.asked)
				}
				for address := range n.asked {
					if strings.HasPrefix(address, "10.") != strings.Contains(tt.ready, "private") || !strings.HasSuffix(address, ":"+tt.port) {
						t.Errorf("%s was asked", address)
					}
				}
			})
		})
	}
}

func TestWhatIsNotReadyByTheDeadlineIsSaidLoudly(t *testing.T) {
	for _, restart := range []bool{false, true} {
		inBubbleWith(t, "2026-03-04 07:50", shop(", ready: { tcp: 5432 }, deadline: 5m"), shopIs("SHUTOFF"), func(t *testing.T, w *world) {
			n := &network{asked: make(map[string]int), open: make(map[string]bool)}
			w.end()
			w.o.Dial = n.dial
			w.begin()
			morning := london(t, "2026-03-04 08:00")
			w.after(15*time.Minute + 10*time.Second)
			if restart { // what has passed is not waited for again
				w.end()
				w.begin()
			}
			w.after(5 * time.Minute)
			if at := w.at("start", "a-app", morning); at < 300 || at > 310 {
				t.Errorf("a-app was started after %d s", at)
			}
			if at := w.at("start", "a-web", morning); at < 320 || at > 350 {
				t.Errorf("a-web was started after %d s", at)
			}
			want := "deadline: order shop (project=a), turn 1 of 3 to start: 0 of 1 when its deadline of 5m had passed; what comes after it goes on; a-db not ready: connection refused"
			if got := w.stages(); !slices.Contains(got, want) {
				t.Errorf("of stages was said %q", got)
			}
			w.wantOutcomes("start a-db done", "start a-app done", "start a-web done", "start b-db done", "start b-app done", "start c-free done")
		})
	}
}

func TestWaitingForAnOrderDoesNotCountAsBeingLate(t *testing.T) {
	file := strings.Replace(shop(""), "[role=web] }", "[role=web] }, deadline: 40m", 1) // give_up_after is 15m
	inBubbleWith(t, "2026-03-04 18:59", file, shopIs("ACTIVE"), func(t *testing.T, w *world) {
		evening := london(t, "2026-03-04 19:00")
		w.o.Verify.Within = 2 * time.Hour
		w.end()
		w.begin()
		w.sim.Inject(civosim.Fault{Op: "stop", Instance: aWeb, Kind: civosim.AcceptedButNotDone, Count: -1})
		w.after(21 * time.Minute) // the daemon goes away while the web server is waited for, and comes back
		w.end()
		w.after(2 * time.Minute)
		w.begin()
		w.after(time.Hour)
		if n := w.at("stop", "a-app", evening); n < 40*60 {
			t.Errorf("a-app was stopped after %d s: %q, %q", n, w.stages(), w.outcomes())
		}
		if n := w.at("stop", "a-db", evening); n < 40*60+20 {
			t.Errorf("a-db was stopped after %d s: %q, %q", n, w.stages(), w.outcomes())
		}
		w.after(90 * time.Minute)
		w.wantOutcomes("stop a-web failed", "stop a-app done", "stop a-db done", "stop b-app done", "stop b-db done", "stop c-free done")
	})
}

func TestAStageGoesOnAfterARestartInTheMiddleOfIt(t *testing.T) {
	for _, down := range []time.Duration{0, 10 * time.Second, 3 * time.Minute} {
		for _, at := range []time.Duration{61 * time.Second, 70 * time.Second, 85 * time.Second, 110 * time.Second, 130 * time.Second} {
			t.Run(fmt.Sprint(at, " ", down), func(t *testing.T) {
				inBubbleWith(t, "2026-03-04 07:59", shop(""), shopIs("SHUTOFF"), func(t *testing.T, w *world) {
					morning := london(t, "2026-03-04 08:00")
					w.after(at)
					w.end()
					w.after(down)
					w.begin()
					w.after(20 * time.Minute)
					w.wantOutcomes("start a-db done", "start a-app done", "start a-web done", "start b-db done", "start b-app done", "start c-free done")
					if n := w.calls("start"); n != 6 {
						t.Errorf("%d starts were sent: %q", n, w.acts("start", morning))
					}
					for _, pair := range [][2]string{{"a-db", "a-app"}, {"a-app", "a-web"}, {"b-db", "b-app"}} {
						if first, then := w.at("start", pair[0], morning), w.at("start", pair[1], morning); first < 0 || then < first+20 {
							t.Errorf("%s was started before %s was seen running: %q", pair[1], pair[0], w.acts("start", morning))
						}
					}
					if got := w.stages(); len(got) != 3 {
						t.Errorf("the notices are %q", got)
					}
				})
			})
		}
	}
}

func TestANewerRunOvertakesWhatWaitsForItsTurn(t *testing.T) {
	inBubbleWith(t, "2026-03-04 07:59", shop(""), shopIs("SHUTOFF"), func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "start", Instance: aDB, Kind: civosim.AcceptedButNotDone, Count: -1})
		morning := london(t, "2026-03-04 08:00")
		w.after(3 * time.Minute)
		w.command(events.Command{ID: "c", Instance: aApp, Action: "start"}) // who is in a hurry does not wait
		w.after(time.Minute)
		if n := w.at("start", "a-app", morning); n < 120 || n > 125 {
			t.Errorf("a-app was started after %d s", n)
		}
		if got := w.outcomes(); !slices.Contains(got, "start a-app superseded") || !slices.Contains(got, "start a-app done") {
			t.Errorf("the outcomes are %q", got)
		}
	})
}

func TestARunGoesAtItsPace(t *testing.T) {
	const file = `
version: 1
regions: [LON1]
policies: [ { name: night, select: { all: [shop] }, schedule: { running: ["07:00-08:00"] } } ]
`
	for _, tt := range []struct {
		name, pace string
		most       int // under way at once
		apart      int // seconds
	}{
		{"two at once", "pace: { at_once: 2 }", 2, 0},
		{"a minute apart", "pace: { apart: 1m }", 6, 60},
		{"both", "pace: { at_once: 1, apart: 10s }", 1, 10},
		{"none", "", 6, 0},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, map[bool]string{true: ", restarted"}[restart]), func(t *testing.T) {
				inBubbleWith(t, "2026-03-04 07:59", file+tt.pace, shopIs("ACTIVE"), func(t *testing.T, w *world) {
					eight := london(t, "2026-03-04 08:00")
					if restart {
						w.after(85 * time.Second)
						w.end()
						w.begin()
					}
					w.after(20 * time.Minute)
					acts := w.acts("stop", eight)
					if len(acts) != 6 {
						t.Fatalf("the stops are %q", acts)
					}
					var at []int
					for _, s := range acts {
						var host string
						var n int
						if _, err := fmt.Sscanf(s, "%s +%d", &host, &n); err != nil {
							t.Fatal(err)
						}
						at = append(at, n)
					}
					for i := range at {
						if i > 0 && at[i]-at[i-1] < tt.apart {
							t.Errorf("%q are less than %d s apart", acts, tt.apart)
						}
						if i >= tt.most && at[i]-at[i-tt.most] < 20 { // it takes the simulator 20 s
							t.Errorf("of %q more than %d were under way at once", acts, tt.most)
						}
					}
					if tt.apart == 0 && tt.most == 6 && at[5] > 5 {
						t.Errorf("%q waited for nothing", acts)
					}
				})
			})
		}
	}
}

// TestNoActionBeginsBeforeThoseThatItWaitsFor lets orders be carried out under faults,
// restarts and hands, and reads from the ledger whether each call came after the
// outcomes of all that go before it, or after the notice that their deadline had passed.
func TestNoActionBeginsBeforeThoseThatItWaitsFor(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 7))
			var fleet strings.Builder
			fleet.WriteString("instances:\n")
			roles := []string{"db", "app", "web"}
			for n := range 4 + dice.IntN(12) {
				fmt.Fprintf(&fleet, "  - { id: 00000000-0000-4000-8000-%012d, hostname: m-%d, tags: [shop, project=%c, role=%s], status: %s }\n",
					n, n, 'a'+rune(dice.IntN(2)), roles[dice.IntN(3)], []string{"SHUTOFF", "SHUTOFF", "ACTIVE"}[dice.IntN(3)])
			}
			file := strings.ReplaceAll(shop(""), "schedule:", fmt.Sprintf("spread: %ds\n    schedule:", 1+dice.IntN(150)))
			if dice.IntN(2) == 0 {
				file += "pace: { at_once: 2, apart: 7s }\n"
			}
			inBubbleWith(t, "2026-03-04 07:59", file, fleet.String(), func(t *testing.T, w *world) {
				kinds := []civosim.FaultKind{civosim.ServerError, civosim.CutAfter, civosim.CutBefore, civosim.AcceptedButNotDone, civosim.RateLimited, civosim.Refused}
				for range dice.IntN(6) {
					w.sim.Inject(civosim.Fault{Op: []string{"start", "stop"}[dice.IntN(2)], Kind: kinds[dice.IntN(len(kinds))], Count: 1 + dice.IntN(3), Probability: 0.5})
				}
				w.after(time.Minute)
				for range dice.IntN(4) {
					w.after(time.Duration(dice.IntN(120)) * time.Second)
					w.end()
					w.after(time.Duration(dice.IntN(60)) * time.Second)
					w.begin()
				}
				w.after(11 * time.Hour)
				for range dice.IntN(4) {
					w.after(time.Duration(dice.IntN(120)) * time.Second)
					w.end()
					w.begin()
				}
				w.after(time.Hour)
				w.checkTurns()
			})
		})
	}
}

// checkTurns holds each call against the order of its run.
func (w *world) checkTurns() {
	w.t.Helper()
	outcome := make(map[string]time.Time) // by action id
	passed := make(map[string]time.Time)  // by the words of a stage and its trigger: its deadline
	for _, r := range w.all {
		switch {
		case isOutcome(r.Outcome):
			outcome[r.ActionID] = r.StoredAt
		case r.Action == "stage" && r.Reason == "deadline":
			words, _, _ := strings.Cut(r.Detail, ": ")
			passed[r.Trigger+" "+words] = r.StoredAt
		}
	}
	first := make(map[string]time.Time) // call, by action id
	for _, r := range w.all {
		if _, ok := first[r.ActionID]; r.Outcome == events.Started && !ok {
			first[r.ActionID] = r.StoredAt
		}
	}
	waited := 0
	for run, err := range w.bus.Runs(w.t.Context(), time.Time{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		for _, late := range run.Items {
			for _, early := range run.Items {
				a, b := early.Stage, late.Stage
				if a == nil || b == nil || a.Order != b.Order || a.Group != b.Group || a.Action != b.Action || a.Turn >= b.Turn || early.Skip != "" || first[late.ID].IsZero() {
					continue
				}
				waited++
				over := passed[fmt.Sprintf("%s order %s (%s), turn %d of %d to %s", run.Trigger, a.Order, a.Group, a.Turn, a.Of, a.Action)]
				if end := outcome[early.ID]; (end.IsZero() || end.After(first[late.ID])) && (over.IsZero() || over.After(first[late.ID])) {
					w.t.Errorf("%s of %s (turn %d) began at %s, before that of %s (turn %d) had ended (%s)", late.Action, late.Hostname, b.Turn, first[late.ID], early.Hostname, a.Turn, end)
				}
			}
		}
		for _, it := range run.Items {
			if it.Skip == "" && outcome[it.ID].IsZero() {
				w.t.Errorf("%s of %s has no outcome", it.Action, it.Hostname)
			}
		}
	}
	if waited == 0 {
		w.t.Error("nobody waited for anybody")
	}
}

func TestACommandForManyGoesInOrderAndOneForASingleInstanceDoesNotWait(t *testing.T) {
	file := strings.Replace(shop(""), "08:00-19:00", "00:00-24:00", 1) + "pace: { apart: 5s }\n"
	inBubbleWith(t, "2026-03-04 12:00", file, shopIs("ACTIVE"), func(t *testing.T, w *world) {
		noon := london(t, "2026-03-04 12:00")
		var answer worker.RunAnswer
		w.ask("run", worker.RunRequest{Select: worker.SelectForm{All: []string{"project=a"}}, Action: "stop"}, &answer)
		if len(answer.Actions) != 3 || answer.Actions[0].Hostname != "a-app" || answer.Actions[0].Order != "order shop (project=a), turn 2 of 3" {
			t.Errorf("the answer is %+v", answer.Actions)
		}
		w.command(events.Command{ID: "c", Instance: bDB, Action: "stop"})
		w.after(5 * time.Minute)
		if n := w.at("stop", "b-db", noon); n < 0 || n > 5 {
			t.Errorf("b-db was stopped after %d s", n)
		}
		web, app, db := w.at("stop", "a-web", noon), w.at("stop", "a-app", noon), w.at("stop", "a-db", noon)
		if web < 0 || app < web+20 || db < app+20 {
			t.Errorf("the stops are %q", w.acts("stop", noon))
		}
	})
}

// TestTwoDaemonsKeepTheOrder lets one go away in the middle of a stage: the other goes on.
func TestTwoDaemonsKeepTheOrder(t *testing.T) {
	inBubbleWith(t, "2026-03-04 07:58", shop(""), shopIs("SHUTOFF"), func(t *testing.T, w *world) {
		end := w.second()
		w.after(2*time.Minute + 10*time.Second)
		w.end()
		w.after(30 * time.Second)
		w.begin()
		synctest.Wait()
		end()
		w.after(10 * time.Minute)
		w.checkTurns()
		if n := w.calls("start"); n != 6 {
			t.Errorf("%d starts were sent: %q", n, w.acts("start", london(t, "2026-03-04 08:00")))
		}
	})
}

func TestARegionDoesNotWaitForAnother(t *testing.T) {
	far := strings.Replace(shopIs("SHUTOFF"), "hostname: a-app,", "hostname: a-app, region: NYC1,", 1)
	inBubbleWith(t, "2026-03-04 07:59", strings.Replace(shop(""), "[LON1]", "[LON1, NYC1]", 1), far, func(t *testing.T, w *world) {
		w.after(10 * time.Minute)
		morning := london(t, "2026-03-04 08:00")
		if n := w.at("start", "a-app", morning); n < 0 || n > 5 {
			t.Errorf("a-app was started after %d s", n)
		}
		if n := w.at("start", "a-web", morning); n < 20 {
			t.Errorf("a-web did not wait for a-db in its own region: %d s", n)
		}
	})
}

// TestWhatIsApprovedGoesInOrder: and how long it was held is no waiting of the order.
func TestWhatIsApprovedGoesInOrder(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:59", strings.Replace(shop(""), "give_up_after: 15m", "give_up_after: 1h\n    mode: ask", 1), shopIs("ACTIVE"), func(t *testing.T, w *world) {
		w.after(30 * time.Minute)
		if n := w.calls("stop"); n != 0 {
			t.Errorf("%d stops were sent unasked", n)
		}
		evening := time.Now()
		var a worker.ApproveAnswer
		w.ask("approve", worker.ApproveRequest{Run: "shop-hours@19:00"}, &a)
		w.after(10 * time.Minute)
		w.checkTurns()
		if web, db := w.at("stop", "a-web", evening), w.at("stop", "a-db", evening); web < 0 || web > 5 || db < 40 {
			t.Errorf("the stops are %q", w.acts("stop", evening))
		}
	})
}

// TestADeadlineDoesNotPassWhileALimitOfOursKeepsAStageBack: that nothing has begun
// is then nobody's failure.
func TestADeadlineDoesNotPassWhileALimitOfOursKeepsAStageBack(t *testing.T) {
	more := func(fleet string) string {
		return fleet + "  - { id: 00000000-0000-4000-8000-0000000000a4, hostname: a-web2, tags: [shop, project=a, role=web], status: ACTIVE }\n"
	}
	for name, file := range map[string]string{
		"canary":   strings.Replace(shop(""), "give_up_after: 15m", "give_up_after: 15m\n    canary: 20m", 1),
		"per_hour": shop("") + "limits: { per_hour: 2 }\n",
		"pace":     shop("") + "pace: { apart: 15m }\n",
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleWith(t, "2026-03-04 18:59", file, more(shopIs("ACTIVE")), func(t *testing.T, w *world) {
				w.after(4 * time.Hour)
				evening := london(t, "2026-03-04 19:00")
				last := max(w.at("stop", "a-web", evening), w.at("stop", "a-web2", evening))
				if app := w.at("stop", "a-app", evening); last < 0 || app < last+20 {
					t.Errorf("the stops are %q", w.acts("stop", evening))
				}
				for _, s := range w.stages() {
					if strings.HasPrefix(s, "deadline") {
						t.Errorf("a deadline has passed: %s", s)
					}
				}
			})
		})
	}
}
