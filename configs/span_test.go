package configs_test

import (
	"fmt"
	"testing"
	"time"

	"nightshift/configs"
)

func TestNoSpreadMayBeWrittenInAnyUnit(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "0s": 0, "0m": 0, "0h0m": 0, "0d": 0, "0.0s": 0, "2m": 2 * time.Minute, "0h2m": 2 * time.Minute, "-0s": -1, "0x": -1, `""`: -1, "00": -1} {
		cfg, err := configs.Parse("test.yaml", fmt.Appendf(nil, "version: 1\nregions: [LON1]\npolicies: [ { name: p, select: { all: [x] }, schedule: { running: [\"08:00-19:00\"] }, spread: %s } ]\n", text))
		switch {
		case want < 0 && err == nil:
			t.Errorf("%s: not refused", text)
		case want >= 0 && err != nil:
			t.Errorf("%s: %v", text, err)
		case want >= 0 && cfg.Policies.Policies[0].Spread != want:
			t.Errorf("%s is %s, want %s", text, cfg.Policies.Policies[0].Spread, want)
		}
	}
}
