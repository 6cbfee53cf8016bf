package civosim

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// due is something that happens at a time, unless it was interrupted.
type due struct {
	at time.Time
	n  uint64 // order among those of one instant
	do func(at time.Time)
}

type dueHeap []due

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if c := h[i].at.Compare(h[j].at); c != 0 {
		return c < 0
	}
	return h[i].n < h[j].n
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = due{}
	*h = old[:len(old)-1]
	return last
}

func (a *account) later(at time.Time, do func(at time.Time)) {
	a.dueID++
	heap.Push(&a.due, due{at, a.dueID, do})
}

// settle does all that is due, in order, each at its own time.
func (a *account) settle(now time.Time) {
	for len(a.due) > 0 && !a.due[0].at.After(now) {
		next := heap.Pop(&a.due).(due)
		next.do(next.at)
	}
}

// pass takes an instance through a passage: the status during (as it is when
// empty) at once, and when the operation's delay is over, the end. A stuck
// passage never ends.
func (s *Sim) pass(c *call, in *instance, during string, end func(at time.Time)) {
	in.interrupt()
	in.busy = true
	if during != "" {
		in.change(c.now, func(r *record) { r.become(during) })
	}
	if c.stuck {
		return
	}
	n := in.passage
	s.later(c.now.Add(s.delay(c.op)), func(at time.Time) {
		if in.passage == n {
			in.busy = false
			end(at)
		}
	})
}

// passTo is pass to a status.
func (s *Sim) passTo(c *call, in *instance, during, status string) {
	s.pass(c, in, during, func(at time.Time) {
		in.change(at, func(r *record) { r.become(status) })
	})
}

func (s *Sim) delay(op string) time.Duration {
	d, ok := s.o.Delays[op]
	if !ok {
		d = s.o.Delay
	}
	if s.o.Jitter > 0 {
		d += time.Duration(s.chance.Float64() * s.o.Jitter * float64(d))
	}
	return d
}

// add puts an instance into its region.
func (a *account) add(in *instance) {
	in.region.instances = append(in.region.instances, in)
	a.all[in.id] = in
	a.usage.hold(in, 1)
}

// remove takes an instance out of its region. What was attached to it stays.
func (s *Sim) remove(in *instance, at time.Time) {
	in.interrupt()
	r := in.region
	i, ok := slices.BinarySearchFunc(r.instances, in.serial, func(x *instance, serial uint64) int { return cmp.Compare(x.serial, serial) })
	if !ok {
		return
	}
	r.instances = slices.Delete(r.instances, i, i+1)
	r.forget(in, at)
	delete(s.all, in.id)
	s.bill(in, at)
	for _, v := range r.volumes {
		if v.InstanceID == in.id {
			v.InstanceID, v.Status, v.Mountpoint = "", "available", ""
		}
	}
	for _, ip := range r.ips {
		if ip.assigned == in.id {
			ip.assigned = ""
		}
	}
	if s.o.QuotaLag > 0 {
		s.later(at.Add(s.o.QuotaLag), func(time.Time) { s.usage.hold(in, -1) })
		return
	}
	s.usage.hold(in, -1)
}
