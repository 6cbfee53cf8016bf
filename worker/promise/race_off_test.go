//go:build !race

package promise_test

// fewSeeds is how many seeds TestSimulation tries unless told otherwise.
const fewSeeds = 24
