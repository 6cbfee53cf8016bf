package worker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

// otherAccount is a restart with the token of another account: it has an instance of
// every name, too.
func (w *world) otherAccount() {
	w.t.Helper()
	machines, err := civosim.ParseFleet([]byte(fleet))
	if err != nil {
		w.t.Fatal(err)
	}
	w.end()
	w.sim = civosim.New(civosim.Options{Token: "secret", Regions: w.set.Regions, Delay: 20 * time.Second, Seed: 2, Fleet: machines})
	w.begin()
}

func TestAnotherAccountStopsAllActionsUntilItIsAccepted(t *testing.T) {
	inBubble(t, "2026-03-04 18:55", office, func(t *testing.T, w *world) {
		w.after(10 * time.Minute)
		w.wantOutcomes("stop dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
		own := w.w.Status(t.Context())
		if len(own.Account) != 1 || len(own.OtherAccount) != 0 {
			t.Fatalf("the account is %v and %v, want one and no other", own.Account, own.OtherAccount)
		}
		w.otherAccount()
		w.command(events.Command{ID: "abc", Instance: web1, Action: "stop"})
		w.after(13*time.Hour + 10*time.Minute) // over the edge at 08:00
		if n := w.calls("stop") + w.calls("start"); n != 0 {
			t.Errorf("%d calls in another account", n)
		}
		s := w.w.Status(t.Context())
		if !slices.Equal(s.Account, own.Account) || len(s.OtherAccount) != 1 || s.OtherAccount[0] == own.Account[0] {
			t.Errorf("status says account %v and another %v", s.Account, s.OtherAccount)
		}
		loud := func() (n int) {
			for _, r := range w.records(events.Noticed) {
				if r.Action == "account" && r.Reason == "other account" && strings.Contains(r.Detail, "nightshift account accept") {
					n++
				}
			}
			return n
		}
		if n := loud(); n != 1 {
			t.Errorf("it is said %d times, want once", n)
		}

		var a worker.AccountAnswer
		w.ask("account", struct{}{}, &a)
		if !slices.Equal(a.Pinned, own.Account) || !slices.Equal(a.Seen, s.OtherAccount) {
			t.Errorf("the account is said to be %+v", a)
		}
		if err := w.bus.Ask(t.Context(), "account-accept", worker.AccountRequest{Account: own.Account[0]}, &a); err == nil || !strings.Contains(err.Error(), "not of "+own.Account[0]) {
			t.Errorf("accepting what the token is not of: %v", err)
		}
		w.ask("account-accept", worker.AccountRequest{Account: s.OtherAccount[0], Who: "mia"}, &a)
		w.command(events.Command{ID: "def", Instance: web1, Action: "stop"})
		w.after(10 * time.Minute)
		if n := w.calls("stop"); n != 1 {
			t.Errorf("%d stop calls after it is accepted, want 1", n)
		}
		if s := w.w.Status(t.Context()); len(s.OtherAccount) != 0 || !slices.Equal(s.Account, a.Seen) {
			t.Errorf("status says account %v and another %v", s.Account, s.OtherAccount)
		}
		got := strings.Join(w.outcomes(), "; ")
		if !strings.Contains(got, "stop web-1 done") || !strings.Contains(got, "start dev-1 skipped already") { // a start by schedule is good until its window ends
			t.Errorf("outcomes after it is accepted: %s", got)
		}
	})
}

func TestAReplicaHearsThatAnotherAccountIsAccepted(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.command(events.Command{ID: "abc", Instance: web1, Action: "stop"})
		w.after(5 * time.Minute)
		if err := w.bus.RepinAccount(t.Context(), events.Pin{IDs: []string{"another"}}); err != nil { // as another replica does
			t.Fatal(err)
		}
		w.after(time.Minute)
		w.command(events.Command{ID: "def", Instance: web1, Action: "start"})
		w.after(10 * time.Minute)
		if stops, starts := w.calls("stop"), w.calls("start"); stops != 1 || starts != 0 {
			t.Errorf("%d stops and %d starts, want the first only: the token is of the account of before", stops, starts)
		}
	})
}
