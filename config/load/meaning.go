package load

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/holdfast-dr/holdfast/config/diag"
	"github.com/holdfast-dr/holdfast/config/schedule"
)

// meanings check strings by the kind tag of their field. Their errors are for
// the user.
var meanings = map[string]func(string) error{
	"clock": func(s string) error { _, err := schedule.ParseClock(s); return err },
	"cron":  func(s string) error { _, err := schedule.ParseCron(s, time.UTC); return err },
	"date":  func(s string) error { _, err := schedule.ParseDate(s); return err },
	"time":  checkTime,
	"timezone": func(s string) error {
		_, err := schedule.LoadZone(s)
		return err
	},
	"pattern": checkPattern,
	"version": func(s string) error { _, err := parseConstraint(s); return err },
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

func checkPattern(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errors.New(`a name or pattern is empty; write "*" for everything`)
	case len(s) > maxKey+maxName:
		return fmt.Errorf("the pattern %s is longer than any name", diag.Quote(s))
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("the pattern %s has control characters", diag.Quote(s))
	}
	return nil
}

// checked remembers what was checked before: thousands of objects share a few
// zones and schedules.
type checked struct {
	mu      sync.Mutex
	results map[[2]string]error
}

func (l *loader) meaning(kind, s string, check func(string) error) error {
	key := [2]string{kind, s}
	l.checked.mu.Lock()
	defer l.checked.mu.Unlock()
	err, known := l.checked.results[key]
	if !known {
		err = check(s)
		l.checked.results[key] = err
	}
	return err
}
