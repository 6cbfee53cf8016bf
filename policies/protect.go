package policies

import (
	"slices"
	"strings"
)

// Machine identifies the machine that Nightshift runs on, so that it does not
// switch itself off.
type Machine struct {
	Hostname  string
	Addresses []string // of its interfaces, without loopback
}

// Is reports whether an instance is this machine: a public address of the
// instance is on an interface here, or its private address is and the host name
// is the same. A private address alone proves nothing, for there are many
// networks with the same. Inside a container neither may be seen: tag the
// instance and protect it.
func (m Machine) Is(i Instance) bool { return m.is(&i) }

func (m *Machine) is(i *Instance) bool {
	if i.PublicIP != "" && slices.Contains(m.Addresses, i.PublicIP) {
		return true
	}
	return i.PrivateIP != "" && slices.Contains(m.Addresses, i.PrivateIP) && sameHost(m.Hostname, i.Hostname)
}

// sameHost compares host names by their first label, which is all that some
// systems report.
func sameHost(a, b string) bool {
	a, _, _ = strings.Cut(a, ".")
	b, _, _ = strings.Cut(b, ".")
	return a != "" && strings.EqualFold(a, b)
}

// Untouchable is why an instance is never touched, whoever asks: it is a node of
// a Kubernetes cluster, matches protect, or is the machine that Nightshift runs on.
// The reason is empty when it may be touched.
func (s *Set) Untouchable(i Instance) (reason Reason, detail string) { return s.untouchable(&i) }

func (s *Set) untouchable(i *Instance) (reason Reason, detail string) {
	switch {
	case isClusterNode(i.Tags):
		return ReasonCluster, "it is a node of a Kubernetes cluster"
	case s.Protect.matches(i):
		return ReasonProtected, "it matches protect (" + s.Protect.String() + ")"
	case s.Protect.mayMatch(i):
		return ReasonProtected, "whether it matches protect cannot be told (" + s.Protect.String() + ")"
	case s.Self.is(i):
		return ReasonProtected, "it is the machine that nightshift runs on"
	}
	return "", ""
}
