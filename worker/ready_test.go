package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nightshift/events"
	"nightshift/policies"
)

func TestAPageIsAskedOverARealConnection(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirection was followed") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good", "/":
			fmt.Fprint(w, "fine")
		case "/moved":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/large":
			w.Header().Set("X-Large", strings.Repeat("x", 2*readyHeader))
		default:
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	host, port := address.Addr().String(), fmt.Sprint(":", address.Port())
	r := &runner{dial: new(net.Dialer).DialContext}
	for _, tt := range []struct{ page, fault string }{
		{port + "/good", ""}, {port, ""}, {port + "/good?deep=1", ""}, {port + "/moved", ""},
		{port + "/bad", "answers 503 Service Unavailable"},
		{port + "/large", "exceeded"},
		{":1/good", "refused"},
		{"@" + strings.TrimPrefix(elsewhere.URL, "http://"), "is not :port/path"},
		{".example.com/", "is not :port/path"},
	} {
		err := r.askPage(t.Context(), host, tt.page)
		if tt.fault == "" && err != nil || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
			t.Errorf("%s: got %v, want %q", tt.page, err, tt.fault)
		}
	}
}

// TestAnInstanceThatTakesAConnectionAndSaysNothingIsGivenUp: the question ends in time,
// and leaves nothing behind.
func TestAnInstanceThatTakesAConnectionAndSaysNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var silent []net.Conn
		r := &runner{dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			silent = append(silent, theirs)
			go func() { // until the connection is closed
				buf := make([]byte, 1024)
				for {
					if _, err := theirs.Read(buf); err != nil {
						return
					}
				}
			}()
			return ours, nil
		}}
		ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
		defer cancel()
		began := time.Now()
		if err := r.askPage(ctx, "192.0.2.1", ":8080/"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != readyTimeout {
			t.Errorf("the question took %s", took)
		}
		synctest.Wait()
		for _, c := range silent {
			if _, err := c.Write([]byte("x")); err == nil {
				t.Error("the connection is open still")
			}
		}
	})
}

func TestAnInstanceIsAskedAtTheAddressThatTheFileSays(t *testing.T) {
	both := policies.Instance{PublicIP: "203.0.113.7", PrivateIP: "192.168.1.7"}
	for _, tt := range []struct {
		inst    policies.Instance
		private bool
		want    string
	}{
		{both, false, "203.0.113.7"},
		{both, true, "192.168.1.7"},
		{policies.Instance{PrivateIP: "192.168.1.7"}, false, "192.168.1.7"},
		{policies.Instance{PublicIP: "203.0.113.7"}, true, "it has no private address"},
		{policies.Instance{}, false, "it has no private address"},
		{policies.Instance{PublicIP: "internal.example.com"}, false, `its public address "internal.example.com" is none`},
		{policies.Instance{PublicIP: "2001:db8::7"}, false, "2001:db8::7"},
		{policies.Instance{PublicIP: "0.0.0.0"}, false, "its public address 0.0.0.0 is none of a machine in a network"},
		{policies.Instance{PublicIP: "::ffff:127.0.0.1"}, false, "its public address 127.0.0.1 is none of a machine in a network"},
		{policies.Instance{PrivateIP: "169.254.169.254"}, true, "its private address 169.254.169.254 is none of a machine in a network"},
	} {
		got, err := addressOf(&events.Stage{Private: tt.private}, tt.inst)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%+v, private %v: got %s, want %s", tt.inst, tt.private, got, tt.want)
		}
	}
}
