package configs

import (
	"fmt"
	"math"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Size is a number of bytes.
type Size int64

// DefaultEventsSize is what nats.events_size is by default, as it is written.
const DefaultEventsSize = "1GiB"

const defaultEventsSize Size = 1 << 30

// minSize is the least that makes sense of what has to be remembered while it is in
// work.
const minSize = 100 << 20

var sizeForm = regexp.MustCompile(`^([1-9][0-9]*)(MiB|GiB|TiB)$`)

// ParseSize reads a size: 500MiB, 2GiB.
func ParseSize(s string) (Size, error) {
	parts := sizeForm.FindStringSubmatch(s)
	if parts == nil {
		return 0, fmt.Errorf("%q is no size: write it as 500MiB or 2GiB", s)
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	unit := map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[parts[2]]
	if err != nil || n > math.MaxInt64/1024/unit {
		return 0, fmt.Errorf("%q is more than there can be", s)
	}
	if n*unit < minSize {
		return 0, fmt.Errorf("%q is too little: what is in work would be forgotten; at least 100MiB", s)
	}
	return Size(n * unit), nil
}

func (r *reader) size(into *Size) func(*yaml.Node, string) {
	return func(n *yaml.Node, path string) {
		s, ok := r.text(n, path)
		if !ok {
			return
		}
		size, err := ParseSize(s)
		if err != nil {
			r.fault(n, path, "", "%v", err)
			return
		}
		*into = size
	}
}
