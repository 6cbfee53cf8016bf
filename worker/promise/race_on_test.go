//go:build race

package promise_test

const (
	// fewSeeds is how many seeds TestSimulation tries unless told otherwise: with the
	// race detector each takes some ten times as long.
	fewSeeds = 4
	// procs is how many threads run a bubble: with one there would be no race to see.
	procs = 2
)
