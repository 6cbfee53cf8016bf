package policies_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
)

// The rules of language.md, "Wants", sentence by sentence.

func TestAScheduleWantsItsComplementToo(t *testing.T) {
	oneSided := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	oneSided.Schedule = oneSided.Schedule.(*schedule.Weekly).OneSided()
	for _, tt := range []struct {
		name   string
		policy policies.Policy
		at     string
		want   string
	}{
		{"inside it wants running", level(t, "office", 0, "Mon-Fri 08:00-19:00"), "2026-03-04 12:00", "running by office"},
		{"the complement is stopped", level(t, "office", 0, "Mon-Fri 08:00-19:00"), "2026-03-04 20:00", "stopped by office"},
		{"the begin belongs to it", level(t, "office", 0, "Mon-Fri 08:00-19:00"), "2026-03-04 08:00", "running by office"},
		{"the end does not", level(t, "office", 0, "Mon-Fri 08:00-19:00"), "2026-03-04 19:00", "stopped by office"},
		{"of stopped windows the complement is running", asleep(t, "nightly", 0, "22:00-06:00"), "2026-03-04 12:00", "running by nightly"},
		{"and inside it wants stopped", asleep(t, "nightly", 0, "22:00-06:00"), "2026-03-04 23:00", "stopped by nightly"},
		{"a one-sided schedule wants its side", oneSided, "2026-03-04 12:00", "running by office"},
		{"and has no voice in the complement", oneSided, "2026-03-04 20:00", "nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := want(set(tt.policy), instance("a", "ACTIVE"), policies.Facts{}, tt.at); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if got := timeline(set(oneSided), instance("a", "ACTIVE"), policies.Facts{}, "2026-03-04 18:00", "2026-03-04 20:00"); got != "19:00 skip a no want" {
		t.Errorf("at the end of a one-sided window: got %q", got)
	}
}

func TestAnImpulseHoldsLastsOrElseUntilTheNextEdgeOfAtLeastItsPriority(t *testing.T) {
	start, stop := policies.Step{Verb: policies.Start}, policies.Step{Verb: policies.Stop}
	office := func(priority int) policies.Policy { return level(t, "office", priority, "Mon-Fri 08:00-19:00") }
	wake := func(lasts time.Duration) policies.Policy {
		p := onAlert("wake", 0, start)
		p.Lasts = lasts
		return p
	}
	signalled := func(when, until string) policies.Facts {
		i := policies.Impulse{Policy: "wake", State: schedule.Running, At: at(when)}
		if until != "" {
			i.Until = at(until)
		}
		return policies.Facts{Impulses: policies.Impulses{"a": {i}}}
	}
	command := policies.Facts{Impulses: policies.Impulses{"a": {{State: schedule.Running, At: at("2026-03-04 18:00")}}}}
	for _, tt := range []struct {
		name  string
		set   *policies.Set
		facts policies.Facts
		at    string
		want  string
	}{
		{"cron, before the next edge", set(office(0), impulse(t, "nap", 0, "0 12 * * *", 0, stop)), policies.Facts{}, "2026-03-04 18:59", "stopped by nap"},
		{"cron, over an edge of less priority", set(office(-1), impulse(t, "up", 0, "0 18 * * *", 0, start)), policies.Facts{}, "2026-03-04 20:00", "running by up"},
		{"cron, ended by an edge of its priority", set(office(0), impulse(t, "up", 0, "0 18 * * *", 0, start)), policies.Facts{}, "2026-03-04 20:00", "stopped by office"},
		{"cron, ended by an edge of more", set(office(1), impulse(t, "nap", 0, "0 7 * * *", 0, stop)), policies.Facts{}, "2026-03-04 08:00", "running by office"},
		{"cron, ended by the next firing of another cron", set(impulse(t, "up", 0, "0 10 * * *", 0, start), impulse(t, "down", 0, "0 11 * * *", 0, stop)), policies.Facts{}, "2026-03-04 12:00", "stopped by down"},
		{"cron, not by another's reboot, which is no want", set(impulse(t, "up", 0, "0 10 * * *", 0, start), impulse(t, "r", 0, "0 11 * * *", 0, policies.Step{Verb: policies.Reboot})), policies.Facts{}, "2026-03-04 12:00", "running by up"},
		{"cron, while it lasts", set(impulse(t, "up", 0, "0 10 * * *", 3*time.Hour, start)), policies.Facts{}, "2026-03-04 12:59", "running by up"},
		{"cron, when it has lasted", set(impulse(t, "up", 0, "0 10 * * *", 3*time.Hour, start)), policies.Facts{}, "2026-03-04 13:00", "nothing"},
		{"cron, ended by the end of what another one wanted", set(impulse(t, "up", 0, "0 10 * * *", 3*time.Hour, start), impulse(t, "down", 0, "0 12 * * *", 0, stop)), policies.Facts{}, "2026-03-04 13:30", "nothing"},
		{"cron, over an edge of its own priority while it lasts: running beats stopped", set(office(0), impulse(t, "up", 0, "0 18 * * *", 3*time.Hour, start)), policies.Facts{}, "2026-03-04 20:00", "running by up"},
		{"cron, of the same instant as a level did not come after it", set(office(0), impulse(t, "down", 0, "0 8 * * *", 3*time.Hour, stop)), policies.Facts{}, "2026-03-04 09:00", "running by office"},
		{"cron, as the file has it now, whatever is remembered", set(impulse(t, "wake", 0, "0 10 * * *", 0, stop)), signalled("2026-03-04 11:00", ""), "2026-03-04 12:00", "stopped by wake"},
		{"a signal, of a higher priority than a level", set(office(1), func() policies.Policy { p := wake(0); p.Priority = 2; return p }()), signalled("2026-03-04 20:00", ""), "2026-03-04 21:00", "running by wake"},
		{"a signal, of a lower one", set(office(1), wake(0)), signalled("2026-03-04 20:00", ""), "2026-03-04 21:00", "stopped by office"},
		{"a signal, of a policy that is paused", set(office(0), wake(0)), func() policies.Facts {
			f := signalled("2026-03-04 20:00", "")
			f.Pauses = []policies.Pause{{Policy: "wake", Since: at("2026-03-04 20:30")}}
			return f
		}(), "2026-03-04 21:00", "stopped by office"},
		{"a signal, before the next edge", set(office(0), wake(0)), signalled("2026-03-04 20:00", ""), "2026-03-05 07:59", "running by wake"},
		{"a signal, ended by it", set(office(0), wake(0)), signalled("2026-03-04 18:00", ""), "2026-03-04 20:00", "stopped by office"},
		{"a signal, over an edge while it lasts", set(office(-1), wake(3*time.Hour)), signalled("2026-03-04 18:00", "2026-03-04 21:00"), "2026-03-04 20:00", "running by wake"},
		{"a signal of a policy that is no more", set(office(0)), signalled("2026-03-04 18:30", ""), "2026-03-04 18:45", "running by office"},
		{"a signal that is yet to come", set(office(0), wake(0)), signalled("2026-03-04 21:00", ""), "2026-03-04 20:30", "stopped by office"},
		{"a command, before the next edge", set(office(1000)), command, "2026-03-04 18:59", "running by _command"},
		{"a command, ended by it", set(office(0)), command, "2026-03-04 20:00", "stopped by office"},
		{"a command, ended by an edge of negative priority too: it has none of its own", set(office(-1)), command, "2026-03-04 20:00", "stopped by office"},
		{"a command, not by an edge that does not concern the instance", set(func() policies.Policy { p := office(0); p.Select.All = []string{"other"}; return p }()), command, "2026-03-04 20:00", "running by _command"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := want(tt.set, instance("a", "ACTIVE"), tt.facts, tt.at); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAMendNeverUndoesALivingImpulse(t *testing.T) {
	office := level(t, "office", 5, "Mon-Fri 08:00-19:00")
	watched := at("2026-03-01 00:00")
	wake := onAlert("wake", 0, policies.Step{Verb: policies.Start})
	for _, enforce := range []policies.Enforce{policies.EnforceMend, policies.EnforceStrict} {
		office.Enforce = enforce
		s := set(office, wake, impulse(t, "early", 5, "30 5 * * *", 0, policies.Step{Verb: policies.Start}))
		for _, tt := range []struct {
			name  string
			facts policies.Facts
			at    string
			want  string
		}{
			{"of cron", policies.Facts{WatchedSince: watched}, "2026-03-04 06:30", ""},
			{"of a command", policies.Facts{WatchedSince: watched, Impulses: policies.Impulses{"a": {{State: schedule.Running, At: at("2026-03-04 20:00")}}}}, "2026-03-04 20:30", ""},
			{"of a signal, which starts whatever its priority", policies.Facts{WatchedSince: watched, Impulses: policies.Impulses{"a": {{Policy: "wake", State: schedule.Running, At: at("2026-03-04 20:00")}}}}, "2026-03-04 20:30", "skip a drift"},
			{"of a signal that wants something else is none", policies.Facts{WatchedSince: watched, Impulses: policies.Impulses{"a": {{Policy: "wake", State: schedule.Stopped, At: at("2026-03-04 20:00")}}}}, "2026-03-04 20:30", "stop a"},
			{"but mends where none lives", policies.Facts{WatchedSince: watched}, "2026-03-04 20:30", "stop a"},
		} {
			t.Run(string(enforce)+" "+tt.name, func(t *testing.T) {
				if got := lines(drift(s, instance("a", "ACTIVE"), tt.facts, tt.at)); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		}
	}
}

func TestDriftThatIsNotMendedSaysWhoDecides(t *testing.T) {
	s := set(level(t, "office", 5, "Mon-Fri 08:00-19:00"), onAlert("wake", 0, policies.Step{Verb: policies.Start}))
	facts := policies.Facts{WatchedSince: at("2026-03-01 00:00"), Impulses: policies.Impulses{"a": {{Policy: "wake", State: schedule.Running, At: at("2026-03-04 20:00")}}}}
	for enforce, want := range map[policies.Enforce]string{
		policies.EnforceNot:  "nobody knows by whom; its next edge decides, or enforce: true",
		policies.EnforceMend: "policy wake (priority 0) wants running, and a mend never undoes a living impulse",
	} {
		s.Policies[0].Enforce = enforce
		if plan := drift(s, instance("a", "ACTIVE"), facts, "2026-03-04 20:30"); len(plan.Skips) != 1 || plan.Skips[0].Detail != want {
			t.Errorf("enforce %q: %+v", enforce, plan)
		}
	}
}

// drift is what a look for drift yields.
func drift(s *policies.Set, inst policies.Instance, facts policies.Facts, when string) policies.Plan {
	return policies.Decide(s, []policies.Instance{inst}, facts, policies.Trigger{ID: "d", At: at(when), Drift: true}, at(when))
}

func TestARebootIsAnActAndNotAWant(t *testing.T) {
	reboot := policies.Step{Verb: policies.Reboot}
	office := level(t, "office", 0, "Mon-Fri 08:00-19:00")
	for _, tt := range []struct {
		name string
		set  *policies.Set
		at   string
		inst policies.Instance
		want string
	}{
		{"it is done where the instance should run", set(office, impulse(t, "r", 0, "0 12 * * *", 0, reboot)), "2026-03-04 12:00", instance("a", "ACTIVE"), "reboot a"},
		{"it is dropped where it should be stopped", set(office, impulse(t, "r", 9, "0 22 * * *", 0, reboot)), "2026-03-04 22:00", instance("a", "ACTIVE"), "skip a off on purpose"},
		{"it is done where nobody wants anything", set(impulse(t, "r", 0, "0 12 * * *", 0, reboot)), "2026-03-04 12:00", instance("a", "ACTIVE"), "reboot a"},
		{"it never stands in the way of a stop, whatever its priority", set(office, impulse(t, "r", 9, "0 19 * * *", 0, reboot)), "2026-03-04 19:00", instance("a", "ACTIVE"), "stop a; skip a off on purpose"},
		{"nor of a start", set(office, impulse(t, "r", 9, "0 8 * * *", 0, reboot)), "2026-03-04 08:00", instance("a", "UNKNOWN"), "start a; skip a outranked"},
		{"and goes with a start that is done already", set(office, impulse(t, "r", 9, "0 8 * * *", 0, reboot)), "2026-03-04 08:00", instance("a", "ACTIVE"), "reboot a; skip a already"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lines(policies.Decide(tt.set, []policies.Instance{tt.inst}, policies.Facts{}, tick(tt.set, at(tt.at)), at(tt.at))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := want(set(impulse(t, "r", 0, "0 12 * * *", 0, reboot)), instance("a", "ACTIVE"), policies.Facts{}, "2026-03-04 12:00"); got != "nothing" {
		t.Errorf("a reboot wants %s", got)
	}
}

// The facts are all that is remembered: given the same, the same is decided, and
// what is not given does not count.
func TestDecideIsGivenAllThatIsRemembered(t *testing.T) {
	s := owned(set(level(t, "office", 0, "Mon-Fri 08:00-19:00")))
	inst := instance("a", "ACTIVE", "nightshift.keep=running")
	facts := policies.Facts{WatchedSince: at("2026-03-01 00:00"), TagsSeen: map[string]time.Time{policies.TagKey("a", "nightshift.keep=running"): at("2026-03-04 10:00")}}
	if got := timeline(s, inst, facts, "2026-03-04 18:00", "2026-03-05 00:00"); got != "19:00 skip a kept; 22:00 stop a" {
		t.Errorf("a keep without a time, by a tag first seen at 10:00, got %q, want it to last 12 h", got)
	}
	first := policies.Decide(s, []policies.Instance{inst}, facts, tick(s, at("2026-03-04 19:00")), at("2026-03-04 19:00"))
	again := policies.Decide(s, []policies.Instance{inst}, facts, tick(s, at("2026-03-04 19:00")), at("2026-03-04 19:00"))
	if lines(first) != lines(again) || !strings.Contains(first.Skips[0].Detail, "keep") {
		t.Errorf("got %s, then %s", lines(first), lines(again))
	}
}
