package worker

import (
	"testing"

	"nightshift/events"
	"nightshift/policies"
)

// What a process that was killed had decided last stands, also where it needed no
// call and so is not delivered again.
func TestAnOlderActionThatIsDeliveredAgainAfterARestartIsOvertaken(t *testing.T) {
	stop := events.Item{ID: "a", Kind: string(policies.KindPower), Action: "stop", Region: "lon1", Instance: "i"}
	start := stop
	start.ID, start.Action, start.Skip = "b", "start", skipAlready
	l := newLives(true)
	for seq, it := range []events.Item{stop, start} {
		l.planned(&events.Run{Seq: uint64(seq + 1), Items: []events.Item{it}})
	}
	if !l.open(1, stop).isOvertaken() {
		t.Error("the older stop goes on after a start")
	}
	if l.open(2, start).isOvertaken() {
		t.Error("the newest is overtaken")
	}
}
