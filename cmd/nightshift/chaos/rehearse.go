package chaos

import (
	"cmp"
	"time"

	"nightshift/configs"
	"nightshift/policies"
)

// Machine times that a rehearsal shortens.
const (
	verifyWithin = 8 * time.Second
	verifySettle = 1500 * time.Millisecond
	verifyApart  = 500 * time.Millisecond
)

// Rehearse makes of a configuration one that may be played with: the policies are
// as they are, nobody outside hears of anything, no credentials are used, and what
// waits for the real cloud does not wait as long. An hour of limits is one of plan
// time, in which the fleet lives here.
func Rehearse(cfg *configs.Config) {
	cfg.Notify, cfg.Webhooks = nil, nil
	cfg.HTTP = configs.HTTP{Listen: "none"}
	cfg.NATS = configs.NATS{URL: cfg.NATS.URL, Listen: cfg.NATS.Listen, Replicas: 1}
	cfg.Verify = configs.Verify{Within: verifyWithin, Settle: verifySettle, Apart: verifyApart}
	cfg.Civo.Rate, cfg.Civo.Timeout = 100, 5*time.Second
	cfg.Policies.Limits.PerHour = speed * cmp.Or(cfg.Policies.Limits.PerHour, policies.DefaultPerHour)
}
