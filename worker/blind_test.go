package worker_test

import (
	"testing"
	"time"

	"nightshift/civo/civosim"
	"nightshift/events"
	"nightshift/worker"
)

// The daemon was down at an edge of an instance's own timetable, and cannot read
// its region at the start: an edge of another region's instance is fired first.
func TestAnEdgeInATagOfARegionThatIsReadLateIsNotPassedOver(t *testing.T) {
	const file = `
version: 1
regions: [LON1, NYC1]
timezone: UTC
policies:
  - name: own-hours
    select: { all: ["nightshift.hours=*"] }
    schedule: { from_tag: nightshift.hours }
protect: { all: [protected] }
owners: { keys: [hours] }
`
	const fleet = `instances:
  - { id: 11111111-0000-4000-8000-000000000001, hostname: far, region: NYC1, size: g3.small, tags: ["nightshift.hours=08:00-19:00"], status: ACTIVE }
  - { id: 11111111-0000-4000-8000-000000000002, hostname: near, region: LON1, size: g3.small, tags: ["nightshift.hours=08:00-19:20"], status: ACTIVE }
`
	inBubbleWith(t, "2026-03-04 18:50", file, fleet, func(t *testing.T, w *world) {
		w.after(5 * time.Minute)
		w.end()
		w.after(20 * time.Minute) // 19:15
		w.sim.Inject(civosim.Fault{Op: "list", Region: "NYC1", Kind: civosim.ServerError, Count: -1})
		w.begin()
		w.after(10 * time.Minute) // 19:25
		w.wantStatus(dev2, "SHUTOFF")
		w.sim.ClearFaults()
		w.after(20 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
		w.wantOutcomes("stop near done", "stop far done", "plan  skipped no match")
	})
}

// A timetable in a new tag has no past.
func TestATagThatIsNewAfterWeeksHasMissedNothing(t *testing.T) {
	const file = `
version: 1
regions: [LON1]
timezone: UTC
policies:
  - name: own-hours
    select: { all: ["nightshift.hours=*"] }
    schedule: { from_tag: nightshift.hours }
protect: { all: [protected] }
owners: { keys: [hours] }
`
	const fleet = `instances:
  - { id: 11111111-0000-4000-8000-000000000001, hostname: new, region: LON1, size: g3.small, tags: [], status: ACTIVE }
`
	inBubbleWith(t, "2026-03-04 12:00", file, fleet, func(t *testing.T, w *world) {
		w.after(time.Minute)
		w.end() // as good as looking on, which takes longer
		w.after(9 * 24 * time.Hour)
		w.begin()
		w.after(time.Minute)
		w.sim.SetTags(dev1, "nightshift.hours=08:00-19:00")
		w.after(30 * time.Minute)
		if said := w.records(events.Expired); len(said) != 0 {
			t.Errorf("said to be missed: %+v", said)
		}
	})
}

// The same as the first with the end of a keep.
func TestTheEndOfAKeepInARegionThatIsReadLateIsNotPassedOver(t *testing.T) {
	const file = `
version: 1
regions: [LON1, NYC1]
timezone: UTC
schedules:
  office: { running: ["Mon-Fri 08:00-18:00"] }
policies:
  - name: office
    select: { all: [env=dev] }
    schedule: office
protect: { all: [protected] }
`
	const fleet = `instances:
  - { id: 11111111-0000-4000-8000-000000000001, hostname: far, region: NYC1, size: g3.small, tags: [env=dev], status: ACTIVE }
  - { id: 11111111-0000-4000-8000-000000000002, hostname: near, region: LON1, size: g3.small, tags: [env=dev], status: ACTIVE }
`
	inBubbleWith(t, "2026-03-04 17:50", file, fleet, func(t *testing.T, w *world) {
		w.after(time.Minute)
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "NYC1", State: "running", For: "69m"}, ignored()) // 19:00
		w.ask("keep", worker.KeepRequest{Instance: dev2, Region: "LON1", State: "running", For: "89m"}, ignored()) // 19:20
		w.after(64 * time.Minute)                                                                                  // 18:55
		w.end()
		w.after(20 * time.Minute)
		w.sim.Inject(civosim.Fault{Op: "list", Region: "NYC1", Kind: civosim.ServerError, Count: -1})
		w.begin()
		w.after(10 * time.Minute)
		w.wantStatus(dev2, "SHUTOFF")
		w.sim.ClearFaults()
		w.after(20 * time.Minute)
		w.wantStatus(dev1, "SHUTOFF")
	})
}
