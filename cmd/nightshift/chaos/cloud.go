package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"nightshift/civo"
	"nightshift/civo/civosim"
)

// personAgent is how the person who acts behind the daemon's back shows itself to
// the API, so that its requests are told from the daemon's.
const personAgent = "a-person"

// passage is how long the simulator takes from one state to the next.
const passage = 400 * time.Millisecond

// cloud is the simulator, in a process of its own, and what we do there.
type cloud struct {
	url     string
	process *process
	person  *civo.Client
	client  *http.Client

	mu     sync.Mutex
	ledger []civosim.Request // all requests since the start, as far as read
}

// begin starts the simulator with a fleet.
func (c *chaos) beginCloud(ctx context.Context, fleet []civosim.Machine) (err error) {
	path := filepath.Join(c.dir, "fleet.yaml")
	if err := os.WriteFile(path, fleetFile(fleet), 0o600); err != nil {
		return err
	}
	said := hear(func(line string) (string, bool) {
		_, address, ok := strings.Cut(line, "simulating Civo on ")
		address, _, _ = strings.Cut(address, " ")
		return address, ok
	})
	args := []string{"sim", "--listen", "127.0.0.1:0", "--token", c.token, "--fleet", path, "--delay", passage.String(), "--seed", strconv.FormatUint(c.o.Seed, 10)}
	c.cloud = &cloud{client: &http.Client{Timeout: 10 * time.Second}}
	if c.cloud.process, err = c.launch.start("simulator", args, said.line); err != nil {
		return err
	}
	if c.cloud.url, err = said.wait(ctx, c.cloud.process); err != nil {
		return fmt.Errorf("%w:\n%s", err, lastLines(filepath.Join(c.dir, "simulator.log"), 5))
	}
	c.cloud.person, err = civo.New(c.token, civo.Options{BaseURL: c.cloud.url, Rate: 1000, HTTPClient: &http.Client{Transport: asPerson{http.DefaultTransport}}})
	return err
}

// asPerson sends requests as the person.
type asPerson struct{ next http.RoundTripper }

func (p asPerson) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", personAgent)
	return p.next.RoundTrip(r)
}

// drive asks the simulator's own side.
func (l *cloud) drive(ctx context.Context, method, path string, body, out any) error {
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, l.url+path, send)
	if err != nil {
		return err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the simulator: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("ask the simulator: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the simulator answers %s to %s %s: %s", resp.Status, method, path, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// weather replaces the faults that can strike.
func (l *cloud) weather(ctx context.Context, faults ...civosim.Fault) error {
	if err := l.drive(ctx, "DELETE", "/sim/faults", nil, nil); err != nil {
		return err
	}
	for _, f := range faults {
		if err := l.drive(ctx, "POST", "/sim/faults", f, nil); err != nil {
			return err
		}
	}
	return nil
}

func (l *cloud) instances(ctx context.Context) ([]civosim.Instance, error) {
	var st civosim.State
	err := l.drive(ctx, "GET", "/sim/state", nil, &st)
	return st.Instances, err
}

// setStatus changes a status behind everybody's back.
func (l *cloud) setStatus(ctx context.Context, id, status string) error {
	return l.drive(ctx, "POST", "/sim/instances/"+url.PathEscape(id)+"?status="+url.QueryEscape(status), nil, nil)
}

// readLedger takes up the requests that came since it was read last.
func (l *cloud) readLedger(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		var more []civosim.Request
		if err := l.drive(ctx, "GET", fmt.Sprintf("/sim/ledger?n=5000&after=%d", len(l.ledger)), nil, &more); err != nil {
			return err
		}
		l.ledger = append(l.ledger, more...)
		if len(more) < 5000 {
			return nil
		}
	}
}

// requests are those that were read.
func (l *cloud) requests() []civosim.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ledger[:len(l.ledger):len(l.ledger)]
}

// isPersons reports whether a request is not the daemon's.
func isPersons(r civosim.Request) bool { return strings.HasPrefix(r.UserAgent, personAgent) }

// firewalls are the ids of the firewalls of a region.
func (l *cloud) firewalls(ctx context.Context, region string) (ids []string, err error) {
	all, err := l.person.Firewalls(ctx, region)
	for _, f := range all {
		ids = append(ids, f.ID)
	}
	return ids, err
}

// fleetFile writes a fleet as the simulator reads it.
func fleetFile(fleet []civosim.Machine) []byte {
	var b strings.Builder
	b.WriteString("instances:\n")
	for _, m := range fleet {
		tags, _ := json.Marshal(append([]string{}, m.Tags...)) // a list of texts cannot fail
		fmt.Fprintf(&b, "  - { hostname: %q, region: %q, size: %q, status: %q, tags: %s, cluster: %t }\n", m.Hostname, m.Region, m.Size, m.Status, tags, m.Cluster)
	}
	return []byte(b.String())
}

// ignoreEnd drops the error of what was cut short by the end of the storm.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
