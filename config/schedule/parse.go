package schedule

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// The parser takes single fields only; ParseCron splits the expression, so that
// an error can name the field. What a day must match is decided here, not by
// the parser.
var parser = cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)

var fields = [5]struct{ name, takes, example string }{
	{"minute", "0 to 59", "*/15"},
	{"hour", "0 to 23", "*/6"},
	{"day of month", "1 to 31", "1-31/2"},
	{"month", "1 to 12 or jan to dec", "1-12/3"},
	{"day of week", "0 to 7 (0 and 7 are Sunday) or sun to sat", "1-5/2"},
}

var names = map[string]string{
	"@hourly":   "0 * * * *",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@weekly":   "0 0 * * 0",
	"@monthly":  "0 0 1 * *",
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
}

// item is one member of a comma-separated list. The parser alone would accept
// signs, empty members and text after a star.
var item = regexp.MustCompile(`^(\*|([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?)(/[0-9]+)?$`)

const maxLength = 256

// ParseCron reads a five-field cron expression, or one of the names @hourly,
// @daily, @midnight, @weekly, @monthly, @yearly and @annually, on the wall clock
// of loc, which may not be nil or time.Local. Numbers, names, lists, ranges
// (also across the end: "22-2", "fri-mon") and steps are understood. Seconds,
// years, "@every", zones inside the expression and the letters of other
// dialects (?, L, W, #) are errors, and so is an expression that never fires.
func ParseCron(expr string, loc *time.Location) (*Cron, error) {
	if loc == nil || loc == time.Local {
		return nil, fmt.Errorf("a schedule needs a time zone, for example \"Europe/Berlin\" or \"UTC\"")
	}
	if len(expr) > maxLength {
		return nil, fmt.Errorf("a schedule is longer than %d characters", maxLength)
	}
	split, err := splitCron(expr)
	if err != nil {
		return nil, err
	}
	var sets [5]uint64
	for i, text := range split {
		if sets[i], err = parseField(i, text); err != nil {
			return nil, fmt.Errorf("schedule %q: %w", expr, err)
		}
	}
	c := &Cron{
		expr: strings.Join(strings.Fields(expr), " "), loc: loc,
		minutes: sets[0] &^ starBit, hours: sets[1] &^ starBit,
		days: sets[2] &^ starBit, months: sets[3] &^ starBit, weekdays: sets[4] &^ starBit,
		eitherDay: (sets[2]|sets[4])&starBit == 0,
		everyHour: sets[1]&^starBit == 1<<24-1,
	}
	if c.eitherDay && strings.Contains(split[2]+split[4], "*") {
		return nil, fmt.Errorf("schedule %q: a step on * in one day field while the other one is restricted means different days to different "+
			"programs; write it as a range (%q or %q), then a day that matches either field is a match", expr, "1-31/2", "0-6/2")
	}
	if !c.everFires() {
		return nil, fmt.Errorf("schedule %q never runs: no selected month has a selected day", expr)
	}
	return c, nil
}

func splitCron(expr string) ([]string, error) {
	text := strings.TrimSpace(expr)
	switch {
	case text == "":
		return nil, fmt.Errorf("a schedule is empty; write five fields, for example \"0 23 * * 1-5\"")
	case strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ="):
		return nil, fmt.Errorf("schedule %q: the time zone does not belong into the expression; use the argument timezone", expr)
	case strings.HasPrefix(text, "@every"):
		return nil, fmt.Errorf("schedule %q: @every has no nominal times; write for example \"*/15 * * * *\" or \"0 */6 * * *\"", expr)
	case strings.HasPrefix(text, "@"):
		full, ok := names[text]
		if !ok {
			return nil, fmt.Errorf("schedule %q: the names are @hourly, @daily, @weekly, @monthly and @yearly", expr)
		}
		text = full
	}
	split := strings.Fields(text)
	switch n := len(split); {
	case n > 5:
		return nil, fmt.Errorf("schedule %q has %d fields; write five: minute, hour, day of month, month, day of week (no seconds, no year)", expr, n)
	case n < 5:
		return nil, fmt.Errorf("schedule %q has %d of five fields: minute, hour, day of month, month, day of week", expr, n)
	}
	return split, nil
}

// starBit is how the parser marks a field that is not restricted.
const starBit = 1 << 63

// parseField gives the selected values of a field, bit n for n.
func parseField(i int, text string) (uint64, error) {
	f := fields[i]
	wrong := fmt.Errorf("the %s %q is not understood; it takes %s, lists (\"a,b\"), ranges (\"a-b\") and steps shorter than the range (%q)",
		f.name, text, f.takes, f.example)
	for member := range strings.SplitSeq(text, ",") {
		parts := item.FindStringSubmatch(member)
		if parts == nil {
			return 0, wrong
		}
		if from, to, step := parts[2], parts[3], parts[4]; i == 4 && to != "" && step != "" && weekdayNumber(from) > weekdayNumber(to) {
			return 0, fmt.Errorf("the day of week %q has a step in a range across the end of the week; write the days as a list", text)
		}
	}
	single := [5]string{"*", "*", "*", "*", "*"}
	single[i] = text
	parsed, err := parser.Parse(strings.Join(single[:], " "))
	if err != nil {
		return 0, wrong
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return 0, wrong
	}
	return [5]uint64{spec.Minute, spec.Hour, spec.Dom, spec.Month, spec.Dow}[i], nil
}

// weekdayNumber reads a day of week that the parser will check. The parser
// counts eight days in a range that wraps, which puts steps on the wrong days.
func weekdayNumber(text string) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return strings.Index("sunmontuewedthufrisat", strings.ToLower(text)) / 3
}

// everFires reports whether some month has a selected day.
func (c *Cron) everFires() bool {
	for month := time.January; month <= time.December; month++ {
		if c.dates(2000, month) != 0 { // a leap year; every month has every weekday
			return true
		}
	}
	return false
}
