package schedule_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-dr/holdfast/config/schedule"
)

func date(t testing.TB, s string) schedule.Date {
	t.Helper()
	d, err := schedule.ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFreeze(t *testing.T) {
	tests := []struct{ name, from, to, zone, at, until string }{
		{"before", "2026-12-24", "2026-12-27", "Europe/Berlin", "2026-12-23T23:59:59+01:00", ""},
		{"first instant", "2026-12-24", "2026-12-27", "Europe/Berlin", "2026-12-24T00:00:00+01:00", "2026-12-28T00:00:00+01:00"},
		{"last instant", "2026-12-24", "2026-12-27", "Europe/Berlin", "2026-12-27T23:59:59.999+01:00", "2026-12-28T00:00:00+01:00"},
		{"after", "2026-12-24", "2026-12-27", "Europe/Berlin", "2026-12-28T00:00:00+01:00", ""},
		{"in another zone", "2026-12-24", "2026-12-24", "Asia/Tokyo", "2026-12-23T15:00:00Z", "2026-12-25T00:00:00+09:00"},
		{"one day, 25 hours", "2026-10-25", "2026-10-25", "Europe/Berlin", "2026-10-25T23:30:00+01:00", "2026-10-26T00:00:00+01:00"},
		{"from a skipped midnight", "2018-11-04", "2018-11-04", "America/Sao_Paulo", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"},
		{"until a skipped midnight", "2018-11-03", "2018-11-03", "America/Sao_Paulo", "2018-11-03T23:59:59-03:00", "2018-11-04T01:00:00-02:00"},
		{"a repeated last hour", "2019-02-16", "2019-02-16", "America/Sao_Paulo", "2019-02-16T23:30:00-03:00", "2019-02-17T00:00:00-03:00"},
		{"back over midnight", "2006-10-28", "2006-10-28", "America/St_Johns", "2006-10-28T23:30:00-03:30", "2006-10-29T00:00:00-03:30"},
		{"a skipped day", "2011-12-30", "2011-12-30", "Pacific/Apia", "2011-12-31T00:00:00+14:00", ""},
		{"over a skipped day", "2011-12-29", "2011-12-30", "Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00"},
		{"the wrong way round", "2026-12-27", "2026-12-24", "Europe/Berlin", "2026-12-25T12:00:00+01:00", ""},
		{"for ever", "0001-01-01", "9999-12-31", "UTC", "2026-12-25T12:00:00+01:00", "9999-01-01T00:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := schedule.Freeze{From: date(t, tt.from), To: date(t, tt.to), Location: load(t, tt.zone)}
			until, ok := f.Covers(instant(t, tt.at))
			got := ""
			if ok {
				got = until.Format(time.RFC3339)
			}
			if got != tt.until {
				t.Errorf("frozen until %q, want %q", got, tt.until)
			}
		})
	}
}

// A freeze covers every instant whose date is in it, without a hole.
func TestFreezeMatchesReference(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := rapid.SampledFrom(eras).Draw(rt, "era").history(t)
		days := len(h.readings) / 1440
		n := rapid.IntRange(2, days-3).Draw(rt, "from")
		length := rapid.SampledFrom([]int{0, 0, 0, 1, 2, 30}).Draw(rt, "length")
		calendar := func(n int) (schedule.Date, int64) {
			at := h.first.AddDate(0, 0, n)
			return schedule.Date{Year: at.Year(), Month: at.Month(), Day: at.Day()}, at.Unix()
		}
		f := schedule.Freeze{Location: h.loc}
		var low, high int64
		f.From, low = calendar(n)
		f.To, high = calendar(min(n+length, days-3))
		high += 24 * 3600
		first, last := 0, -1
		for i, r := range h.readings {
			if low <= r && r < high {
				if last < 0 {
					first = i
				}
				last = i
			}
		}
		for i := range h.readings {
			if i%97 != 0 && max(i-first, first-i) > 2 && max(i-last, last-i) > 2 {
				continue
			}
			until, ok := f.Covers(h.at(i))
			if want := first <= i && i <= last; ok != want || ok && !until.Equal(h.at(last+1)) {
				rt.Fatalf("%s %s to %s at %s: %v until %s", h.loc, f.From, f.To, h.at(i), ok, until)
			}
		}
	})
}

func TestFreezeWithStrangeValues(t *testing.T) {
	dates := []schedule.Date{{}, {Year: -1 << 62, Month: 1, Day: 1}, {Year: 1 << 62, Month: 99, Day: -5}, {Year: 2026, Month: 2, Day: 31}, {Year: 9999, Month: 12, Day: 31}}
	for _, from := range dates {
		for _, to := range dates {
			f := schedule.Freeze{From: from, To: to}
			for _, at := range []time.Time{{}, time.Unix(-1<<63, 0), time.Unix(1<<62, 0), time.Date(9996, 12, 31, 12, 0, 0, 0, time.UTC)} {
				if until, ok := f.Covers(at); ok && at.Year() == 9996 && !until.After(at) {
					t.Errorf("%s to %s covers %s until %s", from, to, at, until)
				}
			}
		}
	}
}

func TestParseDate(t *testing.T) {
	for _, in := range []string{"2026-12-24", "2028-02-29", "0001-01-01", "9999-12-31"} {
		if d, err := schedule.ParseDate(in); err != nil || d.String() != in {
			t.Errorf("ParseDate(%q) gives %s, %v", in, d, err)
		}
	}
	for _, in := range []string{"", "2026-2-3", "2026-02-30", "2027-02-29", "2026-13-01", "2026-00-10", "2026-01-00", "24.12.2026", "2026/12/24",
		"2026-12-24T00:00:00Z", "26-12-24", "12026-12-24", "-001-01-01", "0000-01-01", " 2026-12-24", "2026-12-24\n", "２０２６-12-24", strings.Repeat("9", 1<<20)} {
		if d, err := schedule.ParseDate(in); err == nil {
			t.Errorf("ParseDate(%q) gives %s", in, d)
		} else if len(err.Error()) > 300 || !strings.Contains(err.Error(), "YYYY-MM-DD") {
			t.Errorf("ParseDate(%.20q): %.300s", in, err)
		}
	}
}

func TestDateCompare(t *testing.T) {
	ordered := []string{"2025-12-31", "2026-01-02", "2026-02-01", "2026-02-02"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := max(-1, min(1, i-j))
			if got := date(t, a).Compare(date(t, b)); got != want {
				t.Errorf("%s against %s gives %d, want %d", a, b, got, want)
			}
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, seed := range []string{"2026-12-24", "2026-02-30", "0000-01-01", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := schedule.ParseDate(s)
		if err != nil {
			return
		}
		if d.String() != s {
			t.Fatalf("%q prints as %s", s, d)
		}
		if d.Year < 2 || d.Year > 9998 {
			return
		}
		freeze := schedule.Freeze{From: d, To: d}
		noon := time.Date(d.Year, d.Month, d.Day, 12, 0, 0, 0, time.UTC)
		if until, ok := freeze.Covers(noon); !ok || until.Sub(noon) != 12*time.Hour {
			t.Fatalf("a freeze on %s covers noon: %v until %s", d, ok, until)
		}
	})
}
