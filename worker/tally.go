package worker

import (
	"cmp"
	"slices"
	"sync"
)

// Ended counts the actions that ended in one way since the process began.
type Ended struct {
	Policy  string // empty: of a command
	Action  string
	Outcome string
	Reason  string // empty where the outcome says it all
	Count   int64
}

// tally counts outcomes as this process stores them.
type tally struct {
	mu sync.Mutex
	of map[Ended]int64 // by what is counted, with Count 0
}

func (t *tally) add(e Ended) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = make(map[Ended]int64)
	}
	t.of[e]++
}

// Ended is how many actions ended in which way, in the order of policy, action,
// outcome, reason. What other replicas ended they count themselves.
func (w *Worker) Ended() []Ended {
	w.tally.mu.Lock()
	defer w.tally.mu.Unlock()
	all := make([]Ended, 0, len(w.tally.of))
	for e, n := range w.tally.of {
		e.Count = n
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Ended) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}
