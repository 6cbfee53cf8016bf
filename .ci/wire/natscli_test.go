package wire_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"nightshift/events"
)

// nats runs the official command line against a server.
func nats(t *testing.T, url string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), natsCLI, append([]string{"--server", url}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
	var out, fault bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &fault
	if err := cmd.Run(); err != nil {
		t.Fatalf("nats %s: %v\n%s%s", strings.Join(args, " "), err, &out, &fault)
	}
	return out.String() + fault.String()
}

func TestTheOfficialCommandLineIsAClient(t *testing.T) {
	d := begin(t, events.Options{Listen: "127.0.0.1:0", DataDir: t.TempDir()}, 2)
	url, ended := d.bus.URL(), watch(t, d.bus)
	wants := func(what, got string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("%s has no %q:\n%s", what, part, got)
			}
		}
	}

	nats(t, url, "pub", "nightshift.v1.cmd.local.lon1."+machine(0)+".stop", `{"id": "night-1", "reason": "from the shell"}`)
	rec := ended.wait(t, 1)[0]
	if rec.Outcome != events.Done || rec.Action != "stop" || rec.Instance != machine(0) || rec.Who != "local" || rec.Why != "from the shell" {
		t.Errorf("a published stop ended as %+v", rec)
	}

	stored := nats(t, url, "req", "nightshift.v1.cmd.local.lon1."+machine(0)+".stop", `{"id": "night-1"}`)
	wants("the answer to a request on the command's own subject", stored, `"stream":"NS_IN"`)

	var answer struct{ Trigger, Action_id string }
	reply := nats(t, url, "req", "--raw", "nightshift.v1.ctl.do.local.lon1."+machine(1)+".stop", `{"id": "night-2"}`)
	if i := strings.IndexByte(reply, '{'); i < 0 || json.NewDecoder(strings.NewReader(reply[i:])).Decode(&answer) != nil || answer.Action_id == "" {
		t.Errorf("ctl.do answers %q", reply)
	}
	ended.wait(t, 2)
	if n := d.calls("stop", machine(0)); n != 1 {
		t.Errorf("%d stops of the instance whose command came twice with one id, want 1", n)
	}
	wants("ctl.plan", nats(t, url, "req", "--raw", "nightshift.v1.ctl.plan", `{}`), `"actions"`, `"timezone"`)

	service := nats(t, url, "service", "info", "nightshift", "--json")
	wants("the service", service, `"nightshift.v1.ctl.plan"`, "nightshift.v1.ctl.do", `"schema`, "properties")
	wants("the service for people", nats(t, url, "service", "info", "nightshift"), "nightshift.v1.ctl.status")

	last := nats(t, url, "stream", "get", "NS_EVT", "--last-for", "nightshift.v1.evt.lon1."+machine(0)+".stop.done.>")
	wants("the outcome in the stream", last, `"specversion":"1.0"`, `"type":"nightshift.v1.done"`, "from the shell")
	wants("the stream from its beginning", nats(t, url, "subscribe", "nightshift.v1.evt.>", "--stream", "NS_EVT", "--all", "--count", "4", "--raw"), `"outcome":"started"`, `"outcome":"done"`)
}
