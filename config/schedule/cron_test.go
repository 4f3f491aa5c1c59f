package schedule_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/netresearch/go-cron"
	"pgregory.net/rapid"

	"github.com/holdfast-dr/holdfast/config/schedule"
)

func load(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := schedule.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func parse(t testing.TB, expr, zone string) *schedule.Cron {
	t.Helper()
	c, err := schedule.ParseCron(expr, load(t, zone))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func show(o schedule.Occurrence) string {
	return o.Nominal + " at " + o.At.Format("01-02T15:04:05Z07:00")
}

func same(a, b schedule.Occurrence) bool { return a.Nominal == b.Nominal && a.At.Equal(b.At) }

// The nights on which the clock jumps, written out.
func TestCronAcrossClockChanges(t *testing.T) {
	tests := []struct {
		name, expr, zone, from, to string
		want                       []string
	}{
		{"a skipped time runs after the gap", "30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00+01:00", "2026-03-31T00:00:00+02:00", []string{
			"2026-03-28T02:30 at 03-28T02:30:00+01:00",
			"2026-03-29T02:30 at 03-29T03:00:00+02:00",
			"2026-03-30T02:30 at 03-30T02:30:00+02:00",
		}},
		{"a doubled time runs the first time", "30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00+02:00", "2026-10-27T00:00:00+01:00", []string{
			"2026-10-24T02:30 at 10-24T02:30:00+02:00",
			"2026-10-25T02:30 at 10-25T02:30:00+02:00",
			"2026-10-26T02:30 at 10-26T02:30:00+01:00",
		}},
		{"times pushed onto one instant are one", "0 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00", []string{
			"2026-03-29T03:00 at 03-29T03:00:00+02:00",
		}},
		{"a skipped hour has no hourly run", "30 * * * *", "Europe/Berlin", "2026-03-29T00:31:00+01:00", "2026-03-29T05:00:00+02:00", []string{
			"2026-03-29T01:30+01:00 at 03-29T01:30:00+01:00",
			"2026-03-29T03:30+02:00 at 03-29T03:30:00+02:00",
			"2026-03-29T04:30+02:00 at 03-29T04:30:00+02:00",
		}},
		{"a repeated hour has its hourly runs twice", "*/30 * * * *", "Europe/Berlin", "2026-10-25T01:30:00+02:00", "2026-10-25T03:00:00+01:00", []string{
			"2026-10-25T02:00+02:00 at 10-25T02:00:00+02:00",
			"2026-10-25T02:30+02:00 at 10-25T02:30:00+02:00",
			"2026-10-25T02:00+01:00 at 10-25T02:00:00+01:00",
			"2026-10-25T02:30+01:00 at 10-25T02:30:00+01:00",
			"2026-10-25T03:00+01:00 at 10-25T03:00:00+01:00",
		}},
		{"every other hour names hours", "0 */2 * * *", "Europe/Berlin", "2026-10-25T00:00:00+02:00", "2026-10-25T06:00:00+01:00", []string{
			"2026-10-25T02:00 at 10-25T02:00:00+02:00",
			"2026-10-25T04:00 at 10-25T04:00:00+01:00",
			"2026-10-25T06:00 at 10-25T06:00:00+01:00",
		}},
		{"half an hour is skipped", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00+10:30", "2026-10-05T00:00:00+11:00", []string{
			"2026-10-03T02:15 at 10-03T02:15:00+10:30",
			"2026-10-04T02:15 at 10-04T02:30:00+11:00",
		}},
		{"half an hour is repeated", "45 1 * * *", "Australia/Lord_Howe", "2026-04-05T00:00:00+11:00", "2026-04-06T00:00:00+10:30", []string{
			"2026-04-05T01:45 at 04-05T01:45:00+11:00",
		}},
		{"midnight is skipped", "@daily", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00", "2018-11-05T12:00:00-02:00", []string{
			"2018-11-04T00:00 at 11-04T01:00:00-02:00",
			"2018-11-05T00:00 at 11-05T00:00:00-02:00",
		}},
		{"a day is skipped", "0 2,14 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00", []string{
			"2011-12-29T02:00 at 12-29T02:00:00-10:00",
			"2011-12-29T14:00 at 12-29T14:00:00-10:00",
			"2011-12-30T14:00 at 12-31T00:00:00+14:00",
			"2011-12-31T02:00 at 12-31T02:00:00+14:00",
			"2011-12-31T14:00 at 12-31T14:00:00+14:00",
		}},
		{"a day is skipped for an hourly schedule", "0 * 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00", nil},
		{"a name", "@hourly", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", []string{
			"2026-01-01T01:00Z at 01-01T01:00:00Z",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			occ, more := parse(t, tt.expr, tt.zone).Between(instant(t, tt.from), instant(t, tt.to), 100)
			var got []string
			for _, o := range occ {
				got = append(got, show(o))
			}
			if !slices.Equal(got, tt.want) || more {
				t.Errorf("got  %s\nwant %s\nmore: %v", strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "), more)
			}
		})
	}
}

func TestCronDays(t *testing.T) {
	tests := []struct {
		expr, after string
		want        []string
	}{
		{"0 0 29 2 *", "2096-01-01T00:00:00Z", []string{"2096-02-29", "2104-02-29"}},
		{"0 0 13 * 5", "2026-02-10T00:00:00Z", []string{"2026-02-13", "2026-02-20", "2026-02-27", "2026-03-06", "2026-03-13"}}, // either
		{"0 0 * * 7", "2026-10-01T00:00:00Z", []string{"2026-10-04", "2026-10-11"}},
		{"0 0 * * fri-mon", "2026-10-01T00:00:00Z", []string{"2026-10-02", "2026-10-03", "2026-10-04", "2026-10-05", "2026-10-09"}},
		{"0 0 31 * *", "2026-01-31T00:00:00Z", []string{"2026-03-31", "2026-05-31"}},
		{"0 0 1 NOV-feb *", "2026-10-01T00:00:00Z", []string{"2026-11-01", "2026-12-01", "2027-01-01", "2027-02-01", "2027-11-01"}},
		{"0 0 30-2 * *", "2026-04-28T00:00:00Z", []string{"2026-04-30", "2026-05-01", "2026-05-02", "2026-05-30", "2026-05-31", "2026-06-01"}},
		{"0 0 */10 2 *", "2026-01-01T00:00:00Z", []string{"2026-02-01", "2026-02-11", "2026-02-21", "2027-02-01"}},
		{"0 0 * * 1-7/2", "2026-10-04T00:00:00Z", []string{"2026-10-05", "2026-10-07", "2026-10-09", "2026-10-11", "2026-10-12"}},
		{"@yearly", "2026-10-01T00:00:00Z", []string{"2027-01-01", "2028-01-01"}},
		{"@weekly", "2026-10-01T00:00:00Z", []string{"2026-10-04"}},
	}
	for _, tt := range tests {
		t.Run(tt.expr, func(t *testing.T) {
			c := parse(t, tt.expr, "UTC")
			at := instant(t, tt.after)
			for _, want := range tt.want {
				o := c.Next(at)
				if o.Nominal != want+"T00:00" {
					t.Fatalf("after %s comes %s, want %s", at, show(o), want)
				}
				at = o.At
			}
		})
	}
}

func TestParseCronErrors(t *testing.T) {
	tests := []struct{ expr, want string }{
		{"", "empty"},
		{" \t ", "empty"},
		{"0 23 * *", "4 of five fields"},
		{"0 0 23 * * *", "6 fields; write five"},
		{"0 0 23 * * * 2026", "7 fields"},
		{"TZ=Europe/Berlin 0 23 * * *", "argument timezone"},
		{"CRON_TZ=UTC @daily", "argument timezone"},
		{"@every 1h", "no nominal times"},
		{"@reboot", "@hourly, @daily"},
		{"@manual", "@hourly, @daily"},
		{"@Daily", "@hourly, @daily"},
		{"@daily @daily", "@hourly, @daily"},
		{"60 * * * *", `the minute "60"`},
		{"0 24 * * *", `the hour "24"`},
		{"0 0 0 * *", `the day of month "0"`},
		{"0 0 32 * *", `the day of month "32"`},
		{"0 0 * 13 *", `the month "13"`},
		{"0 0 * * 8", `the day of week "8"`},
		{"0 0 * * monday", `the day of week "monday"`},
		{"0 0 * mon *", `the month "mon"`},
		{"-5 * * * *", `the minute "-5"`},
		{"+5 * * * *", `the minute "+5"`},
		{"1_0 * * * *", `the minute "1_0"`},
		{"0x10 * * * *", `the minute "0x10"`},
		{", * * * *", `the minute ","`},
		{"1,,2 * * * *", `the minute "1,,2"`},
		{"*-5 * * * *", `the minute "*-5"`},
		{"*5 * * * *", `the minute "*5"`},
		{"1-2-3 * * * *", `the minute "1-2-3"`},
		{"*/0 * * * *", `the minute "*/0"`},
		{"*/60 * * * *", `steps shorter than the range`},
		{"*/5/5 * * * *", `the minute "*/5/5"`},
		{"99999999999999999999 * * * *", `the minute`},
		{"? * * * *", `the minute "?"`},
		{"H * * * *", `the minute "H"`},
		{"0 0 L * *", `the day of month "L"`},
		{"0 0 15W * *", `the day of month "15W"`},
		{"0 0 * * fri#3", `the day of week "fri#3"`},
		{"0 0 * * fri-mon/2", "across the end of the week"},
		{"0 0 * * 7-2/2", "across the end of the week"},
		{"0 0 */2 * 1", "write it as a range"},
		{"0 0 1 * */2", "write it as a range"},
		{"0 0 30 2 *", "never runs"},
		{"0 0 31 2,4,6,9,11 *", "never runs"},
		{"٣ * * * *", "the minute"},
		{"0 0 * * *\x00", "the day of week"},
		{"0 0 * * \xff", "the day of week"},
		{strings.Repeat("1,", 1<<20) + "1 * * * *", "longer than"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%.40q", tt.expr), func(t *testing.T) {
			c, err := schedule.ParseCron(tt.expr, time.UTC)
			if err == nil {
				t.Fatalf("accepted; next is %s", show(c.Next(time.Unix(0, 0))))
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
			if len(err.Error()) > 2000 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
		})
	}
	for name, loc := range map[string]*time.Location{"nil": nil, "local": time.Local} {
		if _, err := schedule.ParseCron("0 0 * * *", loc); err == nil {
			t.Errorf("zone %s accepted", name)
		}
	}
}

func TestCronString(t *testing.T) {
	for in, want := range map[string]string{" 0\t23 *  * MON-fri ": "0 23 * * MON-fri", "@daily": "@daily"} {
		if got := parse(t, in, "UTC").String(); got != want {
			t.Errorf("String of %q is %q, want %q", in, got, want)
		}
	}
}

// selections draws one field: its text and the values it selects.
func selections(t *rapid.T, label string, low, high int) (string, set, bool) {
	var selected set
	add := func(from, to, step int) {
		for v := from; v <= to; v += step {
			selected[v] = true
		}
	}
	value := rapid.IntRange(low, high)
	if rapid.IntRange(0, 2).Draw(t, label+" kind") == 0 {
		add(low, high, 1)
		return "*", selected, true
	}
	var members []string
	for range rapid.IntRange(1, 3).Draw(t, label+" members") {
		a, b := value.Draw(t, label), value.Draw(t, label)
		switch rapid.IntRange(0, 3).Draw(t, label+" form") {
		case 0:
			add(a, a, 1)
			members = append(members, strconv.Itoa(a))
		case 1: // may wrap
			members = append(members, fmt.Sprintf("%d-%d", a, b))
			if a <= b {
				add(a, b, 1)
			} else {
				add(a, high, 1)
				add(low, b, 1)
			}
		default:
			a, b = min(a, b), max(a, b)
			step := rapid.IntRange(1, max(1, b-a)).Draw(t, label+" step")
			add(a, b, step)
			members = append(members, fmt.Sprintf("%d-%d/%d", a, b, step))
		}
	}
	return strings.Join(members, ","), selected, false
}

func anySchedule(t *rapid.T) (string, sets) {
	var s sets
	var text [5]string
	text[0], s.minute, _ = selections(t, "minute", 0, 59)
	text[1], s.hour, _ = selections(t, "hour", 0, 23)
	text[2], s.date, s.anyDate = selections(t, "date", 1, 31)
	text[3], s.month, _ = selections(t, "month", 1, 12)
	text[4], s.weekday, s.anyWeekday = selections(t, "weekday", 0, 6)
	if rapid.Bool().Draw(t, "nightly") { // the usual kind, so that jumps are hit
		text[2], s.date, s.anyDate = "*", numbers(1, 31), true
		text[3], s.month = "*", numbers(1, 12)
		text[4], s.weekday, s.anyWeekday = "*", numbers(0, 6), true
	}
	return strings.Join(text[:], " "), s
}

func TestCronMatchesReference(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := rapid.SampledFrom(eras).Draw(rt, "era")
		expr, s := anySchedule(rt)
		checkAgainstReference(t, rt, e, expr, s)
	})
}

// Schedules near the hours in which clocks jump, in every era.
func TestCronMatchesReferenceInEveryEra(t *testing.T) {
	hours := []struct {
		text string
		set  set
	}{
		{"*", numbers(0, 23)}, {"0", numbers(0, 0)}, {"1", numbers(1, 1)}, {"2", numbers(2, 2)}, {"3", numbers(3, 3)},
		{"23", numbers(23, 23)}, {"1-23", numbers(1, 23)},
	}
	for _, e := range eras {
		for _, hour := range hours {
			for minute := 0; minute < 60; minute += 25 {
				var selected set
				for m := minute; m < 60; m += 14 {
					selected[m] = true
				}
				checkAgainstReference(t, t, e, fmt.Sprintf("%d-59/14 %s * * *", minute, hour.text), sets{
					minute: selected, hour: hour.set, date: numbers(1, 31), month: numbers(1, 12),
					weekday: numbers(0, 6), anyDate: true, anyWeekday: true,
				})
			}
		}
	}
}

type failer interface {
	Fatalf(format string, args ...any)
}

func checkAgainstReference(tb testing.TB, t failer, e era, expr string, s sets) {
	h := e.history(tb)
	c, err := schedule.ParseCron(expr, h.loc)
	if err != nil {
		if strings.Contains(err.Error(), "never runs") && !firesIn(s) || strings.Contains(err.Error(), "shorter") {
			return
		}
		t.Fatalf("%v", err)
	}
	want := h.occurrences(s)
	start := h.at(24 * 60)
	from := start.Add(-time.Second)
	got, more := c.Between(from, h.end().Add(-time.Second), len(want)+1)
	if more || !slices.EqualFunc(got, want, same) {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || !same(got[i], want[i]) {
				t.Fatalf("%s in %s: occurrence %d of %d and %d:\n got %v\nwant %v", expr, e.zone, i, len(got), len(want), tail(got, i), tail(want, i))
			}
		}
	}
	// From any minute, above all from those around a jump of the clock.
	quiet := 0
	for i := 24 * 60; i < len(h.readings); i++ {
		if quiet++; h.readings[max(i-150, 0)]+min(int64(i), 150)*60 != h.readings[i] {
			quiet = 0
		}
		if quiet > 150 && i%997 != 0 || i%3 != 0 {
			continue
		}
		at := h.at(i)
		n, found := slices.BinarySearchFunc(want, at, func(o schedule.Occurrence, at time.Time) int { return o.At.Compare(at) })
		if found {
			n++
		}
		if next := c.Next(at); n < len(want) && !same(next, want[n]) || !next.At.After(at) {
			t.Fatalf("%s in %s: after %s comes %s", expr, e.zone, at, show(next))
		}
		if latest, ok := c.Latest(at); !ok || n > 0 && !same(latest, want[n-1]) || latest.At.After(at) {
			t.Fatalf("%s in %s: latest at %s is %s", expr, e.zone, at, show(latest))
		}
	}
	seen := map[string]bool{}
	for i, o := range want {
		if seen[o.Nominal] {
			t.Fatalf("%s in %s: %s twice", expr, e.zone, o.Nominal)
		}
		seen[o.Nominal] = true
		if i > 50 && i%37 != 0 {
			continue
		}
		if l, ok := c.Latest(o.At); !ok || !same(l, o) {
			t.Fatalf("%s in %s: latest at %s is %s", expr, e.zone, show(o), show(l))
		}
		l, ok := c.Latest(o.At.Add(-time.Nanosecond))
		if !ok || i > 0 && !same(l, want[i-1]) || !l.At.Before(o.At) {
			t.Fatalf("%s in %s: latest before %s is %s", expr, e.zone, show(o), show(l))
		}
		if n := c.Next(o.At.Add(-time.Nanosecond)); !same(n, o) {
			t.Fatalf("%s in %s: just before %s comes %s", expr, e.zone, show(o), show(n))
		}
	}
}

func tail(occ []schedule.Occurrence, i int) []string {
	var text []string
	for ; i < len(occ) && len(text) < 3; i++ {
		text = append(text, show(occ[i]))
	}
	return text
}

func firesIn(s sets) bool {
	for day := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() == 2000; day = day.AddDate(0, 0, 1) {
		probe := s
		probe.minute, probe.hour = numbers(0, 0), numbers(0, 0)
		if probe.match(day.Unix()) {
			return true
		}
	}
	return false
}

// In a zone that never jumps the parser's own search must agree.
func TestCronMatchesParserWithoutJumps(t *testing.T) {
	theirs := cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom).WithMaxSearchYears(12)
	rapid.Check(t, func(t *rapid.T) {
		expr, _ := anySchedule(t)
		c, err := schedule.ParseCron(expr, time.UTC)
		if err != nil {
			return
		}
		other, err := theirs.Parse("TZ=UTC " + expr)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		at := time.Unix(rapid.Int64Range(-2e9, 8e9).Draw(t, "at"), 0).UTC()
		for range 10 {
			o, next := c.Next(at), other.Next(at)
			if !o.At.Equal(next) {
				t.Fatalf("%s after %s: %s, theirs %s", expr, at, show(o), next)
			}
			at = next
		}
	})
}

// Zones before the railways are seconds off; this checks the rule second by
// second around a change.
func TestCronWithOddSeconds(t *testing.T) {
	tests := []struct{ zone, around string }{
		{"America/Juneau", "1867-10-18T23:30:00Z"},   // a day back, Alaska is sold
		{"Asia/Manila", "1844-12-31T15:56:00Z"},      // a day forward
		{"Africa/Monrovia", "1972-01-07T00:44:30Z"},  // 44 min 30 s forward
		{"Europe/Amsterdam", "1937-06-30T23:40:00Z"}, // 28 s forward, in old tables
		{"America/New_York", "1883-11-18T17:00:00Z"}, // 3 min 58 s back
		{"Asia/Kolkata", "1906-01-01T00:00:00Z"},     // where minutes become whole
	}
	for _, tt := range tests {
		for _, expr := range []string{"*/7 1-22 * * *", "0,30 0,12 * * *", "*/5 * * * *"} {
			c := parse(t, expr, tt.zone)
			loc := load(t, tt.zone)
			start := instant(t, tt.around).Add(-40 * time.Hour)
			var want []string
			top := int64(-1 << 60)
			reading := func(at time.Time) int64 {
				_, offset := at.In(loc).Zone()
				return at.Unix() + int64(offset)
			}
			for s := -48 * 3600; s <= 80*3600; s++ {
				at := start.Add(time.Duration(s) * time.Second)
				now := reading(at)
				hit := false
				if strings.Contains(expr, " * * * *") {
					hit = mod(now, 300) == 0
				} else {
					for r := max(top, now-49*3600) + 1; r <= now; r++ {
						minute, hour := mod(r, 3600)/60, mod(r, 86400)/3600
						if mod(r, 60) == 0 && (expr[0] == '*' && minute%7 == 0 && hour >= 1 && hour <= 22 || expr[0] == '0' && minute%30 == 0 && hour%12 == 0) {
							hit = true
						}
					}
				}
				top = max(top, now)
				if hit && s > 0 {
					want = append(want, at.UTC().Format(time.RFC3339))
				}
			}
			occ, _ := c.Between(start, start.Add(80*time.Hour), 1e6)
			var got []string
			labels := map[string]bool{}
			for _, o := range occ {
				got = append(got, o.At.UTC().Format(time.RFC3339))
				if labels[o.Nominal] {
					t.Errorf("%s in %s: %s twice", expr, tt.zone, o.Nominal)
				}
				labels[o.Nominal] = true
				if l, ok := c.Latest(o.At); !ok || !same(l, o) {
					t.Errorf("%s in %s: latest at %s is %s", expr, tt.zone, show(o), show(l))
				}
			}
			for s := 1; s < 70*3600; s += 1801 {
				at := start.Add(time.Duration(s) * time.Second)
				n, found := slices.BinarySearch(want, at.UTC().Format(time.RFC3339))
				if found {
					n++
				}
				if next := c.Next(at); next.At.UTC().Format(time.RFC3339) != want[n] {
					t.Errorf("%s in %s: after %s comes %s, want %s", expr, tt.zone, at, show(next), want[n])
				}
				if latest, ok := c.Latest(at); n > 0 && (!ok || latest.At.UTC().Format(time.RFC3339) != want[n-1]) {
					t.Errorf("%s in %s: latest at %s is %s, want %s", expr, tt.zone, at, show(latest), want[n-1])
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s in %s: got %d, want %d: %v\n%v", expr, tt.zone, len(got), len(want), got, want)
			}
		}
	}
}

func TestCronFarAway(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe", "Pacific/Kiritimati"}
	exprs := []string{"* * * * *", "30 2 * * *", "0 0 29 2 *", "0 * 29 2 *", "59 23 31 12 *", "0 0 1 1 *"}
	times := map[string]time.Time{
		"zero":        {},
		"before zero": time.Date(-5000, 1, 1, 0, 0, 0, 0, time.UTC),
		"year 2":      time.Date(2, 1, 2, 0, 0, 0, 0, time.UTC),
		"1900":        time.Date(1899, 12, 31, 0, 0, 0, 0, time.UTC),
		"1969":        time.Date(1969, 12, 31, 23, 59, 59, 5, time.UTC),
		"2096":        time.Date(2096, 12, 31, 12, 0, 0, 0, time.UTC),
		"9996":        time.Date(9996, 12, 31, 12, 0, 0, 0, time.UTC),
		"end":         time.Date(9998, 12, 31, 23, 59, 59, 999, time.UTC),
		"after end":   time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC),
		"min":         time.Unix(-1<<63, 0),
		"max":         time.Unix(1<<62, 0),
	}
	for _, zone := range zones {
		for _, expr := range exprs {
			c := parse(t, expr, zone)
			for name, at := range times {
				next := c.Next(at)
				late := name == "end" || name == "after end" || name == "max"
				switch {
				case next.IsZero() && !late && (name != "9996" || !strings.Contains(expr, "29 2")):
					t.Errorf("%s in %s, %s: nothing comes next", expr, zone, name)
				case !next.IsZero() && !next.At.After(at):
					t.Errorf("%s in %s, %s: next %s is not after it", expr, zone, name, show(next))
				case name == "after end" && !next.IsZero():
					t.Errorf("%s in %s: next after the end is %s", expr, zone, show(next))
				}
				latest, ok := c.Latest(at)
				early := name == "zero" || name == "before zero" || name == "year 2" || name == "min"
				switch {
				case !ok && !early:
					t.Errorf("%s in %s, %s: nothing is latest", expr, zone, name)
				case ok && latest.At.After(at):
					t.Errorf("%s in %s, %s: latest %s is after it", expr, zone, name, show(latest))
				}
				if occ, more := c.Between(at, at, 10); len(occ) != 0 || more {
					t.Errorf("%s in %s: %d occurrences between %s and itself", expr, zone, len(occ), name)
				}
			}
			if occ, more := c.Between(times["min"], times["max"], 3); len(occ) != 3 || !more {
				t.Errorf("%s in %s: %d occurrences in all time", expr, zone, len(occ))
			}
			if occ, more := c.Between(times["max"], times["min"], 3); len(occ) != 0 || more {
				t.Errorf("%s in %s: %d occurrences in no time", expr, zone, len(occ))
			}
		}
	}
}

func TestBetweenLimit(t *testing.T) {
	c := parse(t, "0 * * * *", "UTC")
	from := instant(t, "2026-01-01T00:00:00Z")
	for limit, want := range map[int]struct {
		n    int
		more bool
	}{-1: {0, true}, 0: {0, true}, 2: {2, true}, 3: {3, false}, 4: {3, false}} {
		occ, more := c.Between(from, from.Add(3*time.Hour), limit)
		if len(occ) != want.n || more != want.more {
			t.Errorf("limit %d gives %d, more %v", limit, len(occ), more)
		}
	}
}

func TestZeroCron(t *testing.T) {
	var c schedule.Cron
	if o := c.Next(time.Unix(0, 0)); !o.IsZero() {
		t.Errorf("next of nothing is %s", show(o))
	}
	if o, ok := c.Latest(time.Unix(0, 0)); ok {
		t.Errorf("latest of nothing is %s", show(o))
	}
}

func TestLoadZone(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT"} {
		if loc, err := schedule.LoadZone(name); err != nil || loc.String() != name {
			t.Errorf("LoadZone(%q) gives %v, %v", name, loc, err)
		}
	}
	for name, want := range map[string]string{
		"":                      "Europe/Berlin",
		"Local":                 "every machine",
		"localtime":             "every machine",
		"europe/berlin":         `did you mean "Europe/Berlin"`,
		"america/new york":      `did you mean "America/New_York"`,
		"utc":                   `did you mean "UTC"`,
		"Europe/Atlantis":       `for example "Europe/Berlin"`,
		"CEST":                  `for example "Europe/Berlin"`,
		"+02:00":                "unknown",
		"right/Europe/Berlin":   "unknown",
		"Europe":                "unknown",
		"../../etc/passwd":      "unknown",
		"/etc/localtime":        "unknown",
		"Europe/Berlin\x00":     "unknown",
		strings.Repeat("a", 99): "unknown",
	} {
		if loc, err := schedule.LoadZone(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("LoadZone(%q) gives %v, %v; want %q", name, loc, err, want)
		}
	}
}

func FuzzParseCron(f *testing.F) {
	for _, seed := range []string{"0 23 * * 1-5", "*/15 * * * *", "@daily", "0 0 29 2 *", "TZ=UTC 0 0 * * *", "0 0 30 2 *", "1,,2 * * * *", "0 2,3 1-7/2 jan-mar sun"} {
		f.Add(seed, int64(1774742400))
	}
	zones := []*time.Location{time.UTC, load(f, "Europe/Berlin"), load(f, "America/Sao_Paulo"), load(f, "Australia/Lord_Howe"), load(f, "Pacific/Apia")}
	f.Fuzz(func(t *testing.T, expr string, sec int64) {
		for _, loc := range zones {
			c, err := schedule.ParseCron(expr, loc)
			if err != nil {
				return
			}
			again, err := schedule.ParseCron(c.String(), loc)
			if err != nil || again.String() != c.String() {
				t.Fatalf("%q reads back as %v, %v", c, again, err)
			}
			at := time.Unix(sec%8e9, 0)
			for range 3 {
				o := c.Next(at)
				if o.IsZero() || !o.At.After(at) {
					t.Fatalf("%q in %s: next after %s is %s", expr, loc, at, show(o))
				}
				if o.At.Sub(at) > 41*366*24*time.Hour {
					t.Fatalf("%q in %s: next after %s is %s", expr, loc, at, show(o))
				}
				if l, ok := c.Latest(o.At); !ok || !same(l, o) {
					t.Fatalf("%q in %s: latest at %s is %s", expr, loc, show(o), show(l))
				}
				if l, ok := c.Latest(o.At.Add(-1)); ok && l.At.After(at) {
					t.Fatalf("%q in %s: %s is between %s and %s", expr, loc, show(l), at, show(o))
				}
				at = o.At
			}
		}
	})
}

func BenchmarkCron(b *testing.B) {
	loc := load(b, "Europe/Berlin")
	for _, bm := range []struct{ name, expr, at string }{
		{"nightly", "30 2 * * *", "2026-10-21T12:00:00Z"},
		{"nightly in autumn", "30 2 * * *", "2026-10-25T00:45:00Z"},
		{"nightly in 2050", "30 2 * * *", "2050-06-21T12:00:00Z"},
		{"quarter-hourly", "*/15 * * * *", "2026-10-21T12:00:00Z"},
		{"yearly", "0 0 1 1 *", "2026-10-21T12:00:00Z"},
		{"leap day", "0 0 29 2 *", "2096-10-21T12:00:00Z"},
		{"hourly on leap day", "0 * 29 2 *", "2096-10-21T12:00:00Z"},
	} {
		c, err := schedule.ParseCron(bm.expr, loc)
		if err != nil {
			b.Fatal(err)
		}
		at := instant(b, bm.at)
		b.Run("Next/"+bm.name, func(b *testing.B) {
			for b.Loop() {
				c.Next(at)
			}
		})
		b.Run("Latest/"+bm.name, func(b *testing.B) {
			for b.Loop() {
				c.Latest(at)
			}
		})
	}
}

func BenchmarkParseCron(b *testing.B) {
	for b.Loop() {
		if _, err := schedule.ParseCron("0 23 * * 1-5", time.UTC); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadZone(b *testing.B) {
	for b.Loop() {
		if _, err := schedule.LoadZone("Europe/Berlin"); err != nil {
			b.Fatal(err)
		}
	}
}
