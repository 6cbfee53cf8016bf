// Package policies decides. Values go in, a [Plan] comes out: it does no I/O,
// asks no clock, starts no goroutine and remembers nothing, so that the same
// code serves the daemon, plan and every test.
//
// A [Policy] does not act; it wants. A schedule is a level: it wants running or
// stopped for as long as its window lasts. Cron, signals and commands are
// impulses: a power want of theirs holds for lasts, or else until the next edge
// of any policy of at least their priority on that instance.
//
// [Decide] is given a [Trigger] and works out, for each instance that it
// concerns and for each [Kind], who wins:
//
//  1. what is protected is not touched;
//  2. a command outranks every policy;
//  3. the highest priority wins;
//  4. between equals an impulse that came after the level began, else running
//     beats stopped: to leave a machine on interrupts nobody;
//  5. between equal impulses the later planned time.
//
// Only the winner acts, and only when it is new: it has an edge in the trigger,
// or something else won just before. Everything that was asked and is not done
// is a [Skip] with its reason. A reboot is an act, not a want: it is dropped
// when the instance should be off, and never stands in the way of a power want.
//
// A plan is in a fixed order and does not depend on the order of policies or
// instances.
package policies
