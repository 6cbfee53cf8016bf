package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

var update = flag.Bool("update", false, "write the golden output of the scripts anew")

func TestMain(m *testing.M) {
	// These tests wait for other processes more than they work. -parallel on the
	// command line is read later, and stands.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"nightshift": func() { os.Exit(run()) }})
}

// scriptFleet is what every script finds at $SIM.
const scriptFleet = `instances:
  - { id: 11111111-0000-4000-8000-000000000001, hostname: dev-1, region: LON1, tags: [env=dev] }
  - { id: 11111111-0000-4000-8000-000000000002, hostname: dev-2, region: LON1, tags: [env=dev], status: SHUTOFF }
  - { id: 22222222-0000-4000-8000-000000000001, hostname: dev-db, region: LON1, tags: [env=dev, protected] }
  - { id: 33333333-0000-4000-8000-000000000001, hostname: web-1, region: LON1, tags: [role=web] }
  - { id: 33333333-0000-4000-8000-000000000002, hostname: twin, region: LON1, tags: [role=web] }
  - { id: 33333333-0000-4000-8000-000000000003, hostname: twin, region: NYC1, tags: [role=web] }
`

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			fleet, err := civosim.ParseFleet([]byte(scriptFleet))
			if err != nil {
				return err
			}
			sim := httptest.NewServer(civosim.New(civosim.Options{Token: "12345", Regions: []string{"LON1", "NYC1"}, Fleet: fleet, Delay: 200 * time.Millisecond, Seed: 1}))
			env.Defer(sim.Close)
			env.Setenv("SIM", sim.URL)
			if err := setFirewall(env, sim.URL); err != nil {
				return err
			}
			env.Setenv("NATS", freeAddr(t))
			env.Setenv("NIGHTSHIFT_NATS_URL", "")
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// ready waits until the daemon at $NATS is ready.
			"ready": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(waitReady(ts.Getenv("NATS"))) },
			// until runs a command again and again until its output matches: until 'ready' nightshift …
			"until": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(waitFor(func() bool {
					err := ts.Exec(args[1], args[2:]...)
					return err == nil && regexp.MustCompile(args[0]).MatchString(ts.ReadFile("stdout"))
				}, "no output of "+strings.Join(args[1:], " ")+" matches "+args[0]))
			},
			// seen runs a command again and again until a file matches: seen 'done' watched nightshift …
			"seen": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(waitFor(func() bool {
					ts.Check(ts.Exec(args[2], args[3:]...))
					text, err := os.ReadFile(ts.MkAbs(args[1]))
					return err == nil && regexp.MustCompile(args[0]).Match(text)
				}, args[1]+" does not match "+args[0]))
			},
			// publish sends a message as anybody may: publish subject body
			"publish": func(ts *testscript.TestScript, _ bool, args []string) {
				nc, err := nats.Connect("nats://" + ts.Getenv("NATS"))
				ts.Check(err)
				defer nc.Close()
				ts.Check(nc.Publish(args[0], []byte(args[1])))
				ts.Check(nc.Flush())
			},
			// fault lets something go wrong in the simulator, once: fault stop:cut-after
			"fault": func(ts *testscript.TestScript, _ bool, args []string) {
				op, kind, _ := strings.Cut(args[0], ":")
				resp, err := http.Post(ts.Getenv("SIM")+"/sim/faults", "application/json", strings.NewReader(fmt.Sprintf(`{"op": %q, "kind": %q}`, op, kind)))
				ts.Check(err)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					ts.Fatalf("%s: %s", args[0], resp.Status)
				}
			},
			// settle settles the one action that is unknown as failed: settle REASON
			"settle": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Exec("nightshift", "settle", "-o", "json"))
				id := regexp.MustCompile(`"action_id": "([0-9a-f]+)"`).FindStringSubmatch(ts.ReadFile("stdout"))
				ts.Check(ts.Exec("nightshift", "settle", id[1], "--outcome", "failed", "--reason", args[0]))
			},
			// exits runs a command and compares its exit code: exits 64 nightshift …
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := 0
				if e, ok := err.(interface{ ExitCode() int }); ok { //nolint:errorlint // *exec.ExitError as it is
					code = e.ExitCode()
				} else if err != nil {
					ts.Fatalf("%v", err)
				}
				if fmt.Sprint(code) != args[0] {
					ts.Fatalf("exit code %d, want %s", code, args[0])
				}
			},
		},
	})
}

// setFirewall puts the id of the restrictive firewall of LON1 into $FIREWALL.
func setFirewall(env *testscript.Env, url string) error {
	api, err := civo.New("12345", civo.Options{BaseURL: url})
	if err != nil {
		return err
	}
	all, err := api.Firewalls(context.Background(), "LON1")
	for _, f := range all {
		if f.Name == "restrictive-firewall" {
			env.Setenv("FIREWALL", f.ID)
		}
	}
	return err
}

func waitReady(addr string) error {
	return waitFor(func() bool { return readyNow(addr) }, "the daemon at "+addr+" is not ready")
}

// waitFor asks until the answer is yes.
func waitFor(isSo func() bool, otherwise string) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		if isSo() {
			return nil
		}
		select {
		case <-ticker.C:
		case <-deadline:
			return fmt.Errorf("%s within %s", otherwise, patience)
		}
	}
}

func readyNow(addr string) bool {
	bus, err := events.Dial(context.Background(), "nats://"+addr, events.Auth{})
	if err != nil {
		return false
	}
	defer func() { _ = bus.Close(context.Background()) }()
	var s worker.Status
	return bus.Ask(context.Background(), "status", struct{}{}, &s) == nil && s.Ready
}
