//go:build race

package promise_test

// fewSeeds is how many seeds TestSimulation tries unless told otherwise: with the
// race detector each takes some ten times as long.
const fewSeeds = 4
