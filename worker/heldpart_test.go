package worker_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"nightshift/events"
)

// A start by schedule is never held. Where it stood before something that is, it was
// in the held part of the plan, too, and ended with that: the machine stayed off.
func TestWhatIsNotHeldIsNotInTheHeldPartOfAPlan(t *testing.T) {
	file := strings.Replace(with(devHours+`  - name: webs-off
    select: { any: [role=web, role=api] }
    cron: "0 8 * * *"
    do: stop
`), "policies:\n", "limits: { per_run: 1 }\npolicies:\n", 1)
	machines := strings.NewReplacer("hostname: dev-1, region: LON1, size: g3.small, tags: [env=dev], status: ACTIVE", "hostname: dev-1, region: LON1, size: g3.small, tags: [env=dev], status: SHUTOFF", "api-1", "x-1").Replace(fleet)
	inBubbleWith(t, "2026-03-05 07:50", file, machines, func(t *testing.T, w *world) {
		w.after(20 * time.Minute)
		for run, err := range w.bus.Runs(t.Context(), time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			isStart := func(it events.Item) bool { return it.Action == "start" }
			if run.Held != "" && slices.ContainsFunc(run.Items, isStart) {
				t.Errorf("a start by schedule waits for approval: %+v", run)
			}
		}
		w.wantStatus(web1, "ACTIVE")
		w.wantStatus(dev1, "ACTIVE")
	})
}
