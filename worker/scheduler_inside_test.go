package worker

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"nightshift/policies"
)

// A reading that showed a tag in the middle of a round let its mark be fired as due,
// and in the next round once more as late.
func TestARoundIsAboutOneAgenda(t *testing.T) {
	s := &scheduler{set: &policies.Set{}, inv: newInventory(nil, []string{"LON1"}, nil), recent: newMemory(nil, Clock{}, Verify{}, zap.NewNop())}
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	begun := s.lookAhead(now)
	s.recent.mu.Lock()
	s.recent.touch()
	s.recent.mu.Unlock()
	if s.ahead(now) != begun {
		t.Error("what became known in the middle of a round is in it")
	}
	if s.lookAhead(now) == begun {
		t.Error("what became known is not in the next round")
	}
}
