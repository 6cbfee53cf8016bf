package main

import (
	"bytes"
	"os"
	"testing"
)

// What ends the daemon in worker/crash is in a build with the tag crashpoints only.
func TestTheBinaryHasNoCrashPoints(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(binary(t, "nightshift"))
	if err != nil {
		t.Fatal(err)
	}
	for _, trace := range []string{"CRASH_AT", "started-stored"} {
		if bytes.Contains(program, []byte(trace)) {
			t.Errorf("%q is in the binary", trace)
		}
	}
}
