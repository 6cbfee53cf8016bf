package main

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"nightshift/configs"
	"nightshift/policies"
)

// uncommented is a first file with all its proposals taken up.
func uncommented(text string) string {
	return regexp.MustCompile(`(?m)^#  `).ReplaceAllString(text, "  ")
}

// TestWhateverTheAccountTheFirstFileIsGood: tags and host names are other people's
// words, and none of them may break the file or become a part of it.
func TestWhateverTheAccountTheFirstFileIsGood(t *testing.T) {
	tags := []string{"env=dev", "env=prod", "env=", "=x", "=", "production", "keep-on", "role=web", "dev", "yes", "true", "2026", "null", "a\nmode: act", "x: {y", "#", "*", "[", "a[b]*?", `\`, `"`, "'", "&a", "!!str", "ünïcode=dév",
		"tab\tdev", "comma,dev", "\xff", "env=\u2028dev", "test=dev=qa", "protected=true", "nightshift.hours=Mon-Fri_08:00-19:00", "civo-kubernetes:node", "own", strings.Repeat("dev-", 80)}
	hosts := []string{"dev-1", "dev-2", "dev-10.example.com", "web-1", "web-2", "", "1", "qa\n  - name: evil1", "qa\n  - name: evil2", "test*1", "test*2", "[1", "ünï-1"}
	rapid.Check(t, func(t *rapid.T) {
		var inv []policies.Instance
		for range rapid.IntRange(0, 12).Draw(t, "instances") {
			inv = append(inv, policies.Instance{
				ID: rapid.StringMatching(`[a-z]{8}`).Draw(t, "id"), Hostname: rapid.SampledFrom(hosts).Draw(t, "host"), Region: rapid.SampledFrom([]string{"LON1", "NYC1"}).Draw(t, "region"),
				Status: "ACTIVE", Tags: rapid.SliceOfN(rapid.SampledFrom(tags), 0, 5).Draw(t, "tags"),
			})
		}
		read := []string{"LON1", "NYC1", "FRA1"}
		text := newFirstFile(account{inv, read}, "Europe/London").String()
		cfg, err := configs.Parse("first.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		set := &cfg.Policies
		if set.Mode != policies.ModeObserve || len(set.Policies) != 1 || set.Policies[0].Name != "own-hours" || set.Protect.IsZero() {
			t.Fatalf("mode %s, %d policies\n%s", set.Mode, len(set.Policies), text)
		}
		at := time.Date(2026, 3, 4, 20, 0, 0, 0, time.UTC)
		for _, a := range policies.Decide(set, inv, policies.Facts{}, policies.Trigger{ID: "look", At: at}, at).Actions {
			if a.Mode != policies.ModeObserve {
				t.Fatalf("it would %s %s\n%s", a.Verb, a.Hostname, text)
			}
		}

		taken, err := configs.Parse("taken.yaml", []byte(uncommented(text)))
		if err != nil {
			t.Fatalf("with the proposals: %v\n%s", err, uncommented(text))
		}
		if n := strings.Count(text, "\n#  - name: "); len(taken.Policies.Policies) != n+1 || n == 0 {
			t.Fatalf("%d proposals became %d policies\n%s", n, len(taken.Policies.Policies)-1, text)
		}

		mixed := slices.Clone(inv)
		r := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if again := newFirstFile(account{mixed, read}, "Europe/London").String(); again != text {
			t.Fatalf("in another order another file:\n%s\n%s", text, again)
		}
	})
}

func TestWhatLooksLikeDevelopmentAndProduction(t *testing.T) {
	for _, tt := range []struct {
		word      string
		dev, prod bool
	}{
		{"dev", true, false}, {"DEV", true, false}, {"dev-2", true, false}, {"team-qa", true, false}, {"device", false, false}, {"prod", false, true},
		{"eu_production", false, true}, {"non-prod", true, false}, {"pre-prod", true, false}, {"product", false, false}, {"protected", false, true}, {"latest", false, false}, {"", false, false},
	} {
		if isDev(tt.word) != tt.dev || isProd(tt.word) != tt.prod {
			t.Errorf("%q: dev %v, prod %v, want %v, %v", tt.word, isDev(tt.word), isProd(tt.word), tt.dev, tt.prod)
		}
	}
}
