package schedule_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-dr/holdfast/config/schedule"
)

func clock(t testing.TB, s string) schedule.Clock {
	t.Helper()
	c, err := schedule.ParseClock(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// window reads "mon,tue 22:00-06:00"; without days it is every day.
func window(t testing.TB, text, zone string) schedule.Window {
	t.Helper()
	w := schedule.Window{Location: load(t, zone)}
	if names, rest, ok := strings.Cut(text, " "); ok {
		days, err := schedule.ParseDays(strings.Split(names, ","))
		if err != nil {
			t.Fatal(err)
		}
		w.Days, text = days, rest
	}
	start, end, _ := strings.Cut(text, "-")
	w.Start, w.End = clock(t, start), clock(t, end)
	return w
}

func showInterval(i schedule.Interval) string {
	if i.IsZero() {
		return "never"
	}
	const layout = "01-02T15:04Z07:00"
	return i.Start.Format(layout) + " to " + i.End.Format(layout)
}

func TestWindow(t *testing.T) {
	tests := []struct{ name, window, zone, at, open, next string }{
		{"inside", "22:00-06:00", "Europe/Berlin", "2026-06-10T23:00:00+02:00",
			"06-10T22:00+02:00 to 06-11T06:00+02:00", "06-11T22:00+02:00 to 06-12T06:00+02:00"},
		{"the start belongs to it", "22:00-06:00", "Europe/Berlin", "2026-06-10T22:00:00+02:00",
			"06-10T22:00+02:00 to 06-11T06:00+02:00", "06-11T22:00+02:00 to 06-12T06:00+02:00"},
		{"the end does not", "22:00-06:00", "Europe/Berlin", "2026-06-11T06:00:00+02:00",
			"never", "06-11T22:00+02:00 to 06-12T06:00+02:00"},
		{"Friday night belongs to Friday", "mon,tue,wed,thu,fri 22:00-06:00", "Europe/Berlin", "2026-06-13T05:59:59+02:00",
			"06-12T22:00+02:00 to 06-13T06:00+02:00", "06-15T22:00+02:00 to 06-16T06:00+02:00"},
		{"Sunday night does not belong to Monday", "mon,tue,wed,thu,fri 22:00-06:00", "Europe/Berlin", "2026-06-15T03:00:00+02:00",
			"never", "06-15T22:00+02:00 to 06-16T06:00+02:00"},
		{"up to midnight", "sat 20:00-24:00", "Europe/Berlin", "2026-06-13T23:59:00+02:00",
			"06-13T20:00+02:00 to 06-14T00:00+02:00", "06-20T20:00+02:00 to 06-21T00:00+02:00"},
		{"up to midnight, written as the next day's", "sat 20:00-00:00", "Europe/Berlin", "2026-06-13T23:59:00+02:00",
			"06-13T20:00+02:00 to 06-14T00:00+02:00", "06-20T20:00+02:00 to 06-21T00:00+02:00"},
		{"equal times are a whole day", "wed 06:00-06:00", "Europe/Berlin", "2026-06-11T05:00:00+02:00",
			"06-10T06:00+02:00 to 06-11T06:00+02:00", "06-17T06:00+02:00 to 06-18T06:00+02:00"},
		{"whole days are one opening", "mon,tue,wed,thu,fri 00:00-24:00", "Europe/Berlin", "2026-06-10T12:00:00+02:00",
			"06-08T00:00+02:00 to 06-13T00:00+02:00", "06-15T00:00+02:00 to 06-20T00:00+02:00"},
		{"six days", "mon,tue,wed,thu,fri,sat 06:00-06:00", "Europe/Berlin", "2026-06-10T12:00:00+02:00",
			"06-08T06:00+02:00 to 06-14T06:00+02:00", "06-15T06:00+02:00 to 06-21T06:00+02:00"},
		{"always", "00:00-24:00", "Europe/Berlin", "2026-06-10T12:00:00+02:00",
			"01-01T00:00Z to 01-01T00:00Z", "never"},
		{"always, day by day", "mon,tue,wed,thu,fri,sat,sun 03:00-03:00", "Europe/Berlin", "2026-06-10T12:00:00+02:00",
			"01-01T00:00Z to 01-01T00:00Z", "never"},
		{"an hour shorter in spring", "22:00-06:00", "Europe/Berlin", "2026-03-29T03:00:00+02:00",
			"03-28T22:00+01:00 to 03-29T06:00+02:00", "03-29T22:00+02:00 to 03-30T06:00+02:00"},
		{"an hour longer in autumn", "22:00-06:00", "Europe/Berlin", "2026-10-25T02:59:00+01:00",
			"10-24T22:00+02:00 to 10-25T06:00+01:00", "10-25T22:00+01:00 to 10-26T06:00+01:00"},
		{"the start is skipped", "02:30-05:00", "Europe/Berlin", "2026-03-29T03:10:00+02:00",
			"03-29T03:00+02:00 to 03-29T05:00+02:00", "03-30T02:30+02:00 to 03-30T05:00+02:00"},
		{"the end is skipped", "01:00-02:30", "Europe/Berlin", "2026-03-29T01:59:00+01:00",
			"03-29T01:00+01:00 to 03-29T03:00+02:00", "03-30T01:00+02:00 to 03-30T02:30+02:00"},
		{"all of it is skipped", "01:30-02:00", "Europe/London", "2026-03-29T02:15:00+01:00",
			"03-29T02:00+01:00 to 03-29T02:30+01:00", "03-30T01:30+01:00 to 03-30T02:00+01:00"},
		{"the start is doubled", "02:30-04:00", "Europe/Berlin", "2026-10-25T02:15:00+01:00",
			"10-25T02:30+02:00 to 10-25T04:00+01:00", "10-26T02:30+01:00 to 10-26T04:00+01:00"},
		{"the end is doubled", "01:00-02:30", "Europe/Berlin", "2026-10-25T02:45:00+02:00",
			"never", "10-26T01:00+01:00 to 10-26T02:30+01:00"},
		{"all of it is doubled", "02:15-02:45", "Europe/Berlin", "2026-10-25T02:30:00+01:00",
			"never", "10-26T02:15+01:00 to 10-26T02:45+01:00"},
		{"half an hour is skipped", "02:00-04:00", "Australia/Lord_Howe", "2026-10-04T02:30:00+11:00",
			"10-04T02:30+11:00 to 10-04T04:00+11:00", "10-05T02:00+11:00 to 10-05T04:00+11:00"},
		{"the day is skipped", "fri 22:00-06:00", "Pacific/Apia", "2011-12-31T00:00:00+14:00",
			"12-31T00:00+14:00 to 12-31T06:00+14:00", "01-06T22:00+14:00 to 01-07T06:00+14:00"},
		{"days that touch over a skipped one", "thu,sat 00:00-24:00", "Pacific/Apia", "2011-12-31T12:00:00+14:00",
			"12-29T00:00-10:00 to 01-01T00:00+14:00", "01-05T00:00+14:00 to 01-06T00:00+14:00"},
		{"three days that touch, from the first", "wed,thu,sat 00:00-24:00", "Pacific/Apia", "2011-12-28T12:00:00-10:00",
			"12-28T00:00-10:00 to 01-01T00:00+14:00", "01-04T00:00+14:00 to 01-06T00:00+14:00"},
		{"three days that touch, from the last", "thu,sat,sun 00:00-24:00", "Pacific/Apia", "2012-01-01T12:00:00+14:00",
			"12-29T00:00-10:00 to 01-02T00:00+14:00", "01-05T00:00+14:00 to 01-06T00:00+14:00"},
		{"one night a week", "fri 22:00-06:00", "Europe/Berlin", "2026-06-12T22:00:00+02:00",
			"06-12T22:00+02:00 to 06-13T06:00+02:00", "06-19T22:00+02:00 to 06-20T06:00+02:00"},
		{"midnight is skipped", "00:00-02:00", "America/Sao_Paulo", "2018-11-04T01:00:00-02:00",
			"11-04T01:00-02:00 to 11-04T02:00-02:00", "11-05T00:00-02:00 to 11-05T02:00-02:00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, at := window(t, tt.window, tt.zone), instant(t, tt.at)
			open, ok := w.Open(at)
			if got := showInterval(open); got != tt.open || ok != (tt.open != "never") {
				t.Errorf("open %s, want %s", got, tt.open)
			}
			if got := showInterval(w.Next(at)); got != tt.next {
				t.Errorf("next %s, want %s", got, tt.next)
			}
		})
	}
}

// openings are those of an era, found minute by minute, in minutes from its start.
func (h *history) openings(w schedule.Window) [][2]int {
	covered := make([]bool, len(h.readings)+1)
	length := (int64(w.End-w.Start) + 1440) % 1440 * 60
	if length == 0 {
		length = 24 * 3600
	}
	lowest, highest := slices.Min(h.readings), slices.Max(h.readings)
	for midnight := lowest - mod(lowest, 24*3600) - 3*24*3600; midnight < highest; midnight += 24 * 3600 {
		if len(w.Days) > 0 && !slices.Contains(w.Days, time.Unix(midnight, 0).UTC().Weekday()) {
			continue
		}
		start := midnight + int64(w.Start)*60
		if start+length <= h.readings[0] {
			continue
		}
		from, to := h.firstShowing(start), h.firstShowing(start+length)
		if from == to {
			to += int(length / 60)
		}
		for i := from; i < min(to, len(h.readings)); i++ {
			covered[i] = true
		}
	}
	var all [][2]int
	for i := range covered {
		switch {
		case covered[i] && (i == 0 || !covered[i-1]):
			all = append(all, [2]int{i, i})
		case !covered[i] && i > 0 && covered[i-1]:
			all[len(all)-1][1] = i
		}
	}
	return all
}

func TestWindowMatchesReference(t *testing.T) {
	minutes := rapid.OneOf(rapid.IntRange(0, 1440), rapid.SampledFrom([]int{0, 1, 30, 60, 90, 120, 150, 180, 1380, 1439, 1440}))
	rapid.Check(t, func(rt *rapid.T) {
		h := rapid.SampledFrom(eras).Draw(rt, "era").history(t)
		w := schedule.Window{
			Start: schedule.Clock(minutes.Draw(rt, "start")), End: schedule.Clock(minutes.Draw(rt, "end")), Location: h.loc,
			Days: rapid.SliceOfDistinct(rapid.SampledFrom([]time.Weekday{0, 1, 2, 3, 4, 5, 6}), rapid.ID).Draw(rt, "days"),
		}
		want := h.openings(w)
		// The ends of an era do not show the whole of an opening.
		whole := func(o [2]int) bool { return o[0] > 0 && o[1] < len(h.readings) }
		check := func(i int) {
			if i < 0 || i >= len(h.readings) {
				return
			}
			at := h.at(i).Add(time.Duration(i%60) * time.Second)
			open, ok := w.Open(at)
			n, inside := slices.BinarySearchFunc(want, i, func(o [2]int, i int) int {
				switch {
				case o[1] <= i:
					return -1
				case o[0] > i:
					return 1
				}
				return 0
			})
			if ok != inside || ok && whole(want[n]) && !always(open) &&
				(!open.Start.Equal(h.at(want[n][0])) || !open.End.Equal(h.at(want[n][1]))) {
				rt.Fatalf("%s %v at %s: open %v %s, want %v", h.loc, w, at, ok, showInterval(open), inside)
			}
			if ok && !open.Contains(at) {
				rt.Fatalf("%s %v at %s: %s does not contain it", h.loc, w, at, showInterval(open))
			}
			if inside {
				n++
			}
			next := w.Next(at)
			if n >= len(want) || !whole(want[n]) || always(open) {
				return
			}
			if !next.Start.Equal(h.at(want[n][0])) || !next.End.Equal(h.at(want[n][1])) {
				rt.Fatalf("%s %v at %s: next %s, want %s", h.loc, w, at, showInterval(next), showInterval(schedule.Interval{Start: h.at(want[n][0]), End: h.at(want[n][1])}))
			}
		}
		for _, o := range want {
			for _, i := range []int{o[0] - 1, o[0], o[0] + 1, o[1] - 1, o[1], o[1] + 1} {
				check(i)
			}
		}
		for i := rapid.IntRange(0, 500).Draw(rt, "first"); i < len(h.readings); i += 509 {
			check(i)
		}
	})
}

func always(i schedule.Interval) bool { return i.Start.Year() == 2 }

func TestWindowWithStrangeValues(t *testing.T) {
	times := []time.Time{
		{}, time.Unix(-1<<63, 0), time.Unix(1<<62, 0), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 999, time.UTC), time.Date(9996, 12, 31, 12, 0, 0, 0, time.UTC), time.Date(9998, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	clocks := []schedule.Clock{-1 << 62, -1, 0, 1, 1439, 1440, 1441, 100000, 1<<62 + 1}
	for _, zone := range []string{"UTC", "Europe/Berlin", "Pacific/Apia", "Pacific/Kiritimati"} {
		for _, days := range [][]time.Weekday{nil, {3}, {9, -1}, {0, 1, 2, 3, 4, 5, 6}, {0, 2, 3, 4, 5, 6}} {
			for _, start := range clocks {
				for _, end := range clocks {
					w := schedule.Window{Days: days, Start: start, End: end, Location: load(t, zone)}
					for _, at := range times {
						open, ok := w.Open(at)
						if ok && !open.Contains(at) {
							t.Errorf("%v at %s: %s", w, at, showInterval(open))
						}
						if next := w.Next(at); !next.IsZero() && (!next.Start.After(at) && at.Year() >= 2 || !next.End.After(next.Start)) {
							t.Errorf("%v after %s: %s", w, at, showInterval(next))
						}
					}
				}
			}
		}
	}
	w := schedule.Window{Days: []time.Weekday{9}, Start: 60, End: 120}
	if _, ok := w.Open(time.Unix(5400, 0)); ok || !w.Next(time.Unix(0, 0)).IsZero() {
		t.Error("a window on no day of the week opens")
	}
	w.Days = nil
	if open, ok := w.Open(time.Unix(5400, 0)); !ok || showInterval(open) != "01-01T01:00Z to 01-01T02:00Z" {
		t.Errorf("without a zone: %s", showInterval(open))
	}
}

func TestParseClock(t *testing.T) {
	for in, want := range map[string]schedule.Clock{"00:00": 0, "06:05": 365, "23:59": 1439, "24:00": 1440} {
		if got, err := schedule.ParseClock(in); err != nil || got != want || got.String() != in {
			t.Errorf("ParseClock(%q) gives %d (%s), %v", in, got, got, err)
		}
	}
	for _, in := range []string{"", "6:00", "06:0", "0600", "06:00:00", "24:01", "23:60", "25:00", "-1:00", "+1:00", " 6:00", "06.00", "06:00 ", "٠٦:٠٠", "aa:bb", "06:00\x00", "99:99", strings.Repeat("0", 1<<20)} {
		if got, err := schedule.ParseClock(in); err == nil {
			t.Errorf("ParseClock(%q) gives %s", in, got)
		} else if len(err.Error()) > 300 || !strings.Contains(err.Error(), "write") {
			t.Errorf("ParseClock(%.20q): %.300s", in, err)
		}
	}
}

func TestParseDays(t *testing.T) {
	got, err := schedule.ParseDays([]string{"sat", "mon", "sun", "mon"})
	if want := []time.Weekday{time.Saturday, time.Monday, time.Sunday}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := schedule.ParseDays(nil); err != nil || len(got) != 0 {
		t.Errorf("no days give %v, %v", got, err)
	}
	for _, in := range []string{"", "Mon", "monday", "mo", "1", "mon,tue", " mon", strings.Repeat("x", 1<<20)} {
		if got, err := schedule.ParseDays([]string{"mon", in}); err == nil {
			t.Errorf("ParseDays(%q) gives %v", in, got)
		} else if !strings.Contains(err.Error(), `"sun"`) || len(err.Error()) > 300 {
			t.Errorf("ParseDays(%.20q): %.300s", in, err)
		}
	}
}

func FuzzParseClock(f *testing.F) {
	for _, seed := range []string{"00:00", "24:00", "6:00", "23:60", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := schedule.ParseClock(s)
		if err == nil && (c.String() != s || c < 0 || c > 1440) {
			t.Fatalf("%q reads as %d, prints as %q", s, c, c)
		}
	})
}

func BenchmarkWindow(b *testing.B) {
	at := instant(b, "2026-10-21T12:00:00Z")
	for _, text := range []string{"22:00-06:00", "mon,tue,wed,thu,fri 22:00-06:00", "mon,tue,wed,thu,fri 00:00-24:00", "sun 01:00-02:00"} {
		w := window(b, text, "Europe/Berlin")
		b.Run(fmt.Sprintf("Open/%s", text), func(b *testing.B) {
			for b.Loop() {
				w.Open(at)
			}
		})
		b.Run(fmt.Sprintf("Next/%s", text), func(b *testing.B) {
			for b.Loop() {
				w.Next(at)
			}
		})
	}
}
