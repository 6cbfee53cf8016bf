package civosim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// size is an entry of /v2/sizes. There is no price: the API has none.
type size struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	NiceName    string `json:"nice_name"`
	CPUCores    int    `json:"cpu_cores"`
	GPUCount    int    `json:"gpu_count"`
	GPUType     string `json:"gpu_type"`
	RAMMB       int    `json:"ram_mb"`
	DiskGB      int    `json:"disk_gb"`
	TransferTB  int    `json:"transfer_tb"`
	Description string `json:"description"`
	Selectable  bool   `json:"selectable"`
}

// sizes are the same in all regions. Those of g2 are the ones that the samples
// of the documentation name; the Kubernetes and Database sizes are there since
// clients must hide them.
var sizes = func() []*size {
	var out []*size
	add := func(kind, name, nice string, cores, ram, disk int, selectable bool) {
		out = append(out, &size{
			Type: kind, Name: name, NiceName: nice, CPUCores: cores, RAMMB: ram, DiskGB: disk, TransferTB: 1,
			Description: fmt.Sprintf("%s: %d cores, %d MB of RAM, %d GB of disk", nice, cores, ram, disk), Selectable: selectable,
		})
	}
	for _, family := range []struct {
		name       string
		selectable bool
	}{{"g3", true}, {"g4s", true}, {"g2", false}} {
		for _, z := range []struct {
			name, nice       string
			cores, ram, disk int
		}{
			{"xsmall", "Extra Small", 1, 1024, 25}, {"small", "Small", 1, 2048, 25}, {"medium", "Medium", 2, 4096, 50},
			{"large", "Large", 4, 8192, 100}, {"xlarge", "Extra Large", 6, 16384, 150}, {"2xlarge", "2X Large", 8, 32768, 200},
		} {
			add("Instance", family.name+"."+z.name, z.nice, z.cores, z.ram, z.disk, family.selectable)
		}
	}
	add("Kubernetes", "g4s.kube.small", "Small", 1, 2048, 40, true)
	add("Kubernetes", "g4s.kube.medium", "Medium", 2, 4096, 50, true)
	add("Database", "g3.db.small", "Small", 1, 2048, 20, true)
	return out
}()

// sizeNamed finds a size that an instance can have.
func sizeNamed(name string) *size {
	for _, z := range sizes {
		if z.Name == name && z.Type == "Instance" {
			return z
		}
	}
	return nil
}

// diskImage is an entry of /v2/disk_images.
type diskImage struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Version      string `json:"version"`
	State        string `json:"state"`
	InitialUser  string `json:"initial_user"`
	Distribution string `json:"distribution"`
	OS           string `json:"os"`
	Description  string `json:"description"`
	Label        string `json:"label"`
	DiskImageURL string `json:"disk_image_url"`
	DiskImageGB  int    `json:"disk_image_size_gb"`
	LogoURL      string `json:"logo_url"`
	CreatedAt    string `json:"created_at"`
	CreatedBy    string `json:"created_by"`
}

// images are the same in all regions. The first has the id that the samples of
// the documentation use; the last is one that clients hide.
var images = []*diskImage{
	newImage("b67d6fed-8ab6-45b9-be2d-2f3337c933c6", "ubuntu-focal", "20.04", "ubuntu", "focal", "ubuntu"),
	newImage("d927ad2f-5073-4ed6-b2eb-b8e61aef29a8", "ubuntu-jammy", "22.04", "ubuntu", "jammy", "ubuntu"),
	newImage("a4204155-a876-43fa-b4d6-ea2af8774560", "ubuntu-noble", "24.04", "ubuntu", "noble", "ubuntu"),
	newImage("9a16a77e-1a1f-45b6-87cd-6d1a1d1a1d12", "debian-12", "12", "debian", "bookworm", "debian"),
	newImage("25fbbd96-d5ec-4d08-9c75-a5e154dabf9f", "rocky-9-1", "9.1", "rocky", "", "rocky"),
	newImage("13b3f2c1-9c02-4f0e-9c44-2f9c9a7a3a11", "talos-v1.5.0", "1.5.0", "talos", "", "civo"),
}

func newImage(id, name, version, distribution, label, user string) *diskImage {
	return &diskImage{
		ID: id, Name: name, Version: version, State: "available", InitialUser: user, Distribution: distribution, OS: "linux",
		Description: distribution + " " + version, Label: label, DiskImageGB: 10, CreatedAt: "2024-01-01T00:00:00Z", CreatedBy: "civo",
	}
}

func imageNamed(idOrName string) *diskImage {
	i := slices.IndexFunc(images, func(m *diskImage) bool { return m.ID == idOrName || m.Name == idOrName })
	if i < 0 {
		return nil
	}
	return images[i]
}

// region holds what belongs to a region and is not seen from any other.
type region struct {
	code      string
	instances []*instance // by serial
	gone      []goner     // removed a short while ago, oldest first: what stale reads still show
	networks  []*network
	firewalls []*firewall
	volumes   []*volume
	ips       []*reservedIP
}

// goner is an instance that is no more.
type goner struct {
	at time.Time
	in *instance
}

const maxGone = 1000

func (r *region) forget(in *instance, at time.Time) {
	if len(r.gone) == maxGone {
		r.gone = slices.Delete(r.gone, 0, 1)
	}
	r.gone = append(r.gone, goner{at, in})
}

// newRegion has a default network with an open and a restrictive firewall.
func (a *account) newRegion(code string) *region {
	r := &region{code: code}
	n := a.newNetwork(r, "default")
	n.Default = true
	a.newFirewall(r, n, "restrictive-firewall", false)
	return r
}

// regionNamed finds a region, in any case.
func (a *account) regionNamed(code string) *region {
	for _, r := range a.regions {
		if strings.EqualFold(r.code, code) {
			return r
		}
	}
	return nil
}

// countries of the public regions, by the letters of their codes.
var countries = map[string][2]string{
	"LON": {"uk", "United Kingdom"}, "NYC": {"us", "United States"}, "PHX": {"us", "United States"},
	"FRA": {"de", "Germany"}, "MUM": {"in", "India"},
}

type regionJSON struct {
	Code          string          `json:"code"`
	Name          string          `json:"name"`
	Type          string          `json:"type"`
	OutOfCapacity bool            `json:"out_of_capacity"`
	Country       string          `json:"country"`
	CountryName   string          `json:"country_name"`
	Default       bool            `json:"default"`
	Features      map[string]bool `json:"features"`
}

func (s *Sim) listRegions(*call) (answer, func()) {
	out := []regionJSON{}
	for i, r := range s.regions {
		letters := strings.TrimRight(r.code, "0123456789")
		j := regionJSON{Code: r.code, Name: r.code, Type: "civostack", Default: i == 0, Features: map[string]bool{
			"iaas": true, "kubernetes": false, "object_store": false, "loadbalancer": false, "gpu": false,
			"dbaas": false, "volume": true, "paas": false, "public_ip_node_pools": false,
		}}
		if c, ok := countries[letters]; ok {
			j.Country, j.CountryName = c[0], c[1]
		}
		out = append(out, j)
	}
	return ok(out), nil
}

func (s *Sim) listSizes(*call) (answer, func()) { return ok(sizes), nil }

func (s *Sim) listImages(c *call) (answer, func()) {
	if c.params.text("type") == "custom" { // own images: there are none
		return ok([]*diskImage{}), nil
	}
	return ok(images), nil
}

func (s *Sim) image(c *call) (answer, func()) {
	m := imageNamed(c.id)
	if m == nil {
		return s.refuse("database_disk_image_not_found", "the disk image %s was not found", c.id), nil
	}
	return ok(m), nil
}
