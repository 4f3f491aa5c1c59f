// Package faulty asks a test at every point of every call to a provider, which may then fail, stop or kill there.
package faulty

import (
	"context"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
)

// Fault is asked at every point of every call to a wrapped provider: before it ("store.Commit"), in its stream
// ("device.Capture:write", "mirror.Copy:progress") and after it went well ("store.Commit:done"). An error it returns is what
// the caller gets: before, the call is not made; after, its answer is lost. It may also not return at all.
type Fault func(point string) error

// Registry gives a registry whose providers ask fault, which must be safe for concurrent use.
func Registry(r *providers.Registry, fault Fault) *providers.Registry {
	w := &providers.Registry{}
	for _, t := range r.Devices {
		open := t.Open
		t.Open = func(ctx context.Context, name string, settings any, env providers.Env) (providers.Device, error) {
			d, err := open(ctx, name, settings, env)
			if err != nil {
				return nil, err
			}
			return &device{d, fault}, nil
		}
		w.Devices = append(w.Devices, t)
	}
	for _, t := range r.Stores {
		open := t.Open
		t.Open = func(ctx context.Context, name string, settings any, env providers.Env) (providers.Store, error) {
			s, err := open(ctx, name, settings, env)
			if err != nil {
				return nil, err
			}
			return &store{s, fault}, nil
		}
		w.Stores = append(w.Stores, t)
	}
	for _, t := range r.Targets {
		open := t.Open
		t.Open = func(ctx context.Context, name string, settings any, members map[string]any, env providers.Env) (providers.Target, error) {
			x, err := open(ctx, name, settings, members, env)
			if err != nil {
				return nil, err
			}
			return &target{x, fault}, nil
		}
		w.Targets = append(w.Targets, t)
	}
	for _, t := range r.Mirrors {
		open := t.Open
		t.Open = func(ctx context.Context, name string, env providers.Env) (providers.Mirror, error) {
			m, err := open(ctx, name, env)
			if err != nil {
				return nil, err
			}
			return &mirror{m, fault}, nil
		}
		w.Mirrors = append(w.Mirrors, t)
	}
	return w
}

// call asks before and after one call.
func (f Fault) call(point string, do func() error) error {
	if err := f(point); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return f(point + ":done")
}

type device struct {
	providers.Device
	fault Fault
}

func (d *device) Inspect(ctx context.Context) (info providers.DeviceInfo, err error) {
	err = d.fault.call("device.Inspect", func() (err error) { info, err = d.Device.Inspect(ctx); return err })
	return info, err
}

func (d *device) DomainState(ctx context.Context, domain string) (st providers.DomainState, err error) {
	err = d.fault.call("device.DomainState", func() (err error) { st, err = d.Device.DomainState(ctx, domain); return err })
	return st, err
}

func (d *device) Quiesce(ctx context.Context, domain string, timeout time.Duration) error {
	return d.fault.call("device.Quiesce", func() error { return d.Device.Quiesce(ctx, domain, timeout) })
}

func (d *device) Unquiesce(ctx context.Context, domain string) error {
	return d.fault.call("device.Unquiesce", func() error { return d.Device.Unquiesce(ctx, domain) })
}

func (d *device) Capture(ctx context.Context, req providers.CaptureRequest, sink providers.Sink) (res providers.CaptureResult, err error) {
	err = d.fault.call("device.Capture", func() (err error) {
		res, err = d.Device.Capture(ctx, req, &watchedSink{sink, d.fault})
		return err
	})
	return res, err
}

func (d *device) Restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	return d.fault.call("device.Restore", func() error { return d.Device.Restore(ctx, req, &watchedSource{src, d.fault}) })
}

func (d *device) Forget(ctx context.Context, req providers.RestoreRequest) error {
	return d.fault.call("device.Forget", func() error { return d.Device.Forget(ctx, req) })
}

// watchedSource asks before each file is opened, at its end, and when it is closed.
type watchedSource struct {
	providers.Source
	fault Fault
}

func (s *watchedSource) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := s.fault("device.Restore:open"); err != nil {
		return nil, err
	}
	r, err := s.Source.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &watchedContent{r, s.fault}, nil
}

type watchedContent struct {
	io.ReadCloser
	fault Fault
}

func (r *watchedContent) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == io.EOF {
		if fault := r.fault("device.Restore:read"); fault != nil {
			err = fault
		}
	}
	return n, err
}

func (r *watchedContent) Close() error {
	if err := r.ReadCloser.Close(); err != nil {
		return err
	}
	return r.fault("device.Restore:close")
}

// watchedSink asks at the first write to each file and before it is closed.
type watchedSink struct {
	sink  providers.Sink
	fault Fault
}

func (s *watchedSink) Create(name string) (io.WriteCloser, error) {
	if err := s.fault("device.Capture:create"); err != nil {
		return nil, err
	}
	w, err := s.sink.Create(name)
	if err != nil {
		return nil, err
	}
	return &watchedFile{WriteCloser: w, fault: s.fault}, nil
}

type watchedFile struct {
	io.WriteCloser
	fault   Fault
	written bool
}

func (f *watchedFile) Write(p []byte) (int, error) {
	n, err := f.WriteCloser.Write(p)
	if err == nil && !f.written {
		f.written = true
		err = f.fault("device.Capture:write")
	}
	return n, err
}

func (f *watchedFile) Close() error {
	if err := f.WriteCloser.Close(); err != nil {
		return err
	}
	return f.fault("device.Capture:close")
}

type store struct {
	providers.Store
	fault Fault
}

func (s *store) Stat(ctx context.Context) (info providers.StoreInfo, err error) {
	err = s.fault.call("store.Stat", func() (err error) { info, err = s.Store.Stat(ctx); return err })
	return info, err
}

func (s *store) Init(ctx context.Context, identity string) error {
	return s.fault.call("store.Init", func() error { return s.Store.Init(ctx, identity) })
}

func (s *store) Adopt(ctx context.Context, identity string) error {
	return s.fault.call("store.Adopt", func() error { return s.Store.Adopt(ctx, identity) })
}

func (s *store) Stage(ctx context.Context, ref providers.ArtifactRef) (stage providers.Stage, err error) {
	err = s.fault.call("store.Stage", func() (err error) { stage, err = s.Store.Stage(ctx, ref); return err })
	return stage, err
}

func (s *store) Staged(ctx context.Context, id providers.ArtifactID, name string) (r io.ReadCloser, err error) {
	err = s.fault.call("store.Staged", func() (err error) { r, err = s.Store.Staged(ctx, id, name); return err })
	return r, err
}

func (s *store) Commit(ctx context.Context, m providers.Manifest) (stored providers.Manifest, err error) {
	err = s.fault.call("store.Commit", func() (err error) { stored, err = s.Store.Commit(ctx, m); return err })
	return stored, err
}

func (s *store) Discard(ctx context.Context, id providers.ArtifactID) error {
	return s.fault.call("store.Discard", func() error { return s.Store.Discard(ctx, id) })
}

func (s *store) Get(ctx context.Context, ref providers.ArtifactRef) (m providers.Manifest, err error) {
	err = s.fault.call("store.Get", func() (err error) { m, err = s.Store.Get(ctx, ref); return err })
	return m, err
}

func (s *store) Stored(ctx context.Context, m providers.Manifest, name string) (r io.ReadCloser, err error) {
	err = s.fault.call("store.Stored", func() (err error) { r, err = s.Store.Stored(ctx, m, name); return err })
	return r, err
}

func (s *store) Check(ctx context.Context) iter.Seq2[providers.Finding, error] {
	return func(yield func(providers.Finding, error) bool) {
		if err := s.fault("store.Check"); err != nil {
			yield(providers.Finding{}, err)
			return
		}
		s.Store.Check(ctx)(yield)
	}
}

func (s *store) List(ctx context.Context) iter.Seq2[providers.Manifest, error] {
	return func(yield func(providers.Manifest, error) bool) {
		if err := s.fault("store.List"); err != nil {
			yield(providers.Manifest{}, err)
			return
		}
		s.Store.List(ctx)(yield)
	}
}

func (s *store) Delete(ctx context.Context, ref providers.ArtifactRef) error {
	return s.fault.call("store.Delete", func() error { return s.Store.Delete(ctx, ref) })
}

func (s *store) Sweep(ctx context.Context, keep func(providers.ArtifactID) bool) (swept providers.Swept, err error) {
	err = s.fault.call("store.Sweep", func() (err error) { swept, err = s.Store.Sweep(ctx, keep); return err })
	return swept, err
}

type target struct {
	providers.Target
	fault Fault
}

func (t *target) Observe(ctx context.Context) (seen providers.TargetState, err error) {
	err = t.fault.call("target.Observe", func() (err error) { seen, err = t.Target.Observe(ctx); return err })
	return seen, err
}

func (t *target) Freeze(ctx context.Context, mv providers.Move) error {
	return t.fault.call("target.Freeze", func() error { return t.Target.Freeze(ctx, mv) })
}

func (t *target) Unfreeze(ctx context.Context, mv providers.Move) error {
	return t.fault.call("target.Unfreeze", func() error { return t.Target.Unfreeze(ctx, mv) })
}

func (t *target) Switch(ctx context.Context, mv providers.Move) error {
	return t.fault.call("target.Switch", func() error { return t.Target.Switch(ctx, mv) })
}

func (t *target) Verify(ctx context.Context, mv providers.Move) error {
	return t.fault.call("target.Verify", func() error { return t.Target.Verify(ctx, mv) })
}

type mirror struct {
	providers.Mirror
	fault Fault
}

func (m *mirror) Compare(ctx context.Context, req providers.MirrorRequest) (diff providers.MirrorDiff, err error) {
	err = m.fault.call("mirror.Compare", func() (err error) { diff, err = m.Mirror.Compare(ctx, req); return err })
	return diff, err
}

func (m *mirror) Copy(ctx context.Context, req providers.MirrorRequest, progress providers.Progress) (res providers.MirrorResult, err error) {
	var once sync.Once
	err = m.fault.call("mirror.Copy", func() (err error) {
		res, err = m.Mirror.Copy(ctx, req, func(files, bytes int64) {
			once.Do(func() { _ = m.fault("mirror.Copy:progress") }) // a progress report cannot fail
			if progress != nil {
				progress(files, bytes)
			}
		})
		return err
	})
	return res, err
}

func (m *mirror) Prune(ctx context.Context, req providers.MirrorRequest) (res providers.MirrorResult, err error) {
	err = m.fault.call("mirror.Prune", func() (err error) { res, err = m.Mirror.Prune(ctx, req); return err })
	return res, err
}
