package reconcile

import (
	"fmt"
	"time"

	"github.com/holdfast-dr/holdfast/config/schedule"
)

// Opening says whether work may start at an instant.
type Opening struct {
	Open   bool
	Closes time.Time // when the window that is open closes; zero: never
	Until  time.Time // not open: when to look again; zero: unknown
	Waits  string    // not open: what for, in words
}

// Check judges an instant. Freezes beat windows. An error means that the arguments are not well formed.
func (w WindowArgs) Check(now time.Time) (Opening, error) {
	for _, f := range w.Freezes {
		from, err := schedule.ParseDate(f.From)
		if err != nil {
			return Opening{}, err
		}
		to, err := schedule.ParseDate(f.To)
		if err != nil {
			return Opening{}, err
		}
		loc, err := schedule.LoadZone(f.Timezone)
		if err != nil {
			return Opening{}, err
		}
		if until, frozen := (schedule.Freeze{From: from, To: to, Location: loc}).Covers(now); frozen {
			waits := fmt.Sprintf("%s until %s", f.Freeze, until.In(loc).Format("Mon 2006-01-02 15:04 MST"))
			if f.Reason != "" {
				waits += ": " + f.Reason
			}
			return Opening{Until: until, Waits: waits}, nil
		}
	}
	if w.Window == "" {
		return Opening{Open: true}, nil
	}
	win, err := w.Schedule()
	if err != nil {
		return Opening{}, err
	}
	if span, open := win.Open(now); open {
		return Opening{Open: true, Closes: span.End}, nil
	}
	next := win.Next(now)
	return Opening{Until: next.Start, Waits: fmt.Sprintf("%s (opens %s)", w.Window, next.Start.In(win.Location).Format("Mon 2006-01-02 15:04 MST"))}, nil
}

// Schedule gives the window in the form that times are worked out with. There must be one.
func (w WindowArgs) Schedule() (schedule.Window, error) {
	days, err := schedule.ParseDays(w.Days)
	if err != nil {
		return schedule.Window{}, err
	}
	start, err := schedule.ParseClock(w.Start)
	if err != nil {
		return schedule.Window{}, err
	}
	end, err := schedule.ParseClock(w.End)
	if err != nil {
		return schedule.Window{}, err
	}
	loc, err := schedule.LoadZone(w.Timezone)
	if err != nil {
		return schedule.Window{}, err
	}
	return schedule.Window{Days: days, Start: start, End: end, Location: loc}, nil
}
