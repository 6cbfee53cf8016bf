package foreign

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// answerNative answers for our own windows and cron lines.
func answerNative(q Question) (any, string, error) {
	value, err := textSpec(q.Spec)
	if err != nil {
		return nil, "", err
	}
	if value == nil {
		return nil, "", errors.New("there is no spec")
	}
	zone := time.UTC
	if q.DefaultTZ != "" {
		if zone, err = schedule.LoadZone(q.DefaultTZ); err != nil {
			return nil, "", err
		}
	}
	if fields := strings.Fields(*value); strings.HasPrefix(*value, "@") || len(fields) == 5 && !strings.Contains(*value, ":") {
		return answerCron(q, *value, zone)
	}
	var running, stopped []string
	running = []string{*value}
	if q.Policy["as"] == "stopped" {
		running, stopped = nil, running
	}
	w, err := schedule.ParseWeekly(running, stopped, zone)
	if err != nil {
		return nil, "", err
	}
	if q.Policy["only"] == true {
		w = w.OneSided()
	}
	state := w.At(q.At)
	switch q.Edge {
	case EdgeState:
		return string(state), w.String(), nil
	case EdgeWindow:
		return state == schedule.Running, w.String(), nil
	case EdgeValidate:
		return "ok", w.String(), nil
	case EdgeOn, EdgeOff:
		last, ok := w.Prev(q.At)
		isNow := ok && q.At.Sub(last.At) < time.Minute
		return isNow && (last.To == schedule.Running) == (q.Edge == EdgeOn) && last.To != schedule.Any, w.String(), nil
	}
	return nil, "", fmt.Errorf("windows know no edge %q", q.Edge)
}

func answerCron(q Question, spec string, zone *time.Location) (any, string, error) {
	c, err := schedule.ParseCron(spec, zone)
	if err != nil {
		return nil, "", err
	}
	switch q.Edge {
	case EdgeValidate:
		return "ok", c.String(), nil
	case EdgeOn, EdgeDue:
		last, ok := c.Prev(q.At)
		return ok && q.At.Sub(last) < time.Minute, c.String(), nil
	}
	return nil, "", fmt.Errorf("a cron line knows the edges on, due and validate, not %q", q.Edge)
}
