package language

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/config/schedule"
)

// meaning is what a string stands for, by the kind tag of its field.
type meaning struct {
	check   func(string) error // its errors are for the user; nil: checked where references are
	example string             // as it could be written
}

var meanings = map[string]meaning{
	"address":  {},
	"clock":    {check: func(s string) error { _, err := schedule.ParseClock(s); return err }, example: `"22:00"`},
	"cron":     {check: func(s string) error { _, err := schedule.ParseCron(s, time.UTC); return err }, example: `"0 23 * * 1-5"`},
	"date":     {check: func(s string) error { _, err := schedule.ParseDate(s); return err }, example: `"2026-12-24"`},
	"endpoint": {example: `endpoint("file:///srv/data")`},
	"paths":    {check: checkPaths, example: `"*.tmp"`},
	"pattern":  {check: checkPattern, example: `"QA*"`},
	"time":     {check: checkTime, example: `"2026-12-24T06:00:00Z"`},
	"timezone": {check: func(s string) error { _, err := schedule.LoadZone(s); return err }, example: `"Europe/Berlin"`},
	"version":  {check: func(s string) error { _, err := parseConstraints(s); return err }, example: `">= 0.1"`},
}

// CheckMeaning says what is wrong with a string that stands for something.
func CheckMeaning(meaning, s string) error {
	if check := meanings[meaning].check; check != nil {
		return check(s)
	}
	return nil
}

func checkTime(s string) error {
	if _, err := time.Parse(time.RFC3339, s); err == nil {
		return nil
	}
	if _, err := time.Parse(time.DateOnly, s); err == nil {
		return fmt.Errorf(`%s is a day without a time; write for example "%sT06:00:00Z"`, diag.Quote(s), s)
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return fmt.Errorf(`%s has no time zone; write for example "%sZ" or "%s+02:00"`, diag.Quote(s), t.Format("2006-01-02T15:04:05"), t.Format("2006-01-02T15:04:05"))
		}
	}
	return fmt.Errorf(`%s is not a time; write for example "2026-12-24T06:00:00Z"`, diag.Quote(s))
}

func checkPaths(s string) error {
	_, err := glob.Compile([]string{s})
	return err
}

func checkPattern(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errors.New(`a name or pattern is empty; write "*" for everything`)
	case len(s) > MaxKey+MaxName:
		return fmt.Errorf("the pattern %s is longer than any name", diag.Quote(s))
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("the pattern %s has control characters", diag.Quote(s))
	}
	return nil
}
