package schedule

import (
	"time"
	_ "time/tzdata" // zones must not depend on the machine
)

// State is what a weekly schedule wants at an instant.
type State string

// The states of a schedule.
const (
	Running State = "running"
	Stopped State = "stopped"
	Any     State = "any" // a one-sided schedule outside its windows has no voice
)

// Weekly is a named set of windows in a zone, made by ParseWeekly.
type Weekly struct {
	// (fields are the implementer's)
}

// Cron is a five-field spec in a zone, made by ParseCron.
type Cron struct {
	// (fields are the implementer's)
}

// Transition is an instant at which the state of a schedule changes.
type Transition struct {
	At time.Time
	To State
}
