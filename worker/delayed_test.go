package worker_test

import (
	"testing"
	"time"

	"nightshift/events"
)

func TestACommandForLaterOvertakesNothingBeforeAndAllThen(t *testing.T) {
	for _, restart := range []bool{false, true} {
		inBubble(t, "2026-03-04 18:30", with(devHours), func(t *testing.T, w *world) {
			w.command(events.Command{Instance: web1, Action: "stop"})
			w.after(time.Second) // it is under way
			at := time.Date(2026, 3, 4, 20, 0, 0, 0, time.UTC)
			w.command(events.Command{Instance: web1, Action: "start", NotBefore: at})
			w.command(events.Command{Instance: dev1, Action: "start", NotBefore: at})
			w.after(45 * time.Minute) // the edge of 19:00 is newer than the command, and not than what it asks for
			w.wantStatus(web1, "SHUTOFF")
			w.wantStatus(dev1, "SHUTOFF")
			if restart {
				w.end()
				w.begin()
			}
			w.after(50 * time.Minute)
			w.wantStatus(web1, "ACTIVE")
			w.wantStatus(dev1, "ACTIVE")
			w.wantOutcomes("stop web-1 done", "start web-1 done", "stop dev-1 done", "start dev-1 done", "stop dev-2 done", "stop dev-db skipped protected")
		})
	}
}

func TestACommandForLaterIsOvertakenOnceItIsDue(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		w.sim.SetStatus(web1, "BUILDING")
		w.command(events.Command{Instance: web1, Action: "stop", NotBefore: time.Now().Add(10 * time.Minute)})
		w.after(12 * time.Minute) // it waits while the instance is on its way
		w.command(events.Command{Instance: web1, Action: "start"})
		w.after(time.Minute)
		w.wantOutcomes("stop web-1 superseded")
	})
}

func TestANewerCommandTakesThePlaceOfOneForLater(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", with(devHours), func(t *testing.T, w *world) {
		now := time.Now()
		w.command(events.Command{Instance: web1, Action: "stop", NotBefore: now.Add(time.Hour)})
		w.after(time.Minute)
		w.command(events.Command{Instance: web1, Action: "stop", NotBefore: now.Add(2 * time.Hour)})
		w.after(90 * time.Minute)
		w.wantStatus(web1, "ACTIVE")
		w.wantOutcomes("stop web-1 superseded")
		w.after(time.Hour)
		w.wantStatus(web1, "SHUTOFF")
	})
}
