package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
)

// TestAFleetIsBroughtThereWhileTheAPIFails stops 300 instances while 30 of 100
// answers of the API are errors, or do not come, and 10 of 100 requests are carried
// out and their answer is lost: in virtual time all are off well before they would
// be given up, each action has one outcome, and what is tried again is bounded.
func TestAFleetIsBroughtThereWhileTheAPIFails(t *testing.T) {
	const n = 300
	file := strings.Replace(office, "protect:", "limits: { per_run: 5000, per_hour: 5000 }\nprotect:", 1)
	inBubbleWith(t, "2026-11-27 18:58", file, devMachines(n), func(t *testing.T, w *world) {
		w.after(90 * time.Second)
		for _, f := range []civosim.Fault{
			{Kind: civosim.RateLimited, RetryAfter: time.Second, Probability: 0.1},
			{Kind: civosim.ServerError, Probability: 0.06}, {Kind: civosim.HTML502, Probability: 0.04}, {Kind: civosim.CutBefore, Probability: 0.1},
			{Kind: civosim.CutAfter, Probability: 0.06}, {Kind: civosim.BadJSON, Probability: 0.02}, {Kind: civosim.ServerError, After: true, Probability: 0.02},
		} {
			f.Count = -1
			w.sim.Inject(f)
		}
		before := len(w.sim.Requests())
		edge := time.Date(2026, 11, 27, 19, 0, 0, 0, time.UTC)
		var half, all time.Duration
		for all == 0 && time.Since(edge) < time.Hour {
			w.after(time.Second)
			off := 0
			for _, i := range w.sim.Instances() {
				if i.Status == "SHUTOFF" {
					off++
				}
			}
			if off >= n/2 && half == 0 {
				half = time.Since(edge)
			}
			if off == n {
				all = time.Since(edge)
			}
		}
		w.after(15 * time.Minute) // until the last is seen to be off
		ended := make(map[events.Outcome]int)
		for _, o := range []events.Outcome{events.Done, events.Skipped, events.Failed, events.Unknown, events.Expired, events.Superseded} {
			ended[o] = len(w.records(o))
		}
		calls, struck := 0, 0
		for _, r := range w.sim.Requests()[before:] {
			if r.Op == "stop" {
				calls++
			}
			if r.Fault != "" {
				struck++
			}
		}
		t.Logf("half are off %s after the edge, all after %s; %d stop requests, %d requests struck; outcomes %v", half, all, calls, struck, ended)
		if all == 0 || all > 30*time.Minute {
			t.Errorf("all are off %s after the edge, want half an hour at most", all)
		}
		if ended[events.Done] != n || len(w.outcomes()) != n {
			for _, rec := range w.records(events.Skipped) {
				t.Logf("skipped: %s %s: %s", rec.Hostname, rec.Reason, rec.Detail)
			}
			t.Errorf("outcomes %v, want %d done and nothing else", ended, n)
		}
	})
}
