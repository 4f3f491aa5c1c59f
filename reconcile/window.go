package reconcile

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/schedule"
	"github.com/holdfast-dr/holdfast/state"
)

// Kinds of work a freeze may hold back.
const (
	workBackup = "backup"
	workMirror = "mirror"
	workRole   = "role"
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
	win, err := w.schedule()
	if err != nil {
		return Opening{}, err
	}
	if span, open := win.Open(now); open {
		return Opening{Open: true, Closes: span.End}, nil
	}
	next := win.Next(now)
	return Opening{Until: next.Start, Waits: fmt.Sprintf("%s (opens %s)", w.Window, next.Start.In(win.Location).Format("Mon 2006-01-02 15:04 MST"))}, nil
}

func (w WindowArgs) schedule() (schedule.Window, error) {
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

// opening is a window with its freezes, judged at the time of planning.
type opening struct {
	args WindowArgs
	step Step // that checks it again at run time
	now  Opening
}

// window gives a declared window and the freezes for one kind of work. A bad window was reported when the configuration was
// loaded, so here its error is what the work waits for.
func (b *builder) window(a config.Address, work string) opening {
	key := [2]string{string(a), work}
	if o, ok := b.openings[key]; ok {
		return o
	}
	var args WindowArgs
	if w, ok := config.Lookup[*config.MaintenanceWindow](b.doc, a); ok {
		args = WindowArgs{Window: string(a), Days: w.Days, Start: w.Start, End: w.End, Timezone: b.zone(w.Timezone), AtClose: w.AtClose}
	}
	for _, f := range b.freezes {
		if len(f.AppliesTo) == 0 || slices.Contains(f.AppliesTo, work) {
			args.Freezes = append(args.Freezes, FreezeArgs{Freeze: string(f.Address), From: f.From, To: f.To, Timezone: b.zone(f.Timezone), Reason: f.Reason})
		}
	}
	now, err := args.Check(b.now)
	if err != nil {
		now = Opening{Waits: err.Error()}
	}
	o := opening{args: args, step: newStep("window", OpWindow, state.Rerun, args), now: now}
	b.openings[key] = o
	return o
}

// zone gives a block's own zone or that of the settings.
func (b *builder) zone(own string) string {
	if own != "" {
		return own
	}
	return b.doc.Settings.Timezone
}

// mayStart reports whether work may start now; otherwise it puts the work under Deferred.
func (b *builder) mayStart(addr config.Address, kind ActionKind, reason string, w opening) bool {
	if !w.now.Open {
		b.postpone(addr, kind, reason, w.now.Waits, w.now.Until)
		if kind == ActionBackup {
			b.plan.Deferred[len(b.plan.Deferred)-1].Code = OutsideWindow
		}
	}
	return w.now.Open
}

func (b *builder) postpone(addr config.Address, kind ActionKind, reason, waits string, until time.Time) {
	b.plan.Deferred = append(b.plan.Deferred, Deferred{Address: string(addr), Kind: string(kind), Reason: reason, Waits: waits, Until: until})
}
