package worker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

// herd is a fleet of n instances h-1, h-2, … with a tag.
func herd(n int, tag string) string {
	text := "instances:\n"
	for i := range n {
		text += fmt.Sprintf("  - { id: %s, hostname: h-%d, region: LON1, size: g3.small, tags: [%s], status: ACTIVE }\n", head(i), i+1, tag)
	}
	return text
}

func head(i int) string { return fmt.Sprintf("66666666-0000-4000-8000-%012d", i+1) }

const herdHours = `
version: 1
regions: [LON1]
timezone: Europe/London
schedules:
  office: { running: ["Mon-Fri 08:00-19:00"] }
policies:
  - name: hours
    select: { all: [env=dev] }
    schedule: office
  - name: down
    select: { all: [env=dev] }
    trigger: { alert: Down }
    do: [ { reboot: soft, after: 1m } ]
`

// sent are the times at which an operation reached the API.
func (w *world) sent(op string) (at []time.Time) {
	for _, r := range w.sim.Requests() {
		if r.Op == op {
			at = append(at, r.Time)
		}
	}
	return at
}

// ended counts outcomes, as "verb outcome reason".
func (w *world) ended() map[string]int {
	n := make(map[string]int)
	for _, o := range w.outcomes() {
		verb, rest, _ := strings.Cut(o, " ")
		_, rest, _ = strings.Cut(rest, " ") // the host
		n[verb+" "+rest]++
	}
	return n
}

func TestAFloorKeepsSoManyRunning(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:50", herdHours+"floors: [ { select: { all: [env=dev] }, running: 3 } ]\n", herd(5, "env=dev"), func(t *testing.T, w *world) {
		w.after(20 * time.Minute)
		if n := w.ended(); n["stop done"] != 2 || n["stop skipped floor"] != 3 {
			t.Errorf("outcomes: %v", n)
		}
		for i, want := range []string{"SHUTOFF", "SHUTOFF", "ACTIVE", "ACTIVE", "ACTIVE"} {
			w.wantStatus(head(i), want)
		}
		err := w.bus.Ask(t.Context(), "do.ann.lon1."+head(4)+".stop", events.Command{ID: "1"}, &worker.DoAnswer{})
		if err == nil || !strings.Contains(err.Error(), "floor: at least 3 of all env=dev stay running, and 3 are") {
			t.Errorf("a command that goes under the floor is answered with %v", err)
		}
	})
}

func TestRebootsThatAFloorLetsThroughOneByOne(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", herdHours+"floors: [ { select: { all: [env=dev] }, running: 2 } ]\n", herd(3, "env=dev"), func(t *testing.T, w *world) {
		for i := range 3 {
			w.command(events.Command{ID: fmt.Sprint("c", i), Instance: head(i), Action: "reboot"})
		}
		for range 300 {
			w.after(time.Second)
			if up := w.running(); up < 2 {
				t.Errorf("%d are running", up)
				break
			}
		}
		w.after(5 * time.Minute)
		if n := w.ended(); n["reboot done"] != 3 {
			t.Errorf("outcomes: %v", n)
		}
	})
}

func TestAFailedStopLeavesItsPlaceUnderTheFloor(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:00", herdHours+"floors: [ { select: { all: [env=dev] }, running: 2 } ]\n", herd(3, "env=dev"), func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Instance: head(0), Kind: civosim.Refused, Code: "quota_limit_reached", Count: 1})
		w.command(events.Command{ID: "c0", Instance: head(0), Action: "stop"})
		w.after(time.Minute)
		w.command(events.Command{ID: "c1", Instance: head(1), Action: "stop"})
		w.after(2 * time.Minute)
		w.wantOutcomes("stop h-1 failed", "stop h-2 done")
	})
}

func TestTwoReplicasRaceForTheLastPlace(t *testing.T) {
	for _, tt := range []struct {
		name, more string
		ask        func(w *world)
		op         string
		most       int
	}{
		{"under a floor", "floors: [ { select: { all: [env=dev] }, running: 5 } ]\n", func(w *world) {
			for i := range 8 {
				w.command(events.Command{ID: fmt.Sprint("c", i), Instance: head(i), Action: "stop"})
			}
		}, "stop", 3},
		{"under per_hour", "limits: { per_hour: 3 }\n", func(w *world) {
			for i := range 8 {
				w.command(events.Command{ID: fmt.Sprint("c", i), Instance: head(i), Action: "stop", GiveUpAfter: "50m"})
			}
		}, "stop", 3},
		{"under at_most", "", func(w *world) {
			for i := range 8 {
				w.signal(events.Signal{ID: fmt.Sprint("s", i), Instance: head(i), Alert: "Down"})
			}
		}, "soft_reboot", 2},
		{"under a share", "limits: { share: 0.3 }\n", func(w *world) {
			for i := range 8 {
				w.signal(events.Signal{ID: fmt.Sprint("s", i), Instance: head(i), Alert: "Down"})
			}
		}, "soft_reboot", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubbleWith(t, "2026-03-04 12:00", herdHours+tt.more, herd(8, "env=dev"), func(t *testing.T, w *world) {
				end := w.second()
				defer end()
				w.after(time.Minute)
				tt.ask(w)
				w.after(55 * time.Minute)
				if n := w.calls(tt.op); n != tt.most {
					t.Errorf("%d calls, want %d: %v", n, tt.most, w.ended())
				}
			})
		})
	}
}

// sequence is what triggers come, and under which limits.
type sequence struct {
	perHour, floor int
	embedded       bool
	steps          []sequenceStep
}

type sequenceStep struct {
	wait     time.Duration
	instance int
	what     string
}

var sequences = rapid.Custom(func(t *rapid.T) (s sequence) {
	s.perHour, s.floor, s.embedded = rapid.IntRange(2, 5).Draw(t, "per hour"), rapid.IntRange(2, 5).Draw(t, "floor"), rapid.Bool().Draw(t, "embedded")
	for range rapid.IntRange(6, 10).Draw(t, "triggers") {
		s.steps = append(s.steps, sequenceStep{time.Duration(rapid.IntRange(0, 240).Draw(t, "wait")) * time.Second, rapid.IntRange(0, 6).Draw(t, "instance"),
			rapid.SampledFrom([]string{"stop", "reboot", "start", "alert"}).Draw(t, "what")})
	}
	return s
})

func TestNoSequenceOfTriggersPassesALimit(t *testing.T) {
	for seed := range 5 {
		s := sequences.Example(seed)
		more := fmt.Sprintf("limits: { per_hour: %d }\nfloors: [ { select: { all: [env=dev] }, running: %d } ]\n", s.perHour, s.floor)
		inBubbleWith(t, "2026-03-04 12:00", herdHours+more, herd(7, "env=dev"), func(t *testing.T, w *world) {
			if !s.embedded {
				defer w.second()()
			}
			least := 7
			for n, step := range s.steps {
				if step.what == "alert" {
					w.signal(events.Signal{ID: fmt.Sprint("s", n), Instance: head(step.instance), Alert: "Down"})
				} else {
					w.command(events.Command{ID: fmt.Sprint("c", n), Instance: head(step.instance), Action: step.what})
				}
				for left := step.wait; left >= 0; left -= 10 * time.Second {
					w.after(10 * time.Second)
					least = min(least, w.running())
				}
			}
			if least < s.floor {
				t.Errorf("%d were running: %+v", least, s)
			}
			var all []time.Time
			for _, op := range []string{"stop", "start", "soft_reboot"} {
				all = append(all, w.sent(op)...)
			}
			slices.SortFunc(all, time.Time.Compare)
			for i := range all {
				if i >= s.perHour && all[i].Sub(all[i-s.perHour]) < time.Hour {
					t.Errorf("%d calls within %s: %+v", s.perHour+1, all[i].Sub(all[i-s.perHour]), s)
				}
			}
		})
	}
}

// running is how many instances are.
func (w *world) running() (n int) {
	for _, i := range w.sim.Instances() {
		if i.Status == "ACTIVE" {
			n++
		}
	}
	return n
}

func TestARunBeyondTheShareWaitsForApproval(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:50", herdHours+"limits: { share: 0.5 }\n", herd(6, "env=dev"), func(t *testing.T, w *world) {
		var plan worker.PlanAnswer
		w.ask("plan", worker.PlanRequest{At: "19:00"}, &plan)
		if len(plan.Actions) != 6 || !strings.Contains(plan.Actions[0].Hold, "6 instances are more than limits.share (0.5) allows of a fleet of 6: 3") {
			t.Errorf("the plan says %+v", plan.Actions)
		}
		var e worker.ExplainAnswer
		w.ask("explain", worker.ExplainRequest{Instance: head(0), Region: "LON1", At: "19:00"}, &e)
		if len(e.Rails) != 1 || !strings.Contains(e.Rails[0], "stop waits for approval: 6 instances") {
			t.Errorf("explain says %q", e.Rails)
		}
		w.after(20 * time.Minute)
		w.wantStatus(head(0), "ACTIVE")
		w.ask("approve", worker.ApproveRequest{Run: "hours@2026-03-04T19:00"}, &worker.ApproveAnswer{})
		w.after(5 * time.Minute)
		w.wantStatus(head(0), "SHUTOFF")
		w.after(13 * time.Hour) // starts by schedule are not held
		w.wantStatus(head(5), "ACTIVE")
	})
}

func TestARunPlannedBeforeTheLimitWasLoweredDoesNothing(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:50", strings.Replace(herdHours, "schedule: office", "schedule: office\n    spread: 10m", 1), herd(6, "env=dev"), func(t *testing.T, w *world) {
		w.after(10*time.Minute + time.Second)
		w.edit(herdHours + "limits: { per_run: 5 }\n")
		w.after(20 * time.Minute)
		n := w.ended()
		if n["stop skipped changed"] == 0 || n["stop skipped changed"]+n["stop done"] != 6 {
			t.Errorf("outcomes: %v", n)
		}
	})
}

func TestAPolicyThatHasGrownIsAskedAboutUntilSomebodyApproves(t *testing.T) {
	fleet := herd(3, "env=dev")
	for i := 3; i < 8; i++ {
		fleet += fmt.Sprintf("  - { id: %s, hostname: h-%d, region: LON1, size: g3.small, tags: [env=prod], status: ACTIVE }\n", head(i), i+1)
	}
	inBubbleWith(t, "2026-03-03 18:50", herdHours, fleet, func(t *testing.T, w *world) {
		w.after(20 * time.Minute) // Tuesday: three are stopped
		w.wantStatus(head(0), "SHUTOFF")
		w.edit(strings.Replace(herdHours, "all: [env=dev]", `all: ["env=*"]`, 1)) // the typing error
		w.end()                                                                   // it is remembered over a restart
		w.begin()
		w.after(24 * time.Hour)
		w.wantStatus(head(3), "ACTIVE")
		r := w.theRun("hours@2026-03-04T19:00")
		if r.State != "held" || r.Held != "policy hours selects 8 instances, it was 3 at its last run: what has at least doubled is asked about once" {
			t.Errorf("the run is %s: %s", r.State, r.Held)
		}
		w.after(24 * time.Hour) // Thursday, and nobody has said anything
		w.wantStatus(head(3), "ACTIVE")
		w.ask("approve", worker.ApproveRequest{Run: "hours@2026-03-05T19:00"}, new(worker.ApproveAnswer))
		w.after(10 * time.Minute)
		w.wantStatus(head(3), "SHUTOFF")
	})
}

func TestTheOthersFollowWhenTheCanaryHasStayedSo(t *testing.T) {
	file := strings.Replace(herdHours, "schedule: office", "schedule: office\n    canary: 10m", 1)
	inBubbleWith(t, "2026-03-04 18:50", file, herd(5, "env=dev"), func(t *testing.T, w *world) {
		w.sim.SetStatus(head(0), "SHUTOFF") // says nothing: the next goes first
		w.after(15 * time.Minute)           // 19:05
		if n := w.calls("stop"); n != 1 {
			t.Errorf("%d stops were sent, want that of the canary", n)
		}
		w.wantStatus(head(1), "SHUTOFF")
		w.end() // what is waited for follows from the outcomes
		w.begin()
		w.after(10 * time.Minute)
		if n := w.ended(); n["stop done"] != 4 || n["stop skipped already"] != 1 {
			t.Errorf("outcomes: %v", n)
		}
		first, last := w.sent("stop")[0], w.sent("stop")[3]
		if last.Sub(first) < 10*time.Minute {
			t.Errorf("the last was stopped %s after the first", last.Sub(first))
		}
		w.after(13 * time.Hour) // a start by schedule waits for nobody
		starts := w.sent("start")
		if len(starts) != 5 || starts[4].Sub(starts[0]) > time.Minute {
			t.Errorf("starts were sent at %v", starts)
		}
	})
}

func TestTheOthersAreSkippedWhenTheCanaryFails(t *testing.T) {
	file := strings.Replace(herdHours, "schedule: office", "schedule: office\n    canary: 10m", 1)
	t.Run("refused", func(t *testing.T) {
		inBubbleWith(t, "2026-03-04 18:50", file, herd(4, "env=dev"), func(t *testing.T, w *world) {
			w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Refused, Code: "quota_limit_reached", Count: 1})
			w.after(20 * time.Minute)
			if n := w.ended(); n["stop failed"] != 1 || n["stop skipped canary"] != 3 || w.calls("stop") != 1 {
				t.Errorf("%d stops were sent; outcomes: %v", w.calls("stop"), n)
			}
			var a worker.ApproveAnswer // what did not get its turn can be asked for again
			w.ask("retry", worker.ApproveRequest{Run: "hours@2026-03-04T19:00"}, &a)
			w.after(5 * time.Minute)
			w.wantStatus(head(3), "SHUTOFF")
			if a.Actions != 4 {
				t.Errorf("%d actions are asked for again, want 4", a.Actions)
			}
		})
	})
	t.Run("started again by somebody", func(t *testing.T) {
		inBubbleWith(t, "2026-03-04 18:50", file, herd(4, "env=dev"), func(t *testing.T, w *world) {
			w.after(15 * time.Minute)
			w.wantStatus(head(0), "SHUTOFF")
			w.sim.SetStatus(head(0), "ACTIVE")
			w.after(15 * time.Minute)
			if n := w.ended(); n["stop done"] != 1 || n["stop skipped canary"] != 3 {
				t.Errorf("outcomes: %v", n)
			}
		})
	})
}

const herdCron = `
version: 1
regions: [LON1]
timezone: Europe/London
policies:
  - name: nap
    select: { all: [env=dev] }
    cron: "0 * * * *"
    do: stop
    lasts: 20m
  - name: other
    select: { all: [env=dev] }
    trigger: { signal: seen }
    do: { retag: { add: [seen] } }
`

func TestAPolicyWhoseActionsFailFallsSilentAndIsTriedAgain(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:50", herdHours, herd(12, "env=dev"), func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Refused, Code: "quota_limit_reached", Count: -1})
		w.after(15 * time.Minute) // 19:05
		n := w.ended()
		if n["stop failed"] < 5 || n["stop failed"] > 5+8 || n["stop failed"]+n["stop skipped paused"] != 12 {
			t.Errorf("outcomes: %v", n)
		}
		s := w.w.Status(t.Context())
		if len(s.Paused) != 1 || s.Paused[0].Policy != "hours" || s.Paused[0].Who != "nightshift" || !strings.Contains(s.Paused[0].Reason, "its actions fail, the last stop of h-") {
			t.Errorf("status: %+v", s.Paused)
		}
		said := 0
		for _, r := range w.records(events.Noticed) {
			if r.Action == "policy" && r.Reason == "broken" && strings.Contains(r.Detail, "nightshift resume --policy hours") {
				said++
			}
		}
		if said != 1 {
			t.Errorf("it was said %d times that the policy is silent", said)
		}
		before := w.calls("stop")
		w.after(30 * time.Minute) // 19:35: its silence ends, and one is tried
		if n := w.calls("stop") - before; n != 1 {
			t.Errorf("%d stops were tried, want 1", n)
		}
		if s := w.w.Status(t.Context()); len(s.Paused) != 1 || s.Paused[0].Until.Sub(s.Paused[0].Since) != time.Hour {
			t.Errorf("after the trial: %+v", s.Paused)
		}
		w.sim.ClearFaults()
		w.after(time.Hour + 5*time.Minute)
		w.wantStatus(head(11), "SHUTOFF")
		if s := w.w.Status(t.Context()); len(s.Paused) != 0 {
			t.Errorf("it is paused still: %+v", s.Paused)
		}
	})
}

func TestResumeEndsTheSilenceOfAPolicy(t *testing.T) {
	inBubbleWith(t, "2026-03-04 18:50", herdHours, herd(6, "env=dev"), func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Refused, Code: "quota_limit_reached", Count: -1})
		w.after(15 * time.Minute)
		w.sim.ClearFaults()
		w.ask("resume", worker.PauseRequest{Policy: "hours"}, &worker.PauseAnswer{})
		w.after(5 * time.Minute)
		for i := range 6 {
			w.wantStatus(head(i), "SHUTOFF")
		}
	})
}

func TestOneBadInstanceSilencesNoPolicy(t *testing.T) {
	inBubbleWith(t, "2026-03-04 12:30", herdCron, herd(6, "env=dev"), func(t *testing.T, w *world) {
		w.sim.Inject(civosim.Fault{Op: "stop", Instance: head(0), Kind: civosim.Refused, Code: "quota_limit_reached", Count: -1})
		for range 7 {
			w.after(30 * time.Minute)
			for i := range 6 {
				w.sim.SetStatus(head(i), "ACTIVE")
			}
			w.after(30 * time.Minute)
		}
		if s := w.w.Status(t.Context()); len(s.Paused) != 0 {
			t.Errorf("it is paused: %+v", s.Paused)
		}
	})
}

func TestNothingIsCalledWhileARailCannotBeRead(t *testing.T) {
	key := "rail.floor." + policies.ActionID("floor", 0, "all env=dev", "floor")
	inBubbleWith(t, "2026-03-04 12:00", herdHours+"floors: [ { select: { all: [env=dev] }, running: 1 } ]\n", herd(3, "env=dev"), func(t *testing.T, w *world) {
		if _, err := w.bus.State().Put(t.Context(), key, []byte("no JSON")); err != nil {
			t.Fatal(err)
		}
		w.command(events.Command{ID: "c", Instance: head(0), Action: "stop"})
		w.after(5 * time.Minute)
		w.wantStatus(head(0), "ACTIVE")
		w.wantOutcomes()
		if err := w.bus.State().Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		w.after(2 * time.Minute)
		w.wantStatus(head(0), "SHUTOFF")
	})
}
