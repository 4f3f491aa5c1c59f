// Package schedule says when work is due and when it may start: cron
// expressions, maintenance windows and freezes, all on the wall clock of a time
// zone. It reads no clock; the time is an argument.
//
// # Clocks that jump
//
// Everything here follows from one rule. A time written in configuration stands
// for the earliest instant at which the clock of its zone shows at least that
// time. A time that does not exist (the clock is put forward) is the first
// instant after the gap. A time that exists twice (the clock is put back) is the
// first of the two. So every nominal time happens exactly once and in order.
//
// The only exception are schedules that run in every hour; see [Cron].
//
// The years 2 to 9998 are covered. Nothing is due and no window is open outside
// them.
package schedule
