package worker_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
	"nightshift/worker/notify"
)

// chat is a target that takes every message down.
type chat struct {
	mu   sync.Mutex
	got  []notify.Message
	at   []time.Time
	fail int // so many answers of 500 first
}

func (c *chat) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec := httptest.NewRecorder()
	if c.fail > 0 {
		c.fail--
		rec.WriteHeader(http.StatusInternalServerError)
		return rec.Result(), nil
	}
	var m notify.Message
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		return nil, err
	}
	c.got, c.at = append(c.got, m), append(c.at, time.Now())
	return rec.Result(), nil
}

func (c *chat) titles() (titles []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.got {
		titles = append(titles, m.Title)
	}
	return titles
}

func (w *world) wantTold(c *chat, want ...string) {
	w.t.Helper()
	if got := c.titles(); !slices.Equal(got, want) {
		w.t.Errorf("told:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// telling runs a notifier beside the daemon, with a target called team-chat.
func telling(t *testing.T, at, file string, test func(t *testing.T, w *world, c *chat, n *notify.Notifier)) {
	t.Helper()
	inBubble(t, at, strings.Replace(file, "version: 1", "version: 1\nnotify: { team-chat: { webhook_env: CHAT } }", 1), func(t *testing.T, w *world) {
		c := &chat{}
		n := notify.New(w.bus, notify.Settings{
			Targets: []notify.Target{{Name: "team-chat", Form: "json", About: []string{"held", "failed", "warn"}, URL: func() (string, error) { return "http://chat.test/hook", nil }}},
			Zone:    w.set.Zone, PublicURL: "https://nightshift.test",
		}, notify.Options{Transport: c})
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); n.Run(ctx) }() // until stop
		synctest.Wait()
		test(t, w, c, n)
		stop()
		<-done
	})
}

var warned = with(strings.TrimRight(devHours, "\n") + "\n    warn: { before: 15m, to: [team-chat] }\n")

func TestAStopIsWarnedOfAndPostponedByTheLink(t *testing.T) {
	telling(t, "2026-03-04 18:30", warned, func(t *testing.T, w *world, c *chat, n *notify.Notifier) {
		w.after(14 * time.Minute)
		w.wantTold(c)
		w.after(2 * time.Minute) // 18:46
		w.wantTold(c, "dev-hours stops 2 instances at Wed 2026-03-04 19:00 GMT, in 15 minutes")
		m := c.got[0]
		if at := c.at[0].UTC().Format("15:04:05"); at > "18:45:10" {
			t.Errorf("the warning came at %s", at)
		}
		if len(m.Instances) != 2 || m.Instances[0].Hostname != "dev-1" || m.Instances[1].Hostname != "dev-2" { // dev-db is protected
			t.Errorf("the warning is about %+v", m.Instances)
		}
		link, err := url.Parse(m.Instances[0].Postpone)
		if err != nil || link.Host != "nightshift.test" || link.Path != notify.PostponePath {
			t.Fatalf("the link is %s (%v)", m.Instances[0].Postpone, err)
		}
		click := func(method string) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			n.Handler().ServeHTTP(rec, httptest.NewRequest(method, link.String(), nil))
			return rec
		}
		if rec := click("GET"); rec.Code != 200 || !strings.Contains(rec.Body.String(), "Keep dev-1 running?") {
			t.Errorf("GET: %d %s", rec.Code, rec.Body)
		}
		var e worker.InventoryAnswer
		w.ask("inventory", worker.InventoryRequest{}, &e)
		if len(e.Memory.Keeps) != 0 {
			t.Errorf("GET keeps an instance: %+v", e.Memory.Keeps)
		}
		if rec := click("POST"); rec.Code != 200 || !strings.Contains(rec.Body.String(), "dev-1 stays running") {
			t.Errorf("POST: %d %s", rec.Code, rec.Body)
		}
		w.after(30 * time.Minute) // 19:16
		w.wantStatus(dev1, "ACTIVE")
		w.wantStatus(dev2, "SHUTOFF")
		if rec := click("POST"); rec.Code != http.StatusGone {
			t.Errorf("a link works a quarter of an hour after the stop: %d %s", rec.Code, rec.Body)
		}
		w.after(90 * time.Minute) // 20:46: the end of the keep is a stop, too
		w.wantTold(c, "dev-hours stops 2 instances at Wed 2026-03-04 19:00 GMT, in 15 minutes", "dev-hours stops 1 instance at Wed 2026-03-04 21:00 GMT, in 15 minutes")
		w.after(20 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
	})
}

func TestNobodyIsWarnedOfWhatWillNotBeStopped(t *testing.T) {
	for name, file := range map[string]string{
		"observe":         strings.Replace(warned, "version: 1", "version: 1\nmode: observe", 1),
		"a higher policy": warned + "  - { name: late, priority: 5, select: { all: [env=dev] }, schedule: { running: [\"06:00-23:00\"] } }\n",
	} {
		t.Run(name, func(t *testing.T) {
			telling(t, "2026-03-04 18:40", file, func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
				w.after(19 * time.Minute)
				w.wantTold(c)
			})
		})
	}
	telling(t, "2026-03-04 18:30", warned, func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		w.ask("keep", worker.KeepRequest{Instance: dev2, Region: "LON1", State: "running", Until: "22:00"}, &worker.KeepAnswer{})
		w.after(16 * time.Minute)
		w.wantTold(c, "dev-hours stops 1 instance at Wed 2026-03-04 19:00 GMT, in 15 minutes")
	})
}

// TestAWarningIsGivenOnce over a restart, and a restart within the time warns of
// what was not warned of.
func TestAWarningIsGivenOnce(t *testing.T) {
	telling(t, "2026-03-04 18:30", warned, func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		w.after(16 * time.Minute)
		w.end()
		w.begin()
		w.after(10 * time.Minute)
		w.wantTold(c, "dev-hours stops 2 instances at Wed 2026-03-04 19:00 GMT, in 15 minutes")
	})
	telling(t, "2026-03-04 18:30", warned, func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		w.end()
		w.after(25 * time.Minute)
		w.begin()
		w.after(time.Minute)
		w.wantTold(c, "dev-hours stops 2 instances at Wed 2026-03-04 19:00 GMT, in 5 minutes")
	})
}

func TestAHeldRunIsToldOfOnce(t *testing.T) {
	telling(t, "2026-03-04 18:40", asking(warned), func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		w.after(30 * time.Minute) // what waits for approval is not warned of: it may never be stopped
		w.wantTold(c, "dev-hours@2026-03-04T19:00 waits for approval: 2 actions, mode is ask")
		if m := c.got[0]; len(m.Commands) != 1 || m.Commands[0] != "nightshift approve "+w.theRun("dev-hours@19:00").Trigger {
			t.Errorf("the commands are %q", m.Commands)
		}
	})
}

func TestAFailedRunIsToldOfOnceWhenItHasEnded(t *testing.T) {
	telling(t, "2026-03-04 18:50", with(devHours), func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		c.fail = 1
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Refused, Code: "quota_limit_reached", Count: -1})
		w.after(20 * time.Minute)
		w.wantTold(c, "dev-hours@2026-03-04T19:00: 2 failed: quota, 1 skipped")
		if m := c.got[0]; m.Counts["failed"] != 2 || len(m.Instances) != 2 || m.Instances[0].Outcome != "failed" || m.Instances[0].Reason == "" {
			t.Errorf("the message is %+v", m)
		}
	})
}

func TestPeopleAreToldAtOnceOfAStageThatIsNotReachedInTime(t *testing.T) {
	file := with(devHours) + "order: [ { name: dev, stages: [ { select: { hostname: [dev-1] } }, { select: { hostname: [dev-2] }, deadline: 5m } ] } ]\n"
	telling(t, "2026-03-04 18:50", file, func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		w.sim.Inject(civosim.Fault{Op: "stop", Instance: dev2, Kind: civosim.AcceptedButNotDone, Count: -1})
		w.after(16 * time.Minute)
		late := "dev-hours@2026-03-04T19:00: order dev, turn 1 of 2 to stop: 0 of 1 when its deadline of 5m had passed; what comes after it goes on; dev-2 under way"
		w.wantTold(c, late)
		w.after(10 * time.Minute)
		w.wantTold(c, late, "dev-hours@2026-03-04T19:00: 1 done, 1 failed: still ACTIVE, 1 skipped")
	})
	telling(t, "2026-03-04 18:50", file, func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		w.after(26 * time.Minute)
		w.wantTold(c)
	})
}

func TestAStepTellsWhileTheAlertFires(t *testing.T) {
	file := with(`  - name: web-down
    select: { all: [role=web] }
    trigger: { alert: InstanceDown }
    do: [ { reboot: soft }, { notify: [team-chat], after: 10m, if: still-firing } ]
`)
	fire := func(w *world, status string) {
		w.signal(events.Signal{Instance: web1, Alert: "InstanceDown", Fingerprint: "f", StartsAt: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), Status: status})
	}
	telling(t, "2026-03-04 12:00", file, func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		fire(w, "firing")
		w.after(9 * time.Minute)
		w.wantTold(c)
		w.after(2 * time.Minute)
		w.wantTold(c, "web-down: web-1 needs somebody: alert InstanceDown since Wed 2026-03-04 12:00 GMT")
		w.wantOutcomes("reboot web-1 done", "notify web-1 done")
	})
	telling(t, "2026-03-04 12:00", file, func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		fire(w, "firing")
		w.after(5 * time.Minute)
		fire(w, "resolved")
		w.after(10 * time.Minute)
		w.wantTold(c)
	})
	// A message needs no approval.
	telling(t, "2026-03-04 12:00", asking(strings.Replace(file, "{ reboot: soft }, ", "", 1)), func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		fire(w, "firing")
		w.after(11 * time.Minute)
		w.wantTold(c, "web-down: web-1 needs somebody: alert InstanceDown since Wed 2026-03-04 12:00 GMT")
	})
	// Nobody is woken for a machine that is meant to be off.
	telling(t, "2026-03-04 12:00", strings.Replace(file, "policies:\n", "policies:\n  - { name: off, select: { all: [role=web] }, schedule: { stopped: [\"00:00-24:00\"] } }\n", 1), func(t *testing.T, w *world, c *chat, _ *notify.Notifier) {
		fire(w, "firing")
		w.after(15 * time.Minute)
		w.wantTold(c)
	})
}
