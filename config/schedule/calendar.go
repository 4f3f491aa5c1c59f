package schedule

import (
	"math/bits"
	"time"
)

// nextReading gives the first clock reading the expression selects that is not
// below the given one. It knows no zone.
func (c *Cron) nextReading(reading int64) (int64, bool) {
	if reading > lastSecond {
		return 0, false
	}
	reading = max(reading, firstSecond)
	reading += mod(-reading, 60)
	year, month, date := time.Unix(reading, 0).UTC().Date()
	midnight := reading - mod(reading, day)

	dates := c.dates(year, month) >> date << date
	if dates>>date&1 == 1 {
		if minute, ok := c.minuteFrom(int(reading-midnight) / 60); ok {
			return midnight + 60*int64(minute), true
		}
		dates &^= 1 << date
	}
	for {
		if dates != 0 {
			minute, ok := c.minuteFrom(0)
			return at(year, month, bits.TrailingZeros64(dates), minute), ok
		}
		if month++; month > time.December {
			year, month = year+1, time.January
		}
		if year > 9998 {
			return 0, false
		}
		dates = c.dates(year, month)
	}
}

// lastReading gives the last clock reading the expression selects that is not
// above the given one.
func (c *Cron) lastReading(reading int64) (int64, bool) {
	if reading < firstSecond {
		return 0, false
	}
	reading = min(reading, lastSecond)
	year, month, date := time.Unix(reading, 0).UTC().Date()
	midnight := reading - mod(reading, day)

	dates := c.dates(year, month) & (2<<date - 1)
	if dates>>date&1 == 1 {
		if minute, ok := c.minuteUpTo(int(reading-midnight) / 60); ok {
			return midnight + 60*int64(minute), true
		}
		dates &^= 1 << date
	}
	for {
		if dates != 0 {
			minute, ok := c.minuteUpTo(24*60 - 1)
			return at(year, month, bits.Len64(dates)-1, minute), ok
		}
		if month--; month < time.January {
			year, month = year-1, time.December
		}
		if year < 2 {
			return 0, false
		}
		dates = c.dates(year, month)
	}
}

// at is a minute of a date as a clock reading.
func at(year int, month time.Month, date, minute int) int64 {
	return time.Date(year, month, date, 0, minute, 0, 0, time.UTC).Unix()
}

// dates gives the selected dates of a month: bit n is the nth.
func (c *Cron) dates(year int, month time.Month) uint64 {
	if c.months>>month&1 == 0 {
		return 0
	}
	first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).Weekday()
	week := (c.weekdays>>first | c.weekdays<<(7-first)) & 0x7f // bit 0: the weekday of the first
	byWeekday := week * (1 | 1<<7 | 1<<14 | 1<<21 | 1<<28) << 1
	existing := uint64(2)<<monthLength(year, month) - 2
	if c.eitherDay {
		return (c.days | byWeekday) & existing
	}
	return c.days & byWeekday & existing
}

func monthLength(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// minuteFrom gives the first selected minute of the day from the given one on.
func (c *Cron) minuteFrom(minute int) (int, bool) {
	hour := minute / 60
	if c.hours>>hour&1 == 1 {
		if m := c.minutes >> (minute % 60); m != 0 {
			return minute + bits.TrailingZeros64(m), true
		}
	}
	later := c.hours >> (hour + 1) << (hour + 1)
	if later == 0 || c.minutes == 0 {
		return 0, false
	}
	return bits.TrailingZeros64(later)*60 + bits.TrailingZeros64(c.minutes), true
}

// minuteUpTo gives the last selected minute of the day up to the given one.
func (c *Cron) minuteUpTo(minute int) (int, bool) {
	hour := minute / 60
	if c.hours>>hour&1 == 1 {
		if m := c.minutes & (2<<(minute%60) - 1); m != 0 {
			return hour*60 + bits.Len64(m) - 1, true
		}
	}
	earlier := c.hours & (1<<hour - 1)
	if earlier == 0 || c.minutes == 0 {
		return 0, false
	}
	return (bits.Len64(earlier)-1)*60 + bits.Len64(c.minutes) - 1, true
}
