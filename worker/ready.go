package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

// Machine times and bounds of the question whether an instance is ready.
const (
	readyTimeout = 5 * time.Second // of one question
	readyPoll    = 2 * time.Second // between two, growing
	readyPollMax = 10 * time.Second
	readyAtOnce  = 50 // questions under way
	readyHeader  = 64 << 10
)

// errGone says that the instance of which somebody asks is gone.
var errGone = errors.New("the instance is gone")

// askReady asks an instance once whether it is ready.
func (r *runner) askReady(ctx context.Context, s *events.Stage, it events.Item) error {
	reading, err := r.inv.Reading(ctx, it.Region, time.Now().Add(-railReadingAge))
	if err != nil {
		return err
	}
	inst, ok := reading.Instance(it.Instance)
	if !ok {
		return errGone
	}
	host, err := addressOf(s, inst)
	if err != nil {
		return err
	}
	if err := r.asking.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer r.asking.Release(1)
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if s.HTTP != "" {
		return r.askPage(ctx, host, s.HTTP)
	}
	conn, err := r.dial(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(s.TCP)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// addressOf is where an instance is asked. It must be an address: a name could
// lead anywhere.
func addressOf(s *events.Stage, inst policies.Instance) (string, error) {
	which, text := "public", inst.PublicIP
	if s.Private || text == "" {
		which, text = "private", inst.PrivateIP
	}
	if text == "" {
		return "", fmt.Errorf("it has no %s address", which)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return "", fmt.Errorf("its %s address %q is none", which, text)
	}
	if ip = ip.Unmap(); !ip.IsGlobalUnicast() { // 0.0.0.0 and its like lead to this machine, and 169.254.169.254 to its cloud's secrets
		return "", fmt.Errorf("its %s address %s is none of a machine in a network", which, ip)
	}
	return ip.String(), nil
}

// askPage asks for a page: any answer of success is one, also a redirection, which
// is not followed.
func (r *runner) askPage(ctx context.Context, host, page string) error {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+page, nil)
	if err != nil {
		return err
	}
	if req.URL.Hostname() != strings.Trim(host, "[]") || req.URL.User != nil {
		return fmt.Errorf("%q is not :port/path", page) // whoever may store plans could have written it
	}
	req.Header.Set("User-Agent", "nightshift")
	client := &http.Client{
		Transport:     &http.Transport{DialContext: r.dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: readyHeader},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	return nil
}
