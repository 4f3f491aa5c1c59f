package config

import (
	"errors"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/config/schedule"
	"github.com/holdfast-dr/holdfast/config/unit"
)

// verification checks that the window of a store's verification opens often enough: what falls due after it closed must be read before its
// period is over, and falls due when a third of it is left.
func (c *checker) verification(s *Store) {
	if s.Verify == nil {
		return
	}
	w, ok := Lookup[*MaintenanceWindow](c.doc, s.Verify.Window)
	if !ok || w.Incomplete {
		return
	}
	if closed := longestClosed(w); closed > s.Verify.Within.Std()/3 {
		c.warnf(rareWindow, &s.Header, "verify.maintenance_window",
			"%s stays closed for up to %s, which is more than a third of the %s in which %s promises to read everything. What falls due just after it closed is read too late. Open it more often, or write a longer within.",
			w.Address, unit.Duration(closed), s.Verify.Within, s.Address)
	}
}

// longestClosed is the longest stretch between two openings of a window, daylight saving apart; 0 when it cannot be told.
func longestClosed(w *MaintenanceWindow) time.Duration {
	const day = 24 * time.Hour
	days, err := schedule.ParseDays(w.Days)
	start, err1 := schedule.ParseClock(w.Start)
	end, err2 := schedule.ParseClock(w.End)
	if errors.Join(err, err1, err2) != nil {
		return 0
	}
	slices.Sort(days)
	rarest := 1
	for i, d := range days {
		next := days[(i+1)%len(days)]
		rarest = max(rarest, (int(next-d)+6)%7+1)
	}
	open := time.Duration(end-start) * time.Minute
	if open <= 0 {
		open += day
	}
	return time.Duration(rarest)*day - open
}
