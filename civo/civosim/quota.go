package civosim

import (
	"cmp"
	"fmt"
	"strings"
)

// Quota is what an account may use at most, over all regions. A stopped
// instance counts like a running one.
type Quota struct {
	Instances      int `json:"instances"`
	CPUCores       int `json:"cpu_cores"`
	RAMMB          int `json:"ram_mb"`
	DiskGB         int `json:"disk_gb"`
	Volumes        int `json:"volumes"`
	PublicIPs      int `json:"public_ips"`
	Networks       int `json:"networks"`
	SecurityGroups int `json:"security_groups"`
}

func (q Quota) orDefaults() Quota {
	const plenty = 200_000
	return Quota{
		Instances: cmp.Or(q.Instances, plenty), CPUCores: cmp.Or(q.CPUCores, 8*plenty),
		RAMMB: cmp.Or(q.RAMMB, 32768*plenty), DiskGB: cmp.Or(q.DiskGB, 200*plenty),
		Volumes: cmp.Or(q.Volumes, plenty), PublicIPs: cmp.Or(q.PublicIPs, plenty),
		Networks: cmp.Or(q.Networks, 1000), SecurityGroups: cmp.Or(q.SecurityGroups, 1000),
	}
}

// hold counts an instance in (sign 1) or out (sign -1).
func (q *Quota) hold(in *instance, sign int) {
	q.Instances += sign
	q.size(in.held, sign)
	if in.rec.public {
		q.PublicIPs += sign
	}
}

// size counts a size in or out.
func (q *Quota) size(z *size, sign int) {
	q.CPUCores += sign * z.CPUCores
	q.RAMMB += sign * z.RAMMB
	q.DiskGB += sign * z.DiskGB
}

// exceeded says what a usage of plus more would exceed, one line per item, or "".
func (q Quota) exceeded(usage, plus Quota) string {
	var lines []string
	for _, item := range []struct {
		name               string
		limit, usage, plus int
	}{
		{"instances", q.Instances, usage.Instances, plus.Instances},
		{"CPU cores", q.CPUCores, usage.CPUCores, plus.CPUCores},
		{"MB of RAM", q.RAMMB, usage.RAMMB, plus.RAMMB},
		{"GB of disk", q.DiskGB, usage.DiskGB, plus.DiskGB},
		{"volumes", q.Volumes, usage.Volumes, plus.Volumes},
		{"public IP addresses", q.PublicIPs, usage.PublicIPs, plus.PublicIPs},
		{"networks", q.Networks, usage.Networks, plus.Networks},
		{"firewalls", q.SecurityGroups, usage.SecurityGroups, plus.SecurityGroups},
	} {
		if item.plus > 0 && item.usage+item.plus > item.limit {
			lines = append(lines, fmt.Sprintf("Your quota of %d %s is not enough for %d in use and %d more", item.limit, item.name, item.usage, item.plus))
		}
	}
	return strings.Join(lines, "\n")
}

type quotaJSON struct {
	ID                    string `json:"id"`
	DefaultUserID         string `json:"default_user_id"`
	DefaultUserEmail      string `json:"default_user_email_address"`
	InstanceLimit         int    `json:"instance_count_limit"`
	InstanceUsage         int    `json:"instance_count_usage"`
	CPULimit              int    `json:"cpu_core_limit"`
	CPUUsage              int    `json:"cpu_core_usage"`
	RAMLimit              int    `json:"ram_mb_limit"`
	RAMUsage              int    `json:"ram_mb_usage"`
	DiskLimit             int    `json:"disk_gb_limit"`
	DiskUsage             int    `json:"disk_gb_usage"`
	VolumeLimit           int    `json:"disk_volume_count_limit"`
	VolumeUsage           int    `json:"disk_volume_count_usage"`
	SnapshotLimit         int    `json:"disk_snapshot_count_limit"`
	SnapshotUsage         int    `json:"disk_snapshot_count_usage"`
	PublicIPLimit         int    `json:"public_ip_address_limit"`
	PublicIPUsage         int    `json:"public_ip_address_usage"`
	SubnetLimit           int    `json:"subnet_count_limit"`
	SubnetUsage           int    `json:"subnet_count_usage"`
	NetworkLimit          int    `json:"network_count_limit"`
	NetworkUsage          int    `json:"network_count_usage"`
	SecurityGroupLimit    int    `json:"security_group_limit"`
	SecurityGroupUsage    int    `json:"security_group_usage"`
	SecurityRuleLimit     int    `json:"security_group_rule_limit"`
	SecurityRuleUsage     int    `json:"security_group_rule_usage"`
	PortLimit             int    `json:"port_count_limit"`
	PortUsage             int    `json:"port_count_usage"`
	LoadbalancerLimit     int    `json:"loadbalancer_count_limit"`
	LoadbalancerUsage     int    `json:"loadbalancer_count_usage"`
	ObjectstoreLimit      int    `json:"objectstore_gb_limit"`
	ObjectstoreUsage      int    `json:"objectstore_gb_usage"`
	DatabaseLimit         int    `json:"database_count_limit"`
	DatabaseUsage         int    `json:"database_count_usage"`
	DatabaseSnapshotLimit int    `json:"database_snapshot_count_limit"`
	DatabaseSnapshotUsage int    `json:"database_snapshot_count_usage"`
	DatabaseCPULimit      int    `json:"database_cpu_core_limit"`
	DatabaseCPUUsage      int    `json:"database_cpu_core_usage"`
	DatabaseRAMLimit      int    `json:"database_ram_mb_limit"`
	DatabaseRAMUsage      int    `json:"database_ram_mb_usage"`
	DatabaseDiskLimit     int    `json:"database_disk_gb_limit"`
	DatabaseDiskUsage     int    `json:"database_disk_gb_usage"`
}

func (s *Sim) quota(*call) (answer, func()) {
	l, u := s.o.Quota, s.usage
	rules := 0
	for _, r := range s.regions {
		for _, fw := range r.firewalls {
			rules += len(fw.Rules)
		}
	}
	return ok(quotaJSON{
		ID: s.id, DefaultUserID: s.user, DefaultUserEmail: "simulated@example.com",
		InstanceLimit: l.Instances, InstanceUsage: u.Instances, CPULimit: l.CPUCores, CPUUsage: u.CPUCores,
		RAMLimit: l.RAMMB, RAMUsage: u.RAMMB, DiskLimit: l.DiskGB, DiskUsage: u.DiskGB,
		VolumeLimit: l.Volumes, VolumeUsage: u.Volumes, SnapshotLimit: 0, PublicIPLimit: l.PublicIPs, PublicIPUsage: u.PublicIPs,
		SubnetLimit: l.Networks, SubnetUsage: u.Networks, NetworkLimit: l.Networks, NetworkUsage: u.Networks,
		SecurityGroupLimit: l.SecurityGroups, SecurityGroupUsage: u.SecurityGroups, SecurityRuleLimit: 100 * l.SecurityGroups, SecurityRuleUsage: rules,
		PortLimit: 2 * l.Instances, PortUsage: u.Instances, LoadbalancerLimit: 16, ObjectstoreLimit: 1000, DatabaseLimit: 4,
		DatabaseSnapshotLimit: 20, DatabaseCPULimit: 10, DatabaseRAMLimit: 20480, DatabaseDiskLimit: 200,
	}), nil
}
