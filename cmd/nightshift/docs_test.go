package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nightshift/civo/civosim"
	"nightshift/configs"
)

// The pages are checked so that they cannot rot: sessions are run and compared,
// policy files are read, links lead somewhere.

func pages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, p := range append(paths, "../../README.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[p] = string(text)
	}
	return out
}

func blocks(text, kind string) (out []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

func TestSessionsOfThePagesAreTrue(t *testing.T) {
	t.Parallel()
	ran := 0
	for page, text := range pages(t) {
		for n, b := range blocks(text, "console") {
			command, want, _ := strings.Cut(b, "\n")
			line, ok := strings.CutPrefix(command, "$ nightshift ")
			if !ok {
				t.Errorf("%s: a console block begins with $ nightshift, got %q", page, command)
				continue
			}
			t.Run(filepath.Base(page)+" "+strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				cmd := exec.Command("sh", "-c", binary(t, "nightshift")+" "+line)
				cmd.Dir = "../.."
				cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8") // plots are drawn with blocks
				got, err := cmd.Output()
				if err != nil || string(got) != want {
					t.Errorf("%s: %s: %v\ngot:\n%s\nwant:\n%s", page, command, err, got, want)
				}
			})
			ran++
		}
	}
	if ran == 0 {
		t.Error("no page has a session")
	}
}

func TestPolicyFilesOfThePagesAreGood(t *testing.T) {
	read := 0
	for page, text := range pages(t) {
		for _, b := range blocks(text, "yaml") {
			switch {
			case strings.HasPrefix(b, "version:"):
				if _, err := configs.Parse(page, []byte(b)); err != nil {
					t.Errorf("%s: %v", page, err)
				}
				read++
			case strings.HasPrefix(b, "instances:"):
				if _, err := civosim.ParseFleet([]byte(b)); err != nil {
					t.Errorf("%s: %v", page, err)
				}
				read++
			}
		}
	}
	if read < 3 {
		t.Errorf("%d files read, want the README's, the policy file's and the simulator's", read)
	}
}

// anchors are those of a page's headings, as GitHub names them.
func anchors(text string) (out []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ +(.*)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(name, " ", "-"))
	}
	return out
}

func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	for page, text := range pages(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]+))?\)`).FindAllStringSubmatch(text, -1) {
			to := page
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(page), m[1])
			}
			body, err := os.ReadFile(to)
			if _, dir := os.ReadDir(to); err != nil && dir != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, m[1])
			}
			if m[2] != "" && !slices.Contains(anchors(string(body)), m[2]) {
				t.Errorf("%s: %s has no heading #%s", page, to, m[2])
			}
		}
	}
}

func TestEveryPageIsReachedFromTheReadme(t *testing.T) {
	seen := make(map[string]bool)
	var follow func(page string)
	follow = func(page string) {
		text, err := os.ReadFile(page)
		if seen[page] || err != nil {
			return // a link to what is no page, or that leads nowhere: the test above
		}
		seen[page] = true
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+\.md)(#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			follow(filepath.Join(filepath.Dir(page), m[1]))
		}
	}
	follow("../../README.md")
	for page := range pages(t) {
		if !seen[page] {
			t.Errorf("%s: no way leads there from the README", page)
		}
	}
}

// TestTheReadmeTellsTheDemoAsItIs compares what the first screen shows with what
// the demo can say, leaving the minutes aside.
func TestTheReadmeTellsTheDemoAsItIs(t *testing.T) {
	text := pages(t)["../../README.md"]
	for _, word := range []string{"go run ./cmd/nightshift demo\n", "go test ./...\n"} {
		if !strings.Contains(text, word) {
			t.Errorf("the README lacks %q", word)
		}
	}
	told := blocks(text, "text")[0]
	for _, line := range strings.Split(told, "\n") {
		if m := regexp.MustCompile(`^\d\d:\d\d  ([a-z-]+) +(start|stop|reboot|resize) ([a-z0-9-]+)`).FindStringSubmatch(line); m != nil {
			if !bytes.Contains(configs.Example(), []byte("name: "+m[1])) {
				t.Errorf("the README tells of policy %s, which the example does not have", m[1])
			}
		}
	}
}

// Whoever reads events by their reason needs all that there are.
func TestEveryReasonOfANoticeIsInThePage(t *testing.T) {
	files, err := filepath.Glob("../../worker/*.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	record := regexp.MustCompile(`(?:Record|asked)\{[^}]*?\b[Rr]eason: *"([a-z ]+)"`)
	helper := regexp.MustCompile(`\.(?:say|sayOfStore|noticePolicies|noticeBreaker|noticeDead)\(ctx, (?:policy, |it\.Policy, |l, )?"([a-z ]+)"`)
	found := 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		code, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, re := range []*regexp.Regexp{record, helper} {
			for _, m := range re.FindAllSubmatch(code, -1) {
				found++
				if !strings.Contains(string(page), "`"+string(m[1])+"`") {
					t.Errorf("%s: the reason %q is not in docs/events.md", f, m[1])
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d reasons were found: have the calls changed?", found)
	}
}
