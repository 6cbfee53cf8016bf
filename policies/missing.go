package policies

import (
	"cmp"
	"slices"
	"strings"
)

// maxMeant is how many instances are offered for a name that is none's id.
const maxMeant = 3

// Meant says which instances may be meant by an id that none of a region has: one of
// that host name, the same in another region, or nearly so. It begins with "; " and is
// empty when there is none.
func Meant(inv []Instance, id string) string {
	if named := named(inv, id); named != "" {
		return named
	}
	hosts := make([]string, len(inv))
	for n, i := range inv {
		hosts[n] = i.Hostname
	}
	near := Nearest(id, hosts)
	if near == "" {
		return ""
	}
	return "; is " + near + " meant, whose id is " + inv[slices.Index(hosts, near)].ID + "?"
}

// named is Meant without what is only nearly so, for what comes in great numbers.
func named(inv []Instance, id string) string {
	var ids []string
	for _, i := range inv {
		switch {
		case i.ID == id:
			return "; it is in " + i.Region
		case i.Hostname != "" && strings.EqualFold(i.Hostname, id):
			ids = append(ids, i.ID+" in "+i.Region)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	slices.Sort(ids)
	more := ""
	if len(ids) > maxMeant {
		ids, more = ids[:maxMeant], ", …"
	}
	return "; it is a host name, and an id is needed: " + strings.Join(ids, ", ") + more
}

// Alike are the host names of an inventory that a name is perhaps meant for: those that
// contain it, and the one that is spelt nearly so; n at most.
func Alike(inv []Instance, name string, n int) []string {
	var hosts, alike []string
	for _, i := range inv {
		if strings.Contains(strings.ToLower(i.Hostname), strings.ToLower(name)) && !slices.Contains(alike, i.Hostname) {
			alike = append(alike, i.Hostname)
		}
		hosts = append(hosts, i.Hostname)
	}
	if near := Nearest(name, hosts); near != "" && !slices.Contains(alike, near) {
		alike = append([]string{near}, alike...)
	}
	slices.SortStableFunc(alike, func(a, b string) int { return cmp.Compare(letters(name, a), letters(name, b)) })
	return alike[:min(n, len(alike))]
}
