package foreign_test

import (
	"testing"

	"nightshift/policies/foreign"
)

func TestNative(t *testing.T) {
	for _, tt := range []struct {
		spec string
		edge foreign.Edge
		at   string
		want any
	}{
		{`"Mon-Fri 08:00-19:00 Europe/London"`, "state", "2026-07-01T07:00:00Z", "running"},
		{`"Mon-Fri_08:00-19:00_Europe/London"`, "state", "2026-07-01T06:59:00Z", "stopped"},
		{`"22:00-06:00"`, "window", "2026-07-01T05:59:00Z", true},
		{`"Mon-Fri 08:00-19:00 Europe/London"`, "on", "2026-07-01T07:00:30Z", true},
		{`"Mon-Fri 08:00-19:00 Europe/London"`, "off", "2026-07-01T07:00:00Z", false},
		{`"Mon-Fri 08:00-19:00 Europe/London"`, "off", "2026-07-01T18:00:00Z", true},
		{`"30 5 * * MON-FRI"`, "on", "2026-07-01T05:30:00Z", true},
		{`"30 5 * * MON-FRI"`, "on", "2026-07-01T05:31:00Z", false},
		{`"9-17"`, "validate", "", "error"},
		{`"Sun 22:00 - Fri 19:00"`, "validate", "", "ok"},
		{`null`, "state", "", "error"},
	} {
		if got := ask(t, foreign.Native, tt.spec, "", nil, tt.edge, tt.at); got != tt.want {
			t.Errorf("%s %s at %s: got %v, want %v", tt.spec, tt.edge, tt.at, got, tt.want)
		}
	}
}
