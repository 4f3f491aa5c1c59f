package providers

import (
	"context"
	"time"
)

// sourcePatience is for what a device or a mirror ends of itself: programs that are told to stop, files that are removed.
const sourcePatience = time.Minute

// answeringDevice is a device whose calls end with their context.
type answeringDevice struct {
	line
	device Device
}

func answerDevice(ctx context.Context, address string, open func(context.Context) (Device, error)) (Device, error) {
	d := &answeringDevice{line: line{to: address, silence: ErrNoAnswer, patience: sourcePatience}}
	var err error
	d.device, err = ask(ctx, &d.line, "open", 0, open, Device.Close)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *answeringDevice) Inspect(ctx context.Context) (DeviceInfo, error) {
	return ask(ctx, &d.line, "inspect", 0, d.device.Inspect, nil)
}

func (d *answeringDevice) DomainState(ctx context.Context, domain string) (DomainState, error) {
	return ask(ctx, &d.line, "inspect", 0, func(ctx context.Context) (DomainState, error) { return d.device.DomainState(ctx, domain) }, nil)
}

func (d *answeringDevice) Quiesce(ctx context.Context, domain string, timeout time.Duration) error {
	return did(ctx, &d.line, "quiesce", 0, func(ctx context.Context) error { return d.device.Quiesce(ctx, domain, timeout) })
}

func (d *answeringDevice) Unquiesce(ctx context.Context, domain string) error {
	return did(ctx, &d.line, "unquiesce", 0, func(ctx context.Context) error { return d.device.Unquiesce(ctx, domain) })
}

func (d *answeringDevice) Capture(ctx context.Context, req CaptureRequest, sink Sink) (CaptureResult, error) {
	return ask(ctx, &d.line, "capture", 0, func(ctx context.Context) (CaptureResult, error) { return d.device.Capture(ctx, req, sink) }, nil)
}

func (d *answeringDevice) Restore(ctx context.Context, req RestoreRequest, src Source) error {
	return did(ctx, &d.line, "restore", 0, func(ctx context.Context) error { return d.device.Restore(ctx, req, src) })
}

func (d *answeringDevice) Forget(ctx context.Context, req RestoreRequest) error {
	return did(ctx, &d.line, "forget", 0, func(ctx context.Context) error { return d.device.Forget(ctx, req) })
}

func (d *answeringDevice) Close() error { return d.hangUp(sourcePatience, d.device.Close) }

// answeringMirror is a mirror whose calls end with their context.
type answeringMirror struct {
	line
	mirror Mirror
}

func answerMirror(ctx context.Context, address string, open func(context.Context) (Mirror, error)) (Mirror, error) {
	m := &answeringMirror{line: line{to: address, silence: ErrNoAnswer, patience: sourcePatience}}
	var err error
	m.mirror, err = ask(ctx, &m.line, "open", 0, open, Mirror.Close)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (m *answeringMirror) Compare(ctx context.Context, req MirrorRequest) (MirrorDiff, error) {
	return ask(ctx, &m.line, "compare", 0, func(ctx context.Context) (MirrorDiff, error) { return m.mirror.Compare(ctx, req) }, nil)
}

func (m *answeringMirror) Copy(ctx context.Context, req MirrorRequest, progress Progress) (MirrorResult, error) {
	return ask(ctx, &m.line, "copy", 0, func(ctx context.Context) (MirrorResult, error) { return m.mirror.Copy(ctx, req, progress) }, nil)
}

func (m *answeringMirror) Prune(ctx context.Context, req MirrorRequest) (MirrorResult, error) {
	return ask(ctx, &m.line, "prune", 0, func(ctx context.Context) (MirrorResult, error) { return m.mirror.Prune(ctx, req) }, nil)
}

func (m *answeringMirror) Close() error { return m.hangUp(sourcePatience, m.mirror.Close) }
