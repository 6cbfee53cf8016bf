package crash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

// deed is one thing that is asked for, and what has to become of it wherever the
// process ends on the way.
type deed struct {
	name     string
	do       string                                          // of the policy
	cause    string                                          // of the policy; empty: noon
	mode     string                                          // of the policy; empty: act
	instance string                                          // of the fleet, beside id and name
	fault    string                                          // of the API, once
	ask      func(context.Context, *site, *events.Bus) error // what somebody does meanwhile; may be done twice

	op     string // of the simulator's ledger; empty: nothing is called
	calls  int    // that it is asked for; 0: once
	want   string // the one outcome
	lost   string // what else it may be where the process ended between started and the note that says accepted
	points []string
}

var (
	onEveryWay = []string{"tick-stored", "tick-remembered", "plan-stored", "trigger-acknowledged", "run-taken", "outcome-stored", "run-acknowledged"}
	onACall    = []string{"started-stored", "request-sent", "answer-read", "outcome-known"}
	onAWait    = []string{"accepted-noted"} // the state comes a while after the call
)

var deeds = []deed{
	{name: "stop", do: "stop", op: "stop", want: "stop it done", points: slices.Concat(onEveryWay, onACall, onAWait)},
	{name: "start", do: "start", instance: "status: SHUTOFF", op: "start", want: "start it done", points: slices.Concat(onEveryWay, onACall, onAWait)},
	{name: "reboot", do: "{ reboot: soft }", op: "soft_reboot", want: "reboot it done", lost: "reboot it unknown answer lost", points: slices.Concat(onEveryWay, onACall, onAWait)},
	{name: "resize", do: "{ resize: [g3.small, g3.medium] }", instance: "size: g3.small", op: "resize", want: "resize it done", points: slices.Concat(onEveryWay, onACall, onAWait)},
	{name: "retag", do: "{ retag: { add: [seen] } }", op: "retag", want: "retag it done", points: slices.Concat(onEveryWay, onACall)},
	{name: "firewall", do: "{ firewall: FIREWALL }", op: "firewall", want: "firewall it done", points: slices.Concat(onEveryWay, onACall)},

	{name: "skip", do: "stop", instance: "tags: [env=crash, protected]", want: "stop it skipped protected", points: append(onEveryWay, "outcome-known")},
	{name: "nothing", do: "stop", instance: "tags: [env=other]", want: "plan skipped no match", points: onEveryWay},

	{name: "held", do: "stop", mode: "ask", ask: approve, op: "stop", want: "stop it done", points: []string{"held-noticed", "approval-stored", "approval-heard", "started-stored", "outcome-stored"}},
	{name: "refused once", do: "stop", fault: "stop:refused,code=instance_state_must_be_active_or_shutoff", op: "stop", calls: 2, want: "stop it done", points: []string{"put-off-noted", "outcome-stored"}},
	{name: "a lost answer", do: "{ reboot: soft }", fault: "soft_reboot:cut-after", op: "soft_reboot", want: "reboot it done", lost: "reboot it unknown answer lost", points: []string{"answer-read", "outcome-known", "outcome-stored"}},
	{name: "command", do: "stop", cause: "trigger: { alert: InstanceDown }", ask: command, op: "soft_reboot", want: "reboot it done", lost: "reboot it unknown answer lost",
		points: []string{"plan-stored", "trigger-acknowledged", "run-taken", "started-stored", "answer-read", "outcome-stored", "run-acknowledged"}},
	{name: "alert", do: "{ reboot: soft }", cause: "trigger: { alert: InstanceDown }", ask: alert, op: "soft_reboot", want: "reboot it done", lost: "reboot it unknown answer lost",
		points: []string{"plan-stored", "trigger-acknowledged", "run-taken", "started-stored", "cooldown-stored", "answer-read", "outcome-stored", "run-acknowledged"}},
}

const it = "11111111-0000-4000-8000-000000000001"

func approve(ctx context.Context, s *site, bus *events.Bus) error {
	return bus.Ask(ctx, "approve", worker.ApproveRequest{Run: fmt.Sprintf("at-noon@%d", noon.Unix())}, new(worker.ApproveAnswer))
}

func command(ctx context.Context, _ *site, bus *events.Bus) error {
	_, err := bus.PublishCommand(ctx, events.Command{Who: "oncall", ID: "once", Region: "lon1", Instance: it, Action: "reboot"})
	return err
}

func alert(ctx context.Context, s *site, bus *events.Bus) error {
	_, err := bus.PublishSignal(ctx, events.Signal{Source: "prometheus", Region: "lon1", Instance: it, Alert: "InstanceDown", Fingerprint: "f1", StartsAt: s.began})
	return err
}

const pointsFile = `version: 1
regions: [LON1]
timezone: UTC
policies:
  - name: at-noon
    select: { all: [env=crash] }
    CAUSE
    do: DO
    mode: MODE
protect: { all: [protected] }
allow: [start, stop, reboot, retag, firewall, resize]
verify: { within: 20s, settle: 1s, apart: 200ms }
civo: { rate: 50/s }
`

func TestEveryPoint(t *testing.T) {
	for _, external := range []bool{false, true} {
		for _, d := range deeds {
			t.Run(fmt.Sprintf("%s, external=%t", d.name, external), func(t *testing.T) {
				t.Parallel()
				before := knownBefore(t, d.scene(t, ""), external)
				for _, point := range d.points {
					t.Run(point, func(t *testing.T) {
						t.Parallel()
						d.crashAt(t, point, external, before)
					})
				}
			})
		}
	}
}

func (d *deed) scene(t *testing.T, point string) scene {
	t.Helper()
	delay := 400 * time.Millisecond
	if slices.Contains(onAWait, point) { // so long that it is waited for, on a busy machine, too
		delay = 5 * time.Second
	}
	instance := d.instance
	if !strings.Contains(instance, "tags:") {
		instance = strings.TrimSuffix("tags: [env=crash], "+instance, ", ")
	}
	file := strings.NewReplacer("DO", d.do, "MODE", cmp.Or(d.mode, "act"), "CAUSE", cmp.Or(d.cause, `cron: "0 12 * * *"`)).Replace(pointsFile)
	return scene{
		sim:      civosim.Options{Regions: []string{"LON1"}, Delay: delay, Seed: 1},
		fleet:    fmt.Sprintf("instances:\n  - { id: %s, hostname: it, region: LON1, %s }\n", it, instance),
		policies: strings.ReplaceAll(file, "FIREWALL", firewallID(t)),
	}
}

// crashAt lets a daemon come back at noon, when everything happens, end itself at
// a point, and come back once more.
func (d *deed) crashAt(t *testing.T, point string, external bool, before string) {
	s := newSite(t, d.scene(t, point), external, noon, before)
	if d.fault != "" {
		s.inject(d.fault)
	}
	first := s.start(point + ":1")
	d.askUntil(s, first)
	first.crashes()

	second := s.comesBack()
	d.askUntil(s, second)
	st := s.allEnded(nil)
	d.check(t, s, &st, point)
}

// askUntil asks until the daemon has heard, or has ended, or there is nothing to
// ask any more.
func (d *deed) askUntil(s *site, by *daemon) {
	if d.ask == nil {
		return
	}
	s.until("it is asked for", func() error {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		defer cancel()
		bus, err := events.Dial(ctx, "nats://"+s.nats, events.Auth{})
		if err == nil {
			err = d.ask(ctx, s, bus)
			bus.Conn().Close()
		}
		var no *events.Refusal
		if errors.As(err, &no) && no.Code == 409 {
			return nil // it waits no more
		}
		select {
		case <-by.done:
			return nil
		default:
			return err
		}
	})
}

func (d *deed) check(t *testing.T, s *site, st *story, point string) {
	t.Helper()
	all := st.outcomes()
	for id, outcomes := range all {
		if len(outcomes) != 1 {
			t.Errorf("action %s has %d outcomes: %q", id, len(outcomes), outcomes)
		}
	}
	ended := false
	var got []string
	for _, run := range st.runs {
		for _, it := range run.Items {
			if len(all[it.ID]) == 0 {
				t.Errorf("%s %s has no outcome", it.Action, it.Hostname)
			}
		}
	}
	for _, outcomes := range all {
		for _, o := range outcomes {
			if got = append(got, o); o == d.want {
				ended = true
			}
		}
	}
	mayBeLost := d.lost != "" && (point == "started-stored" || point == "cooldown-stored" || point == "request-sent" || point == "answer-read" || strings.Contains(d.fault, "cut"))
	// These are passed while the run may be in work already, in another goroutine.
	isBeside := d.lost != "" && (point == "tick-remembered" || point == "plan-stored" || point == "trigger-acknowledged")
	isLost := slices.Contains(got, d.lost)
	ended = ended || (mayBeLost || isBeside) && isLost
	if !ended || len(got) != 1 {
		t.Errorf("outcomes %q, want %q", got, d.want)
	}
	calls := 0
	for _, r := range s.sim.Requests() {
		if d.op != "" && r.Op == d.op {
			calls++
		} else if r.Effect {
			t.Errorf("nobody asked for %s", r.Op)
		}
	}
	want := max(1, d.calls)
	if d.op == "" || d.op == "soft_reboot" && (point == "started-stored" || point == "cooldown-stored") {
		want = 0 // it may have been sent: it is not sent again
	}
	if calls != want && !(isBeside && isLost && calls == 0) {
		t.Errorf("%d requests, want %d", calls, want)
	}
}

// firewallID is the id of the restrictive firewall of every simulator with seed 1.
func firewallID(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(civosim.New(civosim.Options{Regions: []string{"LON1"}, Seed: 1}))
	defer server.Close()
	api, err := civo.New("any", civo.Options{BaseURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	all, err := api.Firewalls(t.Context(), "LON1")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.Name == "restrictive-firewall" {
			return f.ID
		}
	}
	t.Fatal("there is no firewall")
	return ""
}
