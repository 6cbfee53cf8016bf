package policies_test

import (
	"strings"
	"testing"

	"nightshift/policies"
)

func TestLintOfFloors(t *testing.T) {
	s := set(selecting(level(t, "office", 0, "Mon-Fri 08:00-19:00"), tagged("web")))
	for _, tt := range []struct {
		name    string
		known   policies.Known
		running int
		want    string
	}{
		{"as many as it keeps", policies.Known{Inventory: append(numbered(2, "web"), numbered(1, "db")...)}, 2, "warning floor: at least 2 of all web stay running, and there are 2 instances: none of them is ever stopped, rebooted or resized | leave one to spare\n"},
		{"fewer", policies.Known{Inventory: append(numbered(1, "web"), numbered(1, "db")...)}, 2, "warning floor: at least 2 of all web stay running, and there is 1 instance: none of them is ever stopped, rebooted or resized | leave one to spare\n"},
		{"one to spare", policies.Known{Inventory: append(numbered(3, "web"), numbered(1, "db")...)}, 2, ""},
		{"none at all", policies.Known{Inventory: numbered(3, "wbe")}, 2, "warning floor: the floor of all web keeps nothing up: "},
		{"a fleet that is not known", policies.Known{}, 2, ""},
	} {
		s.Floors = []policies.Floor{{Select: tagged("web"), Running: tt.running}}
		var got string
		for line := range strings.Lines(findings(s, tt.known)) {
			if strings.Contains(line, " floor: ") {
				got += line
			}
		}
		if got != tt.want && (tt.want == "" || strings.HasSuffix(tt.want, "\n") || !strings.HasPrefix(got, tt.want)) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
