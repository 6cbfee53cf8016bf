package worker_test

import (
	"strings"
	"testing"
	"time"

	"nightshift/events"
	"nightshift/worker"
)

// TestAHostNameInPlaceOfAnIDIsSaidToBeOne: a command over NATS alone ended as gone, and
// nobody saw why.
func TestAHostNameInPlaceOfAnIDIsSaidToBeOne(t *testing.T) {
	inBubble(t, "2026-03-04 12:00", office, func(t *testing.T, w *world) {
		for n, tt := range []struct{ region, instance, want string }{
			{"lon1", "dev-1", "it is a host name, and an id is needed: " + dev1 + " in LON1"},
			{"lon1", "dev-db-", "is dev-db meant, whose id is "},
			{"lon1", "11111111-0000-4000-8000-00000000abcd", "a full list of LON1 lacks it"},
		} {
			before := len(w.records(events.Skipped))
			w.command(events.Command{ID: string(rune('a' + n)), Region: tt.region, Instance: tt.instance, Action: "stop"})
			w.after(time.Minute)
			got := w.records(events.Skipped)[before:]
			if len(got) != 1 || got[0].Reason != "gone" || !strings.Contains(got[0].Detail, tt.want) {
				t.Errorf("stop %s in %s: %+v, want %q", tt.instance, tt.region, got, tt.want)
			}
			err := w.bus.Ask(t.Context(), "do.ann."+tt.region+"."+tt.instance+".stop", events.Command{}, &worker.DoAnswer{})
			if want := strings.TrimPrefix(tt.want, "a full list of LON1 lacks it"); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("do is answered with %v, want %q", err, want)
			}
		}
	})
}
