package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	for page, text := range pages(t) {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, m[1])
			}
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
