package worker

import (
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"nightshift/policies"
)

// loadQuiet is how long a load must not have been high until it is said again why
// nothing is done about it (plan time).
const loadQuiet = 10 * time.Minute

// loadsSaid remembers why nothing was done about a high load. A load is measured
// every few seconds, and one measurement that meets the same cool-down as that
// before has nothing new to say: the runs and events say it once. After a restart
// they say it once more.
type loadsSaid struct {
	mu   sync.Mutex
	said map[string]loadSaid // by policy, instance, kind and step
}

type loadSaid struct {
	why string
	at  time.Time // of the newest measurement (plan time)
	run time.Time // of the measurement that was stored as a run
}

// prolongs reports whether a measurement makes a want last longer by enough to be
// worth a run: by a tenth of its lasts. Without one it lasts to the next edge anyway.
func (s *loadSaid) prolongs(skip *policies.Skip, at time.Time) bool {
	every := loadQuiet
	if lasts := skip.HoldsUntil.Sub(skip.Planned); !skip.HoldsUntil.IsZero() {
		every = min(every, lasts/10)
	}
	return at.Sub(s.run) >= every
}

// isSaid reports whether a plan for a load does nothing, and says nothing new.
// What is so already is new now and then: it makes the want last longer.
func (l *loadsSaid) isSaid(plan policies.Plan, at time.Time) bool {
	if len(plan.Actions) > 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range plan.Skips {
		s := &plan.Skips[i]
		if was, ok := l.said[loadKey(*s)]; !ok || s.Reason == policies.ReasonAlready && was.prolongs(s, at) || was.why != loadWhy(*s) || at.Sub(was.at) >= loadQuiet {
			return false
		}
	}
	for _, s := range plan.Skips {
		was := l.said[loadKey(s)]
		was.at = at
		l.said[loadKey(s)] = was
	}
	return true
}

// say takes up what the stored run of a load says.
func (l *loadsSaid) say(plan policies.Plan, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said == nil {
		l.said = make(map[string]loadSaid)
	}
	for _, s := range plan.Skips {
		l.said[loadKey(s)] = loadSaid{loadWhy(s), at, at}
	}
}

func (l *loadsSaid) prune(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.said, func(_ string, s loadSaid) bool { return now.Sub(s.at) >= loadQuiet })
}

func loadKey(s policies.Skip) string {
	return strings.Join([]string{s.Policy, s.Instance, string(s.Kind), strconv.Itoa(s.Step)}, "/")
}

func loadWhy(s policies.Skip) string { return string(s.Reason) + " " + s.Detail }
