package worker

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// checkRegions looks, at the start and after each edit of them, whether the
// account has the regions of the policy file, until ctx ends.
func (w *Worker) checkRegions(ctx context.Context) {
	for {
		w.lookAtRegions(ctx)
		select {
		case <-w.regionsEdited:
		case <-ctx.Done():
			return
		}
	}
}

// lookAtRegions names regions of the policy file that the account does not have.
// The others go on; so does the daemon when nobody answers yet.
func (w *Worker) lookAtRegions(ctx context.Context) {
	regions := w.set().Regions
	if set := w.set(); w.memory.needsReadings(set) || set.Limits.Share > 0 || len(set.Floors) > 0 { // a share of what is not known holds all
		w.readAll(ctx, regions)
	}
	ask, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	known, err := w.api.Regions(ask)
	if err != nil {
		w.inv.account.saw(ctx, err)
		if ctx.Err() == nil {
			w.o.Log.Warn("regions not checked", zap.Error(err))
		}
		return
	}
	var codes, unknown []string
	for _, r := range known {
		codes = append(codes, strings.ToUpper(r.Code))
	}
	slices.Sort(codes)
	for _, region := range regions {
		if !slices.Contains(codes, strings.ToUpper(region)) {
			unknown = append(unknown, strings.ToUpper(region))
		}
	}
	w.unknown.Store(&unknown)
	for _, region := range unknown {
		w.o.Log.Error("region is unknown to Civo, its instances cannot be looked after", regionField(region), zap.Strings("known", codes))
		w.noticePolicies(ctx, "unknown region", region, "region "+region+" is unknown to Civo, its instances cannot be looked after; there are "+strings.Join(codes, ", "))
	}
}

// regionStatus says for each region how it was last read.
func (w *Worker) regionStatus() []RegionStatus {
	all := w.inv.status()
	if unknown := w.unknown.Load(); unknown != nil {
		for i := range all {
			all[i].Unknown = slices.Contains(*unknown, all[i].Region)
		}
	}
	return all
}
