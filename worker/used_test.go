package worker_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

const twoRegions = `
version: 1
regions: [LON1, NYC1]
timezone: Europe/London
policies:
  - { name: dev-hours, select: { all: [env=none] }, schedule: { running: ["Mon-Fri 08:00-19:00"] } }
limits: { share: 1 }
protect: { all: [protected] }
`

const ny1 = "55555555-0000-4000-8000-000000000001"

const fleetOfTwo = fleet + `  - { id: 55555555-0000-4000-8000-000000000001, hostname: ny-1, region: NYC1, size: g3.small, tags: [role=web], status: ACTIVE }
`

// do asks for a command, and returns the code of the refusal, if it is one.
func (w *world) do(subject string, c events.Command) (a worker.DoAnswer, code int, text string) {
	w.t.Helper()
	var no *events.Refusal
	switch err := w.bus.Ask(w.t.Context(), "do."+subject, c, &a); {
	case errors.As(err, &no):
		return a, no.Code, no.Msg
	case err != nil:
		w.t.Fatal(err)
	}
	return a, 0, ""
}

func TestTheIdOfACommandMeansOneThing(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", twoRegions, fleetOfTwo, func(t *testing.T, w *world) {
		first, code, text := w.do("oncall.lon1."+web1+".stop", events.Command{ID: "x", Reason: "repairs"})
		if code != 0 || first.Again {
			t.Fatalf("got %+v, %d %s", first, code, text)
		}
		// At once, while no plan is stored perhaps, and when it has ended.
		for _, wait := range []time.Duration{0, 5 * time.Minute} {
			w.after(wait)
			again, code, text := w.do("oncall.lon1."+web1+".stop", events.Command{ID: "x", Reason: "I said so", Claim: "ann"})
			if code != 0 || again.ActionID != first.ActionID || again.Trigger != first.Trigger {
				t.Errorf("the same again: got %+v, %d %s", again, code, text)
			}
			if wait > 0 && (!again.Again || again.Outcome != "done" || again.Hostname != "web-1" || again.AskedAt.IsZero()) {
				t.Errorf("it does not say how it ended: %+v", again)
			}
			for _, other := range []struct {
				subject string
				body    events.Command
			}{
				{"oncall.lon1." + api1 + ".stop", events.Command{ID: "x"}},
				{"oncall.nyc1." + ny1 + ".stop", events.Command{ID: "x"}},
				{"oncall.lon1." + web1 + ".start", events.Command{ID: "x"}},
				{"oncall.lon1." + web1 + ".stop", events.Command{ID: "x", DryRun: true}},
				{"oncall.lon1." + web1 + ".stop", events.Command{ID: "x", NotBefore: time.Now().Add(time.Hour)}},
			} {
				a, code, text := w.do(other.subject, other.body)
				if code != worker.CodeNotDone || !strings.Contains(text, "id x of oncall") || !strings.Contains(text, web1) || !strings.Contains(text, "2026-03-04T12:00:") || !strings.Contains(text, "another id") {
					t.Errorf("%s after %s: got %+v, %d %q", other.subject, wait, a, code, text)
				}
			}
		}
		if a, code, text := w.do("ann.lon1."+api1+".stop", events.Command{ID: "x"}); code != 0 {
			t.Errorf("the same id of somebody else: got %+v, %d %s", a, code, text)
		}
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 done", "stop api-1 done")
		if n := w.calls("stop"); n != 2 {
			t.Errorf("%d stops were sent, want 2", n)
		}
	})
}

func TestARefusalIsTheSameAgainAndAnInstanceMayBeGone(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		_, code, text := w.do("oncall.lon1."+db+".stop", events.Command{ID: "p"})
		w.after(time.Minute)
		if _, again, what := w.do("oncall.lon1."+db+".stop", events.Command{ID: "p"}); code != worker.CodeNotDone || again != code || what != text {
			t.Errorf("got %d %q, then %d %q", code, text, again, what)
		}
		first, _, _ := w.do("oncall.lon1."+web1+".stop", events.Command{ID: "g"})
		w.after(5 * time.Minute)
		w.byHand(w.api.Delete, web1)
		w.after(5 * time.Minute)
		if a, code, text := w.do("oncall.lon1."+web1+".stop", events.Command{ID: "g"}); code != 0 || a.ActionID != first.ActionID || a.Outcome != "done" {
			t.Errorf("got %+v, %d %s", a, code, text)
		}
	})
}

// TestAPlainPublishWithAUsedIdIsNotSilent sends what nats pub sends, in one moment
// and later.
func TestAPlainPublishWithAUsedIdIsNotSilent(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", twoRegions, fleetOfTwo, func(t *testing.T, w *world) {
		pub := func(subject string) {
			if err := w.bus.Conn().PublishMsg(&nats.Msg{Subject: "nightshift.v1.cmd.ci." + subject, Data: []byte(`{"id":"x"}`)}); err != nil {
				t.Fatal(err)
			}
		}
		pub("lon1." + web1 + ".stop")
		w.after(time.Second)
		pub("lon1." + web1 + ".stop") // the same: nothing to say
		pub("nyc1." + ny1 + ".stop")
		pub("lon1." + web1 + ".start")
		pub("lon1." + api1 + ".stop")
		w.after(5 * time.Minute)
		pub("lon1." + api1 + ".stop") // refused once
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 done", "stop ny-1 skipped id used", "start web-1 skipped id used", "stop api-1 skipped id used")
		for _, r := range w.records(events.Skipped) {
			if r.Who != "ci" || r.Trigger != "ci-x" || !strings.Contains(r.Detail, "id x of ci is used: stop web-1") || r.Instance == events.None {
				t.Errorf("got %+v", r)
			}
		}
		if n := w.calls("stop") + w.calls("start"); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

func TestTwoCommandsOfOneIdInOneMomentActOnce(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", twoRegions, fleetOfTwo, func(t *testing.T, w *world) {
		for n := range 10 {
			for _, subject := range []string{"lon1." + web1 + ".stop", "nyc1." + ny1 + ".stop"} {
				if err := w.bus.Conn().PublishMsg(&nats.Msg{Subject: "nightshift.v1.cmd.ci." + subject, Data: fmt.Appendf(nil, `{"id":"x%d","dry_run":true}`, n)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.after(time.Minute)
		if planned, used := len(w.records(events.Planned)), len(w.records(events.Skipped)); planned != 10 || used != 10 {
			t.Errorf("%d were planned and %d refused, want 10 and 10: %v", planned, used, w.outcomes())
		}
	})
}

// TestAnIdIsUsedWhenOnlyTheHeldPartOfItsPlanIsStored is a daemon that is killed
// between the two, and another command of that id for another region.
func TestAnIdIsUsedWhenOnlyTheHeldPartOfItsPlanIsStored(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", twoRegions, fleetOfTwo, func(t *testing.T, w *world) {
		first := events.Command{Who: "ci", ID: "x", Region: "lon1", Instance: web1, Action: "stop"}
		held := events.Run{Trigger: events.HeldID("ci-x"), Kind: "command", Who: "ci", Region: "lon1", Held: "mode is ask", HeldUntil: time.Now().Add(time.Hour), Planned: time.Now(), StoredAt: time.Now(), Asked: first.Asked(),
			Items: []events.Item{{ID: policies.ActionID("ci-x", 0, web1, policies.KindPower), Kind: "power", Action: "stop", Region: "lon1", Instance: web1, NotAfter: time.Now().Add(2 * time.Hour)}}}
		if _, err := w.bus.StoreRun(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		if a, code, text := w.do("ci.nyc1."+ny1+".stop", events.Command{ID: "x"}); code != worker.CodeNotDone || !strings.Contains(text, "id x of ci is used: stop "+web1) {
			t.Errorf("got %+v, %d %s", a, code, text)
		}
		if err := w.bus.Conn().PublishMsg(&nats.Msg{Subject: "nightshift.v1.cmd.ci.nyc1." + ny1 + ".stop", Data: []byte(`{"id":"x"}`)}); err != nil {
			t.Fatal(err)
		}
		w.after(5 * time.Minute)
		w.wantOutcomes("stop ny-1 skipped id used")
		if _, code, text := w.do("ci.lon1."+web1+".stop", events.Command{ID: "x"}); code != 0 {
			t.Errorf("the same again: %d %s", code, text)
		}
		w.after(2 * time.Minute)
		if n := w.calls("stop"); n != 0 {
			t.Errorf("%d stops were sent, want none", n)
		}
	})
}

func TestARunWithAUsedIdIsAnsweredWithTheStoredPlan(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", twoRegions, fleetOfTwo, func(t *testing.T, w *world) {
		run := func(subject string, req worker.RunRequest) (a worker.RunAnswer, err error) {
			err = w.bus.Ask(t.Context(), "run."+subject, req, &a)
			return a, err
		}
		web := worker.RunRequest{ID: "n", Select: worker.SelectForm{All: []string{"role=web"}}}
		first, err := run("oncall._.stop", web)
		if err != nil || len(first.Actions) != 2 || first.Again {
			t.Fatalf("got %+v, %v", first, err)
		}
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 done", "stop ny-1 done")
		// By now a fresh plan would say that both are as wanted.
		again, err := run("oncall._.stop", web)
		if err != nil || !again.Again || again.State != "ended" || again.Counts["done"] != 2 || !slices.Equal(again.Actions, first.Actions) || len(again.Skips) != 0 || !again.At.Equal(first.At) {
			t.Errorf("got %+v, %v\nfirst %+v", again, err, first)
		}
		for subject, req := range map[string]worker.RunRequest{
			"oncall._.start":    web,
			"oncall.lon1.stop":  web,
			"oncall._.stop":     {ID: "n", Select: worker.SelectForm{All: []string{"role=api"}}},
			"oncall.nyc1.start": {ID: "n", Select: worker.SelectForm{All: []string{"role=web"}}, DryRun: true},
		} {
			if a, err := run(subject, req); err == nil || !strings.Contains(err.Error(), "id n of oncall is used: stop of 2 instances at 2026-03-04T12:00:") {
				t.Errorf("%s: got %+v, %v", subject, a, err)
			}
		}
		if _, code, text := w.do("oncall.lon1."+api1+".stop", events.Command{ID: "n"}); code != worker.CodeNotDone {
			t.Errorf("for one instance: got %d %s", code, text)
		}
		w.after(5 * time.Minute)
		if n := w.calls("stop") + w.calls("start"); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
	})
}

func TestWhatIsDueWhenItsPlanIsForgottenIsRefused(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		far := time.Now().Add(8 * 24 * time.Hour)
		if _, code, text := w.do("oncall.lon1."+web1+".stop", events.Command{NotBefore: far}); code != 400 || !strings.Contains(text, "at most 6") {
			t.Errorf("got %d %s", code, text)
		}
		w.refused("run.oncall._.stop", worker.RunRequest{Select: worker.SelectForm{All: []string{"role=web"}}, NotBefore: far}, "at most 6")
		w.command(events.Command{Instance: web1, Action: "stop", NotBefore: far})
		w.after(time.Minute)
		w.wantOutcomes("stop  failed")
		if _, code, text := w.do("oncall.lon1."+web1+".stop", events.Command{NotBefore: time.Now().Add(5 * 24 * time.Hour)}); code != 0 {
			t.Errorf("got %d %s", code, text)
		}
	})
}

func TestTheSubjectOfARunBoundsIt(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", twoRegions, fleetOfTwo, func(t *testing.T, w *world) {
		var a worker.RunAnswer
		w.ask("run.oncall.nyc1.stop", worker.RunRequest{Select: worker.SelectForm{All: []string{"role=web"}, Region: []string{"LON1", "NYC1"}}}, &a)
		if len(a.Actions) != 1 || a.Actions[0].Hostname != "ny-1" {
			t.Errorf("got %+v", a)
		}
		web := worker.RunRequest{Select: worker.SelectForm{All: []string{"role=web"}}, Action: "stop"}
		w.refused("run.oncall.nyc1.start", web, "the body says stop, and the subject, which counts, start")
		w.refused("run.oncall.NYC1.stop", web, "in lower case")
		w.refused("run.oncall.fra1.stop", web, "region FRA1 is not one of the daemon's")
		w.refused("run.oncall._.explode", worker.RunRequest{Select: web.Select}, "is none of start")
		w.after(5 * time.Minute)
		w.wantOutcomes("stop ny-1 done")
		for _, r := range w.records(events.Done) {
			if r.Who != "oncall" {
				t.Errorf("of %q", r.Who)
			}
		}
	})
}

func TestWhatIsRefusedIsInTheAuditTrailAndAFloodIsBounded(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		const gone = "99999999-0000-4000-8000-000000000009"
		_, code, _ := w.do("oncall.lon1."+gone+".stop", events.Command{Claim: "ann"})
		if code != 404 {
			t.Fatalf("got %d, want 404", code)
		}
		w.refused("keep", worker.KeepRequest{Instance: db, Region: "LON1", State: "running", Who: "ann"}, "never touched")
		w.refused("run.oncall._.stop", worker.RunRequest{Select: worker.SelectForm{All: []string{"no=such"}}}, "no instance is selected")
		_, code, _ = w.do("oncall.lon1."+db+".stop", events.Command{}) // has its outcome, and no second event
		if code != worker.CodeNotDone {
			t.Fatalf("got %d", code)
		}
		w.after(time.Minute)
		var got []string
		for _, r := range w.records(events.Noticed) {
			if r.Reason == "refused" {
				got = append(got, strings.Join([]string{r.Action, r.Region, r.Hostname, r.Who, r.Claim, r.Detail}, "|"))
			}
		}
		slices.Sort(got)
		want := []string{
			"keep|lon1|dev-db|local|ann|keep: dev-db is never touched",
			"stop|_||oncall||run: no instance is selected by",
			"stop|lon1||oncall|ann|do: no instance " + gone + " is in LON1",
		}
		if len(got) != len(want) {
			t.Fatalf("got %q", got)
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("got %q, want %q", got[i], want[i])
			}
		}
		w.wantOutcomes("stop dev-db skipped " + string(policies.ReasonProtected))

		before := len(w.records(events.Noticed))
		for n := range 500 {
			w.do(fmt.Sprintf("oncall.lon1.gone-%d.stop", n), events.Command{})
		}
		w.after(time.Second)
		if n := len(w.records(events.Noticed)) - before; n != 10 {
			t.Errorf("%d of 500 refusals in a minute are events, want 10", n)
		}
		w.after(time.Minute)
		w.do("oncall.lon1."+gone+".stop", events.Command{})
		w.after(time.Second)
		all := w.records(events.Noticed)
		if last := all[len(all)-1]; !strings.HasSuffix(last.Detail, "(490 refusals before it are not listed)") {
			t.Errorf("got %q", last.Detail)
		}
	})
}
