package schedule

import (
	"fmt"
	"slices"
	"time"
)

// Clock is a time of day in minutes after midnight, 0 to 1440. 1440 (24:00) is
// the midnight that ends the day; it makes sense as an end only.
type Clock int

// ParseClock reads "HH:MM", "00:00" to "24:00".
func ParseClock(s string) (Clock, error) {
	if len(s) != 5 || s[2] != ':' || !digits(s[:2]+s[3:]) {
		return 0, fmt.Errorf("%.20q is not a time of day; write two digits for the hour and two for the minute, for example \"06:00\"", s)
	}
	hour, minute := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	if minute > 59 || hour*60+minute > 24*60 {
		return 0, fmt.Errorf("%q is not a time of day; write \"00:00\" to \"23:59\", or \"24:00\" for the end of the day", s)
	}
	return Clock(hour*60 + minute), nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// String gives "HH:MM".
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", int(c)/60, int(c)%60) }

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseDays reads names of weekdays, "mon" to "sun". A day named twice counts
// once.
func ParseDays(names []string) ([]time.Weekday, error) {
	var days []time.Weekday
	for _, name := range names {
		i := slices.Index(dayNames, name)
		if i < 0 {
			return nil, fmt.Errorf("%.20q is not a day of the week; write \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\" or \"sun\"", name)
		}
		if !slices.Contains(days, time.Weekday(i)) {
			days = append(days, time.Weekday(i))
		}
	}
	return days, nil
}

// Window is a stretch of wall-clock time that comes back on certain days. When
// End is not after Start it crosses midnight and belongs to the day it starts
// on; when both are equal it lasts a whole day.
//
// Openings that touch are one opening: Monday to Friday from 00:00 to 24:00 is
// open for five days on end. An opening that the clock skips from its start to
// its end keeps its nominal length and begins after the gap, so that every
// selected day has one.
type Window struct {
	Days       []time.Weekday // that it starts on; all days when empty
	Start, End Clock
	Location   *time.Location // nil means UTC
}

// Interval is a stretch of time: Start belongs to it, End does not.
type Interval struct{ Start, End time.Time }

// IsZero reports whether there is no interval.
func (i Interval) IsZero() bool { return i.Start.IsZero() && i.End.IsZero() }

// Contains reports whether an instant lies in the interval.
func (i Interval) Contains(at time.Time) bool { return !at.Before(i.Start) && at.Before(i.End) }

// span is an Interval in instants.
type span struct{ from, to int64 }

// Open gives the opening that contains an instant. A window that is always open
// has one, from the start of the year 2 to the end of the year 9998.
func (w Window) Open(at time.Time) (Interval, bool) {
	t := instant(at)
	switch {
	case t < firstSecond || t > lastSecond:
		return Interval{}, false
	case w.always():
		return Interval{Start: moment(time.UTC, firstSecond), End: moment(time.UTC, lastSecond+1)}, true
	}
	for d := w.dayOf(t) - 2; d <= w.dayOf(t)+1; d++ {
		if o, ok := w.opening(d); ok && o.from <= t && t < o.to {
			return w.interval(w.grown(d, o)), true
		}
	}
	return Interval{}, false
}

// Next gives the first opening that starts strictly after an instant, or the
// zero Interval when there is none: the window is always open, or the year 9998
// ends before.
func (w Window) Next(at time.Time) Interval {
	if w.always() {
		return Interval{}
	}
	t := instant(at)
	if open, ok := w.Open(at); ok {
		t = open.End.Unix()
	}
	for d := w.dayOf(t) - 2; d <= w.dayOf(t)+8; d++ {
		if o, ok := w.opening(d); ok && o.from > t && o.from <= lastSecond {
			return w.interval(w.grown(d, o))
		}
	}
	return Interval{}
}

func (w Window) always() bool {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if !w.on(d) {
			return false
		}
	}
	return w.length() == day
}

// length is how long the window is open when the clock does not jump.
func (w Window) length() int64 {
	if length := mod(int64(w.End-w.Start)*60, day); length != 0 {
		return length
	}
	return day
}

func (w Window) on(d time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, d) }

// dayOf counts the days from 1970-01-01 to what the calendar shows.
func (w Window) dayOf(t int64) int64 {
	reading := t + stretchAt(w.Location, t).offset
	return (reading - mod(reading, day)) / day
}

// opening gives the opening that belongs to a day.
func (w Window) opening(d int64) (span, bool) {
	if !w.on(time.Weekday(mod(d+int64(time.Thursday), 7))) {
		return span{}, false
	}
	from := d*day + 60*min(max(int64(w.Start), 0), 24*60)
	o := span{firstShowing(w.Location, from), firstShowing(w.Location, from+w.length())}
	if o.to == o.from {
		o.to += w.length()
	}
	return o, true
}

// grown joins an opening with those it touches. Only a skipped day can lie
// between two openings that touch, and no run of them is longer than a week,
// since always is dealt with before.
func (w Window) grown(d int64, o span) span {
	for next, last := d+1, d+2; next <= last; next++ {
		if n, ok := w.opening(next); ok {
			if n.from > o.to {
				break
			}
			o.to, last = max(o.to, n.to), next+2
		}
	}
	for before, first := d-1, d-2; before >= first; before-- {
		if p, ok := w.opening(before); ok {
			if p.to < o.from {
				break
			}
			o.from, first = p.from, before-2
		}
	}
	return o
}

func (w Window) interval(s span) Interval {
	return Interval{Start: moment(w.Location, s.from), End: moment(w.Location, s.to)}
}
