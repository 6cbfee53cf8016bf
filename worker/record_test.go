package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/events"
	"nightshift/worker"
)

const someTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestARecordSaysWhatWasWantedInWhichRevisionAndHowItWent(t *testing.T) {
	inBubble(t, "2026-03-04 18:59", office, func(t *testing.T, w *world) {
		w.after(10 * time.Minute)
		for _, rec := range w.records(events.Done) {
			late, err := time.ParseDuration(rec.Lateness)
			if rec.Policy != "dev-hours" || rec.Revision != w.set.Policies[0].Hash() || rec.Attempt != 1 || rec.Before != "ACTIVE" || rec.After != "SHUTOFF" ||
				err != nil || late <= 0 || rec.Planned.UTC().Hour() != 19 || rec.Why == "" || !strings.HasPrefix(rec.Trigger, "t") || rec.Trace != "" {
				t.Errorf("%+v", rec)
			}
		}
		if n := len(w.records(events.Done)); n != 2 {
			t.Errorf("%d done, want 2", n)
		}
	})
}

func TestTheTraceOfACommandIsInEveryEventThatComesOfIt(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		ctx := events.WithTrace(t.Context(), events.Trace{Parent: someTrace, State: "vendor=1,other=2"})
		if err := w.bus.Ask(ctx, "do.oncall.lon1."+web1+".stop", events.Command{}, &worker.DoAnswer{}); err != nil {
			t.Fatal(err)
		}
		var run worker.RunAnswer
		if err := w.bus.Ask(ctx, "run.local._.stop", worker.RunRequest{Select: worker.SelectForm{All: []string{"role=api"}}, Action: "stop"}, &run); err != nil {
			t.Fatal(err)
		}
		w.after(5 * time.Minute)
		w.wantOutcomes("stop web-1 done", "stop api-1 done")
		for _, o := range []events.Outcome{events.Started, events.Accepted, events.Done} {
			for _, rec := range w.records(o) {
				if rec.Trace != someTrace || rec.TraceState != "vendor=1,other=2" {
					t.Errorf("%s of %s: trace %q", o, rec.Hostname, rec.Trace)
				}
			}
		}
	})
}

func TestABatchOfSignalsActsOnceEach(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		const alert = `{"alert":"InstanceDown","fingerprint":"f","startsAt":"2026-03-04T11:59:00Z"}`
		event := `{"specversion":"1.0","id":"1","source":"/prom","type":"alert","data":` + alert + `}`
		if err := w.bus.Conn().Publish("nightshift.v1.sig.prometheus.lon1."+web1, []byte("["+alert+","+event+`,{"alert":1},{"signal":"other"}]`)); err != nil {
			t.Fatal(err)
		}
		w.after(5 * time.Minute)
		w.wantOutcomes("reboot web-1 done", "plan  skipped no match", "plan  failed") // the dead letter has its outcome
		if n := w.calls("soft_reboot"); n != 1 {
			t.Errorf("%d reboots, want 1", n)
		}
		w.wantAllDeadLetters(1)
	})
}

func TestADeadLetterThatIsSentAgainOrDroppedIsInTheAuditTrail(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		for range 2 {
			if err := w.bus.Conn().Publish("nightshift.v1.cmd.local.lon1."+web1+".stop", []byte("{")); err != nil {
				t.Fatal(err)
			}
		}
		w.after(time.Second)
		var a worker.DeadActAnswer
		w.ask("dead-retry", worker.DeadActRequest{N: 1, Who: "ann"}, &a)
		w.ask("dead-drop", worker.DeadActRequest{N: 2, Who: "ann"}, &a)
		w.after(time.Second)
		w.wantAllDeadLetters(1) // it cannot be read this time either
		var said []string
		for _, rec := range w.records(events.Noticed) {
			if rec.Action == "message" {
				said = append(said, rec.Reason+" by "+rec.Who+"/"+rec.Claim)
			}
		}
		if got := strings.Join(said, ", "); got != "sent again by local/ann, dropped by local/ann" {
			t.Errorf("the trail says %q", got)
		}
		var letter worker.DeadAnswer
		w.ask("dead", worker.DeadRequest{N: 3}, &letter)
		if l := letter.Letters[0]; l.Payload != "{" || l.Seq != 3 {
			t.Errorf("%+v", l)
		}
	})
}
