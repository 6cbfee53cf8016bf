package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// atOnce is within which whoever asks must be told that nothing is stored: well
// below what a client waits.
const atOnce = 3 * time.Second

// TestAStoreThatIsTakenAwayIsSaidAtOnceAndItsTickIsCaughtUpOnce is for disks that fill
// up, become read-only or go away: without any right the directory is moved instead,
// so that nothing can be made in it any more.
func TestAStoreThatIsTakenAwayIsSaidAtOnceAndItsTickIsCaughtUpOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, false, "300ms")
	base := "http://" + freeAddr(t)
	write(t, s.dir, "nightshift.yaml", e2ePolicies+"webhooks:\n  alerts: { form: alertmanager, policies: [web-down] }\nhttp: { listen: '"+strings.TrimPrefix(base, "http://")+"' }\n")
	daemon := s.daemon("2026-03-04T18:57:00Z") // the tick of 19:00 is due in 18 s
	s.listen()
	data := filepath.Join(s.dir, "data")
	if err := os.Rename(data, data+".away"); err != nil {
		t.Fatal(err)
	}
	ready := func() (code int) {
		resp, err := http.Get(base + "/readyz")
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if err := waitFor(func() bool { return ready() == http.StatusServiceUnavailable }, "the daemon says that it is ready"); err != nil {
		t.Fatal(err)
	}

	alert := fmt.Sprintf(`{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"InstanceDown","instance":"web-1"},"startsAt":"%s","fingerprint":"abc"}]}`,
		"2026-03-04T18:57:00Z")
	began := time.Now()
	code, text := deliver(t, base+"/v1/hooks/alerts", alert, nil)
	if took := time.Since(began); code != 503 || !strings.Contains(text, "not stored, send it again: the store cannot be written") || !strings.Contains(text, data) || took > atOnce {
		t.Errorf("a delivery is answered with %d %s after %s, want 503 with the reason at once", code, text, took)
	}
	began = time.Now()
	cmd := exec.Command(binary(t, "nightshift"), "stop", "web-1")
	cmd.Env = append(os.Environ(), "NIGHTSHIFT_NATS_URL=nats://"+s.nats)
	out, _ := cmd.CombinedOutput()
	if took := time.Since(began); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "the store cannot be written") || took > atOnce {
		t.Errorf("a command is answered with %s after %s, want the reason at once", out, took)
	}
	daemon.says(t, `(ticks not stored, will be tried again)`)
	if n := s.calls("stop"); n != 0 {
		t.Errorf("%d stop calls, want none: nothing could be stored", n)
	}

	if err := os.RemoveAll(data); err != nil { // NATS makes one where it misses it
		t.Fatal(err)
	}
	if err := os.Rename(data+".away", data); err != nil {
		t.Fatal(err)
	}
	daemon.says(t, `(the store is written again)`)
	s.hears("stop dev-1 done")
	s.hears("stop dev-2 done")
	if err := waitFor(func() bool { return ready() == http.StatusOK }, "the daemon is not ready again"); err != nil {
		t.Fatal(err)
	}
	if stops, reboots := s.calls("stop"), s.calls("reboot"); stops != 2 || reboots != 0 {
		t.Errorf("%d stop calls and %d reboots, want 2 and 0: the tick once for each, nothing of what was refused", stops, reboots)
	}
}
