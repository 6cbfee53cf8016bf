//go:build !race

package promise_test

const (
	// fewSeeds is how many seeds TestSimulation tries unless told otherwise.
	fewSeeds = 24
	// procs is how many threads run a bubble. In it one thing happens after another:
	// more threads only hand it to each other, at nearly twice the cost.
	procs = 1
)
