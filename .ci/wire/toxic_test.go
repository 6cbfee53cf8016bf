package wire_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"nightshift/events"
)

// TestABadWireLosesAndDoublesNothing sends commands past a proxy that stands
// between the daemon and its NATS, and cuts, slows and half opens the wire while
// they are on their way.
func TestABadWireLosesAndDoublesNothing(t *testing.T) {
	const each = 8
	far, err := server.NewServer(&server.Options{ServerName: "far", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true})
	if err != nil {
		t.Fatal(err)
	}
	far.Start()
	if !far.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	t.Cleanup(func() { far.Shutdown(); far.WaitForShutdown() })
	proxy := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop()), "nats", "127.0.0.1:0", far.Addr().String())
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)

	phases := []struct {
		name        string
		spoil, mend func() error
	}{
		{"slow", toxic(proxy, `{"name": "slow", "type": "latency", "stream": "downstream", "attributes": {"latency": 300, "jitter": 200}}`), remove(proxy, "slow")},
		{"narrow", toxic(proxy, `{"name": "narrow", "type": "bandwidth", "stream": "upstream", "attributes": {"rate": 4}}`), remove(proxy, "narrow")},
		{"cut", func() error { proxy.Stop(); return nil }, proxy.Start},
		{"half open, answers are lost", toxic(proxy, `{"name": "deaf", "type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`), remove(proxy, "deaf")},
		{"half open, questions are lost", toxic(proxy, `{"name": "mute", "type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`), remove(proxy, "mute")},
	}
	d := begin(t, events.Options{URL: "nats://" + proxy.Listen, Replicas: 1}, each*len(phases))
	direct, err := events.Dial(t.Context(), "nats://"+far.Addr().String(), events.Auth{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Close(context.Background()) })
	ended := watch(t, direct)

	for p, phase := range phases {
		for i := range each {
			if i == each/2 { // half of them are on their way
				if err := phase.spoil(); err != nil {
					t.Fatal(err)
				}
			}
			c := events.Command{Who: "ops", Region: "lon1", Instance: machine(p*each + i), Action: []string{"stop", "reboot"}[i%2], ID: fmt.Sprintf("phase-%d-%d", p, i), GiveUpAfter: "1h"}
			if _, err := direct.PublishCommand(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(2 * time.Second) // the wire is bad for a while
		if err := phase.mend(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d outcomes so far", phase.name, len(ended.wait(t, p*each)))
	}
	for _, rec := range ended.wait(t, each*len(phases)) {
		isLostReboot := rec.Action == "reboot" && rec.Outcome == events.Unknown
		if rec.Outcome != events.Done && !isLostReboot {
			t.Errorf("%s of %s ended as %s %s %s", rec.Action, rec.Hostname, rec.Outcome, rec.Detail, rec.Error)
		}
	}
	for i := range each * len(phases) {
		op := []string{"stop", "soft_reboot"}[i%2]
		if n := d.calls(op, machine(i)); n > 1 || n == 0 && op == "stop" {
			t.Errorf("%s of wire-%d was done %d times", op, i, n)
		}
	}
}

func toxic(proxy *toxiproxy.Proxy, form string) func() error {
	return func() error {
		_, err := proxy.Toxics.AddToxicJson(strings.NewReader(form))
		return err
	}
}

func remove(proxy *toxiproxy.Proxy, name string) func() error {
	return func() error { return proxy.Toxics.RemoveToxic(context.Background(), name) }
}
