package main

import (
	"fmt"
	"io"
	"time"
)

// progress is a line that moves while one waits: on a terminal only, so that a pipe
// or a log never sees it.
type progress struct {
	w     io.Writer // nil: not on a terminal
	began time.Time
	drawn bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{began: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

// show replaces the line.
func (p *progress) show(format string, args ...any) {
	if p.w == nil {
		return
	}
	const frames = "|/-\\"
	waited := time.Since(p.began)
	line := []rune(printable(fmt.Sprintf(format, args...)))
	if len(line) > helpWidth-12 { // one line of a narrow terminal
		line = append(line[:helpWidth-13], '…')
	}
	fmt.Fprintf(p.w, "\r\x1b[K%c %s  %s", frames[int(waited/(250*time.Millisecond))%len(frames)], string(line), waited.Round(time.Second))
	p.drawn = true
}

// clear takes the line away, before something is printed that stays.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
