package worker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// hourly counts the calls that began within the last hour (machine time). Where
// only this process calls it is filled from the ledger at start; else all replicas
// count in one record.
type hourly struct {
	shared *counters // nil: only this process calls

	mu    sync.Mutex
	began []time.Time // in order
}

// hourCount is the record: calls by minute. A minute counts until its last second
// is an hour old.
type hourCount struct {
	Minutes map[int64]int `json:"minutes"`
}

// take counts a call, or says when there is room for it.
func (h *hourly) take(ctx context.Context, now time.Time, limit int) (until time.Time, err error) {
	if h.shared == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if until = h.room(now, limit); !until.After(now) {
			h.began = append(h.began, now)
		}
		return until, nil
	}
	_, err = count(ctx, h.shared, stateHour, "", func(c *hourCount) bool {
		if until = c.room(now, limit); until.After(now) {
			return false
		}
		c.Minutes[now.Unix()/60]++
		return true
	})
	return until, err
}

// look says when there is room, as far as is known here; it takes no place.
func (h *hourly) look(now time.Time, limit int) time.Time {
	if h.shared == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.room(now, limit)
	}
	c := peek[hourCount](h.shared, stateHour)
	return c.room(now, limit)
}

// room is when another call may begin: now, or when the oldest is an hour old.
// Callers hold mu.
func (h *hourly) room(now time.Time, limit int) time.Time {
	old := 0
	for old < len(h.began) && now.Sub(h.began[old]) >= time.Hour {
		old++
	}
	h.began = slices.Delete(h.began, 0, old)
	if len(h.began) < limit {
		return now
	}
	return h.began[len(h.began)-limit].Add(time.Hour)
}

func (c *hourCount) room(now time.Time, limit int) time.Time {
	if c.Minutes == nil {
		c.Minutes = make(map[int64]int)
	}
	over := func(minute int64) time.Time { return time.Unix(60*(minute+1), 0).Add(time.Hour) }
	sum := 0
	for m, n := range c.Minutes {
		if !over(m).After(now) {
			delete(c.Minutes, m)
			continue
		}
		sum += n
	}
	until := now
	for _, m := range slices.Sorted(maps.Keys(c.Minutes)) {
		if sum < limit {
			break
		}
		sum -= c.Minutes[m]
		until = over(m)
	}
	return until
}
