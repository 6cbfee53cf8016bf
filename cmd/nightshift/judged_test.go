package main

import (
	"context"
	"encoding/json"
	"time"

	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker/promise"
)

// judge asks the rules of package promise about all that is stored, and about what
// the simulator was asked for. What came after rest need not have ended.
func (m *crowd) judge(rest time.Time) {
	t := m.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cfg, err := configs.Load(m.config, nil, configs.Overrides{APIURL: m.api})
	if err != nil {
		t.Fatal(err)
	}
	h := &promise.History{
		Settled: true, Rest: rest, Started: m.began, Plan: m.plan, Imposed: 30 * time.Second, Apart: 100 * time.Millisecond,
		Requests: m.requests(), Fleets: []promise.Fleet{m.asFound, m.fleet()}, // before the events that announce them
	}
	bus, err := events.Dial(ctx, m.url(), events.Auth{})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Conn().Close()
	for rec, err := range bus.Records(ctx, "", time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		h.Events = append(h.Events, rec)
	}
	for run, err := range bus.Runs(ctx, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		h.Runs = append(h.Runs, run)
	}
	for tick, err := range bus.Ticks(ctx, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		h.Ticks = append(h.Ticks, tick)
	}
	h.Now = time.Now()
	known := m.known(&cfg.Policies)
	for _, daemon := range []string{"a", "b", "c"} { // all have had the same file all the time
		h.Files = append(h.Files, promise.File{Daemon: daemon, From: known, Set: &cfg.Policies})
		h.Up = append(h.Up, promise.Span{Daemon: daemon, From: m.began, Until: h.Now})
	}
	if len(h.Events) == 0 || len(h.Runs) == 0 || len(h.Ticks) == 0 || len(h.Requests) == 0 {
		t.Errorf("there is nothing to judge: %d events, %d runs, %d ticks, %d requests", len(h.Events), len(h.Runs), len(h.Ticks), len(h.Requests))
	}
	for _, breach := range promise.Check(h) {
		t.Error(breach)
	}
}

// known is since when all policies are known, in machine time.
func (m *crowd) known(set *policies.Set) (first time.Time) {
	m.t.Helper()
	state, err := m.js.KeyValue(m.t.Context(), events.Bucket)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, p := range set.Policies {
		entry, err := state.Get(m.t.Context(), "policy."+p.Name)
		if err != nil {
			m.t.Fatalf("since when is policy %s known: %v", p.Name, err)
		}
		var known struct {
			Since time.Time `json:"since"`
		}
		if err := json.Unmarshal(entry.Value(), &known); err != nil {
			m.t.Fatal(err)
		}
		if at := m.machine(known.Since); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// fleet is what the simulator has now.
func (m *crowd) fleet() promise.Fleet {
	m.t.Helper()
	var st civosim.State
	m.read("/sim/state", &st)
	f := promise.Fleet{At: time.Now()}
	for _, i := range st.Instances {
		f.Instances = append(f.Instances, policies.Instance{
			ID: i.ID, Hostname: i.Hostname, Region: i.Region, Size: i.Size, Status: i.Status, Tags: i.Tags, FirewallID: i.FirewallID, NetworkID: i.NetworkID, CreatedAt: i.CreatedAt,
		})
	}
	return f
}
