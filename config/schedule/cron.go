package schedule

import (
	"time"
)

// Cron is a five-field cron expression on the wall clock of a time zone. It is
// immutable and safe for concurrent use.
//
// A schedule that names hours ("30 2 * * *", "0 2,3 * * *", "0 */2 * * *") runs
// exactly once for each nominal time, by the rule of this package: 02:30 runs on
// the night it is skipped (at the first instant after the gap) and runs once on
// the night it is shown twice. Nominal times that a gap pushes onto one instant
// are one occurrence, which bears the newest of their labels: two backups in
// the same second protect no more than one.
//
// A schedule that runs in all 24 hours ("*/15 * * * *", "0 * * * *", "@hourly")
// follows the clock as it runs instead. Here the writer wants a steady distance
// between runs: a skipped hour has no runs, because the hour after it follows
// at once, and a repeated hour has its runs both times. By the other rule an
// hourly backup would be two hours apart once a year.
//
// Day of month and day of week follow POSIX: when both are restricted, a day
// that matches either is a match.
type Cron struct {
	expr string
	loc  *time.Location

	minutes, hours, days, months, weekdays uint64 // bit n: n is selected

	eitherDay bool // a day matches by its date or its weekday, not only by both
	everyHour bool
}

// Occurrence is one time at which a schedule is due. The zero Occurrence stands
// for none.
type Occurrence struct {
	// Nominal names the occurrence: the wall-clock time asked for, such as
	// "2026-10-25T02:30". Schedules that run in every hour add the distance
	// from UTC ("2026-10-25T02:30+01:00"), since their times can repeat. It is
	// unique within its schedule and a key, not a sort order: sort by At.
	Nominal string
	// At is when it is due, a whole second in the schedule's zone.
	At time.Time
}

// IsZero reports whether there is no occurrence.
func (o Occurrence) IsZero() bool { return o.Nominal == "" }

// String gives the expression as it was written, with single spaces.
func (c *Cron) String() string { return c.expr }

// Next gives the first occurrence that is due strictly after an instant, or the
// zero Occurrence when the year 9998 ends before.
func (c *Cron) Next(after time.Time) Occurrence {
	t := instant(after)
	if c.everyHour {
		for t++; ; {
			s := stretchAt(c.loc, t)
			reading, ok := c.nextReading(t + s.offset)
			if !ok {
				return Occurrence{}
			}
			if reading-s.offset < s.to {
				return c.occurrence(reading, reading-s.offset)
			}
			t = s.to
		}
	}
	reading, ok := c.nextReading(reached(c.loc, t) + 1)
	if !ok {
		return Occurrence{}
	}
	t = firstShowing(c.loc, reading)
	if shown := t + stretchAt(c.loc, t).offset; shown > reading {
		reading, _ = c.lastReading(shown)
	}
	return c.occurrence(reading, t)
}

// Latest gives the newest occurrence that is due at an instant or before it.
// False means that there is none since the year 2.
func (c *Cron) Latest(at time.Time) (Occurrence, bool) {
	t := instant(at)
	if c.everyHour {
		for {
			s := stretchAt(c.loc, t)
			reading, ok := c.lastReading(t + s.offset)
			if !ok {
				return Occurrence{}, false
			}
			if reading-s.offset >= s.from {
				return c.occurrence(reading, reading-s.offset), true
			}
			t = s.from - 1
		}
	}
	reading, ok := c.lastReading(reached(c.loc, t))
	if !ok {
		return Occurrence{}, false
	}
	return c.occurrence(reading, firstShowing(c.loc, reading)), true
}

// Between gives the occurrences after from and up to to, oldest first, at most
// limit of them. More says that there are others.
func (c *Cron) Between(from, to time.Time, limit int) (occ []Occurrence, more bool) {
	for o := c.Next(from); !o.IsZero() && !o.At.After(to); o = c.Next(o.At) {
		if len(occ) >= limit {
			return occ, true
		}
		occ = append(occ, o)
	}
	return occ, false
}

func (c *Cron) occurrence(reading, t int64) Occurrence {
	o := Occurrence{At: moment(c.loc, t)}
	switch _, offset := o.At.Zone(); {
	case !c.everyHour:
		o.Nominal = time.Unix(reading, 0).UTC().Format("2006-01-02T15:04")
	case offset%60 != 0: // local mean time, before zones
		o.Nominal = o.At.Format("2006-01-02T15:04-07:00:00")
	default:
		o.Nominal = o.At.Format("2006-01-02T15:04Z07:00")
	}
	return o
}
