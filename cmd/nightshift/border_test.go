package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// border stands in front of the routes of a NATS node: the other nodes know this
// address only. It learns from the first words of a route which node is behind it,
// and lets it through unless the two are parted.
type border struct {
	net.Listener
	node int
	to   string // address of the node

	mu     sync.Mutex
	parted map[int]bool // nodes that may not cross
	routes map[*route]bool
}

type route struct {
	from      int // node; -1: not known yet
	near, far net.Conn
}

// drawBorders puts a border in front of each node. It is called before they start.
func (m *crowd) drawBorders() {
	m.t.Helper()
	for i := range m.nodes {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			m.t.Fatal(err)
		}
		b := &border{Listener: ln, node: i, to: m.routes[i], parted: make(map[int]bool), routes: make(map[*route]bool)}
		var crossing sync.WaitGroup
		crossing.Go(func() { b.watch(&crossing) }) // until the border is closed
		m.t.Cleanup(func() {
			_ = b.Close()
			b.part(0, 1, 2)
			crossing.Wait()
		})
		m.borders = append(m.borders, b)
	}
}

func (m *crowd) crossings() (addresses []string) {
	for _, b := range m.borders {
		addresses = append(addresses, b.Addr().String())
	}
	return addresses
}

// split parts one node from all others.
func (m *crowd) split(node int) {
	for i, b := range m.borders {
		if i == node {
			b.part(0, 1, 2)
		} else {
			b.part(node)
		}
	}
}

// heal lets all through again.
func (m *crowd) heal() {
	for _, b := range m.borders {
		b.mu.Lock()
		clear(b.parted)
		b.mu.Unlock()
	}
}

// part closes the routes of nodes, and lets them make no new ones.
func (b *border) part(nodes ...int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range nodes {
		b.parted[n] = true
	}
	for r := range b.routes {
		if r.from < 0 || b.parted[r.from] {
			_, _ = r.near.Close(), r.far.Close()
		}
	}
}

func (b *border) watch(crossing *sync.WaitGroup) {
	for {
		near, err := b.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", b.to)
		if err != nil { // the node is down
			_ = near.Close()
			continue
		}
		r := &route{from: -1, near: near, far: far}
		b.mu.Lock()
		b.routes[r] = true
		b.mu.Unlock()
		crossing.Go(func() { // until either side closes
			_, _ = io.Copy(near, far)
			_, _ = near.Close(), far.Close()
		})
		crossing.Go(func() { // likewise
			_, _ = io.Copy(far, io.TeeReader(near, &passport{b: b, r: r}))
			_, _ = near.Close(), far.Close()
			b.mu.Lock()
			delete(b.routes, r)
			b.mu.Unlock()
		})
	}
}

// passport reads what comes in from a node until it has said its name. An error
// ends the route before any of that has reached the other side.
type passport struct {
	b    *border
	r    *route
	text strings.Builder
	seen bool
}

func (p *passport) Write(piece []byte) (int, error) {
	if p.seen {
		return len(piece), nil
	}
	p.text.Write(piece)
	const name = `"server_name":"n`
	text := p.text.String()
	at := strings.Index(text, name) + len(name)
	if at < len(name) || at == len(text) {
		return len(piece), nil // more is to come
	}
	p.seen = true
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.r.from = int(text[at] - '0'); p.b.parted[p.r.from] {
		return 0, fmt.Errorf("node %d and node %d are parted", p.r.from, p.b.node)
	}
	return len(piece), nil
}
