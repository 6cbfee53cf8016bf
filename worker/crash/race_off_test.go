//go:build !race

package crash

const isRaced = false
