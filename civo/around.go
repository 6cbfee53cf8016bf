package civo

import (
	"context"
	"net/http"
	"net/url"
)

// Region is a place where instances run (GET /v2/regions).
type Region struct {
	Code          string `json:"code"`
	Name          string `json:"name"`
	OutOfCapacity bool   `json:"out_of_capacity"`
	Default       bool   `json:"default"`
}

// Size is a size of instances (GET /v2/sizes). The API names no price.
type Size struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	CPUCores   int    `json:"cpu_cores"`
	RAMMB      int    `json:"ram_mb"`
	DiskGB     int    `json:"disk_gb"`
	Selectable bool   `json:"selectable"`
}

// Network is a private network of a region (GET /v2/networks).
type Network struct {
	ID      string `json:"id"`
	Label   string `json:"label"`
	Default bool   `json:"default"`
}

// Firewall is a set of rules for the instances of its own network (GET /v2/firewalls).
type Firewall struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	NetworkID string `json:"network_id"`
}

// DiskImage is what an instance is built from (GET /v2/disk_images).
type DiskImage struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Regions lists all regions.
func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	return get[Region](ctx, c, "list regions", "/regions", "")
}

// Sizes lists the sizes of a region.
func (c *Client) Sizes(ctx context.Context, region string) ([]Size, error) {
	return get[Size](ctx, c, "list sizes", "/sizes", region)
}

// Networks lists the networks of a region.
func (c *Client) Networks(ctx context.Context, region string) ([]Network, error) {
	return get[Network](ctx, c, "list networks", "/networks", region)
}

// Firewalls lists the firewalls of a region.
func (c *Client) Firewalls(ctx context.Context, region string) ([]Firewall, error) {
	return get[Firewall](ctx, c, "list firewalls", "/firewalls", region)
}

// DiskImages lists the disk images of a region.
func (c *Client) DiskImages(ctx context.Context, region string) ([]DiskImage, error) {
	return get[DiskImage](ctx, c, "list disk images", "/disk_images", region)
}

// Quota is the account's limits and usage, by the API's own names
// ("instance_count_limit"). It is one for all regions and lags behind deletions.
func (c *Client) Quota(ctx context.Context) (map[string]any, error) {
	var q map[string]any
	err := c.do(ctx, call{op: "get quota", method: http.MethodGet, path: "/quota"}, &q)
	return q, err
}

func get[T any](ctx context.Context, c *Client, op, path, region string) ([]T, error) {
	var list []T
	err := c.do(ctx, call{op: op, method: http.MethodGet, path: path, region: region, query: url.Values{}}, &list)
	return list, err
}
