// Package schedule knows when: weekly windows and cron specs, in zones with
// daylight saving. It is pure: it asks no clock and does no I/O.
//
// A [Weekly] is a level: at every instant it wants running, stopped, or has no
// voice ([Any]). A [Cron] is a list of planned times. Both are asked with an
// instant and answer with instants: what is wanted at t, and when is the next,
// or newest, edge.
//
// All wall-clock times are matched on the calendar of a zone and only then
// mapped to an instant: the first at which the wall clock shows that time or a
// later one. So
//
//   - a wall time in the gap when clocks go forward happens at the first instant
//     after the gap; several that land there happen once;
//   - a wall time in the overlap when clocks go back happens at its first reading.
//
// A cron spec for every hour (hour field * or */1, or a range that covers the
// day) follows elapsed time instead: it fires in both readings of an overlap, and
// not in a gap, where there is no such hour. Where day of month and weekday are
// both restricted, one of them is enough, as in every cron.
//
// Windows are half-open, [from, to). A window that passes midnight belongs to
// the day on which it begins; an end not after its start lies on the next day.
// Windows that touch or overlap are one: there is no edge between them. A window
// whose ends fall on the same instant is empty.
//
// Running windows alone want stopped outside of them, stopped windows alone want
// running. A schedule with both, or one that is [Weekly.OneSided], has no voice
// outside its windows. Running and stopped windows that overlap are refused.
//
// Promises: Next is strictly later, and the same from any instant before it;
// Prev is its mirror; At is the fold of both. What parses prints as a text that
// parses back equal. All values are read-only and safe for concurrent use; all
// instants that are returned are in UTC; every error is an [*Error] that says
// where in the text the fault is.
//
// Limits: a Weekly looks 40 years ahead and back for an edge, a Cron 28.
// Zone data is the machine's where it has any (as the time package does), else
// the embedded; wall times are whole minutes.
//
// robfig/cron is used as a parser only. Its clock skips times in gaps, doubles
// them in overlaps and loses days whose midnight does not exist.
package schedule
