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
	w.account(2, machines)
}

func (w *world) account(seed uint64, machines []civosim.Machine) {
	w.t.Helper()
	w.end()
	w.sim = civosim.New(civosim.Options{Token: "secret", Regions: w.set.Regions, Delay: 20 * time.Second, Seed: seed, Fleet: machines})
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

func TestAnAccountWithoutInstancesIsNotTakenForOneWhereAllAreGone(t *testing.T) {
	twoRegions := strings.Replace(office, "regions: [LON1]", "regions: [LON1, NYC1]", 1)
	for name, file := range map[string]string{"one region": office, "two regions": twoRegions} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, "2026-03-04 12:00", file, func(t *testing.T, w *world) {
				w.command(events.Command{ID: "abc", Instance: web1, Action: "stop"})
				w.after(5 * time.Minute)
				w.wantOutcomes("stop web-1 done")
				w.account(2, nil) // a token of another account, which has nothing
				lists := len(w.sim.Requests())
				w.command(events.Command{ID: "def", Instance: web1, Action: "start", GiveUpAfter: "1h"})
				w.after(20 * time.Minute)
				w.wantOutcomes("stop web-1 done") // the start waits: the instance is not gone
				if s := w.w.Status(t.Context()); !s.NoInstance || s.Regions[0].Instances != 0 || !strings.Contains(s.Regions[0].Error, "nightshift account accept") {
					t.Errorf("status says %+v, want that no instance is listed any more", s)
				}
				loud := 0
				for _, r := range w.records(events.Noticed) {
					if r.Action == "account" && r.Reason == "no instance" && strings.Contains(r.Detail, "perhaps it is another account's") {
						loud++
					}
				}
				if loud != 1 {
					t.Errorf("it is said %d times, want once", loud)
				}
				if n := len(w.sim.Requests()) - lists; n > 20*60/2*len(w.set.Regions) {
					t.Errorf("%d requests in 20 minutes", n)
				}

				machines, err := civosim.ParseFleet([]byte(fleet))
				if err != nil {
					t.Fatal(err)
				}
				w.account(1, machines) // the right token again
				w.after(10 * time.Minute)
				got := strings.Join(w.outcomes(), "; ")
				if s := w.w.Status(t.Context()); s.NoInstance || !strings.Contains(got, "start web-1") {
					t.Errorf("with the right token again: outcomes %s, status %+v", got, s)
				}
			})
		})
	}
}

func TestThatAllInstancesAreGoneIsBelievedOnceItIsAccepted(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		w.after(2 * time.Minute)
		w.command(events.Command{ID: "abc", Instance: web1, Action: "stop"})
		w.after(5 * time.Minute)
		w.account(1, nil)
		w.command(events.Command{ID: "def", Instance: web1, Action: "start"})
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 done")
		var a worker.AccountAnswer
		w.refused("account-accept", worker.AccountRequest{Account: "another"}, "lists no instance")
		w.ask("account-accept", worker.AccountRequest{Who: "mia"}, &a)
		if !a.Empty || len(a.Pinned) != 1 || a.Who != "local" || a.Claim != "mia" {
			t.Errorf("accepted: %+v", a)
		}
		w.after(10 * time.Minute)
		if s := w.w.Status(t.Context()); s.NoInstance || s.Regions[0].Error != "" {
			t.Errorf("status says %+v after it is accepted", s)
		}
		if got := w.outcomes(); len(got) != 2 {
			t.Errorf("outcomes %v, want that the start has one: its instance is gone", got)
		}

		machines, err := civosim.ParseFleet([]byte(fleet))
		if err != nil {
			t.Fatal(err)
		}
		w.account(1, machines) // there are some again, and then none: it is asked anew
		w.command(events.Command{ID: "ghi", Instance: web1, Action: "reboot"})
		w.after(5 * time.Minute)
		if pin, _, err := w.bus.Pinned(t.Context()); err != nil || pin.Empty || !slices.Equal(pin.IDs, a.Pinned) {
			t.Errorf("the pin is %+v, %v", pin, err)
		}
	})
}

func TestARegionThatLosesItsLastInstanceIsBelievedWhereAnotherHasSome(t *testing.T) {
	file := strings.Replace(office, "regions: [LON1]", "regions: [LON1, NYC1]", 1)
	far := fleet + "  - { id: 55555555-0000-4000-8000-000000000001, hostname: far-1, region: NYC1, size: g3.small, tags: [role=far], status: ACTIVE }\n"
	inBubbleWith(t, "2026-03-04 12:00", file, far, func(t *testing.T, w *world) {
		w.after(2 * time.Minute)
		const far1 = "55555555-0000-4000-8000-000000000001"
		w.command(events.Command{ID: "abc", Region: "nyc1", Instance: far1, Action: "stop"})
		w.after(5 * time.Minute)
		machines, err := civosim.ParseFleet([]byte(fleet)) // without it
		if err != nil {
			t.Fatal(err)
		}
		w.account(1, machines)
		w.command(events.Command{ID: "def", Region: "nyc1", Instance: far1, Action: "start"})
		w.after(10 * time.Minute)
		if got := w.outcomes(); len(got) != 2 || !strings.HasPrefix(got[0], "stop far-1 done") && !strings.HasPrefix(got[1], "stop far-1 done") {
			t.Errorf("outcomes %v, want that the start has one: its instance is gone", got)
		}
		if s := w.w.Status(t.Context()); s.NoInstance {
			t.Errorf("status says %+v", s)
		}
	})
}
