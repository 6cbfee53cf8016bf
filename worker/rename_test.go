package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/events"
)

const queued = `  - name: ci
    select: { all: [env=dev] }
    trigger: { alert: Queued }
    do: start
    lasts: 30m
    cooldown: 1s
`

func renamed(policy string) string {
	name := strings.Fields(policy)[2]
	return strings.Replace(policy, "name: "+name, "name: new-"+name+"\n    was: "+name, 1)
}

func TestTheEndOfWhatARenamedPolicyStartedStopsIt(t *testing.T) {
	for name, replicas := range map[string]bool{"one process": false, "restarted": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, "2026-03-04 12:00", with(queued), func(t *testing.T, w *world) {
				w.sim.SetStatus(dev1, "SHUTOFF")
				w.after(2 * time.Minute)
				w.signal(events.Signal{ID: "a", Instance: dev1, Alert: "Queued"})
				w.after(10 * time.Minute)
				w.wantStatus(dev1, "ACTIVE")
				w.edit(with(renamed(queued)))
				if replicas {
					w.end()
					w.begin()
				}
				w.after(15 * time.Minute)
				w.wantStatus(dev1, "ACTIVE")
				w.after(10 * time.Minute)
				w.wantStatus(dev1, "SHUTOFF")
			})
		})
	}
}

const rebooted = `  - name: down
    select: { all: ["*"] }
    trigger: { alert: Down }
    do: reboot
`

func TestARenamedPolicyKeepsItsCoolDownsAndAtMost(t *testing.T) {
	for name, how := range map[string]func(w *world) func(){
		"one process": func(*world) func() { return func() {} },
		"restarted":   func(w *world) func() { w.end(); w.begin(); return func() {} },
		"replicas":    func(w *world) func() { return w.second() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, "2026-03-04 12:00", with(rebooted), func(t *testing.T, w *world) {
				if name == "replicas" { // in whose common record they count
					w.end()
					w.o.Embedded = false
					w.begin()
				}
				w.signal(events.Signal{ID: "a", Instance: dev1, Alert: "Down"})
				w.signal(events.Signal{ID: "b", Instance: dev2, Alert: "Down"})
				w.after(5 * time.Minute)
				w.edit(with(renamed(rebooted)))
				defer how(w)()
				w.after(15 * time.Minute)
				w.signal(events.Signal{ID: "c", Instance: dev1, Alert: "Down"})
				w.signal(events.Signal{ID: "d", Instance: web1, Alert: "Down"})
				w.after(5 * time.Minute)
				w.wantOutcomes("reboot dev-1 done", "reboot dev-2 done", "reboot dev-1 skipped cooldown", "reboot web-1 skipped over limit")
			})
		})
	}
}

func TestAPolicyThatGotItsOldNameBackGoesByWhatIsNewest(t *testing.T) {
	back := strings.Replace(herdHours, "name: hours", "name: hours\n    was: new-hours", 1)
	inBubbleWith(t, "2026-03-04 18:59", back, herd(2, "env=dev"), func(t *testing.T, w *world) {
		w.end()
		w.putBreaker("hours", map[string]any{}) // of before it had the other name
		w.putBreaker("new-hours", map[string]any{"last": "it", "until": time.Now().Add(-time.Minute), "times": 1, "trial": "a1b2", "trial_at": time.Now()})
		w.begin()
		w.after(5 * time.Minute) // that trial might be another replica's
		w.wantOutcomes()
		w.after(15 * time.Minute)
		w.wantOutcomes("stop h-1 done", "stop h-2 done")
	})
}

func TestACoolDownIsTheNewerOfBothNames(t *testing.T) {
	back := strings.Replace(rebooted, "name: down", "name: down\n    was: new-down", 1)
	inBubble(t, "2026-03-04 12:00", with(back), func(t *testing.T, w *world) {
		w.sim.SetStatus(dev1, "BUILDING")
		w.signal(events.Signal{ID: "a", Instance: dev1, Alert: "Down"})
		w.after(30 * time.Second) // it waits until that is built
		for policy, at := range map[string]time.Time{"down": time.Now().Add(-2 * time.Hour), "new-down": time.Now()} {
			body := fmt.Sprintf(`{"at":%q,"trigger":"another"}`, at.UTC().Format(time.RFC3339))
			if _, err := w.bus.State().Put(t.Context(), "cooldown."+policy+"."+dev1, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		w.sim.SetStatus(dev1, "ACTIVE")
		w.after(5 * time.Minute)
		w.wantOutcomes("reboot dev-1 skipped cooldown")
	})
}
