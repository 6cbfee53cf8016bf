package main

import (
	"context"
	"sync"
	"testing"
	"time"
)

// A NATS node is cut off from the others, and a replica with it, which is the only
// one that lives. Clients of the others are served all the time; the replica at the
// node that is alone does nothing, since it can store nothing, and does it all,
// once, when the net is whole again.
func TestASplitBetweenNATSNodesDoublesNothing(t *testing.T) {
	t.Parallel()
	const alone = 2
	m := layMany(t, 3, 20) // a minute of plan time takes 3 s
	m.drawBorders()
	m.begin()
	m.workerAt(0, "nats://"+m.clients[0]).says(t, `"(ready)"`)
	m.workerAt(alone, "nats://"+m.clients[alone]).says(t, `"(ready)"`)
	m.wantReplicas(3)
	patient, end := context.WithTimeout(t.Context(), 2*patience)
	defer end()
	raining, stopRain := context.WithCancel(patient)
	began := time.Now()
	var sent []string
	var rain sync.WaitGroup
	rain.Go(func() { sent = m.storm(raining, patient) }) // until stopRain; at node 0
	pause(patient, 2*time.Second)

	m.split(alone)
	split := time.Now()
	m.isDone(patient, "split") // by the replica among the many
	served := time.Since(split)
	kill(t, m.workers[0])
	pause(patient, 2*time.Second) // what was announced before the split has been called
	quiet := time.Now()
	came := len(m.stored("NS_IN"))
	pause(patient, 6*time.Second) // two edges, a dozen commands
	for len(m.stored("NS_IN")) < came+12 {
		if pause(patient, 300*time.Millisecond); patient.Err() != nil {
			t.Fatal("hardly anything is stored while one node is alone")
		}
	}
	healed := time.Now()
	for _, r := range m.requests() {
		if r.Effect && r.Time.After(quiet) && r.Time.Before(healed) {
			t.Errorf("%s of %s at %s: by a replica at a NATS node that is alone", r.Op, r.Instance, r.Time)
		}
	}
	m.heal()
	m.isDone(patient, "healed") // by the replica that was alone
	back := time.Since(healed)
	stopRain()
	rain.Wait()
	ended := time.Now()
	m.check(sent, m.untilDone(patient, sent, began, ended))
	m.judge(ended)
	t.Logf("a command was done %s after the split, and %s after it was healed", served.Round(100*time.Millisecond), back.Round(100*time.Millisecond))
}

// isDone sends a command, and returns when it has its outcome.
func (m *crowd) isDone(ctx context.Context, id string) {
	m.t.Helper()
	m.send(ctx, "nightshift.v1.cmd.local.lon1."+instanceID(3, 0)+".retag", id, map[string]any{"id": id, "add": []string{"seen=" + id}})
	for ctx.Err() == nil {
		for _, e := range m.events() {
			if e.Trigger == "local-"+id && e.ends() {
				return
			}
		}
		pause(ctx, 300*time.Millisecond)
	}
	m.t.Fatalf("command %s has no outcome", id)
}

// untilDone waits until all that came before a time has its outcome, and returns
// when that was so.
func (m *crowd) untilDone(ctx context.Context, sent []string, began, ended time.Time) (calm time.Time) {
	m.t.Helper()
	for {
		calm = time.Now() // before it is looked
		left := m.open(sent, began, ended)
		if len(left) == 0 {
			return calm
		}
		if ctx.Err() != nil {
			m.t.Fatalf("these have no outcome: %v", left)
		}
		pause(ctx, 300*time.Millisecond)
	}
}
