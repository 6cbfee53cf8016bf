package configs

import (
	"strconv"

	"go.yaml.in/yaml/v3"

	"nightshift/policies"
)

// readFloors reads how many instances stay running.
func (r *reader) readFloors(n *yaml.Node, path string) {
	r.each(n, path, func(c *yaml.Node, sub string) {
		var f policies.Floor
		before := len(r.faults)
		nodes := r.mapping(c, sub, &floorShape, keys{
			"select":  func(c *yaml.Node, sub string) { f.Select = r.readSelector(c, sub) },
			"running": r.whole(&f.Running, anyCount),
		})
		switch {
		case nodes == nil || len(r.faults) > before:
		case nodes["select"] == nil:
			r.fault(c, join(sub, "select"), `name a tag: select: { all: [role=web] }`, "the floor has no selector")
		case nodes["running"] == nil:
			r.fault(c, join(sub, "running"), "such as running: 2", "the floor says of no number how many stay running")
		case len(f.Select.Status) > 0:
			r.fault(nodes["select"], join(sub, "select.status"), "leave the status out", "a floor counts what is running: what it selects by status would leave it by being stopped")
		default:
			r.cfg.Policies.Floors = append(r.cfg.Policies.Floors, f)
		}
	})
}

// share reads a part of a whole.
func (r *reader) share(into *float64) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		s, ok := r.text(n, path)
		if !ok {
			return
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v > 0 && v <= 1) {
			r.fault(n, path, "a number above 0, at most 1, such as 0.5 for the half", "%q is no share", s)
			return
		}
		*into = v
	}
}
