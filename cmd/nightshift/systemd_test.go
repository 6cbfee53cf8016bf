package main

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// systemctl restart waits for the old daemon, and systemctl start for the new one
// to be ready, because both are told to systemd.
func TestSystemdIsToldWhenItIsReadyAndWhenItStops(t *testing.T) {
	t.Parallel()
	s := newSite(t, false, "300ms")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	says := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		n, err := socket.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("systemd is told %q (%v), want %q", b[:n], err, want)
		}
	}
	daemon := start(t, []string{"CIVO_TOKEN=" + e2eToken, "NOTIFY_SOCKET=" + socket.LocalAddr().String()}, "nightshift", "run",
		"--config", s.config, "--api-url", s.api, "--data-dir", filepath.Join(s.dir, "data"), "--nats-listen", s.nats)
	says("READY=1")
	daemon.says(t, `"(ready)"`)
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	says("STOPPING=1")
	if code := daemon.ends(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
