package promise_test

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(procs)
	debug.SetGCPercent(400) // a bubble lives for seconds and leaves everything behind
	ats.Register()          // the server's own clock, which must be made outside of any bubble
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}
