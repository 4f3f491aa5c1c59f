package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/state"
)

// What a comparison of a store with the record can find, beside what the store finds in itself.
const (
	RecordedMissing providers.FindingKind = "recorded_missing" // recorded as good, and not in the store
	NotRecorded     providers.FindingKind = "not_recorded"     // in the store, and not recorded
	RecordDiffers   providers.FindingKind = "record_differs"   // the store's manifest is not the recorded one
	Unreadable      providers.FindingKind = "unreadable"       // could not be looked at
)

// Checked is what a check found. Findings are ordered by kind, artifact and path.
type Checked struct {
	Store     string              `json:"store"`
	Artifacts int                 `json:"artifacts"` // in the store
	Findings  []providers.Finding `json:"findings"`
	Swept     *providers.Swept    `json:"swept,omitempty"`    // when a sweep followed
	Repaired  []string            `json:"repaired,omitempty"` // artifacts that were put into the catalogue
	Error     string              `json:"error,omitempty"`    // why it could not be checked, or not to the end
}

// Check compares a store with itself and with the record. It reads no content of artifacts and changes nothing.
func (k *Keeper) Check(ctx context.Context, address string) (_ Checked, err error) {
	out := Checked{Store: address, Findings: []providers.Finding{}}
	s, err := k.Opener.Store(ctx, address)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	snap, err := k.Backend.Snapshot(ctx)
	if err != nil {
		return out, err
	}
	if err := fits(ctx, s, snap.Objects[address]); err != nil && !errors.Is(err, providers.ErrCorrupt) { // Check tells of a damaged mark
		return out, err
	}
	for f, err := range s.Check(ctx) {
		switch {
		case ctx.Err() != nil:
			return out, ctx.Err()
		case err != nil:
			f = unreadable(err)
		}
		out.Findings = append(out.Findings, f)
	}
	if !slices.ContainsFunc(out.Findings, func(f providers.Finding) bool { return f.Kind == providers.MarkerDamaged }) {
		if err := k.compare(ctx, s, &out); err != nil {
			return out, err
		}
	}
	slices.SortStableFunc(out.Findings, func(x, y providers.Finding) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Artifact, y.Artifact), cmp.Compare(x.Path, y.Path))
	})
	out.Findings = slices.Compact(out.Findings)
	return out, nil
}

// Repair puts artifacts that a check found whole, and not in the store's catalogue, into it, and checks again.
func (k *Keeper) Repair(ctx context.Context, found Checked) (Checked, error) {
	holes := map[providers.ArtifactID]bool{}
	for _, f := range found.Findings {
		if f.Kind == providers.NotCatalogued {
			holes[f.Artifact] = true
		}
	}
	if len(holes) == 0 {
		return found, nil
	}
	if err := k.catalogue(ctx, found.Store, holes); err != nil {
		return found, err
	}
	again, err := k.Check(ctx, found.Store)
	for _, f := range again.Findings {
		if f.Kind == providers.NotCatalogued {
			delete(holes, f.Artifact)
		}
	}
	for id := range holes {
		again.Repaired = append(again.Repaired, string(id))
	}
	slices.Sort(again.Repaired)
	return again, err
}

func (k *Keeper) catalogue(ctx context.Context, address string, holes map[providers.ArtifactID]bool) (err error) {
	s, err := k.Opener.Store(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := k.mayChange(ctx, s, address); err != nil {
		return err
	}
	for m, err := range s.List(ctx) {
		if err != nil || !holes[m.ID] {
			continue // the check tells of what cannot be read
		}
		if _, err := s.Commit(ctx, m); err != nil {
			return fmt.Errorf("put artifact %s into the catalogue of %s: %w", m.ID, address, err)
		}
	}
	return errors.Join(ctx.Err(), k.saw(ctx, s, address))
}

func unreadable(err error) providers.Finding {
	f := providers.Finding{Kind: Unreadable, Detail: err.Error()}
	var told *providers.Error
	if errors.As(err, &told) {
		f.Path = told.Target
	}
	return f
}

// compare compares the manifests in the store with the record. What differs is looked at a second time, since artifacts come and go meanwhile.
func (k *Keeper) compare(ctx context.Context, s providers.Store, out *Checked) error {
	there := map[string]providers.Manifest{}
	for m, err := range s.List(ctx) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			there[string(m.ID)] = m
		case !errors.Is(err, providers.ErrCorrupt): // Check told of that
			out.Findings = append(out.Findings, unreadable(err))
		}
	}
	out.Artifacts = len(there)
	recorded, err := k.Backend.Artifacts(ctx, state.ArtifactFilter{Store: out.Store})
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, a := range recorded {
		m, ok := there[a.ID]
		switch {
		case a.State == state.ArtifactDeleted:
			continue
		case ok && a.State != state.ArtifactExpiring:
			if f, differs := differs(a, m); differs {
				out.Findings = append(out.Findings, f)
			}
		case !ok && a.State == state.ArtifactGood:
			f, err := k.missing(ctx, s, a)
			if err != nil {
				return err
			}
			out.Findings = append(out.Findings, f...)
		}
		known[a.ID] = true
	}
	working, err := Working(ctx, k.Backend)
	if err != nil {
		return err
	}
	for id, m := range there {
		if known[id] || working[id] {
			continue
		}
		again, err := k.Backend.Artifacts(ctx, state.ArtifactFilter{ID: id})
		if err != nil {
			return err
		}
		if len(again) == 0 || again[0].Store != out.Store || again[0].State == state.ArtifactDeleted {
			out.Findings = append(out.Findings, providers.Finding{
				Kind: NotRecorded, Artifact: m.ID, Path: pathOf(m),
				Detail: "The store has it, and the record does not. Take it in with holdfast store rescan " + name(out.Store) + ".",
			})
		}
	}
	return nil
}

// missing looks again for an artifact that is recorded as good and was not listed.
func (k *Keeper) missing(ctx context.Context, s providers.Store, a state.Artifact) ([]providers.Finding, error) {
	var m providers.Manifest
	if err := json.Unmarshal(a.Manifest, &m); err != nil {
		return []providers.Finding{{Kind: RecordDiffers, Artifact: providers.ArtifactID(a.ID), Detail: fmt.Sprintf("The recorded manifest cannot be read: %v.", err)}}, nil
	}
	_, err := s.Get(ctx, m.ArtifactRef)
	if err == nil || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	again, readErr := k.Backend.Artifacts(ctx, state.ArtifactFilter{ID: a.ID})
	if readErr != nil || len(again) == 0 || again[0].State != state.ArtifactGood {
		return nil, readErr
	}
	return []providers.Finding{{
		Kind: RecordedMissing, Artifact: m.ID, Path: pathOf(m),
		Detail: fmt.Sprintf("It is recorded as good, taken %s, and cannot be read from the store: %v. Quarantine it, so that it counts for nothing: holdfast verify %s",
			a.Started.UTC().Format("2006-01-02 15:04:05"), reason(err), a.ID),
	}}, nil
}

func reason(err error) error {
	var told *providers.Error
	if errors.As(err, &told) {
		return told.Err
	}
	return err
}

// differs compares the recorded manifest of an artifact with the stored one.
func differs(a state.Artifact, m providers.Manifest) (providers.Finding, bool) {
	f := providers.Finding{Kind: RecordDiffers, Artifact: m.ID, Path: pathOf(m)}
	var rec providers.Manifest
	if err := json.Unmarshal(a.Manifest, &rec); err != nil {
		f.Detail = fmt.Sprintf("The recorded manifest cannot be read: %v.", err)
		return f, true
	}
	same := slices.EqualFunc(rec.Files, m.Files, func(x, y providers.File) bool { return x.Path == y.Path && x.Size == y.Size && x.SHA256 == y.SHA256 })
	f.Detail = "Its files in the store's manifest are others than the recorded ones."
	return f, !same
}

func pathOf(m providers.Manifest) string {
	if len(m.Files) == 0 {
		return ""
	}
	return m.Files[0].Path
}

// Working gives the artifacts that tasks which have not ended, or whose outcome a person must decide about, are working on.
func Working(ctx context.Context, backend state.Backend) (map[string]bool, error) {
	runs, err := backend.Runs(ctx, state.RunFilter{})
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, r := range runs {
		if r.Status.Terminal() && r.Status != state.Attention {
			continue
		}
		tasks, err := backend.Tasks(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		for _, t := range tasks {
			if t.Status.Terminal() && t.Status != state.Attention {
				continue
			}
			steps, err := backend.Steps(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			for _, step := range steps {
				var input struct {
					ID string `json:"id"` // of a capture
				}
				if json.Unmarshal(step.Input, &input) == nil && input.ID != "" {
					ids[input.ID] = true
				}
			}
		}
	}
	return ids, nil
}

// Sweep removes what crashes left in a store. What a task may go on with stays, and what the record holds for good or
// worth looking at and the store does not have any more is not deleted for good, whatever the store's trash says.
func (k *Keeper) Sweep(ctx context.Context, address string) (_ providers.Swept, err error) {
	keep, err := Working(ctx, k.Backend)
	if err != nil {
		return providers.Swept{}, err
	}
	recorded, err := k.Backend.Artifacts(ctx, state.ArtifactFilter{Store: address})
	if err != nil {
		return providers.Swept{}, err
	}
	valued := map[string]state.Artifact{}
	for _, a := range recorded {
		if a.State != state.ArtifactExpiring && a.State != state.ArtifactDeleted {
			valued[a.ID] = a
		}
	}
	s, err := k.Opener.Store(ctx, address)
	if err != nil {
		return providers.Swept{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := k.mayChange(ctx, s, address); err != nil {
		return providers.Swept{}, err
	}
	swept, err := s.Sweep(ctx, func(id providers.ArtifactID) bool {
		a, ok := valued[string(id)]
		return keep[string(id)] || ok && !committed(ctx, s, a)
	})
	return swept, errors.Join(err, k.saw(ctx, s, address))
}

// mayChange refuses to change a store that knows more than the state.
func (k *Keeper) mayChange(ctx context.Context, s providers.Store, address string) error {
	snap, err := k.Backend.Snapshot(ctx)
	if err != nil {
		return err
	}
	info, err := s.Stat(ctx)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", address, err)
	}
	if m := reconcile.Behind(snap, address, last(info)); m != nil {
		return fmt.Errorf("%s %s: %s", address, m.Summary, m.Detail)
	}
	return nil
}

// saw records how far the catalogue of a store goes after it was changed here.
func (k *Keeper) saw(ctx context.Context, s providers.Store, address string) error {
	info, err := s.Stat(ctx)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", address, err)
	}
	return k.Backend.PutSight(ctx, state.StoreSight{Store: address, Heads: heads(info)})
}

func committed(ctx context.Context, s providers.Store, a state.Artifact) bool {
	var m providers.Manifest
	if json.Unmarshal(a.Manifest, &m) != nil {
		return false
	}
	_, err := s.Get(ctx, m.ArtifactRef)
	return err == nil
}
