package foreign

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// CustodianMark is the grammar of Cloud Custodian's marked-for-op (c7n/tags.py,
// TagActionFilter): a tag such as "message: stop@2026/06/15".
const CustodianMark = "c7n-mark-for-op"

var errMarkColon = errors.New("a colon in the time makes Custodian fail: what follows the last one has no @")

// custodianOps are the actions that a mark may name in a policy for machines.
// Custodian knows more, for other resources; it refuses what the policy's
// resource does not have.
var custodianOps = []string{
	"delete", "disable", "invoke-lambda", "invoke-sfn", "mark", "modify-security-groups", "normalize-tag", "notify", "poweroff", "put-metric",
	"reboot", "remove-tag", "rename-tag", "resize", "restart", "resume", "set-instance-profile", "snapshot", "start", "stop", "suspend", "tag",
	"tag-trim", "terminate", "unmark", "untag", "webhook",
}

// marked are the settings of a policy that looks for marks.
type marked struct {
	op, zone        string
	skew, skewHours float64
	custom          bool
}

func newMarked(set Settings) (m marked, err error) {
	m.op, m.zone = "stop", "utc"
	for key, v := range set {
		ok := true
		switch strings.ReplaceAll(key, "-", "_") {
		case "op":
			m.op, ok = v.(string)
		case "skew":
			m.skew, ok = v.(float64)
		case "skew_hours":
			m.skewHours, ok = v.(float64)
		case "tz":
			m.zone, ok = v.(string)
		case "custom":
			m.custom, ok = v.(bool)
		}
		if !ok {
			return m, fmt.Errorf("the setting %s cannot be %v", key, v)
		}
	}
	return m, nil
}

// validate is what Custodian checks when it reads a policy. It refuses no zone: a
// name that is no alias means the process's own.
func (m marked) validate() error {
	switch {
	case !m.custom && !slices.Contains(custodianOps, m.op):
		return fmt.Errorf("op %q is no action of a machine, and custom is not set", m.op)
	case m.skew < 0 || m.skewHours < 0:
		return errors.New("skew and skew_hours are 0 or more")
	}
	return nil
}

// early is how long before its time a mark is due.
func (m marked) early() time.Duration {
	const most = 100 * 366 * 24 // hours; a longer time would not fit
	return time.Duration(max(-most, min(m.skew*24+m.skewHours, most)) * float64(time.Hour))
}

// due reports whether a mark is due. Custodian compares wall clocks: that of tz
// where the mark names a zone, of its own process where not.
func (m marked) due(value string, at time.Time, env map[string]any) (bool, string, error) {
	if !strings.Contains(value, ":") || !strings.Contains(value, "@") {
		return false, "no mark", nil
	}
	action, date, ok := strings.Cut(strings.TrimSpace(value[strings.LastIndexByte(value, ':')+1:]), "@")
	if !ok {
		return false, "", errMarkColon
	}
	if action != m.op {
		return false, fmt.Sprintf("marked for %q", action), nil
	}
	local := localZone(env)
	t, ok := readMarkTime(date, local, at.In(local))
	if !ok {
		return false, fmt.Sprintf("%q is no date that Custodian reads", date), nil
	}
	if t.zone == nil {
		return !wallOf(at, local).Before(t.wall.Add(-m.early())), "compared with the process's own clock (" + local.String() + ")", nil
	}
	zone := local
	if alias, ok := custodianZones[m.zone]; ok {
		zone = zoneFile(alias)
	} else if odd, ok := oddZones[m.zone]; ok {
		zone = zoneFile(odd)
	}
	w := t.wall
	planned := time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), 0, t.zone)
	return !wallOf(at, zone).Before(wallOf(planned, zone).Add(-m.early())), "compared on the clock of " + zone.String(), nil
}

// answerMark reports whether a mark is due.
func answerMark(q Question) (any, string, error) {
	value, err := textSpec(q.Spec)
	if err != nil {
		return nil, "", err
	}
	m, err := newMarked(q.Policy)
	if err != nil {
		return nil, "", err
	}
	switch q.Edge {
	case EdgeValidate:
		return "ok", "", m.validate()
	case EdgeDue:
		if value == nil {
			return false, "no mark", nil
		}
		return m.due(*value, q.At, q.Env)
	}
	return nil, "", fmt.Errorf("%s knows the edges due and validate, not %q", CustodianMark, q.Edge)
}
