package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nightshift/civo"
	"nightshift/civo/civosim"
	"nightshift/configs"
	"nightshift/events"
	"nightshift/policies"
	"nightshift/worker"
)

const inventoryHelp = "read the instances from a file instead of the API: what instances list -o json prints, or a fleet file of the simulator"

// inventory is the instances that a command looks at, with what is remembered of them.
type inventory struct {
	instances []policies.Instance
	facts     policies.Facts
	faults    map[string]error // regions that could not be read
	now       time.Time        // plan time, where the daemon was asked; else zero
}

// inventoryFlags say where instances are read: the API, a file or the daemon.
type inventoryFlags struct {
	file   string
	daemon bool
	nats   natsFlags
}

func (f *inventoryFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "inventory", "", inventoryHelp)
	cmd.Flags().BoolVar(&f.daemon, "daemon", false, "ask the daemon for its instances, and for the keeps, pauses and changes by hand that it remembers")
	f.nats.add(cmd)
}

// read reads the instances of regions.
func (f *inventoryFlags) read(ctx context.Context, cfg *configs.Config, regions []string, warn io.Writer) (inventory, error) {
	switch {
	case f.daemon && f.file != "":
		return inventory{}, usagef("either --inventory or --daemon")
	case f.daemon:
		wait := newProgress(warn, "asking the daemon")
		inv, err := f.askDaemon(ctx)
		wait.end()
		inv.instances = inRegions(inv.instances, regions, "of the daemon", warn)
		return inv, err
	case f.file != "":
		instances, err := readInventoryFile(ctx, f.file, regions)
		return inventory{instances: inRegions(instances, regions, "in "+f.file, warn)}, err
	}
	api, err := newAPI(cfg)
	if err != nil {
		return inventory{}, err
	}
	wait := newProgress(warn, "reading the instances of %s", strings.Join(regions, ", "))
	instances, faults := worker.ReadInventory(ctx, api, regions)
	wait.end()
	return inventory{instances: instances, faults: faults}, nil
}

func (f *inventoryFlags) askDaemon(ctx context.Context) (inv inventory, err error) {
	var memory worker.Memory
	inv.faults = make(map[string]error)
	err = f.nats.with(ctx, func(ctx context.Context, bus *events.Bus) error {
		for after := ""; ; {
			var page worker.InventoryAnswer
			if err := bus.Ask(ctx, "inventory", worker.InventoryRequest{After: after}, &page); err != nil {
				return err
			}
			inv.now = page.Now
			inv.instances = append(inv.instances, page.Instances...)
			memory.Add(page.Memory)
			for region, reason := range page.Unread {
				inv.faults[region] = fmt.Errorf("the daemon: %s", reason)
			}
			if after = page.More; after == "" {
				return nil
			}
		}
	})
	inv.facts = memory.Facts()
	return inv, err
}

// inventoryOf reads the instances of a policy file's regions from a file, or where
// none is named from the API: then regions that could not be read are in faults.
func inventoryOf(ctx context.Context, cfg *configs.Config, file string, warn io.Writer) ([]policies.Instance, map[string]error, error) {
	f := inventoryFlags{file: file}
	inv, err := f.read(ctx, cfg, cfg.Policies.Regions, warn)
	return inv.instances, inv.faults, err
}

// reportUnread says which regions are missing.
func reportUnread(w io.Writer, faults map[string]error, where string) {
	for _, region := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(w, "nightshift: error: region %s is not in the %s: %v\n", region, where, faults[region])
		if hint := hintOf(faults[region]); hint != "" {
			fmt.Fprintf(w, "nightshift: hint: %s\n", hint)
		}
	}
}

// inRegions leaves out the instances of other regions: the daemon does not look at
// them either.
func inRegions(instances []policies.Instance, regions []string, where string, warn io.Writer) []policies.Instance {
	if len(regions) == 0 {
		return instances
	}
	others := make(map[string]int)
	kept := slices.DeleteFunc(slices.Clone(instances), func(i policies.Instance) bool {
		if slices.ContainsFunc(regions, func(r string) bool { return strings.EqualFold(r, i.Region) }) {
			return false
		}
		others[i.Region]++
		return true
	})
	for _, region := range slices.Sorted(maps.Keys(others)) {
		fmt.Fprintf(warn, "nightshift: %s %s in region %s left out: the policy file names %s\n", count(others[region], "instance"), where, region, strings.Join(regions, ", "))
	}
	return kept
}

// readInventoryFile reads instances from a file: a JSON list as instances list
// -o json prints it, a page as the API answers, or a fleet file of the simulator.
// An instance without region is in the only one that is named.
func readInventoryFile(ctx context.Context, path string, regions []string) ([]policies.Instance, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the inventory: %w", err)
	}
	list, jsonErr := parseInstances(data)
	if jsonErr != nil {
		fleet, fleetErr := civosim.ParseFleet(data)
		if fleetErr != nil {
			return nil, fmt.Errorf("inventory %s is neither a JSON list of instances (%v) nor a fleet file (%v)", path, jsonErr, fleetErr) //nolint:errorlint // two causes, for people
		}
		return instancesOfFleet(ctx, fleet, regions)
	}
	inv := make([]policies.Instance, len(list))
	for n, i := range list {
		region := i.Region
		if region == "" && len(regions) == 1 {
			region = regions[0]
		}
		if region == "" {
			return nil, fmt.Errorf("inventory %s: %s (%s) has no region, and there is not exactly one that it could be in: write it into the file", path, i.Hostname, i.ID)
		}
		if i.ID == "" {
			return nil, fmt.Errorf("inventory %s: instance %d has no id", path, n+1)
		}
		inv[n] = worker.FromCivo(i, region)
	}
	return inv, nil
}

func parseInstances(data []byte) ([]civo.Instance, error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		var page struct {
			Items *[]civo.Instance `json:"items"`
		}
		if err := json.Unmarshal(data, &page); err != nil {
			return nil, err
		}
		if page.Items == nil {
			return nil, fmt.Errorf("the object has no items")
		}
		return *page.Items, nil
	}
	var list []civo.Instance
	err := json.Unmarshal(data, &list)
	return list, err
}

// instancesOfFleet are those that the simulator makes of a fleet. It makes them
// now, which says nothing of how old they are meant to be.
func instancesOfFleet(ctx context.Context, fleet []civosim.Machine, regions []string) ([]policies.Instance, error) {
	sim := civosim.New(civosim.Options{Fleet: fleet, Regions: regions, Seed: 1})
	api, err := civo.New("simulated", civo.Options{BaseURL: "http://127.0.0.1", HTTPClient: &http.Client{Transport: sim.Transport()}, Rate: 1e6})
	if err != nil {
		return nil, err
	}
	var inv []policies.Instance
	all, err := api.Regions(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		found, err := api.ListInstances(ctx, r.Code)
		if err != nil {
			return nil, err
		}
		for _, i := range found {
			inst := worker.FromCivo(i, r.Code)
			inst.CreatedAt = time.Time{}
			inv = append(inv, inst)
		}
	}
	return inv, nil
}
