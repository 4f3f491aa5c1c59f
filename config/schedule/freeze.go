package schedule

import (
	"cmp"
	"fmt"
	"time"
)

// Date is a day of the calendar.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// ParseDate reads "YYYY-MM-DD", a day that exists in the years 1 to 9999.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1 {
		return Date{}, fmt.Errorf("%.20q is not a date; write a day of the calendar as YYYY-MM-DD, for example \"2026-12-24\"", s)
	}
	year, month, date := t.Date()
	return Date{year, month, date}, nil
}

// String gives "YYYY-MM-DD".
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// Compare gives -1, 0 or 1 as d is before, equal to or after e.
func (d Date) Compare(e Date) int {
	return cmp.Or(cmp.Compare(d.Year, e.Year), cmp.Compare(d.Month, e.Month), cmp.Compare(d.Day, e.Day))
}

// Freeze is a stretch of whole days on the calendar of a zone. Where a clock is
// put back over midnight, both passes of an included day are frozen.
type Freeze struct {
	From, To Date           // both included; none are when To is before From
	Location *time.Location // nil means UTC
}

// Covers reports whether an instant lies in the freeze, and then gives the first
// instant after it.
func (f Freeze) Covers(at time.Time) (until time.Time, ok bool) {
	if f.To.Compare(f.From) < 0 {
		return time.Time{}, false
	}
	t := instant(at)
	end := lastBelow(f.Location, f.To.reading()+day)
	if t < firstShowing(f.Location, f.From.reading()) || t >= end {
		return time.Time{}, false
	}
	return moment(f.Location, end), true
}

// reading is the day's first second as a clock reading.
func (d Date) reading() int64 {
	t := time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Unix()
	return min(max(t, firstSecond), lastSecond+1-day)
}
