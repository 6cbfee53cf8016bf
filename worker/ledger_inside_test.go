package worker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"nightshift/events"
	"nightshift/policies"
)

func TestAfterADamagedLedgerNoRebootOfBeforeIsSent(t *testing.T) {
	evt := []events.Damage{{Stream: events.StreamEvt, Messages: 1, First: 11}}
	for _, c := range []struct {
		name    string
		kind    policies.Kind
		seq     uint64
		damages []events.Damage
		fault   error
		waits   bool
		said    string // in the outcome; empty: it goes on
	}{
		{name: "a reboot of before", kind: policies.KindReboot, seq: 7, damages: evt, waits: true, said: "1 message of stream NS_EVT cannot be read, the first has sequence 11: nobody knows whether it was sent"},
		{name: "a reboot of before, and nobody could read all", kind: policies.KindReboot, seq: 7, fault: errors.New("no answer"), waits: true, said: "could not be read to the end: no answer"},
		{name: "a reboot of before, and the ledger is whole", kind: policies.KindReboot, seq: 7, damages: []events.Damage{{Stream: events.StreamIn, Messages: 1}}, waits: true},
		{name: "a reboot of since", kind: policies.KindReboot, seq: 8, damages: evt},
		{name: "a stop of before", kind: policies.KindPower, seq: 7, damages: evt},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &runner{ledger: &ledger{before: 7, read: make(chan struct{})}}
				a := &attempt{seq: c.seq, item: events.Item{Kind: string(c.kind)}}
				var (
					n    next
					stop bool
					err  error
				)
				done := make(chan struct{})
				go func() { // ends when all is read
					defer close(done)
					n, stop, err = r.afterDamage(t.Context(), a)
				}()
				synctest.Wait()
				select {
				case <-done:
					if c.waits {
						t.Error("it does not wait until all is read")
					}
				default:
					if !c.waits {
						t.Error("it waits")
					}
				}
				r.ledger.wasRead(c.damages, c.fault)
				<-done
				if err != nil || stop != (c.said != "") {
					t.Fatalf("it ends: %v, %v", stop, err)
				}
				if stop && (n.outcome.outcome != events.Expired || !strings.Contains(n.outcome.detail, c.said)) {
					t.Errorf("got %+v, want %q", n.outcome, c.said)
				}
			})
		})
	}
}

func TestARebootOfBeforeIsHandedBackWhileTheLedgerIsRead(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r := &runner{ledger: &ledger{before: 7, read: make(chan struct{})}}
	if _, stopped, err := r.afterDamage(ctx, &attempt{seq: 7, item: events.Item{Kind: string(policies.KindReboot)}}); !stopped || err == nil {
		t.Errorf("it goes on: %v, %v", stopped, err)
	}
}
