package worker_test

import (
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

// endsWithin ends the daemon as SIGTERM does and returns how long that took.
func (w *world) endsWithin(most time.Duration) (took time.Duration) {
	w.t.Helper()
	began := time.Now()
	w.end()
	if took = time.Since(began); took > most {
		w.t.Errorf("it took %s to end, want %s at most: whoever waits would kill it", took, most)
	}
	return took
}

// What supervisors give a daemon (TimeoutStopSec, terminationGracePeriodSeconds) is
// counted from worker.DefaultGrace: it ends soon after, also when the API never
// answers; what its calls came to is found out at the next start.
func TestACallThatHangsHoldsUpTheEndForTheGraceOnly(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		for _, op := range []string{"stop", "soft_reboot"} {
			w.sim.Inject(civosim.Fault{Op: op, Kind: civosim.Slow, Delay: 3 * time.Minute, Count: 1})
		}
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.command(events.Command{Instance: api1, Action: "reboot"})
		w.after(time.Second)
		if n := len(w.records(events.Started)); n != 2 {
			t.Fatalf("%d calls are under way, want 2", n)
		}
		if took := w.endsWithin(worker.DefaultGrace + time.Second); took < worker.DefaultGrace {
			t.Errorf("calls under way were given %s, want %s", took, worker.DefaultGrace)
		}
		w.begin()
		w.after(20 * time.Minute)
		w.wantOutcomes("stop web-1 done", "reboot api-1 unknown")
		if n := w.calls("soft_reboot"); n != 1 {
			t.Errorf("%d reboots were sent, want 1", n)
		}
	})
}

// An answer that comes within the grace is stored before the end, and nobody
// has to look it up.
func TestAnAnswerWithinTheGraceIsStoredBeforeTheEnd(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Slow, Delay: 8 * time.Second, Count: 1})
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.after(time.Second)
		w.endsWithin(worker.DefaultGrace)
		w.after(time.Second)
		if n := len(w.records(events.Accepted)); n != 1 {
			t.Errorf("%d accepted calls are stored, want 1", n)
		}
		w.begin()
		w.after(20 * time.Minute)
		w.wantOutcomes("stop web-1 done")
		if n := w.calls("stop"); n != 1 {
			t.Errorf("%d stops were sent, want 1", n)
		}
	})
}

// NATS may be away while the daemon is asked to end.
func TestTheEndWaitsForNoNATSThatIsAway(t *testing.T) {
	withFarServer(t, "2026-03-04 12:00", office, func(t *testing.T, w *world, far *farServer) {
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Slow, Delay: 5 * time.Second, Count: 1})
		w.command(events.Command{Instance: web1, Action: "stop"})
		w.after(time.Second)
		far.cut()
		w.after(time.Second)
		w.endsWithin(worker.DefaultGrace + 10*time.Second)
		far.restore()
		w.after(time.Minute)
		w.begin()
		w.after(20 * time.Minute)
		w.wantStatus(web1, "SHUTOFF")
	})
}
