package events

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.uber.org/zap"
)

// serverLog is the embedded server's logger. The server's own would write to
// stderr and end the process on a fatal error.
type serverLog struct {
	log  *zap.Logger
	hear func(line string) // of errors
}

func (l serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l serverLog) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l serverLog) Fatalf(format string, v ...any)  { l.Errorf(format, v...) }
func (l serverLog) Errorf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.hear(line)
	l.log.Error(line)
}
func (l serverLog) Debugf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l serverLog) Tracef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// checkURL refuses an address that cannot be read, without quoting it: it may
// hold a password.
func checkURL(u string) error {
	for _, one := range strings.Split(u, ",") {
		if _, err := url.Parse(strings.TrimSpace(one)); err != nil {
			return errors.New("the address of NATS is not of the form nats://host:port")
		}
	}
	return nil
}

// redact hides what addresses hold of a user, a password or a token.
func redact(addresses string) string {
	var out []string
	for one := range strings.SplitSeq(addresses, ",") {
		p, err := url.Parse(strings.TrimSpace(one))
		if err != nil {
			return "the address given"
		}
		if p.User != nil {
			p.User = url.User("redacted")
		}
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}
