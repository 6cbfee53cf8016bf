package events

import (
	"errors"
	"testing"
	"time"
)

// Whoever may publish could have written a stored plan: nobody waits for ever for it.
func TestAStageThatNoPlannerMakesIsUnreadable(t *testing.T) {
	good := Stage{Order: "shop", Action: "start", Turn: 2, Of: 3, TCP: 5432, Deadline: 10 * time.Minute}
	for name, forge := range map[string]func(*Stage){
		"":                        func(*Stage) {},
		"no deadline":             func(s *Stage) { s.Deadline = 0 },
		"one in the past":         func(s *Stage) { s.Deadline = -time.Hour },
		"one of three centuries":  func(s *Stage) { s.Deadline = 1<<63 - 1 },
		"before the first":        func(s *Stage) { s.Turn = 0 },
		"after the last":          func(s *Stage) { s.Turn = 4 },
		"of more than there are":  func(s *Stage) { s.Of, s.Turn = 1<<62, 1<<61 },
		"to do something else":    func(s *Stage) { s.Action = "reboot" },
		"a port that there isn't": func(s *Stage) { s.TCP = 1 << 20 },
	} {
		s := good
		forge(&s)
		err := checkItems([]Item{{ID: "a", Action: "start", Region: "lon1", Instance: "i"}, {ID: "b", Action: "start", Region: "lon1", Instance: "i", Stage: &s}})
		if (err != nil) != (name != "") || err != nil && !errors.Is(err, errUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
