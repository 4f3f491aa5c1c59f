package schedule_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dr/holdfast/config/schedule"
)

// era is a piece of a zone's history in which its clock does something worth
// testing. Offsets are whole minutes in all of them.
type era struct {
	zone       string
	start, end string
}

var eras = []era{
	{"UTC", "2028-02-15", "2028-03-15"},
	{"Europe/Berlin", "2026-03-18", "2026-04-10"},
	{"Europe/Berlin", "2026-10-14", "2026-11-10"},
	{"Europe/Berlin", "2040-12-15", "2041-04-10"}, // beyond Go's tables, over 31 December of a leap year
	{"Europe/London", "1968-02-10", "1968-03-10"}, // summer time that stayed
	{"Europe/Berlin", "1945-05-15", "1945-06-05"}, // into two hours of summer time
	{"Europe/Dublin", "2027-03-20", "2027-04-02"}, // negative summer time
	{"America/New_York", "2026-03-01", "2026-03-15"},
	{"America/New_York", "2026-10-25", "2026-11-08"},
	{"America/Sao_Paulo", "2018-10-25", "2018-11-15"}, // midnight skipped
	{"America/Sao_Paulo", "2019-02-05", "2019-02-28"}, // 23:00 repeated
	{"America/St_Johns", "2006-10-15", "2006-11-05"},  // changes at 00:01
	{"America/Havana", "2026-03-01", "2026-03-15"},    // midnight skipped
	{"America/Havana", "2026-10-20", "2026-11-08"},    // midnight repeated
	{"America/Caracas", "2007-12-01", "2007-12-15"},   // half an hour back
	{"Africa/Casablanca", "2026-02-05", "2026-04-01"}, // put back for a month
	{"Africa/Cairo", "2026-10-10", "2026-11-10"},
	{"Asia/Kathmandu", "1985-12-20", "1986-01-10"}, // a quarter of an hour forward
	{"Asia/Pyongyang", "2015-08-01", "2015-08-31"},
	{"Asia/Pyongyang", "2018-04-20", "2018-05-15"},
	{"Antarctica/Troll", "2026-10-15", "2026-11-05"}, // two hours
	{"Australia/Lord_Howe", "2026-03-25", "2026-04-15"},
	{"Australia/Lord_Howe", "2026-09-24", "2026-10-15"},
	{"Pacific/Apia", "2011-12-18", "2012-01-15"},      // no 30 December
	{"Pacific/Kwajalein", "1993-08-10", "1993-09-01"}, // no 21 August
	{"America/Juneau", "1983-10-20", "1983-11-10"},    // two hours back
}

// history is an era minute by minute: what the clock shows, in seconds as if it
// were UTC. It is found with Time.In alone, the part of package time that the
// code under test has in common with it.
type history struct {
	loc      *time.Location
	first    time.Time
	readings []int64
}

var (
	historiesMu sync.Mutex
	histories   = map[era]*history{}
)

func (e era) history(t testing.TB) *history {
	t.Helper()
	historiesMu.Lock()
	defer historiesMu.Unlock()
	if h, ok := histories[e]; ok {
		return h
	}
	loc, err := schedule.LoadZone(e.zone)
	if err != nil {
		t.Fatal(err)
	}
	first, err1 := time.Parse(time.DateOnly, e.start)
	end, err2 := time.Parse(time.DateOnly, e.end)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	h := &history{loc: loc, first: first}
	for at := first; at.Before(end); at = at.Add(time.Minute) {
		_, offset := at.In(loc).Zone()
		if offset%60 != 0 {
			t.Fatalf("%s is %d seconds from UTC at %s", e.zone, offset, at)
		}
		h.readings = append(h.readings, at.Unix()+int64(offset))
	}
	histories[e] = h
	return h
}

func (h *history) at(i int) time.Time { return h.first.Add(time.Duration(i) * time.Minute).In(h.loc) }

func (h *history) end() time.Time { return h.at(len(h.readings)) }

// firstShowing is the rule of the package, word for word. It gives
// len(readings) when the era ends before.
func (h *history) firstShowing(reading int64) int {
	i := slices.IndexFunc(h.readings, func(r int64) bool { return r >= reading })
	if i < 0 {
		return len(h.readings)
	}
	return i
}

// sets are the selected values of a schedule, field by field.
type sets struct {
	minute, hour, date, month, weekday set
	anyDate, anyWeekday                bool
}

type set [60]bool

func numbers(from, to int) set {
	var s set
	for n := from; n <= to; n++ {
		s[n] = true
	}
	return s
}

func (s sets) match(reading int64) bool {
	if !s.minute[mod(reading, 3600)/60] || !s.hour[mod(reading, 24*3600)/3600] {
		return false
	}
	at := time.Unix(reading, 0).UTC()
	if !s.month[at.Month()] {
		return false
	}
	date, weekday := s.date[at.Day()], s.weekday[at.Weekday()]
	if s.anyDate || s.anyWeekday {
		return date && weekday
	}
	return date || weekday
}

// occurrences are all of an era, found minute by minute. The first day is left
// out, because its beginning does not show what the clock reached before.
func (h *history) occurrences(s sets) []schedule.Occurrence {
	var all []schedule.Occurrence
	const firstDay = 24 * 60
	top := slices.Max(h.readings[:firstDay])
	for i := firstDay; i < len(h.readings); i++ {
		now := h.readings[i]
		if s.hour == numbers(0, 23) {
			if s.match(now) {
				all = append(all, schedule.Occurrence{Nominal: h.at(i).Format("2006-01-02T15:04Z07:00"), At: h.at(i)})
			}
			continue
		}
		nominal := ""
		for ; top < now; top += 60 {
			if s.match(top + 60) {
				nominal = time.Unix(top+60, 0).UTC().Format("2006-01-02T15:04")
			}
		}
		if nominal != "" {
			all = append(all, schedule.Occurrence{Nominal: nominal, At: h.at(i)})
		}
	}
	return all
}

func mod(a, b int64) int64 { return (a%b + b) % b }
