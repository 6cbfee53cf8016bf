package civosim

// ring keeps the newest max values.
type ring[T any] struct {
	max    int
	values []T
	first  int // index of the oldest, once the ring is full
}

func (r *ring[T]) add(v T) {
	if len(r.values) < r.max {
		r.values = append(r.values, v)
		return
	}
	r.values[r.first] = v
	r.first = (r.first + 1) % r.max
}

// all returns the values, oldest first.
func (r *ring[T]) all() []T {
	out := make([]T, 0, len(r.values))
	out = append(out, r.values[r.first:]...)
	return append(out, r.values[:r.first]...)
}
