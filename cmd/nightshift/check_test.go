package main

import (
	"os"
	"regexp"
	"testing"

	"nightshift/policies"
)

// TestThePageOnCheckingNamesEachRule keeps the table in step with the code.
func TestThePageOnCheckingNamesEachRule(t *testing.T) {
	text, err := os.ReadFile("../../docs/checking.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|[^|]*\\|[^|]*\\| (.*) \\|$").FindAllStringSubmatch(string(text), -1) {
		rows = append(rows, m[1:])
	}
	if len(rows) != len(policies.LintRules) {
		t.Fatalf("the page has %d rules, want %d", len(rows), len(policies.LintRules))
	}
	for i, r := range policies.LintRules {
		if rows[i][0] != r.Name || rows[i][1] != r.About {
			t.Errorf("row %d: got %q, want %+v", i, rows[i], r)
		}
	}
}
