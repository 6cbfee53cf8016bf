package worker_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

func noNTP() bool { return false }

// restartOff is a restart on a machine whose clock is wrong by d.
func (w *world) restartOff(d time.Duration) {
	w.t.Helper()
	w.end()
	w.o.Clock, w.o.Synced = worker.Off(d), noNTP
	w.begin()
}

func (w *world) wantNotReady(want string) {
	w.t.Helper()
	why := strings.Join(w.w.NotReady(w.t.Context()), "; ")
	if want == "" && why != "" || !strings.Contains(why, want) {
		w.t.Errorf("not ready: %q, want %q in it", why, want)
	}
}

func TestNothingActsByAClockThatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		off   time.Duration
		built string
		want  string
	}{
		"ahead":           {off: 2 * time.Hour, want: "2h0m0s ahead of the clock of NATS"},
		"behind":          {off: -3 * time.Hour, want: "3h0m0s behind the clock of NATS"},
		"before building": {built: "2026-06-01T00:00:00Z", want: "this program was built at 2026-06-01T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, "2026-03-04 17:30", office, func(t *testing.T, w *world) {
				if c.built != "" {
					var err error
					if w.o.Built, err = time.Parse(time.RFC3339, c.built); err != nil {
						t.Fatal(err)
					}
				}
				w.restartOff(c.off)
				w.command(events.Command{ID: "abc", Instance: web1, Action: "stop"})
				w.after(10 * time.Minute) // ahead, it says 19:40 now
				w.wantOutcomes()
				w.wantNotReady(c.want)
				var ignored any
				if err := w.bus.Ask(t.Context(), "do.local.lon1."+web1+".stop", struct{}{}, &ignored); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("a command is answered with %v, want why nothing is done", err)
				}

				w.o.Built = time.Time{}
				w.restartOff(0)
				w.after(5 * time.Minute) // the command is taken up
				w.wantNotReady("")
				w.wantOutcomes("stop web-1 done")
				w.after(2 * time.Hour) // and the edge at 19:00 was not fired before
				w.wantOutcomes("stop web-1 done", "stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
				said := 0
				for _, r := range w.records(events.Noticed) {
					if r.Action == "clock" && strings.Contains(r.Detail, c.want) {
						said++
					}
				}
				if said != 1 {
					t.Errorf("it is said %d times, want once", said)
				}
			})
		})
	}
}

func TestAClockThatWasAheadLosesNoEdgeWhenItIsSetBack(t *testing.T) {
	inBubble(t, "2026-03-04 17:30", office, func(t *testing.T, w *world) {
		w.end()
		// What a clock leaves that stood a week ahead: the newest edge of the policy.
		entry, err := w.bus.State().Get(t.Context(), "policy.dev-hours")
		if err != nil {
			t.Fatal(err)
		}
		text := string(entry.Value())
		i := strings.Index(text, `"last":"`) + len(`"last":"`)
		ahead := text[:i] + "2026-03-11T19:00:00Z" + text[i+strings.IndexByte(text[i:], '"'):]
		if _, err := w.bus.State().Put(t.Context(), "policy.dev-hours", []byte(ahead)); err != nil {
			t.Fatal(err)
		}
		w.begin()
		w.after(2 * time.Hour)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
	})
}

func TestAClockThatIsWrongDecidesAboutNothingUnderWay(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		var ahead atomic.Int64
		w.end()
		w.o.Clock, w.o.Synced = worker.Jumping(&ahead), noNTP
		w.begin()
		w.after(time.Minute)
		w.command(events.Command{ID: "c1", Instance: web1, Action: "stop"})
		w.after(5 * time.Second) // it is accepted
		w.fault("retag", civosim.ServerError, -1)
		w.command(events.Command{ID: "c2", Instance: dev1, Action: "retag", Add: []string{"note=1"}, GiveUpAfter: "3m"})
		w.after(5 * time.Second)

		ahead.Store(int64(40 * 24 * time.Hour))
		w.after(10 * time.Minute)
		w.wantOutcomes()
		for endpoint, req := range map[string]any{
			"keep":    worker.KeepRequest{Instance: dev1, Region: "LON1", State: "running", For: "1h"},
			"pause":   worker.PauseRequest{All: true, For: "1h"},
			"resume":  worker.PauseRequest{All: true},
			"approve": worker.ApproveRequest{Run: "local-c1"},
		} {
			w.refused(endpoint, req, "960h0m0s ahead of the clock of NATS")
		}

		ahead.Store(0)
		w.after(time.Minute)
		w.wantOutcomes("stop web-1 done", "retag dev-1 failed")
	})
}

func TestWhatWaitsByAClockThatIsBehindGoesOnWhenItIsRight(t *testing.T) {
	inBubble(t, "2026-03-04 18:55", office, func(t *testing.T, w *world) {
		var ahead atomic.Int64
		w.end()
		w.o.Clock, w.o.Synced = worker.Jumping(&ahead), noNTP
		w.begin()
		w.sim.SetStatus(dev1, "BUILDING")
		w.after(6 * time.Minute) // the stop of 19:00 waits until it is built
		ahead.Store(int64(-2000 * time.Hour))
		w.after(time.Minute) // by this clock it is due in May
		ahead.Store(0)
		w.sim.SetStatus(dev1, "ACTIVE")
		w.after(time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
	})
}

func TestWhatChangesByHandWhileTheClockIsWrongIsSeenWhenItIsRight(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		var ahead atomic.Int64
		w.end()
		w.o.Clock, w.o.Synced = worker.Jumping(&ahead), noNTP
		w.begin()
		w.after(15 * time.Minute)
		ahead.Store(int64(-3 * time.Hour))
		w.after(time.Minute)
		w.byHand(w.api.Stop, dev1)
		w.after(20 * time.Minute)
		hands := func() (at []time.Time) {
			for _, r := range w.records(events.Noticed) {
				if r.Reason == "hand" {
					at = append(at, r.Planned)
				}
			}
			return at
		}
		if at := hands(); len(at) > 0 {
			t.Errorf("a hand is seen at %s, by a clock that is wrong", at)
		}
		ahead.Store(0)
		right := time.Now()
		w.after(20 * time.Minute)
		if at := hands(); len(at) != 1 || at[0].Before(right) {
			t.Errorf("hands are seen at %s, want one since %s", at, right)
		}
	})
}

func TestAClockThatIsWrongSilencesNoPolicyFromThenOn(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.end()
		w.putBreaker("dev-hours", map[string]any{"last": "stop of dev-9: quota", "until": time.Now().Add(45 * time.Minute), "times": 1})
		w.o.Clock, w.o.Synced = worker.Off(-3*time.Hour), noNTP
		w.begin()
		w.after(time.Minute)
		keys, err := w.bus.State().ListKeysFiltered(t.Context(), "pause.>")
		if err != nil {
			t.Fatal(err)
		}
		for key := range keys.Keys() {
			t.Errorf("%s is stored, since a time of that clock", key)
		}
	})
}
