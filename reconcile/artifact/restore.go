package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/holdfast-dr/holdfast/config/glob"
	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/state"
)

// Target says where content goes: into a directory, or into a device.
type Target struct {
	Dir string // absolute; must be absent or empty
	Raw bool   // with Dir: the files as they were captured, without the device's own format; needs no device

	Include []string // see providers.RestoreRequest; with Raw the patterns are about the names of the files

	NumericOwner bool // the same

	Device  string // address; without Dir
	Domain  string // in the device
	Replace bool   // see providers.RestoreRequest
	Lenient bool   // the same
	ID      string // of the restore; the same
}

// part says what of an artifact goes into a directory; empty: all of it, in the device's own format.
func (t Target) part() string {
	what := ""
	if t.Raw || len(t.Include) > 0 {
		what = fmt.Sprintf("raw=%t include=%q", t.Raw, t.Include)
	}
	if t.NumericOwner {
		what += " numeric owners"
	}
	return what
}

// Restore puts an artifact's content into a target and gives warnings for people. Every byte is checked on the way.
//
// A directory appears when all of its content is there. Until then the content is beside it, in its Workplace, which Restore leaves
// behind in any case: calling again, also after a crash, begins anew, or does nothing when the directory appeared already. Sweep
// removes the workplace when the outcome is recorded. Into a device, calling again with the same ID leaves what was written since the
// content was put there, until Forget.
func Restore(ctx context.Context, opener *providers.Opener, a state.Artifact, to Target, read func(int64)) (warnings []string, err error) {
	m, err := Manifest(a)
	if err != nil {
		return nil, err
	}
	var d *directory
	if to.Dir != "" {
		if d, err = begin(to.Dir, a.ID, to.part()); err != nil || d.published {
			return nil, err
		}
	}
	store, err := opener.Store(ctx, a.Store)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	src := &source{store: store, manifest: m, read: read}
	req := providers.RestoreRequest{
		Action: providers.Action(a.Action), Domain: a.Domain, Variant: providers.Variant(a.Variant),
		Include: to.Include, NumericOwner: to.NumericOwner, Warn: func(text string) { warnings = append(warnings, text) },
	}
	switch {
	case d == nil:
		req.Domain, req.Replace, req.Lenient, req.ID = to.Domain, to.Replace, to.Lenient, to.ID
		err = byDevice(ctx, opener, to.Device, req, src)
		return warnings, err
	case to.Raw:
		err = raw(ctx, src, d.content(), to.Include)
	default:
		req.Dir = d.content()
		err = byDevice(ctx, opener, a.Device, req, src)
	}
	if err != nil {
		return nil, err
	}
	return warnings, d.publish()
}

// Forget removes what a restore into a device left there to be known again, when its outcome is recorded.
func Forget(ctx context.Context, opener *providers.Opener, to Target) (err error) {
	device, err := opener.Device(ctx, to.Device)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	return device.Forget(ctx, providers.RestoreRequest{Domain: to.Domain, ID: to.ID})
}

func byDevice(ctx context.Context, opener *providers.Opener, address string, req providers.RestoreRequest, src *source) (err error) {
	if len(req.Include) > 0 {
		if err := opener.Parts(address, req.Action, req.Dir == ""); err != nil {
			return err
		}
	}
	device, err := opener.Device(ctx, address)
	if err != nil && req.Dir != "" {
		return fmt.Errorf("%w; with --raw the files are written as they were captured", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	return device.Restore(ctx, req, src)
}

// raw writes the files under their own names.
func raw(ctx context.Context, src *source, dir string, include []string) error {
	chosen, err := glob.Compile(include)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	files := slices.DeleteFunc(src.Files(), func(f providers.File) bool { return !chosen.Empty() && !chosen.Match(f.Name, false) })
	if len(files) == 0 && !chosen.Empty() {
		return fmt.Errorf("no file of the artifact matches %q: %w", include, providers.ErrNotFound)
	}
	for _, f := range files {
		r, err := src.Open(ctx, f.Name)
		if err != nil {
			return err
		}
		w, err := root.OpenFile(f.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return errors.Join(providers.Plainly(err), r.Close())
		}
		err = copyChecked(ctx, w, r, f, nil)
		if err = errors.Join(err, w.Sync(), w.Close(), r.Close()); err != nil {
			return err
		}
	}
	return nil
}
