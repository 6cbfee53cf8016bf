package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"nightshift/policies/foreign"
)

// observed are questions in the grammars of other tools, with what those answered.
func observed(t testing.TB) []byte {
	t.Helper()
	lines, err := os.ReadFile("../../policies/foreign/testdata/observed.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func batch(t testing.TB, in string) (results []foreign.Result) {
	t.Helper()
	var out bytes.Buffer
	if err := answerBatch(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var r foreign.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		results = append(results, r)
	}
	return results
}

func TestBatchAnswersEachLineOnce(t *testing.T) {
	lines := string(observed(t))
	if got, want := len(batch(t, lines)), strings.Count(lines, "\n"); got != want || want == 0 {
		t.Errorf("got %d answers to %d questions", got, want)
	}
}

func TestBatchGoesOnAfterALineThatCannotBeRead(t *testing.T) {
	good := `{"id":"good","grammar":"native","spec":"08:00-19:00","edge":"window","at":"2026-06-15T10:00:00+02:00"}`
	for _, tt := range []struct{ name, line, id string }{
		{"no JSON", `when?`, ""},
		{"cut off", `{"id":"x","grammar":"nat`, ""},
		{"no instant, before the id", `{"at":"noon","id":"x","grammar":"native","spec":"08:00-19:00","edge":"window"}`, "x"},
		{"no instant, after it", `{"id":"x","grammar":"native","spec":"08:00-19:00","edge":"window","at":"2026-06-15"}`, "x"},
		{"no instant at all", `{"id":"x","grammar":"native","spec":"08:00-19:00","edge":"window"}`, "x"},
		{"settings that are none", `{"id":"x","grammar":"native","spec":"08:00-19:00","policy":"as","edge":"window","at":"2026-06-15T10:00:00Z"}`, "x"},
		{"an id that is no text", `{"id":7,"grammar":"native","spec":"08:00-19:00","edge":"window","at":"2026-06-15T10:00:00Z"}`, ""},
		{"a list", `[]`, ""},
		{"ten megabytes", `{"id":"x","grammar":"kube-downscaler","edge":"window","at":"2026-06-15T10:00:00Z","spec":"` + strings.Repeat("x", 10<<20) + `"}`, "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := batch(t, "\n"+tt.line+"\n \n"+good) // the last without its line feed
			if len(got) != 2 {
				t.Fatalf("got %d answers, want 2", len(got))
			}
			if got[0].ID != tt.id || got[0].Result != "error" || got[0].Reason == "" {
				t.Errorf("got %.80v, want an error with a reason for %q", got[0], tt.id)
			}
			if got[1].ID != "good" || got[1].Result != true {
				t.Errorf("after it: got %v", got[1])
			}
		})
	}
}

// BenchmarkBatch answers a file of all grammars; lines/s is the figure.
func BenchmarkBatch(b *testing.B) {
	lines := observed(b)
	count := bytes.Count(lines, []byte("\n"))
	for b.Loop() {
		if err := answerBatch(bytes.NewReader(lines), io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func TestATagIsExplainedAsThePoliciesReadIt(t *testing.T) {
	for _, tt := range []struct{ tag, spec, want string }{
		{"nightshift.hours", "Mon-Fri 08:00-19:00, Sat 10:00-14:00", "As a tag: nightshift.hours=Mon-Fri_08:00-19:00;Sat_10:00-14:00"},
		{"nightshift.hours", "30 5 * * MON-FRI", "error: a tag holds hours"},
		{"nightshift.hours", "office", "error: \"office\""},
		{"nightshift.schedule", "office", "As a tag: nightshift.schedule=office"},
		{"nightshift.schedule", "08:00-19:00", "As a tag: nightshift.schedule=08:00-19:00"},
		{"nightshift.keep", "running@2026-11-27 22:00", "As a tag: nightshift.keep=running@2026-11-27_22:00"},
		{"", "30 5 * * MON-FRI", "fires"},
	} {
		var out bytes.Buffer
		w := whenFlags{timezone: "UTC", at: "2026-11-27", tag: tt.tag, grammar: foreign.Native, next: 1}
		if err := w.explain(&out, tt.spec); err != nil {
			out.Reset()
			out.WriteString("error: " + err.Error())
		}
		if !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s %s: got %q, want %q", tt.tag, tt.spec, out.String(), tt.want)
		}
	}
}
