package civo

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the API signs with it
	"encoding/hex"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
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
	ID           string `json:"id"`
	Name         string `json:"name"`
	Distribution string `json:"distribution"`
	InitialUser  string `json:"initial_user"`
}

// SSHKey is an uploaded public key (GET /v2/sshkeys).
type SSHKey struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	PublicKey   string `json:"public_key"`
}

// Volume is a separate disk (GET /v2/volumes). It outlives the instance that it
// was attached to and goes on costing.
type Volume struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	InstanceID string `json:"instance_id"`
	NetworkID  string `json:"network_id"`
	Status     string `json:"status"`
	SizeGB     int    `json:"size_gb"`
	Bootable   bool   `json:"bootable"`
	Mountpoint string `json:"mountpoint"`
}

// ReservedIP is a reserved address (GET /v2/ips). It costs as long as it exists.
type ReservedIP struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	IP         string `json:"ip"`
	AssignedTo struct {
		ID   string `json:"id"`
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"assigned_to"`
}

// Charge is a span of use (GET /v2/charges): hours, not money. Stopped hours
// count like running ones.
type Charge struct {
	Code     string    `json:"code"` // "instance-g3.small", "volume"
	Label    string    `json:"label"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	NumHours int       `json:"num_hours"`
	SizeGB   int       `json:"size_gb"`
	Region   string    `json:"region"`
}

// AuditAction is an entry of the account's audit trail (GET /v2/actions): the
// only way to see who else acted, and not part of any contract.
type AuditAction struct {
	ID          int    `json:"id"`
	CreatedAt   string `json:"created_at"`
	UserID      string `json:"user_id"`
	Type        string `json:"type"`
	Details     string `json:"details"`
	RelatedID   string `json:"related_id"`
	RelatedType string `json:"related_type"`
}

// Webhook is where the account's events are posted (GET /v2/webhooks).
type Webhook struct {
	ID                string   `json:"id"`
	Events            []string `json:"events"`
	URL               string   `json:"url"`
	Secret            Secret   `json:"secret"`
	Disabled          bool     `json:"disabled"`
	Failures          int      `json:"failures"`
	LastFailureReason string   `json:"last_failure_reason"`
}

// Regions lists all regions.
func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	return get[Region](ctx, c, "list regions", "/regions", "", nil)
}

// Sizes lists the sizes of a region.
func (c *Client) Sizes(ctx context.Context, region string) ([]Size, error) {
	return get[Size](ctx, c, "list sizes", "/sizes", region, nil)
}

// Networks lists the networks of a region.
func (c *Client) Networks(ctx context.Context, region string) ([]Network, error) {
	return get[Network](ctx, c, "list networks", "/networks", region, nil)
}

// Firewalls lists the firewalls of a region.
func (c *Client) Firewalls(ctx context.Context, region string) ([]Firewall, error) {
	return get[Firewall](ctx, c, "list firewalls", "/firewalls", region, nil)
}

// DiskImages lists the disk images of a region.
func (c *Client) DiskImages(ctx context.Context, region string) ([]DiskImage, error) {
	return get[DiskImage](ctx, c, "list disk images", "/disk_images", region, nil)
}

// SSHKeys lists the account's public keys.
func (c *Client) SSHKeys(ctx context.Context) ([]SSHKey, error) {
	return get[SSHKey](ctx, c, "list SSH keys", "/sshkeys", "", nil)
}

// Volumes lists the volumes of a region.
func (c *Client) Volumes(ctx context.Context, region string) ([]Volume, error) {
	return get[Volume](ctx, c, "list volumes", "/volumes", region, nil)
}

// AttachVolume attaches a volume to an instance of its region.
func (c *Client) AttachVolume(ctx context.Context, region, volume, instance string) error {
	return c.put(ctx, "attach volume "+volume, region, instance, "/volumes/"+url.PathEscape(volume)+"/attach", url.Values{"instance_id": {instance}})
}

// DetachVolume detaches a volume from its instance.
func (c *Client) DetachVolume(ctx context.Context, region, volume string) error {
	return c.put(ctx, "detach volume "+volume, region, "", "/volumes/"+url.PathEscape(volume)+"/detach", url.Values{})
}

// ReservedIPs iterates over the reserved addresses of a region.
func (c *Client) ReservedIPs(ctx context.Context, region string) iter.Seq2[ReservedIP, error] {
	return paged[ReservedIP](ctx, c, "list reserved addresses", "/ips", region, nil, func(ip ReservedIP) string { return ip.ID })
}

// AssignIP gives a reserved address to an instance.
func (c *Client) AssignIP(ctx context.Context, region, ip, instance string) error {
	return c.put(ctx, "assign address "+ip, region, instance, "/ips/"+url.PathEscape(ip)+"/actions", url.Values{"action": {"assign"}, "assign_to_id": {instance}, "assign_to_type": {"instance"}})
}

// UnassignIP takes a reserved address from its instance.
func (c *Client) UnassignIP(ctx context.Context, region, ip string) error {
	return c.put(ctx, "unassign address "+ip, region, "", "/ips/"+url.PathEscape(ip)+"/actions", url.Values{"action": {"unassign"}})
}

// Charges lists what was used between two times, at most 31 days apart.
func (c *Client) Charges(ctx context.Context, from, to time.Time) ([]Charge, error) {
	if d := to.Sub(from); d <= 0 || d > 31*24*time.Hour {
		return nil, invalid("list charges", "", "", "from and to must be at most 31 days apart, from first")
	}
	return get[Charge](ctx, c, "list charges", "/charges", "", url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}})
}

// Actions iterates over the account's audit trail, of one resource when its id is
// not empty, newest first.
func (c *Client) Actions(ctx context.Context, resource string) iter.Seq2[AuditAction, error] {
	query := url.Values{}
	if resource != "" {
		query.Set("resource_id", resource)
	}
	return paged[AuditAction](ctx, c, "list actions", "/actions", "", query, func(a AuditAction) string { return strconv.Itoa(a.ID) })
}

// Update names what is to change of an instance; nil stays as it is.
type Update struct {
	Hostname   *string
	Notes      *string
	ReverseDNS *string
}

// Update changes host name, notes or reverse DNS. Only what is given is sent, so
// that a stale copy overwrites nothing.
func (c *Client) Update(ctx context.Context, region, id string, u Update) error {
	form := url.Values{}
	if u.Hostname != nil {
		form.Set("hostname", *u.Hostname)
	}
	if u.ReverseDNS != nil {
		form.Set("reverse_dns", *u.ReverseDNS)
	}
	if u.Notes != nil {
		form.Set("notes", *u.Notes)
		if *u.Notes == "" {
			form.Set("notes_delete", "true")
		}
	}
	if len(form) == 0 {
		return nil
	}
	k, err := onInstance("update", http.MethodPut, region, id, "")
	if err != nil {
		return err
	}
	k.form = form
	return c.do(ctx, k, nil)
}

// Webhooks lists the account's webhooks.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	return get[Webhook](ctx, c, "list webhooks", "/webhooks", "", nil)
}

// CreateWebhook has events ("*" for all) posted to an address, signed with a
// secret. It is sent as JSON, as the official client does: how a form carries a
// list is documented nowhere.
func (c *Client) CreateWebhook(ctx context.Context, address string, events []string, secret string) (Webhook, error) {
	var h Webhook
	if address == "" || len(events) == 0 || secret == "" {
		return h, invalid("create webhook", "", "", "address, events and secret are needed")
	}
	err := c.do(ctx, call{op: "create webhook " + address, method: http.MethodPost, path: "/webhooks", json: true, form: url.Values{"url": {address}, "events[]": events, "secret": {secret}}}, &h)
	return h, err
}

// DeleteWebhook removes a webhook.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	return c.do(ctx, call{op: "delete webhook " + id, method: http.MethodDelete, path: "/webhooks/" + url.PathEscape(id)}, nil)
}

// ErrSignature says that a delivery was not signed with the webhook's secret.
var ErrSignature = errors.New("the signature of the webhook's delivery is wrong")

// VerifyWebhook checks the header X-Civo-Signature of a delivery: the hex
// HMAC-SHA1 of the body with the webhook's secret.
func VerifyWebhook(secret string, body []byte, signature string) error {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write(body)
	got, err := hex.DecodeString(signature)
	if err != nil || secret == "" || !hmac.Equal(got, mac.Sum(nil)) {
		return ErrSignature
	}
	return nil
}

// Quota is the account's limits and usage, by the API's own names
// ("instance_count_limit"). It is one for all regions and lags behind deletions.
func (c *Client) Quota(ctx context.Context) (map[string]any, error) {
	var q map[string]any
	err := c.do(ctx, call{op: "get quota", method: http.MethodGet, path: "/quota"}, &q)
	return q, err
}

func get[T any](ctx context.Context, c *Client, op, path, region string, query url.Values) ([]T, error) {
	var list []T
	err := c.do(ctx, call{op: op, method: http.MethodGet, path: path, region: region, query: query}, &list)
	return list, err
}

func (c *Client) put(ctx context.Context, op, region, instance, path string, form url.Values) error {
	if region == "" {
		return invalid(op, instance, region, "the region is missing")
	}
	return c.do(ctx, call{op: op, method: http.MethodPut, path: path, region: region, instance: instance, form: form}, nil)
}
