package foreign

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"nightshift/policies/schedule"
)

// answerNative answers for what our own language has: windows, cron lines, and
// the values of an owner's tags keep and mark.
//
// The settings as (running or stopped) and only (true) make of a line of windows
// what the policy file writes as running:, stopped: and one-sided.
func answerNative(q Question) (any, string, error) {
	spec, err := newNativeSpec(q)
	if err != nil {
		return nil, "", err
	}
	if line, ok := spec.line(); ok {
		if fields := strings.Fields(line); strings.HasPrefix(line, "@") || len(fields) == 5 && !strings.Contains(line, ":") {
			return answerCron(q, line, spec.zone)
		}
		if strings.Contains(line, "@") || keepWord(line) {
			return answerOwner(q, line, spec.zone)
		}
	}
	w, err := schedule.ParseWeekly(spec.running, spec.stopped, spec.zone)
	if err != nil {
		return nil, "", err
	}
	if spec.oneSided {
		w = w.OneSided()
	}
	inside := schedule.Running // what the windows stand for
	if len(spec.running) == 0 {
		inside = schedule.Stopped
	}
	switch q.Edge {
	case EdgeValidate:
		return "ok", w.String(), nil
	case EdgeState:
		return string(w.At(q.At)), w.String(), nil
	case EdgeWindow:
		return w.At(q.At) == inside, w.String(), nil
	case EdgeOn, EdgeOff:
		to := schedule.Running
		if q.Edge == EdgeOff {
			to = schedule.Stopped
		}
		last, ok := w.Prev(q.At)
		return ok && last.To == to && thisMinute(last.At, q.At), w.String(), nil
	}
	return nil, "", fmt.Errorf("windows know the edges state, window, on, off and validate, not %q", q.Edge)
}

// nativeSpec is a schedule as asked: a line, or, as in the policy file, an object
// with running, stopped and timezone.
type nativeSpec struct {
	running, stopped []string
	oneSided         bool
	zone             *time.Location
}

// line is the spec where it is one line, which may be more than windows.
func (s nativeSpec) line() (string, bool) {
	if len(s.running) == 1 && len(s.stopped) == 0 {
		return strings.TrimSpace(s.running[0]), true
	}
	return "", false
}

func newNativeSpec(q Question) (s nativeSpec, err error) {
	zone := q.DefaultTZ
	if len(q.Spec) > 0 && q.Spec[0] == '{' {
		var object struct {
			Running, Stopped awsList
			Timezone         string
		}
		if err := json.Unmarshal(q.Spec, &object); err != nil {
			return s, fmt.Errorf("the spec is not {running, stopped, timezone}: %w", err)
		}
		s.running, s.stopped = object.Running, object.Stopped
		if object.Timezone != "" {
			zone = object.Timezone
		}
	} else {
		line, err := textSpec(q.Spec)
		if err != nil {
			return s, err
		}
		if line == nil {
			return s, errors.New("there is no spec")
		}
		s.running = []string{*line}
	}
	s.zone = time.UTC
	if zone != "" {
		if s.zone, err = schedule.LoadZone(zone); err != nil {
			return s, err
		}
	}
	switch q.Policy["as"] {
	case nil, "running":
	case "stopped":
		s.running, s.stopped = s.stopped, s.running
	default:
		return s, fmt.Errorf("as is running or stopped, not %v", q.Policy["as"])
	}
	switch q.Policy["only"] {
	case nil, false:
	case true:
		s.oneSided = true
	default:
		return s, fmt.Errorf("only is true or false, not %v", q.Policy["only"])
	}
	return s, nil
}

// thisMinute reports whether a planned time is that of an instant: planned times
// are whole minutes, and whoever asks does so in the minute that begins there.
func thisMinute(planned, at time.Time) bool {
	late := at.Sub(planned)
	return late >= 0 && late < time.Minute
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
		return ok && thisMinute(last, q.At), c.String(), nil
	}
	return nil, "", fmt.Errorf("a cron line knows the edges on, due and validate, not %q", q.Edge)
}

// keepWord finds what a keep begins with.
func keepWord(word string) bool { return word == "running" || word == "stopped" || word == "asis" }

// answerOwner answers for the value of a tag keep (running@2026-11-27T22:00) or
// mark (stop@2026-12-01). A keep without an end is asked while it lasts.
func answerOwner(q Question, line string, zone *time.Location) (any, string, error) {
	word, when, timed := strings.Cut(line, "@")
	keeps, marks := keepWord(word), word == "start" || word == "stop"
	if !keeps && !marks {
		return nil, "", fmt.Errorf("%q is none of running, stopped, asis, start and stop", word)
	}
	var end time.Time
	if timed {
		var err error
		if end, err = schedule.ParseInstant(when, zone); err != nil {
			return nil, "", err
		}
	}
	reached := !end.IsZero() && !q.At.Before(end)
	why := "without a time"
	if !end.IsZero() {
		why = end.In(zone).Format(time.RFC3339)
	}
	switch {
	case q.Edge == EdgeValidate:
		return "ok", why, nil
	case keeps && q.Edge == EdgeState && (reached || word == "asis"):
		return string(schedule.Any), why, nil
	case keeps && q.Edge == EdgeState:
		return word, why, nil
	case keeps && q.Edge == EdgeWindow:
		return !reached, why, nil
	case marks && q.Edge == EdgeDue:
		return reached, why, nil
	case marks && (q.Edge == EdgeOn || q.Edge == EdgeOff):
		return thisMinute(end, q.At) && (word == "start") == (q.Edge == EdgeOn), why, nil
	}
	return nil, "", fmt.Errorf("%s@ knows no edge %q", word, q.Edge)
}
