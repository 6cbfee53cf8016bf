package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress is a line that moves while one waits: on a terminal only, so that a pipe
// or a log never sees it.
type progress struct {
	w     io.Writer // nil: not on a terminal
	began time.Time
	over  chan struct{}
	ended chan struct{}

	mu    sync.Mutex // guards what follows, and w
	text  string
	drawn bool
}

// progressEvery is how often the line moves; what takes less shows none.
const progressEvery = 250 * time.Millisecond

// newProgress begins to show that something is waited for. End it.
func newProgress(w io.Writer, format string, args ...any) *progress {
	p := &progress{}
	if isTerminal(w) {
		p.start(w)
	}
	p.say(format, args...)
	return p
}

func (p *progress) start(w io.Writer) {
	p.w, p.began, p.over, p.ended = w, time.Now(), make(chan struct{}), make(chan struct{})
	go p.draw() // until end
}

func (p *progress) draw() {
	defer close(p.ended)
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-p.over:
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		line := []rune(printable(p.text))
		if most := helpWidth - 12; len(line) > most { // it must not wrap
			line = append(line[:most-1], '…')
		}
		fmt.Fprintf(p.w, "\r\x1b[K%c %s  %s", `|/-\`[n%4], string(line), time.Since(p.began).Round(time.Second))
		p.drawn = true
		p.mu.Unlock()
	}
}

// say replaces what is waited for.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = fmt.Sprintf(format, args...)
}

// aside lets something be printed that stays.
func (p *progress) aside(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	print()
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// end takes the line away; the second time it does nothing.
func (p *progress) end() {
	if p.w == nil {
		return
	}
	close(p.over)
	<-p.ended
	p.aside(func() { p.w = nil })
}
