package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"nightshift/cmd/nightshift/chaos"
)

// Scripts read the exit code and the last line; people read above it what to look
// at, and how to see it again.
func TestABrokenPromiseIsTheLastLineAndTheExitCode(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	v := &chaos.Verdict{Seed: 7, Dir: "evidence", Doubled: 1}
	for range chaosShown + 2 {
		v.Breaches = append(v.Breaches, "one outcome: stop of dev-1 has two")
	}
	err := concludeChaos(&said, chaos.Options{For: time.Minute, Seed: 7, Config: "mine.yaml", Replicas: 3, Errors: 0.3, Lost: 0.1}, v)
	if code := report(&strings.Builder{}, nil, err); !errors.Is(err, errSilent) || code != exitFailed {
		t.Errorf("error %v, exit code %d, want %d without a further word", err, code, exitFailed)
	}
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "promise broken 14 times: ") || !strings.HasSuffix(last, ", 1 doubled, 0 lost, ready again in 0s, seed 7") {
		t.Errorf("the last line is %q", last)
	}
	for _, want := range []string{
		"BROKEN: one outcome: stop of dev-1 has two", "and 2 more, in breaches.txt", "the store are in evidence",
		"again: nightshift chaos --for 1m0s --seed 7 --config mine.yaml --replicas 3 --errors 0.3 --lost 0.1",
	} {
		if !strings.Contains(said.String(), want+"\n") {
			t.Errorf("it does not say %q:\n%s", want, said.String())
		}
	}
}
