package civo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Secret is a value that prints as "redacted" wherever it is printed, logged or
// encoded. Reveal it by name.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String, GoString and MarshalJSON never show the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "redacted"
}

// GoString is String: %#v must not show it either.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalJSON encodes "redacted", or "" when there is none.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Instance is a virtual server as the API returns it (civo.com/api/instances,
// with the fields that only the official client knows). Addresses that are null
// are empty.
type Instance struct {
	ID              string    `json:"id"`
	Name            string    `json:"name,omitempty"`
	Hostname        string    `json:"hostname"`
	AccountID       string    `json:"account_id,omitempty"`
	Region          string    `json:"region,omitempty"` // absent in the page's own samples
	Size            string    `json:"size"`
	FirewallID      string    `json:"firewall_id,omitempty"`
	SourceType      string    `json:"source_type,omitempty"`
	SourceID        string    `json:"source_id,omitempty"` // name of the disk image
	TemplateID      string    `json:"template_id,omitempty"`
	NetworkID       string    `json:"network_id,omitempty"`
	InitialUser     string    `json:"initial_user,omitempty"`
	InitialPassword Secret    `json:"initial_password,omitempty"`
	SSHKey          string    `json:"ssh_key,omitempty"`
	SSHKeyID        string    `json:"ssh_key_id,omitempty"`
	Tags            []string  `json:"tags"`
	UserScript      string    `json:"user_script,omitempty"` // base64
	Script          string    `json:"script,omitempty"`      // base64; the official client's name for it
	Status          string    `json:"status"`
	CivostatsdToken Secret    `json:"civostatsd_token,omitempty"`
	PublicIP        string    `json:"public_ip,omitempty"`
	PrivateIP       string    `json:"private_ip,omitempty"`
	IPv6            string    `json:"ipv6,omitempty"`
	NamespaceID     string    `json:"namespace_id,omitempty"`
	Notes           string    `json:"notes,omitempty"`
	ReverseDNS      string    `json:"reverse_dns,omitempty"`
	CPUCores        int       `json:"cpu_cores"`
	RAMMB           int       `json:"ram_mb"`
	DiskGB          int       `json:"disk_gb"`
	CreatedAt       time.Time `json:"created_at,omitzero"`
}

// UnmarshalJSON bears what the API has been seen to send: nulls, an empty
// created_at, numbers written as strings.
func (i *Instance) UnmarshalJSON(data []byte) error {
	type plain Instance
	aux := struct {
		*plain
		CPUCores  looseInt  `json:"cpu_cores"`
		RAMMB     looseInt  `json:"ram_mb"`
		DiskGB    looseInt  `json:"disk_gb"`
		CreatedAt looseTime `json:"created_at"`
	}{plain: (*plain)(i)}
	if err := json.Unmarshal(data, &aux); err != nil {
		return err
	}
	i.CPUCores, i.RAMMB, i.DiskGB = int(aux.CPUCores), int(aux.RAMMB), int(aux.DiskGB)
	i.CreatedAt = time.Time(aux.CreatedAt)
	return nil
}

type looseInt int

func (n *looseInt) UnmarshalJSON(data []byte) error {
	s := strings.Trim(string(data), `"`)
	if s == "" || s == "null" {
		return nil
	}
	v, err := strconv.Atoi(s)
	if err != nil {
		return fmt.Errorf("%s is not a whole number", data)
	}
	*n = looseInt(v)
	return nil
}

type looseTime time.Time

func (t *looseTime) UnmarshalJSON(data []byte) error {
	s := strings.Trim(string(data), `"`)
	if s == "" || s == "null" {
		return nil
	}
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("created_at: %w", err)
	}
	*t = looseTime(v)
	return nil
}

// ListOptions narrow a list.
type ListOptions struct {
	Tags    []string // all of them
	PerPage int      // default 500
}

// Instances iterates over the instances of a region, page by page. An instance
// that moves from one page to another while they are read is neither lost nor
// seen twice: where the set changed, the pages are read again.
// The first error ends the iteration.
func (c *Client) Instances(ctx context.Context, region string, o ListOptions) iter.Seq2[Instance, error] {
	query := url.Values{}
	if o.PerPage > 0 {
		query.Set("per_page", strconv.Itoa(o.PerPage))
	}
	if len(o.Tags) > 0 {
		query.Set("tags", strings.Join(o.Tags, " "))
	}
	return paged(ctx, c, "list instances", "/instances", region, query, func(i Instance) string { return i.ID })
}

// ListInstances returns the complete list of a region, or an error: never a part.
func (c *Client) ListInstances(ctx context.Context, region string) ([]Instance, error) {
	var all []Instance
	for i, err := range c.Instances(ctx, region, ListOptions{}) {
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

// Instance returns one instance.
func (c *Client) Instance(ctx context.Context, region, id string) (Instance, error) {
	var i Instance
	k, err := onInstance("get", http.MethodGet, region, id, "")
	if err != nil {
		return i, err
	}
	err = c.do(ctx, k, &i)
	return i, err
}

// CreateOptions describe a new instance (civo.com/api/instances, "Create an instance").
type CreateOptions struct {
	Hostname    string // required, fully qualified
	Size        string // required
	NetworkID   string // required
	TemplateID  string // required: id of a disk image
	Count       int    // 0: 1. The answer is one object; find the others by listing
	FirewallID  string // empty: the network's default firewall, open to all
	ReverseDNS  string
	PublicIP    string // "create" (default) or "none"
	InitialUser string
	SSHKeyID    string
	Script      string // plain text
	Tags        []string
}

// Create makes an instance; it is BUILDING when the answer comes. A create
// whose answer is lost is [ErrAmbiguous] and must not be repeated blindly: list,
// and compare host name and a tag that is unique to the attempt.
func (c *Client) Create(ctx context.Context, region string, o CreateOptions) (Instance, error) {
	var i Instance
	for _, f := range []struct{ name, value string }{{"hostname", o.Hostname}, {"size", o.Size}, {"network_id", o.NetworkID}, {"template_id", o.TemplateID}, {"region", region}} {
		if f.value == "" {
			return i, invalid("create instance "+o.Hostname, "", region, f.name+" is missing")
		}
	}
	if err := checkTags(o.Tags); err != nil {
		return i, invalid("create instance "+o.Hostname, "", region, err.Error())
	}
	form := url.Values{"hostname": {o.Hostname}, "size": {o.Size}, "network_id": {o.NetworkID}, "template_id": {o.TemplateID}}
	for name, value := range map[string]string{
		"firewall_id": o.FirewallID, "reverse_dns": o.ReverseDNS, "public_ip": o.PublicIP, "initial_user": o.InitialUser,
		"ssh_key_id": o.SSHKeyID, "script": o.Script, "tags": strings.Join(o.Tags, " "),
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if o.Count > 1 {
		form.Set("count", strconv.Itoa(o.Count))
	}
	err := c.do(ctx, call{op: "create instance " + o.Hostname, method: http.MethodPost, path: "/instances", region: region, form: form}, &i)
	return i, err
}

// Retag replaces the whole set of tags; none removes all.
func (c *Client) Retag(ctx context.Context, region, id string, tags []string) error {
	if err := checkTags(tags); err != nil {
		return invalid("retag instance "+id, id, region, err.Error())
	}
	k, err := onInstance("retag", http.MethodPut, region, id, "tags")
	if err != nil {
		return err
	}
	k.form = url.Values{"tags": {strings.Join(tags, " ")}}
	return c.do(ctx, k, nil)
}

// checkTags refuses what the space-separated form cannot carry.
func checkTags(tags []string) error {
	for _, t := range tags {
		if t == "" || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fmt.Errorf("tag %q is empty or has a blank", t)
		}
	}
	return nil
}

// HardReboot restarts an instance as by its power switch.
func (c *Client) HardReboot(ctx context.Context, region, id string) error {
	return c.act(ctx, "hard reboot", http.MethodPost, region, id, "hard_reboots")
}

// SoftReboot asks an instance's system to restart.
func (c *Client) SoftReboot(ctx context.Context, region, id string) error {
	return c.act(ctx, "soft reboot", http.MethodPost, region, id, "soft_reboots")
}

// Stop shuts an instance down. It is billed as before. The answer means
// requested; it is SHUTOFF later.
func (c *Client) Stop(ctx context.Context, region, id string) error {
	return c.act(ctx, "stop", http.MethodPut, region, id, "stop")
}

// Start starts a stopped instance. The answer means requested; it is ACTIVE later.
func (c *Client) Start(ctx context.Context, region, id string) error {
	return c.act(ctx, "start", http.MethodPut, region, id, "start")
}

// Resize changes the size, upwards only.
func (c *Client) Resize(ctx context.Context, region, id, size string) error {
	if size == "" {
		return invalid("resize instance "+id, id, region, "the size is missing")
	}
	k, err := onInstance("resize", http.MethodPut, region, id, "resize")
	if err != nil {
		return err
	}
	k.form = url.Values{"size": {size}}
	return c.do(ctx, k, nil)
}

// SetFirewall sets the firewall by its id. A blank id is refused here: to the
// API it would mean the default firewall, open to all.
func (c *Client) SetFirewall(ctx context.Context, region, id, firewallID string) error {
	if strings.TrimSpace(firewallID) == "" {
		return invalid("set firewall of instance "+id, id, region, "the firewall's id is blank, which would open the default firewall")
	}
	k, err := onInstance("set firewall of", http.MethodPut, region, id, "firewall")
	if err != nil {
		return err
	}
	k.form = url.Values{"firewall_id": {firewallID}}
	return c.do(ctx, k, nil)
}

// Delete removes an instance and its disk, at once and for ever. When an answer
// is lost it looks: an instance that is gone from a complete list, or on its way,
// is deleted; one that is still there is asked for once more.
func (c *Client) Delete(ctx context.Context, region, id string) error {
	err := c.act(ctx, "delete", http.MethodDelete, region, id, "")
	for range DefaultRetries {
		if !errors.Is(err, ErrAmbiguous) {
			return err
		}
		all, listErr := c.ListInstances(ctx, region)
		if listErr != nil {
			return err // still ambiguous: nobody could look
		}
		at := slices.IndexFunc(all, func(i Instance) bool { return i.ID == id })
		if at < 0 || all[at].Status == "DELETING" {
			return nil
		}
		err = c.act(ctx, "delete", http.MethodDelete, region, id, "")
	}
	return err
}

func (c *Client) act(ctx context.Context, verb, method, region, id, sub string) error {
	k, err := onInstance(verb, method, region, id, sub)
	if err != nil {
		return err
	}
	return c.do(ctx, k, nil)
}

func onInstance(verb, method, region, id, sub string) (call, error) {
	op := verb + " instance " + id
	switch {
	case id == "":
		return call{}, invalid(op, id, region, "the id is missing")
	case region == "":
		return call{}, invalid(op, id, region, "the region is missing: without it the API answers not found")
	}
	path := "/instances/" + url.PathEscape(id)
	if sub != "" {
		path += "/" + sub
	}
	return call{op: op, method: method, path: path, region: region, instance: id}, nil
}

func invalid(op, instance, region, reason string) error {
	return &Error{Op: op, Instance: instance, Region: region, Reason: reason, Err: errNotAsked, kind: ErrInvalid}
}

var errNotAsked = errors.New("nothing was sent")
