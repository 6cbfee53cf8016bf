package worker

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"nightshift/policies"
)

// InventoryRequest asks for the daemon's instances and for what it remembers of
// them, page by page: nightshift.v1.ctl.inventory.
type InventoryRequest struct {
	After string `json:"after,omitempty"` // More of the page before; empty: the first page
	Limit int    `json:"limit,omitempty"` // instances of a page; 0: as many as fit
}

// InventoryAnswer is one page.
type InventoryAnswer struct {
	Now       time.Time           `json:"now"`              // plan time
	Instances []policies.Instance `json:"instances"`        // in order of region and id
	Memory    Memory              `json:"memory"`           // of these instances
	Unread    map[string]string   `json:"unread,omitempty"` // regions that could not be listed, with the reason: they lack
	More      string              `json:"more,omitempty"`   // ask again after it; empty: that was all
}

// Memory is the part of the facts that says how an instance's future differs from
// what the policy file alone would have.
type Memory struct {
	WatchedSince time.Time                `json:"watched_since,omitzero"`
	Pauses       []policies.Pause         `json:"pauses,omitempty"`
	Keeps        map[string]policies.Keep `json:"keeps,omitempty"` // this and the next by instance id
	Hands        map[string]policies.Hand `json:"hands,omitempty"`
	Impulses     policies.Impulses        `json:"impulses,omitempty"`
	FirstSeen    map[string]time.Time     `json:"first_seen,omitempty"`
	TagsSeen     map[string]time.Time     `json:"tags_seen,omitempty"` // by policies.TagKey
	Sizes        map[string]int           `json:"sizes,omitempty"`     // by policy; of all instances
}

// Facts are what the memory is of.
func (m Memory) Facts() policies.Facts {
	return policies.Facts{WatchedSince: m.WatchedSince, Pauses: m.Pauses, Keeps: m.Keeps, Hands: m.Hands, Impulses: m.Impulses, FirstSeen: m.FirstSeen, TagsSeen: m.TagsSeen, Sizes: m.Sizes}
}

// Add takes up another page.
func (m *Memory) Add(page Memory) {
	m.WatchedSince, m.Pauses, m.Sizes = page.WatchedSince, page.Pauses, page.Sizes
	m.Keeps = merged(m.Keeps, page.Keeps)
	m.Hands = merged(m.Hands, page.Hands)
	m.Impulses = merged(m.Impulses, page.Impulses)
	m.FirstSeen = merged(m.FirstSeen, page.FirstSeen)
	m.TagsSeen = merged(m.TagsSeen, page.TagsSeen)
}

func merged[M ~map[K]V, K comparable, V any](into, from M) M {
	if into == nil {
		return from
	}
	maps.Copy(into, from)
	return into
}

// inventoryPage bounds a page in bytes, well below what NATS carries in a message.
const inventoryPage = 256 << 10

func (w *Worker) inventory(ctx context.Context, req InventoryRequest) (answer InventoryAnswer, err error) {
	answer = InventoryAnswer{Now: w.o.Clock.Now(), Instances: []policies.Instance{}}
	facts := w.memory.facts()
	answer.Memory = Memory{WatchedSince: facts.WatchedSince, Pauses: facts.Pauses, Sizes: facts.Sizes, Keeps: make(map[string]policies.Keep), Hands: make(map[string]policies.Hand),
		Impulses: make(policies.Impulses), FirstSeen: make(map[string]time.Time), TagsSeen: make(map[string]time.Time)}
	size, age := 0, planReadingAge
	if req.After != "" {
		age = railReadingAge // of the same reading as the first page, where there is no newer one
	}
	for _, region := range slices.Sorted(slices.Values(w.set().Regions)) {
		if region < regionOf(req.After) {
			continue
		}
		reading, err := w.inv.Reading(ctx, region, time.Now().Add(-age))
		if err != nil {
			if answer.Unread == nil {
				answer.Unread = make(map[string]string)
			}
			answer.Unread[region] = err.Error()
			continue
		}
		own := slices.SortedFunc(slices.Values(reading.Instances), func(a, b policies.Instance) int { return strings.Compare(a.ID, b.ID) })
		for _, inst := range own {
			place := region + "/" + inst.ID
			if place <= req.After {
				continue
			}
			text, err := json.Marshal(inst)
			if err != nil {
				return answer, err
			}
			size += len(text)
			if n := len(answer.Instances); n > 0 && (size > inventoryPage || n == req.Limit) {
				last := answer.Instances[n-1]
				answer.More = last.Region + "/" + last.ID
				return answer, nil
			}
			answer.Instances = append(answer.Instances, inst)
			answer.Memory.take(&facts, inst)
		}
	}
	return answer, nil
}

func regionOf(place string) string {
	region, _, _ := strings.Cut(place, "/")
	return region
}

// take copies what the facts say of one instance.
func (m *Memory) take(facts *policies.Facts, inst policies.Instance) {
	copyKey(m.Keeps, facts.Keeps, inst.ID)
	copyKey(m.Hands, facts.Hands, inst.ID)
	copyKey(m.Impulses, facts.Impulses, inst.ID)
	copyKey(m.FirstSeen, facts.FirstSeen, inst.ID)
	for _, tag := range inst.Tags {
		copyKey(m.TagsSeen, facts.TagsSeen, policies.TagKey(inst.ID, tag))
	}
}

func copyKey[M ~map[string]V, V any](into, from M, key string) {
	if v, ok := from[key]; ok {
		into[key] = v
	}
}
