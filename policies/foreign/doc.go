// Package foreign reads the schedule grammars of other tools, so that a fleet can
// move over without being tagged anew: Cloud Custodian's off-hours tags and its
// marks, kube-downscaler's time specs, the periods of AWS Instance Scheduler.
//
// Each grammar is one file and one line in the table of [Grammars]; nothing else
// knows of it. Evaluation is faithful to the other tool, its traps included: what
// never matches there never matches here. Where it is a trap, the reader is told
// so by a [Warning], which nightshift check and nightshift import print.
//
// A grammar answers two ways. [Answer] answers one [Question], which is how
// nightshift when --batch is checked against the other tool's own tests. [Read]
// makes a [schedule.Timetable] of a tag's value, which a policy can follow.
//
// Like all of policies it is pure: no clock, no I/O.
package foreign
