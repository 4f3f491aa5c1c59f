package planner

import (
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/schedule"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Kinds of work a freeze may hold back.
const (
	workBackup = "backup"
	workMirror = "mirror"
	workRole   = "role"
)

// opening is a window with its freezes, judged at the time of planning.
type opening struct {
	args reconcile.WindowArgs
	step reconcile.Step // that checks it again at run time
	now  reconcile.Opening
}

// window gives a declared window and the freezes for one kind of work. A bad window was reported when the configuration was
// loaded, so here its error is what the work waits for.
func (b *builder) window(a config.Address, work string) opening {
	key := [2]string{string(a), work}
	if o, ok := b.openings[key]; ok {
		return o
	}
	var args reconcile.WindowArgs
	if w, ok := config.Lookup[*config.MaintenanceWindow](b.doc, a); ok {
		args = reconcile.WindowArgs{Window: string(a), Days: w.Days, Start: w.Start, End: w.End, Timezone: b.zone(w.Timezone), AtClose: w.AtClose}
	}
	for _, f := range b.freezes {
		if len(f.AppliesTo) == 0 || slices.Contains(f.AppliesTo, work) {
			args.Freezes = append(args.Freezes, reconcile.FreezeArgs{Freeze: string(f.Address), From: f.From, To: f.To, Timezone: b.zone(f.Timezone), Reason: f.Reason})
		}
	}
	now, err := args.Check(b.now)
	if err != nil {
		now = reconcile.Opening{Waits: err.Error()}
	}
	o := opening{args: args, step: reconcile.NewStep("window", reconcile.OpWindow, state.Rerun, args), now: now}
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
func (b *builder) mayStart(addr config.Address, kind reconcile.ActionKind, reason string, w opening) bool {
	if !w.now.Open {
		b.postpone(addr, kind, reason, w.now.Waits, w.now.Until)
		if kind == reconcile.ActionBackup {
			b.plan.Deferred[len(b.plan.Deferred)-1].Code = reconcile.OutsideWindow
		}
	}
	return w.now.Open
}

// inUTC is an instant as a plan keeps it.
func inUTC(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// moment says an instant to people, in the zone of the settings.
func (b *builder) moment(t time.Time) string {
	return t.In(b.settingsZone()).Format("2006-01-02 15:04 MST")
}

func (b *builder) settingsZone() *time.Location {
	zone, err := schedule.LoadZone(b.doc.Settings.Timezone)
	if err != nil {
		return time.UTC // the loader reported it
	}
	return zone
}

func (b *builder) postpone(addr config.Address, kind reconcile.ActionKind, reason, waits string, until time.Time) {
	b.plan.Deferred = append(b.plan.Deferred, reconcile.Deferred{Address: string(addr), Kind: string(kind), Reason: reason, Waits: waits, Until: inUTC(until)})
}
