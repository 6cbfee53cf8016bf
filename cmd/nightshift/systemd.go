package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
)

// readyPoll is how often it is looked whether the daemon is ready at last.
const readyPoll = 200 * time.Millisecond

// tellSystemd tells systemd when the daemon is ready, and when it begins to stop,
// until ctx ends. Where systemd has not asked for it (Type=notify) it does nothing.
func tellSystemd(ctx context.Context, notReady func(context.Context) []string, log *zap.Logger) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	tell := func(state string) {
		if err := notifySocket(socket, state); err != nil {
			log.Warn("systemd is not told", zap.String("state", state), zap.Error(err))
		}
	}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for ready := false; ; {
		if !ready && len(notReady(ctx)) == 0 {
			ready = true
			tick.Stop()
			tell("READY=1")
		}
		select {
		case <-ctx.Done():
			tell("STOPPING=1")
			return
		case <-tick.C:
		}
	}
}

// notifySocket writes a state as sd_notify(3) does.
func notifySocket(socket, state string) error {
	conn, err := net.Dial("unixgram", socket) // a leading @ is an abstract address, here as there
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("write to %s: %w", socket, err)
	}
	return nil
}
