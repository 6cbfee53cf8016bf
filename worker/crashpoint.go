package worker

// crashPoint is a place on the way of an action right after something was made
// to last, or was sent. A build with the tag crashpoints can be told to end
// itself there as if it were killed (crashpoint_on.go); any other build has
// nothing of it. The test in worker/crash goes through all of them.
type crashPoint string

const (
	tickStored      crashPoint = "tick-stored"
	tickRemembered  crashPoint = "tick-remembered"
	planStored      crashPoint = "plan-stored"
	triggerAcked    crashPoint = "trigger-acknowledged"
	runTaken        crashPoint = "run-taken"
	heldNoticed     crashPoint = "held-noticed"
	approvalStored  crashPoint = "approval-stored"
	approvalHeard   crashPoint = "approval-heard"
	startedStored   crashPoint = "started-stored"
	cooldownStored  crashPoint = "cooldown-stored"
	requestSent     crashPoint = "request-sent"
	answerRead      crashPoint = "answer-read"
	acceptedNoted   crashPoint = "accepted-noted"
	stageNoticed    crashPoint = "stage-noticed"
	putOffNoted     crashPoint = "put-off-noted"
	outcomeKnown    crashPoint = "outcome-known"
	outcomeStored   crashPoint = "outcome-stored"
	runAcknowledged crashPoint = "run-acknowledged"
)
