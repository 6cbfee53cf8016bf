package civosim_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/civo"
	"nightshift/civo/civosim"
)

// Our own client and the simulator are written from the same reference by
// different hands: here they meet.
func TestOurOwnClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := civosim.New(civosim.Options{Token: "secret", Delay: 20 * time.Second, Fleet: []civosim.Machine{{Hostname: "dev-%d", Count: 450, Region: "NYC1"}}})
		c, err := civo.New("secret", civo.Options{BaseURL: "http://civo.test", HTTPClient: &http.Client{Transport: sim.Transport()}})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		networks, err := c.Networks(ctx, "NYC1")
		if err != nil {
			t.Fatal(err)
		}
		images, err := c.DiskImages(ctx, "NYC1")
		if err != nil {
			t.Fatal(err)
		}
		firewalls, err := c.Firewalls(ctx, "NYC1")
		if err != nil {
			t.Fatal(err)
		}
		made, err := c.Create(ctx, "nyc1", civo.CreateOptions{Hostname: "made", Size: "g3.small", NetworkID: networks[0].ID, TemplateID: images[0].ID, Tags: []string{"a", "b"}})
		if err != nil || made.Status != "BUILDING" {
			t.Fatalf("create: got %+v and %v", made, err)
		}
		if err := c.Stop(ctx, "NYC1", made.ID); !errors.Is(err, civo.ErrBusy) {
			t.Errorf("stop while it is building: got %v, want ErrBusy", err)
		}
		for _, step := range []struct {
			name string
			do   func() error
			want string
		}{
			{"wait", func() error { return nil }, "ACTIVE"},
			{"retag", func() error { return c.Retag(ctx, "NYC1", made.ID, []string{"x"}) }, "ACTIVE"},
			{"stop", func() error { return c.Stop(ctx, "NYC1", made.ID) }, "SHUTOFF"},
			{"start", func() error { return c.Start(ctx, "NYC1", made.ID) }, "ACTIVE"},
			{"soft reboot", func() error { return c.SoftReboot(ctx, "NYC1", made.ID) }, "ACTIVE"},
			{"hard reboot", func() error { return c.HardReboot(ctx, "NYC1", made.ID) }, "ACTIVE"},
			{"resize", func() error { return c.Resize(ctx, "NYC1", made.ID, "g3.medium") }, "ACTIVE"},
			{"firewall", func() error { return c.SetFirewall(ctx, "NYC1", made.ID, firewalls[1].ID) }, "ACTIVE"},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			time.Sleep(20 * time.Second)
			if got, err := c.Instance(ctx, "NYC1", made.ID); err != nil || got.Status != step.want {
				t.Fatalf("after %s: got %s and %v, want %s", step.name, got.Status, err, step.want)
			}
		}
		all, err := c.ListInstances(ctx, "NYC1")
		if err != nil || len(all) != 451 {
			t.Fatalf("list: got %d and %v, want 451", len(all), err)
		}
		last := all[450]
		if last.ID != made.ID || last.Size != "g3.medium" || last.FirewallID != firewalls[1].ID || len(last.Tags) != 1 || last.Tags[0] != "x" || last.PublicIP == "" || last.CreatedAt.IsZero() {
			t.Errorf("got %+v, want what was asked for", last)
		}
		for _, tt := range []struct {
			name string
			err  error
			want error
		}{
			{"downwards", c.Resize(ctx, "NYC1", made.ID, "g3.xsmall"), civo.ErrInvalid},
			{"a wrong region", c.Stop(ctx, "LON1", made.ID), civo.ErrNotFound},
			{"an unknown size", c.Resize(ctx, "NYC1", made.ID, "g9.huge"), civo.ErrInvalid},
		} {
			if !errors.Is(tt.err, tt.want) {
				t.Errorf("%s: got %v, want %v", tt.name, tt.err, tt.want)
			}
		}
		sim.Inject(civosim.Fault{Op: "soft_reboot", Kind: civosim.CutAfter})
		if err := c.SoftReboot(ctx, "NYC1", made.ID); !errors.Is(err, civo.ErrAmbiguous) {
			t.Errorf("a reboot without an answer: got %v, want ErrAmbiguous", err)
		}
		time.Sleep(20 * time.Second)
		if err := c.Delete(ctx, "NYC1", made.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if _, err := c.Instance(ctx, "NYC1", made.ID); !errors.Is(err, civo.ErrNotFound) {
			t.Errorf("after delete: got %v, want ErrNotFound", err)
		}
	})
}
