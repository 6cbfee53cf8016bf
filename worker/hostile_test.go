package worker_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"nightshift/events"
	"nightshift/worker"
)

// hostileBodies are no body of anything.
var hostileBodies = []string{
	"{", "}", "nul", "17", `"text"`, "\xff\xfe\x00", "\x00", "{}{}", `{"a":1}garbage`, `{"id":{"id":{}}}`, `{"id":17}`, `{"reason":["x"]}`, `{"add":"x"}`,
	`{"hard":"yes"}`, `{"not_before":"soon"}`, `{"not_before":"9999-12-31T23:59:59Z"}`, `{"not_before":"-0001-01-01T00:00:00Z"}`, `{"give_up_after":"-5m"}`, `{"give_up_after":"2562047h"}`, `{"give_up_after":1e99}`,
	`{"dryrun":true}`, `{"version":2,"action":"delete"}`, `{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"dry_run":true}}`, `{"value":1e999}`,
	strings.Repeat("[", 30_000), strings.Repeat(`{"a":`, 12_000), strings.Repeat("x", events.MaxBody+1), "{\"reason\":\"" + strings.Repeat("y", events.MaxBody) + "\"}",
	base64.StdEncoding.EncodeToString([]byte("{}")), "<xml/>", "id: yaml", "\xef\xbb\xbf{}",
}

// hostile is everything that must become a dead letter.
func hostile() (msgs []*nats.Msg) {
	add := func(subject, body string) {
		msgs = append(msgs, &nats.Msg{Subject: subject, Data: []byte(body)})
	}
	const cmd, sig = "nightshift.v1.cmd.", "nightshift.v1.sig."
	for _, body := range hostileBodies {
		add(cmd+"local.lon1."+web1+".stop", body)
		add("nightshift.v1.tick.dev-hours.1772650800", body)
		if !strings.HasPrefix(body, `{"specversion":"1.0"`) { // which is one signal t
			add(sig+"prom.lon1."+web1, body)
		}
	}
	for _, subject := range []string{
		cmd + "local.lon1." + web1, cmd + "local.lon1." + web1 + ".stop.now", cmd + "LOCAL.lon1." + web1 + ".stop", cmd + "local.LON1." + web1 + ".stop", cmd + "local.lon1." + web1 + ".STOP",
		cmd + "local.lon1." + web1 + ".delete", cmd + "local.lon1." + web1 + ".hibernate", cmd + "local.lon1.web-1_x.stop", cmd + "local._._.stop", cmd + "local.lon1.%2e%2e%2f.stop", cmd + "l\u00f6cal.lon1." + web1 + ".stop",
		cmd + "local.lon1." + strings.Repeat("a", 200) + ".stop", cmd + "local.lon1.';drop.stop", cmd + "local.lon1.$(reboot).stop", cmd + "local.lon1." + web1 + ".resize", cmd + "local.lon1." + web1 + ".retag",
		cmd + "local.lon1." + web1 + ".firewall", sig + "prom.lon1", sig + "prom.lon1." + web1 + ".x", "nightshift.v1.tick.dev-hours", "nightshift.v1.tick.dev-hours.tomorrow", "nightshift.v1.tick.dev-hours.01", "nightshift.v1.tick.a.99999999999999999999",
	} {
		add(subject, "{}")
	}
	for _, body := range []string{
		"[]", "{}", `{"alert":""}`, `{"alert":"A","load":"cpu"}`, `{"load":"cpu"}`, `{"load":"cpu","value":"high"}`, `{"alert":"A","status":"perhaps"}`, `{"alert":"A","labels":{"a":1}}`, `{"alert":"A","startsAt":"9999-12-31T23:59:59Z"}`,
		"[" + strings.Repeat("1,", 2_000) + "1]", `{"specversion":"0.3","id":"1","source":"s","type":"t"}`, `{"specversion":"1.0","type":"t"}`, `{"specversion":null,"x":1}`,
	} {
		add(sig+"prom.lon1."+web1, body)
	}
	for _, body := range []string{
		`{"policy":"dev-hours","planned":"2026-03-04T19:00:00Z","trigger":"t1","hash":"h","edges":["*.>@1"]}`, `{"policy":"dev-hours","planned":"2026-03-04T19:00:00Z","trigger":"t1","hash":"h","edges":["dev hours@x"]}`,
		`{"policy":"other","planned":"2026-03-04T19:00:00Z","trigger":"t1","hash":"h"}`, `{"policy":"dev-hours","planned":"2026-03-04T19:00:00Z","trigger":"T.*","hash":"h"}`, `{"policy":"dev-hours","planned":"2026-03-04T19:00:00Z","trigger":"t1"}`,
	} {
		add("nightshift.v1.tick.dev-hours.1772650800", body)
	}
	for _, body := range append([]string{
		`{"trigger":"t2","region":"lon1"}`, `{"trigger":"t1","region":"lon1","items":[{"id":"a b","action":"stop","region":"lon1","instance":"` + web1 + `"}]}`,
		`{"trigger":"t1","region":"lon1","items":[{"id":"a","action":"stop","region":"lon1","instance":"*"}]}`, `{"trigger":"t1","region":"lon1","items":[{"id":"a","action":"","region":"lon1","instance":"i"}]}`, `{}`,
	}, hostileBodies...) {
		add("nightshift.v1.run.lon1.t1", body)
	}
	add("nightshift.v1.run.lon1.local-good", "a place that is taken") // where the plan of a good command goes
	return msgs
}

func TestHostileMessagesAreDeadLettersAndDoNothing(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		bad := hostile()
		for _, m := range bad {
			if err := w.bus.Conn().PublishMsg(m); err != nil {
				t.Fatalf("%q: %v", m.Subject, err)
			}
		}
		// What can be read and is not allowed has an outcome instead.
		w.command(events.Command{ID: "p", Instance: db, Action: "stop"})
		w.command(events.Command{ID: "n", Instance: "99999999-0000-4000-8000-000000000009", Action: "stop"})
		tick := w.set.Policies[0]
		if _, err := w.bus.PublishTick(t.Context(), events.Tick{Policy: tick.Name, Planned: time.Date(2026, 3, 4, 19, 0, 0, 0, time.UTC), Trigger: "t1772650800", Hash: tick.Hash()}); err != nil {
			t.Fatal(err) // tonight's, written by somebody at noon
		}
		w.after(3 * time.Minute)
		w.command(events.Command{ID: "good", Instance: web1, Action: "stop"})
		w.after(5 * time.Minute)
		w.mu.Lock()
		dead := 0
		w.all = slices.DeleteFunc(w.all, func(r events.Record) bool { // what names an instance has its outcome, too
			isDead := r.Outcome == events.Failed && strings.Contains(r.Detail, "kept as a dead letter")
			if isDead {
				dead++
			}
			return isDead
		})
		w.mu.Unlock()
		if dead < len(bad)/3 {
			t.Errorf("%d of %d dead letters have an outcome", dead, len(bad))
		}
		w.wantOutcomes("stop dev-db skipped protected", "stop  skipped gone", "stop web-1 done")
		if n := w.calls("stop"); n != 1 {
			t.Errorf("%d instances were asked to stop, want 1", n)
		}
		for _, r := range w.sim.Requests() {
			if r.Method != "GET" && r.Op != "stop" {
				t.Errorf("the API was asked for %s %s", r.Method, r.Op)
			}
		}

		var got, want []string
		for l, err := range w.bus.DeadLetters(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if l.Reason == "" {
				t.Errorf("no reason: %+v", l)
			}
			got = append(got, fmt.Sprintf("%s %.80q", l.Subject, l.Body()))
		}
		for _, m := range bad {
			want = append(want, fmt.Sprintf("%s %.80q", m.Subject, m.Data))
		}
		slices.Sort(got)
		slices.Sort(want)
		for _, m := range want {
			if i, found := slices.BinarySearch(got, m); found {
				got = slices.Delete(got, i, i+1)
			} else {
				t.Errorf("not a dead letter: %s", m)
			}
		}
		for _, m := range got {
			t.Errorf("a dead letter that nobody expected: %s", m)
		}
		w.wantAllDeadLetters(len(bad))
	})
}

// wantAllDeadLetters reads all pages of the control endpoint.
func (w *world) wantAllDeadLetters(want int) {
	w.t.Helper()
	n, before := 0, uint64(0)
	for {
		var page worker.DeadAnswer
		w.ask("dead", worker.DeadRequest{Before: before}, &page)
		n += len(page.Letters)
		for i := 1; i < len(page.Letters); i++ {
			if page.Letters[i].N >= page.Letters[i-1].N {
				w.t.Errorf("%d stands before %d", page.Letters[i-1].N, page.Letters[i].N)
			}
		}
		if before = page.More; before == 0 {
			break
		}
	}
	if n != want {
		w.t.Errorf("%d dead letters are listed, want %d", n, want)
	}
}

// listed are all questions that the service itself lists, with what would do the
// most in place of what they leave open.
func (w *world) listed() (names []string) {
	w.t.Helper()
	msg, err := w.bus.Conn().Request("$SRV.INFO.nightshift", nil, time.Minute)
	if err != nil {
		w.t.Fatal(err)
	}
	var info micro.Info
	if err := json.Unmarshal(msg.Data, &info); err != nil {
		w.t.Fatal(err)
	}
	for _, e := range info.Endpoints {
		name := strings.TrimPrefix(e.Subject, "nightshift.v1.ctl.")
		switch strings.TrimPrefix(name, e.Name) {
		case "":
		case ".*":
			name = e.Name + ".local"
		case ".*.*.*":
			name = e.Name + ".local.lon1.delete"
		case ".*.*.*.*":
			name = e.Name + ".local.lon1." + web1 + ".delete"
		default:
			w.t.Errorf("nobody knows how to ask %s", e.Subject)
		}
		names = append(names, name)
	}
	for _, name := range []string{"status", "check", "unsettled", "settle.local", "account", "account-accept.local"} {
		if !slices.Contains(names, name) {
			w.t.Errorf("%s is not listed: %q", name, names)
		}
	}
	return names
}

func TestHostileQuestionsAreAnsweredAndDoNothing(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		endpoints := append(w.listed(), "do.local.lon1."+web1+".explode", "do.LOCAL.lon1."+web1+".stop", "do.local.lon1.*.stop", "do.local.nyc1."+web1+".stop", "do.local.lon1."+db+".stop", "do.local._._.stop", "do.local.lon1."+web1+".firewall",
			"run.local.LON1.stop", "run.local.nyc1.stop", "run.local._.explode", "run.-.*.stop", "keep.NOBODY", "keep.*", "approve._")
		bodies := append([]string{"null", "[]", "{}", `{"n":-1}`, `{"n":18446744073709551615}`, `{"run":"*.>"}`, `{"run":"@@"}`, `{"name":"*"}`, `{"instance":"../..","region":"LON1"}`, `{"policy":"nobody"}`, `{"at":"\u0000"}`,
			`{"select":{"when":"while(true)"},"action":"stop"}`, `{"select":{},"action":"stop"}`, `{"select":{"all":["role=web"]},"action":"delete"}`}, hostileBodies...)
		for _, name := range endpoints {
			for _, body := range bodies {
				msg, err := w.bus.Conn().Request("nightshift.v1.ctl."+name, []byte(body), time.Minute)
				if err != nil {
					t.Fatalf("%s %.60q: %v", name, body, err)
				}
				if strings.HasPrefix(msg.Header.Get("Nats-Service-Error"), "programming error") {
					t.Errorf("%s %.60q: %s", name, body, msg.Header.Get("Nats-Service-Error"))
				}
			}
		}
		w.after(5 * time.Minute)
		var s worker.Status
		w.ask("status", nil, &s)
		if len(s.Paused) > 0 || !s.Ready {
			t.Errorf("status %+v", s)
		}
		for _, r := range w.sim.Requests() {
			if r.Method != "GET" {
				t.Errorf("the API was asked for %s %s", r.Method, r.Op)
			}
		}
		w.command(events.Command{ID: "good", Instance: web1, Action: "stop"})
		w.after(5 * time.Minute)
		w.wantStatus(web1, "SHUTOFF")
	})
}
