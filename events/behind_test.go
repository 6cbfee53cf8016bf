package events_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"nightshift/events"
)

// TestACommandBehindASignalThatHangsIsNotBehindIt sends a command after signals of
// which not one is done with before the command: were they in one queue nobody
// would ever go on.
func TestACommandBehindASignalThatHangsIsNotBehindIt(t *testing.T) {
	b := open(t, events.Options{Listen: "none"})
	const signals, most = 1000, 4
	for n := range signals {
		if err := b.Conn().Publish(events.SignalSubject("prom", "lon1", "i-1"), fmt.Appendf(nil, `{"load":"cpu","value":%d}`, n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.PublishCommand(t.Context(), events.Command{Who: "oncall", Region: "lon1", Instance: "i-1", Action: "stop"}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	came := make(chan struct{})
	if err := b.ConsumeIn(ctx, 1, most, func(ctx context.Context, in *events.Incoming) {
		if in.Command != nil {
			_ = in.Ack()
			close(came)
			stop()
			return
		}
		select {
		case <-came:
		case <-ctx.Done():
		}
		_ = in.Nak(0)
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-came:
	default:
		t.Errorf("the command waits behind %d signals", signals)
	}
}
