package foreign_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"nightshift/policies/foreign"
)

// testdata/observed.jsonl holds questions made at random in each grammar, with the
// answers that the other tool's own functions gave, run with dateutil and pytz. A
// line has the form of nightshift when --batch, with source and expect beside it.
func TestObserved(t *testing.T) {
	file, err := os.ReadFile("testdata/observed.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for line := range bytes.Lines(file) {
		var row struct {
			foreign.Question
			Expect any `json:"expect"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		counts[row.Grammar]++
		if got := foreign.Answer(row.Question); got.Result != row.Expect {
			t.Errorf("got %v (%s), want %v: %s", got.Result, got.Reason, row.Expect, line)
		}
	}
	for _, grammar := range []string{foreign.CustodianOffhours, foreign.CustodianMark, foreign.KubeDownscaler, foreign.InstanceScheduler} {
		if counts[grammar] < 100 {
			t.Errorf("%s: %d rows", grammar, counts[grammar])
		}
	}
}
