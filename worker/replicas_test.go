package worker_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

// second is another daemon on the same bus.
func (w *world) second() (end func()) {
	w.t.Helper()
	w.end() // neither of two is the only one
	w.o.Embedded = false
	w.begin()
	synctest.Wait()
	api, err := civo.New("secret", civo.Options{HTTPClient: &http.Client{Transport: w.sim.Transport()}, BaseURL: "http://civo.test", Rate: 50})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	o := w.o
	o.Version = "0.0.2"
	d := worker.New(w.set, api, w.bus, o)
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() { stop(); <-done }
}

func TestEndsArePlannedByWhicheverReplica(t *testing.T) {
	inBubble(t, "2026-03-04 20:00", with(`  - name: ci
    select: { all: [env=dev] }
    trigger: { alert: Queued }
    do: start
    lasts: 30m
    cooldown: 1s
`), func(t *testing.T, w *world) {
		w.sim.SetStatus(dev1, "SHUTOFF")
		w.sim.SetStatus(dev2, "SHUTOFF")
		end := w.second()
		defer end()
		w.after(time.Minute)
		bad := 0
		for n := range 6 {
			w.after(2 * time.Minute) // until what was read before is forgotten
			w.signal(events.Signal{Instance: dev1, Alert: "Queued", ID: fmt.Sprint("a", n)})
			w.signal(events.Signal{Instance: dev2, Alert: "Queued", ID: fmt.Sprint("b", n)})
			w.after(50 * time.Minute)
			for _, i := range w.sim.Instances() {
				if (i.ID == dev1 || i.ID == dev2) && i.Status != "SHUTOFF" {
					bad++
					t.Logf("%d %s %q", n, i.Hostname, w.outcomes()[max(0, len(w.outcomes())-6):])
					w.sim.SetStatus(i.ID, "SHUTOFF")
				}
			}
		}
		if bad > 0 {
			t.Errorf("%d of 12 were not stopped at their end", bad)
		}
	})
}

// amongOthers runs a test with a daemon that may have others beside it.
func amongOthers(t *testing.T, at, file string, test func(t *testing.T, w *world)) {
	t.Helper()
	inBubble(t, at, file, func(t *testing.T, w *world) {
		w.end()
		w.o.Embedded, w.o.Name, w.o.Revision = false, "first", "one"
		w.begin()
		w.after(2 * time.Second)
		test(t, w)
	})
}

// beats says that another replica lives, until it is stopped.
func (w *world) beats(beat events.Beat) (stop func()) {
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // until stop
		defer close(done)
		for ctx.Err() == nil {
			if err := w.bus.Beat(beat); err != nil {
				w.t.Error(err)
			}
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
		}
	}()
	return func() { end(); <-done }
}

func (w *world) wantShare(want float64) {
	w.t.Helper()
	if got := w.api.RateState().Share; got != want {
		w.t.Errorf("its part of the rate is %v requests a second, want %v", got, want)
	}
}

func TestTheRateIsSharedAmongTheLiving(t *testing.T) {
	amongOthers(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.wantShare(50)
		end := w.beats(events.Beat{ID: "b", Name: "second", Revision: "one"})
		w.after(time.Second)
		w.wantShare(25)
		leaves := w.beats(events.Beat{ID: "c", Name: "third", Revision: "one"})
		w.after(time.Second)
		w.wantShare(50.0 / 3)
		leaves()
		if err := w.bus.Beat(events.Beat{ID: "c", Name: "third", Leaving: true}); err != nil {
			t.Fatal(err)
		}
		w.after(time.Second)
		w.wantShare(25) // at once, since it said so
		end()           // this one dies
		w.after(4 * time.Second)
		w.wantShare(25)
		w.after(6 * time.Second)
		w.wantShare(50)
	})
}

func TestReplicasThatComeKnowEachOtherAtOnce(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		end := w.second()
		w.after(100 * time.Millisecond)
		w.wantShare(25)
		if s := w.w.Status(t.Context()); len(s.Replicas) != 1 {
			t.Errorf("the status knows %d other replicas, want 1", len(s.Replicas))
		}
		end()
		w.after(100 * time.Millisecond)
		w.wantShare(50)
	})
}

func TestA429OfOneReplicaLowersTheRateOfAll(t *testing.T) {
	amongOthers(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		until := time.Now().Add(20 * time.Second).UTC()
		for _, b := range []events.Beat{{ID: "b", Name: "second"}, {ID: "b", Name: "second", Refused: 1, ClosedUntil: until}} {
			if err := w.bus.Beat(b); err != nil {
				t.Fatal(err)
			}
			w.after(time.Second)
		}
		if s := w.api.RateState(); s.Rate > 13 || !s.ClosedUntil.Equal(until) {
			t.Errorf("after a 429 of another the rate is %v, closed until %s; want half of 25, and %s", s.Rate, s.ClosedUntil, until)
		}
		if s := w.api.RateState(); s.Refused != 0 {
			t.Errorf("it counts %d refusals, want 0: it was not its own", s.Refused)
		}
	})
}

// noticed are the details of notices with a reason.
func (w *world) noticed(reason string) (details []string) {
	for _, r := range w.records(events.Noticed) {
		if r.Reason == reason {
			details = append(details, r.Detail)
		}
	}
	return details
}

func TestReplicasWithDifferentFilesAreReportedOnce(t *testing.T) {
	amongOthers(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		end := w.beats(events.Beat{ID: "b", Name: "second", Revision: "two"})
		w.after(50 * time.Second)
		if got := w.noticed("revisions differ"); len(got) != 0 {
			t.Errorf("after 50 s already: %q", got) // an edit reaches one after another
		}
		w.after(20 * time.Minute)
		if got := w.noticed("revisions differ"); len(got) != 1 || got[0] != "replicas have different policy files: one on first; two on second" {
			t.Errorf("got %q, want one notice that names both", got)
		}
		end()
		w.after(20 * time.Minute)
		if got := w.noticed("revisions differ"); len(got) != 1 {
			t.Errorf("got %q, want no more", got)
		}
	})
}

func TestThatTheTokenIsRefusedIsSaidOnceByAllReplicas(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		end := w.second()
		defer end()
		w.after(time.Minute)
		refused := func() (n int) {
			for _, r := range w.records(events.PutOff) {
				if r.Action == "account" {
					n++
				}
			}
			return n
		}
		w.sim.Inject(civosim.Fault{Op: "*", Kind: civosim.Unauthorized, Count: -1})
		for n := range 8 { // whichever of them takes it up
			w.command(events.Command{ID: fmt.Sprint("c", n), Instance: web1, Action: "stop"})
			w.after(time.Minute)
		}
		if n := refused(); n != 1 {
			t.Errorf("it is said %d times that the token is refused, want once", n)
		}
		w.sim.ClearFaults()
		w.after(time.Hour)
		w.sim.Inject(civosim.Fault{Op: "*", Kind: civosim.Unauthorized, Count: -1})
		w.command(events.Command{ID: "again", Instance: web1, Action: "start"})
		w.after(15 * time.Minute)
		if n := refused(); n != 2 {
			t.Errorf("an hour later it is said %d times in all, want once more", n)
		}
	})
}

// A tick that another revision of the policy stored first is handed back as long
// as that may be at work; after that it is decided about by this one's.
func TestAnEdgeOfAnotherRevisionIsTakenByWhoeverIsLeft(t *testing.T) {
	amongOthers(t, "2026-03-04 18:59", office, func(t *testing.T, w *world) {
		end := w.beats(events.Beat{ID: "b", Name: "second", Revision: "two"})
		w.after(30 * time.Second)
		edge := time.Date(2026, 3, 4, 19, 0, 0, 0, time.UTC)
		id := fmt.Sprintf("dev-hours@%d", edge.Unix())
		stored, err := w.bus.PublishTick(t.Context(), events.Tick{Policy: "dev-hours", Planned: edge, Hash: "two", Trigger: fmt.Sprintf("t%d", edge.Unix()), Edges: []string{id}})
		if err != nil || !stored {
			t.Fatal(stored, err)
		}
		w.after(35 * time.Second) // 19:00:07
		w.wantOutcomes()
		w.wantStatus(dev1, "ACTIVE")
		end() // the last one that had it
		w.after(10 * time.Second)
		w.wantStatus(dev1, "STOPPING")
		w.after(40 * time.Second)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
	})
}

func TestAnEdgeThatOnlyAnotherRevisionHasEndsAfterAMinute(t *testing.T) {
	amongOthers(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		defer w.beats(events.Beat{ID: "b", Name: "second", Revision: "two"})()
		w.after(30 * time.Second)
		edge := time.Now().UTC().Truncate(time.Second)
		id := fmt.Sprintf("dev-hours@%d", edge.Unix())
		if _, err := w.bus.PublishTick(t.Context(), events.Tick{Policy: "dev-hours", Planned: edge, Hash: "two", Trigger: fmt.Sprintf("t%d", edge.Unix()), Edges: []string{id}}); err != nil {
			t.Fatal(err)
		}
		w.after(50 * time.Second)
		w.wantOutcomes()
		w.after(20 * time.Second)
		w.wantOutcomes("tick  skipped policy changed")
	})
}

func TestARunOfAnotherRevisionIsHandedBackForAMinute(t *testing.T) {
	amongOthers(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		defer w.beats(events.Beat{ID: "b", Name: "second", Revision: "two"})()
		w.after(30 * time.Second)
		now := time.Now().UTC()
		if _, err := w.bus.StoreRun(t.Context(), events.Run{
			Trigger: "t1", Region: "lon1", Kind: "tick", Planned: now, StoredAt: now,
			Items: []events.Item{{ID: "a1", Kind: "power", Action: "stop", Region: "lon1", Instance: web1, Policy: "night", Revision: "two", Planned: now, NotAfter: now.Add(time.Hour)}},
		}); err != nil {
			t.Fatal(err)
		}
		w.after(50 * time.Second)
		w.wantOutcomes()
		w.after(20 * time.Second)
		w.wantOutcomes("stop  skipped policy changed")
	})
}

// What is delivered to two at once, because its acknowledgement or a sign of life
// was lost, is carried out once.
func TestARunInTheHandsOfTwoIsCarriedOutOnce(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.o.Workers = 1
		defer w.second()()
		now := time.Now().UTC()
		if _, err := w.bus.StoreRun(t.Context(), events.Run{
			Trigger: "t1", Region: "lon1", Kind: "command", Planned: now, StoredAt: now,
			Items: []events.Item{{ID: "a1", Kind: "reboot", Action: "reboot", Region: "lon1", Instance: web1, Planned: now, NotBefore: now.Add(time.Minute), NotAfter: now.Add(time.Hour)}},
		}); err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(w.bus.Conn())
		if err != nil {
			t.Fatal(err)
		}
		for range 8 { // it is delivered again, although it is in work
			w.after(2 * time.Second)
			if _, err := js.ResetConsumer(t.Context(), events.StreamRun, "runner"); err != nil {
				t.Fatal(err)
			}
		}
		w.after(10 * time.Minute)
		if n := w.calls("soft_reboot"); n != 1 {
			t.Errorf("%d reboots were sent, want 1", n)
		}
		w.wantOutcomes("reboot  done")
	})
}

func TestAChangeByHandIsNoticedOnceByAllReplicas(t *testing.T) {
	inBubble(t, "2026-03-04 20:00", with(devHours), func(t *testing.T, w *world) {
		w.sim.SetStatus(dev1, "SHUTOFF")
		defer w.second()()
		look := func() { // each of the two answers some
			for range 12 {
				w.ask("plan", worker.PlanRequest{}, &worker.PlanAnswer{})
				w.after(6 * time.Second)
			}
		}
		look()
		w.sim.SetStatus(dev1, "ACTIVE")
		look()
		hands := 0
		for _, r := range w.records(events.Noticed) {
			if r.Reason == "changed by hand" || r.Detail == "started by somebody else" {
				hands++
			}
		}
		if hands != 1 {
			t.Errorf("a start by hand was noticed %d times, want 1", hands)
		}
	})
}

func TestANewerRunOvertakesAnOlderOneThatAnotherReplicaHas(t *testing.T) {
	var machines strings.Builder
	machines.WriteString("instances:\n")
	for n := range 12 {
		fmt.Fprintf(&machines, "  - { id: %s, hostname: a-%d, region: LON1, size: g3.small, tags: [env=x], status: ACTIVE }\n", numbered(n), n)
	}
	inBubbleWith(t, "2026-03-04 12:00", office, machines.String(), func(t *testing.T, w *world) {
		defer w.second()()
		now := time.Now().UTC()
		for n := range 12 {
			for _, it := range []events.Item{
				{ID: fmt.Sprintf("old-%d", n), Action: "stop", Policy: policies.MarkSource, NotBefore: now.Add(time.Minute)}, // after its spread
				{ID: fmt.Sprintf("new-%d", n), Action: "start", Skip: "already"},
			} {
				it.Kind, it.Region, it.Instance, it.Planned, it.NotAfter = "power", "lon1", numbered(n), now, now.Add(time.Hour)
				if _, err := w.bus.StoreRun(t.Context(), events.Run{Trigger: it.ID, Region: "lon1", Kind: "command", Planned: now, StoredAt: now, Items: []events.Item{it}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.after(10 * time.Minute)
		if n := w.calls("stop"); n != 0 {
			t.Errorf("%d of 12 were stopped, although somebody wanted them running since", n)
		}
		if got := strings.Join(w.outcomes(), "; "); strings.Count(got, "superseded") != 12 {
			t.Errorf("got %s, want 12 superseded", got)
		}
	})
}

func numbered(n int) string { return fmt.Sprintf("55555555-0000-4000-8000-%012d", n) }

// A replica whose clock is a little ahead announces an edge that for this one lies
// a moment ahead. It is decided about as of the edge, not as of before it.
func TestAnEdgeAnnouncedByAReplicaWhoseClockIsAheadIsNotSkipped(t *testing.T) {
	amongOthers(t, "2026-03-04 18:58", office, func(t *testing.T, w *world) {
		edge := time.Date(2026, 3, 4, 19, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(edge.Add(-800 * time.Millisecond)))
		p, _ := w.set.Policy("dev-hours")
		id := fmt.Sprintf("dev-hours@%d", edge.Unix())
		if stored, err := w.bus.PublishTick(t.Context(), events.Tick{Policy: "dev-hours", Planned: edge, Hash: p.Hash(), Trigger: fmt.Sprintf("t%d", edge.Unix()), Edges: []string{id}}); err != nil || !stored {
			t.Fatal(stored, err)
		}
		w.after(5 * time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
	})
}

func TestTheEndOfAKeepAnnouncedByAReplicaWhoseClockIsAheadIsNotSkipped(t *testing.T) {
	amongOthers(t, "2026-03-04 18:58", office, func(t *testing.T, w *world) {
		end := time.Date(2026, 3, 4, 19, 30, 0, 0, time.UTC)
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "running", Until: end.Format(time.RFC3339)}, &worker.KeepAnswer{})
		time.Sleep(time.Until(end.Add(-800 * time.Millisecond)))
		w.wantStatus(dev1, "ACTIVE")
		id := fmt.Sprintf("_keep@%d", end.Unix())
		if stored, err := w.bus.PublishTick(t.Context(), events.Tick{Policy: "_keep", Planned: end, Hash: "-", Trigger: fmt.Sprintf("t%d", end.Unix()), Edges: []string{id}}); err != nil || !stored {
			t.Fatal(stored, err)
		}
		w.after(5 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
	})
}

func TestWhatCameToNothingIsWantedByNoReplica(t *testing.T) {
	inBubble(t, "2026-03-04 20:00", with(`  - name: ci
    select: { all: [env=dev] }
    trigger: { alert: Queued }
    do: start
    lasts: 2h
    cooldown: 1s
`), func(t *testing.T, w *world) {
		w.sim.SetStatus(dev1, "SHUTOFF")
		w.sim.SetStatus(dev2, "SHUTOFF")
		defer w.second()()
		w.after(time.Minute)
		fault, err := civosim.ParseFault("start:refused,code=quota_limit_reached,status=403")
		if err != nil {
			t.Fatal(err)
		}
		w.sim.Inject(fault)
		w.signal(events.Signal{Instance: dev1, Alert: "Queued", ID: "a"})
		w.after(time.Minute)
		w.wantOutcomes("start dev-1 failed")
		for range 12 { // each of the two answers some
			var answer worker.PlanAnswer
			w.ask("plan", worker.PlanRequest{}, &answer)
			for _, line := range answer.Actions {
				if line.Instance == dev1 {
					t.Fatalf("a replica would still %s it: %s", line.Action, line.Why)
				}
			}
			w.after(6 * time.Second)
		}
	})
}

// Replicas with another file write over what is remembered of a policy. When they
// are gone it is written again: else the policy would be new at the next start.
func TestWhatIsRememberedOfAPolicyOutlivesReplicasWithAnotherFile(t *testing.T) {
	amongOthers(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		end := w.beats(events.Beat{ID: "b", Name: "second", Revision: "two"})
		w.after(10 * time.Second)
		if _, err := w.bus.State().Put(t.Context(), "policy.dev-hours", []byte(`{"hash":"two","since":"2026-01-01T00:00:00Z","last":"2026-03-04T08:00:00Z"}`)); err != nil {
			t.Fatal(err)
		}
		if err := w.bus.State().Delete(t.Context(), "policy.web-down"); err != nil { // the other file has no such policy
			t.Fatal(err)
		}
		end()
		w.after(15 * time.Second)
		for _, name := range []string{"dev-hours", "web-down"} {
			p, _ := w.set.Policy(name)
			entry, err := w.bus.State().Get(t.Context(), "policy."+name)
			if err != nil || !strings.Contains(string(entry.Value()), p.Hash()) {
				t.Errorf("what is remembered of %s is not of this form of it: %v", name, err)
			}
		}
	})
}
