//go:build crashpoints

package worker

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// crashAt is where the process ends: CRASH_AT=<point>[/<action>]:<n>, at the n-th
// time that it comes there.
var crashAt = parseCrashAt(os.Getenv("CRASH_AT"))

type crash struct {
	point, action string // action empty: any
	left          atomic.Int64
}

func parseCrashAt(s string) *crash {
	if s == "" {
		return nil
	}
	place, count, _ := strings.Cut(s, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 {
		panic(fmt.Sprintf("CRASH_AT=%q: want <point>[/<action>]:<n>", s))
	}
	c := &crash{}
	c.point, c.action, _ = strings.Cut(place, "/")
	c.left.Store(n)
	return c
}

// passed ends the process where it was told to: no deferred call runs, nothing is
// flushed.
func passed(p crashPoint, action string) {
	if crashAt == nil || crashAt.point != string(p) || crashAt.action != "" && crashAt.action != action || crashAt.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}

// watchSent passes requestSent when the first byte of the answer to a call is
// there and nobody has read it: the API has done what it was asked for.
func watchSent(ctx context.Context, action string) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { passed(requestSent, action) }})
}

// patience is shorter here: a replica waits for the deadline of a call that it did
// not make, and a test does not wait that long.
func patience(d time.Duration) time.Duration { return d / 15 }
