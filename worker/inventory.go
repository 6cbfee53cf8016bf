package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"nightshift/civo"
	"nightshift/policies"
)

// A Reading is one complete list of the instances of a region.
type Reading struct {
	Region    string    // upper case
	Began     time.Time // machine time at which the list was asked for: it shows nothing older
	Instances []policies.Instance
	accounts  []string // that the instances belong to, sorted
	byID      map[string]int

	naming sync.Once
	byName map[string][]int // every name of an instance in lower case; made when it is first asked for
}

// Instance returns the instance with an id, and whether the reading has it.
// Since a reading is complete, an instance that is missing was not in the
// region when it was made.
func (r *Reading) Instance(id string) (policies.Instance, bool) {
	i, ok := r.byID[id]
	if !ok {
		return policies.Instance{}, false
	}
	return r.Instances[i], true
}

// of is the part of a reading that is about one instance, all when id is empty.
func (r *Reading) of(id string) []policies.Instance {
	if id == "" {
		return r.Instances
	}
	if i, ok := r.byID[id]; ok {
		return r.Instances[i : i+1]
	}
	return nil
}

// around are the instances of a reading, and what was last read of other regions.
func (inv *Inventory) around(reading *Reading, regions []string) []policies.Instance {
	all := slices.Clone(reading.Instances)
	for _, region := range regions {
		if last := inv.last(strings.ToLower(region)); last != nil && last.Region != reading.Region {
			all = append(all, last.Instances...)
		}
	}
	return all
}

// hostname is that of an instance as it was last read; empty when it was not.
func (inv *Inventory) hostname(region, id string) string {
	last := inv.last(region)
	if last == nil {
		return ""
	}
	inst, _ := last.Instance(id)
	return inst.Hostname
}

// Inventory reads regions for everybody: one list under way per region at a
// time serves the planner, the rails and all that wait for a state. It is safe
// for concurrent use.
type Inventory struct {
	api     *civo.Client
	clock   Clock
	account *gate                           // shut while the API refuses the token
	owner   *accountGuard                   // believes no list of another account
	observe func(context.Context, *Reading) // is told of each reading before anybody else
	shown   func()                          // is told when everybody sees it

	mu      sync.Mutex
	regions map[string]*regionReader // all that ever were: runs of a region that was taken out end in order
	inForce []string                 // those of the policy file, sorted
}

type regionReader struct {
	name string

	mu       sync.Mutex
	last     *Reading
	err      error     // of the last attempt; nil when it went well
	errBegan time.Time // when that attempt began
	inflight chan struct{}
}

func newInventory(api *civo.Client, regions []string, account *gate) *Inventory {
	inv := &Inventory{api: api, account: account, regions: make(map[string]*regionReader, len(regions))}
	inv.setRegions(regions)
	return inv
}

// setRegions says which regions are looked after from now on.
func (inv *Inventory) setRegions(regions []string) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	before := inv.inForce
	inv.inForce = nil
	for _, r := range regions {
		name := strings.ToUpper(r)
		inv.inForce = append(inv.inForce, name)
		r := inv.regions[name]
		if r == nil {
			inv.regions[name] = &regionReader{name: name}
		} else if !slices.Contains(before, name) {
			r.forget() // it comes back: what was read of it is of another time
		}
	}
	slices.Sort(inv.inForce)
}

func (r *regionReader) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.err = nil, nil
}

// forgetFaults lets each region be asked again by whoever comes next.
func (inv *Inventory) forgetFaults() {
	for _, name := range inv.names() {
		r, _ := inv.reader(name)
		r.mu.Lock()
		r.err = nil
		r.mu.Unlock()
	}
}

// Has reports whether a region, in any case, is one of those that are looked after.
func (inv *Inventory) Has(region string) bool {
	return slices.Contains(inv.names(), strings.ToUpper(region))
}

func (inv *Inventory) names() []string {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	return slices.Clone(inv.inForce)
}

func (inv *Inventory) reader(region string) (*regionReader, bool) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	r, ok := inv.regions[strings.ToUpper(region)]
	return r, ok
}

// Reading returns a complete reading of a region that began at or after
// notBefore (machine time), asking the API only when the newest is older. A time
// that lies ahead counts as now: whoever was woken before it (by a newer action that
// overtakes his) is not to list the region again and again until then.
func (inv *Inventory) Reading(ctx context.Context, region string, notBefore time.Time) (*Reading, error) {
	notBefore = minTime(notBefore, time.Now())
	r, ok := inv.reader(region)
	if !ok {
		return nil, fmt.Errorf("region %s is not in the policy file", strings.ToUpper(region))
	}
	for {
		r.mu.Lock()
		if r.last != nil && !r.last.Began.Before(notBefore) {
			last := r.last
			r.mu.Unlock()
			return last, nil
		}
		if r.err != nil && !r.errBegan.Before(notBefore) { // one fault answers all who waited for it
			err := r.err
			r.mu.Unlock()
			return nil, err
		}
		if wait := r.inflight; wait != nil {
			r.mu.Unlock()
			select {
			case <-wait:
				continue // its result may be too old for us, or an error: look again
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		done := make(chan struct{})
		r.inflight = done
		r.mu.Unlock()
		began := time.Now()

		reading, err := inv.list(ctx, r.name)
		if err == nil && inv.observe != nil {
			inv.observe(ctx, reading)
		}

		r.mu.Lock()
		r.inflight = nil
		switch {
		case err == nil:
			r.last, r.err, r.errBegan = reading, nil, began
		case ctx.Err() == nil: // that one caller has gone is no fault of the region: whoever waits asks for himself
			r.err, r.errBegan = err, began
		}
		r.mu.Unlock()
		close(done)
		if err != nil {
			return nil, err
		}
		if inv.shown != nil {
			inv.shown()
		}
		if !reading.Began.Before(notBefore) {
			return reading, nil
		}
	}
}

func (inv *Inventory) last(region string) *Reading {
	r, ok := inv.reader(region)
	if !ok {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// known are the instances of the newest reading of each region.
func (inv *Inventory) known() (all []policies.Instance) {
	for _, name := range inv.names() {
		if last := inv.last(name); last != nil {
			all = append(all, last.Instances...)
		}
	}
	return all
}

// read are the regions that have been read.
func (inv *Inventory) read() (names []string) {
	return slices.DeleteFunc(inv.names(), func(name string) bool { return inv.last(name) == nil })
}

// addFleet adds the newest complete reading of each region to what is known.
func (inv *Inventory) addFleet(f *policies.Facts) {
	f.Fleet = [][]policies.Instance{}
	for _, name := range inv.names() {
		if last := inv.last(name); last != nil {
			f.Fleet = append(f.Fleet, last.Instances)
		} else {
			f.Partial = true
		}
	}
}

// size is how many instances there are, as far as is known.
func (inv *Inventory) size() (n int) {
	for _, name := range inv.names() {
		if last := inv.last(name); last != nil {
			n += len(last.Instances)
		}
	}
	return n
}

// selected is how many of them a policy selects.
func (inv *Inventory) selected(p *policies.Policy) (n int) {
	for _, name := range inv.names() {
		if last := inv.last(name); last != nil {
			for i := range last.Instances {
				if p.Select.Matches(last.Instances[i]) {
					n++
				}
			}
		}
	}
	return n
}

// status says for each region how it was last read.
func (inv *Inventory) status() []RegionStatus {
	names := inv.names()
	out := make([]RegionStatus, 0, len(names))
	for _, name := range names {
		r, _ := inv.reader(name)
		r.mu.Lock()
		s := RegionStatus{Region: r.name}
		if r.last != nil {
			s.Instances, s.ReadAt = len(r.last.Instances), r.last.Began
		}
		if r.err != nil {
			s.Error = r.err.Error()
		}
		r.mu.Unlock()
		out = append(out, s)
	}
	return out
}

// ReadInventory lists regions once. A region that could not be read is in
// faults, never in the inventory: it does not count as empty.
func ReadInventory(ctx context.Context, api *civo.Client, regions []string) (inv []policies.Instance, faults map[string]error) {
	faults = make(map[string]error)
	for _, region := range regions {
		r, err := list(ctx, api, strings.ToUpper(region))
		if err != nil {
			faults[strings.ToUpper(region)] = err
			continue
		}
		inv = append(inv, r.Instances...)
	}
	return inv, faults
}

// list asks the API unless it refuses the token.
func (inv *Inventory) list(ctx context.Context, region string) (*Reading, error) {
	if _, err := inv.account.closed(); err != nil {
		return nil, err
	}
	reading, err := inv.ask(ctx, region)
	if err == nil {
		err = inv.owner.check(ctx, reading)
	}
	if err != nil {
		return nil, err
	}
	if inv.clock.IsFast() {
		for i := range reading.Instances {
			if at := &reading.Instances[i].CreatedAt; !at.IsZero() {
				*at = inv.clock.Plan(*at)
			}
		}
	}
	return reading, nil
}

func (inv *Inventory) ask(ctx context.Context, region string) (*Reading, error) {
	reading, err := list(ctx, inv.api, region)
	inv.account.saw(ctx, err)
	return reading, err
}

func list(ctx context.Context, api *civo.Client, region string) (*Reading, error) {
	r := &Reading{Region: region, Began: time.Now()}
	found, err := api.ListInstances(ctx, region)
	if err != nil {
		var answer *civo.Error
		if errors.As(err, &answer) { // it says what was asked, and where
			return nil, err
		}
		return nil, fmt.Errorf("list instances in %s: %w", region, err)
	}
	r.Instances = make([]policies.Instance, len(found))
	r.byID = make(map[string]int, len(found))
	r.accounts = Accounts(found)
	for i, inst := range found {
		r.Instances[i] = FromCivo(inst, region)
		r.byID[inst.ID] = i
	}
	return r, nil
}

// FromCivo is what a decision needs of an instance that the API returned when
// asked for a region.
func FromCivo(i civo.Instance, region string) policies.Instance {
	return policies.Instance{
		ID:         i.ID,
		Hostname:   i.Hostname,
		Region:     strings.ToUpper(region),
		Size:       i.Size,
		Status:     i.Status,
		Tags:       i.Tags,
		FirewallID: i.FirewallID,
		NetworkID:  i.NetworkID,
		PublicIP:   i.PublicIP,
		PrivateIP:  i.PrivateIP,
		CPUCores:   i.CPUCores,
		RAMMB:      i.RAMMB,
		DiskGB:     i.DiskGB,
		CreatedAt:  i.CreatedAt,
	}
}

// sleepUntil waits until a machine time, or for the end of ctx, whose cause it returns.
func sleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d <= 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
