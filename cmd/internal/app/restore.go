package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dr/holdfast/config"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/reconcile"
	"github.com/holdfast-dr/holdfast/reconcile/artifact"
	"github.com/holdfast-dr/holdfast/reconcile/observe"
	"github.com/holdfast-dr/holdfast/reconcile/recovery"
	"github.com/holdfast-dr/holdfast/state"
)

// RestoreOptions say what to restore, and where to: into Dir, which is absolute, or into a device.
type RestoreOptions struct {
	Artifact state.Artifact
	Dir      string
	Device   string // address
	Domain   string // of Device; empty: the artifact's

	Raw              bool
	Include          []string // only what these patterns match
	Lenient          bool     // with Device: what it refuses is left out
	NumericOwner     bool     // owners by their numbers, not by their names
	NoSafety         bool
	Reason           string
	AllowQuarantined bool
	AllowUnverified  bool
}

// lookTimeout bounds one look at a store's content.
const lookTimeout = time.Minute

// earlierRestores is how many restores of the same device tell how long one takes.
const earlierRestores = 5

// PlanRestore looks at the store and the target and plans a restore. It works from the recorded state; the configuration is read only
// for secrets, if it can be.
func (a *App) PlanRestore(ctx context.Context, backend state.Backend, o RestoreOptions) (*reconcile.Plan, error) {
	snap, err := backend.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	m, err := artifact.Manifest(o.Artifact)
	if err != nil {
		return nil, err
	}
	in := recovery.Input{
		State: snap, Source: sourceOf(o.Artifact, m), Dir: o.Dir, Device: o.Device, Domain: o.Domain, Raw: o.Raw, Include: o.Include, Lenient: o.Lenient, NumericOwner: o.NumericOwner,
		NoSafety: o.NoSafety, Reason: o.Reason, AllowQuarantined: o.AllowQuarantined, AllowUnverified: o.AllowUnverified, Operator: Actor(), Now: a.Now(), Version: a.o.Version,
	}
	var doc *config.Document
	if cfg, _, err := a.Load(ctx); err == nil {
		doc = cfg.Doc
		in.Environment = doc.Settings.Environment
		in.Secrets = map[string]reconcile.Spec{}
		for _, s := range doc.Secrets {
			in.Secrets[string(s.Address)] = reconcile.Spec{Spec: config.Spec(s)}
		}
	}
	opener := a.RecordedOpener(doc, snap)
	in.Seen = recovery.Seen{Verified: o.Artifact.Verified, FreeBytes: -1, Store: observe.Store(ctx, opener, o.Artifact.Store, a.Now())}
	if in.Seen.Store.Error == "" {
		if err := readable(ctx, opener, o.Artifact, m); err != nil {
			in.Seen.Unreadable, in.Seen.NoSecret = err.Error(), errors.Is(err, providers.ErrSecret)
			in.Seen.NoKey = in.Seen.NoSecret || errors.Is(err, providers.ErrNoKey)
		}
	}
	in.Seen.Encrypted = slices.ContainsFunc(m.Files, func(f providers.File) bool { return f.Encryption != nil })
	if o.Dir != "" {
		switch err := artifact.Vacant(o.Dir); {
		case errors.Is(err, providers.ErrNotEmpty):
			in.Seen.Occupied = o.Dir + " is not empty"
		case err != nil:
			in.Seen.Occupied = err.Error()
		case !writable(o.Dir):
			in.Seen.Occupied = "you may not write to " + filepath.Dir(o.Dir)
		}
		in.Seen.FreeBytes = freeBytes(o.Dir)
	} else if _, recorded := snap.Objects[o.Device]; recorded {
		seen := observe.Device(ctx, opener, o.Device, a.Now())
		in.Seen.Target = &seen
		if err := opener.InPlace(o.Device, providers.Action(o.Artifact.Action), cmp.Or(o.Domain, o.Artifact.Domain)); err != nil {
			in.Seen.Refused = err.Error()
		}
	}
	if o.Lenient {
		if err := opener.Lenient(o.Device); err != nil {
			in.Seen.Strict = err.Error()
		}
	}
	if len(o.Include) > 0 && !o.Raw {
		if err := opener.Parts(o.Artifact.Device, providers.Action(o.Artifact.Action), o.Dir == ""); err != nil {
			in.Seen.Whole = err.Error()
		}
	}
	if in.Seen.Earlier, err = earlier(ctx, backend, in); err != nil {
		return nil, err
	}
	plan, _ := recovery.Build(in)
	return plan, ctx.Err()
}

// PlanDeletion looks at the store of an artifact and plans its deletion, because of a reason that a person gives.
func (a *App) PlanDeletion(ctx context.Context, backend state.Backend, art state.Artifact, reason string, force bool) (*reconcile.Plan, error) {
	snap, err := backend.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	plan, _ := recovery.Delete(recovery.DeleteInput{
		State: snap, Artifact: art, Safety: artifact.IsSafety(art), Force: force, Reason: reason, Operator: Actor(), Now: a.Now(), Version: a.o.Version,
		Store: observe.Store(ctx, a.RecordedOpener(nil, snap), art.Store, a.Now()),
	})
	return plan, ctx.Err()
}

// sourceOf describes an artifact by its record and its manifest.
func sourceOf(a state.Artifact, m providers.Manifest) reconcile.RestoreSource {
	s := reconcile.RestoreSource{
		Artifact: a.ID, Store: a.Store, State: a.State, BackupPlan: a.BackupPlan, Device: a.Device, DeviceType: m.DeviceType, Domain: a.Domain,
		Action: a.Action, Variant: a.Variant, Taken: a.Started.UTC(), Files: a.Files, Bytes: a.Bytes,
		Consistency: m.Result.Consistency, Tool: m.Result.Tool,
		Identity: m.DeviceInfo.Identity, Model: m.DeviceInfo.Model, Firmware: m.DeviceInfo.Firmware,
	}
	for _, f := range m.Files {
		s.Content += f.Content().Size
	}
	if n, exact := m.Unpacked(); n > 0 {
		s.Unpacked, s.AtMost = n, !exact
	}
	return s
}

// readable says why a store cannot give the content of an artifact.
func readable(ctx context.Context, opener *providers.Opener, a state.Artifact, m providers.Manifest) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	store, err := opener.Store(ctx, a.Store)
	if err != nil {
		return err
	}
	if a.State != state.ArtifactUnverified { // which has no manifest there
		_, err = store.Get(ctx, m.ArtifactRef)
	}
	if err == nil {
		err = artifact.Readable(ctx, store, m)
	}
	return errors.Join(err, store.Close())
}

// writable reports whether this user may make a directory and what is missing above it. What cannot be told is seen when it is made.
func writable(dir string) bool {
	const write, search = 2, 1
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		err := syscall.Access(dir, write|search)
		if !errors.Is(err, os.ErrNotExist) {
			return !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EROFS)
		}
	}
	return true
}

// freeBytes is the room where a directory is or would be; -1: not known.
func freeBytes(dir string) int64 {
	for {
		var st syscall.Statfs_t
		switch err := syscall.Statfs(dir, &st); {
		case err == nil:
			return int64(st.Bavail) * st.Bsize
		case !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir):
			return -1
		}
		dir = filepath.Dir(dir)
	}
}

// earlier measures the newest restores of the same object that went well, each without its safety backup.
func earlier(ctx context.Context, backend state.Backend, in recovery.Input) (all []recovery.Earlier, err error) {
	address := in.Device
	if address == "" {
		address = in.Source.Device
	}
	runs, err := backend.Runs(ctx, state.RunFilter{Address: address, Limit: 10 * earlierRestores})
	if err != nil {
		return nil, fmt.Errorf("read earlier restores: %w", err)
	}
	for _, r := range runs {
		if r.Kind != string(reconcile.ActionRestore) || !r.Status.Good() || len(all) == earlierRestores {
			continue
		}
		tasks, err := backend.Tasks(ctx, r.ID)
		if err != nil {
			return nil, fmt.Errorf("read earlier restores: %w", err)
		}
		for _, t := range tasks {
			steps, err := backend.Steps(ctx, t.ID)
			if err != nil {
				return nil, fmt.Errorf("read earlier restores: %w", err)
			}
			all = append(all, measured(steps))
		}
	}
	return all, nil
}

func measured(steps []state.StepRun) (e recovery.Earlier) {
	for _, s := range steps {
		if strings.HasPrefix(s.Name, "safety") || s.State != state.StepDone {
			continue
		}
		var done struct {
			Bytes int64 `json:"bytes_done"`
		}
		if json.Unmarshal(s.Output, &done) == nil {
			e.Bytes += done.Bytes
		}
		e.Took += s.Ended.Sub(s.Began)
	}
	return e
}
