package policies_test

import (
	"testing"

	"nightshift/policies"
)

// After a restart a region may not have been read yet. Then nobody knows of how many
// limits.share is a share, and a second alert rebooted what it should have asked about.
func TestAShareOfWhatIsNotWhollyKnownIsTheLeastThatItCanBe(t *testing.T) {
	p := onAlert("web-down", 0, policies.Step{Verb: policies.Reboot})
	p.Select = tagged("web")
	s := set(p)
	s.Limits.Share = 0.5
	inv := numbered(4, "web")
	now := at("2026-03-04 12:00")
	for _, tt := range []struct {
		partial, held bool
	}{{false, false}, {true, true}} {
		sig := down(inv[1].ID)
		facts := policies.Facts{Fleet: [][]policies.Instance{inv}, Partial: tt.partial, Cooldowns: map[string]policies.Cooldown{policies.CooldownKey(p.Name, inv[0].ID): {At: now}}}
		plan := policies.Decide(s, inv[1:2], facts, policies.Trigger{ID: "s", At: now, Signal: &sig}, now)
		if held := holds(plan)[0] != ""; held != tt.held {
			t.Errorf("a region never read %t: held %t, want %t", tt.partial, held, tt.held)
		}
	}
}
