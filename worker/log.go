package worker

import (
	"strings"

	"go.uber.org/zap"

	"nightshift/events"
)

// The vocabulary of the log. Event attributes and metric labels use the same words.
const (
	keyPolicy   = "policy"
	keyTrigger  = "trigger"
	keyInstance = "instance_id"
	keyHostname = "hostname"
	keyRegion   = "region"
	keyAction   = "action"
	keyActionID = "action_id"
	keyAttempt  = "attempt"
	keyOutcome  = "outcome"
	keyReason   = "reason"
	keyLateness = "lateness"
	keyPlanned  = "planned"
	keyDetail   = "detail"
	keySubject  = "subject"
)

// regionField is a region as the policy file and the API write it; subjects have it
// in lower case.
func regionField(code string) zap.Field { return zap.String(keyRegion, strings.ToUpper(code)) }

func itemFields(it events.Item) []zap.Field {
	return []zap.Field{
		zap.String(keyAction, it.Action), zap.String(keyActionID, it.ID), zap.String(keyPolicy, it.Policy),
		zap.String(keyInstance, it.Instance), zap.String(keyHostname, it.Hostname), regionField(it.Region),
	}
}
