package worker_test

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
)

// The daemon is told to end when it has announced a reboot and has not sent it. The
// next one sends it: nothing is unknown, for the announcement was taken back.
func TestACallThatIsAnnouncedWhenTheDaemonIsToldToEndIsTakenBack(t *testing.T) {
	for _, embedded := range []bool{true, false} {
		t.Run(fmt.Sprintf("embedded=%t", embedded), func(t *testing.T) {
			withFarServer(t, "2026-03-04 12:00", office, func(t *testing.T, w *world, far *farServer) {
				w.end()
				w.o.Embedded = embedded
				w.begin()
				w.after(time.Second)
				far.onWrite("evt.lon1."+web1+".reboot.started.", func() { w.stop() })
				w.command(events.Command{Instance: web1, Action: "reboot", ID: "once"})
				w.after(10 * time.Second)
				w.end()
				if n := w.calls("soft_reboot"); n != 0 {
					t.Fatalf("%d reboots were sent by a daemon that had been told to end", n)
				}
				w.begin()
				w.after(10 * time.Second)
				if n := w.calls("soft_reboot"); n != 1 {
					t.Errorf("the next daemon sent %d reboots within 10 s, want 1", n)
				}
				w.after(10 * time.Minute)
				for rec, err := range w.bus.Records(t.Context(), "", time.Time{}) {
					if err != nil {
						t.Fatal(err)
					}
					if rec.Outcome.Ends() && rec.Outcome != events.Done {
						t.Errorf("the reboot is %s: %s %s", rec.Outcome, rec.Detail, rec.Error)
					}
				}
			})
		})
	}
}

// The daemon is told to end while its call is under way. What Civo answers is known
// to the next one, which need not wait until nobody can be waiting for it any more.
func TestAnAnswerThatComesWhenTheDaemonIsToldToEndIsKnownToTheNext(t *testing.T) {
	withFarServer(t, "2026-03-04 12:00", office, func(t *testing.T, w *world, _ *farServer) {
		w.sim.Inject(civosim.Fault{Op: "stop", Kind: civosim.Slow, Delay: 12 * time.Second, Count: 1})
		w.command(events.Command{Instance: web1, Action: "stop", ID: "once"})
		w.after(time.Second)
		w.end() // the call ends within the grace period
		w.begin()
		w.after(25 * time.Second) // the instance takes 20 s
		var words []string
		for rec, err := range w.bus.Records(t.Context(), "", time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, strings.TrimSpace(string(rec.Outcome)+" "+rec.Detail))
		}
		if want := []string{"started", "accepted", "done"}; !slices.Equal(words, want) {
			t.Errorf("the ledger says %q, want %q", words, want)
		}
	})
}

// onWrite does something, once, when a text is written to the server.
func (f *farServer) onWrite(text string, do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = sync.OnceFunc(do)
	f.text = []byte(text)
}

// watchedConn tells of what is written.
type watchedConn struct {
	net.Conn
	f *farServer
}

func (c watchedConn) Write(b []byte) (int, error) {
	c.f.mu.Lock()
	text, do := c.f.text, c.f.writes
	c.f.mu.Unlock()
	if do != nil && bytes.Contains(b, text) {
		do()
	}
	return c.Conn.Write(b)
}
