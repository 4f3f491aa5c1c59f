package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/config/schedule"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// Rescanned is what a rescan found and what became of it.
type Rescanned struct {
	Store    string                      `json:"store"`
	DryRun   bool                        `json:"dry_run"`
	Found    map[providers.Condition]int `json:"found"`
	Result   state.RecoveryResult        `json:"result"`
	Cursors  []state.Cursor              `json:"cursors"`        // the newest nominal time of each backup plan
	Bad      []Loss                      `json:"bad"`            // artifacts that are there and not good, or gone
	Unknown  []string                    `json:"unknown"`        // recorded as good in this store, and the store tells nothing of them
	Problems []string                    `json:"problems"`       // what could not be understood
	Hold     state.Hold                  `json:"hold,omitzero"`  // as it is afterwards
	Skipped  []string                    `json:"skipped_cursor"` // backup plans whose schedule is not known: they may run again

	Catalogued   int `json:"catalogued"`             // artifacts that the store's catalogue did not know, and knows now
	Uncatalogued int `json:"uncatalogued,omitempty"` // that it still does not know
}

// Loss is an artifact that is not good.
type Loss struct {
	Artifact  string              `json:"artifact"`
	Condition providers.Condition `json:"condition"`
	Device    string              `json:"device"`
	Domain    string              `json:"domain"`
	Started   time.Time           `json:"started"`
	Detail    string              `json:"detail"`
}

// batch is how many artifacts are taken in with one transaction.
const batch = 500

// Rescan rebuilds the record of a store's artifacts from the store alone, under the apply lock. It may be broken off anywhere and
// done again: what was taken in stays as it is. Plans give the schedules by address; progress is told how many
// artifacts were seen. With dry, nothing is written.
func (k *Keeper) Rescan(ctx context.Context, l state.Lock, address string, plans map[string]config.BackupPlan, dry bool, progress func(int)) (_ Rescanned, err error) {
	snap, err := k.Backend.Snapshot(ctx)
	if err != nil {
		return Rescanned{}, err
	}
	rec, recorded := snap.Objects[address]
	if !recorded {
		return Rescanned{}, fmt.Errorf("%s is not recorded: take it over first with holdfast store init --adopt %s", address, name(address))
	}
	s, err := k.Opener.Store(ctx, address)
	if err != nil {
		return Rescanned{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := fits(ctx, s, rec); err != nil {
		return Rescanned{}, err
	}
	r := rescan{
		Keeper: k, ctx: ctx, lock: l, plans: plans, progress: progress,
		hold:    state.Hold{Until: k.Now().Add(state.HoldTime), Reason: "artifacts of " + address + " were recovered"},
		out:     Rescanned{Store: address, DryRun: dry, Found: map[providers.Condition]int{}, Cursors: []state.Cursor{}, Bad: []Loss{}, Unknown: []string{}, Problems: []string{}, Skipped: []string{}},
		seen:    map[string]bool{},
		cursors: map[string]state.Cursor{}, unscheduled: map[string]bool{},
	}
	for found, err := range s.Recover(ctx) {
		switch {
		case ctx.Err() != nil:
			return r.out, ctx.Err()
		case err != nil:
			r.out.Problems = append(r.out.Problems, err.Error())
			continue
		}
		if err := r.take(found); err != nil {
			return r.out, err
		}
		if found.Uncatalogued {
			r.catalogue(s, found.Manifest)
		}
	}
	info, err := s.Stat(ctx)
	if err != nil {
		return r.out, fmt.Errorf("inspect %s: %w", address, err)
	}
	return r.out, r.end(heads(info))
}

// fits refuses a place that is not the recorded store.
func fits(ctx context.Context, s providers.Store, rec state.Object) error {
	info, err := s.Stat(ctx)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", rec.Address, err)
	}
	return Fits(rec, info)
}

// Fits says why a place is not the recorded store: what an older copy does not have is not lost.
func Fits(rec state.Object, info providers.StoreInfo) error {
	if info.Unmounted != "" {
		return fmt.Errorf("%s: %w: it is not mounted: %s", rec.Address, providers.ErrIdentity, info.Unmounted)
	}
	if !info.Initialised {
		return fmt.Errorf("%s: %w: its place carries no identity; it is not mounted, was emptied, or moved", rec.Address, providers.ErrIdentity)
	}
	if m := reconcile.Mark(rec).Misfit(rec.Address, mark(info)); m != nil {
		return fmt.Errorf("%w: %s %s: %s", providers.ErrIdentity, rec.Address, m.Summary, m.Detail)
	}
	return nil
}

type rescan struct {
	*Keeper
	ctx      context.Context
	lock     state.Lock
	plans    map[string]config.BackupPlan
	progress func(int)
	hold     state.Hold

	out         Rescanned
	seen        map[string]bool
	pending     []state.Artifact
	cursors     map[string]state.Cursor
	unscheduled map[string]bool
}

func (r *rescan) take(found providers.Recovered) error {
	a, err := r.artifact(found)
	if err != nil {
		r.out.Problems = append(r.out.Problems, err.Error())
		return nil
	}
	r.out.Found[found.Condition]++
	r.seen[a.ID] = true
	if c := found.Condition; c != providers.Intact && c != providers.Deleted {
		r.out.Bad = append(r.out.Bad, Loss{a.ID, c, a.Device, a.Domain, a.Started, found.Detail})
	}
	r.follow(found.Manifest)
	if r.pending = append(r.pending, a); len(r.pending) < batch {
		return nil
	}
	return r.flush(nil, nil)
}

// catalogue has the store take an artifact into its catalogue, so that it would be missed. The first that it cannot take is told, and the last tried.
func (r *rescan) catalogue(s providers.Store, m providers.Manifest) {
	if !r.out.DryRun && r.out.Uncatalogued == 0 {
		_, err := s.Commit(r.ctx, m)
		if err == nil {
			r.out.Catalogued++
			return
		}
		r.out.Problems = append(r.out.Problems, fmt.Sprintf("artifact %s is not in the catalogue of the store, and cannot be put there: %v", m.ID, err))
	}
	r.out.Uncatalogued++
}

// artifact gives the record of what was found. The device has the address it was declared under when the artifact was made.
func (r *rescan) artifact(found providers.Recovered) (state.Artifact, error) {
	m := found.Manifest
	body, err := json.Marshal(m)
	if err != nil {
		return state.Artifact{}, fmt.Errorf("encode the manifest of artifact %s: %w", m.ID, err)
	}
	a := state.Artifact{
		ID: string(m.ID), Store: r.out.Store, BackupPlan: m.BackupPlan, Run: m.Run, Task: m.Task, Device: config.KindDevice + "." + m.Device, Domain: m.Domain,
		Action: string(m.Action), Variant: string(m.Variant), Files: len(m.Files), Bytes: m.Size(), Manifest: body, Started: m.Started,
	}
	switch found.Condition {
	case providers.Intact:
		a.State = state.ArtifactGood
	case providers.Unverified:
		a.State, a.Error = state.ArtifactUnverified, found.Detail
	case providers.Deleted:
		a.State, a.Error = state.ArtifactDeleted, found.Detail
	default:
		a.State, a.Error, a.Quarantined = state.ArtifactQuarantined, found.Detail, r.Now()
	}
	return a, nil
}

// follow moves the schedule of the backup plan that made an artifact to the nominal time it was made for.
func (r *rescan) follow(m providers.Manifest) {
	if m.BackupPlan == "" || m.Nominal == "" {
		return
	}
	at, err := nominal(r.plans[m.BackupPlan], m.Nominal)
	switch {
	case err != nil:
		r.unscheduled[m.BackupPlan] = true
	case at.After(r.cursors[m.BackupPlan].At) && !at.After(r.Now().Add(state.FutureLimit)):
		r.cursors[m.BackupPlan] = state.Cursor{Address: m.BackupPlan, Nominal: m.Nominal, At: at}
	}
}

// nominal gives the instant that a nominal time of a backup plan stands for.
func nominal(bp config.BackupPlan, text string) (time.Time, error) {
	if at, err := time.Parse("2006-01-02T15:04Z07:00", text); err == nil {
		return at.UTC(), nil
	}
	if bp.Schedule == "" {
		return time.Time{}, errors.New("the backup plan has no schedule")
	}
	loc, err := schedule.LoadZone(bp.Timezone)
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.ParseInLocation("2006-01-02T15:04", text, loc)
	if err != nil {
		return time.Time{}, err
	}
	cron, err := schedule.ParseCron(bp.Schedule, loc)
	if err != nil {
		return at.UTC(), nil
	}
	const clockChange = 3 * time.Hour // a time that does not exist moves
	near, _ := cron.Between(at.Add(-clockChange), at.Add(clockChange), 1000)
	for _, o := range near {
		if o.Nominal == text {
			return o.At.UTC(), nil
		}
	}
	return at.UTC(), nil
}

func (r *rescan) flush(cursors []state.Cursor, seen []state.Head) error {
	n, err := r.write(cursors, seen)
	if err != nil {
		return err
	}
	r.pending = r.pending[:0]
	t := &r.out.Result
	t.Added, t.Changed, t.Kept, t.Elsewhere, t.Cursors = t.Added+n.Added, t.Changed+n.Changed, t.Kept+n.Kept, t.Elsewhere+n.Elsewhere, t.Cursors+n.Cursors
	if r.progress != nil {
		r.progress(len(r.seen))
	}
	return nil
}

func (r *rescan) write(cursors []state.Cursor, seen []state.Head) (state.RecoveryResult, error) {
	if !r.out.DryRun {
		return r.Backend.Recover(r.ctx, r.lock, state.Recovery{
			Store: r.out.Store, Found: r.pending, Cursors: cursors, Hold: r.hold, Seen: seen, Actor: r.Actor, At: r.Now(),
		})
	}
	var n state.RecoveryResult
	for _, a := range r.pending {
		cur, err := r.Backend.Artifacts(r.ctx, state.ArtifactFilter{ID: a.ID})
		if err != nil {
			return n, err
		}
		changed := true
		if len(cur) > 0 {
			_, changed = cur[0].Recovered(a, r.Now())
		}
		switch {
		case len(cur) == 0:
			n.Added++
		case cur[0].Store != a.Store:
			n.Elsewhere++
		case changed:
			n.Changed++
		default:
			n.Kept++
		}
	}
	return n, nil
}

// end takes in the rest, with how far the catalogue went, and looks for what the record has and the store does not know.
func (r *rescan) end(seen []state.Head) error {
	for _, plan := range slices.Sorted(maps.Keys(r.cursors)) {
		r.out.Cursors = append(r.out.Cursors, r.cursors[plan])
	}
	for _, plan := range slices.Sorted(maps.Keys(r.unscheduled)) {
		if _, ok := r.cursors[plan]; !ok {
			r.out.Skipped = append(r.out.Skipped, plan)
		}
	}
	if err := r.flush(r.out.Cursors, seen); err != nil {
		return err
	}
	snap, err := r.Backend.Snapshot(r.ctx)
	if err != nil {
		return err
	}
	r.out.Hold = snap.Meta.Hold
	for _, a := range snap.Catalogue {
		if a.Store == r.out.Store && a.State == state.ArtifactGood && !r.seen[a.ID] {
			r.out.Unknown = append(r.out.Unknown, a.ID)
		}
	}
	slices.Sort(r.out.Unknown)
	return nil
}
