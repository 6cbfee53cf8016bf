package main

import (
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheLineOfAWaitMovesOnATerminalAndIsTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &progress{}
		p.start(&out)
		p.say("reading %s", "LON1")
		time.Sleep(2*progressEvery + time.Millisecond)
		synctest.Wait()
		p.aside(func() { _, _ = io.WriteString(&out, "dev-1 is stopped\n") })
		p.end()
		p.end()
		const want = `^\r\x1b\[K\| reading LON1  0s\r\x1b\[K/ reading LON1  1s\r\x1b\[Kdev-1 is stopped\n$`
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("got %q, want a line that moves and goes: %s", out.String(), want)
		}
	})
}

func TestAPipeSeesNothingOfAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newProgress(&out, "reading LON1")
		time.Sleep(time.Minute)
		p.aside(func() { _, _ = io.WriteString(&out, "done\n") })
		p.end()
		if out.String() != "done\n" {
			t.Errorf("got %q, want what is printed and nothing else", out.String())
		}
	})
}
