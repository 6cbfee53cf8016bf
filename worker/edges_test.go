package worker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nightshift/events"
)

// TestThousandsOfEdgesAtOneInstant: every policy of a large file has an edge at 19:00.
// Their ticks fit into messages, and none is lost.
func TestThousandsOfEdgesAtOneInstant(t *testing.T) {
	const n = 2400
	file := []string{"version: 1", "regions: [LON1]", "timezone: Europe/London", "policies:"}
	for i := range n {
		file = append(file, fmt.Sprintf("  - { name: the-team-of-machine-%d-goes-home, select: { all: [n=%d] }, cron: '0 19 * * *', do: stop }", i, i))
	}
	machines := `instances:
  - { id: 11111111-0000-4000-8000-000000000001, hostname: first, region: LON1, size: g3.small, tags: [n=0], status: ACTIVE }
  - { id: 11111111-0000-4000-8000-000000000002, hostname: middle, region: LON1, size: g3.small, tags: [n=1200], status: ACTIVE }
  - { id: 11111111-0000-4000-8000-000000000003, hostname: last, region: LON1, size: g3.small, tags: [n=2399], status: ACTIVE }
`
	inBubbleWith(t, "2026-11-27 18:59", strings.Join(file, "\n"), machines, func(t *testing.T, w *world) {
		w.after(5 * time.Minute)
		var done []string
		for _, o := range w.outcomes() {
			if strings.Contains(o, string(events.Done)) {
				done = append(done, o)
			}
		}
		if len(done) != 3 || w.calls("stop") != 3 {
			t.Errorf("done: %v, with %d calls", done, w.calls("stop"))
		}
		for l, err := range w.bus.DeadLetters(t.Context()) {
			t.Fatalf("a dead letter: %s %v", l.Reason, err)
		}
		listed := 0
		for run, err := range w.bus.Runs(t.Context(), time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			listed += len(run.Edges)
		}
		if listed != n {
			t.Errorf("the stored plans list %d edges, want %d", listed, n)
		}
	})
}
