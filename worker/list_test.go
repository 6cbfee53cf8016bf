package worker_test

import (
	"slices"
	"testing"
	"time"

	"nightshift/policies"
	"nightshift/policies/schedule"
	"nightshift/worker"
)

func TestTheInventoryComesInPagesWithWhatIsRememberedOfEach(t *testing.T) {
	inBubble(t, "2026-03-04 18:00", with(devHours), func(t *testing.T, w *world) {
		w.ask("keep", worker.KeepRequest{Instance: dev1, Region: "LON1", State: "running", For: "4h"}, ignored())
		w.after(time.Minute)
		var whole worker.InventoryAnswer
		w.ask("inventory", worker.InventoryRequest{}, &whole)
		if len(whole.Instances) < 3 || whole.More != "" || len(whole.Unread) > 0 {
			t.Fatalf("one page: %d instances, more %q, unread %v", len(whole.Instances), whole.More, whole.Unread)
		}

		var paged worker.InventoryAnswer
		pages := 0
		for after := ""; pages == 0 || after != ""; pages++ {
			var page worker.InventoryAnswer
			w.ask("inventory", worker.InventoryRequest{After: after, Limit: 2}, &page)
			if len(page.Instances) > 2 {
				t.Fatalf("a page of %d, want 2 at most", len(page.Instances))
			}
			paged.Instances = append(paged.Instances, page.Instances...)
			paged.Memory.Add(page.Memory)
			after = page.More
		}
		id := func(i policies.Instance) string { return i.Region + "/" + i.ID }
		if got, want := ids(paged.Instances, id), ids(whole.Instances, id); !slices.Equal(got, want) || pages < 2 {
			t.Errorf("%d pages have %v, want %v", pages, got, want)
		}
		for _, m := range []worker.Memory{whole.Memory, paged.Memory} {
			facts := m.Facts()
			if len(facts.Keeps) != 1 || facts.Keeps[dev1].State != schedule.Running || facts.WatchedSince.IsZero() {
				t.Errorf("remembered: %+v, want the keep of dev-1", facts)
			}
		}
	})
}

func ids(list []policies.Instance, id func(policies.Instance) string) (out []string) {
	for _, i := range list {
		out = append(out, id(i))
	}
	return out
}
