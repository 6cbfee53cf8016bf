package events

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The streams, the bucket, and the beginning of every subject.
const (
	StreamIn  = "NS_IN"
	StreamRun = "NS_RUN"
	StreamEvt = "NS_EVT"
	StreamDLQ = "NS_DLQ"
	Bucket    = "ns_state"
	// bucketStream is the stream below the bucket.
	bucketStream = "KV_" + Bucket

	prefix   = "nightshift.v1."
	maxToken = 80
	// None stands in a subject for an instance or region that there is none of.
	None = "_"
)

// EvtAll is the filter of all events.
const EvtAll = prefix + "evt.>"

// isToken reports whether s can stand in a subject: [a-z0-9-], 1 to 80 of them.
func isToken(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// IsWho reports whether a name can stand in a subject for who asks.
func IsWho(name string) bool { return isToken(name) }

func checkTokens(names []string, values ...string) error {
	for i, v := range values {
		if v == None && (names[i] == "region" || names[i] == "instance") {
			continue
		}
		if names[i] == "policy" { // sources of edges that are no policies begin with _
			v = strings.TrimPrefix(v, "_")
		}
		if !isToken(v) {
			return fmt.Errorf("%s %q cannot stand in a subject: use a-z, 0-9 and -, at most %d", names[i], v, maxToken)
		}
	}
	return nil
}

// TokenOf makes a token of anything, the same for the same parts.
func TokenOf(parts ...string) string { return shortHash(parts...) }

// shortHash makes a token of anything.
func shortHash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))[:20]
}

func tickSubject(policy string, planned time.Time) string {
	return prefix + "tick." + policy + "." + strconv.FormatInt(planned.Unix(), 10)
}

// CommandSubject is where a command is published.
func CommandSubject(who, region, instance, action string) string {
	return prefix + "cmd." + who + "." + region + "." + instance + "." + action
}

// SignalSubject is where a signal is published.
func SignalSubject(source, region, instance string) string {
	return prefix + "sig." + source + "." + region + "." + instance
}

func runSubject(region, trigger string) string { return prefix + "run." + region + "." + trigger }

// partSubject is where the items of a plan are that is larger than one message:
// n is 1, 2, ….
func partSubject(region, trigger string, n int) string {
	return runSubject(region, trigger) + "." + strconv.Itoa(n)
}

// isPart reports whether a subject of NS_RUN is that of a part of a plan.
func isPart(subject string) bool {
	return strings.Count(subject, ".") > strings.Count(runSubject("", ""), ".")
}

// OutcomeFilter matches the events of an action that have an outcome, of all instances.
func OutcomeFilter(action string, o Outcome) string {
	return prefix + "evt.*.*." + action + "." + string(o) + ".*"
}

func eventSubject(rec Record) string {
	return prefix + "evt." + rec.Region + "." + rec.Instance + "." + rec.Action + "." + string(rec.Outcome) + "." + rec.ActionID
}

// trailFilter matches all that the ledger has of an action. All writers of an
// outcome must use the very same text: on replicated streams the server
// compares expectations in flight by it.
func trailFilter(region, instance, actionID string) string {
	return prefix + "evt." + region + "." + instance + ".*.*." + actionID
}

// startedFilter matches every call to an instance that was ever announced.
func startedFilter(region, instance string) string {
	return prefix + "evt." + region + "." + instance + ".*.started.*"
}

// ActionFilter matches all events of an action.
func ActionFilter(region, instance, actionID string) string {
	return trailFilter(region, instance, actionID)
}

// AnywhereFilter matches all events of an action, on whichever instance.
func AnywhereFilter(actionID string) (string, error) {
	return trailFilter("*", "*", actionID), checkTokens([]string{"action id"}, actionID)
}

// RegionFilter matches all events of a region (lower case).
func RegionFilter(region string) string { return prefix + "evt." + region + ".>" }

// InstanceFilter matches all events of an instance.
func InstanceFilter(region, instance string) string {
	return prefix + "evt." + region + "." + instance + ".>"
}

// inSubject is what the subject of a message on NS_IN says.
type inSubject struct {
	kind             string // tick, cmd, sig
	policy           string // tick
	planned          time.Time
	who              string // cmd: publisher; sig: source
	region, instance string
	action           string
}

func parseInSubject(subject string) (inSubject, error) {
	rest, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return inSubject{}, fmt.Errorf("subject %q does not begin with %q", subject, prefix)
	}
	tok := strings.Split(rest, ".")
	switch {
	case tok[0] == "tick" && len(tok) == 3:
		unix, err := strconv.ParseInt(tok[2], 10, 64)
		if err != nil || strconv.FormatInt(unix, 10) != tok[2] {
			return inSubject{}, fmt.Errorf("subject %q: %q is not a unix time", subject, tok[2])
		}
		return inSubject{kind: "tick", policy: tok[1], planned: time.Unix(unix, 0).UTC()}, checkTokens([]string{"policy"}, tok[1])
	case tok[0] == "cmd" && len(tok) == 5:
		return inSubject{kind: "cmd", who: tok[1], region: tok[2], instance: tok[3], action: tok[4]},
			checkTokens([]string{"who", "region", "instance", "action"}, tok[1:]...)
	case tok[0] == "sig" && len(tok) == 4:
		return inSubject{kind: "sig", who: tok[1], region: tok[2], instance: tok[3]},
			checkTokens([]string{"source", "region", "instance"}, tok[1:]...)
	}
	return inSubject{}, fmt.Errorf("subject %q is none of tick.<policy>.<unix>, cmd.<who>.<region>.<instance>.<action>, sig.<source>.<region>.<instance>", subject)
}
