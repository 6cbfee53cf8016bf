//go:build race

package crash

// isRaced builds the daemons, too, with the race detector.
const isRaced = true
