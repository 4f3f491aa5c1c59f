package simulator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dr/holdfast/providers"
	"github.com/holdfast-dr/holdfast/providers/providertest"
)

// simulated is a simulated device as the project sees it.
type simulated struct {
	name string
	sim  *Simulator
}

var _ providers.Device = (*simulated)(nil)

// call records one call, lets it fail or hang when that was asked for, and
// otherwise does it under the lock of the device.
func (d *simulated) call(ctx context.Context, c Call, do func(m *simulation, now time.Time) error) error {
	n, hang, err := 0, false, ctx.Err()
	if err != nil {
		return fmt.Errorf("%s %s: %w", c.Op, d.name, err)
	}
	err = d.sim.update(func(m *simulation) error {
		c.Process, c.Began = os.Getpid(), d.sim.clock()
		n = len(m.Calls)
		m.Calls = append(m.Calls, c)
		var err error
		switch left := m.Behavior.Fails[c.Op]; {
		case m.Behavior.Unavailable:
			err = providers.ErrUnavailable
		case slices.Contains(m.Behavior.Hangs, c.Op):
			hang = true
			return nil
		case left != 0:
			if left > 0 {
				m.Behavior.Fails[c.Op] = left - 1
			}
			err = providertest.ErrFault
		case c.Domain != "" && len(m.scope(c.Domain)) == 0:
			err = fmt.Errorf("domain %q: %w", c.Domain, providers.ErrNotFound)
		default:
			err = do(m, c.Began)
		}
		if c.Op != opCapture || err != nil {
			m.end(n, c.Began, err)
		}
		return err
	})
	if hang {
		<-ctx.Done()
		err = ctx.Err()
		err = errors.Join(err, d.end(n, err))
	}
	return d.wrap(c.Op, err)
}

// end records the end of a call that took its time.
func (d *simulated) end(n int, err error) error {
	return d.sim.update(func(m *simulation) error {
		m.end(n, d.sim.clock(), err)
		return nil
	})
}

func (m *simulation) end(n int, at time.Time, err error) {
	m.Calls[n].Ended = at
	if err != nil {
		m.Calls[n].Error = err.Error()
	}
}

func (d *simulated) wrap(op string, err error) error {
	switch {
	case err == nil, errors.Is(err, errors.ErrUnsupported):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s %s: %w", op, d.name, err)
	}
	retry := errors.Is(err, providertest.ErrFault) || errors.Is(err, errBusy) || errors.Is(err, providers.ErrUnavailable)
	return &providers.Error{Op: op, Target: d.name, Err: err, Retry: retry}
}

const (
	opCapture = "capture"
	opRestore = "restore"
	opForget  = "forget"

	maxSimulated = 64 << 20

	simulatedFile = "simulated.conf"
	simulatedSize = 4096
)

// errBusy is the answer of a device that does something else.
var errBusy = errors.New("busy")

func (d *simulated) Inspect(ctx context.Context) (info providers.DeviceInfo, err error) {
	err = d.call(ctx, Call{Op: "inspect"}, func(m *simulation, _ time.Time) error {
		info = m.Behavior.Info
		slices.Sort(info.Domains)
		info.CanTellUnsaved = true
		return nil
	})
	return info, err
}

func (d *simulated) DomainState(ctx context.Context, domain string) (st providers.DomainState, err error) {
	err = d.call(ctx, Call{Op: "state", Domain: domain}, func(m *simulation, now time.Time) error {
		st.Quiesce = m.state(domain, now)
		if m.Behavior.CannotQuiesce {
			st.Quiesce = providers.QuiesceImpossible
		}
		st.Unsaved = slices.ContainsFunc(m.scope(domain), func(p string) bool { return slices.Contains(m.Behavior.Unsaved, p) })
		if domain == providers.AllDomains {
			st.FreeBytes = m.Behavior.FreeBytes
		}
		return nil
	})
	return st, err
}

func (d *simulated) Quiesce(ctx context.Context, domain string, timeout time.Duration) error {
	return d.call(ctx, Call{Op: "quiesce", Domain: domain, Timeout: timeout}, func(m *simulation, now time.Time) error {
		return m.send(domain, now, providers.Quiescing, providers.Quiesced, m.Behavior.QuiesceTime)
	})
}

func (d *simulated) Unquiesce(ctx context.Context, domain string) error {
	return d.call(ctx, Call{Op: "unquiesce", Domain: domain}, func(m *simulation, now time.Time) error {
		return m.send(domain, now, providers.Unquiescing, providers.Normal, m.Behavior.UnquiesceTime)
	})
}

// send sets what is not there yet, nor on its way, on its way.
func (m *simulation) send(domain string, now time.Time, way, end providers.QuiesceState, takes time.Duration) error {
	if m.Behavior.CannotQuiesce {
		return errors.ErrUnsupported
	}
	for _, p := range m.scope(domain) {
		switch m.moved(p, now) {
		case way:
		case end:
			m.Places[p] = place{State: end}
		default:
			m.Places[p] = place{State: way, Until: now.Add(takes)}
		}
	}
	return nil
}

// content is what a domain holds. It is the same in every capture of one variant, except of unsaved changes.
func (m *simulation) content(domain string, variant providers.Variant) []byte {
	if held, ok := m.Content[domain]; ok {
		return held
	}
	size := m.Behavior.Size
	if size == 0 {
		size = simulatedSize
	}
	line := domain
	if variant == providers.Nonpersisted && slices.Contains(m.Behavior.Unsaved, domain) {
		line += " unsaved"
	}
	return []byte(strings.Repeat(line+"\n", size/(len(line)+1)+1)[:size])
}

func (d *simulated) Capture(ctx context.Context, req providers.CaptureRequest, sink providers.Sink) (providers.CaptureResult, error) {
	unlock := func() {}
	defer func() { unlock() }()
	var (
		n       int
		b       Behavior
		content []byte
		res     = providers.CaptureResult{Consistency: "crash", Tool: "simulator"}
	)
	err := d.call(ctx, Call{Op: opCapture, Domain: req.Domain, Variant: req.Variant}, func(m *simulation, now time.Time) (err error) {
		n, b = len(m.Calls)-1, m.Behavior
		state := m.state(req.Domain, now)
		for _, p := range m.scope(req.Domain) {
			content = append(content, m.content(p, req.Variant)...)
		}
		switch {
		case req.Action != providers.SecureBackup && req.Action != providers.ExportDomain:
			return fmt.Errorf("action %q: %w", req.Action, errors.ErrUnsupported)
		case req.Action == providers.SecureBackup && req.Domain != providers.AllDomains:
			return fmt.Errorf("secure backup of domain %q: %w", req.Domain, providers.ErrNotFound)
		case req.Action == providers.SecureBackup && req.Variant != "":
			return fmt.Errorf("variant %q: %w", req.Variant, errors.ErrUnsupported)
		case state == providers.Quiescing || state == providers.Unquiescing:
			return fmt.Errorf("%w: %s is %s", errBusy, req.Domain, state)
		case req.Action == providers.SecureBackup && b.FreeBytes != nil && *b.FreeBytes < int64(len(content)):
			return fmt.Errorf("%w: %d bytes are free on the device, %d are needed", providers.ErrNoSpace, *b.FreeBytes, len(content))
		}
		if state == providers.Quiesced {
			res.Consistency = "quiesced"
		}
		if unlock, err = lockFile(filepath.Join(d.sim.dir, "capturing"), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			unlock = func() {}
			return fmt.Errorf("%w: another capture runs", errBusy)
		}
		return nil
	})
	if err != nil {
		return providers.CaptureResult{}, err
	}
	err = d.stream(ctx, b, content, sink)
	if err = errors.Join(err, d.end(n, err)); err != nil {
		return providers.CaptureResult{}, d.wrap(opCapture, err)
	}
	sum := sha256.Sum256(content)
	res.Fingerprint = map[string]any{"bytes": len(content), "sha256": hex.EncodeToString(sum[:])}
	res.Source = providers.Content{Bytes: int64(len(content))}
	return res, nil
}

// stream writes the content in pieces, with the fault that is asked for.
func (d *simulated) stream(ctx context.Context, b Behavior, content []byte, sink providers.Sink) error {
	if b.Capture == WritesNothing {
		return nil
	}
	file, err := sink.Create(simulatedFile)
	if err != nil {
		return err
	}
	const pieces = 8
	for i := range pieces {
		if err := d.pause(ctx, b, i == pieces/2, b.CaptureTime/pieces); err != nil {
			return errors.Join(err, file.Close())
		}
		if _, err := file.Write(content[len(content)*i/pieces : len(content)*(i+1)/pieces]); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	if err := file.Close(); err != nil {
		return err
	}
	if b.Capture == FailsAtEnd {
		return fmt.Errorf("%w: it ended with exit code 1", providers.ErrSourceExit)
	}
	return nil
}

// pause is the time before a piece, and what goes wrong half way.
func (d *simulated) pause(ctx context.Context, b Behavior, half bool, takes time.Duration) error {
	if takes > 0 {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !half:
		return nil
	case b.Capture == WritesLittle:
		return fmt.Errorf("%w: only half was there", providers.ErrTooSmall)
	case b.Capture == HangsHalfWay:
		<-ctx.Done()
		return ctx.Err()
	case b.Capture == DiesHalfWay:
		err := d.sim.update(func(m *simulation) error { m.Behavior.Unavailable = true; return nil })
		return errors.Join(fmt.Errorf("%w: it died", providers.ErrUnavailable), err)
	}
	return nil
}

// Restore writes what was captured into the directory, or makes it the content of a domain.
func (d *simulated) Restore(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("restore %s: %w", d.name, err)
	}
	if req.Dir == "" {
		return d.restoreInPlace(ctx, req, src)
	}
	return d.wrap("restore", restoreSimulated(ctx, req.Dir, src))
}

// restoreInPlace changes the device in one step, when all of the content is there.
func (d *simulated) restoreInPlace(ctx context.Context, req providers.RestoreRequest, src providers.Source) error {
	if req.Action != providers.ExportDomain {
		return errors.ErrUnsupported
	}
	content, err := readSimulated(ctx, src)
	if err != nil {
		return d.wrap(opRestore, err)
	}
	return d.call(ctx, Call{Op: opRestore, Variant: req.Variant}, func(m *simulation, _ time.Time) error {
		switch known := len(m.scope(req.Domain)) > 0; {
		case req.ID != "" && m.Restored[req.Domain] == req.ID:
			return nil
		case known && !req.Replace:
			return fmt.Errorf("domain %q: %w", req.Domain, providers.ErrNotEmpty)
		case !known:
			m.Behavior.Info.Domains = append(m.Behavior.Info.Domains, req.Domain)
		}
		m.hold(req.Domain, content)
		if m.Restored == nil {
			m.Restored = map[string]string{}
		}
		m.Restored[req.Domain] = req.ID
		return nil
	})
}

// Forget takes the restore's name off the domain.
func (d *simulated) Forget(ctx context.Context, req providers.RestoreRequest) error {
	return d.call(ctx, Call{Op: opForget}, func(m *simulation, _ time.Time) error {
		if m.Restored[req.Domain] == req.ID {
			delete(m.Restored, req.Domain)
		}
		return nil
	})
}

func (m *simulation) hold(domain string, content []byte) {
	if m.Content == nil {
		m.Content = map[string][]byte{}
	}
	m.Content[domain] = content
	if content == nil {
		delete(m.Content, domain)
	}
}

func readSimulated(ctx context.Context, src providers.Source) ([]byte, error) {
	files := src.Files()
	if len(files) != 1 || files[0].Name != simulatedFile || files[0].Size > maxSimulated {
		return nil, fmt.Errorf("%w: the artifact's files are %v", providers.ErrCorrupt, files)
	}
	in, err := src.Open(ctx, simulatedFile)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(io.LimitReader(in, maxSimulated))
}

func restoreSimulated(ctx context.Context, dir string, src providers.Source) error {
	files := src.Files()
	if len(files) != 1 || files[0].Name != simulatedFile {
		return fmt.Errorf("%w: the artifact's files are %v", providers.ErrCorrupt, files)
	}
	in, err := src.Open(ctx, simulatedFile)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(dir, simulatedFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (d *simulated) Close() error { return nil }
