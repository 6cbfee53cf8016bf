package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

func TestWhatNobodyCanKnowIsUnknownWithWhatIsKnownUntilSomebodySettlesIt(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "soft_reboot", Kind: civosim.CutBefore})
		w.command(events.Command{Instance: web1, Action: "reboot", ID: "lost"})
		w.command(events.Command{Instance: dev1, Action: "stop", ID: "good"})
		w.after(10 * time.Minute)
		w.wantOutcomes("reboot web-1 unknown", "stop dev-1 done")

		var open worker.UnsettledAnswer
		w.ask("unsettled", worker.UnsettledRequest{}, &open)
		if len(open.Actions) != 1 {
			t.Fatalf("%d actions wait to be settled, want 1: %+v", len(open.Actions), open.Actions)
		}
		a := open.Actions[0]
		if noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC); a.CalledAt.Sub(noon) > time.Second || a.SeenAt.Sub(noon) < 2*time.Minute || a.LastSeen != "ACTIVE" || a.Hostname != "web-1" {
			t.Errorf("the evidence is %+v", a)
		}
		if !strings.Contains(a.Detail, "a reboot is never sent twice; started at 2026-03-04T12:00:00Z, last seen ACTIVE at 2026-03-04T12:02:") || !strings.HasSuffix(a.Detail, "nightshift settle "+a.ActionID) {
			t.Errorf("it says %q", a.Detail)
		}

		done := w.records(events.Done)[0]
		for _, c := range []struct {
			req  worker.SettleRequest
			want string
		}{
			{worker.SettleRequest{Reason: "seen"}, "name an action"},
			{worker.SettleRequest{ActionID: a.ActionID}, "reason is empty"},
			{worker.SettleRequest{ActionID: a.ActionID, As: "expired", Reason: "seen"}, "neither done nor failed"},
			{worker.SettleRequest{ActionID: "0123", Reason: "seen"}, "there is no action 0123"},
			{worker.SettleRequest{ActionID: "*", Reason: "seen"}, "cannot stand in a subject"},
			{worker.SettleRequest{ActionID: done.ActionID, Reason: "seen"}, "stop of dev-1 ended as done: only what is unknown is settled"},
		} {
			if err := w.bus.Ask(t.Context(), "settle", c.req, new(worker.SettleAnswer)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("settle %+v: got %v, want %q", c.req, err, c.want)
			}
		}
		failed := func() int {
			var runs worker.RunsAnswer
			w.ask("runs", worker.RunsRequest{Failed: true}, &runs)
			return len(runs.Runs)
		}
		if failed() != 1 {
			t.Error("what is unknown is not shown as failed")
		}

		w.ask("settle", worker.SettleRequest{ActionID: a.ActionID, As: "failed", Reason: "uptime is 40 days", Who: "ann"}, new(worker.SettleAnswer))
		w.after(time.Second)
		w.ask("settle", worker.SettleRequest{ActionID: a.ActionID, Reason: "no, it was another machine's", Who: "bob"}, new(worker.SettleAnswer))
		w.after(time.Second)
		w.ask("unsettled", worker.UnsettledRequest{}, &open)
		if len(open.Actions) != 0 {
			t.Errorf("%+v still waits to be settled", open.Actions)
		}
		if failed() != 0 {
			t.Error("what is settled is shown as failed")
		}
		var runs worker.RunsAnswer
		w.ask("runs", worker.RunsRequest{Run: "local-lost"}, &runs)
		if it := runs.Runs[0].Items[0]; it.Outcome != "unknown" || it.Settled != "done" || runs.Runs[0].Counts["unknown (settled as done)"] != 1 {
			t.Errorf("the run says %+v %v", it, runs.Runs[0].Counts)
		}
		if err := w.bus.Ask(t.Context(), "retry", worker.ApproveRequest{Run: "local-lost"}, new(worker.ApproveAnswer)); err == nil || !strings.Contains(err.Error(), "nothing of run") {
			t.Errorf("retry of what is settled: %v", err)
		}
		if notes := w.records(events.Settled); len(notes) != 2 || notes[1].Who != "local" || notes[1].Claim != "bob" || notes[1].Reason != "done" || notes[1].Detail != "no, it was another machine's" {
			t.Errorf("the trail says %+v", notes)
		}
		if n := w.calls("soft_reboot"); n != 1 {
			t.Errorf("%d reboots were sent, want 1", n)
		}
	})
}
