package worker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"nightshift/events"
	"nightshift/policies"
)

// floorCount is the record of one floor: which instances were taken down so lately
// that a reading may show them running still.
type floorCount struct {
	Down map[string]fallen `json:"down"` // by instance
}

type fallen struct {
	Action string    `json:"action"`
	At     time.Time `json:"at"` // machine time
}

func floorKey(f *policies.Floor) string {
	return stateFloor + policies.ActionID("floor", 0, f.Select.String(), "floor")
}

// forgottenAfter is when a call is so old that every reading shows what it did.
func (r *runner) forgottenAfter() time.Duration {
	return r.verifyBy.Within + callTimeout + railReadingAge
}

// standing is who of those that a floor counts is running, and who is on the way
// between two states.
type standing struct{ up, busy map[string]bool }

func (s *standing) add(f *policies.Floor, inv []policies.Instance) {
	for i := range inv {
		inst := &inv[i]
		switch {
		case inst.Status == policies.StatusShutoff || !f.Select.Matches(*inst):
		case inst.Status == policies.StatusActive:
			s.up[inst.ID] = true
		default:
			s.busy[inst.ID] = true
		}
	}
}

// aboveFloors counts an instance as down before a call takes it down, unless too
// few would be left: then the action waits for those that come back, or ends.
func aboveFloors(ctx context.Context, l *look) (next, bool, error) {
	it, set := l.a.item, l.r.set()
	if len(set.Floors) == 0 || !policies.Verb(it.Action).Lowers() || l.inst.Status != policies.StatusActive {
		return pass()
	}
	over := set.FloorsOver(l.inst)
	if len(over) == 0 {
		return pass()
	}
	inv := [][]policies.Instance{l.reading.Instances}
	for _, region := range l.r.inv.names() {
		if region == l.reading.Region {
			continue
		}
		reading, err := l.r.inv.Reading(ctx, region, l.now.Add(-railReadingAge))
		if ctx.Err() != nil {
			return next{}, true, err
		}
		if err == nil { // of a region that cannot be read nobody knows whether anything runs
			inv = append(inv, reading.Instances)
		}
	}
	for _, n := range over {
		f := &set.Floors[n]
		s := standing{up: make(map[string]bool), busy: make(map[string]bool)}
		for _, part := range inv {
			s.add(f, part)
		}
		var down, ours int // count as down still, and are on their way by a call of ours
		took, err := count(ctx, l.r.counters, floorKey(f), "", func(c *floorCount) bool {
			down, ours = 0, 0
			for id, e := range c.Down {
				switch {
				case l.now.Sub(e.At) > l.r.forgottenAfter():
					delete(c.Down, id)
				case id == it.Instance:
				case s.up[id]:
					down, ours = down+1, ours+1
				case s.busy[id]:
					ours++
				}
			}
			if len(s.up)-down-1 < f.Running {
				return false
			}
			if c.Down == nil {
				c.Down = make(map[string]fallen)
			}
			c.Down[it.Instance] = fallen{it.ID, l.now}
			return true
		})
		if err != nil {
			return next{}, true, err
		}
		if took {
			l.a.floored = true
			continue
		}
		if err := l.r.leaveFloors(ctx, l.a); err != nil { // two that wait for each other's place would wait for ever
			return next{}, true, err
		}
		words := fmt.Sprintf("%s, and %d are", f.Words(), len(s.up)-down)
		if coming := down + len(s.busy); coming > 0 {
			n, stop, err := l.queue(ctx, l.now.Add(l.r.verifyBy.Poll), fmt.Sprintf("floors: %s; waits for %d on their way", words, coming))
			n.ours = ours > 0 // else it is somebody else's machine that is on its way, perhaps for ever
			return n, stop, err
		}
		return l.skip(policies.ReasonFloor, words)
	}
	return pass()
}

// leaveFloors takes an action's instance out of those that count as down.
func (r *runner) leaveFloors(ctx context.Context, a *attempt) error {
	set := r.set()
	for n := range set.Floors {
		if _, err := count(ctx, r.counters, floorKey(&set.Floors[n]), "", func(c *floorCount) bool {
			if c.Down[a.item.Instance].Action != a.item.ID {
				return false
			}
			delete(c.Down, a.item.Instance)
			return true
		}); err != nil {
			return err
		}
	}
	a.floored = false
	return nil
}

// endFloors lets an instance count as running again after an action that took it
// down for a while, or did not. One that was stopped counts as down until every
// reading shows it; so does one of which nobody knows.
func (r *runner) endFloors(ctx context.Context, a *attempt, o events.Outcome) {
	verb := policies.Verb(a.item.Action)
	if verb == policies.Start && o == events.Done && len(r.set().Floors) > 0 {
		if err := r.rise(context.WithoutCancel(ctx), a.item); err != nil {
			r.log.Warn("a started instance counts as down for floors for a while longer", zap.String(keyInstance, strings.ToLower(a.item.Instance)), zap.Error(err))
		}
		return
	}
	isDown := o == events.Unknown || o == events.Superseded && a.made > 0 || o == events.Done && verb != policies.Reboot && verb != policies.Resize
	if len(r.set().Floors) == 0 || !verb.Lowers() || !a.floored && a.made == 0 || isDown {
		return
	}
	if err := r.leaveFloors(context.WithoutCancel(ctx), a); err != nil {
		r.log.Warn("an instance counts as down for floors for a while longer", zap.String(keyInstance, strings.ToLower(a.item.Instance)), zap.Error(err))
	}
}

// rise lets an instance that was started count as running again, unless something
// newer is taking it down meanwhile.
func (r *runner) rise(ctx context.Context, it events.Item) error {
	set := r.set()
	for n := range set.Floors {
		key := floorKey(&set.Floors[n])
		var by string
		if _, err := count(ctx, r.counters, key, "", func(c *floorCount) bool {
			by = c.Down[it.Instance].Action
			return false
		}); err != nil || by == "" {
			if err != nil {
				return err
			}
			continue
		}
		trail, err := r.bus.Trail(ctx, it.Region, it.Instance, by)
		if err != nil {
			return fmt.Errorf("read the ledger of action %s: %w", by, err)
		}
		if _, isEnded := trail.Outcome(); !isEnded {
			continue
		}
		if _, err := count(ctx, r.counters, key, "", func(c *floorCount) bool {
			if c.Down[it.Instance].Action != by {
				return false
			}
			delete(c.Down, it.Instance)
			return true
		}); err != nil {
			return err
		}
	}
	return nil
}
